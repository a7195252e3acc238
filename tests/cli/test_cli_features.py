"""``xphys features``."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner, Result

from xphys.cli import app
from xphys.features import Registry, features, registry


@pytest.fixture
def ds() -> xr.Dataset:
    rng = np.random.default_rng(1)
    coords = {"time": xr.Variable("time", np.arange(8.0), {"units": "s"})}
    for dim, size in (("x", 16), ("y", 12)):
        attrs = {"period": 1.0, "boundary": "periodic", "units": "m"}
        coords[dim] = xr.Variable(dim, (np.arange(size) + 0.5) / size, attrs)
    dims = ("realization", "time", "y", "x")
    fields = {f"u{i}": (dims, rng.normal(size=(2, 8, 12, 16))) for i in range(2)}
    return xr.Dataset(fields, coords)


@pytest.fixture
def source(ds: xr.Dataset, tmp_path) -> str:
    path = str(tmp_path / "source.zarr")
    ds.phys.to_zarr(path)
    return path


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["features", *arguments])
    assert result.exit_code == code, result.output
    return result


def test_numbers_for_machines(ds, source):
    found = json.loads(run(source, "--json", "--level", "aggregated").stdout)
    expected = features(ds, level="aggregated")
    assert found["sizes"] == {"feature": 261}
    assert [row["name"] for row in found["features"]] == expected["name"].values.tolist()
    means = [np.nan if row["mean"] is None else row["mean"] for row in found["features"]]
    np.testing.assert_allclose(means, expected, rtol=1e-10, atol=1e-13)
    assert found["undefined"] == {}
    one = json.loads(run(source, "--json", "--variables", "u0").stdout)
    assert "causality_lag_corr_asymmetry_mean_lag1" in one["undefined"]


def test_a_table_for_people(source):
    text = run(source, "--families", "spatial", "--level", "step", "--variables", "u0").stdout
    assert "gradient_anisotropy" in text
    assert "Undefined" not in text
    assert "spatial_std_max" in run(source, "--names", "spatial_std,trend_strength",
                                    "--over-time", "max,min").stdout  # fmt: skip


@pytest.mark.parametrize("ending", ["nc", "zarr", "csv"])
def test_files(ds, source, tmp_path, ending):
    path = tmp_path / f"out.{ending}"
    run(source, "--families", "spatial,temporal", "--over-time", "mean", "--output", str(path))
    expected = features(ds, ["spatial", "temporal"], over_time="mean")
    if ending == "csv":
        with path.open() as file:
            rows = list(csv.DictReader(file))
        assert list(rows[0]) == ["realization", *expected["name"].values]
        found = [[float(v) for k, v in row.items() if k != "realization"] for row in rows]
        np.testing.assert_allclose(found, expected, rtol=1e-10)
        return
    engine = {"nc": "netcdf4", "zarr": "zarr"}[ending]
    with xr.open_dataset(path, engine=engine) as back:
        np.testing.assert_allclose(back.features, expected, rtol=1e-12)
        assert back["name"].values.tolist() == expected["name"].values.tolist()
        assert back["definition_version"].values[0] == "xphys-1"


def test_the_list_of_all():
    assert "spectral_flatness" in run().stdout
    assert "spatial_mean" not in run("--families", "temporal").stdout
    assert Registry.from_json(run("--json").stdout) == registry()


def test_mistakes_are_one_line(source, tmp_path):
    for arguments in (
        (source, "--level", "frame"),
        (source, "--families", "spatial"),
        (source, "--names", "nothing"),
        (source, "--variables", "rho"),
        (source, "--over-time", "median"),
        (source, "--output", str(tmp_path / "a.docx")),
        ("--families", "nothing"),
    ):
        result = run(*arguments, code=2)
        assert result.stderr.startswith("xphys: ")
        assert result.stderr.count("\n") == 1
