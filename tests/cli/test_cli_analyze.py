"""``xphys analyze`` and the report of ``xphys compare``."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner, Result

from xphys.cli import app
from xphys.metrics import analysis_metrics, analyze, compare, domain_gap, scores

PNG = b"\x89PNG\r\n"


def flow(n: int = 16, seed: int = 0) -> xr.Dataset:
    rng = np.random.default_rng(seed)
    coords = {"time": xr.Variable("time", np.arange(3.0), {"units": "s", "long_name": "time"})}
    for d in ("x", "y"):
        attrs = {"period": 1.0, "boundary": "periodic", "spacing": "uniform", "units": "m"}
        coords[d] = xr.Variable(d, (np.arange(n) + 0.5) / n, attrs)
    wave = np.sin(2 * np.pi * coords["x"].values) * np.ones((3, n, 1))
    values = wave + 0.1 * rng.normal(size=wave.shape)
    return xr.Dataset({"omega": (("time", "y", "x"), values, {"units": "1/s"})}, coords)


@pytest.fixture
def stores(tmp_path) -> tuple[str, str]:
    paths = tuple(str(tmp_path / name) for name in ("new.zarr", "old.zarr"))
    for path, ds in zip(paths, (flow(seed=1), flow()), strict=True):
        ds.phys.to_zarr(path)
    return paths


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    return result


def test_reconstruction_leaves_its_four_files(stores, tmp_path):
    new, old = stores
    folder = tmp_path / "out"
    shown = run("analyze", new, old, "--output", str(folder), "--bins", "40").stdout
    assert "MSE" in shown
    expected = analysis_metrics(analyze(flow(seed=1), flow(), bins=40))
    assert json.loads((folder / "metrics.json").read_text()) == expected
    assert {p.name for p in folder.iterdir()} == {
        "metrics.json",
        "tke_spectrum.png",
        "enstrophy_spectrum.png",
        "pixel_histogram.png",
    }
    for path in folder.glob("*.png"):
        assert path.read_bytes().startswith(PNG)
    found = json.loads(run("analyze", new, old, "--samples", "1:3", "--json").stdout)
    assert found["n_samples"] == 2
    assert len(found["tke_spectrum"][0]) == len(found["wavenumber"])


def test_gap_of_two_resolutions(tmp_path):
    low, high = str(tmp_path / "low.zarr"), str(tmp_path / "high.zarr")
    flow(8).phys.to_zarr(low)
    flow(16).phys.to_zarr(high)
    folder = tmp_path / "out"
    shown = run("analyze", low, high, "--gap", "--output", str(folder)).stdout
    assert shown.strip() == (folder / "gap.md").read_text().strip()
    assert (folder / "gap.png").read_bytes().startswith(PNG)
    found = json.loads(run("analyze", low, high, "--gap", "--json").stdout)
    expected = domain_gap(flow(8), flow(16))
    np.testing.assert_allclose(found["l2_gap"], expected.l2_gap)


def test_verdict_on_one_run(tmp_path):
    time = np.arange(101.0)
    path = str(tmp_path / "run.zarr")
    ds = xr.Dataset({"kinetic_energy": ("time", np.exp(-time / 20), {"units": "1"})},
                    {"time": ("time", time, {"units": "1"})})  # fmt: skip
    ds.phys.to_zarr(path)
    assert "DECAYING" in run("analyze", path).stdout
    found = json.loads(run("analyze", path, "--mid", "10,20", "--late", "30,40", "--period", "2",
                           "--output", str(tmp_path / "out"), "--json").stdout)  # fmt: skip
    np.testing.assert_allclose(found["ratio"], np.exp(-2), rtol=1e-6)
    assert found["windows_in"] == "periods"
    assert "DECAYING" in (tmp_path / "out" / "sustained.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--gap"], "two runs"),
        (["OLD", "--range", "1"], "--range"),
        (["OLD", "--samples", "a:b"], "--samples"),
        (["OLD", "--variable", "rho"], "rho"),
        (["OLD", "--output", "FILE"], "is a file"),
        (["--mid", "x"], "--mid"),
    ],
)
def test_mistakes_are_one_line(stores, tmp_path, arguments, words):
    new, old = stores
    (tmp_path / "file").write_text("")
    places = {"OLD": old, "FILE": str(tmp_path / "file")}
    result = run("analyze", new, *(places.get(a, a) for a in arguments), code=2)
    (line,) = result.stderr.strip().splitlines()
    assert words in line


def test_report_of_a_comparison(stores, tmp_path):
    new, old = stores
    folder = tmp_path / "report"
    run("compare", new, old, "--report", str(folder))
    assert {p.name for p in folder.iterdir()} == {
        "report.md", "scores.json", "pictures.json", "fields.png", "values.png", "spectra.png",
        "over_time.png"
    }  # fmt: skip
    (row,) = json.loads((folder / "scores.json").read_text())["variables"]
    expected = scores(flow(seed=1), flow())
    np.testing.assert_allclose(row["rmse"], expected.rmse[0])
    np.testing.assert_allclose(row["frmse_low"], expected.frmse.sel(band="low")[0])
    assert row["brmse"] is None
    assert 0 < row["js_divergence"] < np.log(2)
    page = (folder / "report.md").read_text()
    assert "| pearson r |" in page
    assert "(values.png)" in page
    assert "(rate_distortion.png)" not in page
    drawn = json.loads((folder / "pictures.json").read_text())
    comparison = compare(flow(seed=1), flow(), report=True)
    found = [np.array(c["up"]) for c in drawn["charts"][0]["curves"]]
    np.testing.assert_allclose(found[1], comparison.spectrum.sel(origin="test")[0], rtol=1e-6)
    np.testing.assert_allclose(found[2], comparison.error_spectrum[0], rtol=1e-6)
    assert drawn["charts"][0]["across"] == "wavenumber (1/m)"
    np.testing.assert_allclose(
        drawn["fields"]["reference"], comparison.section.sel(origin="reference"), rtol=1e-6
    )
    assert drawn["fields"]["dims"] == ["y", "x"]
    assert sum(np.diff(drawn["values"]["omega"]["test"]["left"]) > 0) > 10


def test_compare_report_with_rate_and_distortion(stores, tmp_path) -> None:
    new, old = stores
    folder = tmp_path / "report"
    run("compare", new, old, "--report", str(folder), "--rate-distortion")
    assert (folder / "rate_distortion.png").read_bytes().startswith(b"\x89PNG")
    (chart,) = [
        c for c in json.loads((folder / "pictures.json").read_text())["charts"]
        if c["picture"] == "rate_distortion"
    ]  # fmt: skip
    line, stored = chart["curves"]
    assert line["up"] == [1e-1, 3e-2, 1e-2, 1e-3, 1e-4]
    assert np.all(np.diff(line["across"]) >= 0)
    assert stored["label"] == "stored"
    (row,) = json.loads((folder / "scores.json").read_text())["variables"]
    assert stored["across"] == [pytest.approx(row["bits_per_value"], rel=1e-6)]
    assert "--report" in run("compare", new, old, "--rate-distortion", code=2).stderr
