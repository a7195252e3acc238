"""MATLAB 5 files, real numeric arrays only: headers first, values when they are asked for.

Nothing but numbers is decoded; no stream is inflated to more than its array declares.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from xarray.backends import BackendArray
from xarray.core import indexing

from xphys._storage import open_binary
from xphys.errors import CorruptDataError, FormatError

__all__ = ["MatArray", "MatVariable", "SIGNATURE", "variables"]

SIGNATURE = b"MATLAB 5.0 MAT-file"
_HEADER = 128
_PREFIX = 4096  # bytes in which flags, dims and name of an array must lie
_MOST = 4096  # variables in a file
_RATIO = 1100  # deflate makes at most about 1030 bytes out of one
_LARGEST = 2**31  # bytes of one array
_MATRIX, _COMPRESSED = 14, 15
_STORED = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
}  # fmt: skip
_CLASSES = {
    6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8",
}  # fmt: skip
_OTHERS = {
    1: "a cell array", 2: "a struct", 3: "an object", 4: "text", 5: "a sparse matrix",
    16: "a function handle", 17: "an opaque object",
}  # fmt: skip


@dataclass(frozen=True)
class MatVariable:
    """An array in a file, its values not yet read.

    Attributes
    ----------
    path : str
        The file.
    name : str
        As MATLAB has it.
    shape : tuple of int
        In C order: the last MATLAB axis first.
    dtype : numpy.dtype
        Of the values, native byte order.
    stored : numpy.dtype
        Of the bytes in the file.
    start, length : int
        Where the element lies in the file.
    offset : int
        First byte of the values in the element, after inflating.
    compressed : bool
        Whether the element is a deflate stream.
    refused : str
        What it is instead of an array of real numbers; empty for one.
    """

    path: str
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    stored: np.dtype
    start: int
    length: int
    offset: int
    compressed: bool
    refused: str = ""

    def check(self) -> None:
        """Raise FormatError unless this is an array of real numbers."""
        if self.refused:
            raise FormatError(
                f"{self.path}: expected an array of real numbers in {self.name!r}, found "
                f"{self.refused}"
            )

    def rows(self, first: int, last: int, options: Mapping[str, Any] | None = None) -> np.ndarray:
        """Values at ``first:last`` of the first axis of ``shape``.

        Raises
        ------
        CorruptDataError
            If the file ends before, or a stream does not inflate to what it declares.
        """
        self.check()
        width = math.prod(self.shape[1:]) * self.stored.itemsize
        begin, size = self.offset + first * width, (last - first) * width
        with open_binary(self.path, options) as file:
            if self.compressed:
                file.seek(self.start)
                whole = math.prod(self.shape) * self.stored.itemsize + self.offset
                data = _inflated(file.read(self.length), whole, self.path, to_the_end=True)
                data = data[begin : begin + size]
            else:
                file.seek(self.start + begin)
                data = file.read(size)
        if len(data) != size:
            raise CorruptDataError(
                f"{self.path}: expected {size:,} bytes of {self.name!r}, found {len(data):,}"
            )
        values = np.frombuffer(data, self.stored).reshape(last - first, *self.shape[1:])
        native: np.ndarray = values.astype(self.dtype, copy=False)
        return native


class MatArray(BackendArray):
    """An array of a MATLAB file that is read when it is looked at.

    Parameters
    ----------
    variable : MatVariable
        What to read.
    swapped : bool
        Exchange the two axes.
    storage_options : mapping, optional
        For the file system of a URL.
    """

    def __init__(
        self,
        variable: MatVariable,
        swapped: bool = False,
        storage_options: Mapping[str, Any] | None = None,
    ):
        variable.check()
        self.variable, self.swapped = variable, swapped
        self.options = dict(storage_options or {})
        self.shape = variable.shape[::-1] if swapped else variable.shape
        self.dtype = variable.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        parts = key[::-1] if self.swapped else key
        wanted = [
            np.atleast_1d(np.arange(n)[part])
            for n, part in zip(self.variable.shape, parts, strict=True)
        ]
        if all(w.size for w in wanted):
            first, last = int(wanted[0].min()), int(wanted[0].max()) + 1
            block = self.variable.rows(first, last, self.options)
            out = block[np.ix_(wanted[0] - first, *wanted[1:])]
        else:
            out = np.empty([w.size for w in wanted], self.dtype)
        gone = tuple(i for i, part in enumerate(parts) if isinstance(part, int | np.integer))
        squeezed: np.ndarray = out.squeeze(gone)
        return squeezed.T if self.swapped else squeezed


def variables(
    path: str, storage_options: Mapping[str, Any] | None = None
) -> dict[str, MatVariable]:
    """Read the headers of a MATLAB 5 file.

    Parameters
    ----------
    path : str
        Local path or URL.
    storage_options : mapping, optional
        For the file system of a URL.

    Returns
    -------
    dict
        Name -> variable.

    Raises
    ------
    FormatError
        If it is of another version or no MATLAB file, or damaged (CorruptDataError).
    """
    found: dict[str, MatVariable] = {}
    with open_binary(path, storage_options) as file:
        end = file.seek(0, 2)
        file.seek(0)
        order = _order(file.read(_HEADER), path)
        place = _HEADER
        while place < end:
            kind, size = _unpack(order, file.read(8), path)
            place += 8
            if size > end - place or len(found) >= _MOST:
                raise CorruptDataError(f"{path}: an array at byte {place} reaches behind the end")
            if kind not in (_MATRIX, _COMPRESSED):
                raise FormatError(f"{path}: expected an array at byte {place}, found type {kind}")
            variable = _variable(file.read(min(size, _PREFIX)), kind, order, path, place, size)
            found.setdefault(variable.name, variable)
            place += size
            file.seek(place)
    return found


def _order(header: bytes, path: str) -> str:
    if header.startswith(b"MATLAB 7.3") or header.startswith(b"\x89HDF"):
        raise FormatError(f"{path}: a MATLAB 7.3 file, which is HDF5: save it with -v7")
    if not header.startswith(b"MATLAB 5.0") or len(header) < _HEADER:
        raise FormatError(f"{path}: expected a MATLAB 5 file, found {header[:16]!r}: save with -v7")
    order = {b"IM": "<", b"MI": ">"}.get(header[126:128])
    if order is None or struct.unpack(order + "H", header[124:126])[0] != 0x0100:
        raise FormatError(f"{path}: expected version 1.0 of MATLAB 5, found {header[124:128]!r}")
    return order


def _unpack(order: str, data: bytes, path: str) -> tuple[int, int]:
    if len(data) < 8:
        raise CorruptDataError(f"{path}: the file ends inside an array")
    kind, size = struct.unpack(order + "II", data[:8])
    return kind, size


def _variable(
    prefix: bytes, kind: int, order: str, path: str, start: int, length: int
) -> MatVariable:
    compressed, size, skipped = kind == _COMPRESSED, length, 0
    if compressed:
        prefix = _inflated(prefix, _PREFIX, path)
        inner, size = _unpack(order, prefix, path)
        skipped = 8
        if inner != _MATRIX or size > length * _RATIO + _PREFIX:
            raise CorruptDataError(
                f"{path}: {length:,} bytes at {start} cannot hold an array of {size:,} bytes"
            )
    elements = _Elements(prefix, order, skipped, path)
    flags = elements.take((6,), 8)
    if len(flags) != 8:
        raise CorruptDataError(f"{path}: the header of an array is damaged")
    word = struct.unpack(order + "I", flags[:4])[0]
    dims_data = elements.take((5,), 128)
    dims = struct.unpack(f"{order}{len(dims_data) // 4}i", dims_data[: len(dims_data) // 4 * 4])
    name = elements.take((1, 2, 16), 512).decode("utf-8", "replace").rstrip("\0")
    refused = _OTHERS.get(word & 0xFF, "" if word & 0xFF in _CLASSES else "something unknown")
    refused = refused or ("complex numbers" if word & 0x800 else "")
    none = np.dtype("u1")
    if refused:
        return MatVariable(path, name, (), none, none, start, length, 0, compressed, refused)
    code, count, offset = elements.tag()
    shape = tuple(reversed(dims))
    if len(dims) < 2 or min(dims) < 0 or code not in _STORED:
        raise CorruptDataError(f"{path}: array {name!r} has dims {dims} and data of type {code}")
    stored = np.dtype(order + _STORED[code])
    if math.prod(dims) * stored.itemsize != count or offset + count > size + skipped:
        raise CorruptDataError(
            f"{path}: array {name!r} has dims {dims} and {count:,} bytes: they do not fit"
        )
    if count > _LARGEST:
        raise FormatError(f"{path}: array {name!r} is above 2 GiB")
    dtype = np.dtype(_CLASSES[word & 0xFF])
    return MatVariable(path, name, shape, dtype, stored, start, length, offset, compressed)


class _Elements:
    """The elements at the beginning of an array, one after the other."""

    def __init__(self, data: bytes, order: str, place: int, path: str):
        self.data, self.order, self.place, self.path = data, order, place, path

    def tag(self) -> tuple[int, int, int]:
        """Type, number of bytes, and place of the data of the next element."""
        here = self.data[self.place : self.place + 8]
        kind, size = _unpack(self.order, here, self.path)
        if kind >> 16:  # up to four bytes are packed into the tag
            return kind & 0xFFFF, kind >> 16, self.place + 4
        return kind, size, self.place + 8

    def take(self, kinds: tuple[int, ...], most: int) -> bytes:
        """Data of the next element, which must be of one of the types."""
        kind, size, begin = self.tag()
        data = self.data[begin : begin + min(size, most)]
        if kind not in kinds or size > most or len(data) != size:
            raise CorruptDataError(f"{self.path}: the header of an array is damaged")
        self.place = begin + size + (-(begin + size - self.place) % 8)
        return data


def _inflated(data: bytes, most: int, path: str, to_the_end: bool = False) -> bytes:
    """At most the first bytes of a deflate stream; padding may follow them ``to_the_end``."""
    decoder = zlib.decompressobj()
    try:
        out = decoder.decompress(data, most)
        if to_the_end:
            decoder.decompress(decoder.unconsumed_tail, 16)
    except zlib.error as error:
        raise CorruptDataError(f"{path}: a compressed array is damaged: {error}") from error
    if to_the_end and not decoder.eof:
        raise CorruptDataError(f"{path}: a compressed array is damaged: it does not end in time")
    return out
