"""Scores of plain arrays: mergeable states of both fields, windows, distances of histograms."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from xphys.metrics import _kernels as errors
from xphys.metrics._kernels import divide

__all__ = [
    "SIZE",
    "distances",
    "divide",
    "field_mean",
    "measures",
    "merge",
    "own_numbers",
    "similarity",
    "states",
]

#: A state of `errors`, then mean and sum of squared deviations of the test, the products of the
#: deviations of both, its smallest and largest value, and the sum of the absolute errors.
SIZE = errors.STATE + 6
_COUNT, _MISMATCH, _MEAN, _SCATTER, _ERROR, _SQUARES, _LARGEST, _LOW, _HIGH = range(errors.STATE)
_TEST, _TEST_SCATTER, _PRODUCT, _TEST_LOW, _TEST_HIGH, _ABSOLUTE = range(errors.STATE, SIZE)
_WINDOW_DEVIATION, _WINDOW_TRUNCATE = 1.5, 3.5
#: Points that a window reaches to either side.
RADIUS = int(_WINDOW_TRUNCATE * _WINDOW_DEVIATION + 0.5)

Floats = NDArray[np.float64]


def states(test: NDArray[Any], reference: NDArray[Any], *, core: int) -> Floats:
    """Reduce one block over its last ``core`` axes, as `_kernels.states` with six more numbers."""
    axes = tuple(range(reference.ndim - core, reference.ndim))
    first = errors.states(test, reference, core=core)
    found: Floats = np.empty((*first.shape[:-1], SIZE))
    found[..., : errors.STATE] = first
    with np.errstate(invalid="ignore", over="ignore"):
        t, r = test.astype(np.float64), reference.astype(np.float64)
        finite = np.isfinite(t) & np.isfinite(r)
        safe = np.maximum(finite.sum(axis=axes, keepdims=True), 1)
        t0, r0 = np.where(finite, t, 0.0), np.where(finite, r, 0.0)
        mean_t = t0.sum(axis=axes, keepdims=True) / safe
        mean_r = r0.sum(axis=axes, keepdims=True) / safe
        dt, dr = np.where(finite, t - mean_t, 0.0), np.where(finite, r - mean_r, 0.0)
        found[..., _TEST] = mean_t
        found[..., _TEST_SCATTER] = (dt * dt).sum(axis=axes, keepdims=True)
        found[..., _PRODUCT] = (dt * dr).sum(axis=axes, keepdims=True)
        found[..., _TEST_LOW] = np.where(finite, t, np.inf).min(
            axis=axes, keepdims=True, initial=np.inf
        )
        found[..., _TEST_HIGH] = np.where(finite, t, -np.inf).max(
            axis=axes, keepdims=True, initial=-np.inf
        )
        found[..., _ABSOLUTE] = np.abs(t0 - r0).sum(axis=axes, keepdims=True)
    return found


def merge(state: Floats, *, axes: int) -> Floats:
    """Merge states over the ``axes`` axes before the last."""
    s = state.reshape(*state.shape[: state.ndim - 1 - axes], -1, SIZE)
    found: Floats = np.empty((*s.shape[:-2], SIZE))
    found[..., : errors.STATE] = errors.merge(s[..., : errors.STATE], axes=1)
    with np.errstate(invalid="ignore", over="ignore"):
        count = s[..., _COUNT]
        safe = np.maximum(count.sum(axis=-1), 1.0)
        mean = (count * s[..., _TEST]).sum(axis=-1) / safe
        apart = s[..., _TEST] - mean[..., None]
        other = s[..., _MEAN] - found[..., _MEAN, None]
        found[..., _TEST] = mean
        found[..., _TEST_SCATTER] = (s[..., _TEST_SCATTER] + count * apart**2).sum(axis=-1)
        found[..., _PRODUCT] = (s[..., _PRODUCT] + count * apart * other).sum(axis=-1)
    found[..., _TEST_LOW] = s[..., _TEST_LOW].min(axis=-1, initial=np.inf)
    found[..., _TEST_HIGH] = s[..., _TEST_HIGH].max(axis=-1, initial=-np.inf)
    found[..., _ABSOLUTE] = s[..., _ABSOLUTE].sum(axis=-1)
    return found


def field_mean(state: Floats, *, axes: int) -> Floats:
    """Root mean square over ``axes`` axes of states of the mean error of each."""
    over = tuple(range(state.ndim - 1 - axes, state.ndim - 1))
    change = state[..., _ERROR] / np.maximum(state[..., _COUNT], 1.0)
    bad = (state[..., _MISMATCH] > 0).any(axis=over)
    return np.where(bad, np.inf, np.sqrt((change**2).mean(axis=over)))


def measures(state: Floats, *, axes: int) -> tuple[Floats, ...]:
    """Scores of all values together, merged over ``axes``.

    Returns
    -------
    tuple of ndarray
        mse, rmse, mae, bias, max_abs, nrmse, vrmse, r2, pearson_r, psnr, mismatched_nonfinite.
    """
    s = merge(state, axes=axes)
    vrmse, nrmse, largest, psnr, mismatch = errors.scores(s[..., : errors.STATE], axes=0)
    count = np.maximum(s[..., _COUNT], 1.0)
    bad, none = s[..., _MISMATCH] > 0, s[..., _COUNT] == 0
    mse = np.where(bad, np.inf, s[..., _SQUARES] / count)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        same = (s[..., _LOW] >= s[..., _HIGH]) | (s[..., _TEST_LOW] >= s[..., _TEST_HIGH])
        norm = np.sqrt(s[..., _SCATTER]) * np.sqrt(s[..., _TEST_SCATTER])
        r = np.clip(s[..., _PRODUCT] / norm, -1.0, 1.0)
    exact = (s[..., _SQUARES] == 0) & ~same  # rounding of the root would leave 1 - 1e-16
    r = np.where(bad | same, np.nan, np.where(exact, 1.0, r))
    mae = np.where(bad, np.inf, s[..., _ABSOLUTE] / count)
    bias = np.where(bad, np.nan, s[..., _ERROR] / count)
    found = (mse, np.sqrt(mse), mae, bias, largest, nrmse, vrmse, 1 - vrmse**2, r, psnr)
    return (*(np.where(none & ~bad, np.nan, one) for one in found), mismatch)


def own_numbers(state: Floats, *, test: bool | int = False) -> tuple[Floats, ...]:
    """Mean, standard deviation, smallest and largest value of one of the two fields of a state.

    Parameters
    ----------
    state : ndarray, shape (..., SIZE)
        Of `states`.
    test : bool
        Of the test, else of the reference.

    Returns
    -------
    tuple of ndarray, shape (...)
        NaN where a value is not finite or there is none.
    """
    places = (_TEST, _TEST_SCATTER, _TEST_LOW, _TEST_HIGH) if test else (
        _MEAN, _SCATTER, _LOW, _HIGH
    )  # fmt: skip
    mean, scatter, low, high = (state[..., place] for place in places)
    count = state[..., _COUNT]
    with np.errstate(invalid="ignore", divide="ignore"):
        deviation = np.where(low >= high, 0.0, np.sqrt(scatter / count))
    bad = (count == 0) | (state[..., _MISMATCH] > 0)
    return tuple(np.where(bad, np.nan, one) for one in (mean, deviation, low, high))


# --- structural similarity ------------------------------------------------------------------


def similarity(
    test: NDArray[Any],
    reference: NDArray[Any],
    *,
    periodic: tuple[bool, ...],
    data_range: float | None = None,
) -> Floats:
    r"""Mean structural similarity of fields over their last axes.

    With means, variances and covariance under a Gaussian window of deviation 1.5 cells, cut at 5
    cells, :math:`c_1 = (0.01 R)^2` and :math:`c_2 = (0.03 R)^2`, the mean of
    :math:`(2 m_x m_y + c_1)(2 s_{xy} + c_2) / ((m_x^2 + m_y^2 + c_1)(s_x^2 + s_y^2 + c_2))` over
    the windows that lie inside.

    Parameters
    ----------
    test, reference : ndarray, shape (..., n_1, ..., n_d)
        Real fields.
    periodic : tuple of bool
        For each of the last d axes.
    data_range : float, optional
        R; by default that of each reference field.

    Returns
    -------
    ndarray, shape (...)
        NaN for a field that is not finite, or smaller than a window along an open axis.
    """
    ndim = len(periodic)
    lead, shape = reference.shape[: reference.ndim - ndim], reference.shape[reference.ndim - ndim :]
    rows = [f.reshape(-1, *shape) for f in (test, reference)]
    found = np.full(len(rows[0]), np.nan)
    fits = all(p or n > 2 * RADIUS for p, n in zip(periodic, shape, strict=True))
    for i, (a, b) in enumerate(zip(*rows, strict=True)):
        x, y = a.astype(np.float64), b.astype(np.float64)
        if fits and np.isfinite(x).all() and np.isfinite(y).all():
            found[i] = _similar(x, y, periodic, data_range)
    return found.reshape(lead)


def _similar(x: Floats, y: Floats, periodic: tuple[bool, ...], data_range: float | None) -> float:
    width = float(np.ptp(y)) if data_range is None else data_range
    if np.array_equal(x, y):
        return 1.0
    mode = ["wrap" if p else "reflect" for p in periodic]

    def mean(values: Floats) -> Floats:
        blurred: Floats = scipy.ndimage.gaussian_filter(
            values, _WINDOW_DEVIATION, truncate=_WINDOW_TRUNCATE, mode=mode
        )
        return blurred

    # variances do not depend on a constant: without it they keep their digits
    base = float(y.mean())
    u, v = x - base, y - base
    mu, mv = mean(u), mean(v)
    uu, vv, uv = mean(u * u) - mu * mu, mean(v * v) - mv * mv, mean(u * v) - mu * mv
    mx, my = mu + base, mv + base
    c1, c2 = (0.01 * width) ** 2, (0.03 * width) ** 2
    above = (2 * mx * my + c1) * (2 * uv + c2)
    below = (mx * mx + my * my + c1) * (uu + vv + c2)
    inside = tuple(slice(None) if p else slice(RADIUS, -RADIUS) for p in periodic)
    return float(divide(above, below)[inside].mean())


# --- distances of distributions -------------------------------------------------------------


def distances(
    p: Floats, q: Floats, edges: Floats | None = None
) -> tuple[float, float, float, float]:
    r"""Distances of two histograms in the same bins.

    Parameters
    ----------
    p, q : ndarray, shape (bins,)
        Counts or densities; both are divided by their sums.
    edges : ndarray, shape (bins + 1,), optional
        Edges of the bins, for the Wasserstein distance.

    Returns
    -------
    js, tv, ks, wasserstein : float
        :math:`\frac12 \sum p \ln\frac{2p}{p+q} + \frac12 \sum q \ln\frac{2q}{p+q}`,
        :math:`\frac12 \sum |p - q|`, the largest :math:`|P - Q|` of the sums up to an edge, and
        :math:`\int |P - Q|\,dx`. NaN if one of the two is empty.
    """
    total_p, total_q = float(p.sum()), float(q.sum())
    if not (total_p > 0 and total_q > 0):
        return np.nan, np.nan, np.nan, np.nan
    a, b = p / total_p, q / total_q
    tv = 0.5 * float(np.abs(a - b).sum())
    apart = np.abs(np.cumsum(p) / total_p - np.cumsum(q) / total_q)  # sums of counts are exact
    apart[-1] = 0.0
    ks = float(apart.max())
    far = np.nan if edges is None else float((apart * np.diff(edges)).sum())
    middle = (a + b) / 2
    js = 0.5 * (_divergence(a, middle) + _divergence(b, middle))
    return max(js, 0.0), tv, ks, far


def _divergence(p: Floats, q: Floats) -> float:
    some = p > 0
    return float((p[some] * np.log(p[some] / q[some])).sum())
