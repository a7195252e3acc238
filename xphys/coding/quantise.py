"""Dead-zone quantiser with two centroids, and the search of its step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numba import njit

__all__ = [
    "Centroids",
    "centroids",
    "distance",
    "error",
    "find_step",
    "quantise",
    "restore",
    "squares",
    "squares_and_peak",
]

LARGEST = 2**30
_UNIT = 256.0  # of shifts, per step
_LARGEST_CHANGE = 8.0  # of the logarithm of the step in one go
_TRIALS = 16
_AT_ONCE = 1024  # integers that are replaced


@dataclass(frozen=True)
class Centroids:
    """How far values lie below q steps in the mean, in 1/256 step: for q = 1, and for q > 1."""

    first: int
    rest: int


@njit(cache=True, nogil=True)
def _squares(c):  # type: ignore[no-untyped-def]
    """Sum of squares (four sums side by side: no chain of additions) and largest magnitude."""
    s0 = s1 = s2 = s3 = 0.0
    p0 = p1 = p2 = p3 = 0.0
    whole = c.size // 4 * 4
    for i in range(0, whole, 4):
        a, b = abs(np.float64(c[i])), abs(np.float64(c[i + 1]))
        d, e = abs(np.float64(c[i + 2])), abs(np.float64(c[i + 3]))
        s0 += a * a
        s1 += b * b
        s2 += d * d
        s3 += e * e
        p0, p1 = (a if a > p0 else p0), (b if b > p1 else p1)
        p2, p3 = (d if d > p2 else p2), (e if e > p3 else p3)
    for i in range(whole, c.size):
        a = abs(np.float64(c[i]))
        s0 += a * a
        p0 = a if a > p0 else p0
    return (s0 + s1) + (s2 + s3), max(max(p0, p1), max(p2, p3))


@njit(cache=True, nogil=True)
def _distance(x, y):  # type: ignore[no-untyped-def]
    s0 = s1 = s2 = s3 = 0.0
    whole = x.size // 4 * 4
    for i in range(0, whole, 4):
        a, b = np.float64(x[i]) - np.float64(y[i]), np.float64(x[i + 1]) - np.float64(y[i + 1])
        c, d = np.float64(x[i + 2]) - np.float64(y[i + 2]), np.float64(x[i + 3]) - y[i + 3]
        s0 += a * a
        s1 += b * b
        s2 += c * c
        s3 += d * d
    for i in range(whole, x.size):
        a = np.float64(x[i]) - np.float64(y[i])
        s0 += a * a
    return (s0 + s1) + (s2 + s3)


@njit(cache=True, nogil=True)
def _tally(c, step, offset, out):  # type: ignore[no-untyped-def]
    """Squares of what becomes zero; count, sum, squares of |c| / step - q for q = 1, q > 1."""
    zeros = 0.0
    count1 = sum1 = square1 = count2 = sum2 = square2 = 0.0
    inverse = 1.0 / step
    for value in c:
        a = abs(np.float64(value)) * inverse
        q = np.floor(a + offset)
        d = a - q
        if q < 1.0:
            zeros += a * a
        elif q < 2.0:
            count1 += 1.0
            sum1 += d
            square1 += d * d
        else:
            count2 += 1.0
            sum2 += d
            square2 += d * d
    out[0] = zeros
    out[1], out[2], out[3] = count1, sum1, square1
    out[4], out[5], out[6] = count2, sum2, square2


@njit(cache=True, nogil=True)
def _measure(c, q, step, out):  # type: ignore[no-untyped-def]
    """As `_tally` for integers that are given."""
    zeros = 0.0
    count1 = sum1 = square1 = count2 = sum2 = square2 = 0.0
    inverse = 1.0 / step
    for i in range(c.size):
        a = np.float64(c[i]) * inverse
        level = q[i]
        if level == 0:
            zeros += a * a
            continue
        d = a - level if level > 0 else level - a
        if level == 1 or level == -1:
            count1 += 1.0
            sum1 += d
            square1 += d * d
        else:
            count2 += 1.0
            sum2 += d
            square2 += d * d
    out[0] = zeros
    out[1], out[2], out[3] = count1, sum1, square1
    out[4], out[5], out[6] = count2, sum2, square2


@njit(cache=True, nogil=True)
def _quantise(c, step, offset, out):  # type: ignore[no-untyped-def]
    inverse = 1.0 / step
    for i in range(c.size):
        a = np.float64(c[i]) * inverse
        if a < 0:
            out[i] = -np.int32(min(np.floor(offset - a), 1073741824.0))
        else:
            out[i] = np.int32(min(np.floor(offset + a), 1073741824.0))


@njit(cache=True, nogil=True)
def _restore(q, step, first, rest, out):  # type: ignore[no-untyped-def]
    for i in range(q.size):
        level = q[i]
        size = np.float64(abs(level))
        value = 0.0 if level == 0 else (size - (first if size == 1.0 else rest)) * step
        out[i] = -value if level < 0 else value


@njit(cache=True, nogil=True)
def _restore_in_place(q, step, first, rest):  # type: ignore[no-untyped-def]
    out, few = q.view(np.float32), np.empty(_AT_ONCE, np.float32)
    for start in range(0, q.size, _AT_ONCE):
        part, place = q[start : start + _AT_ONCE], out[start : start + _AT_ONCE]
        _restore(part, step, first, rest, few)
        for i in range(place.size):
            place[i] = few[i]


def _shift(count: float, total: float) -> int:
    return int(np.clip(round(-total / count * _UNIT), -128, 127)) if count else 0


def _spent(tally: np.ndarray, step: float) -> float:
    """Squared error with centroids rounded as they are stored."""
    first, rest = _shift(tally[1], tally[2]) / _UNIT, _shift(tally[4], tally[5]) / _UNIT
    total = tally[0]
    for shift, (count, linear, square) in ((first, tally[1:4]), (rest, tally[4:7])):
        total += square + 2 * shift * linear + shift * shift * count
    return float(total) * step * step


def squares(c: np.ndarray) -> float:
    """Sum of squares in double precision."""
    return float(_squares(np.ascontiguousarray(c).reshape(-1))[0])


def squares_and_peak(c: np.ndarray) -> tuple[float, float]:
    """Sum of squares in double precision, and the largest magnitude, of an array in C order."""
    total, peak = _squares(c.reshape(-1))
    return float(total), float(peak)


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Sum of squared differences in double precision, of arrays in C order."""
    return float(_distance(a.reshape(-1), b.reshape(-1)))


def error(c: np.ndarray, step: float, offset: float) -> float:
    """Squared error of coefficients after quantising, as the decoder restores them."""
    tally = np.empty(7)
    _tally(c.reshape(-1), step, offset, tally)
    return _spent(tally, step)


def centroids(c: np.ndarray, q: np.ndarray, step: float) -> tuple[Centroids, float]:
    """Centroids of chosen integers, and the squared error with them."""
    tally = np.empty(7)
    _measure(c.reshape(-1), q.reshape(-1), step, tally)
    return Centroids(_shift(tally[1], tally[2]), _shift(tally[4], tally[5])), _spent(tally, step)


def quantise(c: np.ndarray, step: float, offset: float) -> np.ndarray:
    """Integers floor(|c| / step + offset) with the sign of c.

    Parameters
    ----------
    c : ndarray of float32 or float64
        Coefficients, C order.
    step : float
        Above 0.
    offset : float
        0.5 rounds to the nearest; less makes more zeros.

    Returns
    -------
    ndarray of int32
        Same shape; magnitudes up to 2^30.
    """
    out = np.empty(c.shape, np.int32)
    _quantise(c.reshape(-1), step, offset, out.reshape(-1))
    return out


def restore(
    q: np.ndarray, step: float, shifts: Centroids, dtype: np.dtype, reuse: bool = False
) -> np.ndarray:
    """Coefficients of integers, of that dtype; computed in double precision, then rounded.

    With `reuse` they may take the place of the integers.
    """
    places = shifts.first / _UNIT, shifts.rest / _UNIT
    if reuse and dtype == np.float32:
        _restore_in_place(q.reshape(-1), step, *places)
        return q.view(np.float32)
    out = np.empty(q.shape, dtype)
    _restore(q.reshape(-1), step, *places, out.reshape(-1))
    return out


def find_step(
    spent: Callable[[float], float],
    target: float,
    start: float,
    tolerance: float = 0.004,
    slope: float = 1.5,
) -> float:
    """Largest step whose squared error stays below target, by secant on logarithms.

    Parameters
    ----------
    spent : callable
        Squared error at a step.
    target : float
        Above 0.
    start : float
        First guess.
    tolerance : float, default 0.004
        How far below target the error may stay, as a share.
    slope : float, default 1.5
        First guess of d log error / d log step.

    Returns
    -------
    float
        The step.
    """
    low = high = None
    aim = math.log(target) - tolerance / 2
    step, last = start, None
    for _ in range(_TRIALS):
        level = math.log(max(spent(step), 1e-300))
        if aim - tolerance / 2 <= level <= aim + tolerance / 2:
            return step
        at = math.log(step)
        if level < aim:
            low = at if low is None else max(low, at)
        else:
            high = at if high is None else min(high, at)
        if last is not None and at != last[0] and level != last[1]:
            slope = min(max((level - last[1]) / (at - last[0]), 0.2), 4.0)
        last = (at, level)
        change = (aim - level) / slope
        following = at + min(max(change, -_LARGEST_CHANGE), _LARGEST_CHANGE)
        if low is not None and high is not None:
            if high - low < 1e-4:
                break
            if not low < following < high:
                following = (low + high) / 2
        step = math.exp(following)
    return math.exp(low) if low is not None else step / 2
