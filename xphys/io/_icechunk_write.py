"""Icechunk repositories that are written to: a journal made of commits.

A store that is being written is a branch of its own, ``xphys-writing``; the branch that readers
see moves to it in one step when all is sealed. What the journal of a folder holds lies there:

- the run and what else tells its state: in the metadata of every commit;
- records of the units in an object: in arrays under ``_xphys/journal``, one for each commit,
  which the same commit makes as the chunks;
- what was there before: the state that the branch was made from.
"""

from __future__ import annotations

import json
import struct
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from zarr.core.buffer import Buffer, default_buffer_prototype
from zarr.core.sync import sync

from xphys.errors import SchemaError, StoreConflictError
from xphys.io._icechunk import Place, translated
from xphys.io._icechunk_store import (
    ABOUT,
    JOURNAL,
    RepositoryStore,
    branch_of,
    is_object,
    journal_key,
    named,
    text_of,
)
from xphys.io._manifest import document_bytes, records_document
from xphys.io._records import digest

__all__ = ["Part", "WritingStore"]

# Objects and seconds after which what was written is committed: what a killed writer loses.
# A commit takes longer the more chunks there are; it may take this part of the time.
_MOST, _SECONDS, _SHARE = 512, 10.0, 0.05


@dataclass
class _Head:
    """Where a write stands."""

    base: str  # the snapshot that it began from
    snapshot: str  # its last commit
    notes: dict[str, str] = field(default_factory=dict)

    def about(self, **more: Any) -> dict[str, Any]:
        """Metadata of the next commit."""
        return {ABOUT: {"base": self.base, "notes": self.notes, **more}}


class WritingStore(RepositoryStore):
    """A repository that is written to.

    Until a run takes it (`Journal.begin`) this is the branch that readers see; then the branch
    of the write. Nothing is seen by readers before `publish`.

    Parameters
    ----------
    place : Place
        The repository; its state must be a branch.
    """

    def __init__(self, place: Place) -> None:
        super().__init__(place, read_only=False)
        if place.ref[0] != "branch":
            raise SchemaError(f"{place}: expected a branch to write to, got {' '.join(place.ref)}")
        self._connected = False
        self._lock = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        return {"place": self.place}

    def __setstate__(self, state: dict[str, Any]) -> None:
        WritingStore.__init__(self, state["place"])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WritingStore) and self.place == other.place

    __hash__ = None

    @property
    def inner(self) -> Any:
        """Icechunk's store of the session that is open."""
        with self._lock:
            if not self._connected:
                self._connect()
                self._connected = True
        return self._inner

    @property
    def _branch(self) -> str:
        return branch_of(self.place.ref[1])

    def _connect(self) -> None:
        """Look at the repository as it is now."""
        self._inner: Any = None
        self._head: _Head | None = None
        self._base: RepositoryStore | None = None
        self._units: dict[str, bytes] | None = {}
        self._new: dict[str, bytes] = {}
        self._replaces: str | None = None
        self._repo = self.place.find()
        if self._repo is None:
            return
        with translated(str(self)):
            begun = self._branch in self._repo.list_branches()
            name = self._branch if begun else self.place.ref[1]
            self._session = self._repo.writable_session(name)
            if not begun:
                self._inner = self._session.store
                return
            snapshot = self._session.snapshot_id
            about = self._repo.lookup_snapshot(snapshot).metadata.get(ABOUT)
            if not isinstance(about, dict) or "base" not in about:
                raise StoreConflictError(
                    f"{self}: the branch {self._branch} is not one that xphys made: delete it"
                )
            if self._repo.lookup_branch(self.place.ref[1]) == snapshot:
                # published, but killed before the end
                self._repo.delete_branch(self._branch)
                self._connect()
                return
        self._head = _Head(about["base"], snapshot, dict(about["notes"]))
        self._inner, self._units = self._session.store, None

    @property
    def _notes(self) -> dict[str, str]:
        return {} if self._head is None else self._head.notes

    async def _read_units(self) -> dict[str, bytes]:
        """Records of all commits of the run."""
        if self._units is None:
            found: dict[str, bytes] = {}
            keys = [key async for key in self.inner.list_prefix("")]
            for key in keys:
                if key.startswith(f"{JOURNAL}/") and key.endswith("/c/0"):
                    data = await self.inner.get(key, default_buffer_prototype())
                    found |= _unpacked(data.to_bytes())
            self._units = found
        return {**self._units, **self._new}

    async def _note(self, key: tuple[str, str, str], name: str) -> bytes | None:
        self.inner  # noqa: B018 (connects)
        if key[1] == "units":
            return (await self._read_units()).get(name) if self._head is not None else None
        if key[1] == "before":
            before = await self._before(f"{key[0]}/{key[2]}".lstrip("/"))
            return b"\0" if before is None else b"\1" + before
        return text_of(self._notes.get(name))

    async def _before(self, key: str) -> bytes | None:
        if self._head is None or not is_object(key):
            return None
        if self._base is None:
            with translated(str(self)):
                state = self._repo.readonly_session(snapshot_id=self._head.base)
            self._base = RepositoryStore(self.place, state.store)
        found = await self._base.get(key, default_buffer_prototype())
        return None if found is None else found.to_bytes()

    async def set(self, key: str, value: Buffer) -> None:
        """Write an object; seen by readers when the run is published."""
        journal = journal_key(key)
        if journal is None:
            with translated(named(key)):
                await self.inner.set(key, value)
        elif journal[1] == "units":
            self._new[key] = value.to_bytes()
        elif journal[1] != "before":
            self._notes[key] = value.to_bytes().decode()

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Write an object unless there is one; the first run takes the repository."""
        if await self.exists(key):
            return
        if journal_key(key) is not None and (self._head is None or self._replaces):
            await self._take(key, value.to_bytes().decode())
            return
        await self.set(key, value)

    async def _take(self, key: str, run: str) -> None:
        """Make the branch of the write: of several writers one succeeds."""
        branch = self.place.ref[1]
        if self._repo is None:
            self._repo = self.place.create()
            self._session = self._repo.writable_session(branch)
        if self._replaces:
            self._session = self._repo.writable_session(branch)
        base = self._session.snapshot_id
        await _put(self._session.store, f"{JOURNAL}/zarr.json", _bare())
        # nothing may be awaited while it is locked: another writer may wait in this very loop
        with self.place.locked(), translated(str(self)):
            if self._repo.lookup_branch(branch) != base:
                raise StoreConflictError(
                    f"{self}: another writer has written meanwhile: run the code again"
                )
            head = _Head(base, "", {key: run})
            snapshot = self._session.flush("xphys: a write begins", head.about())
            if self._replaces:
                self._repo.reset_branch(self._branch, snapshot, from_snapshot_id=self._replaces)
            elif self._branch not in self._repo.list_branches():
                self._repo.create_branch(self._branch, snapshot)
            # else another writer was first: the journal will show whose run it is
        self._connected = False

    async def delete(self, key: str) -> None:
        """Remove an object if there is one."""
        journal = journal_key(key)
        if journal is None:
            if self.inner is not None and is_object(key) and await self.inner.exists(key):
                with translated(named(key)):
                    await self.inner.delete(key)
            return
        for held in (self._new, self._units or {}, self._notes):
            held.pop(key, None)
        if self._head is not None and journal[1:] == ("", "run.json") and not self._runs():
            self._replaces = self._head.snapshot  # whoever takes the repository begins anew

    def _runs(self) -> list[str]:
        return [key for key in self._notes if key.endswith("/run.json")]

    async def delete_dir(self, prefix: str) -> None:
        """Remove a group or an array."""
        if self.inner is not None and journal_key(prefix) is None:
            with translated(prefix):
                await self.inner.delete_dir(prefix.strip("/"))

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Keys that begin with a path, those of the journal too."""
        async for key in super().list_prefix(prefix):
            yield key
        start = f"{prefix.strip('/')}/".lstrip("/")
        if self.inner is not None and self._head is not None:
            for key in [*self._notes, *(await self._read_units())]:
                if key.startswith(start):
                    yield key

    async def _commit(self, message: str, **about: Any) -> None:
        """Make what was written outlive this process."""
        assert self._head is not None
        if self._new:
            await _put_units(self._session.store, self._head.snapshot, self._new)
        elif not self._session.has_uncommitted_changes:
            # the notes have changed at most: a commit needs something that differs
            await _put_units(self._session.store, self._head.snapshot, {})
        with self.place.locked(), translated(str(self)):
            self._session.commit(message, self._head.about(**about))
        units = {**self._units, **self._new} if self._units is not None else None
        notes = self._head.notes
        self._session = self._repo.writable_session(self._branch)
        self._head = _Head(self._head.base, self._session.snapshot_id, notes)
        self._inner, self._units, self._new = self._session.store, units, {}

    def checkpoint(self) -> None:
        """Commit, so that tasks and other processes find what was written."""
        if self.inner is not None and self._head is not None:
            sync(self._commit("xphys: part of a write"))

    def for_tasks(self) -> Part:
        """What tasks write to; `Part.join` puts together what they have written."""
        self.checkpoint()
        assert self._head is not None
        with translated(str(self)):
            fork = self._repo.writable_session(self._branch).fork()
        self._connected = False  # from now on tasks commit
        head = _Head(self._head.base, self._head.snapshot, dict(self._head.notes))
        return Part(self.place, head, fork)

    def take_up(self, last: Part | None = None) -> None:
        """Go on where tasks have ended."""
        if last is not None:
            last.commit()
        self._connected = False

    def publish(self, run: str) -> None:
        """End a run: when it is the last, readers see what was written, all at once.

        Parameters
        ----------
        run : str
            Key of its document.
        """
        if self.inner is not None and self._head is not None:
            sync(self._publish(run))
        elif self.inner is not None and self._session.has_uncommitted_changes:
            with self.place.locked(), translated(str(self)):
                self._session.commit("xphys: repaired")
            self._connected = False

    async def _publish(self, run: str) -> None:
        assert self._head is not None
        ended = dict(self._head.notes)
        folder = run.removesuffix("run.json")
        for key in [key for key in self._head.notes if key.startswith(folder)]:
            del self._head.notes[key]
        if self._runs():
            await self._commit("xphys: part of a write")
            return
        left = [key async for key in self.inner.list_prefix("")]
        if any(key.startswith(f"{JOURNAL}/") for key in left):
            await self.inner.delete_dir(JOURNAL)
        self._new, self._head.notes = {}, ended  # a writer killed from here on finds it done
        message, about = await self._told(ended)
        if self._session.has_uncommitted_changes:
            with self.place.locked(), translated(str(self)):
                self._session.commit(message, self._head.about(**about))
        target = self.place.ref[1]
        with self.place.locked(), translated(str(self)):
            done = self._repo.lookup_branch(self._branch)
            self._repo.reset_branch(target, done, from_snapshot_id=self._head.base)
            self._repo.delete_branch(self._branch)
        self._connected = False

    async def _told(self, notes: dict[str, str]) -> tuple[str, dict[str, Any]]:
        """Message and metadata of the commit that readers see: which groups, and from what."""
        groups, steps = [], {}
        for key in notes:
            group = key.partition(JOURNAL)[0].rstrip("/")
            data = await self.get(f"{group}/zarr.json".lstrip("/"), default_buffer_prototype())
            if key.endswith("/run.json") and data is not None:
                groups.append(group or "/")
                attributes = json.loads(data.to_bytes()).get("attributes", {})
                steps[group or "/"] = attributes.get("xphys_provenance", "")
        return f"xphys: wrote {', '.join(groups)}", {"provenance": steps}

    def abandon(self) -> list[str] | None:
        """Drop what a run has written that was not published.

        Returns
        -------
        list of str or None
            Keys of the objects that had been written; None if no run is under way.
        """
        if self.inner is None or self._head is None:
            return None
        noted = sync(self._read_units())
        with self.place.locked(), translated(str(self)):
            self._repo.delete_branch(self._branch)
        self._connected = False
        return sorted(key.partition(f"{JOURNAL}/units/")[2] for key in noted)


class Part(RepositoryStore):
    """What one task writes, or what several have written that is not committed yet.

    Parameters
    ----------
    place : Place
        The repository.
    head : _Head
        The last commit that is known.
    fork : icechunk fork session or None
        Changes since.
    """

    def __init__(self, place: Place, head: _Head, fork: Any) -> None:
        super().__init__(place, None, read_only=False)
        self.head, self.fork = head, fork
        self.units: dict[str, bytes] = {}
        self.commits, self.since, self.took = 0, time.time(), 0.0

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_inner": None}

    @property
    def inner(self) -> Any:
        """Icechunk's store of the fork."""
        if self._inner is None and self.fork is not None:
            self._inner = self.fork.store
        return self._inner

    def part(self) -> Part:
        """One for a task of its own."""
        return Part(self.place, self.head, self.fork.fork())

    def handed(self) -> Part:
        """What travels to whoever commits."""
        return self

    async def _note(self, key: tuple[str, str, str], name: str) -> bytes | None:
        return self.units.get(name) if key[1] == "units" else text_of(self.head.notes.get(name))

    async def set(self, key: str, value: Buffer) -> None:
        """Write a chunk, or a record of one."""
        if journal_key(key) is not None:
            self.units[key] = value.to_bytes()
            return
        with translated(named(key)):
            await self.inner.set(key, value)

    async def delete(self, key: str) -> None:
        """Leave a chunk out."""
        if journal_key(key) is None and await self.exists(key):
            with translated(named(key)):
                await self.inner.delete(key)

    def join(self, others: Iterable[Part]) -> Part:
        """Put together what tasks have written, and commit it now and then.

        Parameters
        ----------
        others : iterable of Part
            Among them at most one that has committed.

        Returns
        -------
        Part
            For the next call; holds what is not committed.
        """
        every = sorted([self, *others], key=lambda part: -part.commits)
        last = every[0]
        out = Part(self.place, last.head, None)
        since = last.since if last.commits else min(part.since for part in every)
        out.commits, out.since, out.took = last.commits, since, last.took
        for part in every:
            out.units |= part.units
            if out.fork is not None and part.fork is not None:
                out.fork.merge(part.fork)
            out.fork = out.fork or part.fork
        waited = time.time() - out.since
        if len(out.units) >= _MOST or waited > max(_SECONDS, out.took / _SHARE):
            out.commit()
        return out

    def commit(self) -> None:
        """Commit what is not.

        Raises
        ------
        StoreConflictError
            If another writer has taken the repository.
        """
        if self.fork is None or not self.units:
            return
        begun = time.time()
        branch = branch_of(self.place.ref[1])
        with translated(str(self)):
            repo = self.place.find()
            known = repo is not None and branch in repo.list_branches()
            session = repo.writable_session(branch) if known else None
            if session is None or session.snapshot_id != self.head.snapshot:
                raise StoreConflictError(
                    f"{self}: another writer is at work or has replaced what this one wrote: run "
                    "the code again when only one is at work"
                )
            session.merge(self.fork)
            sync(_put_units(session.store, self.head.snapshot, self.units))
            with self.place.locked():
                session.commit("xphys: part of a write", self.head.about())
        self.head = _Head(self.head.base, session.snapshot_id, self.head.notes)
        self.fork, self._inner, self.units = None, None, {}
        self.commits += 1
        self.since = time.time()
        self.took = self.since - begun


async def _put(store: Any, key: str, data: bytes) -> None:
    await store.set(key, default_buffer_prototype().buffer.from_bytes(data))


def _bare() -> bytes:
    return document_bytes({"zarr_format": 3, "node_type": "group", "attributes": {}})


async def _put_units(store: Any, name: str, units: dict[str, bytes]) -> None:
    """One array for each commit, named for the commit before it."""
    data = _packed(units)
    document = json.loads(records_document(1))
    document |= {"shape": [len(data)], "dimension_names": ["byte"], "codecs": [{"name": "bytes"}]}
    document["chunk_grid"]["configuration"]["chunk_shape"] = [len(data)]
    await _put(store, f"{JOURNAL}/{name}/zarr.json", document_bytes(document))
    await _put(store, f"{JOURNAL}/{name}/c/0", data)


def _packed(units: dict[str, bytes]) -> bytes:
    names = json.dumps({key: len(data) for key, data in units.items()}).encode()
    body = struct.pack("<I", len(names)) + names + b"".join(units.values())
    return bytes.fromhex(digest(body)) + body


def _unpacked(data: bytes) -> dict[str, bytes]:
    """Inverse of `_packed`; damaged records are as good as none."""
    return dict(_entries(data[16:])) if bytes.fromhex(digest(data[16:])) == data[:16] else {}


def _entries(body: bytes) -> Iterator[tuple[str, bytes]]:
    (length,) = struct.unpack_from("<I", body)
    at = 4 + length
    for key, size in json.loads(body[4:at]).items():
        yield key, body[at : at + size]
        at += size
