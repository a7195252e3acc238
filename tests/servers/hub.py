"""The Hugging Face hub on the loop-back: repositories of data sets out of a folder, read-only.

``python tests/servers/hub.py FOLDER`` serves FOLDER/OWNER/NAME/... and prints one line of JSON
(``endpoint``); it stops when its standard input ends. Like the hub it lists a folder page by page
with a Link to the next one, hands a file out by sending on to another address, answers 401 for a
repository that it does not have, and 404 for a path that a repository does not have.
``/_asked`` says which requests have come.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

sys.path.insert(0, str(Path(__file__).parent))

from _process import HOST, Handler, serve_until_eof

__all__ = ["hub"]

_PAGE = 2
_TREE = re.compile(r"/api/datasets/([^/]+/[^/]+)/tree/([^/]+)(?:/(.*))?")
_FILE = re.compile(r"/datasets/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


class _Handler(Handler):
    root: Path
    asked: list[str]

    def do_GET(self) -> None:
        """A list, a file, or where a file really is."""
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        if path == "/_asked":
            self._say(200, json.dumps(self.asked).encode())
            return
        self.asked.append(f"{self.command} {self.path} {self.headers.get('Authorization', '')}")
        if path.startswith("/stored/"):
            self._stored(self.root / path.removeprefix("/stored/"))
            return
        tree, file = _TREE.fullmatch(path), _FILE.fullmatch(path)
        found = tree or file
        if found is None or not (self.root / found[1]).is_dir():
            self._say(401, b"Invalid username or password.")
            return
        place = self.root / found[1] / (found[3] or "")
        if found[2] != "main" or not (place.is_dir() if tree else place.is_file()):
            self._say(404, b"Entry not found")
        elif tree:
            self._list(place, self.root / found[1], parse_qs(parts.query))
        else:
            self._say(302, Location=f"/stored/{quote(f'{found[1]}/{found[3]}')}")

    do_HEAD = do_GET

    def _list(self, folder: Path, top: Path, query: dict[str, list[str]]) -> None:
        deep = query.get("recursive") == ["true"]
        every = sorted(folder.rglob("*") if deep else folder.iterdir())
        first = int(query.get("cursor", ["0"])[0])
        entries = [
            {
                "type": "directory" if one.is_dir() else "file",
                "oid": hashlib.sha1(str(one).encode()).hexdigest(),
                "size": 0 if one.is_dir() else one.stat().st_size,
                "path": one.relative_to(top).as_posix(),
            }
            for one in every[first : first + _PAGE]
        ]
        more = {}
        if first + _PAGE < len(every):
            address = f"http://{self.headers['Host']}{urlsplit(self.path).path}"
            kept = f"recursive=true&cursor={first + _PAGE}" if deep else f"cursor={first + _PAGE}"
            more["Link"] = f'<{address}?{kept}>; rel="next"'
        self._say(200, json.dumps(entries).encode(), Content_Type="application/json", **more)

    def _stored(self, place: Path) -> None:
        data = place.read_bytes()
        tag = f'"{hashlib.md5(data).hexdigest()}"'
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if span is None:
            self._say(200, data, ETag=tag, Accept_Ranges="bytes")
            return
        first, last = int(span[1]), min(int(span[2] or len(data)), len(data) - 1)
        where = f"bytes {first}-{last}/{len(data)}"
        self._say(206, data[first : last + 1], ETag=tag, Content_Range=where)


@contextmanager
def hub(root: Path) -> Iterator[dict[str, Any]]:
    """Run the server in a thread; yields ``endpoint``."""
    handler = type("Handler", (_Handler,), {"root": root, "asked": []})
    made = ThreadingHTTPServer((HOST, 0), handler)
    made.daemon_threads = True
    threading.Thread(target=made.serve_forever, daemon=True).start()
    try:
        yield {"endpoint": f"http://{HOST}:{made.server_address[1]}"}
    finally:
        made.shutdown()
        made.server_close()


if __name__ == "__main__":
    with hub(Path(sys.argv[1])) as facts:
        serve_until_eof(facts)
