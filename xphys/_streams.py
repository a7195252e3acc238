"""Byte streams: zstd whose size is known before it is opened, byte planes, variable integers."""

from __future__ import annotations

import struct

import numpy as np
from numcodecs import zstd

from xphys.errors import CorruptDataError

__all__ = [
    "FRAME_DTYPES",
    "FRAME_FIXED",
    "FRAME_MAGIC",
    "ZSTD_MAGIC",
    "Reader",
    "deflate",
    "inflate",
    "join_planes",
    "split_planes",
    "varint",
    "zstd_frame",
]

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
# Front of a chunk of the codec xphys.frame (see coding.header): what writes it and what measures
# a chunk before any decoder sees it must agree.
FRAME_MAGIC = b"XPF\x02"
FRAME_FIXED = struct.Struct("<4sHBBhHff")
# The position in this tuple is the number in the file: append, never reorder.
FRAME_DTYPES = tuple(
    np.dtype(name)
    for base in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")
    for name in (f"<{base}", f">{base}")
)
_ZSTD_BLOCK = 2**17
_LEVEL = 9


def deflate(data: bytes | np.ndarray) -> bytes:
    """Compress with zstd; empty stays empty."""
    raw = data.tobytes() if isinstance(data, np.ndarray) else bytes(data)
    return zstd.compress(raw, _LEVEL) if raw else b""


def zstd_frame(data: bytes | memoryview, at: int = 0) -> tuple[int, int, bool]:
    """Look through a zstd frame (RFC 8878) without decoding it.

    Parameters
    ----------
    data : bytes-like
        The stream.
    at : int, default 0
        Place of the magic number of the frame.

    Returns
    -------
    size : int
        Bytes of content: as stated, else at least what its blocks must hold.
    end : int
        Place behind the frame.
    stated : bool
        Whether the frame states its size.

    Raises
    ------
    CorruptDataError
        If it ends too early or has a block of unknown kind.
    """
    descriptor = _part(data, at + 4, 1)[0]
    single, flag = bool(descriptor & 0x20), descriptor >> 6
    at += 5 + (0 if single else 1) + (0, 1, 2, 4)[descriptor & 3]
    width = (1 if single else 0, 2, 4, 8)[flag]
    size = int.from_bytes(_part(data, at, width), "little") + (256 if width == 2 else 0)
    at, most, coded, last = at + width, 0, 0, False
    while not last:
        header = int.from_bytes(_part(data, at, 3), "little")
        last, kind, length = bool(header & 1), header >> 1 & 3, header >> 3
        if kind == 3:
            raise CorruptDataError("the stream has a block of unknown kind")
        coded += kind == 2
        most += _ZSTD_BLOCK if kind == 2 else length
        at += 3 + (1 if kind == 1 else length)
    at += 4 if descriptor & 4 else 0
    if at > len(data):
        raise CorruptDataError("the stream ends too early")
    return (size if width else most - (_ZSTD_BLOCK - 1 if coded else 0)), at, bool(width)


def _part(data: bytes | memoryview, at: int, count: int) -> bytes:
    if at + count > len(data):
        raise CorruptDataError("the stream ends too early")
    return bytes(data[at : at + count])


def inflate(data: bytes, size: int) -> bytes:
    """Decompress exactly size bytes; anything else is an error before memory is taken.

    Parameters
    ----------
    data : bytes
        What `deflate` made.
    size : int
        Number of bytes expected.

    Returns
    -------
    bytes
        The content.

    Raises
    ------
    CorruptDataError
        If the stream declares another size or cannot be decoded.
    """
    if size == 0 and not data:
        return b""
    if data[:4] != ZSTD_MAGIC:
        raise CorruptDataError(f"expected a zstd stream of {size} bytes, found {data[:4]!r}")
    # one frame and nothing behind it: the decoder would go on with any number of others
    declared, end, stated = zstd_frame(data)
    if declared != size or end != len(data) or not stated:
        raise CorruptDataError(f"expected a stream of {size} bytes, it declares {declared}")
    try:
        out = zstd.decompress(data)
    except (RuntimeError, ValueError) as error:
        raise CorruptDataError(f"a stream of {size} bytes cannot be decoded: {error}") from error
    if len(out) != size:
        raise CorruptDataError(f"expected {size} bytes, decoded {len(out)}")
    return bytes(out)


def split_planes(values: np.ndarray) -> bytes:
    """Bytes of equal significance put together: (n,) of w bytes -> w planes of n bytes."""
    flat = np.ascontiguousarray(values).reshape(-1)
    little = flat.astype(flat.dtype.newbyteorder("<"), copy=False)
    return little.view(np.uint8).reshape(flat.size, flat.dtype.itemsize).T.tobytes()


def join_planes(data: bytes, dtype: np.dtype) -> np.ndarray:
    """Inverse of `split_planes`: native array of shape (n,)."""
    width = dtype.itemsize
    planes = np.frombuffer(data, np.uint8).reshape(width, len(data) // width)
    flat = np.ascontiguousarray(planes.T).view(dtype.newbyteorder("<")).reshape(-1)
    return flat.astype(dtype.newbyteorder("="), copy=False)


def varint(value: int) -> bytes:
    """An unsigned integer in groups of seven bits, lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class Reader:
    """Reads a byte string from the front; running out is an error, never a short answer."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._at = 0

    def take(self, count: int) -> bytes:
        """The next count bytes."""
        if count < 0 or self._at + count > len(self._data):
            left = len(self._data) - self._at
            raise CorruptDataError(f"expected {count} more bytes, found {left}")
        self._at += count
        return bytes(self._data[self._at - count : self._at])

    def varint(self) -> int:
        """The next unsigned integer, at most 63 bits."""
        value = shift = 0
        while shift < 63:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
        raise CorruptDataError("expected an integer below 2^63, found a longer one")

    def section(self, size: int) -> bytes:
        """A zstd stream with its length in front; size bytes when opened."""
        return inflate(self.take(self.varint()), size)

    def rest(self) -> bytes:
        """Everything that is left."""
        return self.take(len(self._data) - self._at)

    def end(self) -> None:
        """Check that nothing is left over."""
        if self._at != len(self._data):
            raise CorruptDataError(f"{len(self._data) - self._at} bytes too many")
