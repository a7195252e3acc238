"""Features beside the fields: which axes they have and what their columns are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xphys.errors import FormatError
from xphys.io.readers._hdf5 import HDF5Array, HDF5File
from xphys.io.readers._stack import lazy
from xphys.io.readers.spinlock._parameters import as_json

__all__ = ["features_of"]

# The columns are those of the categories one after the other, not in the order of the registry.
_STACKS = {
    "per_timestep": ("spatial", "spectral", "cross_channel"),
    "per_trajectory": ("temporal", "causality", "invariant_drift", "operator_sensitivity"),
}
_STACKS["aggregated"] = _STACKS["per_trajectory"]
_MIDDLE = {"per_timestep": "time", "temporal": "time", "per_trajectory": "realization"}
_MOST_NAMES = 65536


@dataclass(frozen=True)
class _Columns:
    """What the columns are, one entry each."""

    names: list[str]
    families: list[str]
    numbers: list[int]
    statistics: list[str]


def features_of(
    file: HDF5File, paths: Sequence[str], sizes: Mapping[str, int]
) -> tuple[dict[str, xr.Variable], dict[str, xr.Variable], list[str]]:
    """Variables and coordinates of the datasets below ``/features``.

    Parameters
    ----------
    file : HDF5File
        The file.
    paths : sequence of str
        Datasets below ``/features``.
    sizes : mapping
        Sizes of the dims that are known: operator, and realization and time if there are fields.

    Returns
    -------
    variables : dict
        ``features_per_timestep(operator, time, feature_per_timestep)`` and its like.
    coords : dict
        Names of the columns, with family and number in the registry; values of each operator.
    skipped : list of str
        Datasets whose axes are not understood.
    """
    variables: dict[str, xr.Variable] = {}
    coords: dict[str, xr.Variable] = {}
    skipped: list[str] = []
    known = dict(sizes)
    for path in paths:
        try:
            array = HDF5Array(file, path)
        except FormatError:  # no plain numbers in this file
            skipped.append(path)
            continue
        if array.shape == (known["operator"],):
            coords[path.rpartition("/")[2]] = lazy(array, ("operator",), _attrs(path))
            continue
        parts = path.split("/")[1:-1] or ["all"]
        level = label = parts[-1]
        if f"features_{label}" in variables:
            label = "_".join(parts)
        dims = _dims(level, label, array.shape, known) if array.dtype.kind == "f" else None
        if dims is None or f"features_{label}" in variables:
            skipped.append(path)
            continue
        known.update(zip(dims, array.shape, strict=True))
        found = _columns_of(file, path, level, array.shape[-1])
        said = found if isinstance(found, dict) else _add(found, label, coords)
        variables[f"features_{label}"] = lazy(array, dims, {**_attrs(path), **said})
    return variables, coords, skipped


def _attrs(path: str) -> dict[str, Any]:
    said = path.removeprefix("features/").replace("/", " ").replace("_", " ")
    return {"units": "1", "long_name": said, "source_name": path}


def _dims(
    level: str, label: str, shape: Sequence[int], known: Mapping[str, int]
) -> tuple[str, ...] | None:
    """Dims of an array of features; a step or realization of another number gets its own dim."""
    if not 2 <= len(shape) <= 4 or shape[0] != known["operator"]:
        return None
    middle = {2: (), 4: ("realization", "time")}.get(len(shape))
    if middle is None:
        if level not in _MIDDLE:
            return None
        middle = (_MIDDLE[level],)
    inner = (
        dim if known.get(dim, size) == size else f"{dim}_{label}"
        for dim, size in zip(middle, shape[1:-1], strict=True)
    )
    return ("operator", *inner, f"feature_{label}")


def _columns_of(
    file: HDF5File, path: str, level: str, width: int
) -> tuple[_Columns, dict[str, Any]] | dict[str, Any]:
    """What the columns are and attributes of the variable; attributes alone if nobody knows."""
    group = "/".join(path.split("/")[:-2])
    held = file.attributes(group) if group else {}
    registry = _registry(as_json(held.get("feature_registry")))
    found = _columns(level, registry, as_json(held.get("extraction_config"))) if registry else None
    attrs = {"definition_version": held["version"]} if "version" in held else {}
    if found is None or len(found.names) != width or len(set(found.names)) != width:
        number = sum(map(len, registry.values()))
        attrs["comment"] = (
            f"columns are counted: the registry of the file has {number} names, which do not give "
            f"the {width} columns one to one"
        )
        return attrs
    families = ", ".join(dict.fromkeys(found.families))
    attrs["comment"] = (
        f"columns named by the registry of the file, in the order in which {families} are stacked"
    )
    return found, attrs


def _add(
    found: tuple[_Columns, dict[str, Any]], label: str, coords: dict[str, xr.Variable]
) -> dict[str, Any]:
    """Add coordinates of the columns; the attributes of the variable."""
    columns, attrs = found
    dim, said = f"feature_{label}", label.replace("_", " ")
    made: dict[str, tuple[Any, dict[str, Any]]] = {
        dim: (columns.names, {"long_name": f"feature, {said}"}),
        f"family_{label}": (columns.families, {"long_name": "family of the feature"}),
        f"registry_index_{label}": (
            np.array(columns.numbers, np.int64),
            {"units": "1", "long_name": "number of the feature in the registry of the file"},
        ),
    }
    if any(columns.statistics):
        long_name = {"long_name": "statistic over realizations"}
        made[f"statistic_{label}"] = (columns.statistics, long_name)
    for name, (values, more) in made.items():
        coords[name] = xr.Variable(dim, np.asarray(values), more)
    return attrs


def _columns(level: str, registry: Mapping[str, Mapping[str, int]], config: Any) -> _Columns | None:
    if level not in _STACKS:
        return None
    entries = [
        (name, family, number)
        for family in _STACKS[level]
        for name, number in sorted(registry.get(family, {}).items(), key=lambda item: item[1])
    ]
    statistics: Sequence[str] = ("",)
    if level == "aggregated":
        asked = config.get("realization_aggregation") if isinstance(config, dict) else None
        if not isinstance(asked, list) or not all(isinstance(s, str) for s in asked):
            return None
        statistics = sorted(asked)  # the blocks are written in the order of the alphabet
        if len(entries) * len(statistics) > _MOST_NAMES:
            return None
    every = [(name, family, n, s) for s in statistics for name, family, n in entries]
    return _Columns(
        [f"{name}_{s}" if s else name for name, _, _, s in every],
        [family for _, family, _, _ in every],
        [number for _, _, number, _ in every],
        [s for _, _, _, s in every],
    )


def _registry(held: Any) -> dict[str, dict[str, int]]:
    """Family -> name -> number; empty if the file has none that can be understood."""
    found: dict[str, dict[str, int]] = {}
    for family, names in (held if isinstance(held, dict) else {}).items():
        if not isinstance(names, dict) or len(names) > _MOST_NAMES:
            return {}
        if any(type(n) is not int or abs(n) > 2**31 for n in names.values()):
            return {}
        if any(len(name) > 256 for name in names):
            return {}
        found[family] = names
    return found
