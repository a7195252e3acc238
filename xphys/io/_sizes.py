"""Bytes that variables take where they are stored, or will take."""

from __future__ import annotations

import os
from collections.abc import Hashable
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
import zarr
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from dask.task_spec import Task, TaskRef

from xphys.io._payload import DecodeLayer, find_payload

__all__ = ["stored_bytes"]


def stored_bytes(ds: xr.Dataset) -> dict[Hashable, int | xr.DataArray]:
    """Stored size of each data variable of which it can be known.

    Parameters
    ----------
    ds : Dataset
        From `compress` (sizes are lazy: they are known once chunks are coded) or opened from a
        Zarr store (sizes of the chunks in it).

    Returns
    -------
    dict
        Variable -> bytes; variables that are in memory only, computed, or a part of what is
        stored are left out.
    """
    sizes: dict[Hashable, int | xr.DataArray] = {}
    arrays: dict[str, Any] = {}
    for name, v in ds.data_vars.items():
        layer = find_payload(v.variable._data)
        if layer is not None:
            sizes[name] = xr.DataArray(_payload_bytes(v.data, layer))
            continue
        # arithmetic drops a variable's encoding, and with it the claim to be what is stored
        source = v.encoding.get("source")
        if source is None and "chunks" in v.encoding:
            source = ds.encoding.get("source")
        if isinstance(source, str) and _is_zarr(source):
            if source not in arrays:
                arrays[source] = zarr.open_group(source, mode="r")
            array = arrays[source].get(str(name))
            if array is not None and array.shape == v.shape:
                sizes[name] = int(array.nbytes_stored())
    return sizes


def _is_zarr(source: str) -> bool:
    marks = ("zarr.json", ".zgroup", ".zmetadata")
    return "://" in source or any(os.path.exists(os.path.join(source, m)) for m in marks)


def _payload_bytes(data: da.Array, layer: DecodeLayer) -> da.Array:
    """Lazy sum of the lengths of a payload's chunks, int64, shape ()."""
    name = layer.payload.replace("encode", "bytes", 1)
    parts = [TaskRef((layer.payload, *key[1:])) for key in layer]
    task = Task((name,), _total, *parts)
    graph = data.__dask_graph__()
    layers = {**graph.layers, name: MaterializedLayer({(name,): task})}
    dependencies = {**graph.dependencies, name: {layer.payload}}
    meta = np.empty((), np.int64)
    return da.Array(HighLevelGraph(layers, dependencies), name, (), meta=meta)


def _total(*parts: bytes) -> np.ndarray:
    return np.asarray(sum(map(len, parts)), np.int64)
