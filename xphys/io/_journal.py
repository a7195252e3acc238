"""The journal of a write: who writes, what was there before, and a record of every unit.

It lies under ``_xphys/journal`` in the group while a write runs:

``run.json``
    The run, its fingerprint and a token of the writer that took the group; made before anything
    else, removed last. Whoever finds another token there has lost the group.
``ready``
    There when all that was to be replaced is gone: from then on equal runs may join.
``before/KEY``
    Bytes of an object that the run replaces (one byte 1 and the bytes; a byte 0 if there was
    none), so that a write that cannot go on can be undone.
``units/KEY`` (of a local store: entries of the files ``log/NUMBER``)
    Records of the units in an object, put before the object is.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore, WrapperStore

from xphys.errors import StoreConflictError, UnfinishedStoreError
from xphys.io import _objects as objects
from xphys.io._log import entries, forget, log_of
from xphys.io._manifest import PLACE as MANIFEST
from xphys.io._manifest import document_bytes, parse, parse_document
from xphys.io._records import RECORD, digest

__all__ = [
    "PLACE",
    "BeforeStore",
    "Journal",
    "Run",
    "has_sealed",
    "is_sealed",
    "parse_run",
    "read_run",
]

PLACE = "_xphys/journal"
# How long a writer may work on without looking whether another one has taken the store.
_PATIENCE = 0.05  # seconds
# How long an equal run that removes an older store is waited for.
_LONGEST_CLEARING = 2.0  # seconds
_TRIES = 5


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
    writer : str
        Token of the writer that took the group.
    replaces : str
        Digest of the manifest that lay there and is cleared away, if there was one: it may have
        the same fingerprint, and is not what this run has sealed.
    """

    identity: str
    fingerprint: str
    generation: int
    call: str = field(default="", compare=False)
    writer: str = field(default="", compare=False)
    replaces: str = field(default="", compare=False)

    def document(self) -> bytes:
        """As JSON."""
        return document_bytes(asdict(self))


def read_run(store: Store, group: str) -> Run | None:
    """The run that has not sealed a group, None if there is none."""
    key = objects.join(group, PLACE, "run.json")
    data = objects.read(store, key)
    return None if data is None else parse_run(data, key)


def parse_run(data: bytes, key: str) -> Run:
    """A run from its document."""
    found = parse_document(data, key)
    try:
        return Run(
            str(found["identity"]),
            str(found["fingerprint"]),
            int(found["generation"]),
            str(found["call"]),
            str(found["writer"]),
            str(found["replaces"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UnfinishedStoreError(f"{key}: expected a run, lacking {error}") from error


def _manifest_digest(store: Store, group: str) -> str | None:
    data = objects.read(store, objects.join(group, MANIFEST, "zarr.json"))
    return None if data is None else digest(data)


def is_sealed(store: Store, group: str, run: Run) -> bool:
    """Whether a run has sealed its group."""
    place = objects.join(group, MANIFEST, "zarr.json")
    return has_sealed(run, objects.read(store, place), place)


def has_sealed(run: Run, manifest: bytes | None, place: str) -> bool:
    """Whether it is this run that made the document of a manifest, which lies at a place."""
    if manifest is None or (run.generation == 0 and digest(manifest) == run.replaces):
        return False
    now = parse(manifest, place)
    return now.fingerprints[run.generation :] == [run.fingerprint]


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
        # in this order: what is replaced between the two has been kept before
        found = await self._store.get(key, prototype, byte_range)
        if not key.startswith(self.group):
            return found
        inside = key[len(self.group) :].lstrip("/")
        kept = await objects.get(self._store, objects.join(self.group, PLACE, "before", inside))
        if not kept:
            return found
        if kept[:1] == b"\0":
            return None
        part = kept[1:] if byte_range is None else kept[1:][objects.span(byte_range, len(kept) - 1)]
        return prototype.buffer.from_bytes(part)


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
        old = None if self.run.generation else _manifest_digest(self.store, self.group)
        self.run = replace(self.run, writer=uuid.uuid4().hex, replaces=old or "")
        bare = document_bytes({"zarr_format": 3, "node_type": "group", "attributes": {}})
        place, document = self.key("run.json"), self.run.document()
        for _ in range(_TRIES):
            # a run that ends meanwhile removes the folder
            with suppress(FileNotFoundError):
                objects.wait(objects.put_if_absent(self.store, place, document))
                break
        self._compare(objects.read(self.store, place))
        # so that Zarr, listing the group, takes this for a part of it
        objects.write(self.store, objects.join(self.group, "_xphys/zarr.json"), bare)

    def take_over(self) -> None:
        """`begin` in the place of another run, which may still be at work."""
        for name in ("ready", "run.json"):
            objects.wait(objects.delete(self.store, self.key(name)))
        self.begin()
        time.sleep(2 * _PATIENCE)  # by now it has looked, and stopped

    def clear(self) -> None:
        """Remove what is there, as long as the group is ours."""
        objects.wait(self._clear())

    async def _clear(self) -> None:
        own = {self.key("run.json"), objects.join(self.group, "_xphys/zarr.json")}
        for key in await objects.keys(self.store, self.group):
            if key not in own:
                await self.check()
                with suppress(FileNotFoundError):
                    await objects.delete(self.store, key)
        if isinstance(self.store, LocalStore):
            objects.remove_empty(self.store.root / self.group)

    def ready(self) -> None:
        """Say that what was to be replaced is gone."""
        self._checked = 0.0
        objects.wait(self.check())
        objects.write(self.store, self.key("ready"), b"")

    def wait_ready(self) -> bool:
        """True if the writer that took the group for an equal run has said so, or soon does."""
        for _ in range(int(_LONGEST_CLEARING / _PATIENCE)):
            if objects.wait(self.store.exists(self.key("ready"))):
                return True
            if not self.mine():
                return False
            time.sleep(_PATIENCE)
        return False

    def _compare(self, found: bytes | None) -> None:
        if not self._own(found):
            raise StoreConflictError(
                f"{self.store}: another run writes here or was stopped here: finish it with the "
                "code that began it, or replace the store with mode='w'"
            )

    def _own(self, found: bytes | None) -> bool:
        if found is None:
            return False
        other = parse_run(found, self.key("run.json"))
        return other == self.run and other.writer == self.run.writer

    async def check(self) -> None:
        """Make sure now and then that no other run has taken the group."""
        if time.monotonic() - self._checked > _PATIENCE:
            self._compare(await objects.get(self.store, self.key("run.json")))
            self._checked = time.monotonic()

    async def keep(self, key: str) -> None:
        """Keep what is stored under a key of the group, unless that was done before."""
        place = self.key("before", key)
        if await self.store.exists(place):
            return
        found = await objects.get(self.store, objects.join(self.group, key))
        await objects.put(self.store, place, b"\0" if found is None else b"\1" + found)
        if await objects.get(self.store, self.key("run.json")) is None:
            # sealed meanwhile by another writer of the same run: leave nothing behind
            await objects.delete(self.store, place)
            self._compare(None)

    async def note(self, key: str, records: Iterable[np.ndarray]) -> None:
        """Write the records of an object."""
        if isinstance(self.store, LocalStore):
            await asyncio.to_thread(self.note_here, key, records)
            return
        data = b"".join(r.tobytes() for r in records)
        await objects.put(self.store, self.key("units", key), data)

    def note_here(self, key: str, records: Iterable[np.ndarray]) -> None:
        """`note` in this thread, in a local store."""
        data = b"".join(r.tobytes() for r in records)
        log_of(self._folder(), self.run.writer).append(key, data)

    def _folder(self) -> Path:
        assert isinstance(self.store, LocalStore)
        return self.store.root / self.key("log")

    async def noted(self) -> dict[str, np.ndarray]:
        """Records of all objects that were noted, by key in the group."""
        start = self.key("units") + "/"
        found = await objects.keys(self.store, self.key("units"))
        logs = await objects.keys(self.store, self.key("log"))
        loaded = await objects.get_many(self.store, [*found, *logs])
        notes = {key[len(start) :]: data for key, data in loaded.items() if key.startswith(start)}
        for log in logs:  # in order: later ones are of later writers
            notes |= entries(loaded[log] or b"")
        return {
            key: np.frombuffer(data, RECORD)
            for key, data in notes.items()
            if data and len(data) % RECORD.itemsize == 0
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
        if hasattr(self.store, "publish"):  # a repository shows what was written all at once
            if self.mine():
                self.store.publish(self.key("run.json"))
            return
        objects.wait(self._end())

    async def _end(self) -> None:
        last, ready = self.key("run.json"), self.key("ready")
        if not self._own(await objects.get(self.store, last)):
            return  # ended by another writer of the same run, or taken over
        await objects.remove_leftovers(self.store, self.group)
        local = isinstance(self.store, LocalStore)
        if local:
            forget(self._folder())
        found = [k for k in await objects.keys(self.store, self.key()) if k not in (last, ready)]
        # from the last one on another run may begin, and nothing of it must be touched
        for key in (*found, ready, last):
            with suppress(FileNotFoundError):
                await objects.delete(self.store, key)
        if local:
            objects.remove_empty(self._folder().parent)

    def sweep(self) -> None:
        """Remove what is left of a journal whose run has ended."""
        left = objects.wait(objects.keys(self.store, self.key()))
        if objects.read(self.store, self.key("run.json")) is None:
            for key in left:  # these only: another run may be about to begin
                with suppress(FileNotFoundError):
                    objects.wait(objects.delete(self.store, key))
            if left and isinstance(self.store, LocalStore):
                objects.remove_empty(self._folder().parent)

    def mine(self) -> bool:
        """True if no other writer has taken the group."""
        return self._own(objects.read(self.store, self.key("run.json")))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_checked": 0.0}
