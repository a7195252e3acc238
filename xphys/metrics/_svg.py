"""Charts and sections as small SVG pictures for notebooks: no plotting package is loaded."""

from __future__ import annotations

import base64
import math
import struct
import zlib
from collections.abc import Callable, Iterable
from html import escape
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xphys.metrics._charts import TEXT, Chart, Curve
from xphys.schema import with_units

__all__ = ["chart_svg", "section_svg"]

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 420, 240, 58, 36, 22, 8
_ROW = 12  # of the legend
_SLANTED = 70  # room for names along an axis
_SIDE, _PIXELS = 190, 256  # of an image
# Colour maps, from low to high: viridis, and red-white-blue around 0.
_ONE_SIGN = ("#440154", "#3b528b", "#21918c", "#5ec962", "#fde725")
_TWO_SIGNS = ("#053061", "#2166ac", "#92c5de", "#f7f7f7", "#f4a582", "#b2182b", "#67001f")
_Place = Callable[[float, float], tuple[float, float]]


def chart_svg(chart: Chart) -> str:
    """One chart with its axes, legend below.

    Parameters
    ----------
    chart : Chart
        With a value above 0.

    Returns
    -------
    str
        An ``<svg>`` element; text has the colour of the page.
    """
    lines = [(c, *_logarithms(c, chart)) for c in chart.curves]
    drawn = [(c, x, y) for c, x, y in lines if x.size]
    bottom, top, left, right = _limits(chart, drawn)
    drawn = [(c, x[y >= bottom], y[y >= bottom]) for c, x, y in drawn]
    legend = [c for c, _, _ in drawn if c.label]
    height = _HEIGHT + (_SLANTED if chart.ticks else _ROW * math.ceil(len(legend) / 2))

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - left) / (right - left)
        up = (y - bottom) / (top - bottom)
        return (
            _LEFT + across * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - up * (_HEIGHT - _BOTTOM - _TOP),
        )

    parts = [_band(chart, place, left, right, top), *_grid(chart, place, left, right, bottom, top)]
    for curve, x, y in drawn:
        parts += _line(curve, [place(a, b) for a, b in zip(x, y, strict=True)])
    for i, curve in enumerate(legend):
        parts.append(_entry(curve, _LEFT + (i % 2) * 180, _HEIGHT + 4 + _ROW * (i // 2)))
    middle = (_WIDTH + _LEFT) / 2
    parts += [
        _text(middle, 12, chart.title, "middle", ' font-weight="bold"'),
        _text(middle, _HEIGHT - 6, chart.across, "middle"),
        f'<text transform="translate(10,{(_HEIGHT - _BOTTOM + _TOP) / 2:.0f}) rotate(-90)" '
        f'text-anchor="middle">{escape(chart.up)}</text>',
    ]
    return _svg(_WIDTH, height, f"{chart.title}: {chart.up} by {chart.across}", parts)


def _svg(width: float, height: float, label: str, parts: Iterable[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" '
        f'role="img" aria-label="{escape(label)}" font-family="sans-serif" font-size="10" '
        f'fill="currentColor">{"".join(parts)}</svg>'
    )


def _text(x: float, y: float, text: str, anchor: str = "start", more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(text)}</text>'


def _logarithms(curve: Curve, chart: Chart) -> tuple[NDArray[Any], NDArray[Any]]:
    x = _numbers(curve.x)
    drawn = np.isfinite(curve.y) & (curve.y > 0) & np.isfinite(x)
    if chart.log_across:
        drawn &= x > 0
    x, y = x[drawn], np.log10(curve.y[drawn])
    return (np.log10(x) if chart.log_across else x), y


def _numbers(x: NDArray[Any]) -> NDArray[np.float64]:
    """Plain numbers; datetimes as days since the first."""
    since = x - x[:1] if x.dtype.kind == "M" else x
    if since.dtype.kind == "m":
        since = since / np.timedelta64(1, "D")
    return np.asarray(since, dtype=np.float64)


def _limits(chart: Chart, drawn: list[Any]) -> tuple[float, float, float, float]:
    xs, ys = (np.concatenate([line[i] for line in drawn]) for i in (1, 2))
    bottom = float(np.floor(math.log10(chart.floor) + 1e-9))
    top = max(float(np.ceil(ys.max() - 1e-9)), bottom + 1)
    left, right = float(xs.min()), float(xs.max())
    if chart.ticks:
        left, right = -0.5, len(chart.ticks) - 0.5
    return bottom, top, left, right if right > left else left + 1


def _band(chart: Chart, place: _Place, left: float, right: float, top: float) -> str:
    if chart.shaded is None:
        return ""
    ends = [math.log10(v) if chart.log_across else v for v in chart.shaded]
    (x0, y), (x1, _) = place(max(ends[0], left), top), place(min(ends[1], right), top)
    return (
        f'<rect x="{x0:.1f}" y="{y:.1f}" width="{max(x1 - x0, 0):.1f}" '
        f'height="{_HEIGHT - _BOTTOM - y:.1f}" fill="#888" fill-opacity="0.15"/>'
    )


def _grid(
    chart: Chart, place: _Place, left: float, right: float, bottom: float, top: float
) -> list[str]:
    parts = []
    for decade in np.arange(bottom, top + 0.5, max(1, math.ceil((top - bottom) / 5))):
        (x0, y), (x1, _) = place(left, decade), place(right, decade)
        parts.append(
            f'<line x1="{x0:.1f}" x2="{x1:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="#888" '
            f'stroke-opacity="0.35"/>' + _text(x0 - 5, y + 3, f"1e{int(decade)}", "end")
        )
    for at, name in _ticks(chart, left, right):
        x, y = place(at, bottom)
        if chart.ticks:
            turned = f' transform="rotate(-40 {x:.1f} {y + 13:.1f})"'
            parts.append(_text(x, y + 13, name, "end", turned))
        else:
            parts.append(_text(x, y + 13, name, "middle"))
    return parts


def _ticks(chart: Chart, left: float, right: float) -> list[tuple[float, str]]:
    if chart.ticks:
        return [(float(i), name) for i, name in enumerate(chart.ticks)]
    if chart.log_across:
        steps = (1, 2, 5) if right - left < 2 else (1,)
        found = [n * 10.0**p for p in range(-15, 16) for n in steps]
        return [(math.log10(t), f"{t:g}") for t in found if left <= math.log10(t) <= right]
    raw = (right - left) / 5
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(n * size for n in (1, 2, 5, 10) if n * size >= raw)
    first = math.ceil(left / step - 1e-9)
    places = [n * step for n in range(first, math.floor(right / step + 1e-9) + 1)]
    return [(at, f"{at:g}") for at in places]


def _line(curve: Curve, points: list[tuple[float, float]]) -> list[str]:
    colour = "currentColor" if curve.colour == TEXT else curve.colour
    if curve.style == "points" or len(points) == 1:
        return [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dash = ' stroke-dasharray="5 3"' if curve.style == "dashed" else ""
    thick = '3.2" stroke-opacity="0.5' if curve.style == "thick" else "1.6"
    return [
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{thick}"{dash}/>'
    ]


def _entry(curve: Curve, x: float, y: float) -> str:
    sample = _line(curve, [(x, y - 3), (x + 16, y - 3)])[-1]
    return sample + _text(x + 22, y, curve.label)


def section_svg(section: xr.DataArray) -> str:
    """Reference, test and their difference as images; nothing for a section along one axis.

    Parameters
    ----------
    section : DataArray
        As `compare` adds it for a report, computed.

    Returns
    -------
    str
        An ``<svg>`` element; the colours of the difference are symmetric around 0.
    """
    if section.ndim != 3:
        return ""
    section = _evenly(section)
    old, new = (section.sel(origin=o).values for o in ("reference", "test"))
    down, across = (str(d).removeprefix("section_") for d in section.dims[1:])
    labels = [_axis(section, d) for d in (across, down)]
    name, units = (str(section[c].values) for c in ("section_variable", "section_units"))
    height = _SIDE if down == "time" else min(max(_SIDE * _shape(section), 60), 2 * _SIDE)
    parts = []
    low, high = _range(old)
    two = low < 0 < high
    most = _largest(new - old)
    for i, (title, values, limits, colours) in enumerate((
        ("original", old, (low, high), _TWO_SIGNS if two else _ONE_SIGN),
        ("decoded", new, (low, high), _TWO_SIGNS if two else _ONE_SIGN),
        ("difference", new - old, (-most, most), _TWO_SIGNS),
    )):  # fmt: skip
        left = 30 + i * (_SIDE + 26)
        ends = " to ".join(f"{v:.3g}" for v in limits)
        parts += [
            _text(left + _SIDE / 2, 12, title, "middle", ' font-weight="bold"'),
            f'<image x="{left}" y="20" width="{_SIDE}" height="{height:.0f}" '
            f'preserveAspectRatio="none" href="{_png(values, limits, colours)}"/>',
            _text(left + _SIDE / 2, height + 32, labels[0], "middle"),
            _text(left + _SIDE / 2, height + 46, with_units(f"{name} {ends}", units), "middle"),
        ]
    parts.append(
        f'<text transform="translate(18,{20 + height / 2:.0f}) rotate(-90)" '
        f'text-anchor="middle">{escape(labels[1])}</text>'
    )
    return _svg(30 + 3 * (_SIDE + 26), height + 54, f"{name}: reference, test, difference", parts)


def _evenly(section: xr.DataArray) -> xr.DataArray:
    """The nearest values at even distances: the pixels of an image are equally large."""
    for dim in section.dims[1:]:
        section = section.isel({dim: slice(None, None, math.ceil(section.sizes[dim] / _PIXELS))})
        if dim in section.coords and section.sizes[dim] > 1:
            places = _numbers(section[dim].values)
            even = np.linspace(places[0], places[-1], section.sizes[dim])
            edges = (places[1:] + places[:-1]) / 2
            order = 1 if places[-1] > places[0] else -1
            section = section.isel({dim: np.searchsorted(order * edges, order * even)})
    return section


def _axis(section: xr.DataArray, dim: str) -> str:
    coord = section.coords.get(f"section_{dim}")
    return with_units(dim, None if coord is None else coord.attrs.get("units"))


def _shape(section: xr.DataArray) -> float:
    """Height over width, by positions where there are such."""
    sides = []
    for dim in section.dims[1:]:
        values = section[dim].values if dim in section.coords else np.arange(section.sizes[dim])
        sides.append(float(np.ptp(_numbers(values))) or 1.0)
    return sides[0] / sides[1]


def _range(values: NDArray[Any]) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    if low < 0 < high:
        return -max(-low, high), max(-low, high)
    return low, high if high > low else low + 1.0


def _largest(values: NDArray[Any]) -> float:
    """End of the scale of errors; the few beyond it would make all the others pale."""
    sizes = np.abs(values[np.isfinite(values)])
    return float(np.quantile(sizes, 0.998) or sizes.max()) if sizes.any() else 1.0


def _png(values: NDArray[Any], limits: tuple[float, float], colours: tuple[str, ...]) -> str:
    """The image as a data URI, the first row at the bottom; holes are transparent."""
    low, high = limits
    share = np.clip((np.nan_to_num(values[::-1]) - low) / (high - low), 0, 1)
    anchors = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in colours])
    places = np.linspace(0, 1, len(colours))
    rgba = np.empty((*values.shape, 4), np.uint8)
    for channel in range(3):
        rgba[..., channel] = np.round(np.interp(share, places, anchors[:, channel]))
    rgba[..., 3] = np.where(np.isfinite(values[::-1]), 255, 0)
    height, width = values.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), rgba.reshape(height, -1)], axis=1)

    def block(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    parts = (block(b"IHDR", header), block(b"IDAT", zlib.compress(rows.tobytes(), 6)),
             block(b"IEND", b""))  # fmt: skip
    data = b"\x89PNG\r\n\x1a\n" + b"".join(parts)
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"
