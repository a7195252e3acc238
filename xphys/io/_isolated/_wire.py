"""Messages between a process and its children: length, then bytes; descriptors may go along.

Both ways they are JSON: what Python has beyond it is an object with one tag.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["Gone", "decode", "encode", "receive", "send"]

_LENGTH = struct.Struct("<Q")
_PIECE = 2**20


class Gone(Exception):  # noqa: N818
    """The other side has closed the connection."""


def send(connection: socket.socket, data: bytes, descriptors: Sequence[int] = ()) -> None:
    """Send one message; raises Gone if nobody is there, TimeoutError of the socket's timeout."""
    try:
        head = _LENGTH.pack(len(data))
        if descriptors:
            socket.send_fds(connection, [head], list(descriptors))
        else:
            connection.sendall(head)
        connection.sendall(data)
    except (BrokenPipeError, ConnectionError) as error:
        raise Gone from error


def receive(
    connection: socket.socket, most: int, seconds: float | None = None
) -> tuple[bytes, list[int]]:
    """One message and the descriptors that came with it.

    Parameters
    ----------
    connection : socket
        A Unix socket.
    most : int
        Bytes above which a message is refused.
    seconds : float, optional
        Time for all of it.

    Raises
    ------
    Gone
        If the other side has closed, also amid a message.
    TimeoutError
        If it takes longer.
    ValueError
        If the message is too long.
    """
    end = None if seconds is None else time.monotonic() + seconds
    found: list[int] = []
    data = bytearray()
    size = -1
    while size < 0 or len(data) < size:
        if end is not None:
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError
            connection.settimeout(left)
        try:
            if size < 0:
                piece, fresh, _, _ = socket.recv_fds(connection, _LENGTH.size - len(data), 2)
                found += fresh
            else:
                piece = connection.recv(min(size - len(data), _PIECE))
        except ConnectionError as error:
            raise Gone from error
        if not piece:
            raise Gone
        data += piece
        if size < 0 and len(data) == _LENGTH.size:
            size = _LENGTH.unpack(data)[0]
            data.clear()
            if size > most:
                raise ValueError(f"a message of {size:,} bytes")
    return bytes(data), found


def encode(value: Any) -> bytes:
    """A request as JSON; TypeError for what it cannot hold."""
    return json.dumps(_tagged(value)).encode("ascii")


def decode(data: bytes) -> Any:
    """Inverse of `encode`."""
    return json.loads(data, object_hook=_untagged)


def _tagged(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return _tagged(value.item())
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, list):
        return [_tagged(item) for item in value]
    if isinstance(value, tuple):
        return {"tuple": [_tagged(item) for item in value]}
    if isinstance(value, slice):
        return {"slice": [_tagged(part) for part in (value.start, value.stop, value.step)]}
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, np.dtype) and value.names is None:
        return {"dtype": "T" if value.kind == "T" else value.str}
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufcmM":
        raw = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return {"array": [value.dtype.str, list(value.shape), raw]}
    if isinstance(value, Mapping):
        return {"mapping": [[_tagged(k), _tagged(v)] for k, v in value.items()]}
    raise TypeError(f"a value of type {type(value).__name__} cannot be sent to another process")


def _untagged(found: dict[str, Any]) -> Any:
    ((tag, content),) = found.items()
    if tag == "tuple":
        return tuple(content)
    if tag == "slice":
        return slice(*content)
    if tag == "bytes":
        return base64.b64decode(content)
    if tag == "dtype":
        return np.dtype(content)
    if tag == "array":
        dtype, shape, raw = content
        return np.frombuffer(base64.b64decode(raw), dtype).reshape(shape)
    return dict(content)
