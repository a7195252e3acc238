"""Correlation over the distance, structure factor, fluctuations of density and clusters."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xphys.features._kernels import grid as grids
from xphys.features._kernels.correlation import correlation, displacements
from xphys.features._kernels.cross_channel import correlation as pearson
from xphys.features._kernels.frames import NOTHING, Frames
from xphys.features._kernels.temporal import slope

__all__ = ["physics"]

Array = NDArray[Any]
_TIE = 1e-9
_LEAST = 1e-9  # slopes and correlations below this are none
_KEPT = 0.1  # smaller correlations are mostly chance
_REACH = 3  # cells of a mean: one and its neighbours


def physics(frames: Frames) -> Array:
    """The 12 features, shape (frame, channel, 12)."""
    found = np.full((*frames.lead, 12), np.nan)
    amount = np.abs(frames.mean)
    amount = np.where(amount > NOTHING * frames.scale, amount, np.nan)
    found[..., 6] = (frames.deviation / amount) ** 2
    found[..., 7] = frames.deviation**2 / amount
    found[..., 8] = _clusters(frames)
    if frames.grid.uniform:
        found[..., 0:2], found[..., 9:11] = _alike(frames)
        found[..., 2:6], found[..., 11] = _structure(frames)
    return found


def _alike(frames: Frames) -> tuple[Array, Array]:
    """Length and largest value of the correlation; 1/e length and difference between axes."""
    table = displacements(frames.grid)
    found = np.full((*frames.lead, 4), np.nan)
    if table.places.size:
        each = correlation(frames)
        profile = np.add.reduceat(each, table.starts, axis=-1) / table.count
        found[..., 0] = _length(profile, table.radius)
        found[..., 1] = profile.max(-1)
        found[..., 2] = _fallen(profile, table.radius)
        x, y = (table.along.get(name) for name in ("x", "y"))
        if x is not None and y is not None and x.size and y.size:
            a, b = (np.abs(each[..., numbers]).mean(-1) for numbers in (x, y))
            found[..., 3] = (a - b) / np.where(a + b > _LEAST, a + b, np.nan)
    return found[..., :2], found[..., 2:]


def _length(profile: Array, radius: Array) -> Array:
    """Negative inverse slope of the logarithm over the first quarter of the shells."""
    count = max(3, radius.size // 4)
    part, r = profile[..., :count], radius[:count]
    before = np.logical_and.accumulate(part >= _KEPT, axis=-1)
    rate = -slope(r, np.where(before, np.log(np.where(before, part, 1.0)), np.nan))
    falls = rate * r[-1] > _LEAST
    return np.where(falls, 1 / np.where(falls, rate, 1.0), np.nan)


def _fallen(profile: Array, radius: Array) -> Array:
    """Distance at which the correlation is 1/e, linear between shells."""
    ones = np.ones((*profile.shape[:-1], 1))
    values, r = np.concatenate([ones, profile], -1), np.concatenate([[0.0], radius])
    below = values < np.exp(-1)
    place = np.argmax(below, axis=-1)[..., None]
    last, first = (np.take_along_axis(values, p, -1)[..., 0] for p in (place - 1, place))
    start, end = r[place[..., 0] - 1], r[place[..., 0]]
    share = (last - np.exp(-1)) / np.where(below.any(-1), last - first, np.nan)
    return np.asarray(start + share * (end - start))


def _structure(frames: Frames) -> tuple[Array, Array]:
    """Peak, width and integral of the structure factor; wavelength of the strongest mode."""
    table = grids.modes(frames.grid)
    lowest = table.radius.min()
    shell = np.floor(table.radius / lowest + 0.5 + _TIE)
    starts = np.flatnonzero(np.diff(shell, prepend=-1))
    count = np.add.reduceat(table.weight, starts)
    k = 2 * np.pi * np.add.reduceat(table.radius * table.weight, starts) / count
    volume = grids.volumes(frames.grid)
    s = np.add.reduceat(frames.power * table.weight, starts, axis=-1) / count * volume
    k = np.concatenate([[0.0], k])
    s = np.concatenate([np.zeros((*frames.lead, 1)), s], axis=-1)  # the mean mode is left out
    top = s.max(-1)
    peak = np.argmax(s >= top[..., None] * (1 - _TIE), axis=-1)
    columns = [k[peak], top, _width(k, s, peak, top), np.trapezoid(s, k, axis=-1)]
    found = np.where(frames.constant[..., None], np.nan, np.stack(columns, axis=-1))
    most = frames.power.max(-1, keepdims=True)
    strongest = np.argmax(frames.power >= most * (1 - _TIE), axis=-1)
    return found, np.where(frames.constant, np.nan, 1 / table.radius[strongest])


def _width(k: Array, s: Array, peak: Array, top: Array) -> Array:
    """Distance of the two places around the peak at which half of it is left."""
    number = np.arange(k.size)
    below = s < 0.5 * top[..., None]
    left = np.where(below & (number < peak[..., None]), number, 0).max(-1)
    right = np.where(below & (number > peak[..., None]), number, k.size).min(-1)
    ends = []
    for outer, inner in ((left, left + 1), (right, right - 1)):
        outer, inner = np.minimum(outer, k.size - 1), np.minimum(inner, k.size - 1)
        low, high = (np.take_along_axis(s, p[..., None], -1)[..., 0] for p in (outer, inner))
        share = (0.5 * top - low) / np.where(high > low, high - low, np.nan)
        ends.append(k[outer] + share * (k[inner] - k[outer]))
    return np.where(right < k.size, ends[1] - ends[0], np.nan)


def _clusters(frames: Frames) -> Array:
    """Correlation of means over three cells each way with those next to them along x."""
    names = frames.grid.names
    short = any(line.size < _REACH for line in frames.grid.lines)
    if "x" not in names or short or frames.grid.lines[names.index("x")].size < 2 * _REACH:
        return np.full(frames.lead, np.nan)
    means = frames.values
    for number, line in enumerate(frames.grid.lines):
        axis = 2 + number
        means = (np.roll(means, 1, axis) + means + np.roll(means, -1, axis)) / _REACH
        if not line.periodic:
            means = np.take(means, range(1, line.size - 1), axis)
    axis = 2 + names.index("x")
    after = np.roll(means, -_REACH, axis)
    if not frames.grid.lines[names.index("x")].periodic:
        kept = range(means.shape[axis] - _REACH)
        means, after = np.take(means, kept, axis), np.take(after, kept, axis)
    flat = (array.reshape(*frames.lead, -1) for array in (means, after))
    return np.where(frames.constant, np.nan, pearson(*flat))
