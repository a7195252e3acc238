"""`verify`: every object of a sealed group held against its manifest."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.abc.store import Store

from xphys.errors import CorruptDataError, FormatError, UnfinishedStoreError
from xphys.io import _objects as objects
from xphys.io._checking import CheckingStore
from xphys.io._guard import GuardedStore
from xphys.io._icechunk import MissingObjectError
from xphys.io._journal import PLACE as JOURNAL
from xphys.io._journal import read_run
from xphys.io._layout import Index, Layout
from xphys.io._manifest import (
    MARK,
    PLACE,
    Manifest,
    document_bytes,
    load,
    parse_document,
    records_key,
)
from xphys.io._records import EMPTY, digest

__all__ = ["Row", "inspect_rows", "require_sound", "rows_dataset", "verify"]

# Whole objects in memory at once while hashing.
_AT_ONCE = 8


@dataclass(frozen=True)
class Row:
    """State of one object: "ok", "missing", "corrupt" or "stale"."""

    state: str
    variable: str
    key: str
    bytes: int


def verify(
    url: Any,
    *,
    group: str | None = None,
    seal: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Read every object of a store and hold it against the manifest.

    Parameters
    ----------
    url : str, path or zarr store
        A store written by `to_zarr`.
    group : str, optional
        Group inside the store.
    seal : bool, default False
        Accept what is there, whoever wrote it: make a new manifest first.
    storage_options : mapping, optional
        For the file system of a URL.

    Returns
    -------
    Dataset
        Along ``chunk``: ``state`` ("ok", "missing", "corrupt": cannot be decoded, "stale":
        intact, but not what was written there), ``variable`` ("" for metadata), ``key`` and
        ``bytes``.

    Raises
    ------
    FormatError
        If there is no manifest.
    UnfinishedStoreError
        If a write has not sealed the store.

    Examples
    --------
    >>> import tempfile, xarray as xr, xphys
    >>> path = tempfile.mkdtemp() + "/a.zarr"
    >>> xr.Dataset({"u": ("x", [1.0, 2.0])}).phys.to_zarr(path)
    >>> set(xphys.verify(path).state.values.tolist())
    {'ok'}
    """
    path = (group or "").strip("/")
    if seal:
        from xphys.io._accept import accept

        accept(objects.open_store(url, storage_options), path)
    store = objects.open_store(url, storage_options, read_only=True)
    return rows_dataset(inspect_rows(store, path))


def rows_dataset(rows: list[Row]) -> xr.Dataset:
    """Rows as a Dataset on ``chunk``."""
    columns = {
        name: ("chunk", np.array([getattr(r, name) for r in rows], dtype=kind))
        for name, kind in (("state", str), ("variable", str), ("key", str), ("bytes", np.int64))
    }
    return xr.Dataset(columns)


def require_sound(store: Store, group: str) -> None:
    """Raise for the first object that is not as it was written."""
    bad = [
        r for r in inspect_rows(store, group) if r.state != "ok" and not objects.is_leftover(r.key)
    ]
    if bad:
        first = bad[0]
        raise CorruptDataError(
            f"{len(bad)} of the objects in {store} are not as they were written, the first is "
            f"variable {first.variable!r}, chunk {first.key}: {first.state}"
        )


def inspect_rows(store: Store, group: str) -> list[Row]:
    """A row for each object that the manifest knows or that should not be there."""
    if read_run(store, group) is not None:
        raise UnfinishedStoreError(f"{store}: a write has not been finished: run its code again")
    key = objects.join(PLACE, "zarr.json")
    data = objects.read(store, objects.join(group, key))
    try:
        manifest = load(store, group)
    except CorruptDataError:
        return [Row("corrupt", "", key, len(data or b""))]
    if manifest is None:
        if _is_marked(store, group):
            return [Row("missing", "", key, 0)]
        raise FormatError(f"{store} has no manifest: make one with xphys.verify(url, seal=True)")
    state = "ok" if data == manifest.document() else "corrupt"
    found: list[Row] = objects.wait(_rows(store, group, manifest))
    return [Row(state, "", key, len(data or b"")), *found]


def _is_marked(store: Store, group: str) -> bool:
    root = objects.read(store, objects.join(group, "zarr.json"))
    try:
        return root is not None and MARK in parse_document(root, "").get("attributes", {})
    except CorruptDataError:
        return True


async def _rows(store: Store, group: str, manifest: Manifest) -> list[Row]:
    root = await objects.get(store, objects.join(group, "zarr.json"))
    rows = [Row(await _root_state(store, group, manifest, root), "", "zarr.json", len(root or b""))]
    others = [(k, d) for k, d in manifest.documents.items() if k != "zarr.json"]
    rows += [await _document_row(store, group, k, d) for k, d in others]
    expected = {objects.join(PLACE, "zarr.json"), *manifest.documents}
    checking = CheckingStore(store, group, manifest)
    for path, layout in manifest.layouts.items():
        table = records_key(path)
        expected.add(table)
        row = await _document_row(store, group, table, manifest.tables[path])
        rows.append(row)
        expected |= {f"{path}/{layout.key(i)}" for i in layout.objects()}
        if row.state == "ok":
            rows += await _array_rows(checking, path, layout)
    return rows + await _extra_rows(store, group, expected, manifest)


async def _root_state(store: Store, group: str, manifest: Manifest, data: bytes | None) -> str:
    """State of the group's own document, with what it repeats of groups below."""
    if data is None:
        return "missing"
    try:
        document = parse_document(data, "zarr.json")
        if not manifest.matches("zarr.json", data) or document_bytes(document) != data:
            return "corrupt"
    except CorruptDataError:
        return "corrupt"
    inside = document["consolidated_metadata"]["metadata"]
    for path in inside:
        if f"{path}/zarr.json" in manifest.documents:
            continue
        below = await objects.get(store, objects.join(group, path, "zarr.json"))
        if below is None:
            return "corrupt"
        found = parse_document(below, path)
        found.pop("consolidated_metadata", None)
        if found != inside[path]:
            return "corrupt"
    return "ok"


async def _document_row(store: Store, group: str, key: str, wanted: str) -> Row:
    data = await objects.get(store, objects.join(group, key))
    if data is None:
        return Row("missing", "", key, 0)
    return Row("ok" if digest(data) == wanted else "corrupt", "", key, len(data))


async def _array_rows(checking: CheckingStore, path: str, layout: Layout) -> list[Row]:
    gate = asyncio.Semaphore(_AT_ONCE)
    records = await checking.records(path)

    async def one(index: Index) -> Row | None:
        async with gate:
            key = f"{path}/{layout.key(index)}"
            try:
                data = await objects.get(checking._store, objects.join(checking.group, key))
            except CorruptDataError as error:  # of a store that has an index of its own
                lost = isinstance(error, MissingObjectError)
                return Row("missing" if lost else "corrupt", path, key, 0)
            states = [records[layout.number(unit)]["state"] for unit in layout.inner(index)]
            left_out = all(state == EMPTY for state in states)
            if data is None:
                return None if left_out else Row("missing", path, key, 0)
            if left_out:
                return Row("stale", path, key, len(data))
            try:
                await asyncio.to_thread(checking.check_object, key, path, index, data, records)
            except CorruptDataError:
                state = await asyncio.to_thread(_decodes, checking, path, index)
                return Row(state, path, key, len(data))
            return Row("ok", path, key, len(data))

    found = await asyncio.gather(*(one(index) for index in layout.objects()))
    return [row for row in found if row is not None]


def _decodes(checking: CheckingStore, path: str, index: Index) -> str:
    """Whether a chunk that is not what was written is at least one that can be read."""
    layout = checking.manifest.layouts[path]
    where = tuple(slice(i * n, (i + 1) * n) for i, n in zip(index, layout.stored, strict=True))
    try:
        place = objects.join(checking.group, path)
        array = zarr.open_array(GuardedStore(checking._store), path=place, mode="r", zarr_format=3)
        array[where]
    except Exception:  # whatever a codec says of damaged bytes
        return "corrupt"
    return "stale"


def _is_group(data: bytes, key: str) -> bool:
    try:
        return parse_document(data, key).get("node_type") == "group"
    except CorruptDataError:
        return False


async def _extra_rows(
    store: Store, group: str, expected: set[str], manifest: Manifest
) -> list[Row]:
    """Objects that nobody wrote here; other groups below this one are their own business."""
    start = f"{group}/" if group else ""
    present = [key[len(start) :] for key in await objects.keys(store, group)]
    unknown = [key for key in present if key not in expected]
    candidates = [
        key for key in unknown if key.endswith("/zarr.json") and not key.startswith("_xphys/")
    ]
    loaded = await objects.get_many(store, [objects.join(group, key) for key in candidates])
    groups = {
        key.rpartition("/")[0]
        for key in candidates
        if _is_group(loaded[objects.join(group, key)] or b"", key)
    }
    # arrays and groups in a group below belong to it
    groups = {g for g in groups if g.rpartition("/")[0] in {"", *groups}}
    rows = []
    for key in unknown:
        if key.startswith(f"{JOURNAL}/") or not any(key.startswith(f"{g}/") for g in groups):
            data = await objects.get(store, objects.join(group, key))
            rows.append(Row("stale", "", key, len(data or b"")))
    return rows
