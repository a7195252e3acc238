"""Writing Zarr: metadata and lossless variables by xarray, payloads chunk by chunk."""

from __future__ import annotations

import os
import warnings
from collections.abc import Hashable, Mapping
from typing import Any, Literal

import xarray as xr
import zarr
from dask.delayed import Delayed, delayed
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from dask.task_spec import Task, TaskRef
from zarr.codecs import ZstdCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from xphys.errors import SchemaError, UnknownNameError
from xphys.io._chunks import storage_chunks
from xphys.io._payload import DecodeLayer, find_payload
from xphys.schema import record

__all__ = ["to_zarr"]

Mode = Literal["w", "w-", "a", "r+"]
_ZSTD_LEVEL = 3


def to_zarr(
    ds: xr.Dataset,
    store: str | os.PathLike[str] | Any,
    *,
    group: str | None = None,
    mode: Mode = "w-",
    append_dim: Hashable | None = None,
    region: Mapping[str, slice] | Literal["auto"] | None = None,
    chunks: Mapping[str, int] | None = None,
    shards: Mapping[str, int] | None = None,
    encoding: Mapping[Hashable, Mapping[str, Any]] | None = None,
    compute: bool = True,
    storage_options: dict[str, Any] | None = None,
) -> Delayed | None:
    """Write a Dataset as Zarr v3 with consolidated metadata.

    A variable that comes straight from `compress` is written as its coded bytes; every other one
    losslessly, with zstd and a checksum per chunk unless ``encoding`` names a codec.

    Parameters
    ----------
    ds : Dataset
        Lazy or in memory.
    store : str, path or zarr store
        Local folder, URL, or an open store.
    group : str, optional
        Group inside the store.
    mode : {"w-", "w", "a", "r+"}, default "w-"
        ``"w-"`` refuses an existing store, ``"w"`` replaces it.
    append_dim : str, optional
        Dimension to append along.
    region : mapping of str to slice, or "auto", optional
        Part of existing arrays to write.
    chunks : mapping of str to int, optional
        Stored chunk sizes by dimension, -1 for whole; by default whole frames, at least 16
        steps, 1 to 64 MB. A payload keeps the chunks it was made with.
    shards : mapping of str to int, optional
        Sizes of shards that hold several chunks, for variables without a payload.
    encoding : mapping, optional
        Per variable, as in `xarray.Dataset.to_zarr`.
    compute : bool, default True
        False returns a Delayed that writes the values; metadata is written at once.
    storage_options : dict, optional
        For the file system of a URL.

    Returns
    -------
    Delayed or None
        Only with ``compute=False``.

    Raises
    ------
    SchemaError
        If a payload would have to be appended or written into a region, or ``encoding`` or
        ``chunks`` would change it.
    UnknownNameError
        If ``encoding`` names no variable of the Dataset.
    FileExistsError
        If the store exists and mode is ``"w-"``.
    """
    payloads = {
        name: layer
        for name, v in ds.data_vars.items()
        if (layer := find_payload(v.variable._data)) is not None
    }
    _check(ds, payloads, encoding, append_dim, region)
    if append_dim is not None or region is not None:
        prepared, merged = ds, None
    else:
        prepared, merged = _prepare(ds, payloads, chunks, shards, encoding)
        prepared = record(prepared, "to_zarr")
    options: dict[str, Any] = {"group": group, "storage_options": storage_options}
    if payloads:
        pending = _write_with_payloads(ds, prepared, payloads, store, mode, merged, options)
    else:
        partly = append_dim is not None or region is not None
        pending = _describe(
            prepared,
            store,
            mode=None if partly and mode == "w-" else mode,
            append_dim=append_dim,
            region=region,
            encoding=merged,
            consolidated=None if region is not None else True,
            zarr_format=None if partly else 3,
            **options,
        )
    if not compute:
        return pending
    pending.compute()
    return None


def _describe(ds: xr.Dataset, store: Any, **options: Any) -> Delayed:
    """Write metadata and what is in memory; the Delayed writes the rest."""
    with warnings.catch_warnings():
        # consolidated on purpose: a static web server cannot list a store
        warnings.filterwarnings("ignore", "Consolidated metadata is currently not part")
        return ds.to_zarr(store, compute=False, **options)


def _check(
    ds: xr.Dataset,
    payloads: Mapping[Hashable, DecodeLayer],
    encoding: Mapping[Hashable, Mapping[str, Any]] | None,
    append_dim: Hashable | None,
    region: object,
) -> None:
    for name in encoding or {}:
        if name not in ds.variables:
            raise UnknownNameError(f"encoding names {name!r}, the Dataset has {list(ds.variables)}")
        if name in payloads:
            raise SchemaError(
                f"variable {name!r} is compressed already: give chunks and codec to compress()"
            )
    if payloads and (append_dim is not None or region is not None):
        raise SchemaError(
            f"compressed variables {list(payloads)} cannot be appended or written into a region: "
            "write them to a store of their own"
        )


def _prepare(
    ds: xr.Dataset,
    payloads: Mapping[Hashable, DecodeLayer],
    chunks: Mapping[str, int] | None,
    shards: Mapping[str, int] | None,
    encoding: Mapping[Hashable, Mapping[str, Any]] | None,
) -> tuple[xr.Dataset, dict[Hashable, dict[str, Any]]]:
    """Chunk for storing and choose a codec for each variable."""
    merged: dict[Hashable, dict[str, Any]] = {}
    out = ds.copy()
    for name, v in ds.variables.items():
        if name in payloads:
            spec = payloads[name].spec
            merged[name] = {
                "serializer": spec.serializer,
                "compressors": None,
                "filters": None,
                "chunks": spec.chunks,
                "_FillValue": None,
            }
            continue
        asked = dict((encoding or {}).get(name, {}))
        # what a store or file said of its own layout says nothing of the new one
        kept = {k: x for k, x in v.encoding.items() if k in ("units", "calendar", "dtype")}
        if v.dtype.kind not in "mM":
            kept = {}
        if "compressors" not in asked and "serializer" not in asked:
            asked["compressors"] = (ZstdCodec(level=_ZSTD_LEVEL, checksum=True),)
        dims = tuple(map(str, v.dims))
        if "chunks" not in asked:
            asked["chunks"] = storage_chunks(dims, v.shape, v.dtype.itemsize, chunks)
        if shards and "shards" not in asked and set(shards) & set(dims):
            asked["shards"] = tuple(
                _whole_shards(shards.get(d), n, c)
                for d, n, c in zip(dims, v.shape, asked["chunks"], strict=True)
            )
        if v.chunks is not None:
            unit = asked.get("shards") or asked["chunks"]
            out[name] = out[name].chunk(dict(zip(v.dims, unit, strict=True)))
        if v.dtype.kind == "U":  # fixed-length strings have no specification in Zarr v3
            out[name] = out[name].astype(object)
        out[name].encoding = kept
        merged[name] = asked
    return out, merged


def _whole_shards(wanted: int | None, size: int, chunk: int) -> int:
    """Size of a shard: a multiple of the chunk."""
    if wanted is None:
        return chunk
    most = -(-size // chunk) * chunk
    return min(most, most if wanted == -1 else -(-wanted // chunk) * chunk)


def _write_with_payloads(
    ds: xr.Dataset,
    prepared: xr.Dataset,
    payloads: Mapping[Hashable, DecodeLayer],
    store: Any,
    mode: Mode,
    encoding: Mapping[Hashable, Mapping[str, Any]] | None,
    options: dict[str, Any],
) -> Delayed:
    """Metadata of everything first, then lossless values and payloads in one graph."""
    for name in payloads:
        prepared[name].encoding = {}
    # computing what this returns would decode and code again: only the metadata is wanted
    _describe(
        prepared, store, mode=mode, encoding=encoding, consolidated=True, zarr_format=3, **options
    )
    parts: list[Any] = []
    lazy = [n for n, v in prepared.variables.items() if v.chunks is not None and n not in payloads]
    if lazy:
        rest = prepared[lazy]
        rest = rest.drop_vars([n for n in rest.coords if n not in lazy])
        for name in rest.variables:
            rest[name].encoding = {}
        parts.append(_describe(rest, store, mode="r+", consolidated=False, **options))
    target = zarr.open_group(
        store,
        mode="r+",
        path=options["group"],
        storage_options=options["storage_options"],
        use_consolidated=False,
    )
    for name, layer in payloads.items():
        parts.append(_publish(ds[name].data, layer, target[str(name)]))
    return delayed(_done)(parts)


def _done(*_: object) -> None:
    """Nothing: the parts are written when this runs."""


def _publish(data: Any, layer: DecodeLayer, array: Any) -> Delayed:
    """Tasks that put the bytes of each chunk where the array expects them."""
    name = layer.payload.replace("encode", "write", 1)
    tasks: dict[Any, Task] = {}
    for key in layer:
        index = key[1:]
        path = f"{array.path}/{array.metadata.encode_chunk_key(index)}".lstrip("/")
        made = (layer.payload, *index)
        tasks[(name, *index)] = Task((name, *index), _put, TaskRef(made), array.store, path)
    final = f"{name}-all"
    tasks[final] = Task(final, _done, *[TaskRef(k) for k in tasks])
    graph = data.__dask_graph__()
    layers = {**graph.layers, name: MaterializedLayer(tasks)}
    dependencies = {**graph.dependencies, name: {layer.payload}}
    return Delayed(final, HighLevelGraph(layers, dependencies), layer=name)


def _put(data: bytes, store: Any, path: str) -> None:
    sync(store.set(path, default_buffer_prototype().buffer.from_bytes(data)))
