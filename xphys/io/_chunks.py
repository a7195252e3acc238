"""Shapes of stored chunks, from shape and dtype alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from xphys.errors import SchemaError
from xphys.schema import ENSEMBLE_DIMS

__all__ = ["storage_chunks"]

_TARGET = 16 * 2**20  # bytes of a chunk to aim at
_LARGEST = 64 * 2**20
_SMALLEST = 2**20
_FEWEST_STEPS = 16


def _even(size: int, most: int) -> int:
    """Largest chunk not above ``most`` for which the last one is about as long as the others."""
    count = -(-size // max(most, 1))
    return -(-size // count) if count else max(size, 1)


def _balanced(size: int, least: int, most: int) -> int:
    """A chunk of at least ``least``, longer if that makes the last one about as long as it is."""
    chunk = -(-size // max(size // least, 1))
    return chunk if chunk <= most else min(least, size)


def storage_chunks(
    dims: Sequence[str],
    shape: Sequence[int],
    itemsize: int,
    wanted: Mapping[str, int] | None = None,
) -> tuple[int, ...]:
    """Chunk shape for storing an array: whole frames, at least 16 steps, 1 to 64 MB.

    Parameters
    ----------
    dims : sequence of str
        Dimensions in order.
    shape : sequence of int
        Sizes.
    itemsize : int
        Bytes of one value.
    wanted : mapping of str to int, optional
        Chunk sizes that were asked for; -1 for a whole dimension.

    Returns
    -------
    tuple of int
        At least 1 along every dimension, never above the size.

    Raises
    ------
    SchemaError
        If a wanted size is neither -1 nor positive.

    Notes
    -----
    Along time as many steps as make 16 MiB, evenly divided; ensemble dimensions one by one
    unless a member is below 1 MiB; frames above 64 MiB are cut along their first axes.

    Examples
    --------
    >>> storage_chunks(("time", "y", "x"), (53, 256, 256), 4)
    (53, 256, 256)
    >>> storage_chunks(("time", "y", "x"), (1000, 512, 512), 4)
    (17, 512, 512)
    """
    ensemble = [i for i, d in enumerate(dims) if d in ENSEMBLE_DIMS]
    steps = [i for i, d in enumerate(dims) if d == "time"]
    chunks = [max(n, 1) for n in shape]
    for i in (*ensemble, *steps):
        chunks[i] = 1
    # frames too large for one chunk
    for i in range(len(chunks)):
        if i not in ensemble and i not in steps:
            rest = math.prod(chunks) // chunks[i] * itemsize
            if rest * chunks[i] > _LARGEST:
                chunks[i] = _even(shape[i], max(_LARGEST // rest, 1))
    frame = math.prod(chunks) * itemsize
    for i in steps:
        most = max(_LARGEST // frame, 1)
        wanted_steps = max(_TARGET // frame, min(_FEWEST_STEPS, most))
        chunks[i] = _balanced(max(shape[i], 1), wanted_steps, most)
    for i in reversed(ensemble):
        member = math.prod(chunks) * itemsize
        if member < _SMALLEST:
            chunks[i] = _even(max(shape[i], 1), _SMALLEST // member)
    for i, d in enumerate(dims):
        size = (wanted or {}).get(d)
        if size is not None:
            if size != -1 and size < 1:
                raise SchemaError(f"chunk size of {d!r} must be positive or -1, got {size}")
            chunks[i] = max(shape[i], 1) if size == -1 else min(size, max(shape[i], 1))
    return tuple(chunks)
