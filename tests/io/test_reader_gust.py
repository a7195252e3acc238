"""Gust files: those that Gust wrote, and small ones in its layout made with h5py alone."""

from __future__ import annotations

import json
import pickle
import shutil
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr

from xphys.errors import FormatError, SchemaError, XphysError
from xphys.io.readers._probe import probe
from xphys.io.readers.gust import GustBackend, is_gust, open_paths
from xphys.schema import axis, provenance, validate, vectors

TWO_PI = 2 * np.pi


def write(path, fields, x=None, y=None, **metadata):
    with h5py.File(path, "w") as file:
        for name, values in fields.items():
            file[f"fields/{name}"] = values
        for name, values in (("x", x), ("y", y)):
            if values is not None:
                file[f"coordinates/{name}"] = np.asarray(values, np.float32)
        file.create_group("metadata").attrs.update(metadata)
    return str(path)


def stored(path, name):
    # the reader keeps its handle without a lock, and HDF5 wants the same for all of a process
    with h5py.File(path, "r") as file:
        return file[name][()]


def errors(ds):
    return [finding for finding in validate(ds) if finding.severity == "error"]


@pytest.fixture
def rayleigh_benard(small_data):
    return str(small_data / "gust" / "rayleigh_benard_64x24.h5")


@pytest.fixture
def turbulence(simulation_data):
    return str(simulation_data / "formats" / "gust" / "turbulence_64_output.h5")


def test_rayleigh_benard_is_read_as_x_and_z(rayleigh_benard):
    ds = xr.open_dataset(rayleigh_benard, engine=GustBackend, cache=False)
    assert dict(ds.sizes) == {"time": 2, "z": 24, "x": 64}
    for name in ("buoyancy", "vorticity"):
        assert ds[name].dims == ("time", "z", "x")
        wanted = stored(rayleigh_benard, f"fields/{name}").transpose(0, 2, 1)
        assert ds[name].dtype == np.float32
        assert np.array_equal(ds[name].values, wanted)
    assert (ds["vorticity"][0] == 0).all()
    assert np.array_equal(ds["z"].values, stored(rayleigh_benard, "coordinates/y"))
    assert ds["z"].attrs["source_name"] == "y"
    assert (ds["z"].attrs["boundary"], ds["z"].attrs["spacing"]) == ("wall", "chebyshev")
    assert (ds["x"].attrs["boundary"], ds["x"].attrs["period"]) == ("periodic", 4.0)
    assert (ds.attrs["axes"], ds.attrs["axes_decided_by"]) == ("xy", "lengths of the coordinates")
    assert errors(ds) == []
    assert provenance(ds)[0]["parameters"]["engine"] == "gust"


def test_files_of_gust_equal_an_independent_read(simulation_data, turbulence):
    other = str(simulation_data / "formats" / "gust" / "rayleigh_benard_64x24_output.h5")
    for path in (turbulence, other):
        ds = open_paths([path])
        for name in ds.data_vars:
            wanted = stored(path, f"fields/{ds[name].attrs['source_name']}").transpose(0, 2, 1)
            assert np.array_equal(ds[name].values, wanted)
            assert np.array_equal(ds[name][3, ::5, [1, 7]].values, wanted[3, ::5, [1, 7]].T)
        assert errors(ds) == []


def test_turbulence_is_periodic_on_two_pi(turbulence):
    ds = open_paths([turbulence])
    assert list(ds.data_vars) == ["vorticity"]
    assert ds["vorticity"].attrs["source_name"] == "omega"
    assert ds["vorticity"].encoding["preferred_chunks"] == {"time": 1, "y": 64, "x": 64}
    for dim in "xy":
        assert axis(ds, dim).periodic
        assert axis(ds, dim).length == TWO_PI
    assert (ds["Re"].item(), ds["Re"].attrs["source_name"]) == (1000.0, "Re")
    assert "py2d" in ds.attrs["axes_decided_by"]
    assert json.loads(ds.attrs["gust_metadata"])["n_samples"] == 80


def test_opening_reads_no_field(rayleigh_benard, monkeypatch):
    monkeypatch.setattr("xphys.io.readers._hdf5.HDF5Array._fill", None)
    with h5py.File(rayleigh_benard, "r") as file:
        positions = {name: file[f"coordinates/{name}"][()] for name in "xy"}
    monkeypatch.setattr(
        "xphys.io.readers._hdf5.HDF5File.values", lambda _, name: positions[name[-1]]
    )
    assert open_paths([rayleigh_benard])["buoyancy"].shape == (2, 24, 64)


def test_no_times_are_invented(rayleigh_benard, turbulence):
    ds = open_paths([rayleigh_benard])
    assert ds["time"].values.tolist() == [0, 1]
    assert ds["time"].dtype == np.int64
    assert "units" not in ds["time"].attrs
    assert [(f.code, f.where) for f in validate(ds)] == [("missing-units", "time")]
    ds = open_paths([rayleigh_benard], dt=0.5)
    assert (ds["time"].values.tolist(), ds["time"].attrs["units"]) == ([0, 0.5], "1")
    assert validate(ds) == []
    # the start of Gust's turbulence is not stored
    assert open_paths([turbulence], dt=0.1)["time"].values[[0, -1]].tolist() == [0.1, 8.0]
    ds = open_paths([rayleigh_benard], times=[0, 0.51])
    assert ds["time"].values.tolist() == [0, 0.51]


@pytest.mark.parametrize(
    "options",
    [
        {"times": [1, 2, 3]},
        {"times": ["a", "b"]},
        {"dt": 0},
        {"dt": "1"},
        {"dt": 1.0, "times": [0, 1]},
        {"axes": "zx"},
        {"join": "y"},
    ],
)
def test_invalid_options(rayleigh_benard, options):
    with pytest.raises(SchemaError):
        open_paths([rayleigh_benard], **options)


def test_axes_by_length_by_convention_and_by_request(tmp_path):
    values = np.arange(2 * 3 * 5, dtype=np.float32).reshape(2, 3, 5)
    ds = open_paths([write(tmp_path / "a.h5", {"f": values}, np.arange(3), np.arange(5))])
    assert ds["f"].dims == ("time", "y", "x")
    assert np.array_equal(ds["f"].values, values.transpose(0, 2, 1))
    ds = open_paths([write(tmp_path / "b.h5", {"f": values}, np.arange(5), np.arange(3))])
    assert np.array_equal(ds["f"].values, values)
    assert ds.attrs["axes"] == "yx"
    square = values[:, :, :3]
    path = write(tmp_path / "c.h5", {"f": square}, np.arange(3), np.arange(3))
    assert "not confirmed" in open_paths([path]).attrs["axes_decided_by"]
    assert np.array_equal(open_paths([path])["f"].values, square.transpose(0, 2, 1))
    ds = open_paths([path], axes="yx")
    assert np.array_equal(ds["f"].values, square)
    assert ds.attrs["axes_decided_by"] == "given as axes="
    with pytest.raises(FormatError, match="in the order 'yx'"):
        open_paths([str(tmp_path / "a.h5")], axes="yx")


def test_vector_fields(tmp_path):
    values = np.arange(2 * 3 * 5 * 2, dtype=np.float32).reshape(2, 3, 5, 2)
    names = {"velocity": values, "pair_x": values[..., 0], "pair_z": values[..., 1]}
    path = write(tmp_path / "v.h5", names, np.arange(3), np.arange(5), solver="rayleigh_benard")
    ds = open_paths([path])
    assert vectors(ds) == {
        "velocity": {"x": "velocity_x", "z": "velocity_z"},
        "pair": {"x": "pair_x", "z": "pair_z"},
    }
    for place, letter in enumerate("xz"):
        assert np.array_equal(ds[f"velocity_{letter}"], values[..., place].transpose(0, 2, 1))
    assert ds["velocity_z"].attrs["source_name"] == "velocity[..., 1]"
    many = np.zeros((2, 3, 5, 4), np.float32)
    ds = open_paths([write(tmp_path / "m.h5", {"f": many}, np.arange(3), np.arange(5))])
    assert list(ds.data_vars) == ["f_0", "f_1", "f_2", "f_3"]


def test_several_files_in_the_order_of_their_numbers(tmp_path):
    for number in (10, 2, 1):
        values = np.full((number, 2, 3), number, np.float32)
        write(tmp_path / f"s{number}.h5", {"f": values}, [0, 1], [0, 1, 2], Re=number)
    with pytest.raises(FormatError, match="Re = "):
        open_paths([str(tmp_path)])
    for number in (10, 2, 1):
        with h5py.File(tmp_path / f"s{number}.h5", "a") as file:
            file["metadata"].attrs["Re"] = 5.0
    ds = open_paths([str(tmp_path)])
    assert ds["f"][:, 0, 0].values.tolist() == [1] + [2] * 2 + [10] * 10
    assert ds["f"][2:5, 0, 0].values.tolist() == [2, 10, 10]
    chosen = [str(tmp_path / name) for name in ("s2.h5", "s1.h5")]
    assert open_paths(chosen)["f"][:, 0, 0].values.tolist() == [2, 2, 1]
    with pytest.raises(FormatError, match="1 outputs"):
        open_paths([str(tmp_path)], join="trajectory")


def test_runs_side_by_side(tmp_path, rayleigh_benard):
    paths = []
    for seed in range(2):
        paths.append(str(tmp_path / f"seed_{seed}.h5"))
        shutil.copy(rayleigh_benard, paths[-1])
        with h5py.File(paths[-1], "a") as file:
            file["fields/buoyancy"][...] *= seed + 1
            file["metadata"].attrs["seed"] = seed
    ds = open_paths(paths, join="trajectory")
    one = open_paths(paths[:1])
    assert ds["buoyancy"].dims == ("trajectory", "time", "z", "x")
    assert np.array_equal(ds["buoyancy"][1].values, 2 * one["buoyancy"].values)
    part = ds["buoyancy"][:, 1, 3:5, [4, 9]]
    assert np.array_equal(part[0].values, one["buoyancy"][1, 3:5, [4, 9]].values)
    assert ds["seed"].values.tolist() == [0, 1]
    assert errors(ds) == []


def test_pickle_and_dask(rayleigh_benard):
    ds = xr.open_dataset(rayleigh_benard, engine=GustBackend, chunks={})
    again = pickle.loads(pickle.dumps(ds))
    xr.testing.assert_identical(again.compute(scheduler="threads"), open_paths([rayleigh_benard]))


def test_run_that_was_stopped_before_its_positions(tmp_path):
    path = write(tmp_path / "killed.h5", {"omega": np.ones((2, 8, 8), np.float32)})
    with h5py.File(path, "a") as file:
        del file["metadata"]
    assert is_gust(probe(path))
    ds = open_paths([path])
    assert "assumed" in ds["x"].attrs["comment"]
    assert axis(ds, "y").periodic
    path = write(tmp_path / "other.h5", {"omega": np.ones((2, 8, 4), np.float32)})
    with pytest.raises(FormatError, match="stopped before"):
        open_paths([path])


def test_what_is_recognised(rayleigh_benard, small_data, tmp_path):
    assert is_gust(probe(rayleigh_benard))
    shutil.copy(rayleigh_benard, tmp_path / "output.h5")
    assert is_gust(probe(str(tmp_path)))
    assert not is_gust(probe(str(small_data / "pdebench" / "burgers_1d.hdf5")))
    assert not is_gust(probe(str(small_data / "py2d" / "1.mat")))
    plain = tmp_path / "plain.h5"
    with h5py.File(plain, "w") as file:
        file["fields/rho"] = np.zeros(3)
    assert not is_gust(probe(str(plain)))
    with pytest.raises(FileNotFoundError):
        xr.open_dataset(str(tmp_path / "absent.h5"), engine=GustBackend)


@pytest.mark.parametrize(
    ("fields", "x", "y"),
    [
        ({"f": np.zeros((2, 3))}, [0, 1], [0, 1]),
        ({"f": np.zeros((2, 3, 4))}, [0, 1], [0, 1, 2]),
        ({"f": np.zeros((2, 3, 4)), "g": np.zeros((2, 4, 3))}, [0, 1, 2], [0, 1, 2, 3]),
        ({"f": np.zeros((2, 3, 4), complex)}, [0, 1, 2], [0, 1, 2, 3]),
        ({"f": np.full((2, 3, 4), b"ab")}, [0, 1, 2], [0, 1, 2, 3]),
        ({"f": np.zeros((2, 3, 4))}, [[0, 1, 2]], [0, 1, 2, 3]),
        ({"x": np.zeros((2, 3, 4))}, [0, 1, 2], [0, 1, 2, 3]),
        ({"omega": np.zeros((2, 3, 4)), "vorticity": np.zeros((2, 3, 4))}, [0, 1, 2], [0, 1, 2, 3]),
        ({}, [0, 1], [0, 1]),
    ],
)
def test_other_layouts_are_refused_in_one_line(tmp_path, fields, x, y):
    path = write(tmp_path / "bad.h5", fields, x, y)
    with pytest.raises(FormatError) as caught:
        open_paths([path])
    assert "\n" not in str(caught.value)


def test_hostile_attributes_are_only_text_and_numbers(tmp_path):
    odd = {"time": 2.0, "f": 3.0, "H": "big", "xphys_provenance": "{"}
    fields = {"f": np.zeros((1, 2, 3), np.float32)}
    path = write(tmp_path / "odd.h5", fields, [0, 1], [0, 1, 2], **odd)
    with h5py.File(path, "a") as file:
        file["metadata"].attrs["x"] = 1.0
        file.attrs["xphys_provenance"] = "[" * 50000
        file["coordinates/x"].attrs["where"] = "elsewhere"
        file["fields/f"].attrs["vector"] = np.zeros(3)
    ds = open_paths([path])
    assert ds["x"].size == 2
    assert len(provenance(ds)) == 1


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9, 0.999])
def test_truncated_files(tmp_path, rayleigh_benard, share):
    path = tmp_path / "cut.h5"
    data = Path(rayleigh_benard).read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(XphysError):
        open_paths([str(path)]).load()


def test_a_chunk_that_inflates_to_more_is_refused(tmp_path):
    path = str(tmp_path / "bomb.h5")
    with h5py.File(path, "w") as file:
        held = file.create_dataset(
            "fields/f", (1, 2, 3), "f4", chunks=(1, 2, 3), compression="gzip"
        )
        held.id.write_direct_chunk((0, 0, 0), zlib.compress(bytes(10**8)))
        file["coordinates/x"], file["coordinates/y"] = np.arange(2.0), np.arange(3.0)
    with pytest.raises(FormatError, match="chunk"):
        open_paths([path]).load()
