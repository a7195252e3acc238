"""Counts of contexts on a sample of tiles: which weights to take, how many bits it would be."""

# Scalars in kernels are NumPy's or Python's, whichever makes numba count in int64.
# mypy: disable-error-code="arg-type,assignment,operator,return-value,index"

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from xphys.coding.entropy._family import BIN_OF, BINS, COSTS, LARGEST_SYMBOL, PLAIN
from xphys.coding.entropy._rows import LARGEST, WEIGHTS, bin_of_large, halvings, weights_of
from xphys.coding.entropy._tiles import SIDE

__all__ = ["best_mode", "count_sample"]

MODES = WEIGHTS.shape[0]
Bytes = NDArray[np.uint8]
Coefficients = NDArray[np.int32]


@numba.njit(nogil=True, cache=True)
def _copy(q: Coefficients, plane: int, row: int, column: int, out: NDArray[np.int64]) -> None:
    """Magnitudes of a plane from (row, column) on; zeros outside."""
    rows, cols = q.shape[1], q.shape[2]
    out[:] = 0
    first = max(column, 0)
    stop = min(column + out.shape[1], cols)
    for y in range(max(row, 0), min(row + out.shape[0], rows)):
        line, own = q[plane, y], out[y - row]
        for x in range(first, stop):
            own[x - column] = min(abs(np.int64(line[x])), LARGEST)


@numba.njit(nogil=True, cache=True)
def _place(total: int) -> tuple[int, int]:
    """Bin and halvings of a sum."""
    if total < PLAIN:
        return np.int64(BIN_OF[total]), 0
    shift = halvings(total)
    return BINS - 12 + bin_of_large(total, shift), shift


@numba.njit(nogil=True, cache=True)
def _bits_beside(size: int, shift: int) -> int:
    """Bits of a magnitude that are not modelled: halved bits, sign, Exp-Golomb code."""
    bits = shift + (1 if size else 0)
    rest = (size >> shift) - LARGEST_SYMBOL + 1
    if rest > 0:
        bits += 1
        while rest > 1:
            rest >>= 1
            bits += 2
    return bits


@numba.njit(nogil=True, cache=True)
def _chosen(met: int, stride: int) -> bool:
    """True for one of `stride` numbers, spread evenly whatever the period of what they count."""
    return ((met * 2654435761) & 0xFFFFFFFF) * stride < 1 << 32


@numba.njit(nogil=True, cache=True)
def count_sample(
    q: Coefficients,
    tiles: Bytes,
    plane_class: Bytes,
    spatial_class: Bytes,
    back: int,
    stride: int,
    first_mode: int,
    counts: NDArray[np.int64],
    plain: NDArray[np.int64],
) -> int:
    """Count symbols by context in one of `stride` marked tiles, for some choices of weights.

    Parameters
    ----------
    q, tiles, plane_class, spatial_class, back
        Coefficients, their map and the parts of a layout.
    stride : int
        One tile of so many is looked at.
    first_mode : int
        Row of `WEIGHTS` that counts[0] stands for; the following ones follow.
    counts : ndarray of int64, shape (modes, classes * BINS, symbols)
        Added to.
    plain : ndarray of int64, shape (modes,)
        Added to: bits that are not modelled.

    Returns
    -------
    int
        Number of tiles looked at.
    """
    planes, rows, cols = q.shape
    here = np.zeros((SIDE + 2, SIDE + 3), np.int64)
    past = np.zeros((SIDE + 2, SIDE + 2), np.int64)
    old = np.zeros((SIDE, SIDE), np.int64)
    met = looked = 0
    for plane in range(planes):
        group = 16 * np.int64(plane_class[plane])
        for row in range(tiles.shape[1]):
            for column in range(tiles.shape[2]):
                met += np.int64(tiles[plane, row, column])
                if tiles[plane, row, column] == 0 or not _chosen(met, stride):
                    continue
                looked += 1
                top, left = SIDE * row, SIDE * column
                _copy(q, plane, top - 2, left - 2, here)
                if plane:
                    _copy(q, plane - 1, top - 1, left - 1, past)
                    _copy(q, plane - back if plane >= back else plane - 1, top, left, old)
                for y in range(min(SIDE, rows - top)):
                    for x in range(min(SIDE, cols - left)):
                        v, u = y + 2, x + 2
                        near = 2 * (here[v, u - 1] + here[v - 1, u]) + here[v - 1, u - 1]
                        near += here[v - 1, u + 1] + here[v, u - 2] + here[v - 2, u]
                        v, u = y + 1, x + 1
                        then = 2 * (past[v, u] + old[y, x]) + past[v, u - 1] + past[v, u + 1]
                        then += past[v - 1, u] + past[v + 1, u]
                        size = abs(np.int64(q[plane, top + y, left + x]))
                        kind = BINS * (group + np.int64(spatial_class[top + y, left + x]))
                        for mode in range(counts.shape[0]):
                            space, time = weights_of(first_mode + mode, plane)
                            place, shift = _place((space * near + time * then) >> 1)
                            plain[mode] += _bits_beside(size, shift)
                            symbol = min(size >> shift, LARGEST_SYMBOL)
                            counts[mode, kind + place, symbol] += 1
    return looked


def best_mode(counts: NDArray[np.int64], plain: NDArray[np.int64]) -> int:
    """The row of `WEIGHTS` whose counts take the fewest bits, classes taken together."""
    joint = counts.reshape(MODES, -1, BINS, counts.shape[-1]).sum(axis=1)
    costs = np.tensordot(joint, COSTS, axes=(2, 1)).min(axis=-1).sum(axis=-1)
    return int(np.argmin(costs + 256 * plain))
