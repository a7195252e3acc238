"""Rows of numbers as few bytes: integers whose neighbours are close, small signed steps."""

from __future__ import annotations

import math

import numpy as np

from xphys._streams import Reader, deflate, join_planes, split_planes, varint
from xphys.errors import CorruptDataError

__all__ = ["read_numbers", "read_steps", "write_numbers", "write_steps"]

# Numbers are stored as multiples of a power of two that is this share of their scale.
_SHARE = 8e-13
_WIDEST = 62
_SLACK = 2.0**-20  # of the scale: what another machine may know otherwise
_SHIFT = 4096  # added to exponents, which may be negative


def write_numbers(values: np.ndarray, scales: np.ndarray, near: np.ndarray) -> bytes:
    """Store numbers, each up to 4e-13 of its scale.

    Parameters
    ----------
    values, scales : ndarray of float64, one axis
        Numbers, and what their errors are relative to.
    near : ndarray of float64
        Numbers close by, which a reader knows up to 1e-6 of the scale.

    Returns
    -------
    bytes
        First how: raw; or the unit and differences of neighbours; or the unit and the lowest bits,
        of which the nearest number to what the reader knows is meant.
    """
    least = float(scales[scales > 0].min(initial=math.inf))
    exponent = math.frexp(least * _SHARE)[1] - 1 if math.isfinite(least) else 0
    numbers, known = _whole(values, exponent), _whole(near, exponent)
    if numbers is None or known is None:
        return b"\0" + values.astype("<f8").tobytes()
    steps = _zigzag(np.diff(numbers))
    width = int(steps.max(initial=0)).bit_length()
    slack = math.ldexp(float(scales.max(initial=0)), -exponent) * _SLACK
    low = int(max(np.abs(numbers - known).max(initial=0), slack)).bit_length() + 2
    head = varint(exponent + _SHIFT)
    if low < min(width, _WIDEST):
        lowest = numbers.astype(np.uint64) & np.uint64((1 << low) - 1)
        return b"\2" + head + varint(low) + _pack(lowest, low)
    if width > _WIDEST:
        return b"\0" + values.astype("<f8").tobytes()
    first = varint(int(_zigzag(numbers[:1])[0]))
    return b"\1" + head + varint(width) + first + _pack(steps, width)


def read_numbers(reader: Reader, near: np.ndarray) -> np.ndarray:
    """Inverse of `write_numbers`, as many as there are known ones near them."""
    how, count = reader.take(1)[0], near.size
    if how == 0:
        return np.frombuffer(reader.take(8 * count), "<f8").astype(np.float64)
    exponent, width = reader.varint() - _SHIFT, reader.varint()
    known = _whole(near, exponent)
    if how > 2 or width > _WIDEST or abs(exponent) > _SHIFT or known is None:
        raise CorruptDataError(f"expected numbers of at most {_WIDEST} bits, found {width}")
    with np.errstate(over="ignore"):
        if how == 1:
            first = np.array([reader.varint()], np.uint64)
            steps = np.concatenate([first, _unpack(reader, count - 1, width)])
            numbers = np.cumsum(_unzigzag(steps))
        else:
            away = _unpack(reader, count, width) - known.astype(np.uint64)
            half = np.uint64(1 << width >> 1)
            away = (away + half) & np.uint64((1 << width) - 1)
            numbers = known + away.astype(np.int64) - np.int64(half)
        return np.asarray(np.ldexp(numbers.astype(np.float64), exponent))


def _whole(values: np.ndarray, exponent: int) -> np.ndarray | None:
    """In units of 2**exponent; None if that is too much for an integer."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        whole = np.rint(np.ldexp(values, -exponent))
    if not np.isfinite(whole).all() or np.abs(whole).max(initial=0) >= 2.0**_WIDEST:
        return None
    return np.asarray(whole.astype(np.int64))


def _pack(values: np.ndarray, width: int) -> bytes:
    bits = (values[:, None] >> np.arange(width, dtype=np.uint64)) & np.uint64(1)
    return np.packbits(bits.astype(np.uint8).reshape(-1)).tobytes()


def _unpack(reader: Reader, count: int, width: int) -> np.ndarray:
    data = np.frombuffer(reader.take(-(-count * width // 8)), np.uint8)
    bits = np.unpackbits(data, count=count * width).reshape(count, width).astype(np.uint64)
    return np.asarray((bits << np.arange(width, dtype=np.uint64)).sum(axis=1, dtype=np.uint64))


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
