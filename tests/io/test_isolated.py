"""Files read by child processes: the same Dataset, and children that crash, hang or lie."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import xphys
from xphys.errors import (
    CorruptDataError,
    FormatError,
    RemoteError,
    SchemaError,
    UnknownNameError,
    XphysError,
    XphysWarning,
)
from xphys.io import Isolation, to_zarr
from xphys.io._isolated import _open, _pool
from xphys.io._isolated._document import parse, read_json
from xphys.io._isolated._pool import _error, pool
from xphys.io._isolated._values import plain, restored, sound

SMALL = Isolation(memory=2**28, seconds=60, processes=1)


@pytest.fixture(autouse=True)
def acts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children know the acts of isolated_acts.py, which storage_options name."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    monkeypatch.setattr(_open, "_FILES", (*_open._FILES, "isolated_acts"))


@pytest.fixture
def fields() -> xr.Dataset:
    rng = np.random.default_rng(0)
    return xr.Dataset(
        {
            "u": (("time", "x"), rng.random((6, 5)), {"units": "m", "levels": np.arange(3)}),
            "count": (("time", "x"), rng.integers(0, 9, (6, 5), np.int16)),
            "sure": (("x",), np.array([True, False, True, True, False])),
            "nu": ((), 3.5),
        },
        {
            "time": np.array("2000-01-01", "M8[ns]") + np.arange(6) * np.timedelta64(1, "D"),
            "x": np.linspace(0, 1, 5),
            "name": (("x",), list("abcde")),
        },
        {"title": "a test"},
    )


@pytest.mark.parametrize(
    "path",
    [
        "gust/rayleigh_benard_64x24.h5",
        "pdebench/cfd_3d.hdf5",
        "py2d",
        "athenak/mri_64_two_ranks",
        "athenak/history/HB3.mhd.hst",
    ],
)
def test_the_same_dataset(small_data: Path, path: str) -> None:
    direct = xphys.open(small_data / path)
    ds = xphys.open(small_data / path, untrusted=SMALL)
    assert ds.chunksizes == direct.chunksizes
    assert list(ds.xindexes) == list(direct.xindexes)
    assert ds.phys.validate() == direct.phys.validate()
    assert ds.encoding["source"] == direct.encoding["source"]
    for name in direct.variables:
        assert ds[name].dtype == direct[name].dtype
    xr.testing.assert_identical(ds.load(), direct.load())


@pytest.mark.parametrize("kind", ["netcdf", "classic", "zarr 2", "zarr 3", "store"])
def test_general_formats(tmp_path: Path, fields: xr.Dataset, kind: str) -> None:
    path = str(tmp_path / "run")
    plain_fields = fields.drop_vars(["sure", "name"])
    if kind == "netcdf":
        fields.to_netcdf(path)
    elif kind == "classic":
        plain_fields.to_netcdf(path, engine="scipy")
    elif kind == "store":
        to_zarr(plain_fields, path)
    else:
        # text of fixed width has no final form in Zarr 3 yet
        plain_fields.to_zarr(path, zarr_format=int(kind[-1]), consolidated=kind == "zarr 2")
    ds, direct = xphys.open(path, untrusted=SMALL), xphys.open(path)
    xr.testing.assert_identical(ds.load(), direct.load())
    assert ds["time"].encoding["units"] == direct["time"].encoding["units"]


def test_trees_and_levels(small_data: Path) -> None:
    path = small_data / "athenak/orszag_tang_smr"
    tree = xphys.open(path, tree=True, untrusted=SMALL)
    assert isinstance(tree, xr.DataTree)
    assert tree.identical(xphys.open(path, levels="tree"))


def test_parts_of_variables(tmp_path: Path, fields: xr.Dataset) -> None:
    fields.to_netcdf(tmp_path / "run.nc")
    ds = xphys.open(tmp_path / "run.nc", untrusted=SMALL, chunks=None)
    for key in (
        {"time": 2},
        {"time": slice(None, None, -2), "x": [3, 1]},
        {"time": slice(4, 4)},
        {"time": [0, 5], "x": slice(1, None, 2)},
        {"time": 1, "x": 4},
    ):
        wanted = fields["u"].isel(key)
        np.testing.assert_array_equal(ds["u"].isel(key).values, wanted.values)
    assert ds["name"].values.tolist() == list("abcde")
    picked = ds["u"].isel(time=xr.DataArray([0, 1], dims="p"), x=xr.DataArray([2, 3], dims="p"))
    np.testing.assert_array_equal(picked.values, fields["u"].values[[0, 1], [2, 3]])


def test_large_reads_are_made_of_pieces(
    tmp_path: Path, fields: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields.to_netcdf(tmp_path / "run.nc")
    ds = xphys.open(tmp_path / "run.nc", untrusted=SMALL, chunks=None)
    asked = []
    read = _pool.Pool.read

    def noted(self: Any, source: Any, digest: str, place: Any, key: Any, *rest: Any) -> Any:
        asked.append(key)
        return read(self, source, digest, place, key, *rest)

    monkeypatch.setattr(_pool.Pool, "read", noted)
    monkeypatch.setattr(_open, "_PIECE", 100)
    np.testing.assert_array_equal(ds["u"].values, fields["u"].values)
    assert [key[0] for key in asked] == [slice(n, n + 2, 1) for n in (0, 2, 4)]
    asked.clear()
    ds = xphys.open(tmp_path / "run.nc", untrusted=SMALL, chunks=None)
    part = ds["u"].isel(time=slice(None, None, 2))
    np.testing.assert_array_equal(part.values, fields["u"].values[::2])
    assert [key[0] for key in asked if len(key) == 2] == [slice(0, 4, 2), slice(4, 6, 2)]
    np.testing.assert_array_equal(ds["u"].isel(time=[5, 0, 3]), fields["u"].values[[5, 0, 3]])


def test_opening_is_lazy_and_arrays_can_be_sent(small_data: Path) -> None:
    path = small_data / "pdebench/cfd_3d.hdf5"
    ds = xphys.open(path, untrusted=SMALL)
    assert all(variable.chunks for variable in ds.data_vars.values())
    again = pickle.loads(pickle.dumps(ds))
    assert again["density"].chunks == ds["density"].chunks
    direct = xphys.open(path)
    np.testing.assert_array_equal(again["density"].values, direct["density"].values)
    # tasks of both may meet in one graph
    assert again["density"].data.name != direct["density"].data.name


@pytest.mark.slow
def test_other_processes_have_children_of_their_own(small_data: Path) -> None:
    ds = xphys.open(small_data / "pdebench/cfd_3d.hdf5", untrusted=SMALL)
    here = ds["density"].compute(scheduler="processes", num_workers=1)
    np.testing.assert_array_equal(here, ds["density"].compute(scheduler="synchronous"))


def broken(path: Path, act: str, **limits: Any) -> FormatError:
    """The error of opening a file at which a child does something."""
    settings = {"memory": 2**28, "seconds": 60, "processes": 1, **limits}
    with pytest.raises(FormatError) as caught:
        xphys.open(path, untrusted=Isolation(**settings), storage_options={"act": act})
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return caught.value


def test_a_child_that_crashes(small_data: Path) -> None:
    path = small_data / "py2d/1.mat"
    assert "SIGSEGV" in str(broken(path, "crash"))
    assert "SIGABRT" in str(broken(path, "abort"))
    assert "code 3" in str(broken(path, "leave"))
    assert xphys.open(path, untrusted=SMALL)["vorticity"].size


def test_a_child_that_hangs_is_stopped(small_data: Path) -> None:
    path = small_data / "py2d/1.mat"
    start = time.monotonic()
    said = str(broken(path, "sleep", seconds=1))
    assert "took longer than 1 s" in said
    assert "Isolation(seconds=" in said
    assert time.monotonic() - start < 300


def test_a_child_that_takes_memory_is_refused(small_data: Path) -> None:
    said = str(broken(small_data / "py2d/1.mat", "hoard"))
    assert "256 MiB" in said
    assert "Isolation(memory=" in said


def test_a_crash_while_reading_is_an_error_of_that_read_only(small_data: Path) -> None:
    ds = xphys.open(small_data / "py2d/1.mat", untrusted=SMALL, chunks=None)
    array = ds["vorticity"].variable._data.array.array.array
    children = pool(SMALL)
    whole = (slice(None),) * 3
    for act in ("crash", "end"):
        place = (array.place[0], act)
        with pytest.raises(FormatError, match="was ended by SIGSEGV|ended with code 0"):
            children.read(array.source, array.digest, place, whole, array.shape, array.dtype)
        direct = xphys.open(small_data / "py2d/1.mat")["vorticity"].values
        np.testing.assert_array_equal(array._read(whole), direct)


def test_an_idle_child_that_died_is_replaced(small_data: Path) -> None:
    ds = xphys.open(small_data / "py2d/1.mat", untrusted=SMALL, chunks=None)
    (child,) = pool(SMALL)._free
    os.kill(child._number, signal.SIGKILL)
    while child.alive:
        time.sleep(0.01)
    assert np.isfinite(ds["vorticity"].values).all()


def test_closing_ends_the_children(small_data: Path) -> None:
    ds = xphys.open(small_data / "py2d/1.mat", untrusted=SMALL, chunks=None)
    assert len(pool(SMALL)._free) == 1
    ds.close()
    assert pool(SMALL)._free == []


def test_children_go_with_their_parent(small_data: Path) -> None:
    code = (
        "import os, signal, xphys\n"
        "from xphys.io import Isolation\n"
        "from xphys.io._isolated._pool import pool\n"
        "from xphys.io._isolated._nursery import nursery\n"
        "limits = Isolation(seconds=60)\n"
        f"xphys.open({str(small_data / 'py2d/1.mat')!r}, untrusted=limits)\n"
        "print(pool(limits)._free[0]._number, nursery()._process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    numbers = [int(n) for n in done.stdout.split()]
    assert len(numbers) == 2, done.stderr
    for _ in range(1000):
        left = [n for n in numbers if _running(n)]
        if not left:
            return
        time.sleep(0.02)
    raise AssertionError(f"still running: {left}")


def _running(number: int) -> bool:
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_errors_keep_their_class(tmp_path: Path, small_data: Path) -> None:
    whole = (small_data / "pdebench/cfd_3d.hdf5").read_bytes()
    (tmp_path / "cut.hdf5").write_bytes(whole[:3000])
    (tmp_path / "text.txt").write_text("nothing that anybody knows")
    for name in ("cut.hdf5", "text.txt"):
        with pytest.raises(FormatError) as isolated:
            xphys.open(tmp_path / name, untrusted=SMALL)
        with pytest.raises(FormatError) as direct:
            xphys.open(tmp_path / name)
        assert str(isolated.value) == " ".join(str(direct.value).split())
    with pytest.raises(FileNotFoundError, match="nowhere"):
        xphys.open(tmp_path / "nowhere", untrusted=SMALL)
    with pytest.raises(UnknownNameError, match="expected an engine"):
        xphys.open(tmp_path / "text.txt", engine="none", untrusted=SMALL)
    with pytest.raises(SchemaError, match="untrusted must be"):
        xphys.open(tmp_path / "text.txt", untrusted="yes")
    with pytest.raises(SchemaError, match="numbers, text and arrays"):
        xphys.open(tmp_path / "text.txt", untrusted=True, storage_options={"a": lambda: 0})


def test_a_source_that_changed_is_noticed(tmp_path: Path, fields: xr.Dataset) -> None:
    path = tmp_path / "run.nc"
    fields.to_netcdf(path)
    ds = xphys.open(path, untrusted=SMALL, chunks=None)
    pool(SMALL).forget(ds["u"].variable._data.array.array.array.source)
    path.unlink()
    fields.isel(time=slice(3)).to_netcdf(path)
    with pytest.raises(FormatError, match="changed since it was opened"):
        ds["u"].load()


def test_limits_are_checked() -> None:
    for name in ("memory", "seconds", "rate", "processes"):
        for value in (0, -1, "much", True):
            with pytest.raises(SchemaError, match=name):
                Isolation(**{name: value})


def test_other_systems_are_told(monkeypatch: pytest.MonkeyPatch, small_data: Path) -> None:
    from xphys.io._isolated import _nursery

    monkeypatch.setattr(_nursery, "_CURRENT", [])
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(SchemaError, match="needs Linux"):
        xphys.open(small_data / "py2d/1.mat", untrusted=Isolation(seconds=61))


def described(**changes: Any) -> dict[str, Any]:
    variable = {
        "name": "u",
        "dims": ["x"],
        "shape": [3],
        "dtype": "<f8",
        "coord": False,
        "held": False,
        "attrs": [],
        "encoding": [],
        **changes,
    }
    node = {"path": "/", "variables": [variable], "attrs": [], "encoding": []}
    return {"name": None, "nodes": [node]}


@pytest.mark.parametrize(
    "changes",
    [
        {"dtype": "O8"},
        {"dtype": "|V8"},
        {"dtype": "f8,f8"},
        {"dtype": ["f8"]},
        {"dtype": "<U99999999999"},
        {"shape": [-1]},
        {"shape": [2.0]},
        {"shape": [True]},
        {"shape": [2**62]},
        {"shape": [2**40, 2**40], "dims": ["x", "y"]},
        {"shape": [3, 3]},
        {"dims": ["x", "x"], "shape": [3, 3]},
        {"dims": "x"},
        {"name": 1},
        {"coord": 1},
        {"attrs": {}},
        {"attrs": [["a", {"~": "object"}]]},
        {"attrs": [["a", {"~": "array", "dtype": "O", "shape": [1], "data": "AAAA"}]]},
        {"attrs": [["a", {"~": "array", "dtype": "<f8", "shape": [9], "data": "AAAA"}]]},
        {"attrs": [["a", {"~": "bytes", "data": "?"}]]},
        {"encoding": [["preferred_chunks", {"~": "dict", "items": [["x", 0]]}]]},
        {"encoding": [["preferred_chunks", 3]]},
    ],
)
def test_descriptions_that_lie_are_refused(changes: dict[str, Any]) -> None:
    assert parse(described()).nodes[0].variables[0].shape == (3,)
    with pytest.raises(ValueError, match="."):
        parse(described(**changes))


def test_messages_that_are_no_description() -> None:
    for found in (None, [], {}, {"name": None, "nodes": 3}, {"name": None, "nodes": []}):
        with pytest.raises(ValueError, match="."):
            parse(found)
    for data in (b"", b"{", b"[" * 10**6, b"\xff", b"1" * 5000 + b"x"):
        with pytest.raises(ValueError, match="."):
            read_json(data)
    twice = described()
    twice["nodes"] *= 2
    with pytest.raises(ValueError, match="paths"):
        parse(twice)


def test_attributes_travel_exactly() -> None:
    held: dict[str, Any] = {
        "a": 1,
        "b": [1.5, None, "x", True],
        "c": (1, b"\x00\xff"),
        "d": {"e": float("inf")},
        "f": "ünï\ud800",
    }
    assert restored(json.loads(json.dumps(plain(held)))) == held
    for value in (
        np.float32(0.1),
        np.arange(6, dtype=">i2").reshape(2, 3),
        np.array(["a", "bc"]),
        np.array([b"a"]),
        np.datetime64("2000-01-01T00:00:01", "ns"),
        np.array([1 + 2j]),
        np.bool_(True),
    ):
        back = restored(json.loads(json.dumps(plain(value))))
        assert type(back) is type(value)
        assert back.dtype == value.dtype
        np.testing.assert_array_equal(back, value)
    assert restored(plain(np.dtype("<i2"))) == np.dtype("<i2")
    for value in (object(), {1, 2}, np.dtype([("a", "f8")]), np.array([object()])):
        with pytest.raises(TypeError, match="."):
            plain(value)


def test_foreign_bytes_become_values_of_their_dtype() -> None:
    assert sound(np.array([0, 1, 7], np.uint8).view(bool)).tolist() == [False, True, True]
    with pytest.raises(ValueError, match="do not exist"):
        sound(np.array([2**31], np.uint32).view("<U1"))


def test_reported_errors_are_one_clean_line() -> None:
    source = _pool.Source(b"", "a.h5", (), SMALL)
    error = _error(source, {"error": "CorruptDataError", "message": "a\x1b[2Jb\nc" + "d" * 9999})
    assert type(error) is CorruptDataError
    assert str(error).startswith("a [2Jb cd")
    assert len(str(error)) <= 1000
    remote = _error(source, {"error": "RemoteError", "message": "no", "status": 403})
    assert isinstance(remote, RemoteError)
    assert remote.status == 403
    for name in ("SystemExit", "XphysWarning", "__all__", "KeyError", 3):
        error = _error(source, {"error": name, "message": None})
        assert type(error) is FormatError
        assert isinstance(error, XphysError)


def test_warnings_come_along(tmp_path: Path) -> None:
    odd = xr.Dataset({"u": ("x", np.arange(3, dtype="i2"), {"_FillValue": np.int16(1)})})
    odd["u"].attrs["missing_value"] = np.int16(2)
    odd.to_netcdf(tmp_path / "odd.nc")
    with pytest.warns(XphysWarning, match="odd.nc.*multiple fill"):
        xphys.open(tmp_path / "odd.nc", untrusted=SMALL)
