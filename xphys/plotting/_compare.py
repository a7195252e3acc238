"""The comparison figure: original, decoded, error and spectra."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import dask
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xphys.errors import SchemaError, UnknownNameError
from xphys.metrics import compare
from xphys.plotting._labels import with_units
from xphys.schema import axis, spatial_dims
from xphys.spectra import spectra

__all__ = ["compare_figure"]

_REFERENCE_COLOUR, _TEST_COLOUR, _ERROR_COLOUR = "#222222", "#d55e00", "#0072b2"


@dataclass(frozen=True)
class _Parts:
    """What the panels show, computed."""

    test: xr.DataArray
    reference: xr.DataArray
    spectra: tuple[xr.DataArray, xr.DataArray] | None
    scores: xr.Dataset


def compare_figure(
    test: xr.Dataset | xr.DataArray,
    reference: xr.Dataset | xr.DataArray,
    *,
    variable: Hashable | None = None,
    time: Any = None,
    error_scale: float = 100,
    comparison: xr.Dataset | None = None,
) -> Figure:
    """Draw one variable of a Dataset beside its reference.

    Four panels: the original, the decoded field, the error times ``error_scale`` on a scale as
    wide as the original's, and the power spectra of both over all times. Data in three
    dimensions are cut at the middle z; data in one dimension are drawn over space and time, or
    as lines where ``time`` is given or there is no time; of an ensemble, the first member.

    Parameters
    ----------
    test, reference : Dataset or DataArray
        On the same grid; only what is drawn is computed.
    variable : str, optional
        By default the first real variable that both have.
    time : number or datetime, optional
        Nearest stored time is drawn; by default the last.
    error_scale : float
        Factor on the error.
    comparison : Dataset, optional
        Result of `xphys.metrics.compare` for the title; by default the vrmse is computed.

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
    parts = _computed(new, old, time, comparison)
    figure = Figure(figsize=(11, 8), layout="constrained")
    panels = figure.subplots(2, 2)
    if parts.reference.ndim == 2:
        _draw_images(figure, panels, parts, error_scale)
    else:
        _draw_lines(panels, parts, error_scale)
    _draw_spectra(panels[1, 1], parts, str(old.name))
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


def _computed(
    test: xr.DataArray, reference: xr.DataArray, time: Any, comparison: xr.Dataset | None
) -> _Parts:
    name = str(reference.name)
    if not spatial_dims(reference):
        raise SchemaError(f"variable {name!r} has dims {reference.dims}: expected z, y or x")
    # Checks that the grids agree; in chunks, because only what is asked for is then computed.
    own = compare(*(f if f.chunks else f.chunk() for f in (test, reference)))[["vrmse"]]
    scores = own if comparison is None else comparison.sel(variable=name)
    wanted = [n for n in ("vrmse", "ratio") if n in scores.data_vars]
    pictures = [_slice(field, time) for field in (test, reference)]
    lines = [_spectrum(field) for field in (test, reference)]
    drawn = [line for line in lines if line is not None]
    (new, old), drawn, scores = dask.compute(pictures, drawn, scores[wanted].squeeze(drop=True))
    old = old.astype(np.float64)
    new = old.copy(data=new.transpose(*old.dims).astype(np.float64).data)
    return _Parts(new, old, tuple(drawn) if len(drawn) == 2 else None, scores)


def _slice(field: xr.DataArray, time: Any) -> xr.DataArray:
    """The one or two dims that are drawn, the horizontal one last."""
    space = spatial_dims(field)
    over_time = len(space) == 1 and time is None and field.sizes.get("time", 1) > 1
    if "time" in field.dims and not over_time:
        if time is None or "time" not in field.coords:
            field = field.isel(time=-1)
        else:
            field = field.sel(time=time, method="nearest")
    if len(space) == 3:
        field = field.isel({space[0]: field.sizes[space[0]] // 2})
        space = space[1:]
    shown = ("time", *space) if over_time else space
    return field.isel({d: 0 for d in field.dims if d not in shown}).transpose(*shown)


def _spectrum(field: xr.DataArray) -> xr.DataArray | None:
    """Spectrum over the periodic axes (else, windowed, the uniform ones), mean over the rest."""
    axes = [axis(field, d) for d in spatial_dims(field) if d in field.coords and field.sizes[d] > 1]
    periodic = [a.name for a in axes if a.periodic]
    uniform = [a.name for a in axes if a.spacing == "uniform"]
    if not uniform:
        return None
    result = spectra(field, dims=periodic or uniform, window=None if periodic else "hann")
    return result.mean([d for d in result.dims if d != "wavenumber"], keep_attrs=True)


def _limits(parts: _Parts) -> tuple[float, float, str]:
    """Shared colour limits, and a map that is diverging where the field changes sign."""
    values = parts.reference.values[np.isfinite(parts.reference.values)]
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    if low < 0 < high and min(-low, high) > 0.1 * max(-low, high):
        edge = max(-low, high)
        return -edge, edge, "RdBu_r"
    return (low, high, "viridis") if high > low else (low - 0.5, high + 0.5, "viridis")


def _draw_images(figure: Figure, panels: np.ndarray, parts: _Parts, error_scale: float) -> None:
    low, high, colours = _limits(parts)
    error = (parts.test - parts.reference) * error_scale
    half = (high - low) / 2
    shown = (
        (panels[0, 0], parts.reference, "original", low, high, colours),
        (panels[0, 1], parts.test, "decoded", low, high, colours),
        (panels[1, 0], error, f"error × {error_scale:g}", -half, half, "RdBu_r"),
    )
    for panel, field, title, bottom, top, cmap in shown:
        image = _image(panel, field, vmin=bottom, vmax=top, cmap=cmap)
        panel.set_title(title)
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


def _draw_lines(panels: np.ndarray, parts: _Parts, error_scale: float) -> None:
    error = (parts.test - parts.reference) * error_scale
    shown = (
        (panels[0, 0], parts.reference, "original", _REFERENCE_COLOUR),
        (panels[0, 1], parts.test, "decoded", _TEST_COLOUR),
        (panels[1, 0], error, f"error × {error_scale:g}", _ERROR_COLOUR),
    )
    (dim,) = (str(d) for d in parts.reference.dims)
    for panel, field, title, colour in shown:
        panel.plot(_positions(field, dim), field.values, color=colour, linewidth=1.2)
        panel.set_title(title)
        panel.set_xlabel(_axis_label(parts.reference, dim))
        panel.set_ylabel(_label(parts.reference))
        panel.grid(alpha=0.25)
    panels[0, 1].sharey(panels[0, 0])
    panels[0, 0].autoscale()


def _draw_spectra(panel: Axes, parts: _Parts, name: str) -> None:
    panel.set_title("power spectrum")
    if parts.spectra is None:
        panel.text(0.5, 0.5, "no uniform axis, no spectrum", ha="center", transform=panel.transAxes)
        panel.set_axis_off()
        return
    new, old = parts.spectra
    styles: tuple[tuple[xr.DataArray, str, dict[str, Any]], ...] = (
        (old, "original", {"color": _REFERENCE_COLOUR, "linewidth": 2.4, "alpha": 0.7}),
        (new, "decoded", {"color": _TEST_COLOUR, "linewidth": 1.2}),
    )
    positive = [float(line.where(line > 0).max()) for line, _, _ in styles]
    top = max([p for p in positive if np.isfinite(p)], default=0.0)
    for line, label, style in styles:
        panel.plot(line["wavenumber"], line.where(line > 0), label=label, **style)
    if top > 0:  # a logarithmic axis cannot be empty
        panel.set_xscale("log")
        panel.set_yscale("log")
        # round-off far below the original would squeeze everything else
        floor = float(old.where(old > 0).min())
        panel.set_ylim(bottom=max(panel.get_ylim()[0], 1e-14 * top, 0.1 * floor))
    nyquist = old["wavenumber"].values[old["complete"].values]
    if 0 < nyquist.size < old.sizes["wavenumber"]:
        panel.axvspan(nyquist[-1], old["wavenumber"].values[-1], color="0.5", alpha=0.12, lw=0)
    panel.set_xlabel(with_units("wavenumber", old["wavenumber"].attrs.get("units")))
    panel.set_ylabel(with_units(f"E({name})", old.attrs.get("units")))
    panel.grid(alpha=0.25, which="both")
    panel.legend(frameon=False)


def _title(parts: _Parts, field: xr.DataArray) -> str:
    words = [str(field.attrs.get("long_name") or field.name)]
    if "time" in parts.reference.coords and "time" not in parts.reference.dims:
        moment = parts.reference["time"].values
        units = parts.reference["time"].attrs.get("units", "1")
        number = f"{moment:g}" if moment.dtype.kind in "fiu" else str(moment)[:19]
        words.append(f"time {number}" + ("" if units == "1" else f" {units}"))
    for name, pattern in (("vrmse", "vrmse {:.2e}"), ("ratio", "ratio {:.1f}")):
        if name in parts.scores and parts.scores[name].ndim == 0:
            value = float(parts.scores[name])
            if not np.isnan(value):
                words.append(pattern.format(value))
    return "   ·   ".join(words)


def _positions(field: xr.DataArray, dim: str) -> np.ndarray:
    return field[dim].values if dim in field.coords else np.arange(field.sizes[dim])


def _axis_label(field: xr.DataArray, dim: str) -> str:
    return with_units(dim, field[dim].attrs.get("units") if dim in field.coords else None)


def _label(field: xr.DataArray) -> str:
    return with_units(str(field.name), field.attrs.get("units"))
