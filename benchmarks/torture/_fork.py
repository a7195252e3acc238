"""Work in forked children: they may be killed, crash or hang without taking the harness along.

The harness itself must never start zarr's event loop, whose thread a fork does not copy: whatever
touches a store runs in a child.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Child", "Outcome", "call", "count_changes", "fail_at", "kill_at"]

_STARTED = b"!"
_OPENED_TO_WRITE = os.O_WRONLY | os.O_RDWR
_CHANGES = frozenset({"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"})
_NEEDS_SPACE = frozenset({"open", "os.link", "os.mkdir"})


@dataclass(frozen=True)
class Outcome:
    """What became of a child.

    Attributes
    ----------
    status : {"ok", "error", "killed", "crash", "hang"}
        "error" is an exception, "crash" the end by a signal that nobody sent.
    value : object
        What the function returned (JSON).
    error, message, trace : str
        Of an exception.
    families : list of str
        Names of the classes of the exception and its bases.
    """

    status: str
    value: Any = None
    error: str = ""
    message: str = ""
    trace: str = ""
    families: tuple[str, ...] = ()

    @property
    def brief(self) -> str:
        """One line."""
        return f"{self.status} {self.error}: {self.message}"[:300] if self.error else self.status


class Child:
    """A function running in a forked process with a process group of its own."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self._read, write = os.pipe()
        self._sent = False
        self._data = bytearray()
        self.pid = os.fork()
        if self.pid == 0:
            _run(write, function, args)
        os.close(write)
        with contextlib.suppress(OSError):
            os.setpgid(self.pid, self.pid)

    def wait_for_start(self, timeout: float = 60.0) -> None:
        """Wait until the function is about to be called."""
        ready, _, _ = select.select([self._read], [], [], timeout)
        if ready:
            self._data += os.read(self._read, 1)

    def kill(self) -> None:
        """SIGKILL to the child and all it has started."""
        self._sent = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def wait(self, timeout: float = 60.0) -> Outcome:
        """The outcome, after all processes of the group are gone."""
        end, hung = time.monotonic() + timeout, False
        while True:
            ready, _, _ = select.select([self._read], [], [], max(end - time.monotonic(), 0))
            if not ready:
                self.kill()
                hung, end = True, time.monotonic() + 30
                continue
            piece = os.read(self._read, 1 << 16)
            if not piece:
                break
            self._data += piece
        os.close(self._read)
        _, status = os.waitpid(self.pid, 0)
        return self._outcome(status, hung)

    def _outcome(self, status: int, hung: bool) -> Outcome:
        if hung:
            return Outcome("hang")
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            killed = number == signal.SIGKILL
            return Outcome("killed" if killed else "crash", error=f"signal {number}")
        try:
            found = json.loads(bytes(self._data).removeprefix(_STARTED))
        except ValueError:
            return Outcome("crash", error=f"exit {status}, no report")
        return Outcome(**{**found, "families": tuple(found["families"])})


def call(function: Callable[..., Any], *args: Any, timeout: float = 60.0) -> Outcome:
    """Run a function in a child and wait for it."""
    return Child(function, *args).wait(timeout)


def _run(write: int, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    """The life of the child."""
    code = 1
    try:
        os.setpgid(0, 0)
        _silence()
        os.write(write, _STARTED)
        try:
            report = {"status": "ok", "value": function(*args), "families": []}
        except BaseException as error:  # everything is an outcome here
            report = {
                "status": "error",
                "error": type(error).__name__,
                "message": " ".join(str(error).split())[:600],
                "trace": traceback.format_exc()[-3000:],
                "families": [t.__name__ for t in type(error).__mro__],
            }
        data = memoryview(json.dumps(report).encode())
        while data:
            data = data[os.write(write, data) :]
        code = 0
    finally:
        os._exit(code)


def _silence() -> None:
    """What a killed writer prints is of no interest."""
    import warnings

    warnings.simplefilter("ignore")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    if not os.environ.get("XPHYS_TORTURE_LOUD"):
        os.dup2(null, 2)


def _watch(folder: str, act: Callable[[int, str], None]) -> None:
    """Call act(number, event) in front of every change to files under a folder."""
    number = itertools.count(1)  # threads may share it

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            path, flags = args[0], args[2]
            if not (isinstance(flags, int) and flags & _OPENED_TO_WRITE):
                return
        elif event in _CHANGES:
            path = args[0]
        else:
            return
        if isinstance(path, str | bytes | os.PathLike) and os.fsdecode(path).startswith(folder):
            act(next(number), event)

    sys.addaudithook(hook)


def count_changes(folder: str) -> Callable[[], int]:
    """Count changes to files under a folder by this process from now on."""
    done = 0

    def act(number: int, event: str) -> None:
        nonlocal done
        done = number

    _watch(folder, act)
    return lambda: done


def kill_at(folder: str, number: int) -> None:
    """SIGKILL this process group in front of a change to a folder, counted from 1."""

    def act(done: int, event: str) -> None:
        if done == number:
            os.killpg(os.getpgid(0), signal.SIGKILL)

    _watch(folder, act)


def fail_at(folder: str, number: int) -> None:
    """From a change on, pretend that the disk is full."""

    def act(done: int, event: str) -> None:
        if done >= number and event in _NEEDS_SPACE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), folder)

    _watch(folder, act)
