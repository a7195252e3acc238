"""NetCDF files and Zarr stores through xarray's own engines, brought into the data model."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

import xarray as xr

from xphys._storage import is_url, open_binary
from xphys.errors import FormatError, XphysError
from xphys.io._guard import LARGEST_DOCUMENT, GuardedStore, read_document
from xphys.io._manifest import MARK
from xphys.io._objects import open_store
from xphys.io._strict import checked
from xphys.io.readers._probe import Probe, probe
from xphys.io.readers._source import source_identity
from xphys.schema import VERIFIED, record
from xphys.schema import normalize as to_model

__all__ = ["is_netcdf", "is_zarr", "open_engine", "open_netcdf", "open_zarr"]

_CLASSIC = (b"CDF\x01", b"CDF\x02", b"CDF\x05")
_HDF5 = b"\x89HDF\r\n\x1a\n"
_ROOTS = ("zarr.json", ".zmetadata", ".zgroup", ".zarray")
Options = Mapping[str, Any] | None


def is_netcdf(probe: Probe) -> bool:
    """True for the signatures of classic netCDF and of HDF5."""
    return probe.start.startswith((*_CLASSIC, _HDF5))


def _root(path: str, storage_options: Options) -> tuple[str, bytes] | None:
    """Name and content of the metadata document that makes a folder a Zarr store."""
    if is_url(path):
        import fsspec

        system, place = fsspec.core.url_to_fs(path, **dict(storage_options or {}))
        for name in _ROOTS:
            inside = f"{place.rstrip('/')}/{name}"
            if system.exists(inside):
                return name, bytes(system.cat_file(inside))
        return None
    for name in _ROOTS:
        inside = os.path.join(path, name)
        if os.path.isfile(inside):
            with open_binary(inside) as file:
                return name, file.read(min(os.path.getsize(inside), LARGEST_DOCUMENT + 1))
    return None


def is_zarr(probe: Probe) -> bool:
    """True if the folder or URL holds the metadata of a Zarr group or array."""
    if probe.start.startswith((*_CLASSIC, _HDF5)) or "*" in probe.path:
        return False
    return _root(probe.path, probe.storage_options) is not None


def _timedelta() -> xr.coders.CFTimedeltaCoder:
    # A time in "seconds" is a number of the simulation; only what was timedelta64 becomes one.
    return xr.coders.CFTimedeltaCoder(decode_via_units=False)


def _finish(
    ds: xr.Dataset, engine: str, source: Mapping[str, Any], normalize: bool, path: str
) -> xr.Dataset:
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


def open_zarr(
    paths: Sequence[str],
    *,
    storage_options: Options = None,
    normalize: bool | None = None,
    cache: bool = False,
    strict: bool | Literal["full"] = True,
    **options: Any,
) -> xr.Dataset:
    """Open one Zarr group, version 2 or 3, consolidated or not.

    Parameters
    ----------
    paths : sequence of str
        One folder or URL.
    storage_options : mapping, optional
        For the file system of a URL.
    normalize : bool, optional
        Bring names and dims into the data model; by default unless the group has a manifest:
        what xphys wrote keeps the names it was given.
    cache : bool
        Keep what was read in memory; only of use without Dask.
    strict : bool or "full"
        How a group with a manifest is checked, see `xphys.open`.
    **options
        Passed to ``xarray.open_dataset(engine="zarr")``, e.g. ``group``.

    Returns
    -------
    Dataset
        Without Dask; ``encoding["source"]`` is set on it and on every variable.

    Raises
    ------
    FormatError
        If there are several stores, the store is a single array, or its metadata is damaged or
        asks for codecs or sizes that are not allowed.
    """
    if len(paths) != 1:
        raise FormatError(f"expected one Zarr store, got {len(paths)}: open them one by one")
    path = paths[0]
    place = f"{path.rstrip('/')}/{options.get('group') or ''}".rstrip("/")
    root = _root(place, storage_options)
    if root is None:
        raise FormatError(f"{place}: expected one of {', '.join(_ROOTS)}, found none")
    name, content = root
    # the group is opened as a store of its own: then its own document is the one that counts
    store = open_store(place, storage_options, read_only=True)
    try:
        document = read_document(f"{place}/{name}", content)
    except FormatError:
        if strict and len(content) <= LARGEST_DOCUMENT:
            with suppress(RecursionError):
                checked(store, "", True)  # where there is a manifest it knows what happened
        raise
    if name == ".zarray" or document.get("node_type") == "array":
        raise FormatError(
            f"{path}: expected a Zarr group, found a single array: open the group that holds it"
        )
    checking = checked(store, "", strict)
    guarded: Any = GuardedStore(store if checking is None else checking)
    settings = {
        "decode_timedelta": _timedelta(),
        "consolidated": name == ".zmetadata" or bool(document.get("consolidated_metadata")),
        **{k: v for k, v in options.items() if k != "group"},
    }
    try:
        ds = xr.open_dataset(guarded, engine="zarr", chunks=None, cache=cache, **settings)
    except XphysError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise FormatError(f"{place}: cannot be opened as a Zarr group: {error}") from error
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()
    source = {**source_identity([path.rstrip("/")]), "metadata_digest": digest}
    ds.attrs.pop(MARK, None)
    bring = checking is None if normalize is None else normalize
    ds = _finish(ds, "zarr", source, bring, path)
    ds.encoding[VERIFIED] = checking is not None
    return ds


def open_netcdf(
    paths: Sequence[str],
    *,
    storage_options: Options = None,
    normalize: bool = True,
    cache: bool = False,
    **options: Any,
) -> xr.Dataset:
    """Open netCDF files, several of them joined by their coordinates.

    Parameters
    ----------
    paths : sequence of str
        Local files or URLs.
    storage_options : mapping, optional
        For the file system of URLs.
    normalize : bool
        Bring names and dims into the data model.
    cache : bool
        Keep what was read in memory; only of use without Dask.
    **options
        Passed to ``xarray.open_dataset`` (``xarray.open_mfdataset`` for several files).

    Returns
    -------
    Dataset
        One file: without Dask. Several: one Dask chunk per stored chunk.
    """
    return open_engine(
        paths,
        engine=None,
        storage_options=storage_options,
        normalize=normalize,
        cache=cache,
        **options,
    )


def open_engine(
    paths: Sequence[str],
    *,
    engine: str | None,
    storage_options: Options = None,
    normalize: bool = True,
    cache: bool = False,
    **options: Any,
) -> xr.Dataset:
    """Open files with any engine that xarray knows; parameters as in :func:`open_netcdf`."""
    settings = {"decode_timedelta": _timedelta(), **options}
    if len(paths) == 1:
        path = paths[0]
        target, engine_used = _target(path, storage_options, engine)
        ds = xr.open_dataset(target, engine=engine_used, chunks=None, cache=cache, **settings)
    else:
        path = paths[0]
        ds = xr.open_mfdataset(
            [open_binary(p, storage_options) if is_url(p) else p for p in paths],
            engine=engine,
            chunks={},
            **{
                "combine": "by_coords",
                "data_vars": "minimal",
                "coords": "minimal",
                "compat": "equals",
                "join": "exact",
                **settings,
            },
        )
    return _finish(ds, engine or "netcdf", source_identity(paths), normalize, path)


def _target(path: str, storage_options: Options, engine: str | None) -> tuple[Any, Any]:
    """What xarray is given: a remote file as an open file, which only some engines read."""
    if not is_url(path) or engine is not None:
        return path, engine
    classic = probe(path, storage_options).start.startswith(_CLASSIC)
    return open_binary(path, storage_options), "scipy" if classic else "h5netcdf"
