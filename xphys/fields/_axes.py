"""Derivatives and cell widths along the labelled axes of a Dataset."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xphys._dims import lift, whole
from xphys.errors import SchemaError
from xphys.fields import _kernels as kernels
from xphys.fields._compact import COMPACT_ORDERS, Compact, compact_derivative, make_compact
from xphys.fields._stencils import ORDERS, Stencil, differentiate, make_stencil
from xphys.fields._walls import Walls, chebyshev_walls, difference_walls
from xphys.schema import Axis, axis

__all__ = ["METHODS", "Calculus", "check_method", "derivative", "walls", "widths"]

METHODS = ("spectral", "finite", "compact", "chebyshev")


@dataclass(frozen=True, eq=False)
class Calculus:
    """How to differentiate along one axis.

    Attributes
    ----------
    along : Axis
        The axis.
    text : str
        What goes into the attribute ``method``.
    stencil : Stencil or None
        Finite differences, or
    matrix : ndarray or None
        the matrix of a Chebyshev grid, or
    compact : Compact or None
        compact differences; spectral if all are None.
    """

    along: Axis
    text: str
    stencil: Stencil | None = None
    matrix: NDArray[np.float64] | None = None
    compact: Compact | None = None

    @property
    def signed_period(self) -> float:
        """Length of the period, negative where positions fall."""
        falls = self.along.size > 1 and self.along.coordinate[-1] < self.along.coordinate[0]
        return -self.along.length if falls else self.along.length


def check_method(method: str | Mapping[str, str] | None, order: int) -> None:
    """Refuse words and orders that are not known.

    Raises
    ------
    SchemaError
        If a method is not one of `METHODS` or the order not one of `ORDERS`.
    """
    words = [method] if isinstance(method, str) or method is None else list(method.values())
    for word in words:
        if word is not None and word not in METHODS:
            raise SchemaError(f"expected a method out of {METHODS} or None, got {word!r}")
    if order not in ORDERS:
        raise SchemaError(f"expected an order of accuracy out of {ORDERS}, got {order!r}")
    if "compact" in words and order not in COMPACT_ORDERS:
        raise SchemaError(f"compact differences have order {COMPACT_ORDERS}, got order={order!r}")


def _cartesian(ds: xr.Dataset | xr.DataArray, dim: str) -> Axis:
    if dim in ds.coords and ds.coords[dim].ndim > 1:
        raise SchemaError(
            f"coordinate {dim!r} has dims {ds.coords[dim].dims}, expected only ({dim!r},): slopes "
            f"and volumes on a curved grid need its metric; interpolate, or give {dim!r} positions "
            "of its own with .assign_coords"
        )
    along = axis(ds, dim)
    units = str(ds.coords[dim].attrs.get("units", ""))
    if units.startswith("degree"):
        raise SchemaError(
            f"axis {dim!r} is in {units!r}: expected lengths, because derivatives and volumes on "
            "a sphere need its metric; give positions on a plane with .assign_coords"
        )
    return along


def calculus(
    field: xr.DataArray, dim: str, method: str | Mapping[str, str] | None, order: int
) -> Calculus:
    """Choose how to differentiate along one axis.

    Raises
    ------
    SchemaError
        If the axis has no valid positions, too few points, or does not allow the method.
    """
    along = _cartesian(field, dim)
    if along.size == 1:
        raise SchemaError(_one_point(dim))
    word = method.get(dim) if isinstance(method, Mapping) else method
    if word is None:
        known = {"chebyshev": "chebyshev"}
        word = "spectral" if along.periodic else known.get(along.spacing, "finite")
    if word == "spectral":
        if not along.periodic:
            raise SchemaError(_not_periodic(along, "a spectral derivative"))
        return Calculus(along, "spectral")
    if word == "chebyshev":
        found = chebyshev(along)
        matrix = kernels.chebyshev_matrix(along.size, found[0], found[2] - found[1])
        return Calculus(along, f"Chebyshev polynomial ({found[0]})", matrix=matrix)
    least = order + 1
    if along.size < least:
        raise SchemaError(
            f"axis {dim!r} has {along.size} points: finite differences of order {order} need "
            f"{least} points" + ("" if along.periodic else ", and a spectral derivative a period")
        )
    if word == "compact":
        return _compact(along, order)
    stencil = make_stencil(
        along.coordinate, order, uniform=along.spacing == "uniform", wraps=along.periodic
    )
    text = f"finite differences of order {order}" + (", periodic" if along.periodic else "")
    return Calculus(along, text, stencil=stencil)


def _compact(along: Axis, order: int) -> Calculus:
    if along.periodic:
        raise SchemaError(
            f"axis {along.name!r} is periodic, compact differences are for open axes: leave its "
            "method out (spectral, which is more accurate), e.g. method={'z': 'compact'}"
        )
    if along.spacing != "uniform":
        raise SchemaError(
            f"axis {along.name!r} has {along.spacing} spacing, compact differences need a uniform "
            f"one: take method={{{along.name!r}: 'finite'}}, or interpolate"
        )
    step = float(along.coordinate[-1] - along.coordinate[0]) / (along.size - 1)
    text = f"compact differences of order {order}"
    return Calculus(along, text, compact=make_compact(along.size, step, order))


def _one_point(dim: str) -> str:
    return (
        f"axis {dim!r} has 1 point: slopes along it are not known; if nothing depends on it, take "
        f"it away with .squeeze({dim!r}, drop=True)"
    )


def _not_periodic(along: Axis, what: str) -> str:
    where = f"axis {along.name!r}"
    if along.period is None:
        return (
            f"{what} needs a periodic axis: {where} has no attribute 'period'; give one with "
            f"ds[{along.name!r}].attrs['period'] = ..., if it is periodic"
        )
    return (
        f"{what} needs a periodic axis: {where} has {along.size} points of {along.spacing} "
        f"spacing over {along.size * along.step:.9g}, period {along.period:.9g} and boundary "
        f"{along.boundary!r}; give the whole period on uniform points"
    )


def periodic(field: xr.DataArray, dim: str, what: str) -> Axis:
    """Describe an axis that must be periodic.

    Raises
    ------
    SchemaError
        If it is not.
    """
    along = _cartesian(field, dim)
    if along.size == 1:
        raise SchemaError(_one_point(dim))
    if not along.periodic:
        raise SchemaError(_not_periodic(along, what))
    return along


def chebyshev(along: Axis) -> tuple[str, float, float]:
    """Kind and ends of a Chebyshev grid.

    Raises
    ------
    SchemaError
        If the positions are not those of one.
    """
    found = kernels.chebyshev_kind(along.coordinate)
    if found is None:
        raise SchemaError(
            f"axis {along.name!r}: expected the roots or the extrema of a Chebyshev polynomial "
            "(4 points or more, positions to 1 % of a step), found others; use "
            f"ds[{along.name!r}].attrs['spacing'] = 'nonuniform'"
        )
    return found


def derivative(field: xr.DataArray, how: Calculus) -> xr.DataArray:
    """Differentiate along one axis, lazily where the field is chunked.

    Parameters
    ----------
    field : DataArray
        Real values.
    how : Calculus
        From `calculus`.

    Returns
    -------
    DataArray
        float64, dims, coordinates and chunks of the field. Spectral, Chebyshev and compact
        derivatives make the one axis whole in between, finite differences exchange halos of
        order / 2 points.
    """
    dim = how.along.name
    if how.stencil is not None and len(field.chunksizes.get(dim, ())) > 1:
        result = field.copy(data=_with_halos(field.data, field.get_axis_num(dim), how.stencil))
        result.attrs = {}
        return result.chunk(field.chunksizes)
    kernel: Any
    options: dict[str, Any]
    if how.stencil is not None:
        kernel, options = differentiate, {"stencil": how.stencil}
    elif how.compact is not None:
        kernel, options = compact_derivative, {"compact": how.compact}
    elif how.matrix is not None:
        kernel, options = kernels.chebyshev_derivative, {"matrix": how.matrix}
    else:
        kernel, options = kernels.spectral_derivative, {"period": how.signed_period}
    lifted: xr.DataArray = lift(
        kernel,
        whole(field, [dim]),
        core_dims=[dim],
        output_dtypes=[np.float64],
        kwargs=options,
    )
    lifted = lifted.transpose(*field.dims)
    # Else the terms of a sum, each cut along other axes, would meet in many tiny pieces.
    return lifted if field.chunks is None else lifted.chunk(field.chunksizes)


def _with_halos(data: Any, along: int, stencil: Stencil) -> Any:
    sizes = _at_least(data.chunks[along], stencil.order)
    data = data.rechunk({along: sizes})
    starts = [0, *itertools.accumulate(sizes)]
    return data.map_overlap(
        partial(_on_block, along=along, stencil=stencil, starts=starts),
        depth={along: stencil.depth},
        boundary={along: "periodic" if stencil.wraps else "none"},
        trim=False,
        allow_rechunk=False,
        chunks=data.chunks,
        dtype=np.float64,
        meta=np.empty((0,) * data.ndim),
    )


def _at_least(sizes: tuple[int, ...], least: int) -> tuple[int, ...]:
    """Join neighbouring chunks until each has enough points to hold a one-sided stencil."""
    joined = [0]
    for size in sizes:
        if joined[-1] >= least:
            joined.append(0)
        joined[-1] += size
    if len(joined) > 1 and joined[-1] < least:
        last = joined.pop()
        joined[-1] += last
    return tuple(joined)


def _on_block(
    block: NDArray[Any],
    *,
    along: int,
    stencil: Stencil,
    starts: list[int],
    block_id: tuple[int, ...],
) -> NDArray[np.float64]:
    low, high = starts[block_id[along]], starts[block_id[along] + 1]
    first = low - stencil.depth if stencil.wraps else max(0, low - stencil.depth)
    lines = np.moveaxis(block, along, -1)
    result = differentiate(lines, stencil, first=first, rows=slice(low, high))
    return np.moveaxis(result, -1, along)


def walls(ds: xr.Dataset, field: xr.DataArray, dim: str, what: str) -> Walls:
    """Where the walls at the ends of an axis are, and the functions that vanish there.

    Parameters
    ----------
    ds : Dataset
        With a coordinate ``dim``, and its CF bounds if it has any.
    field : DataArray
        On the dim.
    dim : str
        Spatial dim with the attribute boundary="wall".
    what : str
        What it is for.

    Returns
    -------
    Walls
        At the ends of a Chebyshev grid, else at the outer edges of the bounds, else half a step
        beyond the outer points.

    Raises
    ------
    SchemaError
        If the axis is neither periodic nor between walls, or too short.
    """
    along = _cartesian(field, dim)
    if along.size == 1:
        raise SchemaError(_one_point(dim))
    if along.boundary != "wall":
        raise SchemaError(
            _not_periodic(along, what) + ", or, if walls close it, "
            f"ds[{dim!r}].attrs['boundary'] = 'wall'"
        )
    if along.size < 4:
        raise SchemaError(f"axis {dim!r} has {along.size} points: between walls it needs 4 or more")
    if along.spacing == "chebyshev":
        return chebyshev_walls(dim, along.coordinate, *chebyshev(along))
    bounds = _bounds(ds, dim)
    points = along.coordinate
    if bounds is None:
        return difference_walls(
            dim, points, *(1.5 * points[i] - 0.5 * points[j] for i, j in ((0, 1), (-1, -2)))
        )
    edges = np.asarray(bounds.values, dtype=np.float64)
    kernels.bound_widths(edges, positions=points)
    rising = points[-1] > points[0]
    outer = (edges.min(), edges.max())
    return difference_walls(dim, points, *(outer if rising else outer[::-1]))


def widths(ds: xr.Dataset, dim: str) -> tuple[xr.DataArray, str]:
    """Lengths that the points of an axis stand for in an integral.

    Parameters
    ----------
    ds : Dataset
        With a coordinate ``dim``.
    dim : str
        Spatial dim.

    Returns
    -------
    tuple of DataArray on the dim and str
        Widths and where they come from: CF bounds (lazy if they are), the period, quadrature
        weights on a Chebyshev axis, else the midpoints between neighbours (the outer cells reach
        as far out as in).

    Raises
    ------
    SchemaError
        If the axis has no valid positions, or they and the bounds do not give widths.
    """
    along = _cartesian(ds, dim)
    bounds = _bounds(ds, dim)
    if bounds is not None:
        core = [str(d) for d in bounds.dims]
        lengths = lift(
            kernels.bound_widths,
            whole(bounds, core),
            core_dims=core,
            output_core_dims=[[dim]],
            output_dtypes=[np.float64],
            kwargs={"positions": along.coordinate},
        )
        return lengths, "bounds"
    found, text = _widths(along)
    return xr.DataArray(found, dims=dim, coords={dim: ds[dim]}), text


def _widths(along: Axis) -> tuple[NDArray[np.float64], str]:
    if along.size == 1:  # of a whole axis of one cell, or of a slice: nobody knows
        raise SchemaError(
            f"axis {along.name!r} has 1 point: its width needs bounds; give them with "
            f".assign_coords({along.name}_bounds=...), or .squeeze({along.name!r}, drop=True)"
        )
    if along.periodic:
        return np.full(along.size, along.length / along.size), "period"
    if along.spacing == "chebyshev":
        kind, low, high = chebyshev(along)
        rule = "Fejer" if kind == "roots" else "Clenshaw-Curtis"
        return kernels.chebyshev_weights(along.size, kind, high - low), f"{rule} quadrature"
    if along.spacing == "uniform":
        return np.full(along.size, along.step), "step"
    middle = (along.coordinate[1:] + along.coordinate[:-1]) / 2
    ends = (2 * along.coordinate[0] - middle[0], 2 * along.coordinate[-1] - middle[-1])
    return np.abs(np.diff([ends[0], *middle, ends[1]])), "midpoints"


def _bounds(ds: xr.Dataset, dim: str) -> xr.DataArray | None:
    stated = ds[dim].attrs.get("bounds"), ds[dim].encoding.get("bounds")
    name = next((n for n in (*stated, f"{dim}_bounds") if n in ds.variables), None)
    if name is None:
        return None
    bounds = ds[name]
    if bounds.ndim != 2 or bounds.dims[0] != dim or bounds.shape[1] != 2:
        raise SchemaError(
            f"expected bounds {name!r} with dims ({dim!r}, 2 edges), found {dict(bounds.sizes)}"
        )
    return bounds
