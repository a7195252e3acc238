"""The order in which stored chunks are written: a bounded part of the data at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product

__all__ = ["aligned", "slabs"]

Index = tuple[int, ...]


def aligned(
    wanted: Sequence[int], shape: Sequence[int], source: Sequence[Sequence[int]] | None
) -> tuple[int, ...]:
    """Chunk sizes near the wanted ones that do not cut across blocks of the source.

    Parameters
    ----------
    wanted, shape : sequence of int
        Chunk to aim at, and shape of the array.
    source : sequence of sequences of int, optional
        Sizes of the blocks that the values come in along each axis.

    Returns
    -------
    tuple of int
        Whole blocks, or equal parts of one; as wanted where blocks have several sizes.
    """
    if source is None:
        return tuple(wanted)
    found = []
    for most, size, blocks in zip(wanted, shape, source, strict=True):
        block = blocks[0] if blocks else 0
        even = block and all(n == block for n in blocks[:-1]) and blocks[-1] <= block
        if not even or most >= size:
            found.append(most)
        elif most >= block:
            found.append(most // block * block)
        else:
            parts = [n for n in range(most, 0, -1) if block % n == 0 and 2 * n > most]
            found.append(parts[0] if parts else most)
    return tuple(found)


def slabs(
    shape: Sequence[int],
    chunk: Sequence[int],
    source: Sequence[Sequence[int]] | None,
    itemsize: int,
    budget: int,
) -> Iterator[list[Index]]:
    """Groups of stored chunks to compute together.

    Each group is a range along one axis, so that a block of the source is needed by one group
    only, unless it is larger than the budget.

    Parameters
    ----------
    shape, chunk : sequence of int
        Of the array, at least one axis each.
    source : sequence of sequences of int, optional
        Blocks of the values.
    itemsize : int
        Bytes of all values of a point.
    budget : int
        Bytes of a group, unless a single chunk has more.

    Yields
    ------
    list of tuple of int
        Indices of chunks.
    """
    counts = [-(-n // c) for n, c in zip(shape, chunk, strict=True)]
    axis = 0
    while axis < len(shape) - 1 and _bytes(shape, chunk, axis, itemsize) > budget:
        axis += 1
    most = max(budget // max(_bytes(shape, chunk, axis, itemsize), 1), 1)
    ends = _ends(counts[axis], chunk[axis], None if source is None else source[axis], most)
    inner = [range(n) for n in counts[axis + 1 :]]
    for outer in product(*(range(n) for n in counts[:axis])):
        start = 0
        for end in ends:
            yield [(*outer, i, *rest) for i in range(start, end) for rest in product(*inner)]
            start = end


def _bytes(shape: Sequence[int], chunk: Sequence[int], axis: int, itemsize: int) -> int:
    """Of one chunk along the axes up to one, and all of the others."""
    return math.prod((*chunk[: axis + 1], *shape[axis + 1 :])) * itemsize


def _ends(count: int, chunk: int, blocks: Sequence[int] | None, most: int) -> list[int]:
    """Where groups of chunks end along their axis; if possible where a block ends too."""
    borders, place = {count}, 0
    for size in blocks or ():
        place += size
        if place % chunk == 0:
            borders.add(place // chunk)
    if blocks is None:
        borders |= set(range(1, count))
    found: list[int] = []
    start = last = 0
    for border in sorted(borders):
        if border - start > most and last > start:
            found.append(last)
            start = last
        while border - start > most:
            start += most
            found.append(start)
        last = border
    if last > start:
        found.append(last)
    return found
