"""Direction of time and of influence between the channels of a trajectory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xphys.features._kernels.cross_channel import correlation
from xphys.features._kernels.temporal import settled

__all__ = ["asymmetry", "direction"]

Array = NDArray[Any]
LAGS = (1, 2, 3)
ORDERS = (1, 2)
_EXACT = 1e-12  # errors below this share of the deviation are rounding


def asymmetry(mean: Array, rms: Array) -> Array:
    """Asymmetry of the lagged correlations between channels.

    Parameters
    ----------
    mean : ndarray, shape (..., channel, time)
        Spatial mean of each channel.
    rms : ndarray, shape (..., channel, time)
        Size of the fields.

    Returns
    -------
    ndarray, shape (..., 9)
        Mean over pairs i < j and largest amount for each lag, then the mean amount of each lag.
    """
    channels, count = mean.shape[-2:]
    found = np.full((*mean.shape[:-2], 9), np.nan)
    if channels < 2:
        return found
    series = settled(mean, rms.max(-1))
    first, second = np.triu_indices(channels, 1)
    a, b = series[..., first, :], series[..., second, :]
    for number, lag in enumerate(LAGS):
        if count < lag + 3:
            continue
        forth = correlation(a[..., :-lag], b[..., lag:])
        back = correlation(a[..., lag:], b[..., :-lag])
        pairs = forth - back
        known = np.isfinite(pairs)
        counted = np.where(known.any(-1), known.sum(-1), np.nan)
        amount = np.where(known, np.abs(pairs), 0.0)
        found[..., 2 * number] = np.where(known, pairs, 0.0).sum(-1) / counted
        found[..., 2 * number + 1] = np.where(known.any(-1), amount.max(-1), np.nan)
        found[..., 6 + number] = amount.sum(-1) / counted
    return found


def direction(mean: Array, rms: Array, slopes: Array) -> Array:
    """Errors of prediction forwards and backwards, irreversibility, flow.

    Parameters
    ----------
    mean, rms : ndarray, shape (..., time)
        Spatial mean of a channel and its size.
    slopes : ndarray, shape (..., time, 3)
        Correlation of the gradient along x, y and z with the next step.

    Returns
    -------
    ndarray, shape (..., 8)
        Ratio and difference for the orders 1 and 2, irreversibility and its index, magnitude
        and anisotropy of the flow.
    """
    found = np.full((*mean.shape[:-1], 8), np.nan)
    count = mean.shape[-1]
    if count < 2:
        return found
    series = settled(mean, rms.max(-1))
    moved = np.ptp(series, axis=-1) > 0
    for number, order in enumerate(ORDERS):
        if count < 2 * order + 3:
            continue
        forth, back = _error(series, order), _error(series[..., ::-1], order)
        found[..., 2 * number] = np.where(back > 0, forth / np.where(back > 0, back, 1), np.nan)
        found[..., 2 * number + 1] = forth - back
    changes = np.diff(series)
    cubes, squares = (changes**3).mean(-1), (changes**2).mean(-1)
    if count > 2:
        found[..., 4] = 2 * cubes
        found[..., 5] = np.where(moved, cubes / np.where(moved, squares, 1.0) ** 1.5, np.nan)
    found[..., 6:] = _flow(slopes[..., :-1, :])
    found[~np.isfinite(rms).all(-1)] = np.nan
    return found


def _error(series: Array, order: int) -> Array:
    """Mean amount of the error of an autoregression of a given order with a constant.

    Fitted by least squares to the series itself; 0 where it is rounding.
    """
    finite = np.asarray(np.isfinite(series).all(-1))
    values = np.where(finite[..., None], series, 0.0)
    apart = values - values.mean(-1, keepdims=True)
    size = np.sqrt((apart**2).mean(-1))
    apart = apart / np.where(size > 0, size, 1.0)[..., None]
    count = series.shape[-1] - order
    past = [np.ones((*series.shape[:-1], count))]
    past += [apart[..., order - 1 - lag : order - 1 - lag + count] for lag in range(order)]
    table = np.stack(past, axis=-1)
    target = apart[..., order:, None]
    left = target - table @ (np.linalg.pinv(table, rcond=1e-10) @ target)
    error = np.abs(left[..., 0]).mean(-1)
    return np.where(finite, np.where(error > _EXACT, error, 0.0) * size, np.nan)


def _flow(slopes: Array) -> Array:
    """Mean over time of magnitude and anisotropy, of the steps at which there is one."""
    known = np.isfinite(slopes)
    magnitude = np.sqrt(np.where(known, slopes**2, 0.0).sum(-1))
    magnitude = np.where(known.any(-1), magnitude, np.nan)
    x, y = np.abs(slopes[..., 0]), np.abs(slopes[..., 1])
    found = [magnitude, (x - y) / np.where(x + y > 0, x + y, np.nan)]
    return np.stack([_mean(one) for one in found], axis=-1)


def _mean(values: Array) -> Array:
    known = np.isfinite(values)
    count = known.sum(-1)
    return np.where(count > 0, np.where(known, values, 0.0).sum(-1) / np.maximum(count, 1), np.nan)
