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
from xphys.fields._stencils import ORDERS, Stencil, differentiate, make_stencil
from xphys.schema import Axis, axis

__all__ = ["METHODS", "Calculus", "check_method", "derivative", "widths"]

METHODS = ("spectral", "finite", "chebyshev")


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
        the matrix of a Chebyshev grid; spectral if both are None.
    """

    along: Axis
    text: str
    stencil: Stencil | None = None
    matrix: NDArray[np.float64] | None = None

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


def _cartesian(ds: xr.Dataset | xr.DataArray, dim: str) -> Axis:
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
    stencil = make_stencil(
        along.coordinate, order, uniform=along.spacing == "uniform", wraps=along.periodic
    )
    text = f"finite differences of order {order}" + (", periodic" if along.periodic else "")
    return Calculus(along, text, stencil=stencil)


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
        float64, dims, coordinates and chunks of the field. Spectral and Chebyshev derivatives
        make the one axis whole in between, finite differences exchange halos of order / 2 points.
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
