"""Frames on their way into a file that cannot be continued once its writer was killed.

A plain file of records beside the target takes each compressed frame with its digest. A killed
write leaves it; the next one trusts the records whose digests fit and goes on behind them.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from types import TracebackType
from typing import IO

from xphys.errors import CorruptDataError, StoreConflictError

__all__ = ["Frames", "already_exists"]

_MAGIC = b"xphys.frames.1\n"
_RECORD = struct.Struct("<Q16s")
_WHAT_TO_DO = "run that code again, or give resume=False to begin anew"


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


class Frames:
    """Records of one write, in order.

    Parameters
    ----------
    path : str
        Of the file of records.
    run : str
        Hex digest of what is written; equal for a write that may be continued.
    resume : bool
        Go on with what is there.

    Raises
    ------
    StoreConflictError
        If it holds records of other data and ``resume`` is set.
    """

    def __init__(self, path: str, run: str, resume: bool = True):
        self.path = path
        head = _MAGIC + bytes.fromhex(run)
        mode = "r+b" if os.path.exists(path) else "w+b"
        self._file: IO[bytes] = open(path, mode)  # noqa: SIM115 - closed by __exit__
        try:
            found = self._file.read(len(head))
            if resume and found and found != head[: len(found)]:
                raise StoreConflictError(
                    f"{path}: a write of other data was stopped here: {_WHAT_TO_DO}"
                )
            self._start = len(head)
            self.count = self._whole() if resume and found == head else 0
            if not self.count:
                self._file.seek(0)
                self._file.write(head)
            self._file.truncate()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Frames:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def _whole(self) -> int:
        """Count the records that are complete; stand behind the last one."""
        count, place = 0, self._start
        while (data := self._next()) is not None:
            count, place = count + 1, place + _RECORD.size + len(data)
        self._file.seek(place)
        return count

    def _next(self) -> bytes | None:
        head = self._file.read(_RECORD.size)
        if len(head) < _RECORD.size:
            return None
        size, digest = _RECORD.unpack(head)
        left = os.fstat(self._file.fileno()).st_size - self._file.tell()
        data = self._file.read(size) if size <= left else b""
        return data if len(data) == size and _digest(data) == digest else None

    def append(self, data: bytes) -> None:
        """Add one record."""
        self._file.write(_RECORD.pack(len(data), _digest(data)) + data)
        self.count += 1

    def flush(self) -> None:
        """Let the records survive the end of this process."""
        self._file.flush()

    def read(self) -> Iterator[bytes]:
        """All records, in order, checked.

        Raises
        ------
        CorruptDataError
            If one does not fit its digest: another writer has been here, or the disk failed.
        """
        self._file.flush()
        self._file.seek(self._start)
        for number in range(self.count):
            data = self._next()
            if data is None:
                raise CorruptDataError(f"{self.path}: frame {number} is damaged: delete the file")
            yield data


def already_exists(path: str) -> FileExistsError:
    """The error for a file that is there and is not to be replaced."""
    return FileExistsError(f"{path} exists: choose another path, or mode='w' to replace it")
