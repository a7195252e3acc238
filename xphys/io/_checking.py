"""A read-only store that hands out nothing it has not checked against the manifest."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterable
from typing import Any

import numpy as np
from zarr.abc.store import (
    ByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

from xphys.errors import CorruptDataError
from xphys.io._layout import Index, Layout, with_checksum
from xphys.io._manifest import (
    Manifest,
    document_bytes,
    load_records,
    own_part,
    parse_document,
)
from xphys.io._objects import span
from xphys.io._records import EMPTY, WRITTEN, unit_digest
from xphys.io._remote_reads import RemoteReads

__all__ = ["CheckingStore"]


class CheckingStore(WrapperStore[Store]):
    """Checks every unit of a sealed group when it is read.

    Parameters
    ----------
    store : zarr store
        The store.
    group : str
        Path of the sealed group in it; other groups pass unchecked.
    manifest : Manifest
        Of the group. Records of an array are read when one of its units is, once per process.
    """

    def __init__(self, store: Store, group: str, manifest: Manifest) -> None:
        super().__init__(store)
        self.group, self.manifest = group, manifest
        self._records: dict[str, np.ndarray] = {}
        self._remote = RemoteReads(store)

    def _with_store(self, store: Store) -> CheckingStore:
        return type(self)(store, self.group, self.manifest)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_records": {}, "_remote": RemoteReads(self._store)}

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, CheckingStore)
            and self._store == other._store
            and self.manifest.root == other.manifest.root
        )

    __hash__ = None  # type: ignore[assignment]

    @property
    def read_only(self) -> bool:
        """Always: what was sealed is changed by `to_zarr` alone."""
        return True

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Bytes of an object, or of a part of it, that are the ones that were written."""
        return await self._remote.again(lambda: self._get(key, prototype, byte_range))

    async def _get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None
    ) -> Buffer | None:
        inside = self._inside(key)
        if inside is None:
            return await self._store.get(key, prototype, byte_range)
        if inside in self.manifest.documents:
            return await self._document(key, inside, prototype, byte_range)
        place = self.manifest.locate(inside)
        if place is None:
            return await self._store.get(key, prototype, byte_range)
        if self._remote and inside in self.manifest.inline:
            kept = prototype.buffer.from_bytes(self.manifest.inline[inside])
            return kept if byte_range is None else kept[span(byte_range, len(kept))]
        path, index = place
        layout = self.manifest.layouts[path]
        if byte_range is not None and layout.sharded:
            return await self._part_of_shard(key, path, index, prototype, byte_range)
        if byte_range is not None and layout.self_checking:
            return await self._part_of_unit(key, path, index, prototype, byte_range)
        found = await self._whole(key, path, index, prototype)
        return found if byte_range is None or found is None else found[span(byte_range, len(found))]

    async def get_partial_values(
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> list[Buffer | None]:
        """Many parts, each checked."""
        return list(await asyncio.gather(*(self.get(k, prototype, r) for k, r in key_ranges)))

    def _inside(self, key: str) -> str | None:
        if not self.group:
            return key
        return key[len(self.group) + 1 :] if key.startswith(f"{self.group}/") else None

    async def records(self, path: str) -> np.ndarray:
        """Records of an array."""
        if path not in self._records:
            async with self._remote.once(path):
                if path not in self._records:
                    self._records[path] = await load_records(
                        self._store, self.group, self.manifest, path
                    )
        return self._records[path]

    async def _document(
        self, key: str, inside: str, prototype: BufferPrototype, byte_range: ByteRequest | None
    ) -> Buffer | None:
        found = await self._store.get(key, prototype)
        if found is None:
            raise CorruptDataError(f"{key} is missing from a sealed store")
        data = found.to_bytes()
        if not self.manifest.matches(inside, data):
            raise CorruptDataError(f"{key} was changed after the store was sealed")
        if inside == "zarr.json":  # what is said of groups below is not checked here
            own = own_part(parse_document(data, key), self.manifest.documents)
            found = prototype.buffer.from_bytes(document_bytes(own))
        return found if byte_range is None else found[span(byte_range, len(found))]

    def _trouble(self, key: str, path: str, what: str) -> CorruptDataError:
        return CorruptDataError(f"variable {path!r}, chunk {key}: {what}")

    async def _whole(
        self, key: str, path: str, index: Index, prototype: BufferPrototype
    ) -> Buffer | None:
        records = await self.records(path)
        if self._remote and self._left_out(path, index, records):
            return None  # no request: who may not list is refused what is not there
        local = getattr(self._store, "get_sync", None)
        if local is not None:

            def read() -> Buffer | None:
                found: Buffer | None = local(key, prototype=prototype)
                return self._examined(found, key, path, index, records)

            # in one thread: the bytes are still near the processor when they are checked
            return await asyncio.to_thread(read)
        found = await self._store.get(key, prototype)
        return await asyncio.to_thread(self._examined, found, key, path, index, records)

    def _left_out(self, path: str, index: Index, records: np.ndarray) -> bool:
        layout = self.manifest.layouts[path]
        return all(records[layout.number(u)]["state"] == EMPTY for u in layout.inner(index))

    def _examined(
        self, found: Buffer | None, key: str, path: str, index: Index, records: np.ndarray
    ) -> Buffer | None:
        """An object that is the one that was written, or is missing as it should be."""
        layout = self.manifest.layouts[path]
        states = {int(records[layout.number(unit)]["state"]) for unit in layout.inner(index)}
        if found is None:
            if states != {EMPTY}:
                raise self._trouble(key, path, "missing from a sealed store")
            return None
        if WRITTEN not in states:
            raise self._trouble(key, path, "there, but the manifest says that it is left out")
        data = found.as_numpy_array().data  # a view: chunks are large
        self.check_object(key, path, index, data, records)
        return found

    def check_object(
        self, key: str, path: str, index: Index, data: bytes | memoryview, records: np.ndarray
    ) -> None:
        """Raise unless the bytes of an object are the ones that were written."""
        layout = self.manifest.layouts[path]
        try:
            pieces = layout.pieces(index, data)
        except CorruptDataError as error:
            raise self._trouble(key, path, str(error)) from error
        for unit, piece in pieces.items():
            record = records[layout.number(unit)]
            if (piece is None) != (record["state"] == EMPTY):
                raise self._trouble(key, path, "its index does not match the manifest")
            if piece is not None:
                offset, length = piece
                if (offset, length) != (record["offset"], record["length"]):
                    raise self._trouble(key, path, _sizes(record, length))
                body = memoryview(data)[offset : offset + length]
                self._check_unit(key, path, unit, body, record, "digest")

    def _check_unit(
        self,
        key: str,
        path: str,
        unit: Index,
        body: bytes | memoryview,
        record: np.ndarray,
        name: str,
    ) -> None:
        fingerprint = self.manifest.fingerprint(int(record["generation"]))
        if unit_digest(fingerprint, path, unit, body) != record[name].tobytes():
            raise self._trouble(key, path, "its bytes are not the ones that were written")

    async def _part_of_unit(
        self,
        key: str,
        path: str,
        index: Index,
        prototype: BufferPrototype,
        byte_range: ByteRequest,
    ) -> Buffer | None:
        """A part of a unit whose front holds the digests of all its parts."""
        layout, records = self.manifest.layouts[path], await self.records(path)
        record = records[layout.number(index)]
        head, length = int(record["head"]), int(record["length"])
        front = isinstance(byte_range, RangeByteRequest) and byte_range.start == 0
        inner = isinstance(byte_range, RangeByteRequest) and byte_range.start >= head > 0
        if record["state"] == WRITTEN and inner and byte_range.end <= length:  # type: ignore[union-attr]
            part = await self._store.get(key, prototype, byte_range)
            if part is None or len(part) != byte_range.end - byte_range.start:  # type: ignore[union-attr]
                what = "missing from a sealed store" if part is None else "its end is missing"
                raise self._trouble(key, path, what)
            return part
        if record["state"] != WRITTEN or not front or not 0 < head <= byte_range.end:  # type: ignore[union-attr]
            found = await self._whole(key, path, index, prototype)
            return None if found is None else found[span(byte_range, len(found))]
        known = self._remote.fronts.get((key, byte_range.end))  # type: ignore[union-attr]
        if known is not None:
            return prototype.buffer.from_bytes(known)
        part = await self._store.get(key, prototype, byte_range)
        if part is None:
            raise self._trouble(key, path, "missing from a sealed store")
        data = part.to_bytes()
        self._check_unit(key, path, index, data[:head], record, "head_digest")
        self._remote.keep(key, byte_range.end, data)  # type: ignore[union-attr]
        return part

    async def _part_of_shard(
        self,
        key: str,
        path: str,
        index: Index,
        prototype: BufferPrototype,
        byte_range: ByteRequest,
    ) -> Buffer | None:
        layout, records = self.manifest.layouts[path], await self.records(path)
        units = layout.inner(index)
        chosen = [records[layout.number(unit)] for unit in units]
        if all(record["state"] == EMPTY for record in chosen):
            return await self._whole(key, path, index, prototype)
        is_index = (
            isinstance(byte_range, SuffixByteRequest) and byte_range.suffix == layout.index_size()
        )
        if self._remote and is_index:  # the records tell it: no request
            return prototype.buffer.from_bytes(with_checksum(_table(chosen)))
        part = await self._store.get(key, prototype, byte_range)
        if part is None:
            raise self._trouble(key, path, "missing from a sealed store")
        if is_index:
            if part.to_bytes() != with_checksum(_table(chosen)):
                raise self._trouble(key, path, "its index does not match the manifest")
            return part
        if isinstance(byte_range, RangeByteRequest):
            for unit, record in zip(units, chosen, strict=True):
                start, stop = int(record["offset"]), int(record["offset"] + record["length"])
                if record["state"] == WRITTEN and (start, stop) == (
                    byte_range.start,
                    byte_range.end,
                ):
                    data = part.as_numpy_array().data
                    await asyncio.to_thread(
                        self._check_unit, key, path, unit, data, record, "digest"
                    )
                    return part
        found = await self._whole(key, path, index, prototype)
        return None if found is None else found[span(byte_range, len(found))]


def _table(records: list[np.ndarray]) -> bytes:
    """The index of a shard as its records tell it."""
    absent = 2**64 - 1
    return b"".join(
        struct.pack("<QQ", int(r["offset"]), int(r["length"]))
        if r["state"] == WRITTEN
        else struct.pack("<QQ", absent, absent)
        for r in records
    )


def _sizes(record: np.ndarray, length: int) -> str:
    return f"expected {int(record['length'])} bytes, found {length}"


def layouts_of(documents: dict[str, dict[str, Any]]) -> dict[str, Layout]:
    """Grids of the arrays among the documents of a group, by path."""
    suffix = "/zarr.json"
    return {
        key.removesuffix(suffix): Layout.from_document(document)
        for key, document in documents.items()
        if document.get("node_type") == "array"
    }
