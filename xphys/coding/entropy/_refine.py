"""Rate-distortion decisions: which rounding of a coefficient is worth its bits."""

# Scalars in kernels are NumPy's or Python's, whichever makes numba count in int64.
# mypy: disable-error-code="arg-type,assignment,operator,return-value"

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from xphys.coding.entropy._family import COSTS, LARGEST_SYMBOL, PLAIN
from xphys.coding.entropy._rows import LARGEST, bin_of_large, halvings, row_sums, weights_of
from xphys.coding.entropy._static import runs_of
from xphys.coding.entropy._tiles import SIDE

__all__ = ["centroids", "decide_sizes", "drop_tiles"]

_FEW = 3  # ones in a tile that may be dropped as a whole
_MARK = 3 * 256  # what a marked tile costs beside its coefficients, in bits/256
_COMPANY = 256  # what a lone coefficient costs its neighbours, in bits/256

Bytes = NDArray[np.uint8]
Coefficients = NDArray[np.int32]
Scaled = NDArray[np.float32]


@numba.njit(nogil=True, cache=True)
def centroids(scaled: Scaled, q: Coefficients, tiles: Bytes) -> tuple[float, float]:
    """Mean of magnitude minus true magnitude where the magnitude is 1, and where it is more."""
    sums, counts = np.zeros(2), np.zeros(2)
    for plane in range(q.shape[0]):
        for row in range(q.shape[1]):
            for column in range(tiles.shape[2]):
                if tiles[plane, row // SIDE, column] == 0:
                    continue
                for x in range(SIDE * column, min(SIDE * column + SIDE, q.shape[2])):
                    size = abs(np.int64(q[plane, row, x]))
                    if size:
                        which = 1 if size > 1 else 0
                        sums[which] += size - abs(np.float64(scaled[plane, row, x]))
                        counts[which] += 1
    return sums[0] / max(counts[0], 1.0), sums[1] / max(counts[1], 1.0)


@numba.njit(nogil=True, cache=True)
def drop_tiles(
    scaled: Scaled,
    q: Coefficients,
    tiles: Bytes,
    plane_class: Bytes,
    spatial_class: Bytes,
    table: Bytes,
    weight: float,
    first: float,
) -> None:
    """Empty tiles of a few ones that cost more than they are worth, in q and in the map.

    `table` leads from class and sum to a distribution, `weight` is the price of 1/256 bit,
    `first` the centroid of ones.
    """
    planes, rows, cols = q.shape
    for plane in range(planes):
        for row in range(tiles.shape[1]):
            for column in range(tiles.shape[2]):
                if tiles[plane, row, column] == 0:
                    continue
                ones, gain, zeros = 0, 0.0, _MARK
                for y in range(SIDE * row, min(SIDE * row + SIDE, rows)):
                    for x in range(SIDE * column, min(SIDE * column + SIDE, cols)):
                        size = abs(np.int64(q[plane, y, x]))
                        kind = 16 * np.int64(plane_class[plane]) + np.int64(spatial_class[y, x])
                        number = np.int64(table[kind, 0])
                        zeros += COSTS[number, min(size, 1)]
                        if size:
                            true = abs(np.float64(scaled[plane, y, x]))
                            gain += true * true - (true - 1 + first) ** 2
                            zeros += 256 + _COMPANY
                            ones += size
                    if ones > _FEW:
                        break
                if ones <= _FEW and gain < weight * zeros:
                    tiles[plane, row, column] = 0
                    for y in range(SIDE * row, min(SIDE * row + SIDE, rows)):
                        q[plane, y, SIDE * column : min(SIDE * column + SIDE, cols)] = 0


@numba.njit(nogil=True, cache=True)
def _best_size(
    true: float, shift: int, number: int, lone: int, weight: float, first: float, rest: float
) -> int:
    """The magnitude of least distortion + weight * bits among two roundings and 0."""
    best, least = 0, true * true + weight * COSTS[number, 0]
    low = int(true)
    for size in range(max(low, 1), low + 2):
        symbol = size >> shift
        bits = COSTS[number, min(symbol, LARGEST_SYMBOL)] + 256 + lone
        symbol -= LARGEST_SYMBOL - 1
        while symbol > 0:
            symbol >>= 1
            bits += 512
        miss = true - size + (first if size == 1 else rest)
        cost = miss * miss + weight * bits
        if cost < least:
            best, least = size, cost
    return best


@numba.njit(nogil=True, cache=True)
def decide_sizes(
    scaled: Scaled,
    q: Coefficients,
    tiles: Bytes,
    plane_class: Bytes,
    spatial_class: Bytes,
    back: int,
    mode: int,
    table: Bytes,
    weight: float,
    first: float,
    rest: float,
) -> None:
    """Choose anew every magnitude in a marked tile, in the order of coding; q is changed.

    Arguments as for `drop_tiles`; `mode` is a row of `WEIGHTS`, `rest` the centroid of what is
    above 1.
    """
    planes, rows, cols = q.shape
    ring = np.zeros((back + 1, rows + 3, cols + 4), np.uint16)
    sums = np.zeros(cols, np.int32)
    runs = np.zeros((tiles.shape[2] + 1, 2), np.int64)
    for plane in range(planes):
        now, before = plane % (back + 1), (plane + back) % (back + 1)
        older = (plane + 1) % (back + 1) if plane >= back else before
        space, time = weights_of(mode, plane)
        ring[now] = 0
        for row in range(rows):
            count = runs_of(tiles[plane, row // SIDE], cols, runs)
            line, own, wanted = q[plane, row], ring[now, row + 2], scaled[plane, row]
            for run in range(count):
                start, stop = runs[run, 0], runs[run, 1]
                row_sums(ring, now, before, older, row, start, stop, space, time, sums)
                one = two = 0
                for x in range(start, stop):
                    true = abs(np.float64(wanted[x]))
                    size = 0
                    # below one half of the last centroid nothing but 0 pays
                    if true > 0.5 and true < 2e9:
                        near = (sums[x] + space * (2 * one + two)) >> 1
                        lone = _COMPANY if near < 2 else 0
                        shift = 0
                        if near >= PLAIN:
                            shift = halvings(near)
                            near = PLAIN + bin_of_large(near, shift)
                        kind = 16 * np.int64(plane_class[plane]) + np.int64(spatial_class[row, x])
                        number = np.int64(table[kind, near])
                        size = _best_size(true, shift, number, lone, weight, first, rest)
                    elif true >= 2e9:
                        size = abs(np.int64(line[x]))
                    line[x] = -size if wanted[x] < 0 else size
                    two, one = one, min(size, LARGEST)
                    own[x + 2] = one
