"""Whether a run keeps its energy: the verdict on the runs of a parameter sweep."""

from __future__ import annotations

from collections.abc import Hashable
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from xphys._dims import lift
from xphys.errors import SchemaError, UnknownNameError
from xphys.fields import invariants
from xphys.schema import PROVENANCE, record, spatial_dims

__all__ = ["VERDICTS", "sustained"]

#: Words of the verdict, the last for runs whose energy is not finite.
VERDICTS = ("SUSTAINED", "DECAYING", "DEAD", "NOT FINITE")
_HISTORY = ("kinetic_energy_1", "kinetic_energy_2", "kinetic_energy_3")
# In periods; as shares of a run of 100 periods the same.
_MID, _LATE, _WHOLE = (30.0, 50.0), (70.0, 100.0), 100.0
Window = tuple[float, float]


def sustained(
    ds: xr.Dataset | xr.DataArray,
    *,
    variable: str | None = None,
    mid: tuple[float, float] | None = None,
    late: tuple[float, float] | None = None,
    period: float | None = None,
    thresholds: tuple[float, float] = (0.3, 0.01),
) -> xr.Dataset:
    r"""Tell whether turbulence lasts: kinetic energy late in a run over that in its middle, lazily.

    ``ratio`` = mean energy over ``late`` / mean energy over ``mid``, each the mean of the stored
    times in the window (ends included). The verdict is "SUSTAINED" above the first threshold,
    "DECAYING" above the second, else "DEAD"; "NOT FINITE" where the energy is not.

    Parameters
    ----------
    ds : Dataset or DataArray
        Fields, or a history table with ``kinetic_energy_1``, ... or ``kinetic_energy`` over time;
        one run or many (a trajectory has one verdict each).
    variable : str, optional
        A variable over time only, taken as it is, or one in space, whose mean square is taken. By
        default the kinetic energy of the history, else of the velocity (see `invariants`).
    mid, late : (float, float), optional
        First and last time in units of ``period``. By default 30 to 50 and 70 to 100 periods; where
        no period is known, 0.3 to 0.5 and 0.7 to 1 of the time from the first to the last output,
        which is the same in a run of 100 periods.
    period : float, optional
        Time of one orbit, in units of the coordinate. By default 2 pi over the coordinate
        ``rotation_rate`` or "Omega", where there is one number of it. With windows and no
        period known, they are shares of the run.
    thresholds : (float, float)
        Smallest ratio of what lasts, and of what decays.

    Returns
    -------
    Dataset
        ``energy(time)``, ``mid_energy``, ``late_energy``, ``ratio``, ``peak_time`` (of the largest
        energy, in the units of time) and ``verdict``. Attributes say which windows were taken.

    Raises
    ------
    UnknownNameError
        If the variable is not there, or no energy can be found.
    SchemaError
        If there is no time, or it does not rise; a window holds no output; it reaches beyond the
        run by more than a hundredth of its length; or numbers are not in order.

    Examples
    --------
    >>> time = np.arange(101.0)
    >>> run = xr.Dataset({"kinetic_energy": ("time", np.exp(-time / 20))}, {"time": time})
    >>> found = sustained(run)
    >>> str(found.verdict.values), float(found.ratio.round(3))
    ('DECAYING', 0.111)
    """
    if isinstance(ds, xr.DataArray):
        ds, variable = ds.to_dataset(name=ds.name or "data"), str(ds.name or "data")
    first, second = _thresholds(thresholds)
    time = _times(ds)
    energy, name = _energy(ds, variable)
    unit, length = _unit(ds, period, time)
    spans = {"mid": mid or _MID, "late": late or _LATE}
    if unit == "share of the run":
        given = {"mid": mid, "late": late}
        spans = {k: w if given[k] is not None else _share(w) for k, w in spans.items()}
    start = float(time[0]) if unit == "share of the run" else 0.0
    places = {k: _place(time, w, start, length, k, unit) for k, w in spans.items()}
    values = energy.chunk(time=-1) if energy.chunks is not None else energy
    found = lift(
        partial(_verdict, time=time, places=places, thresholds=(first, second)),
        values,
        core_dims=["time"],
        output_core_dims=[[]] * 5,
        output_dtypes=[*[np.float64] * 4, np.dtype("<U10")],
    )
    names = ("mid_energy", "late_energy", "ratio", "peak_time", "verdict")
    result = xr.Dataset({"energy": energy, **dict(zip(names, found, strict=True))})
    for key, about in _ABOUT.items():
        result[key].attrs = {"long_name": about}
    units = energy.attrs.get("units")
    for key in ("energy", "mid_energy", "late_energy") if units is not None else ():
        result[key].attrs["units"] = units
    result["ratio"].attrs["units"] = "1"
    result["peak_time"].attrs |= {k: v for k, v in ds["time"].attrs.items() if k == "units"}
    result.attrs = {k: ds.attrs[k] for k in (PROVENANCE,) if k in ds.attrs}
    result.attrs |= {"windows_in": unit, **{k: list(map(float, w)) for k, w in spans.items()}}
    used = {"variable": name, "period": length if unit == "periods" else None,
            **{k: list(map(float, w)) for k, w in spans.items()},
            "thresholds": [first, second]}  # fmt: skip
    return record(result, "sustained", used)


_ABOUT = {
    "energy": "energy over time",
    "mid_energy": "mean energy in the middle window",
    "late_energy": "mean energy in the late window",
    "ratio": "late over middle energy",
    "peak_time": "time of the largest energy",
    "verdict": "whether the energy lasts",
}


def _share(window: Window) -> Window:
    return window[0] / _WHOLE, window[1] / _WHOLE


def _thresholds(thresholds: Any) -> tuple[float, float]:
    try:
        first, second = (float(v) for v in thresholds)
    except (TypeError, ValueError):
        first = second = np.nan
    if not 0 < second < first < np.inf:
        raise SchemaError(
            f"expected thresholds=(lasting, decaying), falling and above 0, got {thresholds!r}"
        )
    return first, second


def _times(ds: xr.Dataset) -> np.ndarray:
    if "time" not in ds.dims or "time" not in ds.coords:
        raise SchemaError(f"expected a dim 'time' with a coordinate, found {tuple(ds.dims)}")
    if ds["time"].dtype.kind not in "fiu":
        raise SchemaError(f"coordinate 'time' holds {ds['time'].dtype}, expected numbers")
    time = np.asarray(ds["time"].values, np.float64)
    if time.size < 2 or not np.isfinite(time).all() or not (np.diff(time) > 0).all():
        raise SchemaError(
            f"expected two or more times that rise, got {time.size}: use .sortby('time') and "
            ".drop_duplicates('time')"
        )
    return time


def _energy(ds: xr.Dataset, variable: str | None) -> tuple[xr.DataArray, str]:
    if variable is not None:
        if variable not in ds.data_vars:
            raise UnknownNameError(
                f"expected a variable out of {list(ds.data_vars)}, got {variable!r}"
            )
        field = ds[variable]
        if field.dtype.kind not in "biuf" or "time" not in field.dims:
            raise SchemaError(
                f"{variable!r} has dims {field.dims} and dtype {field.dtype}: expected real "
                "numbers over time"
            )
        space = spatial_dims(field)
        values = field.astype(np.float64)
        square = (values**2).mean(space, skipna=False) if space else values
        return square.assign_attrs({} if space else field.attrs), variable
    parts: list[Hashable] = [n for n in _HISTORY if n in ds.data_vars]
    parts = parts or [n for n in ("kinetic_energy",) if n in ds and not spatial_dims(ds[n])]
    if parts:
        total = sum((ds[n] for n in parts[1:]), ds[parts[0]])
        return total.assign_attrs(ds[parts[0]].attrs), "kinetic_energy"
    found = invariants(ds) if spatial_dims(ds) else xr.Dataset()
    if "kinetic_energy" not in found or "time" not in found["kinetic_energy"].dims:
        raise UnknownNameError(
            f"no kinetic energy over time follows from {list(ds.data_vars)}: name what to take "
            "with variable=..."
        )
    return found["kinetic_energy"], "kinetic_energy"


def _unit(ds: xr.Dataset, period: Any, time: np.ndarray) -> tuple[str, float]:
    """What windows are counted in, and how long that is."""
    if period is not None:
        number = isinstance(period, int | float | np.number) and not isinstance(period, bool)
        if not number or not 0 < period < np.inf:
            raise SchemaError(f"expected period as a number above 0, got {period!r}")
        return "periods", float(period)
    for name in ("rotation_rate", "Omega"):
        if name in ds.coords and ds[name].dtype.kind in "fiu":
            rates = np.unique(np.abs(np.asarray(ds[name].values, np.float64)))
            if rates.size == 1 and 0 < rates[0] < np.inf:
                return "periods", 2 * np.pi / float(rates[0])
    return "share of the run", float(time[-1] - time[0])


def _place(
    time: np.ndarray, window: Any, start: float, length: float, name: str, unit: str
) -> tuple[int, int]:
    """First and last but one output in a window."""
    try:
        low, high = (float(v) for v in window)
    except (TypeError, ValueError):
        low = high = np.nan
    if not (np.isfinite(low) and np.isfinite(high) and 0 <= low <= high):
        raise SchemaError(f"expected {name}=(first, last), from 0 on and rising, got {window!r}")
    slack = 1e-9 * abs(float(time[-1]))
    if start + high * length > time[-1] + 0.01 * (time[-1] - time[0]) + slack:
        raise SchemaError(
            f"{name}={(low, high)} in {unit} ends at time {start + high * length:.6g}, the run at "
            f"{float(time[-1]):.6g}: give windows that lie in it, mid=..., late=..."
        )
    inside = (time >= start + low * length - slack) & (time <= start + high * length + slack)
    places = np.flatnonzero(inside)
    if not places.size:
        raise SchemaError(f"{name}={(low, high)} in {unit} holds no output: make it wider")
    return int(places[0]), int(places[-1]) + 1


def _verdict(
    energy: Any,
    *,
    time: np.ndarray,
    places: dict[str, tuple[int, int]],
    thresholds: tuple[float, float],
) -> tuple[Any, ...]:
    mid, late = (energy[..., slice(*places[k])].mean(axis=-1) for k in ("mid", "late"))
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where((mid == 0) & (late == 0), 0.0, late / mid)
    known = np.isfinite(energy)
    peak = time[np.where(known, energy, -np.inf).argmax(axis=-1)]
    peak = np.where(known.any(axis=-1), peak, np.nan)
    finite = np.isfinite(mid) & np.isfinite(late)
    words = np.select(
        [~finite, ratio > thresholds[0], ratio > thresholds[1]],
        [VERDICTS[3], VERDICTS[0], VERDICTS[1]],
        VERDICTS[2],
    )
    return mid, late, ratio, peak, words.astype("<U10")
