"""The method "zfp": zfp by zfpy with a tolerance at every point."""

from __future__ import annotations

import struct

import numpy as np

from xphys._optional import require
from xphys.codecs.wrapped._codec import EXTRA, Codec
from xphys.errors import CorruptDataError

__all__ = ["ZFP"]

_HEAD = struct.Struct("<d")
_SPARE = 64  # zero bytes: its decoder reads words


def _encode(x: np.ndarray, tolerance: float, pointwise: bool) -> bytes:
    package = require("zfpy", EXTRA)
    data = package.compress_numpy(x, tolerance=tolerance, write_header=False)
    return _HEAD.pack(tolerance) + bytes(data)


def _decode(data: bytes, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    package = require("zfpy", EXTRA)
    if len(data) < _HEAD.size:
        raise CorruptDataError(f"expected at least {_HEAD.size} bytes, got {len(data)}")
    (tolerance,) = _HEAD.unpack_from(data)
    if not 0 < tolerance < 1e6:
        raise CorruptDataError(f"expected a tolerance, found {tolerance}")
    kind = package.dtype_to_ztype(dtype)
    stream = data[_HEAD.size :] + bytes(_SPARE)
    return np.asarray(package._decompress(stream, kind, shape, tolerance=tolerance))


ZFP = Codec("zfp", 19, "zfpy", (1, 2, 3), 1, 0.1, _encode, _decode)
