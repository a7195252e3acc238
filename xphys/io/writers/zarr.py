"""Writing Zarr so that the store cannot lie: journal, resume, sealing."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from typing import Any, Literal

import xarray as xr
from dask.delayed import Delayed

from xphys.io import _objects as objects
from xphys.io.writers._begin import Mode, Request, begin

__all__ = ["to_zarr"]


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
    resume: bool = True,
    compute: bool = True,
    storage_options: dict[str, Any] | None = None,
) -> Delayed | None:
    """Write a Dataset as Zarr v3 with a manifest of every chunk.

    A variable that comes straight from `compress` is written as its coded bytes; every other one
    losslessly, with zstd and a checksum per chunk unless ``encoding`` names a codec. When all is
    written the store is sealed: `xphys.open` then checks each chunk that it reads. A write that
    was killed goes on where it stopped when the same code runs again; finished chunks are not
    computed a second time.

    Parameters
    ----------
    ds : Dataset
        Lazy or in memory.
    store : str, path or zarr store
        Local folder, URL, or an open store.
    group : str, optional
        Group inside the store.
    mode : {"w-", "w", "a", "r+"}, default "w-"
        ``"w-"`` refuses an existing store, ``"w"`` replaces it, ``"a"`` adds or replaces
        variables.
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
    resume : bool, default True
        Go on with a write of the same data that was stopped; False begins it anew.
    compute : bool, default True
        False returns a Delayed that writes the values and seals; metadata is written at once.
    storage_options : dict, optional
        For the file system of a URL.

    Returns
    -------
    Delayed or None
        Only with ``compute=False``.

    Raises
    ------
    FileExistsError
        If the store exists and mode is ``"w-"``.
    StoreConflictError
        If a write of other data is unfinished in the store.
    SchemaError
        If a payload does not fall on whole stored chunks, ``encoding`` would change one, or the
        store to append to has no manifest.
    UnknownNameError
        If ``encoding`` names no variable of the Dataset.
    """
    request = Request(
        ds,
        objects.open_store(store, storage_options),
        (group or "").strip("/"),
        mode=mode,
        append_dim=append_dim,
        region=region,
        chunks=chunks,
        shards=shards,
        encoding=encoding,
        resume=resume,
    )
    begun = begin(request)
    if begun.pending is None or not compute:
        return begun.pending
    begun.finish()
    return None
