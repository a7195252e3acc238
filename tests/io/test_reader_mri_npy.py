"""Reader of the MRI project's NumPy files: real files, and files that are not what they seem."""

from __future__ import annotations

import io
import pickle
import shutil
import struct
import tracemalloc
import zipfile
from pathlib import Path

import fsspec
import numpy as np
import pytest
import xarray as xr

import xphys
from xphys.errors import CorruptDataError, FormatError, SchemaError, XphysError
from xphys.io._formats import READERS
from xphys.io.readers._chunk import chunked
from xphys.io.readers._probe import probe
from xphys.io.readers.athenak import open_athenak
from xphys.io.readers.mri_npy import _npy
from xphys.io.readers.mri_npy._npz import read_npz
from xphys.io.readers.mri_npy.backend import MRINumpyBackend, is_mri_npy, open_paths
from xphys.schema import provenance, validate, vectors

SETS = ["npy_64", "npy_64_two_ranks", "npy_32_antialias"]
PARTS = ["all", "train", "val", "test"]


@pytest.fixture
def fields(small_data) -> Path:
    return small_data / "mri_npy" / "npy_64"


@pytest.fixture
def windows(small_data) -> Path:
    return small_data / "mri_npy" / "dino_16"


def by_stored_name(ds: xr.Dataset) -> dict[str, xr.DataArray]:
    return {v.attrs["source_name"]: v for v in ds.data_vars.values()}


def metadata(path: Path, **changes) -> None:
    """``metadata.npz`` for an array (2, 4, 4, 3)."""
    edges = np.linspace(-0.5, 0.5, 4, endpoint=False)
    held = {
        "field_names": np.array(["density", "velx", "By"]),
        "times": np.array([0.0, 0.5]),
        "x_coords": edges,
        "y_coords": edges,
        "x1min": np.float64(-0.5),
        "x1max": np.float64(0.5),
        "x2min": np.float64(-0.5),
        "x2max": np.float64(0.5),
        "snap_indices": np.array([3, 4]),
        "native_resolution": np.int64(4),
        **changes,
    }
    np.savez(path / "metadata.npz", **{k: v for k, v in held.items() if v is not None})


@pytest.fixture
def made(tmp_path) -> Path:
    values = np.arange(96, dtype=np.float32).reshape(2, 4, 4, 3)
    np.save(tmp_path / "all_fields_4x4.npy", values)
    metadata(tmp_path)
    return tmp_path


def test_same_run_as_the_dumps_it_was_made_from(simulation_data):
    """npy_64 holds outputs 36 to 51 of the run: the two readers agree in all but the source."""
    ours = open_paths([str(simulation_data / "formats" / "mri" / "npy_64")])
    theirs = open_athenak(simulation_data / "athenak" / "mri_64").isel(time=slice(18, 34))
    assert set(ours.data_vars) == set(theirs.data_vars)
    assert ours["snapshot"].values.tolist() == list(range(36, 52))
    for name, variable in ours.data_vars.items():
        other = theirs[name]
        assert variable.dims == other.dims
        assert variable.dtype == other.dtype
        assert variable.values.tobytes() == other.values.tobytes(), name
        drop = ("source_name", "source_group")
        assert variable.drop_attrs().attrs == {}
        mine = {k: v for k, v in variable.attrs.items() if k not in drop}
        assert mine == {k: v for k, v in other.attrs.items() if k not in drop}
    for dim in ("time", "z", "x"):
        assert ours[dim].values.tobytes() == theirs[dim].values.tobytes(), dim
        for key in ("units", "long_name", "spacing", "boundary", "period"):
            assert ours[dim].attrs.get(key) == theirs[dim].attrs.get(key)
    assert vectors(ours) == vectors(theirs)
    assert validate(ours) == []
    assert "half a cell was added" in ours["x"].attrs["comment"]
    assert theirs["x"].attrs["comment"] in ours["x"].attrs["comment"]


def test_small_set_is_the_dump_of_the_one_rank_run(fields, small_data):
    ours = open_paths([str(fields)])
    theirs = open_athenak(small_data / "athenak" / "mri_64_one_rank").isel(time=[0])
    assert set(ours.data_vars) == {"velocity_z", "magnetic_field_y", "jz"}
    for name in ours.data_vars:
        assert ours[name].values.tobytes() == theirs[name].values.tobytes(), name
        assert ours[name].attrs["long_name"] == theirs[name].attrs["long_name"]
        assert ours[name].attrs.get("comment") == theirs[name].attrs.get("comment")
    for dim in ("z", "x"):
        assert ours[dim].values.tobytes() == theirs[dim].values.tobytes()
    assert ours["time"].values.tolist() == [32.0463]


@pytest.mark.parametrize("name", SETS)
def test_fields_equal_an_independent_read(simulation_data, name):
    folder = simulation_data / "formats" / "mri" / name
    (array,) = folder.glob("all_fields_*.npy")
    stored = np.load(array)
    with np.load(folder / "metadata.npz") as held:
        info = dict(held)
    for path in (folder, array, folder / "metadata.npz"):
        assert is_mri_npy(probe(str(path)))
        ds = open_paths([str(path)])
        found = by_stored_name(ds)
        assert list(found) == info["field_names"].tolist()
        for number, variable in enumerate(found.values()):
            assert variable.values.tobytes() == stored[..., number].tobytes()
        assert np.array_equal(ds["time"], info["times"])
        cell = 1 / info["x_coords"].size
        np.testing.assert_allclose(ds["x"] - info["x_coords"], cell / 2, rtol=1e-12)
        assert [f for f in validate(ds) if f.severity == "error"] == []
        assert ("resampled from 64" in ds.attrs.get("comment", "")) is ("antialias" in name)


@pytest.mark.parametrize("part", PARTS)
def test_windows_equal_an_independent_read(simulation_data, part):
    folder = simulation_data / "formats" / "mri" / "dino_32"
    stored = np.load(folder / f"neurops_{part}.npy")
    with np.load(folder / "dataset_info.npz") as held:
        info = dict(held)
    ds = open_paths([str(folder / f"neurops_{part}.npy")])
    assert ds["velocity_x"].dims == ("trajectory", "time", "z", "x")
    assert list(by_stored_name(ds)) == ["velx", "vely", "Bx"]
    for number, variable in enumerate(by_stored_name(ds).values()):
        assert variable.values.tobytes() == stored[..., number].tobytes()
    numbers = info.get(f"{part}_indices", np.arange(7))
    assert np.array_equal(ds["trajectory"], numbers)
    assert np.array_equal(ds["sample_time"], info["sample_times"][numbers])
    wanted = [p for n in numbers for p in PARTS[1:] if n in info[f"{p}_indices"]]
    assert ds["split"].values.tolist() == wanted
    assert [f for f in validate(ds) if f.severity == "error"] == []
    if part == "all":
        for path in (folder, folder / "dataset_info.npz"):
            assert open_paths([str(path)])["velocity_x"].shape == stored.shape[:-1]


@pytest.mark.parametrize("part", PARTS[1:])
def test_pairs_equal_an_independent_read(simulation_data, part):
    folder = simulation_data / "formats" / "mri" / "dino_32"
    path = folder / f"diffusion_{part}.npy"
    stored = np.load(path, allow_pickle=True).item()  # our own data
    ds = open_paths([str(path)])
    for key, prefix in (("diff_inputs", "input"), ("diff_targets", "target")):
        for number, name in enumerate(("velocity_x", "velocity_z", "magnetic_field_x")):
            variable = ds[f"{prefix}_{name}"]
            assert variable.dims == ("trajectory", "time", "z", "x")
            assert variable.values.tobytes() == stored[key][:, number].tobytes()
            assert variable.attrs["source_group"] == key
    assert ds["input_velocity_x"].attrs["downsample_factor"] == 4
    assert vectors(ds)["target_velocity"] == {"x": "target_velocity_x", "z": "target_velocity_z"}
    whole = open_paths([str(folder / f"neurops_{part}.npy")])
    assert np.array_equal(ds["target_velocity_z"], whole["velocity_z"])
    assert ds["sample_time"].identical(whole["sample_time"])
    assert [f for f in validate(ds) if f.severity == "error"] == []


def test_statistics_equal_an_independent_read(simulation_data):
    folder = simulation_data / "formats" / "mri" / "dino_32"
    for path in sorted((folder / "stats").glob("*.npz")):
        assert is_mri_npy(probe(str(path)))
        ds = open_paths([str(path)])
        with np.load(path) as held:
            for name, variable in ds.data_vars.items():
                stored = held[variable.attrs["source_name"]]
                assert variable.values.tobytes() == stored.tobytes(), name
        assert ds["channel"].values.tolist() == ["velocity_x", "velocity_z", "magnetic_field_x"]
    training = np.load(folder / "neurops_train.npy")
    ds = open_paths([str(folder / "stats" / "train_neurops_stats.npz")])
    np.testing.assert_allclose(ds["mean"], training.mean((0, 1, 2, 3)), rtol=1e-4, atol=1e-8)
    np.testing.assert_array_equal(ds["max"], training.max((0, 1, 2, 3)))


def test_small_windows_pairs_and_statistics(windows):
    ds = open_paths([str(windows / "neurops_val.npy")])
    assert dict(ds.sizes) == {"trajectory": 1, "time": 3, "z": 16, "x": 16}
    assert ds["trajectory"].values.tolist() == [4]
    assert ds["x"].values[[0, -1]].tolist() == [0.5, 15.5]
    assert "in cells" in ds["x"].attrs["comment"]
    pairs = open_paths([str(windows / "diffusion_val.npy")])
    assert np.array_equal(pairs["target_velocity_x"], ds["velocity_x"])
    with pytest.raises(FormatError, match="name one of these files"):
        open_paths([str(windows)])
    stats = open_paths([str(windows / "stats" / "train_neurops_stats.npz")])
    assert stats["mean"].sel(channel="magnetic_field_x").item() < 1


def test_box_axes_and_channels_of_the_caller(windows, tmp_path, fields):
    path = str(windows / "neurops_val.npy")
    ds = open_paths([path], box=(-0.5, 0.5))
    np.testing.assert_allclose(ds["z"], -0.5 + (np.arange(16) + 0.5) / 16)
    assert ds["z"].attrs["period"] == 1.0
    ds = open_paths([path], box={"x": (0, 2), "y": (0, 4)}, axes="yx")
    assert ds["velocity_y"].dims == ("trajectory", "time", "y", "x")
    assert ds["velocity_y"].attrs["source_name"] == "vely"
    assert (ds["x"].attrs["boundary"], ds["y"].attrs["period"]) == ("shear_periodic", 4.0)
    assert "given as axes=" in ds.attrs["axes"]
    assert provenance(ds)[0]["parameters"]["box"] == {"x": [0.0, 2.0], "y": [0.0, 4.0]}
    flat = open_paths([str(fields)], axes="yx")
    assert flat["jz"].attrs["vector"] == "current_density"
    assert flat["magnetic_field_z"].attrs["source_name"] == "Bz"
    alone = tmp_path / "neurops_val.npy"
    shutil.copy(path, alone)
    assert list(open_paths([str(alone)]).data_vars) == ["channel_0", "channel_1", "channel_2"]
    named = open_paths([str(alone)], channels=["velx", "vely", "extra"])
    assert list(named.data_vars) == ["velocity_x", "velocity_z", "extra"]
    assert "sample_time" not in named.coords


@pytest.mark.parametrize(
    "options",
    [
        {"axes": "xy"},
        {"box": (1, 0)},
        {"box": (0, float("inf"))},
        {"box": {"x": (0, 1)}},
        {"box": "ab"},
        {"box": 3},
    ],
)
def test_options_that_are_no_such_thing(options, windows):
    with pytest.raises(SchemaError):
        open_paths([str(windows / "neurops_val.npy")], **options)


def test_options_that_do_not_belong(fields, windows):
    with pytest.raises(SchemaError, match="leave out"):
        open_paths([str(fields)], box=(0, 1))
    with pytest.raises(SchemaError, match="leave out"):
        open_paths([str(windows / "stats" / "train_neurops_stats.npz")], box=(0, 1))
    with pytest.raises(FormatError, match="2 channels as channels says"):
        open_paths([str(windows / "neurops_val.npy")], channels=["velx", "vely"])
    with pytest.raises(FormatError, match="every channel once"):
        open_paths([str(windows / "neurops_val.npy")], channels=["velx", "velx", "time"])
    with pytest.raises(FormatError, match="open them one by one"):
        open_paths([str(fields), str(windows)])


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f8"])
def test_every_selection_of_every_layout(made, order, dtype):
    values = np.random.default_rng(2).normal(size=(2, 4, 4, 3)).astype(dtype)
    np.save(made / "all_fields_4x4.npy", np.asarray(values, order=order))
    field = open_paths([str(made)])["magnetic_field_z"].variable
    wanted = values[..., 2]
    for key in (
        (slice(None),) * 3,
        (1, slice(1, 3), slice(None, None, 2)),
        (slice(None, None, -1), 2, -1),
        (slice(0, 0), slice(None), slice(None)),
        (np.array([1, 0]), slice(None), np.array([3, 0, 0])),
        (0, 0, 0),
    ):
        rows = [np.arange(n)[k] for n, k in zip(wanted.shape, key, strict=True)]
        expected = wanted[np.ix_(*(np.atleast_1d(r) for r in rows))].reshape(
            [r.size for r in rows if np.ndim(r)]
        )
        found = field[key].values
        assert found.dtype == np.dtype(dtype).newbyteorder("=")
        assert np.array_equal(found, expected), key


def test_pieces_of_large_arrays(made, monkeypatch):
    """The same values whatever is read in one piece, and never more than the limit of it."""
    values = np.random.default_rng(3).normal(size=(2, 4, 4, 3)).astype(np.float32)
    np.save(made / "all_fields_4x4.npy", values)
    read: list[int] = []
    original = _npy._Source.read

    def noting(self, start, count):
        read.append(count)
        return original(self, start, count)

    monkeypatch.setattr(_npy._Source, "read", noting)
    for limit in (1, 48, 100, 10**6):
        monkeypatch.setattr(_npy, "_LARGEST_READ", limit)
        read.clear()
        ds = open_paths([str(made)])
        assert not read
        assert np.array_equal(ds["density"], values[..., 0])
        assert max(read) <= max(limit, 12)
    read.clear()
    ds["density"][1].load()
    assert read == [4 * 4 * 3 * 4]


def test_only_the_channel_of_a_pair_is_read(simulation_data, monkeypatch):
    read: list[int] = []
    original = _npy._Source.read
    monkeypatch.setattr(_npy._Source, "read", lambda s, a, n: read.append(n) or original(s, a, n))
    monkeypatch.setattr(_npy, "_SMALL_READ", 1024)
    path = simulation_data / "formats" / "mri" / "dino_32" / "diffusion_train.npy"
    open_paths([str(path)])["input_velocity_z"].load()
    assert read == [3 * 32 * 32 * 4] * 4


def test_engine_pickle_chunks_and_provenance(fields, windows):
    ds = xr.open_dataset(fields, engine=MRINumpyBackend, drop_variables=["jz"], chunks={})
    assert list(ds.data_vars) == ["velocity_z", "magnetic_field_y"]
    assert ds["velocity_z"].chunks == ((1,), (64,), (64,))
    lazily = open_paths([str(windows / "diffusion_val.npy")])
    assert not lazily["input_velocity_x"]._in_memory
    again = pickle.loads(pickle.dumps(lazily))
    assert np.array_equal(again["input_velocity_x"], lazily["input_velocity_x"])
    (step,) = provenance(ds)
    assert step["parameters"] == {"engine": "mri_npy"}
    assert (step["source"]["first"], step["source"]["last"]) == (
        "all_fields_64x64.npy",
        "metadata.npz",
    )
    assert not MRINumpyBackend().guess_can_open(fields / "all_fields_64x64.npy")
    assert chunked(lazily, "auto")["input_velocity_x"].chunks is not None


def test_behind_a_url(fields, windows):
    for path in (fields / "all_fields_64x64.npy", windows / "diffusion_val.npy"):
        here, url = open_paths([str(path)]), f"memory://mri{path}"
        for file in (path, *path.parent.glob("*.npz")):
            fsspec.filesystem("memory").pipe(f"memory://mri{file}", file.read_bytes())
        assert is_mri_npy(probe(url))
        there = open_paths([url])
        xr.testing.assert_equal(there, here)
    with pytest.raises(FormatError, match="cannot be listed"):
        open_paths(["memory://mri/folder"])


@pytest.mark.skipif(
    "mri_npy" not in [reader.name for reader in READERS], reason="reader not in the table"
)
def test_xphys_open_recognises_them(fields, windows):
    for path in (fields, fields / "all_fields_64x64.npy", windows / "diffusion_val.npy"):
        assert xphys.open(path).sizes["x"] in (16, 64)


def test_other_files_are_not_claimed(tmp_path, small_data, windows):
    values = np.zeros((2, 4, 4, 3), np.float32)
    for name in ("array.npy", "neurops_all.npy", "diffusion_all.npy", "neurops_x.npy"):
        np.save(tmp_path / name, values)
    np.save(tmp_path / "all_fields_4x4.npy", values.astype(np.int32))
    np.savez(tmp_path / "metadata.npz", field_names=["a"])
    np.savez(tmp_path / "other_stats.npz", mean=values)
    (tmp_path / "neurops_val.npy").write_bytes(b"\x93NUMPY\x01\x00\xff")
    for path in [*tmp_path.iterdir(), small_data, windows / "stats", tmp_path / "none"]:
        assert not is_mri_npy(probe(str(path))), path
    with pytest.raises(FormatError, match="found none"):
        open_paths([str(windows / "stats")])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"times": np.zeros(3)}, "as metadata.npz says"),
        ({"field_names": np.array(["a", "b"])}, "as metadata.npz says"),
        ({"field_names": np.array(["a", "a", "b"])}, "every channel once"),
        ({"field_names": np.array(["a", "x", "b"])}, "every channel once"),
        ({"field_names": np.zeros(3)}, "list of names"),
        ({"x_coords": np.linspace(-0.5, 0.5, 4)}, "left edges"),
        ({"x_coords": np.array([-0.5, np.nan, 0, 0.25])}, "left edges"),
        ({"x_coords": np.full(4, 1e308), "x1min": None}, "left edges"),
        ({"x1max": np.float64(-1)}, "left edges"),
        ({"x1max": np.float64(np.inf)}, "single number"),
        ({"y_coords": np.zeros((2, 2))}, "line of numbers"),
        ({"times": np.array(["a", "b"])}, "line of numbers"),
        ({"times": None}, "'times'"),
        ({"snap_indices": np.arange(3)}, "snap_indices"),
        ({"times": np.array([None, 1], object)}, "numbers or text"),
    ],
)
def test_metadata_that_do_not_fit(made, changes, said):
    metadata(made, **changes)
    with pytest.raises(FormatError, match=said) as caught:
        open_paths([str(made)])
    assert "\n" not in str(caught.value)


def test_old_metadata_without_limits(made):
    metadata(made, x1min=None, x2max=None, native_resolution=None, original_resolution=8)
    ds = open_paths([str(made)])
    assert np.array_equal(ds["x"], [-0.375, -0.125, 0.125, 0.375])
    assert ds["z"].attrs["period"] == 1.0
    assert ds.attrs["native_resolution"] == 8


def npy(header: str, body: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    data = header.encode("latin-1")
    length = struct.pack("<H" if version[0] == 1 else "<I", len(data))
    return b"\x93NUMPY" + version + length + data + body


HEADER = "{'descr': %r, 'fortran_order': False, 'shape': %s}\n"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY",
        npy("("),
        npy("(" * 1500),
        npy("-" * 1500 + "1"),
        npy("{'a': 1}"),
        npy("__import__('os').system('false')"),
        npy(" " * 60000 + HEADER % ("<f4", (1, 1, 1, 1)), bytes(4)),
        npy(HEADER % ("<f4", (2, 4, 4, 3)), bytes(383)),
        npy(HEADER % ("<f4", (2, 4, 4, 3)), bytes(385)),
        npy(HEADER % ("<f4", (2**40, 2**40, 2**40, 1))),
        npy(HEADER % ("<f4", (0, 2**61, 1, 1))),
        npy(HEADER % ("<f4", (-1, 1, 1, 1))),
        npy(HEADER % ("<f4", "(" + "1," * 40 + ")"), bytes(4)),
        npy(HEADER % ("<f4", (1, 1, 1)), bytes(4)),
        npy(HEADER % ("<i4", (1, 1, 1, 1)), bytes(4)),
        npy(HEADER % ("|V1000000000", (1, 1, 1, 1)), bytes(4)),
        npy(HEADER % ("|O", "()"), bytes(4)),
        npy(HEADER % ("<f4", (1, 1, 1, 1)), bytes(4), b"\x03\x00"),
        npy(HEADER % ("<f4", (1, 1, 1, 1)), bytes(4), b"\x09\x00"),
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(100),
    ],
)
def test_damaged_headers(made, data):
    (made / "all_fields_4x4.npy").write_bytes(data)
    tracemalloc.start()
    with pytest.raises(FormatError) as caught:
        open_paths([str(made)])
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()
    assert "\n" not in str(caught.value)
    is_mri_npy(probe(str(made / "all_fields_4x4.npy")))


def test_missing_metadata_and_a_file_cut_after_opening(made):
    ds = open_paths([str(made)])
    (made / "all_fields_4x4.npy").write_bytes((made / "all_fields_4x4.npy").read_bytes()[:200])
    with pytest.raises(CorruptDataError, match="truncated after it was opened"):
        ds["velocity_x"].load()
    (made / "metadata.npz").unlink()
    np.save(made / "all_fields_4x4.npy", np.zeros((2, 4, 4, 3), np.float32))
    with pytest.raises(FormatError, match="beside the array"):
        open_paths([str(made / "all_fields_4x4.npy")])


def test_windows_that_do_not_fit_their_table(windows, tmp_path):
    shutil.copytree(windows, tmp_path / "w")
    np.save(tmp_path / "w" / "neurops_val.npy", np.zeros((2, 3, 4, 4, 3), np.float32))
    with pytest.raises(FormatError, match="expected 1 windows of 3 steps"):
        open_paths([str(tmp_path / "w" / "neurops_val.npy")])
    np.save(tmp_path / "w" / "neurops_val.npy", np.zeros((1, 3, 4, 4, 2), np.float32))
    with pytest.raises(FormatError, match="expected 3 channels"):
        open_paths([str(tmp_path / "w" / "neurops_val.npy")])
    with np.load(windows / "dataset_info.npz") as held:
        info = dict(held)
    np.savez(tmp_path / "w" / "dataset_info.npz", **{**info, "val_indices": np.array([7])})
    with pytest.raises(FormatError, match="do not exist"):
        open_paths([str(tmp_path / "w" / "neurops_val.npy")])


def archive(path: Path, *members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in members:
            file.writestr(name, data)
    return path


def saved(array: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def test_archives_that_are_bombs_or_damaged(tmp_path):
    small = saved(np.zeros(3))
    bomb = saved(np.zeros(2**24))  # 128 MiB in 130 kB
    lies = archive(tmp_path / "lies.npz", ("a.npy", bomb)).read_bytes()
    (tmp_path / "lies.npz").write_bytes(lies.replace(struct.pack("<I", len(bomb)), b"\0\1\0\0"))
    made = [
        archive(tmp_path / "bomb.npz", ("a.npy", bomb)),
        tmp_path / "lies.npz",
        archive(tmp_path / "lzma.npz", ("a.npy", small), method=zipfile.ZIP_LZMA),
        archive(tmp_path / "many.npz", *((f"{n}.npy", small) for n in range(257))),
        archive(tmp_path / "kind.npz", ("a.txt", small)),
        archive(tmp_path / "objects.npz", ("a.npy", saved(np.array([1, None]), allow_pickle=True))),
        archive(tmp_path / "short.npz", ("a.npy", small[:-1])),
        archive(tmp_path / "empty.npz", ("a.npy", npy(HEADER % ("<U0", (2**61,))))),
    ]
    for name, data in {
        "none.npz": b"",
        "text.npz": b"PK\x03\x04 no archive" + bytes(40),
        "cut.npz": made[2].read_bytes()[:-1],
        "end.npz": b"PK\x05\x06" + struct.pack("<4H2IH", 0, 0, 3, 3, 2**32 - 1, 0, 0),
        "large.npz": b"PK\x05\x06" + struct.pack("<4H2IH", 0, 0, 3, 3, 300, 2**31, 0),
    }.items():
        (tmp_path / name).write_bytes(data)
        made.append(tmp_path / name)
    tracemalloc.start()
    for path in made:
        with pytest.raises(FormatError) as caught:
            read_npz(str(path))
        assert "\n" not in str(caught.value)
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()
    # a name that leads elsewhere is a name: nothing is extracted
    held = read_npz(str(archive(tmp_path / "path.npz", ("../../a.npy", small))))
    assert list(held) == ["../../a"]
    assert sorted(p.suffix for p in tmp_path.parent.glob("*.npy")) == []


def test_flipped_bytes_give_values_or_one_clear_error(made, windows, tmp_path):
    rng, said = np.random.default_rng(4), []
    shutil.copytree(windows, tmp_path / "w")
    for path in (
        made / "metadata.npz",
        made / "all_fields_4x4.npy",
        tmp_path / "w" / "dataset_info.npz",
        tmp_path / "w" / "diffusion_val.npy",
        tmp_path / "w" / "stats" / "train_neurops_stats.npz",
    ):
        data = path.read_bytes()
        which = (
            str(path) if path.name != "dataset_info.npz" else str(path.parent / "neurops_val.npy")
        )
        for _ in range(60):
            changed = bytearray(data)
            for place in rng.integers(0, min(len(data), 1500), 3):
                changed[place] ^= 1 << int(rng.integers(8))
            path.write_bytes(
                changed[: rng.integers(1, len(data) + 1) if rng.random() < 0.3 else None]
            )
            try:
                open_paths([which]).load()
            except XphysError as error:
                said.append(str(error))
        path.write_bytes(data)
    assert len(said) > 50
    assert not any("\n" in line for line in said)
