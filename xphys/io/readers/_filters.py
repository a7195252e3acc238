"""HDF5's filters, undone with a bound on the bytes that come out."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence

import numpy as np

from xphys.errors import CorruptDataError

__all__ = ["FILTERS", "decode_chunk"]

Undo = Callable[[bytes, int, tuple[int, ...]], bytes]


def _inflate(data: bytes, size: int, values: tuple[int, ...]) -> bytes:
    decoder = zlib.decompressobj()
    out = decoder.decompress(data, size + 1)
    if len(out) > size or not decoder.eof:
        raise ValueError(
            f"expected a deflate stream of at most {size} bytes, it holds another size"
        )
    return out


def _unshuffle(data: bytes, size: int, values: tuple[int, ...]) -> bytes:
    width = values[0] if values else 1
    whole = len(data) // width * width
    if width < 2 or not whole:
        return data
    planes = np.frombuffer(data, np.uint8, whole).reshape(width, -1)
    return planes.T.tobytes() + data[whole:]


def _checked(data: bytes, size: int, values: tuple[int, ...]) -> bytes:
    from numcodecs.fletcher32 import Fletcher32

    if len(data) <= 4:
        raise ValueError(f"{len(data)} bytes with a checksum of four")
    return bytes(Fletcher32().decode(data))


#: Filter number of HDF5 -> how it is undone. With any other filter HDF5 reads the data itself.
FILTERS: dict[int, Undo] = {1: _inflate, 2: _unshuffle, 3: _checked}


def decode_chunk(
    raw: bytes,
    filters: Sequence[tuple[int, tuple[int, ...]]],
    mask: int,
    chunks: Sequence[int],
    dtype: np.dtype,
    where: str,
) -> np.ndarray:
    """Values of a chunk from its bytes.

    Parameters
    ----------
    raw : bytes
        As they lie in the file.
    filters : sequence of (int, tuple of int)
        Number and parameters of each filter, as they were applied.
    mask : int
        Bit i set: filter i was left out for this chunk.
    chunks : sequence of int
        Shape of the chunk.
    dtype : dtype
        As stored.
    where : str
        For error messages.

    Returns
    -------
    ndarray
        Shape ``chunks``.

    Raises
    ------
    CorruptDataError
        If the bytes do not decode to exactly one chunk; no more than that is ever made.
    """
    size = math.prod(chunks) * dtype.itemsize
    try:
        for number, (code, values) in reversed(list(enumerate(filters))):
            if not mask >> number & 1:
                # a checksum adds 4 bytes, which a filter outside it has to pass on
                raw = FILTERS[code](raw, size + 4 * len(filters), values)
    except (ValueError, RuntimeError, zlib.error) as error:
        raise CorruptDataError(f"{where} cannot be decoded: {error}") from error
    if len(raw) != size:
        raise CorruptDataError(f"{where}: expected {size:,} bytes, decoded {len(raw):,}")
    return np.frombuffer(raw, dtype).reshape(chunks)
