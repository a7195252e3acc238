"""What a write does before the first value is computed: plan, conflicts, metadata, tasks."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import xarray as xr
from dask.base import tokenize
from dask.delayed import Delayed
from zarr.abc.store import Store

from xphys.errors import CorruptDataError, SchemaError, StoreConflictError, UnknownNameError
from xphys.io import _objects as objects
from xphys.io._checking import CheckingStore
from xphys.io._journal import PLACE as JOURNAL
from xphys.io._journal import Journal, is_sealed, read_run
from xphys.io._manifest import PLACE as MANIFEST
from xphys.io._manifest import document_bytes, listing, load
from xphys.io._payload import DecodeLayer, find_payload
from xphys.io._recording import RecordingStore
from xphys.io._records import digest
from xphys.io.writers._graph import build, keys_of, names_of
from xphys.io.writers._plan import Plan, State, inspect, make_plan, view_below
from xphys.io.writers._prepare import prepare
from xphys.io.writers._seal import PEAK
from xphys.io.writers._stage import Staged, stage
from xphys.schema import PROVENANCE

__all__ = ["Begun", "Mode", "begin"]

Mode = Literal["w", "w-", "a", "r+"]


@dataclass(frozen=True)
class Begun:
    """A write whose metadata is there.

    Attributes
    ----------
    plan : Plan
        Of the write; None for an append or change that an earlier call has done.
    pending : Delayed or None
        Writes the values and seals; None if an earlier call has done that.
    """

    plan: Plan | None
    pending: Delayed | None

    def finish(self) -> None:
        """Write the values and seal, unless another writer of the same run has done it."""
        if self.pending is None or self.plan is None:
            return
        try:
            self.pending.compute()
        except Exception as error:
            _explain(self.plan, error)


def begin(
    ds: xr.Dataset,
    place: Store,
    path: str,
    *,
    mode: Mode = "w-",
    append_dim: Hashable | None = None,
    region: Mapping[str, slice] | Literal["auto"] | None = None,
    chunks: Mapping[str, int] | None = None,
    shards: Mapping[str, int] | None = None,
    encoding: Mapping[Hashable, Mapping[str, Any]] | None = None,
    resume: bool = True,
    nodes: Sequence[str] = (),
    hold: bool = False,
) -> Begun:
    """Begin what `to_zarr` does, in an open store.

    With ``hold`` the journal stays when the group is sealed, so that the same call on the same
    data finds it done; who holds it ends it. ``nodes`` are groups below that belong to the write.
    """
    seen = _last_writer(place, path)
    try:
        return _look_and_begin(
            ds, place, path, mode, append_dim, region, chunks, shards, encoding, resume, nodes, hold
        )
    except CorruptDataError as error:
        if _last_writer(place, path) == seen:
            raise
        raise StoreConflictError(
            f"{place}: another run wrote here while this one looked: run the code again"
        ) from error


def _last_writer(place: Store, path: str) -> tuple[bytes | None, ...]:
    """What changes whenever a run begins or ends in a group."""
    keys = (f"{JOURNAL}/run.json", f"{MANIFEST}/zarr.json")
    return tuple(objects.read(place, objects.join(path, key)) for key in keys)


def _look_and_begin(
    ds: xr.Dataset,
    place: Store,
    path: str,
    mode: Mode,
    append_dim: Hashable | None,
    region: Mapping[str, slice] | Literal["auto"] | None,
    chunks: Mapping[str, int] | None,
    shards: Mapping[str, int] | None,
    encoding: Mapping[Hashable, Mapping[str, Any]] | None,
    resume: bool,
    nodes: Sequence[str],
    hold: bool,
) -> Begun:
    payloads = _payloads(ds, encoding)
    partly = append_dim is not None or region is not None
    state = inspect(place, path)
    fresh = mode in ("w", "w-") and not partly
    call = "" if fresh else digest(f"{tokenize(ds)} {append_dim} {region} {mode}".encode())
    if state.done and state.run is not None and not fresh:
        # all that was missing is the end of the journal
        Journal(place, path, state.run).end()
        if state.run.call == call:
            return Begun(None, None)
        state = inspect(place, path)
    _check_state(place, state, fresh, mode, partly)
    below = None if fresh else view_below(place, path, state)
    if fresh:
        state = State(state.exists, state.run, None, state.done, replaced=mode == "w")
    layouts = {} if fresh or state.manifest is None else state.manifest.layouts
    ready, merged = prepare(
        ds, payloads, chunks, shards, encoding, layouts, append_dim=append_dim, region=region
    )
    staged = stage(
        ready,
        below,
        group=path,
        mode=None if partly and mode in ("w-", "w") else "w-" if mode == "w" else mode,
        append_dim=append_dim,
        region=region,
        encoding=merged,
    )
    settings = {
        "provenance": ready.attrs.get(PROVENANCE, ""),
        "append_dim": str(append_dim),
        "region": str(region),
        **({"nodes": list(nodes)} if nodes else {}),
    }
    decoders = {str(name): layer for name, layer in payloads.items()}
    names = names_of(staged.writes, decoders)
    plan = make_plan(place, path, staged, state, settings, names, call)
    plan.payloads = set(decoders) | _measured_before(plan)
    plan.hold = hold
    resumed = _take(plan, state, fresh and mode == "w", resume)
    if resumed and state.done:
        if not hold:
            plan.journal.end()
        return Begun(plan, None)
    try:
        return Begun(plan, _begin(plan, staged, decoders, resumed))
    except Exception as error:
        _explain(plan, error)
        return Begun(plan, None)


def _explain(plan: Plan, error: Exception) -> None:
    """Raise what went wrong, unless another writer of the same run has done the work."""
    if plan.journal.mine():
        raise error
    plan.journal.sweep()
    if is_sealed(plan.store, plan.group, plan.run):
        return
    if isinstance(error, StoreConflictError):
        raise error
    raise StoreConflictError(
        f"{plan.store}: another run has taken the store while this one wrote: {error}"
    ) from error


def _payloads(
    ds: xr.Dataset, encoding: Mapping[Hashable, Mapping[str, Any]] | None
) -> dict[Hashable, DecodeLayer]:
    payloads = {
        name: layer
        for name, v in ds.data_vars.items()
        if (layer := find_payload(v.variable._data)) is not None
    }
    for name in encoding or {}:
        if name not in ds.variables:
            raise UnknownNameError(f"encoding names {name!r}, the Dataset has {list(ds.variables)}")
        if name in payloads:
            raise SchemaError(
                f"variable {name!r} is compressed already: give chunks and codec to compress()"
            )
    return payloads


def _check_state(place: Any, state: State, fresh: bool, mode: str, partly: bool) -> None:
    """Refuse what cannot be written here, before anything is staged."""
    if fresh and mode == "w-" and state.exists and state.run is None:
        raise FileExistsError(f"{place} exists: choose another store, or mode='w' to replace it")
    if fresh or (not state.exists and not partly):
        return
    if not state.exists and state.run is None:
        raise FileNotFoundError(f"{place}: nothing to append to or to change")
    if state.manifest is None and state.run is None:
        raise SchemaError(
            f"{place} has no manifest: accept it as it is with xphys.verify(url, seal=True) first"
        )


def _measured_before(plan: Plan) -> set[str]:
    """Arrays that earlier runs wrote as payloads: their measured errors are taken again."""
    if plan.old is None:
        return set()

    return {
        key.removesuffix("/zarr.json")
        for key, document in plan.documents.items()
        if PEAK in document.get("attributes", {})
    }


def _take(plan: Plan, state: State, replace: bool, resume: bool) -> bool:
    """Take the group for this run; True if it goes on with an earlier one."""
    found = read_run(plan.store, plan.group)
    same = found is not None and found == plan.run
    if found is not None and same and resume:
        # an append or change clears nothing: it can be joined from the beginning; where all is
        # done but the end of the journal, the word that it was cleared may be gone
        if (
            plan.old is not None
            or state.done
            or Journal(plan.store, plan.group, found).wait_ready()
        ):
            plan.run = found
            return True
        found = read_run(plan.store, plan.group)
    if state.done and state.run is not None and not (replace or same or plan.hold):
        Journal(plan.store, plan.group, state.run).end()
        raise FileExistsError(f"{plan.store} exists: choose another store, or mode='w'")
    if found is not None and not replace and not (same and plan.run.generation == 0):
        raise StoreConflictError(
            f"{plan.store}: a write of other data or by other code is unfinished here: run that "
            "code again, undo it with xphys.repair(url), or replace the store with mode='w'"
        )
    journal = plan.journal
    plan.contested = found is not None
    if plan.contested:
        journal.take_over()
    else:
        journal.begin()
    plan.run = journal.run
    if replace or same:
        journal.clear()
    now = load(plan.store, plan.group)
    if (None if now is None else now.root) != (None if plan.old is None else plan.old.root):
        journal.end()
        raise FileExistsError(f"{plan.store} was written by another run in the meantime")
    journal.ready()
    return False


def _begin(plan: Plan, staged: Staged, decoders: dict[str, DecodeLayer], resumed: bool) -> Delayed:
    """Write metadata and what is in memory; the Delayed writes the rest."""
    target = RecordingStore(
        plan.store,
        plan.journal,
        plan.layouts,
        {path: layer.spec.describe for path, layer in decoders.items()},
        None if plan.old is None else CheckingStore(plan.store, plan.group, plan.old),
    )
    plan.expected = frozenset(staged.chunks) | keys_of(staged.writes, plan.layouts)
    trusted = objects.wait(target.trusted()) if resumed else frozenset()
    objects.wait(_publish_documents(plan, staged))
    for inside, data in staged.chunks.items():
        if inside not in trusted:
            key = objects.join(plan.group, inside)
            if data is None:
                objects.wait(target.delete(key))
            else:
                objects.write(target, key, data)
    return build(plan, target, staged.writes, decoders, trusted)


async def _publish_documents(plan: Plan, staged: Staged) -> None:
    for key, document in staged.parents.items():
        await objects.put_if_absent(plan.store, key, document_bytes(document))
    for inside in sorted(staged.documents):
        if plan.old is not None:
            await plan.journal.keep(inside)
        key = objects.join(plan.group, inside)
        document = plan.documents[inside]
        if inside == "zarr.json" and plan.below:
            document = listing(document, plan.below)
        await _put_document(plan, inside, key, document_bytes(document))


async def _put_document(plan: Plan, inside: str, key: str, data: bytes) -> None:
    """Write a document unless a writer of the same run has been here: it may have sealed."""
    await plan.journal.check()
    if plan.old is None:
        await objects.put_if_absent(plan.store, key, data)
        return
    kept = await objects.get(plan.store, plan.journal.key("before", inside))
    found = await objects.get(plan.store, key)
    if kept is None or (b"\0" if found is None else b"\1" + found) == kept:
        await objects.put(plan.store, key, data)
