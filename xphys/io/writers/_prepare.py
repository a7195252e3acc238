"""Chunking and codecs for storing: one block of values for each stored object."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import xarray as xr
from zarr.codecs import ZstdCodec

from xphys.io._chunks import storage_chunks
from xphys.io._layout import Layout
from xphys.io._manifest import MARK
from xphys.io._payload import DecodeLayer
from xphys.schema import record

__all__ = ["prepare"]

_ZSTD_LEVEL = 3
# Variables in memory above this size are written by tasks too: what is staged stays small.
_LARGEST_STAGED = 2**20
Encoding = dict[Hashable, dict[str, Any]]


def prepare(
    ds: xr.Dataset,
    payloads: Mapping[Hashable, DecodeLayer],
    chunks: Mapping[str, int] | None,
    shards: Mapping[str, int] | None,
    encoding: Mapping[Hashable, Mapping[str, Any]] | None,
    layouts: Mapping[str, Layout],
    *,
    append_dim: Hashable | None,
    region: Any,
) -> tuple[xr.Dataset, Encoding]:
    """Chunk each variable as it will be stored and choose its codec.

    Parameters
    ----------
    ds : Dataset
        As the user passes it.
    payloads : mapping
        Decode layer of each variable that is written as a payload.
    chunks, shards, encoding, append_dim, region
        As in `to_zarr`.
    layouts : mapping
        Grids of the arrays that are there already.

    Returns
    -------
    (Dataset, dict)
        What to stage, and the encoding of each new variable.
    """
    merged: Encoding = {}
    out = ds.copy()
    for name, v in ds.variables.items():
        grid = layouts.get(str(name))
        if name in payloads:
            spec = payloads[name].spec
            asked: dict[str, Any] = {
                "serializer": spec.serializer,
                "compressors": None,
                "filters": None,
                "chunks": spec.chunks,
                "_FillValue": None,
            }
            kept: dict[str, Any] = {}
        else:
            kept = _kept(v)
            own = dict((encoding or {}).get(name, {}))
            # an index is read whole when the store is opened: in one piece, if that is small
            index = v.dims == (name,)
            asked = _asked(v, own, None if index else chunks, None if index else shards)
            if v.dtype.kind == "U":  # fixed-length strings have no specification in Zarr v3
                out[name] = out[name].astype(object)
            out[name] = _aligned(out[name], asked, grid, append_dim, region)
        out[name].encoding = kept
        if grid is None:
            merged[name] = asked
    out.attrs.pop(MARK, None)
    return record(out, "to_zarr"), merged


def _kept(v: xr.Variable) -> dict[str, Any]:
    """What a file said of its layout says nothing of the new one; only units of times stay."""
    names = ("units", "calendar", "dtype") if v.dtype.kind in "mM" else ()
    return {k: x for k, x in v.encoding.items() if k in names}


def _asked(
    v: xr.Variable,
    asked: dict[str, Any],
    chunks: Mapping[str, int] | None,
    shards: Mapping[str, int] | None,
) -> dict[str, Any]:
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
    return asked


def _whole_shards(wanted: int | None, size: int, chunk: int) -> int:
    """Size of a shard: a multiple of the chunk."""
    if wanted is None:
        return chunk
    most = -(-size // chunk) * chunk
    return min(most, most if wanted == -1 else -(-wanted // chunk) * chunk)


def _aligned(
    array: xr.DataArray,
    asked: Mapping[str, Any],
    grid: Layout | None,
    append_dim: Hashable | None,
    region: Any,
) -> xr.DataArray:
    """Blocks that fill one stored object each."""
    if array.chunks is None and array.nbytes <= _LARGEST_STAGED:
        return array
    unit = asked.get("shards") or asked["chunks"] if grid is None else grid.stored
    sizes: dict[Hashable, tuple[int, ...]] = {}
    for axis, dim in enumerate(array.dims):
        start = 0
        if grid is not None and dim == append_dim:
            start = grid.shape[axis]
        elif isinstance(region, Mapping) and dim in region:
            start = region[dim].start or 0
        sizes[dim] = _blocks(array.sizes[dim], unit[axis], start)
    if array.name in array.dims:
        return array  # an index is in memory
    return array.chunk(sizes)


def _blocks(size: int, unit: int, start: int) -> tuple[int, ...]:
    """Sizes of blocks whose borders are multiples of the unit, counted from start."""
    first = min(-start % unit or unit, size)
    whole, last = divmod(size - first, unit)
    return (first, *(unit,) * whole, *((last,) if last else ()))
