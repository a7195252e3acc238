"""A grid of up to three axes: differences, volumes of cells and Fourier modes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Grid", "Line", "Modes", "derivative", "modes", "second_derivative", "volumes", "window"]

Array = NDArray[Any]
BANDS = 5
_TIE = 1e-9  # wavenumbers that differ by less are one


@dataclass(frozen=True)
class Line:
    """One axis of a grid.

    Attributes
    ----------
    name : str
        "x", "y" or "z".
    size : int
        Number of points, at least 2.
    step : float
        Mean distance of neighbours, positive.
    periodic : bool
        Whether the last point is followed by the first.
    positions : tuple of float or None
        Of an axis that is not uniform.
    """

    name: str
    size: int
    step: float
    periodic: bool
    positions: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Grid:
    """The axes of a field, in the order in which it has them."""

    lines: tuple[Line, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the axes."""
        return tuple(line.name for line in self.lines)

    @property
    def shape(self) -> tuple[int, ...]:
        """Points along each axis."""
        return tuple(line.size for line in self.lines)

    @property
    def points(self) -> int:
        """Number of points."""
        return math.prod(self.shape)

    @property
    def uniform(self) -> bool:
        """Whether each axis is uniform."""
        return all(line.positions is None for line in self.lines)

    @property
    def finest(self) -> float:
        """Smallest mean step."""
        return min(line.step for line in self.lines)


def _at(values: Array, axis: int, part: slice | int) -> Any:
    return values[(slice(None),) * axis + (part,)]


def derivative(values: Array, axis: int, line: Line) -> Array:
    """Central difference of second order, wrapped around or one-sided at the ends.

    Parameters
    ----------
    values : ndarray
        Values.
    axis : int
        Axis that ``line`` describes.
    line : Line
        Its spacing.

    Returns
    -------
    ndarray
        Of the same shape.
    """
    if line.positions is not None:
        places = np.array(line.positions)
        if line.size > 2:
            found: Array = np.gradient(values, places, axis=axis, edge_order=2)
        else:
            found = np.gradient(values, places, axis=axis)
        return found
    out = np.empty_like(values)
    half = 0.5 / line.step
    np.subtract(
        _at(values, axis, slice(2, None)),
        _at(values, axis, slice(None, -2)),
        out=_at(out, axis, slice(1, -1)),
    )
    first, last = (_at(values, axis, i) for i in (0, -1))
    second, before = (_at(values, axis, i) for i in (1, -2))
    if line.periodic:
        ends = second - last, first - before
    elif line.size == 2:
        ends = 2 * (last - first), 2 * (last - first)
    else:
        third, third_last = _at(values, axis, 2), _at(values, axis, -3)
        ends = 4 * second - 3 * first - third, 3 * last - 4 * before + third_last
    out[(slice(None),) * axis + (0,)], out[(slice(None),) * axis + (-1,)] = ends
    out *= half
    return out


def second_derivative(values: Array, axis: int, line: Line) -> Array:
    """Second difference of three points; at open ends that of the neighbour.

    Parameters
    ----------
    values : ndarray
        Values.
    axis : int
        Axis that ``line`` describes.
    line : Line
        Its spacing.

    Returns
    -------
    ndarray
        Of the same shape; NaN on an open axis of two points.
    """
    if line.size == 2 and not line.periodic:
        return np.full_like(values, np.nan)
    out = np.empty_like(values)
    lower, middle, upper = (
        _at(values, axis, part) for part in (slice(None, -2), slice(1, -1), slice(2, None))
    )
    inner = _at(out, axis, slice(1, -1))
    if line.positions is not None:
        steps = np.diff(np.array(line.positions))
        shape = [1] * values.ndim
        shape[axis] = line.size - 2
        a, b = steps[:-1].reshape(shape), steps[1:].reshape(shape)
        inner[...] = 2 * (lower / (a * (a + b)) - middle / (a * b) + upper / (b * (a + b)))
    else:
        np.add(lower, upper, out=inner)
        inner -= 2 * middle
        inner /= line.step**2
    start, end = (slice(None),) * axis + (0,), (slice(None),) * axis + (-1,)
    if line.periodic:
        first, last = _at(values, axis, 0), _at(values, axis, -1)
        out[start] = (_at(values, axis, 1) - 2 * first + last) / line.step**2
        out[end] = (_at(values, axis, -2) - 2 * last + first) / line.step**2
    else:
        out[start], out[end] = _at(out, axis, 1), _at(out, axis, -2)
    return out


@lru_cache(maxsize=16)
def volumes(grid: Grid) -> float | Array:
    """Length, area or volume of each cell: a number on a uniform grid, else an array."""
    if grid.uniform:
        return math.prod(line.step for line in grid.lines)
    total: Array = np.ones(grid.shape)
    for number, line in enumerate(grid.lines):
        widths = np.full(line.size, line.step)
        if line.positions is not None:
            x = np.array(line.positions)
            middle = 0.5 * (x[1:] + x[:-1])
            edges = np.concatenate([[2 * x[0] - middle[0]], middle, [2 * x[-1] - middle[-1]]])
            widths = np.abs(np.diff(edges))
        shape = [1] * len(grid.lines)
        shape[number] = line.size
        total = total * widths.reshape(shape)
    return total


@lru_cache(maxsize=16)
def window(grid: Grid) -> Array | None:
    """Hann's window along open axes, of mean square 1; None where there are none."""
    if all(line.periodic for line in grid.lines):
        return None
    total: Array = np.ones(grid.shape)
    for number, line in enumerate(grid.lines):
        if not line.periodic:
            phase = 2 * np.pi * (np.arange(line.size) + 0.5) / line.size
            shape = [1] * len(grid.lines)
            shape[number] = line.size
            total = total * (0.5 - 0.5 * np.cos(phase)).reshape(shape)
    return np.asarray(total / np.sqrt((total**2).mean()))


@dataclass(frozen=True, eq=False)
class Modes:
    """Modes of a real transform but the mean one, sorted by frequency.

    Attributes
    ----------
    order : ndarray of int, shape (mode,)
        Place of each mode in the flat half-plane of ``scipy.fft.rfftn``.
    weight : ndarray, shape (mode,)
        How many modes of the full plane it stands for: 1 or 2.
    count : float
        Number of modes of the full plane.
    frequency : ndarray, shape (axis, mode)
        Amount of the frequency along each axis, cycles per length.
    directions : ndarray, shape (axis, axis, mode)
        Products of the components of the unit wavevector; the Nyquist mode has no sign, its
        products with other axes are 0.
    radius : ndarray, shape (mode,)
        Amount of the frequency.
    bands : tuple of slice
        Modes of each of five bands.
    low, middle : int
        Ends of the modes of low and middle frequency.
    """

    order: NDArray[np.int64]
    weight: Array
    count: float
    frequency: Array
    directions: Array
    radius: Array
    bands: tuple[slice, ...]
    low: int
    middle: int


@lru_cache(maxsize=8)
def modes(grid: Grid) -> Modes:
    """Describe the Fourier modes of a uniform grid.

    With q the frequency times the shortest side of the box, the edges of the bands are
    ``linspace(sqrt(q_min / 2), sqrt(q_max), 6)**2``, the last band closed; low is
    ``q <= max(q_N / 8, q_min)``, middle ``q <= max(q_N / 4, 2 q_min)``, with q_N that of the
    smallest Nyquist frequency and q_min the lowest of the box.
    """
    lines = grid.lines
    axes = [np.fft.fftfreq(line.size, line.step) for line in lines[:-1]]
    axes.append(np.fft.rfftfreq(lines[-1].size, lines[-1].step))
    mesh = np.stack([m.ravel() for m in np.meshgrid(*axes, indexing="ij")])
    n = lines[-1].size
    column = np.arange(mesh.shape[1]) % (n // 2 + 1)
    weight = np.where((column == 0) | ((n % 2 == 0) & (column == n // 2)), 1.0, 2.0)
    shortest = min(line.size * line.step for line in lines)
    radius = np.sqrt((mesh**2).sum(0))
    q = radius * shortest
    lowest = q[1:].min()
    rounded = np.round(q / (lowest * _TIE)) * _TIE
    order = np.lexsort((*np.abs(mesh), np.abs(mesh[-1]), rounded))[1:]
    q, sorted_mesh = q[order], mesh[:, order]
    edges = np.linspace(np.sqrt(lowest / 2), np.sqrt(q[-1]), BANDS + 1) ** 2
    at = [*np.searchsorted(q, edges[:-1] * (1 - _TIE)).tolist(), q.size]
    nyquist = shortest * min(0.5 / line.step for line in lines)
    low, middle = max(nyquist / 8, lowest), max(nyquist / 4, 2 * lowest)
    unit = sorted_mesh / radius[order]
    signed = np.stack(
        [
            np.where(np.isclose(2 * np.abs(f) * line.step, 1) & (line.size % 2 == 0), 0.0, u)
            for f, u, line in zip(sorted_mesh, unit, lines, strict=True)
        ]
    )
    directions = signed[:, None] * signed[None, :]
    for number, u in enumerate(unit):
        directions[number, number] = u**2
    return Modes(
        order=order,
        weight=weight[order],
        count=float(weight[order].sum()),
        frequency=np.abs(sorted_mesh),
        directions=directions,
        radius=radius[order],
        bands=tuple(slice(a, b) for a, b in zip(at[:-1], at[1:], strict=True)),
        low=int(np.searchsorted(q, low * (1 + _TIE))),
        middle=int(np.searchsorted(q, middle * (1 + _TIE))),
    )
