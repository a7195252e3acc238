"""The outputs of a run of Athena++: headers of all files, blocks on demand."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xphys.errors import FormatError
from xphys.io.readers._blocks import (
    Overlap,
    Triple,
    fill_levels,
    overlaps,
    restrict,
    triple,
)
from xphys.io.readers._hdf5 import HDF5Array, HDF5File
from xphys.io.readers.athdf._file import Header, Layout, lay_out, read_header

__all__ = ["Run"]

_KEPT_LAYOUTS = 16
_READ = 2**24  # bytes that are read at once


class Run:
    """Files of one run in the order of their times; a `BlockSource`.

    Parameters
    ----------
    paths : sequence of str
        Local paths and URLs.
    storage_options : mapping or None
        For the file system of URLs.

    Attributes
    ----------
    files : tuple of HDF5File
        One for each output.
    headers : tuple of Header
        Dropped, save the first, when the object is pickled.
    mesh : Mesh
        The root grid; its ``refinement`` is "adaptive" if the blocks change.
    sliced : tuple of bool
        Axes (x3, x2, x1) of which only one plane was written.
    dtype : dtype
        Of all variables.
    levels : tuple of int
        All levels that an output has.
    boxes : dict
        Level -> first cells, and ends, of the box around its blocks in all outputs.

    Raises
    ------
    FormatError
        If a file is damaged, or the files do not belong together.
    """

    def __init__(self, paths: Sequence[str], storage_options: Mapping[str, Any] | None):
        files = [HDF5File(path, storage_options) for path in paths]
        pairs = [(read_header(file), file) for file in files]
        pairs.sort(key=lambda pair: (pair[0].time, pair[0].cycle))
        self.headers: tuple[Header, ...] = tuple(header for header, _ in pairs)
        self.files = tuple(file for _, file in pairs)
        _same_run(self.headers)
        first = self.headers[0]
        self.first, self.dtype, self.variables = first, first.dtype, first.variables
        self._forget()
        self.boxes: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        digests, places = [], set()
        for header, file in pairs:
            layout, mesh, digest = lay_out(file, header)
            places.add(layout.digest())
            digests.append(digest)
            self._layouts[digest] = layout
            self._trim()
            for level, (low, high) in layout.boxes().items():
                before = self.boxes.get(level, (low, high))
                self.boxes[level] = (np.minimum(before[0], low), np.maximum(before[1], high))
            if len(digests) == 1:
                self.mesh, self.sliced = mesh, layout.sliced
        self._digests = tuple(digests)
        if len(places) > 1:
            self.mesh = type(self.mesh)(**{**vars(self.mesh), "refinement": "adaptive"})
        self.levels = tuple(sorted(self.boxes))

    def _forget(self) -> None:
        self._layouts: OrderedDict[bytes, Layout] = OrderedDict()
        self._lock = threading.Lock()

    def _trim(self) -> None:
        while len(self._layouts) > _KEPT_LAYOUTS:
            self._layouts.popitem(last=False)

    def __getstate__(self) -> dict[str, Any]:
        left_out = {"_layouts", "_lock", "headers"}
        return {k: v for k, v in self.__dict__.items() if k not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, headers=(state["first"],))
        self._forget()

    def layout(self, output: int) -> Layout:
        """Blocks of an output; outputs with the same blocks share one.

        Raises
        ------
        FormatError
            If the file has changed since it was opened.
        """
        digest = self._digests[output]
        with self._lock:
            if digest in self._layouts:
                self._layouts.move_to_end(digest)
                return self._layouts[digest]
        file = self.files[output]
        layout, _, found = lay_out(file, read_header(file))
        if found != digest:
            raise FormatError(f"{file.path}: the blocks have changed since the file was opened")
        with self._lock:
            self._layouts[digest] = layout
            self._trim()
        return layout

    def read(
        self,
        output: int,
        variable: int,
        level: int,
        wanted: Sequence[np.ndarray],
        out: np.ndarray,
        *,
        alone: bool = False,
    ) -> None:
        """Fill ``out`` (n3, n2, n1) with the wanted cells of one variable of one output.

        With ``alone`` cells that have no block of this very level stay as they are.
        """
        layout = self.layout(output)
        dataset, place, _ = self.variables[variable]
        array = HDF5Array(self.files[output], dataset)
        found = overlaps(layout, self.mesh, level, wanted, alone)
        pieces = sorted((_piece(layout, overlap) for overlap in found), key=lambda p: p.block)
        for together in _runs(pieces, self.dtype.itemsize):
            box = [
                slice(low, end) for low, end in zip(together[0].low, together[0].end, strict=True)
            ]
            blocks = slice(together[0].block, together[-1].block + 1)
            every = array._read((place, blocks, *box))
            for piece, rows in zip(together, every, strict=True):
                out[np.ix_(*piece.target)] = restrict(rows, piece.firsts, piece.down)

    def read_levels(
        self,
        output: int,
        level: int,
        wanted: Sequence[np.ndarray],
        out: np.ndarray,
        *,
        alone: bool = False,
    ) -> None:
        """Fill ``out`` (n3, n2, n1) with the refinement level behind the wanted cells."""
        fill_levels(out, self.layout(output), self.mesh, level=level, wanted=wanted, alone=alone)


@dataclass(frozen=True)
class _Piece:
    """Cells of a block from the first to the last wanted one."""

    block: int
    low: Triple
    end: Triple
    target: list[np.ndarray]
    firsts: list[np.ndarray]
    down: Triple


def _piece(layout: Layout, overlap: Overlap) -> _Piece:
    block, target, source, _, down = overlap
    along = list(zip(source, down, layout.trim, strict=True))
    low = triple(int(s.min()) * q + t for s, q, t in along)
    end = triple((int(s.max()) + 1) * q + t for s, q, t in along)
    firsts = [s * q + t - first for (s, q, t), first in zip(along, low, strict=True)]
    return _Piece(block, low, end, target, firsts, down)


def _runs(pieces: Sequence[_Piece], itemsize: int) -> Iterator[list[_Piece]]:
    """Blocks that follow each other in the file, of which the same cells are wanted."""
    run: list[_Piece] = []
    for piece in pieces:
        if run:
            before = run[-1]
            same = (piece.low, piece.end) == (before.low, before.end)
            size = math.prod(e - b for b, e in zip(piece.low, piece.end, strict=True)) * itemsize
            if not same or piece.block != before.block + 1 or size * len(run) >= _READ:
                yield run
                run = []
        run.append(piece)
    if run:
        yield run


def _same_run(headers: Sequence[Header]) -> None:
    first = headers[0]
    for header in headers[1:]:
        if [v[2] for v in header.variables] != [v[2] for v in first.variables]:
            raise FormatError(
                f"{header.path}: expected the variables {[v[2] for v in first.variables]} of "
                f"{first.path}, found {[v[2] for v in header.variables]}: open one output of the "
                "run, with a pattern such as 'run.prim.*.athdf'"
            )
        if header.run != first.run:
            raise FormatError(
                f"{header.path}: expected the mesh and datasets of {first.path}, found others: "
                "files of several runs are mixed"
            )
    for before, after in zip(headers, headers[1:], strict=False):
        if before.time == after.time:
            raise FormatError(
                f"{after.path}: expected another time than {before.time:g} of {before.path}: "
                "leave one of them out"
            )
