"""normalize: names, order, attributes; never a value."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from xphys.errors import SchemaError, UnknownNameError
from xphys.schema import normalize, provenance, validate, vectors


def refuse(block):
    raise AssertionError("a value was computed")


def lazy(*shape):
    return da.zeros(shape, chunks=2).map_blocks(
        refuse, dtype=float, meta=np.empty((0,) * len(shape))
    )


def box(names, dims, **attrs):
    shape = tuple(range(4, 4 + len(dims)))
    return xr.Dataset({name: (dims, np.zeros(shape)) for name in names}, attrs=attrs)


def centres(n, length=1.0):
    return (np.arange(n) + 0.5) * length / n


@pytest.mark.parametrize(
    ("dims", "expected"),
    [
        (("t", "x3", "x2", "x1"), ("time", "z", "y", "x")),
        (("time_counter", "Z", "Y", "X"), ("time", "z", "y", "x")),
        (("Time", "nz", "ny", "nx"), ("time", "z", "y", "x")),
        (("T", "y-coordinate", "x-coordinate"), ("time", "y", "x")),
        (("x", "y", "z", "time"), ("time", "z", "y", "x")),
        (("x", "channel", "time", "trajectory"), ("channel", "trajectory", "time", "x")),
        (("batch", "time", "x"), ("batch", "time", "x")),
        (("time", "token"), ("time", "token")),
        (("month", "level", "latitude", "longitude"), ("month", "level", "latitude", "longitude")),
        (("time", "z", "lat", "lon"), ("time", "z", "lat", "lon")),
    ],
)
def test_dimensions(dims, expected):
    new = normalize(box(["a"], dims))
    assert new["a"].dims == expected
    assert normalize(new).identical(new)


def test_coordinates_follow_and_keep_their_source_name():
    ds = box(["a"], ("x1",)).assign_coords(x1=("x1", centres(4), {"units": "m"}))
    new = normalize(ds)
    assert new["x"].attrs == {"units": "m", "source_name": "x1", "spacing": "uniform"}
    assert new.indexes["x"].equals(ds.indexes["x1"].rename("x"))
    assert "source_name" not in ds["x1"].attrs


@pytest.mark.parametrize("name", ["x", "x1"])
@pytest.mark.parametrize("as_coord", [True, False])
def test_positions_stored_beside_a_dimension_become_its_coordinate(name, as_coord):
    ds = box(["a"], ("nx",)).assign({name: ("nx", centres(4))})
    new = normalize(ds.set_coords(name) if as_coord else ds)
    assert new["a"].dims == ("x",)
    assert new.indexes["x"].tolist() == list(centres(4))


def test_field_called_T_on_the_time_axis_is_not_taken_for_times():
    ds = xr.Dataset({"T": ("nt", [300.0, 310.0])})
    new = normalize(ds)
    assert new["T"].dims == ("time",)
    assert "time" not in new.coords


def test_two_claims_on_one_axis_change_nothing():
    ds = box(["a"], ("x1", "X"))
    assert normalize(ds).identical(ds)


def test_axis_that_exists_keeps_its_alias_beside_it():
    ds = box(["a"], ("x1", "x"))
    assert set(normalize(ds).dims) == {"x1", "x"}


def test_memory_is_shared_and_lazy_arrays_stay_lazy():
    values = np.arange(24.0).reshape(4, 3, 2)
    ds = xr.Dataset(
        {
            "vx": (("x1", "x2", "t"), values),
            "vy": (("x1", "x2", "t"), lazy(4, 3, 2)),
            "still": (("y2", "other"), lazy(3, 4)),
        }
    )
    new = normalize(ds)
    assert np.shares_memory(new["velocity_x"].data, values)
    assert new["velocity_x"].dims == ("time", "y", "x")
    assert isinstance(new["velocity_y"].data, da.Array)
    assert new["still"].data.name == ds["still"].data.name
    assert (new["velocity_x"].transpose("x", "y", "time").values == values).all()


def test_stored_chunk_shapes_follow_the_dimensions():
    ds = box(["a"], ("x", "time"))
    ds["a"].encoding = {"chunks": (4, 1), "dtype": "float32"}
    assert normalize(ds)["a"].encoding == {"chunks": (1, 4), "dtype": "float32"}
    assert ds["a"].encoding["chunks"] == (4, 1)


@pytest.mark.parametrize(
    ("names", "vector"),
    [
        (("u", "v", "w"), "velocity"),
        (("vx", "vy", "vz"), "velocity"),
        (("velx", "vely", "velz"), "velocity"),
        (("velocity_x", "velocity_y", "velocity_z"), "velocity"),
        (("Bx", "By", "Bz"), "magnetic_field"),
        (("bcc1", "bcc2", "bcc3"), "magnetic_field"),
        (("mom1", "mom2", "mom3"), "momentum"),
    ],
)
def test_components_are_renamed_and_tied(names, vector):
    new = normalize(box(names, ("z", "y", "x")))
    assert vectors(new) == {vector: {c: f"{vector}_{c}" for c in "xyz"}}
    for component, name in zip("xyz", names, strict=True):
        assert new[f"{vector}_{component}"].attrs.get("source_name", name) == name


@pytest.mark.parametrize(
    ("names", "dims", "found"),
    [
        (("u", "w"), ("time", "z", "x"), {"x": "velocity_x", "z": "velocity_z"}),
        (("u", "v"), ("time", "y", "x"), {"x": "velocity_x", "y": "velocity_y"}),
        (("u", "v"), ("time", "z", "x"), {}),
        (("u", "w"), ("time", "y", "x"), {}),
        (("u", "v"), ("time", "z", "y", "x"), {}),
        (("u", "v"), ("time", "lat", "lon"), {}),
        (("u", "v"), ("time",), {}),
        (("u",), ("time", "x"), {}),
        (("vx", "vz"), ("time", "y", "x"), {"x": "velocity_x", "z": "velocity_z"}),
        (("u", "v", "vx", "vy"), ("y", "x"), {}),
        (("vx", "vy", "velocity_x"), ("y", "x"), {}),
    ],
)
def test_components_only_where_they_are_certain(names, dims, found):
    new = normalize(box(names, dims))
    assert vectors(new).get("velocity", {}) == found
    if not found:
        assert set(new.data_vars) == set(names)


def test_u_and_v_of_a_reaction_are_not_a_velocity():
    stated = box(["u", "v"], ("y", "x"))
    for name in ("u", "v"):
        stated[name].attrs["long_name"] = f"substrate {name}"
    for ds in (stated, box(["u", "v"], ("y", "x"), title="Gray-Scott reaction-diffusion")):
        assert normalize(ds).identical(ds)


def test_components_on_different_dims_are_left():
    ds = xr.Dataset({"vx": (("y", "x"), np.zeros((2, 2))), "vy": ("x", np.zeros(2))})
    assert normalize(ds).identical(ds)


def test_tags_that_say_something_else_stay():
    ds = box(["vx", "vy"], ("y", "x"))
    ds["vx"].attrs.update(vector="wind", component="x")
    assert normalize(ds).identical(ds)


def test_rename_comes_first_and_protects_its_names():
    ds = box(["u", "v"], ("nx", "ny"))
    assert set(normalize(ds, rename={"u": "u"}).data_vars) == {"u", "v"}
    new = normalize(ds, rename={"u": "a", "nx": "y", "ny": "x"})
    assert new["a"].dims == ("y", "x")
    assert new["a"].attrs["source_name"] == "u"
    assert provenance(new)[0]["parameters"] == {"rename": {"u": "a", "nx": "y", "ny": "x"}}
    swapped = normalize(ds, rename={"u": "v", "v": "u"})
    assert swapped["v"].attrs["source_name"] == "u"


def test_rename_refuses_unknown_and_taken_names():
    ds = box(["u", "v"], ("y", "x"))
    with pytest.raises(UnknownNameError, match="rename names 'q'"):
        normalize(ds, rename={"q": "a"})
    with pytest.raises(SchemaError, match="the name is taken"):
        normalize(ds, rename={"u": "v"})
    with pytest.raises(SchemaError, match="the name is taken"):
        normalize(ds, rename={"u": "a", "v": "a"})
    with pytest.raises(SchemaError, match=r"to_dataset\(name=\.\.\.\)"):
        normalize(ds["u"])


def chebyshev(n, kind):
    index = np.arange(n)
    angle = np.pi * (2 * index + 1) / (2 * n) if kind == "gauss" else np.pi * index / (n - 1)
    return 1.0 - 0.5 * np.cos(angle)


@pytest.mark.parametrize(
    ("positions", "expected"),
    [
        (centres(16), "uniform"),
        (centres(16).astype(np.float32), "uniform"),
        (chebyshev(16, "gauss"), "chebyshev"),
        (chebyshev(16, "lobatto"), "chebyshev"),
        (chebyshev(16, "gauss")[::-1].astype(np.float32), "chebyshev"),
        (chebyshev(16, "gauss")[2:], "nonuniform"),
        (np.geomspace(1, 2, 16), "nonuniform"),
        ([1.0], None),
        ([], None),
        ([0.0, np.nan], None),
        ([0.0, 0.0], None),
    ],
)
def test_spacing_is_found_from_positions(positions, expected):
    new = normalize(xr.Dataset(coords={"x": ("x", np.asarray(positions))}))
    assert new["x"].attrs.get("spacing") == expected


@pytest.mark.parametrize(
    ("coord", "attrs", "expected"),
    [
        ({}, {}, {}),
        ({}, {"L": 1.0}, {}),
        ({"periodic": "true"}, {}, {"boundary": "periodic", "period": 1.0}),
        ({"periodic": 1}, {"Lx": 1.5}, {"boundary": "periodic", "period": 1.5}),
        ({"bc": "no-slip"}, {}, {"boundary": "wall"}),
        ({"boundary": "periodic"}, {}, {"boundary": "periodic", "period": 1.0}),
        ({"boundary": "wall"}, {"boundary_conditions": "periodic"}, {"boundary": "wall"}),
        ({}, {"boundary_conditions": "Periodic"}, {"boundary": "periodic", "period": 1.0}),
        ({}, {"boundary_conditions": "something"}, {}),
        ({}, {"periodic": "x,y"}, {"boundary": "periodic", "period": 1.0}),
        ({}, {"periodic": ["y"]}, {}),
        ({}, {"equations": "u_t=0; periodic", "L": 1.0}, {"boundary": "periodic", "period": 1.0}),
        ({}, {"equations": "u_t=0; periodic", "L": 2.0}, {}),
        ({}, {"equations": "u_t=0; periodic"}, {}),
        ({}, {"equations": "non-periodic", "L": 1.0}, {}),
        ({}, {"equations": "not periodic", "L": 1.0}, {}),
        ({}, {"equations": "periodic y", "L": 1.0}, {}),
    ],
)
def test_boundaries_come_from_statements_only(coord, attrs, expected):
    new = normalize(xr.Dataset(coords={"x": ("x", centres(64), coord)}, attrs=attrs))
    found = {k: v for k, v in new["x"].attrs.items() if k in ("boundary", "period")}
    assert found == pytest.approx(expected) if "period" in expected else found == expected


def test_length_in_multiples_of_pi():
    x = ("x", np.arange(16) * np.pi / 8)
    new = normalize(xr.Dataset(coords={"x": x}, attrs={"equations": "w_t=0; periodic 2pi box"}))
    assert new["x"].attrs["period"] == pytest.approx(2 * np.pi)


def test_units_are_never_invented():
    new = normalize(box(["a"], ("t", "x1")).assign_coords(x1=centres(5), t=np.arange(4.0)))
    assert all("units" not in variable.attrs for variable in new.variables.values())


def test_conforming_dataset_comes_back_equal_and_unrecorded():
    ds = box(["a"], ("time", "y", "x")).assign_coords(
        x=("x", centres(6), {"spacing": "uniform", "boundary": "open", "units": "1"})
    )
    new = normalize(ds)
    assert new.identical(ds)
    assert provenance(new) == []
    new["x"].attrs["units"] = "m"
    assert ds["x"].attrs["units"] == "1"


@pytest.mark.parametrize(
    "ds",
    [xr.Dataset(), xr.Dataset(coords={"x": ("x", np.empty(0))}), box(["a"], ("x", "time"))],
    ids=["empty", "no points", "no coordinates"],
)
def test_degenerate_datasets(ds):
    new = normalize(ds)
    assert normalize(new).identical(new)


def test_bounds_and_unknown_coordinates_keep_their_order():
    ds = xr.Dataset(
        {"a": ("x", np.zeros(3))},
        coords={
            "x": ("x", [0.0, 1.0, 3.0]),
            "x_bounds": (("x", "nv"), np.zeros((3, 2))),
            "corner": (("x", "side"), np.zeros((3, 2))),
            "level": (("x", "y"), np.zeros((3, 2))),
        },
    )
    new = normalize(ds)
    assert new["x_bounds"].dims == ("x", "nv")
    assert new["corner"].dims == ("x", "side")
    assert new["level"].dims == ("y", "x")
    assert "level" in new.coords


REAL = {
    "dedalus/rayleigh_benard_2d.nc": ({"x": 4.0}, {"velocity": "xz"}, {"z": "chebyshev"}),
    "exponax/gray_scott_2d.nc": ({"x": 1.25, "y": 1.25}, {}, {}),
    "exponax/acoustic_wave_2d.nc": ({"x": 1.0, "y": 1.0}, {}, {}),
    "exponax/kuramoto_sivashinsky_1d.nc": ({"x": 200.0}, {}, {}),
    "exponax/decaying_navier_stokes_3d.nc": (
        {"x": 2 * np.pi, "y": 2 * np.pi, "z": 2 * np.pi},
        {"velocity": "xyz"},
        {},
    ),
    "py2d/py2d_turbulence_2d.nc": ({"x": 2 * np.pi, "y": 2 * np.pi}, {}, {}),
}


@pytest.mark.parametrize("name", REAL)
def test_real_files(simulation_data, name):
    periods, tied, spacings = REAL[name]
    with xr.open_dataset(simulation_data / name, chunks={}) as ds:
        new = normalize(ds)
        assert {d: new[d].attrs["period"] for d in new.dims if "period" in new[d].attrs} == (
            pytest.approx(periods)
        )
        assert {v: "".join(parts) for v, parts in vectors(new).items()} == tied
        assert {d: new[d].attrs["spacing"] for d in spacings} == spacings
        assert not [f for f in validate(new) if f.severity == "error"]
        assert normalize(new).identical(new)


@pytest.mark.parametrize("name", ["public/eraint_uvz.nc", "public/basin_mask.nc"])
@pytest.mark.filterwarnings("ignore:variable:xarray.SerializationWarning")
def test_geographic_files_are_left_untouched(simulation_data, name):
    with xr.open_dataset(simulation_data / name, chunks={}) as ds:
        assert normalize(ds).identical(ds)
        assert not [f for f in validate(ds) if f.code in ("dim-order", "dimension-name")]


@pytest.mark.filterwarnings("ignore:Duplicate dimension names:UserWarning")
def test_a_dim_that_appears_twice_is_refused():
    ds = xr.Dataset({"u": (("x", "time", "x"), np.zeros((2, 3, 2)))})
    with pytest.raises(SchemaError, match="each dim may appear once"):
        normalize(ds)
