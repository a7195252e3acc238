"""``xphys convert`` and ``xphys stats``: every target, parts, resuming, workers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import xarray as xr
import zarr
from typer.testing import CliRunner, Result

import xphys
from xphys import io, stats
from xphys.cli import app
from xphys.cli._select import advice, select, sizes
from xphys.cli._targets import FORMATS, format_of
from xphys.cli.convert import _names
from xphys.errors import SchemaError, XphysError
from xphys.fields import degrade
from xphys.io.writers import _graph


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    return result


def failure(*arguments: str) -> str:
    result = run(*arguments, code=2)
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("xphys: ")
    return line


@pytest.fixture
def ds() -> xr.Dataset:
    rng = np.random.default_rng(1)
    coords = {"time": xr.Variable("time", np.arange(12) * 0.5, {"units": "1"})}
    for dim, size in (("x", 16), ("y", 8)):
        attrs = {"period": 1.0, "boundary": "periodic", "spacing": "uniform", "units": "1"}
        coords[dim] = xr.Variable(dim, (np.arange(size) + 0.5) / size, attrs)
    fields = {}
    for component in "xy":
        attrs = {"vector": "velocity", "component": component, "units": "1"}
        values = rng.normal(size=(12, 8, 16)).astype(np.float32)
        fields[f"velocity_{component}"] = (("time", "y", "x"), values, attrs)
    fields["density"] = (("time", "y", "x"), 1 + rng.random((12, 8, 16)).astype("f4"))
    return xr.Dataset(fields, coords)


@pytest.fixture
def source(ds: xr.Dataset, tmp_path: Path) -> str:
    path = str(tmp_path / "source.zarr")
    ds.phys.to_zarr(path)
    return path


@pytest.mark.parametrize("name", ["a.zarr", "a.icechunk", "a.nc", "a.hdf5", "a.h5"])
def test_every_target(source, ds, tmp_path, name):
    if name.endswith("icechunk"):
        pytest.importorskip("icechunk")
    target = str(tmp_path / name)
    found = json.loads(run("convert", source, target, "--json").stdout)
    assert found["store"] == target
    assert found["format"] == format_of(target).name
    assert found["sizes"] == dict(ds.sizes)
    back = xphys.open(target)
    for field in ds.data_vars:
        np.testing.assert_array_equal(back[field].transpose(*ds[field].dims), ds[field])
    assert "exists" in failure("convert", source, target)
    text = run("convert", source, target, "--overwrite", "--variables", "density").stdout
    assert target in text
    assert set(xphys.open(target).data_vars) == {"density"}


def test_format_may_be_named(source, tmp_path):
    target = str(tmp_path / "run.data")
    found = json.loads(run("convert", source, target, "--to", "netcdf", "--json").stdout)
    assert found["format"] == "netcdf"
    assert "expected a format" in failure("convert", source, target, "--to", "grib")
    assert "cannot write .npy" in failure("convert", source, str(tmp_path / "a.npy"))
    assert {one.name for one in FORMATS} == {"zarr", "icechunk", "netcdf", "the_well", "gust"}


def test_parts_of_a_source(source, ds, tmp_path):
    target = str(tmp_path / "part.nc")
    options = ("--variables", "velocity", "--time", "2:-1:3", "--factor", "4")
    run("convert", source, target, *options)
    wanted = degrade(ds[["velocity_x", "velocity_y"]].isel(time=slice(2, -1, 3)), 4)
    back = xphys.open(target)
    xr.testing.assert_equal(back.load(), wanted)
    assert [s["operation"] for s in back.phys.provenance].count("degrade") == 1
    target = str(tmp_path / "smooth.zarr")
    run("convert", source, target, "--method", "spectral", "--factor", "2", "--time", ":3")
    xr.testing.assert_allclose(
        xphys.open(target).load(), degrade(ds.isel(time=slice(3)), 2, method="spectral")
    )


def test_steps_and_times(ds):
    assert select(ds, time="3:5")["time"].values.tolist() == [1.5, 2.0]
    assert select(ds, time="::5")["time"].values.tolist() == [0.0, 2.5, 5.0]
    assert select(ds, time_values="1.5:2.5")["time"].values.tolist() == [1.5, 2.0, 2.5]
    assert select(ds, time_values=":0.6").sizes["time"] == 2
    for options, message in [
        ({"time": "3"}, "START:STOP"),
        ({"time": "0.5:2"}, "--time-values"),
        ({"time": "1:2:-1"}, "START:STOP"),
        ({"time": "5:5"}, "no step lies in '5:5'"),
        ({"time_values": "a:b"}, "in units of time"),
        ({"time_values": "90:99"}, "no step"),
        ({"time": "0:1", "time_values": "0:1"}, "not both"),
        ({"variables": "q"}, "got 'q'"),
        ({"factor": 3}, "does not divide"),
    ]:
        with pytest.raises(XphysError, match=message):
            select(ds, **options)
    with pytest.raises(SchemaError, match="dimension 'time'"):
        select(ds.isel(time=0), time="0:1")


def test_sizes_of_options():
    assert sizes("chunks", ["time=16,x=-1", "y=3"]) == {"time": 16, "x": -1, "y": 3}
    assert sizes("chunks", None) is None
    for bad in ("time", "time=a", "=3"):
        with pytest.raises(SchemaError, match="dim=number"):
            sizes("chunks", [bad])


def test_shards_are_written_whole(source, tmp_path, monkeypatch):
    target, parts = str(tmp_path / "s.zarr"), []
    honest = _graph._store_values

    def counting(values, array, where):
        parts.append((array.path, where[0].start, where[0].stop))
        return honest(values, array, where)

    monkeypatch.setattr(_graph, "_store_values", counting)
    # above the size at which values in memory are encoded at once
    monkeypatch.setattr("xphys.io.writers._prepare._LARGEST_STAGED", 0)
    run("convert", source, target, "--chunks", "time=2", "--shards", "time=8")
    array = zarr.open_array(target, path="density", mode="r")
    assert (array.chunks, array.shards) == ((2, 8, 16), (8, 8, 16))
    assert sorted(p for p in parts if p[0] == "density") == [("density", 0, 8), ("density", 8, 12)]


def test_what_a_format_does_not_have(source, tmp_path):
    assert "has no shards" in failure("convert", source, str(tmp_path / "a.nc"), "--shards", "x=8")
    assert "no chunks" in failure("convert", source, str(tmp_path / "a.h5"), "--chunks", "x=8")
    folder = tmp_path / "folder.nc"
    folder.mkdir()
    assert "is a folder" in failure("convert", source, str(folder))
    assert list(folder.iterdir()) == []
    run("convert", source, str(tmp_path / "a.nc"))
    same = str(tmp_path / "a.nc")
    assert "is the source" in failure("convert", same, same, "--overwrite")
    assert "nowhere" in failure("convert", str(tmp_path / "nowhere"), same + "2.nc")


def test_a_stopped_write_goes_on(source, ds, tmp_path, monkeypatch):
    target = str(tmp_path / "a.nc")
    writer = io.to_netcdf.__globals__
    honest, calls = writer["_assemble"], []

    def failing(*arguments):
        calls.append(1)
        raise OSError("killed")

    monkeypatch.setitem(writer, "_SMALL", 0)
    monkeypatch.setitem(writer, "_assemble", failing)
    assert "killed" in failure("convert", source, target)
    assert os.path.exists(target + ".partial")
    monkeypatch.setitem(writer, "_assemble", honest)
    monkeypatch.setitem(writer, "_encoded", failing)
    run("convert", source, target)
    assert calls == [1]
    xr.testing.assert_equal(xphys.open(target).load(), ds)


def test_each_match_by_itself(source, ds, tmp_path):
    for seed in (1, 2):
        (ds + seed).phys.to_zarr(tmp_path / "runs" / f"seed_{seed}" / "data.zarr")
    pattern, out = str(tmp_path / "runs" / "seed_*" / "data.zarr"), tmp_path / "out"
    options = ("--each", "--to", "netcdf", "--threads", "2", "--json")
    found = json.loads(run("convert", pattern, str(out), *options).stdout)
    assert [os.path.basename(one["store"]) for one in found["stores"]] == ["seed_1.nc", "seed_2.nc"]
    for seed in (1, 2):
        xr.testing.assert_equal(xphys.open(out / f"seed_{seed}.nc").load(), ds + seed)
    assert "name the format" in failure("convert", pattern, str(out), "--each")
    assert _names(["r/a/bin", "r/b/bin"]) == ["a", "b"]
    assert _names(["r/a.nc"]) == ["a"]
    assert _names(["p/1/a", "p/2/b", "q/2/b"][:2]) == ["a", "b"]
    with pytest.raises(XphysError, match="different names"):
        _names(["p/1/a", "q/1/a/", "r/1/b", "s/1/b"])


def test_advice():
    u = da.zeros((400, 1024, 1024), chunks=(1, 1024, 1024), dtype="f4")
    big = xr.Dataset({"u": (("time", "y", "x"), u)})
    (shape, steps) = advice(big, None, None)
    assert "inner chunks of time 16 x y 1024 x x 1024, 67.1 MB" in shape
    assert "--chunks time=1 --shards time=64" in steps
    assert len(advice(big, {"time": 1}, {"time": 64})) == 1
    cut = advice(big, {"time": 2, "x": 512}, None)
    assert any("frames are cut along x" in line for line in cut)
    many = xr.Dataset({"u": (("time", "x"), da.zeros((40000, 512), chunks=(400, 512)))})
    assert "40000 objects" in advice(many, {"time": 1}, None)[-1]
    assert advice(xr.Dataset(), None, None) == []


@pytest.mark.slow
def test_workers_of_a_cluster(source, ds, tmp_path):
    script = tmp_path / "main.py"  # workers import the main module again
    script.write_text("from xphys.cli import main\nif __name__ == '__main__':\n    main()\n")
    for name in ("a.zarr", "a.nc"):
        target = str(tmp_path / name)
        options = ["--cluster", "2", "--threads", "1", "--chunks", "time=3"]
        command = [sys.executable, str(script), "convert", source, target, *options]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
        assert "2 workers" in done.stderr
        xr.testing.assert_equal(xphys.open(target).load(), ds)


def test_stats(source, ds):
    found = json.loads(run("stats", source, "--json").stdout)
    assert found["computed"] is True
    assert found["file"] == source + ".stats.json"
    rows = {row["variable"]: row for row in found["variables"]}
    assert set(rows) == {*ds.data_vars, "velocity"}
    assert rows["density"]["mean"] == pytest.approx(float(ds.density.astype("f8").mean()))
    again = json.loads(run("stats", source, "--json").stdout)
    assert again["computed"] is False
    assert again["variables"] == found["variables"]
    assert json.loads(run("stats", source, "--json", "--force").stdout)["computed"] is True
    assert "velocity_x" in run("stats", source).stdout
    assert float(stats.load(source)["count"][0]) == ds.density.size


def test_stats_of_changed_data_are_computed_again(source, ds):
    run("stats", source)
    (ds + 1).phys.to_zarr(source, mode="w")
    found = json.loads(run("stats", source, "--json").stdout)
    assert found["computed"] is True
    rows = {row["variable"]: row for row in found["variables"]}
    assert rows["density"]["mean"] > 2
    some = ("--variables", "density", "--json")
    assert len(json.loads(run("stats", source, *some).stdout)["variables"]) == 1


def test_stats_with_nan(ds, tmp_path):
    ds.density[0, 0, 0] = np.nan
    path = str(tmp_path / "nan.zarr")
    ds.phys.to_zarr(path)
    result = run("stats", path, "--json", "--no-save", code=1)
    rows = {row["variable"]: row for row in json.loads(result.stdout)["variables"]}
    assert rows["density"]["mean"] is None
    assert rows["density"]["nan_count"] == 1
    assert not os.path.exists(path + ".stats.json")
    rows = json.loads(run("stats", path, "--skipna", "--json").stdout)["variables"]
    assert all(row["mean"] is not None for row in rows)
    assert "nowhere" in failure("stats", str(tmp_path / "nowhere"))


def test_help_has_examples() -> None:
    for command in ("convert", "stats"):
        text = run(command, "--help").stdout
        assert f"Example: xphys {command}" in text
        assert "--json" in text
