"""The header of a coded chunk: what its blocks are and where they lie.

All numbers little-endian::

    4s magic | u8 dtype | u8 ndim | u8 time axis | u8 0 | i16 exponent | u16 number of blocks
    f4 rms error | f4 largest error | ndim x u32 shape | u32 steps per block
    per block: u8 method | u32 length | 8s digest
    8s digest of everything before it

A digest is BLAKE2b of 8 bytes over the bytes it guards. The two errors are those measured when
the chunk was written, rounded up.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xphys.errors import CorruptDataError

__all__ = ["SUPPORTED", "Block", "Header", "block_extent", "digest", "header_size", "parse"]

MAGIC = b"XPF\x01"
_FIXED = struct.Struct("<4sBBBBhHff")
_BLOCK = struct.Struct("<BI8s")
_DIGEST = 8

# The position in this tuple is the number in the file: append, never reorder.
_DTYPES = tuple(
    np.dtype(name)
    for base in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")
    for name in (f"<{base}", f">{base}")
)
SUPPORTED = frozenset(d.newbyteorder("<").str for d in _DTYPES)


# Steps per block: few, so that reading a few steps decodes little; more where steps are short,
# so that a block is worth a stream of its own.
_STEPS, _BLOCK_BYTES = 16, 2**16


def block_extent(shape: tuple[int, ...], axis: int, itemsize: int) -> int:
    """Steps per block along the time axis of a chunk."""
    if not shape:
        return 1
    step = math.prod(shape) // max(shape[axis], 1) * itemsize
    return max(1, min(shape[axis], max(_STEPS, _BLOCK_BYTES // max(step, 1))))


def digest(data: bytes) -> bytes:
    """BLAKE2b of 8 bytes."""
    return hashlib.blake2b(data, digest_size=_DIGEST).digest()


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
    rms, peak : float
        Measured root mean square and largest error, in units of 2**exponent.
    blocks : tuple of Block
        In order along the axis.
    """

    dtype: np.dtype
    shape: tuple[int, ...]
    axis: int
    extent: int
    exponent: int
    rms: float
    peak: float
    blocks: tuple[Block, ...]

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
        head = _FIXED.pack(
            MAGIC,
            _DTYPES.index(self.dtype),
            len(self.shape),
            self.axis,
            0,
            self.exponent,
            len(self.blocks),
            _round_up(self.rms),
            _round_up(self.peak),
        )
        head += struct.pack(f"<{len(self.shape) + 1}I", *self.shape, self.extent)
        head += b"".join(_BLOCK.pack(b.method, b.length, b.digest) for b in self.blocks)
        return head + digest(head)


def _round_up(value: float) -> np.float32:
    """Smallest float32 not below value."""
    if not math.isfinite(value) or value > np.finfo(np.float32).max:
        return np.float32(np.inf)
    rounded = np.float32(value)
    return rounded if float(rounded) >= value else np.nextafter(rounded, np.float32(np.inf))


def header_size(ndim: int, blocks: int) -> int:
    """Bytes of a header."""
    return _FIXED.size + 4 * (ndim + 1) + _BLOCK.size * blocks + _DIGEST


def _locate(table: bytes, start: int) -> tuple[Block, ...]:
    blocks, at = [], start
    for method, length, mark in _BLOCK.iter_unpack(table):
        blocks.append(Block(method, at, length, mark))
        at += length
    return tuple(blocks)


def _check_layout(
    shape: Sequence[int], axis: int, extent: int, count: int, dtype: np.dtype
) -> None:
    """A block can be no larger than version 1 makes them: memory is taken block by block."""
    inside = axis < len(shape)
    most = block_extent(tuple(shape), axis, dtype.itemsize) if inside else 0
    if not inside or extent != most or count != -(-shape[axis] // extent):
        raise CorruptDataError(f"a chunk of shape {tuple(shape)} cannot have {count} blocks")


def parse(data: bytes) -> Header:
    """Read a header from the front of a coded chunk.

    Parameters
    ----------
    data : bytes
        The chunk, or enough of its front.

    Returns
    -------
    Header
        With the offsets of the blocks in the chunk.

    Raises
    ------
    CorruptDataError
        If the bytes are no header, are cut short, or do not match their digest.
    """
    if len(data) < _FIXED.size or data[:4] != MAGIC:
        raise CorruptDataError(f"expected a chunk that starts with {MAGIC!r}, got {data[:4]!r}")
    _, dtype, ndim, axis, _, exponent, count, rms, peak = _FIXED.unpack_from(data)
    size = header_size(ndim, count)
    if len(data) < size:
        raise CorruptDataError(f"expected a header of {size} bytes, got {len(data)}")
    if digest(data[: size - _DIGEST]) != data[size - _DIGEST : size]:
        raise CorruptDataError("the header of a chunk does not match its digest")
    *shape, extent = struct.unpack_from(f"<{ndim + 1}I", data, _FIXED.size)
    if dtype >= len(_DTYPES):
        raise CorruptDataError(f"expected a dtype number below {len(_DTYPES)}, found {dtype}")
    _check_layout(shape, axis, extent, count, _DTYPES[dtype])
    table = data[_FIXED.size + 4 * (ndim + 1) : size - _DIGEST]
    blocks = _locate(table, size)
    return Header(_DTYPES[dtype], tuple(shape), axis, extent, exponent, rms, peak, blocks)
