"""Legacy VTK files as their lines describe them; values are skipped."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from xphys._storage import open_binary
from xphys.errors import FormatError

__all__ = ["FIRST", "Array", "File", "cells", "read_file"]

FIRST = b"# vtk DataFile Version "
_LINE = 1024  # bytes of the longest line
_LARGEST_TEXT = 2**26  # bytes of an ASCII file, which is read whole
_MOST = 10_000  # arrays of one file
_MOST_COMPONENTS = 100
_TYPES = {
    "unsigned_char": "u1", "char": "i1", "unsigned_short": "u2", "short": "i2",
    "unsigned_int": "u4", "int": "i4", "vtktypeint64": "i8", "float": "f4", "double": "f8",
}  # fmt: skip
_TIME = re.compile(r"\btime\s*=\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)")
_CYCLE = re.compile(r"\bcycle\s*=\s*(\d{1,15})\b")


@dataclass(frozen=True)
class Array:
    """One array of a file: where its values begin, or for text the values themselves."""

    name: str
    dtype: np.dtype
    components: int
    offset: int
    values: np.ndarray | None


@dataclass(frozen=True)
class File:
    """What the lines of a file say."""

    path: str
    points: tuple[int, int, int]
    origin: tuple[float, ...]
    spacing: tuple[float, ...]
    arrays: Mapping[str, tuple[Array, ...]]
    time: float | None
    cycle: int | None


class _Lines:
    """Reads lines and skips values, from a file of which only those lines are read."""

    def __init__(self, file: IO[bytes], path: str):
        self.file, self.path = file, path
        self.size = file.seek(0, os.SEEK_END)
        file.seek(0)

    def next(self) -> str:
        """The next line that is not empty; "" at the end of the file."""
        while True:
            line = self.file.readline(_LINE)
            if not line:
                return ""
            if len(line) == _LINE and not line.endswith(b"\n"):
                raise FormatError(f"{self.path}: expected a line of text, found {line[:32]!r}")
            if line.strip():
                return line.decode("utf-8", "replace").strip()

    def array(self, name: str, kind: str, components: int, count: int, binary: bool) -> Array:
        """An array whose values begin here; they are skipped, in a text file read."""
        if components > _MOST_COMPONENTS:
            raise FormatError(
                f"{self.path}: expected at most {_MOST_COMPONENTS} components in {name!r}, "
                f"found {components:,}"
            )
        if kind not in _TYPES:
            raise FormatError(f"{self.path}: expected a type among {[*_TYPES]}, found {kind!r}")
        dtype, total = np.dtype(f">{_TYPES[kind]}"), components * count
        if not binary:
            values = _numbers(self, total, name, dtype.newbyteorder("="))
            return Array(name, values.dtype, components, 0, values)
        offset = self.file.tell()
        if offset + total * dtype.itemsize > self.size:
            raise FormatError(
                f"{self.path}: expected {total * dtype.itemsize:,} bytes of {name!r} at offset "
                f"{offset}, the file ends at {self.size:,}: it is truncated or still being written"
            )
        self.file.seek(offset + total * dtype.itemsize)
        return Array(name, dtype, components, offset, None)


def _numbers(lines: _Lines, total: int, name: str, dtype: np.dtype) -> np.ndarray:
    if lines.size > _LARGEST_TEXT:
        raise FormatError(f"{lines.path}: ASCII files are read up to 64 MiB: write BINARY")
    words: list[str] = []
    while len(words) < total:
        line = lines.file.readline()
        if not line:
            break
        words += line.decode("utf-8", "replace").split()
    kind = np.int64 if dtype.kind in "iu" else np.float64
    try:
        values = np.array(words, kind)
    except (ValueError, OverflowError):
        values = np.empty(0, kind)
    with np.errstate(over="ignore"):
        narrow = values.astype(dtype)
    if values.size != total or (dtype.kind in "iu" and not np.array_equal(narrow, values)):
        raise FormatError(
            f"{lines.path}: expected {total:,} numbers of {dtype} in {name!r}, found {len(words):,}"
        )
    return narrow


def read_file(path: str, storage_options: Mapping[str, Any] | None) -> File:
    with open_binary(path, storage_options) as file:
        lines = _Lines(file, path)
        first, title = lines.next(), file.readline(_LINE).decode("utf-8", "replace").strip()
        kind, dataset = lines.next().upper(), lines.next().upper().split()
        if not first.encode().startswith(FIRST) or kind not in ("BINARY", "ASCII"):
            raise FormatError(f"{path}: expected a legacy VTK file, found {first[:40]!r}")
        if dataset != ["DATASET", "STRUCTURED_POINTS"]:
            raise FormatError(
                f"{path}: expected DATASET STRUCTURED_POINTS, found {' '.join(dataset)[:60]!r}: "
                "other kinds of VTK data are not read"
            )
        return _body(lines, title, kind == "BINARY")


def _body(lines: _Lines, title: str, binary: bool) -> File:
    grid: dict[str, list[float]] = {}
    arrays: dict[str, list[Array]] = {}
    fields: dict[str, Array] = {}
    where, count = "", 0
    for line in iter(lines.next, ""):
        word, *rest = line.split()
        word = word.upper()
        if word in ("DIMENSIONS", "ORIGIN", "SPACING", "ASPECT_RATIO") and not where:
            grid["SPACING" if word == "ASPECT_RATIO" else word] = _floats(lines, line, rest, 3)
        elif word in ("CELL_DATA", "POINT_DATA"):
            where, count = word[:-5].lower(), _count(lines, line, rest)
            points = _points(lines, grid)
            wanted = math.prod(cells(n, where) for n in points)
            if count != wanted:
                raise FormatError(f"{lines.path}: expected {word} {wanted:,}, found {count:,}")
        else:
            found = list(_attribute(lines, line, word, rest, count if where else None, binary))
            if where:
                arrays.setdefault(where, []).extend(found)
            else:
                fields |= {array.name.upper(): array for array in found}
        if sum(map(len, arrays.values())) > _MOST:
            raise FormatError(f"{lines.path}: expected at most {_MOST:,} arrays, found more")
    points = _points(lines, grid)
    _check_names(lines.path, arrays)
    return File(
        lines.path,
        points,
        tuple(grid["ORIGIN"]),
        tuple(grid["SPACING"]),
        {key: tuple(held) for key, held in arrays.items()},
        *_moment(lines, title, fields),
    )


def cells(points: int, where: str) -> int:
    return max(points - 1, 1) if where == "cell" else points


def _floats(lines: _Lines, line: str, words: Sequence[str], count: int) -> list[float]:
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = []
    if len(values) != count or not np.isfinite(values).all():
        raise FormatError(f"{lines.path}: expected {count} numbers, found {line[:60]!r}")
    return values


def _count(lines: _Lines, line: str, words: Sequence[str]) -> int:
    if len(words) < 1 or not words[-1].isascii() or not words[-1].isdigit() or len(words[-1]) > 18:
        raise FormatError(f"{lines.path}: expected a number at the end of {line[:60]!r}")
    return int(words[-1])


def _points(lines: _Lines, grid: Mapping[str, list[float]]) -> tuple[int, int, int]:
    lacking = {"DIMENSIONS", "ORIGIN", "SPACING"} - set(grid)
    if lacking:
        raise FormatError(f"{lines.path}: expected {sorted(lacking)} before the data, found none")
    numbers, steps = grid["DIMENSIONS"], grid["SPACING"]
    if any(n != int(n) or not 1 <= n < 2**53 for n in numbers) or not min(steps) > 0:
        raise FormatError(
            f"{lines.path}: expected positive DIMENSIONS and SPACING, found {numbers} and {steps}"
        )
    return (int(numbers[0]), int(numbers[1]), int(numbers[2]))


def _attribute(
    lines: _Lines, line: str, word: str, rest: Sequence[str], count: int | None, binary: bool
) -> Iterator[Array]:
    """Arrays that a line announces."""
    if word == "FIELD":
        for _ in range(_count(lines, line, rest)):
            header = lines.next().split()
            if len(header) != 4:
                raise FormatError(
                    f"{lines.path}: expected 4 words for an array, found {header[:6]}"
                )
            name, width, tuples, kind = header
            size = _count(lines, name, [tuples])
            if count not in (None, size):
                raise FormatError(
                    f"{lines.path}: expected {count} values in {name!r}, found {size}"
                )
            yield lines.array(name, kind.lower(), _count(lines, name, [width]), size, binary)
        return
    wanted = {"SCALARS": (2, 3), "VECTORS": (2,), "TENSORS": (2,)}
    if word not in wanted or len(rest) not in wanted[word] or count is None:
        raise FormatError(
            f"{lines.path}: expected SCALARS, VECTORS, TENSORS or FIELD after CELL_DATA or "
            f"POINT_DATA, found {line[:60]!r}"
        )
    components = {"VECTORS": 3, "TENSORS": 9}.get(word, 1)
    if word == "SCALARS":
        components = _count(lines, line, rest[2:]) if len(rest) == 3 else 1
        table = lines.next().split()
        if [part.upper() for part in table[:1]] != ["LOOKUP_TABLE"]:
            raise FormatError(f"{lines.path}: expected LOOKUP_TABLE after {line[:60]!r}")
    yield lines.array(rest[0], rest[1].lower(), components, count, binary)


def _check_names(path: str, arrays: Mapping[str, Sequence[Array]]) -> None:
    for held in arrays.values():
        seen: set[str] = set()
        for array in held:
            if array.name in seen:
                raise FormatError(f"{path}: expected every name once, found {array.name!r} again")
            seen.add(array.name)


def _moment(
    lines: _Lines, title: str, fields: Mapping[str, Array]
) -> tuple[float | None, int | None]:
    """Time and cycle: in field data, or in the second line as the Athena codes write it."""
    stored: list[float | None] = []
    for key, pattern in (("TIME", _TIME), ("CYCLE", _CYCLE)):
        match, array = pattern.search(title), fields.get(key)
        if array is not None and array.values is None:
            lines.file.seek(array.offset)
            raw = lines.file.read(array.dtype.itemsize)
            stored.append(float(np.frombuffer(raw, array.dtype)[0]) if raw else None)
        elif array is not None and array.values is not None and array.values.size:
            stored.append(float(array.values[0]))
        else:
            stored.append(_floats(lines, match[0], [match[1]], 1)[0] if match else None)
    time, cycle = stored
    if any(value is not None and not abs(value) < 2**53 for value in stored):
        raise FormatError(f"{lines.path}: expected a finite time and cycle, found {stored}")
    return time, None if cycle is None else int(cycle)
