"""Findings: where a Dataset departs from the data model, and the call that mends it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr

from xphys.errors import SchemaError
from xphys.schema._axes import BOUNDARIES, ENSEMBLE_DIMS, SPACINGS, SPATIAL_DIMS, axis, spatial_dims
from xphys.schema._grid import index_of, is_regular, length_of, spacing_of
from xphys.schema._normalize import wrong_order
from xphys.schema._spellings import component_names, dimension_names

__all__ = ["VERIFIED", "Finding", "validate"]

#: Key in the encoding of a Dataset: whether what is read from its store is checked.
VERIFIED = "xphys_verified"

_PERIOD_TOLERANCE = 1e-6
_RANK = {"error": 0, "warning": 1, "info": 2}
Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True)
class Finding:
    """One departure from the data model.

    Attributes
    ----------
    code : str
        Name of the finding, e.g. ``"missing-units"``.
    severity : {"error", "warning", "info"}
        "error": functions refuse or would be wrong; "warning": a result may lack something;
        "info": good to know.
    where : str
        Variable, coordinate, dimension or vector.
    message : str
        What was expected and what was found.
    mend : str
        Statement to type; ``ds`` is the Dataset. Lower-case names that only the user can fill in
        (``positions``, ``edges``, ``component``) are explained in the message.
    """

    code: str
    severity: Severity
    where: str
    message: str
    mend: str

    def __str__(self) -> str:
        return f"{self.severity} {self.code} at {self.where!r}: {self.message}; mend: {self.mend}"


def validate(ds: xr.Dataset) -> list[Finding]:
    """Compare a Dataset with the data model.

    Parameters
    ----------
    ds : Dataset
        Any Dataset. Only names, dimensions, dtypes, attributes and indexes are looked at: field
        values are never loaded or computed.

    Returns
    -------
    list of Finding
        Errors first; empty if the Dataset conforms.

    Raises
    ------
    SchemaError
        If ``ds`` is not a Dataset.

    Examples
    --------
    >>> import xarray as xr
    >>> ds = xr.Dataset({"rho": ("x", [1.0, 2.0], {"units": "1", "long_name": "density"})})
    >>> print(*validate(ds), sep="\\n")
    error missing-coordinate at 'x': expected positions along 'x', found none; mend: ds = ...
    """
    if not isinstance(ds, xr.Dataset):
        raise SchemaError(
            f"expected a Dataset, got {type(ds).__name__}: use .to_dataset(name=...) first"
        )
    findings = [finding for check in _CHECKS for finding in check(ds)]
    return sorted(findings, key=lambda finding: _RANK[finding.severity])


def _set(name: Hashable, call: str) -> str:
    return f"ds = ds.assign({{{name!r}: ds[{name!r}]{call}}})"


def _set_coord(name: Hashable, call: str) -> str:
    return f"ds = ds.assign_coords({{{name!r}: ds[{name!r}]{call}}})"


def _without(ds: xr.Dataset, name: str, *drop: str, **add: Any) -> str:
    """Statement that replaces attributes; None as a value would not survive a file."""
    attrs = {k: _plain(v) for k, v in ds[name].attrs.items() if k not in drop} | add
    return _set_coord(name, f".drop_attrs(deep=False).assign_attrs({attrs!r})")


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


def _verified(ds: xr.Dataset) -> Iterator[Finding]:
    if ds.encoding.get(VERIFIED) is False:
        source = ds.encoding.get("source", "")
        yield Finding(
            "unverified",
            "warning",
            "store",
            "the store has no manifest: a changed or missing chunk would not be noticed",
            f"xphys.verify({source!r}, seal=True); ds = xphys.open({source!r})",
        )


def _names(ds: xr.Dataset) -> Iterator[Finding]:
    mend = "ds = xphys.schema.normalize(ds)"
    for old, new in dimension_names(ds).items():
        message = f"expected the name {new!r} for this dimension, found {old!r}"
        yield Finding("dimension-name", "warning", old, message, mend)
    for vector, found in component_names(ds).items():
        for component, name in found.items():
            if name != f"{vector}_{component}" and "vector" not in ds[name].attrs:
                message = f"expected {vector}_{component} with attrs vector and component"
                yield Finding("component-name", "info", name, message, mend)


def _order(ds: xr.Dataset) -> Iterator[Finding]:
    for name, order in wrong_order(ds).items():
        message = f"expected dims {order}, found {ds[name].dims}"
        arguments = ", ".join(repr(dim) for dim in order)
        put = _set_coord if name in ds.coords else _set
        mend = put(name, f".transpose({arguments})")
        yield Finding("dim-order", "error", str(name), message, mend)


def _coordinates(ds: xr.Dataset) -> Iterator[Finding]:
    for dim in ("time", *SPATIAL_DIMS):
        if dim not in ds.dims:
            continue
        if dim not in ds.coords:
            message = f"expected positions along {dim!r}, found none"
            mend = f"ds = ds.assign_coords({dim}=({dim!r}, positions))"
            yield Finding("missing-coordinate", "error", dim, message, mend)
        elif (index := index_of(ds, dim)) is not None:
            yield from _positions(dim, index)


def _positions(dim: str, index: Any) -> Iterator[Finding]:
    numeric = index.dtype.kind in "fiu"
    finite = np.isfinite(np.asarray(index)) if numeric else ~np.asarray(index.isna())
    if not finite.all():
        call = f"np.isfinite(ds[{dim!r}])" if numeric else f"ds[{dim!r}].notnull()"
        message = f"expected finite positions, found {int((~finite).sum())} NaN or infinite"
        mend = f"ds = ds.isel({dim}={call}.values)"
        yield Finding("non-finite-coordinate", "error", dim, message, mend)
    if index.has_duplicates:
        repeated = index[index.duplicated()][0]
        message = f"expected every position once, found {repeated} repeatedly"
        mend = f"ds = ds.drop_duplicates({dim!r})"
        yield Finding("duplicate-coordinate", "error", dim, message, mend)
    if dim == "time" and not index.is_monotonic_increasing:
        message = "expected times that increase"
        yield Finding("time-not-increasing", "error", dim, message, 'ds = ds.sortby("time")')
    elif not (index.is_monotonic_increasing or index.is_monotonic_decreasing):
        message = "expected positions that only rise or only fall"
        yield Finding("unsorted-coordinate", "error", dim, message, f"ds = ds.sortby({dim!r})")


def _units(ds: xr.Dataset) -> Iterator[Finding]:
    axes = [dim for dim in ("time", *SPATIAL_DIMS) if dim in ds.coords]
    for name in (*axes, *ds.data_vars):
        variable = ds.variables[name]
        bounds = str(name).endswith("_bounds")  # CF: bounds take the units of their coordinate
        if variable.dtype.kind not in "fiuc" or "units" in variable.attrs or bounds:
            continue
        message = 'expected attrs["units"], found none; give the true unit, "1" if dimensionless'
        put = _set_coord if name in ds.coords else _set
        mend = put(name, '.assign_attrs(units="1")')
        yield Finding("missing-units", "warning", str(name), message, mend)


def _boundaries(ds: xr.Dataset) -> Iterator[Finding]:
    for dim in spatial_dims(ds):
        if dim not in ds.coords:
            continue
        boundary, period = ds[dim].attrs.get("boundary"), ds[dim].attrs.get("period")
        if boundary is None:
            message = f'expected attrs["boundary"], one of {BOUNDARIES}; put in the true one'
            mend = _set_coord(dim, '.assign_attrs(boundary="open")')
            yield Finding("missing-boundary", "info", dim, message, mend)
        elif str(boundary) not in BOUNDARIES:
            message = f"expected one of {BOUNDARIES}, found {boundary!r}; put in the true one"
            mend = _set_coord(dim, '.assign_attrs(boundary="open")')
            yield Finding("unknown-boundary", "error", dim, message, mend)
        elif str(boundary) in ("wall", "open") and period is not None:
            message = f"found boundary {boundary!r} together with a period"
            mend = _without(ds, dim, "period")
            yield Finding("boundary-contradicts-period", "error", dim, message, mend)
        if period is not None and not _is_length(period):
            message = f"expected a positive number, found period {period!r}"
            mend = _without(ds, dim, "period", boundary="open")
            yield Finding("bad-period", "error", dim, message, mend)
        elif is_regular(ds, dim):
            yield from _period(ds, dim)


def _is_length(value: Any) -> bool:
    array = np.asarray(value)
    return array.size == 1 and array.dtype.kind in "fiu" and bool(0 < array.reshape(()) < np.inf)


def _period(ds: xr.Dataset, dim: str) -> Iterator[Finding]:
    """Period against number of points times spacing, on a regular axis."""
    attrs = ds[dim].attrs
    found = axis(ds[dim].drop_attrs(), dim)
    if found.size < 2:
        return
    covered = length_of(found)
    if "period" not in attrs:
        if str(attrs.get("boundary")) in ("periodic", "shear_periodic"):
            message = f"a periodic axis needs its length; {found.size} cells cover {covered:.9g}"
            mend = _set_coord(dim, f".assign_attrs(period={covered!r})")
            yield Finding("missing-period", "warning", dim, message, mend)
        return
    period = float(attrs["period"])
    tolerance = _PERIOD_TOLERANCE * period
    uniform = found.spacing == "uniform"
    if uniform and abs(covered - period) <= tolerance:
        return
    message = f"{found.size} cells cover {covered:.9g}, the period is {period:.9g}"
    as_open = _without(ds, dim, "period", boundary="open")
    if not uniform:
        message = (
            "the positions are not uniform: the axis is treated as open in spite of its period"
        )
        yield Finding("period-mismatch", "warning", dim, message, as_open)
    elif abs(covered - found.step - period) <= tolerance:
        mend = f"ds = ds.isel({dim}=slice(None, -1))"
        message += ": the last point repeats the first"
        yield Finding("repeated-end-point", "error", dim, message, mend)
    elif covered < period:
        message += ": the axis is a part of a periodic one and treated as open"
        yield Finding("sliced-periodic-axis", "info", dim, message, as_open)
    else:
        message += ": the axis is treated as open"
        yield Finding("period-mismatch", "error", dim, message, as_open)


def _spacings(ds: xr.Dataset) -> Iterator[Finding]:
    for dim in spatial_dims(ds):
        if not is_regular(ds, dim) or ds.sizes[dim] < 2:
            continue
        declared, seen = ds[dim].attrs.get("spacing"), spacing_of(ds, dim)
        mend = _set_coord(dim, f".assign_attrs(spacing={seen!r})")
        if declared is not None and str(declared) not in SPACINGS:
            message = f"expected one of {SPACINGS}, found {declared!r}"
            yield Finding("unknown-spacing", "error", dim, message, mend)
        elif declared is not None and declared != seen:
            message = f"attrs say {declared!r}, the positions are {seen!r}"
            yield Finding("spacing-contradicts-positions", "error", dim, message, mend)
        bounds = (f"{dim}_bounds", ds[dim].attrs.get("bounds"), ds[dim].encoding.get("bounds"))
        if seen == "nonuniform" and not any(name in ds.variables for name in bounds if name):
            message = f"non-uniform cells need {dim}_bounds({dim}, nv); edges = their n + 1 edges"
            pairs = "np.stack([edges[:-1], edges[1:]], axis=1)"
            mend = f'ds = ds.assign_coords({dim}_bounds=(({dim!r}, "nv"), {pairs}))'
            yield Finding("missing-bounds", "warning", dim, message, mend)


def _vectors(ds: xr.Dataset) -> Iterator[Finding]:
    found: dict[str, dict[str, Hashable]] = {}
    for name, variable in ds.data_vars.items():
        vector, component = variable.attrs.get("vector"), variable.attrs.get("component")
        if (vector is None) != (component is None):
            present, absent = ("vector", "component")[:: 1 if component is None else -1]
            message = f"found attrs {present!r} without {absent!r}; put in the true one"
            stem, _, last = str(name).rpartition("_")
            guess = last if absent == "component" and last in ("x", "y", "z") else stem or "x"
            mend = _set(name, f".assign_attrs({absent}={guess!r})")
            yield Finding("incomplete-vector", "error", str(name), message, mend)
        elif vector is not None and str(component) in found.setdefault(str(vector), {}):
            other = found[str(vector)][str(component)]
            message = f"{other!r} is already component {component!r} of {vector!r}"
            mend = f"ds = ds.drop_vars({name!r})"
            yield Finding("duplicate-component", "error", str(name), message, mend)
        elif vector is not None:
            found[str(vector)][str(component)] = name
    for vector, parts in found.items():
        yield from _components(ds, vector, parts)


def _components(ds: xr.Dataset, vector: str, parts: dict[str, Hashable]) -> Iterator[Finding]:
    first, *others = parts.values()
    dims = ds[first].dims
    if set(parts) <= set(SPATIAL_DIMS):  # tensors have components such as "xy"
        for dim in sorted(set(spatial_dims(ds[first])) - set(parts)):
            message = f"expected a component for every axis, found none for {dim!r} (component)"
            attrs = f"vector={vector!r}, component={dim!r}"
            mend = f"ds = ds.assign({vector}_{dim}=component.assign_attrs({attrs}))"
            yield Finding("missing-component", "warning", vector, message, mend)
    for name in others:
        if ds[name].dims == dims:
            continue
        message = f"expected dims {dims} as {first!r} has, found {ds[name].dims}"
        order = ", ".join(repr(dim) for dim in dims)
        if set(ds[name].dims) == set(dims):
            mend = _set(name, f".transpose({order})")
        elif set(ds[name].dims) < set(dims):
            mend = _set(name, f".broadcast_like(ds[{first!r}]).transpose({order})")
        else:
            mend = f"ds = ds.drop_vars({name!r})"
        yield Finding("component-dims-differ", "error", str(name), message, mend)


def _parameters(ds: xr.Dataset) -> Iterator[Finding]:
    if not spatial_dims(ds):
        return  # a table of results, not a simulation
    for name, variable in ds.data_vars.items():
        mend = f"ds = ds.set_coords({name!r})"
        if variable.ndim == 1 and variable.dims[0] in ENSEMBLE_DIMS:
            message = f"expected parameters along {variable.dims[0]!r} to be coordinates"
            yield Finding("parameter-not-coordinate", "warning", str(name), message, mend)
        elif variable.ndim == 0:
            message = "expected constants to be scalar coordinates"
            yield Finding("parameter-not-coordinate", "info", str(name), message, mend)


def _dtypes(ds: xr.Dataset) -> Iterator[Finding]:
    for name, variable in ds.variables.items():
        kind, is_field = variable.dtype.kind, name in ds.data_vars
        if variable.dtype == np.dtype(object) and not _is_calendar(ds, name):
            severity: Severity = "error" if is_field else "warning"
            message = "expected numbers or strings of a fixed dtype, found Python objects"
            mend = (
                _set(name, '.astype("float64")') if is_field else _set_coord(name, ".astype(str)")
            )
            yield Finding("object-dtype", severity, str(name), message, mend)
        elif is_field and kind in "iu" and "scale_factor" in variable.attrs:
            message = f"found packed {variable.dtype}: values need scale_factor and add_offset"
            yield Finding("packed-integers", "error", str(name), message, "ds = xr.decode_cf(ds)")
        elif is_field and kind in "iu" and spatial_dims(variable):
            message = f"found {variable.dtype} for a field; right for masks and counts only"
            mend = _set(name, '.astype("float32")')
            yield Finding("integer-field", "info", str(name), message, mend)


def _is_calendar(ds: xr.Dataset, name: Hashable) -> bool:
    return name in ds.xindexes and isinstance(ds.indexes[name], xr.CFTimeIndex)


def _long_names(ds: xr.Dataset) -> Iterator[Finding]:
    for name, variable in ds.data_vars.items():
        if "long_name" in variable.attrs or str(name).endswith("_bounds"):
            continue
        mend = _set(name, f".assign_attrs(long_name={str(name).replace('_', ' ')!r})")
        message = 'expected attrs["long_name"], found none; plots use it'
        yield Finding("missing-long-name", "info", str(name), message, mend)


_CHECKS: tuple[Callable[[xr.Dataset], Iterator[Finding]], ...] = (
    _verified,
    _names,
    _order,
    _coordinates,
    _units,
    _boundaries,
    _spacings,
    _vectors,
    _parameters,
    _dtypes,
    _long_names,
)
