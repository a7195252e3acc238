"""Dedalus handler output as an xarray engine."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xphys.errors import FormatError, SchemaError
from xphys.io.readers._boundary import check_boundary
from xphys.io.readers._engine import Engine, opener, without
from xphys.io.readers._hdf5 import HDF5Array, HDF5File
from xphys.io.readers._probe import Probe
from xphys.io.readers._source import source_identity
from xphys.io.readers._stack import Joined, lazy
from xphys.io.readers._virtual import Sources, VirtualArray, find_sources
from xphys.io.readers.dedalus._grid import axis_names, coordinates, one_grid
from xphys.io.readers.dedalus._sets import (
    CONSTANT,
    TIMES,
    Handler,
    Set,
    Task,
    as_text,
    find_handler,
)
from xphys.schema import SPATIAL_DIMS, record

__all__ = ["DedalusBackend", "is_dedalus", "open_paths"]

_MARKS = frozenset({"tasks/", "scales/", "scales/sim_time", "@handler_name", "@set_number"})
_TIME_ATTRS = {
    "sim_time": {"units": "1", "long_name": "time"},
    "wall_time": {"units": "s", "long_name": "time on the clock since the start of the solver"},
    "timestep": {"units": "1", "long_name": "time step"},
    "iteration": {"units": "1", "long_name": "number of time steps"},
    "write_number": {"units": "1", "long_name": "number of the write"},
}
_Kept = Sequence[tuple[Set, int]]


class DedalusBackend(Engine):
    """``xr.open_dataset(path, engine="dedalus")`` for HDF5 sets of Dedalus 3 handlers."""

    description = "Dedalus 3 handler output (HDF5 sets, also virtual ones of parallel runs)"
    open_dataset_parameters = (
        "filename_or_obj",
        "drop_variables",
        "handler",
        "boundary",
        "axes",
        "time",
        "missing",
        "storage_options",
    )

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        handler: str | None = None,
        boundary: Mapping[str, str] | None = None,
        axes: Sequence[str] | None = None,
        time: str = "sim_time",
        missing: str = "error",
        storage_options: Mapping[str, Any] | None = None,
    ) -> xr.Dataset:
        """Open all sets of one handler as one lazy Dataset.

        Parameters
        ----------
        filename_or_obj : str, path or iterable of those
            A file, the folder of a handler (``name_sN.h5``), the folder above, a glob or a list.
        drop_variables : str or iterable of str, optional
            Tasks or variables to leave out.
        handler : str, optional
            Which handler, where there are several.
        boundary : mapping of str to str, optional
            Dim -> "periodic", "wall", "open". Dedalus stores none; without it uniform axes, which
            only Fourier bases have, are periodic, and others have no ``boundary``.
        axes : sequence of str, optional
            Names of the stored spatial axes, instead of those in the file.
        time : str, default "sim_time"
            Scale that becomes the coordinate ``time``: "iteration" or "write_number" where the
            simulation time does not increase.
        missing : {"error", "drop"}
            What to do with a last write that some tasks do not have.
        storage_options : mapping, optional
            For the file system of URLs.

        Returns
        -------
        Dataset
            Dims ``(time, z, y, x)``, those that exist; components of vectors and tensors are
            variables of their own. Where sets overlap in time, as after a restart, the later set
            counts; what it replaces is told in ``attrs["dedalus_superseded_writes"]``.

        Raises
        ------
        FormatError
            If a file is damaged, sets do not belong together, tasks are on different grids or
            hold coefficients, times do not increase, or files of processes are missing.
        SchemaError
            If there are several handlers, or an option does not fit.
        UnknownNameError
            If there is no handler of that name.
        """
        if missing not in ("error", "drop"):
            raise SchemaError(f"missing must be 'error' or 'drop', got {missing!r}")
        if time not in TIMES:
            raise SchemaError(f"time must be one of {list(TIMES)}, got {time!r}")
        dropped = (
            [drop_variables] if isinstance(drop_variables, str) else list(drop_variables or [])
        )
        found = find_handler(filename_or_obj, handler, storage_options)
        tasks = _chosen(found, dropped)
        names, note = axis_names(found.sets[0].tasks, axes) if tasks else ((), "")
        coords, notes = coordinates(one_grid(found, tasks, names), boundary)
        check_boundary(boundary, coords)
        opened: dict[str, HDF5File] = {}
        sources = _sources(found, tasks, opened)
        kept, superseded = _kept(found, tasks, sources, time, missing)
        ds = xr.Dataset(
            _fields(kept, tasks, sources, names, {*coords, *_TIME_ATTRS, "time"}),
            {**_times(kept, time), **coords},
            {
                "title": f"Dedalus handler {found.name}",
                "source": "Dedalus 3 handler",
                "axes": "; ".join([*notes, *([note] if note else [])]),
                **({"dedalus_superseded_writes": superseded} if superseded else {}),
            },
        )
        files = [one.file.path for one in found.sets] + sorted(opened)
        used = {
            "engine": "dedalus",
            "handler": found.name,
            "boundary": dict(boundary) if boundary else None,
            "axes": list(axes) if axes else None,
            "time": time if time != "sim_time" else None,
            "missing": missing if missing != "error" else None,
        }
        return without(
            record(ds, "open", used, source=source_identity(files, storage_options)), dropped
        )


def is_dedalus(probe: Probe) -> bool:
    """True for a set of Dedalus, and for a folder whose first HDF5 file is one."""
    found = probe if probe.start else probe.member(".h5")
    if found is None or os.path.relpath(found.path, probe.path).count(os.sep) > 1:
        return False
    return found.layout >= _MARKS


open_paths = opener(DedalusBackend)


def _chosen(handler: Handler, dropped: Sequence[str]) -> dict[str, Task]:
    """Tasks of the first set that are opened; all sets must have them, as values on the grid."""
    first = handler.sets[0]
    chosen = {name: task for name, task in first.tasks.items() if name not in dropped}
    for later in handler.sets[1:]:
        others = sorted({*chosen} ^ {name for name in later.tasks if name not in dropped})
        if others:
            raise FormatError(
                f"{later.file.path}: expected the tasks of {first.file.path}, they differ in "
                f"{as_text(others)}: leave those out with drop_variables=, or open fewer sets"
            )
        for name, task in chosen.items():
            if later.tasks[name].shape[1:] != task.shape[1:]:
                raise FormatError(
                    f"{later.file.path}: expected task {name!r} of shape {task.shape[1:]} as in "
                    f"{first.file.path}, found {later.tasks[name].shape[1:]}: open fewer sets"
                )
    refused = {n: t.coefficients for s in handler.sets for n, t in s.tasks.items() if n in chosen}
    refused = {name: axes for name, axes in refused.items() if axes}
    if refused:
        shown = "; ".join(f"{name!r} along {', '.join(axes)}" for name, axes in refused.items())
        raise FormatError(
            f"{first.file.path}: expected values on the grid, found coefficients of {shown}: write "
            f"these tasks with layout='g', or leave them out with drop_variables={[*refused]!r}"
        )
    return chosen


def _sources(
    handler: Handler, tasks: Iterable[str], opened: dict[str, HDF5File]
) -> dict[tuple[int, str], Sources]:
    """Where the values of virtual datasets are: (set, task) -> sources."""
    found = {}
    for one, name in itertools.product(handler.sets, tasks):
        sources = find_sources(one.file, f"tasks/{name}", opened)
        if sources is not None:
            found[one.number, name] = sources
    return found


def _kept(
    handler: Handler,
    tasks: Mapping[str, Task],
    sources: Mapping[tuple[int, str], Sources],
    time: str,
    missing: str,
) -> tuple[list[tuple[Set, int]], str]:
    """Sets with the number of writes that count, and a note of those that a later set replaces."""
    kept: list[tuple[Set, int]] = []
    notes: list[str] = []
    limit = np.inf
    for one in reversed(handler.sets):
        times = one.times.get(time)
        if times is None or times.dtype.kind not in "fiu" or not np.isfinite(times).all():
            raise FormatError(f"{one.file.path}: expected finite numbers in scales/{time}")
        if not (np.diff(times) > 0).all():
            raise FormatError(
                f"{one.file.path}: expected scales/{time} to increase, it does not: open with "
                "time='iteration' or time='write_number'"
            )
        n = _complete(one, tasks, sources, missing)
        earlier = int(np.searchsorted(times[:n], limit))
        if earlier < n:
            notes.append(
                f"set {one.number}: {n - earlier} of {n} writes, from time {times[earlier]:g}"
            )
        if earlier:
            kept.append((one, earlier))
            limit = times[0]
    if not kept:
        raise FormatError(f"{handler.sets[0].file.path}: expected complete writes, found none")
    return kept[::-1], "; ".join(notes[::-1])


def _complete(
    one: Set, tasks: Iterable[str], sources: Mapping[tuple[int, str], Sources], missing: str
) -> int:
    """Writes that all tasks have."""
    lengths = {}
    for name in tasks:
        virtual = sources.get((one.number, name))
        lengths[name] = (virtual.shape if virtual else one.tasks[name].shape)[0]
    short = {name: n for name, n in lengths.items() if n < one.writes}
    if short and missing == "error":
        raise FormatError(
            f"{one.file.path}: expected {one.writes} writes, found {short}: the run was stopped "
            "while it wrote; give missing='drop' to keep the complete writes"
        )
    return min([one.writes, *short.values()])


def _times(kept: _Kept, time: str) -> dict[str, xr.Variable]:
    coords = {}
    for name in TIMES:
        if all(name in one.times for one, _ in kept):
            values = np.concatenate([one.times[name][:n] for one, n in kept])
            coords[name] = xr.Variable("time", values, {**_TIME_ATTRS[name], "source_name": name})
    moved = coords.pop(time) if time == "sim_time" else coords[time]
    return {"time": moved, **coords}


def _fields(
    kept: _Kept,
    tasks: Mapping[str, Task],
    sources: Mapping[tuple[int, str], Sources],
    names: Sequence[str],
    taken: set[str],
) -> dict[str, xr.Variable]:
    fields: dict[str, xr.Variable] = {}
    for task, held in tasks.items():
        dims, order = _dims(held, names)
        for index in np.ndindex(*held.components):
            variable, attrs = _describe(task, [*index], held, names)
            if variable in taken or variable in fields:
                raise FormatError(
                    f"task {task!r} gives {variable!r}, which another task or coordinate has: "
                    f"leave it out with drop_variables=[{task!r}]"
                )
            at = dict(enumerate(index, start=1))
            at |= {
                axis: 0
                for axis in range(1, len(held.shape))
                if axis not in at | dict.fromkeys(order)
            }
            parts = [_array(one, task, sources, n, at, order) for one, n in kept]
            array = parts[0] if len(parts) == 1 else Joined(parts)
            if len({part.dtype for part in parts}) > 1 or len({p.shape[1:] for p in parts}) > 1:
                raise FormatError(f"task {task!r}: expected one dtype and shape in all sets")
            fields[variable] = lazy(array, dims, attrs, parts[0].chunks)
    return fields


def _dims(task: Task, names: Sequence[str]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Dimensions in the order of the data model, and the stored axes that they are."""
    first = len(task.shape) - len(names)
    axes = {name: first + axis for axis, name in enumerate(names) if task.labels[axis] != CONSTANT}
    ordered = [name for name in axes if name not in SPATIAL_DIMS]
    ordered += [dim for dim in SPATIAL_DIMS if dim in axes]
    return ("time", *ordered), (0, *(axes[dim] for dim in ordered))


def _describe(
    task: str, index: Sequence[int], held: Task, names: Sequence[str]
) -> tuple[str, dict[str, Any]]:
    """Name and attributes of one component, or of a scalar."""
    spoken = task.replace("_", " ")
    attrs: dict[str, Any] = {"units": "1", "source_name": task}
    if not index:
        return task, {**attrs, "long_name": spoken}
    sizes = zip(index, held.components, strict=True)
    parts = [names[i] if size == len(names) else str(i) for i, size in sizes]
    component = "".join(parts)
    attrs |= {"long_name": f"{component} component of {spoken}", "vector": task}
    return f"{task}_{component}", {**attrs, "component": component}


def _array(
    one: Set,
    task: str,
    sources: Mapping[tuple[int, str], Sources],
    writes: int,
    at: Mapping[int, int],
    order: Sequence[int],
) -> HDF5Array:
    name = f"tasks/{task}"
    virtual = sources.get((one.number, task))
    if virtual is None:
        array = HDF5Array(one.file, name, at=at, order=order)
    else:
        array = VirtualArray(one.file, name, virtual, at=at, order=order)
    array.shape = (writes, *array.shape[1:])  # the writes that count are the first ones
    return array
