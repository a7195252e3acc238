"""What the readers of netCDF and of Zarr have in common."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import xarray as xr

from xphys._storage import is_url, open_binary
from xphys.errors import RemoteError
from xphys.io._limits import LARGEST_DOCUMENT
from xphys.schema import normalize as to_model
from xphys.schema import record

__all__ = ["ROOTS", "Options", "Root", "finish", "root_document", "simulation_time"]

ROOTS = ("zarr.json", ".zmetadata", ".zgroup", ".zarray")
Options = Mapping[str, Any] | None
Root = tuple[str, bytes]


def root_document(path: str, storage_options: Options) -> Root | None:
    """Name and content of the metadata document that makes a folder a Zarr store."""
    if is_url(path):
        return _root_behind(path, storage_options)
    for name in ROOTS:
        inside = os.path.join(path, name)
        if os.path.isfile(inside):
            with open_binary(inside) as file:
                return name, file.read(min(os.path.getsize(inside), LARGEST_DOCUMENT + 1))
    return None


def _root_behind(url: str, storage_options: Options) -> Root | None:
    # zarr is slow to import and needed for URLs only
    from xphys.io import _objects as objects

    store = objects.open_store(url, storage_options, read_only=True)
    refused: RemoteError | None = None
    for name in ROOTS:
        try:
            data = objects.read(store, name)
        except RemoteError as error:
            # who may not list a bucket is refused what is not there
            if error.status not in (401, 403):
                raise
            refused, data = refused or error, None
        if data is not None:
            return name, data
    if refused is not None:
        raise refused
    return None


def simulation_time() -> xr.coders.CFTimedeltaCoder:
    """How times are decoded."""
    # A time in "seconds" is a number of the simulation; only what was timedelta64 becomes one.
    return xr.coders.CFTimedeltaCoder(decode_via_units=False)


def finish(
    ds: xr.Dataset, engine: str, source: Mapping[str, Any], normalize: bool, path: str
) -> xr.Dataset:
    """Record the opening, bring names into the data model, say where the data are."""
    ds = record(ds, "open", {"engine": engine}, source=source)
    ds = to_model(ds) if normalize else ds
    ds.encoding["source"] = path
    for variable in ds.variables.values():
        variable.encoding.setdefault("source", path)
        # Chunk sizes by position follow a transposition, those by name know the old dims only.
        stored = variable.encoding.get("chunks") or variable.encoding.get("chunksizes")
        if stored and len(stored) == variable.ndim and "preferred_chunks" in variable.encoding:
            sizes = zip(variable.dims, stored, strict=True)
            variable.encoding["preferred_chunks"] = dict(sizes)
    return ds
