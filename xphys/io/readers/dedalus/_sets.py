"""The sets that a handler wrote: their files, times, tasks and grids."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xphys._storage import find, is_url
from xphys.errors import FormatError, SchemaError, UnknownNameError
from xphys.io.readers._engine import paths_of
from xphys.io.readers._hdf5 import HDF5File

__all__ = ["CONSTANT", "TIMES", "Handler", "Set", "Task", "as_text", "find_handler"]

#: Label of an axis along which a task does not vary.
CONSTANT = "constant"
#: What a handler writes for each output, in this order.
TIMES = ("sim_time", "wall_time", "timestep", "iteration", "write_number")

_SET = re.compile(r".+_s\d+\.h5$")
_PROCESS = re.compile(r".+_s\d+_p\d+\.h5$")
_MOST_TASKS = 10_000


@dataclass(frozen=True)
class Task:
    """A dataset of one set, as its attributes describe it.

    Attributes
    ----------
    shape : tuple of int
        Writes, components, points.
    labels : tuple of str
        Name of each spatial axis; "constant" where the task does not vary.
    scales : tuple of str
        Dataset with the positions of each spatial axis; "" where there are none.
    grid_space : tuple of bool
        Whether the values along each spatial axis are on the grid, not coefficients.
    """

    shape: tuple[int, ...]
    labels: tuple[str, ...]
    scales: tuple[str, ...]
    grid_space: tuple[bool, ...]

    @property
    def components(self) -> tuple[int, ...]:
        """Lengths of the axes of a vector's or tensor's components."""
        return self.shape[1 : len(self.shape) - len(self.labels)]

    @property
    def coefficients(self) -> tuple[str, ...]:
        """Axes along which coefficients are stored."""
        pairs = zip(self.labels, self.grid_space, strict=True)
        return tuple(label for label, grid in pairs if not grid and label != CONSTANT)


@dataclass(frozen=True)
class Set:
    """One set of writes.

    Attributes
    ----------
    file : HDF5File
        Its file.
    handler : str
        Who wrote it.
    number : int
        Its place among the sets.
    times : dict of str to ndarray
        What is known of each write.
    tasks : dict of str to Task
        By name.
    """

    file: HDF5File
    handler: str
    number: int
    times: Mapping[str, np.ndarray]
    tasks: Mapping[str, Task]

    @property
    def writes(self) -> int:
        """Number of writes that the set declares."""
        return len(self.times["sim_time"])


@dataclass(frozen=True)
class Handler:
    """All sets of one handler, in the order of their numbers; sets without a write are left out."""

    name: str
    sets: tuple[Set, ...]


def find_handler(
    source: Any, name: str | None, storage_options: Mapping[str, Any] | None
) -> Handler:
    """Find the sets behind a file, folder, glob or list.

    Parameters
    ----------
    source : str, path or iterable of those
        A folder is searched for ``name_sN.h5``, then the folders in it.
    name : str or None
        Handler to take where there are several.
    storage_options : mapping or None
        For the file system of URLs.

    Returns
    -------
    Handler
        With at least one set that has a write.

    Raises
    ------
    FormatError
        If there is no set, two have one number, or one is not as Dedalus 3 writes it.
    SchemaError
        If there are several handlers and ``name`` is None.
    UnknownNameError
        If there is no handler of that name.
    """
    files = [HDF5File(path, storage_options) for path in _paths(source, storage_options)]
    found: dict[str, list[tuple[int, HDF5File]]] = {}
    for file in files:
        handler, number = _identity(file)
        found.setdefault(handler, []).append((number, file))
    # a damaged file may call itself anything
    shown = [key if len(key) <= 40 else f"{key[:37]}..." for key in sorted(found)[:8]]
    if name is not None and name not in found:
        raise UnknownNameError(f"expected a handler among {shown}, got handler={name!r}")
    if name is None and len(found) > 1:
        raise SchemaError(f"{source}: found the handlers {shown}: choose one with handler=...")
    chosen = name if name is not None else next(iter(found))
    members = sorted(found[chosen], key=lambda pair: pair[0])
    for (a, first), (b, second) in zip(members, members[1:], strict=False):
        if a == b:
            raise FormatError(
                f"{second.path}: {first.path} is set {a} of {chosen!r} too: files of several runs "
                "are mixed"
            )
    sets = tuple(_read_set(file, chosen, number) for number, file in members)
    written = tuple(one for one in sets if one.writes)
    if not written:
        raise FormatError(f"{members[0][1].path}: expected writes of {chosen!r}, found none yet")
    return Handler(chosen, written)


def _paths(source: Any, storage_options: Mapping[str, Any] | None) -> list[str]:
    paths: list[str] = []
    for entry in paths_of(source):
        paths += _in_folder(entry, storage_options) if _is_folder(entry) else [entry]
    return list(dict.fromkeys(paths))


def _is_folder(path: str) -> bool:
    if is_url(path):
        return "*" in path or not path.endswith((".h5", ".hdf5"))
    return os.path.isdir(path)


def _in_folder(folder: str, storage_options: Mapping[str, Any] | None) -> list[str]:
    if is_url(folder) and "*" in folder:
        return _listed(folder, storage_options)
    every: list[str] = []
    for pattern in ("*.h5", "*/*.h5"):
        joined = f"{folder.rstrip('/')}/{pattern}" if is_url(folder) else ""
        found = _listed(joined or os.path.join(glob.escape(folder), pattern), storage_options)
        sets = [path for path in found if _SET.match(path) and not _PROCESS.match(path)]
        if sets:
            return sets
        every += found
    lone = [path for path in every if _PROCESS.match(path)]
    more = f", only files of single processes such as {lone[0]}" if lone else ""
    raise FormatError(
        f"{folder}: expected sets of a Dedalus handler (name_s1.h5, name_s2.h5, ...) here or one "
        f"folder below, found none{more}: give the path of the files"
    )


def _listed(pattern: str, storage_options: Mapping[str, Any] | None) -> list[str]:
    return find(pattern, storage_options) if is_url(pattern) else sorted(glob.glob(pattern))


def _identity(file: HDF5File) -> tuple[str, int]:
    attrs = file.attributes()
    name, number = attrs.get("handler_name"), attrs.get("set_number")
    if not isinstance(name, str) or not isinstance(number, int):
        raise FormatError(
            f"{file.path}: expected the attributes handler_name and set_number of a Dedalus "
            f"handler, found {name!r} and {number!r}"
        )
    return name, number


def _read_set(file: HDF5File, handler: str, number: int) -> Set:
    scales, names = file.members("scales"), file.members("tasks")
    if "sim_time" not in scales or any(kind == "group" for kind in scales.values()):
        raise FormatError(
            f"{file.path}: expected the scales of a Dedalus 3 handler, found {sorted(scales)[:6]}: "
            "files of Dedalus 2 are not read"
        )
    times = {name: file.values(f"scales/{name}") for name in TIMES if name in scales}
    lengths = {name: values.shape for name, values in times.items()}
    if len(set(lengths.values())) > 1 or len(lengths["sim_time"]) != 1:
        raise FormatError(f"{file.path}: expected scales of one length, found {lengths}")
    if len(names) > _MOST_TASKS:
        raise FormatError(
            f"{file.path}: expected at most {_MOST_TASKS:,} tasks, found {len(names):,}"
        )
    tasks = {name: _read_task(file, name) for name, kind in names.items() if kind == "dataset"}
    return Set(file, handler, number, times, tasks)


def _read_task(file: HDF5File, name: str) -> Task:
    where = f"{file.path}: task {name!r}"
    with file.opened() as root:
        dataset = file.dataset(root, f"tasks/{name}", virtual=True)
        shape = tuple(int(n) for n in dataset.shape)
        attrs = file.attributes(f"tasks/{name}")
        grid = np.atleast_1d(attrs.get("grid_space", np.zeros(0))).astype(bool)
        labels = attrs.get("DIMENSION_LABELS")
        if not isinstance(labels, list) or len(labels) != len(shape) or len(shape) <= grid.size:
            raise FormatError(
                f"{where}: expected the attributes grid_space and DIMENSION_LABELS for "
                f"{len(shape)} axes, found {grid.size} and {labels!r}"
            )
        first = len(shape) - grid.size
        if labels[0] != "t":
            raise FormatError(f"{where}: expected the first axis to be 't', found {labels[0]!r}")
        scales = [
            "" if labels[axis] == CONSTANT or not on_grid else _scale(root, dataset, axis, where)
            for axis, on_grid in enumerate(grid.tolist(), start=first)
        ]
    wrong = [
        n for n, s in zip(shape[first:], labels[first:], strict=True) if s == CONSTANT and n != 1
    ]
    if wrong or not all(labels[first:]):
        raise FormatError(f"{where}: labels {labels} do not fit the shape {shape}")
    return Task(shape, tuple(labels[first:]), tuple(scales), tuple(grid.tolist()))


def _scale(root: Any, dataset: Any, axis: int, where: str) -> str:
    """Path of the dataset with the positions of an axis, from the dimension scales."""
    import h5py

    listed: Any = dataset.attrs.get("DIMENSION_LIST", ())
    references: Any = listed[axis] if axis < len(listed) else ()
    if not len(references):
        raise FormatError(f"{where}: expected a dimension scale on axis {axis}, found none")
    scale = root[references[0]]
    path = scale.name or ""
    if not isinstance(scale, h5py.Dataset) or not re.fullmatch(r"/scales/[^/]+", path):
        raise FormatError(f"{where}: expected the scale of axis {axis} in /scales, found {path!r}")
    if scale.shape != (dataset.shape[axis],):
        raise FormatError(
            f"{where}: expected {dataset.shape[axis]} positions in {path}, found {scale.shape}"
        )
    return path


def as_text(names: Sequence[str]) -> str:
    """A few names for an error message."""
    shown = ", ".join(map(repr, names[:6]))
    return shown if len(names) <= 6 else f"{shown}, ... ({len(names)})"
