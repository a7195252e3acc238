"""Statistics: against NumPy, for any chunks, merged in any order, kept and found stale."""

from __future__ import annotations

import json
import os

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.extra import numpy as arrays

import xphys
from xphys import stats
from xphys.errors import FormatError, SchemaError, UnknownNameError
from xphys.schema import provenance


def box(seed: int = 0, dtype: str = "f4") -> xr.Dataset:
    rng = np.random.default_rng(seed)
    ds = xr.Dataset(
        coords={
            "time": ("time", np.arange(6.0), {"units": "1"}),
            "y": ("y", np.arange(10.0), {"units": "1"}),
            "x": ("x", np.arange(14.0), {"units": "1"}),
        }
    )
    for component in "xy":
        attrs = {"vector": "velocity", "component": component, "units": "m/s"}
        values = 3 + rng.standard_normal((6, 10, 14)).astype(dtype)
        ds[f"velocity_{component}"] = (("time", "y", "x"), values, attrs)
    ds["label"] = ("x", [f"c{i}" for i in range(14)])
    ds["mask"] = (("y", "x"), rng.random((10, 14)) > 0.5)
    return ds


def numbers(values: np.ndarray) -> dict[str, float]:
    v = values.astype(np.float64)
    return {
        "count": v.size, "nan_count": 0, "mean": v.mean(), "std": v.std(), "min": v.min(),
        "max": v.max(), "rms": np.sqrt((v * v).mean()),
    }  # fmt: skip


def test_against_numpy():
    ds = box()
    found = stats.statistics(ds)
    assert found["variable"].values.tolist() == ["velocity_x", "velocity_y", "mask", "velocity"]
    both = np.stack([ds.velocity_x, ds.velocity_y])
    for name, values in [
        ("velocity_x", ds.velocity_x.values),
        ("mask", ds.mask.values),
        ("velocity", both),
    ]:
        row = found.sel(variable=name)
        for key, wanted in numbers(values).items():
            assert float(row[key]) == pytest.approx(wanted, rel=1e-13), (name, key)
    assert found["vector"].values.tolist() == ["velocity", "velocity", "", "velocity"]
    assert found["component"].values.tolist() == ["x", "y", "", ""]
    assert found["units"].values.tolist() == ["m/s", "m/s", "", "m/s"]
    assert found["mean"].attrs["long_name"] == "mean"
    xr.testing.assert_identical(ds.phys.stats(), found)


@pytest.mark.parametrize("chunks", [{"time": 1}, {"time": 4, "x": 3}, {"y": 7}, {"x": 1, "y": 1}])
@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_any_chunks_give_the_same(chunks, scheduler):
    ds = box().drop_vars("label") + (1e5 if chunks == {"y": 7} else 0)
    wanted = stats.statistics(ds[["velocity_x", "velocity_y"]])

    def refuse(*args, **kwargs):
        raise AssertionError("computed")

    with dask.config.set(scheduler=refuse):
        lazy = stats.statistics(ds[["velocity_x", "velocity_y"]].chunk(chunks))
    assert lazy["mean"].chunks is not None
    with dask.config.set(scheduler=scheduler):
        found = lazy.compute()
    for name in stats._api.NAMES:
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-12)
        assert found[name].dtype == wanted[name].dtype


def test_every_chunk_is_read_once():
    seen = []

    def source(block_info=None):
        seen.append(block_info[None]["chunk-location"])
        return np.ones((2, 3))

    raw = da.map_blocks(source, chunks=((2,) * 4, (3,)), meta=np.empty((0, 0)))
    ds = xr.Dataset({"a": (("time", "x"), raw), "b": (("time", "x"), raw + 1)})
    with dask.config.set(scheduler="synchronous"):
        found = stats.statistics(ds).compute()
    assert sorted(seen) == [(i, 0) for i in range(4)]
    assert found["mean"].values.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("skipna", [False, True])
@pytest.mark.parametrize("chunks", [None, {"time": 1}])
def test_nan(skipna, chunks):
    ds = box()[["velocity_x"]]
    ds.velocity_x[0] = np.nan
    found = stats.statistics(ds if chunks is None else ds.chunk(chunks), skipna=skipna)
    row = found.compute().isel(variable=0)
    assert (int(row["count"]), int(row["nan_count"])) == (5 * 140, 140)
    if skipna:
        for key, wanted in numbers(ds.velocity_x.values[1:]).items():
            if key != "nan_count":
                assert float(row[key]) == pytest.approx(wanted, rel=1e-13)
    else:
        assert all(np.isnan(row[key]) for key in ("mean", "std", "min", "max", "rms"))


def test_no_values_infinity_and_single_values():
    ds = xr.Dataset({"none": ("x", np.zeros(0)), "one": ((), 3.0), "inf": ("y", [1.0, np.inf])})
    found = stats.statistics(ds)
    none, one, inf = (found.sel(variable=name) for name in ("none", "one", "inf"))
    assert int(none["count"]) == 0
    assert np.isnan(none["mean"])
    assert (float(one["mean"]), float(one["std"]), float(one["rms"])) == (3.0, 0.0, 3.0)
    assert float(inf["mean"]) == float(inf["max"]) == np.inf
    assert np.isnan(inf["std"])


@settings(max_examples=50, deadline=None)
@given(
    arrays.arrays(
        np.float64,
        some.integers(1, 60),
        elements=some.floats(-1e6, 1e6, allow_subnormal=False) | some.just(np.nan),
    ),
    some.lists(some.integers(0, 60), max_size=5),
)
def test_merged_states_are_the_state(values, cuts):
    whole = stats.state(values)
    parts = [stats.state(part) for part in np.split(values, sorted(cuts))]
    found = stats.merge([stats.empty(), *parts])
    for name in ("count", "nan_count", "min", "max"):
        assert found[name] == whole[name]
    scale = float(np.nanmax(np.abs(values))) if not np.isnan(values).all() else 0.0
    np.testing.assert_allclose(found["mean"], whole["mean"], rtol=1e-12, atol=1e-15 * scale)
    np.testing.assert_allclose(found["m2"], whole["m2"], rtol=1e-12, atol=1e-13 * scale**2)


def test_small_spread_on_a_large_offset():
    rng = np.random.default_rng(0)
    values = 1e9 + rng.standard_normal(10**6)
    exact = np.std(values.astype(np.longdouble) - np.longdouble(1e9))
    found = stats.state(values)
    assert float(np.sqrt(found["m2"] / found["count"])) == pytest.approx(float(exact), rel=1e-10)


def test_misuse():
    ds = box()
    with pytest.raises(UnknownNameError, match="'q'"):
        stats.statistics(ds, "q")
    with pytest.raises(SchemaError, match="'label' is"):
        stats.statistics(ds, ["label"])
    with pytest.raises(SchemaError, match="at least one"):
        stats.statistics(ds, [])
    with pytest.raises(SchemaError, match="real numbers, found none"):
        stats.statistics(ds[["label"]])


@pytest.fixture
def store(tmp_path) -> str:
    path = str(tmp_path / "run.zarr")
    box().phys.to_zarr(path)
    return path


def test_kept_beside_a_sealed_store(store, tmp_path):
    ds = xphys.open(store)
    found = ds.phys.stats().compute()
    place = stats.save(found, ds)
    assert place == stats.place(store) == store + ".stats.json"
    assert sorted(os.listdir(tmp_path)) == ["run.zarr", "run.zarr.stats.json"]
    for source in (ds, store, store + "/"):
        xr.testing.assert_identical(stats.load(source), found)
    assert (xphys.verify(store)["state"] == "ok").all()
    document = json.loads((tmp_path / "run.zarr.stats.json").read_text())
    assert document["digest"] == provenance(ds)[-1]["source"]["manifest_digest"]
    assert "statistics" in [step["operation"] for step in provenance(found)]


def test_stale_statistics_are_found(store, tmp_path):
    stats.save(xphys.open(store).phys.stats(), xphys.open(store))
    box(1).phys.to_zarr(store, mode="w")
    for source in (store, xphys.open(store)):
        with pytest.raises(FormatError, match="statistics of other data"):
            stats.load(source)
    stats.save(xphys.open(store).phys.stats(), xphys.open(store))
    assert float(stats.load(store)["mean"].sel(variable="velocity_x")) == pytest.approx(3, abs=0.1)


def test_parts_and_changed_data_are_told_apart(store):
    ds = xphys.open(store)
    stats.save(ds.phys.stats(), ds)
    with pytest.raises(SchemaError, match="this is a part"):
        stats.load(ds.isel(time=slice(0, 2)))
    with pytest.raises(SchemaError, match="'velocity_x' has changed"):
        stats.load(ds.assign(velocity_x=ds.velocity_x * 2))
    with pytest.raises(FormatError, match="other data"):
        stats.load(ds[["velocity_x"]].phys.degrade(2), stats.place(ds))
    assert int(stats.load(ds.chunk({"time": 1}))["count"].sel(variable="velocity_x")) == 840
    assert stats.load(ds[["velocity_x"]]).sizes["variable"] == 4


def test_files_of_other_programs(small_data, tmp_path):
    path = tmp_path / "a.nc"
    box()[["velocity_x"]].to_netcdf(path)
    ds = xphys.open(path)
    stats.save(ds.phys.stats(), ds)
    assert stats.load(path)["count"].values.tolist() == [840]
    os.utime(path, ns=(1, 1))
    for source in (path, xphys.open(path)):
        with pytest.raises(FormatError, match="other data"):
            stats.load(source)
    run = xphys.open(small_data / "athenak" / "mri_64_one_rank")
    place = stats.save(run.phys.stats("density"), run, tmp_path / "run.json")
    assert float(stats.load(run, place)["count"][0]) == run.density.size
    with pytest.raises(SchemaError, match="takes the Dataset"):
        stats.load(small_data / "athenak" / "mri_64_one_rank", place)


def test_places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert stats.place("run/*.bin") == "run.stats.json"
    assert stats.place("*.bin") == str(tmp_path) + ".stats.json"
    assert stats.place("s3://bucket/run.zarr/") == "s3://bucket/run.zarr.stats.json"
    with pytest.raises(SchemaError, match="opened with"):
        stats.place(box())
    with pytest.raises(FileNotFoundError, match="no statistics yet"):
        stats.load(tmp_path / "run.zarr")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: text[:-20],
        lambda text: "[1]",
        lambda text: "[" * 100000,
        lambda text: text.replace('"xphys_stats": 1', '"xphys_stats": 2'),
        lambda text: text.replace('"variables": [\n  {', '"variables": [\n  {"a": 1}, {', 1),
        lambda text: text.replace('"of"', '"off"'),
        lambda text: text.replace('"digest": "', '"digest": "0'),
        lambda text: text.replace('"mean"', '"means"'),
        lambda text: text.replace('"sizes": {', '"sizes": 3, "size": {', 1),
    ],
)
def test_damaged_files(store, change):
    ds = xphys.open(store)
    place = stats.save(ds.phys.stats(), ds)
    with open(place, encoding="utf-8") as file:
        text = file.read()
    with open(place, "w", encoding="utf-8") as file:
        file.write(change(text))
    with pytest.raises(FormatError, match=r"stats\.json"):
        stats.load(ds)


def test_what_is_not_saved(store, tmp_path):
    ds = xphys.open(store)
    with pytest.raises(SchemaError, match="got another one"):
        stats.save(ds, ds)
    with pytest.raises(SchemaError, match="local file"):
        stats.save(ds.phys.stats(), ds, "s3://bucket/a.json")
    with pytest.raises(SchemaError, match="opened with"):
        stats.save(box().phys.stats(), box(), tmp_path / "a.json")
