"""Sum and energy of a field brought to given numbers, on the values of its own dtype.

A field of float32 has sums that no scaling can hit to 1e-12: what rounding leaves is taken up by
moving single points by units in the last place. Moving a point by its unit changes the sum by a
power of two; moving two points of one magnitude in opposite directions leaves the sum and changes
the energy by twice the unit times their distance.
"""

from __future__ import annotations

import math

import numpy as np

__all__ = ["rounded", "settle"]

# Relative errors of sums aimed at and still taken; what is promised is 1e-12.
_AIM, _TAKEN = 1.2e-13, 4e-13
_POINTS = 2**16  # that may be moved for a sum
_PAIRS = 2**13  # points among which pairs are sought
_FAR = 64  # units by which a point is moved at most
_ROUNDS, _MOVES, _KINDS = 3, 24, 8
_SCALINGS = 16
_REFERENCES = 64


def settle(
    y: np.ndarray,
    free: np.ndarray,
    exponent: int,
    total: float,
    energy: float | None,
    floor: float | None,
) -> bool:
    """Change a field so that its sum, and its energy about the mean, are given numbers.

    Parameters
    ----------
    y : ndarray of floats, one axis
        The field; changed in place.
    free : ndarray of bool
        Points that take part and may be moved.
    exponent : int
        Sums are in units of ``2**exponent``, energies of its square.
    total : float
        Sum to reach over the free points.
    energy : float or None
        Sum of the squared distances from the mean ``total / n`` to reach; None if any will do.
    floor : float or None
        No value may fall below it (above it where it is negative).

    Returns
    -------
    bool
        Whether both were reached.
    """
    places = np.flatnonzero(free)
    if not places.size:
        return True
    v = np.ldexp(y[places].astype(np.float64), -exponent)
    lowest = None if floor is None else float(np.ldexp(floor, -exponent))
    mean = total / places.size
    field = _Field(_scale(v, mean, energy, lowest), y.dtype, exponent)
    reached = field.reach_total(total, apart=floor is None)
    if energy is not None:
        for _ in range(_ROUNDS):
            if field.reach_energy(mean, energy):
                break
        reached = field.near_energy(mean, energy) and field.reach_total(total)
    y[places] = field.values()
    return reached


def _scale(v: np.ndarray, mean: float, energy: float | None, floor: float | None) -> np.ndarray:
    """Shift and stretch about the mean; points that would cross the floor are held at it."""
    held = np.zeros(v.shape, bool)
    total, out = mean * v.size, v
    for _ in range(_SCALINGS):
        free = v[~held]
        below = 0.0 if floor is None else floor
        at = (total - below * int(held.sum())) / max(free.size, 1)
        # distances first: their sum of squares would drown in that of a large mean
        free = free - free.mean() if free.size else free
        power = float((free * free).sum())
        if energy is not None and power > 0:
            rest = energy - int(held.sum()) * (below - mean) ** 2 - free.size * (at - mean) ** 2
            if rest > 0 and math.isfinite(rest):
                free = free * math.sqrt(rest / power)
        out = np.full(v.shape, below)
        out[~held] = free + at
        if floor is None:
            break
        low = out < floor if floor >= 0 else out > floor
        if not low.any():
            break
        out[low] = floor
        held |= low
    return out


def rounded(v: np.ndarray, dtype: np.dtype, exponent: int) -> np.ndarray:
    """Values in units of ``2**exponent`` as a dtype can hold them, float64."""
    if dtype == np.float64:
        return v
    with np.errstate(over="ignore", under="ignore"):
        y = np.ldexp(v, exponent).astype(dtype)
    return np.asarray(np.ldexp(y.astype(np.float64), -exponent))


class _Field:
    """Values of a dtype, held as float64 in units of 2**exponent, and their units."""

    def __init__(self, v: np.ndarray, dtype: np.dtype, exponent: int) -> None:
        self.dtype, self.exponent = dtype, exponent
        self._info = np.finfo(dtype)
        self._smallest = float(np.ldexp(float(self._info.smallest_subnormal), -exponent))
        self._v = self._round(v)

    def values(self) -> np.ndarray:
        """In the dtype of the field."""
        with np.errstate(over="ignore", under="ignore"):
            return np.asarray(np.ldexp(self._v, self.exponent).astype(self.dtype))

    def _round(self, v: np.ndarray) -> np.ndarray:
        return rounded(v, self.dtype, self.exponent)

    def _units(self, places: np.ndarray) -> np.ndarray:
        """Of the last place of some values; zero where they cannot be moved freely."""
        magnitude = np.abs(self._v[places])
        _, power = np.frexp(magnitude)
        unit = np.maximum(np.ldexp(1.0, power - 1 - self._info.nmant), self._smallest)
        # above the next power of two only every second multiple of the unit is a number
        top = np.ldexp(1.0, power) - 2 * _FAR * unit
        return np.where((magnitude >= 2 * unit) & (magnitude <= top), unit, 0.0)

    def _sample(self) -> np.ndarray:
        """Places spread over the field."""
        return np.arange(0, self._v.size, max(self._v.size // _POINTS, 1))

    def reach_total(self, total: float, *, apart: bool = False) -> bool:
        """Move points until the sum is as given.

        Where units in the last place are too coarse for that, and ``apart`` allows it, the
        smallest point takes what is left: others are moved so that it gets close to zero, where
        numbers are fine.
        """
        size = float(np.abs(self._v).sum())
        rest = total - float(self._v.sum())
        for most in (1, _FAR):
            if abs(rest) <= _AIM * size:
                return True
            if not math.isfinite(rest):
                return False
            self._take_up(rest, self._sample(), most)
            rest = total - float(self._v.sum())
        if apart and abs(rest) > _TAKEN * size and self._v.size > 1:
            self._put_apart(total)
            rest = total - float(self._v.sum())
        return abs(rest) <= _TAKEN * size

    def _put_apart(self, total: float) -> None:
        """Bring the smallest point close to zero, so that it can take what the others leave."""
        smallest, places = int(np.argmin(np.abs(self._v))), self._sample()
        self._v[smallest] = 0.0
        shift = (total - float(self._v.sum())) / (self._v.size - 1)
        self._v = self._round(self._v + shift)
        self._v[smallest] = 0.0
        rest = total - float(self._v.sum())
        rest = self._take_up(rest, places[places != smallest], _FAR)
        self._v[smallest] = self._round(np.array([rest]))[0]

    def _take_up(self, rest: float, places: np.ndarray, most: int) -> float:
        """Move points by up to so many units until the sum is larger by rest; what is left."""
        units = self._units(places)
        kinds = np.unique(units[units > 0])[::-1]
        for unit in kinds:
            chosen = places[units == unit]
            steps = round(rest / unit) if unit == kinds[-1] else math.trunc(rest / unit)
            steps = min(max(steps, -most * chosen.size), most * chosen.size)
            self._spread(chosen, steps, unit)
            rest -= steps * float(unit)
        return rest

    def _spread(self, places: np.ndarray, steps: int, unit: float) -> None:
        """Move points by steps units in all."""
        if not steps:
            return
        each, more = divmod(abs(steps), places.size)
        moves = np.full(places.size, each)
        if more:
            moves[:: places.size // more][:more] += 1
        self._v[places] += math.copysign(unit, steps) * moves

    def _missing(self, mean: float, energy: float) -> tuple[float, float]:
        """Energy that is missing, and all energy, of the mean too."""
        distances = self._v - mean
        return energy - float((distances * distances).sum()), energy + self._v.size * mean**2

    def near_energy(self, mean: float, energy: float) -> bool:
        """Whether the energy is as given."""
        rest, size = self._missing(mean, energy)
        return abs(rest) <= _TAKEN * size

    def reach_energy(self, mean: float, energy: float) -> bool:
        """Move pairs of points of one unit in opposite directions until the energy is as given."""
        rest, size = self._missing(mean, energy)
        if abs(rest) <= _AIM * size or not math.isfinite(rest):
            return True
        places = self._sample()
        units = self._units(places)
        kinds, counts = np.unique(units[units > 0], return_counts=True)
        for unit in kinds[np.argsort(-counts, kind="stable")][:_KINDS]:
            chosen = places[units == unit]
            pairs = _Pairs(self._v[chosen := chosen[:: max(chosen.size // _PAIRS, 1)]], float(unit))
            rest = pairs.move(rest, _AIM * size)
            self._v[chosen] = self._round(pairs.values)
            if abs(rest) <= _AIM * size:
                break
        return False


class _Pairs:
    """Points of one unit; moving two of them apart or together leaves their sum."""

    def __init__(self, values: np.ndarray, unit: float) -> None:
        self.values, self.unit = values.copy(), unit

    def move(self, rest: float, tolerance: float) -> float:
        """Bring the energy closer by rest; what is then missing."""
        for _ in range(_MOVES if self.values.size > 1 else 0):
            if abs(rest) <= tolerance:
                break
            order = np.argsort(self.values, kind="stable")
            gain = self._move_many(order, rest) or self._move_one(order, rest)
            if not gain:
                break
            rest -= gain
        return rest

    def _move_many(self, order: np.ndarray, rest: float) -> float:
        """All at once: the highest up and the lowest down, or the other way."""
        half = order.size // 2
        low, high = order[:half], order[::-1][:half]
        distance = self.values[high] - self.values[low]
        reach = np.cumsum(distance) * 2 * self.unit
        if not reach[-1] > 0:
            return 0.0
        times = min(max(int(abs(rest) / reach[-1]), 1), _FAR)
        count = int(np.searchsorted(reach, abs(rest) / times, side="right"))
        if not count:
            return 0.0
        step = math.copysign(self.unit * times, rest)
        self.values[high[:count]] += step
        self.values[low[:count]] -= step
        return float((2 * step * distance[:count] + 2 * step**2).sum())

    def _move_one(self, order: np.ndarray, rest: float) -> float:
        """The one pair that brings the energy closest."""
        sorted_ = self.values[order]
        wanted = rest / (2 * self.unit) - self.unit  # up at one, down at another so far below
        first = np.arange(0, order.size, max(order.size // _REFERENCES, 1))
        if order.size <= 8 * _REFERENCES:
            first = np.arange(order.size)
        second = np.searchsorted(sorted_, sorted_[first] - wanted)
        second = np.stack([second - 1, second, second + 1]).clip(0, order.size - 1)
        miss = np.abs(sorted_[first] - sorted_[second] - wanted)
        miss[second == first] = np.inf
        at = np.unravel_index(int(np.argmin(miss)), miss.shape)
        up, down = int(first[at[1]]), int(second[at])
        gain = float(2 * self.unit * (sorted_[up] - sorted_[down]) + 2 * self.unit**2)
        if up == down or abs(rest - gain) >= abs(rest):
            return 0.0
        self.values[order[up]] += self.unit
        self.values[order[down]] -= self.unit
        return gain
