"""AthenaK dumps as Datasets: on one common grid, or every refinement level on its own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xphys._storage import Source
from xphys.errors import FormatError
from xphys.io.readers._block_arrays import BlockArray, Grid, kept_axes, lazy
from xphys.io.readers._source import source_identity
from xphys.io.readers.athenak._group import Group
from xphys.io.readers.athenak._names import (
    Geometry,
    boundary_attrs,
    field_attrs,
    geometry,
    parameters,
)
from xphys.io.readers.athenak._run import Run, select
from xphys.schema import record

__all__ = ["open_athenak", "open_levels"]

_LEVEL = {"units": "1", "long_name": "refinement level of the meshblock above the root grid"}
_COVERED = {
    "units": "1",
    "long_name": "whether a meshblock of this level lies here",
    "comment": "fields are NaN where it is false: those cells belong to other levels",
}


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
    run = select(
        source, groups=groups, level=level, missing=missing, storage_options=storage_options
    )
    first, where = run.groups[0], _where(run)
    grid = Grid.common(first, run.level)
    ds = xr.Dataset(
        _fields(run, grid, where),
        {**_of_time(run), **_axis_coords(first, grid, where), **_parameters(run)},
        {**_attrs(run), **_deck(run), **_repeated(run, where)},
    )
    adaptive = first.mesh.refinement == "adaptive"
    if adaptive or len(np.unique(first.layout(0).level)) > 1:
        ds.coords["level"] = _of_blocks(run, "level", grid, where, _LEVEL)
    used = {"level": level, "missing": missing if missing != "error" else None}
    return _finish(ds, run, used, storage_options)


def open_levels(
    source: Source,
    *,
    groups: Iterable[str] | None = None,
    missing: str = "error",
    storage_options: Mapping[str, Any] | None = None,
) -> dict[str, xr.Dataset]:
    """Open dumps of AthenaK with every refinement level on its own grid.

    Parameters
    ----------
    source, groups, missing, storage_options
        As for :func:`open_athenak`.

    Returns
    -------
    dict
        Path in a tree -> lazy Dataset. ``"/"`` has the times, the parameters and the deck;
        ``"/level_0"`` (the root grid), ``"/level_1"``, ... hold the fields of the levels that
        exist, on the box around all blocks of the level in all outputs. Every stored cell is in
        one of them, once. Cells of the box without a block of that level are NaN and False in
        the coordinate ``covered``. Along an axis that the box does not span ``boundary`` is
        "open".

    Raises
    ------
    FormatError
        If a file is damaged, blocks are missing or overlap, or files do not belong together.
    UnknownNameError
        If a group in ``groups`` does not exist.
    SchemaError
        If the groups asked for are on different grids, or ``missing`` is invalid.
    """
    run = select(
        source, groups=groups, level=None, missing=missing, storage_options=storage_options
    )
    options = {"levels": "tree", "missing": missing if missing != "error" else None}
    where = _where(run)
    root = xr.Dataset(
        coords={**_of_time(run), **_parameters(run)},
        attrs={**_attrs(run), **_deck(run), **_repeated(run, where)},
    )
    tree = {"/": _finish(root, run, options, storage_options)}
    for level, box in sorted(_boxes(run).items()):
        grid = Grid.patch(level, box)
        ds = xr.Dataset(
            _fields(run, grid, where),
            # A tree hands down indexes only: each node has the parameters itself.
            {**_of_time(run), **_axis_coords(run.groups[0], grid, where), **_parameters(run)},
            _attrs(run),
        )
        ds.coords["level"] = xr.Variable((), np.int8(level), _LEVEL)
        ds.coords["covered"] = _of_blocks(run, "covered", grid, where, _COVERED)
        tree[f"/level_{level}"] = _finish(ds, run, options, storage_options)
    return tree


def _where(run: Run) -> Geometry:
    return geometry(run.groups[0].decks[run.positions[0][0]])


def _dims(group: Group, where: Geometry) -> tuple[str, ...]:
    return tuple(where.dims[axis] for axis, kept in enumerate(kept_axes(group)) if kept)


def _of_time(run: Run) -> dict[str, xr.Variable]:
    outputs = [run.groups[0].outputs[i] for i in run.positions[0]]
    time = np.array([output.time for output in outputs], np.float64)
    cycle = np.array([output.cycle for output in outputs], np.int64)
    return {
        "time": xr.Variable("time", time, {"units": "1", "long_name": "time"}),
        "cycle": xr.Variable("time", cycle, {"units": "1", "long_name": "number of time steps"}),
    }


def _parameters(run: Run) -> dict[str, xr.Variable]:
    return parameters([run.groups[0].decks[i] for i in run.positions[0]])


def _attrs(run: Run) -> dict[str, str]:
    deck = run.groups[0].decks[run.positions[0][0]]
    return {
        "title": deck.get("comment", {}).get("problem", "AthenaK run"),
        "source": "AthenaK binary output 1.1",
    }


def _deck(run: Run) -> dict[str, str]:
    deck = run.groups[0].deck(run.positions[0][0])
    return {"athenak_deck": json.dumps(deck, sort_keys=True, separators=(",", ":"))}


def _axis_coords(group: Group, grid: Grid, where: Geometry) -> dict[str, xr.Variable]:
    mesh, layout = group.mesh, group.layout(0)
    coords = {}
    for axis, kept in enumerate(kept_axes(group)):
        dim, lower, upper = where.dims[axis], mesh.lower[axis], mesh.upper[axis]
        attrs = {"units": "1", "long_name": dim, "source_name": f"x{3 - axis}"}
        if kept:
            n = mesh.cells[axis] * mesh.scale(grid.level)[axis]
            first, count = grid.start[axis], grid.shape[axis]
            width = (upper - lower) / n
            centres = lower + (np.arange(first, first + count) + 0.5) * width
            boundary = boundary_attrs(group.decks[0], axis, where, upper - lower)
            if count < n:
                span = f"from {lower + first * width:g} to {lower + (first + count) * width:g}"
                boundary = {
                    "boundary": "open",
                    "comment": f"part of the domain, {span}: beyond are other levels",
                }
            coords[dim] = xr.Variable(dim, centres, {**attrs, "spacing": "uniform", **boundary})
        elif layout.sliced[axis]:
            level = grid.level if grid.alone else layout.finest
            n = mesh.cells[axis] * mesh.scale(level)[axis]
            centre = lower + (layout.plane(axis, level) + 0.5) * ((upper - lower) / n)
            which = "cells of this level" if grid.alone else "finest cells"
            attrs["comment"] = f"centre of the {which} that the slice was taken from"
            coords[dim] = xr.Variable((), centre, attrs)
    return coords


def _fields(run: Run, grid: Grid, where: Geometry) -> dict[str, xr.Variable]:
    """Variables of all groups; of those that several have, the first."""
    fields: dict[str, xr.Variable] = {}
    for group, places in zip(run.groups, run.positions, strict=True):
        for number, stored in enumerate(group.variables):
            name, attrs = field_attrs(stored, where, group.name)
            if name not in fields:
                array = BlockArray(group, number, grid, places)
                fields[name] = lazy(array, ("time", *_dims(group, where)), attrs)
    return fields


def _repeated(run: Run, where: Geometry) -> dict[str, str]:
    """A note of the variables that a later group has again, and of groups left out."""
    seen: set[str] = set()
    again = []
    for group in run.groups:
        for stored in group.variables:
            name = field_attrs(stored, where, group.name)[0]
            if name in seen:
                again.append(f"{stored} of {group.name}")
            seen.add(name)
    notes = {
        "athenak_repeated_variables": ", ".join(again),
        "athenak_other_groups": ", ".join(run.others),
    }
    return {name: note for name, note in notes.items() if note}


def _of_blocks(
    run: Run, what: Any, grid: Grid, where: Geometry, attrs: Mapping[str, str]
) -> xr.Variable:
    """Level or cover of the cells; on ``time`` only where blocks come and go."""
    group, dims = run.groups[0], _dims(run.groups[0], where)
    if group.mesh.refinement == "adaptive":
        return lazy(BlockArray(group, what, grid, run.positions[0]), ("time", *dims), attrs)
    return lazy(BlockArray(group, what, grid, None), dims, attrs)


def _boxes(run: Run) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Box of every level in the chosen outputs; all groups must have the same."""
    every = [g.boxes(places) for g, places in zip(run.groups, run.positions, strict=True)]
    for group, boxes in zip(run.groups[1:], every[1:], strict=True):
        if _plain(boxes) != _plain(every[0]):
            raise FormatError(
                f"expected the meshblocks of {run.groups[0].name} in {group.name}, found others: "
                "files of several runs are mixed"
            )
    return every[0]


def _plain(boxes: Mapping[int, Sequence[np.ndarray]]) -> dict[int, list[Any]]:
    return {level: [corner.tolist() for corner in box] for level, box in boxes.items()}


def _finish(
    ds: xr.Dataset,
    run: Run,
    options: Mapping[str, Any],
    storage_options: Mapping[str, Any] | None,
) -> xr.Dataset:
    ds.encoding["source"] = run.source
    used = {"engine": "athenak", "groups": [group.name for group in run.groups], **options}
    return record(ds, "open", used, source=source_identity(run.files, storage_options))
