"""Lazy arrays over the blocks of a refined mesh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from xphys.io.readers._blocks import Blocks

__all__ = ["BlockArray", "BlockSource", "Grid", "kept_axes", "lazy"]


class BlockSource(Protocol):
    """A run, or a group of its variables, whose outputs consist of blocks."""

    mesh: Any
    sliced: tuple[bool, bool, bool]
    dtype: np.dtype

    def layout(self, output: int) -> Blocks:
        """Where the blocks of an output are."""

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
        """Fill ``out`` with the wanted cells of a variable."""

    def read_levels(
        self,
        output: int,
        level: int,
        wanted: Sequence[np.ndarray],
        out: np.ndarray,
        *,
        alone: bool = False,
    ) -> None:
        """Fill ``out`` with the level behind the wanted cells."""


def kept_axes(source: BlockSource) -> tuple[bool, ...]:
    """Axes that become dimensions: more than one cell and not sliced (x1 of a line stays)."""
    cells = source.mesh.cells
    return tuple(n > 1 and not cut for n, cut in zip(cells, source.sliced, strict=True))


@dataclass(frozen=True)
class Grid:
    """Cells of one refinement level along x3, x2, x1.

    Attributes
    ----------
    level : int
        The level.
    start, shape : tuple of int
        First cell, and number of cells; 0 and 1 along collapsed and sliced axes.
    alone : bool
        True: only blocks of this very level count, and cells without one are NaN. False: coarser
        blocks are repeated, finer ones averaged.
    """

    level: int
    start: tuple[int, ...]
    shape: tuple[int, ...]
    alone: bool

    @classmethod
    def common(cls, group: BlockSource, level: int) -> Grid:
        """The whole domain."""
        return cls(level, (0, 0, 0), group.layout(0).shape(group.mesh, level), False)

    @classmethod
    def patch(cls, level: int, box: tuple[np.ndarray, np.ndarray]) -> Grid:
        """The box around the blocks of a level."""
        low, high = box
        return cls(level, tuple(low.tolist()), tuple((high - low).tolist()), True)


class BlockArray(BackendArray):
    """One variable, or what is known of the blocks, over (time, x3, x2, x1).

    Parameters
    ----------
    group : BlockSource
        The files.
    what : int, "level" or "covered"
        Number of the variable; the level of the block behind a cell; or whether there is one.
    grid : Grid
        The cells. Axes of one cell are left out.
    outputs : sequence of int or None
        Positions of the outputs in the group; None for a static array without ``time``.
    """

    def __init__(
        self,
        group: BlockSource,
        what: int | Literal["level", "covered"],
        grid: Grid,
        outputs: Sequence[int] | None,
    ):
        self.group, self.what, self.grid = group, what, grid
        self.outputs = None if outputs is None else tuple(outputs)
        self.active = tuple(axis for axis, n in enumerate(kept_axes(group)) if n)
        steps = () if outputs is None else (len(outputs),)
        self.shape = (*steps, *(grid.shape[axis] for axis in self.active))
        kinds = {"level": np.dtype(np.int8), "covered": np.dtype(bool)}
        self.dtype = group.dtype if isinstance(what, int) else kinds[what]

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        taken = [np.arange(n)[k] for n, k in zip(self.shape, key, strict=True)]
        result = np.empty([np.size(t) for t in taken], self.dtype)
        steps = [0] if self.outputs is None else [self.outputs[i] for i in np.ravel(taken[0])]
        space = taken[len(taken) - len(self.active) :]
        wanted = [np.zeros(1, np.int64)] * 3
        for axis, positions in zip(self.active, space, strict=True):
            wanted[axis] = np.atleast_1d(positions) + self.grid.start[axis]
        frames = result.reshape(len(steps), *(w.size for w in wanted))
        for step, frame in zip(steps, frames, strict=True):
            self._fill(step, wanted, frame)
        return result.reshape([n for t in taken for n in np.shape(t)])

    def _fill(self, step: int, wanted: Sequence[np.ndarray], frame: np.ndarray) -> None:
        level, alone = self.grid.level, self.grid.alone
        if isinstance(self.what, int):
            if alone:
                frame[...] = np.nan
            self.group.read(step, self.what, level, wanted, frame, alone=alone)
            return
        levels = np.full(frame.shape, -1, np.int8)
        self.group.read_levels(step, level, wanted, levels, alone=alone)
        frame[...] = levels if self.what == "level" else levels >= 0


def lazy(array: BlockArray, dims: Sequence[str], attrs: Mapping[str, Any]) -> xr.Variable:
    """A variable that reads when it is looked at; one file is one stored chunk."""
    chunks = {d: 1 if d == "time" else n for d, n in zip(dims, array.shape, strict=True)}
    data = indexing.LazilyIndexedArray(array)
    return xr.Variable(dims, data, attrs, {"preferred_chunks": chunks})
