"""A store that cannot lie: sealing, checked reading, resuming, appending, undoing, repairing."""

from __future__ import annotations

import json
import os
import pickle
import shutil
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
        coords={"time": np.arange(steps) * 0.5, "nu": 0.1},
        attrs={"title": f"run {seed}"},
    )


def _compressed(ds: xr.Dataset) -> xr.Dataset:
    return ds.chunk(time=7).phys.compress(vrmse=1e-2, variables=["rho"], chunks={"time": 8})


def _write(ds: xr.Dataset, store: Any, **options: Any) -> None:
    _compressed(ds).phys.to_zarr(store, chunks={"time": 5}, **options)


def _tree(folder: Path) -> dict[str, bytes]:
    files = (p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    _write(_run(), tmp_path / "run.zarr")
    return tmp_path / "run.zarr"


def _equal(store: Path, ds: xr.Dataset) -> None:
    with dask.config.set(scheduler="synchronous"):
        read = xphys.open(store).load()
    expected = ds.compute()
    for name in expected.variables:
        assert np.array_equal(read[name].values, expected[name].values), name


def _states(store: Path, **options: Any) -> dict[str, str]:
    rows = xphys.verify(store, **options)
    pairs = zip(rows.key.values.tolist(), rows.state.values.tolist(), strict=True)
    return {key: state for key, state in pairs if state != "ok"}


def test_sealed_store_opens_everywhere(store: Path) -> None:
    expected = _compressed(_run())
    _equal(store, expected)
    plain = xr.open_zarr(store).load()
    assert plain.drop_attrs().equals(expected.compute().drop_attrs())
    assert _states(store) == {}
    assert not (store / "_xphys" / "journal").exists()
    opened = xphys.open(store)
    assert "xphys_manifest" not in opened.attrs
    assert not [f for f in opened.phys.validate() if f.code == "unverified"]


def test_measured_errors_are_stored(store: Path) -> None:
    opened, exact = xphys.open(store), _run()
    error = (opened.rho - exact.rho).values.astype(np.float64)
    assert abs(error).max() <= opened.rho.attrs["compression_max_error"]
    rms = float(np.sqrt((error**2).mean()))
    assert rms <= opened.rho.attrs["compression_rms_error"] <= 1.001 * rms + 1e-6
    assert "compression_max_error" not in opened.flow.attrs


def test_opening_reads_no_chunk(store: Path) -> None:
    for path in store.rglob("c/*/0/0"):
        if "_xphys" not in path.parts:
            path.unlink()
    assert xphys.open(store).rho.shape == (STEPS, N, N)


@pytest.mark.parametrize("variable", ["rho", "flow", "mask", "time"])
@pytest.mark.parametrize("damage", ["flip", "missing", "truncated", "zeros", "longer"])
def test_damaged_chunks_are_errors(store: Path, variable: str, damage: str) -> None:
    chunk = sorted(p for p in (store / variable / "c").rglob("*") if p.is_file())[-1]
    data = bytearray(chunk.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 16
    changed = {
        "flip": data,
        "truncated": data[:-3],
        "zeros": bytes(len(data)),
        "longer": data + b"\0",
    }
    if damage == "missing":
        chunk.unlink()
    else:
        chunk.write_bytes(changed[damage])
    key = str(chunk.relative_to(store))
    with pytest.raises(CorruptDataError, match=key):
        xphys.open(store).load()
    with pytest.raises(CorruptDataError, match=key):
        xphys.open(store, strict="full")
    state = _states(store)
    assert list(state) == [key]
    assert state[key] == ("missing" if damage == "missing" else "corrupt")


def test_swapped_and_stale_chunks_are_errors(store: Path, tmp_path: Path) -> None:
    _write(_run(seed=1), tmp_path / "other.zarr")
    first, second = store / "rho/c/1/0/0", store / "rho/c/2/0/0"
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)
    shutil.copy(tmp_path / "other.zarr/flow/c/3/0/0", store / "flow/c/3/0/0")
    assert _states(store) == dict.fromkeys(["rho/c/1/0/0", "rho/c/2/0/0", "flow/c/3/0/0"], "stale")
    for name, step in (("rho", 9), ("rho", 17), ("flow", 16)):
        with pytest.raises(CorruptDataError, match=name):
            xphys.open(store, chunks=None)[name][step].load()


def test_a_few_steps_of_a_compressed_chunk_are_checked_too(store: Path) -> None:
    chunk = store / "rho/c/2/0/0"
    data = bytearray(chunk.read_bytes())
    for place in (5, 60, len(data) - 5):
        broken = bytearray(data)
        broken[place] ^= 1
        chunk.write_bytes(broken)
        with pytest.raises(CorruptDataError):
            xphys.open(store, chunks=None).rho[18:20].load()
    chunk.write_bytes(data)
    expected = _compressed(_run()).rho[18:20].values
    assert np.array_equal(xphys.open(store, chunks=None).rho[18:20].values, expected)


@pytest.mark.parametrize(
    "key", ["zarr.json", "_xphys/manifest/zarr.json", "_xphys/manifest/rho/c/0/0"]
)
@pytest.mark.parametrize("damage", ["flip", "missing"])
def test_damaged_metadata_is_an_error(store: Path, key: str, damage: str) -> None:
    path = store / key
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        place = data.index(b"time") if b"time" in data else len(data) // 2
        path.write_bytes(data[:place] + b"\x02" + data[place + 1 :])
    with pytest.raises((CorruptDataError, FormatError)):
        xphys.open(store).load()
    if key != "zarr.json" or damage == "flip":
        assert _states(store)[key] in ("missing", "corrupt")


def test_every_bit_of_the_documents_counts(store: Path) -> None:
    expected, rng = xphys.open(store).load(), np.random.default_rng(0)
    for key in ("zarr.json", "rho/zarr.json", "_xphys/manifest/zarr.json"):
        path = store / key
        data = path.read_bytes()
        for bit in rng.choice(len(data) * 8, 40, replace=False):
            broken = bytearray(data)
            broken[bit // 8] ^= 1 << bit % 8
            path.write_bytes(broken)
            try:
                same = xphys.open(store).load().identical(expected)
            except (FormatError, UnicodeDecodeError):
                continue
            assert same
            assert key in _states(store), (key, bit)
        path.write_bytes(data)


def test_foreign_objects_are_named(store: Path) -> None:
    (store / "rho" / "c" / "9").mkdir()
    (store / "rho" / "c" / "9" / "x").write_bytes(b"?")
    assert _states(store) == {"rho/c/9/x": "stale"}


class _Stop(Exception):
    pass


def _stopping(after: int) -> xr.Dataset:
    """The run, computing step by step; stops when that many blocks were computed."""
    ds, left = _run(), [after]

    def block(values: np.ndarray) -> np.ndarray:
        left[0] -= 1
        if left[0] < 0:
            raise _Stop
        COUNTED.append(1)
        return values

    lazy = da.from_array(ds.flow.values, chunks=(5, N, N), name="flow-of-the-run")
    out = ds[["mask"]].assign(
        flow=(ds.flow.dims, da.map_blocks(block, lazy, name="slow-flow", meta=lazy._meta))
    )
    return out.chunk({})


COUNTED: list[int] = []


@pytest.mark.parametrize("after", [0, 1, 4, 7])
def test_a_stopped_write_goes_on(tmp_path: Path, after: int) -> None:
    with dask.config.set(scheduler="synchronous"):
        _stopping(99).phys.to_zarr(tmp_path / "whole.zarr", chunks={"time": 5})
        target = tmp_path / "run.zarr"
        with pytest.raises(_Stop):
            _stopping(after).phys.to_zarr(target, chunks={"time": 5})
        with pytest.raises(UnfinishedStoreError, match="run the code that began it again"):
            xphys.open(target)
        with pytest.raises(UnfinishedStoreError):
            xphys.verify(target)
        assert xphys.open(target, strict=False).flow.shape == (STEPS, N, N)
        COUNTED.clear()
        _stopping(99).phys.to_zarr(target, chunks={"time": 5})
    assert len(COUNTED) == STEPS // 5 - after  # nothing is computed twice
    assert _tree(target) == _tree(tmp_path / "whole.zarr")


def test_resume_does_not_trust_altered_chunks(tmp_path: Path) -> None:
    with dask.config.set(scheduler="synchronous"):
        target = tmp_path / "run.zarr"
        with pytest.raises(_Stop):
            _stopping(3).phys.to_zarr(target, chunks={"time": 5})
        chunk = next(p for p in (target / "flow" / "c").rglob("*") if p.is_file())
        chunk.write_bytes(chunk.read_bytes()[:-1] + b"?")
        COUNTED.clear()
        _stopping(99).phys.to_zarr(target, chunks={"time": 5})
    assert len(COUNTED) == STEPS // 5 - 2
    assert _states(target) == {}


def test_another_run_does_not_go_on_with_it(tmp_path: Path) -> None:
    target = tmp_path / "run.zarr"
    with dask.config.set(scheduler="synchronous"), pytest.raises(_Stop):
        _stopping(3).phys.to_zarr(target, chunks={"time": 5})
    with pytest.raises(StoreConflictError, match="mode='w'"):
        _write(_run(seed=1), target)
    with pytest.raises(UnfinishedStoreError, match="nothing was sealed"):
        xphys.repair(target)
    _write(_run(seed=1), target, mode="w")
    _equal(target, _compressed(_run(seed=1)))


def test_existing_stores_are_not_touched(store: Path) -> None:
    before = _tree(store)
    with pytest.raises(FileExistsError):
        _write(_run(seed=1), store)
    assert _tree(store) == before
    _write(_run(seed=1), store, mode="w")
    _equal(store, _compressed(_run(seed=1)))


@pytest.mark.parametrize("first", [40, 37])
def test_append_of_lossless_data(tmp_path: Path, first: int) -> None:
    ds, target = _run(64)[["flow"]], tmp_path / "flow.zarr"
    ds.isel(time=slice(0, first)).chunk(time=5).phys.to_zarr(target, chunks={"time": 8})
    ds.isel(time=slice(first, 50)).chunk(time=9).phys.to_zarr(target, append_dim="time")
    ds.isel(time=slice(50, None)).phys.to_zarr(target, append_dim="time")
    _equal(target, ds)
    assert _states(target) == {}


def test_append_of_compressed_data(tmp_path: Path) -> None:
    ds, target = _run(64)[["rho", "flow"]], tmp_path / "rho.zarr"
    parts = [
        ds.isel(time=part).phys.compress(
            vrmse=1e-2, variables=["rho"], scope="chunk", chunks={"time": 8}
        )
        for part in (slice(0, 32), slice(32, 64))
    ]
    parts[0].phys.to_zarr(target, chunks={"time": 8})
    parts[1].phys.to_zarr(target, append_dim="time")
    _equal(target, xr.concat(parts, "time"))
    assert _states(target) == {}
    error = abs(xphys.open(target).rho - ds.rho).max()
    assert float(error) <= xphys.open(target).rho.attrs["compression_max_error"]
    with pytest.raises(SchemaError, match="whole stored chunks"):
        ds.phys.compress(vrmse=1e-2, scope="chunk", chunks={"time": 5}).phys.to_zarr(
            target, append_dim="time"
        )


def test_bounds_over_the_whole_variable_cannot_be_appended_to(tmp_path: Path) -> None:
    ds, target = _run(64)[["rho"]], tmp_path / "rho.zarr"
    ds.isel(time=slice(0, 32)).phys.compress(vrmse=1e-2).phys.to_zarr(target)
    with pytest.raises(SchemaError, match="scope='chunk'"):
        ds.isel(time=slice(32, 64)).phys.compress(vrmse=1e-2).phys.to_zarr(
            target, append_dim="time"
        )
    assert xphys.open(target).sizes["time"] == 32


def test_region_and_stale_version(store: Path) -> None:
    stale = (store / "flow/c/2/0/0").read_bytes()
    change = (_run()[["flow"]].drop_vars("nu") * 0 + 7).isel(time=slice(10, 15))
    change.phys.to_zarr(store, region={"time": slice(10, 15)})
    read = xphys.open(store).flow.values
    assert (read[10:15] == 7).all()
    assert np.array_equal(read[15:], _run().flow.values[15:])
    assert _states(store) == {}
    (store / "flow/c/2/0/0").write_bytes(stale)
    with pytest.raises(CorruptDataError, match="flow/c/2/0/0"):
        xphys.open(store).load()
    assert _states(store) == {"flow/c/2/0/0": "stale"}


def test_a_region_inside_a_damaged_chunk_does_not_launder_it(store: Path) -> None:
    chunk = store / "flow/c/2/0/0"
    data = bytearray(chunk.read_bytes())
    data[40] ^= 1
    chunk.write_bytes(data)
    change = _run()[["flow"]].drop_vars("nu").isel(time=slice(11, 13))
    with pytest.raises(CorruptDataError, match="flow/c/2/0/0"):
        change.phys.to_zarr(store, region={"time": slice(11, 13)})


def test_new_variables(store: Path) -> None:
    extra = _run()[["flow"]].rename(flow="more").chunk(time=4)
    extra.phys.to_zarr(store, mode="a", chunks={"time": 10})
    _equal(store, _compressed(_run()).assign(more=extra.more))
    assert _states(store) == {}


def _stop_in_append(store: Path) -> xr.Dataset:
    more = _run(20, seed=2)[["rho", "flow", "mask"]].drop_vars("mask")

    def stop(values: np.ndarray, block_info: Any = None) -> np.ndarray:
        if block_info[0]["chunk-location"][0] >= 2:
            raise _Stop
        return values

    lazy = da.map_blocks(stop, da.from_array(more.flow.values, chunks=5), name="stop", dtype="f8")
    broken = more.assign(
        flow=(more.flow.dims, lazy), rho=(more.rho.dims, more.rho.values)
    ).phys.compress(vrmse=1e-2, variables=["rho"], scope="chunk", chunks={"time": 8})
    with dask.config.set(scheduler="synchronous"), pytest.raises(_Stop):
        broken.phys.to_zarr(store, append_dim="time")
    return more


def test_an_append_that_cannot_go_on_is_undone(store: Path) -> None:
    before = _tree(store)
    _stop_in_append(store)
    with pytest.raises(UnfinishedStoreError):
        xphys.open(store).load()
    undone = xphys.repair(store)
    assert undone.sizes["chunk"] > 0
    assert _tree(store) == before


def test_a_stopped_append_conflicts_with_another(store: Path) -> None:
    _stop_in_append(store)
    with pytest.raises(StoreConflictError, match="xphys.repair"):
        _run(8, seed=3).drop_vars("mask").phys.to_zarr(store, append_dim="time")


@pytest.mark.parametrize(
    "key",
    [
        "rho/c/2/0/0",
        "flow/c/7/0/0",
        "mask/c/0/0",
        "zarr.json",
        "flow/zarr.json",
        "_xphys/zarr.json",
        "_xphys/manifest/rho/zarr.json",
        "_xphys/manifest/rho/c/0/0",
        "_xphys/manifest/flow/c/0/0",
    ],
)
@pytest.mark.parametrize("damage", ["missing", "garbage"])
def test_repair_brings_back_every_byte(store: Path, key: str, damage: str) -> None:
    before = _tree(store)
    if damage == "missing":
        (store / key).unlink()
    else:
        (store / key).write_bytes(b"garbage")
    mended = xphys.repair(store, _compressed(_run()))
    assert key in mended.key.values
    assert _tree(store) == before


def test_repair_computes_only_what_is_bad(store: Path) -> None:
    (store / "flow/c/3/0/0").unlink()
    (store / "more.txt").write_bytes(b"not ours")
    ds, counted = _run(), []

    def count(values: np.ndarray) -> np.ndarray:
        counted.append(1)
        return values

    lazy = da.map_blocks(
        count, da.from_array(ds.flow.values, chunks=(5, N, N)), meta=np.empty((0, 0, 0))
    )
    mended = xphys.repair(
        store, _compressed(ds.drop_vars("flow")).assign(flow=(ds.flow.dims, lazy))
    )
    assert len(counted) == 1
    assert sorted(mended.key.values) == ["flow/c/3/0/0", "more.txt"]
    assert _states(store) == {}


def test_repair_refuses_another_source(store: Path) -> None:
    (store / "flow/c/3/0/0").unlink()
    with pytest.raises(CorruptDataError, match="other values"):
        xphys.repair(store, _compressed(_run(seed=5)))
    with pytest.raises(SchemaError, match="give the Dataset that was written"):
        xphys.repair(store, _run(8))
    with pytest.raises(FormatError, match="nothing to undo"):
        xphys.repair(store)


def test_stores_of_others_are_accepted_on_demand(tmp_path: Path) -> None:
    ds = _run()[["flow", "mask"]]
    ds.to_zarr(tmp_path / "plain.zarr", zarr_format=3, consolidated=False)
    opened = xphys.open(tmp_path / "plain.zarr")
    assert [f.code for f in opened.phys.validate()].count("unverified") == 1
    with pytest.raises(FormatError, match="seal=True"):
        xphys.verify(tmp_path / "plain.zarr")
    with pytest.raises(SchemaError, match="seal=True"):
        ds.phys.to_zarr(tmp_path / "plain.zarr", append_dim="time")
    assert _states(tmp_path / "plain.zarr", seal=True) == {}
    _equal(tmp_path / "plain.zarr", ds)
    chunk = next(p for p in (tmp_path / "plain.zarr/flow/c").rglob("*") if p.is_file())
    chunk.unlink()
    with pytest.raises(CorruptDataError, match="missing"):
        xphys.open(tmp_path / "plain.zarr").load()


def test_left_out_chunks_are_known(tmp_path: Path) -> None:
    ds = _run()[["flow"]]
    ds["flow"][5:15] = np.nan  # the fill value: Zarr does not store such chunks
    ds.chunk(time=5).phys.to_zarr(tmp_path / "gap.zarr", chunks={"time": 5})
    assert not (tmp_path / "gap.zarr/flow/c/1").exists()
    _equal_nan = xphys.open(tmp_path / "gap.zarr").load().flow
    assert _equal_nan.identical(ds.flow)
    (tmp_path / "gap.zarr/flow/c/1/0").mkdir(parents=True)
    shutil.copy(tmp_path / "gap.zarr/flow/c/0/0/0", tmp_path / "gap.zarr/flow/c/1/0/0")
    with pytest.raises(CorruptDataError, match="left out"):
        xphys.open(tmp_path / "gap.zarr").load()


def test_shards(tmp_path: Path) -> None:
    ds, target = _run()[["flow"]], tmp_path / "shards.zarr"
    ds.chunk(time=3).phys.to_zarr(target, chunks={"time": 2}, shards={"time": 16})
    _equal(target, ds)
    part = xphys.open(target, chunks=None).flow[5:7]
    assert np.array_equal(part.values, ds.flow[5:7].values)
    assert _states(target) == {}
    assert len([p for p in (target / "flow/c").rglob("*") if p.is_file()]) == 3
    shard = target / "flow/c/0/0/0"
    data = shard.read_bytes()
    for place in (10, len(data) // 2, len(data) - 40, len(data) - 3):  # the last: the CRC
        broken = bytearray(data)
        broken[place] ^= 4
        shard.write_bytes(broken)
        assert _states(target) == {"flow/c/0/0/0": "corrupt"}
        for chunks in ("auto", None):
            with pytest.raises(CorruptDataError, match="flow/c/0/0/0"):
                xphys.open(target, chunks=chunks).load()
    shard.write_bytes(data)
    one, two = target / "flow/c/0/0/0", target / "flow/c/1/0/0"
    swapped = two.read_bytes()
    two.write_bytes(data)
    one.write_bytes(swapped)
    for step in (0, 20):
        with pytest.raises(CorruptDataError, match="flow/c"):
            xphys.open(target, chunks=None).flow[step].load()


def test_indexes_are_stored_in_one_piece(tmp_path: Path) -> None:
    _run().chunk(time=1).phys.to_zarr(tmp_path / "a.zarr", chunks={"time": 1}, shards={"time": 2})
    documents = json.loads((tmp_path / "a.zarr/zarr.json").read_text())["consolidated_metadata"]
    grids = {
        name: node["chunk_grid"]["configuration"]["chunk_shape"]
        for name, node in documents["metadata"].items()
    }
    assert grids["time"] == [40]
    assert grids["flow"][0] == 2
    _equal(tmp_path / "a.zarr", _run())


@pytest.mark.parametrize("scheduler", ["threads", "processes"])
def test_same_bytes_from_any_scheduler(store: Path, tmp_path: Path, scheduler: str) -> None:
    with dask.config.set(scheduler=scheduler, num_workers=2):
        _write(_run(), tmp_path / "other.zarr")
        read = xphys.open(tmp_path / "other.zarr").compute()
    assert _tree(tmp_path / "other.zarr") == _tree(store)
    assert read.drop_attrs().equals(_compressed(_run()).compute().drop_attrs())
    (tmp_path / "other.zarr/flow/c/3/0/0").unlink()
    with dask.config.set(scheduler=scheduler, num_workers=2), pytest.raises(CorruptDataError):
        xphys.open(tmp_path / "other.zarr").compute()


def test_checking_survives_pickling(store: Path) -> None:
    opened = pickle.loads(pickle.dumps(xphys.open(store)))
    (store / "flow/c/3/0/0").unlink()
    with pytest.raises(CorruptDataError, match="missing"):
        opened.flow.load()


def test_memory_urls(tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}/run.zarr"
    _write(_run(), url)
    opened = xphys.open(url)
    assert opened.flow.load().equals(_run().flow)
    assert set(xphys.verify(url).state.values.tolist()) == {"ok"}


def test_groups_have_manifests_of_their_own(tmp_path: Path) -> None:
    target = tmp_path / "tree.zarr"
    _write(_run(), target, group="a")
    _write(_run(seed=1), target, group="b/c")
    for group, seed in (("a", 0), ("b/c", 1)):
        assert _states(target, group=group) == {}
        read = xphys.open(target, group=group).load()
        assert np.array_equal(read.flow.values, _run(seed=seed).flow.values)
        assert xr.open_zarr(target, group=group).flow.load().equals(_run(seed=seed).flow)
    (target / "b/c/flow/c/0/0/0").unlink()
    with pytest.raises(CorruptDataError, match="flow/c/0/0/0"):
        xphys.open(target, group="b/c").load()
    with xr.open_datatree(target, engine="zarr") as tree:
        assert set(tree.groups) == {"/", "/a", "/b", "/b/c"}


def test_nothing_of_this_machine_is_in_the_store(store: Path) -> None:
    for path in store.rglob("zarr.json"):
        text = path.read_text()
        assert str(store.parent) not in text
        assert os.uname().nodename not in json.dumps(json.loads(text).get("attributes", {}))
