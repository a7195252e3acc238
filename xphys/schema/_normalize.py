"""Turn common spellings into the data model, without touching a value."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import xarray as xr

from xphys.errors import SchemaError, UnknownNameError
from xphys.schema._axes import DIM_ORDER, SPATIAL_DIMS
from xphys.schema._grid import is_regular, spacing_of, stated_boundaries
from xphys.schema._provenance import record
from xphys.schema._spellings import (
    ALIASES,
    component_names,
    dimension_names,
    is_geographic,
    model_order,
)

__all__ = ["normalize", "wrong_order"]


def normalize(ds: xr.Dataset, *, rename: Mapping[str, str] | None = None) -> xr.Dataset:
    """Bring a Dataset into the data model: names, order of dimensions, attributes.

    Dimensions ``x1, X, nx, x-coordinate, ...`` become ``x`` (alike ``y``, ``z``) and
    ``t, T, Time, time_counter, ...`` become ``time``. Variables are transposed so that spatial
    dimensions are last as (z, y, x), ensemble dimensions and time in the order of the model;
    other dimensions keep their place before the spatial ones. At least two components of one
    spelling (``u, v, w``, ``vx, vy, vz``, ``velx, ...``, ``Bx, ...``, ``bcc1, ...``) become
    ``velocity_x, ...`` or ``magnetic_field_x, ...`` and are tied by the attributes ``vector``
    and ``component``. Spatial coordinates get ``spacing`` from their positions, and ``boundary``
    and ``period`` where the source states them. The old name is kept in
    ``attrs["source_name"]``.

    Parameters
    ----------
    ds : Dataset
        Any Dataset; it is not changed.
    rename : mapping of str to str, optional
        Names in ``ds`` -> new names of variables or dimensions, used before the rules above. A
        name given here, old or new, is not renamed by them: ``{"u": "u"}`` keeps ``u``.

    Returns
    -------
    Dataset
        Shares its data with ``ds``; Dask arrays stay lazy. Equal to ``ds`` where nothing was to
        be done; otherwise the step is added to the provenance.

    Raises
    ------
    SchemaError
        If ``ds`` is not a Dataset or ``rename`` leads to a name that is taken.
    UnknownNameError
        If ``rename`` names something that ``ds`` does not have.

    Notes
    -----
    Nothing is guessed: units are never added, ``u, v`` stay as they are where the axes do not
    fit them, on latitude and longitude, or where the source calls them something else; variables
    on latitude or longitude are not transposed.

    Examples
    --------
    >>> import numpy as np
    >>> import xarray as xr
    >>> ds = xr.Dataset({"u": (("x1", "x2", "t"), np.zeros((4, 3, 2))),
    ...                  "v": (("x1", "x2", "t"), np.zeros((4, 3, 2)))})
    >>> new = normalize(ds)
    >>> new["velocity_x"].dims, new["velocity_y"].attrs["source_name"]
    (('time', 'y', 'x'), 'v')
    """
    if not isinstance(ds, xr.Dataset):
        raise SchemaError(
            f"expected a Dataset, got {type(ds).__name__}: use .to_dataset(name=...) first"
        )
    asked = dict(rename or {})
    kept = {*asked, *asked.values()}
    new = _rename_asked(ds, asked)
    new = _rename_dimensions(new, dimension_names(new, kept))
    new = _transpose(new)
    new = _rename_components(new, component_names(new, kept))
    new = _describe_axes(new)
    if _layout(new) == _layout(ds):
        return new
    return record(new, "normalize", {"rename": asked or None})


def _layout(ds: xr.Dataset) -> dict[Hashable, Any]:
    """All that normalize can change; attributes are only ever added, so their names suffice."""
    return {
        name: (variable.dims, frozenset(variable.attrs), name in ds.coords)
        for name, variable in ds.variables.items()
    } | {("dims",): frozenset(ds.dims)}


def _rename_asked(ds: xr.Dataset, asked: Mapping[str, str]) -> xr.Dataset:
    unknown = [name for name in asked if name not in ds.variables and name not in ds.dims]
    if unknown:
        raise UnknownNameError(
            f"rename names {unknown[0]!r}, which is neither a variable nor a dimension: "
            f"expected one of {[str(n) for n in {**ds.variables, **ds.sizes}]}"
        )
    changes = {old: new for old, new in asked.items() if old != new}
    left = ({*ds.variables, *ds.dims}) - set(changes)
    for old, new in changes.items():
        if new in left or list(changes.values()).count(new) > 1:
            raise SchemaError(
                f"cannot rename {old!r} to {new!r}, the name is taken: choose another in rename="
            )
    return _note_sources(ds.rename(changes), changes) if changes else ds.copy()


def _note_sources(ds: xr.Dataset, changes: Mapping[str, str]) -> xr.Dataset:
    """Write the old names into the attributes; the first name a variable ever had stays."""
    for old, new in changes.items():
        if new in ds.variables:
            ds[new].attrs.setdefault("source_name", old)
    return ds


def _rename_dimensions(ds: xr.Dataset, plan: Mapping[str, str]) -> xr.Dataset:
    for dim, target in plan.items():
        if dim in ds.variables:
            ds = _note_sources(ds.rename({dim: target}), {dim: target})
            continue
        # A field may be called T or X: among fields only the plain names count as positions.
        plain = (target, ALIASES[target][0])
        names = [n for n in (target, *ALIASES[target]) if n in ds.coords or n in plain]
        positions = [n for n in names if n in ds.variables and ds.variables[n].dims == (dim,)]
        if len(positions) == 1:
            found = positions[0]
            ds = ds.set_coords(found)
            if found != target:
                ds = _note_sources(ds.rename({found: target}), {found: target})
            ds = ds.swap_dims({dim: target})
        else:
            ds = ds.rename_dims({dim: target})
    return ds


def wrong_order(ds: xr.Dataset) -> dict[Hashable, tuple[Hashable, ...]]:
    """Variables whose dimensions are not in the order of the model -> the right order.

    Parameters
    ----------
    ds : Dataset
        Any Dataset. Left out are variables on latitude or longitude, bounds, and coordinates
        with a dimension that the model does not know.

    Returns
    -------
    dict
        Name -> dimensions in order.
    """
    geographic = {dim for dim in ds.dims if is_geographic(ds, dim)}
    bounds = {str(v.attrs.get("bounds")) for v in ds.variables.values()}
    wrong: dict[Hashable, tuple[Hashable, ...]] = {}
    for name, variable in ds.variables.items():
        if geographic & set(variable.dims) or name in bounds or str(name).endswith("_bounds"):
            continue
        if name in ds.coords and not set(variable.dims) <= set(DIM_ORDER):
            continue
        order = model_order(variable.dims)
        if order != variable.dims:
            wrong[name] = order
    return wrong


def _transpose(ds: xr.Dataset) -> xr.Dataset:
    changed: dict[Hashable, xr.Variable] = {}
    for name, order in wrong_order(ds).items():
        old = ds.variables[name]
        if len(set(old.dims)) < old.ndim:
            raise SchemaError(
                f"variable {name!r} has dims {old.dims}: each dim may appear once, rename the other"
            )
        new = old.transpose(*order)
        # Stored chunk shapes follow the dimensions, or the next write would use them crosswise.
        places = [old.dims.index(dim) for dim in order]
        for key in ("chunks", "chunksizes", "shards", "original_shape"):
            sizes = old.encoding.get(key)
            if isinstance(sizes, tuple) and len(sizes) == old.ndim:
                new.encoding[key] = tuple(sizes[place] for place in places)
        changed[name] = new
    coords = {name: variable for name, variable in changed.items() if name in ds.coords}
    fields = {name: variable for name, variable in changed.items() if name not in ds.coords}
    return ds.assign_coords(coords).assign(fields) if changed else ds


def _rename_components(ds: xr.Dataset, plan: Mapping[str, Mapping[str, str]]) -> xr.Dataset:
    for vector, found in plan.items():
        changes = {n: f"{vector}_{c}" for c, n in found.items() if n != f"{vector}_{c}"}
        ds = _note_sources(ds.rename(changes), changes)
        for component in found:
            ds[f"{vector}_{component}"].attrs.update(vector=vector, component=component)
    return ds


def _describe_axes(ds: xr.Dataset) -> xr.Dataset:
    found: dict[str, dict[str, Any]] = {}
    for dim in SPATIAL_DIMS:
        if dim in ds.dims and is_regular(ds, dim):
            found[dim] = stated_boundaries(ds, dim)
            if "spacing" not in ds[dim].attrs and ds.sizes[dim] > 1:
                found[dim]["spacing"] = spacing_of(ds, dim)
    return ds.assign_coords({d: ds[d].assign_attrs(a) for d, a in found.items() if a})
