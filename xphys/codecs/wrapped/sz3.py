"""The method "sz3": SZ3 by pysz, a tolerance at every point."""

from __future__ import annotations

import numpy as np

from xphys._optional import require
from xphys.codecs.wrapped._codec import EXTRA, Codec

__all__ = ["SZ3"]


def _encode(x: np.ndarray, tolerance: float, pointwise: bool) -> bytes:
    package = require("pysz", EXTRA)
    config = package.szConfig()
    config.errorBoundMode = package.szErrorBoundMode.ABS
    config.absErrorBound = float(tolerance)
    config.cmprAlgo = package.szAlgorithm.INTERP_LORENZO
    return bytes(package.sz.compress(x, config)[0].tobytes())


def _decode(data: bytes, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    package = require("pysz", EXTRA)
    found = package.sz.decompress(np.frombuffer(data, np.uint8).copy(), dtype.type, shape)
    return np.asarray(found[0])


SZ3 = Codec("sz3", 16, "pysz", (1, 2, 3), 1, 0.5, _encode, _decode)
