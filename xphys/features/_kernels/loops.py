"""Passes over the points that NumPy would take many times, compiled at their first use."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["ranked", "sums_and_counts"]

Array = NDArray[Any]
_BUCKETS = 1024


@numba.njit(nogil=True, cache=True)
def ranked(rows: NDArray[np.float64], ranks: NDArray[np.int64], found: NDArray[np.float64]) -> None:
    """Values of given ranks in each row, without sorting all of it.

    Values are counted in equal buckets between the ends; only the bucket that holds a rank is
    sorted.

    Parameters
    ----------
    rows : ndarray, shape (row, point)
        Finite.
    ranks : ndarray of int, shape (rank,)
        Rising, from 0.
    found : ndarray, shape (row, rank)
        Changed in place.
    """
    count = rows.shape[1]
    place = np.empty(count, np.int32)
    starts = np.empty(_BUCKETS + 1, np.int64)
    inside = np.empty(count, np.float64)
    for number in range(rows.shape[0]):
        row = rows[number]
        low, high = row[0], row[0]
        for value in row:
            low, high = min(low, value), max(high, value)
        if not high > low:
            found[number] = low
            continue
        factor = (_BUCKETS - 1) / (high - low)
        if not (0.0 < factor < np.inf):  # ends too near or too far apart to count between them
            ordered = np.sort(row)
            for at in range(ranks.size):
                found[number, at] = ordered[ranks[at]]
            continue
        starts[:] = 0
        for i in range(count):
            place[i] = int((row[i] - low) * factor)
            starts[place[i] + 1] += 1
        for i in range(_BUCKETS):
            starts[i + 1] += starts[i]
        held, size = -1, 0
        for at in range(ranks.size):
            bucket = np.searchsorted(starts, ranks[at], side="right") - 1
            if bucket != held:
                size, held = 0, bucket
                for i in range(count):
                    if place[i] == bucket:
                        inside[size] = row[i]
                        size += 1
                inside[:size].sort()
            found[number, at] = inside[ranks[at] - starts[bucket]]


@numba.njit(nogil=True, cache=True)
def sums_and_counts(
    rows: NDArray[np.float64],
    slopes: NDArray[np.float64],
    rounding: NDArray[np.float64],
    sums: NDArray[np.float64],
    counts: NDArray[np.float64],
) -> None:
    """Sums over each row and the counts of its values in equal bins between its ends.

    Parameters
    ----------
    rows, slopes : ndarray, shape (row, point)
        Values and a second amount of each point.
    rounding : ndarray, shape (row,)
        Ends that differ by no more than this are one: all values are in the first bin.
    sums : ndarray, shape (row, 4)
        Changed in place: sum of amounts, of squares, largest amount, sum of ``slopes``.
    counts : ndarray, shape (row, bin)
        Changed in place; zeros before.
    """
    bins = counts.shape[1]
    for number in range(rows.shape[0]):
        row, slope = rows[number], slopes[number]
        low, high = row[0], row[0]
        amount, square, steep = 0.0, 0.0, 0.0
        for i in range(row.size):
            value = row[i]
            low, high = min(low, value), max(high, value)
            amount += abs(value)
            square += value * value
            steep += slope[i]
        sums[number, 0], sums[number, 1] = amount, square
        sums[number, 2], sums[number, 3] = max(abs(low), abs(high)), steep
        span = high - low
        factor = bins / span if span > rounding[number] else 0.0
        if not (0.0 < factor < np.inf):
            counts[number, 0] = row.size
            continue
        for i in range(row.size):
            place = int((row[i] - low) * factor)
            counts[number, max(0, min(place, bins - 1))] += 1.0
