"""Central moments up to the fourth as states of plain arrays that can be merged.

A state is a vector of float64: number of values, number of NaN, mean, sums of the second, third
and fourth powers of the differences from it, smallest and largest value, and what rounding took
from the mean: beside a large offset that would be felt in the third power.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["SIZE", "merge", "scores", "states"]

SIZE = 9
_COUNT, _NAN, _MEAN, _M2, _M3, _M4, _LOW, _HIGH, _REST = range(SIZE)
_PIECE = 2**18  # values taken at a time: in float64 they stay in the cache

Floats = NDArray[np.float64]


def states(values: NDArray[Any], *, core: int) -> Floats:
    """Reduce one block over its last ``core`` axes.

    Parameters
    ----------
    values : ndarray, shape (..., n_1, ..., n_core)
        Real numbers; NaN are counted and left out.
    core : int
        Number of axes to reduce.

    Returns
    -------
    ndarray, shape (..., 1, ..., 1, SIZE)
        One block per reduced axis.
    """
    lead = values.shape[: values.ndim - core]
    rows = values.reshape(*lead, -1)
    length = rows.shape[-1]
    step = max(1, _PIECE // max(1, int(np.prod(lead))))
    parts = [_piece(rows[..., i : i + step]) for i in range(0, length, step)]
    empty = _piece(rows[..., :0]) if not parts else None
    found = merge(np.stack(parts, axis=-2), axes=1) if empty is None else empty
    return found.reshape(*lead, *(1,) * core, SIZE)


def _piece(values: NDArray[Any]) -> Floats:
    x = values.astype(np.float64)
    found: Floats = np.zeros((*x.shape[:-1], SIZE))
    kept = ~np.isnan(x)
    everywhere = bool(kept.all())
    n = kept.sum(axis=-1, dtype=np.float64)
    safe = np.maximum(n, 1.0)[..., None]
    with np.errstate(invalid="ignore", over="ignore"):
        filled = x if everywhere else np.where(kept, x, 0.0)
        mean = filled.sum(axis=-1, keepdims=True) / safe
        apart = x - mean
        if not everywhere:
            apart[~kept] = 0.0
        rest = apart.sum(axis=-1, keepdims=True) / safe  # what rounding left of the mean
        if np.isfinite(rest).all():
            found[..., _REST] = rest[..., 0]
            apart -= rest
            if not everywhere:
                apart[~kept] = 0.0
        square = apart * apart
        found[..., _M2] = square.sum(axis=-1)
        found[..., _M3] = (square * apart).sum(axis=-1)
        found[..., _M4] = (square * square).sum(axis=-1)
    found[..., _COUNT], found[..., _NAN], found[..., _MEAN] = n, x.shape[-1] - n, mean[..., 0]
    low, high = (x, x) if everywhere else (np.where(kept, x, np.inf), np.where(kept, x, -np.inf))
    found[..., _LOW] = low.min(axis=-1, initial=np.inf)
    found[..., _HIGH] = high.max(axis=-1, initial=-np.inf)
    return found


def merge(state: Floats, *, axes: int) -> Floats:
    r"""Merge states over the ``axes`` axes before the last.

    With :math:`d = m_b - m_a`, eq. 2.1 and 2.2 of [1]_, pair by pair, so that errors grow with the
    logarithm of the number of states.

    References
    ----------
    .. [1] P. Pébay, Sandia report SAND2008-6212 (2008), doi:10.2172/1028931
    """
    row = state.reshape(*state.shape[: state.ndim - 1 - axes], -1, SIZE)
    if row.shape[-2] == 0:
        return _piece(np.zeros((*row.shape[:-2], 0)))
    while row.shape[-2] > 1:
        odd = row[..., -1:, :] if row.shape[-2] % 2 else row[..., :0, :]
        even = row.shape[-2] // 2 * 2
        pairs = _pairs(row[..., 0:even:2, :], row[..., 1:even:2, :])
        row = np.concatenate([pairs, odd], axis=-2)
    found: Floats = row[..., 0, :]
    return found


def _pairs(a: Floats, b: Floats) -> Floats:
    found = a + b  # counts
    na, nb = a[..., _COUNT], b[..., _COUNT]
    n = np.maximum(na + nb, 1.0)
    with np.errstate(invalid="ignore", over="ignore"):
        d = b[..., _MEAN] - a[..., _MEAN] + (b[..., _REST] - a[..., _REST])
        step = a[..., _REST] + d * (nb / n)
        found[..., _MEAN] = a[..., _MEAN] + step
        found[..., _REST] = step - (found[..., _MEAN] - a[..., _MEAN])
        found[..., _M2] += d**2 * (na * nb / n)
        mixed = (na * b[..., _M2] - nb * a[..., _M2]) / n
        found[..., _M3] += d**3 * (na * nb * (na - nb) / n**2) + 3 * d * mixed
        spread = (na**2 * b[..., _M2] + nb**2 * a[..., _M2]) / n**2
        skew = (na * b[..., _M3] - nb * a[..., _M3]) / n
        fourth = na * nb * (na**2 - na * nb + nb**2) / n**3
        found[..., _M4] += d**4 * fourth + 6 * d**2 * spread + 4 * d * skew
    for one, other in ((a, b), (b, a)):  # the mean of no values says nothing
        alone = one[..., _COUNT] == 0
        for entry in (_MEAN, _M2, _M3, _M4, _REST):
            found[alone, entry] = other[alone, entry]
    found[..., _LOW] = np.minimum(a[..., _LOW], b[..., _LOW])
    found[..., _HIGH] = np.maximum(a[..., _HIGH], b[..., _HIGH])
    return found


def scores(state: Floats, *, skipna: bool) -> tuple[Floats, ...]:
    """Count, number of NaN, mean, variance, skewness, excess kurtosis, smallest and largest."""
    n = state[..., _COUNT]
    bad = (n == 0) | ((state[..., _NAN] > 0) & (not skipna))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        m2, m3, m4 = (state[..., entry] / n for entry in (_M2, _M3, _M4))
        constant = state[..., _LOW] >= state[..., _HIGH]
        m2 = np.where(constant & np.isfinite(state[..., _LOW]), 0.0, m2)
        flat = m2 == 0
        skewness = np.where(flat, np.nan, m3 / m2**1.5)
        kurtosis = np.where(flat, np.nan, m4 / m2**2 - 3)
    mean = state[..., _MEAN]
    mean = np.where(np.isfinite(mean), mean + state[..., _REST], mean)
    measured = (mean, m2, skewness, kurtosis, state[..., _LOW], state[..., _HIGH])
    return (n, state[..., _NAN], *(np.where(bad, np.nan, one) for one in measured))
