"""A few words of S3 on the loop-back, in memory: enough to test against without a real server.

``python tests/servers/objects.py`` prints one line of JSON (``endpoint``) and stops when its
standard input ends. It knows GET with ranges, HEAD, PUT (also only if there is none), DELETE and
lists, asks for no signature, and is a plain web server to whoever takes it for one.
"""

from __future__ import annotations

import hashlib
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

sys.path.insert(0, str(Path(__file__).parent))

from _process import HOST, Handler, serve_until_eof

__all__ = ["objects"]


class _Handler(Handler):
    kept: dict[str, bytes]
    lock: threading.Lock

    def _refuse(self, status: int, code: str, **headers: str) -> None:
        self._say(status, f"<?xml version='1.0'?><Error><Code>{code}</Code></Error>".encode())

    @property
    def _key(self) -> str:
        return unquote(urlsplit(self.path).path).lstrip("/")

    def do_GET(self) -> None:
        """An object, a part of it, or a list."""
        query = parse_qs(urlsplit(self.path).query)
        if "list-type" in query:
            self._list(query.get("prefix", [""])[0], query.get("delimiter", [""])[0])
            return
        bucket = self._key.strip("/")
        if self.command == "HEAD" and "/" not in bucket:
            there = any(key.startswith(f"{bucket}/") for key in self.kept)
            self._say(200 if there else 404)
            return
        data = self.kept.get(self._key)
        if data is None:
            self._refuse(404, "NoSuchKey")
            return
        tag = f'"{hashlib.md5(data).hexdigest()}"'
        span = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if span is None:
            self._say(200, data, ETag=tag, Accept_Ranges="bytes")
            return
        start, end = span[1], span[2]
        first = int(start) if start else max(len(data) - int(end), 0)
        last = min(int(end), len(data) - 1) if start and end else len(data) - 1
        if first > last:
            self._refuse(416, "InvalidRange")
            return
        where = f"bytes {first}-{last}/{len(data)}"
        self._say(206, data[first : last + 1], ETag=tag, Content_Range=where)

    do_HEAD = do_GET

    def _list(self, prefix: str, delimiter: str) -> None:
        bucket = self._key.strip("/") + "/"
        contents, folders = [], set()
        for key in sorted(self.kept):
            inside = key.removeprefix(bucket)
            if not key.startswith(bucket) or not inside.startswith(prefix):
                continue
            rest = inside[len(prefix) :]
            if delimiter and delimiter in rest:
                folders.add(prefix + rest.partition(delimiter)[0] + delimiter)
                continue
            size, when = len(self.kept[key]), "2020-01-01T00:00:00.000Z"
            contents.append(
                f"<Contents><Key>{escape(inside)}</Key><Size>{size}</Size>"
                f'<LastModified>{when}</LastModified><ETag>"0"</ETag></Contents>'
            )
        parts = [f"<CommonPrefixes><Prefix>{escape(f)}</Prefix></CommonPrefixes>" for f in folders]
        count = f"<KeyCount>{len(contents) + len(parts)}</KeyCount><IsTruncated>false</IsTruncated>"
        inner = "".join([count, *contents, *parts])
        self._say(200, f"<ListBucketResult>{inner}</ListBucketResult>".encode())

    def do_PUT(self) -> None:
        """Keep an object."""
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with self.lock:
            taken = self.headers.get("If-None-Match") == "*" and self._key in self.kept
            if not taken:
                self.kept[self._key] = data
        if taken:
            self._refuse(412, "PreconditionFailed")
        else:
            self._say(200, ETag=f'"{hashlib.md5(data).hexdigest()}"')

    def do_DELETE(self) -> None:
        """Forget one."""
        with self.lock:
            self.kept.pop(self._key, None)
        self._say(204)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


@contextmanager
def objects() -> Iterator[dict[str, Any]]:
    """Run the server in a thread; yields ``endpoint``."""
    handler = type("Handler", (_Handler,), {"kept": {}, "lock": threading.Lock()})
    made = _Server((HOST, 0), handler)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    try:
        yield {"endpoint": f"http://{HOST}:{made.server_address[1]}"}
    finally:
        made.shutdown()
        made.server_close()


if __name__ == "__main__":
    with objects() as facts:
        serve_until_eof(facts)
