"""A store that notes in the journal what it writes, before it writes it."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore, WrapperStore

from xphys.errors import CorruptDataError
from xphys.io import _objects as objects
from xphys.io._checking import CheckingStore
from xphys.io._journal import Journal
from xphys.io._layout import Index, Layout
from xphys.io._records import Describe, Facts, records_of

__all__ = ["RecordingStore"]


class RecordingStore(WrapperStore[Store]):
    """Where the chunks of a run go.

    Parameters
    ----------
    store : zarr store
        The store.
    journal : Journal
        Of the run.
    layouts : dict
        Grid of each array of the run, by its path in the group.
    describe : dict
        For payloads: what tells the measured errors of their bytes.
    old : CheckingStore or None
        The group as it was sealed before: what is replaced is kept, and units that are read to
        change a part of them are checked.
    """

    def __init__(
        self,
        store: Store,
        journal: Journal,
        layouts: dict[str, Layout],
        describe: dict[str, Describe],
        old: CheckingStore | None,
    ) -> None:
        super().__init__(store)
        self.journal, self.layouts, self.describe, self.old = journal, layouts, describe, old

    def _with_store(self, store: Store) -> RecordingStore:
        return type(self)(store, self.journal, self.layouts, self.describe, self.old)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, RecordingStore)
            and self._store == other._store
            and self.journal.run == other.journal.run
            and self.journal.run.writer == other.journal.run.writer
        )

    __hash__ = None  # type: ignore[assignment]

    def for_tasks(self) -> RecordingStore:
        """What the tasks of a write are given: the same, unless the store makes something of it."""
        return self._over(self._store.for_tasks()) if hasattr(self._store, "for_tasks") else self

    def part(self) -> RecordingStore:
        """What one task writes to: the same, unless the store puts parts together later."""
        return self._over(self._store.part()) if hasattr(self._store, "part") else self

    def handed(self) -> Any:
        """What that task hands over to those that come later, None for most stores."""
        return self._store.handed() if hasattr(self._store, "handed") else None

    def _over(self, store: Store) -> RecordingStore:
        journal = Journal(store, self.journal.group, self.journal.run)
        return type(self)(store, journal, self.layouts, self.describe, self.old)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Read, for changing a part of a unit: only what was sealed or is new."""
        place = self._locate(key)
        if self.old is not None and place is not None and self.old.manifest.locate(place[0]):
            return await self.old.get(key, prototype, byte_range)
        return await self._store.get(key, prototype, byte_range)

    async def set(self, key: str, value: Buffer) -> None:
        """Note an object, then write it."""
        place = self._locate(key)
        if place is None:
            await self._store.set(key, value)
            return
        inside, path, index = place
        await self._announce(inside)
        data = value.as_numpy_array().data
        if isinstance(self._store, LocalStore):
            put = self._store.set_sync

            def write() -> None:
                self.journal.note_here(inside, self._records(path, index, data))
                put(key, value)

            # in one thread: the bytes are still near the processor when they are hashed
            await asyncio.to_thread(write)
            return
        records = await asyncio.to_thread(self._records, path, index, data)
        await self.journal.note(inside, records)
        await self._store.set(key, value)

    async def delete(self, key: str) -> None:
        """Note that an object is left out, which Zarr does for fill values, then delete it."""
        place = self._locate(key)
        if place is not None:
            inside, path, index = place
            await self._announce(inside)
            await self.journal.note(inside, self._records(path, index, None))
        await self._store.delete(key)

    def _locate(self, key: str) -> tuple[str, str, Index] | None:
        group = self.journal.group
        inside = key[len(group) + 1 :] if group else key
        parts = inside.split("/")
        for n in range(len(parts) - 1, 0, -1):
            path = "/".join(parts[:n])
            if path in self.layouts:
                index = self.layouts[path].parse("/".join(parts[n:]))
                return None if index is None else (inside, path, index)
        return None

    async def _announce(self, inside: str) -> None:
        """Before an object is written: is the group still ours, and is what was there kept."""
        await self.journal.check()
        if self.old is not None:
            await self.journal.keep(inside)

    def _records(self, path: str, index: Index, data: bytes | memoryview | None) -> list[Any]:
        describe, run = self.describe.get(path), self.journal.run
        known = describe is not None and data is not None
        facts = describe(bytes(data)) if known else Facts()  # type: ignore[misc,arg-type]
        made = records_of(
            self.layouts[path],
            path,
            index,
            data,
            bytes.fromhex(run.fingerprint),
            run.generation,
            facts,
        )
        return [record for _, record in made]

    def same_bytes(self, inside: str, data: bytes | None, noted: np.ndarray) -> bool:
        """Whether an object holds the bytes that were noted of it."""
        place = self._locate(objects.join(self.journal.group, inside))
        if place is None:
            return False
        try:
            made = self._records(place[1], place[2], data)
        except CorruptDataError:
            return False
        return len(made) == len(noted) and all(
            one["state"] == other["state"] and bytes(one["digest"]) == bytes(other["digest"])
            for one, other in zip(made, noted, strict=True)
        )

    async def trusted(self) -> frozenset[str]:
        """Keys in the group of objects whose bytes match what was noted of them."""
        noted = await self.journal.noted()
        gate = asyncio.Semaphore(objects.CONCURRENCY)

        async def intact(inside: str) -> str | None:
            async with gate:
                data = await objects.get(self._store, objects.join(self.journal.group, inside))
                same = await asyncio.to_thread(self.same_bytes, inside, data, noted[inside])
                return inside if same else None

        found = await asyncio.gather(*(intact(inside) for inside in noted))
        return frozenset(inside for inside in found if inside is not None)
