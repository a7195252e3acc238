"""AthenaK dumps as an xarray engine: lazy arrays over the blocks of the files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np
import xarray as xr
from xarray.backends import BackendArray, BackendEntrypoint
from xarray.core import indexing

from xphys._storage import Source, is_url
from xphys.errors import FormatError, SchemaError, UnknownNameError
from xphys.io.readers._probe import Probe, probe
from xphys.io.readers._source import source_identity
from xphys.io.readers.athenak._files import find_files, has_dumps
from xphys.io.readers.athenak._format import FIRST_LINE, Options
from xphys.io.readers.athenak._group import Group
from xphys.io.readers.athenak._history import is_history, open_history
from xphys.io.readers.athenak._names import (
    Geometry,
    boundary_attrs,
    field_attrs,
    geometry,
    parameters,
)
from xphys.schema import record

__all__ = ["AthenaKBackend", "is_athenak", "open_athenak", "open_paths"]

_SAME_TIME = 1e-4  # headers of early versions carry six digits


class _BlockArray(BackendArray):
    """One variable, or the refinement level, over (time, x3, x2, x1) without one-cell axes.

    Parameters
    ----------
    group : Group
        The files.
    variable : int or None
        Number of the variable; None for the level.
    level : int
        Level of the common grid.
    outputs : sequence of int or None
        Positions of the outputs in the group; None for a static array without ``time``.
    """

    def __init__(
        self, group: Group, variable: int | None, level: int, outputs: Sequence[int] | None
    ):
        self.group, self.variable, self.level = group, variable, level
        self.outputs = None if outputs is None else tuple(outputs)
        self.frame = group.layout(0).shape(group.mesh, level)
        self.active = tuple(axis for axis, n in enumerate(_kept(group)) if n)
        steps = () if outputs is None else (len(outputs),)
        self.shape = (*steps, *(self.frame[axis] for axis in self.active))
        self.dtype = np.dtype(np.int8) if variable is None else group.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        taken = [np.arange(n)[k] for n, k in zip(self.shape, key, strict=True)]
        result = np.empty([np.size(t) for t in taken], self.dtype)
        steps = [0] if self.outputs is None else [self.outputs[i] for i in np.ravel(taken[0])]
        space = taken[len(taken) - len(self.active) :]
        wanted = [np.zeros(1, np.int64)] * 3
        for axis, positions in zip(self.active, space, strict=True):
            wanted[axis] = np.atleast_1d(positions)
        frames = result.reshape(len(steps), *(w.size for w in wanted))
        for step, frame in zip(steps, frames, strict=True):
            if self.variable is None:
                self.group.read_levels(step, self.level, wanted, frame)
            else:
                self.group.read(step, self.variable, self.level, wanted, frame)
        return result.reshape([n for t in taken for n in np.shape(t)])


def _kept(group: Group) -> tuple[bool, ...]:
    """Axes that become dimensions: more than one cell and not sliced (x1 of a line stays)."""
    sliced = group.sliced
    cells = group.mesh.cells
    kept = [n > 1 and not cut for n, cut in zip(cells, sliced, strict=True)]
    return tuple(kept)


def _grid(group: Group, level: int) -> tuple[Any, ...]:
    """Equal for groups whose variables fit into one Dataset."""
    layout = group.layout(0)
    planes = [
        layout.plane(axis) / group.mesh.scale(layout.finest)[axis]
        for axis, cut in enumerate(layout.sliced)
        if cut
    ]
    mesh = group.mesh
    return (layout.shape(mesh, level), layout.sliced, tuple(planes), mesh.lower, mesh.upper)


def _choose(loaded: Sequence[Group], levels: Sequence[int], chosen: bool) -> list[int]:
    """Positions of the groups on the largest grid; all must fit if the user named them."""
    grids = [_grid(group, level) for group, level in zip(loaded, levels, strict=True)]
    sizes = [int(np.prod(grid[0])) for grid in grids]
    largest = grids[sizes.index(max(sizes))]
    fitting = [i for i, grid in enumerate(grids) if grid == largest]
    if chosen and len(fitting) < len(loaded):
        raise SchemaError(
            f"groups {[g.name for g in loaded]} are on different grids "
            f"{[grid[0] for grid in grids]}: open them one by one"
        )
    return fitting


def _common_outputs(loaded: Sequence[Group], missing: str) -> list[int]:
    numbers = [{output.number for output in group.outputs} for group in loaded]
    every, common = set().union(*numbers), set(numbers[0]).intersection(*numbers[1:])
    if every != common and missing != "drop":
        lacking = {g.name: sorted(every - n) for g, n in zip(loaded, numbers, strict=True)}
        listed = "; ".join(f"{name} lacks {_short(n)}" for name, n in lacking.items() if n)
        raise FormatError(
            f"expected the same output numbers in all groups, found that {listed}: give "
            "missing='drop' to keep the common ones, or groups=[...]"
        )
    if not common:
        raise FormatError(f"groups {[g.name for g in loaded]} have no output number in common")
    return sorted(common)


def _short(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:8]))
    return shown if len(numbers) <= 8 else f"{shown}, ... ({len(numbers)} outputs)"


def _positions(loaded: Sequence[Group], numbers: Sequence[int]) -> list[list[int]]:
    """Where the common outputs are in each group; their times must agree."""
    found = []
    for group in loaded:
        places = {output.number: i for i, output in enumerate(group.outputs)}
        found.append([places[number] for number in numbers])
    reference = [loaded[0].outputs[i] for i in found[0]]
    for group, here in zip(loaded[1:], found[1:], strict=True):
        for wanted, i in zip(reference, here, strict=True):
            other = group.outputs[i]
            if abs(other.time - wanted.time) > _SAME_TIME * max(abs(other.time), abs(wanted.time)):
                raise FormatError(
                    f"{other.name}: expected time {wanted.time:g} as in {wanted.name}, found "
                    f"{other.time:g}: files of several runs are mixed"
                )
    return found


def _axis_coords(group: Group, level: int, where: Geometry) -> dict[str, xr.Variable]:
    mesh, layout = group.mesh, group.layout(0)
    coords = {}
    for axis, kept in enumerate(_kept(group)):
        dim, lower, upper = where.dims[axis], mesh.lower[axis], mesh.upper[axis]
        attrs = {"units": "1", "long_name": dim, "source_name": f"x{3 - axis}"}
        if kept:
            n = mesh.cells[axis] * mesh.scale(level)[axis]
            centres = lower + (np.arange(n) + 0.5) * ((upper - lower) / n)
            boundary = boundary_attrs(group.decks[0], axis, where, upper - lower)
            coords[dim] = xr.Variable(dim, centres, {**attrs, "spacing": "uniform", **boundary})
        elif layout.sliced[axis]:
            n = mesh.cells[axis] * mesh.scale(layout.finest)[axis]
            centre = lower + (layout.plane(axis) + 0.5) * ((upper - lower) / n)
            attrs["comment"] = "centre of the finest cells that the slice was taken from"
            coords[dim] = xr.Variable((), centre, attrs)
    return coords


def _lazy(array: _BlockArray, dims: Sequence[str], attrs: Mapping[str, Any]) -> xr.Variable:
    chunks = {d: 1 if d == "time" else n for d, n in zip(dims, array.shape, strict=True)}
    data = indexing.LazilyIndexedArray(array)
    return xr.Variable(dims, data, attrs, {"preferred_chunks": chunks})


def _fields(
    loaded: Sequence[Group],
    positions: Sequence[Sequence[int]],
    level: int,
    where: Geometry,
    dims: Sequence[str],
) -> tuple[dict[str, xr.Variable], list[str]]:
    """Variables of all groups, and a note for each that a later group has again."""
    fields: dict[str, xr.Variable] = {}
    again: list[str] = []
    for group, places in zip(loaded, positions, strict=True):
        for number, stored in enumerate(group.variables):
            name, attrs = field_attrs(stored, where, group.name)
            if name in fields:
                again.append(f"{stored} of {group.name}")
                continue
            array = _BlockArray(group, number, level, places)
            fields[name] = _lazy(array, dims, attrs)
    return fields, again


def _level_coord(group: Group, places: Sequence[int], level: int, dims: Sequence[str]) -> Any:
    adaptive = group.mesh.refinement == "adaptive"
    array = _BlockArray(group, None, level, places if adaptive else None)
    attrs = {"units": "1", "long_name": "refinement level of the meshblock above the root grid"}
    return _lazy(array, dims if adaptive else dims[1:], attrs)


def open_athenak(
    source: Source,
    *,
    groups: Iterable[str] | None = None,
    level: int | None = None,
    missing: str = "error",
    storage_options: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Open dumps of AthenaK as one lazy Dataset.

    Parameters
    ----------
    source : str, path or iterable of those
        One ``.bin`` file, a folder (with ``rank_*/`` folders or without), a glob or a list.
    groups : iterable of str, optional
        Variable groups to open, e.g. ``["mhd_w", "mhd_bcc"]``. By default all that share the
        largest grid; others are named in ``attrs["athenak_other_groups"]``.
    level : int, optional
        Refinement level of the grid that all blocks are put on; by default the finest present.
        Coarser blocks are repeated, finer ones averaged over the volume (over the plane, in a
        slice) in float64.
    missing : {"error", "drop"}
        What to do with output numbers that some groups do not have.
    storage_options : mapping, optional
        For the file system of URLs.

    Returns
    -------
    Dataset
        Dims ``(time, z, y, x)``, those that exist; ``(time, z, x)`` in a radial-vertical
        shearing box. Float32 (float64 where stored so), dimensionless. Coordinates: cell
        centres, ``time``, ``cycle(time)``, ``level`` for refined runs, parameters of the deck.
        Only headers and block tables have been read.

    Raises
    ------
    FormatError
        If a file is damaged, blocks are missing or overlap, or files do not belong together.
    UnknownNameError
        If a group in ``groups`` does not exist.
    SchemaError
        If the groups asked for are on different grids, or ``level`` or ``missing`` is invalid.
    """
    if missing not in ("error", "drop"):
        raise SchemaError(f"missing must be 'error' or 'drop', got {missing!r}")
    if level is not None and (isinstance(level, bool) or int(level) != level or level < 0):
        raise SchemaError(f"level must be a whole number from 0 (the root grid) on, got {level!r}")
    found = find_files(source, storage_options)
    names = list(found.groups)
    if groups is not None:
        asked = [groups] if isinstance(groups, str) else list(groups)
        unknown = [name for name in asked if name not in names]
        if unknown or not asked:
            raise UnknownNameError(f"expected groups among {names}, got {unknown or asked}")
        names = [name for name in names if name in asked]
    loaded = [Group(name, found.groups[name], storage_options) for name in names]
    levels = [group.finest() if level is None else int(level) for group in loaded]
    fitting = _choose(loaded, levels, groups is not None)
    merged = [loaded[i] for i in fitting]
    others = sorted(set(found.groups) - {group.name for group in merged})
    ds = _assemble(merged, levels[fitting[0]], missing)
    if others:
        ds.attrs["athenak_other_groups"] = ", ".join(others)
    ds.encoding["source"] = os.fspath(source) if _is_path(source) else found.files[0]
    used = [f.path for group in merged for output in group.outputs for f in output.files]
    options = {
        "engine": "athenak",
        "groups": [group.name for group in merged],
        "level": level,
        "missing": missing if missing != "error" else None,
    }
    return record(ds, "open", options, source=source_identity(sorted(used)))


def _is_table(path: str, storage_options: Options) -> bool:
    return path.endswith(".hst") and is_history(probe(path, storage_options).start)


def _is_path(source: Any) -> TypeGuard[str | os.PathLike[str]]:
    return isinstance(source, str | os.PathLike)


def _assemble(merged: Sequence[Group], level: int, missing: str) -> xr.Dataset:
    numbers = _common_outputs(merged, missing)
    positions = _positions(merged, numbers)
    first, places = merged[0], positions[0]
    deck = first.decks[places[0]]
    where = geometry(deck)
    dims = ("time", *(where.dims[a] for a, kept in enumerate(_kept(first)) if kept))
    fields, again = _fields(merged, positions, level, where, dims)
    outputs = [first.outputs[i] for i in places]
    time = np.array([output.time for output in outputs], np.float64)
    cycle = np.array([output.cycle for output in outputs], np.int64)
    coords: dict[str, Any] = {
        "time": xr.Variable("time", time, {"units": "1", "long_name": "time"}),
        "cycle": xr.Variable("time", cycle, {"units": "1", "long_name": "number of time steps"}),
        **_axis_coords(first, level, where),
        **parameters([first.decks[i] for i in places]),
    }
    if first.mesh.refinement == "adaptive" or len(np.unique(first.layout(0).level)) > 1:
        coords["level"] = _level_coord(first, places, level, dims)
    attrs = {
        "title": deck.get("comment", {}).get("problem", "AthenaK run"),
        "source": "AthenaK binary output 1.1",
        "athenak_deck": json.dumps(deck, sort_keys=True, separators=(",", ":")),
    }
    if again:
        attrs["athenak_repeated_variables"] = ", ".join(again)
    return xr.Dataset(fields, coords=coords, attrs=attrs)


class AthenaKBackend(BackendEntrypoint):
    """``xr.open_dataset(path, engine="athenak")`` for ``.bin`` dumps and ``.hst`` tables."""

    description = "AthenaK binary dumps (.bin, .cbin) and history tables (.hst)"
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
        if _is_path(filename_or_obj) and _is_table(os.fspath(filename_or_obj), storage_options):
            ds = open_history(filename_or_obj, storage_options)
        else:
            ds = open_athenak(
                filename_or_obj,
                groups=groups,
                level=level,
                missing=missing,
                storage_options=storage_options,
            )
        dropped = [drop_variables] if isinstance(drop_variables, str) else drop_variables
        return ds.drop_vars(list(dropped or []), errors="ignore")

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """True only for a local file whose first line is AthenaK's."""
        if not _is_path(filename_or_obj):
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
    source: Any = paths[0] if len(paths) == 1 else list(paths)
    return xr.open_dataset(source, engine=AthenaKBackend, chunks=None, cache=cache, **options)
