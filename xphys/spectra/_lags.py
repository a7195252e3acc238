"""Increments and products of values some cells apart, as states of plain arrays that add up.

The last axis is the one along which values are apart; the others are averaged over.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

__all__ = [
    "correlation",
    "correlation_size",
    "correlation_states",
    "increment_size",
    "increment_states",
    "increments",
    "lengths",
    "merge_correlations",
]

# Values taken at a time: in float64 they stay in the cache.
_PIECE = 2**16
_HEAD = 5  # of a correlation: bad values, number, base, sum of squares, mean less the base

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def increment_size(lags: Integers, orders: tuple[float, ...]) -> int:
    """Numbers of a state of increments."""
    return int(1 + lags.size * (1 + len(orders)))


def increment_states(
    values: NDArray[Any],
    *,
    core: int,
    lags: Integers,
    orders: tuple[float, ...],
    periodic: bool,
    absolute: bool,
) -> Floats:
    r"""Sums of :math:`(u_{j+l} - u_j)^p` over the last ``core`` axes of one block.

    Parameters
    ----------
    values : ndarray, shape (..., n_1, ..., n_core)
        Real numbers; the last axis is whole.
    core : int
        Number of axes to reduce.
    lags : ndarray of int
        Cells between the two values.
    orders : tuple of float
        Powers p, whole numbers unless ``absolute``.
    periodic : bool
        The last axis repeats.
    absolute : bool
        Powers of the absolute increment.

    Returns
    -------
    ndarray, shape (..., 1, ..., 1, 1 + lags + orders * lags)
        Number of values that are not finite, of pairs of finite values, and the sums.
    """
    lead = values.shape[: values.ndim - core]
    rows = values.reshape(math.prod(lead), -1, values.shape[-1])
    found = np.zeros((len(rows), increment_size(lags, orders)))
    for row, state in zip(rows, found, strict=True):
        for x in _pieces(row):
            _add_increments(x, state, lags, orders, periodic, absolute)
    return found.reshape(*lead, *(1,) * core, found.shape[-1])


def _pieces(lines: NDArray[Any]) -> Iterator[Floats]:
    step = max(1, _PIECE // max(1, lines.shape[-1]))
    for start in range(0, len(lines), step):
        yield lines[start : start + step].astype(np.float64)


def _add_increments(
    x: Floats,
    state: Floats,
    lags: Integers,
    orders: tuple[float, ...],
    periodic: bool,
    absolute: bool,
) -> None:
    pairs = state[1 : 1 + lags.size]
    sums = state[1 + lags.size :].reshape(len(orders), lags.size)
    bad = x.size - int(np.isfinite(x).sum())
    state[0] += bad
    with np.errstate(invalid="ignore", over="ignore"):
        for i, lag in enumerate(lags):
            d = np.roll(x, -lag, axis=-1) - x if periodic else x[:, lag:] - x[:, : x.shape[1] - lag]
            if bad:
                d = d[np.isfinite(d)]
            if absolute:
                d = np.abs(d)
            pairs[i] += d.size
            for power, row in zip(_powers(d, orders), sums, strict=True):
                row[i] += power.sum()


def _powers(d: Floats, orders: tuple[float, ...]) -> Iterator[Floats]:
    square = d * d
    quick = {1.0: d, 2.0: square}
    for order in orders:
        if order in (3.0, 4.0):
            yield square * (d if order == 3.0 else square)
        else:
            yield quick[order] if order in quick else d**order


def increments(state: Floats, *, lags: int, skipna: bool) -> Floats:
    """Means of the powers, shape (..., order, lag); NaN without pairs."""
    pairs = state[..., 1 : 1 + lags]
    sums = state[..., 1 + lags :].reshape(*state.shape[:-1], -1, lags)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = sums / pairs[..., None, :]
    bad = (state[..., 0] > 0) & (not skipna)
    return np.where(bad[..., None, None], np.nan, means)


# --- correlation ----------------------------------------------------------------------------


def correlation_size(lags: int) -> int:
    """Numbers of a state of correlations at 0 ... lags - 1 cells."""
    return _HEAD + 4 * lags


def correlation_states(values: NDArray[Any], *, core: int, lags: int, periodic: bool) -> Floats:
    """Pairs of values 0 ... lags - 1 cells apart over the last ``core`` axes of one block.

    Parameters
    ----------
    values : ndarray, shape (..., n_1, ..., n_core)
        Real numbers; the last axis is whole.
    core : int
        Number of axes to reduce.
    lags : int
        Number of separations.
    periodic : bool
        The last axis repeats.

    Returns
    -------
    ndarray, shape (..., 1, ..., 1, 5 + 4 lags)
        Number of values that are not finite, of finite ones, a number near their mean (the base),
        their squared deviations, and their mean less the base; for each separation the number of
        pairs, the means of their first and second values less the base, and the products of the
        deviations from these.
    """
    lead = values.shape[: values.ndim - core]
    rows = values.reshape(math.prod(lead), -1, values.shape[-1])
    found = np.zeros((len(rows), correlation_size(lags)))
    for row, state in zip(rows, found, strict=True):
        parts = [_correlated(x, lags, periodic) for x in _pieces(row)]
        state[:] = merge_correlations(np.stack(parts), axes=1)
    return found.reshape(*lead, *(1,) * core, found.shape[-1])


def _correlated(x: Floats, lags: int, periodic: bool) -> Floats:
    size = x.shape[-1]
    kept = np.isfinite(x)
    whole = bool(kept.all())
    n = int(kept.sum())
    state = np.zeros(correlation_size(lags))
    state[:2] = x.size - n, n
    if not n:
        return state
    base = float(x[kept].mean())
    apart = x - base if whole else np.where(kept, x - base, 0.0)
    rest = apart.sum() / n
    state[2], state[4] = base, rest
    state[3] = max(float((apart * apart).sum() - n * rest * rest), 0.0)
    # padded, so that nothing comes round from the other end
    length = size if periodic else scipy.fft.next_fast_len(size + lags - 1, real=True)
    modes = scipy.fft.rfft(apart, length, axis=-1)
    products = _back((np.abs(modes) ** 2).sum(axis=0), length, lags)
    first, second, pairs = _sums(apart, kept, modes, length, lags, periodic, whole)
    safe = np.maximum(pairs, 1.0)
    table = state[_HEAD:].reshape(4, lags)
    table[0] = pairs
    table[1], table[2] = first / safe, second / safe
    table[3] = products - first * second / safe
    return state


def _back(modes: NDArray[Any], length: int, lags: int) -> Floats:
    series: Floats = scipy.fft.irfft(modes, length)
    return series[:lags]


def _sums(
    apart: Floats, kept: NDArray[Any], modes: Any, length: int, lags: int, periodic: bool,
    whole: bool,
) -> tuple[Floats, Floats, Floats]:  # fmt: skip
    """Sums of the first and of the second values of all pairs, and the number of pairs."""
    lines, size = apart.shape
    if not whole:
        mask = scipy.fft.rfft(kept.astype(np.float64), length, axis=-1)
        first = _back((np.conj(modes) * mask).sum(axis=0), length, lags)
        second = _back((np.conj(mask) * modes).sum(axis=0), length, lags)
        return first, second, np.rint(_back((np.abs(mask) ** 2).sum(axis=0), length, lags))
    columns = apart.sum(axis=0)
    total = columns.sum()
    if periodic:
        same = np.full(lags, total)
        return same, same, np.full(lags, float(lines * size))
    gone = np.concatenate([[0.0], np.cumsum(columns)])
    lag = np.arange(lags)
    return gone[size - lag], total - gone[lag], np.asarray(lines * (size - lag), np.float64)


def merge_correlations(state: Floats, *, axes: int) -> Floats:
    """Merge states over the ``axes`` axes before the last."""
    lead = state.shape[: state.ndim - 1 - axes]
    rows = state.reshape(*lead, -1, state.shape[-1])
    found: Floats = np.empty((*lead, state.shape[-1]))
    found[..., 0] = rows[..., 0].sum(axis=-1)
    n, base = rows[..., 1], rows[..., 2]
    largest = n.argmax(axis=-1)[..., None]
    found[..., 2] = np.take_along_axis(base, largest, -1)[..., 0]
    shift = np.where(n > 0, base - found[..., 2, None], 0.0)
    mean = rows[..., 4] + shift
    total, middle, _, apart = _merge_means(n, mean, mean)
    found[..., 1], found[..., 4] = total, middle
    found[..., 3] = rows[..., 3].sum(axis=-1) + apart
    table = rows[..., _HEAD:].reshape(*rows.shape[:-1], 4, -1)
    pairs, first, second, product = (np.moveaxis(table[..., i, :], -2, -1) for i in range(4))
    moved = shift[..., None, :]
    total, one, two, apart = _merge_means(pairs, first + moved, second + moved)
    target = np.stack([total, one, two, product.sum(axis=-1) + apart], axis=-2)
    found[..., _HEAD:] = target.reshape(*lead, -1)
    return found


def _merge_means(n: Floats, a: Floats, b: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Number, both means, and the product of the deviations of the parts from them (last axis)."""
    total = n.sum(axis=-1)
    weights = n / np.maximum(total, 1.0)[..., None]
    mean_a, mean_b = (a * weights).sum(axis=-1), (b * weights).sum(axis=-1)
    spread = (n * (a - mean_a[..., None]) * (b - mean_b[..., None])).sum(axis=-1)
    return total, mean_a, mean_b, spread


def correlation(state: Floats, *, skipna: bool) -> Floats:
    """Autocorrelation at each lag (last axis); NaN for a constant, and where there are no pairs."""
    n, base, squares, mean = (state[..., i, None] for i in (1, 2, 3, 4))
    table = state[..., _HEAD:].reshape(*state.shape[:-1], 4, -1)
    pairs, first, second, product = (table[..., i, :] for i in range(4))
    with np.errstate(invalid="ignore", divide="ignore"):
        covariance = product / pairs + (first - mean) * (second - mean)
        found = covariance / (squares / n)
    # what is left of a constant is rounding
    flat = squares <= n * (4 * np.finfo(np.float64).eps * np.abs(base + mean)) ** 2
    bad = flat | ((state[..., :1] > 0) & (not skipna)) | (pairs == 0)
    return np.where(bad, np.nan, found)


def lengths(values: Floats, separation: Floats) -> tuple[Floats, Floats, Floats]:
    """Integral to the first zero, where that is, and where 1/e is reached (last axis: lags)."""
    shape = np.broadcast_shapes(values.shape, separation.shape)
    rows = np.broadcast_to(values, shape).reshape(-1, shape[-1])
    places = np.broadcast_to(separation, shape).reshape(-1, shape[-1])
    found = np.array([_lengths(r, x) for r, x in zip(rows, places, strict=True)])
    found = found.reshape(*shape[:-1], 3)
    return found[..., 0], found[..., 1], found[..., 2]


def _lengths(r: Floats, x: Floats) -> tuple[float, float, float]:
    known = np.isfinite(r) & np.isfinite(x)
    if not known.any() or not known[0]:
        return np.nan, np.nan, np.nan
    end = int(np.argmin(known)) if not known.all() else r.size
    r, x = r[:end], x[:end]
    zero, fold = _crossing(r, x, 0.0), _crossing(r, x, math.exp(-1))
    if np.isfinite(zero):
        above = x < zero
        r, x = np.append(r[above], 0.0), np.append(x[above], zero)
    return float(np.trapezoid(r, x)), zero, fold


def _crossing(r: Floats, x: Floats, level: float) -> float:
    below = np.flatnonzero(r <= level)
    if not below.size or below[0] == 0:
        return np.nan
    i = int(below[0])
    return float(x[i - 1] + (r[i - 1] - level) / (r[i - 1] - r[i]) * (x[i] - x[i - 1]))
