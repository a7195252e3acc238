"""Messages between a process and its children: length, then bytes; descriptors may go along."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Sequence

__all__ = ["Gone", "receive", "send"]

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
