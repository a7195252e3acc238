"""Vectors: scalar variables tied together by the attributes ``vector`` and ``component``."""

from __future__ import annotations

from collections.abc import Hashable

import xarray as xr

__all__ = ["vectors"]


def vectors(ds: xr.Dataset) -> dict[str, dict[str, Hashable]]:
    """Find the vectors of a Dataset.

    Parameters
    ----------
    ds : Dataset
        Variables with attrs ``vector`` (name of the vector) and ``component`` ("x", "y", "z").

    Returns
    -------
    dict
        Vector name -> {component: variable name}, components in the order x, y, z.

    Examples
    --------
    >>> import xarray as xr
    >>> ds = xr.Dataset({
    ...     "velocity_y": ("x", [0.0], {"vector": "velocity", "component": "y"}),
    ...     "velocity_x": ("x", [0.0], {"vector": "velocity", "component": "x"}),
    ... })
    >>> vectors(ds)
    {'velocity': {'x': 'velocity_x', 'y': 'velocity_y'}}
    """
    found: dict[str, dict[str, Hashable]] = {}
    for name, variable in ds.data_vars.items():
        vector, component = variable.attrs.get("vector"), variable.attrs.get("component")
        if isinstance(vector, str) and isinstance(component, str):
            found.setdefault(vector, {})[component] = name
    return {name: dict(sorted(parts.items())) for name, parts in found.items()}
