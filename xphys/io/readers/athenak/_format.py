"""Bytes of one AthenaK ``.bin`` file: header, input deck and the table of its meshblocks."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from xphys._storage import is_url, open_binary
from xphys.errors import FormatError

__all__ = [
    "FIRST_LINE",
    "BlockTable",
    "Deck",
    "Header",
    "file_size",
    "join_deck",
    "read_header",
    "read_ranges",
    "read_table",
    "split_deck",
]

FIRST_LINE = b"Athena binary output"
_VERSION = "1.1"
_HEADER_BYTES = 16384  # decks have about 6 kB: one read for nearly every file
_RECORD = 40  # ten int32: six cell indices, three logical locations, the level

_BLOCK = re.compile(r"^(?=[ \t]*<)", re.MULTILINE)
_SHARED = 1024  # blocks of decks that are kept once for all files

Deck = dict[str, dict[str, str]]
Options = Mapping[str, Any] | None


def read_ranges(
    path: str, ranges: Iterable[tuple[int, int]], storage_options: Options = None
) -> Iterator[bytes]:
    """Read byte ranges of one file; the only place of this reader that touches a file's bytes.

    Parameters
    ----------
    path : str
        Local path or URL.
    ranges : iterable of (int, int)
        Offset and number of bytes of each piece.
    storage_options : mapping, optional
        For the file system of a URL.

    Yields
    ------
    bytes
        One piece after the other, each complete.

    Raises
    ------
    FormatError
        If the file ends before a piece does.
    """
    with open_binary(path, storage_options) as file:
        for offset, count in ranges:
            file.seek(offset)
            piece = file.read(count)
            if len(piece) != count:
                raise FormatError(
                    f"{path}: expected {count} bytes at offset {offset}, found {len(piece)}: "
                    "the file is truncated or still being written"
                )
            yield piece


def file_size(path: str, storage_options: Options = None) -> int:
    """Length of a file in bytes, without reading it."""
    if is_url(path):
        with open_binary(path, storage_options) as file:
            return file.seek(0, os.SEEK_END)
    return os.path.getsize(path)


@dataclass(frozen=True)
class Header:
    """The text part of one file.

    Attributes
    ----------
    path : str
        The file.
    size : int
        Its length in bytes.
    data_offset : int
        Where the first meshblock begins.
    time, cycle : float, int
        Of the output.
    location_size, variable_size : int
        Bytes of a block bound and of a value, 4 or 8.
    coarsening : int
        Factor of a coarsened output, else 1.
    variables : tuple of str
        Names as stored.
    deck_digest : str
        Of the input parameters as dumped.
    deck : dict
        Block -> key -> value, all str; not to be changed: files share equal blocks.
    complete : bool
        False if the deck lacks the blocks ``<output...>``.
    """

    path: str
    size: int
    data_offset: int
    time: float
    cycle: int
    location_size: int
    variable_size: int
    coarsening: int
    variables: tuple[str, ...]
    deck_digest: str
    deck: Deck
    complete: bool = True

    def short(self) -> Header:
        """Without the blocks that hold the state of each output."""
        kept = {name: block for name, block in self.deck.items() if not name.startswith("output")}
        return replace(self, deck=kept, complete=False)


class _Lines:
    """The header's lines, one by one, with the place for error messages."""

    def __init__(self, path: str, text: bytes):
        self.path, self.text, self.position = path, text, 0

    def next(self, wanted: str) -> str:
        end = self.text.find(b"\n", self.position)
        if end < 0:
            raise FormatError(
                f"{self.path}: expected the header line {wanted!r}, found the end of the file"
            )
        line = self.text[self.position : end].decode("ascii", "replace").strip()
        self.position = end + 1
        return line

    def entry(self, key: str) -> str:
        line = self.next(key)
        found, equals, value = line.partition("=")
        if not equals or found.strip() != key:
            raise FormatError(
                f"{self.path}: expected the header line '{key}=', found {line[:60]!r}"
            )
        return value.strip()


def _number(path: str, key: str, text: str, allowed: tuple[int, ...] = ()) -> int:
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < 0 or (allowed and value not in allowed):
        wanted = " or ".join(map(str, allowed)) if allowed else "a whole number"
        raise FormatError(f"{path}: expected {wanted} for {key!r}, found {text[:40]!r}")
    return value


def _first_line(path: str, lines: _Lines) -> None:
    if not lines.text.startswith(FIRST_LINE):
        raise FormatError(
            f"{path}: expected a first line starting with {FIRST_LINE.decode()!r}, found "
            f"{lines.text[:24]!r}: not an AthenaK .bin file"
        )
    version = lines.next("version").partition("version=")[2]
    if version != _VERSION:
        raise FormatError(f"{path}: expected format version {_VERSION}, found {version[:20]!r}")


def read_header(path: str, storage_options: Options = None) -> Header:
    """Read the text part of a file.

    Parameters
    ----------
    path : str
        Local path or URL.
    storage_options : mapping, optional
        For the file system of a URL.

    Returns
    -------
    Header
        No field data is read.

    Raises
    ------
    FormatError
        If the file is not AthenaK's version 1.1 or ends inside its header.
    """
    size = file_size(path, storage_options)
    lines = _Lines(path, next(read_ranges(path, [(0, min(size, _HEADER_BYTES))], storage_options)))
    _first_line(path, lines)
    count = _number(path, "size of preheader", lines.entry("size of preheader"))
    pre = dict(_pair(path, lines.next("key=value")) for _ in range(count - 1))
    missing = {"time", "cycle", "size of location", "size of variable"} - set(pre)
    if missing:
        raise FormatError(f"{path}: expected header lines {sorted(missing)}, found {sorted(pre)}")
    nvar = _number(path, "number of variables", lines.entry("number of variables"))
    label, *names = lines.next("variables:").split() or [""]
    if label != "variables:" or len(names) != nvar or nvar == 0:
        raise FormatError(f"{path}: expected 'variables:' with {nvar} names, found {names}")
    dump = _number(path, "header offset", lines.entry("header offset"))
    data_offset = lines.position + dump
    if data_offset > size:
        raise FormatError(
            f"{path}: expected {dump} bytes of input parameters, found {size - lines.position}: "
            "the file is truncated"
        )
    text = lines.text[lines.position : data_offset]
    if len(text) < dump:
        rest = (lines.position + len(text), dump - len(text))
        text += next(read_ranges(path, [rest], storage_options))
    return Header(
        path=path,
        size=size,
        data_offset=data_offset,
        time=_time(path, pre["time"]),
        cycle=_number(path, "cycle", pre["cycle"]),
        location_size=_number(path, "size of location", pre["size of location"], (4, 8)),
        variable_size=_number(path, "size of variable", pre["size of variable"], (4, 8)),
        coarsening=max(_number(path, "coarsening factor", pre.get("coarsening factor", "1")), 1),
        variables=tuple(names),
        deck_digest=hashlib.blake2b(text, digest_size=16).hexdigest(),
        deck=_parse_deck(text.decode("utf-8", "replace")),
    )


def _pair(path: str, line: str) -> tuple[str, str]:
    key, equals, value = line.partition("=")
    if not equals:
        raise FormatError(f"{path}: expected a header line 'key=value', found {line[:60]!r}")
    return key.strip(), value.strip()


def _time(path: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise FormatError(f"{path}: expected a finite number for 'time', found {text[:40]!r}")
    return value


def _parse_deck(text: str) -> Deck:
    deck: Deck = {}
    current: str | None = None
    for part in _BLOCK.split(text):
        name, entries = _parse_block(part)
        current = name if name is not None else current
        if current is None:
            continue
        if current in deck or name is None:
            entries = {**deck.get(current, {}), **entries}
        deck[current] = entries
    deck.pop("par_end", None)
    return deck


@lru_cache(_SHARED)
def _parse_block(text: str) -> tuple[str | None, dict[str, str]]:
    """Name and entries of one block; no name for text that goes on with the one before."""
    name: str | None = None
    entries: dict[str, str] = {}
    for raw in text.splitlines():
        line = raw.partition("#")[0].strip()
        if line.startswith("<") and line.endswith(">"):
            name = line[1:-1]
        elif "=" in line:
            key, _, value = line.partition("=")
            entries[key.strip()] = value.strip()
    return name, entries


def split_deck(deck: Deck) -> list[str]:
    """One JSON text for each block: equal ones for equal blocks."""
    return [json.dumps([name, block], separators=(",", ":")) for name, block in deck.items()]


def join_deck(blocks: Iterable[str]) -> Deck:
    """A deck again, from what `split_deck` gave.

    Raises
    ------
    ValueError
        If a text is no block.
    """
    return dict(map(_joined_block, blocks))


@lru_cache(_SHARED)
def _joined_block(text: str) -> tuple[str, dict[str, str]]:
    found = json.loads(text)
    if not isinstance(found, list) or len(found) != 2 or not isinstance(found[1], dict):
        raise ValueError(text[:40])
    return str(found[0]), {str(key): str(value) for key, value in found[1].items()}


@dataclass(frozen=True)
class BlockTable:
    """What the blocks of one file say about themselves.

    Attributes
    ----------
    index : ndarray, shape (n, 6)
        Inclusive ranges is, ie, js, je, ks, ke in ghost-padded numbering.
    location : ndarray, shape (n, 4)
        Logical location lx1, lx2, lx3 at the block's own level, and the level above the root.
    offset : ndarray, shape (n,)
        Where the values of the block begin in the file.
    order : {"<", ">"}
        Byte order of the file.
    """

    index: np.ndarray
    location: np.ndarray
    offset: np.ndarray
    order: str


def _byte_order(path: str, record: bytes, largest: int) -> str:
    """The format has no byte-order mark: take the order that gives possible cell indices."""
    for order in "<>":
        pairs = np.frombuffer(record, f"{order}i4", 6).reshape(3, 2)
        if (
            (pairs[:, 0] >= 0).all()
            and (pairs[:, 0] <= pairs[:, 1]).all()
            and pairs.max() < largest
        ):
            return order
    found = np.frombuffer(record, "<i4", 6).tolist()
    raise FormatError(
        f"{path}: expected cell indices 0 to {largest - 1} in the first block, found {found}: "
        "the header's length or the file is damaged"
    )


def read_table(
    path: str,
    *,
    size: int,
    data_offset: int,
    location_size: int,
    value_bytes: int,
    largest: int,
    storage_options: Options = None,
) -> BlockTable:
    """Read the index record of every block of a file, skipping over the values.

    Parameters
    ----------
    path : str
        Local path or URL.
    size, data_offset : int
        Length of the file and of its header in bytes.
    location_size : int
        Bytes of a block bound.
    value_bytes : int
        Bytes that one cell takes: number of variables times size of a value.
    largest : int
        No cell index reaches this number (cells of a block with all ghost zones).
    storage_options : mapping, optional
        For the file system of a URL.

    Returns
    -------
    BlockTable
        Empty for a file that has a header only.

    Raises
    ------
    FormatError
        If the blocks do not fill the file exactly, or differ in shape.
    """
    empty = np.zeros(0, np.int64)
    if size == data_offset:
        return BlockTable(empty.reshape(0, 6), empty.reshape(0, 4), empty, "<")
    lead = _RECORD + 6 * location_size
    if size - data_offset < lead:
        raise FormatError(
            f"{path}: expected blocks after {data_offset} bytes of header, found "
            f"{size - data_offset} bytes, less than one block's own header of {lead}: truncated"
        )
    first = next(read_ranges(path, [(data_offset, _RECORD)], storage_options))
    order = _byte_order(path, first, largest)
    pairs = np.frombuffer(first, f"{order}i4", 6).astype(np.int64).reshape(3, 2)
    stride = lead + int(np.prod(pairs[:, 1] - pairs[:, 0] + 1)) * value_bytes
    count, rest = divmod(size - data_offset, stride)
    if rest:
        raise FormatError(
            f"{path}: expected whole blocks of {stride} bytes after the header, found {count} "
            f"blocks and {rest} bytes: the last block is truncated or bytes were added"
        )
    starts = data_offset + stride * np.arange(count, dtype=np.int64)
    ranges = [(int(start), _RECORD) for start in starts]
    joined = b"".join(read_ranges(path, ranges, storage_options))
    records = np.frombuffer(joined, f"{order}i4").reshape(count, 10).astype(np.int64)
    index, location = records[:, :6], records[:, 6:]
    shapes = index[:, 1::2] - index[:, ::2]
    odd = np.flatnonzero((shapes != shapes[0]).any(axis=1) | (location < 0).any(axis=1))
    if odd.size:
        raise FormatError(
            f"{path}: expected blocks of one shape, found indices {index[odd[0]].tolist()} at "
            f"location {location[odd[0]].tolist()} in block {odd[0]} of {count}: file damaged"
        )
    return BlockTable(index, location, starts + lead, order)
