"""States of plain arrays that can be merged: count, mean, sum of squares, extremes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["STATE", "deviation", "empty", "merge", "root_mean_square", "state"]

#: A state: numbers of values and of NaN, mean, sum of squared differences from it, extremes.
STATE = np.dtype(
    [
        ("count", np.int64),
        ("nan_count", np.int64),
        ("mean", np.float64),
        ("m2", np.float64),
        ("min", np.float64),
        ("max", np.float64),
    ]
)
_PIECE = 2**18  # values taken at a time: in float64 they stay in the cache


def empty() -> NDArray[Any]:
    """The state of no values, which changes no other when merged with it.

    Returns
    -------
    ndarray of `STATE`, shape ()
        Extremes are infinite the wrong way round.

    Examples
    --------
    >>> int(empty()["count"])
    0
    """
    return np.array((0, 0, 0.0, 0.0, np.inf, -np.inf), STATE)


def state(values: NDArray[Any]) -> NDArray[Any]:
    """The state of an array; NaN are counted and left out of everything else.

    Parameters
    ----------
    values : ndarray
        Real numbers, any shape.

    Returns
    -------
    ndarray of `STATE`, shape ()
        Mean and sum of squares in float64, in two passes over each piece.

    Examples
    --------
    >>> float(state(np.array([1.0, 3.0, np.nan]))["m2"])
    2.0
    """
    flat = np.asarray(values).reshape(-1)
    return merge(_piece(flat[i : i + _PIECE]) for i in range(0, flat.size, _PIECE))


def _piece(values: NDArray[Any]) -> NDArray[Any]:
    valid = values.astype(np.float64)
    if values.dtype.kind == "f":
        kept = ~np.isnan(valid)
        if not kept.all():
            valid = valid[kept]
    n = valid.size
    found = empty()
    found["nan_count"] = values.size - n
    if not n:
        return found
    with np.errstate(invalid="ignore", over="ignore"):  # infinity has no deviation: NaN
        mean = valid.mean()
        apart = valid - mean
        rest = apart.mean()  # what rounding left of the mean
        found["mean"] = mean + rest if np.isfinite(mean) else mean
        squares = np.dot(apart, apart) - n * rest * rest
        found["m2"] = np.maximum(squares, 0.0) if np.isfinite(mean) else np.nan
    found["count"], found["min"], found["max"] = n, valid.min(), valid.max()
    return found


def merge(states: Iterable[NDArray[Any]]) -> NDArray[Any]:
    r"""The state of all values together.

    :math:`M = M_a + M_b + d^2 n_a n_b / n`, :math:`m = m_a + d\,n_b / n` with
    :math:`d = m_b - m_a` [1]_, pair by pair, so that errors grow with the logarithm of the number
    of states.

    Parameters
    ----------
    states : iterable of ndarray of `STATE`
        Any shapes; each entry is one state.

    Returns
    -------
    ndarray of `STATE`, shape ()
        Of no states that of no values.

    References
    ----------
    .. [1] T. F. Chan, G. H. Golub, R. J. LeVeque, The American Statistician 37, 242 (1983),
       doi:10.1080/00031305.1983.10483115, eq. 2.1

    Examples
    --------
    >>> halves = state(np.arange(5.0)), state(np.arange(5.0, 10.0))
    >>> float(merge(halves)["m2"]) == float(state(np.arange(10.0))["m2"])
    True
    """
    parts = [np.atleast_1d(one).reshape(-1) for one in states]
    row = np.concatenate(parts) if parts else np.atleast_1d(empty())
    while row.size > 1:
        if row.size % 2:
            row = np.concatenate([row, np.atleast_1d(empty())])
        row = _pairs(row[::2], row[1::2])
    return row.reshape(()) if row.size else empty()


def _pairs(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    found = np.empty(a.shape, STATE)
    for name in ("count", "nan_count"):
        found[name] = a[name] + b[name]
    found["min"], found["max"] = np.minimum(a["min"], b["min"]), np.maximum(a["max"], b["max"])
    n = np.maximum(found["count"], 1)
    with np.errstate(invalid="ignore", over="ignore"):
        apart = b["mean"] - a["mean"]
        found["mean"] = a["mean"] + apart * (b["count"] / n)
        found["m2"] = a["m2"] + b["m2"] + apart**2 * (a["count"] / n) * b["count"]
    for one, other in ((a, b), (b, a)):  # the mean of no values says nothing
        alone = one["count"] == 0
        for name in ("mean", "m2"):
            found[name][alone] = other[name][alone]
    return found


def deviation(states: NDArray[Any]) -> NDArray[np.float64]:
    """Standard deviation of all values (divided by their number); NaN without any."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.sqrt(states["m2"] / states["count"]))


def root_mean_square(states: NDArray[Any]) -> NDArray[np.float64]:
    """Square root of the mean square; NaN without any values."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.hypot(states["mean"], deviation(states)))
