"""The folder of a comparison: scores and drawn numbers as JSON, a page, and its pictures."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import dask
import numpy as np
import xarray as xr

from xphys import metrics, plotting, stats
from xphys.errors import XphysError

__all__ = ["make_folder", "write_report"]

_BINS = 100
_DPI = 120
# Of the comparison, beside the scores.
_STORED = ("ratio", "bytes", "bits_per_value", "invariant_drift")
_CAPTIONS = {
    "fields": "fields, difference and spectra",
    "spectra": "power spectra of both and of the error",
    "over_time": "error, change of means and of integrals over time",
    "rate_distortion": "bits per value against the error, estimated and stored",
    "values": "densities of the values, the reference dashed",
}


def make_folder(folder: Path) -> None:
    """Make the folder of a report, before anything is measured.

    Parameters
    ----------
    folder : Path
        It may be there.

    Raises
    ------
    XphysError
        If it is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise XphysError(f"{folder} is a file: choose a folder")
    folder.mkdir(parents=True, exist_ok=True)


def write_report(
    folder: Path,
    test: xr.Dataset,
    reference: xr.Dataset,
    comparison: xr.Dataset,
    variable: str | None,
) -> None:
    """Write report.md, scores.json, pictures.json and the pictures.

    Parameters
    ----------
    folder : Path
        From `make_folder`.
    test, reference : Dataset
        What was compared.
    comparison : Dataset
        Result of `xphys.metrics.compare` for a report, computed.
    variable : str, optional
        Of the picture of fields.
    """
    names = [str(n) for n in comparison["variable"].values]
    scores, distances, *densities = dask.compute(
        metrics.scores(test, reference),
        metrics.distances(test, reference, names),
        *(stats.pdf(ds, names, bins=_BINS, skipna=True) for ds in (test, reference)),
    )
    rows = [_row(scores, distances, name) for name in names]
    for row, found in zip(rows, metrics.summary(comparison), strict=True):
        row |= {key: _plain(found[key]) for key in _STORED if key in found}
    figures = {"values": plotting.pdf_figure(densities[0], other=densities[1])}
    if "section" in comparison:
        figures["fields"] = plotting.compare_figure(
            test, reference, variable=variable, comparison=comparison
        )
    figures |= plotting.report_figures(comparison)
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=_DPI)
    _write_json(folder / "scores.json", {"variables": rows}, indent=2)
    _write_json(folder / "pictures.json", _drawn(comparison, densities))
    (folder / "report.md").write_text(_page(rows, list(figures)), encoding="utf-8")


def _write_json(path: Path, value: Any, indent: int | None = None) -> None:
    text = json.dumps(value, indent=indent, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def _drawn(comparison: xr.Dataset, densities: list[xr.Dataset]) -> dict[str, Any]:
    """All the numbers in the pictures."""
    charts = [
        {"picture": c.group, "title": c.title, "across": c.across, "up": c.up,
         "ticks": list(c.ticks),
         "curves": [{"label": v.label, "across": _listed(v.x), "up": _listed(v.y)}
                    for v in c.curves]}
        for c in metrics.charts(comparison)
    ]  # fmt: skip
    values = {
        name: {origin: {key: _listed(ds[key].sel(variable=name).values)
                        for key in ("left", "right", "pdf")}
               for origin, ds in zip(("test", "reference"), densities, strict=True)}
        for name in map(str, comparison["variable"].values)
    }  # fmt: skip
    found: dict[str, Any] = {"charts": charts, "values": values}
    if "section" in comparison:
        section = comparison["section"]
        about = {str(n).removeprefix("section_"): _listed(c.values)
                 for n, c in section.coords.items() if str(n).startswith("section_")}  # fmt: skip
        both = {o: _listed(section.sel(origin=o).values) for o in ("reference", "test")}
        dims = [str(d).removeprefix("section_") for d in section.dims[1:]]
        found["fields"] = about | {"dims": dims} | both
    return found


def _listed(values: Any) -> Any:
    """Numbers as JSON has them, to the seven digits that a picture cannot exceed."""
    if isinstance(values, np.ndarray) and values.ndim:
        return [_listed(v) for v in values]
    plain = values.item() if isinstance(values, np.ndarray | np.generic) else values
    if isinstance(values, np.ndarray | np.generic) and values.dtype.kind in "mM":
        return str(values)
    return _plain(float(f"{plain:.7g}")) if isinstance(plain, float) else plain


def _row(scores: xr.Dataset, distances: xr.Dataset, name: str) -> dict[str, Any]:
    row: dict[str, Any] = {
        "variable": name,
        "units": str(scores["units"].sel(variable=name).values),
    }
    for ds in (scores, distances):
        for key, field in ds.data_vars.items():
            one = field.sel(variable=name)
            if "band" in one.dims:
                row |= {f"{key}_{b}": _plain(one.sel(band=b).item()) for b in one["band"].values}
            else:
                row[str(key)] = _plain(one.item())
    return row


def _plain(value: float) -> float | str | None:
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else repr(value)


def _page(rows: list[dict[str, Any]], pictures: list[str]) -> str:
    lines = ["# Comparison", ""]
    header = ["score", *(str(row["variable"]) for row in rows)]
    lines += [f"| {' | '.join(header)} |", f"| {' | '.join(['---'] * len(header))} |"]
    for key in rows[0]:
        if key != "variable":
            cells = [key.replace("_", " "), *(_cell(row[key]) for row in rows)]
            lines.append(f"| {' | '.join(cells)} |")
    for name in _CAPTIONS:
        if name in pictures:
            lines += ["", f"![{_CAPTIONS[name]}]({name}.png)"]
    lines.append("")
    return "\n".join(lines)


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
