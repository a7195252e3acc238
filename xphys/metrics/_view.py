"""The result of a comparison: a Dataset with a table and a picture for notebooks."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np
import xarray as xr

from xphys.errors import SchemaError
from xphys.metrics._charts import charts
from xphys.metrics._svg import chart_svg, section_svg

__all__ = ["Comparison", "summary"]

_COLUMNS = (
    "ratio",
    "bits_per_value",
    "vrmse",
    "max_abs",
    "psnr",
    "invariant_drift",
    "mismatched_nonfinite",
)
_HEADERS = {"max_abs": "max |error|", "psnr": "psnr (dB)", "invariant_drift": "invariant drift"}


class Comparison(xr.Dataset):
    """What `compare` returns: a Dataset, shown as a table with pictures of what it holds."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        table = xr.Dataset._repr_html_(self)  # type: ignore[no-untyped-call]
        if "vrmse" not in self.data_vars or self["vrmse"].dims != ("variable",):
            return str(table)
        if any(v.chunks is not None for v in self.variables.values()):
            names = ", ".join(escape(str(n)) for n in self["variable"].values)
            return f"<p><b>Comparison</b> of {names} (lazy: <code>.compute()</code>)</p>{table}"
        return (
            f'<div style="display:flex;flex-wrap:wrap;gap:1em;align-items:center">'
            f"{_table(summary(self))}{_pictures(self)}</div>"
            f"<details><summary>all values</summary>{table}</details>"
        )


def summary(comparison: xr.Dataset) -> list[dict[str, Any]]:
    """One row per variable: plain numbers for a table or for JSON.

    Parameters
    ----------
    comparison : Dataset
        Computed result of `compare` over all dims.

    Returns
    -------
    list of dict
        Keys ``variable``, ``units`` and those that exist of ratio, bits_per_value, bytes,
        vrmse, rel_l2, max_abs, psnr, mismatched_nonfinite, invariant_drift.

    Raises
    ------
    SchemaError
        If the comparison is lazy, or was not taken over all dims.

    Examples
    --------
    >>> from xphys.metrics import compare
    >>> x = xr.Dataset({"density": ("x", [1.0, 2.0])})
    >>> summary(compare(x, x))[0]["vrmse"]
    0.0
    """
    scalars = (*_COLUMNS, "bytes", "rel_l2")
    present = [n for n in scalars if n in comparison.data_vars]
    for name in present:
        if comparison[name].chunks is not None:
            raise SchemaError("the comparison is lazy: expected numbers, call .compute() first")
        if comparison[name].dims != ("variable",):
            raise SchemaError(
                f"{name!r} has dims {comparison[name].dims}, expected ('variable',): compare "
                "over all dims, or select first"
            )
    names = [str(n) for n in comparison["variable"].values]
    units = comparison["units"].values if "units" in comparison.coords else [""] * len(names)
    return [
        {"variable": name, "units": str(units[i])}
        | {column: float(comparison[column].values[i]) for column in present}
        for i, name in enumerate(names)
    ]


def _table(rows: list[dict[str, Any]]) -> str:
    columns = [c for c in _COLUMNS if c in rows[0]]
    if not any(row.get("mismatched_nonfinite") for row in rows):
        columns = [c for c in columns if c != "mismatched_nonfinite"]
    head = "".join(
        f"<th>{_HEADERS.get(c, c.replace('_', ' '))}</th>" for c in ("variable", *columns)
    )
    body = "".join(
        f"<tr><th>{escape(row['variable'])}</th>"
        + "".join(
            f"<td>{_number(row[c], row['units'] if c == 'max_abs' else '')}</td>" for c in columns
        )
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _number(value: float, units: str) -> str:
    suffix = f" {escape(units)}" if units not in ("", "1") else ""
    return "" if np.isnan(value) else f"{value:.3g}{suffix}"


def _pictures(comparison: xr.Dataset) -> str:
    section = section_svg(comparison["section"]) if "section" in comparison else ""
    return section + "".join(map(chart_svg, charts(comparison)))
