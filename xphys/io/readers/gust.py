"""Gust's common HDF5 layout: ``/fields/*``, ``/coordinates/x``, ``/coordinates/y``, ``/metadata``.

Its arrays are indexed [x, y]; the vertical axis of a Rayleigh-Benard run is stored as ``y``. No
time is kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from xphys.errors import FormatError, SchemaError
from xphys.io.readers._axes import (
    check_axes,
    covered,
    given_times,
    plane_axes,
    positions,
    time_axis,
)
from xphys.io.readers._engine import Engine, opener, paths_of, without
from xphys.io.readers._folder import files_of
from xphys.io.readers._hdf5 import HDF5Array, HDF5File, close_files
from xphys.io.readers._probe import Probe
from xphys.io.readers._source import source_identity
from xphys.io.readers._stack import Joined, Stacked, lazy
from xphys.schema import PROVENANCE, record

__all__ = ["GustBackend", "is_gust", "open_paths"]

_SUFFIXES = (".h5", ".hdf5")
_SIZES = ("n_samples", "H", "W", "NX")  # they repeat the shapes
_OWN_FIELDS = ("omega", "buoyancy", "vorticity")
_NAMES = {"omega": "vorticity"}
_PARAMETERS = {"Re": "Reynolds number"}
_WRITERS = ("py2d", "rayleigh_benard", "xphys")  # of arrays indexed [x, y]
_SENSES = {"py2d": "dv/dx - du/dy", "rayleigh_benard": "dw/dx - du/dz"}


class GustBackend(Engine):
    """``xr.open_dataset(path, engine="gust")`` for the HDF5 files of Gust."""

    description = "Gust HDF5 files (/fields, /coordinates, /metadata)"
    open_dataset_parameters = (
        "filename_or_obj",
        "drop_variables",
        "axes",
        "times",
        "dt",
        "join",
        "storage_options",
    )

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        axes: str | None = None,
        times: Any = None,
        dt: float | None = None,
        join: str = "time",
        storage_options: Mapping[str, Any] | None = None,
    ) -> xr.Dataset:
        """Open one file, or several joined.

        Parameters
        ----------
        filename_or_obj : str, path or list of those
            Files, a pattern, or a folder (its ``.h5`` files). Names in the order of the text, as
            a pattern gives them, are put in the order of their numbers; other lists stay.
        drop_variables : str or iterable of str, optional
            Variables to leave out.
        axes : {"xy", "yx"}, optional
            Which axis of the stored arrays comes first; by default found from the lengths of
            the coordinates, and "xy", as Gust writes, where those are equal.
        times : sequence of float, optional
            Time of every output.
        dt : float, optional
            Distance between outputs: they are at dt, 2 dt, ... for Gust's turbulence, which does
            not store the start, at 0, dt, ... for everything else.
        join : {"time", "trajectory"}
            What several files are: parts of one run, or runs of equal length.
        storage_options : mapping, optional
            For the file system of URLs.

        Returns
        -------
        Dataset
            Dims ``(trajectory, time, y, x)``, or ``(trajectory, time, z, x)`` for a
            Rayleigh-Benard run. Without times, ``time`` holds numbers of outputs and no units.

        Raises
        ------
        FormatError
            If a file has another layout or is damaged, or the files do not fit together.
        SchemaError
            If an option is invalid.
        """
        check_axes(axes)
        if join not in ("time", "trajectory"):
            raise SchemaError(f"join must be 'time' or 'trajectory', got {join!r}")
        if times is not None and dt is not None:
            raise SchemaError("times= and dt= exclude each other: give one of them")
        paths = files_of(paths_of(filename_or_obj), _SUFFIXES)
        runs = [_Run.read(path, axes, storage_options) for path in paths]
        for other in runs[1:]:
            _check_fits(runs[0], other, join)
        stacked = join == "trajectory" and len(runs) > 1
        fields = _fields(runs, stacked)
        ds = xr.Dataset(fields, _coordinates(runs, stacked, times, dt, set(fields)))
        ds = without(ds.assign_attrs(_attrs(runs)), drop_variables)
        used = {"engine": "gust", "axes": axes, "dt": dt, "join": join if stacked else None}
        ds = record(ds, "open", used, source=source_identity(paths, storage_options))
        ds.encoding["source"] = paths[0]
        ds.set_close(partial(close_files, [run.file for run in runs]))
        return ds


open_paths = opener(GustBackend)


def is_gust(probe: Probe) -> bool:
    """True for ``/fields`` with both coordinates, or alone with Gust's turbulence field."""
    held = probe if probe.start else probe.member(*_SUFFIXES)
    layout = held.layout if held is not None else frozenset()
    if "fields/" not in layout:
        return False
    whole = {"coordinates/x", "coordinates/y"} <= layout
    return whole or layout == {"fields/", "fields/omega"}


@dataclass(frozen=True)
class _Run:
    """One file: shapes, positions and attributes."""

    file: HDF5File
    shapes: dict[str, tuple[int, ...]]
    x: np.ndarray
    y: np.ndarray
    times: np.ndarray | None
    vertical: str
    orders: dict[str, tuple[str, str]]
    metadata: dict[str, Any]
    stored: dict[str, dict[str, Any]]
    root: dict[str, Any]
    assumed: bool

    @classmethod
    def read(cls, path: str, axes: str | None, options: Mapping[str, Any] | None) -> _Run:
        file = HDF5File(path, options)
        shapes = _shapes(file)
        groups = file.members()
        metadata = file.attributes("metadata") if groups.get("metadata") == "group" else {}
        names = file.members("coordinates") if groups.get("coordinates") == "group" else {}
        assumed = "coordinates" not in groups
        if assumed:
            x = y = _assumed(file, shapes)
        else:
            x, y = (file.values(f"coordinates/{name}") for name in "xy")
        times = file.values("coordinates/time") if "time" in names else None
        solver = metadata.get("solver")
        stored = {f"fields/{name}": file.attributes(f"fields/{name}") for name in shapes}
        stored |= {f"coordinates/{name}": file.attributes(f"coordinates/{name}") for name in names}
        vertical = stored.get("coordinates/y", {}).get("name", "z" if solver == _RB else "y")
        if vertical not in ("y", "z"):
            raise FormatError(f"{path}: expected coordinate y to be named y or z, got {vertical!r}")
        orders = {}
        for name, shape in shapes.items():
            orders[name] = plane_axes(
                shape[1:3],
                (x.size, y.size),
                asked=axes,
                usual="xy",
                reason=_why(name, solver),
                where=f"{path}: field {name!r}",
            )
        return cls(
            file,
            shapes,
            x,
            y,
            times,
            vertical,
            orders,
            metadata,
            stored,
            file.attributes(),
            assumed,
        )

    @property
    def steps(self) -> int:
        return next(iter(self.shapes.values()))[0]

    @property
    def layout(self) -> tuple[Any, ...]:
        """Equal for files that can be joined."""
        shapes = {name: shape[1:] for name, shape in self.shapes.items()}
        return shapes, self.orders, self.vertical, self.x.tolist(), self.y.tolist()


_RB = "rayleigh_benard"


def _shapes(file: HDF5File) -> dict[str, tuple[int, ...]]:
    shapes = {}
    for name in file.members("fields"):
        array = HDF5Array(file, f"fields/{name}")
        if array.dtype.kind not in "fiu" or len(array.shape) not in (3, 4):
            raise FormatError(
                f"{file.path}: expected field {name!r} as (n, H, W) or (n, H, W, C) real numbers, "
                f"found {array.dtype} of {array.shape}"
            )
        shapes[name] = array.shape
    if len({shape[:3] for shape in shapes.values()}) != 1:
        raise FormatError(f"{file.path}: expected fields of one (n, H, W), found {shapes}")
    return shapes


def _assumed(file: HDF5File, shapes: Mapping[str, tuple[int, ...]]) -> np.ndarray:
    """Positions of a turbulence run that was stopped before it wrote them."""
    shape = shapes.get("omega", (0, 0, -1))
    if set(shapes) != {"omega"} or shape[1] != shape[2]:
        raise FormatError(
            f"{file.path}: expected /coordinates/x and y, found none: the run was stopped before "
            "it wrote them"
        )
    return np.asarray(np.arange(shape[1]) * (2 * np.pi / shape[1]), np.float32)


def _why(field: str, solver: Any) -> str:
    if solver in _WRITERS:
        return f"solver {solver!r} writes [x, y]"
    if field in _OWN_FIELDS:
        return f"field {field!r} is one of Gust's, which are [x, y]"
    return "convention of Gust, not confirmed by the file"


def _check_fits(first: _Run, other: _Run, join: str) -> None:
    if other.layout != first.layout:
        raise FormatError(
            f"{other.file.path}: expected fields and positions as in {first.file.path}, found "
            "others: open the files one by one"
        )
    if join == "trajectory" and other.steps != first.steps:
        raise FormatError(
            f"{other.file.path}: expected {first.steps} outputs as in {first.file.path}, found "
            f"{other.steps}: open the files one by one"
        )


def _fields(runs: Sequence[_Run], stacked: bool) -> dict[str, xr.Variable]:
    first = runs[0]
    dims = ("time", first.vertical, "x")
    found: dict[str, xr.Variable] = {}
    for field, shape in first.shapes.items():
        order = (0, 2, 1) if first.orders[field][0] == "xy" else (0, 1, 2)
        places: list[int | None] = [None] if len(shape) == 3 else list(range(shape[3]))
        for place in places:
            at = {} if place is None else {3: place}
            parts = [HDF5Array(r.file, f"fields/{field}", at=at, order=order) for r in runs]
            if len({part.dtype for part in parts}) > 1:
                raise FormatError(f"field {field!r} has several dtypes: open the files one by one")
            array: Any = parts[0]
            if len(parts) > 1:
                array = Stacked(parts) if stacked else Joined(parts)
            name, attrs = _described(first, field, place, len(places))
            if name in found:
                raise FormatError(f"{first.file.path}: two fields would be named {name!r}")
            chunks = (1, *parts[0].chunks) if stacked else parts[0].chunks
            found[name] = lazy(array, (*("trajectory",) * stacked, *dims), attrs, chunks)
    _tie(found, ("x", first.vertical))
    return found


def _described(run: _Run, field: str, place: int | None, count: int) -> tuple[str, dict[str, Any]]:
    """Name and attributes of a scalar field, or of one component of a vector field."""
    name = _NAMES.get(field, field)
    attrs: dict[str, Any] = {"units": "1", "long_name": name.replace("_", " ")}
    attrs["source_name"] = field
    solver = run.metadata.get("solver")
    if name == "vorticity" and solver in _SENSES:
        attrs["comment"] = _SENSES[solver]
    if place is None:
        return name, attrs | run.stored[f"fields/{field}"]
    attrs["source_name"] = f"{field}[..., {place}]"
    letters = {2: f"x{run.vertical}", 3: "xyz" if run.vertical == "y" else ""}.get(count, "")
    if not letters:
        return f"{name}_{place}", attrs | {"long_name": f"part {place} of {attrs['long_name']}"}
    letter = letters[place]
    tags = {"vector": name, "component": letter}
    return f"{name}_{letter}", attrs | tags | {"long_name": f"{letter} component of {name}"}


def _tie(found: Mapping[str, xr.Variable], axes: Sequence[str]) -> None:
    """Tag scalar fields such as velocity_x and velocity_z as the components of one vector."""
    for name in found:
        stem, _, letter = name.rpartition("_")
        if stem and letter == axes[0] and f"{stem}_{axes[1]}" in found:
            for one in axes:
                found[f"{stem}_{one}"].attrs.setdefault("vector", stem)
                found[f"{stem}_{one}"].attrs.setdefault("component", one)


def _coordinates(
    runs: Sequence[_Run], stacked: bool, times: Any, dt: float | None, fields: set[str]
) -> dict[str, xr.Variable]:
    first = runs[0]
    found = {"time": _time(runs, stacked, times, dt)}
    found |= {"x": _axis(first, "x", "x"), first.vertical: _axis(first, "y", first.vertical)}
    if fields & set(found):
        raise FormatError(f"{first.file.path}: a field has the name of an axis: {sorted(fields)}")
    taken = {*_SIZES, *found, *fields, "trajectory"}
    for key, value in first.metadata.items():
        if key in taken or isinstance(value, bool) or not isinstance(value, int | float):
            continue
        attrs = {"units": "1", "long_name": _PARAMETERS.get(key, key.replace("_", " "))}
        attrs["source_name"] = key
        values = [run.metadata.get(key) for run in runs]
        if all(other == value for other in values):
            found[key] = xr.Variable((), np.asarray(value), attrs)
        elif stacked and all(isinstance(other, int | float) for other in values):
            found[key] = xr.Variable("trajectory", np.asarray(values), attrs)
        else:
            raise FormatError(f"the files have {key} = {values}: open them one by one")
    return found


def _axis(run: _Run, stored: str, dim: str) -> xr.Variable:
    values = run.x if stored == "x" else run.y
    where = f"{run.file.path}: coordinate {stored}"
    solver, length = run.metadata.get("solver"), covered(values)
    boundary: str | None = None
    period: float | None = None
    if solver == _RB and dim == "z":
        boundary = "wall"
    elif solver == _RB and length is not None:
        boundary, period = "periodic", length
    elif (solver == "py2d" or run.assumed) and abs((length or 0) / (2 * np.pi) - 1) <= 1e-6:
        boundary, period = "periodic", 2 * np.pi
    attrs: dict[str, Any] = {"boundary": boundary, "period": period, "source_name": stored}
    if run.assumed:
        attrs["comment"] = "not stored: the 2 pi box of Gust's turbulence solver is assumed"
    own = run.stored.get(f"coordinates/{stored}", {})
    attrs |= {key: value for key, value in own.items() if key not in ("name", "spacing")}
    return positions(dim, values, where, attrs)


def _time(runs: Sequence[_Run], stacked: bool, times: Any, dt: float | None) -> xr.Variable:
    count = runs[0].steps if stacked else sum(run.steps for run in runs)
    if times is not None:
        return time_axis(given_times(times, count), count, "times", "given as times=")
    if dt is not None:
        if not isinstance(dt, int | float) or not 0 < dt < np.inf:
            raise SchemaError(f"dt must be a positive number, got {dt!r}")
        start = 1 if runs[0].metadata.get("solver") == "py2d" else 0
        said = f"nominal, from dt={dt:g}; the first output is at {start * dt:g}"
        return time_axis(dt * (np.arange(count) + start), count, "dt", said)
    if all(run.times is not None for run in runs):
        rows = [np.asarray(run.times) for run in runs]
        if stacked and any(not np.array_equal(row, rows[0]) for row in rows):
            raise FormatError("the files have different times: open them one by one")
        row = rows[0] if stacked else np.concatenate(rows)
        found = time_axis(row, count, f"{runs[0].file.path}: coordinate time")
        own = runs[0].stored["coordinates/time"]
        found.attrs.update({key: value for key, value in own.items() if key != "name"})
        return found
    said = "Gust stores no times: give times= or dt="
    return time_axis(None, count, runs[0].file.path, said)


def _attrs(runs: Sequence[_Run]) -> dict[str, Any]:
    first = runs[0]
    orders, reasons = zip(*first.orders.values(), strict=True)
    attrs: dict[str, Any] = {
        "source": "Gust HDF5",
        "axes": ", ".join(dict.fromkeys(orders)),
        "axes_decided_by": ", ".join(dict.fromkeys(reasons)),
    }
    if first.metadata:
        attrs["gust_metadata"] = json.dumps(
            first.metadata, separators=(",", ":"), default=np.ndarray.tolist
        )
    steps = first.root.get(PROVENANCE)
    if len(runs) == 1 and isinstance(steps, str) and _is_provenance(steps):
        attrs[PROVENANCE] = steps
    return attrs


def _is_provenance(text: str) -> bool:
    try:
        steps = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(steps, list) and all(isinstance(step, dict) for step in steps)
