"""Mistakes of callers: what breaks, what is called, which error with which words, or the policy.

A policy is a function of the result that must be true.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from xphys import metrics, spectra, stats
from xphys.errors import SchemaError, UnknownNameError

Change = Callable[[xr.Dataset], Any]
Outcome = tuple[type[Exception], str] | Callable[[Any], bool]


def good() -> xr.Dataset:
    """A velocity, a density and a vorticity on a periodic plane, four times."""
    rng = np.random.default_rng(0)
    coords: dict[str, Any] = {"time": ("time", np.arange(4) * 0.5, {"units": "s"})}
    for d, n in (("y", 12), ("x", 16)):
        attrs = {"units": "m", "period": 2.0, "boundary": "periodic"}
        coords[d] = (d, (np.arange(n) + 0.5) * 2 / n, attrs)
    ds = xr.Dataset(coords=coords)
    for c in "xy":
        attrs = {"vector": "velocity", "component": c, "units": "m/s"}
        ds[f"velocity_{c}"] = ("time", "y", "x"), rng.normal(size=(4, 12, 16)), attrs
    ds["density"] = ("time", "y", "x"), 1 + rng.random((4, 12, 16)), {"units": "kg/m3"}
    ds["vorticity"] = ("time", "y", "x"), rng.normal(size=(4, 12, 16)), {"units": "1/s"}
    return ds


def same(ds: xr.Dataset) -> xr.Dataset:
    return ds


def positions(dim: str, make: Callable[[np.ndarray], Any]) -> Change:
    return lambda ds: ds.assign_coords({dim: (dim, make(ds[dim].values), ds[dim].attrs)})


def attrs(dim: str, **values: Any) -> Change:
    def change(ds: xr.Dataset) -> xr.Dataset:
        kept = {k: v for k, v in {**ds[dim].attrs, **values}.items() if v is not None}
        return ds.assign_coords({dim: (dim, ds[dim].values, kept)})

    return change


def values(make: Callable[[xr.DataArray], Any]) -> Change:
    return lambda ds: ds.assign(density=make(ds.density).assign_attrs(ds.density.attrs))


def spoilt(value: float) -> Change:
    def change(ds: xr.Dataset) -> xr.Dataset:
        data = ds.density.values.copy()
        data[1, 3, 3] = value
        return ds.assign(density=ds.density.copy(data=data))

    return change


def masked(ds: xr.Dataset) -> xr.Dataset:
    data = np.ma.masked_greater(ds.density.values, 1.9)
    return ds.assign(density=(ds.density.dims, data, ds.density.attrs))


def packed(ds: xr.Dataset) -> xr.Dataset:
    return ds.assign(density=ds.density.assign_attrs(scale_factor=0.1))


def ensemble(ds: xr.Dataset) -> xr.Dataset:
    members = [ds + 0.1 * (i + 1) for i in range(3)]
    return xr.concat(members, "sample").chunk(time=2)


def history(ds: xr.Dataset) -> xr.Dataset:
    time = np.arange(101.0)
    return xr.Dataset({"kinetic_energy": ("time", np.exp(-time / 50))}, {"time": time})


D = "density"
U, S = UnknownNameError, SchemaError
ROWS: list[tuple[str, Change, Callable[[Any], Any], Outcome]] = []


def every(what: str, change: Change, calls: dict[str, Callable[[Any], Any]], outcome: Any) -> None:
    """The same mistake in each function."""
    for name, call in calls.items():
        found = outcome[name] if isinstance(outcome, dict) else outcome
        ROWS.append((f"{name}: {what}", change, call, found))


def nan_of(*names: str) -> Callable[[Any], bool]:
    return lambda found: all(bool(found[n].isnull().all()) for n in names)


# What each function does with one variable.
ONE: dict[str, Callable[[Any], Any]] = {
    "moments": lambda ds: stats.moments(ds, D),
    "pdf": lambda ds: stats.pdf(ds, D, bins=8),
    "structure": lambda ds: spectra.structure_functions(ds, D),
    "correlation": lambda ds: spectra.autocorrelation(ds, D),
    "lengths": lambda ds: spectra.correlation_lengths(ds, D),
}
VALUES = {name: ONE[name] for name in ("moments", "pdf")}
LAGS = {name: ONE[name] for name in ("structure", "correlation", "lengths")}

# variables
every("complex values", values(lambda f: f + 1j), ONE, (S, "complex"))
every("words", values(lambda f: f.astype(str)), ONE, (S, "real"))
every("objects", values(lambda f: f.astype(object)), ONE, (S, "real"))
every("still packed", packed, ONE, (S, "decode"))
every("nothing selected", lambda ds: ds.isel(time=slice(0, 0)), ONE, (S, "empty"))
every("unknown variable", lambda ds: ds.drop_vars(D), ONE, (U, "density"))
every("a file name", lambda ds: "run.zarr", ONE, (S, "Dataset or DataArray"))
every("variables of a DataArray", lambda ds: ds.density, ONE, (S, "variables="))
every(
    "NaN", spoilt(np.nan), ONE,
    {"moments": nan_of("mean", "kurtosis"), "pdf": nan_of("pdf"),
     **dict.fromkeys(LAGS, lambda f: bool(f.density.isel(time=1).isnull().all())
                     and not f.density.isel(time=0).isnull().all())},
)  # fmt: skip
every(
    "masked", masked, ONE,
    {"moments": nan_of("mean"), "pdf": nan_of("pdf"),
     **dict.fromkeys(LAGS, lambda f: bool(f.density.isnull().all()))},
)  # fmt: skip
every(
    "infinity", spoilt(np.inf), ONE,
    {"moments": lambda f: bool(f["max"][0] == np.inf and f.variance.isnull().all()),
     "pdf": lambda f: int(f.above[0]) == 1,
     **dict.fromkeys(LAGS, lambda f: bool(f.density.isel(time=1).isnull().all()))},
)  # fmt: skip
every("an unknown dim", same,
      {"moments": lambda ds: stats.moments(ds, dims="z"),
       "pdf": lambda ds: stats.pdf(ds, dims="z"),
       "structure": lambda ds: spectra.structure_functions(ds, dims="z"),
       "correlation": lambda ds: spectra.autocorrelation(ds, dims="z")},
      (S, "dims out of"))  # fmt: skip
every("no dims", same,
      {"moments": lambda ds: stats.moments(ds, dims=()),
       "pdf": lambda ds: stats.pdf(ds, dims=()),
       "correlation": lambda ds: spectra.autocorrelation(ds, dims=())},
      (S, "at least one"))  # fmt: skip
every("no variables", same,
      {"moments": lambda ds: stats.moments(ds, []), "pdf": lambda ds: stats.pdf(ds, []),
       "structure": lambda ds: spectra.structure_functions(ds, [])},
      (S, "at least one"))  # fmt: skip
every("no real variable", lambda ds: ds[[D]] + 1j,
      {"moments": stats.moments, "pdf": stats.pdf, "structure": spectra.structure_functions},
      (S, "found none"))  # fmt: skip
every("a dim that the variable has not", lambda ds: ds.assign(density=ds.density.mean("x")),
      {"moments": lambda ds: stats.moments(ds, D, dims="x"),
       "pdf": lambda ds: stats.pdf(ds, D, dims="x"),
       "structure": LAGS["structure"]},
      {"moments": (S, "has any of the dims"), "pdf": (S, "has any of the dims"),
       "structure": (S, "among them")})  # fmt: skip

# axes
every("no positions", lambda ds: ds.drop_vars("x"), LAGS, (S, "no coordinate"))
every("stretched", positions("x", lambda x: x**1.5), LAGS, (S, "uniform"))
every("unsorted", lambda ds: ds.isel(x=[0, 2, 1, *range(3, 16)]), LAGS, (S, "sortby"))
every("doubled", positions("x", lambda x: np.where(x == x[4], x[3], x)), LAGS, (S, "monotonic"))
every("NaN as position", positions("x", lambda x: np.where(x == x[4], np.nan, x)), LAGS,
      (S, "finite"))  # fmt: skip
every("words as positions", positions("x", lambda x: [f"p{i}" for i in range(16)]), LAGS,
      (S, "expected numbers"))  # fmt: skip
every("chebyshev", attrs("x", spacing="chebyshev"), LAGS, (S, "interpolate"))
every("no spatial dim", lambda ds: ds.rename(x="a", y="b"), LAGS, (S, "spatial"))
every("one cell each way", lambda ds: ds.isel(x=[0], y=[0]), LAGS, (S, "more than one point"))
every("dates", lambda ds: ds.assign_coords(time=np.arange(4).astype("M8[D]")),
      {"correlation": lambda ds: spectra.autocorrelation(ds, D, dims="time")},
      (S, "datetime64"))  # fmt: skip
every("a part of a periodic axis", lambda ds: ds.isel(x=slice(0, 9)), LAGS,
      dict.fromkeys(LAGS, lambda f: f.density.notnull().any()))  # fmt: skip
every("falling positions", lambda ds: ds.isel(x=slice(None, None, -1)),
      {"structure": lambda ds: spectra.structure_functions(ds, D, orders=[2, 3])},
      lambda f: bool(np.allclose(
          f.density, spectra.structure_functions(good(), D, orders=[2, 3]).density,
          rtol=1e-10, equal_nan=True)))  # fmt: skip
every("units differ", attrs("x", units="km"),
      {"structure": LAGS["structure"], "lengths": LAGS["lengths"]},
      {"structure": lambda f: "units" not in f.separation.attrs,
       "lengths": (S, "different units")})  # fmt: skip
every("units missing", attrs("x", units=None), {"lengths": LAGS["lengths"]}, (S, "units"))


def structure(**arguments: Any) -> Callable[[Any], Any]:
    return lambda ds: spectra.structure_functions(ds, D, **arguments)


# settings of separations
ROWS += [
    ("orders: none", same, structure(orders=[]), (S, "orders")),
    ("orders: 0", same, structure(orders=[0, 2]), (S, "above 0")),
    ("orders: words", same, structure(orders="two"), (S, "orders")),
    ("orders: NaN", same, structure(orders=[np.nan]), (S, "above 0")),
    ("orders: twice", same, structure(orders=[2, 2.0]), (S, "once")),
    ("orders: half of signed", same, structure(orders=[0.5]), (S, "absolute=True")),
    ("orders: one number", same, structure(orders=2), lambda f: f.sizes["order"] == 1),
    ("lags: too long", same, structure(lags=9), (S, "pairs of up to")),
    ("lags: 0", same, structure(lags=[0, 1]), (S, "from 1 on")),
    ("lags: negative", same, structure(lags=-3), (S, "lags")),
    ("lags: parts of cells", same, structure(lags=[0.5]), (S, "whole numbers")),
    ("lags: twice", same, structure(lags=[1, 1]), (S, "once")),
    ("lags: truth", same, structure(lags=True), (S, "lags")),
    ("lags: several of a correlation", same,
     lambda ds: spectra.autocorrelation(ds, D, lags=[1, 2]), (S, "largest whole number")),
    ("memory: words", same, structure(memory="lots"), (S, "memory")),
    ("memory: too little for a line", lambda ds: ds.chunk(x=2), structure(memory=16),
     (S, "does not fit")),
    # settings of densities
    ("bins: none", same, lambda ds: stats.pdf(ds, bins=0), (S, "number of bins")),
    ("bins: negative", same, lambda ds: stats.pdf(ds, bins=-5), (S, "number of bins")),
    ("bins: one without a range", same, lambda ds: stats.pdf(ds, bins=1), (S, "range=")),
    ("bins: too many", same, lambda ds: stats.pdf(ds, bins=2**21), (S, "number of bins")),
    ("bins: truth", same, lambda ds: stats.pdf(ds, bins=True), (S, "whole number")),
    ("bins: words", same, lambda ds: stats.pdf(ds, bins="auto"), (S, "whole number")),
    ("bins: half a bin", same, lambda ds: stats.pdf(ds, bins=2.5), (S, "edges")),
    ("bins: falling edges", same, lambda ds: stats.pdf(ds, bins=[2.0, 1.0]), (S, "rise")),
    ("bins: equal edges", same, lambda ds: stats.pdf(ds, bins=[1.0, 1.0, 2.0]), (S, "rise")),
    ("bins: edge NaN", same, lambda ds: stats.pdf(ds, bins=[1.0, np.nan]), (S, "finite")),
    ("bins: edges and a range", same,
     lambda ds: stats.pdf(ds, bins=[1.0, 2.0], range=(0, 1)), (S, "leave it out")),
    ("range: falling", same, lambda ds: stats.pdf(ds, range=(1, 0)), (S, "low < high")),
    ("range: empty", same, lambda ds: stats.pdf(ds, range=(1, 1)), (S, "low < high")),
    ("range: infinite", same, lambda ds: stats.pdf(ds, range=(0, np.inf)), (S, "finite")),
    ("range: one number", same, lambda ds: stats.pdf(ds, range=3.0), (S, "range=")),
    ("range: beside all values", same, lambda ds: stats.pdf(ds, D, bins=4, range=(8, 9)),
     lambda f: bool(f.pdf.isnull().all() and int(f.below[0]) == good().density.size)),
]  # fmt: skip

# Two of them.
TWO: dict[str, Callable[[Any], Any]] = {
    "scores": lambda ds: metrics.scores(ds, good()),
    "compare": lambda ds: metrics.compare(ds, good()),
    "distances": lambda ds: metrics.distances(ds, good()),
    "analyze": lambda ds: metrics.analyze(ds, good()),
    "gap": lambda ds: metrics.domain_gap(ds, good()),
}
POINTS = {name: TWO[name] for name in ("scores", "compare", "analyze")}
every("an array and a Dataset", lambda ds: ds.density, TWO, (S, "two Datasets"))
every("no common variable", lambda ds: ds.rename({n: f"{n}_" for n in ds.data_vars}), TWO,
      (U, "both"))  # fmt: skip
every("other sizes", lambda ds: ds.isel(x=slice(0, 9)), POINTS, (S, "one grid"))
every("shifted positions", positions("x", lambda x: x + 0.03), POINTS, (S, "other positions"))
every("other times", lambda ds: ds.assign_coords(time=ds.time + 9), POINTS, (S, "positions"))
every("doubled time", lambda ds: ds.isel(time=[0, 1, 1, 2]), POINTS, (S, "positions"))
every("transposed", lambda ds: ds.transpose("x", "time", "y") + 0,
      {"scores": lambda ds: metrics.scores(ds, good(), "rmse")},
      lambda f: bool((f.rmse == 0).all()))  # fmt: skip
every("still packed", packed, {"distances": TWO["distances"], "gap": TWO["gap"]}, (S, "decode"))
every("NaN", spoilt(np.nan), {"scores": TWO["scores"], "compare": TWO["compare"],
                              "distances": TWO["distances"], "gap": TWO["gap"]},
      {"scores": lambda f: f.rmse.sel(variable=D) == np.inf,
       "compare": lambda f: f.vrmse.sel(variable=D) == np.inf,
       "distances": lambda f: bool(f.js_divergence.sel(variable=D).isnull()),
       "gap": lambda f: bool(f.pdf.sel(variable=D, origin="coarse").isnull().all()
                             and f.l2_gap.sel(variable=D)[1] == np.inf)})  # fmt: skip
ROWS += [
    ("scores: unknown", same, lambda ds: metrics.scores(ds, ds, "rmsd"), (U, "rmsd")),
    ("scores: none", same, lambda ds: metrics.scores(ds, ds, []), (S, "at least one")),
    ("scores: range 0", same, lambda ds: metrics.scores(ds, ds, data_range=0), (S, "above 0")),
    ("scores: range in words", same, lambda ds: metrics.scores(ds, ds, data_range="1"),
     (S, "above 0")),
    ("scores: unknown dim", same, lambda ds: metrics.scores(ds, ds, dims="z"), (S, "dims out of")),
    ("scores: no periodic axis", lambda ds: ds.drop_attrs(),
     lambda ds: metrics.scores(ds, ds, "frmse"), lambda f: bool(f.frmse.isnull().all())),
    ("distances: one bin", same, lambda ds: metrics.distances(ds, ds, bins=1), (S, "from 2")),
    ("distances: too many bins", same, lambda ds: metrics.distances(ds, ds, bins=10**6),
     (S, "from 2")),
    ("distances: unknown variable", same, lambda ds: metrics.distances(ds, ds, "rho"), (U, "rho")),
    ("distances: other times left", lambda ds: ds.isel(time=slice(0, 2)),
     lambda ds: metrics.distances(ds, good(), dims=("y", "x")), (S, "left differ")),
    ("distances: nothing selected", lambda ds: ds.isel(x=slice(0, 0)),
     lambda ds: metrics.distances(ds, good()), (S, "empty")),
    ("analyze: unknown variable", same, lambda ds: metrics.analyze(ds, ds, "w"), (U, "'w'")),
    ("analyze: no flow", lambda ds: ds[[D]].assign(other=ds.density),
     lambda ds: metrics.analyze(ds, ds), (U, "variable=")),
    ("analyze: not periodic", attrs("x", period=None),
     lambda ds: metrics.analyze(ds, ds), (S, "not periodic")),
    ("analyze: no bins", same, lambda ds: metrics.analyze(ds, ds, bins=0), (S, "bins")),
    ("analyze: falling range", same, lambda ds: metrics.analyze(ds, ds, range=(1, 0)),
     (S, "low < high")),
    ("analyze: no samples", same, lambda ds: metrics.analyze(ds, ds, samples=(9, 12)),
     (S, "no samples")),
    ("analyze: samples in words", same, lambda ds: metrics.analyze(ds, ds, samples="all"),
     (S, "samples=")),
    ("analyze: samples of one frame", lambda ds: ds.isel(time=0, drop=True),
     lambda ds: metrics.analyze(ds, ds, samples=(0, 1)), (S, "not spatial")),
    ("analyze: on a line", lambda ds: ds.isel(y=0, drop=True),
     lambda ds: metrics.analyze(ds, ds, "vorticity"), (S, "plane")),
    # gap
    ("gap: no whole factor", lambda ds: ds.isel(x=slice(0, 9)), TWO["gap"], (S, "multiples")),
    ("gap: finer each its way", same, lambda ds: metrics.domain_gap(
        ds.isel(x=slice(None, None, 2)), ds.isel(y=slice(None, None, 2))), (S, "another axis")),
    ("gap: other times", lambda ds: ds.assign_coords(time=ds.time + 9), TWO["gap"],
     (S, "times differ")),
    ("gap: fewer times", lambda ds: ds.isel(time=[0]), TWO["gap"], (S, "times differ")),
    ("gap: other places", positions("x", lambda x: x + 0.03), TWO["gap"], (S, "positions")),
    ("gap: other dims", lambda ds: ds.rename(y="z"), TWO["gap"], (S, "same spatial dims")),
    ("gap: unknown method", same,
     lambda ds: metrics.domain_gap(ds.isel(x=slice(None, None, 2)), ds, method="zoom"),
     (S, "zoom")),
    ("gap: one bin", same, lambda ds: metrics.domain_gap(ds, ds, bins=1), (S, "bins")),
    # ensembles
    ("ensemble: no members", same, lambda ds: metrics.ensemble_scores(ds, ds), (S, "member=")),
    ("ensemble: members in the truth", ensemble, lambda ds: metrics.ensemble_scores(ds, ds),
     (S, "member=")),
    ("ensemble: members in the truth, named", ensemble,
     lambda ds: metrics.ensemble_scores(ds, ds, member="sample"), (S, "too")),
    ("ensemble: unknown dim", ensemble,
     lambda ds: metrics.ensemble_scores(ds, good(), member="draw"), (S, "'draw'")),
    ("ensemble: two kinds of members", lambda ds: ensemble(ds).expand_dims(trajectory=2),
     lambda ds: metrics.ensemble_scores(ds, good()), (S, "member=")),
    ("ensemble: other grid", lambda ds: ensemble(ds).isel(x=slice(0, 5)),
     lambda ds: metrics.ensemble_scores(ds, good()), (S, "one grid")),
    ("ensemble: none selected", lambda ds: ensemble(ds).isel(sample=slice(0, 0)),
     lambda ds: metrics.ensemble_scores(ds, good(), member="sample"), (S, "no members")),
    ("ensemble: unknown variable", ensemble,
     lambda ds: metrics.ensemble_scores(ds, good(), "rho"), (U, "rho")),
    ("ensemble: a chunk of each member", lambda ds: ensemble(ds).chunk(sample=1),
     lambda ds: metrics.ensemble_scores(ds, good()), lambda f: bool(f.crps.notnull().all())),
    # sustained
    ("sustained: no time", lambda ds: ds.isel(time=0), metrics.sustained, (S, "'time'")),
    ("sustained: time without values", lambda ds: ds.drop_vars("time"), metrics.sustained,
     (S, "'time'")),
    ("sustained: one time", lambda ds: history(ds).isel(time=[0]), metrics.sustained,
     (S, "two or more")),
    ("sustained: unsorted", lambda ds: history(ds).isel(time=[1, 0, 2]), metrics.sustained,
     (S, "sortby")),
    ("sustained: doubled time", lambda ds: history(ds).isel(time=[0, 1, 1, 2]),
     metrics.sustained, (S, "drop_duplicates")),
    ("sustained: dates", lambda ds: ds.assign_coords(time=ds.time.astype("M8[s]")),
     metrics.sustained, (S, "expected numbers")),
    ("sustained: no energy", lambda ds: ds[[D]], metrics.sustained, (U, "variable=")),
    ("sustained: unknown variable", history, lambda ds: metrics.sustained(ds, variable="ke"),
     (U, "'ke'")),
    ("sustained: a variable without time", lambda ds: ds.assign(m=ds.density.mean("time")),
     lambda ds: metrics.sustained(ds, variable="m"), (S, "over time")),
    ("sustained: period 0", history, lambda ds: metrics.sustained(ds, period=0), (S, "period")),
    ("sustained: period in words", history, lambda ds: metrics.sustained(ds, period="orbit"),
     (S, "period")),
    ("sustained: run too short", history, lambda ds: metrics.sustained(ds, period=2.0),
     (S, "give windows")),
    ("sustained: falling window", history, lambda ds: metrics.sustained(ds, mid=(0.5, 0.3)),
     (S, "mid=")),
    ("sustained: empty window", history,
     lambda ds: metrics.sustained(ds, mid=(0.301, 0.302)), (S, "no output")),
    ("sustained: rising thresholds", history,
     lambda ds: metrics.sustained(ds, thresholds=(0.01, 0.3)), (S, "thresholds")),
    ("sustained: NaN", lambda ds: history(ds).where(ds.time.max() < 0), metrics.sustained,
     lambda f: str(f.verdict.values) == "NOT FINITE"),
    ("reports: lazy", lambda ds: history(ds).chunk(time=10),
     lambda ds: metrics.sweep_report(metrics.sustained(ds)), (S, "lazy")),
    ("reports: another Dataset", same, metrics.sweep_report, (S, "result of")),
    ("metrics.json: another Dataset", same, metrics.analysis_metrics, (S, "result of")),
]  # fmt: skip
