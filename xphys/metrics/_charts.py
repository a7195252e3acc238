"""The pictures of a comparison as plain descriptions, to be drawn anywhere or kept as numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xphys.errors import SchemaError
from xphys.schema import with_units

__all__ = ["Chart", "Curve", "charts"]

# Colours that stay apart for colour-blind readers, on light and dark pages alike.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a6d3b")
#: Stands for the colour of the text.
TEXT = "text"
_ORIGINS = {
    "reference": (TEXT, "thick"),
    "test": (_COLOURS[1], "line"),
    "error": (_COLOURS[0], "line"),
}
# Of the largest: round-off far below the rest would press it flat.
_DEPTH = 1e-12


@dataclass(frozen=True)
class Curve:
    """One line, or points, of a chart.

    Attributes
    ----------
    label : str
        Name in the legend; empty for none.
    x, y : ndarray
        Numbers, x also datetimes; equally long.
    colour : str
        "#rrggbb", or "text" for the colour of the text.
    style : {"line", "thick", "dashed", "points"}
        How to draw it; what is thick lies below the others.
    """

    label: str
    x: NDArray[Any]
    y: NDArray[np.float64]
    colour: str = TEXT
    style: str = "line"


@dataclass(frozen=True)
class Chart:
    """A chart: curves over a common axis.

    Attributes
    ----------
    group : {"spectra", "over_time", "rate_distortion"}
        Charts of one group belong beside each other.
    title : str
        What is shown.
    across, up : str
        Labels of the axes, with units.
    curves : tuple of Curve
        In the order of the legend.
    log_across : bool
        Whether the horizontal axis is logarithmic; the vertical one always is.
    ticks : tuple of str
        Names of the places 0, 1, ... on the horizontal axis in place of numbers.
    shaded : tuple of float or None
        First and last place of a band across that counts less.
    inverse : tuple of str and float or None
        Label of a second horizontal axis, and a number: its values are that over the first's.
    """

    group: str
    title: str
    across: str
    up: str
    curves: tuple[Curve, ...]
    log_across: bool = True
    ticks: tuple[str, ...] = ()
    shaded: tuple[float, float] | None = None
    inverse: tuple[str, float] | None = None

    @property
    def floor(self) -> float:
        """Smallest value worth showing; 0 where there is nothing to show."""
        values = [c.y[np.isfinite(c.y) & (c.y > 0)] for c in self.curves]
        top = max((float(v.max()) for v in values if v.size), default=0.0)
        if self.shaded is not None:
            clear = [
                c.y[np.isfinite(c.y) & (c.y > 0) & (c.x < self.shaded[0])] for c in self.curves
            ]
            values = clear if any(v.size for v in clear) else values
        return max(min((float(v.min()) for v in values if v.size), default=0.0), _DEPTH * top)


def charts(comparison: xr.Dataset) -> list[Chart]:
    """Describe the charts of a comparison: spectra, changes over time, rate and distortion.

    Parameters
    ----------
    comparison : Dataset
        Computed result of `compare` over all dims.

    Returns
    -------
    list of Chart
        Those that it has numbers for, above 0 in at least one place.

    Raises
    ------
    SchemaError
        If the comparison is lazy, or was not taken over all dims.

    Examples
    --------
    >>> from xphys.metrics import compare
    >>> x = xr.Variable("x", np.arange(16) / 16, {"period": 1.0, "units": "m"})
    >>> ds = xr.Dataset({"u": ("x", np.cos(2 * np.pi * x.data))}, coords={"x": x})
    >>> [chart.up for chart in charts(compare(ds * 1.01, ds))]
    ['spectrum error']
    """
    if any(v.chunks is not None for v in comparison.variables.values()):
        raise SchemaError("the comparison is lazy: expected numbers, call .compute() first")
    if "vrmse" not in comparison or comparison["vrmse"].dims != ("variable",):
        raise SchemaError("expected a comparison over all dims: select first")
    found = (*_spectra(comparison), *_over_time(comparison), *rates(comparison))
    return [chart for chart in found if chart.floor > 0]


def _spectra(ds: xr.Dataset) -> Iterator[Chart]:
    if "wavenumber" not in ds.dims:
        return
    k = ds["wavenumber"].values
    across = with_units("wavenumber", ds["wavenumber"].attrs.get("units"))
    shaded = None
    if "complete" in ds.coords:
        complete = ds["complete"].values.astype(bool)
        if complete.any() and not complete.all():
            shaded = (float(k[complete].max()), float(k.max()))
    names = [str(n) for n in ds["variable"].values]
    if "spectrum" in ds and "error_spectrum" in ds:
        for i, name in enumerate(names):
            lines = {str(o): ds["spectrum"].sel(origin=o)[i].values for o in ds["origin"].values}
            lines["error"] = ds["error_spectrum"][i].values
            curves = tuple(
                _curve(_called(origin), k, values, *_ORIGINS[origin])
                for origin, values in lines.items()
            )
            up = with_units(f"E({name})", str(ds["spectrum_units"].values[i]))
            yield Chart("spectra", name, across, up, curves, shaded=shaded)
    if "spectrum_error" in ds:
        curves = tuple(_coloured(names, k, ds["spectrum_error"].transpose("variable", ...).values))
        yield Chart("spectra", "error of the spectrum", across, "spectrum error", curves,
                    shaded=shaded)  # fmt: skip


def _called(origin: str) -> str:
    return {"reference": "original", "test": "decoded"}.get(origin, origin)


def _over_time(ds: xr.Dataset) -> Iterator[Chart]:
    names = [str(n) for n in ds["variable"].values]
    for measure, title, up in (
        ("vrmse_t", "error over time", "VRMSE"),
        ("invariant_drift_t", "change of means", "change / deviation"),
    ):
        if measure in ds and "time" in ds[measure].dims and ds.sizes["time"] > 1:
            values = ds[measure].transpose("variable", "time").values
            x, across = _times(ds)
            yield Chart("over_time", title, across, up, tuple(_coloured(names, x, values)), False)
    if "integral_drift" not in ds:
        return
    names = [str(n).replace("_", " ") for n in ds["invariant"].values]
    drift = ds["integral_drift"]
    title, up = "change of integrals", "change / largest value"
    if drift.sizes.get("time", 1) > 1:
        x, across = _times(ds)
        values = drift.transpose("invariant", "time").values
        names, values = _without_twins(names, values)
        yield Chart("over_time", title, across, up, tuple(_coloured(names, x, values)), False)
    else:
        points = _curve("", np.arange(len(names)), drift.values.reshape(-1), _COLOURS[0], "points")
        yield Chart("over_time", title, "", up, (points,), False, tuple(names))


def _without_twins(
    names: list[str], rows: NDArray[np.float64]
) -> tuple[list[str], NDArray[np.float64]]:
    """Equal curves as one with both names: the total energy may be the kinetic energy alone."""
    found: list[tuple[str, NDArray[np.float64]]] = []
    for name, row in zip(names, rows, strict=True):
        for i, (other, values) in enumerate(found):
            if np.allclose(values, row, rtol=1e-3, atol=0, equal_nan=True) and (row > 0).any():
                found[i] = (f"{other}, {name}", values)
                break
        else:
            found.append((name, row))
    return [name for name, _ in found], np.array([row for _, row in found])


def _times(ds: xr.Dataset) -> tuple[NDArray[Any], str]:
    if "time" not in ds.coords:
        return np.arange(ds.sizes["time"]), "step"
    return ds["time"].values, with_units("time", ds["time"].attrs.get("units"))


def rates(ds: xr.Dataset) -> Iterator[Chart]:
    """Estimated sizes over targets, with what was stored, if anything."""
    if "estimated_bits" not in ds:
        return
    names = [str(n) for n in ds["variable"].values]
    bits = ds["estimated_bits"].transpose("variable", "target").values
    curves = []
    for i, name in enumerate(names):
        curves.append(_curve(name, bits[i], ds["target"].values, *_look(i)))
    if "bits_per_value" in ds and "vrmse" in ds:
        label = "stored"
        for i, place in enumerate(
            zip(ds["bits_per_value"].values, ds["vrmse"].values, strict=True)
        ):
            if np.isfinite(place).all() and place[1] > 0:
                x, y = np.atleast_2d(place).T
                curves.append(_curve(label, x, y, _look(i)[0], "points"))
                label = ""
    inverse = None
    if "estimated_ratio" in ds:
        whole = (ds["estimated_ratio"] * ds["estimated_bits"]).values
        whole = np.unique(np.round(whole[np.isfinite(whole)], 6))
        inverse = ("ratio", float(whole[0])) if whole.size == 1 else None
    yield Chart("rate_distortion", "rate and distortion", "bits per value (estimated)", "VRMSE",
                tuple(curves), inverse=inverse)  # fmt: skip


def _look(index: int) -> tuple[str, str]:
    """Colour, then style for those that come after the last colour."""
    turn, colour = divmod(index, len(_COLOURS))
    return _COLOURS[colour], "dashed" if turn % 2 else "line"


def _coloured(names: Iterable[str], x: NDArray[Any], rows: NDArray[np.float64]) -> Iterator[Curve]:
    for i, (name, y) in enumerate(zip(names, rows, strict=True)):
        if (np.isfinite(y) & (y > 0)).any():
            yield _curve(name, x, y, *_look(i))


def _curve(label: str, x: Any, y: Any, colour: str, style: str = "line") -> Curve:
    return Curve(label, np.asarray(x), np.asarray(y, dtype=np.float64), colour, style)
