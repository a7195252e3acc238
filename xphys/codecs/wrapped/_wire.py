"""Messages between a process and a child that codes for it: JSON and byte strings, counted."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import IO, Any

__all__ = ["Message", "read", "write"]

_LENGTH = struct.Struct("<Q")
_LONGEST = 2**20


@dataclass(frozen=True)
class Message:
    """JSON values and what goes with them."""

    head: dict[str, Any]
    parts: list[bytes]


def write(stream: IO[bytes], head: dict[str, Any], parts: list[bytes]) -> None:
    """Send one message."""
    text = json.dumps({**head, "parts": [len(p) for p in parts]}).encode()
    stream.write(_LENGTH.pack(len(text)) + text)
    for part in parts:
        stream.write(part)
    stream.flush()


def read(stream: IO[bytes]) -> Message:
    """Receive one message; EOFError where it ends too early."""
    (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
    if length > _LONGEST:
        raise ValueError(f"expected a head of at most {_LONGEST} bytes, found {length}")
    head = json.loads(_exactly(stream, length))
    return Message(head, [_exactly(stream, int(n)) for n in head.pop("parts")])


def _exactly(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise EOFError(f"expected {count} bytes, got {len(data)}")
    return data
