"""Legacy VTK files of structured points as an xarray engine."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from xphys._storage import open_binary
from xphys.errors import FormatError, SchemaError
from xphys.io.readers._boundary import boundary_attrs, check_boundary
from xphys.io.readers._engine import Engine, opener, paths_of, without
from xphys.io.readers._fluid_names import check_axes_names, fluid_attrs
from xphys.io.readers._folder import files_of
from xphys.io.readers._probe import Probe
from xphys.io.readers._source import source_identity
from xphys.io.readers._stack import Stacked, lazy
from xphys.io.readers.vtk._format import FIRST, Array, File, cells, read_file
from xphys.schema import record

__all__ = ["VTKBackend", "is_vtk", "open_paths"]


class VTKBackend(Engine):
    """``xr.open_dataset(path, engine="vtk")`` for legacy VTK files of structured points."""

    description = "Legacy VTK files (.vtk) of structured points"
    open_dataset_parameters = (
        "filename_or_obj",
        "drop_variables",
        "axes",
        "boundary",
        "location",
        "times",
        "storage_options",
    )

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        axes: Sequence[str] | None = None,
        boundary: Mapping[str, str] | None = None,
        location: str | None = None,
        times: Sequence[float] | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> xr.Dataset:
        """Open a file, or the files of a run, as one lazy Dataset.

        Parameters
        ----------
        filename_or_obj : str, path or iterable of those
            A file, a folder with ``*.vtk``, a glob or a list. Files of one time give the
            variables of that time together.
        drop_variables : str or iterable of str, optional
            Variables to leave out.
        axes : str or sequence of str, optional
            What the first, second and third direction are; by default "xyz". "xzy" is for planes
            of AthenaK's shearing box, where the second is vertical: the files do not tell.
        boundary : mapping of str to str, optional
            Dim -> "periodic", "wall", "open"; VTK files store none.
        location : {"cell", "point"}, optional
            Which data to take from files that have both.
        times : sequence of float, optional
            Time of each output, in the order of the files' names, instead of the stored ones.
        storage_options : mapping, optional
            For the file system of URLs.

        Returns
        -------
        Dataset
            Dims ``(time, z, y, x)``, those that exist; ``time`` where the files have one (in
            the second line, as AthenaK writes it, or as field data TIME) or ``times`` is given.

        Raises
        ------
        FormatError
            If a file is damaged or holds something else, or the files do not belong together.
        SchemaError
            If an option does not fit.
        """
        if location not in (None, "cell", "point"):
            raise SchemaError(f"location must be 'cell' or 'point', got {location!r}")
        paths = files_of(paths_of(filename_or_obj), (".vtk",))
        outputs = _outputs([read_file(path, storage_options) for path in paths], times)
        first = outputs[0][1]
        where = _location(first, location)
        sizes, names = _sizes(first[0], where), _names(first[0], where, axes)
        check_boundary(boundary, [dim for dim, n in zip(names, sizes, strict=True) if n > 1])
        coords = _coordinates(first[0], where, names, boundary)
        stored = [moment for moment, _ in outputs]
        if stored[0] is not None:
            coords["time"] = xr.Variable("time", stored, {"units": "1", "long_name": "time"})
        cycles = [files[0].cycle for _, files in outputs]
        if stored[0] is not None and None not in cycles:
            attrs = {"units": "1", "long_name": "number of time steps"}
            coords["cycle"] = xr.Variable("time", np.array(cycles, np.int64), attrs)
        ds = xr.Dataset(
            _fields([files for _, files in outputs], where, names, sizes, storage_options),
            coords,
            {
                "source": "legacy VTK",
                "axes": f"first, second and third direction are {', '.join(names)}: "
                + ("as is usual" if axes is None else "given as axes="),
            },
        )
        used = {
            "engine": "vtk",
            "axes": list(axes) if axes else None,
            "boundary": dict(boundary) if boundary else None,
            "location": location,
            "times": [float(t) for t in times] if times is not None else None,
        }
        return without(
            record(ds, "open", used, source=source_identity(paths, storage_options)), drop_variables
        )


def is_vtk(probe: Probe) -> bool:
    """True for a legacy VTK file, and for a folder whose first ``.vtk`` file is one."""
    found = probe if probe.start else probe.member(".vtk")
    if found is None or os.path.relpath(found.path, probe.path).count(os.sep):
        return False
    return found.start.startswith(FIRST)


open_paths = opener(VTKBackend)


def _outputs(
    files: Sequence[File], times: Sequence[float] | None
) -> list[tuple[float | None, list[File]]]:
    """Files of each output, in the order of time; the grid and the variables are the same."""
    for file in files[1:]:
        for what in ("points", "origin", "spacing"):
            a, b = getattr(files[0], what), getattr(file, what)
            if a != b:
                raise FormatError(
                    f"{file.path}: expected {what} {a} as in {files[0].path}, found {b}"
                )
    groups: dict[Any, list[File]] = {}
    for number, file in enumerate(files):
        lone = number if file.time is None else None
        groups.setdefault((file.time, file.cycle, lone), []).append(file)
    found = list(groups.values())
    if times is not None:
        if len(times) != len(found):
            raise SchemaError(f"expected {len(found)} times, one for each output, got {len(times)}")
        moments: list[float | None] = [float(t) for t in times]
    else:
        moments = [held[0].time for held in found]
    if None in moments and len(found) > 1:
        raise FormatError(
            f"{files[0].path}: expected a time in each of {len(found)} outputs: give times=[...]"
        )
    ordered = sorted(zip(moments, found, strict=True), key=lambda pair: pair[0] or 0.0)
    for (a, before), (b, after) in zip(ordered, ordered[1:], strict=False):
        if a == b:
            raise FormatError(
                f"{after[0].path}: expected another time than {a:g} of {before[0].path}: give "
                "times=[...]"
            )
    return ordered


def _location(files: Sequence[File], asked: str | None) -> str:
    found = sorted({where for file in files for where, held in file.arrays.items() if held})
    if asked is not None and asked in found:
        return asked
    if len(found) != 1 or asked is not None:
        raise FormatError(
            f"{files[0].path}: expected data of cells or of points, found {found or 'none'}: give "
            "location='cell' or location='point'"
        )
    return found[0]


def _sizes(file: File, where: str) -> tuple[int, ...]:
    return tuple(cells(n, where) for n in file.points)


def _names(file: File, where: str, axes: Any) -> tuple[str, str, str]:
    return check_axes_names(axes, [n > 1 for n in _sizes(file, where)])


def _coordinates(
    file: File, where: str, names: Sequence[str], boundary: Mapping[str, str] | None
) -> dict[str, xr.Variable]:
    coords = {}
    for axis, (dim, n) in enumerate(zip(names, _sizes(file, where), strict=True)):
        if n == 1:
            continue
        step = file.spacing[axis]
        shift = 0.5 if where == "cell" else 0.0
        attrs = {"units": "1", "long_name": dim, "spacing": "uniform"}
        attrs["source_name"] = f"x{axis + 1}"
        attrs |= boundary_attrs(boundary, dim, n * step)
        coords[dim] = xr.Variable(dim, file.origin[axis] + (np.arange(n) + shift) * step, attrs)
    return coords


def _fields(
    outputs: Sequence[Sequence[File]],
    where: str,
    names: Sequence[str],
    sizes: Sequence[int],
    storage_options: Mapping[str, Any] | None,
) -> dict[str, xr.Variable]:
    held = [_arrays(files, where) for files in outputs]
    series = len(outputs) > 1 or outputs[0][0].time is not None
    shape = tuple(n for n in reversed(sizes) if n > 1)
    dims = tuple(dim for dim, n in zip(reversed(names), reversed(sizes), strict=True) if n > 1)
    fields: dict[str, xr.Variable] = {}
    for stored, (_, array) in held[0].items():
        for place in range(array.components):
            name, attrs = _describe(array, place, names)
            if name in fields or name in dims or name in ("time", "cycle"):
                raise FormatError(f"{outputs[0][0].path}: expected the name {name!r} once")
            parts = []
            for files, others in zip(outputs, held, strict=True):
                path, other = others.get(stored, (files[0].path, None))
                same = other is not None and other.dtype == array.dtype
                if other is None or not same or others.keys() != held[0].keys():
                    raise FormatError(
                        f"{path}: expected the variables {sorted(held[0])[:8]} as in "
                        f"{outputs[0][0].path}, found {sorted(others)[:8]}: give fewer files"
                    )
                parts.append(VTKArray(path, other, place, shape, storage_options))
            data = Stacked(parts) if series else parts[0]
            fields[name] = lazy(data, ("time", *dims) if series else dims, attrs)
    return fields


def _arrays(files: Sequence[File], where: str) -> dict[str, tuple[str, Array]]:
    found: dict[str, tuple[str, Array]] = {}
    for file in files:
        for array in file.arrays.get(where, ()):
            if array.name in found:
                raise FormatError(
                    f"{file.path}: {array.name!r} of this time is in {found[array.name][0]} too: "
                    "blocks and runs are not joined, give fewer files"
                )
            found[array.name] = (file.path, array)
    return found


def _describe(array: Array, place: int, names: Sequence[str]) -> tuple[str, dict[str, Any]]:
    if array.components == 1:
        return fluid_attrs(array.name, names)
    suffix = str(place)
    if array.components == 3:
        suffix = names[place]
    elif array.components == 9:
        suffix = names[place // 3] + names[place % 3]
    return f"{array.name}_{suffix}", {
        "units": "1",
        "long_name": f"{suffix} component of {array.name.replace('_', ' ')}",
        "source_name": array.name,
        "vector": array.name,
        "component": suffix,
    }


class VTKArray(BackendArray):
    """One component of an array of one file, without the axes of a single cell.

    Parameters
    ----------
    path : str
        The file.
    array : Array
        Where the values are.
    place : int
        Which component.
    shape : tuple of int
        Last axis first.
    storage_options : mapping or None
        For the file system of a URL.
    """

    def __init__(
        self,
        path: str,
        array: Array,
        place: int,
        shape: tuple[int, ...],
        storage_options: Mapping[str, Any] | None,
    ):
        self.path, self.array, self.place = path, array, place
        self.shape, self.chunks = shape, shape
        self.dtype = array.dtype.newbyteorder("=")
        self.storage_options = dict(storage_options or {})

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        if not self.shape:
            return np.asarray(self._rows(0, 1)[self.place], self.dtype)
        rows = np.atleast_1d(np.arange(self.shape[0])[key[0]])
        if not rows.size:
            sizes = [np.shape(np.arange(n)[k]) for n, k in zip(self.shape, key, strict=True)]
            return np.empty([n for size in sizes for n in size], self.dtype)
        low, high = int(rows.min()), int(rows.max()) + 1
        inner = math.prod(self.shape[1:])
        block = self._rows(low * inner, high * inner).reshape(high - low, *self.shape[1:], -1)
        wanted = [np.arange(n)[k] for n, k in zip(self.shape, key, strict=True)]
        wanted[0] = wanted[0] - low
        out = block[..., self.place][np.ix_(*(np.atleast_1d(w) for w in wanted))]
        return np.asarray(out, self.dtype).reshape([n for w in wanted for n in w.shape])

    def _rows(self, first: int, last: int) -> np.ndarray:
        """Values of all components of the points from ``first`` up to ``last``."""
        array = self.array
        if array.values is not None:
            held: np.ndarray = array.values[first * array.components : last * array.components]
            return held
        width = array.components * array.dtype.itemsize
        with open_binary(self.path, self.storage_options) as file:
            file.seek(array.offset + first * width)
            raw = file.read((last - first) * width)
        if len(raw) != (last - first) * width:
            raise FormatError(f"{self.path}: the file has become shorter since it was opened")
        return np.frombuffer(raw, array.dtype)
