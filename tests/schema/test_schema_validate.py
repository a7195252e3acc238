"""validate: every finding, and that typing its mend removes it."""

from __future__ import annotations

import inspect
import re
import tempfile

import cftime
import dask.array as da
import numpy as np
import pytest
import xarray as xr

import xphys.schema
from xphys.errors import SchemaError
from xphys.schema import Finding, _validate, normalize, validate

X = (np.arange(8) + 0.5) / 8
GOOD = {"units": "1", "boundary": "periodic", "period": 1.0, "spacing": "uniform"}


def field(*dims, dtype="float32", **attrs):
    sizes = {"time": 3, "y": 8, "x": 8, "trajectory": 2}
    values = np.zeros([sizes[d] for d in dims], dtype=dtype)
    return (dims, values, {"units": "1", "long_name": "a field"} | attrs)


def velocity(component, *dims):
    return field(*dims, vector="velocity", component=component)


def good(**variables):
    """A conforming Dataset, with the given variables put in."""
    ds = xr.Dataset(
        {"a": field("time", "y", "x")},
        coords={
            "time": ("time", [0.0, 1.0, 2.5], {"units": "1"}),
            "y": ("y", X, GOOD),
            "x": ("x", X, GOOD),
        },
    )
    return ds.assign(variables)


def with_x(positions=X, **attrs):
    """A conforming Dataset whose x has other positions or attributes (None removes one)."""
    merged = {k: v for k, v in (GOOD | attrs).items() if v is not None}
    ds = good().drop_vars("x").isel(x=slice(0, len(positions)))
    return ds.assign_coords(x=("x", np.asarray(positions), merged))


def with_time(times, **attrs):
    return good().assign_coords(time=("time", times, attrs))


def without_attr(name, attr):
    ds = good()
    del ds[name].attrs[attr]
    return ds


OPEN = {"boundary": "open", "period": None}
GEOMETRIC = np.geomspace(1, 2, 8)


def unverified():
    """A Dataset opened from a store that another program wrote."""
    place = tempfile.mkdtemp() + "/plain.zarr"
    good().to_zarr(place, zarr_format=3, consolidated=False)
    return xphys.open(place)


CASES = {
    "unverified": (unverified(), "store", {}),
    "dimension-name": (good().rename(x="x1"), "x1", {}),
    "component-name": (good(vx=field("y", "x"), vy=field("y", "x")), "vx", {}),
    "dim-order": (good(b=field("x", "time")), "b", {}),
    "missing-coordinate": (good().drop_vars("x"), "x", {"positions": X}),
    "missing-coordinate time": (good().drop_vars("time"), "time", {"positions": [0.0, 1.0, 2.0]}),
    "non-finite-coordinate": (with_x([0.1, 0.2, np.nan, 0.4]), "x", {}),
    "non-finite-coordinate inf": (with_x([0.1, 0.2, 0.4, np.inf]), "x", {}),
    "non-finite-coordinate NaT": (
        with_time(np.array(["2000-01-01", "2000-01-02", "NaT"], dtype="datetime64[ns]")),
        "time",
        {},
    ),
    "unsorted-coordinate": (with_x([0.0, 0.2, 0.1, 0.3]), "x", {}),
    "duplicate-coordinate": (with_x([0.0, 0.1, 0.1, 0.2]), "x", {}),
    "duplicate-coordinate time": (with_time([0.0, 1.0, 1.0], units="1"), "time", {}),
    "time-not-increasing": (with_time([0.0, 2.0, 1.0], units="1"), "time", {}),
    "time-not-increasing falling": (with_time([2.0, 1.0, 0.0], units="1"), "time", {}),
    "missing-units": (without_attr("a", "units"), "a", {}),
    "missing-units x": (without_attr("x", "units"), "x", {}),
    "missing-units time": (without_attr("time", "units"), "time", {}),
    "missing-boundary": (with_x(boundary=None, period=None), "x", {}),
    "unknown-boundary": (with_x(boundary="cyclic", period=None), "x", {}),
    "boundary-contradicts-period": (with_x(boundary="wall"), "x", {}),
    "bad-period": (with_x(period="one"), "x", {}),
    "bad-period negative": (with_x(period=-1.0), "x", {}),
    "missing-period": (with_x(period=None), "x", {}),
    "sliced-periodic-axis": (good().isel(x=slice(0, 6)), "x", {}),
    "repeated-end-point": (with_x(np.linspace(0, 1, 8)), "x", {}),
    "period-mismatch": (with_x(period=0.5), "x", {}),
    "period-mismatch nonuniform": (with_x(GEOMETRIC, spacing=None), "x", {}),
    "unknown-spacing": (with_x(spacing="even"), "x", {}),
    "spacing-contradicts-positions": (with_x(spacing="chebyshev"), "x", {}),
    "spacing-contradicts-positions uniform": (with_x(GEOMETRIC, **OPEN), "x", {}),
    "missing-bounds": (
        with_x(GEOMETRIC, spacing="nonuniform", **OPEN),
        "x",
        {"edges": np.linspace(1, 2, 9)},
    ),
    "incomplete-vector": (good(velocity_x=field("x", vector="velocity")), "velocity_x", {}),
    "incomplete-vector component": (good(b_x=field("x", component="x")), "b_x", {}),
    "duplicate-component": (good(u=velocity("x", "x"), v=velocity("x", "x")), "v", {}),
    "missing-component": (
        good(u=velocity("x", "y", "x")),
        "velocity",
        {"component": xr.DataArray(np.zeros((8, 8)), dims=("y", "x"))},
    ),
    "component-dims-differ": (good(u=velocity("x", "y", "x"), v=velocity("y", "x")), "v", {}),
    "component-dims-differ order": (
        good(u=velocity("x", "time", "y", "x"), v=velocity("y", "y", "time", "x")),
        "v",
        {},
    ),
    "component-dims-differ other": (good(u=velocity("x", "x"), v=velocity("y", "y")), "v", {}),
    "parameter-not-coordinate": (good(Re=field("trajectory")), "Re", {}),
    "parameter-not-coordinate constant": (good(nu=field()), "nu", {}),
    "object-dtype": (good(b=field("x", dtype=object)), "b", {}),
    "object-dtype coordinate": (
        good().assign_coords(name=("trajectory", np.array(["a", 1], dtype=object))),
        "name",
        {},
    ),
    "packed-integers": (good(b=field("y", "x", dtype="int16", scale_factor=0.5)), "b", {}),
    "integer-field": (good(b=field("y", "x", dtype="int32")), "b", {}),
    "missing-long-name": (without_attr("a", "long_name"), "a", {}),
}


def hits(ds, code, where):
    return [f for f in validate(ds) if f.code == code and f.where == where]


def test_conforming_dataset_has_no_findings():
    assert validate(good()) == []
    assert validate(good().assign_coords(Re=("trajectory", [1.0, 2.0]))) == []
    assert validate(with_x(X[::-1])) == []


@pytest.mark.parametrize("case", CASES)
def test_each_finding_and_that_its_mend_mends(case):
    ds, where, filled_in = CASES[case]
    code = case.split()[0]
    (finding,) = hits(ds, code, where)
    scope = {"ds": ds, "xr": xr, "np": np, "xphys": xphys, **filled_in}
    exec(finding.mend, scope)  # the very text that the finding tells people to type
    assert not hits(scope["ds"], code, where)


def test_every_finding_has_a_case():
    source = inspect.getsource(_validate)
    named = set(re.findall(r'Finding\(\s*"([a-z-]+)"', source))
    assert named == {case.split()[0] for case in CASES}


def test_finding_reads_as_one_line():
    finding = Finding("missing-units", "warning", "x", "expected units", "ds = ds")
    assert str(finding) == "warning missing-units at 'x': expected units; mend: ds = ds"
    with pytest.raises(AttributeError):
        finding.code = "other"


def test_errors_come_first():
    ds = good(b=field("x", "time")).drop_vars("y")
    del ds["a"].attrs["units"], ds["a"].attrs["long_name"]
    ranks = [("error", "warning", "info").index(f.severity) for f in validate(ds)]
    assert ranks == sorted(ranks)
    assert set(ranks) == {0, 1, 2}


def test_a_sliced_axis_is_information_not_an_error():
    (finding,) = validate(good().isel(x=slice(0, 6)))
    assert (finding.code, finding.severity) == ("sliced-periodic-axis", "info")


def test_bounds_satisfy_a_nonuniform_axis():
    ds = with_x(GEOMETRIC, spacing="nonuniform", **OPEN)
    by_name = ds.assign_coords(x_bounds=(("x", "nv"), np.zeros((8, 2))))
    by_attr = ds.assign(edges=(("x", "nv"), np.zeros((8, 2)), {"units": "1", "long_name": "e"}))
    by_attr["x"].attrs["bounds"] = "edges"
    assert validate(by_name) == []
    assert validate(by_attr) == []


def test_calendar_times_are_times():
    times = [cftime.DatetimeNoLeap(2000, 1, day) for day in (1, 2, 3)]
    assert validate(good().assign_coords(time=times)) == []
    assert hits(good().assign_coords(time=times[::-1]), "time-not-increasing", "time")


def test_tables_of_results_may_hold_numbers_per_trajectory():
    ds = xr.Dataset({"vrmse": field("trajectory")})
    assert validate(ds) == []


def test_tensor_components_are_accepted():
    ds = good(
        s_xx=field("y", "x", vector="stress", component="xx"),
        s_xy=field("y", "x", vector="stress", component="xy"),
    )
    assert validate(ds) == []


def test_values_are_never_computed():
    def refuse(block):
        raise AssertionError("a value was computed")

    lazy = da.zeros((3, 8, 8), chunks=4).map_blocks(
        refuse, dtype="float32", meta=np.empty((0, 0, 0), "float32")
    )
    ds = good(b=(("x", "time", "y"), lazy.transpose(2, 0, 1)), vx=(("time", "y", "x"), lazy))
    ds["vy"] = ds["vx"]
    positions = xr.Coordinates({"z": ("z", da.from_array(X).map_blocks(refuse, dtype=float))}, {})
    ds = ds.assign_coords(positions)
    assert {f.code for f in validate(ds)} >= {"dim-order", "component-name", "missing-units"}
    assert "b" in normalize(ds)


def test_odd_attributes_and_indexes_do_not_break_the_check():
    odd = {"bounds": [1], "standard_name": [2], "boundary": np.arange(2), "period": [1.0, 2.0]}
    ds = with_x(**odd, spacing=["a"])
    ds["a"].attrs.update(vector=[1], component=["x"])
    codes = {f.code for f in validate(ds)}
    assert codes >= {"unknown-boundary", "bad-period", "unknown-spacing"}
    assert normalize(ds)["a"].dims == ("time", "y", "x")
    stacked = good().stack(points=("y", "x")).rename(points="z")
    assert "time" in normalize(stacked).dims
    assert not [f for f in validate(stacked) if f.where == "z" and "coordinate" in f.code]
    ranged = good().drop_vars("x").isel(x=slice(0, 4))
    index = xr.indexes.RangeIndex.arange(0.0, 1.0, 0.25, dim="x")
    ranged = ranged.assign_coords(xr.Coordinates.from_xindex(index))
    assert normalize(ranged)["x"].attrs["spacing"] == "uniform"
    assert hits(ranged, "missing-units", "x")


def test_only_datasets():
    with pytest.raises(SchemaError, match="expected a Dataset, got DataArray"):
        validate(good()["a"])
