"""Writing The Well: the way back, the rules of the format, its own class, kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap

import dask.array as da
import h5py
import numpy as np
import pytest
import xarray as xr

import xphys
from xphys.errors import SchemaError, StoreConflictError, XphysWarning
from xphys.io.readers._chunk import chunked
from xphys.io.readers.the_well.backend import open_paths
from xphys.io.writers.the_well import to_the_well
from xphys.schema import PROVENANCE, provenance

REAL = "formats/the_well"
MADE = ("box_3d", "maze", "rayleigh_benard_cut", "spherical", "tensors")


def opened(path, **options):
    return open_paths([str(path)], **options)


def unchanged(before, after):
    """Equal in values, dtypes, coordinates and attributes, but for the record of the way."""
    before, after = before.copy().load(), after.copy().load()
    for ds in (before, after):
        ds.attrs.pop(PROVENANCE, None)
    for key in ("dataset_name", "grid_type"):
        if key not in before.attrs:
            del after.attrs[key]
    xr.testing.assert_identical(before, after)
    for name in before.variables:
        assert before[name].dtype == after[name].dtype, name


def check_format(path):
    """The rules that the format check of The Well applies, in other words."""
    with h5py.File(path) as file:
        root, dims = file.attrs, file["dimensions"]
        assert isinstance(root["dataset_name"], str)
        assert isinstance(root["grid_type"], str)
        axes = list(dims.attrs["spatial_dims"])
        n, rank, steps = root["n_trajectories"], root["n_spatial_dims"], dims["time"].shape[-1]
        assert all(isinstance(number, int | np.integer) for number in (n, rank))
        assert len(axes) == rank
        for name in root["simulation_parameters"]:
            assert name in root
            assert name in file["scalars"].attrs["field_names"]

        def lead(held):
            flags = [held.attrs["sample_varying"], held.attrs["time_varying"]]
            assert all(isinstance(flag, bool | np.bool_) for flag in flags)
            return tuple(size for size, flag in zip((n, steps), flags, strict=True) if flag)

        assert dims["time"].shape == lead(dims["time"])
        for axis in axes:
            assert dims[axis].shape[:-1] == lead(dims[axis])
        sizes = [dims[axis].shape[-1] for axis in axes]
        for order in range(3):
            group = file[f"t{order}_fields"]
            assert isinstance(group.attrs["field_names"], list | np.ndarray)
            for name in group.attrs["field_names"]:
                varying = group[name].attrs["dim_varying"]
                assert len(varying) == rank
                space = tuple(s for s, flag in zip(sizes, varying, strict=True) if flag)
                assert group[name].shape == (*lead(group[name]), *space, *(rank,) * order)
        for name in file["scalars"].attrs["field_names"]:
            assert file["scalars"][name].shape == lead(file["scalars"][name])
        for condition in file["boundary_conditions"].values():
            assert condition.attrs["bc_type"] in ("WALL", "OPEN", "PERIODIC")
            for key in ("associated_fields", "associated_dims"):
                assert isinstance(condition.attrs[key], list | np.ndarray)
            along = condition.attrs["associated_dims"]
            shape = tuple(s for s, axis in zip(sizes, axes, strict=True) if axis in along)
            assert set(along) <= set(axes)
            assert condition["mask"].shape == (*lead(condition), *shape)


def fields(time=5, trajectory=2, dtype="f4"):
    """A small Dataset with a vector, a static field and everything else that is kept."""
    rng = np.random.default_rng(0)
    dims, shape = ("trajectory", "time", "y", "x"), (trajectory, time, 4, 6)
    tied = {"vector": "velocity", "units": "m/s"}
    return xr.Dataset(
        {
            "density": (dims, rng.normal(size=shape).astype(dtype), {"long_name": "density"}),
            "velocity_x": (dims, rng.normal(size=shape).astype(dtype), {**tied, "component": "x"}),
            "vy": (dims, rng.normal(size=shape).astype(dtype), {**tied, "component": "y"}),
            "velocity_z": (dims, rng.normal(size=shape).astype(dtype), {**tied, "component": "z"}),
            "depth": ("y", np.arange(4.0), {"units": "m", "note": "static"}),
        },
        {
            "time": ("time", 0.1 * np.arange(time), {"units": "s"}),
            "x": ("x", np.arange(6) / 6, {"boundary": "periodic", "period": 1.0}),
            "y": ("y", [0.0, 0.1, 0.4, 1.0], {"boundary": "wall", "spacing": "nonuniform"}),
            "y_bounds": (("y", "nv"), np.arange(8.0).reshape(4, 2)),
            "trajectory": [f"run {i}" for i in range(trajectory)],
            "seed": ("trajectory", np.arange(trajectory)),
            "cycle": ("time", np.arange(time)),
            "level": (("y", "x"), np.arange(24, dtype=np.int8).reshape(4, 6)),
            "nu": ((), 0.1, {"units": "m2/s"}),
            "scheme": "rk3",
        },
        {"title": "made here", "list": ["a", "b"], "numbers": np.array([1.5, 2.5]), "flag": True},
    )


# ---- the way back ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", MADE)
def test_files_of_the_well_come_back(small_data, tmp_path, name):
    before = opened(small_data / "the_well" / f"{name}.hdf5")
    to_the_well(before, tmp_path)
    unchanged(before, opened(tmp_path))
    (path,) = tmp_path.glob("data/train/*")
    assert path.name == f"{before.attrs['dataset_name']}.hdf5"
    check_format(path)


def test_real_file_comes_back(simulation_data, tmp_path):
    before = chunked(opened(simulation_data / REAL), "auto")
    to_the_well(before, tmp_path / "rb.hdf5")
    unchanged(before, opened(tmp_path / "rb.hdf5"))
    check_format(tmp_path / "rb.hdf5")


def test_joined_files_come_back_as_one(small_data, tmp_path):
    before = chunked(opened(small_data / "the_well" / "several", split="train"), {})
    to_the_well(before, tmp_path)
    unchanged(before, opened(tmp_path))


def test_moving_positions_are_said(small_data, tmp_path):
    before = opened(small_data / "the_well" / "moving_grid.hdf5")
    with pytest.warns(XphysWarning, match="'x' moves with time"):
        to_the_well(before, tmp_path)
    unchanged(before, opened(tmp_path))


@pytest.mark.parametrize("run", ["mri_64_one_rank", "orszag_tang_smr"])
def test_other_formats_come_back(small_data, tmp_path, run):
    before = xphys.open(small_data / "athenak" / run)
    to_the_well(before, tmp_path)
    unchanged(before, opened(tmp_path))
    check_format(next(tmp_path.glob("data/train/*")))


def test_a_sheared_boundary_is_said(tmp_path):
    before = fields()
    before["x"].attrs["boundary"] = "shear_periodic"
    with pytest.warns(XphysWarning, match="'x' is written without its boundary 'shear_periodic'"):
        to_the_well(before, tmp_path)
    unchanged(before, opened(tmp_path))


def test_everything_is_kept(tmp_path):
    before = fields()
    to_the_well(before, tmp_path / "run.hdf5", dataset_name="made")
    after = opened(tmp_path / "run.hdf5")
    unchanged(before, after)
    assert after.attrs["dataset_name"] == "made"
    assert [step["operation"] for step in provenance(after)] == ["to_the_well", "open"]
    check_format(tmp_path / "run.hdf5")
    with h5py.File(tmp_path / "run.hdf5") as file:
        velocity = file["t1_fields/velocity"]
        assert velocity.shape == (2, 5, 6, 4, 2)
        np.testing.assert_array_equal(velocity[..., 1], before["vy"].values.transpose(0, 1, 3, 2))
        assert list(file["t0_fields"].attrs["field_names"]) == ["density", "velocity_z", "depth"]
        np.testing.assert_array_equal(
            file["t0_fields/depth"][()], np.broadcast_to(before["depth"], (6, 4))
        )
        assert list(file.attrs["simulation_parameters"]) == ["nu"]
        assert list(file["scalars"].attrs["field_names"]) == ["seed", "cycle", "nu"]
        assert file["boundary_conditions/y_wall"].attrs["bc_type"] == "WALL"
        assert file["boundary_conditions/x_periodic/mask"][()].tolist() == [
            True,
            *[False] * 4,
            True,
        ]


def test_a_tensor_and_a_single_trajectory(tmp_path):
    values = np.arange(2 * 3 * 4 * 4.0).reshape(4, 2, 3, 4)
    names = [a + b for a in "xy" for b in "xy"]
    before = xr.Dataset(
        {
            f"stress_{name}": (("time", "y", "x"), part, {"vector": "stress", "component": name})
            for name, part in zip(names, values, strict=True)
        },
        {"time": [0.0, 1.0], "y": np.arange(3.0), "x": np.arange(4.0)},
    )
    to_the_well(before, tmp_path, split="test")
    unchanged(before, opened(tmp_path))
    with h5py.File(next(tmp_path.glob("data/test/*"))) as file:
        assert file["t2_fields/stress"].shape == (2, 4, 3, 2, 2)
        assert file["t2_fields/stress"].attrs["sample_varying"] == np.False_
        np.testing.assert_array_equal(
            file["t2_fields/stress"][..., 1, 0], values[2].transpose(0, 2, 1)
        )


def test_large_attributes_and_dtypes(tmp_path):
    before = fields(dtype="f8").assign_attrs(deck="x" * 200_000)
    before["mask"] = ("time", "y", "x"), np.ones((5, 4, 6), bool)
    before["count"] = ("time", "y", "x"), np.ones((5, 4, 6), ">i2")
    to_the_well(before, tmp_path)
    unchanged(before.assign(count=before["count"].astype("i2")), opened(tmp_path))
    to_the_well(before, tmp_path, dtype="float32", mode="w")
    after = opened(tmp_path)
    assert after["density"].dtype == np.float32
    assert after["mask"].dtype == bool
    np.testing.assert_array_equal(after["density"], before["density"].astype("f4"))


# ---- what cannot be written -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ds: ds.isel(time=0), r"needs times, found none: use ds.expand_dims"),
        (lambda ds: ds.drop_vars("time"), "needs times"),
        (lambda ds: ds.drop_vars("x"), r"'x' has no positions: use ds.assign_coords"),
        (lambda ds: ds.drop_vars(list(ds.data_vars)), "at least one field"),
        (lambda ds: ds.drop_vars("trajectory").rename(trajectory="operator"), "found 'operator'"),
        (lambda ds: ds.rename(x="phi"), "name the grid"),
        (lambda ds: ds.assign(density=ds.density * 1j), "'density' is complex"),
        (lambda ds: ds.assign_coords(time=ds.time.astype("M8[ns]")), "'time' is datetime64"),
        (lambda ds: ds.assign(density=ds.density.astype("u4")), "pass dtype='float32'"),
        (lambda ds: ds.assign(energy=ds.density.mean(("x", "y"))), r"ds.set_coords\('energy'\)"),
        (lambda ds: ds.rename(density="a/b"), "'a/b' cannot be a name"),
        (lambda ds: ds.rename(density="velocity"), "two fields would be called 'velocity'"),
        (lambda ds: ds.assign_attrs(n_trajectories=3), "'n_trajectories' is The Well's own"),
        (lambda ds: ds.assign_attrs(nu=0.2), "'nu' is a parameter and an attribute"),
        (lambda ds: ds.assign_coords(who=("x", np.array([None] * 6))), "numbers or a row of text"),
    ],
)
def test_refused(tmp_path, change, message):
    with pytest.raises(SchemaError, match=message) as caught:
        to_the_well(change(fields()), tmp_path)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_refused_attributes_and_options(tmp_path):
    ds = fields()
    ds["density"].attrs["table"] = {"a": 1}
    with pytest.raises(SchemaError, match="HDF5 cannot hold attribute 'table'"):
        to_the_well(ds, tmp_path)
    for options, message in (
        ({"split": "dev"}, "split must be"),
        ({"mode": "a"}, "mode 'w-' or 'w'"),
        ({"dataset_name": "a/b"}, "part of a file name"),
    ):
        with pytest.raises(SchemaError, match=message):
            to_the_well(fields(), tmp_path, **options)
    with pytest.raises(SchemaError, match="expected a local path"):
        to_the_well(fields(), "s3://bucket/run")


def test_existing_file(tmp_path):
    to_the_well(fields(), tmp_path)
    with pytest.raises(FileExistsError, match="mode='w' to replace it"):
        to_the_well(fields(), tmp_path)
    other = fields(time=3)
    to_the_well(other, tmp_path, mode="w")
    unchanged(other, opened(tmp_path))
    assert len(list(tmp_path.glob("data/train/*"))) == 1


# ---- laziness, memory, kills ----------------------------------------------------------------


class Source:
    """A lazy field that counts its blocks and fails at one of them."""

    def __init__(self, steps=12, fails_at=None, salt=""):
        self.seen: list[int] = []
        self.fails_at = fails_at
        size = 64

        def block(block_id=None):
            number = block_id[0]
            if number == self.fails_at:
                raise RuntimeError("out of luck")
            self.seen.append(number)
            return np.full((8, 4, size), number, np.float32)

        # the name stands for the values: equal in every run of one script
        values = da.map_blocks(
            block,
            chunks=((8,) * (steps // 4), (4,), (size,)),
            dtype=np.float32,
            meta=np.empty((0, 0, 0), np.float32),
            name=f"source-{steps}{salt}",
        )
        self.ds = xr.Dataset(
            {"density": (("time", "y", "x"), values)},
            {"time": np.arange(2.0 * steps), "y": np.arange(4.0), "x": np.arange(float(size))},
        )


@pytest.fixture
def small_blocks(monkeypatch):
    """Every chunk is a block, as if it had 16 MiB."""
    monkeypatch.setattr("xphys.io.writers.the_well._LEAST", 1)


def test_a_stopped_write_goes_on(tmp_path, small_blocks):
    first = Source(fails_at=2)
    with pytest.raises(RuntimeError, match="out of luck"):
        to_the_well(first.ds, tmp_path / "run.hdf5")
    assert not (tmp_path / "run.hdf5").exists()
    assert sorted(set(first.seen)) == [0, 1]
    second = Source()
    to_the_well(second.ds, tmp_path / "run.hdf5")
    assert sorted(set(second.seen)) == [2]  # what is there is not computed again
    assert [path.name for path in tmp_path.iterdir()] == ["run.hdf5"]
    whole = (tmp_path / "run.hdf5").read_bytes()
    to_the_well(Source().ds, tmp_path / "other.hdf5", dataset_name="run")
    assert (tmp_path / "other.hdf5").read_bytes() == whole
    found = opened(tmp_path / "run.hdf5")["density"].isel(x=0, y=0).values
    np.testing.assert_array_equal(found, np.repeat([0, 1, 2], 8))


def test_a_changed_block_is_written_again(tmp_path, small_blocks):
    with pytest.raises(RuntimeError):
        to_the_well(Source(fails_at=2).ds, tmp_path / "run.hdf5")
    begun = (tmp_path / "run.hdf5.part.journal").read_text().splitlines()[0]
    with open(tmp_path / "run.hdf5.part", "r+b") as file:
        file.seek(json.loads(begun)["starts"]["t0_fields/density"] + 100)
        file.write(b"damaged")
    source = Source()
    to_the_well(source.ds, tmp_path / "run.hdf5")
    assert sorted(set(source.seen)) == [0, 2]
    found = opened(tmp_path / "run.hdf5")["density"].values
    assert (found == np.repeat([0, 1, 2], 8)[:, None, None]).all()


def test_other_data_at_the_same_place(tmp_path, small_blocks):
    with pytest.raises(RuntimeError):
        to_the_well(Source(fails_at=1).ds, tmp_path / "run.hdf5")
    other = fields()
    with pytest.raises(StoreConflictError, match="pass resume=False"):
        to_the_well(other, tmp_path / "run.hdf5")
    to_the_well(other, tmp_path / "run.hdf5", resume=False)
    unchanged(other, opened(tmp_path / "run.hdf5"))


def test_a_damaged_journal_begins_anew(tmp_path, small_blocks):
    with pytest.raises(RuntimeError):
        to_the_well(Source(fails_at=2).ds, tmp_path / "run.hdf5")
    journal = tmp_path / "run.hdf5.part.journal"
    lines = journal.read_bytes().split(b"\n")
    journal.write_bytes(b"\n".join([*lines[:2], lines[2][:9]]))  # the last entry is cut off
    source = Source()
    to_the_well(source.ds, tmp_path / "run.hdf5")
    assert sorted(set(source.seen)) == [1, 2]


@pytest.mark.skipif(os.name != "posix", reason="locks are POSIX")
def test_two_writers(tmp_path):
    import fcntl

    with open(tmp_path / "run.hdf5.part.journal", "a+b") as book:
        fcntl.flock(book, fcntl.LOCK_EX)
        with pytest.raises(StoreConflictError, match="another process is writing it"):
            to_the_well(fields(), tmp_path / "run.hdf5")


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kills as POSIX does")
def test_killed_writers(tmp_path):
    script = tmp_path / "write.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys
            import dask.array as da, numpy as np, xarray as xr
            from xphys.io.writers.the_well import to_the_well

            def block(block_id=None):
                return np.full((4, 512, 2048), block_id[0], np.float32)

            values = da.map_blocks(block, chunks=((4,) * 30, (512,), (2048,)), dtype="f4",
                                   meta=np.empty((0, 0, 0), "f4"), name="killed")
            ds = xr.Dataset({"density": (("time", "y", "x"), values)},
                            {"time": np.arange(120.0), "y": np.arange(512.0),
                             "x": np.arange(2048.0)})
            to_the_well(ds, sys.argv[1], dataset_name="killed")
            """
        )
    )
    command = [sys.executable, str(script)]
    subprocess.run([*command, str(tmp_path / "whole.hdf5")], check=True)
    target = tmp_path / "run.hdf5"
    for tenths in (15, 18, 21, 24):
        process = subprocess.Popen([*command, str(target)])
        try:
            process.wait(tenths / 10)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
    if not target.exists():
        subprocess.run([*command, str(target)], check=True)
    assert target.read_bytes() == (tmp_path / "whole.hdf5").read_bytes()
    assert not list(tmp_path.glob("*.part*"))


# ---- the class of The Well ------------------------------------------------------------------


def well_dataset(folder, **options):
    data = pytest.importorskip(
        "the_well.data", reason="needs the package the-well (pip install the-well)"
    )
    return data.WellDataset(
        path=str(folder), well_split_name="train", use_normalization=False, **options
    )


def check_class(ds, folder):
    """Every field, scalar, position and time that WellDataset gives, against the Dataset."""
    well = well_dataset(folder)
    axes = [dim for dim in ds.dims if dim not in ("trajectory", "time") and dim in ds.indexes]
    order = [axis for axis in ds.attrs.get("axes", "").split(", ") if axis in axes] or sorted(axes)
    steps = ds.sizes["time"]
    assert len(well) == ds.sizes.get("trajectory", 1) * (steps - 1)
    one = xr.Dataset({"d": (order, np.zeros([ds.sizes[axis] for axis in order]))})

    def frame(name, member, step=None):
        array = ds[_variable(ds, name)]
        array = array.isel(
            {d: i for d, i in (("trajectory", member), ("time", step)) if d in array.dims}
        )
        return array.broadcast_like(one["d"]).transpose(*order).values

    names, fixed = well.metadata.field_names, well.metadata.constant_field_names
    for index in range(len(well)):
        member, step = divmod(index, steps - 1)
        sample = well[index]
        for key, at in (("input_fields", step), ("output_fields", step + 1)):
            for place, name in enumerate(name for i in range(3) for name in names[i]):
                np.testing.assert_array_equal(
                    sample[key][0, ..., place].numpy(), frame(name, member, at), err_msg=name
                )
        for place, name in enumerate(name for i in range(3) for name in fixed[i]):
            np.testing.assert_array_equal(
                sample["constant_fields"][..., place].numpy(), frame(name, member), err_msg=name
            )
        for place, name in enumerate(well.metadata.constant_scalar_names):
            value = ds[name].isel(trajectory=member) if "trajectory" in ds[name].dims else ds[name]
            assert sample["constant_scalars"][place].item() == pytest.approx(value.item(), rel=1e-7)
        for place, axis in enumerate(order):
            held = ds[axis].broadcast_like(one["d"]).transpose(*order)
            np.testing.assert_array_equal(sample["space_grid"][..., place].numpy(), held)
            kinds = {"wall": 0, "open": 1, "periodic": 2}
            attrs = ds[axis].attrs
            ends = [
                attrs.get(f"boundary_{end}", attrs.get("boundary")) for end in ("lower", "upper")
            ]
            expected = [kinds.get(end, 1) for end in ends]
            assert sample["boundary_conditions"][place].tolist() == expected, axis
    return well


def _variable(ds, name):
    """The variable behind a name of WellDataset, which ends in the axes of the component."""
    if name in ds:
        return name
    for other, array in ds.data_vars.items():
        tied = f"{array.attrs.get('vector')}_{array.attrs.get('component', '').replace('_', '')}"
        if name.replace("_", "") == tied.replace("_", ""):
            return other
    raise AssertionError(f"nothing is called {name}")


@pytest.mark.filterwarnings("ignore:Only axis-aligned boundary:RuntimeWarning")
@pytest.mark.parametrize("name", ["box_3d", "rayleigh_benard_cut", "spherical", "tensors"])
def test_class_reads_what_was_read(small_data, tmp_path, name):
    ds = opened(small_data / "the_well" / f"{name}.hdf5")
    to_the_well(ds, tmp_path)
    check_class(ds, tmp_path)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_class_reads_what_was_made(tmp_path, dtype):
    ds = fields(dtype=dtype).drop_vars(["trajectory", "depth"])
    ds["depth"] = ("y",), np.arange(4, dtype=dtype)
    ds["profile"] = ("time", "x"), np.arange(30, dtype=dtype).reshape(5, 6)
    ds["offset"] = ("trajectory", "x"), np.arange(12, dtype=dtype).reshape(2, 6)
    to_the_well(ds, tmp_path)
    well = check_class(ds, tmp_path)
    assert (
        str(well[0]["input_fields"].dtype) == {"f4": "torch.float32", "f8": "torch.float64"}[dtype]
    )


def test_class_reads_the_real_file_again(simulation_data, tmp_path):
    ds = opened(simulation_data / REAL).isel(trajectory=slice(2), time=slice(6))
    to_the_well(ds, tmp_path)
    check_class(ds, tmp_path)


def test_class_reads_other_formats(small_data, tmp_path):
    ds = xphys.open(small_data / "athenak" / "mri_64_one_rank")
    to_the_well(ds, tmp_path)
    check_class(ds, tmp_path)
