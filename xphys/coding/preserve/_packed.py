"""Rows of numbers as few bytes: integers whose neighbours are close, small signed steps."""

from __future__ import annotations

import numpy as np

from xphys._streams import Reader, deflate, join_planes, split_planes, varint
from xphys.errors import CorruptDataError

__all__ = ["read_numbers", "read_steps", "scales_of", "snapped", "write_numbers", "write_steps"]

# Numbers are stored as multiples of a unit that is at most this share of their scale: a power of
# two, or of its fourth root.
_SHARE = 1.5e-12
_ROOTS = np.array([1.0, 1.189207115002721, 1.4142135623730951, 1.681792830507429])
_WIDEST = 62
_GROUP, _BITS = 8, 6  # numbers that share a unit and a width, and bits of a width
_SLACK = 2.0**-22  # of the scale: what another machine may know otherwise
_LARGE = 0.1  # share that the mean has in a sum of squares, roughly
_SHIFT = 4096  # added to exponents, which may be negative


def write_numbers(
    values: np.ndarray, scales: np.ndarray, near: np.ndarray, steady: bool = True
) -> bytes:
    """Store numbers, each up to 7.5e-13 of its scale.

    Parameters
    ----------
    values, scales : ndarray of float64, one axis
        Numbers, and what their errors are relative to.
    near : ndarray of float64
        Numbers close by, which a reader knows up to 2e-7 of the scale.
    steady : bool, default True
        Whether they may be stored by their differences; if not, they are read as `snapped`.

    Returns
    -------
    bytes
        First how: 0 raw; 1 the unit and differences of neighbours; 3 for every few a unit and their
        lowest bits, of which the nearest number to what the reader knows is meant (2: as 3,
        with one unit for all; no longer written).
    """
    found = [b"\0" + values.astype("<f8").tobytes()]
    sizes = scales[scales > 0]
    if sizes.size:
        units = _units(scales, sizes)
        found.append(_lowest(values, scales, near, units))
        if steady:
            found.append(_differences(values, int(units.min()) // 4 * 4))
    return min((f for f in found if f), key=len)


def scales_of(
    totals: np.ndarray, sizes: np.ndarray, powers: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """What errors of sums and of energies about the mean are relative to when both are kept.

    Where a mean is large, an error of the sum is up to two of the sum of squares.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        large = 2 * np.abs(totals) / count * sizes > _LARGE * powers
    return np.where(large, sizes / 8, sizes), np.where(large, powers / 4, powers)


def snapped(values: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Numbers as `read_numbers` returns them, whatever is known near them."""
    sizes = scales[scales > 0]
    units = _units(scales, sizes) if sizes.size else np.zeros(0, int)
    whole = _whole(values, units) if sizes.size else None
    return values if whole is None else _times(whole, units)


def _units(scales: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Fourth roots of two in the unit of each number: one unit for every few of them."""
    whole = np.where(scales > 0, scales, sizes.min())
    fraction, exponent = np.frexp(whole * _SHARE)
    units = 4 * (exponent - 1) + np.searchsorted(_ROOTS, 2 * fraction, side="right") - 1
    return np.repeat(_by_group(units, np.minimum), _GROUP)[: scales.size]


def _times(numbers: np.ndarray, units: np.ndarray | int) -> np.ndarray:
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(np.ldexp(numbers.astype(np.float64) * _ROOTS[units % 4], units // 4))


def _by_group(values: np.ndarray, reduce: np.ufunc) -> np.ndarray:
    return np.asarray(reduce.reduceat(values, np.arange(0, values.size, _GROUP)))


def _differences(values: np.ndarray, units: int) -> bytes:
    numbers = _whole(values, units)
    if numbers is None:
        return b""
    steps = _zigzag(np.diff(numbers))
    width = int(steps.max(initial=0)).bit_length()
    if width > _WIDEST:
        return b""
    first = varint(int(_zigzag(numbers[:1])[0]))
    return b"\1" + varint(units // 4 + _SHIFT) + varint(width) + first + _pack(steps, width)


def _lowest(values: np.ndarray, scales: np.ndarray, near: np.ndarray, units: np.ndarray) -> bytes:
    numbers, known = _whole(values, units), _whole(near, units)
    if numbers is None or known is None:
        return b""
    apart = np.abs(numbers - known) + np.ceil(_times(scales * _SLACK, -units)) + 1
    if not apart.max(initial=0) < 2.0 ** (_WIDEST - 1):
        return b""
    widths = _by_group(np.frexp(2 * apart)[1], np.maximum)
    each = np.repeat(widths, _GROUP)[: numbers.size]
    kept = numbers.astype(np.uint64) & _mask(each)
    steps = _zigzag(np.diff(units[::_GROUP].astype(np.int64)))
    wide = int(steps.max(initial=0)).bit_length()
    first = varint((int(units[0]) if units.size else 0) + 4 * _SHIFT)
    front = first + varint(wide) + _pack(steps, wide) + _pack(widths.astype(np.uint64), _BITS)
    return b"\3" + front + _pack(kept, each)


def _mask(widths: np.ndarray) -> np.ndarray:
    return np.asarray((np.uint64(1) << widths.astype(np.uint64)) - np.uint64(1))


def read_numbers(reader: Reader, near: np.ndarray) -> np.ndarray:
    """Inverse of `write_numbers`, as many as there are known ones near them."""
    how, count = reader.take(1)[0], near.size
    if how == 0:
        return np.frombuffer(reader.take(8 * count), "<f8").astype(np.float64)
    start = reader.varint()
    units = np.full(count, start - 4 * _SHIFT if how == 3 else 4 * (start - _SHIFT))
    groups = -(-count // _GROUP)
    if how == 3:
        steps = _unzigzag(_unpack(reader, max(groups - 1, 0), _width(reader)))
        moved = np.cumsum(np.concatenate([[0], steps.clip(-4 * _SHIFT, 4 * _SHIFT)]))
        units = units + np.repeat(moved, _GROUP)[:count]
        widths = np.repeat(_unpack(reader, groups, _BITS), _GROUP)[:count].astype(np.int64)
    else:
        widths = np.full(count, _width(reader))
    known = _whole(near, units)
    if how > 3 or np.abs(units).max(initial=0) > 4 * _SHIFT or known is None:
        raise CorruptDataError("expected numbers near those that are known, found others")
    with np.errstate(over="ignore"):
        if how == 1:
            first = np.array([reader.varint()], np.uint64)
            steps = np.concatenate([first, _unpack(reader, count - 1, widths[1:])])
            numbers = np.cumsum(_unzigzag(steps))
        else:
            away = _unpack(reader, count, widths) - known.astype(np.uint64)
            half = (np.uint64(1) << widths.astype(np.uint64)) >> np.uint64(1)
            away = (away + half) & _mask(widths)
            numbers = known + away.astype(np.int64) - half.astype(np.int64)
        return _times(numbers, units)


def _width(reader: Reader) -> int:
    width = reader.varint()
    if width > _WIDEST:
        raise CorruptDataError(f"expected numbers of at most {_WIDEST} bits, found {width}")
    return width


def _whole(values: np.ndarray, units: int | np.ndarray) -> np.ndarray | None:
    """In multiples of a unit; None if that is too much for an integer."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        whole = np.rint(np.ldexp(values / _ROOTS[units % 4], -(units // 4)))
    if not np.isfinite(whole).all() or np.abs(whole).max(initial=0) >= 2.0**_WIDEST:
        return None
    return np.asarray(whole.astype(np.int64))


def _pack(values: np.ndarray, widths: int | np.ndarray) -> bytes:
    """So many of the lowest bits of each value, one after the other."""
    places = np.arange(_WIDEST + 2, dtype=np.uint64)
    bits = ((values[:, None] >> places) & np.uint64(1)).astype(np.uint8)
    return np.packbits(bits[places < np.broadcast_to(widths, values.shape)[:, None]]).tobytes()


def _unpack(reader: Reader, count: int, widths: int | np.ndarray) -> np.ndarray:
    places = np.arange(_WIDEST + 2, dtype=np.uint64)
    used = places < np.broadcast_to(widths, (count,))[:, None]
    size = int(used.sum())
    data = np.frombuffer(reader.take(-(-size // 8)), np.uint8)
    bits = np.zeros(used.shape, np.uint64)
    bits[used] = np.unpackbits(data, count=size)
    return np.asarray((bits << places).sum(axis=1, dtype=np.uint64))


def _zigzag(values: np.ndarray) -> np.ndarray:
    return ((values << 1) ^ (values >> 63)).astype(np.uint64)


def _unzigzag(values: np.ndarray) -> np.ndarray:
    signed = (values >> np.uint64(1)).astype(np.int64)
    return np.where(values & np.uint64(1), -signed - 1, signed)


def write_steps(steps: np.ndarray) -> bytes:
    """Store int16, one row for each field."""
    data = deflate(split_planes(np.diff(steps, axis=0, prepend=np.zeros_like(steps[:1]))))
    return varint(len(data)) + data


def read_steps(reader: Reader, shape: tuple[int, int]) -> np.ndarray:
    """Inverse of `write_steps`."""
    rows = join_planes(reader.section(2 * shape[0] * shape[1]), np.dtype(np.int16))
    return np.asarray(np.cumsum(rows.reshape(shape), axis=0, dtype=np.int16))
