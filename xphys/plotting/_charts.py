"""Charts of a comparison on matplotlib axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from xphys.errors import SchemaError
from xphys.metrics import Chart, charts

__all__ = ["TEXT_COLOUR", "draw_chart", "rate_distortion_figure", "report_figures"]

TEXT_COLOUR = "#222222"
_WIDTH, _HEIGHT = 5.2, 4.0  # inches of a panel
_FEW = 300.0  # from the smallest to the largest
_LONG = 6  # more curves have their legend beside the panel
_LOOKS: dict[str, dict[str, Any]] = {
    "line": {"lw": 1.5},
    "thick": {"lw": 3.2, "alpha": 0.5},
    "dashed": {"lw": 1.5, "ls": "--"},
    "points": {"marker": "o", "ls": "none"},
}


def report_figures(comparison: xr.Dataset) -> dict[str, Figure]:
    """Draw the charts of a comparison: spectra, changes over time, rate and distortion.

    Parameters
    ----------
    comparison : Dataset
        Computed result of `xphys.metrics.compare` over all dims; with ``report=True`` it has more
        to draw.

    Returns
    -------
    dict of str to matplotlib.figure.Figure
        Those of "spectra", "over_time" and "rate_distortion" that there are numbers for.

    Raises
    ------
    SchemaError
        If the comparison is lazy, or was not taken over all dims.

    Examples
    --------
    >>> from xphys.metrics import compare
    >>> x = xr.Variable("x", np.arange(16) / 16, {"period": 1.0, "units": "m"})
    >>> ds = xr.Dataset({"density": ("x", 2 + np.cos(2 * np.pi * x.data))}, coords={"x": x})
    >>> list(report_figures(compare(ds * 1.01, ds, report=True)))
    ['spectra', 'over_time']
    """
    groups: dict[str, list[Chart]] = {}
    for chart in charts(comparison):
        groups.setdefault(chart.group, []).append(chart)
    return {name: _figure(group) for name, group in groups.items()}


def rate_distortion_figure(curve: xr.Dataset, comparison: xr.Dataset | None = None) -> Figure:
    """Draw bits per value against the error bound, a line for each variable.

    Parameters
    ----------
    curve : Dataset
        Result of `xphys.codecs.rate_distortion`; it is computed where it is lazy.
    comparison : Dataset, optional
        Computed result of `xphys.metrics.compare` of what was stored, drawn as points.

    Returns
    -------
    matplotlib.figure.Figure
        Free of pyplot: save it with ``.savefig(path)``.

    Raises
    ------
    SchemaError
        If it is another Dataset.

    Examples
    --------
    >>> bits = xr.DataArray([[0.1], [1.0]], dims=("target", "variable"))
    >>> curve = xr.Dataset({"bits_per_value": bits, "ratio": 32 / bits},
    ...                    {"target": [1e-1, 1e-2], "variable": ["density"]})
    >>> rate_distortion_figure(curve).axes[0].get_ylabel()
    'VRMSE'
    """
    missing = [n for n in ("bits_per_value", "ratio", "target") if n not in curve]
    if missing:
        raise SchemaError(f"expected the result of rate_distortion(), it has no {missing}")
    names = curve["variable"].values
    drawn = xr.Dataset({"vrmse": ("variable", np.full(names.size, np.nan))}, {"variable": names})
    drawn["estimated_bits"] = curve["bits_per_value"].compute()
    drawn["estimated_ratio"] = curve["ratio"].compute()
    for name in ("vrmse", "bits_per_value"):
        if comparison is not None and name in comparison:
            drawn[name] = comparison[name].reindex(variable=names)
    return _figure([c for c in charts(drawn) if c.group == "rate_distortion"])


def _logarithmic(panel: Axes, chart: Chart) -> None:
    """At least a decade upwards; axes of few decades are numbered 1, 2, 5."""
    panel.set_yscale("log")
    top = max(float(np.nanmax(c.y, initial=0.0, where=np.isfinite(c.y))) for c in chart.curves)
    low, high = np.log10(0.7 * chart.floor), np.log10(1.4 * top)
    spare = max(0.0, 1.0 - (high - low)) / 2
    panel.set_ylim(10 ** (low - spare), 10 ** (high + spare))
    axes: list[Axis] = [panel.yaxis]
    if chart.log_across:
        panel.set_xscale("log")
        axes.append(panel.xaxis)
    for axis, (first, last) in zip(axes, (panel.get_ylim(), panel.get_xlim()), strict=False):
        if last / first < _FEW:
            _number(axis)
    if chart.inverse is not None:
        label, whole = chart.inverse

        def over(values: Any) -> np.ndarray:
            # matplotlib asks for the place of 0 as well
            return np.asarray(whole / np.maximum(values, 1e-300))

        beside = panel.secondary_xaxis("top", functions=(over, over))
        beside.set_xlabel(label)
        _number(beside.xaxis)


def _number(axis: Axis) -> None:
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _figure(group: Sequence[Chart]) -> Figure:
    across = min(len(group), 3)
    down = math.ceil(len(group) / across)
    wide = any(_crowded(chart) for chart in group)
    size = ((_WIDTH + (1.6 if wide else 0.0)) * across, _HEIGHT * down)
    figure = Figure(figsize=size, layout="constrained")
    panels = np.atleast_1d(figure.subplots(down, across)).reshape(-1)
    for panel, chart in zip(panels, group, strict=False):
        draw_chart(panel, chart)
    for panel in panels[len(group) :]:
        panel.set_axis_off()
    return figure


def _crowded(chart: Chart) -> bool:
    return sum(bool(c.label) for c in chart.curves) > _LONG


def draw_chart(panel: Axes, chart: Chart) -> None:
    """Draw one chart.

    Parameters
    ----------
    panel : matplotlib Axes
        Empty.
    chart : Chart
        From `xphys.metrics.charts`.
    """
    for curve in chart.curves:
        if not (curve.y > 0).any():
            continue
        colour = TEXT_COLOUR if curve.colour == "text" else curve.colour
        y = np.where(curve.y > 0, curve.y, np.nan)
        panel.plot(curve.x, y, color=colour, label=curve.label or None, **_LOOKS[curve.style])
    if chart.floor > 0:  # a logarithmic axis cannot be empty
        _logarithmic(panel, chart)
    if chart.shaded is not None:
        panel.axvspan(*chart.shaded, color="0.5", alpha=0.12, lw=0)
    if chart.ticks:
        panel.set_xticks(range(len(chart.ticks)), chart.ticks, rotation=40, ha="right",
                         rotation_mode="anchor")  # fmt: skip
    panel.set_title(chart.title, fontsize="medium")
    panel.set_xlabel(chart.across)
    panel.set_ylabel(chart.up)
    panel.grid(alpha=0.25, which="major")
    if _crowded(chart):
        panel.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    elif any(c.label for c in chart.curves):
        panel.legend(frameon=False, fontsize="small")
