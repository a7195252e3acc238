"""A few words of Google's and Azure's storage on the loop-back, in memory.

``python tests/servers/clouds.py`` prints one line of JSON (``google``, ``azure``: addresses) and
stops when its standard input ends. Both know reading with ranges, writing (also only if there is
none), lists and removing. ``/_asked`` says which requests have come, with who signed them.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

sys.path.insert(0, str(Path(__file__).parent))

from _process import HOST, Handler, serve_until_eof

__all__ = ["clouds"]

_WHEN = "Wed, 01 Jan 2020 00:00:00 GMT"
_GOOGLE = re.compile(r"/(?:(?:upload|download)/)?storage/v1/b/([^/]+)(?:/o(?:/(.+))?)?")


class _Handler(Handler):
    kept: dict[str, bytes]
    asked: list[str]
    lock: threading.Lock

    def handle(self) -> None:
        """Until whoever asks goes away."""
        with suppress(ConnectionError):
            super().handle()

    def _json(self, value: Any, status: int = 200) -> None:
        self._say(status, json.dumps(value).encode(), Content_Type="application/json")

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/_asked":
            self._json(self.asked)
            return
        self.asked.append(f"{self.command} {self.path} {self.headers.get('Authorization', '')}")
        self._act(parts.path, query, body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer

    def _act(self, path: str, query: dict[str, str], body: bytes) -> None:
        raise NotImplementedError

    def _keep(self, key: str, data: bytes, once: bool) -> bool:
        with self.lock:
            if once and key in self.kept:
                return False
            self.kept[key] = data
            return True

    def _missing(self) -> None:
        self._say(404, b"{}", Content_Type="application/json", x_ms_error_code="BlobNotFound")

    def _read(self, data: bytes, span: str | None, **headers: str) -> None:
        headers |= {"ETag": f'"{hashlib.md5(data).hexdigest()}"', "Last_Modified": _WHEN}
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", span or "")
        if found is None:
            self._say(200, data, **headers)
            return
        first = int(found[1])
        last = min(int(found[2] or len(data)), len(data) - 1)
        if first > last:
            self._say(416)
            return
        where = f"bytes {first}-{last}/{len(data)}"
        self._say(206, data[first : last + 1], Content_Range=where, **headers)

    def _listed(self, top: str, prefix: str, delimiter: str) -> tuple[list[str], list[str]]:
        """Names below a prefix, and folders."""
        names, folders = [], set()
        for key in sorted(self.kept):
            inside = key.removeprefix(top)
            if not key.startswith(top) or not inside.startswith(prefix):
                continue
            rest = inside[len(prefix) :]
            if delimiter and delimiter in rest:
                folders.add(prefix + rest.partition(delimiter)[0] + delimiter)
            else:
                names.append(inside)
        return names, sorted(folders)


class _Google(_Handler):
    def _act(self, path: str, query: dict[str, str], body: bytes) -> None:
        found = _GOOGLE.fullmatch(path)
        if found is None:
            self._missing()
            return
        top, name = f"{found[1]}/", unquote(found[2] or "")
        if path.startswith("/upload"):
            head, _, rest = body.partition(b"\n\n")[2].partition(b"\n--==0==")
            name = json.loads(head)["name"]
            data = rest.partition(b"\n\n")[2].removesuffix(b"\n--==0==--")
            if self._keep(top + name, data, query.get("ifGenerationMatch") == "0"):
                self._json(self._object(top, name))
            else:
                self._json({"error": {"code": 412, "message": "conditionNotMet"}}, 412)
        elif self.command == "DELETE":
            self.kept.pop(top + name, None)
            self._say(204)
        elif not name:
            names, folders = self._listed(top, query.get("prefix", ""), query.get("delimiter", ""))
            self._json({"items": [self._object(top, n) for n in names], "prefixes": folders})
        elif top + name not in self.kept:
            self._missing()
        elif query.get("alt") == "media":
            self._read(self.kept[top + name], self.headers.get("Range"))
        else:
            self._json(self._object(top, name))

    def _object(self, top: str, name: str) -> dict[str, Any]:
        data = self.kept[top + name]
        tag = hashlib.md5(data).hexdigest()
        return {
            "kind": "storage#object", "bucket": top[:-1], "name": name, "size": str(len(data)),
            "etag": tag, "generation": "1", "updated": "2020-01-01T00:00:00.000Z",
        }  # fmt: skip


class _Azure(_Handler):
    def _act(self, path: str, query: dict[str, str], body: bytes) -> None:
        _, container, name = (*unquote(path).lstrip("/").split("/", 2), "")[:3]
        key = f"{container}/{name}"
        facts = {
            "x_ms_blob_type": "BlockBlob", "x_ms_version": "2020-10-02", "Accept_Ranges": "bytes",
            "x_ms_creation_time": _WHEN, "x_ms_request_id": "1",
        }  # fmt: skip
        if query.get("comp") == "list":
            self._list(container, query)
        elif self.command == "PUT":
            once = self.headers.get("If-None-Match") == "*"
            if self._keep(key, body, once):
                self._say(201, ETag='"1"', Last_Modified=_WHEN, **facts)
            else:
                self._say(409, b"", x_ms_error_code="BlobAlreadyExists")
        elif self.command == "DELETE":
            self.kept.pop(key, None)
            self._say(202, **facts)
        elif key not in self.kept:
            self._missing()
        else:
            span = self.headers.get("x-ms-range") or self.headers.get("Range")
            self._read(self.kept[key], span, **facts)

    def _list(self, container: str, query: dict[str, str]) -> None:
        names, folders = self._listed(
            f"{container}/", query.get("prefix", ""), query.get("delimiter", "")
        )
        inner = [
            f"<Blob><Name>{escape(name)}</Name><Properties><Content-Length>"
            f"{len(self.kept[f'{container}/{name}'])}</Content-Length><Last-Modified>{_WHEN}"
            "</Last-Modified><Etag>1</Etag><BlobType>BlockBlob</BlobType></Properties></Blob>"
            for name in names
        ]
        inner += [f"<BlobPrefix><Name>{escape(name)}</Name></BlobPrefix>" for name in folders]
        text = (
            "<?xml version='1.0' encoding='utf-8'?>"
            f"<EnumerationResults ContainerName='{container}'>"
            f"<Prefix>{escape(query.get('prefix', ''))}</Prefix><Blobs>"
            f"{''.join(inner)}</Blobs><NextMarker /></EnumerationResults>"
        )
        self._say(200, text.encode(), Content_Type="application/xml")


@contextmanager
def clouds() -> Iterator[dict[str, Any]]:
    """Run both servers in threads; yields their addresses."""
    running, facts = [], {}
    for name, kind in (("google", _Google), ("azure", _Azure)):
        state = {"kept": {}, "asked": [], "lock": threading.Lock()}
        made = ThreadingHTTPServer((HOST, 0), type("Handler", (kind,), state))
        made.daemon_threads = True
        threading.Thread(target=made.serve_forever, daemon=True).start()
        running.append(made)
        facts[name] = f"http://{HOST}:{made.server_address[1]}"
    try:
        yield facts
    finally:
        for made in running:
            made.shutdown()
            made.server_close()


if __name__ == "__main__":
    with clouds() as facts:
        serve_until_eof(facts)
