"""The Well: real and made files against h5py; several files; damaged files."""

from __future__ import annotations

import pickle
import shutil

import h5py
import numpy as np
import pytest
import xarray as xr

from xphys.errors import FormatError, SchemaError, XphysError
from xphys.io.readers._probe import probe
from xphys.io.readers.the_well import TheWellBackend
from xphys.io.readers.the_well.backend import is_the_well, open_paths
from xphys.schema import provenance, validate

REAL = "formats/the_well/data/train/rayleigh_benard_Rayleigh_2e5_Prandtl_1.0.hdf5"
MADE = ("box_3d", "maze", "moving_grid", "rayleigh_benard_cut", "spherical", "tensors")


@pytest.fixture
def made(small_data):
    return small_data / "the_well"


def opened(path, **options):
    return open_paths([str(path)], **options)


def errors(ds):
    return [str(finding) for finding in validate(ds) if finding.severity == "error"]


def check_rayleigh_benard(ds, path):
    """Everything in the file against a reading with h5py."""
    with h5py.File(path) as file:
        n, t = file["t0_fields/buoyancy"].shape[:2]
        assert dict(ds.sizes) == {"trajectory": n, "time": t, "y": 32, "x": 128}
        for name in ("buoyancy", "pressure"):
            values = file["t0_fields"][name][()].transpose(0, 1, 3, 2)
            assert ds[name].dims == ("trajectory", "time", "y", "x")
            assert ds[name].dtype == values.dtype
            np.testing.assert_array_equal(ds[name].values, values)
        for place, component in enumerate("xy"):
            values = file["t1_fields/velocity"][..., place].transpose(0, 1, 3, 2)
            part = ds[f"velocity_{component}"]
            np.testing.assert_array_equal(part.values, values)
            assert (part.attrs["vector"], part.attrs["component"]) == ("velocity", component)
        for dim in ("time", "x", "y"):
            stored = file["dimensions"][dim][()]
            np.testing.assert_array_equal(ds[dim].values, stored)
            assert ds[dim].dtype == stored.dtype
        for name in ("Rayleigh", "Prandtl"):
            assert ds.coords[name].dims == ()
            assert ds[name].item() == file["scalars"][name][()] == file.attrs[name]
    assert ds["x"].attrs["boundary"] == "periodic"
    assert ds["x"].attrs["period"] == 4.0
    assert ds["y"].attrs["boundary"] == "wall"
    assert ds["y"].attrs["spacing"] == "chebyshev"
    assert ds.attrs["dataset_name"] == "rayleigh_benard"
    assert ds.attrs["grid_type"] == "cartesian"
    assert errors(ds) == []


def test_real_file(simulation_data):
    path = simulation_data / REAL
    check_rayleigh_benard(opened(path), path)


def test_real_file_cut(made):
    path = made / "rayleigh_benard_cut.hdf5"
    check_rayleigh_benard(opened(path), path)
    step = provenance(opened(path))[0]
    assert step["parameters"] == {"engine": "the_well"}
    assert step["source"]["name"] == path.name


@pytest.mark.parametrize("name", MADE)
def test_made_files_are_valid_and_lazy(made, name):
    ds = opened(made / f"{name}.hdf5")
    assert errors(ds) == []
    assert not any(variable._in_memory for variable in ds.data_vars.variables.values())
    xr.testing.assert_identical(pickle.loads(pickle.dumps(ds)).load(), ds.load())
    engine = xr.open_dataset(made / f"{name}.hdf5", engine=TheWellBackend)
    xr.testing.assert_identical(engine.load(), ds)


def test_partial_reads(made):
    path = made / "tensors.hdf5"
    with h5py.File(path) as file:
        values = file["t2_fields/D"][..., 0, 1].transpose(0, 1, 3, 2)
    part = opened(path)["D_xy"].isel(trajectory=1, time=[2, 0], y=slice(1, None, 2), x=3)
    np.testing.assert_array_equal(part.values, values[1][[2, 0]][:, 1::2, 3])


def test_tensors(made):
    path = made / "tensors.hdf5"
    ds = opened(path)
    with h5py.File(path) as file:
        D, E = file["t2_fields/D"][()], file["t2_fields/E"][()]
    for i, first in enumerate("xy"):
        for j, second in enumerate("xy"):
            part = ds[f"D_{first}{second}"]
            np.testing.assert_array_equal(part.values, D[..., i, j].transpose(0, 1, 3, 2))
            assert part.attrs["vector"] == "D"
            assert part.attrs["component"] == first + second
            assert part.attrs["symmetric"] is True
            assert part.attrs["antisymmetric"] is False
            other = ds[f"E_{first}{second}"]
            assert other.dims == ("time", "y", "x")
            np.testing.assert_array_equal(other.values, E[..., 2 * i + j].transpose(0, 2, 1))


def test_scalars_vary_along_trajectory_and_time(made):
    ds = opened(made / "tensors.hdf5")
    assert ds.coords["alpha"].dims == ("trajectory",)
    assert ds.coords["dose"].dims == ("time",)
    assert ds.coords["forcing"].dims == ("trajectory", "time")
    np.testing.assert_array_equal(ds["alpha"].values, [-1, -3])
    np.testing.assert_array_equal(ds["forcing"].values, np.arange(6).reshape(2, 3))
    assert ds.coords["zeta"].dims == ()
    assert ds["zeta"].item() == 17


def test_parameters_keep_the_precision_of_the_root(made):
    ds = opened(made / "box_3d.hdf5")
    assert ds["Ma"].item() == 0.7  # the scalar beside it is 0.7 in single precision
    assert ds["Ma"].dtype == np.float64
    assert opened(made / "tensors.hdf5")["L"].dtype == np.float32


def test_static_fields_and_axes_that_do_not_vary(made):
    path = made / "maze.hdf5"
    ds = opened(path)
    dims = {name: ds[name].dims for name in ds.data_vars}
    assert dims == {
        "pressure": ("trajectory", "time", "y", "x"),
        "density": ("trajectory", "y", "x"),
        "speed_of_sound": ("y", "x"),
        "depth": ("y",),
        "slope": ("trajectory", "x"),
        "gravity_x": (),
        "gravity_y": (),
    }
    with h5py.File(path) as file:
        fields = file["t0_fields"]
        np.testing.assert_array_equal(ds["density"], fields["density"][()].transpose(0, 2, 1))
        np.testing.assert_array_equal(ds["speed_of_sound"], fields["speed_of_sound"][()].T)
        np.testing.assert_array_equal(ds["depth"], fields["depth"][()])
        np.testing.assert_array_equal(ds["slope"], fields["slope"][..., 0])
        time = file["dimensions/time"][()]
    assert (ds["gravity_x"].item(), ds["gravity_y"].item()) == (0, -1)
    assert ds["time"].dims == ("trajectory", "time")
    np.testing.assert_array_equal(ds["time"].values, time)


def test_boundary_conditions_inside_the_box(made):
    path = made / "maze.hdf5"
    ds = opened(path)
    with h5py.File(path) as file:
        walls = file["boundary_conditions/xy_wall/mask"][()]
    mask = ds.coords["boundary_xy_wall"]
    assert mask.dims == ("trajectory", "y", "x")
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask.values, walls.transpose(0, 2, 1))
    assert mask.attrs["bc_type"] == "WALL"
    assert ds["boundary_x_pressure"].attrs["associated_fields"] == "pressure"
    np.testing.assert_array_equal(ds["boundary_x_pressure_values"], [1.5, -2.5])
    assert ds["x"].attrs["boundary"] == "open"  # the walls for pressure are not for all
    ends = {key: ds["y"].attrs[key] for key in ("boundary", "boundary_lower", "boundary_upper")}
    assert ends == {"boundary": "open", "boundary_lower": "wall", "boundary_upper": "open"}


def test_three_dimensions(made):
    path = made / "box_3d.hdf5"
    ds = opened(path)
    with h5py.File(path) as file:
        stress = file["t2_fields/stress"][..., 2, 0]
        magnetic = file["t1_fields/magnetic_field"][..., 1]
        flow = file["t1_fields/mean_flow"][()]
        faces = file["boundary_conditions/xy_open/mask"][()]
    assert ds["stress_zx"].dims == ("trajectory", "time", "z", "y", "x")
    np.testing.assert_array_equal(ds["stress_zx"].values, stress.transpose(0, 1, 4, 3, 2))
    np.testing.assert_array_equal(ds["magnetic_field_y"].values, magnetic.transpose(0, 1, 4, 3, 2))
    assert ds["mean_flow_z"].dims == ("z",)
    np.testing.assert_array_equal(ds["mean_flow_z"].values, flow[:, 2])
    assert [ds[dim].attrs["boundary"] for dim in "xyz"] == ["open", "open", "wall"]
    np.testing.assert_array_equal(ds["boundary_xy_open"].values, faces.T)


def test_curved_grids_keep_the_names_of_their_axes(made):
    path = made / "spherical.hdf5"
    ds = opened(path)
    assert ds["velocity_log_r"].dims == ("trajectory", "time", "log_r", "theta", "phi")
    assert ds.attrs["grid_type"] == "spherical"
    assert ds["phi"].attrs["boundary"] == "periodic"
    assert ds["phi"].attrs["period"] == pytest.approx(2 * np.pi, rel=1e-6)
    assert ds["velocity_phi"].attrs["component"] == "phi"
    with h5py.File(path) as file:
        np.testing.assert_array_equal(ds["velocity_theta"], file["t1_fields/velocity"][..., 1])


def test_axes_renames(made):
    path = made / "sphere.h5"
    ds = opened(path, axes={"theta": "y", "phi": "x"})
    assert ds["velocity_y"].dims == ("trajectory", "time", "y", "x")
    assert ds["y"].attrs["source_name"] == "theta"
    assert ds["velocity_x"].attrs["component"] == "x"
    assert (ds["y"].diff("y") < 0).all()
    with h5py.File(path) as file:
        np.testing.assert_array_equal(ds["velocity_x"], file["t1_fields/velocity"][..., 1])
    with pytest.raises(SchemaError, match="axes names 'r'"):
        opened(path, axes={"r": "z"})
    with pytest.raises(FormatError, match="two axes would be called 'x'"):
        opened(path, axes={"theta": "x", "phi": "x"})


def test_positions_of_each_time_and_trajectory(made):
    path = made / "moving_grid.hdf5"
    ds = opened(path)
    assert ds["x"].dims == ("time", "x")
    assert ds["y"].dims == ("trajectory", "y")
    with h5py.File(path) as file:
        np.testing.assert_array_equal(ds["x"].values, file["dimensions/x"][()])
        np.testing.assert_array_equal(ds["y"].values, file["dimensions/y"][()])
    alone = ds.isel(trajectory=0, time=1)
    assert set(alone.indexes) == {"x", "y"} or alone["x"].dims == ("x",)


def test_several_files_are_joined(made):
    folder = made / "several"
    ds = opened(folder, split="train")
    assert dict(ds.sizes) == {"trajectory": 3, "time": 3, "y": 3, "x": 4}
    np.testing.assert_array_equal(ds["viscosity"].values, [0.1, 0.1, 0.01])  # exactly
    assert ds["length"].dims == ()
    np.testing.assert_array_equal(ds["file"].values, [0, 0, 1])
    assert ds["file"].attrs["names"] == ["shear_flow_nu_1e-1.hdf5", "shear_flow_nu_1e-2.hdf5"]
    assert ds["time"].dims == ("trajectory", "time")  # each file has its own
    assert ds["bottom"].dims == ("trajectory", "y", "x")
    tracer, bottom = [], []
    for path in sorted((folder / "data" / "train").iterdir()):
        with h5py.File(path) as file:
            n = file.attrs["n_trajectories"]
            tracer.append(file["t0_fields/tracer"][()])
            bottom += [file["t0_fields/bottom"][()]] * n
    np.testing.assert_array_equal(ds["tracer"], np.concatenate(tracer).transpose(0, 1, 3, 2))
    np.testing.assert_array_equal(ds["bottom"], np.stack(bottom).transpose(0, 2, 1))
    np.testing.assert_array_equal(
        ds["bottom"].isel(trajectory=[2, 0], x=1).values, np.stack(bottom)[[2, 0], 1]
    )
    assert errors(ds) == []
    assert len(pickle.dumps(ds)) < 100_000
    xr.testing.assert_identical(pickle.loads(pickle.dumps(ds)).load(), ds.load())


def test_splits(made, tmp_path):
    folder = made / "several"
    with pytest.raises(FormatError, match=r"found the splits train, valid: choose one, split="):
        opened(folder)
    valid = opened(folder / "data", split="valid")
    assert valid.sizes["trajectory"] == 1
    xr.testing.assert_equal(opened(folder / "data" / "valid").load(), valid.load())
    assert opened(folder / "data" / "train" / "*.hdf5").sizes["trajectory"] == 3
    with pytest.raises(FormatError, match="in the split 'test', found none"):
        opened(folder, split="test")
    with pytest.raises(FormatError, match="in the split 'train', found none"):
        opened(folder / "data" / "valid", split="train")
    with pytest.raises(FormatError, match="found none"):
        opened(tmp_path)


def test_files_that_do_not_fit_together(made, tmp_path):
    for name in ("tensors", "maze"):
        shutil.copy(made / f"{name}.hdf5", tmp_path)
    with pytest.raises(FormatError, match=r"expected the data set .* open the files one by one"):
        opened(tmp_path)
    source = made / "several" / "data" / "train"
    for name, change, message in (
        ("boundary", lambda f: _type(f, "WALL"), "expected the boundary"),
        ("field", lambda f: f["t0_fields"].__delitem__("tracer"), "lists 'tracer'"),
        ("fields", lambda f: _rename(f), "is in one of the two only"),
        ("dtype", lambda f: _double(f), "is float64 on"),
    ):
        folder = tmp_path / name
        shutil.copytree(source, folder)
        with h5py.File(sorted(folder.iterdir())[1], "r+") as file:
            change(file)
        with pytest.raises(FormatError, match=message):
            opened(folder)


def _type(file, kind):
    file["boundary_conditions/x_periodic"].attrs["bc_type"] = kind


def _rename(file):
    file["t0_fields"].move("tracer", "dye")
    file["t0_fields"].attrs["field_names"] = ["dye", "bottom"]


def _double(file):
    attrs, values = dict(file["t0_fields/tracer"].attrs), file["t0_fields/tracer"][()]
    del file["t0_fields/tracer"]
    file["t0_fields"].create_dataset("tracer", data=values.astype("f8")).attrs.update(attrs)


def test_recognised_by_content(made, small_data, tmp_path):
    assert is_the_well(probe(str(made / "tensors.hdf5")))
    assert is_the_well(probe(str(made / "several")))
    assert not is_the_well(probe(str(small_data / "athenak")))
    other = tmp_path / "other.hdf5"
    with h5py.File(other, "w") as file:
        file.create_group("fields")
    assert not is_the_well(probe(str(other)))
    with pytest.raises(FormatError, match="not laid out as The Well"):
        opened(other)


def set_attr(path, key, value):
    def change(file):
        file[path].attrs[key] = value

    return change


def replace(path, values):
    def change(file):
        attrs = dict(file[path].attrs)
        del file[path]
        file.create_dataset(path, data=values).attrs.update(attrs)

    return change


def huge(path, shape):
    def change(file):
        attrs = dict(file[path].attrs)
        del file[path]
        file.create_dataset(path, shape, "f4", chunks=True).attrs.update(attrs)

    return change


def linked(path, link):
    def change(file):
        del file[path]
        file[path] = link

    return change


CHANGES = {
    "no count": lambda f: f.attrs.__delitem__("n_trajectories"),
    "count is text": set_attr("/", "n_trajectories", "two"),
    "count is wrong": set_attr("/", "n_trajectories", 7),
    "count is huge": set_attr("/", "n_trajectories", 2**62),
    "count is negative": set_attr("/", "n_trajectories", -1),
    "rank is wrong": set_attr("/", "n_spatial_dims", 3),
    "no axes": lambda f: f["dimensions"].attrs.__delitem__("spatial_dims"),
    "axes are numbers": set_attr("dimensions", "spatial_dims", [1, 2]),
    "an axis is missing": set_attr("dimensions", "spatial_dims", ["x", "q"]),
    "an axis twice": set_attr("dimensions", "spatial_dims", ["x", "x"]),
    "an axis is called time": set_attr("dimensions", "spatial_dims", ["x", "time"]),
    "no dimensions": lambda f: f.__delitem__("dimensions"),
    "dimensions is no group": replace("dimensions", [1.0]),
    "no fields": lambda f: f.__delitem__("t1_fields"),
    "time is one value": replace("dimensions/time", 1.0),
    "time is text": replace("dimensions/time", np.array([b"a", b"b", b"c"])),
    "x is too long": replace("dimensions/x", np.arange(7.0)),
    "x is huge": huge("dimensions/x", (2**40,)),
    "a field is huge": huge("t0_fields/concentration", (2, 3, 6, 2**40)),
    "a field has another shape": replace("t0_fields/concentration", np.zeros((2, 3, 4, 6))),
    "a field is text": replace("t0_fields/concentration", np.zeros((2, 3, 6, 4), "S3")),
    "a field is a group": lambda f: (
        f["t0_fields"].__delitem__("concentration"),
        f["t0_fields"].create_group("concentration"),
    ),
    "a vector of three": replace("t1_fields/velocity", np.zeros((2, 3, 6, 4, 3))),
    "flag is text": set_attr("t0_fields/concentration", "time_varying", "yes"),
    "flag is wrong": set_attr("t0_fields/concentration", "sample_varying", False),
    "too many flags": set_attr("t0_fields/concentration", "dim_varying", [True] * 3),
    "flags are text": set_attr("t0_fields/concentration", "dim_varying", ["a", "b"]),
    "a scalar has two": replace("scalars/zeta", [1.0, 2.0]),
    "a scalar is text": replace("scalars/zeta", b"seventeen"),
    "no kind of boundary": lambda f: f["boundary_conditions/x_periodic"].attrs.__delitem__(
        "bc_type"
    ),
    "boundary on no axis": set_attr("boundary_conditions/x_periodic", "associated_dims", ["q"]),
    "mask is too long": replace("boundary_conditions/x_periodic/mask", np.zeros(9, bool)),
    "no mask": lambda f: f["boundary_conditions/x_periodic"].__delitem__("mask"),
    "components are no JSON": set_attr("t1_fields/velocity", "xphys_components", "{"),
    "components are a list": set_attr("t1_fields/velocity", "xphys_components", "[1]"),
    "components are deep": set_attr("t1_fields/velocity", "xphys_components", "[" * 50_000),
    "two of a name": lambda f: f.copy("t0_fields/concentration", "t0_fields/velocity_x"),
    "link to another file": linked("t0_fields/concentration", h5py.ExternalLink("a.h5", "/b")),
    "group in another file": linked("t0_fields", h5py.ExternalLink("a.h5", "/b")),
    "link to nowhere": linked("dimensions/x", h5py.SoftLink("/nowhere")),
}


@pytest.mark.parametrize("name", CHANGES)
def test_damaged_layouts(made, tmp_path, name):
    path = tmp_path / "damaged.hdf5"
    shutil.copy(made / "tensors.hdf5", path)
    with h5py.File(path, "r+", libver="latest") as file:
        CHANGES[name](file)
    with pytest.raises(FormatError) as caught:
        opened(path).load()
    assert "\n" not in str(caught.value)


def test_damaged_bytes(made, tmp_path):
    data = (made / "maze.hdf5").read_bytes()
    # HDF5 2.0 itself may not come back from a damaged heap of strings: it is left alone here
    heap = data.index(b"GCOL")
    heap_end = heap + int.from_bytes(data[heap + 8 : heap + 16], "little")
    whole = opened(made / "maze.hdf5").load()
    rng = np.random.default_rng(1)
    seen = set()
    for number in range(60):
        changed = bytearray(data)
        if number % 4 == 0:
            del changed[int(rng.integers(len(data))) :]
        else:
            for place in rng.integers(heap_end, len(data), size=1 + number % 5):
                changed[place] ^= 1 << int(rng.integers(8))
        path = tmp_path / f"{number}.hdf5"
        path.write_bytes(changed)
        try:
            seen.add(dict(opened(path).load().sizes) == dict(whole.sizes))
        except XphysError as error:
            seen.add(type(error).__name__)
    assert "FormatError" in seen
