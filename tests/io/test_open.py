"""xphys.open: recognition, chunks, sources."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import fsspec
import numpy as np
import pytest
import xarray as xr
import zarr

import xphys
from xphys.errors import FormatError, SchemaError, UnknownNameError
from xphys.io.readers._chunk import chunked
from xphys.schema import provenance

DEMO = Path(xphys.__file__).parent / "data" / "mri_64"


@pytest.fixture
def fields():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(6, 8, 10)).astype(np.float32)
    dims = ("t", "x2", "x1")
    ds = xr.Dataset({"rho": (dims, values)}, coords={"x1": np.arange(10.0), "t": np.arange(6.0)})
    ds["t"].attrs["units"] = "s"
    return ds


def write_zarr(ds: xr.Dataset, path: Path, **options) -> str:
    ds.to_zarr(path, **{"consolidated": False, **options})
    return str(path)


@pytest.mark.parametrize("source", ["folder", "glob", "list", "file"])
def test_athenak_sources(source):
    files = sorted(DEMO.glob("*.mhd_w.*.bin"))
    sources = {
        "folder": (DEMO, 12),
        "glob": (str(DEMO / "*.0004[0-2].bin"), 3),
        "list": (files[:4], 4),
        "file": (files[0], 1),
    }
    path, steps = sources[source]
    ds = xphys.open(path)
    assert dict(ds.sizes) == {"time": steps, "z": 64, "x": 64}
    assert ds["density"].chunks is not None
    assert ds.encoding["source"]
    assert ds["density"].encoding["preferred_chunks"]["time"] == 1
    assert np.isfinite(ds["density"].isel(time=0)).all()


def test_refined_level_is_lazy_and_stays_a_coordinate(small_data):
    ds = xphys.open(small_data / "athenak" / "orszag_tang_smr")
    assert ds.coords["level"].chunks == ((256,), (256,))
    assert int(ds["level"].max()) == 2


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("consolidated", [True, False])
@pytest.mark.filterwarnings("ignore:Consolidated metadata is currently not part")
def test_zarr(tmp_path, fields, zarr_format, consolidated):
    path = tmp_path / "run.zarr"
    write_zarr(fields, path, zarr_format=zarr_format, consolidated=consolidated)
    ds = xphys.open(path)
    assert ds["rho"].dims == ("time", "y", "x")
    assert ds["time"].dtype == np.float64  # seconds of the simulation stay numbers
    assert ds.encoding["source"] == ds["rho"].encoding["source"] == str(path)
    steps = provenance(ds)
    assert [s["operation"] for s in steps] == ["open", "normalize"]
    assert len(steps[0]["source"]["metadata_digest"]) == 32
    np.testing.assert_array_equal(ds["rho"], fields["rho"])
    raw = xphys.open(path, normalize=False)
    assert raw["rho"].dims == ("t", "x2", "x1")


def test_zarr_group_and_array(tmp_path, fields):
    path = tmp_path / "run.zarr"
    write_zarr(fields, path, group="inner")
    assert xphys.open(path, group="inner")["rho"].shape == (6, 8, 10)
    with pytest.raises(FormatError, match="nowhere: expected one of"):
        xphys.open(path, group="nowhere")
    single = tmp_path / "array.zarr"
    zarr.save_array(str(single), np.zeros(3))
    with pytest.raises(FormatError, match="single array"):
        xphys.open(single)
    (path / "zarr.json").write_text("{")
    with pytest.raises(FormatError, match=r"zarr\.json: expected JSON"):
        xphys.open(path)


@pytest.mark.parametrize("format", ["NETCDF4", "NETCDF3_64BIT"])
def test_netcdf_by_signature(tmp_path, fields, format):
    path = tmp_path / "run.data"
    fields.to_netcdf(path, format=format)
    ds = xphys.open(path)
    assert ds["rho"].dims == ("time", "y", "x")
    np.testing.assert_array_equal(ds["rho"], fields["rho"])
    assert provenance(ds)[0]["source"]["name"] == "run.data"
    named = xphys.open(path, engine="scipy" if format == "NETCDF3_64BIT" else "h5netcdf")
    xr.testing.assert_equal(named, ds)


def test_several_netcdf_files(tmp_path, fields):
    for i in range(3):
        fields.isel(t=slice(2 * i, 2 * i + 2)).to_netcdf(tmp_path / f"part{i}.nc")
    ds = xphys.open(tmp_path / "part*.nc")
    np.testing.assert_array_equal(ds["rho"], fields["rho"])
    assert provenance(ds)[0]["source"]["files"] == 3


def test_remote_sources(tmp_path, small_data, fields):
    memory = fsspec.filesystem("memory")
    run = small_data / "athenak" / "mri_64_two_ranks"
    try:
        memory.put(str(run), "/open_test/run", recursive=True)
        remote = xphys.open("memory://open_test/run", chunks=None).load()
        xr.testing.assert_equal(remote, xphys.open(run).load())
        listed = xphys.open("memory://open_test/run/rank_*/HB3.mhd_jz.*.bin")
        assert list(listed.data_vars) == ["jz"]
        memory.put(write_zarr(fields, tmp_path / "a.zarr"), "/open_test/a.zarr", recursive=True)
        ds = xphys.open("memory://open_test/a.zarr")
        assert ds["rho"].encoding["source"] == "memory://open_test/a.zarr"
        np.testing.assert_array_equal(ds["rho"], fields["rho"])
        fields.to_netcdf(tmp_path / "a.nc")
        memory.put_file(str(tmp_path / "a.nc"), "/open_test/a.nc")
        np.testing.assert_array_equal(xphys.open("memory://open_test/a.nc")["rho"], fields["rho"])
        with pytest.raises(FormatError, match="no readable file"):
            xphys.open("memory://open_test/nothing")
    finally:
        memory.rm("/open_test", recursive=True)


def _big(stored: tuple[int, ...]) -> xr.Dataset:
    """64 steps of 1 MiB without any values: only shapes matter here."""
    variable = xr.Variable(
        ("time", "y", "x"), np.broadcast_to(np.float32(0), (256, 512, 512)), {},
        {"preferred_chunks": dict(zip(("time", "y", "x"), stored, strict=True))},
    )  # fmt: skip
    return xr.Dataset({"f": variable, "series": ("time", np.zeros(256))})


@pytest.mark.parametrize(
    ("stored", "wanted"),
    [
        ((1, 512, 512), (64, 512, 512)),
        ((10, 512, 512), (60, 512, 512)),
        ((3, 256, 256), (63, 512, 512)),
        ((100, 512, 512), (100, 512, 512)),
        ((256, 64, 64), (256, 128, 512)),
    ],
)
def test_auto_chunks_are_whole_multiples_near_64_mb(stored, wanted):
    ds = chunked(_big(stored), "auto")
    assert tuple(c[0] for c in ds["f"].chunks) == wanted
    assert ds.chunks["time"][0] == wanted[0]  # all variables agree
    assert tuple(c[0] for c in chunked(_big(stored), {})["f"].chunks) == stored
    assert chunked(_big(stored), {"time": 7})["f"].chunks[0][0] == 7


def test_stored_zarr_chunks_are_never_split(tmp_path, fields):
    path = write_zarr(fields, tmp_path / "run.zarr", encoding={"rho": {"chunks": (4, 3, 10)}})
    assert xphys.open(path, chunks={})["rho"].chunks == ((4, 2), (3, 3, 2), (10,))
    assert xphys.open(path)["rho"].chunks == ((6,), (8,), (10,))
    assert xphys.open(path, chunks=None)["rho"].chunks is None


def test_task_names_follow_the_data(tmp_path, fields):
    copy = tmp_path / "copy"
    shutil.copytree(DEMO, copy)
    name = xphys.open(DEMO)["density"].data.name
    assert xphys.open(DEMO)["density"].data.name == name
    assert xphys.open(DEMO, missing="drop")["density"].data.name != name
    assert xphys.open(copy)["density"].data.name != name


def test_unrecognised_sources(tmp_path):
    with pytest.raises(FormatError, match=r"among icechunk, athenak, .* netcdf; found a folder"):
        xphys.open(tmp_path)
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(FormatError, match="first bytes b'hello'"):
        xphys.open(tmp_path / "a.txt")
    with pytest.raises(FileNotFoundError):
        xphys.open(tmp_path / "*.bin")


def test_invalid_arguments():
    with pytest.raises(UnknownNameError, match="'athenak'"):
        xphys.open(DEMO, engine="athena")
    with pytest.raises(SchemaError, match="strict"):
        xphys.open(DEMO, strict="never")
    with pytest.raises(SchemaError, match="chunks"):
        xphys.open(DEMO, chunks=5)


def test_reader_modules_import_light():
    code = (
        "import sys, xarray.backends; before = set(sys.modules)\n"
        "import xphys.io.readers.athenak.backend, xphys.io._open\n"
        "heavy = {'dask', 'zarr', 'scipy', 'netCDF4', 'h5py', 'numba', 'torch', 'fsspec'}\n"
        "print(sorted(heavy & (set(sys.modules) - before)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
