"""PDEBench files: output of other codes in its layouts, and made ones for each layout."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr

from xphys.errors import FormatError, SchemaError, XphysError
from xphys.io.readers._probe import probe
from xphys.io.readers.pdebench.backend import PDEBenchBackend, is_pdebench, open_paths
from xphys.schema import axis, validate, vectors

MADE = {
    "burgers_1d": {"trajectory": 2, "time": 11, "x": 64},
    "cfd_3d": {"trajectory": 2, "time": 3, "z": 6, "y": 5, "x": 4},
    "darcy_2d": {"trajectory": 3, "y": 8, "x": 8},
    "diffusion_reaction_2d": {"trajectory": 2, "time": 3, "y": 8, "x": 8},
    "diffusion_sorption_1d": {"trajectory": 2, "time": 5, "x": 16},
    "incompressible_2d": {"trajectory": 2, "time": 3, "y": 4, "x": 6},
    "shallow_water_2d": {"trajectory": 2, "time": 3, "y": 4, "x": 6},
}


def stored(path, name):
    with h5py.File(path, "r") as file:
        return file[name][()]


def values(channel, *, sample=0, step=0, x=0, y=0, z=0):
    """What tests/data/make/pdebench.py puts at a place."""
    found = 1e6 * channel + 1e5 * sample + 1e3 * step + 10.0 * x + y + 0.1 * z
    return np.asarray(found, np.float32)


@pytest.fixture
def made(small_data):
    return lambda name: str(small_data / "pdebench" / f"{name}.hdf5")


@pytest.mark.parametrize("name", MADE)
def test_every_layout_opens_lazily_and_conforms(made, name):
    assert is_pdebench(probe(made(name)))
    ds = xr.open_dataset(made(name), engine=PDEBenchBackend, chunks={})
    assert dict(ds.sizes) == MADE[name]
    order = ("trajectory", "time", "z", "y", "x")
    for variable in ds.data_vars.values():
        assert variable.chunks is not None
        assert variable.dtype == np.float32
        assert list(variable.dims) == [dim for dim in order if dim in variable.dims]
    assert {finding.severity for finding in validate(ds)} <= {"info"}
    assert all("boundary" not in ds[dim].attrs for dim in "xyz" if dim in ds.dims)
    again = pickle.loads(pickle.dumps(ds))
    xr.testing.assert_identical(again.compute(scheduler="threads"), ds.compute())


def test_burgers_of_another_code(made, simulation_data):
    for path in (made("burgers_1d"), str(simulation_data / "formats/pdebench_1d_burgers.hdf5")):
        ds = open_paths([path])
        assert ds["u"].attrs["source_name"] == "tensor"
        tensor, times = stored(path, "tensor"), stored(path, "t-coordinate")
        assert np.array_equal(ds["u"].values, tensor)
        assert np.array_equal(ds["u"][1, 2:9:3, [5, 60]].values, tensor[1, 2:9:3, [5, 60]].T)
        assert np.array_equal(ds["time"].values, times[:-1])
        assert f"{times[-1]:g}, has no step" in ds["time"].attrs["comment"]
        assert np.array_equal(ds["x"].values, stored(path, "x-coordinate"))
        assert (ds["Nu"].item(), ds["Nu"].dims) == (0.01, ())
        assert ds.attrs["producer"] == "exponax 0.2.0"
        assert "axes" not in ds.attrs


def test_compressible_flow_of_another_code(simulation_data):
    path = str(simulation_data / "formats" / "pdebench_2d_cfd.hdf5")
    ds = open_paths([path])
    for name, source in (("density", "density"), ("velocity_x", "Vx"), ("velocity_y", "Vy")):
        assert np.array_equal(ds[name].values, stored(path, source).transpose(0, 1, 3, 2))
    assert np.array_equal(
        ds["pressure"][1, :, 3, 10:20].values, stored(path, "pressure")[1, :, 10:20, 3]
    )
    assert vectors(ds) == {"velocity": {"x": "velocity_x", "y": "velocity_y"}}
    assert ds["d_in"].values.tolist() == [0.125, 0.2]
    assert ds["p_in"].dims == ("trajectory",)
    steps = np.diff(ds["time"].values)
    assert steps.max() > 1.01 * steps.min()  # kept as they are: not uniform
    assert ds.attrs["axes_decided_by"] == "convention of PDEBench"


def test_three_dimensions(made):
    ds = open_paths([made("cfd_3d")])
    for channel, name in enumerate(
        ("density", "pressure", "velocity_x", "velocity_y", "velocity_z")
    ):
        s, t, z, y, x = np.indices((2, 3, 6, 5, 4))
        assert np.array_equal(ds[name].values, values(channel, sample=s, step=t, x=x, y=y, z=z))
    assert {name: ds[name].item() for name in ("eta", "zeta", "M")} == {
        "eta": 1e-8,
        "zeta": 1e-8,
        "M": 1.0,
    }
    with pytest.raises(FormatError, match="in the order 'yx'"):
        open_paths([made("cfd_3d")], axes="yx")


def test_steady_darcy_flow_has_no_time(made):
    ds = open_paths([made("darcy_2d")])
    assert "time" not in ds.variables
    s, y, x = np.indices((3, 8, 8))
    assert np.array_equal(ds["u"].values, values(0, sample=s, x=x, y=y))
    assert np.array_equal(ds["diffusion_coefficient"].values, values(1, sample=s, x=x, y=y))
    assert ds["diffusion_coefficient"].attrs["source_name"] == "nu"
    assert ds["beta"].item() == 0.1


def test_diffusion_reaction_is_stored_as_y_x(made):
    ds = open_paths([made("diffusion_reaction_2d")])
    s, t, y, x = np.indices((2, 3, 8, 8))
    for channel, name in enumerate(("activator", "inhibitor")):
        assert np.array_equal(ds[name].values, values(channel, sample=s, step=t, x=x, y=y))
        assert np.array_equal(ds[name][1, 2, ::2, 5].values, ds[name].values[1, 2, ::2, 5])
        assert ds[name].attrs["source_name"] == f"data[..., {channel}]"
    assert ds.attrs["axes"] == "yx"
    assert "generator writes [y, x]" in ds.attrs["axes_decided_by"]
    assert ds["seed"].values.tolist() == [0, 1]
    assert (ds["Du"].item(), ds["Du"].dims, ds["k"].item()) == (0.001, (), 0.005)
    assert "t" not in ds.coords
    assert ds["source_group"].values.tolist() == ["0000", "0001"]
    assert "xdim: 8" in ds.attrs["config"]
    swapped = open_paths([made("diffusion_reaction_2d")], axes="xy")
    assert np.array_equal(swapped["activator"].values, ds["activator"].values.swapaxes(2, 3))


def test_shallow_water_is_stored_as_x_y(made):
    ds = open_paths([made("shallow_water_2d")])
    t, y, x = np.indices((3, 4, 6))
    for place, seed in enumerate((0, 7)):
        assert np.array_equal(ds["height"][place].values, values(0, sample=seed, step=t, x=x, y=y))
    assert ds["dam_radius"].values.tolist() == [0.31, 0.62]
    assert ds["gravity"].dims == ()
    assert ds.attrs["axes_decided_by"] == "lengths of the coordinates"


def test_one_dimensional_groups(made):
    ds = open_paths([made("diffusion_sorption_1d")])
    s, t, x = np.indices((2, 5, 16))
    assert np.array_equal(ds["concentration"].values, values(0, sample=s, step=t, x=x))
    assert ds["time"].values.tolist() == [0, 125, 250, 375, 500]


def test_incompressible_flow(made, tmp_path):
    ds = open_paths([made("incompressible_2d")])
    s, t, y, x = np.indices((2, 3, 4, 6))
    for channel, name in enumerate(("velocity_x", "velocity_y", "particles")):
        assert np.array_equal(ds[name].values, values(channel, sample=s, step=t, x=x, y=y))
    assert ds["force_y"].dims == ("trajectory", "y", "x")
    assert np.array_equal(ds["force_y"].values, values(4, sample=s, x=x, y=y)[:, 0])
    assert vectors(ds)["force"] == {"x": "force_x", "y": "force_y"}
    assert ds["x"].values.tolist() == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    assert "no positions" in ds["x"].attrs["comment"]
    assert (ds["NU"].item(), ds["seed"].item()) == (0.01, 1)
    assert np.array_equal(ds["time"].values, np.asarray([0, 0.005, 0.01], np.float32))
    path = tmp_path / "stopped.h5"
    shutil.copy(made("incompressible_2d"), path)
    with h5py.File(path, "a") as file:
        file.attrs["latestIndex"] = 1
        file["t"][:, 2] = 0
    ds = open_paths([str(path)])
    assert ds.sizes["time"] == 2
    assert "2 of 3 frames" in ds["time"].attrs["comment"]
    ds.close()
    with h5py.File(path, "a") as file:
        file["t"][1] = [0, 0.006, 0.012]
    ds = open_paths([str(path)])
    assert "units" not in ds["time"].attrs
    assert ds["output_time"].dims == ("trajectory", "time")


def test_further_samples_in_other_files(made, tmp_path):
    for number in (2, 10):
        path = tmp_path / f"s{number}.hdf5"
        shutil.copy(made("burgers_1d"), path)
        with h5py.File(path, "a") as file:
            file.attrs["Nu"] = number / 100
            file["tensor"][...] *= number
    ds = open_paths([str(tmp_path)])
    one = open_paths([made("burgers_1d")])["u"].values
    assert np.array_equal(ds["u"].values, np.concatenate([2 * one, 10 * one]))
    assert ds["Nu"].values.tolist() == [0.02, 0.02, 0.1, 0.1]
    ds.close()
    with h5py.File(tmp_path / "s10.hdf5", "a") as file:
        file["x-coordinate"][0] = -1
    with pytest.raises(FormatError, match="expected arrays, positions and times as in"):
        open_paths([str(tmp_path)])


def test_boundary_only_if_given(made):
    ds = open_paths([made("burgers_1d")], boundary="periodic")
    assert axis(ds, "x").periodic
    assert axis(ds, "x").length == pytest.approx(1)
    ds = open_paths([made("shallow_water_2d")], boundary={"x": "open"})
    assert ds["x"].attrs["boundary"] == "open"
    assert "boundary" not in ds["y"].attrs
    with pytest.raises(SchemaError):
        open_paths([made("burgers_1d")], boundary="torus")
    with pytest.raises(SchemaError):
        open_paths([made("burgers_1d")], boundary={"q": "open"})


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a=1,b=2e-3; a=3,b=4", {"a": [1, 3], "b": [2e-3, 4]}),
        ("a=1; b=2", {}),
        ("a=1", {}),
        ("a=one; a=two", {}),
        ("", {}),
    ],
)
def test_listed_parameters(tmp_path, made, text, wanted):
    path = tmp_path / "p.h5"
    shutil.copy(made("burgers_1d"), path)
    with h5py.File(path, "a") as file:
        file.attrs["parameters"] = text
    ds = open_paths([str(path)])
    assert ds.attrs["parameters"] == text
    found = {n: v.values.tolist() for n, v in ds.coords.items() if v.dims == ("trajectory",)}
    assert found == wanted


def change(path, **arrays):
    with h5py.File(path, "a") as file:
        for name, new in arrays.items():
            name = name.replace("_", "-") if name.endswith("coordinate") else name
            del file[name]
            if new is not None:
                file[name] = new
    return str(path)


@pytest.mark.parametrize(
    ("name", "arrays"),
    [
        ("burgers_1d", {"tensor": np.zeros((2, 11, 12))}),
        ("burgers_1d", {"tensor": np.zeros((2, 5, 64))}),
        ("burgers_1d", {"tensor": np.full((2, 11, 64), b"a")}),
        ("burgers_1d", {"tensor": None}),
        ("burgers_1d", {"t_coordinate": np.zeros((12, 1))}),
        ("burgers_1d", {"x_coordinate": np.zeros((64, 1))}),
        ("cfd_3d", {"Vx": np.zeros((3, 3, 4, 5, 6))}),
        ("cfd_3d", {"Vx": np.zeros((2, 2, 4, 5, 6))}),
        ("cfd_3d", {"y_coordinate": None}),
        ("incompressible_2d", {"t": np.zeros(3)}),
        ("incompressible_2d", {"velocity": np.zeros((2, 3, 6, 4))}),
        ("incompressible_2d", {"force": np.zeros((2, 4, 6, 2))}),
        ("shallow_water_2d", {"0007/grid/x": np.zeros(6)}),
        ("shallow_water_2d", {"0000/grid/t": np.zeros(9)}),
        ("shallow_water_2d", {"0000/data": np.zeros((3, 6, 4))}),
    ],
)
def test_other_layouts_are_refused_in_one_line(made, tmp_path, name, arrays):
    shutil.copy(made(name), tmp_path / "bad.h5")
    with pytest.raises(FormatError) as caught:
        open_paths([change(tmp_path / "bad.h5", **arrays)])
    assert "\n" not in str(caught.value)


def test_a_sample_unlike_the_first_is_noticed_when_it_is_read(made, tmp_path):
    shutil.copy(made("shallow_water_2d"), tmp_path / "bad.h5")
    ds = open_paths([change(tmp_path / "bad.h5", **{"0007/data": np.zeros((2, 6, 4, 1))})])
    assert ds["height"][0].values.shape == (3, 4, 6)
    with pytest.raises(FormatError, match="0007/data"):
        ds["height"].load()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
@pytest.mark.parametrize("name", ["burgers_1d", "diffusion_reaction_2d"])
def test_truncated_files(tmp_path, made, name, share):
    data = Path(made(name)).read_bytes()
    (tmp_path / "cut.h5").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(XphysError):
        open_paths([str(tmp_path / "cut.h5")]).load()


def test_what_is_not_recognised(small_data):
    assert not is_pdebench(probe(str(small_data / "gust" / "rayleigh_benard_64x24.h5")))
    assert not is_pdebench(probe(str(small_data / "py2d" / "1.mat")))
    with pytest.raises(FormatError, match="expected x-coordinate"):
        open_paths([str(small_data / "gust" / "rayleigh_benard_64x24.h5")])
