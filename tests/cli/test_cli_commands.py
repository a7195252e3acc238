"""The command line: exit codes, JSON on stdout alone, one line for an error."""

from __future__ import annotations

import io as streams
import json
import subprocess
import sys
import time

import dask
import numpy as np
import pytest
import xarray as xr
from rich.console import Console
from typer.testing import CliRunner, Result

import xphys
from xphys import codecs, metrics, schema
from xphys.cli import app
from xphys.cli._bounds import broken, parse_bound
from xphys.cli._output import emit_json
from xphys.cli._progress import ProgressBar
from xphys.errors import BoundError, XphysError


@pytest.fixture
def ds() -> xr.Dataset:
    rng = np.random.default_rng(1)
    coords = {}
    for dim, size in (("x", 32), ("y", 16)):
        attrs = {"period": 1.0, "boundary": "periodic", "spacing": "uniform", "units": "1"}
        attrs["long_name"] = f"position along {dim}"
        coords[dim] = xr.Variable(dim, (np.arange(size) + 0.5) / size, attrs)
    coords["time"] = xr.Variable("time", np.arange(4.0), {"units": "s", "long_name": "time"})
    coords["nu"] = xr.Variable((), 0.25, {"units": "1", "long_name": "viscosity"})
    wave = np.sin(2 * np.pi * coords["x"].values) * np.ones((4, 16, 1))
    fields = {}
    for name in ("density", "pressure"):
        values = (wave + 0.01 * rng.normal(size=wave.shape)).astype(np.float32)
        fields[name] = (("time", "y", "x"), values, {"units": "1", "long_name": name})
    return xr.Dataset(fields, coords)


@pytest.fixture
def source(ds: xr.Dataset, tmp_path) -> str:
    path = str(tmp_path / "source.zarr")
    ds.phys.to_zarr(path)
    return path


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    return result


def failure(*arguments: str) -> str:
    """The one line of an error."""
    result = run(*arguments, code=2)
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("xphys: ")
    return line


def test_version_and_help() -> None:
    assert run("--version").stdout == f"xphys {xphys.__version__}\n"
    for command in ("demo", "info", "validate", "convert", "compress", "compare"):
        assert command in run("--help").stdout
        text = run(command, "--help").stdout
        assert f"Example: xphys {command}" in text
        assert "--json" in text


def test_info(source: str, ds: xr.Dataset) -> None:
    found = json.loads(run("info", source, "--json").stdout)
    assert found["dims"]["x"]["size"] == 32
    assert found["dims"]["x"]["periodic"] is True
    assert found["parameters"]["nu"]["value"] == 0.25
    assert found["variables"]["density"]["dtype"] == "float32"
    assert found["stored_bytes"] > 0
    assert "to_zarr" in [step["operation"] for step in found["provenance"]]
    text = run("info", source).stdout
    for word in ("density", "periodic", "nu", "to_zarr", "Variables"):
        assert word in text


def test_validate(source: str, ds: xr.Dataset, tmp_path) -> None:
    assert json.loads(run("validate", source, "--json").stdout) == []
    assert run("validate", source).stdout == "no findings\n"
    bad = str(tmp_path / "bad.zarr")
    ds.drop_vars("x").phys.to_zarr(bad)
    found = json.loads(run("validate", bad, "--json", code=1).stdout)
    assert found[0]["severity"] == "error"
    assert {f["code"] for f in found} == {f.code for f in schema.validate(ds.drop_vars("x"))}
    assert "missing-coordinate" in run("validate", bad, code=1).stdout


def test_convert(source: str, ds: xr.Dataset, tmp_path) -> None:
    store = str(tmp_path / "copy.zarr")
    found = json.loads(run("convert", source, store, "--json").stdout)
    assert found["store"] == store
    assert found["bytes"] >= 2 * ds.density.nbytes
    assert found["stored_bytes"] > 0
    xr.testing.assert_equal(xr.open_zarr(store).load(), ds)
    assert "give --overwrite" in failure("convert", source, store)
    assert store in run("convert", source, store, "--overwrite").stdout


def test_convert_never_replaces_what_is_no_store(source: str, tmp_path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "run.bin").write_bytes(b"data")
    assert "no Zarr store" in failure("convert", source, str(folder), "--overwrite")
    assert "is a file" in failure("convert", source, str(folder / "run.bin"), "--overwrite")
    assert "holds the source" in failure("convert", source, source, "--overwrite")
    assert (folder / "run.bin").read_bytes() == b"data"
    assert xr.open_zarr(source).sizes["x"] == 32


def test_compress(source: str, ds: xr.Dataset, tmp_path) -> None:
    store = str(tmp_path / "small.zarr")
    options = ("--vrmse", "1e-2", "--vrmse", "density=1e-3", "--max-rel", "0.1", "--json")
    found = json.loads(run("compress", source, store, *options).stdout)
    rows = {row["variable"]: row for row in found["variables"]}
    assert rows["density"]["vrmse"] <= 1e-3 < rows["pressure"]["vrmse"] <= 1e-2
    assert found["bounds_not_met"] == []
    assert found["stored_bytes"] < found["bytes"] / 3
    plain = xr.open_zarr(store).load()
    error = float(metrics.compare(plain, ds).vrmse.sel(variable="density"))
    assert rows["density"]["vrmse"] == pytest.approx(error, rel=1e-9)
    text = run("compress", source, store, "--psnr", "40", "--overwrite").stdout
    assert "pressure" in text
    assert "ratio" in text


def test_compress_some_variables(source: str, ds: xr.Dataset, tmp_path) -> None:
    store = str(tmp_path / "some.zarr")
    run("compress", source, store, "--max-abs", "0.1", "--variables", "density")
    plain = xr.open_zarr(store).load()
    xr.testing.assert_equal(plain.pressure, ds.pressure)
    assert 0 < float(abs(plain.density - ds.density).max()) <= 0.1


def test_compress_keeps_invariants(source: str, ds: xr.Dataset, tmp_path) -> None:
    store = str(tmp_path / "kept.zarr")
    options = ("--preserve", "mean,positivity", "--effort", "fast", "--scope", "chunk")
    run("compress", source, store, "--vrmse", "0.05", *options)
    plain = xr.open_zarr(store).load()
    sums = plain.density.astype("f8").sum(("y", "x")) / ds.density.astype("f8").sum(("y", "x"))
    assert float(abs(sums - 1).max()) < 1e-12
    assert "'charm'" in failure("compress", source, store, "--preserve", "charm", "--overwrite")
    text = failure("compress", source, store, "--preserve", "spectrum=wide", "--overwrite")
    assert "spectrum=wide" in text


def test_compress_reports_a_broken_bound(source: str, tmp_path, monkeypatch) -> None:
    honest = codecs.compress
    loose = lambda ds, *, vrmse, **rest: honest(ds, vrmse=10 * vrmse, **rest)  # noqa: E731
    monkeypatch.setattr(codecs, "compress", loose, raising=False)
    options = (source, str(tmp_path / "a.zarr"), "--vrmse", "1e-3", "--json")
    result = run("compress", *options, code=1)
    failures = json.loads(result.stdout)["bounds_not_met"]
    assert len(failures) == 2
    assert failures[0].startswith("vrmse of density is 0.00")


def test_compare(source: str, ds: xr.Dataset, tmp_path) -> None:
    store, figure = str(tmp_path / "small.zarr"), tmp_path / "errors.png"
    ds.phys.compress(vrmse=1e-2).phys.to_zarr(store)
    options = ("--figure", str(figure), "--variable", "pressure", "--json")
    found = json.loads(run("compare", store, source, *options).stdout)
    assert figure.read_bytes().startswith(b"\x89PNG")
    rows = {row["variable"]: row for row in found["variables"]}
    assert rows["density"]["vrmse"] <= 1e-2
    assert rows["density"]["ratio"] > 3
    assert rows["density"]["spectrum_error"] >= 0
    same = json.loads(run("compare", source, source, "--json").stdout)["variables"][0]
    assert same["vrmse"] == 0
    assert same["psnr"] is None  # infinite: JSON has no such number
    assert "VRMSE" in run("compare", store, source).stdout


def test_errors_are_one_line(source: str, ds: xr.Dataset, tmp_path) -> None:
    new = str(tmp_path / "new.zarr")
    assert "nowhere.zarr" in failure("info", str(tmp_path / "nowhere.zarr"))
    assert "nowhere.zarr" in failure("info", str(tmp_path / "nowhere.zarr"), "--json")
    assert "'abc'" in failure("compress", source, new, "--vrmse", "abc")
    assert "give one" in failure("compress", source, new, "--vrmse", "1", "--vrmse", "2")
    assert "velocity" in failure("compress", source, new, "--variables", "velocity")
    assert "magic" in failure("compress", source, new, "--method", "magic")
    assert "not negative" in failure("compress", source, new, "--max-abs", "-1")
    other = str(tmp_path / "other.zarr")
    ds.isel(x=slice(0, 8)).phys.to_zarr(other)
    assert "sizes" in failure("compare", other, source)
    figure = str(tmp_path / "figure.xyz")
    assert "figure.xyz" in failure("compare", source, source, "--figure", figure)


def test_wrong_usage_exits_2() -> None:
    run("bogus", code=2)
    run("info", code=2)
    run("info", "a", "--bogus", code=2)


def test_as_a_process(source: str) -> None:
    call = "import sys; from xphys.cli import main; sys.argv[0] = 'xphys'; main()"
    command = [sys.executable, "-c", call, "info"]
    done = subprocess.run([*command, source, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert json.loads(done.stdout)["dims"]["y"]["size"] == 16
    assert done.stderr == ""
    bad = subprocess.run([*command, "nowhere"], capture_output=True, text=True, check=False)
    assert bad.returncode == 2
    assert bad.stdout == ""
    assert len(bad.stderr.splitlines()) == 1


def test_bounds_are_parsed() -> None:
    assert parse_bound("vrmse", None, ["u"]) is None
    assert parse_bound("vrmse", ["u=1e-3"], ["u", "v"]) == {"u": 1e-3}
    assert parse_bound("vrmse", ["0.1", "a=b=0.2"], ["u", "a=b"]) == {"u": 0.1, "a=b": 0.2}
    with pytest.raises(BoundError, match="--psnr"):
        parse_bound("psnr", ["u="], ["u"])


def test_broken_bounds_of_every_kind(ds: xr.Dataset) -> None:
    truth = ds[["density"]].load()
    test = truth + 0.5
    (row,) = metrics.summary(metrics.compare(test, truth))
    error, spread = 0.5, float(np.ptp(truth.density.values))
    relative = float((error / abs(truth.density.astype(float))).max())
    measured = {
        "vrmse": row["vrmse"],
        "rel_l2": row["rel_l2"],
        "max_abs": error,
        "max_rel": error / spread,
        "pointwise_rel": relative,
    }
    for kind, value in measured.items():
        assert broken({kind: value * 1.01}, [row], test, truth) == []
        (line,) = broken({kind: value * 0.99}, [row], test, truth)
        assert kind in line
        assert "density" in line
    assert broken({"psnr": row["psnr"] - 0.1}, [row], test, truth) == []
    assert len(broken({"psnr": row["psnr"] + 0.1}, [row], test, truth)) == 1
    assert len(broken({"vrmse": 1.0}, [{**row, "vrmse": float("nan")}], test, truth)) == 1
    assert broken({"vrmse": {"other": 0.0}, "max_abs": None}, [row], test, truth) == []


def test_json_has_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    emit_json({"a": np.float32(np.nan), "b": [np.int64(3), float("inf")], "c": np.arange(2)})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [3, None], "c": [0, 1]}


def test_progress_bar_appears_only_after_its_delay() -> None:
    def slow(x: int) -> int:
        time.sleep(0.01)
        return x

    work = [dask.delayed(slow)(i) for i in range(8)]
    shown = {}
    for delay in (0.0, 60.0):
        stream = streams.StringIO()
        console = Console(file=stream, force_terminal=True, width=80)
        with ProgressBar("working", delay=delay, console=console):
            dask.compute(*work, scheduler="threads")
        shown[delay] = stream.getvalue()
    assert "working" in shown[0.0]
    assert shown[60.0] == ""
    pipe = Console(file=streams.StringIO(), force_terminal=False)
    with ProgressBar("working", delay=0.0, console=pipe):
        dask.compute(*work, scheduler="threads")
    assert pipe.file.getvalue() == ""


def test_progress_bar_goes_away_after_an_error() -> None:
    console = Console(file=streams.StringIO(), force_terminal=True, width=80)

    def fail() -> None:
        raise XphysError("no")

    bar = ProgressBar("working", delay=0.0, console=console)
    with bar, pytest.raises(XphysError):
        dask.compute(dask.delayed(fail)(), scheduler="threads")
    assert bar._progress is None


def test_verify_and_repair(source: str, tmp_path) -> None:
    store = tmp_path / "small.zarr"
    run("compress", source, str(store), "--vrmse", "1e-2")
    assert "0 not as written" in run("verify", str(store)).output
    chunk = next(p for p in (store / "density" / "c").rglob("*") if p.is_file())
    before = chunk.read_bytes()
    chunk.write_bytes(before[:-1] + b"?")
    found = json.loads(run("verify", str(store), "--json", code=1).output)
    assert [row["state"] for row in found["found"]] == ["corrupt"]
    assert "density" in failure("compare", str(store), source)
    mended = json.loads(run("repair", str(store), source, "--json").output)
    assert [row["variable"] for row in mended["found"]] == ["density"]
    assert chunk.read_bytes() == before
    assert "nothing to undo" in failure("repair", str(store))


def test_verify_can_accept_a_foreign_store(ds: xr.Dataset, tmp_path) -> None:
    ds.to_zarr(tmp_path / "plain.zarr", zarr_format=3, consolidated=False)
    assert "seal=True" in failure("verify", str(tmp_path / "plain.zarr"))
    run("verify", str(tmp_path / "plain.zarr"), "--seal")
    run("verify", str(tmp_path / "plain.zarr"))
