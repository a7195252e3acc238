"""Further numbers of a field and of a series: quantiles, recurrence, order of steps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xphys.features._kernels.frames import Frames, entropy, histogram, quantiles
from xphys.features._kernels.spectral import sparsity
from xphys.features._kernels.temporal import settled

__all__ = ["extensions", "log_step", "nonlinear"]

Array = NDArray[Any]
SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)
BINS = 16
LONGEST = 1000
_NEAR = 0.1
_RADII = 10


def extensions(frames: Frames) -> Array:
    """The 9 features of a step, shape (frame, channel, 9)."""
    counts = histogram(frames.flat, BINS, frames.least, frames.most)
    share = counts / frames.grid.points
    shape = [entropy(counts), share.max(-1), (share > 0.01).sum(-1).astype(np.float64)]
    columns = [
        sparsity(frames),
        *np.moveaxis(quantiles(frames.flat, SHARES), -1, 0),
        *(np.where(frames.constant, np.nan, one) for one in shape),
    ]
    return np.stack(columns, axis=-1)


def log_step(mean: Array, rms: Array) -> Array:
    """Mean logarithm of the amount of the steps, shape (..., 1), of series (..., time)."""
    changes = np.abs(np.diff(settled(mean, rms.max(-1))))
    moved = changes > 0
    count = moved.sum(-1)
    total = np.log(np.where(moved, changes, 1.0)).sum(-1)
    found = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return np.where(np.isfinite(rms).all(-1), found, np.nan)[..., None]


def nonlinear(mean: Array, rms: Array) -> Array:
    """Recurrence, dimension and order of series.

    Parameters
    ----------
    mean, rms : ndarray, shape (..., time)
        Spatial mean and size; of more than 1000 steps the first.

    Returns
    -------
    ndarray, shape (..., 6)
        NaN where there are too few steps or none that changes.
    """
    series = settled(mean, rms.max(-1))[..., :LONGEST]
    found = np.full((*mean.shape[:-1], 6), np.nan)
    for at in np.ndindex(*mean.shape[:-1]):
        one = series[at]
        if not np.isfinite(one).all() or np.ptp(one) == 0:
            continue
        if one.size >= 6:
            found[at][:4] = _recurrence(one)
        if one.size >= 8:
            found[at][4] = _dimension(one)
        if one.size >= 4:
            found[at][5] = _order(one)
    return found


def _distances(series: Array, dimension: int) -> Array:
    points = np.lib.stride_tricks.sliding_window_view(series, dimension)
    squares = ((points[:, None] - points[None]) ** 2).sum(-1)
    return np.asarray(np.sqrt(squares))


def _recurrence(series: Array) -> list[float]:
    distances = _distances(series, 3)
    near = distances <= _NEAR * distances.max()
    count = near.shape[0]
    np.fill_diagonal(near, False)
    total = int(near.sum())
    lengths: list[int] = []
    for offset in range(1, count):
        lengths += _runs(np.diagonal(near, offset))
    upright = [run for column in near.T for run in _runs(column)]
    lines = [run for run in lengths if run > 1]
    shares = [
        2 * sum(lines) / total if total else np.nan,
        sum(run for run in upright if run > 1) / total if total else np.nan,
    ]
    spread = float(entropy(np.bincount(lines).astype(float))) if lines else np.nan
    return [total / (count * (count - 1)), *shares, spread]


def _runs(line: NDArray[np.bool_]) -> list[int]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], line.astype(np.int8), [0]])))
    runs: list[int] = (edges[1::2] - edges[::2]).tolist()
    return runs


def _dimension(series: Array) -> float:
    distances = _distances(series, 5)
    apart = distances[np.triu_indices(distances.shape[0], 1)]
    apart = apart[apart > 0]
    if apart.size < 2:
        return np.nan
    low, high = (float(np.quantile(apart, share)) for share in (0.01, 0.99))
    if not high > low:
        return np.nan
    radii = np.geomspace(low, high, _RADII)
    sums = np.array([(apart <= r * (1 + 1e-12)).mean() for r in radii])
    x, y = np.log(radii), np.log(np.where(sums > 0, sums, np.nan))
    usable = np.isfinite(y)
    x, y = x[usable] - x[usable].mean(), y[usable] - y[usable].mean()
    return float(x @ y / (x @ x)) if x.size > 1 else np.nan


def _order(series: Array) -> float:
    triples = np.lib.stride_tricks.sliding_window_view(series, 3)
    order = np.argsort(triples, axis=-1, kind="stable") @ np.array([9, 3, 1])
    return float(entropy(np.bincount(order).astype(float))) / math.log(6)
