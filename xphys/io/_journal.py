"""The journal of a write: who writes, what was there before, and a record of every unit.

It lies under ``_xphys/journal`` in the group while a write runs:

``run.json``
    The run and its fingerprint; made before anything else, removed last.
``before/KEY``
    Bytes of an object that the run replaces (one byte 1 and the bytes; a byte 0 if there was
    none), so that a write that cannot go on can be undone.
``units/KEY``
    Records of the units in an object, put before the object is.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

from xphys.errors import StoreConflictError, UnfinishedStoreError
from xphys.io import _objects as objects
from xphys.io._manifest import document_bytes, parse_document
from xphys.io._records import RECORD

__all__ = ["PLACE", "BeforeStore", "Journal", "Run", "read_run"]

PLACE = "_xphys/journal"
# How long a writer may work on without looking whether another one has taken the store.
_PATIENCE = 0.05  # seconds


@dataclass(frozen=True)
class Run:
    """One write.

    Attributes
    ----------
    identity : str
        Equal for the same code on the same data, hexadecimal: only then may work be resumed.
    fingerprint : str
        Hash of settings and source, to which digests are bound, hexadecimal.
    generation : int
        Its number in the manifest.
    call : str
        Token of an append or change as it was asked for: tells, once the group is sealed and
        the state before is forgotten, whether the same is asked for again.
    """

    identity: str
    fingerprint: str
    generation: int
    call: str = field(default="", compare=False)

    def document(self) -> bytes:
        """As JSON."""
        return document_bytes(asdict(self))


def read_run(store: Store, group: str) -> Run | None:
    """The run that has not sealed a group, None if there is none."""
    key = objects.join(group, PLACE, "run.json")
    data = objects.read(store, key)
    return None if data is None else _parse_run(data, key)


def _parse_run(data: bytes, key: str) -> Run:
    found = parse_document(data, key)
    try:
        return Run(
            str(found["identity"]),
            str(found["fingerprint"]),
            int(found["generation"]),
            str(found["call"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UnfinishedStoreError(f"{key}: expected a run, lacking {error}") from error


class BeforeStore(WrapperStore[Store]):
    """A group as it was before the run that is under way in it.

    Parameters
    ----------
    store : zarr store
        The store.
    group : str
        Path of the group in it.
    """

    def __init__(self, store: Store, group: str) -> None:
        super().__init__(store)
        self.group = group

    def _with_store(self, store: Store) -> BeforeStore:
        return type(self)(store, self.group)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """What the journal has kept in place of what the run has put there."""
        if key.startswith(self.group) and byte_range is None:
            inside = key[len(self.group) :].lstrip("/")
            kept = await objects.get(self._store, objects.join(self.group, PLACE, "before", inside))
            if kept:
                return None if kept[:1] == b"\0" else prototype.buffer.from_bytes(kept[1:])
        return await self._store.get(key, prototype, byte_range)


class Journal:
    """The journal of one run in one group.

    Parameters
    ----------
    store : zarr store
        The store.
    group : str
        Path of the group in it.
    run : Run
        The run.
    """

    def __init__(self, store: Store, group: str, run: Run) -> None:
        self.store, self.group, self.run = store, group, run
        self._checked = 0.0

    def key(self, *parts: str) -> str:
        """Key of an object of the journal."""
        return objects.join(self.group, PLACE, *parts)

    def begin(self) -> None:
        """Take the group for this run.

        Raises
        ------
        StoreConflictError
            If another run has taken it.
        """
        bare = document_bytes({"zarr_format": 3, "node_type": "group", "attributes": {}})
        try:
            made = objects.put_if_absent(self.store, self.key("run.json"), self.run.document())
            objects.wait(made)
            self._compare(objects.read(self.store, self.key("run.json")))
            # so that Zarr, listing the group, takes this for a part of it
            objects.write(self.store, objects.join(self.group, "_xphys/zarr.json"), bare)
        except FileNotFoundError as error:  # its folder was removed meanwhile
            raise StoreConflictError(f"{self.store}: another run replaces this store") from error

    def _compare(self, found: bytes | None) -> None:
        if found is None or _parse_run(found, self.key("run.json")) != self.run:
            raise StoreConflictError(
                f"{self.store}: another run writes here or was stopped here: finish it with the "
                "code that began it, or replace the store with mode='w'"
            )

    async def check(self) -> None:
        """Make sure now and then that no other run has taken the group."""
        if time.monotonic() - self._checked > _PATIENCE:
            found = await objects.get(self.store, self.key("run.json"))
            if found is None:  # sealed by another writer of the same run: leave nothing behind
                await objects.remove_tree(self.store, self.key())
            self._compare(found)
            self._checked = time.monotonic()

    async def keep(self, key: str) -> None:
        """Keep what is stored under a key of the group, unless that was done before."""
        place = self.key("before", key)
        if await self.store.exists(place):
            return
        found = await objects.get(self.store, objects.join(self.group, key))
        await objects.put(self.store, place, b"\0" if found is None else b"\1" + found)

    async def note(self, key: str, records: Iterable[np.ndarray]) -> None:
        """Write the records of an object."""
        data = b"".join(r.tobytes() for r in records)
        await objects.put(self.store, self.key("units", key), data)

    async def noted(self) -> dict[str, np.ndarray]:
        """Records of all objects that were noted, by key in the group."""
        start = self.key("units") + "/"
        found = await objects.keys(self.store, self.key("units"))
        loaded = await objects.get_many(self.store, found)
        return {
            key[len(start) :]: np.frombuffer(data, RECORD)
            for key, data in loaded.items()
            if data is not None and len(data) % RECORD.itemsize == 0 and data
        }

    async def before(self) -> dict[str, bytes | None]:
        """What was stored before the run, by key in the group; None for nothing."""
        start = self.key("before") + "/"
        places = await objects.keys(self.store, self.key("before"))
        loaded = await objects.get_many(self.store, places)
        return {
            place[len(start) :]: None if data[:1] == b"\0" else data[1:]
            for place, data in loaded.items()
            if data
        }

    def end(self) -> None:
        """Remove the journal, the run last: until then the group is unfinished."""
        objects.wait(self._end())

    async def _end(self) -> None:
        await objects.remove_leftovers(self.store, self.group)
        for part in ("units", "before"):
            await objects.remove_tree(self.store, self.key(part))
        await objects.remove_tree(self.store, self.key())

    def sweep(self) -> None:
        """Remove what is left of a journal whose run has ended."""
        if objects.read(self.store, self.key("run.json")) is None:
            objects.wait(objects.remove_tree(self.store, self.key()))

    def mine(self) -> bool:
        """True if no other run has taken the group."""
        found = objects.read(self.store, self.key("run.json"))
        return found is not None and _parse_run(found, self.key("run.json")) == self.run

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_checked": 0.0}
