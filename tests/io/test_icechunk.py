"""Icechunk repositories: equal values, resuming, racing writers, damage, states, access."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

import xphys
from xphys.errors import (
    CorruptDataError,
    FormatError,
    SchemaError,
    StoreConflictError,
    UnfinishedStoreError,
)

icechunk = pytest.importorskip(
    "icechunk", reason="icechunk is not installed: pip install 'xphys[icechunk]'"
)

STEPS, N = 40, 12


def _run(steps: int = STEPS, seed: int = 0) -> xr.Dataset:
    rng = np.random.default_rng(seed)
    shape = (steps, N, N)
    smooth = np.cumsum(rng.standard_normal(shape), axis=0).astype(np.float32)
    return xr.Dataset(
        {
            "rho": (("time", "y", "x"), smooth, {"units": "1"}),
            "flow": (("time", "y", "x"), rng.standard_normal(shape), {"units": "1"}),
            "mask": (("y", "x"), rng.random((N, N)) > 0.5),
        },
        coords={
            "time": ("time", np.arange(steps) * 0.5, {"units": "s"}),
            "nu": 0.1,
            "name": ("time", np.array([f"step {n}" for n in range(steps)])),
        },
        attrs={"title": f"run {seed}", "levels": [1, 2]},
    )


def _compressed(ds: xr.Dataset) -> xr.Dataset:
    lazy = ds.chunk(time=7).assign_coords({n: c for n, c in ds.coords.items() if n == "name"})
    return lazy.phys.compress(vrmse=1e-2, variables=["rho"], chunks={"time": 8})


def _write(ds: xr.Dataset, url: str, **options: Any) -> None:
    _compressed(ds).phys.to_zarr(url, chunks={"time": 5}, **options)


def _repo(folder: Path) -> Any:
    return icechunk.Repository.open(icechunk.local_filesystem_storage(str(folder)))


def _states(url: str, **options: Any) -> dict[str, str]:
    rows = xphys.verify(url, **options)
    pairs = zip(rows.key.values.tolist(), rows.state.values.tolist(), strict=True)
    return {key: state for key, state in pairs if state != "ok"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "repo"


@pytest.fixture
def url(folder: Path) -> str:
    return f"icechunk://{folder}"


@pytest.fixture
def written(url: str) -> str:
    _write(_run(), url)
    return url


def test_round_trip_is_exact(written: str, folder: Path) -> None:
    expected = _compressed(_run()).compute()
    for source in (written, folder):
        read = xphys.open(source)
        assert all(v.chunks is not None for v in read.data_vars.values())
        assert read.attrs.items() >= expected.drop_attrs(deep=False).attrs.items()
        assert read.attrs["title"] == "run 0"
        assert read.attrs["levels"] == [1, 2]
        loaded = read.load()
        for name in expected.variables:
            assert loaded[name].dtype == expected[name].dtype or name == "name"
            assert np.array_equal(loaded[name].values, expected[name].values), name
        assert loaded.time.attrs == {"units": "s"}
        assert set(loaded.coords) == set(expected.coords)
    assert _states(written) == {}
    assert not [f for f in read.phys.validate() if f.code == "unverified"]


def test_plain_icechunk_reads_what_was_written(tmp_path: Path, folder: Path, url: str) -> None:
    ds = _run()[["flow", "mask"]].drop_vars("name")
    ds.phys.to_zarr(url, chunks={"time": 5})
    session = _repo(folder).readonly_session("main")
    plain = xr.open_zarr(session.store, consolidated=False, zarr_format=3).load()
    assert plain.drop_attrs().equals(ds.drop_attrs())


def test_manifest_is_that_of_a_folder(written: str, tmp_path: Path) -> None:
    _write(_run(), str(tmp_path / "run.zarr"))
    roots = [
        xphys.schema.provenance(xphys.open(source))[-1]["source"]["manifest_digest"]
        for source in (written, tmp_path / "run.zarr")
    ]
    assert roots[0] == roots[1]


def test_payload_is_stored_coded(written: str) -> None:
    rows = xphys.verify(written)
    stored = int(rows.bytes.values[rows.variable.values == "rho"].sum())
    assert stored < _run().rho.nbytes / 2
    attrs = xphys.open(written).rho.attrs
    assert 0 < attrs["compression_rms_error"] <= attrs["compression_max_error"]


@pytest.mark.parametrize(
    "scheduler", ["synchronous", "threads", pytest.param("processes", marks=pytest.mark.slow)]
)
def test_schedulers_write_the_same(url: str, scheduler: str) -> None:
    ds = _run().drop_vars("name").chunk(time=5)
    with dask.config.set(scheduler=scheduler, num_workers=2):
        ds.phys.to_zarr(url, chunks={"time": 5})
        read = xphys.open(url)
        assert np.array_equal(read.flow.values, ds.flow.values)
        assert _states(url) == {}


def test_reading_travels_by_pickle(written: str) -> None:
    read = pickle.loads(pickle.dumps(xphys.open(written)))
    assert np.array_equal(read.flow.values, _run().flow.values)


def test_append_and_region(url: str) -> None:
    ds = _run().drop_vars("name")
    ds.isel(time=slice(0, 13)).phys.to_zarr(url, chunks={"time": 5})
    ds.isel(time=slice(13, None)).chunk(time=5).phys.to_zarr(url, append_dim="time")
    assert np.array_equal(xphys.open(url).flow.values, ds.flow.values)
    part = (ds[["flow"]] * 2).isel(time=slice(3, 17)).drop_vars("nu")
    part.chunk(time=4).phys.to_zarr(url, region={"time": slice(3, 17)})
    factor = xphys.open(url).flow.values / ds.flow.values
    assert (factor[3:17] == 2).all()
    assert (np.delete(factor, np.s_[3:17], axis=0) == 1).all()
    assert _states(url) == {}


def test_modes(written: str, url: str) -> None:
    with pytest.raises(FileExistsError, match="mode='w'"):
        _write(_run(seed=1), url)
    _write(_run(seed=1), url, mode="w")
    assert np.array_equal(xphys.open(url).flow.values, _run(seed=1).flow.values)
    _run().mask.rename("other").to_dataset().drop_vars("nu").phys.to_zarr(url, mode="a")
    assert set(xphys.open(url).data_vars) == {"rho", "flow", "mask", "other"}
    assert _states(url) == {}
    with pytest.raises(FileNotFoundError, match="nothing to append to"):
        _run().phys.to_zarr(f"{url}-none", append_dim="time")
    assert not os.path.exists(f"{url.partition('://')[2]}-none")


def test_states_of_a_repository(written: str, folder: Path) -> None:
    first = _repo(folder).lookup_branch("main")
    _repo(folder).create_tag("v1", first)
    _write(_run(seed=1), written, mode="w")
    new = _run(seed=1).flow.values
    for state in ({"tag": "v1"}, {"snapshot": first}):
        assert np.array_equal(xphys.open(written, **state).flow.values, _run().flow.values)
        assert _states(written, storage_options=state) == {}
    assert np.array_equal(xphys.open(written, branch="main").flow.values, new)
    _repo(folder).create_branch("dev", first)
    options = {"storage_options": {"branch": "dev"}}
    _run(8, 2).phys.to_zarr(written, append_dim="time", **options)
    assert xphys.open(written, branch="dev").sizes["time"] == STEPS + 8
    assert np.array_equal(xphys.open(written).flow.values, new)
    for state in ({"branch": "no"}, {"tag": "no"}, {"snapshot": "no"}):
        with pytest.raises(FileNotFoundError, match="no"):
            xphys.open(written, **state)
    with pytest.raises(SchemaError, match="one of branch, tag and snapshot"):
        xphys.open(written, branch="main", tag="v1")
    with pytest.raises(SchemaError, match="branch to write to"):
        _write(_run(), written, mode="w", storage_options={"tag": "v1"})


def test_groups_and_trees(url: str) -> None:
    tree = xr.DataTree.from_dict({"/": _run(8, 3), "/a": _run(8), "/b": _run(8, 1)})
    xphys.io.tree_to_zarr(tree, url, chunks={"time": 5})
    read = xphys.open(url, tree=True)
    assert set(read.children) == {"a", "b"}
    for path, seed in (("/", 3), ("/a", 0), ("/b", 1)):
        assert np.array_equal(read[path].flow.values, _run(8, seed).flow.values)
    _run(8, 4).phys.to_zarr(url, group="c/d")
    assert np.array_equal(xphys.open(url, group="c/d").flow.values, _run(8, 4).flow.values)
    for group in (None, "a", "b", "c/d"):
        assert _states(url, group=group) == {}


def test_names_of_repositories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _run(4).phys.to_zarr("icechunk://./here/run")
    assert xphys.open("here/run").sizes["time"] == 4
    assert xphys.open(f"icechunk+file://{tmp_path}/here/run").sizes["time"] == 4
    for wrong in ("icechunk://bucket/prefix", "icechunk+ftp://x/y", "icechunk://"):
        with pytest.raises(FormatError, match=r"icechunk\+s3://bucket/prefix"):
            xphys.open(wrong)
    with pytest.raises(FileNotFoundError, match="no Icechunk repository"):
        xphys.open("icechunk://./nothing")


# --- writers that are killed -------------------------------------------------------------------


def _counted(block: np.ndarray, log: str, limit: int) -> np.ndarray:
    done = os.path.getsize(log) if os.path.exists(log) else 0
    if done >= limit:
        raise KeyboardInterrupt
    with open(log, "ab") as file:
        file.write(b".")
    return block + 1


def _slow(log: Path, limit: int, seed: int = 0) -> xr.Dataset:
    base = da.from_array(_run(seed=seed).flow.values, chunks=(2, N, N), name=f"base-{seed}")
    # the name is that of the values: where the work is counted is no part of it
    flow = da.map_blocks(
        _counted, base, str(log), limit, meta=np.empty((0, 0, 0)), name=f"flow-{seed}"
    )
    return xr.Dataset({"flow": (("time", "y", "x"), flow)}, {"time": np.arange(STEPS) * 0.5})


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit after each four chunks."""
    monkeypatch.setattr("xphys.io._icechunk_write._MOST", 4)


def _interrupted(url: str, log: Path, limit: int, **options: Any) -> None:
    with dask.config.set(scheduler="synchronous"), pytest.raises(KeyboardInterrupt):
        _slow(log, limit).phys.to_zarr(url, chunks={"time": 2}, **options)


@pytest.mark.usefixtures("often")
def test_a_stopped_write_goes_on(url: str, folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    _interrupted(url, log, 11)
    with pytest.raises(UnfinishedStoreError, match="has not been finished"):
        xphys.open(url)
    with pytest.raises(UnfinishedStoreError):
        xphys.verify(url)
    assert _repo(folder).list_branches() == {"main", "xphys-writing"}
    _slow(log, 1000).phys.to_zarr(url, chunks={"time": 2})
    # 20 blocks; of the eleven that were computed eight were committed
    assert log.stat().st_size == 11 + 20 - 8
    assert np.array_equal(xphys.open(url).flow.values, _run().flow.values + 1)
    assert _states(url) == {}
    assert _repo(folder).list_branches() == {"main"}


@pytest.mark.usefixtures("often")
def test_resume_is_refused_to_others(url: str, tmp_path: Path) -> None:
    _interrupted(url, tmp_path / "log", 11)
    with pytest.raises(StoreConflictError, match="other data or by other code"):
        _slow(tmp_path / "other", 1000, seed=1).phys.to_zarr(url, chunks={"time": 2})
    _slow(tmp_path / "other", 1000, seed=1).phys.to_zarr(url, chunks={"time": 2}, mode="w")
    assert np.array_equal(xphys.open(url).flow.values, _run(seed=1).flow.values + 1)
    assert _states(url) == {}


@pytest.mark.usefixtures("often")
def test_a_stopped_append_is_not_seen(url: str, tmp_path: Path) -> None:
    first = _slow(tmp_path / "first", 1000)
    first.phys.to_zarr(url, chunks={"time": 2})
    _interrupted(url, tmp_path / "log", 11, append_dim="time")
    assert xphys.open(url).sizes["time"] == STEPS  # the last sealed state
    assert _states(url) == {}
    dropped = xphys.repair(url)
    assert dropped.sizes["chunk"] >= 8
    _interrupted(url, tmp_path / "log2", 7, append_dim="time")
    _slow(tmp_path / "log2", 1000).phys.to_zarr(url, chunks={"time": 2}, append_dim="time")
    assert (tmp_path / "log2").stat().st_size == 7 + 20 - 4
    expected = np.concatenate([_run().flow.values + 1] * 2)
    assert np.array_equal(xphys.open(url).flow.values, expected)
    assert _states(url) == {}


@pytest.mark.usefixtures("often")
def test_a_stopped_first_write_can_be_dropped(url: str, folder: Path, tmp_path: Path) -> None:
    _interrupted(url, tmp_path / "log", 11)
    assert xphys.repair(url).sizes["chunk"] >= 8
    assert _repo(folder).list_branches() == {"main"}
    _write(_run(), url)
    assert _states(url) == {}


_KILLED = """
import os, sys, numpy as np, dask.array as da, xarray as xr, xphys
import xphys.io._icechunk_write as store
store._MOST = 1
url, stop = sys.argv[1], sys.argv[2]
class Stop:
    def __init__(self, method): self.method = method
    def __call__(self, *args, **kwargs):
        if stop.startswith("-"): self.method(*args, **kwargs)
        os._exit(9)
if stop:
    target, name = stop.lstrip("-").split(".")
    whole = getattr(store, target)
    setattr(whole, name, Stop(getattr(whole, name)).__call__) if name != "_told" else None
if stop.endswith("_told"):
    def told(self, notes): os._exit(9)
    store.WritingStore._told = told
values = da.from_array(np.arange(2.0 * 40 * 144).reshape(80, 12, 12)[:40], chunks=(2, 12, 12))
ds = xr.Dataset({"u": (("time", "y", "x"), values)}, {"time": np.arange(40.0)})
ds.phys.to_zarr(url, chunks={"time": 2}, mode=sys.argv[3])
"""


@pytest.mark.parametrize(
    "stop",
    [
        pytest.param("Part.commit", marks=pytest.mark.slow),
        pytest.param("WritingStore._publish", marks=pytest.mark.slow),
        "WritingStore._told",
    ],
)
def test_a_killed_process_leaves_nothing_wrong(url: str, folder: Path, stop: str) -> None:
    def run(stop: str, mode: str = "w-") -> int:
        environment = {**os.environ, "PYTHONWARNINGS": "error"}
        command = [sys.executable, "-c", _KILLED, url, stop, mode]
        return subprocess.run(command, env=environment, check=False).returncode

    assert run(stop) == 9
    with pytest.raises(UnfinishedStoreError):
        xphys.open(url)
    assert run("") == 0
    assert float(xphys.open(url).u.sum()) == np.arange(40.0 * 144).sum()
    assert _states(url) == {}
    assert _repo(folder).list_branches() == {"main"}


def test_a_write_killed_while_it_was_shown_is_done(
    url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ds = _run().drop_vars("name")

    def killed(self: Any, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError

    for name in ("reset_branch", "delete_branch"):
        _write(ds, url, mode="w")
        with monkeypatch.context() as patch:
            patch.setattr(icechunk.Repository, name, killed)
            with pytest.raises(RuntimeError):
                ds.chunk(time=8).phys.to_zarr(url, append_dim="time")
        sizes = {"reset_branch": STEPS, "delete_branch": 2 * STEPS}
        assert xphys.open(url).sizes["time"] == sizes[name]
        if name == "reset_branch":  # the same call finds it done, and does not append twice
            ds.chunk(time=8).phys.to_zarr(url, append_dim="time")
        assert xphys.open(url).sizes["time"] == 2 * STEPS
        assert _states(url) == {}


# --- writers that race -------------------------------------------------------------------------


def _racing(url: str, seed: int, barrier: Any, results: Any) -> None:
    ds = _run(seed=seed).drop_vars("name").chunk(time=2)
    barrier.wait()
    try:
        ds.phys.to_zarr(url, chunks={"time": 2})
        results.put((seed, "done", ""))
    except Exception as error:
        results.put((seed, type(error).__name__, str(error)))


def _judge(url: str, ends: dict[int, tuple[str, str]]) -> None:
    won = [seed for seed, (kind, _) in ends.items() if kind == "done"]
    assert len(won) == 1, ends
    kind, text = ends[1 - won[0]]
    assert kind in ("StoreConflictError", "FileExistsError")
    assert "\n" not in text
    assert np.array_equal(xphys.open(url).flow.values, _run(seed=won[0]).flow.values)
    assert _states(url) == {}


@pytest.mark.slow
def test_of_two_processes_one_wins(url: str) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    writers = [context.Process(target=_racing, args=(url, n, barrier, results)) for n in (0, 1)]
    for writer in writers:
        writer.start()
    ends = dict((seed, (kind, text)) for seed, kind, text in (results.get() for _ in writers))
    for writer in writers:
        writer.join()
    _judge(url, ends)


def test_of_two_writers_one_wins(url: str) -> None:
    barrier, results = threading.Barrier(2), queue.Queue()
    writers = [threading.Thread(target=_racing, args=(url, n, barrier, results)) for n in (0, 1)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    _judge(url, dict((seed, (kind, text)) for seed, kind, text in results.queue))


def test_a_writer_that_was_replaced_is_told(url: str) -> None:
    slow = (
        _run().drop_vars("name").chunk(time=2).phys.to_zarr(url, chunks={"time": 2}, compute=False)
    )
    _write(_run(seed=1), url, mode="w")
    with pytest.raises(StoreConflictError) as caught:
        slow.compute()
    assert "\n" not in str(caught.value)
    assert np.array_equal(xphys.open(url).flow.values, _run(seed=1).flow.values)


def test_commits_of_others_are_not_lost(url: str, folder: Path) -> None:
    slow = (
        _run().drop_vars("name").chunk(time=2).phys.to_zarr(url, chunks={"time": 2}, compute=False)
    )
    session = _repo(folder).writable_session("main")
    xr.Dataset({"theirs": ("x", [1.0, 2.0])}).to_zarr(
        session.store, group="theirs", consolidated=False, zarr_format=3
    )
    session.commit("theirs")
    with pytest.raises(StoreConflictError, match="moved the branch"):
        slow.compute()
    assert float(xphys.open(url, group="theirs").theirs.sum()) == 3.0


# --- damage ------------------------------------------------------------------------------------


def _read(url: str, **options: Any) -> None:
    with dask.config.set(scheduler="synchronous"):
        xphys.open(url, **options).load()


def test_flipped_bits_are_errors(written: str, folder: Path) -> None:
    chunks = sorted((folder / "chunks").iterdir())
    rng = np.random.default_rng(0)
    found: list[str] = []
    for path in chunks:
        data = path.read_bytes()
        damaged = bytearray(data)
        damaged[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            _read(written)
        except CorruptDataError as error:
            found.append(str(error))
        else:  # left from a commit before the last
            assert _states(written) == {}
        path.write_bytes(data)
    assert len(found) >= 8
    assert all("chunk" in text or "records" in text for text in found)


def test_missing_chunks_are_errors(written: str, folder: Path) -> None:
    for path in (folder / "chunks").iterdir():
        path.unlink()
    assert xphys.open(written).sizes["time"] == STEPS  # opening reads no chunk
    with pytest.raises(CorruptDataError, match=r"variable 'flow'.*missing"):
        xphys.open(written).flow.load()
    with pytest.raises(CorruptDataError, match="missing"):
        xphys.open(written, strict="full")
    assert set(_states(written).values()) == {"missing"}


def test_damaged_indexes_are_errors(written: str, folder: Path) -> None:
    for kind in ("manifests", "snapshots"):
        for path in (folder / kind).iterdir():
            data = path.read_bytes()
            damaged = bytearray(data)
            damaged[len(data) // 2] ^= 16
            path.write_bytes(damaged)
            trouble = ""
            try:
                read = xphys.open(written).load()
                assert np.array_equal(read.flow.values, _run().flow.values)
            except CorruptDataError as error:
                trouble = str(error)
            assert "\n" not in trouble
            path.write_bytes(data)


def test_repair_computes_what_is_gone(written: str, folder: Path) -> None:
    largest = sorted((folder / "chunks").iterdir(), key=lambda p: p.stat().st_size)[-3:]
    for path in largest:
        path.unlink()
    lost = _states(written)
    assert set(lost.values()) == {"missing"}
    mended = xphys.repair(written, _compressed(_run()))
    assert set(mended.key.values.tolist()) == set(lost)
    assert _states(written) == {}


def test_stores_of_others(url: str, folder: Path) -> None:
    folder.mkdir()
    repo = icechunk.Repository.create(icechunk.local_filesystem_storage(str(folder)))
    session = repo.writable_session("main")
    ds = xr.Dataset({"u": ("x", np.arange(1000.0))}, {"x": np.arange(1000)})
    ds.to_zarr(session.store, consolidated=False, zarr_format=3)
    session.commit("theirs")
    read = xphys.open(url)
    assert np.array_equal(read.u.values, ds.u.values)
    assert [f for f in read.phys.validate() if f.code == "unverified"]
    with pytest.raises(FormatError, match="no manifest"):
        xphys.verify(url)
    assert _states(url, seal=True) == {}
    assert not [f for f in xphys.open(url).phys.validate() if f.code == "unverified"]


def test_metadata_is_guarded(url: str, folder: Path) -> None:
    from zarr.core.buffer import default_buffer_prototype
    from zarr.core.sync import sync

    folder.mkdir()
    repo = icechunk.Repository.create(icechunk.local_filesystem_storage(str(folder)))
    session = repo.writable_session("main")
    xr.Dataset({"u": ("x", np.arange(10.0))}).to_zarr(
        session.store, consolidated=False, zarr_format=3
    )
    prototype = default_buffer_prototype()
    data = sync(session.store.get("u/zarr.json", prototype)).to_bytes()
    evil = data.replace(b'"zstd"', b'"numcodecs.pickle"')
    assert evil != data
    sync(session.store.set("u/zarr.json", prototype.buffer.from_bytes(evil)))
    session.commit("evil")
    with pytest.raises(FormatError, match="not allowed"):
        xphys.open(url)
