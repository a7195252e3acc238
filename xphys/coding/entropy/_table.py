"""Which distribution each context of the coder "static" uses: choice and coding.

One row of distributions, one for each bin, serves all classes; it is coded as changes against the
row fitted beforehand. A class has a row of its own, coded as changes against the common one, where
that pays. A change is coded against the change of the bin before, so that a shift of a whole row
costs one number. Choices weigh the bits of the symbols against those of the table.
"""

# Scalars in kernels are NumPy's or Python's, whichever makes numba count in int64.
# mypy: disable-error-code="arg-type,assignment,operator,return-value,no-any-return"

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from xphys.coding.entropy._binary import code_bit, grown, read_bit
from xphys.coding.entropy._family import BIN_OF, BINS, COSTS, DEFAULT, FAMILY

__all__ = ["choose", "expand", "read_table", "symbol_costs", "write_table"]

Integers = NDArray[np.int64]
Bytes = NDArray[np.uint8]

_COUNT = FAMILY.shape[0]
_SLOTS = 32  # adaptive chances: 0 own row, 1-3 change or not, 4 sign, 5-20 length of a change
_NEVER = 1 << 60
_COSTS_OF_SYMBOL = np.ascontiguousarray(COSTS.T)
_BIN_OF_SUM = np.concatenate([BIN_OF, np.arange(BINS - 12, BINS)])
_STAY, _FIRST, _EACH = 120, 900, 300  # assumed cost of a change by 0, by 1, by each more; bits/256


@numba.njit(nogil=True, cache=True)
def symbol_costs(counts: Integers) -> Integers:
    """Cost (bits/256) of counts (contexts, symbols) under each distribution."""
    out = np.zeros((counts.shape[0], _COUNT), np.int64)
    for context in range(counts.shape[0]):
        for symbol in range(counts.shape[1]):
            seen = counts[context, symbol]
            if seen:
                for number in range(_COUNT):
                    out[context, number] += seen * _COSTS_OF_SYMBOL[symbol, number]
    return out


@numba.njit(nogil=True, cache=True)
def _cheapest_sources(best: Integers, cheapest: Integers, source: Integers) -> None:
    """For each place the least of best + _EACH * distance over all places, and where it is."""
    for number in range(_COUNT):
        cheapest[number], source[number] = best[number], number
        if number and cheapest[number - 1] + _EACH < cheapest[number]:
            cheapest[number], source[number] = cheapest[number - 1] + _EACH, source[number - 1]
    for number in range(_COUNT - 2, -1, -1):
        if cheapest[number + 1] + _EACH < cheapest[number]:
            cheapest[number], source[number] = cheapest[number + 1] + _EACH, source[number + 1]


@numba.njit(nogil=True, cache=True)
def _best_row(costs: Integers, base: Integers, row: Integers) -> int:
    """Cheapest row of distributions by dynamic programming over the bins; -> its cost."""
    best = np.zeros(_COUNT, np.int64)  # by the distribution of the bin before
    best[:] = _NEVER
    best[base[0]] = 0
    origin = np.zeros((BINS, _COUNT), np.int64)
    cheapest, source = np.zeros(_COUNT, np.int64), np.zeros(_COUNT, np.int64)
    for place in range(BINS):
        slide = base[place] - (base[place - 1] if place else base[0])
        _cheapest_sources(best, cheapest, source)
        following = np.zeros(_COUNT, np.int64)
        for number in range(_COUNT):
            same = number - slide  # the one before that means the same change
            near = min(max(same, 0), _COUNT - 1)
            cost = cheapest[near] + _EACH * abs(same - near) + _FIRST - _EACH
            origin[place, number] = source[near]
            if same == near and best[near] + _STAY < cost:
                cost = best[near] + _STAY
                origin[place, number] = near
            following[number] = cost + costs[place, number]
        best = following
    number = int(np.argmin(best))
    cost = best[number]
    for place in range(BINS - 1, -1, -1):
        row[place] = number
        number = origin[place, number]
    return cost


@numba.njit(nogil=True, cache=True)
def choose(counts: Integers, rows: Integers, own: Bytes) -> int:
    """Choose the common row (rows[0]) and those of the classes (rows[1:]); -> cost in bits/256.

    Parameters
    ----------
    counts : ndarray of int64, shape (classes * BINS, symbols)
        How often each symbol occurs.
    rows : ndarray of int64, shape (classes + 1, BINS)
        Changed in place: the distributions.
    own : ndarray of uint8, shape (classes,)
        Changed in place: 2 for a class with a row of its own, 1 without, 0 that does not occur.
    """
    classes = own.size
    costs = symbol_costs(counts)
    common = np.zeros((BINS, _COUNT), np.int64)
    for kind in range(classes):
        for place in range(BINS):
            common[place] += costs[BINS * kind + place]
    total = _best_row(common, DEFAULT, rows[0])
    plain = 0
    for place in range(BINS):
        plain += common[place, DEFAULT[place]]
    if plain + 8 * _STAY < total:  # a whole row of no change costs next to nothing
        rows[0] = DEFAULT
        total = plain + 8 * _STAY
    for kind in range(classes):
        mine = costs[BINS * kind : BINS * (kind + 1)]
        own[kind] = 1 if mine.any() else 0
        rows[kind + 1] = rows[0]
        if own[kind] == 0:
            continue
        common_cost, least = 0, 256 + _STAY * BINS
        for place in range(BINS):
            common_cost += mine[place, rows[0, place]]
            least += mine[place].min()
        if least >= common_cost:  # no row of its own could pay
            continue
        row = np.zeros(BINS, np.int64)
        cost = _best_row(mine, rows[0], row) + 256
        if cost < common_cost:
            own[kind] = 2
            rows[kind + 1] = row
            total += cost - common_cost
    return total


@numba.njit(nogil=True, cache=True)
def _learn(chances: Integers, slot: int, bit: int) -> None:
    aim = 65536 - 1024 if bit else 1024
    chances[slot] += (aim - chances[slot]) // 8


@numba.njit(nogil=True, cache=True)
def _write_bit(
    bit: int, chances: Integers, slot: int, low: int, high: int, out: Bytes, at: int
) -> tuple[int, int, int]:
    low, high, at = code_bit(bit, chances[slot], low, high, out, at)
    _learn(chances, slot, bit)
    return low, high, at


@numba.njit(nogil=True, cache=True)
def _read_bit(
    chances: Integers, slot: int, low: int, high: int, code: int, data: Bytes, at: int
) -> tuple[int, int, int, int, int]:
    bit, low, high, code, at = read_bit(chances[slot], low, high, code, data, at)
    _learn(chances, slot, bit)
    return bit, low, high, code, at


@numba.njit(nogil=True, cache=True)
def write_table(
    rows: Integers, own: Bytes, low: int, high: int, out: Bytes, at: int
) -> tuple[int, int, Bytes, int]:
    """Code the rows behind what the buffer holds: (low, high, out, at).

    Classes that do not occur take nothing: a reader of the tiles knows them.
    """
    chances = np.full(_SLOTS, 1 << 15, np.int64)
    for row in range(rows.shape[0]):
        if row and own[row - 1] == 0:
            continue
        out = grown(out, at)
        if row:
            low, high, at = _write_bit(own[row - 1] - 1, chances, 0, low, high, out, at)
            if own[row - 1] == 1:
                continue
        last, moved = 0, 0
        for place in range(BINS):
            out = grown(out, at)
            change = rows[row, place] - (rows[0, place] if row else DEFAULT[place])
            step, last = change - last, change
            low, high, at = _write_bit(step != 0, chances, 1 + moved, low, high, out, at)
            moved = min(moved + 1, 2) if step else max(moved - 1, 0)
            if step:
                low, high, at = _write_bit(step < 0, chances, 4, low, high, out, at)
                for length in range(1, abs(step) + 1):
                    slot = 4 + min(length, 16)
                    stop = length == abs(step)
                    low, high, at = _write_bit(stop, chances, slot, low, high, out, at)
    return low, high, out, at


@numba.njit(nogil=True, cache=True)
def read_table(
    rows: Integers, own: Bytes, low: int, high: int, code: int, data: Bytes, at: int
) -> tuple[int, int, int, int]:
    """Read the rows of the classes that `own` marks: (low, high, code, at); at < 0 if wrong."""
    chances = np.full(_SLOTS, 1 << 15, np.int64)
    for row in range(rows.shape[0]):
        if row:
            rows[row] = rows[0]
            if own[row - 1] == 0:
                continue
            bit, low, high, code, at = _read_bit(chances, 0, low, high, code, data, at)
            if bit == 0:
                continue
        change, moved = 0, 0
        for place in range(BINS):
            bit, low, high, code, at = _read_bit(chances, 1 + moved, low, high, code, data, at)
            moved = min(moved + 1, 2) if bit else max(moved - 1, 0)
            if bit:
                sign, low, high, code, at = _read_bit(chances, 4, low, high, code, data, at)
                length, stop = 0, 0
                while stop == 0:
                    length += 1
                    if length > 2 * _COUNT:
                        return low, high, code, -1
                    slot = 4 + min(length, 16)
                    stop, low, high, code, at = _read_bit(chances, slot, low, high, code, data, at)
                change += -length if sign else length
            number = change + (rows[0, place] if row else DEFAULT[place])
            if number < 0 or number >= _COUNT:
                return low, high, code, -1
            rows[row, place] = number
    return low, high, code, at


def expand(rows: Integers) -> Bytes:
    """Rows of bins (classes, BINS) to rows of sums (classes, PLAIN + 12)."""
    return np.ascontiguousarray(rows.astype(np.uint8)[:, _BIN_OF_SUM])
