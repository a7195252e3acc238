"""Writing Gust's common HDF5 layout, frame by frame."""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr

from xphys._storage import is_url
from xphys.errors import SchemaError, UnknownNameError
from xphys.io.writers._frames import Frames
from xphys.io.writers._identity import identity_of
from xphys.schema import ENSEMBLE_DIMS, PROVENANCE, record, spatial_dims

__all__ = ["to_gust"]

_LEVEL = 4  # of gzip, as Gust's own files
_BLOCK = 2**26  # bytes of a field that are computed at a time, at least one frame
_PART = re.compile(r"(?P<field>.+)\[\.\.\., (?P<place>\d+)\]$")
_LARGEST_ATTRIBUTE = 60_000  # HDF5 keeps at most 64 KiB in the header of an object


def to_gust(
    ds: xr.Dataset,
    path: str | os.PathLike[str],
    *,
    names: Mapping[str, str] | None = None,
    mode: Literal["w-", "w"] = "w-",
    resume: bool = True,
) -> None:
    """Write a Dataset as an HDF5 file that Gust reads.

    Each variable becomes ``/fields/NAME``, float32, (n, X, Y), one gzip chunk per frame, indexed
    [x, y] as Gust's own files, the vertical axis of an (x, z) plane stored as y; components that
    came from one vector field of a Gust file become that field again. ``/coordinates/x`` and
    ``y`` are float32, ``/coordinates/time`` is there only if the times are known, ``/metadata``
    has the attributes that Gust wrote, or the names and sizes of the fields and all scalar
    coordinates. Values are rounded to float32; coordinates other than these are not written.

    Parameters
    ----------
    ds : Dataset
        Numeric variables on ``(time, y, x)`` or ``(time, z, x)``, lazy or in memory.
    path : str or path
        Local file.
    names : mapping of str to str, optional
        Variable -> name of its field, such as ``{"vorticity": "omega"}``. By default the name
        in the Gust file that the data come from, or that of the variable.
    mode : {"w-", "w"}, default "w-"
        ``"w-"`` refuses an existing file, ``"w"`` replaces it when all is written.
    resume : bool, default True
        Go on with a write of the same data that was stopped; False begins it anew.

    Raises
    ------
    FileExistsError
        If the file exists and mode is ``"w-"``.
    SchemaError
        If the layout cannot hold the data: other dims, an ensemble, values that are not real
        numbers or beyond float32, an axis without positions; or an option is invalid.
    UnknownNameError
        If ``names`` names no variable.
    StoreConflictError
        If a write of other data was stopped here.

    Notes
    -----
    Memory: for each field the frames of one Dask chunk along time, or 64 MiB of frames. Frames
    wait in ``PATH.partial`` until the last one is there; then the file appears at once.

    Examples
    --------
    >>> import tempfile, h5py, numpy as np
    >>> ds = xr.Dataset({"w": (("time", "y", "x"), np.zeros((3, 4, 5)))},
    ...                 {"time": [0.0, 0.1, 0.2], "y": np.arange(4.0), "x": np.arange(5.0)})
    >>> path = tempfile.mkdtemp() + "/run.h5"
    >>> to_gust(ds, path)
    >>> with h5py.File(path) as file:
    ...     file["fields/w"].shape
    (3, 5, 4)
    """
    target = os.fspath(path)
    if mode not in ("w-", "w"):
        raise SchemaError(f"a Gust file is written with mode 'w-' or 'w', got {mode!r}")
    if is_url(target):
        raise SchemaError(f"a Gust file is written to a local path, got {target!r}: copy it after")
    plan = _plan(ds, dict(names or {}))
    partial, run = f"{target}.partial", plan.digest()
    exists = os.path.exists(target)
    if mode == "w-" and exists and not os.path.exists(partial):
        raise FileExistsError(f"{target} exists: choose another path, or mode='w' to replace it")
    with Frames(partial, run, resume) as frames:
        whole = frames.count == plan.steps * len(plan.fields)
        if not (mode == "w-" and exists):
            for data in plan.frames(frames.count):
                frames.append(data)
                if frames.count % len(plan.fields) == 0:
                    frames.flush()
            _assemble(plan, frames, target)
    if mode == "w-" and exists and not whole:
        raise FileExistsError(f"{target} exists: choose another path, or mode='w' to replace it")
    os.remove(partial)


@dataclass(frozen=True)
class _Field:
    """A field of the file: one variable, or the components of a vector."""

    name: str
    variables: tuple[xr.Variable, ...]
    stacked: bool

    def frames(self, part: slice) -> list[Any]:
        """Its variables at some steps, lazy, (step, x, y) each."""
        cut = [v.isel(time=part) for v in self.variables]
        return [v.transpose("time", "x", ...).data for v in cut]


@dataclass(frozen=True)
class _Plan:
    """What goes into the file."""

    fields: tuple[_Field, ...]
    shape: tuple[int, int]
    coordinates: dict[str, np.ndarray]
    attributes: dict[str, dict[str, Any]]
    source: str

    @property
    def steps(self) -> int:
        return int(self.fields[0].variables[0].sizes["time"])

    def digest(self) -> str:
        """Equal for writes of equal data."""
        from dask.base import tokenize

        data = [(self.source, identity_of(v)) for field in self.fields for v in field.variables]
        names = [(field.name, field.stacked) for field in self.fields]
        kept = {name: values.tobytes() for name, values in self.coordinates.items()}
        token = tokenize(data, names, self.steps, self.shape, kept, sorted(self.attributes.items()))
        return str(token)[:32]

    def frames(self, done: int) -> Iterator[bytes]:
        """Compressed frames from number ``done`` on: all fields of a step, then the next step."""
        import dask

        first = done // len(self.fields)
        for part in self._parts(first):
            lazy = [field.frames(part) for field in self.fields]
            (blocks,) = dask.compute(lazy)
            for step in range(part.stop - part.start):
                for number, field in enumerate(self.fields):
                    if (part.start + step) * len(self.fields) + number >= done:
                        yield self._encoded(field, [block[step] for block in blocks[number]])

    def _parts(self, first: int) -> Iterator[slice]:
        """Steps to compute at a time: whole Dask chunks of all fields, or what fits a block."""
        ends = set(range(0, self.steps + 1))
        for field in self.fields:
            for variable in field.variables:
                if variable.chunks is not None:
                    sizes = variable.chunks[variable.dims.index("time")]
                    ends &= set(np.cumsum([0, *sizes]).tolist())
        width = max(v.dtype.itemsize for f in self.fields for v in f.variables)
        most = max(_BLOCK // max(self.shape[0] * self.shape[1] * width, 1), 1)
        start, last = first, first
        for end in sorted(end for end in ends if end > first):
            if end - start > most and last > start:
                yield slice(start, last)
                start = last
            last = end
        if last > start:
            yield slice(start, last)

    def _encoded(self, field: _Field, parts: list[Any]) -> bytes:
        with np.errstate(over="ignore"):
            single = [np.asarray(part).astype("<f4") for part in parts]
        for part, rounded in zip(parts, single, strict=True):
            if not np.isfinite(rounded).all() and np.isfinite(np.asarray(part)).all():
                raise SchemaError(
                    f"field {field.name!r} has values beyond float32, which is all that the "
                    "layout holds: scale them"
                )
        data = np.stack(single, axis=-1) if field.stacked else single[0]
        return zlib.compress(data.tobytes(), _LEVEL)


def _plan(ds: xr.Dataset, names: dict[str, str]) -> _Plan:
    unknown = [name for name in names if name not in ds.data_vars]
    if unknown:
        raise UnknownNameError(f"names= names {unknown[0]!r}, expected one of {list(ds.data_vars)}")
    vertical = _check(ds)
    known = _metadata(ds)
    fields = _fields(ds, names, known is not None)
    ds = record(ds, "to_gust", {"names": names or None})
    coordinates = {"x": _positions(ds, "x"), "y": _positions(ds, vertical)}
    if "units" in ds["time"].attrs:
        coordinates["time"] = np.asarray(ds["time"].values, "<f8")
    shape = (ds.sizes["x"], ds.sizes[vertical])
    attributes = {
        "/": {PROVENANCE: ds.attrs[PROVENANCE]},
        "metadata": _new_metadata(ds, known, fields, shape),
    }
    if known is None:  # a file that Gust could have written stays as Gust writes it
        for field in fields:
            attributes[f"fields/{field.name}"] = _held(field.variables[0].attrs)
        for name in coordinates:
            dim = vertical if name == "y" else name
            attributes[f"coordinates/{name}"] = _held({**ds[dim].attrs, "name": dim})
    return _Plan(fields, shape, coordinates, attributes, str(ds.attrs[PROVENANCE]))


def _check(ds: xr.Dataset) -> str:
    """Refuse what the layout cannot hold; return the vertical axis."""
    if not ds.data_vars:
        raise SchemaError("expected at least one variable to write, got a Dataset without any")
    ensembles = [dim for dim in ENSEMBLE_DIMS if dim in ds.dims]
    if ensembles:
        raise SchemaError(
            f"Gust's layout holds one run, found dim {ensembles[0]!r}: write one file each, "
            f"ds.isel({ensembles[0]}=0)"
        )
    space = spatial_dims(ds)
    if len(space) != 2 or space[1] != "x":
        raise SchemaError(
            f"Gust's layout holds planes (y, x) or (z, x), found the dims {space}: choose a plane "
            "with ds.isel(...)"
        )
    wanted = {"time", *space}
    for name, variable in ds.data_vars.items():
        if set(variable.dims) != wanted:
            raise SchemaError(
                f"Gust's layout holds fields on {('time', *space)}, {name!r} is on "
                f"{variable.dims}: drop it or give it those dims"
            )
        if variable.dtype.kind not in "fiub":
            raise SchemaError(
                f"Gust's layout holds float32, {name!r} is {variable.dtype}: drop or convert it"
            )
    missing = [dim for dim in ("time", *space) if dim not in ds.coords]
    if missing:
        raise SchemaError(
            f"dimension {missing[0]!r} has no coordinate: give it with "
            f".assign_coords({missing[0]}=...)"
        )
    return str(space[0])


def _metadata(ds: xr.Dataset) -> dict[str, Any] | None:
    """What Gust wrote about data that come from a file of Gust."""
    text = ds.attrs.get("gust_metadata")
    if not isinstance(text, str):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _fields(ds: xr.Dataset, names: Mapping[str, str], known: bool) -> tuple[_Field, ...]:
    order = {name: str(names.get(str(name), _own_name(v, name, known))) for name, v in ds.items()}
    groups: dict[str, dict[int, Hashable]] = {}
    for name, full in order.items():
        part = _PART.match(full)
        if part is not None and ds[name].dtype.kind == "f":
            groups.setdefault(part["field"], {})[int(part["place"])] = name
    found: dict[str, _Field] = {}
    for name, full in order.items():
        part = _PART.match(full)
        group = groups.get(part["field"], {}) if part is not None else {}
        if part is not None and sorted(group) == list(range(len(group))) and len(group) > 1:
            parts = tuple(ds[group[place]].variable for place in sorted(group))
            found.setdefault(part["field"], _Field(part["field"], parts, True))
            continue
        own = str(name) if part is not None else full
        if own in found or "/" in own or own in ("", "."):
            raise SchemaError(f"expected another name for the field of {name!r} than {own!r}")
        found[own] = _Field(own, (ds[name].variable,), False)
    return tuple(found.values())


def _own_name(variable: xr.DataArray, name: Hashable, known: bool) -> str:
    source = variable.attrs.get("source_name")
    return source if known and isinstance(source, str) else str(name)


def _positions(ds: xr.Dataset, dim: str) -> np.ndarray:
    exact = np.asarray(ds[dim].values, np.float64)
    rounded = exact.astype("<f4")
    if np.unique(rounded).size < exact.size or not np.isfinite(rounded).all():
        raise SchemaError(
            f"positions along {dim!r} are not distinct finite numbers in float32, which is all "
            "that the layout holds: shift or scale them"
        )
    return rounded


def _new_metadata(
    ds: xr.Dataset,
    known: Mapping[str, Any] | None,
    fields: Sequence[_Field],
    shape: tuple[int, int],
) -> dict[str, Any]:
    names = ",".join(field.name for field in fields)
    sizes = {"n_samples": int(ds.sizes["time"]), "H": shape[0], "W": shape[1], "NX": shape[0]}
    if known is None:
        found: dict[str, Any] = {"solver": "xphys", "fields": names}
        found |= {key: sizes[key] for key in ("n_samples", "H", "W")}
    else:
        found = dict(known)
        found |= {key: sizes[key] for key in sizes if key in found}
        found |= {key: names for key in ("field", "fields") if key in found}
    for name, coordinate in ds.coords.items():
        if coordinate.ndim == 0 and coordinate.dtype.kind in "fiub":
            key = str(coordinate.attrs.get("source_name", name)) if known else str(name)
            found[key] = coordinate.values.item()
    return _held(found)


def _held(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    """Attributes as HDF5 holds them: numbers, lists of numbers, and text for all else."""
    found: dict[str, Any] = {}
    for key, value in attributes.items():
        if isinstance(value, np.generic | np.ndarray):
            value = value.tolist()
        numbers = isinstance(value, list) and all(isinstance(v, int | float) for v in value)
        plain = isinstance(value, bool | int | float | str) or (numbers and value)
        held = value if plain and not isinstance(value, str) else str(value).replace("\0", "")
        if len(str(held).encode("utf-8", "replace")) <= _LARGEST_ATTRIBUTE:
            found[str(key)] = held
    return found


def _assemble(plan: _Plan, frames: Frames, target: str) -> None:
    """Put the frames into an HDF5 file under another name, then give it its own."""
    import h5py

    made = f"{target}.partial.h5"
    with h5py.File(made, "w") as file:
        held = []
        for field in plan.fields:
            inner = (*plan.shape, *(len(field.variables),) * field.stacked)
            held.append(
                file.create_dataset(
                    f"fields/{field.name}",
                    (plan.steps, *inner),
                    "<f4",
                    maxshape=(None, *inner),
                    chunks=(1, *inner),
                    compression="gzip",
                    compression_opts=_LEVEL,
                )
            )
        for number, data in enumerate(frames.read()):
            step, which = divmod(number, len(held))
            held[which].id.write_direct_chunk((step,) + (0,) * (held[which].ndim - 1), data)
        for name, values in plan.coordinates.items():
            file.create_dataset(f"coordinates/{name}", data=values)
        file.create_group("metadata")
        for where, attributes in plan.attributes.items():
            for key, value in attributes.items():
                file[where].attrs[key] = value
    with open(made, "r+b") as written:
        os.fsync(written.fileno())
    os.replace(made, target)
