"""Histograms of plain arrays as states that can be merged without any loss.

A state is a vector of float64: numbers of values, of NaN, of values below and above all bins,
smallest and largest finite value, exponent k and number of the first bin, then the counts of the
bins. Where no edges are given, bin i holds the values in [i, i + 1) 2^k: such bins fit into those
of any larger k, so that the k of all values together, the smallest whose bins suffice, can be
found block by block.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "HEAD",
    "aligned",
    "counted",
    "counted_within",
    "edges_of",
    "merge",
    "merge_counted",
    "states",
]

HEAD = 8
_COUNT, _NAN, _BELOW, _ABOVE, _LOW, _HIGH, _EXPONENT, _FIRST = range(HEAD)
_PIECE = 2**18
_DIGITS = 53  # of a float64: finer bins than its steps there are none
_FINEST = -1200

Floats = NDArray[np.float64]


def _head(values: NDArray[Any]) -> tuple[Floats, Floats]:
    """Numbers of a row, without its bins, and its finite values."""
    x = values.astype(np.float64)
    nan = np.isnan(x)
    below, above = x == -np.inf, x == np.inf
    head = np.zeros(HEAD)
    counts = [int(part.sum()) for part in (nan, below, above)]
    kept = x[~(nan | below | above)] if any(counts) else x
    head[_COUNT : _ABOVE + 1] = (x.size - counts[0], *counts)
    head[_LOW] = kept.min(initial=np.inf)
    head[_HIGH] = kept.max(initial=-np.inf)
    return head, kept


def states(values: NDArray[Any], *, core: int, bins: int) -> Floats:
    """Histograms of one block over its last ``core`` axes, in bins of a width that is a power of 2.

    Parameters
    ----------
    values : ndarray, shape (..., n_1, ..., n_core)
        Real numbers.
    core : int
        Number of axes to reduce.
    bins : int
        Most bins to take, 2 or more.

    Returns
    -------
    ndarray, shape (..., 1, ..., 1, HEAD + bins)
        One block per reduced axis.
    """
    lead = values.shape[: values.ndim - core]
    rows = values.reshape(math.prod(lead), -1)
    found = np.empty((len(rows), HEAD + bins))
    for i, row in enumerate(rows):
        parts = [_dyadic(row[j : j + _PIECE], bins) for j in range(0, max(1, row.size), _PIECE)]
        found[i] = parts[0] if len(parts) == 1 else _merged(np.stack(parts))
    return found.reshape(*lead, *(1,) * core, HEAD + bins)


def _dyadic(values: NDArray[Any], bins: int) -> Floats:
    head, kept = _head(values)
    counts = np.zeros(bins)
    if kept.size:
        k = _exponent(head[_LOW], head[_HIGH], bins)
        first = _number(head[_LOW], k)
        numbers = np.floor(np.ldexp(kept, -k)).astype(np.int64)
        if k > 0:  # what is too small to be told from 0 is still below it
            numbers[(kept < 0) & (numbers == 0)] = -1
        numbers -= first
        counts[:] = np.bincount(numbers, minlength=bins)
        head[_EXPONENT], head[_FIRST] = k, first
    return np.concatenate([head, counts])


def _number(value: float, k: int) -> int:
    number = math.floor(math.ldexp(value, -k))
    return -1 if value < 0 and number == 0 else number


def _exponent(low: float, high: float, bins: int) -> int:
    """Smallest k whose bins suffice; for a wider range it is never smaller."""
    largest = max(abs(low), abs(high))
    if largest == 0:
        return _FINEST
    k = math.frexp(largest)[1] - _DIGITS
    share = high / bins - low / bins
    if share > 0:
        k = max(k, math.frexp(share)[1] - 2)
    while _number(high, k) - _number(low, k) >= bins:
        k += 1
    return k


def merge(state: Floats, *, axes: int) -> Floats:
    """Merge states over the ``axes`` axes before the last."""
    lead = state.shape[: state.ndim - 1 - axes]
    rows = state.reshape(math.prod(lead), -1, state.shape[-1])
    found: Floats = np.empty((len(rows), state.shape[-1]))
    for i, row in enumerate(rows):
        found[i] = _merged(row)
    return found.reshape(*lead, state.shape[-1])


def _merged(rows: Floats) -> Floats:
    bins = rows.shape[-1] - HEAD
    found = np.zeros(rows.shape[-1])
    found[:_LOW] = rows[:, :_LOW].sum(axis=0)
    found[_LOW] = rows[:, _LOW].min(initial=np.inf)
    found[_HIGH] = rows[:, _HIGH].max(initial=-np.inf)
    if found[_LOW] <= found[_HIGH]:
        k = _exponent(found[_LOW], found[_HIGH], bins)
        first = _number(found[_LOW], k)
        found[_EXPONENT], found[_FIRST] = k, first
        for row in rows[rows[:, _LOW] <= rows[:, _HIGH]]:
            _put(row, found, k, first)
    return found


def _put(row: Floats, target: Floats, k: int, first: int) -> None:
    """Add the counts of one state to those of coarser bins."""
    taken = np.flatnonzero(row[HEAD:])
    numbers = (int(row[_FIRST]) + taken) >> min(k - int(row[_EXPONENT]), 63)
    np.add.at(target, HEAD + numbers - first, row[HEAD + taken])


def aligned(*states: Floats, bins: int) -> tuple[Floats, Floats]:
    """Counts of several single states in common bins.

    Parameters
    ----------
    *states : ndarray, shape (HEAD + any number,)
        Of `states`.
    bins : int
        Most bins to take.

    Returns
    -------
    counts : ndarray, shape (number of states, bins)
        Numbers of values.
    edges : ndarray, shape (bins + 1,)
        NaN if there are no values.
    """
    low = min(float(s[_LOW]) for s in states)
    high = max(float(s[_HIGH]) for s in states)
    counts = np.zeros((len(states), HEAD + bins))
    if not low <= high:
        return counts[:, HEAD:], np.full(bins + 1, np.nan)
    k = max(
        _exponent(low, high, bins),
        *(int(s[_EXPONENT]) for s in states if s[_LOW] <= s[_HIGH]),
    )
    first = _number(low, k)
    for row, target in zip(states, counts, strict=True):
        if row[_LOW] <= row[_HIGH]:
            _put(row, target, k, first)
    return counts[:, HEAD:], (first + np.arange(bins + 1.0)) * math.ldexp(1.0, k)


def edges_of(state: Floats) -> tuple[Floats, Floats]:
    """Edges and counts of single states, shape (..., HEAD + bins).

    Returns
    -------
    edges : ndarray, shape (..., bins + 1)
        NaN where there are no finite values. Those of a constant are half a unit to either side of
        it.
    counts : ndarray, shape (..., bins)
        Numbers of values.
    """
    bins = state.shape[-1] - HEAD
    rows = state.reshape(-1, state.shape[-1])
    edges, counts = np.empty((len(rows), bins + 1)), rows[:, HEAD:].copy()
    for i, row in enumerate(rows):
        low, high = row[_LOW], row[_HIGH]
        if not low <= high:
            edges[i] = np.nan
        elif low == high:
            half = max(0.5, abs(low) * 2.0**-20)
            edges[i] = np.linspace(low - half, low + half, bins + 1)
            place = min(int(np.searchsorted(edges[i], low, side="right")) - 1, bins - 1)
            counts[i] = 0.0
            counts[i, place] = row[HEAD:].sum()
        else:
            edges[i] = (row[_FIRST] + np.arange(bins + 1.0)) * math.ldexp(1.0, int(row[_EXPONENT]))
    lead = state.shape[:-1]
    return edges.reshape(*lead, bins + 1), counts.reshape(*lead, bins)


def counted(values: NDArray[Any], *, core: int, edges: Floats, uniform: bool = False) -> Floats:
    """Histograms of one block over its last ``core`` axes, in given bins as `numpy.histogram`.

    Parameters
    ----------
    values : ndarray, shape (..., n_1, ..., n_core)
        Real numbers.
    core : int
        Number of axes to reduce.
    edges : ndarray, shape (bins + 1,)
        Edges that rise; all bins are open at the right, the last one is not.
    uniform : bool
        The edges are those of ``numpy.linspace``.

    Returns
    -------
    ndarray, shape (..., 1, ..., 1, HEAD + bins)
        One block per reduced axis; values outside are counted below or above.
    """
    lead = values.shape[: values.ndim - core]
    rows = values.reshape(math.prod(lead), -1)
    found = np.zeros((len(rows), HEAD + edges.size - 1))
    for i, row in enumerate(rows):
        parts = [
            _in_bins(row[j : j + _PIECE], edges, uniform)
            for j in range(0, max(1, row.size), _PIECE)
        ]
        found[i] = merge_counted(np.stack(parts), axes=1)
    return found.reshape(*lead, *(1,) * core, found.shape[-1])


def counted_within(
    values: NDArray[Any], low: NDArray[Any], high: NDArray[Any], *, core: int, bins: int,
    margin: float,
) -> Floats:  # fmt: skip
    """As `counted` over all axes, between two values that are known by now.

    Parameters
    ----------
    values : ndarray
        Real numbers.
    low, high : ndarray
        The same number everywhere; not finite: nothing is counted.
    core : int
        All axes.
    bins : int
        Equal bins.
    margin : float
        Share of the width by which they reach further at either side.

    Returns
    -------
    ndarray, shape (1, ..., 1, HEAD + bins)
        As `counted`; exponent and number hold the outer edges.
    """
    start, stop = float(low.flat[0]), float(high.flat[0])
    found = np.zeros(HEAD + bins)
    found[_EXPONENT:HEAD] = np.nan
    if math.isfinite(start) and math.isfinite(stop):
        wide = (stop - start) * margin or (0.5 if stop == start else 0.0)
        start, stop = start - wide, stop + wide
        edges = np.linspace(start, stop, bins + 1)
        found = counted(values.reshape(-1), core=1, edges=edges, uniform=True).reshape(-1)
        found[_EXPONENT:HEAD] = start, stop
    return found.reshape(*(1,) * core, HEAD + bins)


def _in_bins(values: NDArray[Any], edges: Floats, uniform: bool) -> Floats:
    head, kept = _head(values)
    inside = kept[(kept >= edges[0]) & (kept <= edges[-1])]
    head[_BELOW] += (kept < edges[0]).sum()
    head[_ABOVE] += (kept > edges[-1]).sum()
    bins = edges.size - 1
    if uniform:
        counts = np.histogram(inside, bins, (float(edges[0]), float(edges[-1])))[0]
    else:
        places = np.searchsorted(edges, inside, side="right") - 1
        counts = np.bincount(np.minimum(places, bins - 1), minlength=bins)
    return np.concatenate([head, counts.astype(np.float64)])


def merge_counted(state: Floats, *, axes: int) -> Floats:
    """Merge histograms in the same bins over the ``axes`` axes before the last."""
    rows = state.reshape(*state.shape[: state.ndim - 1 - axes], -1, state.shape[-1])
    found: Floats = rows.sum(axis=-2)
    found[..., _LOW] = rows[..., _LOW].min(axis=-1, initial=np.inf)
    found[..., _HIGH] = rows[..., _HIGH].max(axis=-1, initial=-np.inf)
    found[..., _EXPONENT:HEAD] = rows[..., 0, _EXPONENT:HEAD]
    return found
