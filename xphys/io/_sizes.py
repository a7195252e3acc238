"""Bytes that variables take where they are stored, or will take."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
import zarr
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from dask.task_spec import Task, TaskRef
from zarr.abc.store import Store

from xphys._storage import is_url
from xphys.io import _objects as objects
from xphys.io._manifest import Manifest, load, load_records
from xphys.io._payload import DecodeLayer, find_payload

__all__ = ["stored_bytes"]


def stored_bytes(
    ds: xr.Dataset, storage_options: Mapping[str, Any] | None = None
) -> dict[Hashable, int | xr.DataArray]:
    """Stored size of each data variable of which it can be known.

    Parameters
    ----------
    ds : Dataset
        From `compress` (sizes are lazy: they are known once chunks are coded) or opened from a
        Zarr store (sizes of the chunks in it).
    storage_options : mapping, optional
        With which a URL was opened, ``{}`` for none: only then is its server asked, once for each
        variable of a sealed store.

    Returns
    -------
    dict
        Variable -> bytes; variables that are in memory only, computed, a part of what is
        stored, or behind a URL that is no Zarr store are left out.

    Raises
    ------
    RemoteError
        If a server that is asked refuses.
    """
    sizes: dict[Hashable, int | xr.DataArray] = {}
    stores: dict[str, _Stored | None] = {}
    for name, v in ds.data_vars.items():
        layer = find_payload(v.variable._data)
        if layer is not None:
            sizes[name] = xr.DataArray(_payload_bytes(v.data, layer))
            continue
        # arithmetic drops a variable's encoding, and with it the claim to be what is stored
        source = v.encoding.get("source")
        if source is None and "chunks" in v.encoding:
            source = ds.encoding.get("source")
        if not isinstance(source, str):
            continue
        if source not in stores:
            stores[source] = _stored(source, v.encoding, storage_options)
        store = stores[source]
        size = None if store is None else store(str(name), v.shape)
        if size is not None:
            sizes[name] = size
    return sizes


_Stored = Callable[[str, tuple[int, ...]], int | None]


def _stored(
    source: str, encoding: Mapping[str, Any], options: Mapping[str, Any] | None
) -> _Stored | None:
    """What tells the size of an array of a store; None for what is no Zarr store, or not asked."""
    if not is_url(source):
        marks = ("zarr.json", ".zgroup", ".zmetadata")
        if not any(os.path.exists(os.path.join(source, mark)) for mark in marks):
            return None
        return partial(_listed, zarr.open_group(source, mode="r"))
    if options is None or "compressors" not in encoding:  # files have other words for it
        return None
    store = objects.open_store(source, options, read_only=True)
    manifest = load(store, "")
    if manifest is not None:
        return partial(_recorded, store, manifest)
    if not store.supports_listing or objects.read(store, "zarr.json") is None:
        return None
    return partial(_listed, zarr.open_group(store, mode="r"))


def _listed(group: zarr.Group, name: str, shape: tuple[int, ...]) -> int | None:
    array = group.get(name)
    if not isinstance(array, zarr.Array) or array.shape != shape:
        return None
    return int(array.nbytes_stored())


def _recorded(store: Store, manifest: Manifest, name: str, shape: tuple[int, ...]) -> int | None:
    """From the records of a sealed store: nothing has to be listed."""
    layout = manifest.layouts.get(name)
    if layout is None or layout.shape != shape:
        return None
    records = objects.wait(load_records(store, "", manifest, name))
    return int(records["length"].sum())


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
