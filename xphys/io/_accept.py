"""Making a manifest for a group as it is, whoever wrote or changed it."""

from __future__ import annotations

from typing import Any

import numpy as np
from zarr.abc.store import Store

from xphys.errors import FormatError, UnfinishedStoreError
from xphys.io import _objects as objects
from xphys.io._checking import layouts_of
from xphys.io._journal import Journal, Run, read_run
from xphys.io._layout import Layout
from xphys.io._manifest import MARK, PLACE, blank_records, document_bytes, parse_document
from xphys.io._records import digest, records_of
from xphys.io.writers._plan import Plan
from xphys.io.writers._seal import consolidated, publish

__all__ = ["accept"]


def accept(store: Store, group: str) -> None:
    """Seal a group with the bytes that are there.

    Parameters
    ----------
    store : zarr store
        The store.
    group : str
        Path of the group in it.

    Raises
    ------
    UnfinishedStoreError
        If a write is under way.
    FormatError
        If there is no Zarr v3 group.
    """
    if read_run(store, group) is not None:
        raise UnfinishedStoreError(f"{store}: a write has not been finished: run its code again")
    documents = objects.wait(_documents(store, group))
    layouts = layouts_of(documents)
    fingerprint = digest(document_bytes(documents))
    run = Run(fingerprint, fingerprint, 0)
    plan = Plan(store, group, run, documents, layouts, None)
    journal = Journal(store, group, run)
    journal.begin()
    plan.run = journal.run
    objects.wait(store.delete_dir(objects.join(group, PLACE)))
    objects.wait(_seal(plan))
    journal.end()


async def _documents(store: Store, group: str) -> dict[str, dict[str, Any]]:
    data = await objects.get(store, objects.join(group, "zarr.json"))
    if data is None:
        raise FormatError(f"{store}: expected a Zarr v3 group, found no zarr.json")
    root = parse_document(data, "zarr.json")
    if root.get("node_type") != "group":
        raise FormatError(f"{store}: expected a Zarr v3 group, found {root.get('node_type')!r}")
    root.pop("consolidated_metadata", None)
    root["attributes"] = {**root.get("attributes", {}), MARK: 1}
    documents = {"zarr.json": root}
    async for name in store.list_dir(group):
        key = objects.join(name.rstrip("/"), "zarr.json")
        found = await objects.get(store, objects.join(group, key))
        if found is not None:
            document = parse_document(found, key)
            if document.get("node_type") == "array":
                documents[key] = document
    return documents


async def _seal(plan: Plan) -> None:
    records = {path: await _records(plan, path, layout) for path, layout in plan.layouts.items()}
    documents = {**plan.documents, "zarr.json": consolidated(plan.documents)}
    await publish(plan, documents, records)


async def _records(plan: Plan, path: str, layout: Layout) -> np.ndarray:
    records = blank_records(layout)
    fingerprint = bytes.fromhex(plan.run.fingerprint)
    for index in layout.objects():
        key = objects.join(plan.group, path, layout.key(index))
        data = await objects.get(plan.store, key)
        for unit, record in records_of(layout, path, index, data, fingerprint, 0):
            records[layout.number(unit)] = record
    return records
