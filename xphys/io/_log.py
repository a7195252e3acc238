"""Notes of a local store: one file for each process that writes, to which entries are appended.

Making a file for each chunk takes longer than writing the chunk; an entry is one call. What a
killed process has appended is there; an entry that was cut off is left aside.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

from xphys.errors import StoreConflictError
from xphys.io._records import digest

__all__ = ["Log", "entries", "forget", "log_of"]

_SIZES = struct.Struct("<II")  # bytes of the key, bytes of the records
_STAMP = 16  # bytes of the digest of sizes, key and records


class Log:
    """An open file of entries.

    Parameters
    ----------
    folder : Path
        Where the logs of a run lie; this one gets the next number.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        number = len(os.listdir(folder))
        while True:
            try:
                self.path = folder / f"{number:08d}"
                self._file = os.open(self.path, flags, 0o666)
                break
            except FileExistsError:
                number += 1
        self._lock = threading.Lock()

    def append(self, key: str, data: bytes) -> None:
        """Add an entry: whole, or not at all.

        Raises
        ------
        StoreConflictError
            If another run has removed the log.
        """
        name = key.encode()
        body = _SIZES.pack(len(name), len(data)) + name + data
        entry = bytes.fromhex(digest(body)) + body
        with self._lock:
            status = os.fstat(self._file)
            if not status.st_nlink:
                raise StoreConflictError(f"{self.path}: another run has taken the store")
            if os.write(self._file, entry) != len(entry):
                os.ftruncate(self._file, status.st_size)
                raise OSError(f"{self.path}: no space left for the journal")

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def entries(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Keys and records in a log, up to an entry that was cut off."""
    at = 0
    while at + _STAMP + _SIZES.size <= len(data):
        name, size = _SIZES.unpack_from(data, at + _STAMP)
        end = at + _STAMP + _SIZES.size + name + size
        if bytes.fromhex(digest(data[at + _STAMP : end])) != data[at : at + _STAMP]:
            return
        yield data[end - name - size : end - size].decode(), data[end - size : end]
        at = end


_logs: dict[tuple[int, str, str], Log] = {}
_lock = threading.Lock()


def log_of(folder: Path, writer: str) -> Log:
    """The log of this process for the run of a writer."""
    place = (os.getpid(), str(folder), writer)
    with _lock:
        for other in [p for p in _logs if p[:2] == place[:2] and p != place]:
            _logs.pop(other).close()
        if place not in _logs:
            _logs[place] = Log(folder)
        return _logs[place]


def forget(folder: Path) -> None:
    """Close the logs of this process in a folder."""
    with _lock:
        for place in [p for p in _logs if p[1] == str(folder)]:
            _logs.pop(place).close()
