"""Rechunking by way of files: memory of a few blocks, whatever the size of the array.

Rechunking in memory holds, for every part of the array whose old and new chunks overlap, all of
it. Here each old block is cut up and written as soon as it is there, and each new block is put
together from files once all of its part are written. Every byte goes to disk once and comes back
once. Parts between common borders of old and new chunks do not wait for each other.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import tempfile
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate, product
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from dask.task_spec import Task, TaskRef
from numpy.typing import NDArray

from xphys.errors import CorruptDataError

__all__ = ["rechunk"]

Chunks = tuple[tuple[int, ...], ...]
Index = tuple[int, ...]
# Ends each piece: a hole left by a writer on another disk is not taken for zeros.
_MARK = b"xphys!fft"
_PREFIX = "xphys-spectra-"


def rechunk(array: da.Array, chunks: Chunks, folder: str | None) -> da.Array:
    """Lazily rechunk through files in ``folder``.

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
    name = f"scratch-{tokenize(array.name, chunks, folder)}"
    tasks: dict[Any, Task] = {}
    old, new = array.chunks, chunks
    for number, part in enumerate(_parts(old, new)):
        opened, closed = f"open-{name}-{number}", f"written-{name}-{number}"
        tasks[opened] = Task(opened, _open, folder)
        sources = list(product(*(range(a, b) for a, b, *_ in part)))
        written = []
        for index in sources:
            key = (f"write-{name}", *index)
            pieces = _pieces(_bounds(old, index), new, part)
            block = TaskRef((array.name, *index))
            tasks[key] = Task(key, _write, block, TaskRef(opened), index, pieces)
            written.append(TaskRef(key))
        tasks[closed] = Task(closed, _written, TaskRef(opened), *written)
        for index in product(*(range(c, d) for *_, c, d in part)):
            key = (name, *index)
            bounds = _bounds(new, index)
            origins = [i for i in sources if _overlap(_bounds(old, i), bounds)]
            places = [(i, _overlap(_bounds(old, i), bounds)) for i in origins]
            tasks[key] = Task(key, _read, TaskRef(closed), index, bounds, places, array.dtype)
    graph = HighLevelGraph.from_collections(name, MaterializedLayer(tasks), [array])
    return da.Array(graph, name, chunks=chunks, dtype=array.dtype, meta=array._meta)


# --- which blocks go where ------------------------------------------------------------------


def _parts(old: Chunks, new: Chunks) -> Iterator[tuple[tuple[int, int, int, int], ...]]:
    """Along each dim: first and last old block, first and last new block of each part."""
    along = []
    for a, b in zip(old, new, strict=True):
        starts, ends = [0, *accumulate(a)], [0, *accumulate(b)]
        cuts = sorted(set(starts) & set(ends))
        along.append([
            (starts.index(i), starts.index(j), ends.index(i), ends.index(j))
            for i, j in zip(cuts, cuts[1:], strict=False)
        ])  # fmt: skip
    yield from product(*along)


def _bounds(chunks: Chunks, index: Index) -> tuple[tuple[int, int], ...]:
    found = []
    for sizes, i in zip(chunks, index, strict=True):
        start = sum(sizes[:i])
        found.append((start, start + sizes[i]))
    return tuple(found)


def _overlap(a: Any, b: Any) -> tuple[tuple[int, int], ...] | None:
    both = tuple((max(p[0], q[0]), min(p[1], q[1])) for p, q in zip(a, b, strict=True))
    return both if all(start < stop for start, stop in both) else None


def _pieces(
    bounds: tuple[tuple[int, int], ...], new: Chunks, part: tuple[tuple[int, int, int, int], ...]
) -> list[tuple[Index, tuple[slice, ...]]]:
    """New blocks that an old one touches, and what it gives them (in its own positions)."""
    along = []
    for (start, stop), sizes, (*_, first, last) in zip(bounds, new, part, strict=True):
        borders = [0, *accumulate(sizes)]
        touched = []
        block = max(first, bisect_right(borders, start) - 1)
        while block < last and borders[block] < stop:
            low, high = max(start, borders[block]), min(stop, borders[block + 1])
            if low < high:
                touched.append((block, slice(low - start, high - start)))
            block += 1
        along.append(touched)
    return [
        (tuple(b for b, _ in choice), tuple(s for _, s in choice)) for choice in product(*along)
    ]


# --- tasks ----------------------------------------------------------------------------------


def _open(folder: str | None) -> str:
    from dask import config

    parent = folder or config.get("temporary-directory", None)
    if parent is not None:
        Path(parent).mkdir(parents=True, exist_ok=True)
    made = tempfile.mkdtemp(prefix=_PREFIX, dir=parent)
    # Reading removes what it has read; this is for a computation that stops half way.
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def _write(
    block: NDArray[Any], folder: str, index: Index, pieces: list[tuple[Index, tuple[slice, ...]]]
) -> None:
    for target, where in pieces:
        with open(_file(folder, target, index), "wb") as file:
            file.write(_bytes(np.ascontiguousarray(block[where])))
            file.write(_MARK)


def _written(folder: str, *_: None) -> str:
    return folder


def _read(
    folder: str,
    index: Index,
    bounds: tuple[tuple[int, int], ...],
    places: list[tuple[Index, tuple[tuple[int, int], ...]]],
    dtype: np.dtype[Any],
) -> NDArray[Any]:
    result = np.empty([stop - start for start, stop in bounds], dtype)
    for origin, place in places:
        shape = [stop - start for start, stop in place]
        where = tuple(
            slice(a - start, b - start) for (a, b), (start, _) in zip(place, bounds, strict=True)
        )
        name = _file(folder, index, origin)
        piece = np.empty(shape, dtype)
        try:
            with open(name, "rb") as file:
                count = file.readinto(_bytes(piece))
                whole = count == piece.nbytes and file.read() == _MARK
        except FileNotFoundError:
            whole = False
        if not whole:
            raise CorruptDataError(
                f"piece {name} of a transform out of memory is missing or cut short: compute "
                "again, with scratch= a folder that all workers share"
            )
        result[where] = piece
        os.unlink(name)
    with contextlib.suppress(OSError):  # others have still to read
        os.rmdir(folder)
    return result


def _bytes(array: NDArray[Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _file(folder: str, target: Index, origin: Index) -> str:
    parts = "-".join(map(str, target)), "-".join(map(str, origin))
    return os.path.join(folder, f"{parts[0]}_{parts[1]}")
