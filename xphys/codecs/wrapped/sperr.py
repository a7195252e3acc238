"""The method "sperr": SPERR by imagecodecs, two or three axes transformed as a whole."""

from __future__ import annotations

import math

import numpy as np

from xphys._optional import require
from xphys.codecs.wrapped._codec import EXTRA, Codec

__all__ = ["SPERR"]

_HIGHEST = 240.0  # dB; beyond that float64 is exhausted


def _encode(x: np.ndarray, tolerance: float, pointwise: bool) -> bytes:
    codecs = require("imagecodecs", EXTRA)
    spread = float(x.max()) - float(x.min())
    chunks = {"chunks": x.shape} if x.ndim == 3 else {}
    level, mode = float(tolerance), "pwe"
    if not pointwise:  # its quality is a PSNR: that of a root mean square error of the tolerance
        level, mode = 20 * math.log10(max(spread, 1e-300) / tolerance), "psnr"
        level = min(max(level, 1.0), _HIGHEST)
    return bytes(codecs.sperr_encode(x, level, mode, numthreads=1, **chunks))


def _decode(data: bytes, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    codecs = require("imagecodecs", EXTRA)
    given = {} if len(shape) == 3 else {"shape": shape, "dtype": dtype}
    return np.asarray(codecs.sperr_decode(data, numthreads=1, **given))


SPERR = Codec("sperr", 17, "imagecodecs", (2, 3), 8, 1.0, _encode, _decode)
