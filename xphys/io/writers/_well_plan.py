"""What of a Dataset goes where in a file of The Well, and what cannot go there."""

from __future__ import annotations

import json
import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from xphys.errors import SchemaError, XphysWarning
from xphys.io._the_well import (
    BOUNDARIES,
    COMPONENTS,
    COORDINATES,
    FIELDS,
    FLAGS,
    MARK,
    MASK,
    REPEATED,
    ROOT,
    VALUES,
    component_names,
)
from xphys.schema import ENSEMBLE_DIMS, vectors

__all__ = ["LEAD", "Plan", "Target", "make_plan"]

LEAD = ("trajectory", "time")
# What WellDataset hands to torch as it is.
_DTYPES = {
    np.dtype(name)
    for name in [
        "bool",
        "uint8",
        "int8",
        "int16",
        "int32",
        "int64",
        "float16",
        "float32",
        "float64",
    ]
}
_KINDS = {word: kind for kind, word in BOUNDARIES.items()}


@dataclass(frozen=True)
class Target:
    """A dataset that is written block by block.

    Attributes
    ----------
    path : str
        In the file.
    names : tuple of str
        Variables; several are the components of a vector or tensor.
    dims : tuple of str
        Axes in the file, without those of components; values are repeated along those that the
        variables do not have.
    shape : tuple of int
        With those of components.
    dtype : dtype
        Native byte order.
    attrs : dict
        With flags.
    """

    path: str
    names: tuple[Hashable, ...]
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype
    attrs: dict[str, Any]

    @property
    def lead(self) -> tuple[str, ...]:
        """Those of trajectory and time that come first."""
        return tuple(dim for dim in LEAD if dim in self.dims[:2])


@dataclass
class Plan:
    """A file before it is written.

    Attributes
    ----------
    root : dict
        Attributes of the root.
    groups : dict
        Path of a group -> its attributes.
    small : dict
        Path of a dataset -> values and attributes.
    targets : list of Target
        The large ones.
    """

    root: dict[str, Any]
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    small: dict[str, tuple[np.ndarray, dict[str, Any]]] = field(default_factory=dict)
    targets: list[Target] = field(default_factory=list)


def make_plan(ds: xr.Dataset, name: str, dtype: np.dtype | None) -> Plan:
    """Lay a Dataset out as The Well does.

    Parameters
    ----------
    ds : Dataset
        In the data model.
    name : str
        Of the data set.
    dtype : dtype or None
        Of numeric fields, where they are to have another one.

    Returns
    -------
    Plan
        Nothing large has been read.

    Raises
    ------
    SchemaError
        If the layout cannot hold something.
    """
    _check_dims(ds)
    axes = _axes(ds)
    given = {str(k): v for k, v in ds.attrs.items() if k not in ("dataset_name", "grid_type")}
    for key in given:
        if key in (*ROOT, MARK):
            raise SchemaError(f"attribute {key!r} is The Well's own: drop it from ds.attrs")
    plan = Plan(
        {
            "dataset_name": name,
            "grid_type": str(ds.attrs.get("grid_type", "cartesian")),
            "n_spatial_dims": len(axes),
            "n_trajectories": int(ds.sizes.get("trajectory", 1)),
            "simulation_parameters": [],
            MARK: 1,
            **given,
        }
    )
    plan.groups["dimensions"] = {"spatial_dims": list(axes)}
    _lay_positions(plan, ds, axes)
    _lay_fields(plan, ds, axes, dtype)
    _lay_boundaries(plan, ds, axes)
    _lay_coordinates(plan, ds, axes)
    return plan


def _check_dims(ds: xr.Dataset) -> None:
    for dim in ENSEMBLE_DIMS:
        if dim != "trajectory" and dim in ds.dims:
            raise SchemaError(
                f"The Well has trajectories only, found {dim!r}: use "
                f"ds.rename({dim}='trajectory'), or .stack(...) and .reset_index(...) for several"
            )
    if "time" not in ds.dims or "time" not in ds.coords:
        raise SchemaError(
            "The Well needs times, found none: use ds.expand_dims(time=[0.0]) or "
            "ds.assign_coords(time=...)"
        )
    if not ds.data_vars:
        raise SchemaError("expected at least one field, found none")
    for name, variable in ds.variables.items():
        if not isinstance(name, str) or not name or "/" in name or name == ".":
            raise SchemaError(f"{name!r} cannot be a name in HDF5: use ds.rename(...)")
        if variable.dtype.kind in "cmM":
            raise SchemaError(
                f"The Well holds real numbers, {name!r} is {variable.dtype}: convert it"
                + (", e.g. to .real and .imag" if variable.dtype.kind == "c" else " to float")
            )


def _axes(ds: xr.Dataset) -> tuple[str, ...]:
    """Spatial dimensions in the order of the file."""
    used = list(dict.fromkeys(str(d) for v in ds.data_vars.values() for d in v.dims))
    space = [dim for dim in used if dim not in LEAD]
    if not space:
        raise SchemaError(
            "expected fields on spatial dimensions, found none: see ds.phys.validate()"
        )
    if set(space) <= {"x", "y", "z"}:
        space.sort()
    elif "grid_type" not in ds.attrs:
        raise SchemaError(
            f"the dimensions {space} are not x, y, z: name the grid, "
            "ds.assign_attrs(grid_type='spherical'), or rename them"
        )
    for dim in space:
        if dim not in ds.coords:
            raise SchemaError(f"{dim!r} has no positions: use ds.assign_coords({dim}=...)")
    # a file that was read is written in its own order
    before = ds.attrs.get("axes")
    names = {str(ds[dim].attrs.get("source_name", dim)): dim for dim in space} | {
        dim: dim for dim in space
    }
    order = [names.get(part, "") for part in str(before).split(", ")]
    return tuple(order) if sorted(order) == sorted(space) else tuple(space)


# ---- dimensions -----------------------------------------------------------------------------


def _lay_positions(plan: Plan, ds: xr.Dataset, axes: Sequence[str]) -> None:
    for dim in ("time", *axes):
        variable = ds[dim].variable
        lead = tuple(d for d in variable.dims if d != dim)
        allowed = LEAD[:1] if dim == "time" else LEAD
        if variable.dims != (*(d for d in allowed if d in lead), dim):
            raise SchemaError(f"{dim!r} lies on {variable.dims}: expected ({dim!r},) at the end")
        if variable.dtype.kind not in "fiu":
            raise SchemaError(f"{dim!r} should hold numbers, found {variable.dtype}: convert it")
        if dim != "time" and "time" in lead:
            warnings.warn(
                f"{dim!r} moves with time: WellDataset reads the file with return_grid=False only",
                XphysWarning,
                stacklevel=4,
            )
        # what is along time counts as varying with it, as the checks of The Well want
        flags = {
            "sample_varying": "trajectory" in lead,
            "time_varying": dim == "time" or "time" in lead,
        }
        attrs = _stored_attrs(dim, variable.attrs)
        plan.small[f"dimensions/{dim}"] = (variable.values, {**attrs, **flags})


# ---- fields ---------------------------------------------------------------------------------


def _lay_fields(plan: Plan, ds: xr.Dataset, axes: Sequence[str], dtype: np.dtype | None) -> None:
    tied = _tensors(ds, axes)
    members = {part for _, _, parts in tied for part in parts}
    every = [(str(name), 0, (name,)) for name in ds.data_vars if name not in members]
    listed: dict[str, list[str]] = {group: [] for group in FIELDS}
    for name, order, parts in [*every, *tied]:
        group = FIELDS[order]
        if any(name in names for names in listed.values()) or "/" in name:
            raise SchemaError(f"two fields would be called {name!r} in the file: rename one")
        listed[group].append(name)
        plan.targets.append(_target(ds, f"{group}/{name}", parts, axes, order, dtype))
    for group, names in listed.items():
        plan.groups[group] = {"field_names": names}


def _tensors(ds: xr.Dataset, axes: Sequence[str]) -> list[tuple[str, int, tuple[Hashable, ...]]]:
    """Vectors and tensors with a component for every axis, alike in dims and dtype."""
    found: list[tuple[str, int, tuple[Hashable, ...]]] = []
    for name, parts in vectors(ds).items():
        for order in (1, 2):
            wanted = component_names(axes, order)
            if not set(wanted) <= set(parts):
                continue
            names = tuple(parts[component] for component in wanted)
            if len({(ds[n].dims, ds[n].dtype) for n in names}) == 1:
                found.append((name, order, names))
            break
    return found


def _target(
    ds: xr.Dataset,
    path: str,
    parts: tuple[Hashable, ...],
    axes: Sequence[str],
    order: int,
    dtype: np.dtype | None,
) -> Target:
    variable = ds[parts[0]].variable
    own = [dim for dim in (*LEAD, *axes) if dim in variable.dims]
    if "time" in own and not set(own) & set(axes):
        raise SchemaError(
            f"{parts[0]!r} lies on {variable.dims}, a field needs an axis: make it a scalar, "
            f"ds.set_coords({parts[0]!r})"
        )
    dims = (*(dim for dim in LEAD if dim in own), *axes)
    kept = variable.dtype.newbyteorder("=")
    stored = kept if dtype is None or kept.kind == "b" else dtype
    if stored not in _DTYPES:
        raise SchemaError(
            f"WellDataset cannot read {stored}, the dtype of {parts[0]!r}: pass dtype='float32'"
        )
    shape = (*(ds.sizes[dim] for dim in dims), *(len(axes),) * order)
    flags = {
        "sample_varying": "trajectory" in dims,
        "time_varying": "time" in dims,
        "dim_varying": [True] * len(axes),
    }
    repeated = [axis for axis in axes if axis not in own]
    attrs = _component_attrs(ds, parts, axes, order, path.rpartition("/")[2])
    if repeated:
        attrs[REPEATED] = repeated
    return Target(path, parts, dims, shape, stored, {**attrs, **flags})


def _component_attrs(
    ds: xr.Dataset,
    parts: tuple[Hashable, ...],
    axes: Sequence[str],
    order: int,
    name: str,
) -> dict[str, Any]:
    """Attributes that all components share; the rest as JSON."""
    if order == 0:
        return _stored_attrs(parts[0], ds[parts[0]].attrs)
    every = [
        {k: v for k, v in ds[part].attrs.items() if k not in ("vector", "component")}
        for part in parts
    ]
    common = {
        k: v
        for k, v in every[0].items()
        if all(k in other and np.array_equal(other[k], v) for other in every[1:])
    }
    specific: dict[str, dict[str, Any]] = {}
    for component, part, attrs in zip(component_names(axes, order), parts, every, strict=True):
        own = {str(k): _jsonable(part, k, v) for k, v in attrs.items() if k not in common}
        if part != f"{name}_{component}":
            own["name"] = str(part)
        if own:
            specific[component] = own
    found = _stored_attrs(name, common)
    if specific:
        found[COMPONENTS] = json.dumps(specific, separators=(",", ":"))
    return found


def _jsonable(where: Hashable, key: Hashable, value: Any) -> Any:
    if key == "name":
        raise SchemaError(f"attribute 'name' of {where!r} cannot be kept: drop or rename it")
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


def _stored_attrs(where: Hashable, attrs: Mapping[Any, Any]) -> dict[str, Any]:
    found = {str(key): value for key, value in attrs.items()}
    for key, value in found.items():
        if key in (*FLAGS, COMPONENTS, REPEATED):
            raise SchemaError(f"attribute {key!r} of {where!r} is The Well's own: drop it")
        entries = np.asarray(value)
        if entries.dtype.kind not in "fiubUT" or entries.ndim > 1:
            raise SchemaError(
                f"HDF5 cannot hold attribute {key!r} of {where!r}, a {type(value).__name__}: "
                "make it text or numbers"
            )
    return found


# ---- boundary conditions --------------------------------------------------------------------


def _lay_boundaries(plan: Plan, ds: xr.Dataset, axes: Sequence[str]) -> None:
    plan.groups["boundary_conditions"] = {}
    kept = [str(name) for name in ds.coords if _is_mask(ds, name)]
    taken = {str(ds[name].attrs.get("source_name", name[len(MASK) :])) for name in kept}
    for name in kept:
        _lay_mask(plan, ds, axes, name)
    for dim in axes:
        attrs = ds[dim].attrs
        whole = attrs.get("boundary")
        ends = [attrs.get("boundary_lower", whole), attrs.get("boundary_upper", whole)]
        for word in dict.fromkeys(ends):
            if word is None:
                continue
            if word not in _KINDS:
                warnings.warn(
                    f"The Well knows {', '.join(_KINDS)}: {dim!r} is written without its boundary "
                    f"{word!r}, and WellDataset takes it as open",
                    XphysWarning,
                    stacklevel=4,
                )
                continue
            group = f"{dim}_{word}"
            while group in taken:
                group += "_ends"
            mask = np.zeros(ds.sizes[dim], bool)
            mask[[0, -1]] = [ends[0] == word, ends[1] == word]
            if mask.size == 1:
                mask[:] = True
            path = f"boundary_conditions/{group}"
            plan.groups[path] = _condition(_KINDS[word], [dim], [], (False, False))
            plan.small[f"{path}/mask"] = (mask, {})
            plan.small[f"{path}/values"] = (np.zeros(mask.sum(), np.float32), {})


def _is_mask(ds: xr.Dataset, name: Hashable) -> bool:
    return str(name).startswith(MASK) and isinstance(ds[name].attrs.get("bc_type"), str)


def _condition(
    kind: str, dims: Sequence[str], fields: Sequence[str], varying: tuple[bool, bool]
) -> dict[str, Any]:
    return {
        "bc_type": kind,
        "associated_dims": list(dims),
        "associated_fields": list(fields),
        "sample_varying": varying[0],
        "time_varying": varying[1],
    }


def _lay_mask(plan: Plan, ds: xr.Dataset, axes: Sequence[str], name: str) -> None:
    variable = ds[name].variable
    dims = tuple(dim for dim in (*LEAD, *axes) if dim in variable.dims)
    if set(dims) != set(variable.dims):
        raise SchemaError(f"the mask {name!r} lies on {variable.dims}, expected {(*LEAD, *axes)}")
    attrs = variable.attrs
    said = [part for part in str(attrs.get("associated_fields", "")).split(", ") if part]
    path = f"boundary_conditions/{attrs.get('source_name', name[len(MASK) :])}"
    space = [dim for dim in dims if dim not in LEAD]
    varying = ("trajectory" in dims, "time" in dims)
    plan.groups[path] = _condition(str(attrs["bc_type"]), space, said, varying)
    shape = tuple(ds.sizes[dim] for dim in dims)
    plan.targets.append(Target(f"{path}/mask", (name,), dims, shape, variable.dtype, {}))
    values = f"{name}{VALUES}"
    if values in ds.coords:
        held = ds[values].variable
        dtype = held.dtype.newbyteorder("=")
        own = tuple(str(dim) for dim in held.dims)
        plan.targets.append(Target(f"{path}/values", (values,), own, held.shape, dtype, {}))


# ---- scalars and the rest -------------------------------------------------------------------


def _lay_coordinates(plan: Plan, ds: xr.Dataset, axes: Sequence[str]) -> None:
    masks = {name for name in ds.coords if _is_mask(ds, name)}
    done = {"time", *axes, *masks, *(f"{name}{VALUES}" for name in masks)}
    scalars: list[str] = []
    plan.groups["scalars"] = {"field_names": scalars}
    for key in ds.coords:
        name, variable = str(key), ds[key].variable
        if key in done:
            continue
        if _is_scalar(name, variable):
            scalars.append(name)
            flags = {flag: dim in variable.dims for flag, dim in zip(FLAGS, LEAD, strict=False)}
            values = variable.values.astype(variable.dtype.newbyteorder("="))
            plan.small[f"scalars/{name}"] = (
                values,
                {**_stored_attrs(name, variable.attrs), **flags},
            )
            if not variable.dims:
                _lay_parameter(plan, name, values.item())
        else:
            _lay_other(plan, ds, name)


def _is_scalar(name: str, variable: xr.Variable) -> bool:
    """A number for the model; labels of trajectories are none."""
    label = name in ("trajectory", "file")
    ordered = variable.dims == tuple(dim for dim in LEAD if dim in variable.dims)
    return variable.dtype in _DTYPES and ordered and not label


def _lay_parameter(plan: Plan, name: str, value: float) -> None:
    if name in plan.root and not (name not in ROOT and plan.root[name] == value):
        raise SchemaError(
            f"{name!r} is a parameter and an attribute of another value: rename one of them"
        )
    plan.root[name] = value
    plan.root["simulation_parameters"].append(name)


def _lay_other(plan: Plan, ds: xr.Dataset, name: str) -> None:
    variable = ds[name].variable
    dims = tuple(str(dim) for dim in variable.dims)
    plan.groups.setdefault(COORDINATES, {})
    path = f"{COORDINATES}/{name}"
    attrs = _stored_attrs(name, variable.attrs)
    if "dims" in attrs:
        raise SchemaError(f"attribute 'dims' of {name!r} cannot be kept: drop or rename it")
    attrs["dims"] = list(dims)
    if variable.dtype.kind in "fiub":
        dtype = variable.dtype.newbyteorder("=")
        plan.targets.append(Target(path, (name,), dims, variable.shape, dtype, attrs))
        return
    values = np.asarray(variable.values, dtype=object)
    if values.ndim > 1 or not all(isinstance(value, str) for value in values.ravel().tolist()):
        raise SchemaError(
            f"coordinate {name!r} should hold numbers or a row of text, found {variable.dtype} on "
            f"{dims}: drop it, or ds.reset_index(...) if it is a MultiIndex"
        )
    plan.small[path] = (values, attrs)
