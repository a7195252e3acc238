"""Fields of several sizes in one frame: which part is data, and cutting it out."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from xphys.errors import FormatError, SchemaError
from xphys.io.readers._stack import lazy

__all__ = ["choose", "cut", "inside"]


class InsideArray(BackendArray):
    """Whether a cell of the frame belongs to the field of an operator; made when it is asked for.

    Parameters
    ----------
    sizes : ndarray
        Shape (operator,), cells along each axis.
    frame : (int, int)
        Cells of the frame along y and x.
    """

    def __init__(self, sizes: np.ndarray, frame: tuple[int, int]):
        self.sizes, self.frame = sizes, frame
        self.shape = (sizes.size, *frame)
        self.dtype = np.dtype(bool)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        sizes = np.atleast_1d(self.sizes[key[0]])
        found = np.ones((sizes.size, 1, 1), bool)
        for axis, cells in enumerate(self.frame):
            places = np.atleast_1d(np.arange(cells)[key[axis + 1]])
            first = (cells - sizes[:, None]) // 2
            held = (places >= first) & (places < first + sizes[:, None])
            found = found & (held[:, :, None] if axis == 0 else held[:, None, :])
        return found.squeeze(tuple(i for i, k in enumerate(key) if isinstance(k, int | np.integer)))


def choose(
    sizes: np.ndarray, frame: tuple[int, int] | None, grid: Any, path: str
) -> tuple[np.ndarray | None, int | None]:
    """Which operators to open, and to what size to cut their fields.

    Parameters
    ----------
    sizes : ndarray
        Shape (operator,), as stored.
    frame : (int, int) or None
        Cells of the stored fields, if there are any.
    grid : int or None
        What the caller asked for.
    path : str
        For error messages.

    Returns
    -------
    rows : ndarray or None
        Their numbers; None for all.
    size : int or None
        None to keep the frame.

    Raises
    ------
    FormatError
        If a stored size does not fit into the frame.
    SchemaError
        If no operator has the size asked for.
    """
    present = np.unique(sizes)
    if present.size == 0 or (frame and not 0 < present[0] <= present[-1] <= min(frame)):
        raise FormatError(f"{path}: expected grid sizes within a frame of {frame}, found {present}")
    if grid is None:
        return None, int(present[0]) if present.size == 1 else None
    if not isinstance(grid, int | np.integer) or isinstance(grid, bool) or grid not in present:
        raise SchemaError(f"expected grid among {present[:32].tolist()}, got {grid!r}")
    return np.flatnonzero(sizes == grid), int(grid)


def cut(ds: xr.Dataset, rows: np.ndarray | None, size: int | None) -> xr.Dataset:
    """Operators ``rows`` of a lazy Dataset, its fields cut to the centre of the frame."""
    window: dict[str, Any] = {}
    if rows is not None:
        together = rows[-1] - rows[0] + 1 == rows.size
        window["operator"] = slice(int(rows[0]), int(rows[-1]) + 1) if together else rows
    for dim in ("y", "x"):
        if size is not None and dim in ds.dims:
            first = (ds.sizes[dim] - size) // 2
            window[dim] = slice(first, first + size)
    made = ds.isel(window)
    for variable in made.variables.values():
        stored = variable.encoding.get("preferred_chunks")
        if stored:
            kept = {
                dim: min(n, variable.sizes[dim]) for dim, n in stored.items() if dim in made.dims
            }
            variable.encoding = {**variable.encoding, "preferred_chunks": kept}
    return made


def inside(sizes: np.ndarray, frame: tuple[int, int], rows: int) -> xr.Variable:
    """The coordinate ``inside(operator, y, x)``; ``rows`` operators are one unit of reading."""
    attrs = {
        "long_name": "whether the cell belongs to the field",
        "comment": "around it the frame holds zeros, which are no data",
    }
    return lazy(InsideArray(sizes, frame), ("operator", "y", "x"), attrs, (rows, *frame))
