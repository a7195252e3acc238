"""Bounds on real output of eight programs, measured with numpy alone."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import xphys

PACKAGED = Path(xphys.__file__).parent / "data" / "mri_64"
SOURCES = (
    "athenak/mri_64",
    "athenak/mri_128",
    "athenak/mri_64_two_ranks",
    "athenak/orszag_tang_smr",
    "athenak/linear_wave_3d_smr",
    "exponax/acoustic_wave_2d.nc",
    "exponax/decaying_navier_stokes_3d.nc",
    "exponax/gray_scott_2d.nc",
    "exponax/kuramoto_sivashinsky_1d.nc",
    "py2d/py2d_turbulence_2d.nc",
    "dedalus/rayleigh_benard_2d.nc",
    "public/basin_mask.nc",
    "public/eraint_uvz.nc",
)
QUICK: list[dict[str, float]] = [{"vrmse": 1e-2}, {"max_rel": 1e-3}]
MORE: list[dict[str, float]] = [
    {"vrmse": 1e-1},
    {"vrmse": 1e-3},
    {"vrmse": 1e-5},
    {"max_abs": 1e-2},
    {"psnr": 50.0},
    {"pointwise_rel": 1e-2},
    {"rel_l2": 1e-3},
]


def _open(path: Path) -> xr.Dataset:
    with warnings.catch_warnings():
        # one public file declares a fill value that does not fit its integers
        warnings.filterwarnings("ignore", "variable .* has non-conforming")
        return xphys.open(path).load()


def _excess(x: np.ndarray, y: np.ndarray, kind: str, value: float) -> float:
    """How far above the bound the error is; at most zero when it holds."""
    finite = np.isfinite(x)
    assert y[~finite].tobytes() == x[~finite].tobytes()
    a, b = x[finite].astype(np.float64), y[finite].astype(np.float64)
    error, spread = np.abs(b - a), np.ptp(a)
    norm = np.sqrt((error**2).sum())
    if kind == "pointwise_rel":
        return float((error - value * np.abs(a)).max())
    return float(
        {
            "vrmse": lambda: norm - value * np.sqrt(((a - a.mean()) ** 2).sum()),
            "rel_l2": lambda: norm - value * np.sqrt((a**2).sum()),
            "psnr": lambda: norm - spread * 10 ** (-value / 20) * np.sqrt(a.size),
            "max_abs": lambda: error.max() - value,
            "max_rel": lambda: error.max() - value * spread,
        }[kind]()
    )


def _check(ds: xr.Dataset, bound: dict[str, Any]) -> None:
    ((kind, value),) = bound.items()
    decoded = ds.phys.compress(**bound).compute()
    for name in ds.data_vars:
        x, y = ds[name].values, decoded[name].values
        assert y.dtype == x.dtype.newbyteorder("=")
        assert _excess(x, y, kind, value) <= 0, (name, bound)


@pytest.mark.parametrize("bound", [*QUICK, *MORE], ids=str)
def test_packaged_run(bound: dict[str, float]) -> None:
    _check(_open(PACKAGED), bound)


@pytest.mark.parametrize("source", SOURCES)
def test_real_output(simulation_data: Path, source: str) -> None:
    ds = _open(simulation_data / source)
    for bound in QUICK:
        _check(ds, bound)


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES)
def test_real_output_with_every_kind_of_bound(simulation_data: Path, source: str) -> None:
    ds = _open(simulation_data / source)
    for bound in MORE:
        _check(ds, bound)
