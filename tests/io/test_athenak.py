"""AthenaK reader on files that AthenaK wrote."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import xphys
from xphys.errors import FormatError, SchemaError, UnknownNameError
from xphys.io.readers.athenak import _format, open_athenak
from xphys.io.readers.athenak.backend import AthenaKBackend
from xphys.schema import provenance, validate, vectors

DEMO = Path(xphys.__file__).parent / "data" / "mri_64"
STORED = {
    "density": "dens",
    "velocity_x": "velx",
    "velocity_z": "vely",
    "velocity_y": "velz",
    "magnetic_field_x": "bcc1",
    "magnetic_field_z": "bcc2",
    "magnetic_field_y": "bcc3",
    "jz": "jz",
}


@pytest.fixture
def reads(monkeypatch):
    """Every byte range that the reader asks for, as (path, offset, count)."""
    seen: list[tuple[str, int, int]] = []
    original = _format.read_ranges

    def counting(path, ranges, storage_options=None):
        ranges = list(ranges)
        seen.extend((path, offset, count) for offset, count in ranges)
        return original(path, ranges, storage_options)

    monkeypatch.setattr(_format, "read_ranges", counting)
    return seen


def by_stored_name(ds: xr.Dataset) -> dict[str, xr.DataArray]:
    return {v.attrs["source_name"]: v for v in ds.data_vars.values()}


def test_names_dims_and_attributes_of_the_radial_vertical_box():
    ds = open_athenak(DEMO)
    assert {n: v.attrs["source_name"] for n, v in ds.data_vars.items()} == STORED
    assert all(v.dims == ("time", "z", "x") and v.dtype == np.float32 for v in ds.values())
    assert dict(ds.sizes) == {"time": 12, "z": 64, "x": 64}
    assert vectors(ds) == {
        "magnetic_field": {c: f"magnetic_field_{c}" for c in "xyz"},
        "velocity": {c: f"velocity_{c}" for c in "xyz"},
    }
    assert "background shear" in ds["velocity_y"].attrs["comment"]
    assert validate(ds) == []
    for dim, axis in (("x", "x1"), ("z", "x2")):
        attrs = ds[dim].attrs
        assert (attrs["boundary"], attrs["period"], attrs["spacing"]) == (
            "periodic",
            1.0,
            "uniform",
        )
        assert attrs["source_name"] == axis
        assert np.array_equal(ds[dim], -0.5 + (np.arange(64) + 0.5) / 64)
    assert "shear-periodic" in ds["x"].attrs["comment"]


def test_parameters_time_and_provenance():
    ds = open_athenak(DEMO)
    wanted = {
        "viscosity": 3e-5,
        "resistivity": 3e-5,
        "sound_speed": 1.0,
        "shear_parameter": 1.5,
        "rotation_rate": 1.0,
        "plasma_beta": 4000.0,
        "amplitude": 0.01,
        "seed": 1,
        "cfl_number": 0.4,
    }
    assert {name: ds[name].item() for name in wanted} == wanted
    assert ds["viscosity"].attrs["source_name"] == "mhd/viscosity"
    assert ds["time"].values[[0, -1]].tolist() == [25.1356, 32.0463]
    assert ds["cycle"].dtype == np.int64
    assert ds["cycle"].values[[0, -1]].tolist() == [4369, 5688]
    (step,) = provenance(ds)
    assert step["operation"] == "open"
    assert step["source"]["files"] == 36
    assert step["source"]["first"] == "HB3.mhd_bcc.00040.bin"
    assert str(DEMO) not in ds.attrs["xphys_provenance"]
    assert ds.encoding["source"] == str(DEMO)
    assert '"viscosity":"3e-5"' in ds.attrs["athenak_deck"]


def test_one_and_two_ranks_are_equal_bit_for_bit(small_data):
    one = open_athenak(small_data / "athenak" / "mri_64_one_rank")
    two = open_athenak(small_data / "athenak" / "mri_64_two_ranks")
    assert len(one.data_vars) == 8
    for name in one.data_vars:
        a, b = one[name].values, two[name].values
        assert a.tobytes() == b.tobytes(), name


def test_restart_meets_the_run_it_came_from(small_data):
    run = open_athenak(DEMO).isel(time=-1)
    again = open_athenak(small_data / "athenak" / "mri_64_one_rank").isel(time=0)
    assert run["time"].item() == again["time"].item()
    assert float(abs(run["density"] - again["density"]).max()) < 1e-2


def test_stored_jz_is_twice_the_central_difference():
    ds = open_athenak(DEMO).isel(time=0).load().astype(np.float64)
    bx, bz = ds["magnetic_field_x"], ds["magnetic_field_z"]
    once = (bz.roll(x=-1) - bz.roll(x=1) - bx.roll(z=-1) + bx.roll(z=1)) * 64 / 2
    assert float(abs(ds["jz"] - 2 * once).max()) < 1e-5 * float(abs(ds["jz"]).max())
    assert "twice the central-difference" in ds["jz"].attrs["comment"]
    assert "vector" not in ds["jz"].attrs


@pytest.mark.parametrize(
    ("run", "wanted"),
    [
        (
            "mri_64",
            {
                "bcc1": 0.00934, "bcc2": 0.0104, "bcc3": 0.0447, "jz": 1.4, "dens": 0.00996,
                "velx": 0.0324, "vely": 0.0415, "velz": 0.0445,
            },
        ),
        (
            "mri_128",
            {
                "bcc1": 0.033, "bcc2": 0.0306, "bcc3": 0.0759, "jz": 7.69, "dens": 0.00734,
                "velx": 0.0604, "vely": 0.0583, "velz": 0.0561,
            },
        ),
        (
            "mri_64_one_rank",
            {
                "bcc1": 0.0115, "bcc2": 0.0131, "bcc3": 0.0488, "jz": 1.72, "dens": 0.0102,
                "velx": 0.0393, "vely": 0.0512, "velz": 0.0456,
            },
        ),
    ],
)  # fmt: skip
def test_standard_deviations_of_every_field(simulation_data, run, wanted):
    ds = open_athenak(simulation_data / "athenak" / run).isel(time=-1)
    found = {n: float(f"{float(v.astype(float).std()):.3g}") for n, v in by_stored_name(ds).items()}
    assert found == wanted


def test_times_of_the_long_run(simulation_data):
    ds = open_athenak(simulation_data / "athenak" / "mri_64")
    assert ds.sizes["time"] == 40
    assert ds["time"].values[[0, -1]].tolist() == [11.3129, 35.8165]
    assert np.all(np.diff(ds["time"]) > 0.6)


def test_refined_run_on_the_finest_common_grid(small_data):
    ds = open_athenak(small_data / "athenak" / "orszag_tang_smr").isel(time=-1)
    assert dict(ds.sizes) == {"y": 256, "x": 256}
    found = {n: float(v.astype(float).std()) for n, v in by_stored_name(ds).items()}
    wanted = {"dens": 0.1018, "velx": 0.547, "vely": 0.599, "eint": 0.1825}
    assert {n: float(f"{found[n]:.{len(str(w)) - 2}f}") for n, w in wanted.items()} == wanted
    assert ds["time"].item() == 0.2
    level = ds["level"]
    assert level.dims == ("y", "x")
    assert level.dtype == np.int8
    assert np.unique(level).tolist() == [0, 1, 2]
    assert level.sel(x=0.0, y=0.0, method="nearest").item() == 2
    assert level.values[0, 0] == 0
    corner = ds["density"].values[:4, :4]  # a coarsest cell is 4 x 4 cells here
    assert np.unique(corner).size == 1


def test_coarser_level_is_the_volume_average(small_data):
    fine = open_athenak(small_data / "athenak" / "orszag_tang_smr")["density"]
    for level, factor in ((0, 4), (1, 2)):
        coarse = open_athenak(small_data / "athenak" / "orszag_tang_smr", level=level)["density"]
        mean = fine.astype(np.float64).coarsen(y=factor, x=factor).mean().astype(np.float32)
        np.testing.assert_allclose(coarse, mean, rtol=2e-7)
        np.testing.assert_allclose(coarse["x"], mean["x"], atol=1e-15)


def test_windows_and_steps_equal_the_whole(small_data):
    path = small_data / "athenak" / "orszag_tang_smr"
    whole = open_athenak(path)["velocity_x"].values
    rng = np.random.default_rng(0)
    y, x = rng.integers(0, 256, 7), rng.integers(0, 256, 5)
    variable = open_athenak(path)["velocity_x"].variable
    for key in (
        (0, slice(100, 140), slice(100, 140)),
        (slice(None), 17, slice(None, None, 9)),
        (-1, slice(250, 3, -11), 128),
        (0, 127, 128),
        (slice(0, 0), slice(None), slice(None)),
    ):
        np.testing.assert_array_equal(variable[key].values, whole[key])
    outer = variable[{"time": [0], "y": y, "x": x}].values
    np.testing.assert_array_equal(outer, whole[np.ix_([0], y, x)])


def test_slice_of_a_refined_run(small_data, simulation_data):
    ds = open_athenak(small_data / "athenak" / "linear_wave_3d_slice")
    assert dict(ds.sizes) == {"time": 1, "y": 32, "x": 64}
    assert ds["z"].item() == 0.75 + 1.5 / 32 / 2
    assert ds["level"].dims == ("y", "x")
    whole = open_athenak(simulation_data / "athenak" / "linear_wave_3d_smr")
    plane = whole.isel(time=-1).sel(z=ds["z"].item(), method="nearest")
    np.testing.assert_array_equal(ds["density"].isel(time=0), plane["density"])
    np.testing.assert_array_equal(ds["level"], plane["level"])


def test_folder_with_two_grids(simulation_data):
    path = simulation_data / "athenak" / "linear_wave_3d_smr"
    ds = open_athenak(path)
    assert dict(ds.sizes) == {"time": 2, "z": 32, "y": 32, "x": 64}
    assert ds.attrs["athenak_other_groups"] == "mhd_w"
    assert {v.attrs["source_group"] for v in ds.values()} == {"mhd_w_bcc"}
    assert dict(open_athenak(path, groups=["mhd_w"]).sizes) == {"time": 2, "y": 32, "x": 64}
    with pytest.raises(SchemaError, match="different grids"):
        open_athenak(path, groups=["mhd_w", "mhd_w_bcc"])
    with pytest.raises(UnknownNameError, match="mhd_w_bcc"):
        open_athenak(path, groups=["hydro_w"])


def test_opening_reads_no_field_data(reads):
    ds = open_athenak(DEMO)
    sizes = [count for _, _, count in reads]
    assert len(reads) == 36 + 3 * (1 + 4)  # headers, and the block table of the first output
    assert max(sizes) == 16384
    assert {count for _, offset, count in reads if offset} == {40}
    reads.clear()
    ds["density"].isel(time=3, z=slice(0, 8), x=slice(0, 8)).values  # noqa: B018
    fields = [r for r in reads if r[2] != 40]
    assert [Path(path).name for path, _, _ in fields] == ["HB3.mhd_w.00043.bin"]
    assert fields[0][2] == (7 * 32 + 8) * 4
    reads.clear()
    ds["density"].isel(time=3).values  # noqa: B018
    assert [count for _, _, count in reads] == [32 * 32 * 4] * 4  # the block table is known


def test_dask_graph_reads_only_what_it_needs(reads):
    ds = xphys.open(DEMO, chunks={"time": 4})
    assert ds["density"].chunks == ((4, 4, 4), (64,), (64,))
    reads.clear()
    total = ds["density"].isel(time=slice(4, 8)).mean()
    assert reads == []
    total.compute()
    assert {Path(path).name for path, _, _ in reads} == {
        f"HB3.mhd_w.000{n}.bin" for n in range(44, 48)
    }


def test_pickled_dataset_reads_the_same():
    ds = open_athenak(DEMO).isel(time=slice(2, 4))
    again = pickle.loads(pickle.dumps(ds))
    xr.testing.assert_identical(again.load(), ds.load())


def test_preferred_chunks_are_one_file():
    ds = xr.open_dataset(DEMO, engine="athenak", chunks={})
    assert ds["density"].chunks == ((1,) * 12, (64,), (64,))
    assert ds["density"].encoding["preferred_chunks"] == {"time": 1, "z": 64, "x": 64}


def test_engine_takes_file_folder_and_list():
    files = sorted(DEMO.glob("*.mhd_w.*.bin"))
    one = xr.open_dataset(files[0])  # recognised by its first line
    assert set(one.data_vars) == {"density", "velocity_x", "velocity_y", "velocity_z"}
    many = xr.open_dataset([str(f) for f in files[:3]], engine="athenak")
    assert many.sizes["time"] == 3
    xr.testing.assert_equal(one, many.isel(time=[0]))
    less = xr.open_dataset(files[0], engine="athenak", drop_variables="density")
    assert "density" not in less


def test_only_athenak_files_are_claimed(tmp_path, small_data):
    engine = AthenaKBackend()
    other = tmp_path / "HB3.mhd_w.00001.bin"
    other.write_bytes(b"something else")
    assert engine.guess_can_open(next(iter(DEMO.glob("*.bin"))))
    assert not engine.guess_can_open(str(other))
    assert not engine.guess_can_open(DEMO)
    assert not engine.guess_can_open(small_data / "athenak" / "history" / "HB3.mhd.hst")
    assert not engine.guess_can_open(b"Athena binary output")
    with pytest.raises(FormatError, match=r"00001.bin.*not an AthenaK"):
        open_athenak(other)


def test_equal_to_the_vtk_files_of_the_same_run(simulation_data, small_data):
    ds = open_athenak(small_data / "athenak" / "mri_64_one_rank").isel(time=0)
    fields = by_stored_name(ds)
    compared = 0
    for path in sorted((simulation_data / "formats" / "athenak_vtk").glob("*.vtk")):
        raw = path.read_bytes()
        while b"SCALARS " in raw:
            raw = raw.partition(b"SCALARS ")[2]
            name = raw.split(maxsplit=1)[0].decode()
            raw = raw.partition(b"LOOKUP_TABLE default\n")[2]
            values = np.frombuffer(raw, ">f4", 64 * 64).reshape(64, 64)
            np.testing.assert_array_equal(fields[name].values, values)
            raw = raw[values.nbytes :]
            compared += 1
    assert compared == 8


def test_history_table(small_data):
    ds = xphys.open(small_data / "athenak" / "history" / "HB3.mhd.hst", chunks=None)
    assert dict(ds.sizes) == {"time": 98}
    assert set(ds.data_vars) == {"time_step", "mass"} | {
        f"{n}_{i}" for n in ("momentum", "kinetic_energy", "magnetic_energy") for i in (1, 2, 3)
    }
    assert ds["magnetic_energy_2"].values[0] == 1.25e-4
    assert ds["magnetic_energy_2"].attrs["source_name"] == "2-ME"
    assert ds["mass"].values[0] == 0.999926


def _history(path: Path, times: list[float], tail: str = "") -> Path:
    head = "# Athena++ history data\n#  [1]=time     [2]=dt    [3]=mass  [4]=extra\n"
    path.write_text(head + "".join(f" {t} 0.1 1.0 {i}\n" for i, t in enumerate(times)) + tail)
    return path


def test_history_keeps_the_rows_of_the_last_run(tmp_path):
    path = _history(tmp_path / "a.hst", [0.0, 0.1, 0.2, 0.3, 0.15, 0.2, 0.25, 0.25])
    ds = xphys.open(path, chunks=None)
    assert ds["time"].values.tolist() == [0.0, 0.1, 0.15, 0.2, 0.25]
    assert ds["extra"].values.tolist() == [0, 1, 4, 5, 7]


def test_history_with_half_a_line_is_refused(tmp_path):
    path = _history(tmp_path / "a.hst", [0.0, 0.1], tail=" 0.2 0.1")
    with pytest.raises(FormatError, match=r"a\.hst: expected 4 numbers in line 5"):
        xphys.open(path)
