"""Spinlock reader on files that Spinlock wrote, and on files that are not what they seem."""

from __future__ import annotations

import json
import pickle
import shutil
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr

import xphys
from xphys.errors import FormatError, SchemaError, XphysError
from xphys.io._formats import READERS
from xphys.io.readers import _hdf5
from xphys.io.readers._chunk import chunked
from xphys.io.readers._hdf5 import HDF5File
from xphys.io.readers._probe import probe
from xphys.io.readers._strings import read_strings
from xphys.io.readers.spinlock._open import _check_lengths
from xphys.io.readers.spinlock._parameters import Parameter, mapped, parameter_space
from xphys.io.readers.spinlock.backend import SpinlockBackend, is_spinlock, open_paths, open_tree
from xphys.schema import provenance, validate

REAL = ["operators_24_grid32_64_v1.h5", "operators_100_features_v1.h5"]


@pytest.fixture
def cut(small_data) -> Path:
    return small_data / "spinlock" / "cut_v1.h5"


def write(path: Path, **changes) -> str:
    """A small data set: two operators of 4 cells, one of 6, in a frame of 6."""
    rng = np.random.default_rng(0)
    held = {
        "inputs/fields": rng.random((3, 2, 6, 6), np.float32),
        "outputs/fields": rng.random((3, 2, 2, 6, 6), np.float32),
        "parameters/params": np.array([[0.0, 0.5], [0.25, 1.0], [1.0, 0.0]], np.float32),
        "metadata/grid_sizes": np.array([4, 4, 6], np.int32),
        "metadata/ic_types": np.array(["a", "bcd", "é"], object),
        "config": {"parameter_space": {"operator": {"a": spec(), "b": spec()}}},
        **changes,
    }
    config = held.pop("config")
    with h5py.File(path, "w") as file:
        file.create_group("metadata").attrs["version"] = "1.0"
        file["metadata"].attrs["config"] = config if isinstance(config, str) else json.dumps(config)
        for name, values in held.items():
            if values is not None:
                text = values.dtype == np.dtype(object)
                file.create_dataset(name, data=values, dtype=h5py.string_dtype() if text else None)
    return str(path)


def spec(**more) -> dict:
    return {"type": "continuous", "bounds": [0.0, 1.0], **more}


@pytest.mark.parametrize("name", REAL)
def test_real_files_equal_an_independent_read(simulation_data, name):
    path = simulation_data / "formats" / "spinlock" / name
    ds = open_paths([str(path)])
    assert [f for f in validate(ds) if f.severity == "error"] == []
    with h5py.File(path, "r") as file:
        for variable in ds.data_vars.values():
            stored = file[variable.attrs["source_name"]][()]
            assert variable.dtype == stored.dtype
            assert variable.values.tobytes() == stored.tobytes(), variable.name
        labels = {"ic_type": "ic_types", "policy": "evolution_policies"}
        for coord, stored in {**labels, "noise_regime": "noise_regimes"}.items():
            assert ds[coord].values.tolist() == file[f"metadata/{stored}"].asstr()[()].tolist()
        assert np.array_equal(ds["grid_size"], file["metadata/grid_sizes"])
        assert np.array_equal(ds["unit_parameters"], file["parameters/params"])
        wanted = {"inputs/fields", "outputs/fields"} | {
            f"features/sdf/{level}/features"
            for level in ("per_timestep", "per_trajectory", "aggregated")
            if "features" in file
        }
    assert {v.attrs["source_name"] for v in ds.data_vars.values()} == wanted


@pytest.mark.parametrize("name", REAL)
def test_parameters_agree_with_what_the_program_noted_beside_them(simulation_data, name):
    """Policy, noise regime and grid size were written by Spinlock from its own mapping."""
    ds = open_paths([str(simulation_data / "formats" / "spinlock" / name)])
    assert ds["parameter"].values.tolist()[:5] == [
        "num_layers",
        "base_channels",
        "kernel_size",
        "activation",
        "dropout_rate",
    ]
    assert ds.sizes["parameter"] == 15
    assert ds["update_policy"].values.tolist() == ds["policy"].values.tolist()
    scale = ds["noise_scale"].values
    regime = np.where(scale < 0.01, "low", np.where(scale < 0.1, "medium", "high"))
    assert regime.tolist() == ds["noise_regime"].values.tolist()
    assert "parameter_grid_size" not in ds.coords  # the mapped one is the same
    assert ds["num_layers"].dtype == np.int64
    assert set(np.unique(ds["num_layers"])) <= {2, 3, 4}


@pytest.mark.parametrize(("name", "sizes"), [(REAL[0], (32, 64)), (REAL[1], (16, 24))])
def test_padding_is_cropped_or_marked(simulation_data, name, sizes):
    path = str(simulation_data / "formats" / "spinlock" / name)
    with h5py.File(path, "r") as file:
        stored, grids = file["outputs/fields"][()], file["metadata/grid_sizes"][()]
    frame = stored.shape[-1]
    whole = open_paths([path])
    assert whole.sizes["x"] == frame
    assert not whole["inside"]._in_memory
    assert whole["x"].attrs["boundary"] == "open"
    inside = whole["inside"].values
    assert not stored[~np.broadcast_to(inside[:, None, None], stored.shape)].any()
    for size in sizes:
        ds = open_paths([path], grid=size)
        first = (frame - size) // 2
        window = slice(first, first + size)
        rows = np.flatnonzero(grids == size)
        assert np.array_equal(ds["operator"], rows)
        assert ds["outputs"].values.tobytes() == stored[rows][..., window, window].tobytes()
        assert ds["x"].attrs["period"] == size
        assert validate(ds) == []
        assert inside[rows].sum() == rows.size * size**2


def test_tree_has_one_node_per_grid_size(cut):
    tree = open_tree([str(cut)])
    assert list(tree.children) == ["grid_16", "grid_24"]
    for size, node in zip((16, 24), tree.children.values(), strict=True):
        assert dict(node["outputs"].sizes) == {
            "operator": 2,
            "realization": 2,
            "channel": 3,
            "y": size,
            "x": size,
        }
        assert node["outputs"].identical(open_paths([str(cut)], grid=size)["outputs"])
    with pytest.raises(SchemaError, match="drop one"):
        open_tree([str(cut)], grid=16)


def test_names_of_features_are_those_of_their_columns(cut):
    """What the names say is computed here from the outputs, which the program did not crop."""
    ds = open_paths([str(cut)]).load()
    fields = ds["outputs"].values.astype(np.float64)
    features = ds["features_per_timestep"].isel(time=0)
    assert features.dims == ("operator", "feature_per_timestep")
    power = np.abs(np.fft.rfft2(fields, norm="ortho")) ** 2
    wanted = {
        "spatial_mean": fields.mean((-2, -1)),
        "spatial_std": fields.std((-2, -1), ddof=1),
        "spatial_max": fields.max((-2, -1)),
        "laplacian_std": (
            sum(np.roll(fields, s, a) for s in (1, -1) for a in (-1, -2)) - 4 * fields
        ).std((-2, -1), ddof=1),
        "dominant_freq_magnitude": power.max((-2, -1)),
    }
    for name, values in wanted.items():
        found = features.sel(feature_per_timestep=name)
        np.testing.assert_allclose(found, values.mean((1, 2)), rtol=2e-3, err_msg=name)
    assert features["family_per_timestep"].values[[0, 18, 19, 45]].tolist() == [
        "spatial",
        "spatial",
        "spectral",
        "spectral",
    ]
    trajectory = ds["feature_per_trajectory"].values
    assert trajectory[[0, 13, 27, 87, 96]].tolist() == [
        "energy_growth_rate",
        "causality_lag_corr_asymmetry_mean_lag1",
        "L1_mean_drift_raw",
        "lipschitz_eps_1e-04",
        "compression_ratio",
    ]
    assert ds["feature_aggregated"].values[[0, 97, 194]].tolist() == [
        "energy_growth_rate_cv",
        "energy_growth_rate_mean",
        "energy_growth_rate_std",
    ]
    assert ds["features_aggregated"].attrs["definition_version"] == "1.0.0"


def test_columns_are_counted_where_names_do_not_fit(cut, tmp_path):
    path = tmp_path / "odd.h5"
    shutil.copy(cut, path)
    with h5py.File(path, "r+") as file:
        values = file["features/sdf/per_timestep/features"][:, :, :45]
        del file["features/sdf/per_timestep/features"]
        file["features/sdf/per_timestep/features"] = values
        file["features/sdf/text"] = "not a feature"
    ds = open_paths([str(path)])
    assert "feature_per_timestep" not in ds.coords
    assert "143 names" in ds["features_per_timestep"].attrs["comment"]
    assert "feature_per_trajectory" in ds.coords
    assert ds.attrs["spinlock_skipped"] == "features/sdf/text"


def test_opening_reads_no_field_and_reading_one_operator_reads_its_chunks(cut, monkeypatch):
    read: list[tuple[str, tuple[int, ...]]] = []
    original = _hdf5.HDF5Array._stored

    def noting(self, corner, *rest):
        read.append((self.name, corner))
        return original(self, corner, *rest)

    monkeypatch.setattr(_hdf5.HDF5Array, "_stored", noting)
    ds = open_paths([str(cut)])
    assert {name for name, _ in read} <= {"parameters/params", "metadata/grid_sizes"}
    read.clear()
    assert ds["outputs"][3, 1, 0, 5:7, 2].shape == (2,)
    assert ds["outputs"][3, 1, 0, 5:7, 2].values.dtype == np.float32
    assert read == [("outputs/fields", (2, 1, 0, 0, 0))]


def test_engine_pickle_chunks_and_provenance(cut):
    ds = xr.open_dataset(cut, engine=SpinlockBackend, grid=16, drop_variables="inputs", chunks={})
    assert "inputs" not in ds
    assert ds["outputs"].chunks == ((2,), (1, 1), (3,), (16,), (16,))
    again = pickle.loads(pickle.dumps(open_paths([str(cut)], grid=16)))
    assert np.array_equal(again["outputs"], ds["outputs"])
    (step,) = provenance(ds)
    assert step["parameters"] == {"engine": "spinlock", "grid": 16}
    assert step["source"]["name"] == "cut_v1.h5"
    assert not SpinlockBackend().guess_can_open(cut)
    assert chunked(open_paths([str(cut)]), "auto")["inside"].chunks is not None


@pytest.mark.skipif(
    "spinlock" not in [reader.name for reader in READERS], reason="reader not in the table"
)
def test_xphys_open_recognises_it(cut):
    ds = xphys.open(cut, grid=24)
    assert ds["outputs"].chunks is not None
    assert list(xphys.open(cut, tree=True).children) == ["grid_16", "grid_24"]


def test_states_over_time_and_one_grid(tmp_path):
    values = np.arange(3 * 2 * 5 * 2 * 36, dtype=np.float32).reshape(3, 2, 5, 2, 6, 6)
    changes = {"outputs/fields": values, "metadata/grid_sizes": np.full(3, 4, np.int32)}
    ds = open_paths([write(tmp_path / "t.h5", **changes)])
    assert ds["outputs"].dims == ("operator", "realization", "time", "channel", "y", "x")
    assert np.array_equal(ds["outputs"], values[..., 1:5, 1:5])
    assert ds["inputs"].shape == (3, 2, 4, 4)
    assert ds["time"].values.tolist() == [0, 1, 2, 3, 4]
    assert "inside" not in ds.coords
    assert ds["ic_type"].values.tolist() == ["a", "bcd", "é"]
    assert validate(ds) == []


def test_features_without_fields(tmp_path):
    path = write(
        tmp_path / "f.h5",
        **{
            "inputs/fields": None,
            "outputs/fields": None,
            "features/temporal/features": np.ones((3, 7, 63), np.float32),
            "features/sdf/operator_sensitivity_inline/gain": np.ones(3, np.float32),
        },
    )
    assert is_spinlock(probe(path))
    ds = open_paths([path], grid=4)
    assert ds["features_temporal"].dims == ("operator", "time", "feature_temporal")
    assert ds.sizes["operator"] == 2
    assert ds["gain"].dims == ("operator",)


def test_trajectories_with_their_metrics(tmp_path):
    path = tmp_path / "t.h5"
    values = np.arange(2 * 3 * 4 * 1 * 5 * 5, dtype=np.float32).reshape(2, 3, 4, 1, 5, 5)
    with h5py.File(path, "w") as file:
        file.create_dataset("trajectories", data=values, chunks=(1, 1, 4, 1, 5, 5))
        file.create_group("metadata").attrs["version"] = "1.0"
        for name in ("energy", "entropy"):
            file[f"metrics/{name}"] = values.sum((3, 4, 5))
    assert is_spinlock(probe(str(path)))
    ds = open_paths([str(path)])
    assert np.array_equal(ds["trajectories"], values)
    assert ds["energy"].dims == ("operator", "realization", "time")
    assert [f for f in validate(ds) if f.severity == "error"] == []


@pytest.mark.parametrize(
    ("said", "unit", "wanted"),
    [
        ({"type": "integer", "bounds": [2, 5]}, [0, 1 / 6, 0.5, 1], [2, 2, 4, 5]),
        ({"type": "continuous", "bounds": [-1, 3]}, [0, 0.25, 1], [-1, 0, 3]),
        (spec(bounds=[1e-3, 1e-1], log_scale=True), [0, 0.5, 1], [1e-3, 1e-2, 1e-1]),
        ({"type": "choice", "choices": [3, 5, 7]}, [0, 0.34, 0.999, 1], [3, 5, 7, 7]),
        (
            {"type": "choice", "choices": ["a", "b"], "weights": [0.25, 0.75]},
            [0.2, 0.25, 1],
            ["a", "b", "b"],
        ),
        ({"type": "boolean"}, [0.5, 0.51], [False, True]),
    ],
)
def test_mapping_of_every_kind(said, unit, wanted):
    found = mapped(Parameter("p", "operator", said), np.array(unit))
    if isinstance(wanted[0], float):
        np.testing.assert_allclose(found.values, wanted, rtol=1e-14)
    else:
        assert found.values.tolist() == wanted


@pytest.mark.parametrize(
    "said",
    [
        {"type": "array", "length": 1},
        {"type": "continuous", "bounds": [0, float("nan")]},
        {"type": "continuous", "bounds": "01"},
        {"type": "integer", "bounds": [0, 10**400]},
        spec(bounds=[0, 1], log_scale=True),
        {"type": "choice", "choices": []},
        {"type": "choice", "choices": [[1]]},
        {"type": "choice", "choices": ["a" * 10**6]},
        {"type": ["choice"]},
        {},
    ],
)
def test_what_has_no_mapping_stays_a_unit_value(said, tmp_path):
    assert mapped(Parameter("p", "operator", said), np.array([0.5])) is None
    path = write(
        tmp_path / "p.h5", config={"parameter_space": {"operator": {"a": said, "b": spec()}}}
    )
    ds = open_paths([path])
    assert "a" not in ds.coords
    assert "not mapped: a" in ds.attrs["parameters"]
    assert ds["b"].values.tolist() == [0.5, 1.0, 0.0]


def test_order_of_the_parameter_space():
    config = {
        "parameter_space": {
            "rollout": {"dt": spec()},
            "operator": {"z": spec(), "a": {"type": "array", "length": 2}},
            "architecture": {"z": spec()},
        }
    }
    names = [parameter.name for parameter in parameter_space(config)]
    assert names == ["architecture_z", "operator_z", "a_0", "a_1", "dt"]


@pytest.mark.parametrize(
    "config",
    [
        "",
        "{",
        "[" * 100_000,
        "1",
        {"parameter_space": 3},
        {"parameter_space": {"operator": {"a": 1, "b": 2}}},
        {"parameter_space": {"operator": {"a": {"type": "array", "length": 10**12}}}},
    ],
)
def test_damaged_configuration_leaves_columns_counted(config, tmp_path):
    ds = open_paths([write(tmp_path / "c.h5", config=config)])
    assert "parameter" not in ds.coords
    assert ds["unit_parameters"].shape == (3, 2)
    assert "counted" in ds.attrs["parameters"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"metadata/grid_sizes": np.array([4, 4, 7], np.int32)}, "within a frame"),
        ({"metadata/grid_sizes": np.array([0, 4, 6], np.int32)}, "within a frame"),
        ({"metadata/grid_sizes": np.array([4.0, 4, 6])}, "integers"),
        ({"metadata/grid_sizes": np.array([4, 6], np.int32)}, "each of 3 operators"),
        ({"inputs/fields": np.zeros((2, 2, 6, 6), np.float32)}, "places along operator"),
        ({"inputs/fields": np.zeros((3, 2, 6), np.float32)}, "expected numbers"),
        ({"outputs/fields": np.zeros((3, 2, 2, 6, 5), np.float32)}, "places along x"),
        ({"outputs/fields": np.zeros((3, 2, 2, 6, 6), "S3")}, "expected numbers"),
        ({"parameters/params": np.zeros((2, 2), np.float32)}, "places along operator"),
        ({"parameters/params": np.zeros(3, np.float32)}, "expected numbers"),
        ({"metadata/ic_types": np.array(["a", "b"], object)}, "each of 3 operators"),
    ],
)
def test_parts_that_do_not_fit(changes, said, tmp_path):
    with pytest.raises(FormatError, match=said) as caught:
        open_paths([write(tmp_path / "bad.h5", **changes)])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("grid", [5, "4", True, 4.0])
def test_grid_that_is_not_there(grid, tmp_path):
    with pytest.raises(SchemaError, match=r"among \[4, 6\]"):
        open_paths([write(tmp_path / "g.h5")], grid=grid)


def test_names_that_are_taken(tmp_path):
    ds = open_paths(
        [
            write(
                tmp_path / "n.h5",
                config={"parameter_space": {"operator": {"x": spec(), "inputs": spec()}}},
                **{"metadata/channel": np.arange(3), "metadata/matrix": np.zeros((2, 2))},
            )
        ]
    )
    assert {"stored_x", "stored_inputs", "stored_channel"} <= set(ds.coords)
    assert ds["x"].dims == ("x",)


def test_strings_are_measured_before_they_are_read(tmp_path):
    path = tmp_path / "bomb.h5"
    long = "x" * 2**20
    with h5py.File(path, "w") as file:
        for name, options in {
            "flat": {},
            "chunked": {"chunks": (64,)},
            "deflated": {"chunks": (64,), "compression": "gzip"},
        }.items():
            made = file.create_dataset(name, (4096,), h5py.string_dtype(), **options)
            made[0] = long
        file.create_dataset("fixed", (4096,), "S65536", chunks=(64,))
        file["short"] = np.array(["a", "", "é"], object)
        file.create_dataset("never", (3,), h5py.string_dtype())
    # every element points to the one long string: a file of 1 MiB that would become 4 GiB
    data = bytearray(path.read_bytes())
    with h5py.File(path, "r") as file:
        at = file["flat"].id.get_offset()
        data[at : at + 16 * 4096] = data[at : at + 16] * 4096
    path.write_bytes(data)
    file = HDF5File(str(path))
    tracemalloc.start()
    for name in ("flat", "chunked", "deflated", "fixed"):
        with pytest.raises(FormatError, match="short texts|too many"):
            read_strings(file, name)
    assert tracemalloc.get_traced_memory()[1] < 2**23
    tracemalloc.stop()
    assert read_strings(file, "short").tolist() == ["a", "", "é"]
    assert read_strings(file, "never").tolist() == ["", "", ""]
    file.close()


def test_truncated_files(cut, tmp_path):
    data = cut.read_bytes()
    for place in np.linspace(0, len(data) - 1, 23).astype(int).tolist():
        path = tmp_path / f"{place}.h5"
        path.write_bytes(data[:place])
        with pytest.raises(XphysError):
            open_paths([str(path)]).load()


def test_flipped_bytes_give_values_or_one_clear_error(cut, tmp_path):
    data, rng = cut.read_bytes(), np.random.default_rng(1)
    path, said = tmp_path / "flip.h5", []
    for _ in range(40):
        changed = bytearray(data)
        for place in rng.integers(0, len(data), 8):
            changed[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        try:
            open_paths([str(path)]).load()
        except XphysError as error:
            said.append(str(error))
    assert said
    assert not any("\n" in line for line in said)


def test_other_layouts_are_not_claimed(tmp_path, small_data):
    with h5py.File(tmp_path / "o.h5", "w") as file:
        file["inputs/fields"] = np.zeros((2, 2))
        file["parameters/params"] = np.zeros((2, 2))
    assert not is_spinlock(probe(str(tmp_path / "o.h5")))
    assert not is_spinlock(probe(str(small_data)))
    with pytest.raises(FormatError, match="expected one of"):
        open_paths([write(tmp_path / "e.h5", **dict.fromkeys(FIELDS))])
    with pytest.raises(FormatError, match="one file"):
        SpinlockBackend().open_dataset([tmp_path / "o.h5", tmp_path / "e.h5"])


FIELDS = ("inputs/fields", "outputs/fields", "parameters/params")


def test_strings_equal_those_of_h5py(tmp_path):
    words = ["", "a", "grüße", "x" * 3000, "y\nz"] * 40
    options = {"flat": {}, "chunked": {"chunks": (7,)}, "gz": {"chunks": (64,), "compression": 4}}
    with h5py.File(tmp_path / "s.h5", "w", userblock_size=512) as file:
        for name, more in options.items():
            file.create_dataset(name, data=words, dtype=h5py.string_dtype(), **more)
        file["fixed"] = np.array([w.encode() for w in words])
        file["numbers"] = np.arange(3)
        file["table"] = np.array([["a"]], object)
    file = HDF5File(str(tmp_path / "s.h5"))
    for name in (*options, "fixed"):
        assert read_strings(file, name).tolist() == words
    for name in ("numbers", "table"):
        with pytest.raises(FormatError, match="a line of text"):
            read_strings(file, name)
    file.close()


def test_damaged_heap_of_strings(tmp_path):
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file.create_dataset("a", data=["one", "two"], dtype=h5py.string_dtype())
    data = (tmp_path / "s.h5").read_bytes()
    start = data.index(b"GCOL")
    changes = {
        start: b"GC0L",
        start + 8: b"\xff" * 8,  # size of the collection
        start + 24: bytes(8),  # size of the first string: HDF5 would not get past it
        start + 26: b"\xff" * 4,
        start + 16: b"\x09",  # its number
    }
    for place, new in changes.items():
        path = tmp_path / f"{place}.h5"
        path.write_bytes(data[:place] + new + data[place + len(new) :])
        with pytest.raises(FormatError, match="the file is damaged"):
            read_strings(HDF5File(str(path)), "a")


def test_a_dim_of_absurd_length_is_refused() -> None:
    with pytest.raises(FormatError, match="at most 1000000000 places along a dim, found {'time'"):
        _check_lengths("a.h5", {"time": 2**60, "x": 4})
    _check_lengths("a.h5", {"time": 10, "x": 4})
