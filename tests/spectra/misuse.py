"""What callers get wrong, and what `spectra` does about it.

A row is (name, change to a good Dataset, arguments, outcome). The outcome is the kind of error and
a word of its one line, or a policy: "nan" (all shells NaN), "no units" (a number without units),
"same" (the spectrum of the good Dataset). Never a wrong number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from xphys.errors import SchemaError, UnknownNameError

Change = Callable[[xr.Dataset], Any]
Outcome = str | tuple[type[Exception], str]


def good() -> xr.Dataset:
    """Two vectors, a density and a vorticity on a periodic plane, three times."""
    rng = np.random.default_rng(0)
    coords: dict[str, Any] = {"time": ("time", np.arange(3) * 0.5, {"units": "s"})}
    for d, n in (("y", 8), ("x", 10)):
        attrs = {"units": "m", "period": 2.0, "boundary": "periodic"}
        coords[d] = (d, (np.arange(n) + 0.5) * 2 / n, attrs)
    ds = xr.Dataset(coords=coords)
    for name, unit in (("velocity", "m/s"), ("magnetic_field", "T")):
        for c in "xyz":
            attrs = {"vector": name, "component": c, "units": unit}
            ds[f"{name}_{c}"] = ("time", "y", "x"), rng.normal(size=(3, 8, 10)), attrs
    ds["density"] = ("time", "y", "x"), 1 + rng.random((3, 8, 10)), {"units": "kg/m3"}
    ds["vorticity"] = ("time", "y", "x"), rng.normal(size=(3, 8, 10)), {"units": "1/s"}
    return ds


def same(ds: xr.Dataset) -> xr.Dataset:
    return ds


def attrs(dim: str, **values: Any) -> Change:
    """Other attrs of a coordinate; None takes one out."""

    def change(ds: xr.Dataset) -> xr.Dataset:
        kept = {k: v for k, v in {**ds[dim].attrs, **values}.items() if v is not None}
        return ds.assign_coords({dim: (dim, ds[dim].values, kept)})

    return change


def positions(dim: str, make: Callable[[np.ndarray], Any]) -> Change:
    def change(ds: xr.Dataset) -> xr.Dataset:
        return ds.assign_coords({dim: (dim, make(ds[dim].values), ds[dim].attrs)})

    return change


def values(name: str, make: Callable[[xr.DataArray], xr.DataArray]) -> Change:
    def change(ds: xr.Dataset) -> xr.Dataset:
        return ds.assign({name: make(ds[name]).assign_attrs(ds[name].attrs)})

    return change


def variable_attrs(name: str, **new: Any) -> Change:
    return lambda ds: ds.assign({name: ds[name].assign_attrs(**new)})


def without(name: str, key: str) -> Change:
    def change(ds: xr.Dataset) -> xr.Dataset:
        kept = {k: v for k, v in ds[name].attrs.items() if k != key}
        return ds.assign({name: ds[name].drop_attrs(deep=False).assign_attrs(kept)})

    return change


def spoilt(value: float) -> Change:
    def change(ds: xr.Dataset) -> xr.Dataset:
        data = ds.density.values.copy()
        data[:, 3, 3] = value
        return ds.assign(density=ds.density.copy(data=data))

    return change


def masked(ds: xr.Dataset) -> xr.Dataset:
    data = np.ma.masked_greater(ds.density.values, 1.9)
    return ds.assign(density=(ds.density.dims, data, ds.density.attrs))


def curved(ds: xr.Dataset) -> xr.Dataset:
    """Positions x that depend on y too."""
    places = ds.x + 0.1 * ds.y
    return ds.drop_vars("x").assign_coords(x=places.transpose("y", "x").variable)


D = {"variables": "density"}
U = UnknownNameError
S = SchemaError

MISUSE: list[tuple[str, Change, dict[str, Any], Outcome]] = [
    # axes
    ("no coordinate", lambda ds: ds.drop_vars("x"), D, (S, "no coordinate")),
    ("curved grid", curved, D, (S, "rectangular grid")),
    ("no period", attrs("x", period=None), D, (S, "not periodic")),
    ("wrong period", attrs("x", period=3.0), D, (S, "not periodic")),
    ("period in other units", attrs("x", period=200.0), D, (S, "not periodic")),
    ("negative period", attrs("x", period=-2.0), D, (S, "not periodic")),
    ("period NaN", attrs("x", period=float("nan")), D, (S, "not periodic")),
    ("period in words", attrs("x", period="two"), D, (S, "number as period")),
    ("sliced", lambda ds: ds.isel(x=slice(0, 7)), D, (S, "not periodic")),
    ("every second but one", lambda ds: ds.isel(x=[0, 2, 4, 6]), D, (S, "not periodic")),
    ("repeated end", lambda ds: ds.pad(x=(0, 1), mode="wrap").assign_coords(
        x=("x", np.append(ds.x.values, 2.1), ds.x.attrs)), D, (S, "not periodic")),
    ("wall", attrs("x", boundary="wall"), D, (S, "'wall'")),
    ("shear-periodic", attrs("x", boundary="shear_periodic"), D, (S, "'shear_periodic'")),
    ("chebyshev", attrs("x", spacing="chebyshev"), D, (S, "interpolate")),
    ("chebyshev with a window", attrs("x", spacing="chebyshev"), {**D, "window": "hann"},
     (S, "interpolate")),
    ("stretched", positions("x", lambda x: x**1.5), D, (S, "interpolate")),
    ("one point moved", positions("x", lambda x: x + 0.05 * (x == x[4])), D, (S, "interpolate")),
    ("unsorted", lambda ds: ds.isel(x=[0, 2, 1, 3, 4, 5, 6, 7, 8, 9]), D, (S, "sortby")),
    ("duplicate", positions("x", lambda x: np.where(x == x[4], x[3], x)), D, (S, "monotonic")),
    ("NaN position", positions("x", lambda x: np.where(x == x[4], np.nan, x)), D, (S, "finite")),
    ("falling", lambda ds: ds.isel(x=slice(None, None, -1)), D, "same"),
    ("transposed", lambda ds: ds.transpose("x", "time", "y"), D, "same"),
    ("chunked across frames", lambda ds: ds.chunk(time=2, y=3, x=4), D, "same"),
    ("one cell", lambda ds: ds.isel(x=[0]), {**D, "dims": "x"}, (S, "more than one point")),
    ("one cell with a window", lambda ds: ds.isel(x=[0]), {**D, "dims": "x", "window": "hann"},
     (S, "more than one point")),
    ("one cell each", lambda ds: ds.isel(x=[0], y=[0]), D, (S, "more than one point")),
    ("empty axis", lambda ds: ds.isel(x=slice(0, 0)), {**D, "dims": "x"}, (S, "not periodic")),
    ("units differ", attrs("x", units="km"), D, (S, "different units")),
    ("units of positions missing", attrs("x", units=None), D, "no units"),
    ("units of values missing", without("density", "units"), D, "no units"),
    ("dates", lambda ds: ds.assign_coords(time=np.array(["2000", "2001", "2002"], "M8[D]")),
     {**D, "dims": "time", "window": "hann"}, (S, "datetime64")),
    ("words as positions", positions("x", lambda x: [f"p{i}" for i in range(10)]), D,
     (S, "expected numbers")),
    ("time without a window", same, {**D, "dims": "time"}, (S, "window=")),
    ("time and space in shells", same, {**D, "dims": ("time", "x"), "window": "hann"},
     (S, '"2d"')),
    ("unknown dim", same, {**D, "dims": "z"}, (S, "expected dims out of")),
    ("no dims", same, {**D, "dims": ()}, (S, "at least one")),
    ("no spatial dim", lambda ds: ds.rename(x="a", y="b"), D, (S, "spatial")),
    # variables and values
    ("unknown variable", same, {"variables": "rho"}, (U, "rho")),
    ("no variables", same, {"variables": []}, (U, "expected variables")),
    ("variable without the axis", lambda ds: ds.assign(mean=ds.density.mean("x")),
     {"variables": ["mean", "density"]}, (S, "'mean'")),
    ("complex", values("density", lambda f: f + 1j), D, (S, "complex")),
    ("words", values("density", lambda f: f.astype(str)), D, (S, "real")),
    ("objects", values("density", lambda f: f.astype(object)), D, (S, "real")),
    ("whole numbers", values("density", lambda f: (1000 * f).round().astype("i4")), D, "ints"),
    ("truth values", values("density", lambda f: f > 1.5), D, "ints"),
    ("packed", variable_attrs("density", scale_factor=0.1), D, (S, "decode")),
    ("fill value left in", variable_attrs("density", _FillValue=-999.0), D, (S, "decode")),
    ("NaN", spoilt(np.nan), D, "nan"),
    ("infinity", spoilt(np.inf), D, "nan"),
    ("masked", masked, D, "nan"),
    ("NaN, strict", spoilt(np.nan), {**D, "nan": "raise"}, (S, "not finite")),
    ("infinity, strict, chunked", lambda ds: spoilt(np.inf)(ds).chunk(x=3), {**D, "nan": "raise"},
     (S, "not finite")),
    ("no values at all", lambda ds: ds.isel(time=slice(0, 0)), D, "empty"),
    ("no real variable", lambda ds: (ds[["density"]] + 1j), {}, (S, "no real variable")),
    # settings
    ("unknown kind", same, {**D, "kind": "3d"}, (U, "kind")),
    ("unknown quantity", same, {**D, "quantity": "vorticity"}, (U, "quantity")),
    ("unknown convention", same, {**D, "convention": "log"}, (U, "convention")),
    ("unknown window", same, {**D, "window": "kaiser"}, (U, "window")),
    ("window with a parameter it has not", same, {**D, "window": ("hann", 2.0)}, (S, "parameter")),
    ("tukey of more than all", same, {**D, "window": ("tukey", 1.5)}, (S, "share")),
    ("tukey of nothing", same, {**D, "window": ("tukey", 0.0)}, (S, "share")),
    ("tukey of words", same, {**D, "window": ("tukey", "half")}, (S, "number")),
    ("window of another axis", same, {**D, "window": {"time": "hann"}}, (S, "['time']")),
    ("window of one open axis", lambda ds: ds.isel(x=slice(0, 5), y=slice(0, 5)),
     {**D, "window": {"x": "hann"}}, (S, "'y' is not periodic")),
    ("unknown trend", same, {**D, "detrend": "quadratic"}, (U, "detrend")),
    ("trend along periodic axes", same, {**D, "detrend": "linear"}, (S, "open axes")),
    ("unknown policy", same, {**D, "nan": "skip"}, (U, "nan")),
    ("memory in words", same, {**D, "memory": "lots"}, (S, "memory")),
    ("no memory", same, {**D, "memory": 0}, (S, "memory")),
    ("one axis of two", same, {**D, "kind": "1d"}, (S, "1 axis")),
    ("two axes of one", same, {**D, "kind": "2d", "dims": "x"}, (S, "2 axes")),
    ("mean in the plane", same, {**D, "kind": "2d", "convention": "mean"}, (S, "mean")),
    ("sum of a modal mean", same, {**D, "kind": "modal_mean", "convention": "sum"},
     (S, "normalisation")),
    ("modal mean of three points", lambda ds: ds.isel(x=slice(0, 3)),
     {**D, "kind": "modal_mean", "window": "hann"}, (S, "4 or more")),
    # quantities
    ("cross and quantity", same, {"cross": ("density", "vorticity"), "quantity": "energy"},
     (S, "exclude")),
    ("cross and variables", same, {**D, "cross": ("density", "vorticity")}, (S, "exclude")),
    ("cross of one", same, {"cross": "density"}, (S, "pair")),
    ("cross of three", same, {"cross": ("density", "vorticity", "density")}, (S, "pair")),
    ("cross with an unknown one", same, {"cross": ("density", "rho")}, (U, "rho")),
    ("cross of vector and variable", same, {"cross": ("velocity", "density")}, (S, "components")),
    ("cross of a DataArray", same, {"cross": xr.DataArray([1.0])}, (S, "pair of names")),
    ("helicity of two components", lambda ds: ds.drop_vars("velocity_z"),
     {"quantity": "kinetic_helicity"}, (S, "components x, y, z")),
    ("helicity of a variable", same, {"quantity": "kinetic_helicity", "variables": "density"},
     (S, "components x, y, z")),
    ("helicity of two vectors", same,
     {"quantity": "kinetic_helicity", "variables": ["velocity", "magnetic_field"]},
     (S, "one vector")),
    ("helicity along one axis", same, {"quantity": "kinetic_helicity", "dims": "x"},
     (S, "all of its spatial axes")),
    ("helicity without a magnetic field",
     lambda ds: ds[[f"velocity_{c}" for c in "xyz"]], {"quantity": "magnetic_helicity"},
     (U, "magnetic_field")),
    ("cross helicity of one vector", same, {"quantity": "cross_helicity", "variables": "velocity"},
     (S, "two vectors")),
    ("enstrophy along one axis", same, {"quantity": "enstrophy", "dims": "y"},
     (S, "all of its spatial axes")),
    ("enstrophy without a component", lambda ds: ds.drop_vars("velocity_x"),
     {"quantity": "enstrophy"}, (S, "no component")),
    ("enstrophy of nothing", lambda ds: ds[["density"]], {"quantity": "enstrophy"},
     (S, "one vector")),
    ("enstrophy with a window", same, {"quantity": "enstrophy", "window": "hann"},
     (S, "derivatives")),
    ("energy of a vorticity along a line", same,
     {"quantity": "kinetic_energy", "variables": "vorticity", "dims": "x"},
     (S, "all of its spatial axes")),
    ("transfer of modal means", same, {"quantity": "transfer", "kind": "modal_mean"},
     (S, "isotropic")),
    ("transfer in the plane", same, {"quantity": "transfer", "kind": "2d"}, (S, "2d")),
    ("transfer of a mean", same, {"quantity": "transfer", "convention": "mean"}, (S, "isotropic")),
    ("helicity along a line", same, {"quantity": "kinetic_helicity", "kind": "1d", "dims": "x"},
     (S, "1d")),
    ("components in other units", variable_attrs("velocity_x", units="km/s"),
     {"quantity": "energy", "variables": "velocity"}, (S, "different units")),
    ("component on other times",
     lambda ds: ds.assign(velocity_x=ds.velocity_x.isel(time=0, drop=True)),
     {"quantity": "kinetic_helicity"}, "broadcast"),
    # DataArrays
    ("variables of a DataArray", lambda ds: ds.density, D, (S, "variables=")),
    ("transfer of a DataArray", lambda ds: ds.vorticity, {"quantity": "transfer"},
     (S, "two results")),
    ("cross of a DataArray with a name", lambda ds: ds.density, {"cross": "vorticity"},
     (S, "another one")),
    ("cross of a DataArray on another grid", lambda ds: ds.density,
     {"cross": good().density.isel(x=slice(0, 4))}, (S, "other positions")),
    ("cross of a DataArray shifted", lambda ds: ds.density,
     {"cross": positions("x", lambda x: x + 0.1)(good()).density}, (S, "other positions")),
    ("helicity of a DataArray", lambda ds: ds.density, {"quantity": "kinetic_helicity"},
     (S, "components")),
]  # fmt: skip
