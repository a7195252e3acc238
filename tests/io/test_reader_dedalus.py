"""Dedalus reader: real sets, sets of parallel runs, and what it refuses."""

from __future__ import annotations

import pickle
import shutil

import h5py
import numpy as np
import pytest
import xarray as xr

from xphys.errors import FormatError, SchemaError, UnknownNameError, XphysError
from xphys.io.readers._hdf5 import HDF5Array
from xphys.io.readers._probe import probe
from xphys.io.readers.dedalus.backend import DedalusBackend, is_dedalus, open_paths
from xphys.schema import provenance, validate, vectors

ENDLESS = slice(h5py.h5s.UNLIMITED)


def stored(folder, task):
    """All writes of a task, read by h5py alone."""
    parts = []
    for number in (1, 2):
        with h5py.File(folder / f"snapshots_s{number}.h5", "r") as file:
            parts.append(file["tasks"][task][()])
    return np.concatenate(parts)


def scale(folder, name):
    parts = []
    for number in (1, 2):
        with h5py.File(folder / f"snapshots_s{number}.h5", "r") as file:
            parts.append(file["scales"][name][()])
    return np.concatenate(parts)


@pytest.fixture
def sets(small_data):
    return small_data / "dedalus" / "snapshots"


@pytest.fixture
def copied(sets, tmp_path):
    """The same, where it can be changed."""
    folder = tmp_path / "run" / "snapshots"
    shutil.copytree(sets, folder)
    return folder


@pytest.fixture
def reads(monkeypatch):
    """Names of the fields that are read."""
    seen = []
    original = HDF5Array._fill

    def counting(self, wanted, out):
        seen.append(self.name)
        original(self, wanted, out)

    monkeypatch.setattr(HDF5Array, "_fill", counting)
    return seen


def write_set(path, number, times, tasks, *, handler="scalars", positions=None, coefficients=()):
    """A set as Dedalus 3 lays it out; tasks: name -> (labels of the space axes, values)."""
    positions = positions or {}
    with h5py.File(path, "w") as file:
        file.attrs.update(handler_name=handler, set_number=number, writes=len(times))
        scales, group = file.create_group("scales"), file.create_group("tasks")
        for name in ("sim_time", "wall_time", "timestep", "iteration", "write_number"):
            whole = name in ("iteration", "write_number")
            values = np.arange(len(times)) + 10 * number if whole else np.asarray(times, float)
            scales[name] = values
            scales[name].make_scale(name)
        scales["constant"] = np.zeros(1)
        scales["constant"].make_scale("constant")
        for label, values in positions.items():
            scales[f"{label}_hash_0"] = values
            scales[f"{label}_hash_0"].make_scale(label.partition("@")[0])
        for name, (labels, values) in tasks.items():
            new = group.create_dataset(name, data=values)
            first = values.ndim - len(labels)
            new.attrs["grid_space"] = np.full(len(labels), name not in coefficients)
            new.attrs["constant"] = np.array([label == "constant" for label in labels])
            new.attrs["scales"] = np.ones(len(labels))
            new.dims[0].label = "t"
            new.dims[0].attach_scale(scales["sim_time"])
            for axis, label in enumerate(labels, start=first):
                new.dims[axis].label = label.partition("@")[0]
                found = "constant" if label == "constant" else f"{label}_hash_0"
                new.dims[axis].attach_scale(scales[found])
    return path


def test_real_sets_are_stitched(simulation_data, reads):
    folder = simulation_data / "dedalus" / "snapshots"
    ds = xr.open_dataset(folder, engine=DedalusBackend)
    assert not [name for name in reads if name.startswith("tasks")]
    assert dict(ds.sizes) == {"time": 23, "z": 64, "x": 256}
    assert ds["time"].values.tolist() == scale(folder, "sim_time").tolist()
    for name in ("buoyancy", "pressure", "vorticity"):
        assert ds[name].dtype == np.float64
        assert np.array_equal(ds[name].values, stored(folder, name).swapaxes(1, 2))
    for place, component in enumerate("xz"):
        wanted = stored(folder, "velocity")[:, place].swapaxes(1, 2)
        assert np.array_equal(ds[f"velocity_{component}"].values, wanted)
    assert [finding.code for finding in validate(ds)] == ["missing-boundary"]


def test_names_axes_and_coordinates(sets):
    ds = xr.open_dataset(sets, engine=DedalusBackend)
    assert list(ds.data_vars) == ["buoyancy", "velocity_x", "velocity_z"]
    assert vectors(ds) == {"velocity": {"x": "velocity_x", "z": "velocity_z"}}
    assert all(v.dims == ("time", "z", "x") for v in ds.values())
    assert ds["velocity_z"].attrs["source_name"] == "velocity"
    assert ds["x"].attrs["boundary"] == "periodic"
    assert ds["x"].attrs["period"] == 4.0
    assert ds["x"].attrs["spacing"] == "uniform"
    assert ds["z"].attrs["spacing"] == "chebyshev"
    assert "boundary" not in ds["z"].attrs
    assert "Fourier" in ds.attrs["axes"]
    assert "boundary not stored" in ds.attrs["axes"]
    for name in ("wall_time", "timestep", "iteration", "write_number"):
        assert ds[name].dims == ("time",)
        assert np.array_equal(ds[name], scale(sets, name))
    assert ds["iteration"].dtype == np.int64
    with h5py.File(sets / "snapshots_s1.h5") as file:
        for dim, axis in (("x", 1), ("z", 2)):
            assert np.array_equal(ds[dim], file["tasks/buoyancy"].dims[axis][0][()])
    (step,) = provenance(ds)
    assert step["source"]["files"] == 2
    assert str(sets) not in ds.attrs["xphys_provenance"]


def test_boundary_as_given(sets):
    ds = xr.open_dataset(sets, engine=DedalusBackend, boundary={"z": "wall", "x": "open"})
    assert ds["z"].attrs["boundary"] == "wall"
    assert ds["x"].attrs["boundary"] == "open"
    assert "period" not in ds["x"].attrs
    assert validate(ds) == []
    with pytest.raises(SchemaError, match="boundary="):
        xr.open_dataset(sets, engine=DedalusBackend, boundary={"y": "wall"})


@pytest.mark.parametrize("how", ["folder", "above", "pattern", "list", "reversed"])
def test_ways_to_name_the_sets(sets, how):
    files = [str(sets / f"snapshots_s{n}.h5") for n in (1, 2)]
    source = {
        "folder": sets,
        "above": sets.parent,
        "pattern": str(sets / "*.h5"),
        "list": files,
        "reversed": files[::-1],
    }[how]
    ds = xr.open_dataset(source, engine=DedalusBackend)
    assert np.array_equal(ds["write_number"], [12, 13, 14, 15])


def test_one_file_and_recognition(sets, small_data):
    ds = open_paths([str(sets / "snapshots_s2.h5")])
    assert ds.sizes["time"] == 2
    assert ds.encoding["source"].endswith("snapshots_s2.h5")
    for path in (sets, sets.parent, sets / "snapshots_s1.h5"):
        assert is_dedalus(probe(str(path)))
    assert not is_dedalus(probe(str(small_data / "athdf" / "smr" / "Blast.prim.00000.athdf")))
    assert not is_dedalus(probe(str(small_data / "athenak")))
    assert not is_dedalus(probe(str(small_data)))


def test_parts_are_read_alone(sets, reads):
    ds = xr.open_dataset(sets, engine=DedalusBackend)
    whole = stored(sets, "velocity")[:, 1].swapaxes(1, 2)
    reads.clear()
    got = ds["velocity_z"].isel(time=[3, 1], z=slice(50, 3, -7), x=2).values
    assert np.array_equal(got, whole[[3, 1], 50:3:-7, 2])
    assert reads == ["tasks/velocity"] * 2
    assert ds["velocity_z"].encoding["preferred_chunks"] == {"time": 1, "z": 32, "x": 8}
    again = pickle.loads(pickle.dumps(ds))
    assert np.array_equal(again["velocity_z"].values, whole)
    assert np.array_equal(ds["velocity_z"].chunk(time=1).compute().values, whole)


def test_drop_variables_takes_tasks_and_variables(sets):
    ds = xr.open_dataset(sets, engine=DedalusBackend, drop_variables="velocity")
    assert list(ds) == ["buoyancy"]
    ds = xr.open_dataset(sets, engine=DedalusBackend, drop_variables=["velocity_x", "nothing"])
    assert list(ds) == ["buoyancy", "velocity_z"]


def test_later_set_counts_after_a_restart(tmp_path):
    values = np.arange(4.0).reshape(4, 1, 1)
    flat = ("constant", "constant")
    write_set(tmp_path / "scalars_s1.h5", 1, [0, 1, 2, 3], {"Nu": (flat, values)})
    write_set(tmp_path / "scalars_s2.h5", 2, [1.5, 2.5], {"Nu": (flat, values[:2] + 10)})
    write_set(tmp_path / "scalars_s10.h5", 10, [3.5], {"Nu": (flat, values[:1] + 20)})
    ds = xr.open_dataset(tmp_path, engine=DedalusBackend)
    assert ds["time"].values.tolist() == [0, 1, 1.5, 2.5, 3.5]
    assert ds["Nu"].values.tolist() == [0, 1, 10, 11, 20]
    assert ds["Nu"].dims == ("time",)
    assert ds.attrs["dedalus_superseded_writes"] == "set 1: 2 of 4 writes, from time 2"
    assert validate(ds) == []


def test_several_handlers(copied):
    flat = ("constant", "constant")
    write_set(copied / "scalars_s1.h5", 1, [0, 1], {"Nu": (flat, np.ones((2, 1, 1)))})
    with pytest.raises(SchemaError, match=r"\['scalars', 'snapshots'\]: choose one with handler="):
        xr.open_dataset(copied, engine=DedalusBackend)
    assert list(xr.open_dataset(copied, engine=DedalusBackend, handler="scalars")) == ["Nu"]
    with pytest.raises(UnknownNameError, match="scalars"):
        xr.open_dataset(copied, engine=DedalusBackend, handler="scalar")


def test_tensors_and_profiles(tmp_path):
    x, y, z = np.arange(6.0) / 6, np.arange(4.0) / 4, -np.cos(np.pi * (np.arange(5) + 0.5) / 5)
    tensor = np.random.default_rng(1).random((2, 3, 3, 6, 4, 5))
    profile = np.random.default_rng(2).random((2, 3, 1, 1, 5))
    tasks = {
        "grad_u": (("x", "y", "z"), tensor),
        "mean_u": (("constant", "constant", "z"), profile),
    }
    path = write_set(tmp_path / "a_s1.h5", 1, [0, 1], tasks, positions={"x": x, "y": y, "z": z})
    ds = xr.open_dataset(path, engine=DedalusBackend)
    assert ds["grad_u_xz"].dims == ("time", "z", "y", "x")
    assert ds["grad_u_xz"].attrs["component"] == "xz"
    assert np.array_equal(ds["grad_u_xz"], tensor[:, 0, 2].transpose(0, 3, 2, 1))
    assert np.array_equal(ds["grad_u_zy"], tensor[:, 2, 1].transpose(0, 3, 2, 1))
    assert ds["mean_u_y"].dims == ("time", "z")
    assert np.array_equal(ds["mean_u_y"], profile[:, 1, 0, 0])
    assert len(ds.data_vars) == 12


def test_axis_that_no_task_varies_along(tmp_path):
    values = np.random.default_rng(1).random((1, 3, 8, 1, 5))
    grid = {"x": np.arange(8.0), "z": np.arange(5.0) ** 2}
    path = write_set(
        tmp_path / "a_s1.h5", 1, [0], {"u": (("x", "constant", "z"), values)}, positions=grid
    )
    ds = xr.open_dataset(path, engine=DedalusBackend)
    assert np.array_equal(ds["u_y"], values[:, 1, :, 0].swapaxes(1, 2))
    assert "no task varies along y" in ds.attrs["axes"]
    named = xr.open_dataset(path, engine=DedalusBackend, axes=("r", "s", "z"))
    assert named["u_s"].dims == ("time", "r", "z")
    with pytest.raises(SchemaError, match="takes 3 names"):
        xr.open_dataset(path, engine=DedalusBackend, axes=("x", "z"))


def test_coefficients_are_refused(tmp_path):
    grid = {"x": np.arange(8.0), "kx": np.arange(8.0)}
    tasks = {"b": (("x",), np.ones((1, 8))), "b_c": (("kx",), np.ones((1, 8), complex))}
    path = write_set(tmp_path / "a_s1.h5", 1, [0], tasks, positions=grid, coefficients=("b_c",))
    with pytest.raises(FormatError, match=r"coefficients of 'b_c' along kx.*drop_variables=\['b_c"):
        xr.open_dataset(path, engine=DedalusBackend)
    assert list(xr.open_dataset(path, engine=DedalusBackend, drop_variables=["b_c"])) == ["b"]


def test_two_grids_are_refused(tmp_path):
    grid = {"x": np.arange(8.0), "x@fine": np.arange(12.0) / 1.5}
    tasks = {
        "b": (("x",), np.ones((1, 8))),
        "p": (("x",), np.ones((1, 8))),
        "w": (("x@fine",), np.ones((1, 12))),
    }
    path = write_set(tmp_path / "a_s1.h5", 1, [0], tasks, positions=grid)
    with pytest.raises(FormatError, match=r"\[8, 12\] points along 'x'.*drop_variables=\['w'\]"):
        xr.open_dataset(path, engine=DedalusBackend)
    assert xr.open_dataset(path, engine=DedalusBackend, drop_variables=["w"]).sizes["x"] == 8
    alone = xr.open_dataset(path, engine=DedalusBackend, drop_variables=["b", "p"])
    assert alone.sizes["x"] == 12


def test_times_that_do_not_increase(tmp_path):
    flat = {"residual": (("constant",), np.arange(3.0).reshape(3, 1))}
    path = write_set(tmp_path / "a_s1.h5", 1, [0, 0, 0], flat)
    with pytest.raises(FormatError, match="time='iteration'"):
        xr.open_dataset(path, engine=DedalusBackend)
    ds = xr.open_dataset(path, engine=DedalusBackend, time="write_number")
    assert ds["time"].values.tolist() == [10, 11, 12]
    assert ds["time"].attrs["source_name"] == "write_number"
    with pytest.raises(SchemaError, match="time must be one of"):
        xr.open_dataset(path, engine=DedalusBackend, time="t")


def test_unfinished_last_write(copied):
    with h5py.File(copied / "snapshots_s2.h5", "r+") as file:
        file["tasks/velocity"].resize(1, axis=0)
    with pytest.raises(FormatError, match="missing='drop'"):
        xr.open_dataset(copied, engine=DedalusBackend)
    ds = xr.open_dataset(copied, engine=DedalusBackend, missing="drop")
    assert ds["write_number"].values.tolist() == [12, 13, 14]


def test_set_without_a_write_is_left_out(copied):
    with h5py.File(copied / "snapshots_s2.h5", "r+") as file:
        for name in ("sim_time", "wall_time", "timestep", "iteration", "write_number"):
            file["scales"][name].resize(0, axis=0)
    assert xr.open_dataset(copied, engine=DedalusBackend).sizes["time"] == 2


def virtual(sets, folder, processes=2, escape=None):
    """The small sets as a parallel run writes them: one file a process, joined by a virtual one."""
    for number in (1, 2):
        name = f"snapshots_s{number}"
        (folder / name).mkdir(parents=True)
        shutil.copy(sets / f"{name}.h5", folder / f"{name}.h5")
        with h5py.File(folder / f"{name}.h5", "r+") as joint:
            for task in ("buoyancy", "velocity"):
                old = joint["tasks"][task]
                values, attrs = old[()], {k: old.attrs[k] for k in ("constant", "grid_space")}
                labels = [d.label for d in old.dims]
                scales = [d[0].name if len(d) else None for d in old.dims]
                del joint["tasks"][task]
                width = values.shape[-2] // processes
                shape = (1, *values.shape[1:])
                layout = h5py.VirtualLayout(shape, "f8", maxshape=(None, *shape[1:]))
                for rank in range(processes):
                    part = values[..., rank * width : (rank + 1) * width, :]
                    inside = f"{name}/{name}_p{rank}.h5"
                    with h5py.File(folder / inside, "a") as file:
                        file.create_dataset(
                            f"tasks/{task}", data=part, maxshape=(None, *part.shape[1:])
                        )
                    source = h5py.VirtualSource(
                        escape or inside, f"tasks/{task}", (1, *part.shape[1:]),
                        maxshape=(None, *part.shape[1:]),
                    )  # fmt: skip
                    whole = [slice(n) for n in part.shape[1:]]
                    into = [*whole]
                    into[-2] = slice(rank * width, (rank + 1) * width)
                    layout[(ENDLESS, *into)] = source[(ENDLESS, *whole)]
                new = joint["tasks"].create_virtual_dataset(task, layout, fillvalue=None)
                new.attrs.update(attrs)
                for axis, (label, path) in enumerate(zip(labels, scales, strict=True)):
                    new.dims[axis].label = label
                    if path:
                        new.dims[axis].attach_scale(joint[path])
    return folder


def test_virtual_sets_of_a_parallel_run(sets, tmp_path):
    folder = virtual(sets, tmp_path / "snapshots", processes=4)
    ds = xr.open_dataset(folder, engine=DedalusBackend)
    same = xr.open_dataset(sets, engine=DedalusBackend)
    for name in same.data_vars:
        assert np.array_equal(ds[name].values, same[name].values)
    got = ds["velocity_x"].isel(time=slice(None, None, 3), x=[5, 1], z=7).values
    assert np.array_equal(got, same["velocity_x"].values[::3, 7][:, [5, 1]])
    assert np.array_equal(pickle.loads(pickle.dumps(ds))["buoyancy"], same["buoyancy"])
    assert is_dedalus(probe(str(folder)))
    assert provenance(ds)[0]["source"]["files"] == 10


def test_virtual_set_with_a_missing_file(sets, tmp_path):
    folder = virtual(sets, tmp_path / "snapshots")
    (folder / "snapshots_s2" / "snapshots_s2_p1.h5").unlink()
    with pytest.raises(FormatError, match="snapshots_s2_p1.h5, which is missing"):
        xr.open_dataset(folder, engine=DedalusBackend)


def test_virtual_set_with_fewer_writes_in_a_process(sets, tmp_path):
    folder = virtual(sets, tmp_path / "snapshots")
    with h5py.File(folder / "snapshots_s2" / "snapshots_s2_p1.h5", "r+") as file:
        whole = file["tasks/buoyancy"][()]
        del file["tasks/buoyancy"]
        file.create_dataset("tasks/buoyancy", data=whole[:1], maxshape=(None, *whole.shape[1:]))
    with pytest.raises(FormatError, match="expected 2 writes, found {'buoyancy': 1}"):
        xr.open_dataset(folder, engine=DedalusBackend)


@pytest.mark.parametrize("escape", ["absolute", "../secret.h5", "a/../../secret.h5", "link.h5"])
def test_virtual_sources_elsewhere_are_not_followed(sets, tmp_path, escape):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["tasks/buoyancy"] = np.zeros((2, 8, 64))
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "snapshots" / "link.h5").symlink_to(secret)
    path = str(secret) if escape == "absolute" else escape
    folder = virtual(sets, tmp_path / "snapshots", processes=1, escape=path)
    with pytest.raises(FormatError, match="not a relative path inside the folder"):
        xr.open_dataset(folder, engine=DedalusBackend)


def test_virtual_set_with_a_gap(sets, tmp_path):
    folder = virtual(sets, tmp_path / "snapshots")
    with h5py.File(folder / "snapshots_s1" / "snapshots_s1_p1.h5", "r+") as file:
        half = file["tasks/buoyancy"][:, :2]
        del file["tasks/buoyancy"]
        file["tasks/buoyancy"] = half
    with pytest.raises(FormatError, match="values or more in snapshots_s1/snapshots_s1_p1.h5"):
        xr.open_dataset(folder, engine=DedalusBackend)


def change(file, what):
    if what == "handler":
        del file.attrs["handler_name"]
    elif what == "grid_space":
        del file["tasks/buoyancy"].attrs["grid_space"]
    elif what == "labels":
        del file["tasks/velocity"].attrs["DIMENSION_LABELS"]
    elif what == "scales":
        del file["scales/sim_time"]
    elif what == "times":
        file["scales/sim_time"].resize(1, axis=0)
    elif what == "nan":
        file["scales/sim_time"][0] = np.nan
    elif what == "text":
        del file["tasks/buoyancy"]
        file["tasks/buoyancy"] = "text"
    elif what == "link":
        del file["tasks/buoyancy"]
        file["tasks/buoyancy"] = h5py.ExternalLink("snapshots_s2.h5", "/tasks/buoyancy")
    elif what == "number":
        file.attrs["set_number"] = 2
    elif what == "dedalus2":
        file.create_group("scales/x")


@pytest.mark.parametrize(
    "what",
    [
        "handler", "grid_space", "labels", "scales", "times", "nan", "text", "link", "number",
        "dedalus2",
    ],
)  # fmt: skip
def test_malformed_sets(copied, what):
    with h5py.File(copied / "snapshots_s1.h5", "r+") as file:
        change(file, what)
    with pytest.raises(FormatError) as caught:
        xr.open_dataset(copied, engine=DedalusBackend)
    assert "\n" not in str(caught.value)


def test_sets_of_two_runs(copied):
    with h5py.File(copied / "snapshots_s2.h5", "r+") as file:
        (name,) = [n for n in file["scales"] if n.startswith("z_hash")]
        file["scales"][name][3] += 1e-9
    with pytest.raises(FormatError, match="positions along 'z'"):
        xr.open_dataset(copied, engine=DedalusBackend)
    with h5py.File(copied / "snapshots_s2.h5", "r+") as file:
        file["tasks/more"] = file["tasks/buoyancy"]
    with pytest.raises(FormatError, match="they differ in 'more'"):
        xr.open_dataset(copied, engine=DedalusBackend)


@pytest.mark.parametrize("length", [0, 100, 3000, 30_000])
def test_truncated_file(copied, length):
    path = copied / "snapshots_s1.h5"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(XphysError):
        xr.open_dataset(copied, engine=DedalusBackend).load()


def test_folder_without_sets(tmp_path):
    (tmp_path / "snapshots_s1").mkdir()
    (tmp_path / "snapshots_s1" / "snapshots_s1_p0.h5").write_bytes(b"")
    with pytest.raises(FormatError, match="only files of single processes"):
        xr.open_dataset(tmp_path, engine=DedalusBackend)
