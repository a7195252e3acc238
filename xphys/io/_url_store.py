"""Zarr stores behind URLs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import FsspecStore, WrapperStore

from xphys._storage._remote import is_remote, remote
from xphys.errors import RemoteError

__all__ = ["KnownStore", "UrlStore", "url_store"]


def url_store(
    url: str, storage_options: Mapping[str, Any] | None = None, *, read_only: bool = False
) -> FsspecStore:
    """A store for any URL; those of servers are asked again where the trouble may pass."""
    options = dict(storage_options or {})
    if not is_remote(url):
        return FsspecStore.from_url(url, storage_options=options, read_only=read_only)
    system, path = remote(url, options, asynchronous=True)
    return UrlStore(system, path=path, read_only=read_only or not system.writable)


class UrlStore(FsspecStore):
    """A store on a server, one request for each thing that is asked or done.

    Parameters
    ----------
    fs : RemoteFileSystem
        Asynchronous.
    read_only : bool
        Refuse writing.
    path : str
        In the file system.
    """

    #: How often a check that fails asks for the bytes again: they may have changed on the way.
    repeats = 4

    def __str__(self) -> str:
        return str(self.fs.url(self.path))

    @property
    def supports_listing(self) -> bool:  # type: ignore[override]
        """Whether objects can be listed: plain web servers cannot."""
        return bool(self.fs.writable)

    def _place(self, key: str) -> str:
        return f"{self.path}/{key}" if key else self.path

    async def exists(self, key: str) -> bool:
        """One byte is asked for: where keys cannot be listed, all else takes more requests."""
        try:
            await self.fs._cat_file(self._place(key), start=0, end=1)
        except FileNotFoundError:
            return False
        except RemoteError as error:
            if error.status == 416:  # there, and empty
                return True
            raise
        return True

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """The server decides who comes first."""
        self._check_writable()
        with suppress(FileExistsError):
            await self.fs._pipe_file(self._place(key), value.to_bytes(), mode="create")

    async def delete(self, key: str) -> None:
        """Remove an object if it exists."""
        self._check_writable()
        with suppress(FileNotFoundError):
            await self.fs._rm_file(self._place(key))

    async def delete_dir(self, prefix: str) -> None:
        """Remove all objects below a prefix."""
        self._check_writable()
        keys = [key async for key in self.list_prefix(f"{prefix}/" if prefix else "")]
        await asyncio.gather(*(self.delete(key) for key in keys))


class KnownStore(WrapperStore[Any]):
    """A store of which some objects have been read already.

    Parameters
    ----------
    store : zarr store
        The store.
    known : mapping
        Key -> bytes.
    """

    def __init__(self, store: Any, known: Mapping[str, bytes]) -> None:
        super().__init__(store)
        self._known = dict(known)

    def _with_store(self, store: Any) -> KnownStore:
        return type(self)(store, self._known)

    def __str__(self) -> str:
        return str(self._store)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """What is known, without a request."""
        if key in self._known and byte_range is None:
            return prototype.buffer.from_bytes(self._known[key])
        found: Buffer | None = await self._store.get(key, prototype, byte_range)
        return found
