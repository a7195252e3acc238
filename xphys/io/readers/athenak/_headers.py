"""Headers of all files of a run: those of many files are kept in an index."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from xphys.io.readers._index import FEWEST, Entry, remembered
from xphys.io.readers.athenak._format import Header, Options, join_deck, read_header, split_deck

__all__ = ["read_headers"]

_KIND = "athenak header 1"


def read_headers(paths: Sequence[str], storage_options: Options = None) -> list[Header]:
    """Read the headers of all files of a group.

    Parameters
    ----------
    paths : sequence of str
        Local paths or URLs.
    storage_options : mapping, optional
        For the file system of URLs.

    Returns
    -------
    list of Header
        In order. The decks of very many files lack the blocks ``<output...>``, which are
        different in each and would fill the memory.

    Raises
    ------
    FormatError
        If a file is damaged.
    """
    if len(paths) < FEWEST:
        return [read_header(path, storage_options) for path in paths]
    short = partial(_short, storage_options=storage_options)
    return remembered(_KIND, paths, short, _pack, _unpack)


def _short(path: str, storage_options: Options) -> Header:
    return read_header(path, storage_options).short()


def _pack(header: Header) -> Entry:
    values = [
        header.data_offset,
        header.time.hex(),
        header.cycle,
        header.location_size,
        header.variable_size,
        header.coarsening,
        header.deck_digest,
    ]
    return Entry(values, [" ".join(header.variables), *split_deck(header.deck)])


def _unpack(path: str, size: int, entry: Entry) -> Header:
    offset, time, cycle, location_size, variable_size, coarsening, digest = entry.values
    names, *blocks = entry.parts
    numbers: list[Any] = [offset, cycle, location_size, variable_size, coarsening]
    if not all(type(n) is int and n >= 0 for n in numbers) or offset > size:
        raise ValueError(path)
    if location_size not in (4, 8) or variable_size not in (4, 8) or coarsening < 1:
        raise ValueError(path)
    return Header(
        path=path,
        size=size,
        data_offset=offset,
        time=float.fromhex(time),
        cycle=cycle,
        location_size=location_size,
        variable_size=variable_size,
        coarsening=coarsening,
        variables=tuple(names.split(" ")),
        deck_digest=str(digest),
        deck=join_deck(blocks),
        complete=False,
    )
