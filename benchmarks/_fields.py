"""Real fields to measure on: a folder of simulation output, or what ships in the package."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import xarray as xr

import xphys

SOURCES = {
    "Gray-Scott": "exponax/gray_scott_2d.nc",
    "acoustic wave": "exponax/acoustic_wave_2d.nc",
    "3-D Navier-Stokes": "exponax/decaying_navier_stokes_3d.nc",
    "1-D Kuramoto-Sivashinsky": "exponax/kuramoto_sivashinsky_1d.nc",
    "py2d turbulence": "py2d/py2d_turbulence_2d.nc",
    "Rayleigh-Benard": "dedalus/rayleigh_benard_2d.nc",
    "MRI 64": "athenak/mri_64",
    "MRI 128": "athenak/mri_128",
    "Orszag-Tang": "athenak/orszag_tang_smr",
    "PDEBench 2-D CFD": "formats/pdebench_2d_cfd.hdf5",
    "3-D linear wave": "athenak/linear_wave_3d_smr",
    "ERA-Interim": "public/eraint_uvz.nc",
}


def data_folder() -> Path | None:
    """The folder named by XPHYS_TEST_DATA, if it exists."""
    root = Path(os.environ.get("XPHYS_TEST_DATA", "../shared/data"))
    return root if root.is_dir() else None


def fields() -> Iterator[tuple[str, xr.Dataset]]:
    """Name and Dataset of each source, values in memory; constant variables left out."""
    root = data_folder()
    packaged = Path(xphys.__file__).parent / "data"
    sources = {n: root / p for n, p in SOURCES.items()} if root else {"MRI": packaged / "mri_64"}
    for name, path in sources.items():
        ds = xphys.open(path).load()
        keep = [v for v in ds.data_vars if ds[v].dtype.kind == "f" and float(ds[v].std()) > 0]
        yield name, ds[keep].astype("float32")
