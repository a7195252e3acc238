"""Rechunking by way of files: memory of a few blocks, whatever the size of the array.

Rechunking in memory holds, for every part of the array whose old and new chunks overlap, all of
it. Here each old block is cut up and written as soon as it is there, and each new block is put
together from its file once all of its part are written. Every byte goes to disk once and comes
back once. Parts between common borders of old and new chunks do not wait for each other.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import shutil
import tempfile
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise, product
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from dask import config
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from dask.task_spec import Task, TaskRef
from numpy.typing import NDArray

from xphys.errors import CorruptDataError

__all__ = ["rechunk"]

Chunks = tuple[tuple[int, ...], ...]
Index = tuple[int, ...]
Overlap = tuple[Index, tuple[slice, ...]]
# Ends each piece: a hole left by a writer on another disk is not taken for zeros.
_MARK = b"xphys!fft"
_PREFIX = "xphys-spectra-"
# Bytes read at a time where pieces are small.
_AHEAD = 2**18


def rechunk(array: da.Array, chunks: Chunks, folder: str | None) -> da.Array:
    """Lazily rechunk through files in ``folder``, one for each new block.

    Parameters
    ----------
    array : dask.array.Array
        Any array of numbers.
    chunks : tuple of tuples of int
        New chunks, one tuple of sizes for each dim.
    folder : str or None
        Where to make the temporary folder, on a disk that all workers see; None is that of
        ``dask.config["temporary-directory"]``, or the system's.

    Returns
    -------
    dask.array.Array
        Same values. A part needs its own size on disk, from its first write to its last read.

    Raises
    ------
    CorruptDataError
        When computed, if a piece is missing: the workers do not share the folder.
    """
    if array.size == 0:
        return array.rechunk(chunks)
    name = f"scratch-{tokenize(array.name, chunks, folder)}"
    tasks: dict[Any, Task] = {}
    for number, part in enumerate(_parts(array.chunks, chunks, array.dtype)):
        opened, closed = f"open-{name}-{number}", f"written-{name}-{number}"
        tasks[opened] = Task(opened, _open, folder, part)
        written = []
        for index in _indices(part.old):
            key = (f"write-{name}", *index)
            block = TaskRef((array.name, *index))
            tasks[key] = Task(key, _write, block, TaskRef(opened), index)
            written.append(TaskRef(key))
        tasks[closed] = Task(closed, _written, TaskRef(opened), *written)
        for index in _indices(part.new):
            key = (name, *index)
            tasks[key] = Task(key, _read, TaskRef(closed), index)
    graph = HighLevelGraph.from_collections(name, MaterializedLayer(tasks), [array])
    return da.Array(graph, name, chunks=chunks, dtype=array.dtype, meta=array._meta)


# --- which blocks go where ------------------------------------------------------------------


@dataclass(frozen=True)
class _Side:
    """Old or new blocks of a part along one dim: number of the first, and all borders."""

    first: int
    borders: tuple[int, ...]

    @property
    def numbers(self) -> range:
        """Of the blocks."""
        return range(self.first, self.first + len(self.borders) - 1)

    @property
    def largest(self) -> int:
        """Size of the largest block."""
        return max(b - a for a, b in pairwise(self.borders))

    def bounds(self, number: int) -> tuple[int, int]:
        """Start and stop of a block."""
        place = number - self.first
        return self.borders[place], self.borders[place + 1]

    def touched(self, start: int, stop: int) -> range:
        """Blocks that overlap an interval."""
        low, high = bisect_right(self.borders, start) - 1, bisect_left(self.borders, stop)
        return range(self.first + low, self.first + high)


Sides = tuple[_Side, ...]


@dataclass(frozen=True)
class _Part:
    """A part of the array between common borders of old and new blocks."""

    old: Sides
    new: Sides
    dtype: np.dtype[Any]

    @property
    def slot(self) -> int:
        """Bytes kept for one piece and its mark in the file of a new block."""
        sizes = (min(o.largest, n.largest) for o, n in zip(self.old, self.new, strict=True))
        return int(np.prod([*sizes, self.dtype.itemsize], dtype=np.int64)) + len(_MARK)

    def place(self, origin: Index) -> int:
        """Number of the slot of an old block."""
        rank = 0
        for side, number in zip(self.old, origin, strict=True):
            rank = rank * len(side.numbers) + number - side.first
        return rank


def _parts(old: Chunks, new: Chunks, dtype: np.dtype[Any]) -> Iterator[_Part]:
    along = []
    for a, b in zip(old, new, strict=True):
        borders = [0, *accumulate(a)], [0, *accumulate(b)]
        cuts = sorted(set(borders[0]) & set(borders[1]))
        along.append([tuple(_side(each, i, j) for each in borders) for i, j in pairwise(cuts)])
    for choice in product(*along):
        yield _Part(tuple(old for old, _ in choice), tuple(new for _, new in choice), dtype)


def _side(borders: list[int], start: int, stop: int) -> _Side:
    first, last = bisect_left(borders, start), bisect_left(borders, stop)
    return _Side(first, tuple(borders[first : last + 1]))


def _indices(sides: Sides) -> Iterator[Index]:
    return product(*(side.numbers for side in sides))


def _overlaps(here: Sides, index: Index, there: Sides) -> Iterator[Overlap]:
    """Blocks there that overlap one here, and the overlap in the positions of that one."""
    along = []
    for mine, number, other in zip(here, index, there, strict=True):
        start, stop = mine.bounds(number)
        found = []
        for block in other.touched(start, stop):
            low, high = other.bounds(block)
            found.append((block, slice(max(start, low) - start, min(stop, high) - start)))
        along.append(found)
    for choice in product(*along):
        yield tuple(block for block, _ in choice), tuple(where for _, where in choice)


# --- tasks ----------------------------------------------------------------------------------


def _open(folder: str | None, part: _Part) -> tuple[str, _Part]:
    parent = folder or config.get("temporary-directory", None)
    if parent is not None:
        Path(parent).mkdir(parents=True, exist_ok=True)
    made = tempfile.mkdtemp(prefix=_PREFIX, dir=parent)
    # Reading removes what it has read; this is for a computation that stops half way.
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made, part


def _write(block: NDArray[Any], opened: tuple[str, _Part], index: Index) -> None:
    folder, part = opened
    offset = part.place(index) * part.slot
    # made if it is not there, and never emptied: others write their pieces to the same file
    flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0)
    for target, where in _overlaps(part.old, index, part.new):
        data = _marked(block[where])
        file = os.open(_file(folder, target), flags, 0o600)
        try:
            os.lseek(file, offset, os.SEEK_SET)
            while len(data):  # one call may write less than all, and at most 2 GiB
                data = data[os.write(file, data) :]
        finally:
            os.close(file)


def _marked(piece: NDArray[Any]) -> memoryview:
    """Bytes of a piece and the mark: pieces may be many and small, so one call writes both."""
    raw = np.empty(piece.nbytes + len(_MARK), np.uint8)
    raw[: piece.nbytes].view(piece.dtype).reshape(piece.shape)[...] = piece
    raw[piece.nbytes :] = np.frombuffer(_MARK, np.uint8)
    return raw.data


def _written(opened: tuple[str, _Part], *_: None) -> tuple[str, _Part]:
    return opened


def _read(opened: tuple[str, _Part], index: Index) -> NDArray[Any]:
    folder, part = opened
    bounds = [side.bounds(number) for side, number in zip(part.new, index, strict=True)]
    result = np.empty([stop - start for start, stop in bounds], part.dtype)
    name, slot = _file(folder, index), part.slot
    try:
        with io.BufferedReader(io.FileIO(name), _AHEAD) as file:
            for origin, where in _overlaps(part.new, index, part.old):
                target = result[where]
                raw = np.empty(target.nbytes + len(_MARK), np.uint8)
                file.seek(part.place(origin) * slot)
                whole = file.readinto(raw.data) == raw.nbytes
                if not whole or raw[target.nbytes :].tobytes() != _MARK:
                    raise _missing(name)
                target[...] = raw[: target.nbytes].view(part.dtype).reshape(target.shape)
    except FileNotFoundError as error:
        raise _missing(name) from error
    os.unlink(name)
    with contextlib.suppress(OSError):  # others have still to read
        os.rmdir(folder)
    return result


def _missing(name: str) -> CorruptDataError:
    return CorruptDataError(
        f"a piece of {name}, part of a transform by way of files, is missing or cut short: "
        "compute again, with scratch= a folder that all workers share"
    )


def _file(folder: str, target: Index) -> str:
    return os.path.join(folder, "-".join(map(str, target)))
