"""The walk of the coder "mixing": planes, rows of tiles, map of tiles, rows of coefficients."""

# Scalars in kernels are NumPy's or Python's, whichever makes numba count in int64.
# mypy: disable-error-code="arg-type,assignment,operator,return-value"

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from xphys.coding.entropy._binary import code_end
from xphys.coding.entropy._decide import Coder, Model, decide, new_model, reading, writing
from xphys.coding.entropy._mixing import (
    ROOM,
    Memory,
    Ring,
    magnitude_model,
    new_memory,
    transfer_row,
)
from xphys.coding.entropy._tiles import PRIOR, SIDE, tile_grid
from xphys.coding.entropy.layout import RINGS

__all__ = ["read_mixed", "write_mixed"]

_AROUND = 12  # tiles around that are marked, weighted: 0 to 11
_SIZES = (_AROUND, 256, 8 * 64, 16 * 16)
_INPUTS = len(_SIZES)
_FIRST = np.concatenate([[0], np.cumsum(_SIZES)[:-1]])

Bytes = NDArray[np.uint8]
Integers = NDArray[np.int64]


def _tile_model() -> Model:
    model = new_model(sum(_SIZES), _INPUTS, 2, _AROUND)
    model.cells[:_AROUND] = (PRIOR << 6) << 10 | 2
    return model


@numba.njit(nogil=True, cache=True)
def _tile_contexts(
    fill: Bytes, back: int, plane: int, row: int, column: int, kind: int, slots: Integers
) -> int:
    """Fill in the contexts of a tile; -> how much around it is marked (0 to 11).

    `fill` of shape (planes, rows + 2, columns + 2) says how much the tiles before hold: 0 to 3;
    1 for those of the same row.
    """
    y, x = row + 1, column + 1
    own, up = fill[plane, y], fill[plane, y - 1]
    left, above = np.int64(own[x - 1]), np.int64(up[x])
    corners = np.int64(up[x - 1]) + np.int64(up[x + 1])
    same = right = under = rest = old = 0
    if plane:
        past = fill[plane - 1]
        same, right = np.int64(past[y, x]), np.int64(past[y, x + 1])
        under = np.int64(past[y + 1, x])
        rest = right + under + np.int64(past[y, x - 1]) + np.int64(past[y - 1, x])
    if plane >= back:
        old = np.int64(fill[plane - back, y, x])
    around = 2 * (int(left > 0) + int(above > 0) + int(same > 0) + int(old > 0))
    around += int(up[x + 1] > 0) + int(right > 0) + int(under > 0)
    slots[0] = around
    slots[1] = left * 64 + above * 16 + same * 4 + old
    slots[2] = min(rest, 7) * 64 + min(corners, 3) * 16 + same * 4
    slots[2] += int(old > 0) + 2 * int(plane == 0)
    slots[3] = kind * 16 + min(left + above + same, 3) * 4 + int(row == 0) + 2 * int(column == 0)
    for number in range(_INPUTS):
        slots[number] += _FIRST[number]
    return around


@numba.njit(nogil=True, cache=True)
def _transfer_marks(
    marks: Bytes,
    kinds: Bytes,
    fill: Bytes,
    back: int,
    plane: int,
    row: int,
    model: Model,
    state: Integers,
    data: Bytes,
) -> None:
    """Write or read one row of the map."""
    cells, weights, ages, curves, slots, odds = model
    for column in range(marks.size):
        around = _tile_contexts(fill, back, plane, row, column, np.int64(kinds[column]), slots)
        bit = decide(
            np.int64(marks[column]), 0, 1, around, _INPUTS,
            cells, weights, ages, curves, slots, odds, state, data,
        )  # fmt: skip
        marks[column] = bit
        fill[plane, row + 1, column + 1] = bit


@numba.njit(nogil=True, cache=True)
def _measure_fill(strip: NDArray[np.int32], fill: Bytes) -> None:
    """Replace the marks of one row of tiles by 1, 2, 3: a sum of magnitudes of 1, to 5, more."""
    for column in range(fill.size - 2):
        if fill[column + 1] == 0:
            continue
        total = 0
        for y in range(strip.shape[0]):
            for x in range(SIDE * column, min(SIDE * column + SIDE, strip.shape[1])):
                total += min(abs(np.int64(strip[y, x])), 3)
        fill[column + 1] = 1 + int(total > 1) + int(total > 5)


@numba.njit(nogil=True, cache=True)
def _roomy(data: Bytes, state: Integers, need: int) -> Bytes:
    """The buffer, or a larger copy if a writer has no room for `need` more bytes."""
    used = state[3]
    if state[2] >= 0 or used + need + 64 <= data.size:
        return data
    larger = np.zeros(2 * data.size + need + 64, np.uint8)
    larger[:used] = data[:used]
    return larger


@numba.njit(nogil=True, cache=True)
def _walk(
    q: NDArray[np.int32],
    tiles: Bytes,
    plane_class: Bytes,
    spatial_class: Bytes,
    rings: NDArray[np.uint16],
    back: int,
    ring: Ring,
    logs: Bytes,
    memory: Memory,
    model: Model,
    tile_model: Model,
    state: Integers,
    data: Bytes,
) -> tuple[bool, Bytes]:
    """Write q, or read it (zeros before): False if a reader found what cannot be; the bytes."""
    planes, rows, cols = q.shape
    fill = np.zeros((planes, tiles.shape[1] + 2, tiles.shape[2] + 2), np.uint8)
    kinds, classes = np.zeros(tiles.shape[2], np.uint8), np.zeros(cols, np.uint8)
    for plane in range(planes):
        now, before = plane % (back + 1), (plane + back) % (back + 1)
        older = (plane + 1) % (back + 1) if plane >= back else before
        ring[now] = 0
        logs[now] = 0
        for row in range(tiles.shape[1]):
            start, stop = SIDE * row, min(SIDE * row + SIDE, rows)
            for column in range(kinds.size):
                center = min(SIDE * column + 3, cols - 1)
                kinds[column] = spatial_class[min(start + 3, rows - 1), center]
            marks = tiles[plane, row]
            data = _roomy(data, state, 2 * marks.size)
            _transfer_marks(marks, kinds, fill, back, plane, row, tile_model, state, data)
            if not marks.any():
                continue
            for y in range(start, stop):
                data = _roomy(data, state, ROOM * cols)
                for x in range(cols):
                    classes[x] = spatial_class[y, x] + 16 * plane_class[plane]
                begin, size = (y + 2) * (cols + 4) + 2, (rows + 3) * (cols + 4)
                places = (now * size + begin, before * size + begin, older * size + begin)
                right = transfer_row(
                    q[plane, y], marks, classes, rings[y], y, plane == 0, places,
                    ring.reshape(-1), logs.reshape(-1), memory, model, state, data,
                )  # fmt: skip
                if not right:
                    return False, data
            _measure_fill(q[plane, start:stop], fill[plane, row + 1])
    return True, data


def _transfer(
    q: NDArray[np.int32],
    tiles: Bytes,
    classes: tuple[Bytes, Bytes, NDArray[np.uint16]],
    back: int,
    coder: Coder,
) -> tuple[bool, Coder]:
    ring = np.zeros((back + 1, q.shape[1] + 3, q.shape[2] + 4), np.uint16)
    memory, models = new_memory(RINGS), (magnitude_model(), _tile_model())
    right, data = _walk(
        q, tiles, *classes, back, ring, ring.astype(np.uint8), memory, *models, *coder
    )
    return bool(right), Coder(coder.state, data)


def write_mixed(
    q: NDArray[np.int32],
    tiles: Bytes,
    classes: tuple[Bytes, Bytes, NDArray[np.uint16]],
    back: int,
) -> bytes:
    """Code q, whose marked tiles are given; classes are those of planes, places, rings."""
    state, data = _transfer(q, tiles, classes, back, writing())[1]
    return bytes(data[: code_end(int(state[0]), int(state[1]), data, int(state[3]))])


def read_mixed(
    data: Bytes,
    shape: tuple[int, int, int],
    classes: tuple[Bytes, Bytes, NDArray[np.uint16]],
    back: int,
) -> tuple[NDArray[np.int32], bool]:
    """Read what `write_mixed` wrote; False if it cannot be right."""
    q = np.zeros(shape, np.int32)
    right, coder = _transfer(q, np.zeros(tile_grid(shape), np.uint8), classes, back, reading(data))
    # bytes that were not read, or far more than there are: another stream
    return q, right and data.size - 4 <= int(coder.state[3]) - 4 <= data.size + 4
