"""Power at multiples of the strongest frequency, and how fast bands of frequency decay."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xphys.features._kernels import grid as grids
from xphys.features._kernels.frames import NOTHING, Frames
from xphys.features._kernels.grid import Grid
from xphys.features._kernels.temporal import slope

__all__ = ["BANDS", "bands", "dissipation", "harmonics"]

Array = NDArray[Any]
BANDS = ("low", "high", "all")
_REACH = 0.1  # half of the width of an annulus over its radius
_TIE = 1e-9
_STILL = 1e-12  # logarithms and shares that change by less do not


def _nyquist(grid: Grid) -> float:
    return min(0.5 / line.step for line in grid.lines)


def harmonics(frames: Frames) -> Array:
    """The 4 features, shape (frame, channel, 4)."""
    if not frames.grid.uniform:
        return np.full((*frames.lead, 4), np.nan)
    table = grids.modes(frames.grid)
    power = frames.power
    sums = np.concatenate(
        [np.zeros((*frames.lead, 1)), np.cumsum(power * table.weight, axis=-1)], axis=-1
    )
    peak = power.max(-1, keepdims=True)
    first = table.radius[np.argmax(power >= peak * (1 - _TIE), axis=-1)]
    parts = []
    for multiple in (1, 2, 3):
        low, high = (
            np.searchsorted(table.radius, multiple * first * (1 + sign * (_REACH + _TIE)))
            for sign in (-1, 1)
        )
        above, below = (np.take_along_axis(sums, p[..., None], -1)[..., 0] for p in (high, low))
        inside = multiple * first <= _nyquist(frames.grid) * (1 + _TIE)
        parts.append(np.where(inside | (multiple == 1), above - below, np.nan))
    base = np.where(frames.constant, np.nan, parts[0])
    two, three = parts[1] / base, parts[2] / base
    return np.stack([two, three, np.sqrt(two + three), base / sums[..., -1]], axis=-1)


def bands(frames: Frames) -> Array:
    """Integral of (u - m) squared in low, high and all frequencies, shape (frame, channel, 3).

    Low is up to a quarter of the Nyquist frequency (or the lowest there is), high from three
    quarters of it on. What is rounding of the field is 0.
    """
    if not frames.grid.uniform:
        return np.full((*frames.lead, 3), np.nan)
    table = grids.modes(frames.grid)
    nyquist = _nyquist(frames.grid)
    low = table.radius <= max(nyquist / 4, table.radius.min()) * (1 + _TIE)
    high = table.radius >= 0.75 * nyquist * (1 - _TIE)
    weighted = frames.power * table.weight
    found = np.stack([weighted @ low, weighted @ high, weighted.sum(-1)], axis=-1)
    limit = NOTHING**2 * frames.grid.points * frames.scale**2
    return np.asarray(np.where(found > limit[..., None], found, 0.0) * grids.volumes(frames.grid))


def dissipation(energies: Array, times: Array) -> Array:
    """Rates of decay of low and high frequencies, their ratio, and where the energy goes.

    Parameters
    ----------
    energies : ndarray, shape (..., time, 3)
        From `bands`.
    times : ndarray, shape (time,)
        Times.

    Returns
    -------
    ndarray, shape (..., 4)
        NaN where there are too few steps.
    """
    found = np.full((*energies.shape[:-2], 4), np.nan)
    if times.size < 2:
        return found
    low, high, total = np.moveaxis(energies, -1, 0)
    for number, one in enumerate((low, high)):
        found[..., number] = -_trend(times, np.log(np.where(one > 0, one, np.nan)))
    rate = np.where(found[..., 0] == 0, np.nan, found[..., 0])
    found[..., 2] = found[..., 1] / rate
    found[..., 3] = np.sign(_trend(times, low / np.where(total > 0, total, np.nan)))
    found[~np.isfinite(energies).all((-2, -1))] = np.nan
    return found


def _trend(times: Array, values: Array) -> Array:
    """Least-squares slope over time; 0 where the values do not change."""
    known = np.isfinite(values)
    most = np.where(known, values, -np.inf).max(-1)
    least = np.where(known, values, np.inf).min(-1)
    found = slope(times, values)
    still = np.isfinite(found) & (most - least <= _STILL)
    return np.where(still, 0.0, found)
