"""The method "pco": values on a grid, their numbers coded losslessly by pcodec of imagecodecs."""

from __future__ import annotations

import struct

import numpy as np

from xphys._optional import require
from xphys.codecs.wrapped._codec import EXTRA, Codec
from xphys.errors import CorruptDataError

__all__ = ["PCO"]

_HEAD = struct.Struct("<dB")
_INTEGERS = (np.dtype(np.int32), np.dtype(np.int64))
_LEVEL = 8


def _numbers(x: np.ndarray, tolerance: float) -> np.ndarray:
    numbers = np.rint(x.astype(np.float64) / (2 * tolerance))
    peak = np.abs(numbers).max(initial=0.0)
    return numbers.astype(_INTEGERS[int(peak >= 2**31)])


def _rehearse(x: np.ndarray, tolerance: float, pointwise: bool) -> np.ndarray:
    return (_numbers(x, tolerance) * (2 * tolerance)).astype(x.dtype)


def _encode(x: np.ndarray, tolerance: float, pointwise: bool) -> bytes:
    codecs = require("imagecodecs", EXTRA)
    numbers = _numbers(x, tolerance)
    head = _HEAD.pack(2 * tolerance, _INTEGERS.index(numbers.dtype))
    return head + bytes(codecs.pcodec_encode(numbers, level=_LEVEL))


def _decode(data: bytes, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    codecs = require("imagecodecs", EXTRA)
    if len(data) < _HEAD.size or data[_HEAD.size - 1] >= len(_INTEGERS):
        raise CorruptDataError("expected a step and a kind of integers")
    step, kind = _HEAD.unpack_from(data)
    numbers = codecs.pcodec_decode(data[_HEAD.size :], shape, _INTEGERS[kind])
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray((np.asarray(numbers) * step).astype(dtype))


PCO = Codec("pco", 20, "imagecodecs", (1, 2, 3), 1, 3**-0.5, _encode, _decode, rehearse=_rehearse)
