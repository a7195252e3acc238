"""Sealing: from the journal to the manifest, as the last step of a write."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from xphys.errors import StoreConflictError, UnfinishedStoreError
from xphys.io import _objects as objects
from xphys.io._checking import CheckingStore
from xphys.io._journal import BeforeStore
from xphys.io._layout import Layout
from xphys.io._manifest import (
    PLACE,
    Manifest,
    blank_records,
    document_bytes,
    listing,
    load_records,
    nodes_inside,
    nodes_of_groups_below,
    pack_records,
    parse_document,
    records_document,
    records_key,
)
from xphys.io._recording import RecordingStore
from xphys.io._records import RECORD, UNKNOWN, WRITTEN, digest
from xphys.io.writers._plan import Plan

__all__ = ["PEAK", "RMS", "consolidated", "measured", "publish", "seal"]

_BARE: dict[str, Any] = {"zarr_format": 3, "node_type": "group", "attributes": {}}

# Bytes of coordinates that are kept in the manifest too, of all together.
_INLINE = 2**16

#: Attributes of a variable that was written as a payload: measured errors, in its units.
RMS, PEAK = "compression_rms_error", "compression_max_error"


def seal(plan: Plan, *handed: object) -> None:
    """Make a written group trustworthy: records to the manifest, journal removed.

    Parameters
    ----------
    plan : Plan
        Of the write.
    *handed
        What the tasks that must have run before hand over, see `RecordingStore.handed`.

    Raises
    ------
    UnfinishedStoreError
        If a chunk has no record.
    """
    if hasattr(plan.store, "take_up"):
        plan.store.take_up(*handed)
    objects.wait(plan.journal.check())
    if plan.contested:
        objects.wait(_require_own(plan))
    records = objects.wait(_collect(plan))
    documents = dict(plan.documents)
    for path in plan.payloads:
        documents[f"{path}/zarr.json"] = measured(
            documents[f"{path}/zarr.json"], plan.layouts[path], records[path]
        )
    documents["zarr.json"] = consolidated(documents)
    objects.wait(publish(plan, documents, records))
    if not plan.hold:
        plan.journal.end()
        plan.journal.sweep()  # another writer of the same run may have ended it before
    elif hasattr(plan.store, "checkpoint"):
        plan.store.checkpoint()


async def _require_own(plan: Plan) -> None:
    """Another run was at work when this one took the group: nothing of it may be left."""
    target = RecordingStore(plan.store, plan.journal, plan.layouts, {}, None)
    for inside, found in (await plan.journal.noted()).items():
        data = await objects.get(plan.store, objects.join(plan.group, inside))
        if not target.same_bytes(inside, data, found):
            raise StoreConflictError(
                f"{plan.store}: another run wrote {inside} while this one did: write it again "
                "with mode='w' when only one writer is at work"
            )


async def _collect(plan: Plan) -> dict[str, np.ndarray]:
    """Records of every unit of every array: old ones, then those of this run."""
    noted = await plan.journal.noted()
    lost = plan.expected - set(noted)
    if lost:
        raise UnfinishedStoreError(
            f"{plan.store}: {len(lost)} objects have no record, the first is {min(lost)}: run the "
            "same code again"
        )
    by_path: dict[str, dict[str, np.ndarray]] = {path: {} for path in plan.layouts}
    for key, found in noted.items():
        for path, layout in plan.layouts.items():
            if key.startswith(f"{path}/") and layout.parse(key[len(path) + 1 :]) is not None:
                by_path[path][key] = found
    out = {}
    for path, layout in plan.layouts.items():
        records = blank_records(layout)
        if plan.old is not None and path in plan.old.layouts:
            below = BeforeStore(plan.store, plan.group)
            before = await load_records(below, plan.group, plan.old, path)
            _carry(before, plan.old.layouts[path], records, layout)
        for key, found in by_path[path].items():
            index = layout.parse(key[len(path) + 1 :])
            assert index is not None
            for unit, record in zip(layout.inner(index), found, strict=True):
                records[layout.number(unit)] = record
        missing = np.flatnonzero(records["state"] == UNKNOWN)
        if missing.size:
            first = layout.index(int(missing[0]))
            raise UnfinishedStoreError(
                f"variable {path!r}: {missing.size} of {layout.units} chunks were not written, "
                f"the first is {first}: run the same code again"
            )
        out[path] = records
    return out


def _carry(before: np.ndarray, old: Layout, records: np.ndarray, new: Layout) -> None:
    """Records of a grid to the same places of a larger one."""
    if old.grid == new.grid:
        records[:] = before
    elif before.size:
        corner = tuple(slice(0, n) for n in old.grid)
        records.reshape(new.grid)[corner] = before.reshape(old.grid)


def measured(document: dict[str, Any], layout: Layout, records: np.ndarray) -> dict[str, Any]:
    """Document of a variable with its measured errors."""
    written = records[records["state"] == WRITTEN]
    sizes = _unit_sizes(layout)[records["state"] == WRITTEN]
    total = max(int(sizes.sum()), 1)
    rms = math.sqrt(float((written["rms"] ** 2 * sizes).sum()) / total)
    peak = float(written["peak"].max(initial=0.0))
    attributes = {**document.get("attributes", {}), RMS: rms, PEAK: peak}
    return {**document, "attributes": attributes}


def _unit_sizes(layout: Layout) -> np.ndarray:
    """Points of the array in each unit."""
    sizes = np.ones((), np.int64)
    for n, chunk, count in zip(layout.shape, layout.chunk, layout.grid, strict=True):
        starts = np.arange(count) * chunk
        along = np.clip(n - starts, 0, chunk)
        sizes = sizes[..., None] * along
    return sizes.reshape(-1)


def consolidated(documents: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Root document with those of all arrays inside: a reader needs one request."""
    inside = {
        key.removesuffix("/zarr.json"): document
        for key, document in sorted(documents.items())
        if key != "zarr.json"
    }
    return listing(documents["zarr.json"], inside)


async def publish(
    plan: Plan, documents: dict[str, dict[str, Any]], records: dict[str, np.ndarray]
) -> None:
    """Write documents, records and, last, the group document of the manifest."""
    fingerprints = [] if plan.old is None else list(plan.old.fingerprints)
    manifest = Manifest([*fingerprints[: plan.run.generation], plan.run.fingerprint])
    written = {key: document_bytes(document) for key, document in documents.items()}
    for path, table in records.items():
        manifest.layouts[path] = plan.layouts[path]
        data = pack_records(np.asarray(table, RECORD))
        manifest.tables[path] = digest(data)
        written[objects.join(PLACE, path, "zarr.json")] = records_document(table.size)
        written[records_key(path)] = data
    for path in {p.rpartition("/")[0] for p in records} - {""}:
        written.setdefault(objects.join(PLACE, path, "zarr.json"), document_bytes(_BARE))
    written["_xphys/zarr.json"] = document_bytes(_BARE)
    manifest.documents = {
        key: digest(data) for key, data in sorted(written.items()) if key.endswith("zarr.json")
    }
    manifest.inline = await _inline(plan, manifest, documents, records)
    written[objects.join(PLACE, "zarr.json")] = manifest.document()
    root, journal = documents["zarr.json"], plan.journal
    now = await objects.get(plan.store, objects.join(plan.group, "zarr.json"))
    # groups that were written below since this write began
    later = {} if now is None else nodes_of_groups_below(parse_document(now, "zarr.json"))
    nodes = {**plan.below, **later, **nodes_inside(root)}
    written["zarr.json"] = document_bytes(listing(root, nodes))
    for key, data in written.items():  # in this order: the manifest's document comes last
        await journal.check()
        if plan.old is not None:
            await journal.keep(key)
        await objects.put(plan.store, objects.join(plan.group, key), data)
    await _tell_above(plan, root, nodes)


async def _inline(
    plan: Plan,
    manifest: Manifest,
    documents: dict[str, dict[str, Any]],
    records: dict[str, np.ndarray],
) -> dict[str, bytes]:
    """Objects of small coordinates, which xarray reads whenever the group is opened."""
    checking = CheckingStore(plan.store, plan.group, manifest)
    found: dict[str, bytes] = {}
    left = _INLINE
    for path, layout in sorted(plan.layouts.items()):
        size = int(records[path]["length"].sum())
        if documents[f"{path}/zarr.json"].get("dimension_names") != [path] or size > left:
            continue
        for index in layout.objects():
            inside = f"{path}/{layout.key(index)}"
            data = await objects.get(plan.store, objects.join(plan.group, inside))
            if data is not None:
                checking.check_object(inside, path, index, data, records[path])
                found[inside] = data
                left -= len(data)
    return found


async def _tell_above(plan: Plan, root: dict[str, Any], nodes: dict[str, Any]) -> None:
    """List this group and the nodes in it in the documents of all groups above it."""
    parts = plan.group.split("/") if plan.group else []
    for depth in range(len(parts)):
        above, path = "/".join(parts[:depth]), "/".join(parts[depth:])
        key = objects.join(above, "zarr.json")
        data = await objects.get(plan.store, key)
        document = _BARE if data is None else parse_document(data, key)
        listed = {
            k: node
            for k, node in nodes_inside(document).items()
            if k != path and not k.startswith(f"{path}/")
        }
        for between in range(1, len(parts) - depth):
            listed.setdefault("/".join(parts[depth : depth + between]), _BARE)
        listed[path] = {k: v for k, v in root.items() if k != "consolidated_metadata"}
        listed |= {f"{path}/{inside}": node for inside, node in nodes.items()}
        await objects.put(plan.store, key, document_bytes(listing(document, listed)))
