"""Axes, vectors and provenance."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

from xphys.errors import SchemaError
from xphys.schema import DIM_ORDER, axis, provenance, record, spatial_dims, vectors


def line(positions, **attrs):
    return xr.Dataset(coords={"x": ("x", np.asarray(positions, dtype=float), attrs)})


def curved():
    field = np.zeros((2, 3))
    return xr.Dataset(coords=xr.Coordinates({"x": (("y", "x"), field)}, indexes={}))


def test_dim_order_of_the_model():
    assert DIM_ORDER == ("trajectory", "operator", "realization", "sample", "time", "z", "y", "x")


def test_spatial_dims_in_model_order():
    assert spatial_dims(xr.DataArray(np.zeros((1, 1, 1)), dims=("x", "time", "z"))) == ("z", "x")


def test_periodic_only_if_the_whole_period_is_there():
    ds = line((np.arange(8) + 0.5) / 8, period=1.0, boundary="periodic")
    whole, part = axis(ds, "x"), axis(ds.isel(x=slice(0, 6)), "x")
    assert whole.periodic
    assert whole.length == 1.0
    assert not part.periodic
    assert part.length == pytest.approx(0.75)


def test_period_is_compared_to_a_millionth():
    positions = np.arange(10) / 10
    assert axis(line(positions, period=1.0 + 5e-7), "x").periodic
    assert not axis(line(positions, period=1.0 + 5e-6), "x").periodic


def test_single_point_takes_its_step_from_the_period():
    assert axis(line([0.5], period=2.0), "x").step == 2.0
    assert np.isnan(axis(line([0.5]), "x").step)


def test_spacing_is_found_and_a_false_declaration_is_not_believed():
    assert axis(line([0.0, 1.0, 2.0]), "x").spacing == "uniform"
    assert axis(line([0.0, 1.0, 3.0]), "x").spacing == "nonuniform"
    assert axis(line([0.0, 1.0, 3.0], spacing="uniform"), "x").spacing == "nonuniform"
    assert axis(line([0.0, 1.0, 3.0], spacing="chebyshev"), "x").spacing == "chebyshev"


def test_descending_axis_has_a_positive_step():
    assert axis(line([3.0, 2.0, 1.0]), "x").step == 1.0


@pytest.mark.parametrize(
    ("ds", "message"),
    [
        (line([0.0, 1.0]).rename(x="y"), "expected a dimension 'x'"),
        (xr.Dataset({"a": ("x", [1.0, 2.0])}), r"assign_coords\(x=\.\.\.\)"),
        (line([0.0, np.nan]), "NaN or infinity"),
        (line([0.0, 2.0, 1.0]), r"sortby\('x'\)"),
        (line([0.0, 0.0]), "not strictly monotonic"),
        (xr.Dataset(coords={"x": ["a", "b"]}), "dtype <U1: expected numbers"),
        (curved(), r"dims \('y', 'x'\)"),
    ],
)
def test_axis_refuses_and_says_what_mends(ds, message):
    with pytest.raises(SchemaError, match=message):
        axis(ds, "x")


def test_vectors_are_sorted_by_component_and_ignore_half_tags():
    ds = xr.Dataset(
        {
            "w": ("x", [0.0], {"vector": "velocity", "component": "z"}),
            "u": ("x", [0.0], {"vector": "velocity", "component": "x"}),
            "half": ("x", [0.0], {"vector": "velocity"}),
        }
    )
    assert list(vectors(ds)["velocity"].items()) == [("x", "u"), ("z", "w")]


def test_record_extends_a_copy_with_equal_bytes_for_equal_runs():
    ds = xr.Dataset()
    once = record(ds, "open", {"a": 1, "b": None}, source={"name": "file"})
    twice = record(once, "compress", {"vrmse": 0.01})
    assert ds.attrs == {}
    first, second = provenance(twice)
    assert first["parameters"] == {"a": 1}
    assert first["source"] == {"name": "file"}
    assert "source" not in second
    assert twice.attrs == record(once, "compress", {"vrmse": 0.01}).attrs
    text = twice.attrs["xphys_provenance"]
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))


def test_record_starts_in_memory():
    assert provenance(record(xr.DataArray(1.0), "derive"))[0]["source"] == "in memory"
    assert provenance(xr.Dataset()) == []
