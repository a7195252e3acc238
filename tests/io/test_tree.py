"""Trees in Zarr stores: one manifest per group, sealed as a whole, opened by anyone."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

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
from xphys.io.writers import _begin, _graph


def coordinate(name: str, size: int) -> xr.Variable:
    attrs = {"units": "1", "boundary": "periodic", "period": 1.0, "spacing": "uniform"}
    return xr.Variable(name, (np.arange(size) + 0.5) / size, attrs)


def level(size: int, seed: int) -> xr.Dataset:
    values = np.random.default_rng(seed).normal(size=(4, size, size)).astype(np.float32)
    data = da.from_array(values, chunks=(1, size, size), name=f"level-{size}-{seed}")
    return xr.Dataset(
        {"u": (("time", "y", "x"), data, {"units": "1"})},
        {
            "x": coordinate("x", size),
            "y": coordinate("y", size),
            "covered": (("y", "x"), mask(size)),
        },
    )


def mask(size: int) -> np.ndarray:
    return np.add.outer(np.arange(size), np.arange(size)) % 3 > 0


def make(seed: int = 0) -> xr.DataTree:
    root = xr.Dataset(
        coords={"time": ("time", np.arange(4.0), {"units": "1"}), "nu": 0.1},
        attrs={"title": "a run"},
    )
    nodes = {"/": root, "/level_0": level(8, seed), "/fine/level_1": level(16, seed + 1)}
    return xr.DataTree.from_dict(nodes)


@pytest.fixture
def tree() -> xr.DataTree:
    return make()


def files(store: Path) -> dict[str, bytes]:
    return {str(p.relative_to(store)): p.read_bytes() for p in store.rglob("*") if p.is_file()}


GROUPS = ("", "level_0", "fine", "fine/level_1")


def test_round_trip(tree, tmp_path):
    store = tmp_path / "tree.zarr"
    tree.phys.to_zarr(store)
    opened = xphys.open(store, tree=True)
    assert sorted(opened.children) == ["fine", "level_0"]
    for path in ("level_0", "fine/level_1"):
        xr.testing.assert_equal(opened[path].to_dataset(), tree[path].to_dataset())
        assert opened[path]["u"].chunks is not None
        (opening, writing) = (step["operation"] for step in opened.phys.provenance[path][::-1])
        assert (opening, writing) == ("open", "to_zarr")
    assert opened.attrs["title"] == "a run"
    assert opened["time"].attrs == {"units": "1"}
    assert all(
        "unverified" not in [f.code for f in found] for found in opened.phys.validate().values()
    )
    # time is in every group, and in the tree once
    assert not opened["level_0"].to_dataset(inherit=False).indexes.get("time", ())
    for group in GROUPS:
        assert (store / group / "_xphys/manifest/zarr.json").exists()
        assert not (store / group / "_xphys/journal").exists()
        assert set(xphys.verify(store, group=group).state.values.tolist()) == {"ok"}


def test_groups_open_alone(tree, tmp_path):
    store = tmp_path / "tree.zarr"
    tree.phys.to_zarr(store)
    root = xphys.open(store)
    assert list(root.variables) == ["time", "nu"] or set(root.variables) == {"time", "nu"}
    one = xphys.open(store, group="fine/level_1")
    xr.testing.assert_equal(one, tree["fine/level_1"].to_dataset())
    part = xphys.open(store, group="fine", tree=True)
    xr.testing.assert_equal(part["level_1"].to_dataset(), tree["fine/level_1"].to_dataset())
    with pytest.raises(FormatError, match="nowhere"):
        xphys.open(store, group="nowhere", tree=True)


def test_plain_readers_open_it_without_warnings(tree, tmp_path):
    store = tmp_path / "tree.zarr"
    tree.phys.to_zarr(store)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with xr.open_datatree(store, engine="zarr") as plain:
            assert sorted(plain.children) == ["fine", "level_0"]
            assert plain["nu"].item() == 0.1
            for path in ("level_0", "fine/level_1"):
                xr.testing.assert_equal(plain[path].to_dataset(), tree[path].to_dataset())
        alone = xr.open_zarr(store, group="fine/level_1")
        xr.testing.assert_equal(alone.load(), tree["fine/level_1"].to_dataset())


def test_every_node_is_checked_when_it_is_read(tree, tmp_path):
    store = tmp_path / "tree.zarr"
    tree.phys.to_zarr(store)
    chunk = next(p for p in (store / "fine/level_1/u/c").rglob("*") if p.is_file())
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 1
    chunk.write_bytes(bytes(data))
    opened = xphys.open(store, tree=True)
    opened["level_0"].load()
    with pytest.raises(CorruptDataError, match=r"'u'.*c/"):
        opened["fine/level_1"]["u"].load()
    with pytest.raises(CorruptDataError):
        xphys.open(store, tree=True, strict="full")
    document = store / "level_0/zarr.json"
    document.write_text(document.read_text().replace("xphys_provenance", "xphys_provenence"))
    with pytest.raises(CorruptDataError, match=r"zarr\.json"):
        xphys.open(store, tree=True)


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.fixture
def killer(monkeypatch):
    """Stop at the n-th write of a value, the n-th beginning or the n-th sealing."""

    def arm(module, name: str, after: int, before: bool = True) -> None:
        original, left = getattr(module, name), [after]

        def stopping(*args, **kwargs):
            left[0] -= 1
            if left[0] < 0 and before:
                raise Killed
            result = original(*args, **kwargs)
            if left[0] < 0:
                raise Killed
            return result

        monkeypatch.setattr(module, name, stopping)

    arm.undo = monkeypatch.undo
    return arm


POINTS = [
    *((_graph, "_store_values", n, True) for n in (0, 1, 2)),
    *((_graph, "seal", n, before) for n in range(4) for before in (True, False)),
    *((_begin, "_begin", n, False) for n in range(4)),
]


@pytest.mark.parametrize(("module", "name", "after", "before"), POINTS)
def test_a_killed_write_goes_on(tmp_path, killer, module, name, after, before):
    whole, store = tmp_path / "whole.zarr", tmp_path / "tree.zarr"
    make().phys.to_zarr(whole, chunks={"time": 2})
    killer(module, name, after, before)
    with pytest.raises(Killed):
        make().phys.to_zarr(store, chunks={"time": 2})
    killer.undo()
    if (module, name, before) != (_graph, "seal", False) or after < 3:
        with pytest.raises(UnfinishedStoreError):
            xphys.open(store)
    make().phys.to_zarr(store, chunks={"time": 2})
    assert files(store) == files(whole)


def test_finished_nodes_are_not_computed_again(tmp_path, killer, monkeypatch):
    store = tmp_path / "tree.zarr"
    killer(_graph, "seal", 2)
    with pytest.raises(Killed):
        make().phys.to_zarr(store)
    killer.undo()
    written = []
    original = _graph._store_values
    monkeypatch.setattr(
        _graph,
        "_store_values",
        lambda values, array, where: written.append(array.path) or original(values, array, where),
    )
    make().phys.to_zarr(store)
    assert written == []
    xphys.open(store, tree=True).load()


def test_other_data_does_not_go_on(tmp_path, killer):
    store = tmp_path / "tree.zarr"
    killer(_graph, "seal", 1)
    with pytest.raises(Killed):
        make().phys.to_zarr(store)
    killer.undo()
    with pytest.raises(StoreConflictError):
        make(seed=5).phys.to_zarr(store)
    pruned = make()
    del pruned["fine"]
    with pytest.raises(StoreConflictError):
        pruned.phys.to_zarr(store)
    pruned.phys.to_zarr(store, mode="w")
    assert list(xphys.open(store, tree=True).children) == ["level_0"]
    assert not (store / "fine").exists()
    with pytest.raises(FileExistsError):
        pruned.phys.to_zarr(store)


def test_begun_anew(tmp_path, killer):
    store = tmp_path / "tree.zarr"
    killer(_graph, "seal", 1)
    with pytest.raises(Killed):
        make().phys.to_zarr(store)
    killer.undo()
    (store / "level_0/left.over").write_bytes(b"x")
    make().phys.to_zarr(store, resume=False)
    assert not (store / "level_0/left.over").exists()
    xphys.open(store, tree=True, strict="full")


def test_compressed_nodes_stay_coded(tree, tmp_path):
    store = tmp_path / "tree.zarr"
    tree.phys.compress(max_abs=0.01).phys.to_zarr(store)
    opened = xphys.open(store, tree=True)
    for path in ("level_0", "fine/level_1"):
        error = abs(opened[path]["u"] - tree[path]["u"]).max().values
        assert 0 < error <= 0.01
        assert opened[path]["u"].attrs["compression_max_error"] <= 0.01
        np.testing.assert_array_equal(opened[path]["covered"], tree[path]["covered"])
    document = json.loads((store / "level_0/u/zarr.json").read_text())
    assert document["codecs"][0]["name"] == "xphys.frame"


def test_levels_of_a_run(small_data, tmp_path):
    run, store = small_data / "athenak" / "orszag_tang_smr", tmp_path / "levels.zarr"
    levels = xphys.open(run, levels="tree")
    levels.phys.to_zarr(store)
    for opened in (xphys.open(store, tree=True), xphys.open(store, levels="tree")):
        assert list(opened.children) == list(levels.children)
        for path in levels.children:
            xr.testing.assert_equal(opened[path].to_dataset(), levels[path].to_dataset())
        assert opened.attrs["athenak_deck"] == levels.attrs["athenak_deck"]
    one = xphys.open(store, group="level_2")
    assert one["time"].values.tolist() == [0.2]


def test_tree_in_a_group(tree, tmp_path):
    store = tmp_path / "many.zarr"
    tree.phys.to_zarr(store, group="runs/a")
    make(3).phys.to_zarr(store, group="runs/b")
    with xr.open_datatree(store, engine="zarr") as plain:
        assert sorted(plain["runs"].children) == ["a", "b"]
        xr.testing.assert_equal(plain["runs/a/level_0"].to_dataset(), tree["level_0"].to_dataset())
    pruned = make(3)
    del pruned["fine"]
    pruned.phys.to_zarr(store, group="runs/b", mode="w")
    for above in ("", "runs", "runs/b"):
        nodes = json.loads((store / above / "zarr.json").read_text())["consolidated_metadata"]
        assert not [path for path in nodes["metadata"] if "b/fine" in path or path == "fine"]
    with xr.open_datatree(store, engine="zarr") as plain:
        assert sorted(plain["runs"].children) == ["a", "b"]
        assert list(plain["runs/b"].children) == ["level_0"]
        assert sorted(plain["runs/a"].children) == ["fine", "level_0"]
    opened = xphys.open(store, group="runs/b", tree=True)
    xr.testing.assert_equal(opened["level_0"].to_dataset(), make(3)["level_0"].to_dataset())
    assert sorted(xphys.open(store, tree=True)["runs"].children) == ["a", "b"]


def test_plain_stores_and_trees_that_do_not_fit(tmp_path):
    plain = tmp_path / "plain.zarr"
    make().to_zarr(plain, consolidated=False)
    opened = xphys.open(plain, tree=True)
    xr.testing.assert_equal(opened["level_0"].to_dataset(), make()["level_0"].to_dataset())
    xr.Dataset({"u": ("x", [1.0])}, {"x": [0.0]}).phys.to_zarr(tmp_path / "odd.zarr")
    odd = xr.Dataset({"u": ("x", [1.0, 2.0])}, {"x": [0.0, 1.0]})
    odd.phys.to_zarr(tmp_path / "odd.zarr", group="other")
    with pytest.raises(FormatError, match="one by one"):
        xphys.open(tmp_path / "odd.zarr", tree=True)
    assert xphys.open(tmp_path / "odd.zarr", group="other")["u"].shape == (2,)


def test_invalid_arguments(tree, tmp_path):
    with pytest.raises(SchemaError, match="mode"):
        tree.phys.to_zarr(tmp_path / "a.zarr", mode="a")
    xr.Dataset({"u": ("x", [1.0])}).to_netcdf(tmp_path / "a.nc")
    with pytest.raises(SchemaError, match="netcdf is opened as one Dataset"):
        xphys.open(tmp_path / "a.nc", tree=True)


def test_equal_trees_give_equal_bytes(tmp_path):
    for name in ("a.zarr", "b.zarr"):
        make().phys.to_zarr(tmp_path / name)
    assert files(tmp_path / "a.zarr") == files(tmp_path / "b.zarr")
    shutil.rmtree(tmp_path / "a.zarr")
