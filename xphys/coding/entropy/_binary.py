"""Binary range coder without carry: 32-bit interval, 16-bit probabilities, integers only.

The coder is two numbers, the ends of the interval; kernels pass them on as values, so that a
compiler keeps them in registers. A stream ends where the rest would be zeros, and a reader that
runs over the end reads zeros.
"""

# Scalars in kernels are NumPy's or Python's, whichever makes numba count in int64.
# mypy: disable-error-code="assignment"

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "FULL",
    "HALF",
    "code_bit",
    "code_end",
    "code_raw",
    "grown",
    "read_bit",
    "read_raw",
    "read_start",
]

FULL = 0xFFFFFFFF
HALF = 1 << 15  # probability of one half
_TOP = 0xFF000000
_ROOM = 256  # bytes that the coding of one integer, all its bits together, never passes

Bytes = NDArray[np.uint8]


@numba.njit(nogil=True, cache=True)
def grown(out: Bytes, used: int) -> Bytes:
    """The buffer itself, or a copy twice as large if there is too little room behind `used`."""
    if used + _ROOM <= out.size:
        return out
    larger = np.zeros(2 * out.size + _ROOM, np.uint8)
    larger[:used] = out[:used]
    return larger


@numba.njit(nogil=True, cache=True)
def code_bit(bit: int, one: int, low: int, high: int, out: Bytes, at: int) -> tuple[int, int, int]:
    """Write a bit that is 1 with probability one / 65536; 0 < one < 65536."""
    middle = low + (((high - low) * one) >> 16)
    if bit:
        high = middle
    else:
        low = middle + 1
    while (low ^ high) & _TOP == 0:
        out[at] = high >> 24
        at += 1
        low = (low << 8) & FULL
        high = ((high << 8) & FULL) | 255
    return low, high, at


@numba.njit(nogil=True, cache=True)
def code_raw(
    value: int, count: int, low: int, high: int, out: Bytes, at: int
) -> tuple[int, int, int]:
    """Write the lowest `count` bits of value, highest first, at one bit each."""
    for place in range(count - 1, -1, -1):
        low, high, at = code_bit((value >> place) & 1, HALF, low, high, out, at)
    return low, high, at


@numba.njit(nogil=True, cache=True)
def code_end(low: int, high: int, out: Bytes, at: int) -> int:
    """Write as few bytes as name a number of the last interval, if zeros follow; -> length.

    At most four bytes fewer than were written before, so that a reader can tell a lost end.
    """
    least = at - 4
    if low > 0:
        for kept in range(1, 5):
            mask = FULL << (32 - 8 * kept) & FULL
            value = (low + (FULL - mask)) & mask
            if low <= value <= high:
                for place in range(kept):
                    out[at] = (value >> (24 - 8 * place)) & 255
                    at += 1
                break
    while at > max(least, 0) and out[at - 1] == 0:
        at -= 1
    return at


@numba.njit(nogil=True, cache=True)
def read_start(data: Bytes) -> tuple[int, int]:
    """First four bytes as a number, and the place behind them."""
    code = 0
    for place in range(4):
        code = code << 8 | (np.int64(data[place]) if place < data.size else 0)
    return code, 4


@numba.njit(nogil=True, cache=True)
def read_bit(
    one: int, low: int, high: int, code: int, data: Bytes, at: int
) -> tuple[int, int, int, int, int]:
    """Read what `code_bit` wrote: (bit, low, high, code, at)."""
    middle = low + (((high - low) * one) >> 16)
    bit = 1 if code <= middle else 0
    if bit:
        high = middle
    else:
        low = middle + 1
    while (low ^ high) & _TOP == 0:
        low = (low << 8) & FULL
        high = ((high << 8) & FULL) | 255
        code = (code << 8) & FULL
        if at < data.size:
            code |= np.int64(data[at])
        at += 1
    return bit, low, high, code, at


@numba.njit(nogil=True, cache=True)
def read_raw(
    count: int, low: int, high: int, code: int, data: Bytes, at: int
) -> tuple[int, int, int, int, int]:
    """Read what `code_raw` wrote: (value, low, high, code, at)."""
    value = 0
    for _ in range(count):
        bit, low, high, code, at = read_bit(HALF, low, high, code, data, at)
        value = value << 1 | bit
    return value, low, high, code, at
