"""`repair`: undo a write that cannot be finished, or compute damaged objects again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dask
import numpy as np
import xarray as xr
from zarr.abc.store import Store
from zarr.core.buffer import Buffer
from zarr.storage import WrapperStore

from xphys.errors import CorruptDataError, FormatError, UnfinishedStoreError
from xphys.io import _objects as objects
from xphys.io._journal import PLACE as JOURNAL
from xphys.io._journal import Journal, Run, read_run
from xphys.io._layout import Layout
from xphys.io._manifest import (
    MARK,
    PLACE,
    Manifest,
    blank_records,
    document_bytes,
    load,
    load_records,
    pack_records,
    parse_document,
    records_document,
    records_key,
)
from xphys.io._records import EMPTY, Describe, Facts, digest, records_of, unit_digest
from xphys.io._verify import Row, inspect_rows, rows_dataset
from xphys.io.writers._dry import rewrite
from xphys.io.writers._plan import inspect
from xphys.io.writers._seal import consolidated
from xphys.schema import record

__all__ = ["repair"]


def repair(
    url: Any,
    source: xr.Dataset | None = None,
    *,
    group: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Bring a store back to what was sealed, computing only what is bad.

    Parameters
    ----------
    url : str, path or zarr store
        The store.
    source : Dataset, optional
        What the store was written from: the same Dataset that was given to `to_zarr`. Without
        it an unfinished append, region or change is undone, which needs no values.
    group : str, optional
        Group inside the store.
    storage_options : mapping, optional
        For the file system of a URL.

    Returns
    -------
    Dataset
        What was mended, along ``chunk``, as `verify` names it; ``state`` is what it was before.

    Raises
    ------
    FormatError
        If ``source`` is not given and there is nothing to undo.
    UnfinishedStoreError
        If a first write was never finished, which only its own code can do, or one is under way
        and ``source`` is given.
    CorruptDataError
        If the manifest itself is damaged, or ``source`` does not give the bytes it records.
    """
    store, path = objects.open_store(url, storage_options), (group or "").strip("/")
    if source is None and hasattr(store, "abandon"):
        dropped = store.abandon()
        if dropped is not None:
            return rows_dataset([Row("stale", "", key, 0) for key in dropped])
    run = read_run(store, path)
    if source is None:
        if run is None:
            raise FormatError(
                f"{store}: nothing to undo: give the Dataset it was written from as source"
            )
        return rows_dataset(_undo(store, path, run))
    if run is not None:
        raise UnfinishedStoreError(f"{store}: finish the write, or undo it with repair(url)")
    bad = [row for row in inspect_rows(store, path) if row.state != "ok"]
    if bad:
        manifest = load(store, path)
        if manifest is None or any(r.key == objects.join(PLACE, "zarr.json") for r in bad):
            raise CorruptDataError(
                f"{store}: the manifest itself is damaged: write the store again, or accept what "
                "is there with xphys.verify(url, seal=True)"
            )
        _Repair(store, path, manifest, source).run(bad)
        if hasattr(store, "publish"):
            store.publish(objects.join(path, JOURNAL, "run.json"))
    return rows_dataset(bad)


def _undo(store: Store, group: str, run: Run) -> list[Row]:
    if inspect(store, group).done:  # sealed, all but the end of its journal
        Journal(store, group, run).end()
        return []
    if run.generation == 0:
        raise UnfinishedStoreError(
            f"{store}: nothing was sealed here yet: run the code that began the write again, or "
            "replace the store with mode='w'"
        )
    journal = Journal(store, group, run)
    kept = objects.wait(journal.before())
    rows = []
    for inside, data in sorted(kept.items()):
        key = objects.join(group, inside)
        if data is None:
            objects.wait(objects.delete(store, key))
        else:
            objects.write(store, key, data)
        rows.append(Row("stale", "", inside, len(data or b"")))
    journal.end()
    return rows


class _Trial(WrapperStore[Store]):
    """Reads documents from below and collects what a write puts under the wanted keys."""

    def __init__(self, store: Store, group: str, found: dict[str, bytes]) -> None:
        super().__init__(store)
        self.group, self.found = group, found

    def _with_store(self, store: Store) -> _Trial:
        return type(self)(store, self.group, self.found)

    async def set(self, key: str, value: Buffer) -> None:
        self.found[key[len(self.group) :].lstrip("/")] = value.to_bytes()

    async def delete(self, key: str) -> None:
        self.found.pop(key[len(self.group) :].lstrip("/"), None)


class _Repair:
    """One repair of a sealed group from its source."""

    def __init__(self, store: Store, group: str, manifest: Manifest, source: xr.Dataset) -> None:
        self.store, self.group, self.manifest, self.source = store, group, manifest, source

    def run(self, bad: list[Row]) -> None:
        """Mend documents first, then records, then chunks: each needs those before it."""
        self._mend_documents({r.key for r in bad if not r.variable})
        chunks = {r.key for r in bad if r.variable}
        tables = {p for p in self.manifest.layouts if any(r.key == records_key(p) for r in bad)}
        for path in tables:  # every unit is in doubt
            layout = self.manifest.layouts[path]
            chunks |= {f"{path}/{layout.key(i)}" for i in layout.objects()}
        if not chunks:
            return
        found: dict[str, bytes] = {}
        trial = _Trial(self.store, self.group, found)
        with dask.config.set(scheduler="threads"):  # what is found must be found here
            describe = rewrite(
                self.source, self.store, trial, self.group, self.manifest.layouts, chunks
            )
        for path in tables:
            self._mend_records(path, found, describe.get(path))
        self._mend_chunks(chunks, found)

    def _mend_documents(self, keys: set[str]) -> None:
        """From the consolidated copy, or the root from what it consolidates."""
        known = {k for k in self.manifest.documents if not k.startswith("_xphys/")}
        root = objects.read(self.store, objects.join(self.group, "zarr.json"))
        copies: dict[str, dict[str, Any]] = {}
        if "zarr.json" not in keys and root is not None:
            inside = parse_document(root, "zarr.json")["consolidated_metadata"]["metadata"]
            copies = {f"{path}/zarr.json": document for path, document in inside.items()}
        for key in sorted(keys - {"zarr.json"}):
            path = key.removeprefix(f"{PLACE}/").removesuffix("/zarr.json")
            if key in known and key in copies:
                self._put(key, document_bytes(copies[key]), self.manifest.documents[key])
            elif key in self.manifest.documents and key not in known:
                bare = {"zarr_format": 3, "node_type": "group", "attributes": {}}
                layout = self.manifest.layouts.get(path)
                data = document_bytes(bare) if layout is None else records_document(layout.units)
                self._put(key, data, self.manifest.documents[key])
            elif key not in self.manifest.documents and key not in self._tables():
                objects.wait(objects.delete(self.store, objects.join(self.group, key)))
        if "zarr.json" in keys:
            self._mend_root(known - {"zarr.json"})

    def _tables(self) -> set[str]:
        return {records_key(path) for path in self.manifest.layouts}

    def _mend_root(self, arrays: set[str]) -> None:
        documents: dict[str, dict[str, Any]] = {}
        for key in arrays:
            data = objects.read(self.store, objects.join(self.group, key))
            if data is None or not self.manifest.matches(key, data):
                raise CorruptDataError(f"{key} and the root document are both damaged")
            documents[key] = parse_document(data, key)
        attributes = {**record(self.source, "to_zarr").attrs, MARK: 1}
        documents["zarr.json"] = {
            "zarr_format": 3,
            "node_type": "group",
            "attributes": attributes,
        }
        data = document_bytes(consolidated(documents))
        self._put("zarr.json", data, self.manifest.documents["zarr.json"])

    def _mend_records(self, path: str, found: dict[str, bytes], describe: Describe | None) -> None:
        layout = self.manifest.layouts[path]
        if len(self.manifest.fingerprints) > 1:
            raise CorruptDataError(f"records of {path!r}, written by several runs, are lost")
        records = blank_records(layout)
        for index in layout.objects():
            data = found.get(f"{path}/{layout.key(index)}")
            facts = describe(data) if describe is not None and data is not None else Facts()
            key = self.manifest.fingerprint(0)
            for unit, made in records_of(layout, path, index, data, key, 0, facts):
                records[layout.number(unit)] = made
        packed = pack_records(records)
        self._put(records_key(path), packed, self.manifest.tables[path])

    def _mend_chunks(self, chunks: set[str], found: dict[str, bytes]) -> None:
        for path, layout in self.manifest.layouts.items():
            records = objects.wait(load_records(self.store, self.group, self.manifest, path))
            for index in layout.objects():
                inside = f"{path}/{layout.key(index)}"
                if inside in chunks:
                    self._mend_chunk(inside, path, layout, index, records, found.get(inside))

    def _mend_chunk(
        self,
        inside: str,
        path: str,
        layout: Layout,
        index: tuple[int, ...],
        records: np.ndarray,
        data: bytes | None,
    ) -> None:
        pieces = {} if data is None else layout.pieces(index, data)
        for unit in layout.inner(index):
            record, piece = records[layout.number(unit)], pieces.get(unit)
            same = (piece is None) == (record["state"] == EMPTY)
            if same and piece is not None and data is not None:
                body = memoryview(data)[piece[0] : piece[0] + piece[1]]
                key = self.manifest.fingerprint(int(record["generation"]))
                same = unit_digest(key, path, unit, body) == record["digest"].tobytes()
            if not same:
                raise CorruptDataError(
                    f"variable {path!r}, chunk {inside}: the source gives other values than the "
                    "ones that were sealed"
                )
        key_in_store = objects.join(self.group, inside)
        if data is None:
            objects.wait(objects.delete(self.store, key_in_store))
        else:
            objects.write(self.store, key_in_store, data)

    def _put(self, key: str, data: bytes, wanted: str) -> None:
        if digest(data) != wanted:
            raise CorruptDataError(f"{key}: the source does not give what was sealed here")
        objects.write(self.store, objects.join(self.group, key), data)
