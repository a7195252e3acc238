"""``xphys info --invariants``."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

from xphys.cli import app
from xphys.fields import invariants


@pytest.fixture
def ds() -> xr.Dataset:
    rng = np.random.default_rng(1)
    coords = {"time": xr.Variable("time", np.arange(3.0), {"units": "s", "long_name": "time"})}
    for dim, size in (("y", 12), ("x", 16)):
        attrs = {"period": 1.0, "boundary": "periodic", "spacing": "uniform", "units": "m"}
        coords[dim] = xr.Variable(dim, (np.arange(size) + 0.5) / size, attrs)
    shape = {"time": 3, "y": 12, "x": 16}
    decay = xr.DataArray([1.0, 0.5, 0.8], dims="time")
    fields = {"density": (tuple(shape), np.full((3, 12, 16), 2.0), {"units": "kg m-2"})}
    ds = xr.Dataset(fields, coords)
    for c in "xy":
        noise = decay * xr.DataArray(rng.normal(size=(12, 16)), dims=("y", "x"))
        tags = {"units": "m s-1", "vector": "velocity", "component": c}
        ds[f"velocity_{c}"] = noise.assign_attrs(tags)
    return ds


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["info", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def source(ds: xr.Dataset, tmp_path) -> str:
    path = str(tmp_path / "source.zarr")
    ds.phys.to_zarr(path)
    return path


def test_rows_for_machines(ds, source):
    assert "invariants" not in json.loads(run(source, "--json"))
    rows = {
        r["invariant"]: r for r in json.loads(run(source, "--invariants", "--json"))["invariants"]
    }
    expected = invariants(ds)
    assert rows["mass"] == {
        "invariant": "mass", "units": "kg", "first": 2.0, "last": 2.0, "drift": 0.0
    }  # fmt: skip
    energy = rows["kinetic_energy"]
    assert energy["first"] == pytest.approx(float(expected.kinetic_energy[0]), rel=1e-12)
    assert energy["last"] == pytest.approx(0.64 * energy["first"], rel=1e-12)
    assert energy["drift"] == pytest.approx(0.75, rel=1e-12)  # the second time
    assert rows["volume"]["drift"] is None
    assert "magnetic_field" in rows["magnetic_energy"]["absent"]
    assert {"mass", "enstrophy", "momentum_x", "max_abs_divergence_velocity"} <= set(rows)


def test_a_table_for_people(source):
    text = run(source, "--invariants")
    for word in ("Invariants", "drift", "enstrophy", "0.75", "Not there", "because"):
        assert word in text
    assert "Invariants" not in run(source)


def test_values_that_are_not_finite_have_no_drift(ds, tmp_path):
    data = ds.density.values.copy()
    data[1, 2, 3] = np.nan
    path = str(tmp_path / "bad.zarr")
    ds.assign(density=ds.density.copy(data=data)).phys.to_zarr(path)
    rows = {
        r["invariant"]: r for r in json.loads(run(path, "--invariants", "--json"))["invariants"]
    }
    assert rows["mass"]["drift"] is None
    assert rows["mass"]["first"] == 2.0
    assert rows["enstrophy"]["drift"] == pytest.approx(0.75, rel=1e-12)
