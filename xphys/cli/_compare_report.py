"""The folder of a comparison: all scores as JSON and as a page, with two pictures."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import dask
import xarray as xr

from xphys import metrics, plotting, stats
from xphys.errors import XphysError

__all__ = ["write_report"]

_BINS = 100


def write_report(
    folder: Path,
    test: xr.Dataset,
    reference: xr.Dataset,
    comparison: xr.Dataset,
    variable: str | None,
) -> None:
    """Write report.md, scores.json, fields.png and values.png.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    test, reference : Dataset
        What was compared.
    comparison : Dataset
        Result of `xphys.metrics.compare`.
    variable : str, optional
        Of the picture of fields.

    Raises
    ------
    XphysError
        If the folder is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise XphysError(f"{folder} is a file: choose a folder")
    folder.mkdir(parents=True, exist_ok=True)
    names = [str(n) for n in comparison["variable"].values]
    scores, distances, *densities = dask.compute(
        metrics.scores(test, reference),
        metrics.distances(test, reference, names),
        *(stats.pdf(ds, names, bins=_BINS, skipna=True) for ds in (test, reference)),
    )
    rows = [_row(scores, distances, name) for name in names]
    text = json.dumps({"variables": rows}, indent=2, allow_nan=False) + "\n"
    (folder / "scores.json").write_text(text, encoding="utf-8")
    figure = plotting.compare_figure(test, reference, variable=variable, comparison=comparison)
    figure.savefig(folder / "fields.png")
    plotting.pdf_figure(densities[0], other=densities[1]).savefig(folder / "values.png")
    (folder / "report.md").write_text(_page(rows), encoding="utf-8")


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


def _page(rows: list[dict[str, Any]]) -> str:
    lines = ["# Comparison", ""]
    header = ["score", *(str(row["variable"]) for row in rows)]
    lines += [f"| {' | '.join(header)} |", f"| {' | '.join(['---'] * len(header))} |"]
    for key in rows[0]:
        if key != "variable":
            cells = [key.replace("_", " "), *(_cell(row[key]) for row in rows)]
            lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "![fields, error and spectra](fields.png)", "",
              "![densities of the values, the reference dashed](values.png)", ""]  # fmt: skip
    return "\n".join(lines)


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
