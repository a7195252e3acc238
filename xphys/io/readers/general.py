"""NetCDF files through xarray's own engines, brought into the data model; marks of Zarr."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import xarray as xr

from xphys._storage import is_url, open_binary
from xphys.io._netcdf import MARK, restore
from xphys.io.readers._probe import Probe, probe
from xphys.io.readers._reported import reported, reporting
from xphys.io.readers._shared import Options, finish, root_document, simulation_time
from xphys.io.readers._source import source_identity

__all__ = ["is_netcdf", "is_zarr", "open_engine", "open_netcdf"]

_CLASSIC = (b"CDF\x01", b"CDF\x02", b"CDF\x05")
_HDF5 = b"\x89HDF\r\n\x1a\n"


def is_netcdf(probe: Probe) -> bool:
    """True for the signatures of classic netCDF and of HDF5."""
    return probe.start.startswith((*_CLASSIC, _HDF5))


def is_zarr(probe: Probe) -> bool:
    """True if the folder or URL holds the metadata of a Zarr group or array."""
    if probe.start.startswith((*_CLASSIC, _HDF5)) or "*" in probe.path:
        return False
    return (probe.root or root_document(probe.path, probe.storage_options)) is not None


def open_netcdf(
    paths: Sequence[str],
    *,
    storage_options: Options = None,
    normalize: bool | None = None,
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
    normalize : bool, optional
        Bring names and dims into the data model; by default unless `to_netcdf` wrote the file.
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
    normalize: bool | None = None,
    cache: bool = False,
    **options: Any,
) -> xr.Dataset:
    """Open files with any engine that xarray knows; parameters as in :func:`open_netcdf`."""
    settings = {"decode_timedelta": simulation_time(), **options}
    path = paths[0]
    with reporting(path):
        if len(paths) == 1:
            target, engine_used = _target(path, storage_options, engine)
            ds = xr.open_dataset(target, engine=engine_used, chunks=None, cache=False, **settings)
            if MARK in ds.attrs:  # what xphys wrote keeps its names, types and attributes
                ds.close()
                raw = {**settings, "decode_times": False, "mask_and_scale": False}
                raw["decode_timedelta"] = False
                target, _ = _target(path, storage_options, engine)
                ds = xr.open_dataset(target, engine=engine_used, chunks=None, cache=False, **raw)
                ds, normalize = restore(ds, path), bool(normalize)
            ds = reported(ds, path, cache)
        else:
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
    bring = normalize is not False
    return finish(ds, engine or "netcdf", source_identity(paths, storage_options), bring, path)


def _target(path: str, storage_options: Options, engine: str | None) -> tuple[Any, Any]:
    """What xarray is given: a remote file as an open file, which only some engines read."""
    if not is_url(path) or engine is not None:
        return path, engine
    classic = probe(path, storage_options).start.startswith(_CLASSIC)
    return open_binary(path, storage_options), "scipy" if classic else "h5netcdf"
