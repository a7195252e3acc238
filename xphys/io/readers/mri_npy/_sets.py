"""The four kinds of files as Datasets."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xphys._storage import is_url, open_binary
from xphys.errors import FormatError, SchemaError
from xphys.io.readers._source import source_identity
from xphys.io.readers._stack import lazy
from xphys.io.readers.mri_npy._find import INFO, METADATA, Found, beside
from xphys.io.readers.mri_npy._info import WindowInfo, read_field_info, read_window_info
from xphys.io.readers.mri_npy._names import (
    Meaning,
    cell_axis,
    meaning,
    stored_axis,
    unique_names,
)
from xphys.io.readers.mri_npy._npy import NpyArray, Place, file_size, parse_header, read_header
from xphys.io.readers.mri_npy._npz import read_npz
from xphys.io.readers.mri_npy._pickle import find_arrays
from xphys.schema import record

__all__ = ["Request", "open_found"]

_STEP = {
    "units": "1",
    "long_name": "number of the snapshot in its window",
    "comment": "windows begin at different times: see sample_time",
}
_PAIRS = {"diff_inputs": "input", "diff_targets": "target"}


@dataclass(frozen=True)
class Request:
    """What the caller asked for besides the file; see the backend."""

    axes: str | None
    box: Any
    channels: Sequence[str] | None
    storage_options: Mapping[str, Any]


def open_found(found: Found, request: Request) -> xr.Dataset:
    """Open a file by its kind."""
    ds, files = _OPENERS[found.kind](found, request)
    ds.encoding["source"] = found.path
    asked = {
        "engine": "mri_npy",
        "axes": request.axes,
        "box": _plain(request.box),
        "channels": None if request.channels is None else list(request.channels),
    }
    return record(ds, "open", asked, source=source_identity(files))


def _plain(box: Any) -> Any:
    """As JSON has it."""
    if box is None:
        return None
    if isinstance(box, Mapping):
        return {dim: _plain(ends) for dim, ends in box.items()}
    return [float(end) for end in box]


def _open_fields(found: Found, request: Request) -> tuple[xr.Dataset, list[str]]:
    if request.box is not None or request.channels is not None:
        raise SchemaError("all_fields arrays have positions and names: leave out box and channels")
    beside_it = beside(found.path, METADATA)
    header = read_header(found.path, request.storage_options)
    if header.dtype.kind != "f" or len(header.shape) != 4:
        raise _shape(found.path, "floats (time, x2, x1, field)", header.dtype, header.shape)
    info = read_field_info(_present(beside_it), request.storage_options)
    what = meaning(request.axes)
    sizes = (info.times.size, info.y.size, info.x.size, len(info.names))
    if header.shape != sizes:
        raise FormatError(
            f"{found.path}: expected shape {sizes} as {METADATA} says, found {header.shape}"
        )
    names = unique_names(info.names, what, beside_it)
    place = _whole(found.path, header, request)
    second, first = what.dims
    dims = ("time", second, first)
    arrays = {
        name: lazy(
            NpyArray(place, at={3: number}),
            dims,
            what.field(info.names[number])[1],
            (1, *sizes[1:3]),
        )
        for number, name in enumerate(names)
    }
    coords = {
        "time": xr.Variable(
            "time", info.times, {"units": "1", "long_name": "time", "source_name": "times"}
        ),
        second: stored_axis(second, info.y, info.limits.get("y"), what, beside_it),
        first: stored_axis(first, info.x, info.limits.get("x"), what, beside_it),
    }
    if info.snapshots is not None:
        if info.snapshots.size != info.times.size:
            raise FormatError(f"{beside_it}: expected one of snap_indices for every time")
        attrs = {"units": "1", "long_name": "output number", "source_name": "snap_indices"}
        coords["snapshot"] = xr.Variable("time", info.snapshots, attrs)
    attrs = {**_attrs("fields", what), **_resampled(info.native, info.x.size)}
    return xr.Dataset(arrays, coords, attrs), [found.path, beside_it]


def _resampled(native: int | None, cells: int) -> dict[str, Any]:
    if native is None or native == cells:
        return {}
    return {
        "native_resolution": native,
        "comment": (
            f"resampled from {native} cells by a method that {METADATA} does not name (usually a "
            "cubic zoom, no block mean): values belong to the positions to half a native cell"
        ),
    }


def _open_windows(found: Found, request: Request) -> tuple[xr.Dataset, list[str]]:
    header = read_header(found.path, request.storage_options)
    if header.dtype.kind != "f" or len(header.shape) != 5:
        raise _shape(
            found.path, "floats (window, time, x2, x1, channel)", header.dtype, header.shape
        )
    what, info = meaning(request.axes), _window_info(found, request)
    windows, steps, n2, n1, channels = header.shape
    stored = _channels(found, request, info, channels)
    place = _whole(found.path, header, request)
    dims = ("trajectory", "time", *what.dims)
    arrays = {
        name: lazy(
            NpyArray(place, at={4: number}),
            dims,
            what.field(stored[number])[1],
            (1, steps, n2, n1),
        )
        for number, name in enumerate(unique_names(stored, what, found.path))
    }
    coords = _window_coords(found, request, what, info, (windows, steps, n2, n1))
    ds = xr.Dataset(arrays, coords, _attrs("windows", what))
    return ds, _files(found, info)


def _open_pairs(found: Found, request: Request) -> tuple[xr.Dataset, list[str]]:
    places = _pickled(found, request)
    if set(places) != set(_PAIRS):
        raise FormatError(
            f"{found.path}: expected the arrays {sorted(_PAIRS)}, found {sorted(places)[:8]}"
        )
    shapes = {key: places[key].shape for key in _PAIRS}
    shape = shapes["diff_targets"]
    if len(shape) != 5 or shapes["diff_inputs"] != shape or 0 in shape:
        raise FormatError(
            f"{found.path}: expected two arrays (window, channel, time, x2, x1), found {shapes}"
        )
    what, info = meaning(request.axes), _window_info(found, request)
    windows, channels, steps, n2, n1 = shape
    stored = _channels(found, request, info, channels)
    names = unique_names(stored, what, found.path)
    dims = ("trajectory", "time", *what.dims)
    arrays = {}
    for key, prefix in _PAIRS.items():
        for number, name in enumerate(names):
            attrs = {**what.field(stored[number])[1], "source_group": key}
            attrs["long_name"] = f"{prefix}: {attrs['long_name']}"
            if "vector" in attrs:
                attrs["vector"] = f"{prefix}_{attrs['vector']}"
            if prefix == "input" and info is not None and info.factor is not None:
                attrs["downsample_factor"] = info.factor
            array = NpyArray(places[key], at={1: number})
            arrays[f"{prefix}_{name}"] = lazy(array, dims, attrs, (1, steps, n2, n1))
    coords = _window_coords(found, request, what, info, (windows, steps, n2, n1))
    ds = xr.Dataset(arrays, coords, _attrs("pairs for diffusion", what))
    return ds, _files(found, info)


def _pickled(found: Found, request: Request) -> dict[str, Place]:
    """Where the arrays lie; the pickle in the file is walked through, never loaded."""
    options = request.storage_options
    header = read_header(found.path, options)
    if header.dtype.kind != "O" or header.shape != ():
        raise _shape(found.path, "one pickled object", header.dtype, header.shape)
    with open_binary(found.path, options) as file:
        size = file_size(file)
        start = parse_header(file.read(header.end), found.path).end
        return find_arrays(file, start, size, found.path, options)


def _window_info(found: Found, request: Request) -> WindowInfo | None:
    path = beside(found.path, INFO)
    if not is_url(path) and not os.path.isfile(path):
        return None
    try:
        return read_window_info(path, request.storage_options)
    except FileNotFoundError:  # behind a URL
        return None


def _channels(found: Found, request: Request, info: WindowInfo | None, count: int) -> Sequence[str]:
    stored = request.channels if request.channels is not None else info.names if info else None
    if stored is None:
        return [f"channel_{number}" for number in range(count)]
    if len(stored) != count:
        said = "channels" if request.channels is not None else INFO
        raise FormatError(
            f"{found.path}: expected {len(stored)} channels as {said} says, found {count}"
        )
    return list(stored)


def _window_coords(
    found: Found,
    request: Request,
    what: Meaning,
    info: WindowInfo | None,
    shape: tuple[int, int, int, int],
) -> dict[str, xr.Variable]:
    windows, steps, n2, n1 = shape
    second, first = what.dims
    coords = {
        "time": xr.Variable("time", np.arange(steps), _STEP),
        second: cell_axis(second, n2, request.box, what),
        first: cell_axis(first, n1, request.box, what),
    }
    if info is None:
        return coords
    numbers = info.windows(found.part)
    if (numbers.size, info.times.shape[1]) != (windows, steps):
        raise FormatError(
            f"{found.path}: expected {numbers.size} windows of {info.times.shape[1]} steps as "
            f"{INFO} says, found {windows} of {steps}"
        )
    split = np.full(info.times.shape[0], "none", "U5")
    for part, members in info.parts.items():
        split[members] = part
    named = {"units": "1", "long_name": "number of the window in the set"}
    if info.stride is not None:
        named["comment"] = f"one window begins {info.stride} snapshots after another"
    coords["trajectory"] = xr.Variable("trajectory", numbers, named)
    coords["split"] = xr.Variable(
        "trajectory", split[numbers], {"long_name": "part of the set that the window belongs to"}
    )
    coords["sample_time"] = xr.Variable(
        ("trajectory", "time"),
        info.times[numbers],
        {"units": "1", "long_name": "time", "source_name": "sample_times"},
    )
    return coords


def _open_statistics(found: Found, request: Request) -> tuple[xr.Dataset, list[str]]:
    if request.box is not None:
        raise SchemaError("statistics have no positions: leave out box")
    held = read_npz(found.path, request.storage_options)
    stored = {"mean": "mean", "std": "std", "min": "min_val", "max": "max_val"}
    if missing := sorted(set(stored.values()) - set(held)):
        raise FormatError(
            f"{found.path}: expected {sorted(stored.values())}, {missing} are missing"
        )
    sizes = {held[name].shape for name in stored.values()}
    kinds = {held[name].dtype.kind for name in stored.values()}
    if len(sizes) != 1 or len(next(iter(sizes))) != 1 or not kinds <= set("fiu"):
        raise FormatError(f"{found.path}: expected numbers for every channel, found {sizes}")
    count = next(iter(sizes))[0]
    folder = os.path.dirname(os.path.abspath(found.path)) if not is_url(found.path) else ""
    above = Found("", folder or found.path.rpartition("/")[0], found.part)
    info, what = _window_info(above, request), meaning(request.axes)
    names = _channels(found, request, info, count)
    coords = {
        "channel": ("channel", np.array(unique_names(names, what, found.path), dtype=str)),
        "source_name": ("channel", np.array(names, dtype=str)),
    }
    arrays = {
        name: xr.Variable(
            "channel",
            held[source],
            {"units": "1", "long_name": f"{name} of {found.part}", "source_name": source},
        )
        for name, source in stored.items()
    }
    files = [found.path, *([beside(above.path, INFO)] if info else [])]
    return xr.Dataset(arrays, coords, _attrs("statistics", what)), files


def _files(found: Found, info: WindowInfo | None) -> list[str]:
    return [found.path, *([beside(found.path, INFO)] if info is not None else [])]


def _whole(path: str, header: Any, request: Request) -> Place:
    return Place(
        path,
        header.end,
        header.nbytes,
        header.shape,
        header.fortran,
        header.dtype,
        storage_options=request.storage_options,
    )


def _attrs(kind: str, what: Meaning) -> dict[str, Any]:
    return {"title": f"MRI {kind}", "source": "NumPy files of the MRI project", "axes": what.said}


def _present(path: str) -> str:
    if not is_url(path) and not os.path.isfile(path):
        raise FormatError(
            f"{path}: expected it beside the array, with times and positions: no file"
        )
    return path


def _shape(path: str, wanted: str, dtype: np.dtype, shape: tuple[int, ...]) -> FormatError:
    return FormatError(f"{path}: expected {wanted}, found {dtype} of shape {shape}")


_OPENERS = {
    "fields": _open_fields,
    "windows": _open_windows,
    "pairs": _open_pairs,
    "statistics": _open_statistics,
}
