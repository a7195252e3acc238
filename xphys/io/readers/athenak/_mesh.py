"""From meshblocks to one grid: refinement, slices, ghost zones, coarsened output.

Axes are in the order of storage, (x3, x2, x1), everywhere in this module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from xphys.errors import FormatError
from xphys.io.readers._blocks import (
    Blocks,
    Overlap,
    Triple,
    check_cover,
    overlaps,
    restrict,
    triple,
)
from xphys.io.readers._blocks import Mesh as AnyMesh
from xphys.io.readers.athenak._format import BlockTable, Deck

__all__ = ["Layout", "Mesh", "fill_values", "lay_out"]

Reader = Callable[[int, list[tuple[int, int]]], Iterator[bytes]]


@dataclass(frozen=True)
class Mesh(AnyMesh):
    """The root grid of a run as its input deck describes it (coarsened where the output is).

    Attributes
    ----------
    cells, block, lower, upper, refinement
        As of any mesh.
    ghost : int
        Ghost cells on each side of a block, in cells of the simulation.
    coarsening : int
        Simulation cells per stored cell along each axis.
    """

    ghost: int
    coarsening: int

    @classmethod
    def from_deck(cls, deck: Deck, coarsening: int, path: str) -> Mesh:
        """Read ``<mesh>``, ``<meshblock>`` and ``<mesh_refinement>``."""
        mesh, blocks = deck.get("mesh", {}), deck.get("meshblock", {})
        try:
            cells = [int(mesh[f"nx{d}"]) for d in (3, 2, 1)]
            block = [int(blocks.get(f"nx{d}", n)) for d, n in zip((3, 2, 1), cells, strict=True)]
            lower = tuple(float(mesh[f"x{d}min"]) for d in (3, 2, 1))
            upper = tuple(float(mesh[f"x{d}max"]) for d in (3, 2, 1))
            ghost = int(mesh.get("nghost", 2))
        except (KeyError, ValueError) as error:
            raise FormatError(f"{path}: cannot read <mesh> of the input deck: {error}") from None
        for n, b in zip(cells, block, strict=True):
            step = coarsening if n > 1 else 1
            if b < 1 or n < 1 or n % b or b % step:
                raise FormatError(
                    f"{path}: expected a mesh {cells} that blocks {block} divide and blocks that "
                    f"the coarsening factor {coarsening} divides"
                )
        scale = [coarsening if n > 1 else 1 for n in cells]
        return cls(
            cells=triple(n // s for n, s in zip(cells, scale, strict=True)),
            block=triple(b // s for b, s in zip(block, scale, strict=True)),
            lower=(lower[0], lower[1], lower[2]),
            upper=(upper[0], upper[1], upper[2]),
            ghost=ghost,
            coarsening=coarsening,
            refinement=deck.get("mesh_refinement", {}).get("refinement", "none"),
        )

    @property
    def largest_index(self) -> int:
        """No cell index of a block reaches this number."""
        return max(self.block) * self.coarsening + 2 * self.ghost


@dataclass(frozen=True)
class Layout(Blocks):
    """Where the blocks of one output lie, in its files and on the mesh.

    Attributes
    ----------
    level, start, active, sliced
        As of `Blocks`.
    file : ndarray, shape (n,)
        Number of the block's file.
    offset : ndarray, shape (n,)
        Where its values begin.
    order : tuple of str
        Byte order of each file.
    stored, trim : tuple of int
        Shape as stored and ghost cells in front; equal for all blocks.
    """

    file: np.ndarray
    offset: np.ndarray
    order: tuple[str, ...]
    stored: Triple
    trim: Triple


def lay_out(tables: Sequence[BlockTable], mesh: Mesh, name: str) -> Layout:
    """Put the block tables of all files of one output together and check that they tile the mesh.

    Parameters
    ----------
    tables : sequence of BlockTable
        One per file, in the order of the files.
    mesh : Mesh
        The run's mesh.
    name : str
        What to call the set of files in errors.

    Returns
    -------
    Layout
        Every cell of the mesh (of the plane, for a slice) is covered exactly once.

    Raises
    ------
    FormatError
        If blocks are missing, overlap, lie outside the mesh or have an impossible shape.
    """
    counts = [len(table.offset) for table in tables]
    if not sum(counts):
        raise FormatError(f"{name}: expected meshblocks, found headers only")
    index = np.concatenate([table.index for table in tables])[:, ::-1]  # ke, ks, je, js, ie, is
    location = np.concatenate([table.location for table in tables])
    first, last, place = index[:, 1::2], index[:, ::2], location[:, 2::-1]
    stored = triple(int(n) for n in (last - first + 1)[0])
    if (last - first + 1 != stored).any():
        raise FormatError(f"{name}: expected blocks of one shape in all files, found several")
    start = place * np.array(mesh.block)
    trim, active, sliced = [0, 0, 0], [1, 1, 1], [False, False, False]
    for axis, (n, block) in enumerate(zip(stored, mesh.block, strict=True)):
        coarse = mesh.coarsening if mesh.cells[axis] > 1 else 1
        if n == block:
            active[axis] = block
        elif (n - block) * coarse == 2 * mesh.ghost and (first[:, axis] == 0).all():
            trim[axis], active[axis] = (n - block) // 2, block
        elif n == 1:
            sliced[axis] = True
            start[:, axis] += (first[:, axis] - mesh.ghost) // coarse
        else:
            raise FormatError(
                f"{name}: expected {block} cells a block along x{3 - axis}, "
                f"{block + 2 * mesh.ghost // coarse} with ghost zones or 1 in a slice, found {n}"
            )
    layout = Layout(
        file=np.repeat(np.arange(len(tables)), counts),
        offset=np.concatenate([table.offset for table in tables]),
        order=tuple(table.order for table in tables),
        level=location[:, 3],
        start=start,
        stored=stored,
        trim=triple(iter(trim)),
        active=triple(iter(active)),
        sliced=(sliced[0], sliced[1], sliced[2]),
    )
    check_cover(layout, mesh, place, name)
    return layout


@dataclass(frozen=True)
class _Piece:
    """One contiguous read: the rows of a block from the first to the last wanted cell."""

    offset: int
    bytes: int
    low: Triple
    shape: Triple
    lead: int
    target: list[np.ndarray]
    source: list[np.ndarray]
    down: Triple


def _piece(
    layout: Layout,
    variable: int,
    itemsize: int,
    overlap: Overlap,
) -> _Piece:
    block, target, source, _, down = overlap
    low = triple(int(s.min()) * q + t for s, q, t in zip(source, down, layout.trim, strict=True))
    high = triple(
        (int(s.max()) + 1) * q + t - 1 for s, q, t in zip(source, down, layout.trim, strict=True)
    )
    n3, n2, n1 = layout.stored
    begin, end = ((p[0] * n2 + p[1]) * n1 + p[2] for p in (low, high))
    # Whole rows and planes around the wanted cells, of which only begin..end are read.
    rows = (high[0] - low[0] + 1, n2, n1) if high[0] > low[0] else (1, high[1] - low[1] + 1, n1)
    origin = (low[0], 0, 0) if high[0] > low[0] else (low[0], low[1], 0)
    lead = begin - (origin[0] * n2 + origin[1]) * n1
    cells = n3 * n2 * n1
    return _Piece(
        offset=int(layout.offset[block]) + (variable * cells + begin) * itemsize,
        bytes=(end - begin + 1) * itemsize,
        low=origin,
        shape=rows,
        lead=lead,
        target=target,
        source=source,
        down=down,
    )


def fill_values(
    out: np.ndarray,
    layout: Layout,
    mesh: Mesh,
    *,
    level: int,
    wanted: Sequence[np.ndarray],
    alone: bool,
    variable: int,
    read: Reader,
) -> None:
    """Read the wanted cells of one variable from the blocks that hold them.

    Parameters
    ----------
    out : ndarray, shape (n3, n2, n1)
        Filled in place; float32 or float64 as stored.
    layout, mesh : Layout, Mesh
        Of the output.
    level : int
        Level of the common grid. Coarser blocks are repeated, finer ones averaged in float64.
    wanted : three arrays of int
        Cells of the common grid along x3, x2, x1.
    alone : bool
        Leave cells without a block of this very level as they are.
    variable : int
        Number of the variable in the file.
    read : callable
        (file number, byte ranges) -> pieces in order.
    """
    itemsize = out.dtype.itemsize
    by_file: dict[int, list[_Piece]] = {}
    for overlap in overlaps(layout, mesh, level, wanted, alone):
        piece = _piece(layout, variable, itemsize, overlap)
        by_file.setdefault(int(layout.file[overlap[0]]), []).append(piece)
    for file, pieces in sorted(by_file.items()):
        pieces.sort(key=lambda piece: piece.offset)
        stored = np.dtype(f"{layout.order[file]}f{itemsize}")
        chunks = read(file, [(piece.offset, piece.bytes) for piece in pieces])
        for piece, chunk in zip(pieces, chunks, strict=True):
            rows = np.empty(piece.shape, out.dtype)
            values = np.frombuffer(chunk, stored)
            rows.reshape(-1)[piece.lead : piece.lead + values.size] = values
            out[np.ix_(*piece.target)] = _pick(rows, piece, layout.trim)


def _pick(rows: np.ndarray, piece: _Piece, trim: Triple) -> np.ndarray:
    firsts = [
        s * q + t - o for s, q, t, o in zip(piece.source, piece.down, trim, piece.low, strict=True)
    ]
    return restrict(rows, firsts, piece.down)
