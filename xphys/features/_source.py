"""From a labelled Dataset to channels on one grid: which variables, which axes, which times."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from xphys.errors import SchemaError
from xphys.features._kernels.grid import Grid, Line
from xphys.schema import axis, spatial_dims

__all__ = ["Source", "read"]

REALIZATIONS = ("realization", "sample")
_PACKED = ("scale_factor", "add_offset", "_FillValue", "missing_value")
_UNIFORM = 1e-3  # largest departure of a step from the mean step, as in the data model


@dataclass(frozen=True, eq=False)
class Source:
    """Channels of a Dataset.

    Attributes
    ----------
    arrays : list of DataArray
        Dims: those that lead, time, channel, space.
    lead : tuple of str
        Dims that are neither time, channel nor space.
    grid : Grid
        Axes of space with more than one point.
    times : ndarray, shape (time,)
        Times, in seconds for dates.
    step : float or None
        Their distance; None if they are not uniform.
    has_time : bool
        Whether the Dataset has times.
    left_out : list of str
        Fields that do not have all dims.
    notes : dict
        What was assumed about axes.
    """

    arrays: list[xr.DataArray]
    lead: tuple[Hashable, ...]
    grid: Grid
    times: np.ndarray
    step: float | None
    has_time: bool
    left_out: list[str]
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def channels(self) -> int:
        """Number of channels."""
        return sum(int(array.sizes["channel"]) for array in self.arrays)

    @property
    def realizations(self) -> tuple[Hashable, ...]:
        """Dims of realizations."""
        return tuple(dim for dim in self.lead if dim in REALIZATIONS)


def read(ds: xr.Dataset) -> Source:
    """Find the fields, their grid and their times.

    Raises
    ------
    SchemaError
        If there is no field, fields do not go together, a dim is empty, or positions and times
        cannot be used.
    """
    chosen, left_out = _fields(ds)
    first = ds[chosen[0]]
    space = [dim for dim in spatial_dims(first) if first.sizes[dim] > 1]
    single = [dim for dim in spatial_dims(first) if first.sizes[dim] == 1]
    for dim, size in ds[chosen].sizes.items():
        if size == 0:
            raise SchemaError(f"expected entries along {dim!r}, found none: select some")
    if not space:
        raise SchemaError(f"expected an axis of space with more than one point, found {single}")
    notes: dict[str, str] = {}
    grid = Grid(tuple(_line(ds, dim, notes) for dim in space))
    _check_units(ds, space)
    times, step = _times(ds) if "time" in first.dims else (np.zeros(1), None)
    apart = {"time", "channel", *space, *single}
    lead = tuple(dim for dim in first.dims if dim not in apart)
    arrays = []
    for name in chosen:
        array = ds[name].isel(dict.fromkeys(single, 0), drop=True)
        for dim in ("time", "channel"):
            array = array if dim in array.dims else array.expand_dims(dim)
        arrays.append(array.transpose(*lead, "time", "channel", *space))
    return Source(arrays, lead, grid, times, step, "time" in first.dims, left_out, notes)


def _fields(ds: xr.Dataset) -> tuple[list[Hashable], list[str]]:
    candidates = [name for name, v in ds.data_vars.items() if spatial_dims(v)]
    if not candidates:
        raise SchemaError(f"expected fields with dims out of z, y, x, found {dict(ds.sizes)}")
    together: set[Hashable] = set()
    for name in candidates:
        together |= set(ds[name].dims)
    together -= {"channel"}
    chosen = [name for name in candidates if together <= set(ds[name].dims)]
    if not chosen:
        found = {str(name): ds[name].dims for name in candidates[:4]}
        raise SchemaError(
            f"expected fields with the same dims, found {found}: choose some with ds[[...]]"
        )
    for name in chosen:
        variable = ds[name]
        if variable.dtype.kind not in "biuf":
            raise SchemaError(
                f"expected real numbers in {name!r}, got {variable.dtype}: choose others with "
                "ds[[...]]"
            )
        packed = sorted(set(_PACKED) & set(variable.attrs))
        if packed:
            raise SchemaError(
                f"variable {name!r} is still packed or masked by attrs {packed}: decode it with "
                "xr.decode_cf(ds)"
            )
    return chosen, [str(name) for name in candidates if name not in chosen]


def _line(ds: xr.Dataset, dim: str, notes: dict[str, str]) -> Line:
    size = int(ds.sizes[dim])
    if dim not in ds.coords:
        notes[dim] = "has no positions: counted in cells, periodic"
        return Line(dim, size, 1.0, True)
    coordinate = ds.coords[dim]
    if coordinate.dtype.kind not in "fiu":
        raise SchemaError(f"expected numbers as positions along {dim!r}, got {coordinate.dtype}")
    if str(coordinate.attrs.get("units", "")).startswith("degree"):
        raise SchemaError(
            f"axis {dim!r} is in degrees: expected lengths; give positions on a plane with "
            f".assign_coords, or count in cells with ds.drop_vars({dim!r})"
        )
    try:
        found = axis(ds, dim)
    except (TypeError, ValueError) as error:
        if isinstance(error, SchemaError):
            raise
        raise SchemaError(
            f"expected a number as period of {dim!r}, got {coordinate.attrs.get('period')!r}"
        ) from error
    positions = None
    if found.spacing != "uniform":
        positions = tuple(found.coordinate.tolist())
        notes[dim] = "is not uniform: no frequencies along it"
    elif not found.periodic:
        notes[dim] = "is not periodic: one-sided differences at its ends, Hann window for modes"
    return Line(dim, size, found.step, found.periodic, positions)


def _check_units(ds: xr.Dataset, space: list[str]) -> None:
    units = {dim: str(ds[dim].attrs.get("units", "")) for dim in space if dim in ds.coords}
    if len(set(units.values()) - {""}) > 1:
        raise SchemaError(f"axes have different units {units}: bring them to one")


def _times(ds: xr.Dataset) -> tuple[np.ndarray, float | None]:
    if "time" not in ds.coords:
        return np.arange(float(ds.sizes["time"])), 1.0
    coordinate = ds.indexes["time"].to_numpy() if "time" in ds.indexes else ds["time"].to_numpy()
    if coordinate.dtype.kind in "Mm":
        times = (coordinate - coordinate[0]) / np.timedelta64(1, "s")
        times = np.where(np.isnat(coordinate), np.nan, times)
    elif coordinate.dtype.kind in "fiu":
        times = coordinate.astype(np.float64)
    else:
        raise SchemaError(f"expected numbers or dates as times, got {coordinate.dtype}")
    steps = np.diff(times)
    if not np.isfinite(times).all():
        raise SchemaError("coordinate 'time' holds NaN or infinity: expected finite times")
    if not (steps > 0).all():
        raise SchemaError("coordinate 'time' does not rise everywhere: use .sortby('time')")
    if not steps.size:
        return times, None
    mean = float(times[-1] - times[0]) / steps.size
    return times, mean if np.abs(steps - mean).max() <= _UNIFORM * mean else None
