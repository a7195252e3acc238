"""Every format: recognised by content, the same through its engine, lazy, valid."""

from __future__ import annotations

import warnings
from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr

import xphys
from xphys.io._formats import READERS

# Path below the folder of simulation output -> engine.
REAL = {
    "athenak/linear_wave_3d_smr": "athenak",
    "athenak/mri_128": "athenak",
    "athenak/mri_64": "athenak",
    "athenak/mri_64_one_rank": "athenak",
    "athenak/mri_64_two_ranks": "athenak",
    "athenak/orszag_tang_smr": "athenak",
    "dedalus/rayleigh_benard_2d.nc": "netcdf",
    "dedalus/snapshots": "dedalus",
    "exponax/acoustic_wave_2d.nc": "netcdf",
    "exponax/decaying_navier_stokes_3d.nc": "netcdf",
    "exponax/gray_scott_2d.nc": "netcdf",
    "exponax/kuramoto_sivashinsky_1d.nc": "netcdf",
    "formats/athenak_vtk": "vtk",
    "formats/gust/rayleigh_benard_64x24_output.h5": "gust",
    "formats/gust/turbulence_64_output.h5": "gust",
    "formats/mri/dino_32": "mri_npy",
    "formats/mri/dino_32/diffusion_test.npy": "mri_npy",
    "formats/mri/dino_32/diffusion_train.npy": "mri_npy",
    "formats/mri/dino_32/diffusion_val.npy": "mri_npy",
    "formats/mri/dino_32/neurops_all.npy": "mri_npy",
    "formats/mri/dino_32/neurops_test.npy": "mri_npy",
    "formats/mri/dino_32/neurops_train.npy": "mri_npy",
    "formats/mri/dino_32/neurops_val.npy": "mri_npy",
    "formats/mri/npy_32_antialias": "mri_npy",
    "formats/mri/npy_64": "mri_npy",
    "formats/mri/npy_64_two_ranks": "mri_npy",
    "formats/pdebench_1d_burgers.hdf5": "pdebench",
    "formats/pdebench_2d_cfd.hdf5": "pdebench",
    "formats/spinlock/operators_100_features_v1.h5": "spinlock",
    "formats/spinlock/operators_24_grid32_64_v1.h5": "spinlock",
    "formats/the_well": "the_well",
    "public/basin_mask.nc": "netcdf",
    "public/eraint_uvz.nc": "netcdf",
    "py2d": "py2d",
    "py2d/py2d_snapshot_1.mat": "py2d",
    "py2d/py2d_turbulence_2d.nc": "netcdf",
}
SMALL = {
    "athdf/smr": "athdf",
    "athenak/mri_64_one_rank": "athenak",
    "athenak/orszag_tang_smr": "athenak",
    "dedalus/snapshots": "dedalus",
    "gust": "gust",
    "mri_npy/npy_64": "mri_npy",
    "pdebench/burgers_1d.hdf5": "pdebench",
    "py2d": "py2d",
    "spinlock/cut_v1.h5": "spinlock",
    "the_well/rayleigh_benard_cut.hdf5": "the_well",
    "vtk": "vtk",
}


def _forbidden(*args: object, **kwargs: object) -> None:
    raise AssertionError("opening computed something")


def _check(path: Path, engine: str) -> None:
    with warnings.catch_warnings(), dask.config.set(scheduler=_forbidden):
        warnings.simplefilter("ignore", xr.SerializationWarning)  # packed with a float fill value
        ds = xphys.open(path)
        assert ds.phys.provenance[0]["parameters"]["engine"] == engine
        assert all(v.chunks is not None for v in ds.data_vars.values() if v.ndim)
        assert [f for f in ds.phys.validate() if f.severity == "error"] == []
        again = xphys.open(path, engine=engine)
        if engine == "netcdf":
            return
        other = xr.open_dataset(path, engine=engine)
        none = {name for name, v in other.variables.items() if v._in_memory and v.ndim > 1}
        assert none <= set(other.coords)
    assert again.identical(ds)
    assert other.drop_attrs().identical(ds.drop_attrs())


@pytest.mark.parametrize("name", REAL)
def test_real_files(simulation_data: Path, name: str) -> None:
    _check(simulation_data / name, REAL[name])


@pytest.mark.parametrize("name", SMALL)
def test_files_of_the_repository(small_data: Path, name: str) -> None:
    _check(small_data / name, SMALL[name])


def test_tables_of_history(simulation_data: Path, small_data: Path) -> None:
    tables = [*simulation_data.rglob("*.hst"), *small_data.rglob("*.hst")]
    assert len(tables) > 2
    for table in tables:
        ds = xphys.open(table)
        assert ds.sizes["time"] > 10
        assert np.all(np.diff(ds["time"]) > 0)


def test_every_file_is_in_the_table(simulation_data: Path) -> None:
    """Nothing of the folder is left out: what is no data set has another reader, or none yet."""
    later = {"formats/sincps", "formats/gust/vqvae", "formats/gust/nsp", "formats/gust/tokens.npz"}
    later |= {"formats/gust/nsp_teacher_forced", "formats/gust/analysis"}  # models and their tables
    aside = {".md", ".hst", ".sha256", ".txt", ".json", ".npz", ".athinput"}
    known = {*REAL, *later}
    for path in simulation_data.rglob("*"):
        inside = path.relative_to(simulation_data)
        if path.is_file() and path.suffix not in aside:
            parents = {str(p) for p in (inside, *inside.parents)}
            assert parents & known, f"{inside} is opened by no test"


def test_every_reader_has_a_file() -> None:
    names = {reader.name for reader in READERS} - {"zarr", "icechunk", "netcdf"}
    assert names == set(SMALL.values())
    assert names - {"athdf"} <= set(REAL.values())
