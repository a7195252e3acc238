"""Formats with a header of text: AthenaK, VTK, tables; JSON of Zarr; classic netCDF."""

from __future__ import annotations

import json
import random
import re
from typing import Any

from benchmarks.torture._mutate.any import anything, fields, odd

__all__ = ["athenak", "classic", "document", "table", "vtk"]

_WORDS = (
    "", "0", "-1", "1", "nan", "inf", "1e400", "9" * 30, "9" * 5000, "4294967296", "2147483648",
    "1048576", "3.5", "abc", "\u00fc", "-0", "0x10", "1 2", "=", "#", "<mesh>", "\x00", "true",
)  # fmt: skip


def _lines(rng: random.Random, head: bytes) -> bytes:
    """Lines of text: a word, a number, a line gone, doubled or moved."""
    lines = head.split(b"\n")
    i = rng.randrange(len(lines))
    what = rng.randrange(6)
    if what <= 2:
        words = list(re.finditer(rb"[^\s=]+", lines[i]))
        numbers = [m for m in words if re.fullmatch(rb"[-+.\deE]+", m[0])]
        if words:
            one = rng.choice(numbers if numbers and what else words)
            new = rng.choice(_WORDS).encode()
            if re.fullmatch(rb"\d+", one[0]) and rng.random() < 0.5:
                new = str(odd(rng, rng.choice((1, 2, 4)), int(one[0][:18]))).encode()
            lines[i] = lines[i][: one.start()] + new + lines[i][one.end() :]
    elif what == 3:
        del lines[i]
    elif what == 4:
        lines.insert(i, lines[rng.randrange(len(lines))])
    else:
        j = rng.randrange(len(lines))
        lines[i], lines[j] = lines[j], lines[i]
    return b"\n".join(lines)


def athenak(rng: random.Random, data: bytes) -> bytes:
    """The lines of the header, the numbers of a block's record, its values."""
    if rng.random() < 0.1:
        return anything(rng, data)
    mark = data.find(b"header offset=")
    end = data.find(b"\n", mark) + 1
    deck = int(re.match(rb"\d+", data[mark + 14 : end].strip())[0])  # type: ignore[index]
    what = rng.random()
    if what < 0.4:
        return _lines(rng, data[:end]) + data[end:]
    if what < 0.6:  # the deck with its length made right
        new = _lines(rng, data[end : end + deck])
        length = str(len(new)).encode() if rng.random() < 0.8 else b"7"
        line = data[mark:end].replace(str(deck).encode(), length)
        return data[:mark] + line + new + data[end + deck :]
    first = end + deck
    if what < 0.9:  # ten integers, six positions at the start of each record
        rest = len(data) - first
        at = first + (0 if rng.random() < 0.5 else rng.randrange(max(rest - 96, 1)))
        return fields(rng, data, at, min(at + 96, len(data)))
    return data[:first] + anything(rng, data[first:])


def vtk(rng: random.Random, data: bytes) -> bytes:
    """The lines of the header and those between the variables."""
    if rng.random() < 0.15:
        return anything(rng, data)
    heads = [m.start() for m in re.finditer(rb"\n(SCALARS|VECTORS|LOOKUP_TABLE|CELL_DATA)", data)]
    at = rng.choice([0, 0, 0, *heads])
    stop = min(at + rng.choice((100, 300, 400)), len(data))
    return data[:at] + _lines(rng, data[at:stop]) + data[stop:]


def table(rng: random.Random, data: bytes) -> bytes:
    """A table of numbers."""
    return anything(rng, data) if rng.random() < 0.2 else _lines(rng, data)


def classic(rng: random.Random, data: bytes) -> bytes:
    """Numbers of the header of classic netCDF, which are of four bytes, the last first."""
    if rng.random() < 0.2:
        return anything(rng, data)
    return fields(rng, data, 4, min(len(data), 1024), "big")


_ODD: tuple[Any, ...] = (
    None, True, 0, -1, 1, 2**31, 2**63, 1.5, float("nan"), "", "x", "../../x", "/etc/passwd", [],
    {}, [0], [-1], [2**62], [2**31, 2**31], [1] * 40, "<f8", "|O", "object", "pickle", "Infinity",
    {"id": "pickle"}, {"name": "pickle"}, {"name": "bytes"}, {"name": "gzip", "configuration": {}},
    [{"name": "numcodecs.pickle", "configuration": {}}], {"name": "regular"}, "a" * 5000, 10**400,
)  # fmt: skip


def document(rng: random.Random, data: bytes) -> bytes:
    """A value somewhere in a JSON document replaced, doubled, renamed or gone."""
    if rng.random() < 0.1:
        return anything(rng, data)
    try:
        whole = json.loads(data)
    except ValueError:
        return anything(rng, data)
    places: list[tuple[Any, Any]] = []
    _walk(whole, places)
    for _ in range(rng.choice((1, 1, 2))):
        if not places:
            return rng.choice((b"[]", b"null", b"3", b"[" * 10**5, b"{}"))
        holder, key = rng.choice(places)
        what = rng.randrange(5)
        if what <= 2:
            holder[key] = rng.choice(_ODD)
        elif what == 3:
            other, name = rng.choice(places)
            holder[key] = json.loads(json.dumps(other.get(name) if isinstance(other, dict) else 1))
        elif isinstance(holder, dict):
            value = holder.pop(key, None)
            if rng.random() < 0.5:
                holder[rng.choice(("extra", "..", "a/b", "", "u", "\x00"))] = value
    return json.dumps(whole).encode()


def _walk(value: Any, places: list[tuple[Any, Any]]) -> None:
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in pairs:
        places.append((value, key))
        if isinstance(inner, dict | list):
            _walk(inner, places)
