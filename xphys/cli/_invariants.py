"""Integrals over space and how far they drift, as rows of numbers and as a table."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import xarray as xr

from xphys import fields
from xphys.cli._output import number, print_table
from xphys.cli._progress import ProgressBar

__all__ = ["invariant_rows", "print_invariants"]


def invariant_rows(ds: xr.Dataset) -> list[dict[str, Any]]:
    """One row per integral: first and last value, and drift; reads all of the data.

    ``drift`` is the largest change since the first time over the largest absolute value, with
    several trajectories the largest of all; None without time, or of what is 0 throughout. What
    the data do not allow has a row with the reason, ``absent``.
    """
    lazy = fields.invariants(ds)
    absent = json.loads(lazy.attrs["absent"])
    with ProgressBar("integrating"):
        found = lazy.compute()
    rows = [_row(found[name]) for name in found.data_vars]
    return rows + [{"invariant": name, "absent": reason} for name, reason in absent.items()]


def _row(values: xr.DataArray) -> dict[str, Any]:
    row: dict[str, Any] = {"invariant": str(values.name), "units": values.attrs.get("units")}
    if "time" not in values.dims or not values.size:
        return row | {"first": _mean(values), "last": _mean(values), "drift": None}
    first, last = values.isel(time=0), values.isel(time=-1)
    change = abs(values - first).max("time", skipna=False)
    size = abs(values).max("time", skipna=False)
    with np.errstate(invalid="ignore"):
        drift = float((change / size.where(size > 0)).max())
    known = bool(np.isfinite(values).all()) and np.isfinite(drift)
    return row | {"first": _mean(first), "last": _mean(last), "drift": drift if known else None}


def _mean(values: xr.DataArray) -> float:
    return float(values.mean(skipna=False)) if values.size else float("nan")


def print_invariants(rows: list[dict[str, Any]]) -> None:
    """Print one line per integral, then what is not there."""
    print_table(
        "Invariants (mean over trajectories)",
        ("integral", "first", "last", "drift", "units"),
        [
            [r["invariant"], number(r["first"], 6), number(r["last"], 6), number(r["drift"], 2),
             r["units"] or "-"]
            for r in rows if "absent" not in r
        ],
    )  # fmt: skip
    print_table(
        "Not there",
        ("integral", "because"),
        [[r["invariant"], r["absent"]] for r in rows if "absent" in r],
    )
