"""The process that forks children: it has imported what they need, and never looks at a file."""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any

from xphys.errors import SchemaError, XphysError
from xphys.io._isolated._wire import Gone, encode, receive, send

__all__ = ["Nursery", "nursery"]

_START = 300.0  # seconds; imports on a busy machine
_LARGEST = 2**12
# Memory of arenas and threads that nobody uses would count as much as that of a bomb.
_SETTINGS = {
    "MALLOC_ARENA_MAX": "2",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "DASK_SCHEDULER": "synchronous",
}


class Nursery:
    """Starts children; the process itself is started with the first and again if it was killed.

    Raises
    ------
    SchemaError
        On systems without limits for processes or sealed shared memory.
    """

    def __init__(self) -> None:
        if not sys.platform.startswith("linux") or not hasattr(os, "memfd_create"):
            raise SchemaError(
                "untrusted=True needs Linux (limits of memory for a process, sealed shared "
                f"memory), this is {sys.platform}: leave it out, or open the file in a container"
            )
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def fork(self, preload: tuple[str, ...]) -> tuple[int, socket.socket]:
        """A new child: its number and the connection to it.

        Parameters
        ----------
        preload : tuple of str
            Modules that the nursery imports first, if it has not yet.

        Raises
        ------
        XphysError
            If processes cannot be started here.
        """
        ours, theirs = socket.socketpair()
        settings = {k: v for k, v in os.environ.items() if k not in _SETTINGS}
        request = {"preload": preload, "environ": settings, "folder": os.getcwd()}
        try:
            for last in (False, True):
                try:
                    found = self._ask(request, theirs.fileno())
                    return int(found["pid"]), ours
                except (Gone, TimeoutError):
                    self.close()
                    if last:
                        raise XphysError(
                            "untrusted=True: a child process could not be started"
                        ) from None
            raise AssertionError
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()

    def reap(self, number: int) -> int | None:
        """End a child; its exit code, negative for a signal, None if nobody knows."""
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
        try:
            return int(self._ask({"reap": number})["status"])
        except (Gone, TimeoutError, KeyError):
            return None

    def close(self) -> None:
        """End the process; children end with their connections."""
        with self._lock:
            if self._control is not None:
                self._control.close()
            if self._process is not None:
                self._process.kill()
                self._process.wait()
            self._process = self._control = None

    def abandon(self) -> None:
        """In a fork of this process: let go of what belongs to the parent."""
        if self._control is not None:
            self._control.close()
        self._process = self._control = None
        self._lock = threading.Lock()

    def _ask(self, request: dict[str, Any], *descriptors: int) -> dict[str, Any]:
        with self._lock:
            if self._control is None:
                if "reap" in request:
                    raise Gone
                self._start()
            assert self._control is not None
            self._control.settimeout(_START)
            send(self._control, encode(request), descriptors)
            data, _ = receive(self._control, _LARGEST, _START)
            found: dict[str, Any] = json.loads(data)
            return found

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        number = theirs.fileno()
        # not -m: modules would be looked for in the current folder, which may be the stranger's
        places = [os.path.abspath(place) for place in sys.path]
        code = (
            f"import sys; sys.path[:] = {places!r}; "
            f"from xphys.io._isolated.child import main; main({number})"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", code],
            pass_fds=(number,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={**os.environ, **_SETTINGS},
            start_new_session=True,  # Ctrl-C is for the parent
        )
        theirs.close()
        self._control = ours


_CURRENT: list[Nursery] = []


def nursery() -> Nursery:
    """That of this process."""
    if not _CURRENT:
        _CURRENT.append(Nursery())
        atexit.register(_CURRENT[0].close)
    return _CURRENT[0]


def _after_fork() -> None:
    for one in _CURRENT:
        one.abandon()
    _CURRENT.clear()


os.register_at_fork(after_in_child=_after_fork)
