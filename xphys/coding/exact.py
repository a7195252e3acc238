"""Points that come back bit for bit: a bitmap of places and the raw values."""

from __future__ import annotations

import numpy as np

from xphys._streams import Reader, deflate, join_planes, split_planes, varint
from xphys.errors import CorruptDataError

__all__ = [
    "FILL_FACTOR",
    "fill_values",
    "read_lossless",
    "read_points",
    "write_lossless",
    "write_points",
]

# A magnitude this many times above every other one is a fill value, not physics.
FILL_FACTOR = 1e6
_MOST_FILL_VALUES = 4
_SAMPLE = 2**12


def fill_values(x: np.ndarray) -> np.ndarray:
    """Mask of points that must not take part in a transform.

    Parameters
    ----------
    x : ndarray of floats
        One chunk.

    Returns
    -------
    ndarray of bool
        True at NaN, infinities, and values such as 1e20 whose magnitude is over 10^6 times that
        of all remaining points.
    """
    if _is_plain(x):
        return np.zeros(x.shape, bool)
    mask: np.ndarray = ~np.isfinite(x)
    with np.errstate(invalid="ignore"):  # signalling NaN
        magnitude = np.abs(x).astype(np.float64)
    magnitude[mask] = 0
    for _ in range(_MOST_FILL_VALUES if x.size else 0):
        peak = magnitude.max()
        rest = magnitude[magnitude < peak]
        below = rest.max() if rest.size else 0
        # an all-zero rest says nothing about scale: a lone pulse is physics
        if below == 0 or peak / FILL_FACTOR <= below:
            break
        mask |= magnitude == peak
        magnitude[mask] = 0
    return mask


def _is_plain(x: np.ndarray) -> bool:
    """True if one look shows that all values are finite and none is a fill value."""
    if not x.size:
        return True
    with np.errstate(invalid="ignore"):
        peak = max(float(x.max()), -float(x.min()))
    if not np.isfinite(peak):
        return False
    flat = x.reshape(-1)
    sample = np.abs(flat[:: max(flat.size // _SAMPLE, 1)]).astype(np.float64)
    # one value between them shows that the largest is not far above all others
    return bool(((sample > peak / FILL_FACTOR) & (sample < peak)).any())


def write_points(x: np.ndarray, mask: np.ndarray) -> bytes:
    """Places and bits of the points where mask is True; empty if there are none."""
    values = x[mask]
    if not values.size:
        return b""
    parts = [deflate(np.packbits(mask.reshape(-1))), deflate(split_planes(values))]
    return b"".join([varint(values.size), *(varint(len(p)) + p for p in parts)])


def read_points(data: bytes, into: np.ndarray) -> np.ndarray | None:
    """Put the points that `write_points` wrote into an array of the same shape and dtype.

    Returns
    -------
    ndarray of bool or None
        True at these points; None if there are none.
    """
    if not data:
        return None
    reader = Reader(data)
    count = reader.varint()
    if count > into.size:
        raise CorruptDataError(f"expected at most {into.size} exact points, found {count}")
    bitmap = np.frombuffer(reader.section(-(-into.size // 8)), np.uint8)
    places = np.flatnonzero(np.unpackbits(bitmap, count=into.size))
    if places.size != count:
        raise CorruptDataError(f"expected {count} exact points, the map marks {places.size}")
    values = join_planes(reader.section(count * into.dtype.itemsize), into.dtype)
    reader.end()
    into.reshape(-1)[places] = values
    mask = np.zeros(into.shape, bool)
    mask.reshape(-1)[places] = True
    return mask


def write_lossless(x: np.ndarray) -> bytes:
    """All bits of an array: byte planes, then zstd."""
    return deflate(split_planes(x))


def read_lossless(data: bytes, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Inverse of `write_lossless`."""
    reader = Reader(varint(len(data)) + data)
    count = int(np.prod(shape, dtype=np.int64))
    return join_planes(reader.section(count * dtype.itemsize), dtype).reshape(shape)
