"""Which tiles of 8 x 8 coefficients hold anything, and the coding of that map."""

# Scalars in kernels are NumPy's or Python's, whichever makes numba count in int64.
# mypy: disable-error-code="arg-type,assignment,operator,return-value,no-any-return"

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from xphys.coding.entropy._binary import code_bit, grown, read_bit

__all__ = ["PRIOR", "SIDE", "find_tiles", "mark_classes", "read_tiles", "tile_grid", "write_tiles"]

SIDE = 8
_CONTEXTS = 64
_PATIENCE = 60  # an estimate moves by 1 / (number seen + 1.5), never less than by 1 / 60
# Chance of 1 in 65536 by how many of the tiles around hold something, before anything was read.
PRIOR = np.array([400, 6000, 14000, 22000, 30000, 38000, 46000, 52000, 56000, 59000, 61000, 62000])

Bytes = NDArray[np.uint8]


def tile_grid(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Planes, rows and columns of tiles."""
    return shape[0], -(-shape[1] // SIDE), -(-shape[2] // SIDE)


@numba.njit(nogil=True, cache=True)
def find_tiles(q: NDArray[np.int32], tiles: Bytes) -> int:
    """Mark the tiles that hold anything in `tiles` (zeros before); -> their number."""
    planes, rows, cols = q.shape
    for plane in range(planes):
        for row in range(rows):
            line = q[plane, row]
            for column in range(tiles.shape[2]):
                start = SIDE * column
                found = 0
                if start + SIDE <= cols:  # a number of places that is known is taken at once
                    for x in range(SIDE):
                        found |= line[np.uint64(start + x)]
                else:
                    for x in range(start, cols):
                        found |= line[x]
                if found != 0:
                    tiles[plane, row // SIDE, column] = 1
    number = 0
    for plane in range(planes):
        for row in range(tiles.shape[1]):
            for column in range(tiles.shape[2]):
                number += np.int64(tiles[plane, row, column])
    return number


@numba.njit(nogil=True, cache=True)
def mark_classes(tiles: Bytes, plane_class: Bytes, spatial_class: Bytes, present: Bytes) -> None:
    """Set to 1 in `present` (zeros before) each class, of planes and places, of a marked tile."""
    used = np.zeros((8, tiles.shape[1], tiles.shape[2]), np.uint8)
    for plane in range(tiles.shape[0]):
        own = used[plane_class[plane]]
        for row in range(tiles.shape[1]):
            for column in range(tiles.shape[2]):
                own[row, column] |= tiles[plane, row, column]
    for kind in range(8):
        for row in range(spatial_class.shape[0]):
            line = used[kind, row // SIDE]
            for column in range(tiles.shape[2]):
                if line[column] == 0:
                    continue
                stop = min(SIDE * column + SIDE, spatial_class.shape[1])
                for x in range(SIDE * column, stop):
                    present[16 * kind + np.int64(spatial_class[row, x])] = 1


@numba.njit(nogil=True, cache=True)
def _context(tiles: Bytes, back: int, plane: int, row: int, column: int) -> tuple[int, int]:
    """Number of the context of a tile, and how many tiles around it are marked (0 to 11)."""
    rows, cols = tiles.shape[1], tiles.shape[2]
    left = np.int64(tiles[plane, row, column - 1]) if column > 0 else 0
    up = np.int64(tiles[plane, row - 1, column]) if row > 0 else 0
    others = np.int64(tiles[plane, row - 1, column + 1]) if row > 0 and column + 1 < cols else 0
    before = older = 0
    if plane > 0:
        before = np.int64(tiles[plane - 1, row, column])
        if column + 1 < cols:
            others += np.int64(tiles[plane - 1, row, column + 1])
        if row + 1 < rows:
            others += np.int64(tiles[plane - 1, row + 1, column])
    if plane >= back:
        older = np.int64(tiles[plane - back, row, column])
    return (left | up << 1 | before << 2 | older << 3) << 2 | others, (
        2 * (left + up + before + older) + others
    )


@numba.njit(nogil=True, cache=True)
def _prepared(chance: NDArray[np.int64], seen: NDArray[np.int64], number: int, around: int) -> int:
    if seen[number] == 0:
        chance[number] = PRIOR[around]
    return chance[number]


@numba.njit(nogil=True, cache=True)
def _learn(chance: NDArray[np.int64], seen: NDArray[np.int64], number: int, bit: int) -> None:
    aim = 65535 - 32 if bit else 32
    step = 2 * (aim - chance[number])
    chance[number] += step // (2 * seen[number] + 5)
    if seen[number] < _PATIENCE:
        seen[number] += 1


@numba.njit(nogil=True, cache=True)
def write_tiles(
    tiles: Bytes, back: int, low: int, high: int, out: Bytes, at: int
) -> tuple[int, int, Bytes, int]:
    """Code the map behind what the buffer holds: (low, high, out, at)."""
    chance = np.zeros(_CONTEXTS, np.int64)
    seen = np.zeros(_CONTEXTS, np.int64)
    for plane in range(tiles.shape[0]):
        for row in range(tiles.shape[1]):
            for column in range(tiles.shape[2]):
                number, around = _context(tiles, back, plane, row, column)
                one = _prepared(chance, seen, number, around)
                bit = np.int64(tiles[plane, row, column])
                out = grown(out, at)
                low, high, at = code_bit(bit, one, low, high, out, at)
                _learn(chance, seen, number, bit)
    return low, high, out, at


@numba.njit(nogil=True, cache=True)
def read_tiles(
    tiles: Bytes, back: int, low: int, high: int, code: int, data: Bytes, at: int
) -> tuple[int, int, int, int]:
    """Read the map into `tiles` (zeros before): (low, high, code, at)."""
    chance = np.zeros(_CONTEXTS, np.int64)
    seen = np.zeros(_CONTEXTS, np.int64)
    for plane in range(tiles.shape[0]):
        for row in range(tiles.shape[1]):
            for column in range(tiles.shape[2]):
                number, around = _context(tiles, back, plane, row, column)
                one = _prepared(chance, seen, number, around)
                bit, low, high, code, at = read_bit(one, low, high, code, data, at)
                tiles[plane, row, column] = bit
                _learn(chance, seen, number, bit)
    return low, high, code, at
