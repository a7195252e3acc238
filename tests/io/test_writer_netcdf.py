"""Writing netCDF: exact round trips, CF for others, refusals, resuming, memory."""

from __future__ import annotations

import os
import tracemalloc

import dask
import dask.array as da
import h5py
import netCDF4
import numpy as np
import pytest
import xarray as xr

import xphys
from xphys.errors import FormatError, SchemaError, StoreConflictError
from xphys.io import to_netcdf
from xphys.io._netcdf import MARK
from xphys.io.writers import _frames, netcdf
from xphys.io.writers._slabs import aligned, slabs
from xphys.schema import provenance

ATTRS = {
    "vector": "velocity", "units": "m/s", "text": "ø", "flag": True, "none": None, "one": [1],
    "two": [1, 2], "texts": ["a", "b"], "dict": {"a": [None, {"b": 1.5}]}, "np": np.float32(3),
    "array": np.arange(3), "tuple": (1, "a"), "nan": float("nan"), "inf": float("inf"),
    "empty": "", "big": 2**70, "_FillValue": 3.0, "coordinates": "mine", "i": 5, "f": 0.1,
    "mixed": [1, 2.0], "nothing": [], "long": list(range(5000)), "truth": np.bool_(True),
}  # fmt: skip


def everything(chunks: int | None = 7) -> xr.Dataset:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(40, 6, 8)).astype("f4")
    values[3, 2, 1] = np.nan
    u = values if chunks is None else da.from_array(values, chunks=(chunks, 6, 8), name="values")
    return xr.Dataset(
        {
            "u": (("time", "y", "x"), u, ATTRS),
            "mask": (("y", "x"), rng.random((6, 8)) > 0.5),
            "half": (("time", "y", "x"), rng.normal(size=(40, 6, 8)).astype("f2")),
            "nans": (("y", "x"), np.full((6, 8), np.nan)),
            "none": (("empty",), np.zeros(0)),
        },
        {
            "time": ("time", np.arange(40.0) * 0.1, {"units": "1"}),
            "y": ("y", np.arange(6.0), {"boundary": "wall", "spacing": "uniform"}),
            "x": ("x", np.arange(8.0), {"boundary": "periodic", "period": 8.0, "axis": "mine"}),
            "y_bounds": (("y", "nv"), np.arange(12.0).reshape(6, 2)),
            "nu": ((), 0.25, {"source_name": "Nu"}),
            "name": ("time", np.array([f"s{i}" for i in range(40)])),
            "words": ("x", np.array(list("abcdefgh"), object)),
            "date": ("time", np.datetime64("2000-01-01", "ns") + np.arange(40)),
            "lap": ("time", np.arange(40).astype("m8[s]")),
            "good": ((), np.True_),
            "big": ("x", np.arange(8, dtype="i8") + 2**60),
        },
        {"title": "ø", "unknown": None, "numbers": [1.0]},
    )


def same(found: xr.Dataset, wanted: xr.Dataset) -> None:
    """Values, types of values, attributes and their types; but for the record of operations."""
    ignored = "xphys_provenance"
    xr.testing.assert_identical(found.drop_attrs().load(), wanted.drop_attrs().load())
    for a, b in [(found, wanted), *((found[n], wanted[n]) for n in wanted.variables)]:
        assert [k for k in a.attrs if k != ignored] == [k for k in b.attrs if k != ignored]
        for key in set(b.attrs) - {ignored}:
            assert type(a.attrs[key]) is type(b.attrs[key]), key
            np.testing.assert_equal(a.attrs[key], b.attrs[key])
        if isinstance(b, xr.DataArray):
            assert a.dtype == b.dtype, b.name


@pytest.mark.parametrize("level", [0, 4])
@pytest.mark.parametrize("chunks", [None, 7])
def test_all_comes_back(tmp_path, level, chunks):
    ds, path = everything(chunks), tmp_path / "a.nc"
    to_netcdf(ds, path, level=level)
    back = xphys.open(path)
    same(back, ds)
    assert [s["operation"] for s in provenance(back)] == ["to_netcdf", "open"]
    assert os.listdir(tmp_path) == ["a.nc"]
    again = tmp_path / "b.nc"
    to_netcdf(xphys.open(path), again)
    same(xphys.open(again), ds)


def test_partial_reads_of_converted_types(tmp_path):
    to_netcdf(everything(), tmp_path / "a.nc")
    back, ds = xphys.open(tmp_path / "a.nc", chunks=None), everything(None)
    assert not back["half"].variable._in_memory
    np.testing.assert_array_equal(back["half"][3, :, ::3], ds["half"][3, :, ::3])
    np.testing.assert_array_equal(back["mask"][[5, 0], 2], ds["mask"][[5, 0], 2])


def test_equal_data_give_equal_files_and_no_chunk_is_split(tmp_path):
    for name in ("a.nc", "b.nc"):
        everything().phys.to_netcdf(tmp_path / name, chunks={"time": 7})
    assert (tmp_path / "a.nc").read_bytes() == (tmp_path / "b.nc").read_bytes()
    with h5py.File(tmp_path / "a.nc", locking=False) as file:
        assert file["u"].chunks == (7, 6, 8)
        assert (file["u"].compression, file["u"].shuffle) == ("gzip", True)


def test_others_see_cf(tmp_path):
    to_netcdf(everything(), tmp_path / "a.nc")
    with netCDF4.Dataset(tmp_path / "a.nc") as file:
        assert file.Conventions.startswith("CF-1.")
        assert (file["time"].axis, file["y"].axis, file["x"].axis) == ("T", "Y", "mine")
        assert file["y"].bounds == "y_bounds"
        assert set(file["half"].coordinates.split()) >= {"nu", "name", "date"}
        assert "y_bounds" not in file["half"].coordinates.split()
        np.testing.assert_array_equal(file["u"][4], everything(None)["u"][4])
    plain = xr.open_dataset(tmp_path / "a.nc")
    assert plain["mask"].dtype == bool
    assert set(plain.coords) == set(everything().coords)
    np.testing.assert_array_equal(plain["date"], everything()["date"])
    assert plain["u"].attrs["flag"] == 1
    plain.close()


def test_what_others_change_stays_changed(tmp_path):
    to_netcdf(everything(), tmp_path / "a.nc")
    with h5py.File(tmp_path / "a.nc", "r+") as file:
        file["u"].attrs["flag"] = 7
        file["u"].attrs["new"] = "added"
        file["time"].attrs["axis"] = "mine"
        del file["u"].attrs["two"]
    back = xphys.open(tmp_path / "a.nc")
    assert back["u"].attrs["flag"] == 7
    assert back["u"].attrs["new"] == "added"
    assert back["time"].attrs["axis"] == "mine"
    assert "two" not in back["u"].attrs
    assert back["u"].attrs["none"] is None


@pytest.mark.parametrize("record", ["", "[]", "{}", '{"version": 9}', '{"version": 1}', "[" * 9999])
def test_damaged_record(tmp_path, record):
    to_netcdf(everything(), tmp_path / "a.nc")
    with h5py.File(tmp_path / "a.nc", "r+") as file:
        file.attrs[MARK] = record
    with pytest.raises(FormatError, match=r"a\.nc: "):
        xphys.open(tmp_path / "a.nc")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ds: ds.assign(c=("x", np.zeros(8, complex))), "complex128, the type of 'c'"),
        (lambda ds: ds.assign(c=("x", np.array([object()] * 8))), "no object, the type of 'c'"),
        (lambda ds: ds.rename(u="a/b"), "names without '/'"),
        (lambda ds: ds.assign_attrs(a={1, 2}), "'a' of 'the Dataset' is a set"),
        (lambda ds: ds.assign_attrs(a=3j), "is a complex"),
        (lambda ds: ds.assign_attrs({"a/b": 1}), "attributes without '/'"),
        (lambda ds: ds[["u"]].stack(p=("y", "x")), "MultiIndex"),
    ],
)
def test_what_netcdf_cannot_hold(tmp_path, change, message):
    with pytest.raises(SchemaError, match=message):
        to_netcdf(change(everything()), tmp_path / "a.nc")
    assert os.listdir(tmp_path) == []


def test_misuse(tmp_path):
    ds = everything()
    to_netcdf(ds, tmp_path / "a.nc")
    with pytest.raises(FileExistsError, match="mode='w'"):
        to_netcdf(ds, tmp_path / "a.nc")
    to_netcdf(ds[["u"]], tmp_path / "a.nc", mode="w")
    assert set(xphys.open(tmp_path / "a.nc").data_vars) == {"u"}
    for options in ({"mode": "a"}, {"level": 10}, {"level": True}, {"chunks": {"x": 0}}):
        with pytest.raises(SchemaError):
            to_netcdf(ds, tmp_path / "b.nc", **options)
    with pytest.raises(SchemaError, match="local path"):
        to_netcdf(ds, "s3://bucket/a.nc")


def test_a_stopped_write_goes_on(tmp_path, monkeypatch):
    path, computed = tmp_path / "a.nc", []

    def source(block_info=None):
        place = block_info[None]["chunk-location"][0]
        computed.append(place)
        if place == 5 and len(computed) < 20:
            raise OSError("killed")
        return np.full((4, 64, 64), float(place))

    u = da.map_blocks(source, chunks=((4,) * 10, 64, 64), meta=np.empty((0, 0, 0)), name="u")
    ds = xr.Dataset({"u": (("time", "y", "x"), u)})
    monkeypatch.setattr(netcdf, "_BUDGET", 4 * 64 * 64 * 8)
    with dask.config.set(scheduler="synchronous"):
        with pytest.raises(OSError, match="killed"):
            to_netcdf(ds, path, chunks={"time": 4})
        assert os.listdir(tmp_path) == ["a.nc.partial"]
        with pytest.raises(StoreConflictError, match="other data"):
            to_netcdf(ds + 1, path)
        before = len(computed)
        computed.extend([-1] * 20)
        to_netcdf(ds, path, chunks={"time": 4})
    assert computed[before + 20 :] == [5, 6, 7, 8, 9]
    assert os.listdir(tmp_path) == ["a.nc"]
    np.testing.assert_array_equal(xphys.open(path)["u"][:, 0, 0], np.repeat(np.arange(10.0), 4))


def test_killed_between_the_two_last_steps(tmp_path, monkeypatch):
    ds, path = everything(), tmp_path / "a.nc"
    with monkeypatch.context() as patch:
        patch.setattr(os, "remove", lambda path: (_ for _ in ()).throw(OSError("killed")))
        with pytest.raises(OSError, match="killed"):
            to_netcdf(ds, path)
    assert len(os.listdir(tmp_path)) == 2
    to_netcdf(ds, path)
    assert os.listdir(tmp_path) == ["a.nc"]
    same(xphys.open(path), ds)
    assert _frames.Frames is netcdf.Frames


def test_memory_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(netcdf, "_BUDGET", 2**20)
    peaks = []
    for steps in (16, 64):
        u = da.random.default_rng(0).random((steps, 128, 128), chunks=(1, 128, 128))
        ds = xr.Dataset({"u": (("time", "y", "x"), u)})
        tracemalloc.start()
        with dask.config.set(scheduler="synchronous"):
            to_netcdf(ds, tmp_path / f"{steps}.nc", level=1, chunks={"time": 1})
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2**20


@pytest.mark.parametrize(
    ("wanted", "shape", "source", "expected"),
    [
        ((16,), (100,), None, (16,)),
        ((16,), (100,), [(5,) * 20], (15,)),
        ((16,), (100,), [(50, 50)], (10,)),
        ((16,), (102,), [(51, 51)], (16,)),
        ((16,), (100,), [(30, 30, 40)], (16,)),
        ((100,), (100,), [(5,) * 20], (100,)),
    ],
)
def test_chunks_follow_the_source(wanted, shape, source, expected):
    assert aligned(wanted, shape, source) == expected


@pytest.mark.parametrize("budget", [1, 100, 1000, 10**9])
@pytest.mark.parametrize("source", [None, ((10,) * 4, (3, 3), (7,)), ((13, 27), (6,), (7,))])
def test_slabs_hold_every_chunk_once(budget, source):
    shape, chunk = (40, 6, 7), (4, 3, 7)
    found = list(slabs(shape, chunk, source, 4, budget))
    every = [index for slab in found for index in slab]
    assert sorted(every) == sorted(np.ndindex(10, 2, 1))
    largest = max(len(slab) for slab in found)
    assert largest * 4 * 4 * 3 * 7 <= budget or largest == 1
