"""Events, windows and partial autocorrelation of a series in time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xphys.features._kernels.frames import NOTHING, unbiased
from xphys.features._kernels.temporal import settled, switches

__all__ = ["LAGS", "WINDOWS", "temporal_extensions"]

Array = NDArray[Any]
LAGS = 10
WINDOWS = (5, 10, 20)  # percent of the steps
_FAR = 2.0  # deviations of a spike
_BURST = 3  # steps
_TIE = 1e-9
_BLOCK = 2**20  # values of windows that are worked on at a time


def temporal_extensions(series: Array, times: Array, step: float | None) -> Array:
    """The 33 features.

    Parameters
    ----------
    series : ndarray, shape (..., time, 4)
        Mean, energy, variance, rms of each frame.
    times : ndarray, shape (time,)
        Times.
    step : float or None
        Their distance; None if they are not uniform.

    Returns
    -------
    ndarray, shape (..., 33)
        NaN where there are too few steps.
    """
    mean, rms = series[..., 0], series[..., 3]
    found = np.full((*mean.shape[:-1], 5 + 6 * len(WINDOWS) + LAGS), np.nan)
    if times.size < 2:
        return found
    scale = rms.max(-1)
    mean = settled(mean, scale)
    apart = mean - mean.mean(-1, keepdims=True)
    runs = _runs(np.abs(apart) > _FAR * (1 + _TIE) * unbiased(mean)[..., None])
    found[..., 0] = (runs > 0).sum(-1)
    found[..., 1] = (runs >= _BURST).sum(-1)
    found[..., 2] = switches(np.where(np.abs(apart) <= NOTHING * scale[..., None], 0.0, apart))
    found[..., 3:5] = _reached(mean, scale, times)
    for number, share in enumerate(WINDOWS):
        width = max(2, share * times.size // 100)
        found[..., 5 + 6 * number : 11 + 6 * number] = _rolling(mean, width)
    if step is not None:
        found[..., -LAGS:] = _partial(apart)
    found[~np.isfinite(rms).all(-1)] = np.nan
    return found


def _runs(flags: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Length of each run of flags at the place of its last one, else 0."""
    place = np.arange(1, flags.shape[-1] + 1)
    since = place - np.maximum.accumulate(np.where(flags, 0, place), axis=-1)
    ended = np.ones_like(flags)
    ended[..., :-1] = ~flags[..., 1:]
    return np.where(flags & ended, since, 0)


def _reached(mean: Array, scale: Array, times: Array) -> Array:
    """Time since the start at which the amount is first half and twice that of the start."""
    amount = np.abs(mean)
    start = amount[..., :1]
    found = []
    for there in (amount <= 0.5 * start * (1 + _TIE), amount >= 2.0 * start * (1 - _TIE)):
        usable = there.any(-1) & (start[..., 0] > NOTHING * scale)
        found.append(np.where(usable, times[np.argmax(there, axis=-1)] - times[0], np.nan))
    return np.stack(found, axis=-1)


def _rolling(series: Array, width: int) -> Array:
    """Means over all windows of their mean, deviation and ends; deviations of the first two."""
    count = series.shape[-1] - width + 1
    windows = np.lib.stride_tricks.sliding_window_view(series, width, axis=-1)
    each = np.empty((*series.shape[:-1], count, 4))
    size = max(1, _BLOCK * series.shape[-1] // (series.size * width + 1))
    for start in range(0, count, size):
        part = windows[..., start : start + size, :]
        columns = [part.mean(-1), unbiased(part), part.max(-1), part.min(-1)]
        each[..., start : start + size, :] = np.stack(columns, axis=-1)
    spread = unbiased(np.moveaxis(each[..., :2], -1, -2))
    return np.concatenate([each.mean(-2), spread], axis=-1)


def _partial(apart: Array) -> Array:
    """Partial autocorrelation by the recursion of Levinson and Durbin."""
    found = np.full((*apart.shape[:-1], LAGS), np.nan)
    squares = (apart**2).sum(-1)
    squares = np.where(squares > 0, squares, np.nan)
    own = np.empty((*apart.shape[:-1], 0))
    weights, left = own, np.ones(apart.shape[:-1])
    for lag in range(1, min(LAGS, apart.shape[-1] - 1) + 1):
        together = (apart[..., :-lag] * apart[..., lag:]).sum(-1) / squares
        new = (together - (weights * own[..., ::-1]).sum(-1)) / left
        found[..., lag - 1] = new
        weights = weights - new[..., None] * weights[..., ::-1]
        weights = np.concatenate([weights, new[..., None]], axis=-1)
        own = np.concatenate([own, together[..., None]], axis=-1)
        left = left * (1 - new**2)
    return found
