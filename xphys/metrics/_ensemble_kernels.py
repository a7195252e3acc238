"""Scores of ensembles on plain arrays, members last."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["crps", "ranks", "results", "size", "states"]

Floats = NDArray[np.float64]
# A state: points, bad points, CRPS, fair CRPS, squared error of the mean, variance of the members,
# then the counts of the ranks.
_HEAD = 6


def size(members: int) -> int:
    """Numbers of a state."""
    return _HEAD + members + 1


def crps(members: Floats, truth: Floats) -> tuple[Floats, Floats]:
    r"""Continuous ranked probability score of each point.

    :math:`\frac1m\sum_i|x_i-y| - \frac{1}{2m^2}\sum_{ij}|x_i-x_j|`, and the same with m(m-1) in
    place of m² (fair [1]_: right on average whatever the number of members).

    Parameters
    ----------
    members : ndarray, shape (..., m)
        Values of the ensemble.
    truth : ndarray, shape (...)
        What came true.

    Returns
    -------
    usual, fair : ndarray, shape (...)
        In the units of the values; fair is NaN for one member.

    References
    ----------
    .. [1] C. A. T. Ferro, Q. J. R. Meteorol. Soc. 140, 1917 (2014), doi:10.1002/qj.2270
    """
    m = members.shape[-1]
    ordered = np.sort(members, axis=-1)
    far = np.abs(ordered - truth[..., None]).mean(axis=-1)
    weights = 2.0 * np.arange(m) - (m - 1)
    # about the first one: a large offset must not cost digits
    pairs = ((ordered - ordered[..., :1]) * weights).sum(axis=-1)  # half of the sum over i and j
    fair = far - pairs / (m * (m - 1)) if m > 1 else np.full(far.shape, np.nan)
    return far - pairs / m**2, fair


def ranks(members: Floats, truth: Floats) -> Floats:
    """How often the truth has each rank among the members, shape (m + 1,); ties are shared."""
    m = members.shape[-1]
    below = (members < truth[..., None]).sum(axis=-1).reshape(-1)
    equal = (members == truth[..., None]).sum(axis=-1).reshape(-1)
    found = np.bincount(below[equal == 0], minlength=m + 1).astype(np.float64)
    for first, same in zip(below[equal > 0], equal[equal > 0], strict=True):
        found[first : first + same + 1] += 1 / (same + 1)
    return found


def states(members: NDArray[Any], truth: NDArray[Any], *, core: int) -> Floats:
    """Reduce one block over its last ``core`` axes, the last of which holds the members.

    Parameters
    ----------
    members : ndarray, shape (..., n_1, ..., m)
        Real numbers, all members.
    truth : ndarray, shape (..., n_1, ..., m)
        The same for all members.
    core : int
        Number of axes to reduce, that of the members among them.

    Returns
    -------
    ndarray, shape (..., 1, ..., 1, size)
        One block per reduced axis. Points where a member or the truth is not finite are bad.
    """
    m = members.shape[-1]
    lead = members.shape[: members.ndim - core]
    rows = members.reshape(int(np.prod(lead)), -1, m)
    truths = truth.reshape(int(np.prod(lead)), -1, m)[..., 0]
    found = np.zeros((len(rows), size(m)))
    for row, one, state in zip(rows, truths, found, strict=True):
        x, y = row.astype(np.float64), one.astype(np.float64)
        good = np.isfinite(y) & np.isfinite(x).all(axis=-1)
        x, y = x[good], y[good]
        usual, fair = crps(x, y)
        mean = x[:, 0] + (x - x[:, :1]).mean(axis=-1)  # of equal members exactly their value
        state[:2] = good.sum(), good.size - good.sum()
        state[2], state[3] = usual.sum(), fair.sum()
        state[4] = ((mean - y) ** 2).sum()
        if m > 1:
            state[5] = ((x - mean[:, None]) ** 2).sum() / (m - 1)
        state[_HEAD:] = ranks(x, y)
    return found.reshape(*lead, *(1,) * core, size(m))


def results(state: Floats, *, skipna: bool) -> tuple[Floats, ...]:
    """crps, fair crps, rmse of the mean, spread, their ratio, and shares of the ranks."""
    n, bad = state[..., 0], state[..., 1]
    members = state.shape[-1] - _HEAD - 1
    with np.errstate(invalid="ignore", divide="ignore"):
        usual, fair, square, variance = (state[..., i] / n for i in (2, 3, 4, 5))
        shares = state[..., _HEAD:] / n[..., None]
        skill, spread = np.sqrt(square), np.sqrt(variance)
        ratio = np.sqrt((members + 1) / members) * spread / skill
    if members < 2:
        spread, ratio = np.full_like(spread, np.nan), np.full_like(ratio, np.nan)
    wrong = (n == 0) | ((bad > 0) & (not skipna))
    found = (np.where(wrong, np.nan, one) for one in (usual, fair, skill, spread, ratio))
    return (*found, np.where(wrong[..., None], np.nan, shares))
