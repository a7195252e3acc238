"""One write: what there is, what there will be, and which run it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from zarr.abc.store import Store

from xphys.errors import StoreConflictError
from xphys.io import _objects as objects
from xphys.io._checking import CheckingStore, layouts_of
from xphys.io._journal import PLACE as JOURNAL
from xphys.io._journal import BeforeStore, Journal, Run, has_sealed, parse_run
from xphys.io._layout import Layout
from xphys.io._manifest import (
    MARK,
    Manifest,
    document_bytes,
    load,
    nodes_of_groups_below,
    parse,
    parse_document,
)
from xphys.io._manifest import PLACE as MANIFEST
from xphys.io._records import digest
from xphys.io.writers._stage import Staged

__all__ = ["Plan", "Seen", "State", "inspect", "look", "make_plan"]


@dataclass
class State:
    """What is found under a group.

    Attributes
    ----------
    exists : bool
        A Zarr group or array is there.
    run : Run or None
        A run that has not sealed it.
    manifest : Manifest or None
        Of the last sealing before that run.
    done : bool
        The run has sealed the group, all but the removal of its journal.
    replaced : bool
        All that is there will be removed first.
    """

    exists: bool
    run: Run | None = None
    manifest: Manifest | None = None
    done: bool = False
    replaced: bool = False


@dataclass(frozen=True)
class Seen:
    """Documents of a group of which one changes whenever a run begins or ends in it.

    Attributes
    ----------
    run, manifest : bytes or None
        Of the journal and of the manifest.
    """

    run: bytes | None
    manifest: bytes | None


def look(store: Store, group: str) -> Seen:
    """What is under way in a group, and what was sealed last."""
    # in this order: a run that ends meanwhile is still seen, and the manifest that it has made
    run = objects.read(store, objects.join(group, JOURNAL, "run.json"))
    return Seen(run, objects.read(store, objects.join(group, MANIFEST, "zarr.json")))


def inspect(store: Store, group: str, seen: Seen | None = None) -> State:
    """Look at a group before writing; what was seen of it is not read again."""
    seen = look(store, group) if seen is None else seen
    names = ("zarr.json", ".zgroup", ".zarray", ".zmetadata")
    exists = any(objects.wait(store.exists(objects.join(group, name))) for name in names)
    place = objects.join(group, MANIFEST, "zarr.json")
    if seen.run is None:
        return State(exists, None, None if seen.manifest is None else parse(seen.manifest, place))
    run = parse_run(seen.run, objects.join(group, JOURNAL, "run.json"))
    before = load(BeforeStore(store, group), group) if run.generation else None
    return State(exists, run, before, has_sealed(run, seen.manifest, place))


@dataclass
class Plan:
    """Everything that sealing needs; travels with the graph.

    Attributes
    ----------
    store : zarr store
        The bare store.
    group : str
        Path of the group in it.
    run : Run
        This run.
    documents : dict
        All metadata documents of the group after the write, by key in it.
    layouts : dict
        Grids of all arrays after the write.
    old : Manifest or None
        Of the state before.
    payloads : set of str
        Paths of arrays written as payloads.
    below : dict
        Nodes of groups below, which the group's document lists too.
    expected : frozenset of str
        Keys in the group of all objects that this run writes or leaves out.
    contested : bool
        Another run was unfinished here and may still be at work.
    hold : bool
        Whether the journal stays when the group is sealed.
    """

    store: Store
    group: str
    run: Run
    documents: dict[str, dict[str, Any]]
    layouts: dict[str, Layout]
    old: Manifest | None
    payloads: set[str] = field(default_factory=set)
    below: dict[str, Any] = field(default_factory=dict)
    hold: bool = False
    contested: bool = False
    expected: frozenset[str] = frozenset()

    @property
    def journal(self) -> Journal:
        """Journal of this run."""
        return Journal(self.store, self.group, self.run)


def view_below(store: Store, group: str, state: State) -> Store | None:
    """The last sealed state, also while an unfinished run has changed parts of it."""
    if state.manifest is None:
        return None
    return CheckingStore(BeforeStore(store, group) if state.run else store, group, state.manifest)


def make_plan(
    store: Store,
    group: str,
    staged: Staged,
    state: State,
    settings: dict[str, Any],
    names: list[str],
    call: str,
) -> Plan:
    """Identify the run and put the documents of the whole group together.

    Parameters
    ----------
    store : zarr store
        The bare store.
    group : str
        Path of the group.
    staged : Staged
        What is to be written.
    state : State
        What is there.
    settings : dict
        Of the call and the source, JSON values: they make the fingerprint.
    names : list of str
        Of the lazy values: with the fingerprint they tell one run from another.
    call : str
        Token of an append or change.

    Returns
    -------
    Plan
        With documents that carry the mark of a sealed group.
    """
    old = state.manifest
    documents = dict(staged.documents)
    if old is not None:
        below = view_below(store, group, state)
        assert below is not None
        for key in old.documents:
            if key not in documents and not key.startswith("_xphys/"):
                found = objects.read(below, objects.join(group, key))
                assert found is not None  # a checking store raises instead
                documents[key] = parse_document(found, key)
    root = dict(documents["zarr.json"])
    root.pop("consolidated_metadata", None)
    root["attributes"] = {**root.get("attributes", {}), MARK: 1}
    documents["zarr.json"] = root
    generation = 0 if old is None else len(old.fingerprints)
    settings = {
        **settings,
        "documents": documents,
        "generation": generation,
        "before": None if old is None else old.root,
    }
    fingerprint = digest(document_bytes(settings))
    chunks = {k: None if v is None else digest(v) for k, v in sorted(staged.chunks.items())}
    identity = digest(
        document_bytes({"fingerprint": fingerprint, "chunks": chunks, "names": sorted(names)})
    )
    if generation > 255:
        raise StoreConflictError("a group takes 256 writes: copy it to a new store")
    return Plan(
        store,
        group,
        Run(identity, fingerprint, generation, call),
        documents,
        layouts_of(documents),
        old,
        below=_below(store, group, state),
    )


def _below(store: Store, group: str, state: State) -> dict[str, Any]:
    """What a group's document says of groups below, when the group itself stays."""
    data = None if state.replaced else objects.read(store, objects.join(group, "zarr.json"))
    return {} if data is None else nodes_of_groups_below(parse_document(data, "zarr.json"))
