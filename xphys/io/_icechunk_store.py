"""States of Icechunk repositories as stores, for reading."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable
from typing import Any

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype

from xphys.errors import SchemaError
from xphys.io._icechunk import Place, translated

__all__ = [
    "ABOUT",
    "JOURNAL",
    "RepositoryStore",
    "branch_of",
    "is_object",
    "journal_key",
    "named",
    "text_of",
]

_WRITING = "xphys-writing"
JOURNAL = "_xphys/journal"
#: Under this name commits say what they are part of.
ABOUT = "xphys"
_OBJECT = re.compile(r"(^|/)(zarr\.json|c(/\d+)*)$")


def journal_key(key: str) -> tuple[str, str, str] | None:
    """Group, kind ("units", "before" or "") and the rest of a key that belongs to a journal."""
    group, found, rest = f"/{key.strip('/')}/".partition(f"/{JOURNAL}/")
    if not found:
        return None
    kind, _, name = rest.rstrip("/").partition("/")
    return (group.strip("/"), *((kind, name) if name else ("", kind)))


def branch_of(branch: str) -> str:
    """Name of the branch where a write that is for another branch goes on."""
    return _WRITING if branch == "main" else f"{_WRITING}-{branch}"


class RepositoryStore(Store):
    """A state of a repository, for reading.

    Parameters
    ----------
    place : Place
        The repository and which of its states.
    inner : icechunk store, optional
        That state, if it is open already.
    """

    def __init__(self, place: Place, inner: Any = None, read_only: bool = True) -> None:
        super().__init__(read_only=read_only)
        self._is_open = True
        self.place, self._inner = place, inner
        self.snapshot: str | None = None

    @classmethod
    def open_state(cls, place: Place) -> RepositoryStore:
        """Open the state that a place names.

        Raises
        ------
        FileNotFoundError
            If there is no such repository, branch, tag or snapshot.
        """
        repo = place.find()
        if repo is None:
            raise FileNotFoundError(f"{place}: no Icechunk repository there")
        kind, name = place.ref
        with translated(str(place)):
            session = repo.readonly_session(**{"snapshot_id" if kind == "snapshot" else kind: name})
            made = cls(place, session.store)
            made.snapshot = session.snapshot_id
        return made

    @property
    def inner(self) -> Any:
        """Icechunk's own store; None where there is no repository yet."""
        return self._inner

    def __str__(self) -> str:
        return str(self.place)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.place)!r})"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, RepositoryStore)
            and type(self) is type(other)
            and (self.place, self.snapshot) == (other.place, other.snapshot)
        )

    __hash__ = None  # type: ignore[assignment]

    def with_read_only(self, read_only: bool = False) -> Store:
        """The same, or an error: what may be written is settled when a store is opened."""
        if read_only == self.read_only:
            return self
        if not read_only:
            raise SchemaError(f"{self}: opened for reading")
        return RepositoryStore(self.place, self.inner)

    async def _note(self, key: tuple[str, str, str], name: str) -> bytes | None:
        """What the journal holds under a key."""
        if key[1:] != ("", "run.json") or await self.exists(f"{key[0]}/zarr.json".lstrip("/")):
            return None
        # nothing was sealed here; where a write is under way it is that which is to be told
        repo = self.place.find()
        branch = branch_of(self.place.ref[1])
        if self.place.ref[0] != "branch" or branch not in repo.list_branches():
            return None
        about = repo.lookup_snapshot(repo.lookup_branch(branch)).metadata.get(ABOUT, {})
        return text_of(about.get("notes", {}).get(name))

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """An object or a part of it."""
        journal = journal_key(key)
        if journal is not None:
            data = await self._note(journal, key)
            return None if data is None else prototype.buffer.from_bytes(data)
        if self.inner is None or not is_object(key):
            return None
        with translated(named(key)):
            try:
                found: Buffer | None = await self.inner.get(key, prototype, byte_range)
            except Exception as error:
                if "node not found" in str(error):
                    return None
                raise
        return found

    async def get_partial_values(
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> list[Buffer | None]:
        """Many objects or parts."""
        return [await self.get(key, prototype, part) for key, part in key_ranges]

    async def exists(self, key: str) -> bool:
        """Whether there is an object."""
        journal = journal_key(key)
        if journal is not None:
            return journal[1] == "before" or await self._note(journal, key) is not None
        if self.inner is None or not is_object(key):
            return False
        with translated(named(key)):
            return bool(await self.inner.exists(key))

    @property
    def supports_writes(self) -> bool:
        """Unless opened for reading."""
        return not self.read_only

    @property
    def supports_deletes(self) -> bool:
        """Unless opened for reading."""
        return not self.read_only

    @property
    def supports_listing(self) -> bool:
        """Always."""
        return True

    async def set(self, key: str, value: Buffer) -> None:
        """Refused."""
        raise SchemaError(f"{self}: opened for reading")

    async def delete(self, key: str) -> None:
        """Refused."""
        raise SchemaError(f"{self}: opened for reading")

    async def list(self) -> AsyncIterator[str]:
        """All keys."""
        async for key in self.list_prefix(""):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Keys that begin with a path."""
        place = prefix.strip("/")
        node = not place or await self.exists(f"{place}/zarr.json")
        if self.inner is not None and journal_key(prefix) is None and node:
            async for key in self.inner.list_prefix(place):
                if journal_key(key) is None:
                    yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Names in a group."""
        if self.inner is not None and journal_key(prefix) is None:
            async for name in self.inner.list_dir(prefix.strip("/")):
                yield name


def is_object(key: str) -> bool:
    """Icechunk knows documents of version 3 and chunks, and calls all else an error."""
    return _OBJECT.search(key) is not None


def named(key: str) -> str:
    """What to call an object in errors."""
    path, found, _ = key.rpartition("/c/")
    return f"variable {path!r}, chunk {key}" if found else key


def text_of(value: Any) -> bytes | None:
    return value.encode() if isinstance(value, str) else None
