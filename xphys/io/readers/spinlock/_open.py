"""A file of Spinlock as Datasets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from xphys.errors import FormatError
from xphys.io.readers._hdf5 import HDF5Array, HDF5File
from xphys.io.readers._source import source_identity
from xphys.io.readers._stack import lazy
from xphys.io.readers._strings import read_strings
from xphys.io.readers.spinlock._features import features_of
from xphys.io.readers.spinlock._grids import choose, cut, inside
from xphys.io.readers.spinlock._parameters import as_json, mapped, parameter_space
from xphys.schema import record

__all__ = ["grids_of", "open_file"]

_START = ("operator", "realization", "time", "channel", "y", "x")
# dataset -> name of the variable, dims by number of axes
_FIELDS: dict[str, tuple[str, dict[int, tuple[str, ...]]]] = {
    "inputs/fields": ("inputs", {4: ("operator", "channel", "y", "x")}),
    "outputs/fields": ("outputs", {5: ("operator", "realization", "channel", "y", "x"), 6: _START}),
    "trajectories": ("trajectories", {6: _START}),
}
_LABELS = {
    "ic_types": ("ic_type", "type of the initial condition"),
    "evolution_policies": ("policy", "update policy"),
    "rollout_policies": ("policy", "update policy"),
    "noise_regimes": ("noise_regime", "noise regime"),
    "grid_sizes": ("grid_size", "cells along each axis"),
}
_PARAMETERS = "parameters/params"
# Positions along every dim are kept in memory.
_LONGEST = 10**9
_STEP = {
    "units": "1",
    "long_name": "number of the state",
    "comment": "the file keeps no times",
}
_OWN = frozenset({"inside"})  # made here
_DEPTH = 6
_MOST = 1024  # datasets


def open_file(
    path: str, *, grid: int | None = None, storage_options: Mapping[str, Any] | None = None
) -> xr.Dataset:
    """Open a file, or the operators of one grid size; see the backend."""
    file = HDF5File(path, storage_options)
    names = _datasets(file)
    fields, count = _fields(file, names), _count(file, names)
    sizes = {str(dim): n for field in fields.values() for dim, n in field.sizes.items()}
    sizes["operator"] = count
    _check_lengths(path, sizes)
    labels = _labels(file, names, count)
    parameters, held, said = _parameters(file, names, labels)
    features, described, skipped = features_of(
        file, [name for name in names if name.startswith("features/")], sizes
    )
    row = {"units": "1", "long_name": "row in the file"}
    coords = {**described, **parameters, **labels}
    coords["operator"] = xr.Variable("operator", np.arange(count), row)
    variables = {**fields, **_metrics(file, names, sizes), **features}
    attrs = {**_attrs(held), **said}
    if skipped:
        attrs["spinlock_skipped"] = ", ".join(skipped)
    ds = xr.Dataset(*_apart(path, variables, coords), attrs)
    _check_lengths(path, {str(dim): n for dim, n in ds.sizes.items()})
    if "time" in ds.dims:
        ds.coords["time"] = xr.Variable("time", np.arange(ds.sizes["time"]), _STEP)
    ds = _cropped(ds, grid, path, str(held.get("version", "")))
    ds.encoding["source"] = path
    asked = {"engine": "spinlock", "grid": None if grid is None else int(grid)}
    return record(ds, "open", asked, source=source_identity([path]))


def _check_lengths(path: str, sizes: Mapping[str, int]) -> None:
    long = {dim: n for dim, n in sizes.items() if n > _LONGEST}
    if long:
        raise FormatError(f"{path}: expected at most {_LONGEST} places along a dim, found {long}")


def grids_of(path: str, storage_options: Mapping[str, Any] | None = None) -> list[int]:
    """Grid sizes in a file, rising; empty if it does not say."""
    file = HDF5File(path, storage_options)
    names = _datasets(file)
    labels = _labels(file, names, _count(file, names))
    return np.unique(labels["grid_size"].values).tolist() if "grid_size" in labels else []


def _count(file: HDF5File, names: list[str]) -> int:
    """Number of operators."""
    for name in (*_FIELDS, _PARAMETERS):
        if name in names and (shape := HDF5Array(file, name).shape):
            return shape[0]
    raise FormatError(f"{file.path}: expected one of {[*_FIELDS, _PARAMETERS]}, found none")


def _datasets(file: HDF5File) -> list[str]:
    """Paths of all datasets, in the order of the alphabet."""
    found: list[str] = []
    waiting = [("", 0)]
    while waiting:
        group, depth = waiting.pop()
        for name, kind in file.members(group or "/").items():
            path = f"{group}/{name}".strip("/")
            if kind == "dataset":
                found.append(path)
            elif depth < _DEPTH:
                waiting.append((path, depth + 1))
        if len(found) + len(waiting) > _MOST:
            raise FormatError(f"{file.path}: expected at most {_MOST} datasets, found more")
    return sorted(found)


def _fields(file: HDF5File, names: list[str]) -> dict[str, xr.Variable]:
    found: dict[str, xr.Variable] = {}
    sizes: dict[str, int] = {}
    for stored, (name, forms) in _FIELDS.items():
        if stored not in names:
            continue
        array = HDF5Array(file, stored)
        dims = forms.get(len(array.shape))
        if dims is None or array.dtype.kind != "f" or 0 in array.shape:
            wanted = " or ".join(str(form) for form in forms.values())
            raise FormatError(
                f"{file.path}: expected numbers {wanted} in {stored!r}, found {array.dtype} of "
                f"shape {array.shape}"
            )
        for dim, size in zip(dims, array.shape, strict=True):
            if sizes.setdefault(dim, size) != size:
                raise FormatError(
                    f"{file.path}: expected {sizes[dim]} places along {dim} in {stored!r}, found "
                    f"{size}"
                )
        attrs = {"units": "1", "long_name": name, "source_name": stored}
        if name == "inputs":
            attrs["long_name"] = "initial condition"
        found[name] = lazy(array, dims, attrs)
    return found


def _metrics(file: HDF5File, names: list[str], sizes: Mapping[str, int]) -> dict[str, xr.Variable]:
    """Numbers of each state, beside trajectories."""
    found = {}
    for name in names:
        if not name.startswith("metrics/"):
            continue
        array, short = HDF5Array(file, name), name.removeprefix("metrics/")
        dims = ("operator", "realization", "time")
        if array.shape != tuple(sizes.get(dim) for dim in dims):
            raise FormatError(
                f"{file.path}: expected {dims} of the trajectories in {name!r}, found {array.shape}"
            )
        attrs = {"units": "1", "long_name": short.replace("_", " "), "source_name": name}
        found[short.replace("/", "_")] = lazy(array, dims, attrs)
    return found


def _labels(file: HDF5File, names: list[str], count: int) -> dict[str, xr.Variable]:
    """Text and numbers of each operator below ``/metadata``."""
    import h5py

    found: dict[str, xr.Variable] = {}
    for path in names:
        group, _, stored = path.rpartition("/")
        if group != "metadata":
            continue
        with file.opened() as opened:
            dataset = file.dataset(opened, path)
            is_text = h5py.check_string_dtype(dataset.dtype) is not None
            fits = dataset.shape == (count,) and (is_text or dataset.dtype.kind in "fiub")
            said = f"{dataset.dtype} of shape {dataset.shape}"
        if not fits and stored not in _LABELS:
            continue
        if not fits:
            raise FormatError(
                f"{file.path}: expected a value for each of {count} operators in {path!r}, found "
                f"{said}"
            )
        values = read_strings(file, path) if is_text else file.values(path)
        name, long_name = _LABELS.get(stored, (stored, stored.replace("_", " ")))
        attrs = {"long_name": long_name, "source_name": path}
        if name == "grid_size" and values.dtype.kind not in "iu":
            raise FormatError(f"{file.path}: expected integers in {path!r}, found {values.dtype}")
        found[name] = xr.Variable("operator", values, attrs if is_text else {"units": "1", **attrs})
    return found


def _parameters(
    file: HDF5File, names: list[str], labels: Mapping[str, xr.Variable]
) -> tuple[dict[str, xr.Variable], dict[str, Any], dict[str, str]]:
    """Coordinates of the parameters, attributes of the file, and what to say about them."""
    held = file.attributes("metadata")
    if _PARAMETERS not in names:
        return {}, held, {}
    array = HDF5Array(file, _PARAMETERS)
    if len(array.shape) != 2 or array.dtype.kind != "f":
        raise FormatError(
            f"{file.path}: expected numbers (operator, parameter) in {_PARAMETERS!r}, found "
            f"{array.dtype} of shape {array.shape}"
        )
    attrs = {
        "units": "1",
        "long_name": "point in the unit cube of parameters",
        "source_name": _PARAMETERS,
    }
    found = {"unit_parameters": lazy(array, ("operator", "parameter"), attrs)}
    space = parameter_space(as_json(held.get("config")))
    if len(space) != array.shape[1]:
        said = f"counted: the configuration names {len(space)} for {array.shape[1]} columns"
        return found, held, {"parameters": said}
    found["parameter"] = xr.Variable(
        "parameter", np.array([p.name for p in space], dtype=str), {"long_name": "parameter"}
    )
    values, without = file.values(_PARAMETERS), []
    for number, parameter in enumerate(space):
        made = mapped(parameter, values[:, number])
        taken = parameter.name in labels or parameter.name in found
        name = f"parameter_{parameter.name}" if taken else parameter.name
        if made is None:
            without.append(parameter.name)
        elif not _same(made, labels.get(parameter.name)):
            found[name] = made
    said = f"; not mapped: {', '.join(without)}" if without else ""
    text = "mapped from unit_parameters by the configuration, as Spinlock does" + said
    return found, held, {"parameters": text}


def _same(made: xr.Variable, label: xr.Variable | None) -> bool:
    """Whether a parameter says what the metadata say."""
    return label is not None and np.array_equal(made.values, label.values)


def _attrs(held: Mapping[str, Any]) -> dict[str, Any]:
    config = as_json(held.get("config"))
    about = config.get("metadata") if isinstance(config, dict) else None
    title = about.get("name") if isinstance(about, dict) else None
    attrs = {
        "title": title if isinstance(title, str) and title else "Spinlock operators",
        "source": f"Spinlock HDF5, version {held.get('version', 'unknown')}",
    }
    for name in ("config", "sampling_metrics"):
        if isinstance(held.get(name), str):
            parsed = as_json(held[name])
            text = held[name] if parsed is None else json.dumps(parsed, separators=(",", ":"))
            attrs[f"spinlock_{name}"] = text
    if isinstance(held.get("creation_date"), str):
        attrs["spinlock_creation_date"] = held["creation_date"]
    return attrs


Variables = dict[str, xr.Variable]


def _apart(
    path: str, variables: Mapping[str, xr.Variable], coords: Mapping[str, xr.Variable]
) -> tuple[Variables, Variables]:
    """Both with sizes that agree, and no name that is taken by a dimension or twice."""
    sizes: dict[Any, int] = {}
    made: tuple[Variables, Variables] = ({}, {})
    dims = {dim for held in (variables, coords) for v in held.values() for dim in v.dims}
    for held, new in zip((variables, coords), made, strict=True):
        for name, variable in held.items():
            for dim, size in variable.sizes.items():
                if sizes.setdefault(dim, size) != size:
                    raise FormatError(
                        f"{path}: expected {sizes[dim]} places along {dim} in {name}, found {size}"
                    )
            taken = (name in dims and variable.dims != (name,)) or name in made[0] or name in _OWN
            new[f"stored_{name}" if taken else name] = variable
    return made


def _cropped(ds: xr.Dataset, grid: int | None, path: str, version: str) -> xr.Dataset:
    """Fields without their padding if they are of one size, else with ``inside``."""
    frame = (ds.sizes["y"], ds.sizes["x"]) if "y" in ds.dims else None
    if "grid_size" in ds.coords:
        sizes = ds["grid_size"].values.astype(np.int64)
    elif frame is not None and frame[0] == frame[1]:
        sizes = np.full(ds.sizes["operator"], frame[0])
    else:
        return _positions(ds, None, version)
    rows, size = choose(sizes, frame, grid, path)
    stored = ds.sizes
    made = cut(ds, rows, size)
    if size is None and frame is not None:
        field = next(v for v in ds.data_vars.values() if "y" in v.dims)
        unit = field.encoding["preferred_chunks"]["operator"]
        made.coords["inside"] = inside(sizes, frame, unit)
        made.attrs["padding"] = (
            "small fields lie in the centre of the frame with zeros around, see inside: "
            "grid=... opens the operators of one size, cropped"
        )
    elif frame is not None and (size, size) != frame:
        made.attrs["padding"] = f"cropped from the centre of a frame of {stored['y']} cells"
    if "padding" in made.attrs and any(str(v).startswith("features_") for v in made):
        made.attrs["padding"] += "; features are as stored, taken over the whole frame"
    return _positions(made, size, version)


def _positions(ds: xr.Dataset, size: int | None, version: str) -> xr.Dataset:
    """Positions in cells; the convolutions of version 1.0 wrap around."""
    coords = {}
    for dim in ("y", "x"):
        if dim not in ds.dims:
            continue
        attrs: dict[str, Any] = {"units": "1", "long_name": dim, "spacing": "uniform"}
        attrs["comment"] = "cell centres in cells: the file keeps no positions"
        if size is None:
            attrs["boundary"] = "open"
            attrs["comment"] = "cells of the frame, in which fields of several sizes lie"
        elif version == "1.0":
            attrs |= {"boundary": "periodic", "period": float(size)}
            attrs["comment"] += "; the convolutions of version 1.0 wrap around"
        coords[dim] = xr.Variable(dim, np.arange(ds.sizes[dim]) + 0.5, attrs)
    return ds.assign_coords(coords)
