"""Text in HDF5 files, measured before it is read.

A string of variable length is kept as its length and a place in a heap. Many may point to one
place, which HDF5 would copy as often, and in a damaged heap it may search for ever: lengths and
heap are read here.
"""

from __future__ import annotations

import io
from typing import IO, Any

import numpy as np

from xphys._storage import open_binary
from xphys.errors import FormatError
from xphys.io.readers._filters import FILTERS, decode_chunk
from xphys.io.readers._hdf5 import HDF5File

__all__ = ["read_strings"]

_LARGEST = 2**26  # bytes of the result, four for each character
_MOST = 2**20  # strings
_MOST_CHUNKS = 2**16
_PLACE = np.dtype([("length", "<u4"), ("address", "<u8"), ("index", "<u4")])
_LARGEST_HEAP = 2**26  # bytes of all collections of strings of a dataset
_HEAP = b"GCOL\x01"
_OBJECT = 16  # bytes before an object: number, references, padding, size


def read_strings(file: HDF5File, name: str) -> np.ndarray[Any, Any]:
    """A line of strings of fixed or variable length.

    Parameters
    ----------
    file : HDF5File
        Where it lies.
    name : str
        Path inside the file.

    Returns
    -------
    ndarray
        Shape (n,), NumPy strings as long as the longest.

    Raises
    ------
    FormatError
        If it is no line of text, or longer than a label should be: before any of it is read.
    """
    import h5py

    with file.opened() as opened:
        dataset = file.dataset(opened, name)
        kind = h5py.check_string_dtype(dataset.dtype)
        if kind is None or len(dataset.shape) != 1:
            raise FormatError(
                f"{file.path}: expected a line of text in {name!r}, found {dataset.dtype} of "
                f"shape {dataset.shape}"
            )
        count = int(dataset.shape[0])
        if count > _MOST or (dataset.chunks and -(-count // dataset.chunks[0]) > _MOST_CHUNKS):
            raise FormatError(f"{file.path}: {name!r} has {count:,} strings: too many for labels")
        longest = kind.length
        if longest is not None and count * longest * 4 > _LARGEST:
            raise _too_long(file, name, count, longest)
        raw = _stored(file, dataset, name, _PLACE if longest is None else dataset.dtype)
        if longest is None:
            lengths = raw["length"].astype(np.int64)
            longest = int(lengths.max(initial=0))
            if count * longest * 4 > _LARGEST:
                raise _too_long(file, name, count, longest)
            if opened.id.get_create_plist().get_sizes() != (8, 8):
                raise FormatError(f"{file.path}: expected places of 8 bytes in {name!r}")
            texts = _from_heap(file, raw, int(opened.userblock_size), name)
        else:
            texts = raw.tolist()
    decoded = [item.decode("utf-8", "replace") for item in texts]
    return np.array(decoded, dtype=str) if decoded else np.empty(0, "U1")


def _too_long(file: HDF5File, name: str, count: int, longest: int) -> FormatError:
    return FormatError(
        f"{file.path}: expected short texts in {name!r}, found {count:,} of up to {longest:,} bytes"
    )


def _stored(file: HDF5File, dataset: Any, name: str, dtype: np.dtype) -> np.ndarray[Any, Any]:
    """Elements as they lie in the file, decoded here: HDF5 would inflate without a bound."""
    count, held = int(dataset.shape[0]), dataset.id
    out = np.zeros(count, dtype)
    if dataset.chunks is None:
        offset = held.get_offset()
        if offset is None and held.get_storage_size() == 0:
            return out
        if offset is None or held.get_storage_size() != out.nbytes:
            raise FormatError(f"{file.path}: {name!r} is laid out in a way that is not read")
        with open_binary(file.path, file.storage_options) as plain:
            plain.seek(offset)
            data = plain.read(out.nbytes)
        if len(data) != out.nbytes:
            raise FormatError(f"{file.path}: the file ends inside {name!r}: it is truncated")
        return np.frombuffer(data, dtype)
    made = held.get_create_plist()
    filters = [made.get_filter(i)[::2] for i in range(made.get_nfilters())]
    if any(code not in FILTERS for code, _ in filters):
        raise FormatError(f"{file.path}: {name!r} is compressed in a way that is not read for text")
    (size,) = dataset.chunks
    most = size * dtype.itemsize
    if most > _LARGEST:
        raise FormatError(f"{file.path}: {name!r} has chunks of {size:,} strings: too many")
    for corner in range(0, count, size):
        info = held.get_chunk_info_by_coord((corner,))
        if info.byte_offset is None:
            continue
        where = f"{file.path}: chunk {corner} of {name!r}"
        if info.size > most + most // 8 + 4096:
            raise FormatError(f"{where} takes {info.size:,} bytes for {most:,}: it is damaged")
        mask, raw = held.read_direct_chunk((corner,))
        part = decode_chunk(raw, filters, mask, (size,), dtype, where)
        out[corner : corner + size] = part[: count - corner]
    return out


def _from_heap(file: HDF5File, places: np.ndarray[Any, Any], base: int, name: str) -> list[bytes]:
    """Strings from the global heap of the file."""
    found: dict[int, dict[int, bytes]] = {}
    texts, left = [], _LARGEST_HEAP
    with open_binary(file.path, file.storage_options) as plain:
        end = plain.seek(0, io.SEEK_END)
        for length, address, index in places.tolist():
            if not length:
                texts.append(b"")
                continue
            if address not in found:
                data = _collection(plain, base + address, min(end, base + address + left))
                left -= len(data)
                found[address] = _objects(data)
            text = found[address].get(index)
            if text is None or len(text) != length:
                raise FormatError(
                    f"{file.path}: expected a string of {length:,} bytes of {name!r} in the heap "
                    f"at {address:,}, there is none: the file is damaged"
                )
            texts.append(text.partition(b"\0")[0])
    return texts


def _collection(file: IO[bytes], start: int, end: int) -> bytes:
    """Bytes of one collection of the heap; empty if there is none, or it is too large."""
    if start + _OBJECT > end:
        return b""
    file.seek(start)
    head = file.read(_OBJECT)
    size = int.from_bytes(head[8:], "little")
    if not head.startswith(_HEAP) or start + size > end:
        return b""
    file.seek(start)
    return file.read(size)


def _objects(data: bytes) -> dict[int, bytes]:
    """Objects of a collection by their number; 0 is what is free at its end."""
    found, at = {}, _OBJECT
    while at + _OBJECT <= len(data):
        index = int.from_bytes(data[at : at + 2], "little")
        size = int.from_bytes(data[at + 8 : at + _OBJECT], "little")
        if index == 0 or at + _OBJECT + size > len(data):
            break
        found[index] = data[at + _OBJECT : at + _OBJECT + size]
        at += _OBJECT + -(-size // 8) * 8
    return found
