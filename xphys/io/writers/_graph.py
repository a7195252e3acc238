"""The tasks of a write: one for each stored object, then sealing."""

from __future__ import annotations

from collections.abc import Collection
from itertools import accumulate, product
from typing import Any

import dask.array as da
import zarr
from dask.array.optimization import optimize
from dask.base import tokenize
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from dask.task_spec import Task, TaskRef
from zarr.abc.store import Store

from xphys.errors import SchemaError
from xphys.io import _objects as objects
from xphys.io._layout import Index, Layout
from xphys.io._payload import DecodeLayer
from xphys.io._recording import RecordingStore
from xphys.io.writers._plan import Plan
from xphys.io.writers._seal import seal
from xphys.io.writers._stage import Write

__all__ = ["build", "keys_of", "names_of", "write_tasks"]

# Stores per link of the chain that they hang on: few, or Dask takes them out of order.
_LINK = 4


def build(
    plan: Plan,
    target: RecordingStore,
    writes: list[Write],
    payloads: dict[str, DecodeLayer],
    trusted: Collection[str],
) -> Delayed:
    """Tasks that write what is missing and seal the group.

    Parameters
    ----------
    plan : Plan
        Of the write.
    target : RecordingStore
        Where chunks go.
    writes : list of Write
        Lazy values, chunked as they are stored.
    payloads : dict
        Decode layer of each path that is written as a payload.
    trusted : set of str
        Keys in the group of objects that need not be written again.

    Returns
    -------
    Delayed
        Of sealing.
    """
    token = tokenize(plan.run.identity, plan.group)
    tasks = write_tasks(
        plan.group, plan.layouts, target.for_tasks(), writes, payloads, trusted, f"store-{token}"
    )
    last = _put_in_order(tasks, f"store-{token}", writes)
    final = f"seal-{token}"
    tasks[final] = Task(final, seal, plan, *last)
    return Delayed(final, HighLevelGraph({final: MaterializedLayer(tasks)}, {final: set()}))


def _put_in_order(tasks: dict[Any, Any], name: str, writes: list[Write]) -> list[TaskRef]:
    """Chain the tasks ``(name, ...)``; what the end of the chain is to wait for.

    Where the blocks of the source do not fall on stored chunks, Dask would go through the data
    several times, each time for the chunks that need as many blocks as each other, and keep what
    they share with the next: memory would grow with the data. The links do next to nothing, but
    Dask follows the chain: through the data once, all variables side by side.
    """

    def progress(key: Any) -> tuple[Any, ...]:
        _, number, *block = key
        parts = writes[number].source.numblocks
        return (*(i / n for i, n in zip(block, parts, strict=True)), number)

    stores = [key for key in tasks if isinstance(key, tuple) and key[0] == name]
    stores.sort(key=progress)
    last: list[TaskRef] = []
    for start in range(0, len(stores), _LINK):
        link = (f"{name}-order", start)
        here = map(TaskRef, stores[start : start + _LINK])
        tasks[link] = Task(link, _done, *here, *last)
        last = [TaskRef(link)]
    return last


def _done(*handed: Any) -> Any:
    """Runs when what it waits for is done; puts together what that hands over."""
    first, *others = [part for part in handed if part is not None] or [None]
    return None if first is None else first.join(others)


def write_tasks(
    group: str,
    layouts: dict[str, Layout],
    target: Store,
    writes: list[Write],
    payloads: dict[str, DecodeLayer],
    trusted: Collection[str],
    name: str,
) -> dict[Any, Any]:
    """Tasks ``(name, ...)`` that write what is missing, and all that they need."""
    tasks: dict[Any, Task] = {}
    for number, write in enumerate(writes):
        layout = layouts[write.path]
        if write.path in payloads:
            make = _payload_task(group, target, write, payloads[write.path], layout)
        else:
            make = _values_task(group, target, write)
        for block, index in _objects_of(write, layout):
            if f"{write.path}/{layout.key(index)}" not in trusted:
                key = (name, number, *block)
                tasks[key] = make(key, block, index)
    if not tasks:
        return {}
    graph = HighLevelGraph.merge(*(write.source.__dask_graph__() for write in writes))
    layers = {**graph.layers, name: MaterializedLayer(tasks)}
    last = {layer for write in writes for layer in write.source.__dask_layers__()}
    last |= {layer.payload for layer in payloads.values()}
    dependencies = {**graph.dependencies, name: last & set(layers)}
    # arrays are optimised here: a Delayed would leave every small step a task of its own
    return dict(optimize(HighLevelGraph(layers, dependencies), list(tasks)))


def _objects_of(write: Write, layout: Layout) -> list[tuple[Index, Index]]:
    """Blocks of the source and the objects they fill."""
    starts = []
    for sizes, part, unit in zip(write.source.chunks, write.region, layout.stored, strict=True):
        begins = [part.start + s for s in accumulate((0, *sizes[:-1]))]
        if len({b // unit for b in begins}) != len(begins):
            raise SchemaError(
                f"variable {write.path!r}: its blocks do not fall on whole stored chunks "
                f"{layout.stored}; chunk it so, or give compress() these chunks"
            )
        starts.append([b // unit for b in begins])
    blocks = product(*(range(len(s)) for s in starts))
    return [(b, tuple(s[i] for s, i in zip(starts, b, strict=True))) for b in blocks]


def keys_of(writes: list[Write], layouts: dict[str, Layout]) -> set[str]:
    """Keys in the group of the objects that lazy values fill."""
    return {
        f"{write.path}/{layouts[write.path].key(index)}"
        for write in writes
        for _, index in _objects_of(write, layouts[write.path])
    }


def _values_task(group: str, target: Store, write: Write) -> Any:
    array = zarr.open_array(target, path=objects.join(group, write.path), mode="r+")

    def make(key: Any, block: Index, index: Index) -> Task:
        where = []
        for sizes, part, i in zip(write.source.chunks, write.region, block, strict=True):
            start = part.start + sum(sizes[:i])
            where.append(slice(start, start + sizes[i]))
        return Task(key, _store_values, TaskRef((write.source.name, *block)), array, tuple(where))

    return make


def _store_values(values: Any, array: Any, where: tuple[slice, ...]) -> Any:
    target = array.store
    if not isinstance(target, RecordingStore):
        array[where] = values
        return None
    own = target.part()
    if own is not target:
        array = zarr.open_array(own, path=array.path, mode="r+")
    array[where] = values
    return own.handed()


def _payload_task(
    group: str, target: Store, write: Write, layer: DecodeLayer, layout: Layout
) -> Any:
    if layer.spec.chunks != layout.stored or any(
        part.start % unit for part, unit in zip(write.region, layout.stored, strict=True)
    ):
        raise SchemaError(
            f"variable {write.path!r} is compressed in chunks {layer.spec.chunks} from "
            f"{[part.start for part in write.region]}: they must be whole stored chunks "
            f"{layout.stored}; give compress() these chunks"
        )

    def make(key: Any, block: Index, index: Index) -> Task:
        path = objects.join(group, write.path, layout.key(index))
        return Task(key, _store_bytes, TaskRef((layer.payload, *block)), target, path)

    return make


def _store_bytes(data: bytes, target: Store, key: str) -> Any:
    own = target.part() if isinstance(target, RecordingStore) else target
    objects.write(own, key, data)
    return own.handed() if isinstance(own, RecordingStore) else None


def names_of(writes: list[Write], payloads: dict[str, DecodeLayer]) -> list[str]:
    """What tells the lazy values of one run from those of another."""
    out = []
    for write in writes:
        source: da.Array = write.source
        name = payloads[write.path].payload if write.path in payloads else source.name
        out.append(f"{write.path} {name} {write.region}")
    return out
