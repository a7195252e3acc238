"""A second reading of an array that begins once something else is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dask.array as da
from dask._task_spec import Alias, DataNode, GraphNode, List, Task, TaskRef, convert_legacy_graph
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer

__all__ = ["again"]


def _after(_: Any, value: Any) -> Any:
    return value


def again(source: da.Array, blockers: Sequence[da.Array], token: str) -> da.Array:
    """The same array from tasks of its own, the first of which wait for others.

    `dask.graph_manipulation.bind` is meant for this; the tasks that it copies still refer to the
    first reading where they are no leaves, so everything read would wait in memory.

    Parameters
    ----------
    source : dask Array
        What is to be read a second time.
    blockers : sequence of dask Array
        What is to be known before; the first block of each stands for all of it.
    token : str
        Names the copy.

    Returns
    -------
    dask Array
        Same chunks and values.
    """
    graph: dict[Any, GraphNode] = convert_legacy_graph(dict(source.__dask_graph__()))
    names = {key: _renamed(key, token) for key, n in graph.items() if not isinstance(n, DataNode)}
    wait = List(*(TaskRef((b.name, *(0,) * b.ndim)) for b in blockers))
    copy: dict[Any, GraphNode] = {k: n for k, n in graph.items() if isinstance(n, DataNode)}
    for key, name in names.items():
        node = graph[key].substitute(names, key=name)
        if not any(k in names for k in graph[key].dependencies):
            node = Task(name, _after, wait, node)
        copy[name] = node
    for key in graph.keys() - names.keys():
        if isinstance(key, tuple) and key[0] == source.name:  # blocks that are in memory
            copy[_renamed(key, token)] = Alias(_renamed(key, token), key)
    name = _renamed((source.name,), token)[0]
    high = HighLevelGraph.from_collections(name, MaterializedLayer(copy), list(blockers))
    return da.Array(high, name, source.chunks, meta=source._meta)


def _renamed(key: Any, token: str) -> Any:
    if isinstance(key, tuple):
        return (f"{key[0]}-again-{token}", *key[1:])
    return f"{key}-again-{token}"
