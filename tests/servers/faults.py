"""A proxy on the loop-back that counts requests and spoils some of them.

``python tests/servers/faults.py HOST:PORT`` prints one line of JSON (``endpoint``) and forwards
what it gets to HOST:PORT until its standard input ends. ``POST /_faults`` with JSON sets what is
spoiled from then on (`Faults`) and forgets what was counted; ``GET /_faults`` tells it: number of
requests, bytes, spoiled ones by kind, and the last requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import struct
import sys
import threading
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from _process import HOST, serve_until_eof

__all__ = ["KINDS", "Faults", "proxy"]

KINDS = ("404", "403", "429", "500", "503", "reset", "lost", "short", "cut")
_CONTROL = "/_faults"
_LIMIT = 1 << 20
_LINES = 2000
_CODES = {"404": "NoSuchKey", "403": "AccessDenied", "429": "SlowDown", "503": "SlowDown"}
_REASONS = {"404": "Not Found", "403": "Forbidden", "429": "Too Many Requests"}


@dataclass
class Faults:
    """What is spoiled.

    Attributes
    ----------
    rate : float
        Part of all requests.
    kinds : sequence of str
        Of `KINDS`: an answer of that status, a connection that is reset before any answer
        ("reset") or once the server has acted ("lost"), one that ends inside the body
        ("short"), a body that ends early and whose Content-Length says so ("cut", which only a
        digest can tell).
    seed : int
        Of the choice.
    only : str
        Spoil requests only whose line holds this.
    most : int
        Stop after so many; -1 for no end.
    retry_after : float
        Seconds in the header of 429 and 503.
    count : dict
        What was reported before, to go on counting from.
    """

    rate: float = 0.0
    kinds: tuple[str, ...] = KINDS
    seed: int = 0
    only: str = ""
    most: int = -1
    retry_after: float = 0.0
    count: dict[str, Any] = field(default_factory=dict)


@dataclass
class _State:
    faults: Faults = field(default_factory=Faults)
    spoiled: Counter[str] = field(default_factory=Counter)
    methods: Counter[str] = field(default_factory=Counter)
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=_LINES))
    received: int = 0
    rng: random.Random = field(default_factory=lambda: random.Random(0))

    def choose(self, line: str) -> str:
        """Kind of the next fault, "" for none."""
        faults = self.faults
        enough = 0 <= faults.most <= sum(self.spoiled.values())
        if enough or faults.only not in line or self.rng.random() >= faults.rate:
            return ""
        kind = self.rng.choice(faults.kinds)
        self.spoiled[kind] += 1
        return kind

    def report(self) -> dict[str, Any]:
        return {
            "requests": sum(self.methods.values()),
            "methods": dict(self.methods),
            "bytes": self.received,
            "spoiled": dict(self.spoiled),
            "lines": list(self.lines),
        }


def _header(head: bytes, name: str) -> str:
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name.encode():
            return value.strip().decode()
    return ""


async def _body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    if _header(head, "transfer-encoding").lower() == "chunked":
        out = b""
        while True:
            line = await reader.readuntil(b"\r\n")
            piece = await reader.readexactly(int(line.split(b";")[0], 16) + 2)
            out += line + piece
            if piece == b"\r\n":
                return out
    return await reader.readexactly(int(_header(head, "content-length") or 0))


class _Proxy:
    def __init__(self, host: str, port: int) -> None:
        self.upstream = (host, port)
        self.state = _State()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        broken = (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError)
        with contextlib.suppress(*broken):
            while await self._one(reader, writer):
                pass
        writer.close()
        with contextlib.suppress(*broken):
            await writer.wait_closed()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Handle one request; whether the connection goes on."""
        head = await reader.readuntil(b"\r\n\r\n")
        line = head.split(b"\r\n", 1)[0].decode()
        method, path, _ = line.split(" ", 2)
        if _header(head, "expect"):
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await _body(reader, head)
        if path == _CONTROL:
            if method == "POST":
                wanted = Faults(**json.loads(body))
                self.state = _State(
                    wanted,
                    Counter(wanted.count.get("spoiled", {})),
                    Counter(wanted.count.get("methods", {})),
                    deque(wanted.count.get("lines", []), maxlen=_LINES),
                    wanted.count.get("bytes", 0),
                    random.Random(wanted.seed),
                )
            await self._say(writer, "200", json.dumps(self.state.report()), "OK")
            return True
        span = _header(head, "range")
        self.state.methods[method] += 1
        self.state.lines.append(f"{method} {path} {span}".rstrip())
        kind = self.state.choose(line)
        if kind == "reset":
            self._reset(writer)
            return False
        if kind.isdigit():
            wait = self.state.faults.retry_after if kind in ("429", "503") else 0
            code = _CODES.get(kind, "InternalError")
            text = f"<?xml version='1.0'?><Error><Code>{code}</Code></Error>"
            text = "" if method == "HEAD" else text
            await self._say(writer, kind, text, _REASONS.get(kind, "Error"), wait)
            return True
        return await self._forward(method, head, body, writer, kind)

    async def _forward(
        self, method: str, head: bytes, body: bytes, writer: asyncio.StreamWriter, kind: str
    ) -> bool:
        up, down = await asyncio.open_connection(*self.upstream, limit=_LIMIT)
        try:
            down.write(head.replace(b"Expect: 100-continue\r\n", b"") + body)
            answer = await up.readuntil(b"\r\n\r\n")
            empty = method == "HEAD" or answer.split(b" ", 2)[1] in (b"204", b"304")
            data = b"" if empty else await _body(up, answer)
        finally:
            down.close()
        self.state.received += len(data)
        whole = _header(answer, "content-length")
        if kind == "lost" or (kind and len(data) < 2):  # or nothing to shorten
            self._reset(writer)
            return False
        if kind == "short":
            writer.write(answer + data[: len(data) // 2])
            await writer.drain()
            return False
        if kind == "cut" and whole:
            data = data[: len(data) // 2]
            lines = [
                line
                for line in answer.split(b"\r\n")
                if not line.lower().startswith((b"content-length", b"content-range"))
            ]
            lines.insert(1, f"Content-Length: {len(data)}".encode())
            answer = b"\r\n".join(lines)
        writer.write(answer + data)
        await writer.drain()
        return _header(answer, "connection").lower() != "close"

    async def _say(
        self, writer: asyncio.StreamWriter, status: str, text: str, reason: str, wait: float = 0
    ) -> None:
        after = f"Retry-After: {wait:g}\r\n" if wait else ""
        head = f"HTTP/1.1 {status} {reason}\r\n{after}Content-Length: {len(text)}\r\n\r\n"
        writer.write((head + text).encode())
        await writer.drain()

    @staticmethod
    def _reset(writer: asyncio.StreamWriter) -> None:
        """No answer, and RST in place of an end."""
        link = writer.get_extra_info("socket")
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()


async def _end(server: asyncio.Server) -> None:
    server.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


@contextmanager
def proxy(upstream: str) -> Iterator[dict[str, Any]]:
    """Run a proxy in a thread.

    Parameters
    ----------
    upstream : str
        ``HOST:PORT`` of the server.

    Yields
    ------
    dict
        ``endpoint``.
    """
    host, _, port = upstream.rpartition(":")
    made = _Proxy(host, int(port))
    loop = asyncio.new_event_loop()
    ready: list[asyncio.Server] = []
    started = threading.Event()

    async def begin() -> None:
        ready.append(await asyncio.start_server(made.serve, HOST, 0, limit=_LIMIT))
        started.set()

    def work() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(begin())
        loop.run_forever()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    started.wait(10)
    try:
        yield {"endpoint": f"http://{HOST}:{ready[0].sockets[0].getsockname()[1]}"}
    finally:
        asyncio.run_coroutine_threadsafe(_end(ready[0]), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


if __name__ == "__main__":
    with proxy(sys.argv[1]) as facts:
        serve_until_eof(facts)
