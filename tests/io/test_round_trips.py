"""Any reader -> any writer -> back: exact with coordinates, attributes, parameters, or one error.

The data are the small files of tests/data; The Well's own class is asked in
test_writer_the_well.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import xphys
from xphys.errors import XphysError
from xphys.schema import PROVENANCE, provenance

SOURCES = (
    "athdf/amr",
    "athdf/smr",
    "athdf/spherical",
    "athenak/history/HB3.mhd.hst",
    "athenak/linear_wave_3d_slice",
    "athenak/mri_64_one_rank",
    "athenak/mri_64_two_ranks",
    "athenak/orszag_tang_smr",
    "dedalus/snapshots",
    "gust/rayleigh_benard_64x24.h5",
    "mri_npy/dino_16/diffusion_val.npy",
    "mri_npy/dino_16/neurops_val.npy",
    "mri_npy/npy_64",
    "pdebench/burgers_1d.hdf5",
    "pdebench/cfd_3d.hdf5",
    "pdebench/darcy_2d.hdf5",
    "pdebench/diffusion_reaction_2d.hdf5",
    "pdebench/diffusion_sorption_1d.hdf5",
    "pdebench/incompressible_2d.hdf5",
    "pdebench/shallow_water_2d.hdf5",
    "py2d",
    "spinlock/cut_v1.h5",
    "the_well/box_3d.hdf5",
    "the_well/maze.hdf5",
    "the_well/moving_grid.hdf5",
    "the_well/rayleigh_benard_cut.hdf5",
    "the_well/several/data/train",
    "the_well/sphere.h5",
    "the_well/spherical.hdf5",
    "the_well/tensors.hdf5",
    "vtk",
)
# What each layout can hold; the others give one error.
PLANES = {
    "athenak/mri_64_one_rank", "athenak/mri_64_two_ranks", "athdf/amr", "athdf/smr", "vtk",
    "athenak/orszag_tang_smr", "gust/rayleigh_benard_64x24.h5", "mri_npy/npy_64", "py2d",
}  # fmt: skip

# The Well has trajectories, and real numbers on spatial axes.
UNFIT = {"spinlock/cut_v1.h5", "athdf/spherical", "athenak/history/HB3.mhd.hst"}


def opened(small_data: Path, name: str) -> xr.Dataset:
    try:
        return xphys.open(small_data / name)
    except XphysError as error:
        pytest.fail(f"{name}: {error}")


def same(found: xr.Dataset, wanted: xr.Dataset) -> None:
    """Equal in everything but the record of operations, which has grown."""
    assert set(found.variables) == set(wanted.variables)
    assert set(found.coords) == set(wanted.coords)
    found, wanted = found.load(), wanted.load()
    for name in wanted.variables:
        a, b = found.variables[name], wanted.variables[name]
        assert a.dims == b.dims, name
        if b.dtype.kind in "OUT":
            assert a.dtype.kind in "OUT"
            assert a.values.tolist() == b.values.tolist(), name
        else:
            assert a.dtype == b.dtype.newbyteorder("="), name
            kind = b.dtype.newbyteorder("=")
            assert a.values.tobytes() == b.values.astype(kind).tobytes(), name
        _same_attrs(a.attrs, b.attrs, str(name))
    _same_attrs(found.attrs, wanted.attrs, "the Dataset")
    before, after = provenance(wanted), provenance(found)
    assert after[: len(before)] == before


def _same_attrs(found: dict[Any, Any], wanted: dict[Any, Any], where: str) -> None:
    assert set(found) - {PROVENANCE} == set(wanted) - {PROVENANCE}, where
    for key in set(wanted) - {PROVENANCE}:
        np.testing.assert_equal(found[key], wanted[key], err_msg=f"{key} of {where}")


@pytest.mark.parametrize("name", SOURCES)
def test_zarr(small_data, tmp_path, name):
    ds = opened(small_data, name)
    ds.phys.to_zarr(tmp_path / "a.zarr")
    same(xphys.open(tmp_path / "a.zarr"), ds)


@pytest.mark.parametrize("name", SOURCES)
def test_icechunk(small_data, tmp_path, name):
    pytest.importorskip("icechunk")
    ds = opened(small_data, name)
    url = f"icechunk://{tmp_path}/repository"
    ds.phys.to_zarr(url)
    same(xphys.open(url), ds)


@pytest.mark.parametrize("name", SOURCES)
def test_netcdf(small_data, tmp_path, name):
    ds = opened(small_data, name)
    ds.phys.to_netcdf(tmp_path / "a.nc")
    same(xphys.open(tmp_path / "a.nc"), ds)


def refused(write: Callable[[], None], path: Path) -> bool:
    """Whether a layout cannot hold the data: then there is one line, and no file."""
    try:
        write()
    except XphysError as error:
        message = str(error)
    else:
        return False
    assert message
    assert "\n" not in message
    assert not path.exists()
    return True


@pytest.mark.filterwarnings("ignore::xphys.errors.XphysWarning")
@pytest.mark.parametrize("name", SOURCES)
def test_the_well(small_data, tmp_path, name):
    ds, path = opened(small_data, name), tmp_path / "a.hdf5"
    if refused(lambda: ds.phys.to_the_well(path), path):
        assert "time" not in ds.dims or name in UNFIT
        return
    back = xphys.open(path)
    for key in ("grid_type", "dataset_name"):  # The Well's own, in every file
        if key not in ds.attrs:
            del back.attrs[key]
    same(back, ds)


@pytest.mark.parametrize("name", SOURCES)
def test_gust(small_data, tmp_path, name):
    ds, path = opened(small_data, name), tmp_path / "a.h5"
    if refused(lambda: ds.phys.to_gust(path), path):
        assert name not in PLANES
        return
    back = xphys.open(path)
    assert set(back.data_vars) == set(ds.data_vars)
    for field in ds.data_vars:  # the layout has float32, and x and y only
        wanted = ds[field].values.astype("f4")
        np.testing.assert_array_equal(back[field].values.reshape(wanted.shape), wanted)
    for scalar, value in ds.coords.items():
        if value.ndim == 0 and value.dtype.kind in "fiub":
            assert back[scalar].values == value.values, scalar
