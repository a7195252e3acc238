"""Corrections of one block: worked out beside the original, and applied by whoever decodes.

Bytes: a byte of flags, the axes of a field as bits of a variable integer, then as flagged the
shells (lengths of the axes and tolerance, gains, levels of noise), the floor, the sums, the
energies.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, replace

import numpy as np

from xphys._streams import Reader, varint
from xphys.coding.preserve._packed import (
    read_numbers,
    read_steps,
    scales_of,
    write_numbers,
    write_steps,
)
from xphys.coding.preserve._request import Preserve
from xphys.coding.preserve._spectrum import LOST, Shells
from xphys.coding.preserve._sums import settle
from xphys.errors import CorruptDataError

__all__ = ["apply", "correct", "fields_of", "restored"]

_SUMS, _ENERGY, _FLOOR, _SHELLS = 1, 2, 4, 8
_FLOAT = struct.Struct("<d")
_MOST_SHELLS = 2**20
_PROMISED = 1e-12


@dataclass(frozen=True)
class _Plan:
    """What has to come out of each field of a block.

    Attributes
    ----------
    axes : tuple of int
        Of a field; every position along the others is one.
    total, energy : ndarray of float64 or None
        Sum, and sum of squared distances from the mean, in units of the block.
    sizes, powers : ndarray of float64 or None
        What their errors are relative to; not needed to apply them.
    near : tuple of ndarray or None
        Sums and energies as they are before; not needed either.
    floor : float or None
        In the units of the variable.
    shells : Shells or None
        Of wavenumbers.
    gains, levels : ndarray
        Of each field and shell.
    """

    axes: tuple[int, ...]
    total: np.ndarray | None = None
    energy: np.ndarray | None = None
    sizes: np.ndarray | None = None
    powers: np.ndarray | None = None
    near: tuple[np.ndarray, np.ndarray] | None = None
    floor: float | None = None
    shells: Shells | None = None
    lengths: tuple[float, ...] = ()
    tolerance: float = 0.0
    gains: np.ndarray | None = None
    levels: np.ndarray | None = None

    def pack(self) -> bytes:
        """As bytes."""
        flags = _SUMS * (self.total is not None) | _ENERGY * (self.energy is not None)
        flags |= _FLOOR * (self.floor is not None) | _SHELLS * (self.shells is not None)
        out = [bytes([flags]), varint(sum(1 << a for a in self.axes))]
        if self.gains is not None:
            assert self.levels is not None
            out += [_FLOAT.pack(v) for v in (self.tolerance, *self.lengths)]
            out.append(write_steps(self.gains))
            lost = self.levels[self.gains == LOST]
            out.append(np.log2(np.maximum(lost, 1e-300)).astype("<f4").tobytes())
        if self.floor is not None:
            out.append(_FLOAT.pack(self.floor))
        pairs = ((self.total, self.sizes), (self.energy, self.powers))
        for i, (values, scales) in enumerate(pairs):
            if values is not None:
                assert scales is not None
                assert self.near is not None
                out.append(write_numbers(values, scales, self.near[i]))
        return b"".join(out)


def _read(reader: Reader, y: np.ndarray, fixed: np.ndarray | None, exponent: int) -> _Plan:
    shape = y.shape
    flags, bits = reader.take(1)[0], reader.varint()
    axes = tuple(i for i in range(len(shape)) if bits >> i & 1)
    if flags >= 16 or not axes or bits >> len(shape):
        raise CorruptDataError(f"expected a correction of {len(shape)} axes, found {flags}, {bits}")
    count = math.prod(shape) // max(math.prod(shape[a] for a in axes), 1)
    found: dict[str, object] = {}
    if flags & _SHELLS:
        tolerance, *lengths = (_FLOAT.unpack(reader.take(8))[0] for _ in range(len(axes) + 1))
        fine = all(math.isfinite(n) and n > 0 for n in lengths) and 1e-6 <= tolerance < 1
        field = tuple(shape[a] for a in axes)
        if not fine or max(lengths) / min(lengths) * max(field) * len(axes) > _MOST_SHELLS:
            raise CorruptDataError("expected lengths and a tolerance of shells, found others")
        shells = Shells(field, tuple(lengths), tolerance)
        gains = read_steps(reader, (count, shells.count))
        levels = np.zeros(gains.shape)
        lost = gains == LOST
        logs = np.frombuffer(reader.take(4 * int(lost.sum())), "<f4").astype(np.float64)
        levels[lost] = np.exp2(np.where(np.abs(logs) <= 1000, logs, -1000))
        found |= {"shells": shells, "gains": gains, "levels": levels}
    if flags & _FLOOR:
        found["floor"] = _FLOAT.unpack(reader.take(8))[0]
    if flags & (_SUMS | _ENERGY):
        total, _, energy, _ = _sums(y, fixed, exponent, axes)
        if flags & _SUMS:
            found["total"] = read_numbers(reader, total)
        if flags & _ENERGY:
            found["energy"] = read_numbers(reader, energy)
    return _Plan(axes, **found)  # type: ignore[arg-type]


def fields_of(array: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """(field, points along axes...): a view where axes are the last ones."""
    moved = np.moveaxis(array, axes, range(array.ndim - len(axes), array.ndim))
    return moved.reshape(-1, *moved.shape[moved.ndim - len(axes) :])


def _scaled(array: np.ndarray, axes: tuple[int, ...], exponent: int) -> np.ndarray:
    """Fields in units of 2**exponent."""
    return np.asarray(np.ldexp(fields_of(array, axes).astype(np.float64), -exponent))


def _sums(
    array: np.ndarray, fixed: np.ndarray | None, exponent: int, axes: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of free points of each field: sum, that of magnitudes, of squared distances, of squares."""
    flat = _scaled(array, axes, exponent)
    flat = flat.reshape(len(flat), -1)
    if fixed is None:
        total, count = flat.sum(axis=1), np.full(len(flat), flat.shape[1])
        away = flat - (total / count)[:, None]
    else:
        taken = ~fields_of(fixed, axes).reshape(flat.shape)
        flat = np.where(taken, flat, 0.0)
        total, count = flat.sum(axis=1), np.maximum(taken.sum(axis=1), 1)
        away = np.where(taken, flat - (total / count)[:, None], 0.0)
    return total, np.abs(flat).sum(axis=1), (away * away).sum(axis=1), (flat * flat).sum(axis=1)


def restored(fields: np.ndarray, shape: tuple[int, ...], axes: tuple[int, ...]) -> np.ndarray:
    """Inverse of `fields_of`."""
    others = tuple(n for i, n in enumerate(shape) if i not in axes)
    moved = fields.reshape(*others, *fields.shape[1:])
    return np.moveaxis(moved, range(len(others), len(shape)), axes)


def _run(y: np.ndarray, fixed: np.ndarray | None, exponent: int, plan: _Plan) -> np.ndarray:
    """Change y as planned; True for each field that came out as it should."""
    fields = fields_of(y, plan.axes).copy()
    free = np.ones(fields.shape, bool) if fixed is None else ~fields_of(fixed, plan.axes)
    reached = np.ones(len(fields), bool)
    for i, field in enumerate(fields):
        here = free[i]
        if not here.any():
            continue
        if plan.shells is not None:
            assert plan.gains is not None
            assert plan.levels is not None
            if plan.gains[i].any():
                wide = np.ldexp(field.astype(np.float64), -exponent)
                wide = plan.shells.apply(wide, plan.gains[i], plan.levels[i])
                field[here] = np.ldexp(wide, exponent).astype(y.dtype)[here]
        if plan.floor is not None:
            low = here & (field < plan.floor if plan.floor >= 0 else field > plan.floor)
            field[low] = plan.floor
        if plan.total is not None:
            energy = None if plan.energy is None else float(plan.energy[i])
            flat = field.reshape(-1)
            total = float(plan.total[i])
            reached[i] = settle(flat, here.reshape(-1), exponent, total, energy, plan.floor)
    y[...] = restored(fields, y.shape, plan.axes)
    return reached


def apply(reader: Reader, y: np.ndarray, fixed: np.ndarray | None, exponent: int) -> None:
    """Correct a decoded block.

    Parameters
    ----------
    reader : Reader
        At what `correct` wrote, and nothing behind it.
    y : ndarray of floats
        The block, exact points included; changed in place.
    fixed : ndarray of bool or None
        Exact points.
    exponent : int
        Sums are in units of ``2**exponent``.

    Raises
    ------
    CorruptDataError
        If the bytes are no correction.
    """
    if y.dtype.kind != "f":
        raise CorruptDataError(f"expected floating point in a corrected block, found {y.dtype}")
    with np.errstate(all="ignore"):
        plan = _read(reader, y, fixed, exponent)
        reader.end()
        _run(y, fixed, exponent, plan)


def correct(
    x: np.ndarray,
    y: np.ndarray,
    fixed: np.ndarray,
    exponent: int,
    axes: tuple[int, ...],
    preserve: Preserve,
) -> tuple[bytes, np.ndarray, np.ndarray]:
    """Work out a correction.

    Parameters
    ----------
    x, y : ndarray of floats, one dtype
        Original and decoded block, equal at exact points.
    fixed : ndarray of bool
        Exact points.
    exponent : int
        Of the unit of sums: magnitudes are then at most about one.
    axes : tuple of int
        Of a field.
    preserve : Preserve
        What is to be kept.

    Returns
    -------
    data : bytes
        For `apply`.
    corrected : ndarray
        What comes out.
    failed : ndarray of bool, shape of x
        True in fields that cannot be corrected: they must be exact.
    """
    plan = _plan(x, y, fixed, exponent, axes, preserve)
    for _ in range(2):
        data, out = plan.pack(), y.copy()
        with np.errstate(all="ignore"):
            apply(Reader(data), out, fixed, exponent)
            wrong = _wrong(x, out, fixed, exponent, axes, preserve, plan)
        if not wrong.any() or plan.sizes is None:
            break
        # what rounding leaves may be too much on top of coarse numbers: finer ones
        powers = None if plan.powers is None else plan.powers / 4
        plan = replace(plan, sizes=plan.sizes / 4, powers=powers)
    shape = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
    return data, out, np.broadcast_to(wrong.reshape(shape), x.shape)


def _plan(
    x: np.ndarray,
    y: np.ndarray,
    fixed: np.ndarray,
    exponent: int,
    axes: tuple[int, ...],
    preserve: Preserve,
) -> _Plan:
    fields = _scaled(x, axes, exponent)
    free = ~fields_of(fixed, axes)
    found: dict[str, object] = {}
    if "spectrum" in preserve.names and np.isfinite(fields).all():
        lengths = preserve.lengths or x.shape
        lengths = tuple(float(lengths[a]) for a in axes)
        shells = Shells(fields.shape[1:], lengths, preserve.tolerance)
        wanted = np.stack([shells.energies(f) for f in fields])
        decoded = _scaled(y, axes, exponent)
        gains = [shells.gains(w, shells.energies(d)) for w, d in zip(wanted, decoded, strict=True)]
        found |= {
            "shells": shells,
            "lengths": lengths,
            "tolerance": preserve.tolerance,
            "gains": np.stack(gains),
            "levels": wanted,
        }
    if "positivity" in preserve.names and free.any():
        low, high = float(x[~fixed].min()), float(x[~fixed].max())
        if low >= 0:
            found["floor"] = low
        elif high < 0:
            found["floor"] = high
    if {"mean", "energy"} & set(preserve.names):
        total, sizes, energy, powers = _sums(x, fixed, exponent, axes)
        near = _sums(y, fixed, exponent, axes)
        found |= {"total": total, "sizes": sizes, "near": (near[0], near[2])}
        if "energy" in preserve.names:
            count = math.prod(fields.shape[1:])
            found["sizes"], found["powers"] = scales_of(total, sizes, powers, count)
            found["energy"] = energy
    return _Plan(axes, **found)  # type: ignore[arg-type]


def _wrong(
    x: np.ndarray,
    y: np.ndarray,
    fixed: np.ndarray,
    exponent: int,
    axes: tuple[int, ...],
    preserve: Preserve,
    plan: _Plan,
) -> np.ndarray:
    """True for each field that misses what was asked."""
    taken = ~fields_of(fixed, axes)
    a = np.where(taken, _scaled(x, axes, exponent), 0.0)
    b = np.where(taken, _scaled(y, axes, exponent), 0.0)
    points = tuple(range(1, a.ndim))
    wrong = ~np.isfinite(b).all(axis=points)
    if plan.total is not None:
        size = np.abs(a).sum(axis=points)
        wrong |= np.abs(b.sum(axis=points) - a.sum(axis=points)) > _PROMISED * size
    if plan.energy is not None:
        power = (a * a).sum(axis=points)
        wrong |= np.abs((b * b).sum(axis=points) - power) > _PROMISED * power
    if plan.floor is not None:
        wrong |= (np.sign(a) != np.sign(b)).any(axis=points)
    if "spectrum" in preserve.names:
        if plan.shells is None:
            return np.ones(len(a), bool)
        pairs = zip(_scaled(x, axes, exponent), _scaled(y, axes, exponent), strict=True)
        shells, limit = plan.shells, preserve.tolerance
        wrong |= np.array(
            [shells.wrong(shells.energies(p), shells.energies(q), limit) for p, q in pairs]
        )
    return np.asarray(wrong)
