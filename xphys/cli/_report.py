"""Comparisons as rows of numbers and as a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from xphys import io, metrics
from xphys.cli._output import number, print_table

__all__ = ["COLUMNS", "cells", "measure", "print_rows", "rows", "total_stored"]

# Column of the table -> key of a row.
COLUMNS = {
    "ratio": "ratio",
    "VRMSE": "vrmse",
    "max error": "max_abs",
    "PSNR (dB)": "psnr",
    "drift of mean": "invariant_drift",
    "spectrum error": "spectrum_error",
}


def measure(
    test: xr.Dataset,
    reference: xr.Dataset,
    *,
    report: bool | str = False,
    rate_distortion: xr.Dataset | None = None,
) -> metrics.Comparison:
    """Compare over all dims and compute; with stored sizes where ``test`` lies in a store."""
    stored = {str(name): size for name, size in io.stored_bytes(test, {}).items()}
    return metrics.compare(
        test, reference, stored=stored or None, report=report, rate_distortion=rate_distortion
    ).compute()


def total_stored(ds: xr.Dataset) -> int:
    """Bytes of all variables of an opened store."""
    return sum(int(size) for size in io.stored_bytes(ds, {}).values())


def rows(comparison: xr.Dataset) -> list[dict[str, Any]]:
    """One row per variable; ``spectrum_error`` is the median over the complete shells."""
    found = metrics.summary(comparison)
    for row, error in zip(found, _spectrum_errors(comparison), strict=True):
        row["spectrum_error"] = error
    return found


def _spectrum_errors(comparison: xr.Dataset) -> list[float]:
    if "spectrum_error" not in comparison:
        return [float("nan")] * comparison.sizes["variable"]
    errors = comparison["spectrum_error"]
    if "complete" in errors.coords:
        errors = errors.where(errors["complete"])
    values = errors.transpose("variable", ...).to_numpy()
    return [
        float(np.median(row[np.isfinite(row)])) if np.isfinite(row).any() else float("nan")
        for row in values
    ]


def cells(row: Mapping[str, Any]) -> list[str]:
    """The numbers of a row in the order of `COLUMNS`."""
    return [number(row.get(key)) for key in COLUMNS.values()]


def print_rows(title: str, found: Iterable[Mapping[str, Any]]) -> None:
    """Print one table line per variable."""
    print_table(title, ("variable", *COLUMNS), [[row["variable"], *cells(row)] for row in found])
