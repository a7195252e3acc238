"""`xphys demo`: real data, two bounds, numbers from stores that a plain reader opened."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

from xphys import codecs
from xphys.cli import _plain_reader, app
from xphys.cli.demo import BOUNDS, _read_plainly
from xphys.errors import XphysError

KEYS = ("ratio", "vrmse", "max_abs", "psnr", "invariant_drift", "spectrum_error")


def test_demo_on_the_data_of_the_package(tmp_path: Path) -> None:
    output = tmp_path / "demo"
    result = CliRunner().invoke(app, ["demo", "--output", str(output), "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (output / "demo.png").read_bytes().startswith(b"\x89PNG")
    lossless = xr.open_zarr(output / "lossless.zarr").load()
    assert len(lossless.data_vars) == report["variables"] == 8
    assert [found["vrmse"] for found in report["results"]] == list(BOUNDS)
    for found in report["results"]:
        store = xr.open_zarr(found["store"]).load()
        size = sum(p.stat().st_size for p in Path(found["store"]).rglob("c/**/*") if p.is_file())
        assert found["met"]
        assert found["ratio"] > 5
        assert size <= 1.1 * found["stored_bytes"]
        for row in found["variables"]:
            assert all(np.isfinite(row[key]) for key in KEYS)
            test, truth = (ds[row["variable"]].astype(float) for ds in (store, lossless))
            error = float(np.sqrt(((test - truth) ** 2).mean()) / truth.std())
            assert 0 < error <= found["vrmse"]
            assert row["vrmse"] == pytest.approx(error, rel=1e-6)
            assert row["vrmse_plain_reader"] == pytest.approx(error, rel=1e-6)
    small, large = (found["stored_bytes"] for found in report["results"])
    assert large < small < report["lossless_bytes"]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> xr.Dataset:
    """A small Dataset in the place of the packaged one."""
    attrs = {"period": 1.0, "boundary": "periodic", "units": "1"}
    x = xr.Variable("x", (np.arange(16) + 0.5) / 16, attrs)
    rng = np.random.default_rng(2)
    values = rng.normal(size=(4, 16, 16)).astype(np.float32)
    ds = xr.Dataset({"density": (("time", "y", "x"), values, {"units": "1"})}, {"x": x})
    ds = ds.assign_coords(y=("y", x.values, attrs), time=np.arange(4.0))
    monkeypatch.setattr("xphys.cli.demo._source", lambda: ds.chunk())
    return ds


def test_demo_prints_a_table_and_may_run_again(few: xr.Dataset, tmp_path: Path) -> None:
    for _ in range(2):
        result = CliRunner().invoke(app, ["demo", "--output", str(tmp_path)])
        assert result.exit_code == 0, result.output
    for word in ("density", "0.01", "0.1", "ratio", "VRMSE", "PSNR", "drift", "spectrum", "met"):
        assert word in result.stdout


def test_demo_fails_on_a_broken_bound(few, tmp_path, monkeypatch) -> None:
    honest = codecs.compress

    def loose(ds: xr.Dataset, *, vrmse: float) -> xr.Dataset:
        return honest(ds, vrmse=2 * vrmse)

    monkeypatch.setattr(codecs, "compress", loose, raising=False)
    result = CliRunner().invoke(app, ["demo", "--output", str(tmp_path), "--json"])
    assert result.exit_code == 1
    assert [found["met"] for found in json.loads(result.stdout)["results"]] == [False, False]


def test_demo_leaves_other_files_alone(tmp_path: Path) -> None:
    mine = tmp_path / "lossless.zarr" / "notes.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    result = CliRunner().invoke(app, ["demo", "--output", str(tmp_path)])
    assert result.exit_code == 2
    assert mine.read_text() == "mine"


def test_plain_reader_knows_nothing_of_the_writer() -> None:
    source = inspect.getsource(_plain_reader)
    names = {
        alias.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert names == {"json", "sys", "numpy", "xarray"}
    assert not any(isinstance(node, ast.ImportFrom) for node in ast.walk(ast.parse(source)))


def test_plain_reader_computes_the_vrmse(few: xr.Dataset, tmp_path: Path) -> None:
    few.phys.to_zarr(tmp_path / "a.zarr")
    (few + 0.5).phys.to_zarr(tmp_path / "b.zarr")
    command = [sys.executable, "-P", _plain_reader.__file__]
    stores = [str(tmp_path / "b.zarr"), str(tmp_path / "a.zarr")]
    done = subprocess.run([*command, *stores], capture_output=True, text=True, check=True)
    expected = 0.5 / float(few.density.astype(float).std())
    assert json.loads(done.stdout) == {"density": pytest.approx(expected, rel=1e-5)}


def test_an_unreadable_store_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(XphysError, match="could not read"):
        _read_plainly(tmp_path / "nowhere.zarr", tmp_path / "nowhere.zarr")
