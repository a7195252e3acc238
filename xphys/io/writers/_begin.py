"""What a write does before the first value is computed: plan, conflicts, metadata, tasks."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import xarray as xr
from dask.base import tokenize
from dask.delayed import Delayed
from zarr.abc.store import Store

from xphys.errors import (
    CorruptDataError,
    SchemaError,
    StoreConflictError,
    UnknownNameError,
    XphysWarning,
)
from xphys.io import _objects as objects
from xphys.io._checking import CheckingStore
from xphys.io._journal import BeforeStore, Journal, is_sealed, read_run
from xphys.io._manifest import document_bytes, listing, load
from xphys.io._payload import DecodeLayer, find_payloads
from xphys.io._recording import RecordingStore
from xphys.io._records import digest
from xphys.io.writers._graph import build, keys_of, names_of
from xphys.io.writers._plan import Plan, Seen, State, inspect, look, make_plan, view_below
from xphys.io.writers._prepare import prepare
from xphys.io.writers._seal import PEAK
from xphys.io.writers._stage import Staged, stage
from xphys.schema import PROVENANCE

__all__ = ["Begun", "Mode", "Request", "begin"]

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


@dataclass(frozen=True)
class Request:
    """What `to_zarr` was asked for, in an open store.

    Attributes
    ----------
    ds : Dataset
        Lazy or in memory.
    place : zarr store
        The store.
    path : str
        Of the group in it.
    mode, append_dim, region, chunks, shards, encoding, resume
        As in `to_zarr`.
    nodes : sequence of str
        Groups below that belong to the write.
    hold : bool
        The journal stays when the group is sealed, so that the same call on the same data finds
        it done; who holds it ends it.
    """

    ds: xr.Dataset
    place: Store
    path: str
    mode: Mode = "w-"
    append_dim: Hashable | None = None
    region: Mapping[str, slice] | Literal["auto"] | None = None
    chunks: Mapping[str, int] | None = None
    shards: Mapping[str, int] | None = None
    encoding: Mapping[Hashable, Mapping[str, Any]] | None = None
    resume: bool = True
    nodes: Sequence[str] = ()
    hold: bool = False

    @property
    def partly(self) -> bool:
        """Whether it changes a part of arrays that are there."""
        return self.append_dim is not None or self.region is not None

    @property
    def fresh(self) -> bool:
        """Whether it makes all that there will be."""
        return self.mode in ("w", "w-") and not self.partly

    def call(self) -> str:
        """Token of an append or change, empty for what is written afresh."""
        if self.fresh:
            return ""
        asked = f"{tokenize(self.ds)} {self.append_dim} {self.region} {self.mode}"
        return digest(asked.encode())

    def settings(self, provenance: str) -> dict[str, Any]:
        """What makes the fingerprint, beside the metadata."""
        return {
            "provenance": provenance,
            "append_dim": str(self.append_dim),
            "region": str(self.region),
            **({"nodes": list(self.nodes)} if self.nodes else {}),
        }


def begin(request: Request) -> Begun:
    """Begin a write: find out what there is, write metadata, plan the tasks."""
    seen = look(request.place, request.path)
    try:
        return _begin_with(request, seen)
    except CorruptDataError as error:
        if look(request.place, request.path) == seen:
            raise
        raise StoreConflictError(
            f"{request.place}: another run wrote here while this one looked: run the code again"
        ) from error


def _begin_with(request: Request, seen: Seen) -> Begun:
    place, path, fresh = request.place, request.path, request.fresh
    payloads = _payloads(request.ds, request.encoding, request.partly)
    state, call = inspect(place, path, seen), request.call()
    if state.done and state.run is not None and not fresh:
        # all that was missing is the end of the journal
        Journal(place, path, state.run).end()
        if state.run.call == call:
            return Begun(None, None)
        state = inspect(place, path)
    _check_state(place, state, fresh, request.mode, request.partly)
    below = None if fresh else view_below(place, path, state)
    if fresh:
        state = State(state.exists, state.run, None, state.done, replaced=request.mode == "w")
    ready, staged = _staged(request, payloads, state, below)
    decoders = {str(name): layer for name, layer in payloads.items()}
    settings = request.settings(ready.attrs.get(PROVENANCE, ""))
    names = names_of(staged.writes, decoders)
    plan = make_plan(place, path, staged, state, settings, names, call)
    plan.payloads = set(decoders) | _measured_before(plan)
    plan.hold = request.hold
    resumed = _take(plan, state, fresh and request.mode == "w", request.resume)
    if resumed and state.done:
        if not request.hold:
            plan.journal.end()
        return Begun(plan, None)
    try:
        return Begun(plan, _begin(plan, staged, decoders, resumed))
    except Exception as error:
        _explain(plan, error)
        return Begun(plan, None)


def _staged(
    request: Request,
    payloads: Mapping[Hashable, DecodeLayer],
    state: State,
    below: Store | None,
) -> tuple[xr.Dataset, Staged]:
    """The Dataset in chunks as it will be stored, and what xarray would write of it."""
    layouts = {} if request.fresh or state.manifest is None else state.manifest.layouts
    ready, merged = prepare(
        request.ds,
        payloads,
        request.chunks,
        request.shards,
        request.encoding,
        layouts,
        append_dim=request.append_dim,
        region=request.region,
    )
    mode = "w-" if request.mode == "w" else request.mode
    staged = stage(
        ready,
        below,
        group=request.path,
        mode=None if request.partly and mode == "w-" else mode,
        append_dim=request.append_dim,
        region=request.region,
        encoding=merged,
    )
    return ready, staged


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
    ds: xr.Dataset, encoding: Mapping[Hashable, Mapping[str, Any]] | None, partly: bool
) -> dict[Hashable, DecodeLayer]:
    payloads, lacking = find_payloads(ds)
    if lacking:
        warnings.warn(
            f"{', '.join(map(repr, lacking))} compressed together with variables that are not "
            "written along under their names: they are stored losslessly, which is larger; write "
            "the whole result of compress(), or compress what is to be written",
            XphysWarning,
            stacklevel=2,
        )
    for name, layer in payloads.items():
        if partly and not layer.spec.appendable:
            raise SchemaError(
                f"variable {name!r} keeps its bounds over the whole variable, so no part of it can "
                "be appended or replaced: use compress(..., scope='chunk')"
            )
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
    # an equal run may be replacing what this one has to read
    before = BeforeStore(plan.store, plan.group)
    target = RecordingStore(
        plan.store,
        plan.journal,
        plan.layouts,
        {path: layer.spec.describe for path, layer in decoders.items()},
        None if plan.old is None else CheckingStore(before, plan.group, plan.old),
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
