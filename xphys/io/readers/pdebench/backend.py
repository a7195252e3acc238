"""PDEBench's HDF5 files as an xarray engine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from xphys.io.readers._axes import check_axes, covered, positions, time_axis
from xphys.io.readers._boundary import boundary_attrs, check_boundary
from xphys.io.readers._engine import Engine, opener, paths_of, without
from xphys.io.readers._folder import files_of
from xphys.io.readers._hdf5 import HDF5File, close_files
from xphys.io.readers._probe import Probe
from xphys.io.readers._source import source_identity
from xphys.io.readers._stack import Joined, lazy
from xphys.io.readers.pdebench._layouts import FLOW, SAMPLE, read
from xphys.io.readers.pdebench._names import PARAMETERS
from xphys.io.readers.pdebench._part import Part, check_fits
from xphys.schema import record

__all__ = ["PDEBenchBackend", "is_pdebench", "open_paths"]

_SUFFIXES = (".h5", ".hdf5")


class PDEBenchBackend(Engine):
    """``xr.open_dataset(path, engine="pdebench")`` for the HDF5 files of PDEBench."""

    description = "PDEBench HDF5 files (tensor, density, 0000/data, velocity, ...)"
    open_dataset_parameters = (
        "filename_or_obj",
        "drop_variables",
        "axes",
        "boundary",
        "storage_options",
    )

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        axes: str | None = None,
        boundary: str | Mapping[str, str] | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> xr.Dataset:
        """Open one file, or several with further samples.

        Parameters
        ----------
        filename_or_obj : str, path or list of those
            Files, a pattern, or a folder.
        drop_variables : str or iterable of str, optional
            Variables to leave out.
        axes : {"xy", "yx"}, optional
            Order of the stored spatial axes; by default found from the lengths of the
            coordinates, and where those are equal as the generator of that dataset writes.
        boundary : str or mapping, optional
            What no file states: one boundary for all axes, or axis -> boundary.
        storage_options : mapping, optional
            For the file system of URLs.

        Returns
        -------
        Dataset
            Dims ``(trajectory, time, z, y, x)``, those that exist; numbers among the attributes
            are coordinates.

        Raises
        ------
        FormatError
            If a file has another layout or is damaged, or the files do not fit together.
        SchemaError
            If an option is invalid.
        """
        check_axes(axes)
        paths = files_of(paths_of(filename_or_obj), _SUFFIXES)
        files = [HDF5File(path, storage_options) for path in paths]
        parts = [read(file, axes) for file in files]
        for other in parts[1:]:
            check_fits(parts[0], other)
        wanted = boundary
        if isinstance(wanted, str):
            wanted = dict.fromkeys(parts[0].positions, wanted)
        check_boundary(wanted, parts[0].positions)
        coordinates = _coordinates(parts, wanted)
        fields = _fields(parts)
        coordinates |= _parameters(parts, {*fields, *coordinates, "trajectory", "time"})
        ds = without(xr.Dataset(fields, coordinates, parts[0].attrs), drop_variables)
        used = {"engine": "pdebench", "axes": axes, "boundary": boundary}
        ds = record(ds, "open", used, source=source_identity(paths, storage_options))
        ds.encoding["source"] = paths[0]
        ds.set_close(partial(close_files, files))
        return ds


open_paths = opener(PDEBenchBackend)


def is_pdebench(probe: Probe) -> bool:
    """True for one of the three layouts."""
    held = probe if probe.start else probe.member(*_SUFFIXES)
    layout = held.layout if held is not None else frozenset()
    if "x-coordinate" in layout:
        return bool({"tensor", "density", "Vx", "omega_x"} & layout)
    if layout >= FLOW:
        return True
    groups = {name.split("/")[0] for name in layout if name.endswith("/data")}
    return any(SAMPLE.match(g) and {f"{g}/data", f"{g}/grid"} <= layout for g in groups)


def _fields(parts: Sequence[Part]) -> dict[str, xr.Variable]:
    found = {}
    for name, (array, dims, attrs) in parts[0].arrays.items():
        arrays = [part.arrays[name][0] for part in parts]
        made = lazy(array if len(arrays) == 1 else Joined(arrays), dims, attrs, array.chunks)
        if parts[0].times is not None and "time" in dims:
            made = made.isel(time=slice(parts[0].times.steps))  # frames never written are left out
        found[name] = made
    return found


def _coordinates(
    parts: Sequence[Part], boundary: Mapping[str, str] | None
) -> dict[str, xr.Variable]:
    found = {}
    for dim, (values, attrs) in parts[0].positions.items():
        where = f"{parts[0].path}: coordinate {dim}"
        made = positions(dim, values, where, attrs)
        made.attrs.update(boundary_attrs(boundary, dim, covered(values)))
        found[dim] = made
    if parts[0].times is not None:
        times = parts[0].times
        found["time"] = time_axis(times.values, times.steps, f"{parts[0].path}: t", times.said)
    for name, variable in parts[0].more.items():
        found[name] = xr.Variable(
            variable.dims, np.concatenate([p.more[name].values for p in parts]), variable.attrs
        )
    return found


def _parameters(parts: Sequence[Part], taken: set[str]) -> dict[str, xr.Variable]:
    found = {}
    for name in parts[0].parameters:
        if name in taken or any(name not in part.parameters for part in parts):
            continue
        values = np.asarray([value for part in parts for value in part.parameters[name]])
        attrs = {"units": "1", "long_name": PARAMETERS.get(name, name.replace("_", " "))}
        attrs["source_name"] = name
        same = values.size > 0 and bool((values == values[0]).all())
        found[name] = xr.Variable(
            () if same else "trajectory", values[0] if same else values, attrs
        )
    return found
