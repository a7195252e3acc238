"""Error statistics as mergeable states: one pass over the data, any chunking.

A state is a vector of float64: count of finite points, count of points that are not finite and
differ, mean and sum of squared deviations of the reference, sum and sum of squares of the error,
largest error, smallest and largest reference value.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "EMPTY_SHELL",
    "STATE",
    "divide",
    "drifts",
    "merge",
    "scores",
    "spectrum_error",
    "states",
]

STATE = 9
_COUNT, _MISMATCH, _MEAN, _SCATTER, _ERROR, _SQUARES, _LARGEST, _LOW, _HIGH = range(STATE)
#: Shells with less than this share of the variance hold only the rounding of the transform.
EMPTY_SHELL = 1e-14

Floats = NDArray[np.float64]


def divide(numerator: Floats, denominator: Floats) -> Floats:
    """Quotient with 0/0 = 0: no error where there is nothing to reproduce."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        quotient = np.asarray(numerator, dtype=np.float64) / denominator
    return np.where((numerator == 0) & (denominator == 0), 0.0, quotient)


def states(test: NDArray[Any], reference: NDArray[Any], *, core: int) -> Floats:
    """Reduce one block over its last ``core`` axes.

    Parameters
    ----------
    test, reference : ndarray, shape (..., n_1, ..., n_core)
        Real values.
    core : int
        Number of axes to reduce.

    Returns
    -------
    ndarray, shape (..., 1, ..., 1, STATE)
        One block per reduced axis. Points that are not finite and equal in both (all NaN count
        as equal) are left out.
    """
    axes = tuple(range(reference.ndim - core, reference.ndim))
    with np.errstate(invalid="ignore", over="ignore"):
        t, r = test.astype(np.float64), reference.astype(np.float64)
        finite = np.isfinite(t) & np.isfinite(r)
        differ = ~finite & (t != r) & ~(np.isnan(t) & np.isnan(r))
        everywhere = bool(finite.all())
        error = t - r if everywhere else np.where(finite, t - r, 0.0)
        count = finite.sum(axis=axes, keepdims=True, dtype=np.float64)
        safe = np.maximum(count, 1.0)
        values = r if everywhere else np.where(finite, r, 0.0)
        mean = values.sum(axis=axes, keepdims=True) / safe
        deviation = values - mean if everywhere else np.where(finite, values - mean, 0.0)
        low = r if everywhere else np.where(finite, r, np.inf)
        high = r if everywhere else np.where(finite, r, -np.inf)
        parts = (
            count,
            differ.sum(axis=axes, keepdims=True, dtype=np.float64),
            mean,
            (deviation**2).sum(axis=axes, keepdims=True),
            error.sum(axis=axes, keepdims=True),
            (error**2).sum(axis=axes, keepdims=True),
            np.abs(error).max(axis=axes, keepdims=True, initial=0.0),
            low.min(axis=axes, keepdims=True, initial=np.inf),
            high.max(axis=axes, keepdims=True, initial=-np.inf),
        )
    return np.stack(parts, axis=-1)


def merge(state: Floats, *, axes: int) -> Floats:
    """Merge states over the ``axes`` axes before the last: (..., b_1, ..., b_axes, STATE)."""
    lead = state.shape[: state.ndim - 1 - axes]
    s = state.reshape(*lead, -1, STATE)
    merged: Floats = s.sum(axis=-2)
    with np.errstate(invalid="ignore", over="ignore"):
        count = s[..., _COUNT]
        mean = (count * s[..., _MEAN]).sum(axis=-1) / np.maximum(merged[..., _COUNT], 1.0)
        between = count * (s[..., _MEAN] - mean[..., None]) ** 2
        merged[..., _MEAN] = mean
        merged[..., _SCATTER] += between.sum(axis=-1)
    merged[..., _LARGEST] = s[..., _LARGEST].max(axis=-1)
    merged[..., _LOW] = s[..., _LOW].min(axis=-1)
    merged[..., _HIGH] = s[..., _HIGH].max(axis=-1)
    return merged


def _deviation(state: Floats) -> Floats:
    """Standard deviation of the reference; exactly 0 where it is constant."""
    constant = state[..., _LOW] >= state[..., _HIGH]
    return np.where(
        constant, 0.0, np.sqrt(state[..., _SCATTER] / np.maximum(state[..., _COUNT], 1))
    )


def scores(state: Floats, *, axes: int) -> tuple[Floats, ...]:
    """vrmse, rel_l2, max_abs, psnr and the count of mismatched points, merged over ``axes``."""
    s = merge(state, axes=axes)
    count = np.maximum(s[..., _COUNT], 1.0)
    bad = s[..., _MISMATCH] > 0
    rmse = np.sqrt(s[..., _SQUARES] / count)
    norm = np.sqrt(s[..., _SCATTER] / count + s[..., _MEAN] ** 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.where(s[..., _COUNT] > 0, s[..., _HIGH] - s[..., _LOW], 0.0)
        decibel = np.where(rmse == 0, np.inf, 20 * np.log10(divide(spread, rmse)))
    return (
        np.where(bad, np.inf, divide(rmse, _deviation(s))),
        np.where(bad, np.inf, divide(rmse, norm)),
        np.where(bad, np.inf, s[..., _LARGEST]),
        np.where(bad, -np.inf, decibel),
        s[..., _MISMATCH],
    )


def drifts(state: Floats, *, axes: int) -> Floats:
    """Change of the mean of each state, over the deviation of them all; the shape of the states."""
    total = merge(state, axes=axes)
    change = np.abs(state[..., _ERROR]) / np.maximum(state[..., _COUNT], 1.0)
    wide = (..., *[np.newaxis] * axes)
    share = divide(change, _deviation(total)[wide])
    return np.where(state[..., _MISMATCH] > 0, np.inf, share)


def spectrum_error(test: Floats, reference: Floats) -> Floats:
    """|E_test/E_ref - 1| per shell (last axis); NaN where E_ref holds only rounding."""
    floor = EMPTY_SHELL * reference.sum(axis=-1, keepdims=True)
    empty = ~(reference > floor)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(empty, np.nan, np.abs(test / reference - 1.0))
