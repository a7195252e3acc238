"""The layers behind variables that are coded together: one task for all chunks at one place."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import product
from operator import getitem
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from dask.task_spec import List, Task, TaskRef

from xphys.codecs._again import again
from xphys.codecs._graph import Relation, Scope, describe, relation
from xphys.codecs.adapters.zarr_v3 import FrameCodec
from xphys.coding.predict import (
    Grid,
    Joining,
    Plan,
    decode_predicted,
    encode_place,
    make_plan,
    plan_apart,
)
from xphys.coding.predict.detect import SAMPLE_POINTS
from xphys.coding.reference import reference
from xphys.coding.request import Request
from xphys.io import DecodeLayer, PayloadLayer, PayloadSpec, attach_payload

__all__ = ["compressed_together"]

State = np.ndarray | tuple[int, ...] | None


def _sample(block: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Steps spread over a chunk: whole along the axes of space, few along the others."""
    block = np.asarray(block)
    field = math.prod(block.shape[a] for a in axes)
    wanted = max(SAMPLE_POINTS // max(field, 1), 1)
    for axis in sorted(set(range(block.ndim)) - set(axes), key=lambda a: -block.shape[a]):
        n = min(wanted, block.shape[axis])
        block = block.take(np.unique(np.linspace(0, block.shape[axis] - 1, n).astype(int)), axis)
        wanted = max(wanted // n, 1)
    return block


def _resolved(blocks: Mapping[str, np.ndarray], states: list[State]) -> dict[str, Any]:
    """Axes stand for the state over those axes of a block itself."""
    return {
        name: reference(block, state) if isinstance(state, tuple) else state
        for (name, block), state in zip(blocks.items(), states, strict=True)
    }


def _plan(
    names: tuple[str, ...],
    samples: list[np.ndarray],
    grid: Grid,
    requests: Mapping[str, Request],
    states: list[State],
) -> Plan:
    blocks = dict(zip(names, samples, strict=True))
    return make_plan(blocks, grid, requests, _resolved(blocks, states))


def _encode(
    plan: Plan,
    names: tuple[str, ...],
    sources: list[np.ndarray],
    grid: Grid,
    requests: Mapping[str, Request],
    states: list[State],
    start: int,
    joinings: tuple[Joining, ...],
) -> dict[str, bytes]:
    """Chunks of all variables; start is the number of their first step."""
    blocks = {n: np.asarray(b) for n, b in zip(names, sources, strict=True)}
    times = None
    if grid.time is not None:
        steps = next(iter(blocks.values())).shape[grid.time]
        times = np.array(grid.times[start : start + steps])
    known = _resolved(blocks, states)
    return encode_place(plan, grid, blocks, requests, known, times, joinings)


def _decode(payloads: Mapping[str, bytes], name: str, shape: tuple[int, ...]) -> np.ndarray:
    return decode_predicted(payloads[name], payloads).reshape(shape)


def compressed_together(
    sources: Mapping[str, da.Array],
    chunks: tuple[int, ...],
    requests: Mapping[str, Request],
    scope: Scope,
    grid: Grid,
    joinings: tuple[Joining, ...] = (),
    told: bool = True,
) -> dict[str, da.Array]:
    """Arrays of the values that a reader will get, some told from others.

    Parameters
    ----------
    sources : mapping of str to dask Array
        Values to code, all of one shape.
    chunks : tuple of int
        Shape of the stored chunks.
    requests : mapping of str to Request
        How each is to be coded.
    scope : Scope
        As in `compressed`.
    grid : Grid
        Of the arrays; chunks are whole along its axes.
    joinings : tuple of Joining
        Vectors whose components are corrected together.
    told : bool, default True
        Whether to look for what can be told from what.

    Returns
    -------
    dict of str to dask Array
        Chunked as stored. What is told from what is found in one task, from some steps of the
        first chunks; the chunks of all variables at one place are coded in one task.
    """
    names = tuple(sources)
    sources = {name: source.rechunk(chunks) for name, source in sources.items()}
    arrays = [s.name for s in sources.values()]
    token = tokenize(arrays, names, chunks, requests, scope, grid, joinings, told)
    related = {
        n: relation(s, requests[n], scope, tokenize(s.name, requests[n], scope))
        for n, s in sources.items()
    }
    beside = [array for one in related.values() for array in one.measured]
    if beside:
        sources = {n: again(s, beside, f"{token}-{n}") for n, s in sources.items()}
    whole = tuple(i for i, kind in enumerate(grid.kinds) if kind)
    numblocks = next(iter(sources.values())).numblocks
    place, plan = f"compress-together-{token}", f"compress-plan-{token}"
    tasks: dict[Any, Any] = {}

    def refs(index: tuple[int, ...]) -> tuple[list[Any], List]:
        blocks = [TaskRef((source.name, *index)) for source in sources.values()]
        return blocks, List(*(related[n].at(index) for n in names))

    first = (0,) * len(numblocks)
    blocks, known = refs(first)
    samples = List(*(Task(None, _sample, block, whole) for block in blocks))
    if told:
        tasks[plan] = Task(plan, _plan, names, samples, grid, dict(requests), known)
    else:
        tasks[plan] = Task(plan, plan_apart, names)
    for index in product(*map(range, numblocks)):
        blocks, known = refs(index)
        key = (place, *index)
        start = 0 if grid.time is None else index[grid.time] * chunks[grid.time]
        asked = (names, List(*blocks), grid, dict(requests), known, start, joinings)
        tasks[key] = Task(key, _encode, TaskRef(plan), *asked)
    graph = HighLevelGraph.from_collections(
        place, MaterializedLayer(tasks), [*sources.values(), *beside]
    )
    some = next(iter(sources.values()))
    together = da.Array(graph, place, some.chunks, meta=np.empty((0,) * some.ndim))
    payloads = {n: f"compress-encode-{token}-{i}" for i, n in enumerate(names)}
    return {
        n: _attach(together, sources[n], n, payloads, requests[n], related[n], chunks)
        for n in names
    }


def _attach(
    together: da.Array,
    source: da.Array,
    name: str,
    payloads: Mapping[str, str],
    request: Request,
    related: Relation,
    chunks: tuple[int, ...],
) -> da.Array:
    payload = payloads[name]
    decoded = payload.replace("encode", "decode", 1)
    encode, decode = {}, {}
    for index in product(*map(range, source.numblocks)):
        shape = tuple(sizes[i] for sizes, i in zip(source.chunks, index, strict=True))
        made, read, here = (payload, *index), (decoded, *index), (together.name, *index)
        encode[made] = Task(made, getitem, TaskRef(here), name)
        decode[read] = Task(read, _decode, TaskRef(here), name, shape)
    spec = PayloadSpec(FrameCodec(request), chunks, describe, related.appendable, dict(payloads))
    return attach_payload(
        together,
        PayloadLayer(encode),
        DecodeLayer(decode, spec, payload),
        name=decoded,
        dtype=source.dtype.newbyteorder("="),
    )
