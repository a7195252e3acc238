"""Spectra of frames that are chunked along the transformed axes, within bounded memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any

import dask.array as da
import numpy as np
import scipy.fft
from numpy.typing import NDArray

from xphys.errors import SchemaError
from xphys.spectra import _scratch
from xphys.spectra._box import shell_count
from xphys.spectra._kernels import Request, add_modes, finish

__all__ = ["TASK", "fits", "gather", "pencil_sums"]

#: A task that transforms blocks of b bytes takes no more than about ``TASK * b``: the block, a
#: copy, its modes, and their shells (8 bytes each).
TASK = 6
# Bytes of a piece of a file from which the calls that write it cost little beside the bytes.
_PIECE = 2**17


@dataclass(frozen=True)
class Room:
    """Memory of one task, and the folder for what does not fit.

    Attributes
    ----------
    memory : int
        Bytes.
    scratch : str or None
        Folder on a disk that all workers see.
    """

    memory: int
    scratch: str | None = None

    @property
    def block(self) -> int:
        """Largest block, in bytes."""
        return max(1, self.memory // TASK)

    @property
    def merged(self) -> int:
        """Most that may wait in memory to be joined, in bytes."""
        return self.memory // 2


def fits(array: da.Array, ndim: int, room: Room) -> bool:
    """Whether a task can hold whole frames, and memory the chunks that they are made of."""
    lead = math.prod(max(c) for c in array.chunks[:-ndim])
    frame = _frame_bytes(array, ndim)
    return bool(frame <= room.block and lead * frame <= room.merged)


def gather(array: da.Array, ndim: int, room: Room) -> da.Array | None:
    """Whole frames by way of files, as many in a block as may be; None if one does not fit."""
    count = room.block // max(1, _frame_bytes(array, ndim))
    if count < 1:
        return None
    lead: list[tuple[int, ...]] = []
    for sizes in reversed(array.chunks[:-ndim]):
        lead.insert(0, _split(sizes, count))
        count = max(1, count // max(lead[0]))
    chunks = (*lead, *((n,) for n in array.shape[-ndim:]))
    return _by_files(array, chunks, room)


def pencil_sums(arrays: Sequence[da.Array], request: Request, room: Room) -> da.Array:
    """`shell_sums` of frames that no task can hold.

    The axes after the first are transformed in slabs along the first; the modes are turned over
    by way of files into pencils that are whole along the first axis and transformed there; each
    pencil gives sums over the shells, which are added up.

    Parameters
    ----------
    arrays : sequence of dask.array.Array, shape (..., n_1, ..., n_d)
        Fields of one shape and dtype kind.
    request : Request
        What to sum; two or three axes, no window.
    room : Room
        Memory of a task.

    Returns
    -------
    dask.array.Array, shape (..., shell_count)
        Float64, in chunks of the leading dims of the slabs.

    Raises
    ------
    SchemaError
        If a line along one axis (with three axes, a plane) is too large for a task.
    """
    sizes = request.box.sizes
    ndim = len(sizes)
    if ndim == 1:
        raise SchemaError(
            f"one series of {sizes[0]} points does not fit in memory={room.memory} bytes: raise "
            "memory= (a series is transformed as a whole)"
        )
    if not request.treatment.plain:
        raise SchemaError(
            f"a frame of {sizes} points does not fit in memory={room.memory} bytes, and windows "
            "and detrending need it as a whole: raise memory="
        )
    modes = [_turned(array, request, room) for array in arrays]
    first = modes[0]
    ones = tuple((1,) * len(c) for c in first.chunks[-ndim:])
    blocks = da.map_blocks(
        partial(_partial_sums, request=request),
        *modes,
        dtype=np.float64,
        chunks=(*first.chunks[:-ndim], *ones, (shell_count(request.box) + 1,)),
        new_axis=[first.ndim],
        meta=np.empty((0,) * (first.ndim + 1)),
    )  # fmt: skip
    sums = blocks.sum(axis=tuple(range(first.ndim - ndim, first.ndim)))
    return sums.map_blocks(
        partial(finish, request=request),
        dtype=np.float64,
        chunks=(*sums.chunks[:-1], (shell_count(request.box),)),
        meta=np.empty((0,) * sums.ndim),
    )


def _frame_bytes(array: da.Array, ndim: int) -> int:
    return int(math.prod(array.shape[-ndim:]) * max(4, array.dtype.itemsize))


def _turned(array: da.Array, request: Request, room: Room) -> da.Array:
    """Modes, whole along the first axis."""
    ndim = len(request.box.sizes)
    axes = range(array.ndim - ndim, array.ndim)
    plane = _frame_bytes(array, ndim) // array.shape[axes[0]]
    thickness = room.block // plane
    if thickness < 1:
        raise SchemaError(
            f"a {'line' if ndim == 2 else 'plane'} of {plane} bytes does not fit in "
            f"memory={room.memory} bytes: raise memory= to {TASK * plane} or more"
        )
    lead = tuple(_split(c, 1) for c in array.chunks[: -ndim])  # fmt: skip
    slabs = (
        *lead,
        _slabs(array.chunks[axes[0]], thickness),
        *((n,) for n in array.shape[axes[1] :]),
    )
    merged = math.prod(max(c) for c in array.chunks[: axes[1]]) * plane
    cut = array.rechunk(slabs) if merged <= room.merged else _by_files(array, slabs, room)
    half = (*slabs[:-1], (array.shape[-1] // 2 + 1,))
    single = array.dtype.kind == "f" and array.dtype.itemsize <= 4
    dtype = np.dtype(np.complex64 if single else np.complex128)
    along = tuple(range(axes[1], array.ndim))
    modes = da.map_blocks(
        partial(_slab_modes, axes=along), cut, dtype=dtype, chunks=half,
        meta=np.empty((0,) * array.ndim, dtype),
    )  # fmt: skip
    return _by_files(modes, _pencils(half, axes[0], dtype, room), room)


def _by_files(array: da.Array, chunks: tuple[tuple[int, ...], ...], room: Room) -> da.Array:
    """Rechunk through files, small blocks joined before.

    The number of pieces grows with that of old blocks times that of new ones, for a long series
    with the square of its length.
    """
    joined = _joined(array.chunks, chunks, array.dtype.itemsize, room)
    return _scratch.rechunk(array.rechunk(joined), chunks, room.scratch)


def _joined(
    old: tuple[tuple[int, ...], ...], new: tuple[tuple[int, ...], ...], itemsize: int, room: Room
) -> tuple[tuple[int, ...], ...]:
    """Old chunks, neighbours joined until the pieces are of a good size or memory is short."""
    result = list(old)
    piece = itemsize * math.prod(min(max(a), max(b)) for a, b in zip(old, new, strict=True))
    # a task holds what it joins, the joined block and a piece of it
    room_left = room.memory // 3 // (itemsize * math.prod(max(a) for a in old))
    for axis in reversed(range(len(old))):
        factor = min(max(new[axis]) // max(old[axis]), room_left, math.ceil(_PIECE / piece))
        if factor > 1:
            result[axis] = _together(old[axis], new[axis], factor)
            piece, room_left = piece * factor, room_left // factor
    return tuple(result)


def _together(old: tuple[int, ...], new: tuple[int, ...], count: int) -> tuple[int, ...]:
    """Up to ``count`` chunks joined, none across a border that old and new have in common."""
    common = set(accumulate(old)) & set(accumulate(new))
    result, size, stop, held = [], 0, 0, 0
    for each in old:
        size, stop, held = size + each, stop + each, held + 1
        if held == count or stop in common:
            result.append(size)
            size = held = 0
    return tuple(result)


def _slabs(old: tuple[int, ...], thickness: int) -> tuple[int, ...]:
    """Thickness of the slabs: old chunks cut up evenly, or several joined."""
    largest = max(old)
    if largest > thickness:
        return _split(old, thickness)
    size = thickness // largest * largest
    total = sum(old)
    return (*((size,) * (total // size)), *((total % size,) if total % size else ()))


def _split(old: tuple[int, ...], largest: int) -> tuple[int, ...]:
    """Chunks no larger than ``largest`` that keep the old borders."""
    result: list[int] = []
    for size in old:
        parts = max(1, math.ceil(size / largest))
        small, rest = divmod(size, parts)
        result += [small + 1] * rest + [small] * (parts - rest)
    return tuple(result)


def _pencils(
    chunks: tuple[tuple[int, ...], ...], axis: int, dtype: np.dtype[Any], room: Room
) -> tuple[tuple[int, ...], ...]:
    """Whole along ``axis``, cut along those after it, the outermost first."""
    shape = [sum(c) for c in chunks[axis:]]
    line = shape[0] * dtype.itemsize
    result: list[tuple[int, ...]] = [(shape[0],)]
    for position in range(1, len(shape)):
        inner = math.prod(shape[position + 1 :])
        count = max(1, room.block // (line * inner))
        result.append(_split((shape[position],), count))
        line *= max(result[-1])
    return (*chunks[:axis], *result)


def _slab_modes(block: NDArray[Any], *, axes: tuple[int, ...]) -> NDArray[Any]:
    """Transform over the axes that are whole in a slab."""
    single = block.dtype.kind == "f" and block.dtype.itemsize <= 4
    work: NDArray[Any] = np.empty(block.shape, np.float32 if single else np.float64)
    work[...] = block
    with np.errstate(invalid="ignore", over="ignore"):
        # As in a whole frame: an offset must not cost the small modes their digits.
        mean = work.mean(axis=axes, keepdims=True)
        work -= mean
        modes: NDArray[Any] = scipy.fft.rfftn(work, axes=axes, norm="forward", overwrite_x=True)
        # The mean of a slab is real: its rounding goes where the imaginary part would be.
        origin: Any = (..., *((slice(0, 1),) * len(axes)))
        exact = mean.astype(np.float64) + modes[origin].real
        modes[origin] = exact
        modes[origin] += 1j * (exact - modes[origin].real)
    return modes


def _partial_sums(
    *blocks: NDArray[Any], request: Request, block_info: Any = None
) -> NDArray[np.float64]:
    """Transform along the first axis and sum over the shells of one block."""
    ndim = len(request.box.sizes)
    lead = blocks[0].shape[:-ndim]
    place = block_info[0]["array-location"][-ndim:]
    where = tuple(slice(start, stop) for start, stop in place)
    origin: Any = (slice(None), slice(None), *((0,) * (ndim - 1)))
    modes = []
    with np.errstate(invalid="ignore", over="ignore"):
        for block in blocks:
            work = block.reshape(-1, *block.shape[-ndim:])
            if all(s.start == 0 for s in where[1:]):
                work = work.copy()
                means = work[origin].real.astype(np.float64) + work[origin].imag
                if not request.treatment.keep_mean:
                    means -= means.mean(axis=1, keepdims=True)
                work[origin] = means
            modes.append(scipy.fft.fft(work, axis=1, norm="forward"))
        sums = np.zeros((math.prod(lead), shell_count(request.box) + 1))
        add_modes(modes, request, where, sums)
    return sums.reshape(*lead, *((1,) * ndim), -1)
