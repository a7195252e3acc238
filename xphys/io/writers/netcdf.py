"""Writing netCDF-4 with CF attributes, chunk by chunk."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr

from xphys._storage import is_url
from xphys.errors import SchemaError
from xphys.io._chunks import storage_chunks
from xphys.io._netcdf import MARK, VERSION, Record, natural, pack, written
from xphys.io.writers._frames import Frames, already_exists
from xphys.io.writers._identity import identity_of
from xphys.io.writers._slabs import Index, aligned, slabs
from xphys.schema import record

__all__ = ["to_netcdf"]

_CONVENTIONS = "CF-1.11"
_AXES = {"x": "X", "y": "Y", "z": "Z", "time": "T"}
_BUDGET = 2**27  # bytes of values computed at a time, at least one chunk
_SMALL = 2**20  # bytes up to which values in memory need no chunks
_PLACE = struct.Struct("<IQ")  # number of the variable, number of the chunk
_EPOCH = "since 1970-01-01 00:00:00"
_UNITS = {
    "D": "days",
    "h": "hours",
    "m": "minutes",
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
}


def to_netcdf(
    ds: xr.Dataset,
    path: str | os.PathLike[str],
    *,
    level: int = 4,
    chunks: Mapping[str, int] | None = None,
    mode: Literal["w-", "w"] = "w-",
    resume: bool = True,
) -> None:
    """Write a Dataset as a netCDF-4 file with CF attributes.

    Values keep their types, but for those that netCDF lacks: truth values become int8, times
    int64, float16 float32, text variable strings. Dimension coordinates get ``axis``, and
    ``bounds`` where a variable ``<name>_bounds`` exists. `xphys.open` gives the Dataset back
    unchanged, attributes with their types; other programs see the CF attributes, truth values in
    attributes as 0 and 1, and of attributes that netCDF cannot hold (None, dicts, lists of text)
    nothing; all of them are in the JSON of the global attribute ``xphys_netcdf``.

    Parameters
    ----------
    ds : Dataset
        Lazy or in memory; any dims.
    path : str or path
        Local file.
    level : int, default 4
        Of zlib, 0 (none) to 9. Bytes are shuffled first. Single values, text and small
        coordinates are not compressed.
    chunks : mapping of str to int, optional
        Stored chunk sizes by dimension, -1 for whole; by default whole frames, at least 16
        steps, 1 to 64 MB, without cutting across the Dask chunks of ``ds``.
    mode : {"w-", "w"}, default "w-"
        ``"w-"`` refuses an existing file, ``"w"`` replaces it when all is written.
    resume : bool, default True
        Go on with a write of the same data that was stopped; False begins it anew.

    Raises
    ------
    FileExistsError
        If the file exists and mode is ``"w-"``.
    SchemaError
        If netCDF cannot hold something (complex numbers, objects, names with "/", a MultiIndex),
        or an option is invalid.
    StoreConflictError
        If a write of other data was stopped here.

    Notes
    -----
    Memory: variables of one shape side by side, up to 128 MiB of their values (at least one chunk
    of each, or one Dask chunk). Compressed chunks wait in ``PATH.partial`` until the last one is
    there; then the file appears at once. Equal Datasets give equal files.

    Examples
    --------
    >>> import tempfile, xarray as xr, xphys
    >>> ds = xr.Dataset({"u": ("x", [1.0, 2.0], {"units": "m/s"})}, {"x": [0.0, 1.0]})
    >>> path = tempfile.mkdtemp() + "/run.nc"
    >>> to_netcdf(ds, path)
    >>> xr.open_dataset(path).x.attrs["axis"], dict(xphys.open(path).x.attrs)
    ('X', {})
    """
    target = os.fspath(path)
    if mode not in ("w-", "w"):
        raise SchemaError(f"a netCDF file is written with mode 'w-' or 'w', got {mode!r}")
    if is_url(target):
        raise SchemaError(f"a netCDF file is written to a local path, got {target!r}: copy it")
    if isinstance(level, bool) or level not in range(10):
        raise SchemaError(f"level must be a whole number from 0 to 9, got {level!r}")
    plan = _plan(ds, int(level), chunks)
    partial, exists = f"{target}.partial", os.path.exists(target)
    if mode == "w-" and exists and not os.path.exists(partial):
        raise already_exists(target)
    with Frames(partial, plan.digest(), resume) as frames:
        done = {frame[: _PLACE.size] for frame in frames.read()}
        whole = len(done) == plan.frames
        if not (mode == "w-" and exists):
            for batch in plan.batches(done):
                for data in batch:
                    frames.append(data)
                frames.flush()
            _assemble(plan, frames, target)
    if mode == "w-" and exists and not whole:
        raise already_exists(target)
    os.remove(partial)


@dataclass(frozen=True)
class _Variable:
    """A variable of the file."""

    name: str
    values: xr.Variable
    dtype: np.dtype
    chunk: tuple[int, ...] | None
    attrs: dict[str, Any]

    @property
    def counts(self) -> list[int]:
        assert self.chunk is not None
        return [-(-n // c) for n, c in zip(self.values.shape, self.chunk, strict=True)]

    def block(self, low: Index, high: Index) -> Any:
        """The chunks from one index to another, lazy where the values are."""
        assert self.chunk is not None
        where = tuple(slice(a * c, b * c) for a, b, c in zip(low, high, self.chunk, strict=True))
        part = self.values[where]
        return part.data if part.chunks is not None else part.values


@dataclass(frozen=True)
class _Plan:
    """What goes into the file."""

    sizes: dict[str, int]
    variables: tuple[_Variable, ...]
    attrs: dict[str, Any]
    level: int

    @property
    def frames(self) -> int:
        return sum(int(np.prod(v.counts)) for v in self.variables if v.chunk is not None)

    def digest(self) -> str:
        """Equal for writes of equal data."""
        from dask.base import tokenize

        parts = [
            (v.name, v.values.dims, v.dtype.str, v.chunk, list(v.attrs.items()))
            for v in self.variables
        ]
        held = [identity_of(v.values) for v in self.variables]
        token = tokenize(parts, held, self.sizes, list(self.attrs.items()), self.level)
        return str(token)[:32]

    def batches(self, done: set[bytes]) -> Iterator[list[bytes]]:
        """Frames that are not done, some at a time."""
        import dask

        alike: dict[Any, list[int]] = {}
        for number, v in enumerate(self.variables):
            if v.chunk is not None:
                alike.setdefault((v.values.dims, v.values.chunks, v.chunk), []).append(number)
        for numbers in alike.values():
            first = self.variables[numbers[0]]
            itemsize = sum(self.variables[n].dtype.itemsize for n in numbers)
            assert first.chunk is not None
            source = first.values.chunks
            for indices in slabs(first.values.shape, first.chunk, source, itemsize, _BUDGET):
                lazy = [task for number in numbers for task in self._tasks(number, indices, done)]
                yield list(dask.compute(*lazy))

    def _tasks(self, number: int, indices: Sequence[Index], done: set[bytes]) -> Iterator[Any]:
        from dask import delayed

        variable = self.variables[number]
        counts = variable.counts
        wanted = []
        for index in indices:
            place = _PLACE.pack(number, int(np.ravel_multi_index(index, counts)))
            if place not in done:
                wanted.append((index, place))
        encode = delayed(_encoded, pure=False)
        for index, place in wanted:
            block = variable.block(index, tuple(i + 1 for i in index))
            yield encode(block, place, variable.dtype, variable.chunk, self.level)


def _encoded(
    values: Any, place: bytes, dtype: np.dtype, chunk: tuple[int, ...], level: int
) -> bytes:
    """A chunk as HDF5 stores it: padded, bytes shuffled, deflated."""
    block = _converted(np.asarray(values), dtype)
    padded = np.zeros(chunk, dtype)
    padded[tuple(map(slice, block.shape))] = block
    if not level:
        return place + padded.tobytes()
    shuffled = padded.reshape(-1).view(np.uint8).reshape(-1, dtype.itemsize).T
    return place + zlib.compress(shuffled.tobytes(), level)


def _converted(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if values.dtype.kind in "mM":
        return values.astype(values.dtype.newbyteorder("=")).view(np.int64).astype(dtype)
    return values.astype(dtype)


def _plan(ds: xr.Dataset, level: int, chunks: Mapping[str, int] | None) -> _Plan:
    _check_names(ds)
    ds = record(ds, "to_netcdf", {"level": level, "chunks": dict(chunks) if chunks else None})
    book: Record = {"version": VERSION, "attrs": {}, "added": {}, "order": {}, "dtypes": {}}
    found = []
    for name, variable in ds.variables.items():
        dtype, extra = _stored_type(str(name), variable, book)
        added = {**extra, **_added(ds, str(name))}
        attrs = _attributes(variable.attrs, added, str(name), book)
        found.append(_Variable(str(name), variable, dtype, _chunk(variable, dtype, chunks), attrs))
    added = {"Conventions": _CONVENTIONS}
    loose = _loose(ds)
    held = _attributes(ds.attrs, added, "", book)
    if loose:
        held["coordinates"] = " ".join(loose)
    held[MARK] = json.dumps(book, separators=(",", ":"))
    sizes = {str(dim): int(n) for dim, n in ds.sizes.items()}
    return _Plan(sizes, tuple(found), held, level)


def _check_names(ds: xr.Dataset) -> None:
    for name in (*ds.variables, *ds.dims):
        if not isinstance(name, str) or not name or "/" in name or "\0" in name or name == ".":
            raise SchemaError(f"netCDF takes names without '/', got {name!r}: rename it")
        if name != name.strip():
            raise SchemaError(f"netCDF takes no blanks around a name, got {name!r}: rename it")
    for name, index in ds.xindexes.items():
        if getattr(index, "index", None) is not None and getattr(index.index, "nlevels", 1) > 1:
            raise SchemaError(f"netCDF holds no MultiIndex: use .reset_index({name!r})")


def _stored_type(name: str, variable: xr.Variable, book: Record) -> tuple[np.dtype, dict[str, Any]]:
    """Type in the file, and the attributes that say what it stands for."""
    import h5py

    dtype = variable.dtype
    if dtype.kind in "iuf" and dtype.itemsize in (1, 2, 4, 8) and dtype != np.float16:
        return dtype.newbyteorder("="), {}
    if dtype.kind == "U" or (dtype.kind in "OT" and _is_text(variable)):
        book["dtypes"][name] = dtype.str if dtype.kind == "U" else "|O"
        return h5py.string_dtype(), {}
    book["dtypes"][name] = dtype.newbyteorder("=").str
    if dtype.kind == "b":
        return np.dtype(np.int8), {"dtype": "bool"}
    if dtype == np.float16:
        return np.dtype(np.float32), {}
    unit, step = np.datetime_data(dtype) if dtype.kind in "mM" else ("", 0)
    if unit in _UNITS and step == 1:
        extra = {"units": f"{_UNITS[unit]} {_EPOCH}", "calendar": "proleptic_gregorian"}
        return np.dtype(np.int64), extra if dtype.kind == "M" else {"units": _UNITS[unit]}
    raise SchemaError(
        f"netCDF holds no {dtype}, the type of {name!r}: convert it (complex numbers to real and "
        "imaginary parts) or drop it"
    )


def _is_text(variable: xr.Variable) -> bool:
    return all(isinstance(value, str) for value in np.ravel(variable.values))


def _chunk(
    variable: xr.Variable, dtype: np.dtype, chunks: Mapping[str, int] | None
) -> tuple[int, ...] | None:
    """Stored chunk; None for what is written in one piece."""
    if dtype.kind == "O" or variable.ndim == 0 or 0 in variable.shape:
        return None
    dims = tuple(map(str, variable.dims))
    if variable._in_memory and variable.nbytes <= _SMALL and not set(chunks or ()) & set(dims):
        return None
    wanted = storage_chunks(dims, variable.shape, dtype.itemsize, chunks)
    if chunks:
        return wanted
    return aligned(wanted, variable.shape, variable.chunks)


def _added(ds: xr.Dataset, name: str) -> dict[str, Any]:
    """CF attributes that a variable gets."""
    found: dict[str, Any] = {}
    if ds.variables[name].dims == (name,):
        if name in _AXES:
            found["axis"] = _AXES[name]
        if f"{name}_bounds" in ds.variables:
            found["bounds"] = f"{name}_bounds"
    if name in ds.data_vars:
        own = [c for c in _auxiliary(ds) if set(ds[c].dims) <= set(ds[name].dims)]
        if own:
            found["coordinates"] = " ".join(own)
    return found


def _auxiliary(ds: xr.Dataset) -> list[str]:
    """Coordinates that CF lists: not those named like their dimension, nor bounds."""
    bounds = {f"{dim}_bounds" for dim in ds.dims}
    names = map(str, ds.coords)
    return [n for n in names if ds[n].dims != (n,) and n not in bounds and " " not in n]


def _loose(ds: xr.Dataset) -> list[str]:
    """Coordinates that no variable lists."""
    listed = {
        c for c in _auxiliary(ds) for v in ds.data_vars.values() if {*ds[c].dims} <= {*v.dims}
    }
    return [str(n) for n in ds.coords if ds[n].dims != (n,) and n not in listed]


def _attributes(
    attrs: Mapping[Hashable, Any], added: Mapping[str, Any], name: str, book: Record
) -> dict[str, Any]:
    """Attributes for the file; what they were goes into the record where it cannot be seen."""
    held: dict[str, Any] = {}
    exact: dict[str, Any] = {}
    new = {key: value for key, value in added.items() if key not in attrs}
    for key, value in attrs.items():
        if not isinstance(key, str) or not key or "/" in key or "\0" in key:
            raise SchemaError(f"netCDF takes names of attributes without '/', got {key!r}")
        where = f"attribute {key!r} of {name or 'the Dataset'!r}"
        form = written(value, key)
        if form is not None:
            held[key] = form
        if key in added and key in ("coordinates", "dtype"):
            new[key] = added[key]
        if form is None or natural(value) is None:
            exact[key] = pack(value, where)
    held.update(new)
    for part, what in (("attrs", exact), ("added", new), ("order", [str(k) for k in attrs])):
        if what:
            book[part][name] = what
    return held


def _assemble(plan: _Plan, frames: Frames, target: str) -> None:
    """Put the frames into an HDF5 file under another name, then give it its own."""
    import h5netcdf
    import h5py

    made = f"{target}.partial.nc"
    with h5netcdf.File(made, "w") as file:
        file.dimensions = plan.sizes
        for v in plan.variables:
            options: dict[str, Any] = {}
            if v.chunk is not None:
                options["chunks"] = v.chunk
                if plan.level:
                    options |= {"compression": "gzip", "compression_opts": plan.level}
                    options["shuffle"] = True
            made_one = file.create_variable(v.name, v.values.dims, v.dtype, **options)
            if v.chunk is None and v.values.size:
                values = np.asarray(v.values.values)
                text = v.dtype.kind == "O"
                made_one[...] = values.astype(object) if text else _converted(values, v.dtype)
            made_one.attrs.update(v.attrs)
        file.attrs.update(plan.attrs)
    with h5py.File(made, "r+") as file:
        for data in frames.read():
            number, place = _PLACE.unpack(data[: _PLACE.size])
            v = plan.variables[number]
            assert v.chunk is not None
            index = np.unravel_index(place, v.counts)
            start = tuple(int(i) * c for i, c in zip(index, v.chunk, strict=True))
            hidden = f"_nc4_non_coord_{v.name}"  # named like a dimension of which it is no index
            held = file[hidden if hidden in file else v.name]
            held.id.write_direct_chunk(start, data[_PLACE.size :])
    with open(made, "r+b") as done:
        os.fsync(done.fileno())
    os.replace(made, target)
