"""Writing Gust's layout: round trips, refusals, resuming."""

from __future__ import annotations

import os
import tracemalloc

import dask.array
import h5py
import numpy as np
import pytest
import xarray as xr

from xphys.errors import CorruptDataError, SchemaError, StoreConflictError, UnknownNameError
from xphys.io.readers.gust import open_paths
from xphys.io.writers import _frames
from xphys.io.writers.gust import to_gust
from xphys.schema import provenance


def content(path):
    """Everything in a file but the record of operations at its root."""
    found = {}
    with h5py.File(path, "r") as file:

        def take(name, held):
            attrs = {k: (type(v), v) for k, v in held.attrs.items()}
            data = None
            if isinstance(held, h5py.Dataset):
                data = (held.dtype.str, held.shape, held[()].tobytes())
            found[name] = (attrs, data)

        file.visititems(take)
    return found


def simple(time=5, chunks=None, **coords):
    rng = np.random.default_rng(3)
    values = rng.standard_normal((time, 4, 6))
    data = values if chunks is None else dask.array.from_array(values, chunks=chunks, name="simple")
    return xr.Dataset(
        {"w": (("time", "y", "x"), data, {"units": "m/s", "long_name": "speed"})},
        {
            "time": ("time", np.arange(time) * 0.1, {"units": "s", "long_name": "time"}),
            "y": ("y", np.arange(4.0), {"units": "m", "boundary": "wall"}),
            "x": ("x", np.arange(6.0), {"units": "m", "boundary": "periodic", "period": 6.0}),
            **coords,
        },
        {"title": "made"},
    )


def test_round_trip_of_a_real_file_changes_nothing(small_data, tmp_path):
    path = str(small_data / "gust" / "rayleigh_benard_64x24.h5")
    ds = open_paths([path])
    to_gust(ds, tmp_path / "again.h5")
    assert content(tmp_path / "again.h5") == content(path)
    assert os.listdir(tmp_path) == ["again.h5"]
    again = open_paths([str(tmp_path / "again.h5")])
    xr.testing.assert_identical(again.drop_attrs(deep=False), ds.drop_attrs(deep=False))
    assert [step["operation"] for step in provenance(again)] == ["open", "to_gust", "open"]


def test_round_trip_of_all_real_files(simulation_data, tmp_path):
    for name in ("turbulence_64_output.h5", "rayleigh_benard_64x24_output.h5"):
        path = str(simulation_data / "formats" / "gust" / name)
        to_gust(open_paths([path]).chunk({"time": 7}), tmp_path / name)
        assert content(tmp_path / name) == content(path)
        with h5py.File(tmp_path / name) as file:
            for field in file["fields"].values():
                assert field.chunks == (1, *field.shape[1:])
                assert (field.compression, field.dtype.str) == ("gzip", "<f4")


def test_vector_fields_become_one_again(tmp_path):
    values = np.arange(2 * 3 * 5 * 2, dtype=np.float32).reshape(2, 3, 5, 2)
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file["fields/velocity"] = values
        file["coordinates/x"] = np.arange(3, dtype="f4")
        file["coordinates/y"] = np.arange(5, dtype="f4")
        file.create_group("metadata").attrs.update(solver="rayleigh_benard", n_samples=2)
    ds = open_paths([str(tmp_path / "v.h5")])
    to_gust(ds, tmp_path / "w.h5")
    assert content(tmp_path / "w.h5") == content(tmp_path / "v.h5")
    to_gust(ds[["velocity_z"]], tmp_path / "z.h5")
    with h5py.File(tmp_path / "z.h5") as file:
        assert np.array_equal(file["fields/velocity_z"][()], values[..., 1])


@pytest.mark.parametrize("chunks", [None, (2, 4, 6), (2, 2, 3), (5, 4, 6)])
def test_other_data_keep_names_times_attributes_and_parameters(tmp_path, chunks):
    viscosity = xr.Variable((), 1e-3, {"units": "1", "long_name": "viscosity"})
    ds = simple(chunks=chunks, viscosity=viscosity)
    to_gust(ds, tmp_path / "o.h5")
    again = open_paths([str(tmp_path / "o.h5")])
    assert again["w"].dtype == np.float32
    assert np.array_equal(again["w"].values, ds["w"].values.astype(np.float32))
    assert np.array_equal(again["time"].values, ds["time"].values)
    assert again["viscosity"].item() == 1e-3
    for name in ("w", "x", "y", "time"):
        kept = {k: again[name].attrs[k] for k in ds[name].attrs}
        assert kept == ds[name].attrs
    with h5py.File(tmp_path / "o.h5") as file:
        assert file["fields/w"].shape == (5, 6, 4)
        assert dict(file["metadata"].attrs)["n_samples"] == 5
        assert {v.dtype.str for k, v in file["coordinates"].items() if k in "xy"} == {"<f4"}


def test_a_vertical_axis_stays_one(tmp_path):
    ds = simple().rename(y="z")
    to_gust(ds, tmp_path / "o.h5", names={"w": "omega"})
    again = open_paths([str(tmp_path / "o.h5")])
    assert again["vorticity"].dims == ("time", "z", "x")
    with pytest.raises(UnknownNameError, match="names"):
        to_gust(ds, tmp_path / "p.h5", names={"nothing": "omega"})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda ds: ds.expand_dims(trajectory=2), r"ds\.isel\(trajectory=0\)"),
        (lambda ds: ds.expand_dims(z=[0.0]).transpose("time", "z", "y", "x"), "planes"),
        (lambda ds: ds.isel(y=0, drop=True), "planes"),
        (lambda ds: ds.isel(time=0), "'w' is on"),
        (lambda ds: ds.assign(s=ds["w"].isel(time=0, drop=True)), "'s' is on"),
        (lambda ds: ds.assign(c=ds["w"] * 1j), "complex128"),
        (lambda ds: ds.drop_vars("x"), "no coordinate"),
        (lambda ds: ds.drop_vars("w"), "at least one"),
        (lambda ds: ds.assign_coords(x=1e9 + np.arange(6.0)), "not distinct"),
        (lambda ds: ds * 1e300, "beyond float32"),
    ],
)
def test_what_the_layout_cannot_hold(tmp_path, change, said):
    with pytest.raises(SchemaError, match=said) as caught:
        to_gust(change(simple()), tmp_path / "o.h5")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "o.h5").exists()


def test_modes_and_places(tmp_path):
    path = tmp_path / "o.h5"
    to_gust(simple(), path)
    with pytest.raises(FileExistsError):
        to_gust(simple(), path)
    to_gust(simple(time=2), path, mode="w")
    assert open_paths([str(path)]).sizes["time"] == 2
    with pytest.raises(SchemaError, match="mode"):
        to_gust(simple(), path, mode="a")
    with pytest.raises(SchemaError, match="local path"):
        to_gust(simple(), "s3://bucket/o.h5")


def failing(after):
    """A Dataset whose chunks beyond some step cannot be computed, and what was computed."""
    seen = []

    def block(values, block_info=None):
        first = block_info[0]["array-location"][0][0]
        seen.append(first)
        if first >= after:
            raise OSError("no more")
        return values

    ds = simple(time=6, chunks=(1, 4, 6))
    data = dask.array.map_blocks(block, ds["w"].data, dtype=float, meta=np.zeros(0), name="made")
    return ds.assign(w=(ds["w"].dims, data, ds["w"].attrs)), seen


def test_a_stopped_write_goes_on_and_gives_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr("xphys.io.writers.gust._BLOCK", 1)
    whole, _ = failing(9)
    to_gust(whole, tmp_path / "whole.h5")
    stopped, _ = failing(4)
    with pytest.raises(OSError, match="no more"):
        to_gust(stopped, tmp_path / "o.h5")
    assert sorted(os.listdir(tmp_path)) == ["o.h5.partial", "whole.h5"]
    again, seen = failing(9)
    to_gust(again, tmp_path / "o.h5")
    assert sorted(set(seen)) == [4, 5]
    assert (tmp_path / "o.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["o.h5", "whole.h5"]


def test_a_write_of_other_data_is_not_continued(tmp_path):
    stopped, _ = failing(4)
    with pytest.raises(OSError, match="no more"):
        to_gust(stopped, tmp_path / "o.h5")
    with pytest.raises(StoreConflictError, match="resume=False"):
        to_gust(simple(), tmp_path / "o.h5")
    to_gust(simple(), tmp_path / "o.h5", resume=False)
    assert open_paths([str(tmp_path / "o.h5")]).sizes["time"] == 5


def test_a_part_of_a_file_is_not_taken_for_another_part(small_data, tmp_path, monkeypatch):
    ds = open_paths([str(small_data / "gust" / "rayleigh_benard_64x24.h5")])
    with monkeypatch.context() as patch:
        patch.setattr("xphys.io.writers.gust._assemble", failing_assembly)
        with pytest.raises(OSError, match="full"):
            to_gust(ds.isel(time=[0]), tmp_path / "o.h5")
    with pytest.raises(StoreConflictError):
        to_gust(ds.isel(time=[1]), tmp_path / "o.h5")
    to_gust(ds.isel(time=[0]), tmp_path / "o.h5")
    assert open_paths([str(tmp_path / "o.h5")])["buoyancy"].equals(ds["buoyancy"][[0]])


def failing_assembly(*_):
    raise OSError("full")


def test_a_damaged_record_is_written_again(tmp_path):
    path = tmp_path / "frames"
    with _frames.Frames(str(path), "ab" * 16) as frames:
        for data in (b"first", b"second", b"third"):
            frames.append(data)
    raw = bytearray(path.read_bytes())
    raw[-len("third") - 24 - 2] ^= 1  # in the second record
    path.write_bytes(raw)
    with _frames.Frames(str(path), "ab" * 16) as frames:
        assert frames.count == 1
        frames.append(b"again")
        assert list(frames.read()) == [b"first", b"again"]
        frames.flush()
        with open(path, "r+b") as file:
            file.seek(-2, 2)
            file.write(b"??")
        with pytest.raises(CorruptDataError, match="frame 1"):
            list(frames.read())


def test_memory_does_not_grow_with_the_number_of_steps(tmp_path, monkeypatch):
    monkeypatch.setattr("xphys.io.writers.gust._BLOCK", 2**17)

    def peak(steps):
        data = dask.array.random.random((steps, 64, 64), chunks=(4, 64, 64))
        axes = {"time": np.arange(steps) * 1.0, "y": np.arange(64.0), "x": np.arange(64.0)}
        ds = xr.Dataset({"w": (("time", "y", "x"), data)}, axes)
        tracemalloc.start()
        to_gust(ds, tmp_path / f"{steps}.h5")
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(8)  # imports
    few, many = peak(16), peak(64)
    assert many < few + 2**19
