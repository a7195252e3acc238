"""Files of Spinlock as an xarray engine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import xarray as xr

from xphys.errors import FormatError, SchemaError
from xphys.io.readers._engine import Engine, opener, paths_of, without
from xphys.io.readers._probe import Probe
from xphys.io.readers.spinlock._open import grids_of, open_file

__all__ = ["SpinlockBackend", "is_spinlock", "open_paths", "open_tree"]

_DATA = {"inputs/fields", "outputs/fields", "features/"}


class SpinlockBackend(Engine):
    """``xr.open_dataset(path, engine="spinlock")`` for version 1 HDF5 files."""

    description = "Spinlock data sets (HDF5)"
    supports_groups = True
    open_dataset_parameters = ("filename_or_obj", "drop_variables", "grid", "storage_options")

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        grid: int | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> xr.Dataset:
        """Open one file.

        Parameters
        ----------
        filename_or_obj : str or path
            The file.
        drop_variables : str or iterable of str, optional
            Variables to leave out.
        grid : int, optional
            Open only the operators of this grid size, without padding. By default all: without
            padding if they are of one size, else in the frame of the largest, with the boolean
            coordinate ``inside(operator, y, x)``.
        storage_options : mapping, optional
            For the file system of a URL.

        Returns
        -------
        Dataset
            ``inputs(operator, channel, y, x)``, ``outputs(operator, realization, channel, y, x)``,
            with ``time`` before ``channel`` where states are stored, and features as
            ``features_per_timestep(operator, time, feature_per_timestep)`` and its like.
            Parameters are coordinates on ``operator`` in their own units, beside
            ``unit_parameters(operator, parameter)``.

        Raises
        ------
        FormatError
            If the file is damaged or its parts do not fit.
        SchemaError
            If no operator has the size ``grid``.
        """
        path = _one(filename_or_obj)
        return without(open_file(path, grid=grid, storage_options=storage_options), drop_variables)

    def open_groups_as_dict(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> dict[str, xr.Dataset]:
        """One Dataset per grid size below an empty root, each without padding."""
        path = _one(filename_or_obj)
        sizes = grids_of(path, storage_options)
        if not sizes:
            raise FormatError(f"{path}: expected metadata/grid_sizes for a tree, there are none")
        made = {
            f"/grid_{size}": without(
                open_file(path, grid=size, storage_options=storage_options), drop_variables
            )
            for size in sizes
        }
        first = next(iter(made.values()))
        return {"/": xr.Dataset(attrs={k: first.attrs[k] for k in ("title", "source")}), **made}

    def open_datatree(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> xr.DataTree:
        """One node per grid size, each without padding."""
        return xr.DataTree.from_dict(
            self.open_groups_as_dict(
                filename_or_obj, drop_variables=drop_variables, storage_options=storage_options
            )
        )


def is_spinlock(probe: Probe) -> bool:
    """True for the layout of data sets, with or without fields, and of trajectories."""
    layout = probe.layout
    if "metadata/" not in layout:
        return False
    return ("parameters/params" in layout and not _DATA.isdisjoint(layout)) or {
        "trajectories",
        "metrics/energy",
    } <= layout


open_paths = opener(SpinlockBackend)


def open_tree(paths: Sequence[str], *, cache: bool = False, **options: Any) -> xr.DataTree:
    """What ``xphys.open(..., tree=True)`` calls."""
    if options.pop("grid", None) is not None:
        raise SchemaError("grid chooses one size, tree=True keeps them all: drop one")
    return xr.open_datatree(
        _one(list(paths)), engine=SpinlockBackend, chunks=None, cache=cache, **options
    )


def _one(source: Any) -> str:
    paths = paths_of(source)
    if len(paths) != 1:
        raise FormatError(
            f"expected one file, got {len(paths)} paths: open them one by one and join them with "
            "xr.concat"
        )
    return paths[0]
