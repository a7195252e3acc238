"""Values of a short dtype moved by units in the last place until several sums are as given.

Each sum is linear or quadratic in the values. Many small moves, spread by rounding an exact
solution with the error carried on, bring the sums close; one pair of moves out of tens of
millions then takes up what is left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

__all__ = ["Goal", "bring", "units"]

_POINTS = 2**12  # that may be moved
_PAIRS = 2**8  # of them for one sum, for what is left in the end; more for more sums
_ROUNDS, _SPREADS = 14, 4
_FINE, _ENOUGH = 0.26, 512  # share of the largest unit, and how many such points are enough
_FAR = 64  # units by which a point is moved at most


@dataclass(frozen=True)
class Goal:
    """A sum over the values and what it is to be.

    Attributes
    ----------
    target, tolerance : float
        The number, and by how much it may be missed.
    weights : ndarray or None
        Of the values; all one if None.
    centre : float or None
        None for a linear sum; else squared distances from here are summed.
    """

    target: float
    tolerance: float
    weights: np.ndarray | None = None
    centre: float | None = None

    def missing(self, v: np.ndarray) -> float:
        """What the sum lacks, in tolerances."""
        terms = v if self.centre is None else (v - self.centre) ** 2
        total = terms.sum() if self.weights is None else (terms * self.weights).sum()
        return float((self.target - total) / self.tolerance)

    def change(self, v: np.ndarray, unit: np.ndarray, places: np.ndarray) -> np.ndarray:
        """By how much the sum grows, in tolerances, if each value grows by its unit."""
        step = unit if self.centre is None else 2 * (v[places] - self.centre) * unit
        step = step if self.weights is None else step * self.weights[places]
        return np.asarray(step / self.tolerance)


def units(v: np.ndarray, dtype: np.dtype, exponent: int) -> np.ndarray:
    """Units in the last place of such values; zero where a value cannot be moved freely."""
    info = np.finfo(dtype)
    smallest = float(np.ldexp(float(info.smallest_subnormal), -exponent))
    magnitude = np.abs(v)
    _, power = np.frexp(magnitude)
    unit = np.maximum(np.ldexp(1.0, power - 1 - info.nmant), smallest)
    # above the next power of two only every second multiple of the unit is a number
    top = np.ldexp(1.0, power) - 2 * _FAR * unit
    free = (magnitude >= np.ldexp(1.0, power - 1) + 2 * _FAR * unit) & (magnitude <= top)
    return np.asarray(np.where(free, unit, 0.0))


def bring(v: np.ndarray, dtype: np.dtype, exponent: int, goals: list[Goal]) -> None:
    """Move values, in place, until all sums are within their tolerance or no move helps.

    Parameters
    ----------
    v : ndarray of float64, one axis
        Values that the dtype can hold, in units of ``2**exponent``.
    dtype : dtype
        Of the values as they are stored.
    exponent : int
        Of the unit.
    goals : list of Goal
        Up to three sums.
    """
    places, unit = _movable(v, dtype, exponent)
    for turn in range(_ROUNDS if places.size > 1 else 0):
        rest = np.array([goal.missing(v) for goal in goals])
        if not np.isfinite(rest).all() or (np.abs(rest) <= 1).all():
            return
        unit = units(v[places], dtype, exponent)
        change = np.stack([goal.change(v, unit, places) for goal in goals], 1)
        if turn < _SPREADS and (np.abs(rest) > 2 * np.sqrt((change**2).mean(axis=0))).any():
            _spread(v, places, unit, change, rest)
        else:
            _combine(v, places, unit, change, rest, turn)


def _movable(v: np.ndarray, dtype: np.dtype, exponent: int) -> tuple[np.ndarray, np.ndarray]:
    """Places that may be moved, of small units if there are enough: such moves disturb least."""
    unit = units(v, dtype, exponent)
    places = np.flatnonzero(unit)
    if places.size:
        fine = np.flatnonzero((unit > 0) & (unit <= _FINE * unit.max()))
        places = fine if fine.size >= min(_ENOUGH, places.size // 8) else places
    places = places[:: max(places.size // _POINTS, 1)]
    return places, unit[places]


def _spread(
    v: np.ndarray, places: np.ndarray, unit: np.ndarray, change: np.ndarray, rest: np.ndarray
) -> None:
    """The smallest moves that make up for the rest, rounded so that rounding does not add up."""
    wanted = change @ np.linalg.lstsq(change.T @ change, rest, rcond=1e-12)[0]
    order = np.argsort(v[places], kind="stable")
    moves = np.diff(np.rint(np.cumsum(wanted[order])), prepend=0.0).clip(-_FAR // 2, _FAR // 2)
    v[places[order]] += moves * unit[order]


def _combine(
    v: np.ndarray,
    places: np.ndarray,
    unit: np.ndarray,
    change: np.ndarray,
    rest: np.ndarray,
    turn: int,
) -> None:
    """Up to four moves after which least is left: two out of many pairs, the same everywhere."""
    count = places.size
    size = _PAIRS << (rest.size if rest.size > 2 else rest.size - 1) + max(turn - _SPREADS, 0) // 2
    index = np.arange(min(size, _POINTS))
    skip = max(count // index.size, 1)
    alone = np.arange(turn % skip, count, skip)
    first = np.concatenate([alone, index * 40503 % count])
    second = np.concatenate([alone, (index * 30011 + 7 * (index // count) + turn) % count])
    signs = np.concatenate([np.zeros(alone.size), np.where(index & 1, 1.0, -1.0)])
    pairs = change[first] + signs[:, None] * change[second]
    both = np.concatenate([pairs, -pairs])
    gap, partner = cKDTree(both).query(rest - both, p=np.inf)
    i = int(np.argmin(gap))
    if not gap[i] < np.abs(rest).max():
        return
    for k in (i, int(partner[i])):
        sign = 1.0 if k < len(pairs) else -1.0
        at = k % len(pairs)
        v[places[first[at]]] += sign * unit[first[at]]
        v[places[second[at]]] += sign * signs[at] * unit[second[at]]
