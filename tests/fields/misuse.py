"""What callers do wrong, and what they are told: one line each, never a wrong number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr

from xphys.errors import SchemaError, UnknownNameError
from xphys.fields import derive, invariants


def box(dims: str = "yx", n: int = 8, vectors: tuple[str, ...] = ("velocity",)) -> xr.Dataset:
    """A periodic box of unit length with smooth fields of all three components."""
    ds = xr.Dataset()
    for d in dims:
        attrs = {"period": 1.0, "boundary": "periodic", "units": "1"}
        ds = ds.assign_coords({d: (d, (np.arange(n) + 0.5) / n, attrs)})
    phase = 2 * np.pi * sum(ds[d] for d in dims)
    for i, vector in enumerate(vectors):
        for j, c in enumerate("xyz"):
            values = np.sin(phase + i + 2 * j).transpose(*dims).values
            tags = {"vector": vector, "component": c, "units": "1"}
            ds[f"{vector}_{c}"] = (tuple(dims), values, tags)
    ds["density"] = (tuple(dims), np.full((n,) * len(dims), 2.0), {"units": "1"})
    return ds


def at(d: str, **attrs) -> Callable[[xr.Dataset], xr.Dataset]:
    """Change attributes of a coordinate; None takes one away."""

    def change(ds):
        new = {k: v for k, v in {**ds[d].attrs, **attrs}.items() if v is not None}
        return ds.assign_coords({d: (d, ds[d].values, new)})

    return change


def place(d: str, function) -> Callable[[xr.Dataset], xr.Dataset]:
    """Move the positions of an axis."""
    return lambda ds: ds.assign_coords({d: (d, function(ds[d].values.copy()), ds[d].attrs)})


def tag(name: str, **attrs) -> Callable[[xr.Dataset], xr.Dataset]:
    """Change attributes of a variable."""
    return lambda ds: ds.assign({name: ds[name].assign_attrs(attrs)})


def cast(name: str, dtype: str) -> Callable[[xr.Dataset], xr.Dataset]:
    """Change the dtype of a variable."""
    return lambda ds: ds.assign({name: ds[name].astype(dtype)})


def label(**units: str) -> Callable[[xr.Dataset], xr.Dataset]:
    """Units by the first word of a variable's name."""

    def change(ds):
        for name in ds.data_vars:
            ds[name].attrs["units"] = units[str(name).partition("_")[0]]
        return ds

    return change


def same(ds: xr.Dataset) -> xr.Dataset:
    return ds


def curved(ds: xr.Dataset) -> xr.Dataset:
    """Positions x that depend on y too."""
    places = ds.x + 0.1 * ds.y
    return ds.drop_vars("x").assign_coords(x=places.transpose("y", "x").variable)


def swap(values, first, second):
    values[[first, second]] = values[[second, first]]
    return values


def put(values, index, number):
    values[index] = number
    return values


def ask(*names, **options) -> Callable[[xr.Dataset], xr.Dataset]:
    return lambda ds: derive(ds, *names, **options)


def integrate(**options) -> Callable[[xr.Dataset], xr.Dataset]:
    return lambda ds: invariants(ds, **options)


@dataclass(frozen=True)
class Misuse:
    """One row: what is broken, what is called, what is raised.

    Attributes
    ----------
    name : str
        Of the case.
    breaks : callable
        Dataset -> broken Dataset.
    call : callable
        Of the broken Dataset.
    words : str
        Regular expression in the error.
    error : type
        Its class.
    made : callable
        Gives the sound Dataset.
    """

    name: str
    breaks: Callable[[xr.Dataset], xr.Dataset]
    call: Callable[[xr.Dataset], xr.Dataset]
    words: str
    error: type[Exception] = SchemaError
    made: Callable[[], xr.Dataset] = box


def mhd() -> xr.Dataset:
    return box(vectors=("velocity", "magnetic_field"))


def cube() -> xr.Dataset:
    return box("zyx", 6, ("velocity", "magnetic_field"))


U = UnknownNameError
MISUSES = [
    # names
    Misuse("no name", same, ask(), "expected the name", U),
    Misuse("unknown name", same, ask("warmth"), "out of .*vorticity.*'warmth'", U),
    Misuse("misspelt component", same, ask("vorticity_w"), "'vorticity_w'", U),
    Misuse("name of another kind", same, ask(3), "got 3", U),
    Misuse("gradient of nothing", same, ask("gradient"), "gradient_<name>", U),
    Misuse("gradient of an unknown", same, ask("gradient_heat"), "density.*'heat'", U),
    Misuse("divergence of an unknown", same, ask("divergence_wind"), "velocity.*'wind'", U),
    Misuse("curl of an unknown", same, ask("curl_wind"), "velocity.*'wind'", U),
    Misuse("compact of order 2", same, ask("vorticity", method="compact"), r"\(4, 6\).*order=2"),
    Misuse(
        "compact on a periodic axis",
        same,
        ask("vorticity", method="compact", order=4),
        "is periodic.*open axes",
    ),
    Misuse(
        "compact on stretched points",
        place("x", lambda v: v**1.1),
        ask("vorticity", method={"x": "compact"}, order=4),
        "nonuniform spacing.*'finite'",
    ),
    Misuse(
        "too few for compact differences",
        lambda ds: ds.isel(x=slice(0, 6)),
        ask("vorticity", method={"x": "compact"}, order=6),
        "6 points.*7 points",
    ),
    Misuse("unknown scalar", same, integrate(scalars=["heat"]), "density.*'heat'", U),
    # options
    Misuse("unknown method", same, ask("vorticity", method="fast"), "spectral.*'fast'"),
    Misuse("odd order", same, ask("vorticity", order=3), r"\(2, 4, 6\).*3"),
    Misuse("method of invariants", same, integrate(method="fast"), "spectral.*'fast'"),
    Misuse("negative sound speed", same, ask("mach", sound_speed=-1.0), "positive.*-1.0"),
    Misuse("gamma in words", same, ask("sound_speed", gamma="five thirds"), "needs|positive"),
    Misuse(
        "gamma below 1",
        lambda ds: ds.assign(internal_energy=(("y", "x"), np.ones((8, 8)))),
        ask("pressure", gamma=0.7),
        "gamma above 1.*0.7",
    ),
    # axes
    Misuse("no positions", lambda ds: ds.drop_vars("x"), ask("vorticity"), "'x' has no coord"),
    Misuse("curved grid", curved, ask("vorticity"), r"dims \('y', 'x'\), expected only"),
    Misuse("curved grid, sum", curved, integrate(), r"dims \('y', 'x'\), expected only"),
    Misuse("unsorted", place("x", lambda v: swap(v, 2, 5)), ask("vorticity"), "monotonic.*sortby"),
    Misuse("duplicate", place("x", lambda v: put(v, 3, v[2])), ask("vorticity"), "monotonic"),
    Misuse("NaN position", place("x", lambda v: put(v, 3, np.nan)), ask("vorticity"), "NaN or inf"),
    Misuse("unsorted sum", place("x", lambda v: swap(v, 2, 5)), integrate(), "monotonic"),
    Misuse("degrees", at("x", units="degrees_east"), ask("vorticity"), "degrees_east.*lengths"),
    Misuse("degrees sum", at("x", units="degrees_east"), integrate(), "degrees_east.*lengths"),
    Misuse("metres by km", at("x", units="km"), ask("vorticity_z"), "different units"),
    Misuse(
        "spectral on a slice",
        lambda ds: ds.isel(x=slice(0, 6)),
        ask("vorticity", method="spectral"),
        "'x' has 6 points.*0.75.*period 1",
    ),
    Misuse(
        "spectral without a period",
        at("x", period=None),
        ask("vorticity", method="spectral"),
        r"no attribute 'period'.*attrs\['period'\]",
    ),
    Misuse(
        "spectral on stretched points",
        place("x", lambda v: v**1.1),
        ask("vorticity", method="spectral"),
        "nonuniform spacing",
    ),
    Misuse(
        "spectral on a sheared axis",
        at("x", boundary="shear_periodic"),
        ask("vorticity", method="spectral"),
        "boundary 'shear_periodic'",
    ),
    Misuse("false chebyshev", at("x", spacing="chebyshev"), ask("vorticity"), "Chebyshev.*others"),
    Misuse("false chebyshev sum", at("x", spacing="chebyshev"), integrate(), "Chebyshev.*others"),
    Misuse("chebyshev forced", same, ask("vorticity", method="chebyshev"), "Chebyshev.*others"),
    Misuse("two open points", lambda ds: ds.isel(x=[0, 1]), ask("vorticity"), "2 points.*3 points"),
    Misuse("one open cell", lambda ds: ds.isel(x=[0]), ask("vorticity"), "1 point.*squeeze"),
    Misuse(
        "too few for order 6",
        lambda ds: ds.isel(x=slice(0, 6)),
        ask("vorticity", order=6),
        "6 points.*7 points",
    ),
    Misuse(
        "one cell without a width",
        lambda ds: ds.isel(x=[0]),
        integrate(),
        "1 point.*bounds",
    ),
    Misuse(
        "bounds beside the points",
        lambda ds: ds.assign_coords(x_bounds=(("x", "nv"), np.ones((8, 2)))),
        integrate(),
        "hold their points",
    ),
    Misuse(
        "bounds that overlap",
        lambda ds: ds.assign_coords(
            x_bounds=(("x", "nv"), np.stack([ds.x - 0.2, ds.x + 0.2], axis=1))
        ),
        integrate(),
        "do not overlap",
    ),
    Misuse(
        "edges for bounds",
        lambda ds: ds.assign_coords(x_bounds=("edge", np.linspace(0, 1, 9))),
        integrate(),
        "expected bounds 'x_bounds'",
    ),
    # vectors
    Misuse("no tags", lambda ds: ds.drop_attrs(), ask("vorticity"), 'vector="velocity"'),
    Misuse("no field", lambda ds: ds, ask("current_density"), "vector 'magnetic_field'"),
    Misuse(
        "component missing",
        lambda ds: ds.drop_vars("velocity_y"),
        ask("kinetic_energy"),
        r"\['y'\]",
    ),
    Misuse(
        "third component of a helicity",
        lambda ds: ds.drop_vars("velocity_z"),
        ask("kinetic_helicity"),
        "three components",
    ),
    Misuse("component twice", tag("velocity_y", component="x"), ask("enstrophy"), "both component"),
    Misuse(
        "attributes carried by arithmetic",
        lambda ds: ds.assign(speed=abs(ds.velocity_x)),
        ask("kinetic_energy"),
        "both component 'x'",
    ),
    Misuse("polar", tag("velocity_y", component="theta"), ask("vorticity"), "Cartesian"),
    Misuse("units of components", tag("velocity_y", units="km/s"), ask("vorticity"), "different u"),
    Misuse(
        "dims of components",
        lambda ds: ds.assign(velocity_y=ds.velocity_y.isel(x=0, drop=True)),
        ask("kinetic_energy"),
        "differ in dims",
    ),
    Misuse(
        "components of two vectors",
        lambda ds: ds.drop_vars("magnetic_field_z"),
        ask("elsasser"),
        "same components",
        made=mhd,
    ),
    # boxes
    Misuse(
        "slice of a cube",
        lambda ds: ds.isel(z=2),
        ask("vorticity"),
        r"slice at one 'z'.*drop_vars\('z'\)",
        made=cube,
    ),
    Misuse(
        "divergence in a slice",
        lambda ds: ds.isel(z=2),
        ask("divergence_magnetic_field"),
        "slice at one 'z'",
        made=cube,
    ),
    Misuse("Q in a slice", lambda ds: ds.isel(z=2), ask("q_criterion"), "slice", made=cube),
    Misuse("A in a slice", lambda ds: ds.isel(z=2), ask("vector_potential"), "slice", made=cube),
    Misuse("psi in a cube", same, ask("streamfunction"), "2-D box", made=cube),
    Misuse(
        "psi between open ends", at("y", boundary="open"), ask("streamfunction"), "periodic.*'wall'"
    ),
    Misuse(
        "psi between walls of three points",
        lambda ds: at("y", boundary="wall")(ds.isel(y=[0, 1, 2])),
        ask("streamfunction"),
        "4 or more",
    ),
    Misuse(
        "psi between walls in bounds beside the points",
        lambda ds: at("y", boundary="wall")(ds).assign_coords(
            y_bounds=(("y", "nv"), np.ones((8, 2)))
        ),
        ask("streamfunction"),
        "hold their points",
    ),
    Misuse(
        "A between walls",
        at("y", boundary="wall"),
        ask("vector_potential"),
        "boundary 'wall'",
        made=mhd,
    ),
    Misuse(
        "A in a part of the box",
        lambda ds: ds.isel(x=slice(0, 5)),
        ask("vector_potential"),
        "periodic axis.*5 points",
        made=mhd,
    ),
    Misuse("curl on a line", lambda ds: ds.drop_vars(["velocity_y", "velocity_z"]),
           ask("vorticity"), "needs more than", made=lambda: box("x")),
    Misuse("no space", lambda ds: ds.isel(y=0, x=0, drop=True), integrate(), "spatial dim"),
    Misuse("no space, energy", lambda ds: ds.isel(y=0, x=0, drop=True),
           ask("kinetic_energy"), "a spatial dim"),
    Misuse("velocity twice", same, ask("velocity"), "velocity already"),
    # values
    Misuse("complex", cast("velocity_x", "complex128"), ask("vorticity"), "complex128.*real"),
    Misuse("text", cast("velocity_x", "str"), ask("vorticity"), "real numbers"),
    Misuse("booleans", cast("velocity_x", "bool"), ask("vorticity"), "dtype bool"),
    Misuse("packed", lambda ds: tag("velocity_x", scale_factor=0.1)(cast("velocity_x", "i2")(ds)),
           ask("vorticity"), "not decoded.*decode_cf"),
    Misuse("fill value", tag("density", _FillValue=-999.0), integrate(), "not decoded.*decode_cf"),
    Misuse("empty", lambda ds: ds.expand_dims(time=0), ask("vorticity"), "empty.*time"),
    Misuse("empty axis", lambda ds: ds.isel(x=slice(0, 0)), ask("vorticity"), "empty.*'x'"),
    # equations of state and units
    Misuse("no pressure", same, ask("pressure"), "pressure needs"),
    Misuse("no gamma", lambda ds: ds.assign(pressure=(("y", "x"), np.ones((8, 8)))),
           ask("sound_speed"), "gamma="),
    Misuse("no density", lambda ds: ds.drop_vars("density"),
           ask("pressure", sound_speed=1.0), "'density'"),
    Misuse(
        "tesla in an Alfven velocity",
        label(magnetic="T", velocity="m/s", density="kg m-3"),
        ask("elsasser"),
        "different units",
        made=mhd,
    ),
    Misuse(
        "tesla in plasma beta",
        label(magnetic="T", velocity="m/s", density="kg m-3", pressure="Pa"),
        ask("plasma_beta"),
        "plasma beta must be dimensionless",
        made=lambda: mhd().assign(pressure=(("y", "x"), np.ones((8, 8)))),
    ),
    Misuse("nothing to integrate", lambda ds: ds[["density"]].rename(density="heat"),
           integrate(), "scalars=True"),
]  # fmt: skip
