"""Coding in a child process: a crash of a native library costs a chunk its lossy coding only.

A child imports what it needs once, codes chunk after chunk and ends with this process. Its
answers are decoded values and the streams they come from: the same bytes decode here as there.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import threading
import warnings
from contextlib import suppress
from typing import Any

import numpy as np

from xphys._optional import require
from xphys.codecs.wrapped import _wire
from xphys.codecs.wrapped._codec import EXTRA, Codec
from xphys.coding.bounds import Limits
from xphys.coding.method import Coded
from xphys.coding.request import Request
from xphys.errors import XphysError, XphysWarning

__all__ = ["Child", "encode"]

_SECONDS, _RATE = 120.0, 2**18  # for a chunk, and bytes per second that any codec reaches
_START = 300.0
_KEPT = 4  # children that wait for the next chunk


class Gone(Exception):
    """A child ended or was ended; says how."""


class Child:
    """A process that codes and decodes."""

    def __init__(self) -> None:
        places = [os.path.abspath(place) for place in sys.path]
        code = (
            f"import sys; sys.path[:] = {places!r}; "
            "from xphys.codecs.wrapped._child import main; main()"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the parent
        )
        self._fresh = True

    def ask(self, head: dict[str, Any], parts: list[bytes], size: int) -> _wire.Message:
        """The answer to a request about ``size`` bytes of values.

        Parameters
        ----------
        head : dict
            JSON values: ``task`` and what it needs.
        parts : list of bytes
            What goes with it.
        size : int
            Decides how long to wait.

        Raises
        ------
        Gone
            If the process crashed, or was stopped because it took too long.
        XphysError
            If it reports an error.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        seconds = _SECONDS + size / _RATE + (_START if self._fresh else 0.0)
        late = threading.Event()

        def stop() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(seconds, stop)
        timer.daemon = True
        timer.start()
        try:
            _wire.write(self._process.stdin, head, parts)
            answer = _wire.read(self._process.stdout)
        except (OSError, EOFError, ValueError):
            raise Gone(self._said(late.is_set(), seconds)) from None
        finally:
            timer.cancel()
        self._fresh = False
        if "error" in answer.head:
            raise XphysError(f"failed ({answer.head['error']})")
        return answer

    def end(self) -> None:
        """Kill it."""
        with suppress(ProcessLookupError):
            self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        self._process.wait()

    @property
    def alive(self) -> bool:
        """Whether it waits for a request."""
        return self._process.poll() is None

    def _said(self, late: bool, seconds: float) -> str:
        self._process.kill()
        status = self._process.wait()
        if late:
            return f"took more than {seconds:.0f} s"
        if status >= 0:
            return f"ended with code {status}"
        with suppress(ValueError):
            return f"crashed ({signal.Signals(-status).name})"
        return f"crashed (signal {-status})"


class _Pool:
    """Children that wait."""

    def __init__(self) -> None:
        self._free: list[Child] = []
        self._lock = threading.Lock()

    def take(self) -> Child:
        """A child that nobody else uses."""
        with self._lock:
            while self._free:
                child = self._free.pop()
                if child.alive:
                    return child
                child.end()
        return Child()

    def give(self, child: Child) -> None:
        """Let others use it."""
        with self._lock:
            if len(self._free) < _KEPT:
                self._free.append(child)
                return
        child.end()

    def close(self) -> None:
        """End those that wait."""
        with self._lock:
            free, self._free = self._free, []
        for child in free:
            child.end()

    def abandon(self) -> None:
        """In a fork of this process: its children belong to the parent."""
        self._free, self._lock = [], threading.Lock()


_POOL = _Pool()
atexit.register(_POOL.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_POOL.abandon)


def encode(codec: Codec, x: np.ndarray, axis: int, limits: Limits, request: Request) -> Coded:
    """What `_codec.encode` returns, worked out by a child.

    Parameters
    ----------
    codec : Codec
        Which.
    x : ndarray of float32 or float64
        One chunk.
    axis : int
        Along which blocks divide it.
    limits : Limits
        What to keep.
    request : Request
        With the effort.

    Returns
    -------
    Coded
        With values of no points, which the caller stores losslessly, if the child crashed or
        the codec refused the values.

    Warns
    -----
    XphysWarning
        If that happened.
    """
    require(codec.package, EXTRA)
    head = {
        "task": "encode",
        "method": codec.name,
        "dtype": x.dtype.str,
        "shape": x.shape,
        "axis": axis,
        "limits": [limits.squared, limits.absolute, limits.relative],
        "effort": request.effort,
        "bounds": {} if request.bounds is None else request.bounds.to_dict(),
    }
    child = _POOL.take()
    try:
        answer = child.ask(head, [np.ascontiguousarray(x).tobytes()], x.nbytes)
    except (Gone, XphysError) as problem:
        child.end()
        warnings.warn(
            f"method {codec.name!r} {problem} on a chunk of {x.dtype} {x.shape}: it is stored "
            "losslessly",
            XphysWarning,
            stacklevel=2,
        )
        return Coded(x.shape[axis], [b""], [np.empty(0, np.float32)])
    except BaseException:
        child.end()
        raise
    _POOL.give(child)
    extent, streams = int(answer.head["extent"]), answer.parts[0::2]
    values = []
    for start, data in zip(range(0, x.shape[axis], extent), answer.parts[1::2], strict=True):
        steps = min(extent, x.shape[axis] - start)
        shape = (*x.shape[:axis], steps, *x.shape[axis + 1 :])
        values.append(np.frombuffer(data, x.dtype).reshape(shape))
    return Coded(extent, streams, values)
