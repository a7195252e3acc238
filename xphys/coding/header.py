"""The header of a coded chunk: what its blocks are and where they lie.

All numbers little-endian, integers marked v in groups of seven bits::

    4s magic | u16 bytes of the header | u8 dtype, + 128 if corrected, + 32 if joined
    u8 axes * 16 + time axis
    i16 exponent | u16 axes with weights of their own, + 2**15 if predicted
    f4 rms error | f4 largest error
    v shape, one for each axis | v steps per block
    per block: u8 method | v length | 8s digest
    8s digest of everything before it

A digest is BLAKE3 of 8 bytes over the bytes it guards. The two errors are those measured when
the chunk was written, rounded up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from blake3 import blake3

from xphys._streams import FRAME_DTYPES, FRAME_FIXED, FRAME_MAGIC, Reader, varint
from xphys.errors import CorruptDataError

__all__ = ["FRONT", "SUPPORTED", "Block", "Header", "block_extent", "digest", "parse"]

_DIGEST = 8
#: Bytes that hold the header of any chunk.
FRONT = 2048
_MOST_BLOCKS = 128
_PREDICTED = 1 << 15
_CORRECTED, _JOINED = 1 << 7, 1 << 5
# A block is decoded as a whole: unless one step is larger, its values take no more memory.
_LARGEST_BLOCK = 64 * 2**20

SUPPORTED = frozenset(d.newbyteorder("<").str for d in FRAME_DTYPES)

# Steps per block of lossless coding: few, so that reading a few steps decodes little; more where
# steps are short, so that a block is worth a stream of its own.
_STEPS, _BLOCK_BYTES = 16, 2**16


def block_extent(shape: tuple[int, ...], axis: int, itemsize: int, wanted: int = _STEPS) -> int:
    """Steps per block along the time axis of a chunk.

    Parameters
    ----------
    shape : tuple of int
        Of the chunk.
    axis : int
        The time axis.
    itemsize : int
        Bytes of a value.
    wanted : int, default 16
        Steps to aim at.

    Returns
    -------
    int
        Not above the length of the axis; more than wanted where steps are short or would make
        too many blocks, fewer where a block would be too large.
    """
    steps = max(shape[axis], 1)
    step = max(math.prod(shape) // steps * itemsize, 1)
    extent = max(wanted, _BLOCK_BYTES // step)
    extent = max(min(extent, _LARGEST_BLOCK // step), -(-steps // _MOST_BLOCKS), 1)
    return min(steps, extent)


def digest(data: bytes) -> bytes:
    """BLAKE3 of 8 bytes."""
    return bytes(blake3(data).digest(_DIGEST))


@dataclass(frozen=True)
class Block:
    """One block: number of its method (0 for lossless), offset in the chunk, length, digest."""

    method: int
    offset: int
    length: int
    digest: bytes

    def check(self, data: bytes) -> bytes:
        """Return the bytes if they are the ones that were written."""
        if len(data) != self.length or digest(data) != self.digest:
            raise CorruptDataError(
                f"a block of {self.length} bytes at offset {self.offset} does not match its digest"
            )
        return data


@dataclass(frozen=True)
class Header:
    """What a coded chunk says of itself.

    Attributes
    ----------
    dtype : numpy.dtype
        As it was stored, byte order included.
    shape : tuple of int
        Shape of the chunk, which may be cut short at the end of an array.
    axis : int
        Axis along which blocks divide the chunk.
    extent : int
        Steps per block.
    exponent : int
        Values were divided by 2**exponent before a lossy method saw them.
    weighted : tuple of int
        Axes along which every position has a weight of its own.
    predicted : bool
        True if what was coded is the distance from a prediction made of other arrays.
    rms, peak : float
        Measured root mean square and largest error, in units of 2**exponent.
    blocks : tuple of Block
        In order along the axis; offsets count from the start of the chunk.
    size : int
        Bytes of the header.
    corrected : bool
        Lossy blocks have a correction that keeps invariants (see `preserve`).
    joined : bool
        The decoded values are components of a vector that are corrected together.
    """

    dtype: np.dtype
    shape: tuple[int, ...]
    axis: int
    extent: int
    exponent: int
    weighted: tuple[int, ...]
    predicted: bool
    rms: float
    peak: float
    blocks: tuple[Block, ...]
    size: int = 0
    corrected: bool = False
    joined: bool = False

    @property
    def alone(self) -> bool:
        """True if no other chunk is needed to decode this one."""
        return not (self.predicted or self.joined)

    @property
    def end(self) -> int:
        """Bytes of the header and all blocks."""
        return self.blocks[-1].offset + self.blocks[-1].length if self.blocks else self.size

    def span(self, index: int) -> slice:
        """Steps along the axis that a block holds."""
        start = index * self.extent
        return slice(start, min(start + self.extent, self.shape[self.axis]))

    def block_shape(self, index: int) -> tuple[int, ...]:
        """Shape of a block."""
        span = self.span(index)
        return (*self.shape[: self.axis], span.stop - span.start, *self.shape[self.axis + 1 :])

    def pack(self) -> bytes:
        """The header as bytes."""
        lists = b"".join(map(varint, (*self.shape, self.extent)))
        lists += b"".join(bytes([b.method]) + varint(b.length) + b.digest for b in self.blocks)
        head = FRAME_FIXED.pack(
            FRAME_MAGIC,
            FRAME_FIXED.size + len(lists) + _DIGEST,
            FRAME_DTYPES.index(self.dtype) + _CORRECTED * self.corrected + _JOINED * self.joined,
            len(self.shape) * 16 + self.axis,
            self.exponent,
            sum(1 << axis for axis in self.weighted) + _PREDICTED * self.predicted,
            _round_up(self.rms),
            _round_up(self.peak),
        )
        head += lists
        return head + digest(head)


def _round_up(value: float) -> np.float32:
    """Smallest float32 not below value."""
    if not math.isfinite(value) or value > np.finfo(np.float32).max:
        return np.float32(np.inf)
    rounded = np.float32(value)
    return rounded if float(rounded) >= value else np.nextafter(rounded, np.float32(np.inf))


def _check_layout(shape: tuple[int, ...], axis: int, extent: int, dtype: np.dtype) -> int:
    """Number of blocks; an error unless they are of a size that is ever written."""
    if axis < len(shape) and 0 < extent <= max(shape[axis], 1):
        count = -(-shape[axis] // extent)
        step = math.prod(shape) // max(shape[axis], 1) * dtype.itemsize
        fits = extent == 1 or extent * step <= _LARGEST_BLOCK
        if count <= _MOST_BLOCKS and fits and (step or not count):
            return count
    raise CorruptDataError(f"a chunk of shape {shape} cannot have blocks of {extent} steps")


def parse(data: bytes) -> Header:
    """Read a header from the front of a coded chunk.

    Parameters
    ----------
    data : bytes
        The chunk, or at least its first `FRONT` bytes.

    Returns
    -------
    Header
        With the offsets of the blocks in the chunk.

    Raises
    ------
    CorruptDataError
        If the bytes are no header, are cut short, or do not match their digest.
    """
    if len(data) < FRAME_FIXED.size or data[:4] != FRAME_MAGIC:
        raise CorruptDataError(
            f"expected a chunk that starts with {FRAME_MAGIC!r}, got {data[:4]!r}"
        )
    _, size, dtype, axes, exponent, weighted, rms, peak = FRAME_FIXED.unpack_from(data)
    if not FRAME_FIXED.size + _DIGEST <= size <= min(FRONT, len(data)):
        raise CorruptDataError(f"expected a header of {size} bytes, got {len(data)}")
    if digest(data[: size - _DIGEST]) != data[size - _DIGEST : size]:
        raise CorruptDataError("the header of a chunk does not match its digest")
    corrected, joined = bool(dtype & _CORRECTED), bool(dtype & _JOINED)
    dtype &= ~(_CORRECTED | _JOINED)
    if dtype >= len(FRAME_DTYPES):
        raise CorruptDataError(f"expected a dtype number below {len(FRAME_DTYPES)}, found {dtype}")
    ndim, axis = divmod(axes, 16)
    reader = Reader(data[FRAME_FIXED.size : size - _DIGEST])
    shape = tuple(reader.varint() for _ in range(ndim))
    extent = reader.varint()
    blocks, at = [], size
    for _ in range(_check_layout(shape, axis, extent, FRAME_DTYPES[dtype])):
        method, length, mark = reader.take(1)[0], reader.varint(), reader.take(_DIGEST)
        blocks.append(Block(method, at, length, mark))
        at += length
    reader.end()
    groups = tuple(i for i in range(ndim) if weighted >> i & 1)
    return Header(
        dtype=FRAME_DTYPES[dtype],
        shape=shape,
        axis=axis,
        extent=extent,
        exponent=exponent,
        weighted=groups,
        predicted=bool(weighted & _PREDICTED),
        corrected=corrected,
        joined=joined,
        rms=rms,
        peak=peak,
        blocks=tuple(blocks),
        size=size,
    )
