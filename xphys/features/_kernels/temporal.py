"""Trends, oscillation, memory and roughness of series in time."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from xphys.features._kernels.frames import NOTHING, unbiased

__all__ = ["settled", "switches", "temporal"]

Array = NDArray[Any]
MOST_LAGS = 20
_EQUAL = 1e-9
COUNT = 13


def settled(values: Array, scale: Array) -> Array:
    """Series whose changes are rounding, as constants: exact zeros are told from noise.

    Parameters
    ----------
    values : ndarray, shape (..., time)
        Series.
    scale : ndarray, shape (...)
        Size of what they are made from.

    Returns
    -------
    ndarray
        Of the same shape.
    """
    span = values.max(-1) - values.min(-1)
    still = span <= NOTHING * scale
    return np.where(still[..., None], values[..., :1], values)


def slope(times: Array, values: Array) -> Array:
    """Least-squares slope over time, of the times at which there is a number."""
    valid = np.isfinite(values)
    count = valid.sum(-1, keepdims=True)
    t = np.where(valid, times, 0.0)
    y = np.where(valid, values, 0.0)
    t = np.where(valid, times - t.sum(-1, keepdims=True) / count, 0.0)
    y = np.where(valid, y - y.sum(-1, keepdims=True) / count, 0.0)
    found: Array = (t * y).sum(-1) / (t * t).sum(-1)
    return np.where(count[..., 0] > 1, found, np.nan)


def temporal(series: Array, steps: Array, times: Array, step: float | None) -> Array:
    """The 13 temporal features.

    Parameters
    ----------
    series : ndarray, shape (..., time, 4)
        Mean, energy, variance, rms of each frame.
    steps : ndarray, shape (..., time)
        rms of the difference to the next frame; the last is not used.
    times : ndarray, shape (time,)
        Times.
    step : float or None
        Their distance; None if they are not uniform.

    Returns
    -------
    ndarray, shape (..., 13)
        NaN where there are too few steps.
    """
    mean, energy, variance, rms = np.moveaxis(series, -1, 0)
    count = times.size
    found = np.full((*mean.shape[:-1], COUNT), np.nan)
    if count < 2:
        return found
    scale = rms.max(-1)
    mean, energy = settled(mean, scale), settled(energy, energy.max(-1))
    found[..., 0] = slope(times, _log(energy, 0.0))
    found[..., 2] = slope(times, _log(variance, 0.0))
    found[..., 4] = energy.max(-1) - energy.min(-1)
    start = np.abs(mean[..., 0])
    found[..., 10] = np.where(
        start > NOTHING * scale, np.abs(mean[..., -1]) / np.where(start > 0, start, 1.0), np.nan
    )
    if step is not None:
        found[..., 6] = _memory(mean) * step
    if count < 3:
        return found
    found[..., 1] = np.abs(np.diff(energy, 2)).mean(-1)
    if step is not None:
        found[..., 3] = _frequency(energy) / step
        found[..., 5] = 1 / found[..., 3]
    found[..., 7] = slope(times[:-1], _log(steps[..., :-1], NOTHING * scale[..., None]))
    changes = np.diff(mean)
    travel = np.abs(changes).sum(-1)
    bends = np.abs(np.diff(changes)).sum(-1)
    found[..., 8] = np.where(travel > 0, travel / np.where(travel > 0, travel + bends, 1), np.nan)
    found[..., 9] = switches(changes)
    trend = slope(times, mean)[..., None] * (times - times.mean())
    apart = mean - mean.mean(-1, keepdims=True)
    squares, left = (apart**2).sum(-1), ((apart - trend) ** 2).sum(-1)
    moved = np.ptp(mean, axis=-1) > 0
    share = 1 - left / np.where(moved, squares, 1.0)
    found[..., 11] = np.where(moved, np.clip(share, 0, 1), np.nan)
    found[..., 12] = np.where(moved, unbiased(apart - trend) ** 2, 0.0)
    broken = ~np.isfinite(rms).all(-1)
    found[broken] = np.nan
    return found


def _log(values: Array, limit: Any) -> Array:
    return np.where(values > limit, np.log(np.where(values > limit, values, 1.0)), np.nan)


def _frequency(energy: Array) -> Array:
    """Cycles per step of the strongest mode but the mean; of equal ones the lowest."""
    apart = energy - energy.mean(-1, keepdims=True)
    power = np.abs(scipy.fft.rfft(apart, axis=-1)[..., 1:]) ** 2
    place = np.argmax(power >= power.max(-1, keepdims=True) * (1 - _EQUAL), axis=-1) + 1.0
    return np.where(np.ptp(energy, axis=-1) > 0, place / energy.shape[-1], np.nan)


def _memory(mean: Array) -> Array:
    """First lag at which the autocorrelation is below 1/e, in steps."""
    apart = mean - mean.mean(-1, keepdims=True)
    squares = (apart**2).sum(-1)
    lags = min(MOST_LAGS, mean.shape[-1])
    found = np.full(mean.shape[:-1], float(lags))
    for lag in range(lags - 1, 0, -1):
        together = (apart[..., :-lag] * apart[..., lag:]).sum(-1)
        found = np.where(together < squares / np.e, float(lag), found)
    return np.where(np.ptp(mean, axis=-1) > 0, found, np.nan)


def switches(changes: Array) -> Array:
    """Number of changes of direction; steps without a change keep the direction."""
    signs = np.sign(changes)
    place = np.where(signs != 0, np.arange(signs.shape[-1]), 0)
    held = np.take_along_axis(signs, np.maximum.accumulate(place, axis=-1), -1)
    turned = held[..., 1:] * held[..., :-1] < 0
    return np.asarray(turned.sum(-1), dtype=np.float64)
