"""Athena++ output as an xarray engine."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xphys.errors import FormatError, SchemaError
from xphys.io.readers._block_arrays import BlockArray, Grid, kept_axes, lazy
from xphys.io.readers._boundary import check_boundary
from xphys.io.readers._engine import Engine, opener, paths_of, without
from xphys.io.readers._fluid_names import fluid_attrs
from xphys.io.readers._folder import files_of
from xphys.io.readers._probe import Probe
from xphys.io.readers._source import source_identity
from xphys.io.readers.athdf._axes import CARTESIAN, axis_coords, directions, is_even
from xphys.io.readers.athdf._run import Run
from xphys.schema import record

__all__ = ["AthdfBackend", "is_athdf", "open_paths", "open_tree"]

_MARKS = frozenset({"@NumCycles", "@RootGridSize", "@MeshBlockSize", "Levels", "LogicalLocations"})
_LEVEL = {"units": "1", "long_name": "refinement level of the meshblock above the root grid"}
_COVERED = {
    "units": "1",
    "long_name": "whether a meshblock of this level lies here",
    "comment": "fields are NaN where it is false: those cells belong to other levels",
}


class AthdfBackend(Engine):
    """``xr.open_dataset(path, engine="athdf")`` for HDF5 output of Athena++."""

    description = "Athena++ HDF5 output (.athdf)"
    supports_groups = True
    open_dataset_parameters = (
        "filename_or_obj",
        "drop_variables",
        "level",
        "axes",
        "boundary",
        "storage_options",
    )

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        level: int | None = None,
        axes: Sequence[str] | None = None,
        boundary: Mapping[str, str] | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> xr.Dataset:
        """Open one file or the files of a run on one grid.

        Parameters
        ----------
        filename_or_obj : str, path or iterable of those
            A file, a folder with ``*.athdf``, a glob or a list: the outputs of one run.
        drop_variables : str or iterable of str, optional
            Variables to leave out.
        level : int, optional
            Refinement level of the grid; by default the finest of all outputs. Coarser blocks
            are repeated, finer ones averaged over the volume in float64.
        axes : str or sequence of str, optional
            What x1, x2 and x3 are in Cartesian coordinates; by default "xyz". "xzy" is for a
            radial-vertical shearing box: the files do not tell.
        boundary : mapping of str to str, optional
            Dim -> "periodic", "wall", "open", "shear_periodic"; the files store none.
        storage_options : mapping, optional
            For the file system of URLs.

        Returns
        -------
        Dataset
            Dims ``(time, z, y, x)``, those that exist; ``(time, phi, theta, r)`` and alike in
            curvilinear coordinates. With the coordinate ``level`` where there are several.

        Raises
        ------
        FormatError
            If a file is damaged, blocks are missing, the files do not belong together, or levels
            of a curvilinear or non-uniform grid would have to be put on one.
        SchemaError
            If an option does not fit.
        """
        run = _run(filename_or_obj, storage_options)
        components, dims, note = directions(run, axes)
        if level is not None and (isinstance(level, bool) or int(level) != level or level < 0):
            raise SchemaError(f"level must be a whole number from 0 on, got {level!r}")
        chosen = run.levels[-1] if level is None else int(level)
        if chosen > run.levels[-1]:
            raise SchemaError(f"level={chosen} is finer than the finest, {run.levels[-1]}")
        _check_common(run, chosen)
        grid = Grid.common(run, chosen)
        _check_dims(run, dims, boundary)
        ds = xr.Dataset(
            _fields(run, grid, components, dims),
            {**_times(run), **axis_coords(run, grid, dims, boundary)},
            _attrs(run, note),
        )
        if len(run.levels) > 1:
            ds.coords["level"] = _of_blocks(run, "level", grid, dims, _LEVEL)
        options = _options(level, axes, boundary)
        return without(_finish(ds, run, options, storage_options), drop_variables)

    def open_groups_as_dict(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        axes: Sequence[str] | None = None,
        boundary: Mapping[str, str] | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> dict[str, xr.Dataset]:
        """Open every refinement level on its own grid; parameters as in `open_dataset`.

        Returns
        -------
        dict
            ``"/"`` has the times, ``"/level_0"``, ... the fields on the box around all blocks of
            the level; cells without a block of it are NaN and False in ``covered``.
        """
        run = _run(filename_or_obj, storage_options)
        components, dims, note = directions(run, axes)
        _check_dims(run, dims, boundary)
        options = _options("tree", axes, boundary)
        root = xr.Dataset(coords=_times(run), attrs=_attrs(run, note))
        tree = {"/": _finish(root, run, options, storage_options)}
        for level, box in sorted(run.boxes.items()):
            grid = Grid.patch(level, box)
            ds = xr.Dataset(
                _fields(run, grid, components, dims),
                {**_times(run), **axis_coords(run, grid, dims, boundary)},
                _attrs(run, note),
            )
            ds.coords["level"] = xr.Variable((), np.int8(level), _LEVEL)
            ds.coords["covered"] = _of_blocks(run, "covered", grid, dims, _COVERED)
            ds = _finish(ds, run, options, storage_options)
            tree[f"/level_{level}"] = without(ds, drop_variables)
        return tree

    def open_datatree(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        axes: Sequence[str] | None = None,
        boundary: Mapping[str, str] | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> xr.DataTree:
        """One node per refinement level; parameters as in `open_groups_as_dict`."""
        return xr.DataTree.from_dict(
            self.open_groups_as_dict(
                filename_or_obj,
                drop_variables=drop_variables,
                axes=axes,
                boundary=boundary,
                storage_options=storage_options,
            )
        )


def is_athdf(probe: Probe) -> bool:
    """True for a file of Athena++, and for a folder whose first ``.athdf`` file is one."""
    found = probe if probe.start else probe.member(".athdf")
    if found is None or os.path.relpath(found.path, probe.path).count(os.sep):
        return False
    return found.layout >= _MARKS


open_paths = opener(AthdfBackend)


def open_tree(paths: Sequence[str], *, cache: bool = False, **options: Any) -> xr.DataTree:
    """What ``xphys.open(..., levels="tree")`` calls."""
    if options.pop("level", None) is not None:
        raise SchemaError("level chooses one common grid, levels='tree' keeps them all: drop one")
    source: Any = paths[0] if len(paths) == 1 else list(paths)
    return xr.open_datatree(source, engine=AthdfBackend, chunks=None, cache=cache, **options)


def _run(source: Any, storage_options: Mapping[str, Any] | None) -> Run:
    return Run(files_of(paths_of(source), (".athdf",)), storage_options)


def _check_common(run: Run, level: int) -> None:
    """Several levels go on one grid only where cells are split and averaged evenly."""
    if run.levels == (level,):
        return
    system = run.first.coordinates
    uneven = [f"x{3 - a}" for a, n in enumerate(kept_axes(run)) if n and not is_even(run, a)]
    if system not in (*CARTESIAN, "") or uneven:
        why = f"{system} coordinates" if not uneven else f"cells of several widths along {uneven}"
        raise FormatError(
            f"{run.first.path}: expected one level, found {list(run.levels)} in {why}, which are "
            "not put on one grid: open with levels='tree'"
        )


def _check_dims(run: Run, dims: Sequence[str], boundary: Mapping[str, str] | None) -> None:
    check_boundary(boundary, _kept(run, dims))


def _kept(run: Run, dims: Sequence[str]) -> tuple[str, ...]:
    return tuple(dim for dim, on in zip(dims, kept_axes(run), strict=True) if on)


def _times(run: Run) -> dict[str, xr.Variable]:
    time = np.array([header.time for header in run.headers], np.float64)
    cycle = np.array([header.cycle for header in run.headers], np.int64)
    about = {"units": "1", "long_name": "number of time steps", "source_name": "NumCycles"}
    return {
        "time": xr.Variable(
            "time", time, {"units": "1", "long_name": "time", "source_name": "Time"}
        ),
        "cycle": xr.Variable("time", cycle, about),
    }


def _attrs(run: Run, note: str) -> dict[str, str]:
    return {
        "source": "Athena++ HDF5 output",
        "coordinate_system": run.first.coordinates or "not stated",
        "axes": note,
    }


def _fields(
    run: Run, grid: Grid, components: Sequence[str], dims: Sequence[str]
) -> dict[str, xr.Variable]:
    fields: dict[str, xr.Variable] = {}
    places = range(len(run.files))
    for number, (dataset, _, stored) in enumerate(run.variables):
        name, attrs = fluid_attrs(stored, components)
        if name in fields or name in (*dims, "time", "cycle", "level", "covered"):
            name = stored
            attrs = {k: v for k, v in attrs.items() if k not in ("vector", "component")}
        array = BlockArray(run, number, grid, places)
        fields[name] = lazy(array, ("time", *_kept(run, dims)), {**attrs, "source_group": dataset})
    return fields


def _of_blocks(
    run: Run, what: Any, grid: Grid, dims: Sequence[str], attrs: Mapping[str, str]
) -> xr.Variable:
    """Level or cover of the cells; on ``time`` only where blocks come and go."""
    if run.mesh.refinement == "adaptive":
        array = BlockArray(run, what, grid, range(len(run.files)))
        return lazy(array, ("time", *_kept(run, dims)), attrs)
    return lazy(BlockArray(run, what, grid, None), _kept(run, dims), attrs)


def _options(
    level: Any, axes: Sequence[str] | None, boundary: Mapping[str, str] | None
) -> dict[str, Any]:
    return {
        "engine": "athdf",
        "levels" if level == "tree" else "level": level,
        "axes": list(axes) if axes else None,
        "boundary": dict(boundary) if boundary else None,
    }


def _finish(
    ds: xr.Dataset, run: Run, options: Mapping[str, Any], storage_options: Any
) -> xr.Dataset:
    files = [file.path for file in run.files]
    ds.encoding["source"] = files[0]
    return record(ds, "open", options, source=source_identity(files, storage_options))
