"""Progress of a local cluster, and reading files of strangers from the command line."""

from __future__ import annotations

import io as streams
import json
import re
import time
from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr
from rich.console import Console
from typer.main import get_command
from typer.testing import CliRunner, Result

import xphys
from xphys.cli import app
from xphys.cli._cluster import watch
from xphys.cli._progress import ProgressBar

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
OPENING = ("info", "validate", "convert", "compress", "compare", "spectra", "stats", "repair")


@pytest.fixture(scope="module")
def client():
    """A cluster of threads in this process: its scheduler is like that of processes."""
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
    )
    with cluster, distributed.Client(cluster) as made:
        yield made


def _slow(x: int) -> int:
    time.sleep(0.01)
    return x


def _work(first: int) -> list:
    return [dask.delayed(_slow)(first + i) for i in range(12)]


def test_a_cluster_tells_how_far_it_is(client) -> None:
    told: list[tuple[int, int]] = []
    leave = watch(client, lambda done, total: told.append((done, total)))
    dask.compute(*_work(0), scheduler=client)
    leave()
    assert [done for done, _ in told] == list(range(1, len(told) + 1))
    assert told[-1][0] == told[-1][1]
    assert len(told) >= 12
    count = len(told)
    dask.compute(*_work(100), scheduler=client)
    assert len(told) == count


def test_the_bar_of_a_cluster(client) -> None:
    shown = {}
    for number, delay in enumerate((0.0, 60.0)):
        stream = streams.StringIO()
        console = Console(file=stream, force_terminal=True, width=80)
        bar = ProgressBar("converting run", delay=delay, console=console, client=client)
        with bar:
            dask.compute(*_work(200 + 20 * number), scheduler=client)
        shown[delay] = stream.getvalue()
        assert bar._progress is None
        assert bar._leave is None
    assert "converting run" in shown[0.0]
    assert shown[60.0] == ""


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("run") / "run.nc"
    x = xr.Variable("x", (np.arange(16) + 0.5) / 16, {"boundary": "periodic", "period": 1.0})
    u = np.random.default_rng(0).standard_normal((4, 16)).astype("f4")
    ds = xr.Dataset({"u": (("time", "x"), u, {"units": "1"})}, {"time": np.arange(4.0), "x": x})
    ds.to_netcdf(path)
    return str(path)


def test_every_command_that_opens_takes_untrusted() -> None:
    commands = get_command(app).commands
    taking = {n for n, c in commands.items() if "--untrusted" in str([p.opts for p in c.params])}
    assert set(OPENING) <= taking
    folder = Path(xphys.__file__).parent / "cli"
    for name in OPENING:  # none of them opens a source by itself
        text = (folder / f"{name}.py").read_text()
        assert "open_source(" in text
        assert not re.search(r"io\.open\((source|test|reference|one)\b", text)


def test_untrusted_files(source: str, tmp_path: Path) -> None:
    for command in ("info", "stats"):
        more = ["--no-save"] if command == "stats" else []
        plain = json.loads(run(command, source, "--json", *more).stdout)
        apart = json.loads(run(command, source, "--json", "--untrusted", *more).stdout)
        for found in (plain, apart):
            found.pop("computed", None)
        assert apart == plain
    target = str(tmp_path / "copy.zarr")
    run("convert", source, target, "--untrusted")
    assert xphys.open(target).u.load().equals(xphys.open(source).u.load())


def test_a_damaged_untrusted_file_is_one_line(source: str, tmp_path: Path) -> None:
    data = bytearray(Path(source).read_bytes())
    data[600:2000] = bytes(1400)
    path = tmp_path / "damaged.nc"
    path.write_bytes(data)
    found = run("info", str(path), "--untrusted", code=2)
    (line,) = found.stderr.splitlines()
    assert line.startswith("xphys: ")
    assert str(path) in line
