"""What a relative bound is relative to: norms and ranges, gathered part by part."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numba import njit

from xphys.coding import exact

__all__ = ["merge", "parts_of", "reference"]

_GATHERED = ("count", "mean", "squares", "low", "high", "least")
# exponent: all other numbers are divided by 2**exponent (squares: by 4**exponent), so that the
# squares of any float64 neither overflow nor all vanish; least: smallest magnitude
_STATE = np.dtype(
    [
        ("exponent", "<i4"),
        ("count", "<i8"),
        ("mean", "<f8"),
        ("squares", "<f8"),
        ("low", "<f8"),
        ("high", "<f8"),
        ("least", "<f8"),
    ]
)


def reference(
    x: np.ndarray, axes: Sequence[int] | None = None, held: np.ndarray | None = None
) -> np.ndarray:
    """State of one part of an array.

    Parameters
    ----------
    x : ndarray of floats or integers
        The part.
    axes : sequence of int, optional
        Axes to reduce; all by default.
    held : ndarray of bool, optional
        Points that take no part; those that are stored exactly by default.

    Returns
    -------
    structured ndarray
        Shape of x with the reduced axes of length 1; fields ``exponent``, ``count``, ``mean``,
        ``squares`` (of the distances from the mean, summed), ``low``, ``high``, ``least``.
    """
    axes = tuple(range(x.ndim)) if axes is None else tuple(axes)
    rest = tuple(i for i in range(x.ndim) if i not in axes)
    shape = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
    state = np.zeros(shape, _STATE)
    state["least"], state["low"], state["high"] = np.inf, np.inf, -np.inf
    if not x.size:
        return state
    if held is None and x.dtype.kind == "f":
        held = exact.fill_values(x)
    if held is not None and not held.any():
        held = None
    free = x if held is None else np.where(held, np.zeros((), x.dtype), x)
    peak = max(float(free.max()), -float(free.min()))
    exponent = math.frexp(peak)[1]
    groups = math.prod(x.shape[i] for i in rest)
    if free.dtype not in (np.float32, np.float64):
        free = free.astype(np.float64)
    free = np.ascontiguousarray(free.transpose(*rest, *axes)).reshape(groups, -1)
    used = np.ones((0, 0), bool)
    if held is not None:
        used = np.ascontiguousarray(~held.transpose(*rest, *axes)).reshape(groups, -1)
    half = -exponent // 2
    table = _gather(free, used, np.ldexp(1.0, half), np.ldexp(1.0, -exponent - half))
    state["exponent"] = exponent
    for name, column in zip(_GATHERED, table.T, strict=True):
        state[name] = column.reshape(shape)
    return state


@njit(cache=True, nogil=True)
def _gather(x, used, first, second):  # type: ignore[no-untyped-def]
    """Count, mean, squares, low, high, least of each row of x times first times second."""
    out = np.empty((x.shape[0], 6))
    for i in range(x.shape[0]):
        count, total = 0, 0.0
        low, high, least = np.inf, -np.inf, np.inf
        for j in range(x.shape[1]):
            if used.size and not used[i, j]:
                continue
            value = np.float64(x[i, j]) * first * second
            count += 1
            total += value
            low, high, least = min(low, value), max(high, value), min(least, abs(value))
        mean = total / max(count, 1)
        if low == high:
            mean = low
        squares = rest = 0.0
        for j in range(x.shape[1]):
            if used.size and not used[i, j]:
                continue
            distance = np.float64(x[i, j]) * first * second - mean
            squares += distance * distance
            rest += distance
        # what rounding left in the mean must not count as spread
        mean += rest / max(count, 1)
        squares = max(squares - rest * rest / max(count, 1), 0.0)
        out[i, 0], out[i, 1], out[i, 2] = count, mean, squares
        out[i, 3], out[i, 4], out[i, 5] = low, high, least
    return out


def merge(states: Iterable[np.ndarray]) -> np.ndarray:
    """Put the states of all parts together; the order of the parts decides the last bits.

    Parameters
    ----------
    states : iterable of structured ndarray
        As `reference` returns them, of one shape.

    Returns
    -------
    structured ndarray
        Of that shape. A part that consists of fill values only (all magnitudes over 10^6 times
        those of the other parts) takes no part.
    """
    parts = np.stack(list(states))
    out = np.empty(parts.shape[1:], _STATE)
    for index in np.ndindex(out.shape):
        out[index] = _merge_one(parts[(slice(None), *index)])
    return out


def _merge_one(parts: np.ndarray) -> np.ndarray:
    parts = parts[parts["count"] > 0]
    state = np.zeros((), _STATE)
    if not parts.size:
        return state
    parts = parts[_physical(parts)]
    exponent = int(parts["exponent"].max())
    shift = parts["exponent"] - exponent
    count = parts["count"].sum()
    means = np.ldexp(parts["mean"], shift)
    mean = float((means * parts["count"]).sum() / count)
    within = np.ldexp(parts["squares"], 2 * shift).sum()
    state["exponent"], state["count"], state["mean"] = exponent, count, mean
    state["squares"] = within + (parts["count"] * (means - mean) ** 2).sum()
    state["low"] = np.ldexp(parts["low"], shift).min()
    state["high"] = np.ldexp(parts["high"], shift).max()
    state["least"] = np.ldexp(parts["least"], shift).min()
    return state


def _physical(parts: np.ndarray) -> np.ndarray:
    """True for parts that hold more than fill values."""
    with np.errstate(divide="ignore"):
        peaks = np.log2(np.maximum(parts["high"], -parts["low"])) + parts["exponent"]
        least = np.log2(parts["least"]) + parts["exponent"]
    keep = np.ones(parts.size, bool)
    largest = -np.inf
    for i in np.argsort(peaks, kind="stable"):
        # an all-zero rest says nothing about scale
        if np.isfinite(largest) and least[i] > largest + math.log2(exact.FILL_FACTOR):
            keep[i] = False
        else:
            largest = max(largest, peaks[i])
    return keep


def parts_of(shape: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """Index of each state of that shape, and where the points that it is of lie in the array."""
    for index in np.ndindex(shape):
        pairs = zip(index, shape, strict=True)
        yield index, tuple(slice(i, i + 1) if n > 1 else slice(None) for i, n in pairs)
