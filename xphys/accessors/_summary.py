"""What can be said about a Dataset without reading or computing any of its data."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Hashable
from typing import Any

import numpy as np
import xarray as xr

from xphys import io, schema
from xphys.errors import SchemaError

__all__ = ["summarize"]


def summarize(ds: xr.Dataset) -> dict[str, Any]:
    """Describe a Dataset in JSON values, from metadata alone.

    Parameters
    ----------
    ds : Dataset
        Any Dataset; Dask arrays and arrays that still lie in a file are not touched.

    Returns
    -------
    dict
        ``dims``, ``variables``, ``vectors``, ``parameters``, ``bytes``, ``stored_bytes`` (None
        where not known) and ``findings`` (severity -> number).

    Examples
    --------
    >>> import xarray as xr
    >>> summarize(xr.Dataset({"u": ("x", [0.0, 1.0])}))["bytes"]
    16
    """
    stored = _stored(ds)
    return {
        "dims": {str(dim): _dim(ds, dim) for dim in ds.sizes},
        "variables": {
            str(name): {**_variable(array), "stored_bytes": stored.get(str(name))}
            for name, array in ds.data_vars.items()
        },
        "vectors": {
            name: {component: str(variable) for component, variable in parts.items()}
            for name, parts in schema.vectors(ds).items()
        },
        "parameters": {
            str(name): _parameter(coord)
            for name, coord in ds.coords.items()
            if name not in schema.DIM_ORDER and set(coord.dims) <= set(schema.ENSEMBLE_DIMS)
        },
        "bytes": int(ds.nbytes),
        "stored_bytes": sum(stored.values()) if stored else None,
        "findings": dict(Counter(finding.severity for finding in schema.validate(ds))),
    }


def _stored(ds: xr.Dataset) -> dict[str, int]:
    # Only what a look at a local folder tells: no network, and no chunk is coded for its size.
    if not os.path.isdir(ds.encoding.get("source", "")):
        return {}
    sizes = io.stored_bytes(ds)
    return {str(name): size for name, size in sizes.items() if isinstance(size, int)}


def _dim(ds: xr.Dataset, dim: Hashable) -> dict[str, Any]:
    row: dict[str, Any] = {"size": int(ds.sizes[dim])}
    if dim not in ds.xindexes:  # an index is always in memory, other coordinates may not be
        return row
    attrs = ds[dim].attrs
    if units := attrs.get("units"):
        row["units"] = str(units)
    if dim not in schema.SPATIAL_DIMS:
        return row
    try:
        axis = schema.axis(ds, dim)
    except SchemaError:  # validate() names it
        return row
    row.update(spacing=axis.spacing, boundary=axis.boundary, period=axis.period)
    row["periodic"] = axis.periodic
    if np.isfinite(axis.step):
        row["step"] = axis.step
    return row


def _variable(array: xr.DataArray) -> dict[str, Any]:
    row: dict[str, Any] = {
        "dims": [str(dim) for dim in array.dims],
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "chunks": None if array.chunks is None else [max(sizes) for sizes in array.chunks],
        "bytes": int(array.nbytes),
    }
    if units := array.attrs.get("units"):
        row["units"] = str(units)
    return row


def _parameter(coord: xr.DataArray) -> dict[str, Any]:
    row: dict[str, Any] = {"dims": [str(dim) for dim in coord.dims], "value": _value(coord)}
    if units := coord.attrs.get("units"):
        row["units"] = str(units)
    return row


def _value(coord: xr.DataArray) -> Any:
    """The value, [least, greatest] of several, None where reading it would be needed."""
    if not coord.variable._in_memory:  # the test that xarray's own repr makes
        return None
    values = coord.to_numpy()
    if values.ndim == 0:
        item = values.item()
        return item if isinstance(item, bool | int | float | str) else str(values)
    if values.size == 0 or values.dtype.kind not in "biuf":
        return None
    return [values.min().item(), values.max().item()]
