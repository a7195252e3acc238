"""Figures of analyses: spectra and values of reconstructions, gaps between resolutions."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xphys.errors import SchemaError

__all__ = ["analysis_figures", "gap_figure", "pdf_figure"]

_COLOURS = ("#222222", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_SPECTRA = {"tke_spectrum": "kinetic energy", "enstrophy_spectrum": "enstrophy"}
_DEPTH = 1e-14  # round-off far below the rest would squeeze everything else


def analysis_figures(analysis: xr.Dataset) -> dict[str, Figure]:
    """Draw what `xphys.metrics.analyze` returns.

    Parameters
    ----------
    analysis : Dataset
        It is computed where it is lazy.

    Returns
    -------
    dict of str to matplotlib.figure.Figure
        "tke_spectrum", "enstrophy_spectrum" (both axes logarithmic) and "pixel_histogram".

    Raises
    ------
    SchemaError
        If it is another Dataset.

    Examples
    --------
    >>> from xphys.metrics import analyze
    >>> axes = {d: (d, np.arange(8) / 8, {"period": 1.0}) for d in "yx"}
    >>> wave = np.sin(2 * np.pi * np.arange(8) / 8) + np.zeros((8, 1))
    >>> truth = xr.Dataset({"omega": (("y", "x"), wave)}, axes)
    >>> list(analysis_figures(analyze(truth, truth)))
    ['tke_spectrum', 'enstrophy_spectrum', 'pixel_histogram']
    """
    _check(analysis, (*_SPECTRA, "pixel_histogram"), "analyze")
    ds = analysis.compute()
    found = {}
    for name, what in _SPECTRA.items():
        figure, panel = _one()
        for line, colour in zip(ds[name].transpose("origin", ...), _COLOURS, strict=False):
            panel.plot(line["wavenumber"], line.where(line > 0), color=colour, label=_label(line))
        _logarithmic(panel, ds[name].values, both=True)
        panel.set_xlabel("wavenumber (radians per cell)")
        panel.set_ylabel(f"mean {what} of a mode")
        panel.legend(frameon=False)
        found[name] = figure
    figure, panel = _one()
    _draw_densities(panel, ds, "pixel_histogram")
    found["pixel_histogram"] = figure
    return found


def pdf_figure(density: xr.Dataset, *, other: xr.Dataset | None = None) -> Figure:
    """Draw what `xphys.stats.pdf` returns, one panel for each variable.

    Parameters
    ----------
    density : Dataset
        Over all dims; it is computed where it is lazy.
    other : Dataset, optional
        Of a reference with the same variables, drawn dashed.

    Returns
    -------
    matplotlib.figure.Figure
        Free of pyplot: save it with ``.savefig(path)``.

    Raises
    ------
    SchemaError
        If it is another Dataset, or has more dims than variable and bin.

    Examples
    --------
    >>> from xphys.stats import pdf
    >>> len(pdf_figure(pdf(xr.Dataset({"u": ("x", np.arange(9.0))}))).axes)
    1
    """
    _check(density, ("pdf", "left", "right"), "pdf")
    if set(density["pdf"].dims) != {"variable", "bin"}:
        raise SchemaError(
            f"expected dims variable and bin, got {density['pdf'].dims}: select one place first"
        )
    drawn = [density.compute()] if other is None else [density.compute(), other.compute()]
    names = [str(n) for n in density["variable"].values]
    figure = Figure(figsize=(5.0 * len(names), 4.2), layout="constrained")
    for panel, name in zip(np.atleast_1d(figure.subplots(1, len(names))), names, strict=True):
        for ds, style in zip(drawn, ({"color": _COLOURS[1]}, {"color": _COLOURS[0], "ls": "--"}),
                             strict=False):  # fmt: skip
            if name in ds["variable"].values:
                _steps(panel, ds.sel(variable=name), "pdf", **style)
        _logarithmic(panel, drawn[0]["pdf"].sel(variable=name).values, both=False)
        units = str(density["units"].sel(variable=name).values) if "units" in density else ""
        panel.set_xlabel(f"{name} ({units})" if units not in ("", "1") else name)
        panel.set_ylabel("probability density")
    return figure


def gap_figure(gap: xr.Dataset, *, variable: str | None = None) -> Figure:
    """Draw what `xphys.metrics.domain_gap` returns: deviation, spectrum and density by origin.

    Parameters
    ----------
    gap : Dataset
        It is computed where it is lazy.
    variable : str, optional
        By default the first.

    Returns
    -------
    matplotlib.figure.Figure
        Free of pyplot: save it with ``.savefig(path)``.

    Raises
    ------
    SchemaError
        If it is another Dataset, or has no such variable.
    """
    _check(gap, ("std", "spectrum", "pdf"), "domain_gap")
    names = [str(n) for n in gap["variable"].values]
    if variable is not None and variable not in names:
        raise SchemaError(f"expected a variable out of {names}, got {variable!r}")
    ds = gap.sel(variable=variable or names[0]).compute()
    figure = Figure(figsize=(14, 4.4), layout="constrained")
    panels = figure.subplots(1, 3)
    for i, origin in enumerate(ds["origin"].values):
        one, style = ds.sel(origin=origin), {"color": _COLOURS[i], "label": str(origin)}
        rest = [d for d in one["std"].dims if d != "time"]
        line = one["std"].mean(rest)
        time = line["time"] if "time" in line.coords else np.arange(line.size)
        panels[0].plot(np.atleast_1d(time), np.atleast_1d(line), "o-", ms=3, **style)
        if "wavenumber" in one["spectrum"].dims:
            power = one["spectrum"].mean([d for d in one["spectrum"].dims if d != "wavenumber"])
            panels[1].plot(power["wavenumber"], power.where(power > 0), **style)
        _steps(panels[2], one, "pdf", **style)
    panels[0].set_xlabel("time")
    panels[0].set_ylabel("standard deviation")
    _logarithmic(panels[1], ds["spectrum"].values, both=True)
    panels[1].set_xlabel("wavenumber")
    panels[1].set_ylabel("mean power of a mode")
    _logarithmic(panels[2], ds["pdf"].values, both=False)
    panels[2].set_xlabel(variable or names[0])
    panels[2].set_ylabel("probability density")
    for panel in panels:
        panel.grid(alpha=0.25)
        panel.legend(frameon=False)
    return figure


def _check(ds: xr.Dataset, names: tuple[str, ...], function: str) -> None:
    missing = [name for name in names if name not in ds]
    if missing:
        raise SchemaError(f"expected the result of {function}(), it has no {missing}")


def _one() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5.6, 4.4), layout="constrained")
    panel = figure.subplots()
    panel.grid(alpha=0.25, which="both")
    return figure, panel


def _label(line: xr.DataArray) -> str:
    return {"reference": "truth", "test": "reconstruction"}.get(
        str(line["origin"].values), str(line["origin"].values)
    )


def _draw_densities(panel: Axes, ds: xr.Dataset, name: str) -> None:
    for i, origin in enumerate(ds["origin"].values):
        one = ds.sel(origin=origin)
        _steps(panel, one, name, color=_COLOURS[i], label=_label(one[name]))
    panel.set_xlabel("value")
    panel.set_ylabel("probability density")
    panel.legend(frameon=False)


def _steps(panel: Axes, ds: xr.Dataset, name: str, **style: Any) -> None:
    edges = np.append(ds["left"].values, ds["right"].values[-1])
    if np.isfinite(edges).all():
        panel.stairs(np.nan_to_num(ds[name].values), edges, **style)


def _logarithmic(panel: Axes, values: np.ndarray, *, both: bool) -> None:
    positive = values[np.isfinite(values) & (values > 0)]
    if not positive.size:  # a logarithmic axis cannot be empty
        return
    if both:
        panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_ylim(bottom=max(0.5 * float(positive.min()), _DEPTH * float(positive.max())))
