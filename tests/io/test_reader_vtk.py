"""VTK reader: real files of AthenaK, files in every kind written here, and damaged ones."""

from __future__ import annotations

import pickle
import shutil

import numpy as np
import pytest
import xarray as xr

import xphys
from xphys.errors import FormatError, SchemaError, XphysError
from xphys.io.readers._probe import probe
from xphys.io.readers.vtk import backend
from xphys.io.readers.vtk.backend import VTKBackend, is_vtk, open_paths
from xphys.schema import provenance, validate, vectors

NAMES = {
    "bcc": ("bcc1", "bcc2", "bcc3"),
    "jz": ("jz",),
    "w": ("dens", "velx", "vely", "velz"),
}


def block(path, stored):
    """A scalar of a real file, by its keyword."""
    data = path.read_bytes()
    start = data.index(b"LOOKUP_TABLE default\n", data.index(f"SCALARS {stored} ".encode())) + 21
    return np.frombuffer(data, ">f4", 64 * 64, start).reshape(64, 64)


def text(dims=(3, 4, 1), title="made here", kind="BINARY", dataset="STRUCTURED_POINTS", grid=None):
    lines = ["# vtk DataFile Version 3.0", title, kind, f"DATASET {dataset}"]
    lines += grid or [
        f"DIMENSIONS {dims[0]} {dims[1]} {dims[2]}", "ORIGIN 0 1 2", "SPACING 0.5 0.25 1",
    ]  # fmt: skip
    return ("\n".join(lines) + "\n").encode()


def scalars(name, values, kind="float", table=True):
    head = f"SCALARS {name} {kind}\n" + ("LOOKUP_TABLE default\n" if table else "")
    return head.encode() + np.asarray(values).astype(">f4").tobytes() + b"\n"


@pytest.fixture
def real(small_data):
    return small_data / "vtk"


@pytest.mark.parametrize("group", ["bcc", "jz", "w"])
def test_real_files_equal_their_bytes(simulation_data, group):
    path = simulation_data / "formats" / "athenak_vtk" / f"HB3.mhd_{group}.00051.vtk"
    ds = xr.open_dataset(path, engine=VTKBackend)
    assert {v.attrs["source_name"] for v in ds.values()} == set(NAMES[group])
    for variable in ds.values():
        assert variable.dims == ("time", "y", "x")
        assert variable.dtype == np.float32
        assert np.array_equal(variable.values[0], block(path, variable.attrs["source_name"]))
    assert ds["time"].item() == 32.0463
    assert ds["cycle"].item() == 5688
    assert {finding.code for finding in validate(ds)} <= {"missing-boundary"}


def test_equal_to_the_binary_dumps(real, small_data):
    ds = open_paths([str(real)], axes="xzy", boundary={"x": "periodic", "z": "periodic"})
    dumps = xphys.open(small_data / "athenak" / "mri_64_one_rank", chunks=None).isel(time=[0])
    assert list(ds) == ["magnetic_field_x", "magnetic_field_z", "magnetic_field_y", "jz"]
    for name, variable in ds.items():
        assert np.array_equal(variable.values, dumps[name].values)
        assert variable.dims == dumps[name].dims
    for name in ("time", "cycle", "x", "z"):
        assert np.array_equal(ds[name], dumps[name])
    assert ds["x"].attrs["period"] == 1.0
    assert vectors(ds)["magnetic_field"] == {c: f"magnetic_field_{c}" for c in "xyz"}
    assert "given as axes=" in ds.attrs["axes"]
    assert validate(ds) == []
    assert provenance(ds)[0]["source"]["files"] == 2


def test_lazy_and_in_parts(real, monkeypatch):
    seen = []
    original = backend.VTKArray._rows

    def counting(self, first, last):
        seen.append((first, last))
        return original(self, first, last)

    monkeypatch.setattr(backend.VTKArray, "_rows", counting)
    path = real / "HB3.mhd_bcc.00051.vtk"
    ds = xr.open_dataset(path, engine=VTKBackend)
    assert not seen
    got = ds["magnetic_field_y"].isel(time=0, y=slice(10, 4, -2), x=[7, 3]).values
    assert seen == [(6 * 64, 11 * 64)]
    assert np.array_equal(got, block(path, "bcc2")[10:4:-2, [7, 3]])
    again = pickle.loads(pickle.dumps(ds))
    assert np.array_equal(again["magnetic_field_x"].values[0], block(path, "bcc1"))
    assert is_vtk(probe(str(real)))
    assert is_vtk(probe(str(path)))
    assert not is_vtk(probe(str(real.parent)))


def test_time_series(real, tmp_path):
    data = (real / "HB3.mhd_jz.00051.vtk").read_bytes()
    for number, moment in ((3, b" 2.5000"), (10, b" 7.2500")):
        (tmp_path / f"a.{number}.vtk").write_bytes(data.replace(b"32.0463", moment[1:] + b"0"))
    ds = xr.open_dataset(tmp_path, engine=VTKBackend)
    assert ds["time"].values.tolist() == [2.5, 7.25]
    assert ds["jz"].shape == (2, 64, 64)
    given = xr.open_dataset(tmp_path, engine=VTKBackend, times=[1.0, 2.0])
    assert given["time"].values.tolist() == [1.0, 2.0]
    with pytest.raises(SchemaError, match="expected 2 times"):
        xr.open_dataset(tmp_path, engine=VTKBackend, times=[1.0])


def test_points_vectors_tensors_and_fields(tmp_path):
    rng = np.random.default_rng(1)
    p, v, t = rng.random(12), rng.random((12, 3)), rng.random((12, 9))
    body = b"POINT_DATA 12\n" + scalars("p", p) + b"VECTORS v double\n"
    body += v.astype(">f8").tobytes() + b"\nTENSORS t float\n" + t.astype(">f4").tobytes()
    body += b"\nFIELD more 2\nn 1 12 int\n" + np.arange(12, dtype=">i4").tobytes()
    body += b"\nw 2 12 float\n" + np.ones(24, ">f4").tobytes() + b"\n"
    path = tmp_path / "a.vtk"
    path.write_bytes(text() + body)
    ds = xr.open_dataset(path, engine=VTKBackend)
    assert ds["p"].dims == ("y", "x")
    assert ds["x"].values.tolist() == [0.0, 0.5, 1.0]
    assert ds["y"].values.tolist() == [1.0, 1.25, 1.5, 1.75]
    assert np.array_equal(ds["p"], p.astype("f4").reshape(4, 3))
    assert np.array_equal(ds["v_y"], v[:, 1].reshape(4, 3))
    assert ds["v_y"].dtype == np.float64
    assert np.array_equal(ds["t_xz"], t[:, 2].astype("f4").reshape(4, 3))
    assert ds["t_xz"].attrs["component"] == "xz"
    assert ds["n"].dtype == np.int32
    assert ds["n"].values[1].tolist() == [3, 4, 5]
    assert {"w_0", "w_1"} < set(ds)


def test_time_from_field_data_and_three_dims(tmp_path):
    moment = b"FIELD FieldData 2\nTIME 1 1 double\n" + np.array([0.1], ">f8").tobytes()
    moment += b"\nCYCLE 1 1 int\n" + np.array([12], ">i4").tobytes() + b"\n"
    values = np.arange(24.0)
    head, grid = text((4, 5, 3)).split(b"DIMENSIONS")
    body = head + moment + b"DIMENSIONS" + grid + b"CELL_DATA 24\n" + scalars("rho", values)
    path = tmp_path / "a.vtk"
    path.write_bytes(body)
    ds = xr.open_dataset(path, engine=VTKBackend)
    assert ds["density"].dims == ("time", "z", "y", "x")
    assert np.array_equal(ds["density"].values[0], values.reshape(2, 4, 3))
    assert ds["time"].item() == 0.1
    assert ds["cycle"].item() == 12
    assert ds["z"].values.tolist() == [2.5, 3.5]
    got = ds["density"].isel(time=0, z=1, y=slice(None, None, -1), x=2).values
    assert np.array_equal(got, values.reshape(2, 4, 3)[1, ::-1, 2])


def test_text_files(tmp_path):
    path = tmp_path / "a.vtk"
    words = "0.1 1e-3 -2\n3 4 5\n6 7 8 9 10 11\n"
    body = f"POINT_DATA 12\nSCALARS p double 1\nLOOKUP_TABLE default\n{words}SCALARS n int\n"
    body += "LOOKUP_TABLE default\n" + " ".join(map(str, range(12))) + "\n"
    path.write_bytes(text(kind="ASCII") + body.encode())
    ds = xr.open_dataset(path, engine=VTKBackend)
    assert ds["p"].values.ravel().tolist() == [0.1, 1e-3, -2, *range(3, 12)]
    assert ds["n"].dtype == np.int32
    path.write_bytes(text(kind="ASCII") + body.replace("10 11", "x y", 1).encode())
    with pytest.raises(FormatError, match="expected 12 numbers"):
        xr.open_dataset(path, engine=VTKBackend)


def test_cells_and_points(tmp_path):
    path = tmp_path / "a.vtk"
    both = b"CELL_DATA 6\n" + scalars("c", np.arange(6)) + b"POINT_DATA 12\n"
    path.write_bytes(text() + both + scalars("p", np.arange(12)))
    with pytest.raises(FormatError, match="location='cell' or location='point'"):
        xr.open_dataset(path, engine=VTKBackend)
    assert list(xr.open_dataset(path, engine=VTKBackend, location="cell")) == ["c"]
    point = xr.open_dataset(path, engine=VTKBackend, location="point")
    assert point["p"].shape == (4, 3)
    with pytest.raises(SchemaError, match="location must be"):
        xr.open_dataset(path, engine=VTKBackend, location="face")


@pytest.mark.parametrize("axes", ["xy", "xxz", "yxz", "abc"])
def test_axes_that_do_not_fit(real, axes):
    with pytest.raises(SchemaError, match="axes="):
        xr.open_dataset(real / "HB3.mhd_jz.00051.vtk", engine=VTKBackend, axes=axes)


GOOD = b"CELL_DATA 6\n" + scalars("c", np.arange(6))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (text(kind="MIXED") + GOOD, "expected a legacy VTK file"),
        (text(dataset="UNSTRUCTURED_GRID") + GOOD, "STRUCTURED_POINTS"),
        (text(dims=(3, 4, 0)) + GOOD, "positive DIMENSIONS"),
        (text(dims=("nan", 4, 1)) + GOOD, "expected 3 numbers"),
        (text(grid=["DIMENSIONS 3 4 1", "ORIGIN 0 0 0"]) + GOOD, "SPACING"),
        (text(grid=["DIMENSIONS 3 4 1", "ORIGIN 0 0 0", "SPACING 1 -1 1"]) + GOOD, "positive"),
        (text() + b"CELL_DATA 7\n" + scalars("c", np.arange(7)), "expected CELL_DATA 6"),
        (text() + b"CELL_DATA x\n", "expected a number"),
        (text() + GOOD[:-4], "truncated"),
        (text() + scalars("c", np.arange(6)), "after CELL_DATA or"),
        (text() + b"CELL_DATA 6\n" + scalars("c", np.arange(6), "bit"), "expected a type"),
        (text() + b"CELL_DATA 6\n" + scalars("c", np.arange(6), table=False), "LOOKUP_TABLE"),
        (text() + GOOD + scalars("c", np.arange(6)), "every name once"),
        (text() + GOOD + scalars("x", np.arange(6)), "the name 'x' once"),
        (text() + b"CELL_DATA 6\nSCALARS c float 99999999\nLOOKUP_TABLE t\n", "at most 100"),
        (text() + b"CELL_DATA 6\nFIELD f 1\nc 1\n", "expected 4 words"),
        (text() + b"x" * 2000, "expected a line of text"),
        (text((2**40, 2**40, 2**40)) + b"CELL_DATA 6\n", "expected CELL_DATA"),
        (text(), "expected data of cells or of points"),
    ],
)
def test_malformed(tmp_path, data, message):
    path = tmp_path / "a.vtk"
    path.write_bytes(data)
    with pytest.raises(FormatError, match=message) as caught:
        xr.open_dataset(path, engine=VTKBackend)
    assert "\n" not in str(caught.value)


def test_files_that_do_not_belong_together(real, tmp_path):
    for name in ("a", "b"):
        shutil.copy(real / "HB3.mhd_jz.00051.vtk", tmp_path / f"{name}.vtk")
    with pytest.raises(FormatError, match="'jz' of this time is in"):
        xr.open_dataset(tmp_path, engine=VTKBackend)
    data = (tmp_path / "b.vtk").read_bytes()
    (tmp_path / "b.vtk").write_bytes(data.replace(b"ORIGIN -5", b"ORIGIN -4"))
    with pytest.raises(FormatError, match="expected origin"):
        xr.open_dataset(tmp_path, engine=VTKBackend)
    (tmp_path / "b.vtk").write_bytes(data.replace(b"32.0463", b"33.0463").replace(b"S jz", b"S J3"))
    with pytest.raises(FormatError, match=r"expected the variables \['jz'\]"):
        xr.open_dataset(tmp_path, engine=VTKBackend)


def test_damaged_bytes_give_one_kind_of_error(real, tmp_path):
    data = (real / "HB3.mhd_jz.00051.vtk").read_bytes()
    rng = np.random.default_rng(1)
    path = tmp_path / "a.vtk"
    failed = 0
    for _ in range(200):
        changed = bytearray(data[: rng.integers(0, len(data))] if rng.random() < 0.3 else data)
        for place in rng.integers(0, min(400, max(len(changed), 1)), 3):
            if place < len(changed):
                changed[place] = rng.integers(256)
        path.write_bytes(bytes(changed))
        try:
            xr.open_dataset(path, engine=VTKBackend).load()
        except XphysError:
            failed += 1
    assert failed > 100
