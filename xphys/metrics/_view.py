"""The result of a comparison: a Dataset with a table and a picture for notebooks."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np
import xarray as xr

from xphys.errors import SchemaError

__all__ = ["Comparison", "summary"]

_COLUMNS = ("ratio", "vrmse", "max_abs", "psnr", "invariant_drift", "mismatched_nonfinite")
_HEADERS = {"max_abs": "max |error|", "psnr": "psnr (dB)", "invariant_drift": "invariant drift"}
# Colours that stay apart for colour-blind readers, on light and dark pages alike.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 420, 200, 52, 34, 10, 8
_DECADES = 12


class Comparison(xr.Dataset):
    """What `compare` returns: a Dataset, shown as a table with the spectrum errors drawn."""

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
            f"{_table(summary(self))}{_picture(self)}</div>"
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
        Keys ``variable``, ``units`` and those that exist of ratio, bytes, vrmse, rel_l2, max_abs,
        psnr, mismatched_nonfinite, invariant_drift.

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


def _picture(comparison: xr.Dataset) -> str:
    """Spectrum error by wavenumber, one curve per variable, both axes logarithmic."""
    if "spectrum_error" not in comparison.data_vars:
        return ""
    wavenumber = comparison["wavenumber"].values
    curves = {}
    for i, name in enumerate(comparison["variable"].values[: len(_COLOURS)]):
        error = comparison["spectrum_error"].values[i]
        drawn = np.isfinite(error) & (error > 0)
        if drawn.any():
            curves[str(name)] = (np.log10(wavenumber[drawn]), np.log10(error[drawn]))
    if not curves:
        return ""
    xs, ys = (np.concatenate([c[i] for c in curves.values()]) for i in (0, 1))
    # Shells that are lost altogether (errors of many decades) must not press the rest flat.
    top = min(float(np.ceil(ys.max() + 1e-9)), 1.0)
    bottom = max(min(float(np.floor(ys.min())), top - 1), top - _DECADES)
    left, right = float(xs.min()), max(float(xs.max()), float(xs.min()) + 1e-3)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - left) / (right - left)
        up = (min(max(y, bottom), top) - bottom) / (top - bottom)
        return (
            _LEFT + across * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - up * (_HEIGHT - _BOTTOM - _TOP),
        )

    parts = [*_grid(left, right, bottom, top, place), *_curves(curves, place)]
    units = comparison["wavenumber"].attrs.get("units", "1")
    label = "wavenumber" if units == "1" else f"wavenumber ({escape(str(units))})"
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" '
        'role="img" aria-label="spectrum error by wavenumber" font-family="sans-serif" '
        f'font-size="10" fill="currentColor">{"".join(parts)}'
        f'<text x="{(_WIDTH + _LEFT) / 2:.0f}" y="{_HEIGHT - 4}" text-anchor="middle">'
        f"{label}</text>"
        f'<text transform="translate(10,{(_HEIGHT - _BOTTOM) / 2:.0f}) rotate(-90)" '
        'text-anchor="middle">spectrum error</text></svg>'
    )


def _grid(left: float, right: float, bottom: float, top: float, place: Any) -> list[str]:
    parts = []
    step = max(1, int(np.ceil((top - bottom) / 5)))
    for decade in np.arange(bottom, top + 0.5, step):
        (x0, y), (x1, _) = place(left, decade), place(right, decade)
        parts.append(
            f'<line x1="{x0:.1f}" x2="{x1:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="#888" '
            f'stroke-opacity="0.35"/><text x="{x0 - 5:.1f}" y="{y + 3:.1f}" '
            f'text-anchor="end">1e{int(decade)}</text>'
        )
    ticks = [n * 10.0**p for p in range(-12, 13) for n in (1, 2, 5)]
    for tick in [t for t in ticks if left <= np.log10(t) <= right]:
        x, y = place(float(np.log10(tick)), bottom)
        parts.append(f'<text x="{x:.1f}" y="{y + 13:.1f}" text-anchor="middle">{tick:g}</text>')
    return parts


def _curves(curves: dict[str, tuple[np.ndarray, np.ndarray]], place: Any) -> list[str]:
    parts = []
    for i, (name, (x, y)) in enumerate(curves.items()):
        path = " ".join("{:.1f},{:.1f}".format(*place(a, b)) for a, b in zip(x, y, strict=True))
        row = _HEIGHT - _BOTTOM - 6 - 12 * (len(curves) - 1 - i)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{_COLOURS[i]}" stroke-width="1.6"/>'
            f'<text x="{_WIDTH - _RIGHT - 4}" y="{row}" text-anchor="end" fill="{_COLOURS[i]}">'
            f"{escape(name)}</text>"
        )
    return parts
