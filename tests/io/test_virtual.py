"""References to HDF5 files: equal to the direct read, stale files, places that are not allowed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import xphys
from xphys.errors import CorruptDataError, FormatError, SchemaError
from xphys.io.writers.references import virtual

icechunk = pytest.importorskip(
    "icechunk", reason="icechunk is not installed: pip install 'xphys[icechunk]'"
)
pytest.importorskip(
    "virtualizarr", reason="virtualizarr is not installed: pip install 'xphys[virtual]'"
)

STEPS, N = 12, 8


def _run(start: int = 0, steps: int = STEPS, mask: bool = False) -> xr.Dataset:
    rng = np.random.default_rng(start)
    ds = xr.Dataset(
        {
            "u": (("time", "y", "x"), rng.standard_normal((steps, N, N)).astype("f4")),
            "n": (("time",), np.arange(start, start + steps)),
        },
        {"time": ("time", (start + np.arange(steps)) * 0.5, {"units": "1"}), "x": np.arange(8.0)},
        attrs={"title": "run"},
    )
    ds["u"].attrs["units"] = "1"
    if mask:
        ds["mask"] = ("y", "x"), np.arange(64.0).reshape(8, 8)
    return ds


def _file(path: Path, ds: xr.Dataset, **coded: object) -> Path:
    path.parent.mkdir(exist_ok=True)
    u = {"chunksizes": (4, N, N), "zlib": True, "shuffle": True, **coded}
    n = {"chunksizes": (4,)}
    ds.to_netcdf(path, encoding={"u": u, "n": n}, engine="netcdf4")
    return path


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [_file(tmp_path / "run" / f"{n}.nc", _run(12 * n, mask=True)) for n in (0, 1, 2)]


@pytest.fixture
def store(tmp_path: Path, files: list[Path]) -> Path:
    virtual(files, tmp_path / "refs")
    return tmp_path / "refs"


def test_one_file_equals_the_direct_read(tmp_path: Path) -> None:
    path = _file(tmp_path / "run" / "0.nc", _run(), dtype="i2", scale_factor=0.01, _FillValue=-9)
    read = virtual(path, tmp_path / "refs")
    assert all(v.chunks for v in read.data_vars.values())
    direct = xphys.open(path)
    assert read.load().drop_attrs().equals(direct.load().drop_attrs())
    assert read.u.attrs == direct.u.attrs
    assert read.u.dtype == direct.u.dtype
    assert set(read.attrs) == set(direct.attrs)
    assert xphys.schema.provenance(read)[0]["operation"] == "virtual"


def test_many_files_follow_each_other(store: Path, files: list[Path]) -> None:
    read, direct = xphys.open(store), xphys.open(files)
    assert read.sizes == {"time": 36, "y": N, "x": N}
    assert read.load().drop_attrs().equals(direct.load().drop_attrs())
    assert sum(p.stat().st_size for p in store.rglob("*") if p.is_file()) < 32_000


@pytest.mark.parametrize(
    "name",
    ["exponax/gray_scott_2d.nc", "dedalus/rayleigh_benard_2d.nc", "py2d/py2d_turbulence_2d.nc"],
)
def test_real_files(simulation_data: Path, tmp_path: Path, name: str) -> None:
    read = virtual(simulation_data / name, tmp_path / "refs").isel(time=slice(3, 9))
    direct = xphys.open(simulation_data / name).isel(time=slice(3, 9))
    assert read.load().drop_attrs().equals(direct.load().drop_attrs())


def test_dumps_written_as_netcdf(simulation_data: Path, tmp_path: Path) -> None:
    dumps = sorted((simulation_data / "athenak" / "mri_64").glob("*.mhd_bcc.*.bin"))[:3]
    run = xphys.open(dumps)
    for n in range(3):
        part = run.isel(time=[n]).load().drop_attrs()
        part.to_netcdf(tmp_path / f"{n}.nc", engine="netcdf4")
    read = virtual(str(tmp_path / "*.nc"), tmp_path / "refs")
    assert read.sizes["time"] == 3
    for name, v in run.variables.items():
        assert np.array_equal(read[name].values, v.values), name


def test_a_window_reads_its_chunks_only(store: Path, files: list[Path]) -> None:
    files[2].unlink()
    assert np.array_equal(xphys.open(store).u[4:8].values, _run(mask=True).u[4:8].values)
    with pytest.raises(CorruptDataError, match="missing"):
        xphys.open(store).u[30].load()


@pytest.mark.parametrize("change", ["touched", "rewritten", "dated back"])
def test_changed_files_are_errors(store: Path, files: list[Path], change: str) -> None:
    before = xphys.open(store)
    if change == "touched":
        os.utime(files[1])
    else:
        status = files[1].stat()
        new = _file(files[1].with_suffix(".new"), _run(12, mask=True).assign(u=lambda d: d.u + 1))
        files[1].write_bytes(new.read_bytes())
        if change == "dated back":
            os.utime(files[1], ns=(status.st_atime_ns, status.st_mtime_ns))
            assert files[1].stat().st_size != status.st_size
    with pytest.raises(CorruptDataError, match="has changed since"):
        xphys.open(store)
    with pytest.raises(CorruptDataError, match="has changed since"):
        before.u.load()
    with pytest.raises(CorruptDataError, match="has changed since"):
        xphys.open(store, strict=False).u.load()
    assert xphys.open(store, strict=False).u[:12].load().notnull().all()
    virtual(files, store, mode="w")
    expected = _run(12).u.values + (0 if change == "touched" else np.float32(1))
    assert np.array_equal(xphys.open(store).u[12:24].values, expected)


def test_places_must_be_named(tmp_path: Path, files: list[Path]) -> None:
    away = tmp_path / "a" / "b"
    away.mkdir(parents=True)
    made = virtual(files, away / "refs")
    assert made.u.load().notnull().all()
    folder = tmp_path / "run"
    with pytest.raises(FormatError, match=r"its values lie in .*sources="):
        xphys.open(away / "refs").u.load()
    for sources in (folder, [str(folder)], tmp_path):
        assert xphys.open(away / "refs", sources=sources).u.load().notnull().all()
    (tmp_path / "ru").mkdir()
    for wrong in (tmp_path / "ru", tmp_path / "run" / "0.nc"):
        with pytest.raises(FormatError, match="its values lie in"):
            xphys.open(away / "refs", sources=wrong).u.load()


@pytest.mark.parametrize("inside", ["../secret", "../run2/0.nc", "%2e%2e/secret"])
def test_references_do_not_lead_out(store: Path, tmp_path: Path, inside: str) -> None:
    (tmp_path / "secret").write_bytes(bytes(5000))
    _file(tmp_path / "run2" / "0.nc", _run())
    repo = icechunk.Repository.open(icechunk.local_filesystem_storage(str(store)))
    for location in (f"file://{tmp_path}/run/{inside}", f"file://{tmp_path}/secret"):
        session = repo.writable_session("main")
        spec = icechunk.VirtualChunkSpec([0, 0, 0], location, 0, 1000)
        session.store.set_virtual_refs("/u", [spec], validate_containers=False)
        session.commit("evil")
        with pytest.raises(FormatError, match="outside the store's own list"):
            xphys.open(store).u[0].load()


def test_sealing_checks_the_values(store: Path, files: list[Path]) -> None:
    with pytest.raises(FormatError, match="no manifest"):
        xphys.verify(store)
    assert set(xphys.verify(store, seal=True).state.values.tolist()) == {"ok"}
    assert not [f for f in xphys.open(store).phys.validate() if f.code == "unverified"]
    files[0].unlink()
    assert "missing" in xphys.verify(store).state.values


def test_what_cannot_be_referred_to(tmp_path: Path, files: list[Path]) -> None:
    import h5py

    refs = tmp_path / "refs"
    classic = tmp_path / "classic.nc"
    _run().to_netcdf(classic, engine="scipy")
    with pytest.raises(FormatError, match="expected netCDF4 or HDF5"):
        virtual(classic, refs)
    with h5py.File(tmp_path / "well.hdf5", "w") as file:
        file["t0_fields/u"] = np.zeros((2, 3))
    with pytest.raises(FormatError, match="name the group"):
        virtual(tmp_path / "well.hdf5", refs)
    with h5py.File(tmp_path / "no_scales.hdf5", "w") as file:
        file["a"], file["b"] = np.zeros(3), np.zeros(4)
    with pytest.raises(FormatError, match="write a copy with to_zarr"):
        virtual(tmp_path / "no_scales.hdf5", refs)
    overlapping = _file(tmp_path / "run" / "9.nc", _run(6, mask=True))
    with pytest.raises(FormatError, match="overlap along 'time'"):
        virtual([*files, overlapping], refs)
    other = _file(
        tmp_path / "run" / "10.nc", _run(120, mask=True).assign(mask=lambda d: d.mask + 1)
    )
    with pytest.raises(FormatError, match="'mask' differs"):
        virtual([*files, other], refs)
    few = _file(tmp_path / "run" / "11.nc", _run(120))
    with pytest.raises(FormatError, match="the same variables"):
        virtual([*files, few], refs)
    odd = _file(tmp_path / "run" / "12.nc", _run(120, 5, mask=True))
    last = _file(tmp_path / "run" / "13.nc", _run(240, mask=True))
    with pytest.raises(FormatError, match="whole chunks"):
        virtual([*files, odd, last], refs)
    same = shutil.copy(files[0], tmp_path / "run" / "14.nc")
    with pytest.raises(FormatError, match="concat_dim"):
        virtual([files[0], same], refs)
    assert not refs.exists()
    virtual(files, refs)
    with pytest.raises(FileExistsError, match="mode='w'"):
        virtual(files, refs)
    with pytest.raises(SchemaError, match="mode 'w-' or 'w'"):
        virtual(files, refs, mode="a")  # type: ignore[arg-type]
    with pytest.raises(FormatError, match="icechunk"):
        virtual(files, "s3://bucket/refs")
