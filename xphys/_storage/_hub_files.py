"""The Hugging Face hub: files at their plain addresses, lists from its interface for trees."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from fsspec.utils import glob_translate

from xphys._storage._http import CheckedHTTP
from xphys._storage._hub import ADDRESS, hub_url
from xphys.errors import FormatError, RemoteError

__all__ = ["HubFileSystem"]

_MAGIC = re.compile(r"[*?\[]")
_PAGES = 1000  # of 1000 entries


class HubFileSystem(CheckedHTTP):
    """Plain HTTP, and lists of what a repository holds."""

    async def _ls(self, url: str, detail: bool = True, **kwargs: Any) -> Any:
        found = await self._tree(url, recursive=False)
        return found if detail else sorted(one["name"] for one in found)

    async def _glob(self, path: str, maxdepth: int | None = None, **kwargs: Any) -> list[str]:
        """One list for a pattern, of all that lies below if folders are left open too."""
        parts = path.split("/")
        first = next((n for n, part in enumerate(parts) if _MAGIC.search(part)), len(parts) - 1)
        found = await self._tree("/".join(parts[:first]), recursive=first < len(parts) - 1)
        fits = re.compile(glob_translate(path))
        return sorted(one["name"] for one in found if fits.match(one["name"]))

    async def _tree(self, address: str, *, recursive: bool) -> list[dict[str, Any]]:
        address = f"{address.rstrip('/')}/"
        place = ADDRESS.match(address)
        if place is None:
            raise FormatError(f"{address}: expected a folder of a repository of the hub")
        root = address[: place.start("path")]
        inside = quote(place["path"].rstrip("/"))
        url = self.encode_url(
            f"{place['endpoint']}/api/{place['kind'] or 'models'}/{place['name']}"
            f"/tree/{place['revision']}/{inside}".rstrip("/")
        )
        entries: list[Any] = []
        query: dict[str, str] | None = {"recursive": "true"} if recursive else None
        session = await self.set_session()
        for _ in range(_PAGES):
            async with session.get(url, params=query, **self.kwargs) as answer:
                self._raise_not_found_for_status(answer, hub_url(address))
                entries += await answer.json()
                after = answer.links.get("next", {}).get("url")
            if after is None:
                return [_entry(root, one) for one in entries]
            if after.origin() != url.origin():  # a token must not go to others
                raise RemoteError(f"{hub_url(address)}: its list goes on at {after.origin()}")
            url, query = after, None
        raise RemoteError(f"{hub_url(address)}: its list has more than {_PAGES} pages")


def _entry(root: str, one: Mapping[str, Any]) -> dict[str, Any]:
    folder = one.get("type") == "directory"
    return {
        "name": f"{root}{one['path']}",
        "size": None if folder else one.get("size"),
        "type": "directory" if folder else "file",
    }
