"""Snapshots of py2d, and MATLAB 5 files that are not, or not whole."""

from __future__ import annotations

import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import xarray as xr

from xphys.errors import CorruptDataError, FormatError, SchemaError, XphysError
from xphys.io.readers import _mat5
from xphys.io.readers._probe import probe
from xphys.io.readers.py2d import Py2dBackend, is_py2d, open_paths
from xphys.schema import axis, validate


def save(path, compressed=False, **arrays):
    scipy.io.savemat(path, arrays, do_compression=compressed)
    return str(path)


@pytest.fixture
def snapshots(small_data):
    return str(small_data / "py2d")


def test_a_folder_is_joined_along_time(snapshots):
    ds = xr.open_dataset(snapshots, engine=Py2dBackend, cache=False)
    assert ds["vorticity"].dims == ("time", "y", "x")
    for place, number in enumerate((1, 26)):
        held = scipy.io.loadmat(f"{snapshots}/{number}.mat")
        assert ds["time"].values[place] == held["time"][0, 0]
        wanted = held["Omega"].T
        assert np.array_equal(ds["vorticity"][place].values, wanted)
        assert np.array_equal(
            ds["vorticity"][place, 3:20:4, [7, 2]].values, wanted[3:20:4][:, [7, 2]]
        )
    assert ds["vorticity"].dtype == np.float64
    assert ds["vorticity"].attrs["source_name"] == "Omega"
    assert ds["vorticity"].encoding["preferred_chunks"] == {"time": 1, "y": 32, "x": 32}
    for dim in "xy":
        assert axis(ds, dim).periodic
        assert axis(ds, dim).length == 2 * np.pi
        assert "not stored" in ds[dim].attrs["comment"]
    assert validate(ds) == []


def test_files_of_py2d_equal_an_independent_read(simulation_data):
    folder = simulation_data / "py2d"
    ds = open_paths([str(folder / f"py2d_snapshot_{number}.mat") for number in (26, 1)])
    assert ds["time"].values == pytest.approx([0.25, 6.5])
    for place, number in enumerate((1, 26)):
        wanted = scipy.io.loadmat(folder / f"py2d_snapshot_{number}.mat")
        assert np.array_equal(ds["vorticity"][place].values, wanted["Omega"].T)
    with xr.open_dataset(folder / "py2d_turbulence_2d.nc") as other:
        same = other["vorticity"].sel(time=ds["time"]).values
    assert np.array_equal(ds["vorticity"].values.astype(np.float32), same)


def test_opening_reads_headers_only(snapshots, monkeypatch):
    read = []
    original = _mat5.MatVariable.rows

    def counting(self, *args):
        read.append(self.name)
        return original(self, *args)

    monkeypatch.setattr(_mat5.MatVariable, "rows", counting)
    ds = open_paths([snapshots])
    assert read == ["time", "time"]
    ds["vorticity"][1].values  # noqa: B018
    assert read == ["time", "time", "Omega"]


def test_times_of_the_files_or_of_the_caller(tmp_path):
    for number in (2, 10):
        save(tmp_path / f"{number}.mat", Omega=np.full((4, 4), float(number)))
    ds = open_paths([str(tmp_path)])
    assert ds["vorticity"][:, 0, 0].values.tolist() == [2, 10]
    assert "units" not in ds["time"].attrs
    assert "times=" in ds["time"].attrs["comment"]
    ds = open_paths([str(tmp_path)], times=[5.0, 1.0])
    assert ds["time"].values.tolist() == [1, 5]
    assert ds["vorticity"][:, 0, 0].values.tolist() == [10, 2]
    with pytest.raises(SchemaError, match="2 numbers"):
        open_paths([str(tmp_path)], times=[1.0])
    save(tmp_path / "2.mat", Omega=np.zeros((4, 4)), time=1.0)
    with pytest.raises(FormatError, match=r"10\.mat: expected a variable 'time'"):
        open_paths([str(tmp_path)])
    save(tmp_path / "10.mat", Omega=np.zeros((4, 4)), time=1.0)
    with pytest.raises(FormatError, match="same time"):
        open_paths([str(tmp_path)])


def test_axes_and_length(tmp_path):
    values = np.arange(12.0).reshape(4, 3)
    path = save(tmp_path / "a.mat", Omega=values, time=0.5)
    ds = open_paths([path])
    assert (ds.sizes["x"], ds.sizes["y"]) == (4, 3)
    assert np.array_equal(ds["vorticity"][0].values, values.T)
    ds = open_paths([path], axes="yx", length=1)
    assert np.array_equal(ds["vorticity"][0].values, values)
    assert np.array_equal(ds["vorticity"][0, 1:3, 2].values, values[1:3, 2])
    assert (ds.attrs["axes_decided_by"], ds["x"].attrs["period"]) == ("given as axes=", 1.0)
    for options in ({"axes": "x"}, {"length": -1}, {"length": "2"}):
        with pytest.raises(SchemaError):
            open_paths([path], **options)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", ["f8", "f4", "i2", "u1", "i8", ">f8"])
def test_every_kind_of_number(tmp_path, dtype, compressed):
    values = np.arange(35).reshape(7, 5).astype(dtype)
    path = save(tmp_path / "a.mat", compressed, other=[1, 2], Omega=values, time=np.uint8(3))
    ds = open_paths([path])
    assert ds["vorticity"].dtype == np.dtype(dtype).newbyteorder("=")
    assert np.array_equal(ds["vorticity"][0].values, values.T)
    assert ds.attrs["not_opened"] == "other"
    assert ds["time"].values.tolist() == [3]
    assert pickle.loads(pickle.dumps(ds)).identical(ds)


def element(kind, data, order="<"):
    return struct.pack(order + "II", kind, len(data)) + data + bytes(-len(data) % 8)


def matrix(name, values, order="<", stored=None, mclass=6, flags=0, dims=None):
    stored = values.dtype if stored is None else np.dtype(stored)
    code = {"f8": 9, "u1": 2, "i2": 3}[stored.str[1:]]
    body = element(6, struct.pack(order + "II", mclass | flags, 0), order)
    body += element(5, struct.pack(order + "2i", *(dims or values.shape)), order)
    body += element(1, name.encode(), order)
    body += element(code, values.astype(stored.newbyteorder(order)).tobytes("F"), order)
    return element(14, body, order)


def mat(*elements, order="<", version=0x0100):
    text = b"MATLAB 5.0 MAT-file, made by hand".ljust(124)
    mark = b"IM" if order == "<" else b"MI"
    return text + struct.pack(order + "H", version) + mark + b"".join(elements)


def test_big_endian_and_narrow_storage(tmp_path):
    values = np.arange(6.0).reshape(2, 3)
    for order, stored in ((">", None), ("<", "u1"), (">", "i2")):
        (tmp_path / "a.mat").write_bytes(mat(matrix("Omega", values, order, stored), order=order))
        ds = open_paths([str(tmp_path / "a.mat")])
        assert ds["vorticity"].dtype == np.float64
        assert np.array_equal(ds["vorticity"][0].values, values.T)
        assert np.array_equal(scipy.io.loadmat(tmp_path / "a.mat")["Omega"], values)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.array([[1 + 2j, 3]]), "complex numbers"),
        ("text", "text"),
        ({"a": 1.0}, "a struct"),
        (np.array([[1.0], ["a"]], object), "a cell array"),
        (scipy.sparse.csc_array(np.eye(3)), "a sparse matrix"),
        (np.zeros((2, 2, 2)), "two axes"),
    ],
)
def test_what_is_no_plane_of_real_numbers(tmp_path, value, said):
    path = save(tmp_path / "a.mat", Omega=value)
    with pytest.raises(FormatError, match=said):
        open_paths([path])
    # beside the field it does no harm and is not looked into
    ds = open_paths([save(tmp_path / "b.mat", Omega=np.zeros((2, 2)), other=value)])
    assert ds.attrs["not_opened"] == "other"


def test_other_versions_are_named(tmp_path):
    save(tmp_path / "old.mat", Omega=np.zeros((2, 2)))
    scipy.io.savemat(tmp_path / "four.mat", {"Omega": np.zeros((2, 2))}, format="4")
    (tmp_path / "new.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF\r\n\x1a\n")
    for name, said in (("four.mat", "MATLAB 5"), ("new.mat", "7.3")):
        with pytest.raises(FormatError, match=said):
            open_paths([str(tmp_path / name)])
        assert not is_py2d(probe(str(tmp_path / name)))
    (tmp_path / "odd.mat").write_bytes(mat(version=0x0200))
    with pytest.raises(FormatError, match=r"version 1\.0"):
        open_paths([str(tmp_path / "odd.mat")])


def test_what_is_recognised(snapshots, small_data, tmp_path):
    assert is_py2d(probe(snapshots))
    assert is_py2d(probe(f"{snapshots}/1.mat"))
    assert not is_py2d(probe(save(tmp_path / "a.mat", w=np.zeros((2, 2)))))
    assert not is_py2d(probe(str(small_data / "gust" / "rayleigh_benard_64x24.h5")))
    with pytest.raises(FormatError, match="expected a variable 'Omega'"):
        open_paths([str(tmp_path / "a.mat")])
    with pytest.raises(FileNotFoundError):
        xr.open_dataset(str(tmp_path / "absent.mat"), engine=Py2dBackend)
    save(tmp_path / "b.mat", Omega=np.zeros((2, 2)), time=1.0)
    save(tmp_path / "c.mat", Omega=np.zeros((3, 2)), time=2.0)
    with pytest.raises(FormatError, match="as in"):
        open_paths([str(tmp_path / "b.mat"), str(tmp_path / "c.mat")])


def test_declared_sizes_are_not_believed(tmp_path):
    values = np.zeros((2, 3))
    inside = matrix("Omega", values)
    cases = {
        "dims": mat(matrix("Omega", values, dims=(2**15, 2**15))),
        "negative": mat(matrix("Omega", values, dims=(-2, -3))),
        "behind the end": mat(inside[:4] + struct.pack("<I", 2**31) + inside[8:]),
        "cannot hold": mat(element(15, zlib.compress(struct.pack("<II", 14, 2**31)))),
        "type": mat(element(9, bytes(8))),
        "no stream": mat(element(15, b"nothing deflated")),
    }
    for name, data in cases.items():
        path = tmp_path / f"{name}.mat"
        path.write_bytes(data)
        with pytest.raises(FormatError) as caught:
            open_paths([str(path)])
        assert "\n" not in str(caught.value)
    stream = zlib.compress(inside[: len(inside) - 16] + bytes(10**7))
    (tmp_path / "bomb.mat").write_bytes(mat(element(15, stream)))
    with pytest.raises(CorruptDataError, match="does not end in time"):
        open_paths([str(tmp_path / "bomb.mat")]).load()


@pytest.mark.parametrize("compressed", [False, True])
def test_three_hundred_damaged_files_give_one_kind_of_error(tmp_path, compressed):
    values = np.random.default_rng(0).standard_normal((6, 5))
    data = Path(save(tmp_path / "good.mat", compressed, Omega=values, time=1.0)).read_bytes()
    rng = np.random.default_rng(1)
    path = tmp_path / "bad.mat"
    said = []
    for number in range(300):
        bad = bytearray(data)
        if number % 3 == 0:
            del bad[rng.integers(len(bad)) :]
        else:
            for place in rng.integers(116, len(bad), 1 + number % 4):
                bad[place] = rng.integers(256)
        path.write_bytes(bad)
        try:
            open_paths([str(path)]).load()
        except XphysError as error:
            said.append(str(error))
    assert len(said) > 100
    assert not any("\n" in line for line in said)
