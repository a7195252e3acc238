"""What the headers of very many files said, kept between sessions.

One index for each folder lies in the user's cache (see `xphys._storage._cache`): JSON, compressed,
with a digest in front. An entry counts only for a file of the same size and time of change.
Whatever is wrong with an index, files are then read as if there were none.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from xphys._storage import is_url
from xphys._storage._cache import cache_folder

__all__ = ["FEWEST", "Entry", "read_many", "remembered"]

FEWEST = 64  # files below which reading them takes no time
_MAGIC = b"xphys.index.1\n"
_DIGEST = 16
_LARGEST = 2**28  # bytes of an index, and of all of them together
_LARGEST_TEXT = 2**30
_THREADS = 8  # a file system over a network answers many at a time
_RACE = 2 * 10**9  # ns: a file changed so recently may change again within one tick of its clock
_NONSENSE = (ValueError, TypeError, AttributeError, LookupError)

T = TypeVar("T")


@dataclass(frozen=True)
class Entry:
    """What is kept of one file.

    Attributes
    ----------
    values : list
        JSON values of its own.
    parts : list of str
        Texts that many files share: each is kept once.
    """

    values: list[Any]
    parts: list[str]


@dataclass
class _Folder:
    """The index of one folder: name -> (size, time of change, entry)."""

    files: dict[str, tuple[int, int, Entry]] = field(default_factory=dict)


def remembered(
    kind: str,
    paths: Sequence[str],
    read: Callable[[str], T],
    pack: Callable[[T], Entry],
    unpack: Callable[[str, int, Entry], T],
) -> list[T]:
    """Read something short of every file, or take it from the index.

    Parameters
    ----------
    kind : str
        Name of what is read, with a version.
    paths : sequence of str
        Local files; URLs are read, and so are few files.
    read : callable
        path -> what is wanted; called in threads.
    pack, unpack : callable
        To an entry, and from (path, size, entry) back. ``unpack`` raises ValueError, TypeError,
        KeyError or IndexError for an entry that makes no sense; the file is read then.

    Returns
    -------
    list
        One for each path, in order.

    Raises
    ------
    OSError
        If a file is not there.
    """
    root = cache_folder()
    if len(paths) < FEWEST or root is None or any(map(is_url, paths)):
        return list(read_many(paths, read))
    folders: dict[str, list[int]] = {}
    for number, path in enumerate(paths):
        folders.setdefault(os.path.dirname(os.path.abspath(path)), []).append(number)
    found: dict[int, T] = {}
    for folder, numbers in folders.items():
        place = _place(root, kind, folder)
        known = _load(place, kind, folder)
        stamps = {n: _stamp(paths[n]) for n in numbers}
        for number in numbers:
            old = known.files.get(os.path.basename(paths[number]))
            if old is not None and old[:2] == stamps[number]:
                with suppress(*_NONSENSE):
                    found[number] = unpack(paths[number], old[0], old[2])
        missing = [number for number in numbers if number not in found]
        found.update(zip(missing, read_many([paths[n] for n in missing], read), strict=True))
        new = {os.path.basename(paths[n]): (*stamps[n], pack(found[n])) for n in missing}
        if new:
            _add(place, kind, folder, new)
    return [found[number] for number in range(len(paths))]


def read_many(paths: Sequence[str], read: Callable[[str], T]) -> Iterator[T]:
    """Read files, many at a time, in order; the first error is raised."""
    if len(paths) < FEWEST:
        yield from map(read, paths)
        return
    pool = ThreadPoolExecutor(_THREADS)
    try:
        yield from pool.map(read, paths)
    finally:
        pool.shutdown(cancel_futures=True)


def _stamp(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


def _place(root: Path, kind: str, folder: str) -> Path:
    name = hashlib.blake2b(f"{kind}\0{folder}".encode("utf-8", "replace"), digest_size=16)
    return root / "headers" / f"{name.hexdigest()}.index"


def _load(place: Path, kind: str, folder: str) -> _Folder:
    """An index; an empty one if there is none or it is damaged."""
    try:
        if os.path.getsize(place) > _LARGEST:
            return _Folder()
        data = place.read_bytes()
        head = len(_MAGIC) + _DIGEST
        body = data[head:]
        if data[:head] != _MAGIC + _digest(body):
            return _Folder()
        text = zlib.decompressobj().decompress(body, _LARGEST_TEXT)
        document = json.loads(text)
        if (document["kind"], document["folder"]) != (kind, folder):
            return _Folder()
        parts: list[str] = document["parts"]
        files = {
            name: (size, changed, Entry(values, [parts[i] for i in numbers]))
            for name, (size, changed, values, numbers) in document["files"].items()
        }
    except (OSError, zlib.error, *_NONSENSE, RecursionError):
        return _Folder()
    return _Folder(files)


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_DIGEST).digest()


def _add(place: Path, kind: str, folder: str, new: dict[str, tuple[int, int, Entry]]) -> None:
    """Put entries into the index that is there now; what another session adds meanwhile is lost,
    and found out again.
    """
    settled = time.time_ns() - _RACE
    kept = {**_load(place, kind, folder).files}
    kept.update({name: one for name, one in new.items() if one[1] < settled})
    numbers: dict[str, int] = {}
    files = {
        name: [
            size,
            changed,
            entry.values,
            [numbers.setdefault(part, len(numbers)) for part in entry.parts],
        ]
        for name, (size, changed, entry) in kept.items()
    }
    document = {"kind": kind, "folder": folder, "files": files, "parts": list(numbers)}
    try:
        body = zlib.compress(json.dumps(document, separators=(",", ":")).encode(), 1)
        if len(body) < _LARGEST:
            _write(place, _MAGIC + _digest(body) + body)
    except (OSError, ValueError):  # a full disk, a read-only home: it works without
        return


def _write(place: Path, data: bytes) -> None:
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = place.with_suffix(f".{uuid.uuid4().hex}.partial")
    try:
        partial.write_bytes(data)
        os.replace(partial, place)
    finally:
        partial.unlink(missing_ok=True)
    _prune(place)


def _prune(newest: Path) -> None:
    """Remove the oldest files once all are above the limit."""
    found = []
    for path in newest.parent.iterdir():
        with suppress(OSError):  # another session removes too
            status = path.stat()
            found.append((status.st_mtime_ns, status.st_size, path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= _LARGEST:
            return
        if path != newest:
            path.unlink(missing_ok=True)
            total -= size
