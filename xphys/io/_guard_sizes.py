"""How many bytes a stored stream decodes to, found out before any of them is made.

Formats that state the size are believed as far as their decoders are bound by the statement;
the others are decoded piece by piece and only counted.
"""

from __future__ import annotations

import bz2
import lzma
import math
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from xphys._streams import (
    FRAME_DTYPES,
    FRAME_FIXED,
    FRAME_MAGIC,
    ZSTD_MAGIC,
    Reader,
    zstd_frame,
)
from xphys.errors import CorruptDataError

__all__ = ["LARGEST_DICTIONARY", "MEASURES", "text_items"]

#: Largest dictionary of LZMA that is taken; the highest preset of xz has one of this size.
LARGEST_DICTIONARY = 2**26
_PIECE, _STEP = 2**16, 2**20

_ZSTD_SKIP = b"\x2a\x4d\x18"
_BLOSC = struct.Struct("<BBBBIII")

Measure = Callable[[memoryview, int, Mapping[str, Any]], int]


class _Decoder(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Inflate:
    """zlib's decoder with the interface of the other two."""

    def __init__(self, wbits: int) -> None:
        self._inner = zlib.decompressobj(wbits)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


def _count(make: Callable[[], _Decoder], data: memoryview, limit: int) -> int:
    """Decode stream after stream and keep nothing; stops above the limit."""
    decoder, total, done = make(), 0, 0
    for start in range(0, len(data), _PIECE):
        piece = bytes(data[start : start + _PIECE])
        while True:
            if decoder.eof:
                decoder = make()
            try:
                total += len(decoder.decompress(piece, _STEP))
            except (zlib.error, lzma.LZMAError, OSError, EOFError) as error:
                if done:  # what stands behind a whole stream is left aside by all readers
                    return total
                raise CorruptDataError(f"the stream cannot be decoded: {error}") from None
            if total > limit:
                return total
            if decoder.eof:
                done += 1
                piece = decoder.unused_data.lstrip(b"\0")
                if not piece:
                    break
            elif decoder.needs_input:
                break
            else:
                piece = b""
    if not done:
        raise CorruptDataError("the stream ends too early")
    return total


def _zlib(data: memoryview, limit: int, config: Mapping[str, Any]) -> int:
    return _count(lambda: _Inflate(zlib.MAX_WBITS), data, limit)


def _gzip(data: memoryview, limit: int, config: Mapping[str, Any]) -> int:
    return _count(lambda: _Inflate(zlib.MAX_WBITS | 16), data, limit)


def _bz2(data: memoryview, limit: int, config: Mapping[str, Any]) -> int:
    return _count(bz2.BZ2Decompressor, data, limit)


def _lzma(data: memoryview, limit: int, config: Mapping[str, Any]) -> int:
    kind = int(config.get("format", lzma.FORMAT_XZ))
    if kind == lzma.FORMAT_RAW:
        filters = config.get("filters")
        return _count(lambda: lzma.LZMADecompressor(kind, filters=filters), data, limit)
    memory = LARGEST_DICTIONARY + LARGEST_DICTIONARY // 8
    return _count(lambda: lzma.LZMADecompressor(kind, memlimit=memory), data, limit)


def _take(data: memoryview, at: int, count: int) -> memoryview:
    if at + count > len(data):
        raise CorruptDataError("the stream ends too early")
    return data[at : at + count]


def _zstd(data: memoryview, limit: int, config: Mapping[str, Any]) -> int:
    # Decoders go on with frames behind the first: all of them count.
    at, total = 0, 0
    while at < len(data) and total <= limit:
        magic = bytes(_take(data, at, 4))
        if magic == ZSTD_MAGIC:
            size, at, _ = zstd_frame(data, at)
            total += size
        elif magic[1:] == _ZSTD_SKIP and magic[0] >> 4 == 5:
            at += 8 + int.from_bytes(_take(data, at + 4, 4), "little")
        else:
            raise CorruptDataError(f"expected a zstd stream, found {magic!r}")
    return total


def _blosc(data: memoryview, limit: int, config: Mapping[str, Any]) -> int:
    *_, size, block, stored = _BLOSC.unpack(_take(data, 0, _BLOSC.size))
    if stored > len(data) or block > max(size, 1):
        raise CorruptDataError(
            f"a blosc stream of {len(data)} bytes cannot have {stored} bytes in blocks of {block}"
        )
    return int(size)


def _lz4(data: memoryview, limit: int, config: Mapping[str, Any]) -> int:
    return int.from_bytes(_take(data, 0, 4), "little")


def _frame(data: memoryview, limit: int, config: Mapping[str, Any]) -> int:
    """Size of a chunk of xphys.frame; its decoder holds everything else against the header."""
    magic, size, dtype, axes, *_ = FRAME_FIXED.unpack(_take(data, 0, FRAME_FIXED.size))
    number = dtype & 0x5F  # the others are flags
    if magic != FRAME_MAGIC or number >= len(FRAME_DTYPES):
        raise CorruptDataError(f"expected a chunk that starts with {FRAME_MAGIC!r}")
    reader = Reader(bytes(data[FRAME_FIXED.size : size]))
    shape = [reader.varint() for _ in range(axes // 16)]
    return math.prod(shape) * int(FRAME_DTYPES[number].itemsize)


#: Codec -> (stream, limit, configuration) -> bytes it decodes to; exact up to the limit.
MEASURES: Mapping[str, Measure] = {
    "zlib": _zlib,
    "gzip": _gzip,
    "bz2": _bz2,
    "lzma": _lzma,
    "zstd": _zstd,
    "blosc": _blosc,
    "lz4": _lz4,
    "xphys.frame": _frame,
}


def text_items(data: memoryview) -> int:
    """Number of strings that a chunk of strings of any length says it has."""
    return int.from_bytes(_take(data, 0, 4), "little")
