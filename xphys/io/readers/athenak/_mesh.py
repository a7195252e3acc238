"""From meshblocks to one grid: refinement, slices, ghost zones, coarsened output.

Axes are in the order of storage, (x3, x2, x1), everywhere in this module.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from xphys.errors import FormatError, SchemaError
from xphys.io.readers.athenak._format import BlockTable, Deck

__all__ = ["Layout", "Mesh", "fill_levels", "fill_values", "lay_out"]

Triple = tuple[int, int, int]
Reader = Callable[[int, list[tuple[int, int]]], Iterator[bytes]]


@dataclass(frozen=True)
class Mesh:
    """The root grid of a run as its input deck describes it (coarsened where the output is).

    Attributes
    ----------
    cells, block : tuple of int
        Cells of the root grid and of one meshblock.
    lower, upper : tuple of float
        Bounds of the domain.
    ghost : int
        Ghost cells on each side of a block, in cells of the simulation.
    coarsening : int
        Simulation cells per stored cell along each axis.
    refinement : str
        "none", "static" or "adaptive".
    """

    cells: Triple
    block: Triple
    lower: tuple[float, float, float]
    upper: tuple[float, float, float]
    ghost: int
    coarsening: int
    refinement: str

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
            cells=_triple(n // s for n, s in zip(cells, scale, strict=True)),
            block=_triple(b // s for b, s in zip(block, scale, strict=True)),
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

    def scale(self, levels: int) -> Triple:
        """Cells per cell along each axis between two levels; collapsed axes are not refined."""
        return _triple(2**levels if n > 1 else 1 for n in self.cells)


def _triple(values: Iterator[int]) -> Triple:
    third, second, first = values
    return (third, second, first)


@dataclass(frozen=True)
class Layout:
    """Where the blocks of one output lie, in its files and on the mesh.

    Attributes
    ----------
    file : ndarray, shape (n,)
        Number of the block's file.
    offset : ndarray, shape (n,)
        Where its values begin.
    order : tuple of str
        Byte order of each file.
    level : ndarray, shape (n,)
        Refinement level above the root grid.
    start : ndarray, shape (n, 3)
        First active cell, counted at the block's own level.
    stored, trim, active : tuple of int
        Shape as stored, ghost cells in front, shape without ghost cells; equal for all blocks.
    sliced : tuple of bool
        Axes of which only one plane was written.
    """

    file: np.ndarray
    offset: np.ndarray
    order: tuple[str, ...]
    level: np.ndarray
    start: np.ndarray
    stored: Triple
    trim: Triple
    active: Triple
    sliced: tuple[bool, bool, bool]

    @property
    def finest(self) -> int:
        """Finest level present."""
        return int(self.level.max())

    def shape(self, mesh: Mesh, level: int) -> Triple:
        """Cells of the common grid at a level; 1 along collapsed and sliced axes."""
        scale = mesh.scale(level)
        return _triple(
            1 if cut else n * s for cut, n, s in zip(self.sliced, mesh.cells, scale, strict=True)
        )

    def plane(self, axis: int, level: int | None = None) -> int:
        """Cell that a sliced axis was cut at, counted at a level, by default the finest."""
        block = (self.level == (self.finest if level is None else level)).argmax()
        return int(self.start[block, axis])

    def digest(self) -> bytes:
        """Equal for layouts with blocks in the same places, whatever their order in the files."""
        blocks = np.column_stack([self.level, self.start]).astype("<i8")
        ordered = np.ascontiguousarray(blocks[np.lexsort(blocks.T)])
        return hashlib.blake2b(ordered.tobytes(), digest_size=16).digest()

    def boxes(self) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """First cells, and ends, of the box around the blocks of every level, at that level."""
        start = np.where(self.sliced, 0, self.start)
        found = {}
        for level in np.unique(self.level).tolist():
            here = start[self.level == level]
            found[level] = (here.min(axis=0), here.max(axis=0) + np.array(self.active))
        return found


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
    stored = _triple(int(n) for n in (last - first + 1)[0])
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
        trim=_triple(iter(trim)),
        active=_triple(iter(active)),
        sliced=(sliced[0], sliced[1], sliced[2]),
    )
    _check_cover(layout, mesh, place, name)
    return layout


def _check_cover(layout: Layout, mesh: Mesh, place: np.ndarray, name: str) -> None:
    """Blocks of a tree tile the mesh when none is inside another and their volumes add up."""
    root = [n // b for n, b in zip(mesh.cells, mesh.block, strict=True)]
    flat = np.array([not cut for cut in layout.sliced])
    found: dict[int, set[tuple[int, ...]]] = {}
    for level in np.unique(layout.level).tolist():
        here = layout.level == level
        places, scale = place[here], np.array(mesh.scale(level))
        if (places >= np.array(root) * scale).any():
            raise FormatError(f"{name}: expected blocks inside the mesh, found one outside")
        cut = np.unique(layout.start[here][:, ~flat], axis=0)
        if len(cut) > 1:
            raise FormatError(f"{name}: expected one plane per slice, found cells {cut.tolist()}")
        found[level] = set(map(tuple, places.tolist()))
        inside = any(
            tuple(p // s for p, s in zip(block, mesh.scale(level - above), strict=True)) in others
            for above, others in found.items()
            if above < level
            for block in found[level]
        )
        if inside or len(found[level]) < here.sum():
            raise FormatError(
                f"{name}: expected every cell once, found overlapping blocks of level {level}: "
                "the same block came twice, or files of several runs are mixed"
            )
    finest = layout.finest
    wanted = int(np.prod(layout.shape(mesh, finest)))
    covered = 0
    for level, blocks in found.items():
        cells = np.array(layout.active) * np.array(mesh.scale(finest - level))
        covered += len(blocks) * int(np.prod(np.where(flat, cells, 1)))
    if covered != wanted:
        raise FormatError(
            f"{name}: expected blocks for all {wanted} cells, found {covered} cells in "
            f"{len(layout.offset)} blocks: a rank's file or part of one is missing"
        )


def _overlaps(
    layout: Layout, mesh: Mesh, level: int, wanted: Sequence[np.ndarray], alone: bool
) -> Iterator[tuple[int, list[np.ndarray], list[np.ndarray], Triple, Triple]]:
    """Blocks that hold wanted cells of the common grid; with ``alone`` those of its level only.

    Yields the block, where its cells go in the result, which cells of the block (or groups of
    cells, where it is finer than the grid) they are, and the two ratios of cells per axis:
    grid cells per block cell, and block cells per grid cell.
    """
    flat = [not cut for cut in layout.sliced]
    if any(not w.size for w in wanted):
        return
    for own in [level] if alone else np.unique(layout.level).tolist():
        here = np.flatnonzero(layout.level == own)
        up = _on(flat, mesh.scale(max(level - own, 0)))
        down = _on(flat, mesh.scale(max(own - level, 0)))
        for n, q in zip(layout.active, down, strict=True):
            if n % q:
                raise SchemaError(
                    f"level={level} would average {q} cells along an axis across blocks of {n}: "
                    f"choose level >= {own - (n & -n).bit_length() + 1}"
                )
        start = np.where(flat, layout.start[here], 0) * np.array(up) // np.array(down)
        extent = np.array(layout.active) * np.array(up) // np.array(down)
        hit = np.ones(len(here), bool)
        for axis, positions in enumerate(wanted):
            hit &= start[:, axis] <= positions.max()
            hit &= start[:, axis] + extent[axis] > positions.min()
        for block, first in zip(here[hit], start[hit], strict=True):
            target, source = [], []
            for axis, positions in enumerate(wanted):
                inside = (positions >= first[axis]) & (positions < first[axis] + extent[axis])
                target.append(np.flatnonzero(inside))
                source.append((positions[inside] - first[axis]) // up[axis])
            if all(t.size for t in target):
                yield int(block), target, source, up, down


def _on(flat: Sequence[bool], scale: Triple) -> Triple:
    return _triple(s if f else 1 for f, s in zip(flat, scale, strict=True))


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
    overlap: tuple[int, list[np.ndarray], list[np.ndarray], Triple, Triple],
) -> _Piece:
    block, target, source, _, down = overlap
    low = _triple(int(s.min()) * q + t for s, q, t in zip(source, down, layout.trim, strict=True))
    high = _triple(
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
    for overlap in _overlaps(layout, mesh, level, wanted, alone):
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
    if piece.down == (1, 1, 1):
        return np.asarray(rows[np.ix_(*firsts)])
    fine = [(f[:, None] + np.arange(q)).ravel() for f, q in zip(firsts, piece.down, strict=True)]
    parts = [n for f, q in zip(firsts, piece.down, strict=True) for n in (len(f), q)]
    cells = rows[np.ix_(*fine)].astype(np.float64).reshape(parts)
    return np.asarray(cells.mean(axis=(1, 3, 5)), dtype=rows.dtype)


def fill_levels(
    out: np.ndarray,
    layout: Layout,
    mesh: Mesh,
    *,
    level: int,
    wanted: Sequence[np.ndarray],
    alone: bool,
) -> None:
    """Write the refinement level of the block behind every wanted cell into ``out``."""
    for block, target, _, _, _ in _overlaps(layout, mesh, level, wanted, alone):
        out[np.ix_(*target)] = layout.level[block]
