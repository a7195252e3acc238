"""What is let through from a Zarr store: metadata that asks for nothing but known codecs and
sane sizes, and chunks whose streams hold no more than the chunk.

Both are checked before zarr builds a codec or decodes a byte. `check_document` and `check_chunk`
stand on their own; `GuardedStore` applies them to everything that is read through it.
"""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numcodecs.compat import ensure_bytes
from numcodecs.registry import get_codec
from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore, WrapperStore

from xphys.errors import CorruptDataError, FormatError
from xphys.io._guard_arrays import LARGEST_INDEX, ChunkGuard, Stage, array_guard
from xphys.io._guard_sizes import MEASURES, text_items
from xphys.io._limits import LARGEST_DOCUMENT

__all__ = [
    "LARGEST_DOCUMENT",
    "ChunkGuard",
    "GuardedStore",
    "check_chunk",
    "check_document",
    "chunk_limit",
    "read_document",
]

# Deepest nesting in a document.
_DEEPEST = 64
_ABSENT, _FARTHEST = 2**64 - 1, 2**62
_V2 = (".zarray", ".zgroup", ".zattrs", ".zmetadata")
_DOCUMENTS = frozenset({"zarr.json", *_V2})
_DIMS_V2 = "_ARRAY_DIMENSIONS"

Guards = Iterator[tuple[str, ChunkGuard]]


def read_document(path: str, data: bytes) -> dict[str, Any]:
    """Parse a metadata document and check it.

    Parameters
    ----------
    path : str
        Its key, for errors.
    data : bytes
        Its content.

    Returns
    -------
    dict
        The document.

    Raises
    ------
    FormatError
        If it is too large, is no JSON object, or is refused by `check_document`.
    """
    return _parse(path, data)[0]


def _parse(path: str, data: bytes) -> tuple[dict[str, Any], dict[str, ChunkGuard]]:
    if len(data) > LARGEST_DOCUMENT:
        raise FormatError(
            f"{path}: a document of {len(data)} bytes, expected at most {LARGEST_DOCUMENT}"
        )
    try:
        document = json.loads(data)
    except ValueError as error:
        raise FormatError(f"{path}: expected JSON, found damage: {error}") from None
    except RecursionError:
        raise FormatError(f"{path}: JSON nested too deep, expected {_DEEPEST} levels") from None
    if not isinstance(document, dict):
        raise FormatError(f"{path}: expected a JSON object, found {type(document).__name__}")
    return document, dict(_guards(path, document))


def check_document(path: str, document: Mapping[str, Any]) -> None:
    """Refuse metadata that asks for more than reading plain arrays takes.

    Parameters
    ----------
    path : str
        Key of the document in its store: ``zarr.json``, ``.zarray``, ``.zgroup``, ``.zattrs`` or
        ``.zmetadata``, with the path of the node in front.
    document : mapping
        Parsed JSON: an array or a group, with the consolidated metadata in it.

    Raises
    ------
    FormatError
        If a codec is not on the list (those that run code, like pickle, never are), a dtype is
        unknown, a shape or chunk shape is not made of sane whole numbers, a chunk is larger than
        2 GiB, a name leads out of the store, or the document is nested too deep.

    Examples
    --------
    >>> check_document("zarr.json", {"zarr_format": 3, "node_type": "group"})
    >>> check_document("u/.zarray", {"zarr_format": 2, "shape": [8], "chunks": [8],
    ...     "dtype": "|O", "filters": [{"id": "pickle"}], "compressor": None})
    Traceback (most recent call last):
    xphys.errors.FormatError: u/.zarray: codec 'pickle' is not allowed, expected one of ...
    """
    for _ in _guards(path, document):
        pass


def chunk_limit(document: Mapping[str, Any]) -> ChunkGuard:
    """What a stored chunk of an array may be.

    Parameters
    ----------
    document : mapping
        Metadata of an array, version 2 or 3.

    Returns
    -------
    ChunkGuard
        Small and picklable, for `check_chunk`.

    Raises
    ------
    FormatError
        If the metadata is refused.
    """
    return array_guard(document, "zarr.json" if document.get("zarr_format") == 3 else ".zarray")


def _guards(path: str, document: Mapping[str, Any]) -> Guards:
    """Check a document; path of each array in it with its guard."""
    _check_depth(path, document)
    node, _, name = path.rpartition("/")
    if name == ".zmetadata":
        yield from _consolidated_v2(path, node, document)
    elif name in (".zattrs", ".zgroup"):
        return
    elif name == ".zarray":
        _expect(document, path, "zarr_format", 2)
        yield node, array_guard(document, path)
    else:
        yield from _node_v3(path, node, document, 0)


def _expect(document: Mapping[str, Any], path: str, key: str, wanted: object) -> None:
    if document.get(key) != wanted:
        raise FormatError(f"{path}: expected {key} {wanted!r}, got {document.get(key)!r:.60}")


def _node_v3(path: str, node: str, document: Mapping[str, Any], level: int) -> Guards:
    _expect(document, path, "zarr_format", 3)
    if document.get("node_type") == "array":
        guard = array_guard(document, path)
        _check_index(path, node, document.get("dimension_names"), guard)
        yield node, guard
        return
    _expect(document, path, "node_type", "group")
    consolidated = document.get("consolidated_metadata")
    if consolidated is None:
        return
    inside = consolidated.get("metadata") if isinstance(consolidated, Mapping) else None
    if not isinstance(inside, Mapping) or level:
        # zarr writes an empty one into groups inside
        if level and isinstance(inside, Mapping) and not inside:
            return
        raise FormatError(f"{path}: expected consolidated metadata once, as a JSON object")
    for name, entry in inside.items():
        _check_key(name)
        if not isinstance(entry, Mapping):
            raise FormatError(f"{path}: expected metadata of {name!r:.60} as a JSON object")
        yield from _node_v3(f"{path}: {name}", _join(node, name), entry, level + 1)


def _consolidated_v2(path: str, node: str, document: Mapping[str, Any]) -> Guards:
    inside = document.get("metadata")
    if not isinstance(inside, Mapping):
        raise FormatError(f"{path}: expected metadata as a JSON object, got {inside!r:.60}")
    for key, entry in inside.items():
        _check_key(key)
        inner, _, name = key.rpartition("/")
        if name not in _V2[:3] or not isinstance(entry, Mapping):
            raise FormatError(f"{path}: expected a metadata document at {key!r:.60}")
        if name == ".zarray":
            _expect(entry, f"{path}: {key}", "zarr_format", 2)
            guard = array_guard(entry, f"{path}: {key}")
            attributes = inside.get(f"{inner}/.zattrs")
            dims = attributes.get(_DIMS_V2) if isinstance(attributes, Mapping) else None
            _check_index(path, inner, dims, guard)
            yield _join(node, inner), guard


def _join(node: str, name: str) -> str:
    return f"{node}/{name}" if node else name


def _check_key(key: object) -> None:
    """A key names something in the store and nothing else."""
    if (
        not isinstance(key, str)
        or "\\" in key
        or "\0" in key
        or any(p in ("", ".", "..") or os.path.splitdrive(p)[0] for p in key.split("/"))
    ):
        raise FormatError(f"expected a name inside the store, got {key!r:.60}")


def _check_depth(path: str, document: Mapping[str, Any]) -> None:
    level: list[Any] = [document]
    for _ in range(_DEEPEST):
        parts = (v.values() if isinstance(v, Mapping) else v for v in level)
        level = [p for values in parts for p in values if isinstance(p, Mapping | list | tuple)]
        if not level:
            return
    raise FormatError(f"{path}: JSON nested too deep, expected {_DEEPEST} levels")


def _check_index(path: str, node: str, dims: object, guard: ChunkGuard) -> None:
    """A coordinate of a dimension is read whole when a store is opened."""
    named = isinstance(dims, list | tuple) and list(dims) == [node.rpartition("/")[2]]
    if named and guard.whole > LARGEST_INDEX:
        raise FormatError(
            f"{path}: a coordinate of {guard.whole} bytes, expected at most {LARGEST_INDEX}"
        )


def check_chunk(guard: ChunkGuard, data: bytes | memoryview, key: str) -> None:
    """Refuse a stored chunk that decodes to more than the chunk; nothing is allocated for it.

    Parameters
    ----------
    guard : ChunkGuard
        Of the array.
    data : bytes-like
        The chunk as stored.
    key : str
        For errors.

    Raises
    ------
    CorruptDataError
        If a stream declares or holds more bytes than the chunk can have, if a chunk that is not
        compressed has another size, or if a stream is no stream of its kind.
    """
    view = memoryview(data).cast("B")
    try:
        _check_view(guard, view)
    except CorruptDataError as error:
        raise CorruptDataError(f"chunk {key}: {error}") from None


def _check_view(guard: ChunkGuard, view: memoryview) -> None:
    _check_stored(guard, len(view))
    if guard.inner is not None:
        _check_shard(guard, guard.inner, view)
        return
    inspected = guard.inspected
    for number, stage in enumerate(inspected):
        _check_stream(stage, view)
        if number + 1 < len(inspected):
            view = _decoded(stage, view)


def _check_stored(guard: ChunkGuard, size: int) -> None:
    if size > guard.stored or (guard.exact and size != guard.stored):
        what = "" if guard.exact else "at most "
        raise CorruptDataError(f"expected {what}{guard.stored} bytes, found {size}")


def _check_stream(stage: Stage, view: memoryview) -> None:
    if stage.codec in MEASURES:
        size = MEASURES[stage.codec](view, stage.limit, stage.config)
        if size > stage.limit:
            raise CorruptDataError(
                f"its {stage.codec} stream holds {size} bytes or more, expected at most "
                f"{stage.limit}"
            )
    elif stage.codec.startswith("vlen") and text_items(view) != stage.limit:
        raise CorruptDataError(f"expected {stage.limit} strings, found {text_items(view)}")


def _decoded(stage: Stage, view: memoryview) -> memoryview:
    """Output of a stage that was checked: bytes of another stream."""
    try:
        out = get_codec({"id": stage.codec, **stage.config}).decode(bytes(view))
    except Exception as error:  # whatever a codec says of damaged bytes
        raise CorruptDataError(f"its {stage.codec} stream cannot be decoded: {error}") from None
    return memoryview(ensure_bytes(out))


def _check_shard(guard: ChunkGuard, inner: ChunkGuard, view: memoryview) -> None:
    if len(view) < guard.index_size:
        raise CorruptDataError(f"expected a shard index of {guard.index_size} bytes")
    start = len(view) - guard.index_size if guard.index_at_end else 0
    for offset, length in _entries(guard, inner, view[start : start + guard.index_size]):
        if offset + length > len(view):
            raise CorruptDataError(f"its shard index points to byte {offset + length}")
        _check_view(inner, view[offset : offset + length])


def _entries(guard: ChunkGuard, inner: ChunkGuard, index: memoryview) -> list[list[int]]:
    """Offset and length of each chunk that the index of a shard names."""
    if len(index) != guard.index_size:
        raise CorruptDataError(f"expected a shard index of {guard.index_size} bytes")
    pairs = np.frombuffer(index[: 16 * guard.inner_count], f"{guard.index_order}u8").reshape(-1, 2)
    there = pairs[(pairs != _ABSENT).any(axis=1)]
    first = 0 if guard.index_at_end else guard.index_size
    wrong = (there[:, 0] < first) | (there[:, 0] > _FARTHEST) | (there[:, 1] > inner.stored)
    if wrong.any():
        offset, length = there[wrong][0].tolist()
        raise CorruptDataError(
            f"its shard index tells of {length} bytes at byte {offset}, expected at most "
            f"{inner.stored} behind byte {first}"
        )
    entries: list[list[int]] = np.unique(there, axis=0).tolist()
    return entries


class GuardedStore(WrapperStore[Store]):
    """A read-only store that lets through what `check_document` and `check_chunk` allow.

    Parameters
    ----------
    store : zarr store
        The store.

    Notes
    -----
    Chunks are held against the metadata that was read through this object, or through the one
    that it was pickled from. Where two documents describe one array, a chunk must fit both.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._guards: dict[str, tuple[ChunkGuard, ...]] = {}
        self._indexes: dict[str, list[str]] = {}

    def _with_store(self, store: Store) -> GuardedStore:
        new = type(self)(store)
        new._guards, new._indexes = self._guards, self._indexes
        return new

    def __str__(self) -> str:
        return str(self._store)

    @property
    def read_only(self) -> bool:
        """Always."""
        return True

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """An object, or a part of it, that was found harmless."""
        _check_key(key)
        if key.rpartition("/")[2] in _DOCUMENTS:
            found = await self._get(key, prototype, LARGEST_DOCUMENT)
            if found is not None:
                self._learn(key, found.to_bytes())
            return found if byte_range is None or found is None else _part(found, byte_range)
        guards = self._guards_of(key)
        if not guards:
            return await self._store.get(key, prototype, byte_range)
        if byte_range is not None:
            return await self._get_part(key, prototype, byte_range, guards)
        found = await self._get(key, prototype, min(guard.stored for guard in guards))
        if found is not None:
            await self._check(guards, found, key)
        return found

    async def get_partial_values(
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> list[Buffer | None]:
        """Many parts, each checked."""
        return list(await asyncio.gather(*(self.get(k, prototype, r) for k, r in key_ranges)))

    async def _get(self, key: str, prototype: BufferPrototype, most: int) -> Buffer | None:
        """A whole object of at most so many bytes; the size of a local file is seen before."""
        base: Store = self._store
        while isinstance(base, WrapperStore):
            base = base._store
        if isinstance(base, LocalStore):
            _check_file(base.root / key, key, most)
        return await self._store.get(key, prototype)

    def _learn(self, key: str, data: bytes) -> None:
        """Check a document and keep what it says of arrays."""
        document, guards = _parse(key, data)
        for path, guard in guards.items():
            known = self._guards.get(path, ())
            if guard not in known:
                self._guards[path] = (*known, guard)
        node, _, name = key.rpartition("/")
        if name == ".zattrs" and isinstance(document.get(_DIMS_V2), list):
            self._indexes[node] = document[_DIMS_V2]
        # version 2 keeps dims and shape in two documents, which come in any order
        for guard in self._guards.get(node, ()):
            _check_index(key, node, self._indexes.get(node), guard)

    def _guards_of(self, key: str) -> tuple[ChunkGuard, ...]:
        """Guards of the arrays that an object may belong to; none for what is no chunk."""
        parts = key.split("/")
        nodes = ("/".join(parts[:n]) for n in range(len(parts)))
        return tuple(guard for node in nodes for guard in self._guards.get(node, ()))

    async def _check(self, guards: tuple[ChunkGuard, ...], found: Buffer, key: str) -> None:
        view = found.as_numpy_array().data
        for guard in guards:
            if guard.slow:
                await asyncio.to_thread(check_chunk, guard, view, key)
            else:
                check_chunk(guard, view, key)

    async def _get_part(
        self,
        key: str,
        prototype: BufferPrototype,
        byte_range: ByteRequest,
        guards: tuple[ChunkGuard, ...],
    ) -> Buffer | None:
        """A part of a chunk: an index, an inner chunk of a shard, or blocks of a frame."""
        asked = _asked(byte_range)
        for guard in guards:
            most = guard.stored if guard.inner is None else guard.inner.stored
            if asked is None or asked < 0 or (asked > most and asked != guard.index_size):
                raise CorruptDataError(
                    f"chunk {key}: its index or header asks for {asked} bytes, expected at most "
                    f"{most}"
                )
        found = await self._store.get(key, prototype, byte_range)
        for guard in guards:
            if found is not None and guard.inner is not None:
                await self._check_part(guard, guard.inner, found, byte_range, key)
        return found

    async def _check_part(
        self,
        guard: ChunkGuard,
        inner: ChunkGuard,
        found: Buffer,
        byte_range: ByteRequest,
        key: str,
    ) -> None:
        """The index of a shard, or one chunk in it."""
        chunk = isinstance(byte_range, RangeByteRequest)
        if chunk and (guard.index_at_end or byte_range.start > 0):  # type: ignore[union-attr]
            if len(found) != _asked(byte_range):
                raise CorruptDataError(f"chunk {key}: its shard index points outside it")
            await self._check((inner,), found, key)
            return
        try:
            _entries(guard, inner, found.as_numpy_array().data)
        except CorruptDataError as error:
            raise CorruptDataError(f"chunk {key}: {error}") from None


def _asked(byte_range: ByteRequest) -> int | None:
    """Bytes that a request asks for, None where that is open."""
    if isinstance(byte_range, RangeByteRequest):
        return byte_range.end - byte_range.start
    return byte_range.suffix if isinstance(byte_range, SuffixByteRequest) else None


def _part(found: Buffer, byte_range: ByteRequest) -> Buffer:
    if isinstance(byte_range, RangeByteRequest):
        return found[byte_range.start : byte_range.end]
    if isinstance(byte_range, OffsetByteRequest):
        return found[byte_range.offset :]
    return found[max(len(found) - byte_range.suffix, 0) :]


def _check_file(path: os.PathLike[str], key: str, most: int) -> None:
    try:
        status = os.stat(path)
    except OSError:
        return  # the store says what that means
    if stat.S_ISDIR(status.st_mode):
        return
    if not stat.S_ISREG(status.st_mode) or status.st_size > most:
        raise CorruptDataError(
            f"{key}: expected a file of at most {most} bytes, found {status.st_size}"
        )
