"""Fields on a coarser grid."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from xphys._dims import lift, whole
from xphys.errors import SchemaError
from xphys.fields._axes import periodic, widths
from xphys.fields._degrade_kernels import block_mean, truncate_modes
from xphys.schema import axis, record, spatial_dims

__all__ = ["degrade"]

_METHODS = ("block", "spectral")


def degrade(
    ds: xr.Dataset, factor: int | Mapping[str, int], *, method: str = "block"
) -> xr.Dataset:
    r"""Bring fields to a grid that is coarser by a whole factor, lazily.

    ``"block"``: means over the volume of the cells that make a new one,
    :math:`\bar u = \sum_i w_i u_i / \sum_i w_i`, which keep integrals. ``"spectral"``: the Fourier
    series cut off below the Nyquist mode of the new grid, on periodic axes; what block means
    alias is gone. Both give values at the same places, the middle of the new cells.

    Parameters
    ----------
    ds : Dataset
        Real floating variables; those without the dims are kept as they are.
    factor : int or mapping of str to int
        Old cells per new cell, for all spatial dims of more than one point, or for each named
        dim.
    method : {"block", "spectral"}
        How.

    Returns
    -------
    Dataset
        Same dims, variables, types and attributes; coordinates at the middle of the new cells,
        ``<dim>_bounds`` at their edges. Other coordinates on these dims are averaged like the
        fields, or left out if they are not floating numbers. Computed in float64, rounded once.
        NaN spreads over the new cell (block) or the line (spectral).

    Raises
    ------
    SchemaError
        If a factor does not divide the size of its dim, a dim does not exist, a variable is not
        of floating numbers, an axis is not periodic ("spectral"), or the method is not known.

    Notes
    -----
    Means are weighted with the widths of the cells: CF bounds, else by the positions. The spectral
    method needs each axis in one chunk and rechunks, one axis at a time.

    Examples
    --------
    >>> x = xr.Variable("x", [0.125, 0.375, 0.625, 0.875], {"period": 1.0})
    >>> coarse = degrade(xr.Dataset({"u": ("x", [1.0, 3.0, 5.0, 7.0])}, {"x": x}), 2)
    >>> coarse.u.values, coarse.x.values
    (array([2., 6.]), array([0.25, 0.75]))
    """
    if method not in _METHODS:
        raise SchemaError(f"expected a method out of {_METHODS}, got {method!r}")
    factors = _factors(ds, factor)
    if method == "spectral":
        for dim in factors:
            axis(ds, dim)  # says what positions lack
            periodic(ds[dim], dim, "degrade(method='spectral')")
    weights = {dim: _weights(ds, dim) for dim in factors}
    edges = {_bounds_of(ds, dim): dim for dim in factors}
    fields: dict[Hashable, xr.Variable] = {}
    coords: dict[Hashable, xr.Variable] = {}
    for name, array in ds.variables.items():
        dims = [dim for dim in factors if dim in array.dims]
        place = coords if name in ds.coords else fields
        if not dims:
            place[name] = array
        elif name in factors:
            coords[name] = _positions(ds, str(name), factors[str(name)])
        elif name in edges:
            dim = edges[name]
            place[name] = _edges(array, dim, factors[dim])
        elif array.dtype.kind == "f":
            place[name] = _field(ds[name], {d: factors[d] for d in dims}, method, weights)
        elif name in ds.data_vars:
            raise SchemaError(
                f"{name!r} is {array.dtype}: expected floating numbers, which have means; convert "
                "it with .astype, or drop it"
            )
    result = xr.Dataset(fields, coords, ds.attrs)
    result.encoding = {}
    return record(result, "degrade", {"factor": factors, "method": method})


def _factors(ds: xr.Dataset, factor: int | Mapping[str, int]) -> dict[str, int]:
    if isinstance(factor, Mapping):
        asked = {str(dim): number for dim, number in factor.items()}
    else:
        asked = {dim: factor for dim in spatial_dims(ds) if ds.sizes[dim] > 1}
        if not asked:
            raise SchemaError(
                f"expected a spatial dim of more than one point, found {dict(ds.sizes)}: name the "
                "dims, factor={dim: ...}"
            )
    for dim, number in asked.items():
        if dim not in ds.dims:
            raise SchemaError(f"expected dims out of {tuple(ds.dims)}, got {dim!r}")
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 1:
            raise SchemaError(f"a factor is a whole number from 1 on, got {number!r} for {dim!r}")
        if ds.sizes[dim] % number:
            raise SchemaError(
                f"{dim!r} has {ds.sizes[dim]} points, which {number} does not divide: choose "
                f"another factor, or cut it with .isel({dim}=slice(...))"
            )
    return {dim: int(number) for dim, number in asked.items() if number > 1}


def _bounds_of(ds: xr.Dataset, dim: str) -> Hashable:
    if dim not in ds.coords:
        return None
    stated = ds[dim].attrs.get("bounds"), ds[dim].encoding.get("bounds")
    return next((n for n in (*stated, f"{dim}_bounds") if n in ds.variables), None)


def _weights(ds: xr.Dataset, dim: str) -> xr.DataArray:
    if dim not in ds.coords:
        return xr.DataArray(np.ones(ds.sizes[dim]), dims=dim)
    found = axis(ds, dim)
    if _bounds_of(ds, dim) is None and found.spacing == "uniform":
        return xr.DataArray(np.ones(found.size), dims=dim)
    return widths(ds, dim)[0]


def _positions(ds: xr.Dataset, dim: str, factor: int) -> xr.Variable:
    old = ds.variables[dim]
    values = np.asarray(old.values, np.float64)
    bounds = _bounds_of(ds, dim)
    if bounds is not None:
        edges = np.asarray(_edges(ds.variables[bounds], dim, factor).values, np.float64)
        middle = edges.mean(axis=1)
    elif axis(ds, dim).spacing == "uniform":
        middle = values.reshape(-1, factor).mean(axis=1)
    else:
        middle = block_mean(values, _weights(ds, dim).values, factor=factor, along=0)
    kind = old.dtype if old.dtype.kind == "f" else np.dtype(np.float64)
    attrs = dict(old.attrs)
    if attrs.get("spacing") == "chebyshev":
        attrs["spacing"] = "nonuniform"
    return xr.Variable(dim, middle.astype(kind), attrs)


def _edges(bounds: xr.Variable, dim: str, factor: int) -> xr.Variable:
    """Outer edges of the groups."""
    side = bounds.dims[1]
    place = xr.Variable(side, np.arange(2, dtype=bounds.dtype))
    low = bounds.isel({dim: slice(0, None, factor), side: 0})
    high = bounds.isel({dim: slice(factor - 1, None, factor), side: 1})
    both: xr.Variable = low * (1 - place) + high * place
    return xr.Variable(both.dims, both.data, bounds.attrs)


def _field(
    field: xr.DataArray, factors: Mapping[str, int], method: str, weights: Mapping[str, Any]
) -> xr.Variable:
    dims, kind = field.dims, field.dtype
    bare = field.drop_vars(list(field.coords))
    for dim, factor in factors.items():
        if method == "block":
            bare = _means(bare, dim, factor, weights[dim])
        else:
            bare = lift(
                truncate_modes,
                whole(bare, [dim]),
                core_dims=[dim],
                output_sizes={dim: field.sizes[dim] // factor},
                output_dtypes=[np.float64],
                kwargs={"factor": factor},
            ).transpose(*dims)
    return xr.Variable(dims, bare.astype(kind).data, field.attrs)


def _means(field: xr.DataArray, dim: str, factor: int, weights: xr.DataArray) -> xr.DataArray:
    along = field.get_axis_num(dim)
    shape = [1] * field.ndim
    shape[along] = field.sizes[dim]
    shares = weights.data.reshape(shape)
    kernel = partial(block_mean, factor=factor, along=along)
    if field.chunks is None:
        data = kernel(np.asarray(field.data), np.asarray(shares))
    else:
        import dask.array as da

        sizes = _multiples(field.chunks[along], factor)
        source = field.data.rechunk({along: sizes})
        pieces: list[tuple[int, ...]] = [(1,)] * field.ndim
        pieces[along] = sizes
        parts = list(source.chunks)
        parts[along] = tuple(n // factor for n in sizes)
        data = da.map_blocks(
            kernel,
            source,
            da.asarray(shares).rechunk(tuple(pieces)),
            chunks=tuple(parts),
            dtype=np.float64,
            meta=np.empty((0,) * field.ndim),
        )
    return xr.DataArray(data, dims=field.dims)


def _multiples(sizes: tuple[int, ...], factor: int) -> tuple[int, ...]:
    """Chunk sizes near the given ones that do not cut a group of points."""
    ends = np.unique(np.cumsum(sizes) // factor * factor)
    steps = np.diff([0, *ends[:-1], sum(sizes)])
    return tuple(int(n) for n in steps if n)
