"""The figure of spectra: lines over wavenumber, both axes logarithmic."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xphys.errors import SchemaError, UnknownNameError
from xphys.plotting._labels import with_units

__all__ = ["spectra_figure"]

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#222222")
# Round-off far below the rest would squeeze everything else.
_DEPTH = 1e-14


def spectra_figure(
    spectra: xr.Dataset | xr.DataArray,
    *,
    variables: str | Iterable[Hashable] | None = None,
    slope: float | None = None,
) -> Figure:
    """Draw what `xphys.spectra.spectra` returns.

    One panel for each unit; a line for each variable, the mean over all dims but the wavenumber,
    with a band from the smallest to the largest where there are such. Negative values are dashed.
    Shells that are not complete are shaded. The two wavenumbers of a plane are drawn as a picture.

    Parameters
    ----------
    spectra : Dataset or DataArray
        On dim ``wavenumber``, or on two dims ``wavenumber_<dim>``; it is computed.
    variables : str or iterable of str, optional
        Variables to draw, by default all.
    slope : float, optional
        Draw a line with this power of the wavenumber beside the first variable, e.g. -5/3.

    Returns
    -------
    matplotlib.figure.Figure
        Free of pyplot: save it with ``.savefig(path)``.

    Raises
    ------
    UnknownNameError
        If a variable is not there.
    SchemaError
        If there is nothing on a wavenumber.

    Examples
    --------
    >>> k = xr.Variable("wavenumber", np.arange(1.0, 9.0), {"units": "1/m"})
    >>> energy = xr.DataArray(k.values**-3, coords={"wavenumber": k}, name="energy")
    >>> spectra_figure(energy).axes[0].get_xlabel()
    'wavenumber k (1/m)'
    """
    ds = (
        spectra.to_dataset(name=spectra.name or "E")
        if isinstance(spectra, xr.DataArray)
        else spectra
    )
    names = list(ds.data_vars) if variables is None else _listed(variables)
    unknown = [name for name in names if name not in ds.data_vars]
    if unknown:
        raise UnknownNameError(f"expected variables out of {list(ds.data_vars)}, got {unknown}")
    lines = [name for name in names if "wavenumber" in ds[name].dims]
    planes = [name for name in names if len(_plane_dims(ds[name])) == 2]
    if not lines and not planes:
        raise SchemaError(f"expected variables on dim 'wavenumber', got dims {tuple(ds.dims)}")
    groups: dict[str, list[Hashable]] = {}
    for name in lines:
        groups.setdefault(str(ds[name].attrs.get("units", "")), []).append(name)
    count = len(groups) + len(planes)
    figure = Figure(figsize=(5.5 * count + 0.5, 4.6), layout="constrained")
    panels = list(np.atleast_1d(figure.subplots(1, count)))
    for panel, (units, group) in zip(panels, groups.items(), strict=False):
        _draw_lines(panel, [ds[name].load() for name in group], units, slope)
    for panel, name in zip(panels[len(groups) :], planes, strict=True):
        _draw_plane(figure, panel, ds[name].load())
    return figure


def _listed(variables: str | Iterable[Hashable]) -> list[Hashable]:
    return [variables] if isinstance(variables, str) else list(variables)


def _plane_dims(field: xr.DataArray) -> list[Hashable]:
    return [d for d in field.dims if str(d).startswith("wavenumber_")]


def _draw_lines(panel: Axes, lines: list[xr.DataArray], units: str, slope: float | None) -> None:
    top = 0.0
    for line, colour in zip(lines, _cycle(len(lines)), strict=True):
        rest = [d for d in line.dims if d != "wavenumber"]
        k, mean = line["wavenumber"].values, line.mean(rest).values
        if rest:
            low, high = line.min(rest).values, line.max(rest).values
            panel.fill_between(k, np.where(low > 0, low, np.nan), high, color=colour, alpha=0.15,
                               lw=0)  # fmt: skip
        panel.plot(k, np.where(mean > 0, mean, np.nan), color=colour, label=str(line.name))
        if (mean < 0).any():
            negative = np.where(mean < 0, -mean, np.nan)
            panel.plot(k, negative, "--", color=colour, label=f"-{line.name}")
        finite = np.abs(mean[np.isfinite(mean)])
        top = max(top, float(finite.max(initial=0.0)))
    if slope is not None:
        _draw_slope(panel, lines[0], slope)
    if top > 0:  # a logarithmic axis cannot be empty
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_ylim(bottom=max(panel.get_ylim()[0], _DEPTH * top))
    _shade(panel, lines[0])
    wavenumber = lines[0]["wavenumber"]
    panel.set_xlabel(with_units("wavenumber k", wavenumber.attrs.get("units")))
    panel.set_ylabel(with_units("E(k)" if len(lines) > 1 else str(lines[0].name), units))
    if len(lines) == 1:
        panel.set_title(str(lines[0].attrs.get("long_name", lines[0].name)), fontsize="medium")
    panel.grid(alpha=0.25, which="both")
    panel.legend(frameon=False)


def _cycle(count: int) -> list[str]:
    return [_COLOURS[i % len(_COLOURS)] for i in range(count)]


def _draw_slope(panel: Axes, line: xr.DataArray, slope: float) -> None:
    mean = line.mean([d for d in line.dims if d != "wavenumber"]).values
    k = line["wavenumber"].values
    shown = np.flatnonzero(mean > 0)
    if shown.size:
        start = shown[shown.size // 4]
        guide = 2 * mean[start] * (k / k[start]) ** slope
        near = (k >= k[start] / 2) & (k <= k[start] * 8)
        panel.plot(k[near], guide[near], color="0.4", lw=1, label=f"k^{slope:.3g}")


def _shade(panel: Axes, line: xr.DataArray) -> None:
    """Shells beyond the smallest Nyquist wavenumber hold only part of their modes."""
    if "complete" not in line.coords:
        return
    k, complete = line["wavenumber"].values, line["complete"].values
    if complete.any() and not complete.all():
        panel.axvspan(k[complete][-1], k[-1], color="0.5", alpha=0.12, lw=0)


def _draw_plane(figure: Figure, panel: Axes, plane: xr.DataArray) -> None:
    down, across = _plane_dims(plane)
    rest = [d for d in plane.dims if d not in (down, across)]
    values = np.abs(plane.mean(rest).transpose(down, across).values)
    top = float(np.nanmax(values, initial=0.0))
    with np.errstate(divide="ignore"):
        shown = np.log10(np.maximum(values, _DEPTH * top)) if top > 0 else np.zeros_like(values)
    image = panel.pcolormesh(plane[across].values, plane[down].values, shown, shading="nearest")
    units = plane.attrs.get("units")
    figure.colorbar(image, ax=panel, label=with_units(f"log10 |{plane.name}|", units))
    panel.set_xlabel(with_units(str(across).replace("_", " "), plane[across].attrs.get("units")))
    panel.set_ylabel(with_units(str(down).replace("_", " "), plane[down].attrs.get("units")))
    panel.set_aspect("equal")
