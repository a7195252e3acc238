"""AthenaK dumps as an xarray engine."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import xarray as xr
from xarray.backends import BackendEntrypoint

from xphys._storage import is_url
from xphys.errors import SchemaError
from xphys.io.readers._engine import without
from xphys.io.readers._probe import Probe, probe
from xphys.io.readers.athenak._assemble import open_athenak, open_levels
from xphys.io.readers.athenak._files import has_dumps
from xphys.io.readers.athenak._format import FIRST_LINE, Options
from xphys.io.readers.athenak._history import is_history, open_history
from xphys.io.readers.athenak._run import is_path

__all__ = ["AthenaKBackend", "is_athenak", "open_paths", "open_tree"]


class AthenaKBackend(BackendEntrypoint):
    """``xr.open_dataset(path, engine="athenak")`` for ``.bin`` dumps and ``.hst`` tables."""

    description = "AthenaK binary dumps (.bin, .cbin) and history tables (.hst)"
    supports_groups = True
    open_dataset_parameters = (
        "filename_or_obj",
        "drop_variables",
        "groups",
        "level",
        "missing",
        "storage_options",
    )

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        groups: Iterable[str] | None = None,
        level: int | None = None,
        missing: str = "error",
        storage_options: Mapping[str, Any] | None = None,
    ) -> xr.Dataset:
        """Open a file, folder, glob or list; parameters as in :func:`open_athenak`."""
        if _is_table(filename_or_obj, storage_options):
            ds = open_history(filename_or_obj, storage_options)
        else:
            ds = open_athenak(
                filename_or_obj,
                groups=groups,
                level=level,
                missing=missing,
                storage_options=storage_options,
            )
        return without(ds, drop_variables)

    def open_groups_as_dict(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        groups: Iterable[str] | None = None,
        missing: str = "error",
        storage_options: Mapping[str, Any] | None = None,
    ) -> dict[str, xr.Dataset]:
        """One Dataset per refinement level; parameters as in :func:`open_levels`."""
        if _is_table(filename_or_obj, storage_options):
            tree = {"/": open_history(filename_or_obj, storage_options)}
        else:
            tree = open_levels(
                filename_or_obj, groups=groups, missing=missing, storage_options=storage_options
            )
        return {path: without(ds, drop_variables) for path, ds in tree.items()}

    def open_datatree(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        groups: Iterable[str] | None = None,
        missing: str = "error",
        storage_options: Mapping[str, Any] | None = None,
    ) -> xr.DataTree:
        """One node per refinement level; parameters as in :func:`open_levels`."""
        return xr.DataTree.from_dict(
            self.open_groups_as_dict(
                filename_or_obj,
                drop_variables=drop_variables,
                groups=groups,
                missing=missing,
                storage_options=storage_options,
            )
        )

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """True only for a local file whose first line is AthenaK's."""
        if not is_path(filename_or_obj):
            return False
        path = os.fspath(filename_or_obj)
        if is_url(path) or not os.path.isfile(path):
            return False
        with open(path, "rb") as file:
            return file.read(len(FIRST_LINE)) == FIRST_LINE


def is_athenak(probe: Probe) -> bool:
    """True for a dump, a history table, and a folder or pattern of files named like dumps."""
    if probe.start:
        return probe.start.startswith(FIRST_LINE) or is_history(probe.start)
    return has_dumps(probe.path, probe.storage_options)


def open_paths(paths: Sequence[str], *, cache: bool = False, **options: Any) -> xr.Dataset:
    """What ``xphys.open`` calls: the engine, with xarray's protection of lazy arrays."""
    return xr.open_dataset(
        _source(paths), engine=AthenaKBackend, chunks=None, cache=cache, **options
    )


def open_tree(paths: Sequence[str], *, cache: bool = False, **options: Any) -> xr.DataTree:
    """What ``xphys.open(..., levels="tree")`` calls."""
    if options.pop("level", None) is not None:
        raise SchemaError("level chooses one common grid, levels='tree' keeps them all: drop one")
    return xr.open_datatree(
        _source(paths), engine=AthenaKBackend, chunks=None, cache=cache, **options
    )


def _source(paths: Sequence[str]) -> Any:
    return paths[0] if len(paths) == 1 else list(paths)


def _is_table(source: Any, storage_options: Options) -> bool:
    if not is_path(source) or not os.fspath(source).endswith(".hst"):
        return False
    return is_history(probe(os.fspath(source), storage_options).start)
