"""Arrays in NumPy files, read where they lie: headers with bounds, values lazily."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np
from xarray.backends import BackendArray
from xarray.core import indexing

from xphys._storage import open_binary
from xphys.errors import CorruptDataError, FormatError

__all__ = [
    "LARGEST_HEADER",
    "MAGIC",
    "Header",
    "NpyArray",
    "Place",
    "file_size",
    "parse_header",
    "read_header",
]

MAGIC = b"\x93NUMPY"
LARGEST_HEADER = 2048  # bytes; NumPy writes about 100
_LARGEST_RANK = 16
_LARGEST_READ = 2**24  # bytes read in one piece, unless a single row has more
_SMALL_READ = 2**16  # below this, bytes that are not needed are cheaper than another seek
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


@dataclass(frozen=True)
class Header:
    """What the start of a ``.npy`` file says.

    Attributes
    ----------
    shape : tuple of int
        As declared.
    fortran : bool
        Whether the first axis varies fastest.
    dtype : dtype
        As stored; of any kind.
    end : int
        Place of the first byte behind the header.
    """

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype
    end: int

    @property
    def nbytes(self) -> int:
        """Bytes that the values take."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class Place:
    """Values of one array inside a file.

    Attributes
    ----------
    path : str
        Local path or URL.
    offset : int
        Place of the first byte.
    size : int
        Bytes that they take in the file.
    shape, fortran, dtype
        As in `Header`.
    utf8 : bool
        Whether the bytes are stored as text, Latin-1 in UTF-8 (pickle protocol 2).
    storage_options : mapping
        For the file system of a URL.
    """

    path: str
    offset: int
    size: int
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype
    utf8: bool = False
    storage_options: Mapping[str, Any] = field(default_factory=dict)


def parse_header(start: bytes, where: str) -> Header:
    """Understand the start of a ``.npy`` file; nothing in it is evaluated but literals.

    Parameters
    ----------
    start : bytes
        The first bytes; a header may take 2 KiB of them.
    where : str
        For error messages.

    Returns
    -------
    Header
        Shape, order, dtype.

    Raises
    ------
    FormatError
        If it is no header of version 1.0 or 2.0, or what it declares cannot be.
    """
    file = io.BytesIO(start[:LARGEST_HEADER])
    try:
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"version {version}")
        shape, fortran, dtype = _HEADERS[version](file, max_header_size=LARGEST_HEADER)
    except Exception as error:  # a hostile header fails in many ways: recursion, memory, tokens
        said = str(error).partition("\n")[0][:120]
        raise FormatError(
            f"{where}: expected a NumPy header of version 1.0 or 2.0, found: {said}"
        ) from error
    if len(shape) > _LARGEST_RANK or any(not 0 <= n < 2**62 for n in shape):
        raise FormatError(f"{where}: expected at most {_LARGEST_RANK} axes, found {shape}")
    return Header(tuple(int(n) for n in shape), bool(fortran), dtype, file.tell())


def file_size(file: IO[bytes]) -> int:
    """Bytes of an open file, which is then at its start."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    return int(size)


def read_header(path: str, storage_options: Mapping[str, Any] | None = None) -> Header:
    """Header of a file; if it holds plain numbers, also checked against the size of the file.

    Parameters
    ----------
    path : str
        Local path or URL.
    storage_options : mapping, optional
        For the file system of a URL.

    Returns
    -------
    Header
        Shape, order, dtype.

    Raises
    ------
    FormatError
        If the header is damaged or the file has another size than it declares.
    """
    with open_binary(path, storage_options) as file:
        size = file_size(file)
        header = parse_header(file.read(LARGEST_HEADER), path)
    if not header.dtype.hasobject and 0 in header.shape:
        raise FormatError(f"{path}: expected values, found an empty array of shape {header.shape}")
    if not header.dtype.hasobject and header.end + header.nbytes != size:
        raise FormatError(
            f"{path}: expected {header.nbytes:,} bytes of values as its header says, found "
            f"{size - header.end:,}: the file is truncated or bytes were added"
        )
    return header


class NpyArray(BackendArray):
    """An array in a file, or a part of it at fixed places of some axes, its axes reordered.

    Parameters
    ----------
    place : Place
        Where it lies.
    at : mapping of int to int, optional
        Axis -> place; these axes are gone.
    order : sequence of int, optional
        Axes that are left, in the order of the result.
    """

    def __init__(
        self, place: Place, *, at: Mapping[int, int] | None = None, order: Sequence[int] = ()
    ):
        self.place, rank = place, len(place.shape)
        # in Fortran order the last axis is the outermost: count axes from there
        number = list(range(rank))[:: -1 if place.fortran else 1]
        self._stored = place.shape[::-1] if place.fortran else place.shape
        self._at = {number[axis]: index for axis, index in (at or {}).items()}
        left = [axis for axis in range(rank) if axis not in (at or {})]
        self._order = tuple(number[axis] for axis in (order or left))
        self.shape = tuple(self._stored[axis] for axis in self._order)
        self.dtype = place.dtype.newbyteorder("=")

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        wanted = [np.array([self._at.get(axis, 0)]) for axis in range(len(self._stored))]
        for axis, size, part in zip(self._order, self.shape, key, strict=True):
            wanted[axis] = np.atleast_1d(np.arange(size)[part])
        out = np.empty([w.size for w in wanted], self.dtype)
        if out.size:
            self._fill(wanted, out)
        out = np.transpose(out.squeeze(tuple(self._at)), np.argsort(np.argsort(self._order)))
        gone = tuple(i for i, part in enumerate(key) if isinstance(part, int | np.integer))
        return out.squeeze(gone)

    def _fill(self, wanted: Sequence[np.ndarray], out: np.ndarray) -> None:
        place, stored, itemsize = self.place, self._stored, self.place.dtype.itemsize
        steps = [math.prod(stored[axis + 1 :]) * itemsize for axis in range(len(stored))]
        lows = [int(w.min()) for w in wanted]
        spans = [int(w.max() - w.min() + 1) for w in wanted]
        level = _level([n * step for n, step in zip(spans, steps, strict=True)], wanted)
        inner = np.ix_(wanted[level] - lows[level], *wanted[level + 1 :])
        shape = (spans[level], *stored[level + 1 :])
        with _Source(place) as source:
            for index in np.ndindex(*(w.size for w in wanted[:level])):
                start = lows[level] * steps[level] + sum(
                    int(wanted[axis][i]) * steps[axis] for axis, i in enumerate(index)
                )
                raw = source.read(start, spans[level] * steps[level])
                out[index] = np.frombuffer(raw, place.dtype).reshape(shape)[inner]


def _level(spans: Sequence[int], wanted: Sequence[np.ndarray]) -> int:
    """Axis from which on bytes are read in one piece: bounded, and without much waste."""
    level = 0
    while level < len(spans) - 1:
        after = wanted[level].size * spans[level + 1]
        wasteful = 2 * after < spans[level] and spans[level + 1] >= _SMALL_READ
        if spans[level] <= _LARGEST_READ and not wasteful:
            break
        level += 1
    return level


class _Source:
    """The bytes of an array in an open file."""

    def __init__(self, place: Place):
        self.place = place

    def __enter__(self) -> _Source:
        self._file = open_binary(self.place.path, self.place.storage_options)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, start: int, count: int) -> bytes:
        place = self.place
        if place.utf8:
            text = self._exactly(place.offset, place.size)
            try:
                # places inside such a text cannot be found without reading it
                return text.decode("utf-8").encode("latin-1")[start : start + count]
            except UnicodeError as error:
                raise CorruptDataError(
                    f"{place.path}: values stored as text are damaged"
                ) from error
        return self._exactly(place.offset + start, count)

    def _exactly(self, offset: int, count: int) -> bytes:
        self._file.seek(offset)
        parts, left = [], count
        while left and (part := self._file.read(left)):
            parts.append(part)
            left -= len(part)
        if left:
            raise CorruptDataError(
                f"{self.place.path}: expected {count:,} bytes at {offset:,}, the file ends "
                f"{left:,} bytes early: it was truncated after it was opened"
            )
        return parts[0] if len(parts) == 1 else b"".join(parts)
