"""What the xarray engines of xphys have in common."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import xarray as xr
from xarray.backends import BackendEntrypoint

__all__ = ["Engine", "opener", "paths_of", "without"]


class Engine(BackendEntrypoint):
    """An engine that is used only on request, so that installing xphys changes nothing."""

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Never: the signature (HDF5, MATLAB, NumPy) belongs to general engines."""
        return False


def opener(engine: type[BackendEntrypoint]) -> Callable[..., xr.Dataset]:
    """What ``xphys.open`` calls: the engine, with xarray's protection of lazy arrays."""

    def open_paths(paths: Sequence[str], *, cache: bool = False, **options: Any) -> xr.Dataset:
        source: Any = paths[0] if len(paths) == 1 else list(paths)
        ds = xr.open_dataset(source, engine=engine, chunks=None, cache=cache, **options)
        ds.encoding["source"] = str(paths[0])
        return ds

    return open_paths


def paths_of(source: Any) -> list[str]:
    """Local paths and URLs that an engine was given, patterns expanded."""
    from xphys._storage import expand

    return expand(source if isinstance(source, list | tuple) else os.fspath(source))


def without(ds: xr.Dataset, dropped: str | Iterable[str] | None) -> xr.Dataset:
    """The Dataset without the variables of ``drop_variables``."""
    names = [dropped] if isinstance(dropped, str) else dropped
    return ds.drop_vars(list(names or []), errors="ignore")
