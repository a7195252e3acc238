"""The coder "static": symbols and their contexts, and two interleaved rANS states.

A magnitude is halved as often as the magnitudes around it tell, then stands for one of 16 symbols
(the last one with an Exp-Golomb code behind); the halved bits and the signs stand as they are in
bit strings of their own. Words of 16 bits, states of 32 bits, frequencies of 12 bits.
"""

# Scalars in kernels are NumPy's or Python's, whichever makes numba count in int64.
# mypy: disable-error-code="arg-type,assignment,operator,return-value"

from __future__ import annotations

from functools import lru_cache

import numba
import numpy as np
from numpy.typing import NDArray

from xphys.coding.entropy._binary import grown
from xphys.coding.entropy._family import BIN_OF, BINS, FAMILY, LARGEST_SYMBOL, PLAIN, PRECISION
from xphys.coding.entropy._rows import LARGEST, bin_of_large, halvings, row_sums, weights_of
from xphys.coding.entropy._tiles import SIDE

__all__ = ["LOWEST", "SYMBOLS", "WIDTH", "gather", "pull", "push", "slot_tables"]

SYMBOLS = LARGEST_SYMBOL + 1
WIDTH = PLAIN + 12  # entries of the table that leads from a sum to a distribution
LOWEST = 1 << 16  # a state is at least this
_MASK = (1 << PRECISION) - 1
_at = np.uint64  # a place in an array that is known not to count from the end

Bytes = NDArray[np.uint8]


@numba.njit(nogil=True, cache=True)
def runs_of(tiles: Bytes, cols: int, runs: NDArray[np.int64]) -> int:
    """First and last + 1 columns of marked tiles side by side, into `runs`; -> how many."""
    count = 0
    column = 0
    while column < tiles.size:
        if tiles[column]:
            runs[count, 0] = SIDE * column
            while column < tiles.size and tiles[column]:
                column += 1
            runs[count, 1] = min(SIDE * column, cols)
            count += 1
        column += 1
    return count


@numba.njit(nogil=True, cache=True)
def _put(value: int, count: int, out: Bytes, at: int) -> int:
    """Write `count` bits of value behind the `at` bits of a string of zeros."""
    while count > 0:
        free = 8 - (at & 7)
        taken = min(free, count)
        part = (value >> (count - taken)) & ((1 << taken) - 1)
        out[at >> 3] |= part << (free - taken)
        at += taken
        count -= taken
    return at


@numba.njit(nogil=True, cache=True)
def _get(count: int, data: Bytes, at: int) -> int:
    """`count` bits (up to 16) at place `at` of a string with four bytes to spare."""
    first = np.uint64(at >> 3)
    window = np.int64(data[first]) << 16 | np.int64(data[first + np.uint64(1)]) << 8
    window |= np.int64(data[first + np.uint64(2)])
    return (window >> (24 - (at & 7) - count)) & ((1 << count) - 1)


@numba.njit(nogil=True, cache=True)
def _put_large(value: int, out: Bytes, at: int) -> int:
    """Exp-Golomb code of value >= 0."""
    value += 1
    length = 0
    while (value >> length) > 1:
        length += 1
    return _put(value, 2 * length + 1, out, at)


@numba.njit(nogil=True, cache=True)
def gather(
    q: NDArray[np.int32],
    tiles: Bytes,
    plane_class: Bytes,
    spatial_class: Bytes,
    back: int,
    mode: int,
    codes: NDArray[np.uint16],
    counts: NDArray[np.int64],
    signs: Bytes,
) -> tuple[Bytes, int, int]:
    """Walk through the marked tiles: symbols, their counts and everything that is not modelled.

    Parameters
    ----------
    q, tiles, plane_class, spatial_class, back
        Coefficients, their map and the parts of a layout.
    mode : int
        Row of `WEIGHTS`.
    codes : ndarray of uint16
        Takes SYMBOLS * context + symbol of each coefficient in turn.
    counts : ndarray of int64, shape (classes * BINS, SYMBOLS)
        How often each occurs is added.
    signs : ndarray of uint8
        Zeros; takes one bit for each coefficient but 0.

    Returns
    -------
    tuple
        The other bits as bytes, their number, the number of signs.
    """
    planes, rows, cols = q.shape
    ring = np.zeros((back + 1, rows + 3, cols + 4), np.uint16)
    sums = np.zeros(cols, np.int32)
    runs = np.zeros((tiles.shape[2] + 1, 2), np.int64)
    raw = np.zeros(1024, np.uint8)
    total, bits, signed = 0, 0, 0
    for plane in range(planes):
        now, before = plane % (back + 1), (plane + back) % (back + 1)
        older = (plane + 1) % (back + 1) if plane >= back else before
        space, time = weights_of(mode, plane)
        ring[now] = 0
        group = 16 * np.int64(plane_class[plane])
        count = 0
        for row in range(rows):
            if row % SIDE == 0:
                count = runs_of(tiles[plane, row // SIDE], cols, runs)
            for run in range(count):
                start, stop = runs[run, 0], runs[run, 1]
                row_sums(ring, now, before, older, row, start, stop, space, time, sums)
                one = two = 0  # the magnitudes to the left; the tile there is empty
                for x in range(start, stop):
                    near = (sums[_at(x)] + space * (2 * one + two)) >> 1
                    value = np.int64(q[_at(plane), _at(row), _at(x)])
                    size = abs(value)
                    shift = 0
                    if near < PLAIN:
                        place = np.int64(BIN_OF[_at(near)])
                    else:
                        shift = halvings(near)
                        place = BINS - 12 + bin_of_large(near, shift)
                    symbol = size >> shift
                    if symbol >= LARGEST_SYMBOL or shift:
                        raw = grown(raw, (bits >> 3) + 1)
                        if symbol >= LARGEST_SYMBOL:
                            bits = _put_large(symbol - LARGEST_SYMBOL, raw, bits)
                            symbol = LARGEST_SYMBOL
                        bits = _put(size, shift, raw, bits)
                    context = BINS * (group + np.int64(spatial_class[_at(row), _at(x)])) + place
                    counts[_at(context), _at(symbol)] += 1
                    codes[_at(total)] = SYMBOLS * context + symbol
                    total += 1
                    two, one = one, min(size, LARGEST)
                    if size:
                        if value < 0:
                            signs[_at(signed >> 3)] |= 1 << (signed & 7)
                        signed += 1
                        ring[_at(now), _at(row + 2), _at(x + 2)] = one
    return raw, bits, signed


@numba.njit(nogil=True, cache=True)
def push(codes: NDArray[np.uint16], count: int, chosen: Bytes, words: NDArray[np.uint16]) -> int:
    """Code the symbols from the last to the first into the end of `words`; -> first word used.

    `chosen` leads from context to distribution; words has room for count + 4.
    """
    starts = np.zeros((FAMILY.shape[0], SYMBOLS), np.int64)
    for number in range(FAMILY.shape[0]):
        for symbol in range(1, SYMBOLS):
            starts[number, symbol] = starts[number, symbol - 1] + FAMILY[number, symbol - 1]
    at = words.size
    states = np.full(2, LOWEST, np.int64)
    for index in range(count - 1, -1, -1):
        code = np.int64(codes[_at(index)])
        number, symbol = _at(chosen[_at(code >> 4)]), _at(code & 15)
        frequency, start = FAMILY[number, symbol], starts[number, symbol]
        state = states[_at(index & 1)]
        if state >= frequency << (32 - PRECISION):
            at -= 1
            words[_at(at)] = state & 0xFFFF
            state >>= 16
        # both are below 2^32, where a quotient in float64 is rounded down as it should be
        whole = np.int64(np.float64(state) / np.float64(frequency))
        states[_at(index & 1)] = (whole << PRECISION) + state - whole * frequency + start
    for lane in (1, 0):
        words[at - 1] = states[lane] & 0xFFFF
        words[at - 2] = states[lane] >> 16
        at -= 2
    return at


@lru_cache(maxsize=1)
def slot_tables() -> tuple[Bytes, NDArray[np.int32]]:
    """Symbol of each slot of each distribution; frequency << 16 | start of each symbol."""
    symbols = np.arange(SYMBOLS, dtype=np.uint8)
    slots = np.concatenate([np.repeat(symbols, f) for f in FAMILY])
    starts = np.cumsum(FAMILY, axis=1) - FAMILY
    return slots, (FAMILY << 16 | starts).astype(np.int32).reshape(-1)


@numba.njit(nogil=True, cache=True)
def pull(
    q: NDArray[np.int32],
    tiles: Bytes,
    plane_class: Bytes,
    spatial_class: Bytes,
    back: int,
    mode: int,
    table: Bytes,
    slots: Bytes,
    parts: NDArray[np.int32],
    words: NDArray[np.uint16],
    word_count: int,
    raw: Bytes,
    raw_bits: int,
    signs: Bytes,
) -> int:
    """Decode the marked tiles into q (zeros before); -> number of signs, -1 if it cannot be right.

    `table` of shape (classes, WIDTH) leads from a sum to a distribution; `words` and `signs` have
    room for one row behind their end, `raw` for 16 bytes.
    """
    planes, rows, cols = q.shape
    ring = np.zeros((back + 1, rows + 3, cols + 4), np.uint16)
    sums = np.zeros(cols, np.int32)
    runs = np.zeros((tiles.shape[2] + 1, 2), np.int64)
    a = np.int64(words[0]) << 16 | np.int64(words[1])
    b = np.int64(words[2]) << 16 | np.int64(words[3])
    at, bits, signed, sign_bits = 4, 0, 0, 8 * (signs.size - cols // 8 - 1)
    for plane in range(planes):
        now, before = plane % (back + 1), (plane + back) % (back + 1)
        older = (plane + 1) % (back + 1) if plane >= back else before
        space, time = weights_of(mode, plane)
        group = 16 * np.int64(plane_class[plane])
        ring[now] = 0
        count = 0
        for row in range(rows):
            if row % SIDE == 0:
                count = runs_of(tiles[plane, row // SIDE], cols, runs)
            for run in range(count):
                start, stop = runs[run, 0], runs[run, 1]
                row_sums(ring, now, before, older, row, start, stop, space, time, sums)
                one = two = 0
                for x in range(start, stop):
                    near = (sums[_at(x)] + space * (2 * one + two)) >> 1
                    two, one = one, 0
                    slot = a & _MASK
                    shift = size = 0
                    if near < PLAIN:
                        kind = group + np.int64(spatial_class[_at(row), _at(x)])
                        number = np.int64(table[_at(kind), _at(near)])
                        # Mostly it is a zero. A processor that guesses so need not wait for the
                        # tables: what follows no longer depends on them.
                        part = np.int64(parts[_at(number << 4)])
                        if slot < part >> 16:
                            a = (part >> 16) * (a >> PRECISION) + slot
                            if a < LOWEST:
                                a = a << 16 | np.int64(words[_at(at)])
                                at += 1
                            a, b = b, a
                            continue
                    else:
                        shift = halvings(near)
                        kind = group + np.int64(spatial_class[_at(row), _at(x)])
                        place = PLAIN + bin_of_large(near, shift)
                        number = np.int64(table[_at(kind), _at(place)])
                    size = np.int64(slots[_at(number << PRECISION | slot)])
                    part = np.int64(parts[_at(number << 4 | size)])
                    a = (part >> 16) * (a >> PRECISION) + slot - (part & 0xFFFF)
                    following = a << 16 | np.int64(words[_at(at)])
                    if a < LOWEST:
                        a = following
                        at += 1
                    a, b = b, a
                    if size == LARGEST_SYMBOL or shift:
                        if bits > raw_bits:
                            return -1
                        if size == LARGEST_SYMBOL:
                            length = 0
                            while length < 32 and _get(1, raw, bits) == 0:
                                length += 1
                                bits += 1
                            if length == 32:
                                return -1
                            rest = _get((length + 1) // 2, raw, bits)
                            bits += (length + 1) // 2
                            low = length + 1 - (length + 1) // 2
                            rest = rest << low | _get(low, raw, bits)
                            bits += low
                            size += rest - 1
                        size = size << shift | _get(shift, raw, bits)
                        bits += shift
                        if size > 0x7FFFFFFF:
                            return -1
                    sign = (np.int64(signs[_at(signed >> 3)]) >> (signed & 7)) & 1
                    signed += 1 if size else 0
                    q[_at(plane), _at(row), _at(x)] = (size ^ -sign) + sign
                    one = min(size, LARGEST)
                    ring[_at(now), _at(row + 2), _at(x + 2)] = one
                if at > word_count or signed > sign_bits:
                    return -1
    if a != LOWEST or b != LOWEST or at != word_count or bits != raw_bits:
        return -1
    return signed
