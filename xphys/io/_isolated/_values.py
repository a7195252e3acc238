"""Attributes and encodings as JSON and back; what comes back was written by a stranger."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["dtype_of", "is_carried", "plain", "restored", "sound"]

_BASIC = (bool, int, float, str)
_KIND = "~"  # key of a mapping that stands for something else
_DTYPE = re.compile(
    r"[<>|=]?(b1|[iu][1248]|f[248]|c8|c16|[SU]\d{1,7}|[mM]8(\[\d{0,9}[a-zA-Z]{1,2}\])?)"
)


def dtype_of(text: Any) -> np.dtype:
    """A dtype from its text: numbers, times, text and bytes of fixed size; ValueError otherwise."""
    if not isinstance(text, str) or not _DTYPE.fullmatch(text):
        raise ValueError(f"dtype {str(text)[:40]!r}")
    return np.dtype(text)


def is_carried(dtype: np.dtype) -> bool:
    """Whether the bytes of an array are its values."""
    return _DTYPE.fullmatch(dtype.str) is not None


def plain(value: Any) -> Any:
    """What JSON can hold; TypeError for what has no such form."""
    if value is None or type(value) in _BASIC:  # not NumPy's, which are numbers too
        return value
    if isinstance(value, bytes):
        return {_KIND: "bytes", "data": _text(value)}
    if isinstance(value, np.dtype):
        if not is_carried(value):
            raise TypeError(f"dtype {value}")
        return {_KIND: "dtype", "dtype": value.str}
    if isinstance(value, np.ndarray | np.generic):
        return _plain_array(np.asarray(value))
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, tuple):
        return {_KIND: "tuple", "items": [plain(item) for item in value]}
    if isinstance(value, Mapping):
        return {_KIND: "dict", "items": [[plain(k), plain(v)] for k, v in value.items()]}
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _plain_array(array: np.ndarray) -> Any:
    if array.dtype.kind in "OT":
        return plain(array.tolist())
    if not is_carried(array.dtype):
        raise TypeError(f"dtype {array.dtype}")
    data = _text(array.tobytes())
    return {_KIND: "array", "dtype": array.dtype.str, "shape": list(array.shape), "data": data}


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def restored(value: Any) -> Any:
    """The inverse of `plain`; ValueError for anything that it does not write."""
    if isinstance(value, list):
        return [restored(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value.get(_KIND)
    if kind == "tuple" and isinstance(value.get("items"), list):
        return tuple(restored(item) for item in value["items"])
    if kind == "dict" and isinstance(value.get("items"), list):
        pairs = [restored(pair) for pair in value["items"]]
        if all(isinstance(p, list) and len(p) == 2 and isinstance(p[0], str | int) for p in pairs):
            return {key: held for key, held in pairs}
    if kind == "bytes":
        return _bytes(value)
    if kind == "dtype":
        return dtype_of(value.get("dtype"))
    if kind == "array":
        return _array(value)
    raise ValueError(f"a value of kind {str(kind)[:40]!r}")


def _bytes(value: dict[str, Any]) -> bytes:
    data = value.get("data")
    if not isinstance(data, str):
        raise ValueError("bytes without data")
    return base64.b64decode(data, validate=True)


def _array(value: dict[str, Any]) -> Any:
    dtype, shape, data = dtype_of(value.get("dtype")), value.get("shape"), _bytes(value)
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError("an array without shape")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"an array of shape {shape} in {len(data)} bytes")
    array = sound(np.frombuffer(data, dtype).reshape(shape).copy())
    return array if shape else array[()]


def sound(array: np.ndarray) -> np.ndarray:
    """An array from foreign bytes, if every element is one of its dtype; ValueError otherwise."""
    if array.dtype.kind == "b":
        whole: np.ndarray = array.view(np.uint8) != 0
        return whole
    if array.dtype.kind == "U" and array.size and array.dtype.itemsize:
        points = np.ascontiguousarray(array).reshape(-1).view(array.dtype.byteorder + "u4")
        if points.max() > 0x10FFFF:
            raise ValueError("text with characters that do not exist")
    return array
