"""What saves requests to a server while a sealed store is read, and asks for bytes again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from zarr.abc.store import Store
from zarr.storage import WrapperStore

from xphys.errors import CorruptDataError
from xphys.io._url_store import UrlStore

__all__ = ["RemoteReads"]

Result = TypeVar("Result")

# Fronts of chunks that are kept, in bytes: they are read again for every step of a chunk.
_FRONTS = 2**24
_PAUSE = 0.2  # seconds, longest, before bytes are asked for again


class RemoteReads:
    """For one checking store; false for one that is not on a server.

    Parameters
    ----------
    store : zarr store
        What is checked, wrapped or not.

    Attributes
    ----------
    fronts : dict
        (key, length) -> first bytes of a chunk that have been checked.
    """

    def __init__(self, store: Store) -> None:
        while isinstance(store, WrapperStore):
            store = store._store
        self.repeats = store.repeats if isinstance(store, UrlStore) else 0
        self.fronts: dict[tuple[str, int], bytes] = {}
        self._kept = 0
        self._locks: dict[str, asyncio.Lock] = {}

    def __bool__(self) -> bool:
        return self.repeats > 0

    async def again(self, read: Callable[[], Awaitable[Result]]) -> Result:
        """Read and check; bytes that fail may have been lost on the way."""
        for _ in range(self.repeats):
            try:
                return await read()
            except CorruptDataError:
                await asyncio.sleep(random.uniform(0, _PAUSE))
        return await read()

    def once(self, name: str) -> AbstractAsyncContextManager[None]:
        """Held by one reader at a time, so that the others find what it has read."""
        return self._locks.setdefault(name, asyncio.Lock())

    def keep(self, key: str, end: int, data: bytes) -> None:
        """Remember the front of a chunk, in place of the oldest ones."""
        if not self or len(data) > _FRONTS // 16:
            return
        self.fronts[key, end] = data
        self._kept += len(data)
        while self._kept > _FRONTS:
            self._kept -= len(self.fronts.pop(next(iter(self.fronts))))
