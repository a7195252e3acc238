"""Errors of decoded values, and which points miss a bound on single points."""

from __future__ import annotations

import numpy as np
from numba import njit

from xphys.coding.bounds import RELATIVE_MARGIN

__all__ = ["measure_floats", "measure_integers"]

_KEEP = 1.0 - RELATIVE_MARGIN


@njit(cache=True, nogil=True)
def _measure(x, y, first, second, absolute, relative, slack, epsilon, tiny, bad):  # type: ignore[no-untyped-def]
    """Sum of squares and largest scaled error over points that are not bad; marks more as bad."""
    squared, peak, count = 0.0, 0.0, 0
    for i in range(x.size):
        if bad[i]:
            count += 1
            continue
        a, b = np.float64(x[i]), np.float64(y[i])
        error = abs(b - a) + slack + abs(b) * epsilon + tiny
        tolerance = absolute
        if relative * abs(a) < tolerance:  # infinity times zero is not
            tolerance = relative * abs(a)
        if not error <= tolerance * _KEEP or not np.isfinite(error):
            bad[i] = True
            count += 1
            continue
        error = error * first * second
        squared += error * error
        peak = max(peak, error)
    return squared, peak, count


def measure_floats(
    x: np.ndarray,
    y: np.ndarray,
    exponent: int,
    absolute: float,
    relative: float,
    slack: float,
    ulps: float,
    bad: np.ndarray,
) -> tuple[float, float, int]:
    """Largest errors that any machine may see.

    Parameters
    ----------
    x, y : ndarray of floats, one dtype
        Original and decoded values.
    exponent : int
        Results are in units of ``2**exponent``.
    absolute, relative : float
        Bounds on single points, in the units of x and as a share of its magnitude.
    slack : float
        By how much another machine may decode other values, in the units of x.
    ulps : float
        The same in units of the last place of each value.
    bad : ndarray of bool, shape of x, C order
        True at points that take no part; points that miss a bound become True.

    Returns
    -------
    squared : float
        Sum of squared errors.
    peak : float
        Largest error.
    count : int
        Points that are bad.
    """
    info = np.finfo(y.dtype)
    if x.dtype.itemsize == 2:
        x, y = x.astype(np.float32), y.astype(np.float32)
    half = -exponent // 2
    result = _measure(
        x.reshape(-1),
        np.ascontiguousarray(y).reshape(-1),
        np.ldexp(1.0, half),
        np.ldexp(1.0, -exponent - half),
        absolute,
        relative,
        slack,
        ulps * float(info.eps),
        ulps * float(info.smallest_subnormal),
        bad.reshape(-1),
    )
    return float(result[0]), float(result[1]), int(result[2])


def measure_integers(
    x: np.ndarray,
    scaled: np.ndarray,
    exponent: int,
    absolute: float,
    relative: float,
    slack: float,
    bad: np.ndarray,
) -> tuple[float, float, int]:
    """The same for integers: decoded values are rounded, ``scaled`` ones are not yet."""
    wide = np.ldexp(scaled.astype(np.float64), exponent)
    reach = np.abs(wide) * 2.0**-40 + 2.0**-30 + slack
    value = x.astype(np.float64)
    error = np.maximum(np.abs(np.rint(wide - reach) - value), np.abs(np.rint(wide + reach) - value))
    tolerance = absolute if np.isinf(relative) else np.minimum(absolute, relative * np.abs(value))
    tolerance = np.asarray(tolerance) * _KEEP
    bad |= ~(error <= tolerance)
    error = np.ldexp(np.where(bad, 0.0, error), -exponent).reshape(-1)
    return float(np.dot(error, error)), float(error.max(initial=0.0)), int(bad.sum())
