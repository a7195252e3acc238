"""Data and calls that features must refuse, or treat by a stated policy.

Each row: name, change of a good Dataset, arguments, and either (error, word of its message) or
the name of a policy that the test checks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from xphys.errors import SchemaError, UnknownNameError

Change = Callable[[xr.Dataset], xr.Dataset]
S, U = SchemaError, UnknownNameError


def good() -> xr.Dataset:
    """Two fields on a periodic plane: (realization: 2, time: 7, y: 8, x: 10)."""
    rng = np.random.default_rng(0)
    coords: dict[str, Any] = {"time": ("time", np.arange(7) * 0.5, {"units": "s"})}
    for d, n in (("y", 8), ("x", 10)):
        attrs = {"units": "m", "period": 2.0, "boundary": "periodic"}
        coords[d] = (d, (np.arange(n) + 0.5) * 2 / n, attrs)
    dims = ("realization", "time", "y", "x")
    shape = (2, 7, 8, 10)
    return xr.Dataset({c: (dims, rng.normal(size=shape), {"units": "m/s"}) for c in "ab"}, coords)


def same(ds: xr.Dataset) -> xr.Dataset:
    return ds


def attrs(dim: str, **values: Any) -> Change:
    """Other attrs of a coordinate; None takes one out."""

    def change(ds: xr.Dataset) -> xr.Dataset:
        kept = {k: v for k, v in {**ds[dim].attrs, **values}.items() if v is not None}
        return ds.assign_coords({dim: (dim, ds[dim].values, kept)})

    return change


def positions(dim: str, make: Callable[[np.ndarray], Any]) -> Change:
    return lambda ds: ds.assign_coords({dim: (dim, make(ds[dim].values), ds[dim].attrs)})


def values(make: Callable[[xr.DataArray], xr.DataArray]) -> Change:
    return lambda ds: ds.assign(a=make(ds.a).assign_attrs(ds.a.attrs))


def spoilt(value: float) -> Change:
    def change(ds: xr.Dataset) -> xr.Dataset:
        data = ds.a.values.copy()
        data[0, 3, 3, 3] = value
        return ds.assign(a=ds.a.copy(data=data))

    return change


def masked(ds: xr.Dataset) -> xr.Dataset:
    data = np.ma.masked_array(ds.a.values, np.zeros(ds.a.shape, bool))
    data[0, 3, 3, 3] = np.ma.masked
    return ds.assign(a=(ds.a.dims, data))


STEP = {"level": "step"}

MISUSE: list[tuple[str, Change, dict[str, Any], tuple[type[Exception], str] | str]] = [
    # axes of space
    ("no positions", lambda ds: ds.drop_vars(["y", "x"]), STEP, "cells"),
    ("no positions along one axis", lambda ds: ds.drop_vars("x"), STEP, "cells"),
    ("no period", attrs("x", period=None, boundary=None), STEP, "open"),
    ("wrong period", attrs("x", period=3.0), STEP, "open"),
    ("negative period", attrs("x", period=-2.0), STEP, "open"),
    ("period NaN", attrs("x", period=float("nan")), STEP, "open"),
    ("period in words", attrs("x", period="two"), STEP, (S, "number as period")),
    ("wall", attrs("x", boundary="wall"), STEP, "open"),
    ("shear-periodic", attrs("x", boundary="shear_periodic"), STEP, "open"),
    ("sliced", lambda ds: ds.isel(x=slice(0, 7)), STEP, "open"),
    ("every second but one", lambda ds: ds.isel(x=[0, 2, 4, 6]), STEP, "open"),
    ("stretched", positions("x", lambda x: x**1.5), STEP, "uneven"),
    ("one point moved", positions("x", lambda x: x + 0.05 * (x == x[4])), STEP, "uneven"),
    ("chebyshev", attrs("x", spacing="chebyshev"), STEP, "uneven"),
    ("unsorted", lambda ds: ds.isel(x=[0, 2, 1, 3, 4, 5, 6, 7, 8, 9]), STEP, (S, "sortby")),
    ("duplicate position", positions("x", lambda x: np.where(x == x[4], x[3], x)), STEP,
     (S, "monotonic")),
    ("NaN position", positions("x", lambda x: np.where(x == x[4], np.nan, x)), STEP, (S, "NaN")),
    ("infinite position", positions("x", lambda x: np.where(x == x[9], np.inf, x)), STEP,
     (S, "infinity")),
    ("falling positions", lambda ds: ds.isel(x=slice(None, None, -1)), STEP, "same"),
    ("words as positions", positions("x", lambda x: [f"p{i}" for i in range(10)]), STEP,
     (S, "expected numbers")),
    ("dates as positions", positions("x", lambda x: np.arange(10).astype("M8[D]")), STEP,
     (S, "expected numbers")),
    ("units differ", attrs("x", units="km"), STEP, (S, "different units")),
    ("units missing on one axis", attrs("x", units=None), STEP, "same"),
    ("degrees", attrs("x", units="degrees_east"), STEP, (S, "degrees")),
    ("transposed", lambda ds: ds.transpose("x", "time", "y", "realization"), STEP, "same"),
    ("chunked across frames", lambda ds: ds.chunk(time=2, y=3, x=4), STEP, "same"),
    ("one variable chunked", lambda ds: ds.assign(b=ds.b.chunk(time=2)), STEP, "same"),
    ("one cell along x", lambda ds: ds.isel(x=[0]), STEP, "no x"),
    ("one cell along each", lambda ds: ds.isel(x=[0], y=[0]), STEP, (S, "more than one point")),
    ("no cells", lambda ds: ds.isel(x=slice(0, 0)), STEP, (S, "found none")),
    ("two cells along x", lambda ds: ds.isel(x=[0, 1]), STEP, "finite where defined"),
    ("no axis of space", lambda ds: ds.rename(x="a1", y="b1"), STEP, (S, "z, y, x")),
    # times
    ("times fall", lambda ds: ds.isel(time=slice(None, None, -1)), {}, (S, "sortby")),
    ("times unsorted", lambda ds: ds.isel(time=[0, 2, 1, 3, 4, 5, 6]), {}, (S, "sortby")),
    ("duplicate time", positions("time", lambda t: np.where(t == t[4], t[3], t)), {}, (S, "rise")),
    ("NaN time", positions("time", lambda t: np.where(t == t[4], np.nan, t)), {}, (S, "NaN")),
    ("no date", positions("time", lambda t: np.array([*range(6), "NaT"], "M8[D]")), {},
     (S, "NaN")),
    ("times in words", positions("time", lambda t: list("abcdefg")), {}, (S, "numbers or dates")),
    ("uneven times", positions("time", lambda t: t**2), {}, "uneven times"),
    ("no times", lambda ds: ds.isel(time=slice(0, 0)), {}, (S, "found none")),
    ("one time", lambda ds: ds.isel(time=[0]), {}, "all undefined"),
    ("no dim of time", lambda ds: ds.isel(time=0, drop=True), {}, "all undefined"),
    ("no positions in time", lambda ds: ds.drop_vars("time"), STEP, "same"),
    ("no realizations", lambda ds: ds.isel(realization=slice(0, 0)), STEP, (S, "found none")),
    # variables and values
    ("complex", values(lambda f: f + 1j), STEP, (S, "complex")),
    ("words", values(lambda f: f.astype(str)), STEP, (S, "real numbers")),
    ("objects", values(lambda f: f.astype(object)), STEP, (S, "real numbers")),
    ("dates as values", values(lambda f: (f * 100).astype("i8").astype("M8[s]").astype("M8[ns]")),
     STEP, (S, "real numbers")),
    ("packed", lambda ds: ds.assign(a=ds.a.assign_attrs(scale_factor=0.1)), STEP, (S, "decode")),
    ("fill value left in", lambda ds: ds.assign(a=ds.a.assign_attrs(_FillValue=-9.0)), STEP,
     (S, "decode")),
    ("no variables", lambda ds: ds[[]], STEP, (S, "expected fields")),
    ("fields on other dims", lambda ds: ds.assign(a=ds.a.isel(realization=0),
                                                  b=ds.b.isel(time=0, drop=True)), STEP,
     (S, "same dims")),
    ("NaN", spoilt(np.nan), STEP, "spoilt"),
    ("infinity", spoilt(np.inf), STEP, "spoilt"),
    ("NaN, chunked", lambda ds: spoilt(np.nan)(ds).chunk(time=2), STEP, "spoilt"),
    ("masked", masked, STEP, "spoilt"),
    ("nothing but NaN", lambda ds: ds * np.nan, STEP, "all nan"),
    ("truth values", lambda ds: ds > 0, STEP, "as numbers"),
    ("a copy as second channel", lambda ds: ds.assign(b=ds.a), STEP, "copies"),
    ("a constant as second channel", lambda ds: ds.assign(b=ds.b * 0 + 1), STEP, "one constant"),
    ("tiny values", lambda ds: ds * 1e-150, STEP, "finite where defined"),
    ("huge values", lambda ds: ds * 1e304, STEP, "no error"),
    ("values that differ by nothing", lambda ds: ds * 0 + (ds > 0) * 5e-324, STEP, "no error"),
    ("huge offset", lambda ds: ds * 1e-3 + 1e9, STEP, "finite where defined"),
    # settings
    ("unknown level", same, {"level": "frame"}, (U, "level")),
    ("unknown family", same, {"families": "spatal"}, (U, "families")),
    ("unknown name", same, {"names": "energy_growth"}, (U, "energy_growth_rate")),
    ("a number as name", same, {"names": [17]}, (U, "17")),
    ("a number as names", same, {"names": 17}, (S, "names")),
    ("no families", same, {"families": []}, (S, "at least one")),
    ("no names", same, {"names": ()}, (S, "at least one")),
    ("family of steps for trajectories", same, {"families": "spatial"}, (S, "over_time")),
    ("family of trajectories for steps", same, {"families": "temporal", **STEP},
     (S, 'level="trajectory"')),
    ("name of a step for trajectories", same, {"names": "spatial_std"}, (S, 'level="step"')),
    ("name of a trajectory for steps", same, {"names": "trend_strength", **STEP},
     (S, 'level="trajectory"')),
    ("name of another family", same, {"names": "spatial_std", "families": "spectral", **STEP},
     (U, "spatial_std")),
    ("sensitivity without an operator", same, {"families": "operator_sensitivity"},
     (S, "operator=")),
    ("operator for steps", same, {"operator": abs, **STEP}, (S, "level")),
    ("operator that is none", same, {"operator": 3.0}, (S, "callable")),
    ("operators without their dim", same, {"operator": [abs, abs]}, (S, "callable")),
    ("unknown statistic", same, {"level": "aggregated", "over_realizations": ("mean", "median")},
     (U, "median")),
    ("no statistic", same, {"level": "aggregated", "over_realizations": ()}, (S, "at least one")),
    ("a statistic twice", same, {"level": "aggregated", "over_realizations": ("mean", "mean")},
     (S, "once")),
    ("statistic of time for realizations", same,
     {"level": "aggregated", "over_realizations": "final"}, (U, "final")),
    ("unknown statistic of time", same, {"over_time": "median"}, (U, "median")),
    ("a number as statistic", same, {"over_time": 3}, (S, "over_time")),
]  # fmt: skip
