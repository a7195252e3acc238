"""Derived fields of labelled Datasets."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import reduce
from operator import add

import xarray as xr

from xphys._dims import lift, whole
from xphys.errors import SchemaError, UnknownNameError
from xphys.fields._kernels import derivative, result_dtype
from xphys.schema import SPATIAL_DIMS, Axis, axis, record, spatial_dims, vectors

__all__ = ["FIELDS", "derive"]


def derive(ds: xr.Dataset, *names: str) -> xr.Dataset:
    r"""Compute fields that follow from the fields of a Dataset.

    ``"divergence"`` gives :math:`\nabla\cdot v = \sum_i \partial v_i/\partial x_i` as
    ``divergence_<vector>`` for each vector that has a component along every spatial dim of its
    variables; ``"divergence_<vector>"`` gives that one. A component along a dim that the data
    do not have (an ignorable direction) adds nothing. Derivatives are spectral along periodic
    axes (the Nyquist mode of an even number of points is zeroed) and finite differences of
    second order along all others, the spacing honoured; the attribute ``method`` says which.

    Parameters
    ----------
    ds : Dataset
        Variables with attrs ``vector`` and ``component``; any chunks.
    *names : str
        What to compute.

    Returns
    -------
    Dataset
        Lazy where the inputs are, with their dims and coordinates, float32 for float32. Units
        are those of the vector over those of the positions, where both are known.

    Raises
    ------
    UnknownNameError
        If no name is given, or a name or its vector is not known.
    SchemaError
        If no vector is complete, the vector asked for lacks a component, its components differ
        in dims or units, or an axis without period has fewer than 3 points.

    Examples
    --------
    >>> import numpy as np
    >>> x = xr.Variable("x", np.arange(8) / 8, {"period": 1.0, "units": "m"})
    >>> tag = {"vector": "velocity", "component": "x", "units": "m/s"}
    >>> ds = xr.Dataset({"u": ("x", np.sin(2 * np.pi * x.data), tag)}, coords={"x": x})
    >>> derive(ds, "divergence").divergence_velocity.attrs["units"]
    'm/s/m'
    """
    if not names:
        raise UnknownNameError(f"expected the name of a derived field out of {sorted(FIELDS)}")
    fields: dict[str, xr.DataArray] = {}
    for name in names:
        kind = next((k for k in FIELDS if name == k or name.startswith(f"{k}_")), None)
        if kind is None:
            raise UnknownNameError(f"expected derived fields out of {sorted(FIELDS)}, got {name!r}")
        fields |= FIELDS[kind](ds, name[len(kind) + 1 :] or None)
    result = xr.Dataset(fields, attrs=ds.attrs)
    return record(result, "derive", {"names": list(names)})


def _divergences(ds: xr.Dataset, vector: str | None) -> dict[str, xr.DataArray]:
    known = vectors(ds)
    if vector is not None and vector not in known:
        raise UnknownNameError(f"expected a vector out of {sorted(known)}, got {vector!r}")
    lacking = {name: _lacking(ds, parts) for name, parts in known.items()}
    wanted = [vector] if vector is not None else [n for n, lack in lacking.items() if not lack]
    if not wanted or (vector is not None and lacking[vector]):
        short = {n: lack for n, lack in lacking.items() if lack and n in (wanted or lacking)}
        raise SchemaError(
            f"expected a vector with a component along each spatial dim; missing: {short}. Tie "
            'variables to one with attrs vector="velocity", component="x"'
        )
    return {f"divergence_{name}": _divergence(ds, name, known[name]) for name in wanted}


def _lacking(ds: xr.Dataset, parts: dict[str, Hashable]) -> list[str]:
    dims = {dim for name in parts.values() for dim in spatial_dims(ds[name])}
    return sorted(dims - set(parts)) if dims else ["a spatial dim"]


def _divergence(ds: xr.Dataset, vector: str, parts: dict[str, Hashable]) -> xr.DataArray:
    dims = [d for d in SPATIAL_DIMS if any(d in ds[name].dims for name in parts.values())]
    used = {dim: ds[parts[dim]] for dim in dims}
    first = used[dims[0]]
    for component in used.values():
        if set(component.dims) != set(first.dims):
            raise SchemaError(
                f"components of {vector!r} differ in dims: {first.name!r} has {first.dims}, "
                f"{component.name!r} has {component.dims}"
            )
    axes = {dim: _differentiable(ds, dim) for dim in dims}
    units = _units(vector, used)
    total = reduce(add, (_derivative(used[dim], a) for dim, a in axes.items()))
    result = total.transpose(*first.dims).rename(f"divergence_{vector}")
    methods = (
        f"{dim}: {'spectral' if a.periodic else 'finite differences of order 2'}"
        for dim, a in axes.items()
    )
    result.attrs = {"long_name": f"divergence of {vector}", "method": ", ".join(methods)}
    return result if units is None else result.assign_attrs(units=units)


def _differentiable(ds: xr.Dataset, dim: str) -> Axis:
    described = axis(ds, dim)
    if not described.periodic and described.size < 3:
        raise SchemaError(
            f"axis {dim!r} has {described.size} points and no period: a derivative needs 3 points"
        )
    return described


def _derivative(field: xr.DataArray, along: Axis) -> xr.DataArray:
    result: xr.DataArray = lift(
        derivative,
        whole(field, [along.name]),
        core_dims=[along.name],
        output_dtypes=[result_dtype(field.dtype)],
        kwargs={
            "positions": along.coordinate,
            "period": along.length if along.periodic else None,
        },
    )
    return result


def _units(vector: str, components: dict[str, xr.DataArray]) -> str | None:
    """Units of the divergence; None where some are not known."""
    found = {c.attrs.get("units") for c in components.values()}
    lengths = {c.coords[dim].attrs.get("units") for dim, c in components.items()}
    for what, units in (("components", found), ("positions", lengths)):
        if len(units - {None}) > 1:
            raise SchemaError(
                f"the {what} of {vector!r} have different units {sorted(units - {None})}: "
                "convert them to one"
            )
    if None in found or None in lengths:
        return None
    (unit,), (length,) = found, lengths
    if length == "1":
        return str(unit)
    return f"{unit}/({length})" if set(length) & set(" */^") else f"{unit}/{length}"


# What derive() knows: kind -> function of the Dataset and the part of the name after the kind.
FIELDS: dict[str, Callable[[xr.Dataset, str | None], dict[str, xr.DataArray]]] = {
    "divergence": _divergences,
}
