"""Sums of the magnitudes around a place, row by row.

A place looks at 12 others that are known before it: in its plane (weight 2) the left and upper
neighbours and (weight 1) the two upper diagonals and the second ones to the left and above; in the
plane before (weight 2 at the same place, weight 1) the same place and its four neighbours; in an
older plane (weight 2) the same place. Space and time are added with a weight of each stream.

Magnitudes stand in a ring of planes with a frame of zeros around each, so that no kernel asks for
borders.
"""

# Scalars in kernels are NumPy's or Python's, whichever makes numba count in int64.
# mypy: disable-error-code="arg-type,assignment,operator,return-value"

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from xphys.coding.entropy._family import PLAIN

__all__ = [
    "LARGEST",
    "WEIGHTS",
    "bin_of_large",
    "halvings",
    "row_sums",
    "weights_of",
]

LARGEST = 4095  # magnitudes count at most this much for their neighbours
# Half the weight of space and of time in the sum; the whole is 16 times the mean magnitude.
WEIGHTS = np.array([[2, 2], [3, 1], [4, 0], [1, 3]])

Ring = NDArray[np.uint16]


@numba.njit(nogil=True, cache=True)
def weights_of(mode: int, plane: int) -> tuple[int, int]:
    """Weights of space and time; the first plane has only space."""
    if plane == 0:
        return 4, 0
    return WEIGHTS[mode, 0], WEIGHTS[mode, 1]


@numba.njit(nogil=True, cache=True)
def row_sums(
    ring: Ring,
    now: int,
    before: int,
    older: int,
    row: int,
    start: int,
    stop: int,
    space: int,
    time: int,
    sums: NDArray[np.int32],
) -> None:
    """Write twice the sums of columns start to stop, without what is to the left in this row.

    `now`, `before`, `older` are planes of the ring; a row of it begins two above, a column two to
    the left of the coefficient's own.
    """
    y = row + 2
    up, above = ring[now, y - 1], ring[now, y - 2]
    here, over, under = ring[before, y], ring[before, y - 1], ring[before, y + 1]
    old = ring[older, y]
    for column in range(start, stop):
        left, x, right = np.uint64(column + 1), np.uint64(column + 2), np.uint64(column + 3)
        near = 2 * np.int32(up[x]) + np.int32(up[left]) + np.int32(up[right]) + np.int32(above[x])
        past = 2 * (np.int32(here[x]) + np.int32(old[x])) + np.int32(over[x]) + np.int32(under[x])
        past += np.int32(here[left]) + np.int32(here[right])
        sums[np.uint64(column)] = space * near + time * past


@numba.njit(nogil=True, cache=True)
def halvings(total: int) -> int:
    """How often a sum of at least PLAIN is halved until it is below."""
    count = 1
    while (total >> count) >= PLAIN:
        count += 1
    return count


@numba.njit(nogil=True, cache=True)
def bin_of_large(total: int, count: int) -> int:
    """Bin of a sum of at least PLAIN that is halved `count` times, counted from 0 (to 11)."""
    rest = total >> count
    third = 0 if rest < 60 else (1 if rest < 76 else 2)
    return 3 * (min(count, 4) - 1) + third
