"""Athena++ reader, on files written by tests/data/make/athdf.py from the documented layout."""

from __future__ import annotations

import importlib.util
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr

from xphys.errors import FormatError, SchemaError, XphysError
from xphys.io.readers._hdf5 import HDF5Array
from xphys.io.readers._probe import probe
from xphys.io.readers.athdf.backend import AthdfBackend, is_athdf, open_paths, open_tree
from xphys.schema import provenance, validate, vectors

_SCRIPT = Path(__file__).parent.parent / "data" / "make" / "athdf.py"
_SPEC = importlib.util.spec_from_file_location("make_athdf", _SCRIPT)
make = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(make)

ONE = (("hydro", ("rho",)),)


def blocks(path, dataset, number):
    """Values, level and place of each block, read by h5py alone."""
    with h5py.File(path, "r") as file:
        return file[dataset][number], file["Levels"][()], file["LogicalLocations"][()]


def painted(path, dataset, number, finest, root=(8, 8)):
    """A plane at the finest level, block by block, each cell repeated."""
    values, levels, places = blocks(path, dataset, number)
    out = np.full([n * 2**finest for n in root], np.nan, values.dtype.newbyteorder("="))
    for value, level, (lx1, lx2, _) in zip(values, levels, places, strict=True):
        times = 2 ** (finest - level)
        cells = np.repeat(np.repeat(value[0], times, 0), times, 1)
        n2, n1 = cells.shape
        out[lx2 * n2 : (lx2 + 1) * n2, lx1 * n1 : (lx1 + 1) * n1] = cells
    return out


@pytest.fixture
def smr(small_data):
    return small_data / "athdf" / "smr"


def test_stored_files_are_those_of_the_script(small_data, tmp_path):
    make.main(tmp_path)
    for path in sorted((small_data / "athdf").rglob("*.athdf")):
        again = tmp_path / path.relative_to(small_data / "athdf")
        with h5py.File(path) as a, h5py.File(again, locking=False) as b:
            assert {*a} == {*b}
            assert {*a.attrs} == {*b.attrs}
            for name in a:
                assert np.allclose(a[name][()], b[name][()], rtol=1e-6)


def test_levels_on_the_finest_grid(smr):
    ds = xr.open_dataset(smr, engine=AthdfBackend)
    assert dict(ds.sizes) == {"time": 2, "y": 32, "x": 32}
    files = sorted(smr.glob("*.athdf"))
    stored = [("prim", i, n) for i, n in enumerate(make.PRIM)]
    stored += [("B", i, n) for i, n in enumerate(make.MAGNETIC)]
    by_name = {v.attrs["source_name"]: v for v in ds.data_vars.values()}
    assert set(by_name) == {name for _, _, name in stored}
    for dataset, number, name in stored:
        assert by_name[name].dtype == np.float32
        for step, path in enumerate(files):
            wanted = painted(path, dataset, number, 2)
            assert np.array_equal(by_name[name].values[step], wanted)
    levels = np.zeros((32, 32), np.int8)
    levels[:16, 16:] = 1
    levels[8:16, 24:] = 2
    assert np.array_equal(ds["level"], levels)
    assert ds["level"].dims == ("y", "x")
    assert np.array_equal(ds["x"], (np.arange(32) + 0.5) / 32)
    assert np.array_equal(ds["y"], (np.arange(32) + 0.5) / 16)
    assert ds["time"].values.tolist() == [0.0, 0.1]
    assert ds["cycle"].values.tolist() == [0, 7]


def test_names_vectors_and_provenance(smr):
    ds = xr.open_dataset(smr, engine=AthdfBackend, boundary={"x": "periodic", "y": "wall"})
    assert vectors(ds) == {
        "velocity": {c: f"velocity_{c}" for c in "xyz"},
        "magnetic_field": {c: f"magnetic_field_{c}" for c in "xyz"},
    }
    assert {"density", "pressure"} < set(ds)
    assert ds["density"].attrs["source_group"] == "prim"
    assert ds["x"].attrs["period"] == 1.0
    assert ds["y"].attrs["boundary"] == "wall"
    assert validate(ds) == []
    (step,) = provenance(ds)
    assert step["source"]["files"] == 2
    assert ds.attrs["coordinate_system"] == "cartesian"
    vertical = xr.open_dataset(smr, engine=AthdfBackend, axes="xzy")
    assert vertical["velocity_z"].attrs["source_name"] == "vel2"
    assert vertical["velocity_z"].dims == ("time", "z", "x")
    with pytest.raises(SchemaError, match="expected \\(z, y, x\\)"):
        xr.open_dataset(smr, engine=AthdfBackend, axes="yxz")


def test_coarser_grids_are_volume_averages(smr):
    fine = xr.open_dataset(smr, engine=AthdfBackend)["density"].values.astype(np.float64)
    for level, times in ((1, 2), (0, 4)):
        ds = xr.open_dataset(smr, engine=AthdfBackend, level=level)
        n = 32 // times
        wanted = fine.reshape(2, n, times, n, times).mean((2, 4))
        assert np.allclose(ds["density"], wanted, rtol=2e-7)
    for level in (3, -1, 0.5, True):
        with pytest.raises(SchemaError, match="level"):
            xr.open_dataset(smr, engine=AthdfBackend, level=level)


def test_tree_has_every_stored_cell_once(smr):
    tree = open_tree([str(smr)])
    assert sorted(tree.children) == ["level_0", "level_1", "level_2"]
    values, levels, _ = blocks(sorted(smr.glob("*"))[1], "prim", 0)
    for level in range(3):
        node = tree[f"level_{level}"]
        covered = node["covered"].values
        inside = node["density"].values[1][covered]
        assert np.array_equal(np.sort(inside), np.sort(values[levels == level].ravel()))
        assert np.isnan(node["density"].values[1][~covered]).all()
        assert not [f for f in validate(node.to_dataset()) if f.severity == "error"]
    assert tree["level_2"]["x"].attrs["boundary"] == "open"
    with pytest.raises(SchemaError, match="drop one"):
        open_tree([str(smr)], level=1)


def test_blocks_that_come_and_go(small_data):
    folder = small_data / "athdf" / "amr"
    ds = xr.open_dataset(folder, engine=AthdfBackend)
    assert ds["level"].dims == ("time", "y", "x")
    for step, path in enumerate(sorted(folder.glob("*"))):
        assert np.array_equal(ds["density"].values[step], painted(path, "hydro", 0, 1))
    assert ds["level"].values.max(axis=(1, 2)).tolist() == [0, 1]
    tree = open_tree([str(folder)])
    assert tree["level_1"]["covered"].dims == ("time", "y", "x")
    assert not tree["level_1"]["covered"].values[0].any()


def test_spherical_and_uneven_axes_as_stored(small_data):
    path = small_data / "athdf" / "spherical" / "Wind.prim.00000.athdf"
    ds = open_paths([str(path)])
    assert ds["density"].dims == ("time", "phi", "theta", "r")
    with h5py.File(path) as file:
        assert np.array_equal(ds["r"], file["x1v"][()].ravel())
        assert np.array_equal(ds["r_bounds"].values[:4, 0], file["x1f"][0, :4])
        assert np.array_equal(ds["r_bounds"].values[4:, 1], file["x1f"][1, 1:])
        for name, number in (("density", 0), ("velocity_theta", 2)):
            both = file["prim"][number]
            assert np.array_equal(ds[name].values[0], np.concatenate([both[0], both[1]], axis=-1))
    assert ds["r"].attrs["spacing"] == "nonuniform"
    assert ds["theta"].attrs["spacing"] == "uniform"
    assert ds["velocity_r"].attrs["component"] == "r"
    assert "not Cartesian" in ds.attrs["axes"]
    assert not [f for f in validate(ds) if f.severity == "error"]
    with pytest.raises(SchemaError, match="leave it out"):
        open_paths([str(path)], axes="xyz")


@pytest.mark.parametrize("what", ["spherical_polar", "ratio"])
def test_levels_of_uneven_grids_stay_apart(tmp_path, what):
    system = "cartesian" if what == "ratio" else what
    ratio = 1.1 if what == "ratio" else 1.0
    bounds = ((1.0, 2.0, ratio), (0.0, 1.0, 1.0), (0.0, 1.0, 1.0))
    path = tmp_path / "a.athdf"
    make.write(
        path, (8, 8, 1), (4, 4, 1), make.LEFT, bounds=bounds, coordinates=system, datasets=ONE
    )
    with pytest.raises(FormatError, match="levels='tree'"):
        open_paths([str(path)])
    tree = open_tree([str(path)])
    first = {"ratio": "x", "spherical_polar": "r"}[what]
    with h5py.File(path) as file:
        stored = np.concatenate([file["x1v"][0], file["x1v"][1]])
    assert np.array_equal(tree["level_1"][first], stored)


def test_ghost_cells_are_left_out(tmp_path):
    plain, ghosts = tmp_path / "a.athdf", tmp_path / "b.athdf"
    make.write(plain, (8, 8, 1), (4, 4, 1), make.LEFT, datasets=ONE)
    make.write(ghosts, (8, 8, 1), (4, 4, 1), make.LEFT, datasets=ONE, ghosts=2)
    a, b = (open_paths([str(path)]) for path in (plain, ghosts))
    assert np.array_equal(a["density"], b["density"])
    assert np.array_equal(a["x"], b["x"])
    coarse = open_paths([str(ghosts)], level=0)
    assert np.array_equal(coarse["density"], open_paths([str(plain)], level=0)["density"])


def test_slice_of_a_volume(tmp_path):
    path = tmp_path / "a.athdf"
    cube = [((i, j, 1), 0) for j in range(2) for i in range(2)]
    make.write(path, (8, 8, 8), (4, 4, 4), cube, datasets=ONE, plane=(2, 1))
    ds = open_paths([str(path)])
    assert ds["density"].dims == ("time", "y", "x")
    assert ds["z"].ndim == 0
    assert ds["z"].item() == pytest.approx((5 + 0.5) / 8)
    assert np.array_equal(ds["density"].values[0], painted(path, "hydro", 0, 0))


def test_volume_in_double_precision(tmp_path):
    path = tmp_path / "a.athdf"
    cube = [((i, j, k), 0) for k in range(2) for j in range(2) for i in range(2)]
    make.write(path, (8, 8, 4), (4, 4, 2), cube, datasets=ONE, dtype=">f8", time=0.3)
    ds = open_paths([str(path)])
    z, y, x = np.meshgrid(ds["z"], ds["y"], ds["x"], indexing="ij")
    assert ds["density"].dtype == np.float64
    assert np.allclose(ds["density"].values[0], make.field(0, x, y, z, 0.3), rtol=1e-14)


def test_lazy_in_parts_and_pickled(smr, monkeypatch):
    seen = []
    original = HDF5Array._fill

    def counting(self, wanted, out):
        if self.name in ("prim", "B"):
            seen.append(out.size)
        original(self, wanted, out)

    monkeypatch.setattr(HDF5Array, "_fill", counting)
    ds = xr.open_dataset(smr, engine=AthdfBackend)
    assert not seen
    got = ds["velocity_y"].isel(time=1, y=slice(17, 3, -2), x=[30, 2, 17]).values
    assert seen
    assert max(seen) <= 16
    whole = painted(sorted(smr.glob("*"))[1], "prim", 3, 2)
    assert np.array_equal(got, whole[17:3:-2, [30, 2, 17]])
    again = pickle.loads(pickle.dumps(ds))
    assert np.array_equal(again["velocity_y"].values[1], whole)
    assert np.array_equal(ds.chunk(time=1)["velocity_y"].compute().values[1], whole)


def test_recognised_by_content(smr, small_data):
    assert is_athdf(probe(str(smr)))
    assert is_athdf(probe(str(smr / "Blast.prim.00000.athdf")))
    for other in (".", "dedalus/snapshots", "dedalus/snapshots/snapshots_s1.h5", "vtk", "athenak"):
        assert not is_athdf(probe(str(small_data / other)))


def test_drop_variables(smr):
    ds = xr.open_dataset(smr, engine=AthdfBackend, drop_variables=["density"])
    assert "density" not in ds
    tree = open_tree([str(smr)], drop_variables="density")
    assert "density" not in tree["level_0"].to_dataset()


def change(file, what):
    if what == "attribute":
        del file.attrs["RootGridSize"]
    elif what == "names":
        file.attrs["VariableNames"] = np.array(["rho"] * 8, "S21")
    elif what == "counts":
        file.attrs["NumVariables"] = np.array([5, 2**31 - 1], ">i4")
    elif what == "missing":
        del file["B"]
    elif what == "levels":
        file["Levels"][0] = 99
    elif what == "place":
        file["LogicalLocations"][0] = (5, 0, 0)
    elif what == "twice":
        file["LogicalLocations"][1] = file["LogicalLocations"][2]
    elif what == "blocks":
        file.attrs["NumMeshBlocks"] = np.array(3, ">i4")
    elif what == "time":
        file.attrs["Time"] = np.nan
    elif what == "bounds":
        file.attrs["RootGridX2"] = np.array([1.0, 0.0, 1.0])
    elif what == "size":
        file.attrs["MeshBlockSize"] = np.array([2**30, 4, 1], ">i4")
    elif what == "faces":
        file["x1f"][...] = np.inf
    elif what == "link":
        del file["B"]
        file["B"] = h5py.ExternalLink("other.h5", "/B")


@pytest.mark.parametrize(
    "what",
    [
        "attribute", "names", "counts", "missing", "levels", "place", "twice", "blocks", "time",
        "bounds", "size", "faces", "link",
    ],
)  # fmt: skip
def test_malformed(smr, tmp_path, what):
    path = tmp_path / "a.athdf"
    path.write_bytes((smr / "Blast.prim.00000.athdf").read_bytes())
    with h5py.File(path, "r+") as file:
        change(file, what)
    with pytest.raises(FormatError) as caught:
        xr.open_dataset(path, engine=AthdfBackend)
    assert "\n" not in str(caught.value)


def test_files_that_do_not_belong_together(smr, tmp_path):
    first = smr / "Blast.prim.00000.athdf"
    same = tmp_path / "a.athdf"
    same.write_bytes(first.read_bytes())
    with pytest.raises(FormatError, match="expected another time than 0"):
        xr.open_dataset([first, same], engine=AthdfBackend)
    make.write(same, (8, 8, 1), (4, 4, 1), make.STATIC, time=1.0, datasets=ONE)
    with pytest.raises(FormatError, match="open one output of the run"):
        xr.open_dataset([first, same], engine=AthdfBackend)
    make.write(same, (8, 4, 1), (4, 4, 1), make.COARSE[:2], time=1.0)
    with pytest.raises(FormatError, match="files of several runs are mixed"):
        xr.open_dataset([first, same], engine=AthdfBackend)


@pytest.mark.parametrize("length", [0, 96, 2000, 9000, 14_000])
def test_truncated(smr, tmp_path, length):
    path = tmp_path / "a.athdf"
    path.write_bytes((smr / "Blast.prim.00000.athdf").read_bytes()[:length])
    with pytest.raises(XphysError):
        xr.open_dataset(path, engine=AthdfBackend).load()
