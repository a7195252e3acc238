"""How norms of a field and of its scales change along a trajectory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xphys.features._kernels.frames import NOTHING, unbiased
from xphys.features._kernels.series import NORMS, SCALES

__all__ = ["METRICS", "drift"]

Array = NDArray[Any]
METRICS = ("mean_drift", "drift_variance", "final_initial_ratio", "monotonicity")


def drift(norms: Array) -> Array:
    """The 60 features of invariant drift.

    Parameters
    ----------
    norms : ndarray, shape (..., time, 15)
        Norm, then scale.

    Returns
    -------
    ndarray, shape (..., 60)
        Norm, then metric, then scale; NaN where there are too few steps.
    """
    series = np.moveaxis(norms, -2, -1)
    lead, count = series.shape[:-2], series.shape[-1]
    found = np.full((*lead, len(NORMS), len(METRICS), len(SCALES)), np.nan)
    if count < 2:
        return found.reshape(*lead, -1)
    series = series.reshape(*lead, len(NORMS), len(SCALES), count)
    changes = np.diff(series)
    limit = NOTHING * np.abs(series).max(-1, keepdims=True)
    changes = np.where(np.abs(changes) <= limit, 0.0, changes)
    found[..., 0, :] = (series[..., -1] - series[..., 0]) / (count - 1)
    found[..., 1, :] = unbiased(changes) ** 2
    start = series[..., 0]
    found[..., 2, :] = np.where(start > 0, series[..., -1] / np.where(start > 0, start, 1), np.nan)
    found[..., 3, :] = np.sign(changes).mean(-1)
    found[~np.isfinite(series).all((-3, -2, -1))] = np.nan
    return found.reshape(*lead, -1)
