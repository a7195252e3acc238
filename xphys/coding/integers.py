"""Entropy stage for quantised coefficients: packing by magnitude, then zstd.

Coefficients arrive from low to high frequency, so neighbours have like magnitudes. They are cut
into groups; each group is packed with as many values to a byte as its largest magnitude allows
(five ternary digits, three of base 5, two of base 15), all groups of one kind go into one stream.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from xphys._streams import Reader, deflate, join_planes, split_planes, varint
from xphys.errors import CorruptDataError

__all__ = ["LARGEST", "pack", "unpack"]

LARGEST = 2**31 - 1

# (largest magnitude, base, digits per byte) of the packed classes 1, 2, 3
_DIGITS = ((1, 3, 5), (2, 5, 3), (7, 15, 2))
# largest magnitude and unsigned type of the plain classes 4, 5, 6
_PLAIN: tuple[tuple[int, np.dtype], ...] = (
    (127, np.dtype("u1")),
    (32767, np.dtype("u2")),
    (LARGEST, np.dtype("u4")),
)
_LIMITS = np.array([0, *(d[0] for d in _DIGITS), *(p[0] for p in _PLAIN)])
_SMALLEST_GROUP, _LARGEST_GROUP = 16, 1024


@lru_cache(maxsize=64)
def _groups(count: int) -> np.ndarray:
    """Start of each group: short ones first, where magnitudes fall quickly."""
    starts, at, size = [], 0, _SMALLEST_GROUP
    while at < count:
        starts.append(at)
        at += size
        size = min(max(_SMALLEST_GROUP, at // 4), _LARGEST_GROUP)
    return np.array(starts, dtype=np.intp)


def _sizes(count: int) -> np.ndarray:
    return np.diff(np.append(_groups(count), count))


def _pack_digits(values: np.ndarray, largest: int, base: int, digits: int) -> bytes:
    padded = np.full(-(-values.size // digits) * digits, largest, np.int64)
    padded[: values.size] = values + largest
    weights = base ** np.arange(digits)
    return (padded.reshape(-1, digits) @ weights).astype(np.uint8).tobytes()


def _unpack_digits(data: bytes, count: int, largest: int, base: int, digits: int) -> np.ndarray:
    codes = np.frombuffer(data, np.uint8).astype(np.int64)
    if codes.size and int(codes.max()) >= base**digits:
        raise CorruptDataError(f"expected codes below {base**digits}, found {int(codes.max())}")
    table = (codes[:, None] // base ** np.arange(digits)) % base
    return table.reshape(-1)[:count] - largest


def _zigzag(values: np.ndarray) -> np.ndarray:
    return (values << 1) ^ (values >> 63)


def pack(values: np.ndarray) -> bytes:
    """Write integers.

    Parameters
    ----------
    values : ndarray of int64, shape (n,)
        Magnitudes up to `LARGEST`.

    Returns
    -------
    bytes
        Streams of one class after another, each with its length in front.
    """
    if not values.size:
        return b""
    peaks = np.maximum.reduceat(np.abs(values), _groups(values.size))
    classes = np.searchsorted(_LIMITS, peaks).astype(np.uint8)
    member = np.repeat(classes, _sizes(values.size))
    streams = [deflate(classes)]
    for number, (largest, base, digits) in enumerate(_DIGITS, 1):
        chosen = values[member == number]
        streams.append(deflate(_pack_digits(chosen, largest, base, digits)))
    for number, (_, dtype) in enumerate(_PLAIN, 1 + len(_DIGITS)):
        chosen = _zigzag(values[member == number]).astype(dtype)
        streams.append(deflate(split_planes(chosen)))
    return b"".join(varint(len(s)) + s for s in streams)


def unpack(data: bytes, count: int) -> np.ndarray:
    """Read what `pack` wrote.

    Parameters
    ----------
    data : bytes
        The streams, nothing before or after them.
    count : int
        Number of integers.

    Returns
    -------
    ndarray of int64, shape (count,)
        The integers.

    Raises
    ------
    CorruptDataError
        If the streams do not hold exactly that many integers.
    """
    if not count:
        return np.zeros(0, np.int64)
    reader = Reader(data)
    sizes = _sizes(count)
    classes = np.frombuffer(reader.section(sizes.size), np.uint8)
    if int(classes.max()) > len(_DIGITS) + len(_PLAIN):
        raise CorruptDataError(f"expected classes up to 6, found {int(classes.max())}")
    member = np.repeat(classes, sizes)
    values = np.zeros(count, np.int64)
    for number, (largest, base, digits) in enumerate(_DIGITS, 1):
        where = np.flatnonzero(member == number)
        section = reader.section(-(-where.size // digits))
        values[where] = _unpack_digits(section, where.size, largest, base, digits)
    for number, (_, dtype) in enumerate(_PLAIN, 1 + len(_DIGITS)):
        where = np.flatnonzero(member == number)
        folded = join_planes(reader.section(where.size * dtype.itemsize), dtype).astype(np.int64)
        values[where] = (folded >> 1) ^ -(folded & 1)
    reader.end()
    return values
