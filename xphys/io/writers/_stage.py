"""Letting xarray describe a store in memory, before anything is written to the real one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import xarray as xr
from xarray.backends.common import ArrayWriter
from xarray.backends.writers import dump_to_store, get_writable_zarr_store
from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import MemoryStore

from xphys.io import _objects as objects
from xphys.io._manifest import parse_document

__all__ = ["Staged", "Write", "stage"]

_DOCUMENT = "zarr.json"


@dataclass(frozen=True)
class Write:
    """Values still to be computed: a dask array and where it goes."""

    path: str
    source: Any
    region: tuple[slice, ...]


@dataclass
class Staged:
    """What xarray would write.

    Attributes
    ----------
    documents : dict
        Metadata documents by key in the group.
    parents : dict
        Documents of the groups above, by key in the store.
    chunks : dict
        Objects of variables that were in memory, by key in the group; None for one that is to
        be deleted.
    writes : list of Write
        The rest.
    """

    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    parents: dict[str, dict[str, Any]] = field(default_factory=dict)
    chunks: dict[str, bytes | None] = field(default_factory=dict)
    writes: list[Write] = field(default_factory=list)


class _Overlay(MemoryStore):
    """Writes stay in memory; what is not there is read from below."""

    def __init__(self, below: Store | None) -> None:
        super().__init__()
        self._below = below
        self.gone: set[str] = set()

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        found = await super().get(key, prototype, byte_range)
        if found is None and self._below is not None and key not in self.gone and prototype:
            found = await self._below.get(key, prototype, byte_range)
        return found

    async def exists(self, key: str) -> bool:
        if await super().exists(key):
            return True
        return self._below is not None and key not in self.gone and await self._below.exists(key)

    async def set(self, key: str, value: Buffer, byte_range: Any = None) -> None:
        self.gone.discard(key)
        await super().set(key, value, byte_range)

    async def delete(self, key: str) -> None:
        self.gone.add(key)
        await super().delete(key)

    async def list(self) -> AsyncIterator[str]:
        async for key in self.list_prefix(""):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        seen = set(self.gone)
        async for key in super().list_prefix(prefix):
            seen.add(key)
            yield key
        if self._below is not None:
            async for key in self._below.list_prefix(prefix):
                if key not in seen:
                    yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        seen = set()
        async for name in super().list_dir(prefix):
            seen.add(name)
            yield name
        if self._below is not None:
            async for name in self._below.list_dir(prefix):
                if name not in seen:
                    yield name


def stage(
    ds: xr.Dataset,
    below: Store | None,
    *,
    group: str,
    mode: Any,
    append_dim: Hashable | None = None,
    region: Any = None,
    encoding: Mapping[Hashable, Mapping[str, Any]] | None = None,
) -> Staged:
    """Describe a write without writing.

    Parameters
    ----------
    ds : Dataset
        Chunked as it is to be stored; what is in memory is encoded now.
    below : zarr store or None
        What is there, for appending, regions and new variables.
    group, mode, append_dim, region, encoding
        As in `xarray.Dataset.to_zarr`.

    Returns
    -------
    Staged
        Documents, chunks in memory, and what is still to be computed.
    """
    overlay = _Overlay(below)
    target = get_writable_zarr_store(
        overlay,
        mode=mode,
        group=group or None,
        consolidated=False,
        append_dim=append_dim,
        region=region,
        # one task for each stored object is made here: see _align
        safe_chunks=False,
        zarr_format=3 if below is None else None,
    )
    ds = target._validate_and_autodetect_region(ds)
    target._validate_encoding(encoding or {})
    writer = ArrayWriter()  # type: ignore[no-untyped-call]
    dump_to_store(  # type: ignore[no-untyped-call]
        ds, target, writer, encoding=dict(encoding or {})
    )
    staged = _sort(overlay, group)
    for source, array, where in zip(writer.sources, writer.targets, writer.regions, strict=True):
        path = array.path[len(group) + 1 :] if group else array.path
        staged.writes.append(Write(path, source, _whole(where, source.shape)))
    return staged


def _whole(region: Any, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Slices with a start and a stop."""
    parts = region if isinstance(region, tuple) else (region,) * len(shape)
    return tuple(
        slice(part.start or 0, (part.start or 0) + n) for part, n in zip(parts, shape, strict=True)
    )


def _sort(overlay: _Overlay, group: str) -> Staged:
    staged = Staged()
    for key, buffer in overlay._store_dict.items():
        data = buffer.to_bytes()
        inside = key[len(group) + 1 :] if group and key.startswith(f"{group}/") else key
        above = bool(group) and inside == key
        if key.rpartition("/")[2] != _DOCUMENT:
            staged.chunks[inside] = data
        elif above:
            staged.parents[key] = parse_document(data, key)
        else:
            staged.documents[inside] = parse_document(data, key)
    for key in overlay.gone:
        inside = key[len(group) + 1 :] if group else key
        if inside not in staged.chunks and not key.endswith(_DOCUMENT):
            staged.chunks[inside] = None
    return staged


def below_document(store: Store, group: str, key: str) -> dict[str, Any] | None:
    """A document that is there already."""
    data = objects.read(store, objects.join(group, key))
    return None if data is None else parse_document(data, key)
