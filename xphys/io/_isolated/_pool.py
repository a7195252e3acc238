"""Children of this process, each reading one source, and what becomes of their requests."""

from __future__ import annotations

import atexit
import fcntl
import math
import mmap
import os
import select
import signal
import threading
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xphys import errors
from xphys.errors import FormatError, RemoteError, XphysError, XphysWarning
from xphys.io._isolated._document import Opened, parse, read_json
from xphys.io._isolated._isolation import Isolation
from xphys.io._isolated._nursery import nursery
from xphys.io._isolated._values import sound
from xphys.io._isolated._wire import Gone, encode, receive, send
from xphys.io._limits import LARGEST_DOCUMENT

__all__ = ["Pool", "Source", "pool"]

_LEAST, _KEPT = 2**20, 2**26  # bytes of shared memory: made at first, kept between requests
_LONGEST = 1000
_TEXT = 64  # bytes that an element is taken to have
_SEALS = ("F_SEAL_SHRINK", "F_SEAL_GROW", "F_SEAL_SEAL")  # a shorter file would kill its reader


@dataclass(frozen=True)
class Source:
    """What a child opens; equal for equal sources.

    Attributes
    ----------
    request : bytes
        Pickled request to open it, made by the parent.
    name : str
        For error messages.
    preload : tuple of str
        Modules that reading it needs.
    isolation : Isolation
        Limits.
    """

    request: bytes = field(repr=False)
    name: str
    preload: tuple[str, ...]
    isolation: Isolation


class _Child:
    """A process and the connection to it."""

    def __init__(self, source: Source):
        self.source = source
        self.digest = ""
        self._shared: mmap.mmap | None = None
        self._ended = False
        self._number, self._connection = nursery().fork(source.preload)

    def ask(
        self, request: dict[str, Any], size: int, descriptors: tuple[int, ...] = ()
    ) -> dict[str, Any]:
        """The answer to a request for ``size`` bytes of values; the child ends with any failure
        but an error that it reports itself."""
        limits = self.source.isolation
        seconds = limits.time_for(size)
        message = {**request, "memory": limits.memory_for(size), "seconds": seconds}
        try:
            self._connection.settimeout(seconds)
            send(self._connection, encode(message), descriptors)
            data, _ = receive(self._connection, LARGEST_DOCUMENT, seconds)
            answer = read_json(data)
            if not isinstance(answer, dict):
                raise ValueError("no mapping")
        except Gone:
            code = self.end()
            raise FormatError(f"{self.source.name}: {_crash(code)}") from None
        except TimeoutError:
            self.end()
            raise FormatError(
                f"{self.source.name}: reading took longer than {seconds:g} s and was stopped: if "
                "the file is sound, give untrusted=Isolation(seconds=...)"
            ) from None
        except ValueError as error:
            self.end()
            raise _nonsense(self.source, error) from error
        if "error" in answer:
            raise _error(self.source, answer)
        _warn(self.source, answer.get("warnings"))
        return answer

    def read(
        self, node: str, name: str, key: tuple[Any, ...], shape: tuple[int, ...], dtype: np.dtype
    ) -> np.ndarray:
        """Values of a part of a variable."""
        count = math.prod(shape)
        text = dtype.kind in "OT"
        size = count * (_TEXT if text else dtype.itemsize)
        request = {"node": node, "name": name, "key": key, "shape": shape, "dtype": dtype}
        if text:
            return _texts(self.source, self.ask(request, size).get("text"), shape)
        if self._shared is None or len(self._shared) < size:
            descriptor, self._shared = _memory(max(size, _LEAST))
            try:
                self.ask(request, size, (descriptor,))
            finally:
                os.close(descriptor)
        else:
            self.ask(request, size)
        # a copy: the child could change the shared memory at any time
        values = np.frombuffer(self._shared, dtype, count).reshape(shape).copy()
        if len(self._shared) > _KEPT:
            self._shared = None
        try:
            return sound(values)
        except ValueError as error:
            raise _nonsense(self.source, error) from error

    @property
    def alive(self) -> bool:
        """Whether it waits for a request: one that is gone, or speaks unasked, does not."""
        return not select.select([self._connection], [], [], 0)[0]

    def end(self) -> int | None:
        """Kill it; its exit code, once."""
        if self._ended:
            return None
        self._ended = True
        self._connection.close()
        return nursery().reap(self._number)

    def abandon(self) -> None:
        """In a fork of this process: leave it to the parent."""
        self._connection.close()


def _memory(size: int) -> tuple[int, mmap.mmap]:
    """Shared memory that nobody can make shorter."""
    descriptor = os.memfd_create("xphys", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, size)
        seals = sum(getattr(fcntl, name) for name in _SEALS)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
        return descriptor, mmap.mmap(descriptor, size)
    except BaseException:
        os.close(descriptor)
        raise


def _crash(code: int | None) -> str:
    if code is not None and code < 0:
        try:
            said = signal.Signals(-code).name
        except ValueError:
            said = f"signal {-code}"
        if -code == signal.SIGALRM:
            said = "too much time"
        return f"the process that read it was ended by {said}: the file is damaged or hostile"
    return f"the process that read it ended with code {code}: the file is damaged or hostile"


def _nonsense(source: Source, error: Exception) -> FormatError:
    return FormatError(
        f"{source.name}: the process that read it gave no sense ({_clean(error)}): the file is "
        "damaged or hostile"
    )


def _clean(text: Any) -> str:
    """One line without characters that a terminal would act on."""
    said = "".join(c if c.isprintable() else " " for c in str(text)[:_LONGEST])
    return " ".join(said.split())


def _error(source: Source, answer: dict[str, Any]) -> Exception:
    """The error that a child reports, as the same class if that is one of xphys or of files."""
    name, said = str(answer.get("error")), _clean(answer.get("message", ""))
    kind = getattr(errors, name, None) if name in errors.__all__ else None
    if isinstance(kind, type) and issubclass(kind, XphysError):
        error = kind(said)
        status = answer.get("status")
        if isinstance(error, RemoteError) and isinstance(status, int):
            error.status = status
        return error
    if name == "FileNotFoundError":
        return FileNotFoundError(said)
    if name == "PermissionError":
        return PermissionError(said)
    if name == "MemoryError":
        return FormatError(
            f"{source.name}: reading it asked for more memory than the "
            f"{source.isolation.memory / 2**20:,.0f} MiB that it may take: if the file is sound, "
            "give untrusted=Isolation(memory=...)"
        )
    return FormatError(f"{source.name}: cannot be read: {_clean(name)[:80]}: {said}")


def _warn(source: Source, found: Any) -> None:
    if isinstance(found, list):
        for text in found[:20]:
            warnings.warn(f"{source.name}: {_clean(text)}", XphysWarning, stacklevel=2)


def _texts(source: Source, found: Any, shape: tuple[int, ...]) -> np.ndarray:
    fine = isinstance(found, list) and len(found) == math.prod(shape)
    if not fine or not all(item is None or isinstance(item, str) for item in found):
        raise _nonsense(source, ValueError("no list of text"))
    out = np.empty(len(found), object)
    out[:] = [np.nan if item is None else item for item in found]
    return out.reshape(shape)


class Pool:
    """At most ``isolation.processes`` children; an idle one makes room for another source."""

    def __init__(self, isolation: Isolation):
        self.isolation = isolation
        self._free: list[_Child] = []
        self._busy = 0
        self._change = threading.Condition()

    def open(self, source: Source) -> Opened:
        """Open a source in a new child; its description of what it found."""
        child = self._take(source, fresh=True)
        try:
            answer = _opened(child)
        except BaseException:
            self._drop(child)
            raise
        self._give(child)
        return answer

    def read(
        self,
        source: Source,
        digest: str,
        place: tuple[str, str],
        key: tuple[Any, ...],
        shape: tuple[int, ...],
        dtype: np.dtype,
    ) -> np.ndarray:
        """Values of a part of a variable.

        Parameters
        ----------
        source : Source
            What to read.
        digest : str
            Of its description when it was opened.
        place : (str, str)
            Node and name.
        key : tuple of int, slice and array
            Of each axis on its own.
        shape, dtype : tuple of int, dtype
            What must come out.

        Raises
        ------
        FormatError
            If the child crashes, takes too much time or memory, or the source has changed.
        """
        child = self._take(source)
        try:
            if not child.digest:
                _opened(child)
            if child.digest != digest:
                raise FormatError(f"{source.name}: changed since it was opened: open it again")
            values = child.read(*place, key, shape, dtype)
        except BaseException:  # also one that the child reported: it may have left anything behind
            self._drop(child)
            raise
        self._give(child)
        return values

    def forget(self, source: Source) -> None:
        """End the idle children of a source."""
        with self._change:
            gone = [child for child in self._free if child.source == source]
            self._free = [child for child in self._free if child.source != source]
        for child in gone:
            child.end()

    def close(self) -> None:
        """End all idle children."""
        with self._change:
            gone, self._free = self._free, []
        for child in gone:
            child.end()

    def abandon(self) -> None:
        """In a fork of this process: its children are those of the parent."""
        for child in self._free:
            child.abandon()

    def _take(self, source: Source, fresh: bool = False) -> _Child:
        with self._change:
            while True:
                for child in [] if fresh else self._free[::-1]:
                    if child.source == source:
                        self._free.remove(child)
                        if child.alive:
                            self._busy += 1
                            return child
                        child.end()
                if self._busy + len(self._free) < self.isolation.processes:
                    break
                if self._free:
                    self._free.pop(0).end()
                    break
                self._change.wait()
            self._busy += 1
        try:
            return _Child(source)
        except BaseException:
            self._leave()
            raise

    def _give(self, child: _Child) -> None:
        with self._change:
            self._free.append(child)
            self._busy -= 1
            self._change.notify()

    def _drop(self, child: _Child) -> None:
        child.end()
        self._leave()

    def _leave(self) -> None:
        with self._change:
            self._busy -= 1
            self._change.notify()


def _opened(child: _Child) -> Opened:
    answer = child.ask({"open": child.source.request}, 0)
    try:
        found = parse(answer.get("document"))
    except ValueError as error:
        raise _nonsense(child.source, error) from error
    child.digest = found.digest
    return found


_POOLS: dict[Isolation, Pool] = {}
_LOCK = threading.Lock()


def pool(isolation: Isolation) -> Pool:
    """That of this process for these limits."""
    with _LOCK:
        return _POOLS.setdefault(isolation, Pool(isolation))


@atexit.register
def _close() -> None:
    for one in _POOLS.values():
        one.close()


def _after_fork() -> None:
    global _LOCK
    for one in _POOLS.values():
        one.abandon()
    _POOLS.clear()
    _LOCK = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
