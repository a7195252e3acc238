"""One binary decision of the coder "mixing": predict, code, learn.

Several contexts give a probability each. Their odds are added with weights that follow what was
coded (two sets of weights, whose sums are averaged); a curve corrects the result. All state is in
arrays of integers that live as long as the stream. Writer and reader are one kernel, so that they
cannot differ.

Kernels of the innermost loop are inlined and take plain arrays: counting references to parts of
arrays would take longer than the arithmetic.
"""

# Scalars in kernels are NumPy's or Python's, whichever makes numba count in int64.
# mypy: disable-error-code="arg-type,assignment,operator,return-value"

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from xphys.coding.entropy._binary import FULL, HALF, code_bit, read_bit, read_start
from xphys.coding.entropy._priors import PACE, RECIPROCAL, SQUASH, STRETCH

__all__ = ["Coder", "Model", "decide", "new_model", "plain_bits", "reading", "writing"]

_PATIENCE = 254  # decisions of one context that count
_POINTS = 33  # of a curve
_SURE = 24  # of 65536: no decision is surer

Bytes = NDArray[np.uint8]
Integers = NDArray[np.int64]
Cells = NDArray[np.uint32]
Curves = NDArray[np.int32]


class Coder(NamedTuple):
    """A range coder at work: `state` is low, high, code, place; for a writer code is -1."""

    state: Integers
    data: Bytes


class Model(NamedTuple):
    """What was learned: `cells` (probability << 10 | count), weights, their ages, curves.

    `slots` and `odds` hold the contexts of the decision at hand and what they say.
    """

    cells: Cells
    weights: Integers
    ages: Integers
    curves: Curves
    slots: Integers
    odds: Integers


def new_model(cells: int, inputs: int, sets: int, curves: int) -> Model:
    """A model that knows nothing: weights add up to a little above 1, curves change nothing."""
    points = SQUASH[np.clip(np.arange(_POINTS) * 128, 0, SQUASH.size - 1)]
    return Model(
        np.zeros(cells, np.uint32),
        np.full((sets, inputs), 65536 * 21 // (20 * inputs), np.int64),
        np.zeros(sets, np.int64),
        np.tile(points.astype(np.int32), (curves, 1)),
        np.zeros(inputs, np.int64),
        np.zeros(inputs, np.int64),
    )


def writing() -> Coder:
    """A coder that writes."""
    return Coder(np.array([0, FULL, -1, 0]), np.zeros(4096, np.uint8))


def reading(data: Bytes) -> Coder:
    """A coder that reads."""
    code, at = read_start(data)
    return Coder(np.array([0, FULL, code, at]), data)


@numba.njit(nogil=True, cache=True, inline="always")
def transfer(bit: int, one: int, state: Integers, data: Bytes) -> int:
    """Write the bit, or read it, with probability `one` of a 1."""
    low, high, code, at = state[0], state[1], state[2], state[3]
    if code < 0:
        low, high, at = code_bit(bit, one, low, high, data, at)
    else:
        bit, low, high, code, at = read_bit(one, low, high, code, data, at)
    state[0], state[1], state[2], state[3] = low, high, code, at
    return bit


@numba.njit(nogil=True, cache=True)
def plain_bits(value: int, count: int, state: Integers, data: Bytes) -> int:
    """Write or read `count` bits that are not modelled; -> the value."""
    out = 0
    for place in range(count - 1, -1, -1):
        out = out << 1 | transfer((value >> place) & 1, HALF, state, data)
    return out


@numba.njit(nogil=True, cache=True, inline="always")
def decide(
    bit: int,
    first: int,
    second: int,
    curve: int,
    inputs: int,
    cells: Cells,
    weights: Integers,
    ages: Integers,
    curves: Curves,
    slots: Integers,
    odds: Integers,
    state: Integers,
    data: Bytes,
) -> int:
    """Code one decision with the contexts in `slots`; -> the bit.

    Parameters
    ----------
    bit : int
        What to write; for a reader of no meaning.
    first, second : int
        Sets of weights.
    curve : int
        Curve that corrects the mixed odds.
    inputs : int
        Number of contexts; a constant where this is called, so that loops are unrolled.
    cells, weights, ages, curves, slots, odds
        A `Model`, changed in place. A context that was never met starts from what slots[0] says.
    state, data
        A `Coder`.
    """
    start = np.int64(cells[slots[0]]) >> 10 << 10 | 1
    sum_1 = sum_2 = 0
    for place in range(inputs):
        cell = np.int64(cells[slots[place]])
        if cell == 0:
            cell = start
            cells[slots[place]] = cell
        odd = np.int64(STRETCH[cell >> 20])
        odds[place] = odd
        sum_1 += weights[first, place] * odd
        sum_2 += weights[second, place] * odd
    point_1 = min(max((sum_1 >> 16) + 2048, 0), 4095)
    point_2 = min(max((sum_2 >> 16) + 2048, 0), 4095)
    point = (point_1 + point_2) >> 1
    left, part = point >> 7, point & 127
    bent = np.int64(curves[curve, left]) * (128 - part)
    bent = (bent + np.int64(curves[curve, left + 1]) * part) >> 7
    one = min(max((3 * np.int64(SQUASH[point]) + bent) >> 2, _SURE), 65536 - _SURE)
    bit = transfer(bit, one, state, data)
    aim = bit << 16
    near = left + (part >> 6)
    curves[curve, near] += (aim - bit - np.int64(curves[curve, near])) >> 6
    miss_1 = (aim - np.int64(SQUASH[point_1])) * np.int64(PACE[ages[first]])
    miss_2 = (aim - np.int64(SQUASH[point_2])) * np.int64(PACE[ages[second]])
    ages[first], ages[second] = min(ages[first] + 1, 255), min(ages[second] + 1, 255)
    for place in range(inputs):
        odd = odds[place]
        weights[first, place] += (odd * miss_1) >> 18
        weights[second, place] += (odd * miss_2) >> 18
        cell = np.int64(cells[slots[place]])
        count, chance = cell & 1023, cell >> 10
        chance += (((bit << 22) - bit - chance) * np.int64(RECIPROCAL[count])) >> 16
        cells[slots[place]] = chance << 10 | min(count + 1, _PATIENCE)
    return bit
