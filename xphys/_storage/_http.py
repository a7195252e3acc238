"""Plain HTTP by fsspec; aiohttp, which it needs, comes with the extra ``cloud``."""

from __future__ import annotations

import re
from typing import Any

import aiohttp
from fsspec.implementations.http import HTTPFileSystem

from xphys._storage._remote import CONNECTIONS

__all__ = ["CheckedHTTP", "client"]

# Nothing for so long, and the connection is taken for broken.
_SILENCE = 60.0  # seconds


class CheckedHTTP(HTTPFileSystem):  # type: ignore[misc]
    """One GET for an object or a part of it, with the answer held against what was asked."""

    async def _cat_file(
        self, url: str, start: int | None = None, end: int | None = None, **kwargs: Any
    ) -> bytes:
        headers = dict(self.kwargs.get("headers", {}))
        ranged = start is not None or end is not None
        if ranged:
            if start == end:
                return b""
            headers["Range"] = await self._process_limits(url, start, end)
        session = await self.set_session()
        wanted = {**self.kwargs, **kwargs, "headers": headers}
        async with session.get(self.encode_url(url), **wanted) as answer:
            answer.raise_for_status()
            body = bytes(await answer.read())
            span = re.match(r"bytes (\d+)-(\d+)/", answer.headers.get("Content-Range", ""))
            if ranged and answer.status == 200:  # a server that knows no ranges
                return body[slice(start, end)]
        if ranged and span and len(body) != int(span[2]) - int(span[1]) + 1:
            raise ConnectionError(f"got {len(body)} bytes of the range {span[0]}")
        return body


async def client(loop: Any = None, **options: Any) -> Any:
    """A session that waits as long as bytes come."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_SILENCE, sock_read=_SILENCE)
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    return aiohttp.ClientSession(**{"timeout": timeout, "connector": connector, **options})
