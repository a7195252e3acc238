"""Objects of a store by key, from ordinary code: zarr's stores are asynchronous."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Coroutine, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import LocalStore, ObjectStore

from xphys._storage import is_url
from xphys.io._icechunk import Place, is_icechunk
from xphys.io._url_store import UrlStore, url_store

__all__ = [
    "CONCURRENCY",
    "delete",
    "get",
    "get_many",
    "is_leftover",
    "join",
    "keys",
    "open_store",
    "put",
    "put_if_absent",
    "read",
    "remove_empty",
    "remove_leftovers",
    "remove_tree",
    "span",
    "wait",
    "write",
]

# Requests under way at once: enough to hide the latency of an object store.
CONCURRENCY = 32
# Local stores write to NAME.<32 digits>.partial, then rename.
_HALF_WRITTEN = re.compile(r"\.[0-9a-f]{32}\.partial$")


def open_store(
    store: Any, storage_options: Mapping[str, Any] | None = None, *, read_only: bool = False
) -> Store:
    """A zarr store for a local folder, a URL, or a store.

    Parameters
    ----------
    store : str, path, zarr store or obstore store
        What users pass.
    storage_options : mapping, optional
        For the file system of a URL.
    read_only : bool, default False
        Refuse writing.

    Returns
    -------
    zarr store
        Nothing has been read.
    """
    if isinstance(store, Store):
        return store
    if type(store).__module__.partition(".")[0] == "obstore":
        return ObjectStore(store, read_only=read_only)
    path = os.fspath(store)
    if is_icechunk(path):
        # known by what it imports: the store of a repository keeps the journal in commits
        from xphys.io._icechunk_store import RepositoryStore
        from xphys.io._icechunk_write import WritingStore

        at = Place.of(path, storage_options)
        return RepositoryStore.open_state(at) if read_only else WritingStore(at)
    if is_url(path):
        return url_store(path, storage_options, read_only=read_only)
    return LocalStore(os.path.expanduser(path), read_only=read_only)


def join(*parts: str) -> str:
    """A key from parts, some of which may be empty."""
    return "/".join(p.strip("/") for p in parts if p.strip("/"))


async def get(store: Store, key: str) -> bytes | None:
    """All bytes of an object, None if there is none."""
    found = await store.get(key, default_buffer_prototype())
    return None if found is None else found.to_bytes()


async def put(store: Store, key: str, data: bytes) -> None:
    """Write an object, replacing an older one."""
    await store.set(key, default_buffer_prototype().buffer.from_bytes(data))


async def put_if_absent(store: Store, key: str, data: bytes) -> None:
    """Write an object unless there is one."""
    await store.set_if_not_exists(key, default_buffer_prototype().buffer.from_bytes(data))


async def delete(store: Store, key: str) -> None:
    """Remove an object if it exists."""
    await store.delete(key)


async def remove_tree(store: Store, prefix: str) -> None:
    """Remove all objects below a prefix, also while somebody else does the same."""
    found = await keys(store, prefix)
    if isinstance(store, UrlStore):  # in order, some at a time: there are no folders
        for start in range(0, len(found), CONCURRENCY):
            await asyncio.gather(*map(store.delete, found[start : start + CONCURRENCY]))
        return
    for key in found:
        with suppress(FileNotFoundError):
            await store.delete(key)
    with suppress(OSError):  # folders that are left empty, of a local store
        await store.delete_dir(prefix)


def remove_empty(folder: Path) -> None:
    """Remove the folders in a local folder that hold no file."""
    for inside, _, _ in os.walk(folder, topdown=False):
        with suppress(OSError):  # not empty, or gone
            os.rmdir(inside)


def is_leftover(key: str) -> bool:
    """True for what a killed writer of a local store has not renamed: no reader finds it."""
    return _HALF_WRITTEN.search(key) is not None


async def remove_leftovers(store: Store, prefix: str) -> None:
    """Remove what a killed writer of a local store has not renamed yet."""
    if isinstance(store, UrlStore):  # a server shows whole objects only
        return
    for key in await keys(store, prefix):
        if is_leftover(key):
            with suppress(FileNotFoundError):
                await store.delete(key)


async def keys(store: Store, prefix: str) -> list[str]:
    """Sorted keys that begin with prefix and a slash (all keys for an empty prefix)."""
    start = f"{prefix.rstrip('/')}/" if prefix else ""
    if not store.supports_listing:
        return []
    try:
        return sorted([key async for key in store.list_prefix(start)])
    except FileNotFoundError:  # removed while it was listed
        return []


async def get_many(store: Store, wanted: Iterable[str]) -> dict[str, bytes | None]:
    """Many objects, some requests at a time."""
    gate = asyncio.Semaphore(CONCURRENCY)

    async def one(key: str) -> tuple[str, bytes | None]:
        async with gate:
            return key, await get(store, key)

    return dict(await asyncio.gather(*(one(key) for key in wanted)))


def span(byte_range: ByteRequest, length: int) -> slice:
    """The part of an object of a length that a request names."""
    if isinstance(byte_range, RangeByteRequest):
        return slice(byte_range.start, byte_range.end)
    if isinstance(byte_range, OffsetByteRequest):
        return slice(byte_range.offset, None)
    return slice(max(length - byte_range.suffix, 0), None)


def wait(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine on zarr's own event loop and return what it returns."""
    return sync(coroutine)


def read(store: Store, key: str) -> bytes | None:
    """`get`, waiting for it."""
    data: bytes | None = sync(get(store, key))
    return data


def write(store: Store, key: str, data: bytes) -> None:
    """`put`, waiting for it."""
    sync(put(store, key, data))
