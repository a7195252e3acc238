"""What the servers share: free ports, children that end with their parent, waiting for stdin."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

__all__ = ["HOST", "Handler", "free_ports", "launch", "serve_until_eof", "stop", "wait_for_http"]

HOST = "127.0.0.1"
_PR_SET_PDEATHSIG = 1


class Handler(BaseHTTPRequestHandler):
    """Answers with a length, keeps the connection, writes no log."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _say(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def free_ports(count: int) -> list[int]:
    """Ports of the loop-back that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in sockets]


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def launch(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Start a daemon in the foreground; it ends with this process."""
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )


def stop(children: list[subprocess.Popen[bytes]]) -> None:
    """End daemons, the last one first."""
    for child in reversed(children):
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def wait_for_http(url: str, child: subprocess.Popen[bytes], log: Path, seconds: float) -> None:
    """Wait until somebody answers; the end of the log is in the error."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and child.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"{url} does not answer: {log.read_text(errors='replace')[-2000:]}")


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    def leave(*_: Any) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, leave)
    with contextlib.suppress(KeyboardInterrupt):
        yield


def serve_until_eof(facts: dict[str, Any]) -> None:
    """Tell whoever started this process where the server is, then wait until it goes away."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()
    with _signals():
        while os.read(0, 1 << 12):
            pass
