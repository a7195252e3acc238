"""The method "bitround": mantissas cut to as many bits as are needed, byte planes, zstd."""

from __future__ import annotations

import math

import numpy as np
from numcodecs.bitround import BitRound

from xphys._streams import Reader, deflate, join_planes, split_planes, varint
from xphys.codecs.wrapped._codec import Codec

__all__ = ["BITROUND"]

_MANTISSA = {np.dtype(np.float32): 23, np.dtype(np.float64): 52}


def _relative(x: np.ndarray, relative: float) -> float:
    """An error of that share of the magnitude is one of that much where the magnitude is one."""
    return relative


def _rehearse(x: np.ndarray, tolerance: float, pointwise: bool) -> np.ndarray:
    # rounding to k bits is off by at most 2**-(k + 1) of the magnitude, which is at most one
    bits = min(max(math.ceil(-math.log2(tolerance) - 1), 0), _MANTISSA[x.dtype])
    if bits == _MANTISSA[x.dtype]:
        return x
    return np.asarray(BitRound(bits).encode(x)).view(x.dtype).reshape(x.shape)


def _encode(x: np.ndarray, tolerance: float, pointwise: bool) -> bytes:
    return deflate(split_planes(_rehearse(x, tolerance, pointwise)))


def _decode(data: bytes, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    reader = Reader(varint(len(data)) + data)
    count = math.prod(shape)
    return join_planes(reader.section(count * dtype.itemsize), dtype).reshape(shape)


BITROUND = Codec(
    "bitround",
    21,
    "",
    (1, 2, 3),
    1,
    0.3,
    _encode,
    _decode,
    rehearse=_rehearse,
    relative=_relative,
)
