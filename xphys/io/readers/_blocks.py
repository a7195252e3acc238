"""From blocks of a refined mesh to one grid: where they lie, and what they have of it.

Axes are in the order of storage, (x3, x2, x1), everywhere in this module.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from xphys.errors import FormatError, SchemaError

__all__ = [
    "Blocks",
    "Mesh",
    "Overlap",
    "Triple",
    "check_cover",
    "fill_levels",
    "overlaps",
    "restrict",
    "triple",
]

Triple = tuple[int, int, int]
_DEEPEST = 40  # levels; positions are numbers of 64 bits
Overlap = tuple[int, list[np.ndarray], list[np.ndarray], Triple, Triple]


def triple(values: Iterator[int]) -> Triple:
    third, second, first = values
    return (third, second, first)


@dataclass(frozen=True)
class Mesh:
    """The root grid of a run.

    Attributes
    ----------
    cells, block : tuple of int
        Cells of the root grid and of one block.
    lower, upper : tuple of float
        Bounds of the domain.
    refinement : str
        "none", "static" or "adaptive".
    """

    cells: Triple
    block: Triple
    lower: tuple[float, float, float]
    upper: tuple[float, float, float]
    refinement: str

    def scale(self, levels: int) -> Triple:
        """Cells per cell along each axis between two levels; collapsed axes are not refined."""
        return triple(2**levels if n > 1 else 1 for n in self.cells)


@dataclass(frozen=True)
class Blocks:
    """Where the blocks of one output lie on the mesh.

    Attributes
    ----------
    level : ndarray, shape (n,)
        Refinement level above the root grid.
    start : ndarray, shape (n, 3)
        First active cell, counted at the block's own level.
    active : tuple of int
        Shape without ghost cells, equal for all blocks.
    sliced : tuple of bool
        Axes of which only one plane was written.
    """

    level: np.ndarray
    start: np.ndarray
    active: Triple
    sliced: tuple[bool, bool, bool]

    @property
    def finest(self) -> int:
        """Finest level present."""
        return int(self.level.max())

    def shape(self, mesh: Mesh, level: int) -> Triple:
        """Cells of the common grid at a level; 1 along collapsed and sliced axes."""
        scale = mesh.scale(level)
        return triple(
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


def check_cover(layout: Blocks, mesh: Mesh, place: np.ndarray, name: str) -> None:
    """Raise FormatError unless every cell of the mesh (of the plane, in a slice) is covered once.

    Blocks of a tree tile the mesh when none is inside another and their volumes add up.

    Parameters
    ----------
    layout : Blocks
        The blocks of one output.
    mesh : Mesh
        The run's mesh.
    place : ndarray, shape (n, 3)
        Place of each block among the blocks of its level.
    name : str
        What to call the files in errors.
    """
    if layout.level.min() < 0 or layout.finest > _DEEPEST:
        raise FormatError(
            f"{name}: expected levels of refinement from 0 to {_DEEPEST}, found "
            f"{layout.level.min()} to {layout.finest}"
        )
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
            f"{len(layout.level)} blocks: a rank's file or part of one is missing"
        )


def overlaps(
    layout: Blocks, mesh: Mesh, level: int, wanted: Sequence[np.ndarray], alone: bool
) -> Iterator[Overlap]:
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
    return triple(s if f else 1 for f, s in zip(flat, scale, strict=True))


def restrict(rows: np.ndarray, firsts: Sequence[np.ndarray], down: Triple) -> np.ndarray:
    """Cells of a block, or means over groups of ``down`` cells, which are taken in float64.

    Parameters
    ----------
    rows : ndarray, shape (n3, n2, n1)
        The block, or a part of it.
    firsts : three arrays of int
        First cells of the groups in ``rows``.
    down : tuple of int
        Cells of a group along each axis.

    Returns
    -------
    ndarray
        One value for each group, in the dtype of ``rows``.
    """
    if down == (1, 1, 1):
        return np.asarray(rows[np.ix_(*firsts)])
    fine = [(f[:, None] + np.arange(q)).ravel() for f, q in zip(firsts, down, strict=True)]
    parts = [n for f, q in zip(firsts, down, strict=True) for n in (len(f), q)]
    cells = rows[np.ix_(*fine)].astype(np.float64).reshape(parts)
    return np.asarray(cells.mean(axis=(1, 3, 5)), dtype=rows.dtype)


def fill_levels(
    out: np.ndarray,
    layout: Blocks,
    mesh: Mesh,
    *,
    level: int,
    wanted: Sequence[np.ndarray],
    alone: bool,
) -> None:
    """Write the refinement level of the block behind every wanted cell into ``out``."""
    for block, target, _, _, _ in overlaps(layout, mesh, level, wanted, alone):
        out[np.ix_(*target)] = layout.level[block]
