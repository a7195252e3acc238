"""Where the units of an array lie: stored objects, and the inner chunks of shards."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import google_crc32c

from xphys.errors import CorruptDataError, FormatError

__all__ = ["Index", "Layout", "with_checksum"]

# Codecs whose streams carry digests that are checked when a part is read.
SELF_CHECKING = frozenset({"xphys.frame"})
_ABSENT = 2**64 - 1
_CHECKSUM = 4  # bytes of the CRC-32C behind a shard's index

Index = tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """The grid of an array as its metadata document states it.

    Attributes
    ----------
    shape : tuple of int
        Shape of the array.
    chunk : tuple of int
        Shape of a read unit: a chunk, or an inner chunk of a shard.
    stored : tuple of int
        Shape of what one object holds: a chunk or a shard.
    separator : str
        Between the numbers of a key.
    prefix : str
        In front of them: ``"c"``, or nothing in the old encoding.
    codec : str
        Name of the outermost codec of a unit.
    """

    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    stored: tuple[int, ...]
    separator: str
    prefix: str
    codec: str

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Layout:
        """Read a zarr.json document of an array.

        Parameters
        ----------
        document : mapping
            Parsed JSON.

        Returns
        -------
        Layout
            Its grid.

        Raises
        ------
        FormatError
            If the grid is not regular or a part is missing.
        """
        try:
            grid = document["chunk_grid"]
            if grid["name"] != "regular":
                raise FormatError(f"expected a regular chunk grid, found {grid['name']!r}")
            stored = tuple(grid["configuration"]["chunk_shape"])
            encoding = document["chunk_key_encoding"]
            default = encoding["name"] == "default"
            options = encoding.get("configuration", {})
            outer = document["codecs"][0]
            shard = outer["name"] == "sharding_indexed"
            inner = outer["configuration"] if shard else {}
            chunk = tuple(inner["chunk_shape"]) if shard else stored
            codecs = inner["codecs"] if shard else document["codecs"]
            return cls(
                tuple(document["shape"]),
                chunk,
                stored,
                options.get("separator", "/" if default else "."),
                "c" if default else "",
                codecs[0]["name"],
            )
        except (KeyError, TypeError, IndexError) as error:
            raise FormatError(f"expected metadata of a Zarr array, lacking {error}") from error

    @property
    def sharded(self) -> bool:
        """True if objects hold several units."""
        return self.chunk != self.stored

    @property
    def self_checking(self) -> bool:
        """True if parts of a unit carry digests of their own."""
        return self.codec in SELF_CHECKING

    def _counts(self, size: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(-(-n // c) for n, c in zip(self.shape, size, strict=True))

    @property
    def grid(self) -> tuple[int, ...]:
        """Units along each axis; whole shards count, also where they stand out of the array."""
        per = (s // c for s, c in zip(self.stored, self.chunk, strict=True))
        return tuple(n * p for n, p in zip(self._counts(self.stored), per, strict=True))

    @property
    def units(self) -> int:
        """Number of units."""
        return math.prod(self.grid)

    def objects(self) -> Iterator[Index]:
        """Indices of all objects."""
        return product(*map(range, self._counts(self.stored)))

    def key(self, index: Index) -> str:
        """Key of an object relative to the array."""
        parts = [self.prefix] if self.prefix else []
        if not index and not self.prefix:
            return "0"
        return self.separator.join([*parts, *map(str, index)])

    def parse(self, key: str) -> Index | None:
        """Index of the object that a key relative to the array names, None if it names none."""
        parts = key.split(self.separator)
        if self.prefix:
            if parts[0] != self.prefix:
                return None
            parts = parts[1:]
        elif not self.shape and parts == ["0"]:
            parts = []
        if not all(p.isascii() and p.isdigit() for p in parts):
            return None
        index = tuple(map(int, parts))
        inside = len(index) == len(self.shape) and all(
            i < n for i, n in zip(index, self._counts(self.stored), strict=True)
        )
        return index if inside and self.key(index) == key else None

    def number(self, index: Index) -> int:
        """Place of a unit in the manifest: C order of the grid of units."""
        place = 0
        for i, n in zip(index, self.grid, strict=True):
            place = place * n + i
        return place

    def index(self, number: int) -> Index:
        """Inverse of `number`."""
        out = []
        for n in reversed(self.grid):
            number, i = divmod(number, n)
            out.append(i)
        return tuple(reversed(out))

    def inner(self, index: Index) -> list[Index]:
        """Units of an object, in the order of a shard's index."""
        per = [s // c for s, c in zip(self.stored, self.chunk, strict=True)]
        starts = [i * p for i, p in zip(index, per, strict=True)]
        offsets = product(*map(range, per))
        return [tuple(s + o for s, o in zip(starts, off, strict=True)) for off in offsets]

    def index_size(self) -> int:
        """Bytes of a shard's index with its checksum."""
        per = math.prod(s // c for s, c in zip(self.stored, self.chunk, strict=True))
        return 16 * per + _CHECKSUM

    def pieces(self, index: Index, data: bytes | memoryview) -> dict[Index, tuple[int, int] | None]:
        """Offset and length of each unit in an object; None for a unit that is not there.

        Parameters
        ----------
        index : tuple of int
            Of the object.
        data : bytes
            The object.

        Returns
        -------
        dict
            Unit -> (offset, length).

        Raises
        ------
        CorruptDataError
            If the index of a shard points outside it.
        """
        if not self.sharded:
            return {index: (0, len(data))}
        size = self.index_size()
        if len(data) < size:
            raise CorruptDataError(f"expected a shard index of {size} bytes, found {len(data)}")
        stored = bytes(data[len(data) - size :])
        table = stored[:-_CHECKSUM]
        if with_checksum(table) != stored:
            raise CorruptDataError("the checksum of its shard index is wrong")
        out: dict[Index, tuple[int, int] | None] = {}
        for unit, (offset, length) in zip(
            self.inner(index), struct.iter_unpack("<QQ", table), strict=True
        ):
            if offset == _ABSENT and length == _ABSENT:
                out[unit] = None
            elif offset + length > len(data):
                raise CorruptDataError(f"a shard index points to byte {offset + length}")
            else:
                out[unit] = (offset, length)
        return out


def with_checksum(index: bytes) -> bytes:
    """The index of a shard with the CRC-32C that is stored behind it."""
    return index + struct.pack("<I", google_crc32c.value(index))
