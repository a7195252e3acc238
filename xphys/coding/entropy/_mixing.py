"""The coder "mixing": every magnitude as a row of binary decisions, each mixed of contexts.

The most telling context is what a linear prediction expects of the logarithm of a magnitude, given
those of 14 neighbours in space and time and the running mean of its ring; it learns as it goes (two
predictors: one for all places, one for each parity of row and column, since Fourier coefficients
stand in pairs). The same kernel writes and reads.
"""

# Scalars in kernels are NumPy's or Python's, whichever makes numba count in int64.
# mypy: disable-error-code="arg-type,assignment,operator,return-value"

from __future__ import annotations

from functools import lru_cache

import numba
import numpy as np
from numpy.typing import NDArray

from xphys.coding.entropy._decide import Model, decide, new_model, plain_bits, transfer
from xphys.coding.entropy._family import BIN_OF, BINS
from xphys.coding.entropy._priors import DECISIONS, LEVEL, LOGARITHM, PRIOR, START
from xphys.coding.entropy._rows import LARGEST
from xphys.coding.entropy._tiles import SIDE

__all__ = ["ROOM", "Memory", "magnitude_model", "new_memory", "transfer_row"]

ROOM = 64  # bytes that one coefficient never passes
_PLAIN = 48  # sums of neighbours (16 times their mean) from here on are halved
_SPAN = 16  # decisions have their cells side by side
_LEVELS = 24
_SIZES = (64 * 4, BINS, 4 * _LEVELS**2, 64 * 4, 81 * 16, _LEVELS**2, 32 * 32)
_INPUTS = len(_SIZES)
_FIRST = np.concatenate([[0], np.cumsum(_SIZES)[:-1]]) * _SPAN
_GROUPS = 8
_CLASSES = 128
_RANKS = 4  # decisions with weights of their own: the first three, and the rest
_FEATURES = 16
_RATES = (500, 250)  # of the two predictors, in 1/4096
# What a neighbour's logarithm counts for before anything was coded, in 1/65536: left, up, two
# upper diagonals, second left, second up, plane before, older plane, the four around in the plane
# before, ring, constant, two more in the row above.
_WEIGHTS = np.array(
    [4050, 4320, 3016, 3644, 3071, 4218, 8382, 7103, 1950, 2592, 1906, 2931, 8056, 6173]
    + [2093, 1077]
)

Integers = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Ring = NDArray[np.uint16]
Memory = tuple[Integers, Integers, Integers, Integers, Integers]


def magnitude_model() -> Model:
    """The model of magnitudes before anything was coded."""
    return Model(*(part.copy() for part in _fresh_model()))


@lru_cache(maxsize=1)
def _fresh_model() -> Model:
    sets = _RANKS * (_GROUPS + _CLASSES)
    model = new_model(sum(_SIZES) * _SPAN, _INPUTS, sets, BINS * _SPAN)
    places, halved = np.arange(64 * 4) // 4, np.minimum(np.arange(64 * 4) % 4, 1)
    for decision in range(DECISIONS):
        chance = PRIOR[halved, places, min(decision, PRIOR.shape[2] - 1)] << 6
        model.cells[np.arange(64 * 4) * _SPAN + decision] = chance << 10 | START
    return model


def new_memory(rings: int) -> Memory:
    """Means of the rings (1/256), features, weights for all places and by parity, low bits."""
    return (
        np.zeros(rings, np.int64),
        np.zeros(_FEATURES, np.int64),
        _WEIGHTS.copy()[None],
        np.tile(_WEIGHTS, (4, 1)),
        np.full(64, 30000, np.int64),
    )


@numba.njit(nogil=True, cache=True, inline="always")
def _look(
    logs: Bytes, width: int, here: int, past: int, old: int, mean: int, features: Integers
) -> int:
    """Fill in the features of a place (see `_WEIGHTS`); -> the sum of their squares."""
    up, above = here - width, here - 2 * width
    features[0], features[1] = logs[here - 1], logs[up]
    features[2], features[3] = logs[up - 1], logs[up + 1]
    features[4], features[5] = logs[here - 2], logs[above]
    features[6], features[7] = logs[past], logs[old]
    features[8], features[9] = logs[past - 1], logs[past + 1]
    features[10], features[11] = logs[past - width], logs[past + width]
    features[12] = np.int64(LOGARITHM[min(15 + (mean >> 4), 8191)]) - 64
    features[13] = 8
    features[14], features[15] = logs[up - 2], logs[up + 2]
    power = 64
    for number in range(_FEATURES):
        power += features[number] * features[number]
    return power


@numba.njit(nogil=True, cache=True, inline="always")
def _expected(features: Integers, weights: Integers, row: int) -> int:
    """Linear prediction of the logarithm, in 1/65536."""
    total = 0
    for number in range(_FEATURES):
        total += features[number] * weights[row, number]
    return total


@numba.njit(nogil=True, cache=True, inline="always")
def _follow(miss: int, share: int, features: Integers, weights: Integers, row: int) -> None:
    """Move the weights of a prediction that was `miss` too low (normalised least mean squares)."""
    gain = (miss * share) >> 20
    for number in range(_FEATURES):
        weights[row, number] += (gain * features[number]) >> 6


@numba.njit(nogil=True, cache=True, inline="always")
def _level(total: int) -> int:
    return np.int64(LEVEL[min(total, 8191)])


@numba.njit(nogil=True, cache=True, inline="always")
def _contexts(
    ring: Ring,
    width: int,
    here: int,
    past: int,
    old: int,
    parity: int,
    mean: int,
    fast: int,
    slow: int,
    first: bool,
    slots: Integers,
) -> tuple[int, int, int]:
    """Fill in the contexts of a place: (halvings, bin, group of weights)."""
    up = here - width
    left, above = np.int64(ring[here - 1]), np.int64(ring[up])
    corner, other_corner = np.int64(ring[up - 1]), np.int64(ring[up + 1])
    near = 2 * (left + above) + corner + other_corner
    near += np.int64(ring[here - 2]) + np.int64(ring[up - width])
    same, older = np.int64(ring[past]), np.int64(ring[old])
    rest = older + np.int64(ring[past - 1]) + np.int64(ring[past + 1])
    rest += np.int64(ring[past - width]) + np.int64(ring[past + width])
    total = 2 * near if first else near + rest + 2 * same + older
    shift = 0
    if total < _PLAIN:
        place = np.int64(BIN_OF[total])
        group = int(total > 0) + int(total > 3) + int(total > 11) + int(total > 30)
        group += int(total > 60)
    else:
        shift = 1
        while (total >> shift) >= _PLAIN:
            shift += 1
        rest_of = total >> shift
        place = 16 + 3 * min(shift - 1, 4) + int(rest_of >= 30) + int(rest_of >= 38)
        group = 6
    # the other coefficients of the same wavenumbers: cosine and sine stand side by side
    partner, other = left, above
    if parity == 0:
        partner, other = corner, max(left, above)
    elif parity == 1:
        partner = other_corner
    few = min(shift, 3)
    fast = min(max((fast >> 14) - 64 * shift, 0), 255)
    slow = min(max((slow >> 14) - 64 * shift, 0), 255)
    around = ((min(left, 2) * 3 + min(above, 2)) * 3 + min(same, 2)) * 3 + min(older, 2)
    rings = min(max((np.int64(LOGARITHM[min(mean >> 4, 8191)]) >> 2) - 4 * shift, 0), 31)
    slots[0] = (fast >> 2) * 4 + few
    slots[1] = place
    slots[2] = (parity * _LEVELS + _level(2 * partner)) * _LEVELS + _level(2 * other)
    slots[3] = (slow >> 2) * 4 + few
    slots[4] = around * 16 + 4 * min(corner + other_corner, 3) + parity
    slots[5] = _level(4 * same) * _LEVELS + _level(rest)
    slots[6] = (fast >> 3) * 32 + rings
    for number in range(_INPUTS):
        slots[number] = _FIRST[number] + slots[number] * _SPAN
    return shift, place, group


@numba.njit(nogil=True, cache=True, inline="always")
def _large(wanted: int, state: Integers, data: Bytes) -> int:
    """Write or read an Exp-Golomb code of a number from 0 on; -> it, or -1 if it cannot be one."""
    rest, length = wanted + 1, 0
    while length < 32 and plain_bits(int((rest >> (length + 1)) > 0), 1, state, data):
        length += 1
    if length == 32:
        return -1
    return (1 << length | plain_bits(rest & ((1 << length) - 1), length, state, data)) - 1


@numba.njit(nogil=True, cache=True, inline="always")
def _halved(value: int, size: int, shift: int, lows: Integers, state: Integers, data: Bytes) -> int:
    """Write or read the bits that were halved away, the first of them modelled; -> the size."""
    number = min(size, 15) * 4 + min(shift, 4) - 1
    bit = transfer((value >> (shift - 1)) & 1, lows[number], state, data)
    lows[number] += ((bit << 16) - bit - lows[number]) >> 6
    size = size << 1 | bit
    if shift == 1:
        return size
    left = shift - 1
    return size << left | plain_bits(value & ((1 << left) - 1), left, state, data)


@numba.njit(nogil=True, cache=True)
def transfer_row(
    line: NDArray[np.int32],
    marks: Bytes,
    classes: Bytes,
    rings: NDArray[np.uint16],
    row: int,
    first: bool,
    places: tuple[int, int, int],
    ring: Ring,
    logs: Bytes,
    memory: Memory,
    model: Model,
    state: Integers,
    data: Bytes,
) -> bool:
    """Write or read the marked tiles of one row of coefficients.

    Parameters
    ----------
    line : ndarray of int32, shape (cols,)
        The coefficients; a reader fills them in.
    marks : ndarray of uint8
        Which tiles of the row hold anything.
    classes, rings : ndarray, shape (cols,)
        Class (plane class included) and ring of each place.
    row : int
        Where the row is.
    first : bool
        Whether this is the first plane.
    places : tuple of int
        Where the row begins in the ring of planes: in this plane, the one before, the older one.
    ring, logs, memory, model, state, data
        Planes of magnitudes and of their logarithms, what was learned and the coder, changed in
        place; a writer has room for `ROOM` bytes for each place.

    Returns
    -------
    bool
        False if a reader found what cannot be.
    """
    means, features, common, pairs, lows = memory
    cells, weights, ages, curves, slots, odds = model
    width = line.size + 4
    for column in range(line.size):
        if marks[column // SIDE] == 0:
            continue
        here, past, old = places[0] + column, places[1] + column, places[2] + column
        parity = (row & 1) * 2 + (column & 1)
        number = np.int64(rings[column])
        mean = means[number]
        power = _look(logs, width, here, past, old, mean, features)
        fast, slow = _expected(features, common, 0), _expected(features, pairs, parity)
        shift, place, group = _contexts(
            ring, width, here, past, old, parity, mean, fast, slow, first, slots
        )
        value, kind = np.int64(line[column]), np.int64(classes[column])
        wanted, size, bit = abs(value) >> shift, 0, 1
        while bit and size < DECISIONS:
            rank = min(size, _RANKS - 1)
            set_1, set_2 = rank * _GROUPS + group, _RANKS * _GROUPS + rank * _CLASSES + kind
            curve = place * _SPAN + size
            bit = decide(
                int(wanted > size), set_1, set_2, curve, _INPUTS,
                cells, weights, ages, curves, slots, odds, state, data,
            )  # fmt: skip
            size += bit
            for context in range(_INPUTS):
                slots[context] += 1
        if size == DECISIONS:
            rest = _large(wanted - DECISIONS, state, data)
            if rest < 0:
                return False
            size += rest
        if shift:
            size = _halved(abs(value), size, shift, lows, state, data)
        if size > 0x7FFFFFFF:
            return False
        if size:
            line[column] = -size if plain_bits(int(value < 0), 1, state, data) else size
        short = min(size, LARGEST)
        ring[here] = short
        means[number] += (short * 256 - mean) >> 4
        aim = np.int64(LOGARITHM[short])
        logs[here] = aim
        share = (1 << 30) // power
        _follow(aim - (fast >> 16), share * _RATES[0], features, common, 0)
        _follow(aim - (slow >> 16), share * _RATES[1], features, pairs, parity)
    return True
