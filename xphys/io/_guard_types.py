"""Data types in metadata documents: the bytes of one element, or a refusal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from xphys.errors import FormatError

__all__ = ["TEXT", "itemsize_v2", "itemsize_v3", "plain_itemsize", "short"]

#: Stands for strings and bytes of any length.
TEXT = 0
_LARGEST_ITEM = 2**20
_MOST_FIELDS, _DEEPEST = 1000, 8

_V2 = re.compile(r"([<>|])(b1|[iu][1248]|f[248]|c(?:8|16)|[mM]8(?:\[\d*\w+\])?|[SUV]\d{1,7})", re.A)
_PLAIN = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|c(?:8|16)|[mM]8(?:\[\d*\w+\])?)", re.A)
_NAMED = {
    "bool": 1,
    **{f"{kind}{8 * n}": n for kind in ("int", "uint") for n in (1, 2, 4, 8)},
    **{f"float{8 * n}": n for n in (2, 4, 8)},
    **{f"complex{8 * n}": n for n in (8, 16)},
}
_TEXT_V3 = ("string", "variable_length_bytes", "bytes")
_TIMES_V3 = ("numpy.datetime64", "numpy.timedelta64")
_FIXED_V3 = ("fixed_length_utf32", "null_terminated_bytes", "raw_bytes")


def short(value: object) -> str:
    """What an error shows of a value that a stranger wrote."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _checked(size: object, value: object, path: str) -> int:
    if isinstance(size, bool) or not isinstance(size, int) or not 0 < size <= _LARGEST_ITEM:
        raise FormatError(
            f"{path}: expected elements of 1 to {_LARGEST_ITEM} bytes, got {short(value)}"
        )
    return size


def plain_itemsize(value: object, path: str) -> int:
    """Bytes of a number, as the options of filters name it."""
    if isinstance(value, str) and value in _NAMED:
        return _NAMED[value]
    found = _PLAIN.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise FormatError(f"{path}: expected the dtype of a number, got {short(value)}")
    return int(re.sub(r"\[.*", "", found[1])[1:])


def _fields(fields: object, path: str, depth: int, one: Any) -> int:
    good = isinstance(fields, list) and 0 < len(fields) <= _MOST_FIELDS and depth < _DEEPEST
    if not isinstance(fields, list) or not good:
        raise FormatError(f"{path}: expected the fields of a dtype, got {short(fields)}")
    total = 0
    for field in fields:
        if not (isinstance(field, list) and len(field) == 2 and isinstance(field[0], str)):
            raise FormatError(f"{path}: expected [name, dtype] for each field, got {short(field)}")
        size = one(field[1], path, depth + 1)
        if size == TEXT:
            raise FormatError(f"{path}: expected fields of fixed size, got {short(field)}")
        total += size
    return _checked(total, fields, path)


def itemsize_v2(value: object, path: str, depth: int = 0) -> int:
    """Bytes of one element of a Zarr v2 dtype, `TEXT` for objects."""
    if value == "|O":
        return TEXT
    if isinstance(value, list):
        return _fields(value, path, depth, itemsize_v2)
    found = _V2.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise FormatError(f"{path}: expected a known dtype, got {short(value)}")
    number = int(re.sub(r"\[.*", "", found[2])[1:])
    return _checked(4 * number if found[2][0] == "U" else number, value, path)


def itemsize_v3(value: object, path: str, depth: int = 0) -> int:
    """Bytes of one element of a Zarr v3 data type, `TEXT` for those of any length."""
    name: object = value
    options: Mapping[str, Any] = {}
    if isinstance(value, Mapping):
        name, given = value.get("name"), value.get("configuration", {})
        options = given if isinstance(given, Mapping) else {}
    if name in _TEXT_V3:
        return TEXT
    if isinstance(name, str) and name in _NAMED:
        return _NAMED[name]
    if name in _TIMES_V3:
        return 8
    if name in _FIXED_V3:
        return _checked(options.get("length_bytes"), value, path)
    if name == "structured":
        return _fields(options.get("fields"), path, depth, itemsize_v3)
    if isinstance(name, str) and re.fullmatch(r"r\d{1,8}", name, re.A) and int(name[1:]) % 8 == 0:
        return _checked(int(name[1:]) // 8, value, path)
    raise FormatError(f"{path}: expected a known data type, got {short(value)}")
