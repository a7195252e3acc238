"""The comparison figure: original, decoded, error and spectra."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xphys.errors import SchemaError, UnknownNameError
from xphys.metrics import charts, compare
from xphys.plotting._charts import TEXT_COLOUR, draw_chart
from xphys.plotting._labels import with_units
from xphys.schema import spatial_dims

__all__ = ["compare_figure"]

_SHOWN = 0.998  # of the errors
_TEST_COLOUR, _ERROR_COLOUR = "#d55e00", "#0072b2"


@dataclass(frozen=True)
class _Parts:
    """What the panels show, computed."""

    test: xr.DataArray
    reference: xr.DataArray
    report: xr.Dataset  # of the one variable
    error_scale: float | None

    def error(self) -> tuple[xr.DataArray, str, float]:
        """Values of the third panel, their name, and the end of their scale."""
        error = self.test - self.reference
        if self.error_scale is not None:
            low, high, _ = _limits(self)
            return error * self.error_scale, f"error × {self.error_scale:g}", (high - low) / 2
        finite = np.abs(error.values[np.isfinite(error.values)])
        # A few largest errors must not make all the others pale: arrows on the scale tell of them.
        end = float(np.quantile(finite, _SHOWN)) if finite.size else 0.0
        return error, "difference", end or float(finite.max(initial=0.0)) or 1.0


def compare_figure(
    test: xr.Dataset | xr.DataArray,
    reference: xr.Dataset | xr.DataArray,
    *,
    variable: Hashable | None = None,
    time: Any = None,
    error_scale: float | None = None,
    comparison: xr.Dataset | None = None,
) -> Figure:
    """Draw one variable of a Dataset beside its reference.

    Four panels: the original, the decoded field, their difference on a scale symmetric around 0,
    and the power spectra of both and of the error over all times. Data in three dimensions are
    cut at the middle z; data in one dimension are drawn over space and time, or as lines where
    ``time`` is given or there is no time; of an ensemble, the first member.

    Parameters
    ----------
    test, reference : Dataset or DataArray
        On the same grid; only what is drawn is computed.
    variable : str, optional
        By default the first real variable that both have.
    time : number or datetime, optional
        Nearest stored time is drawn; by default the last.
    error_scale : float, optional
        Draw the error times this on a scale as wide as the original's instead.
    comparison : Dataset, optional
        Result of `xphys.metrics.compare` for the title; by default the vrmse is computed. One with
        ``report=`` of this variable is drawn from, if no time is given.

    Returns
    -------
    matplotlib.figure.Figure
        Free of pyplot: save it with ``.savefig(path)``.

    Raises
    ------
    UnknownNameError
        If the variable is not in both.
    SchemaError
        If the variable has no spatial dim, or the grids differ.

    Examples
    --------
    >>> x = xr.Variable("x", np.arange(16) / 16, {"period": 1.0, "units": "m"})
    >>> ds = xr.Dataset({"density": ("x", np.cos(2 * np.pi * x.data))}, coords={"x": x})
    >>> len(compare_figure(ds * 1.001, ds).axes)
    4
    """
    new, old = _pair(test, reference, variable)
    parts = _parts(new, old, time, comparison, error_scale)
    figure = Figure(figsize=(11, 8), layout="constrained")
    panels = figure.subplots(2, 2)
    if parts.reference.ndim == 2:
        _draw_images(figure, panels, parts)
    else:
        _draw_lines(panels, parts)
    _draw_spectra(panels[1, 1], parts)
    figure.suptitle(_title(parts, old))
    return figure


def _pair(
    test: xr.Dataset | xr.DataArray, reference: xr.Dataset | xr.DataArray, variable: Hashable | None
) -> tuple[xr.DataArray, xr.DataArray]:
    if isinstance(test, xr.DataArray) and isinstance(reference, xr.DataArray):
        name = variable or reference.name or "data"
        return test.rename(name), reference.rename(name)
    if not isinstance(test, xr.Dataset) or not isinstance(reference, xr.Dataset):
        raise SchemaError("expected two Datasets or two DataArrays")
    common = [
        name
        for name, field in reference.data_vars.items()
        if name in test.data_vars and field.dtype.kind in "fiub" and spatial_dims(field)
    ]
    if variable is None and common:
        variable = common[0]
    if variable not in common:
        raise UnknownNameError(
            f"expected a real variable with spatial dims that both have, out of {common}, "
            f"got {variable!r}"
        )
    return test[variable], reference[variable]


def _parts(
    test: xr.DataArray,
    reference: xr.DataArray,
    time: Any,
    comparison: xr.Dataset | None,
    error_scale: float | None,
) -> _Parts:
    name = str(reference.name)
    if not spatial_dims(reference):
        raise SchemaError(f"variable {name!r} has dims {reference.dims}: expected z, y or x")
    report = _known(comparison, name) if time is None else None
    if report is None:
        report = _reported(test, reference, time)
        if comparison is not None:
            scores = [n for n in ("vrmse", "ratio") if n in comparison]
            report = report.assign(comparison[scores].sel(variable=[name]).compute())
    section = report["section"]
    section = section.drop_vars([c for c in section.coords if not _belongs(str(c))])
    section = section.rename(
        {c: str(c).removeprefix("section_") for c in (*section.dims, *section.coords)
         if str(c).startswith("section_")}
    )  # fmt: skip
    attrs = {k: v for k, v in reference.attrs.items() if k in ("units", "long_name")}
    new, old = (
        section.sel(origin=o, drop=True).rename(name).assign_attrs(attrs)
        for o in ("test", "reference")
    )
    return _Parts(new, old, report, error_scale)


def _belongs(coord: str) -> bool:
    """Positions and time of a section, not the coordinates of all the comparison."""
    about = ("section_variable", "section_units")
    return coord == "origin" or (coord.startswith("section_") and coord not in about)


def _known(comparison: xr.Dataset | None, name: str) -> xr.Dataset | None:
    """What a comparison made for a report of this variable has of it."""
    if comparison is None or "section" not in comparison:
        return None
    if str(comparison["section_variable"].values) != name:
        return None
    return comparison.sel(variable=[name]).compute()


def _reported(test: xr.DataArray, reference: xr.DataArray, time: Any) -> xr.Dataset:
    # In chunks, because only what is asked for is then computed.
    lazy = [f if f.chunks else f.chunk() for f in (test, reference)]
    report = compare(*lazy, report=True)
    wanted = ("vrmse", "spectrum", "error_spectrum", "section")
    report = report[[n for n in wanted if n in report]]
    if time is not None and "time" in reference.dims:
        # Both may have other times by rounding: the reference says which one is nearest.
        at = _nearest(reference, time)
        report = report.drop_vars(["section", "section_time"], errors="ignore").drop_dims(
            [d for d in report.dims if str(d).startswith("section_")], errors="ignore"
        )
        one = compare(*(f.isel(time=at) for f in lazy), report=True)
        report = report.assign(section=one["section"])
    return report.compute()


def _nearest(field: xr.DataArray, time: Any) -> int:
    if "time" not in field.coords:
        return -1
    return int(field.indexes["time"].get_indexer([time], method="nearest")[0])


def _limits(parts: _Parts) -> tuple[float, float, str]:
    """Shared colour limits, and a map that is diverging where the field changes sign."""
    values = parts.reference.values[np.isfinite(parts.reference.values)]
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    if low < 0 < high and min(-low, high) > 0.1 * max(-low, high):
        edge = max(-low, high)
        return -edge, edge, "RdBu_r"
    return (low, high, "viridis") if high > low else (low - 0.5, high + 0.5, "viridis")


def _draw_images(figure: Figure, panels: np.ndarray, parts: _Parts) -> None:
    low, high, colours = _limits(parts)
    error, title, end = parts.error()
    shown = (
        (panels[0, 0], parts.reference, "original", low, high, colours),
        (panels[0, 1], parts.test, "decoded", low, high, colours),
        (panels[1, 0], error, title, -end, end, "RdBu_r"),
    )
    for panel, field, name, bottom, top, cmap in shown:
        image = _image(panel, field, vmin=bottom, vmax=top, cmap=cmap)
        panel.set_title(name, fontsize="medium")
        bar = figure.colorbar(image, ax=panel, extend=_extend(field, bottom, top))
        bar.set_label(_label(parts.reference))


def _image(panel: Axes, field: xr.DataArray, **style: Any) -> Any:
    down, across = (str(d) for d in field.dims)
    x, y = _positions(field, across), _positions(field, down)
    image = panel.pcolormesh(x, y, field.values, shading="nearest", rasterized=True, **style)
    panel.set_xlabel(_axis_label(field, across))
    panel.set_ylabel(_axis_label(field, down))
    shape = np.ptp(y.astype(np.float64)) / max(np.ptp(x.astype(np.float64)), 1e-300)
    if down != "time" and 0.5 <= shape <= 2:
        panel.set_aspect("equal")
    return image


def _extend(field: xr.DataArray, low: float, high: float) -> str:
    values = field.values[np.isfinite(field.values)]
    below, above = bool((values < low).any()), bool((values > high).any())
    return {(True, True): "both", (True, False): "min", (False, True): "max"}.get(
        (below, above), "neither"
    )


def _draw_lines(panels: np.ndarray, parts: _Parts) -> None:
    error, name, _ = parts.error()
    shown = (
        (panels[0, 0], parts.reference, "original", TEXT_COLOUR),
        (panels[0, 1], parts.test, "decoded", _TEST_COLOUR),
        (panels[1, 0], error, name, _ERROR_COLOUR),
    )
    (dim,) = (str(d) for d in parts.reference.dims)
    for panel, field, title, colour in shown:
        panel.plot(_positions(field, dim), field.values, color=colour, linewidth=1.2)
        panel.set_title(title, fontsize="medium")
        panel.set_xlabel(_axis_label(parts.reference, dim))
        panel.set_ylabel(_label(parts.reference))
        panel.grid(alpha=0.25)
    panels[0, 1].sharey(panels[0, 0])
    panels[0, 0].autoscale()


def _draw_spectra(panel: Axes, parts: _Parts) -> None:
    drawn = [c for c in charts(parts.report) if c.group == "spectra"] if _has(parts) else []
    if drawn:
        draw_chart(panel, drawn[0])
    else:
        panel.text(0.5, 0.5, "no uniform axis, no spectrum", ha="center", transform=panel.transAxes)
        panel.set_axis_off()
    panel.set_title("power spectrum", fontsize="medium")


def _has(parts: _Parts) -> bool:
    return "spectrum" in parts.report and "vrmse" in parts.report


def _title(parts: _Parts, field: xr.DataArray) -> str:
    words = [str(field.attrs.get("long_name") or field.name)]
    for place in ("time", "z"):
        if place in parts.reference.coords and place not in parts.reference.dims:
            words.append(_place(parts.reference[place]))
    for name, pattern in (("vrmse", "vrmse {:.2e}"), ("ratio", "ratio {:.1f}")):
        if name in parts.report:
            value = float(parts.report[name].values.item())
            if not np.isnan(value):
                words.append(pattern.format(value))
    return "   ·   ".join(words)


def _place(coord: xr.DataArray) -> str:
    value, units = coord.values, coord.attrs.get("units", "1")
    number = f"{value:.6g}" if value.dtype.kind in "fiu" else str(value)[:19]
    return f"{coord.name} {number}" + ("" if units == "1" else f" {units}")


def _positions(field: xr.DataArray, dim: str) -> np.ndarray:
    return field[dim].values if dim in field.coords else np.arange(field.sizes[dim])


def _axis_label(field: xr.DataArray, dim: str) -> str:
    return with_units(dim, field[dim].attrs.get("units") if dim in field.coords else None)


def _label(field: xr.DataArray) -> str:
    return with_units(str(field.name), field.attrs.get("units"))
