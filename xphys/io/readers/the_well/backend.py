"""The Well as an xarray engine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import xarray as xr

from xphys.io._the_well import FIELDS
from xphys.io.readers._engine import Engine, opener, paths_of, without
from xphys.io.readers._probe import Probe
from xphys.io.readers.the_well._assemble import open_the_well
from xphys.io.readers.the_well._files import SUFFIXES
from xphys.io.readers.the_well._public import SCHEME

__all__ = ["SCHEME", "TheWellBackend", "is_the_well", "open_paths"]

_SIGNATURE = {"dimensions/", "@n_trajectories", *(f"{group}/" for group in FIELDS)}


class TheWellBackend(Engine):
    """``xr.open_dataset(path, engine="the_well")`` for files and folders of The Well."""

    description = "The Well (HDF5 with t0_fields, t1_fields, t2_fields)"
    open_dataset_parameters = (
        "filename_or_obj",
        "drop_variables",
        "axes",
        "split",
        "base",
        "storage_options",
    )

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        axes: Mapping[str, str] | None = None,
        split: str | None = None,
        base: str | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> xr.Dataset:
        """Open a file, folder, glob or list; parameters as in :func:`open_the_well`."""
        ds = open_the_well(
            paths_of(filename_or_obj),
            axes=axes,
            split=split,
            base=base,
            storage_options=storage_options,
        )
        return without(ds, drop_variables)


open_paths = opener(TheWellBackend)


def is_the_well(probe: Probe) -> bool:
    """True for the groups of fields next to ``dimensions`` and the number of trajectories."""
    held = probe if probe.start else probe.member(*SUFFIXES)
    return held is not None and held.layout >= _SIGNATURE
