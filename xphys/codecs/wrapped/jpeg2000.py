"""The method "jpeg2000": JPEG 2000 by imagecodecs, one image of 16 bits for each plane."""

from __future__ import annotations

import math
import struct

import numpy as np

from xphys._optional import require
from xphys._streams import Reader, varint
from xphys.codecs.wrapped._codec import EXTRA, Codec
from xphys.errors import CorruptDataError

__all__ = ["JPEG2000"]

_HEAD = struct.Struct("<dd")
_TOP = 2**16 - 1
_MARK = b"\xff\x4f\xff\x51"  # start of a codestream and its sizes
_SIZES = struct.Struct(">HHIIIIIIIIH")


def _encode(x: np.ndarray, tolerance: float, pointwise: bool) -> bytes:
    codecs = require("imagecodecs", EXTRA)
    low = float(x.min())
    unit = max((float(x.max()) - low) / _TOP, 1e-300)
    level = min(max(20 * math.log10(max(unit * _TOP / tolerance, 1e-3)), 1.0), 120.0)
    out = [_HEAD.pack(low, unit)]
    for plane in x.reshape(-1, *x.shape[-2:]):
        image = np.rint((plane.astype(np.float64) - low) / unit).astype(np.uint16)
        data = codecs.jpeg2k_encode(
            image, level=level, codecformat="j2k", bitspersample=16, numthreads=1
        )
        out.append(varint(len(data)) + bytes(data))
    return b"".join(out)


def _decode(data: bytes, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    codecs = require("imagecodecs", EXTRA)
    if len(data) < _HEAD.size:
        raise CorruptDataError(f"expected at least {_HEAD.size} bytes, got {len(data)}")
    low, unit = _HEAD.unpack_from(data)
    reader = Reader(data[_HEAD.size :])
    out = np.empty((int(np.prod(shape[:-2])), *shape[-2:]), dtype)
    for plane in out:
        image = reader.take(reader.varint())
        _check(image, shape[-2:])
        found = np.asarray(codecs.jpeg2k_decode(image, numthreads=1))
        if found.shape != plane.shape:
            raise CorruptDataError(f"expected an image of {plane.shape}, found {found.shape}")
        plane[...] = found.astype(np.float64) * unit + low
    reader.end()
    return out.reshape(shape)


def _check(image: bytes, shape: tuple[int, ...]) -> None:
    """The sizes that an image states, before anything of that size is made."""
    if image[:4] != _MARK or len(image) < 4 + _SIZES.size:
        raise CorruptDataError("expected an image of JPEG 2000")
    _, _, width, height, left, top, *_ = _SIZES.unpack_from(image, 4)
    if (height - top, width - left) != shape:
        raise CorruptDataError(f"expected an image of {shape}, found {(height, width)}")


JPEG2000 = Codec("jpeg2000", 18, "imagecodecs", (2, 3), 4, 1.0, _encode, _decode, bounded=False)
