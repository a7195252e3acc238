"""Axes of Athena++ output: their names, and positions from the domain or from the blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xphys.errors import FormatError, SchemaError
from xphys.io.readers._block_arrays import Grid, kept_axes
from xphys.io.readers._boundary import boundary_attrs
from xphys.io.readers._fluid_names import check_axes_names
from xphys.io.readers.athdf._file import faces
from xphys.io.readers.athdf._run import Run

__all__ = ["CARTESIAN", "axis_coords", "directions", "is_even"]

CARTESIAN = ("cartesian", "minkowski", "tilted", "sinusoidal")
_SPHERICAL = (("r", "theta", "phi"), ("r", "theta", "phi"))
# Coordinate system -> directions of x1, x2, x3, and dimensions; the z of a cylinder is not the
# last axis, which the dimension of that name is.
_CURVED = {
    "cylindrical": (("r", "phi", "z"), ("r", "phi", "height")),
    "spherical_polar": _SPHERICAL,
    "schwarzschild": _SPHERICAL,
    "kerr-schild": _SPHERICAL,
}
_OTHER = (("1", "2", "3"), ("first", "second", "third"))
_SINGLE = 1e-6  # faces are stored in single precision


def directions(
    run: Run, axes: Sequence[str] | None
) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """What x1, x2 and x3 are.

    Parameters
    ----------
    run : Run
        The files.
    axes : str, sequence of str or None
        As the caller gave it; for Cartesian coordinates only.

    Returns
    -------
    components : tuple of str
        Names of the directions x1, x2, x3.
    dims : tuple of str
        Names of the stored axes x3, x2, x1.
    note : str
        What decided.

    Raises
    ------
    SchemaError
        If ``axes`` does not fit.
    """
    system = run.first.coordinates
    if system in CARTESIAN or not system:
        names = check_axes_names(axes, kept_axes(run)[::-1])
        why = "as is usual" if axes is None else "given as axes="
        return names, names[::-1], f"x1, x2 and x3 are {', '.join(names)}: {why}"
    if axes is not None:
        raise SchemaError(f"axes= is for Cartesian coordinates, these are {system!r}: leave it out")
    components, dims = _CURVED.get(system, _OTHER)
    note = f"x1, x2 and x3 are {', '.join(dims)}: {system} coordinates, not Cartesian"
    return components, dims[::-1], note


def is_even(run: Run, axis: int) -> bool:
    """Whether all cells of a level have one width, as the ratio and the first file's faces say."""
    if run.first.ratio[axis] != 1.0:
        return False
    layout, header = run.layout(0), run.first
    stored = faces(run.files[0], header, axis).astype(np.float64)
    low, high = header.lower[axis], header.upper[axis]
    width = (high - low) / (header.cells[axis] * 2.0**layout.level)
    first = layout.start[:, axis] - layout.trim[axis]
    wanted = low + (first[:, None] + np.arange(stored.shape[1])) * width[:, None]
    # ghost cells repeat the widths of the domain, whatever lies beyond it
    return bool(np.abs(stored - wanted).max() <= _SINGLE * max(abs(low), abs(high), high - low))


def axis_coords(
    run: Run, grid: Grid, dims: Sequence[str], boundary: Mapping[str, str] | None
) -> dict[str, xr.Variable]:
    """Coordinates of a grid.

    Parameters
    ----------
    run : Run
        The files.
    grid : Grid
        Its level and cells.
    dims : sequence of str
        Names of x3, x2, x1.
    boundary : mapping of str to str or None
        What the caller gave.

    Returns
    -------
    dict
        Cell centres, ``DIM_bounds`` where the widths differ, and the place of a slice.

    Raises
    ------
    FormatError
        If positions are not stored for all cells of the grid.
    """
    coords: dict[str, xr.Variable] = {}
    for axis, kept in enumerate(kept_axes(run)):
        dim = dims[axis]
        attrs = {"units": "1", "long_name": dim, "source_name": f"x{3 - axis}"}
        if run.sliced[axis]:
            coords[dim] = _plane(run, axis, grid.level if grid.alone else None, attrs)
        if not kept:
            continue
        even = is_even(run, axis)
        attrs["spacing"] = "uniform" if even else "nonuniform"
        attrs |= _boundary(run, grid, axis, dim, boundary)
        if even and run.first.coordinates in (*CARTESIAN, ""):
            low, high = run.mesh.lower[axis], run.mesh.upper[axis]
            width = (high - low) / (run.mesh.cells[axis] * 2**grid.level)
            places = np.arange(grid.start[axis], grid.start[axis] + grid.shape[axis])
            coords[dim] = xr.Variable(dim, low + (places + 0.5) * width, attrs)
            continue
        edges, centres = _stored(run, grid, axis, dim)
        if not even:
            coords[f"{dim}_bounds"] = xr.Variable((dim, "nv"), edges, {"units": "1"})
            attrs["bounds"] = f"{dim}_bounds"
        coords[dim] = xr.Variable(dim, centres, attrs)
    return coords


def _boundary(
    run: Run, grid: Grid, axis: int, dim: str, boundary: Mapping[str, str] | None
) -> dict[str, Any]:
    whole = run.mesh.cells[axis] * run.mesh.scale(grid.level)[axis]
    low, high = run.mesh.lower[axis], run.mesh.upper[axis]
    if grid.shape[axis] == whole:
        return boundary_attrs(boundary, dim, high - low)
    return {"boundary": "open", "comment": "part of the domain: beyond are other levels"}


def _plane(run: Run, axis: int, level: int | None, attrs: Mapping[str, Any]) -> xr.Variable:
    layout = run.layout(0)
    wanted = layout.finest if level is None or level not in layout.level else level
    block = int((layout.level == wanted).argmax())
    low, high = faces(run.files[0], run.first, axis)[block].astype(np.float64)
    comment = "centre of the cells that the slice was taken from"
    return xr.Variable((), 0.5 * (low + high), {**attrs, "comment": comment})


def _stored(run: Run, grid: Grid, axis: int, dim: str) -> tuple[np.ndarray, np.ndarray]:
    """Bounds and centres as the blocks of this very level have them."""
    layout, header = run.layout(0), run.first
    edges = faces(run.files[0], header, axis)
    name = f"x{3 - axis}v"
    members = run.files[0].members()
    centres = run.files[0].values(name) if name in members else (edges[:, 1:] + edges[:, :-1]) / 2
    count, first = grid.shape[axis], grid.start[axis]
    out, middle = np.full((count, 2), np.nan), np.full(count, np.nan)
    if centres.shape == (header.blocks, header.stored[axis]):
        trim, active = layout.trim[axis], layout.active[axis]
        for block in np.flatnonzero(layout.level == grid.level):
            place = int(layout.start[block, axis]) - first
            if not 0 <= place <= count - active:
                continue
            inner = slice(trim, trim + active)
            out[place : place + active, 0] = edges[block, inner]
            out[place : place + active, 1] = edges[block, trim + 1 : trim + 1 + active]
            middle[place : place + active] = centres[block, inner]
    if np.isnan(middle).any():
        raise FormatError(
            f"{header.path}: the positions along {dim!r} are stored for other levels only, and "
            "cells of one level have several widths: open with levels='tree'"
        )
    return out.astype(edges.dtype), middle.astype(centres.dtype)
