"""What runs in other processes: a nursery, which forks children, and the children, which read.

The nursery never looks at a file. A child reads one source, answers until its parent goes, and is
killed by the system when it takes too much time, whatever holds it.
"""

from __future__ import annotations

import importlib
import json
import math
import mmap
import os
import resource
import signal
import socket
import warnings
from contextlib import suppress
from typing import Any

import numpy as np
import xarray as xr

from xphys.errors import RemoteError, XphysError
from xphys.io._isolated._document import describe
from xphys.io._isolated._wire import Gone, decode, receive, send
from xphys.io._limits import LARGEST_DOCUMENT
from xphys.schema import record

__all__ = ["main"]

_LARGEST_REQUEST = 2**30  # bytes; lists of files and of positions
_LONGEST = 1000  # characters of an error
_WARNINGS = 20
_GRACE = 5.0  # seconds for which the parent, which counts too, is waited for


def main(descriptor: int) -> None:
    """Fork a child for each request of the parent until it goes.

    Parameters
    ----------
    descriptor : int
        Of the connection to the parent.
    """
    control = socket.socket(fileno=descriptor)
    # children inherit what is imported and looked up here: engines, versions, dask
    importlib.import_module("xphys.io._open")
    xr.backends.list_engines()
    record(xr.Dataset(coords={"x": [0.0]}), "open", {}, source={})
    with suppress(Gone):
        while True:
            data, passed = receive(control, _LARGEST_REQUEST)
            request = decode(data)
            if "reap" in request:
                _, status = os.waitpid(request["reap"], 0)
                send(control, json.dumps({"status": os.waitstatus_to_exitcode(status)}).encode())
                continue
            for name in request["preload"]:
                with suppress(ImportError):
                    importlib.import_module(name)
            number = os.fork()
            if number == 0:
                _live(control, socket.socket(fileno=passed[0]), request)
            os.close(passed[0])
            send(control, json.dumps({"pid": number}).encode())


def _live(control: socket.socket, connection: socket.socket, request: dict[str, Any]) -> None:
    """The life of a child."""
    code = 1
    try:
        control.close()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 1)
        os.dup2(null, 2)
        os.environ.update(request["environ"])
        os.chdir(request["folder"])
        with suppress(Gone):
            _Reader(connection).serve()
        code = 0
    finally:
        os._exit(code)


_KNOWN = (FileNotFoundError, PermissionError, MemoryError)


class _Reader:
    """A child: one source, opened by the first request and read by the others."""

    def __init__(self, connection: socket.socket):
        self.connection = connection
        self.nodes: dict[str, xr.Dataset] = {}
        self.shared: mmap.mmap | None = None

    def serve(self) -> None:
        """Answer until the parent is gone."""
        while True:
            data, passed = receive(self.connection, _LARGEST_REQUEST)
            request = decode(data)
            if passed:
                self.shared = mmap.mmap(passed[0], 0)
                os.close(passed[0])
            _limit_memory(request["memory"])
            # without a handler: a library that never returns to Python is ended as well
            signal.setitimer(signal.ITIMER_REAL, request["seconds"] + _GRACE)
            reply = self.answer(request)
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
            send(self.connection, reply)
            signal.setitimer(signal.ITIMER_REAL, 0)

    def answer(self, request: dict[str, Any]) -> bytes:
        """What is sent back, in JSON."""
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("default")
                asked = decode(request["open"]) if "open" in request else None
                made = self.read(**request) if asked is None else self.open(**asked)
            texts = dict.fromkeys(_line(warning.message) for warning in caught)
            document = {**made, "warnings": list(texts)[:_WARNINGS]}
            data = json.dumps(document).encode("ascii")
            if len(data) > LARGEST_DOCUMENT:
                return _failure("MemoryError", f"metadata or text of {len(data):,} bytes")
            return data
        except BaseException as error:  # whatever it is, the parent is told
            status = error.status if isinstance(error, RemoteError) else None
            return _failure(_family(error), _line(error), status)

    def open(self, paths: list[str], tree: bool, options: dict[str, Any]) -> dict[str, Any]:
        """Open the source."""
        from xphys.io._open import open as open_here

        opened: Any = open_here(paths, chunks=None, cache=False, tree=tree, **options)
        name = None
        if isinstance(opened, xr.DataTree):
            every = {p: n.to_dataset(inherit=False) for p, n in opened.subtree_with_keys}
            self.nodes = {"/" if p == "." else p: ds for p, ds in every.items()}
            name = opened.name
        else:
            self.nodes = {"/": opened}
        return {"document": describe(self.nodes, name)}

    def read(
        self,
        node: str,
        name: str,
        key: tuple[Any, ...],
        shape: tuple[int, ...],
        dtype: np.dtype,
        **_: Any,
    ) -> dict[str, Any]:
        """Values of a part of a variable, into the shared memory; text into the answer."""
        values = np.asarray(self.nodes[node].variables[name][key].values)
        if values.shape != shape:
            raise ValueError(f"expected values of shape {shape}, read {values.shape}")
        if dtype.kind in "OT":
            return {"text": [_text(item) for item in values.ravel().tolist()]}
        if self.shared is not None:
            place = np.frombuffer(self.shared, dtype, math.prod(shape)).reshape(shape)
            place[...] = values
        return {}


def _text(item: Any) -> str | None:
    """Text; None for a missing one, which xarray gives as NaN."""
    if item is None or isinstance(item, float) and item != item:
        return None
    if isinstance(item, bytes):
        return item.decode("utf-8", "replace")
    if isinstance(item, str):
        return item
    raise TypeError(f"values of type {type(item).__name__} are not carried by untrusted=True")


def _limit_memory(allowed: int) -> None:
    with open("/proc/self/statm", encoding="ascii") as file:
        pages = int(file.read().split()[0])
    most = pages * resource.getpagesize() + allowed
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))


def _line(error: Any) -> str:
    return " ".join(str(error).split())[:_LONGEST]


def _family(error: BaseException) -> str:
    """The nearest class that the parent knows by name, else the name of the class."""
    for kind in type(error).__mro__:
        if kind.__module__ == XphysError.__module__ or kind in _KNOWN:
            return kind.__name__
    return type(error).__name__


def _failure(name: str, message: str, status: Any = None) -> bytes:
    return json.dumps({"error": name, "message": message, "status": status}).encode("ascii")
