"""The layers behind a compressed array: bytes of each chunk, and values decoded from them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from dask.task_spec import List, Task, TaskRef

from xphys.codecs._again import again
from xphys.codecs.adapters.zarr_v3 import FrameCodec
from xphys.coding.frame import decode_chunk, encode_chunk
from xphys.coding.header import parse
from xphys.coding.predict import errors_of
from xphys.coding.reference import merge, reference
from xphys.coding.request import Request
from xphys.io import DecodeLayer, Facts, PayloadLayer, PayloadSpec, attach_payload

__all__ = ["Relation", "Scope", "compressed", "describe", "relation"]

Index = tuple[int, ...]


@dataclass(frozen=True)
class Scope:
    """Over which axes norms and ranges are taken.

    Attributes
    ----------
    axes : tuple of int
        One number for everything along these axes; each position along the others has its own.
    chunk : bool
        True if they are those of each stored chunk.
    """

    axes: tuple[int, ...]
    chunk: bool = False

    @classmethod
    def of(cls, dims: Sequence[str], scope: str | tuple[str, ...]) -> Scope:
        """From what was asked for: "variable", "chunk" or dims."""
        over = dims if isinstance(scope, str) else scope
        return cls(tuple(i for i, d in enumerate(dims) if d in over), scope == "chunk")


@dataclass(frozen=True)
class Relation:
    """What the bounds of one array are relative to.

    Attributes
    ----------
    near : tuple of int or None
        Axes over which each chunk is measured by itself when it is coded; None for all of it.
    owner : mapping
        Where more than one chunk counts: index of a chunk -> key of its state.
    measured : tuple of dask Array
        The arrays of these states.
    appendable : bool
        False if bytes of a chunk depend on others, or may.
    """

    near: tuple[int, ...] | None
    owner: Mapping[Index, Any]
    measured: tuple[da.Array, ...]
    appendable: bool

    def at(self, index: Index) -> TaskRef | tuple[int, ...] | None:
        """What the task that codes a chunk is given."""
        return TaskRef(self.owner[index]) if self.owner else self.near


def _encode(
    block: np.ndarray, request: Request, state: np.ndarray | tuple[int, ...] | None
) -> bytes:
    """Bytes of a chunk; axes stand for the state over those axes of the chunk itself."""
    block = np.asarray(block)
    if isinstance(state, tuple):
        state = reference(block, state)
    return encode_chunk(block, request, state)


def _decode(data: bytes, shape: tuple[int, ...]) -> np.ndarray:
    return decode_chunk(data).reshape(shape)


def describe(data: bytes) -> Facts:
    """What a manifest records of a chunk."""
    return Facts(*errors_of(data), parse(data).size)


def _measure(block: np.ndarray, axes: tuple[int, ...], before: np.ndarray | None) -> np.ndarray:
    """State of a chunk, once that of the chunk before is known."""
    return reference(np.asarray(block), axes)


def _merge(parts: list[np.ndarray]) -> np.ndarray:
    return merge(parts)


def _states_of(
    source: da.Array, axes: tuple[int, ...], token: str
) -> tuple[da.Array, dict[Index, Any]]:
    """States over some axes of an array in chunks, and which of them belongs to each chunk."""
    measured, merged = f"compress-measure-{token}", f"compress-reference-{token}"
    tasks: dict[Any, Any] = {}
    parts = defaultdict(list)
    owner = {}
    # One after the other in the order of the data: Dask would else compute first what many chunks
    # share, blocks of the source that lie across their borders, and keep all of it.
    before: TaskRef | None = None
    for index in product(*map(range, source.numblocks)):
        group = tuple(0 if i in axes else n for i, n in enumerate(index))
        key = (measured, *index)
        tasks[key] = Task(key, _measure, TaskRef((source.name, *index)), axes, before)
        before = TaskRef(key)
        parts[group].append(TaskRef(key))
        owner[index] = (merged, *group)
    for group, keys in parts.items():
        key = (merged, *group)
        tasks[key] = Task(key, _merge, List(*keys))
    chunks = tuple((1,) if i in axes else sizes for i, sizes in enumerate(source.chunks))
    graph = HighLevelGraph.from_collections(merged, MaterializedLayer(tasks), [source])
    return da.Array(graph, merged, chunks, meta=np.empty((0,) * source.ndim)), owner


def relation(source: da.Array, request: Request, scope: Scope, token: str) -> Relation:
    """What the bounds of a request are relative to in an array in its stored chunks."""
    relative = request.bounds is not None and request.bounds.relative
    if scope.chunk or not relative:
        return Relation(None, {}, (), appendable=True)
    if any(source.numblocks[i] > 1 for i in scope.axes):
        measured, owner = _states_of(source, scope.axes, token)
        return Relation(None, owner, (measured,), appendable=False)
    near = scope.axes if len(scope.axes) < source.ndim else None
    return Relation(near, {}, (), appendable=False)


def compressed(
    source: da.Array, chunks: tuple[int, ...], request: Request, scope: Scope
) -> da.Array:
    """Array of the values that a reader will get, with the payload behind it.

    Parameters
    ----------
    source : dask Array
        Values to code.
    chunks : tuple of int
        Shape of the stored chunks.
    request : Request
        Method, bounds, roles, periodicity.
    scope : Scope
        Where norms and ranges are those of more than one chunk the source is read twice: first
        for them, then, once they are known, to be coded. No chunk waits in memory in between.

    Returns
    -------
    dask Array
        Chunked as stored, native byte order.
    """
    source = source.rechunk(chunks)
    token = tokenize(source.name, chunks, request, scope)
    payload, decoded = f"compress-encode-{token}", f"compress-decode-{token}"
    related = relation(source, request, scope, token)
    if related.measured:
        source = again(source, related.measured, token)
    encode, decode = {}, {}
    for index in product(*map(range, source.numblocks)):
        shape = tuple(sizes[i] for sizes, i in zip(source.chunks, index, strict=True))
        made, read = (payload, *index), (decoded, *index)
        encode[made] = Task(
            made, _encode, TaskRef((source.name, *index)), request, related.at(index)
        )
        decode[read] = Task(read, _decode, TaskRef(made), shape)
    spec = PayloadSpec(FrameCodec(request), chunks, describe, related.appendable)
    return attach_payload(
        source,
        PayloadLayer(encode),
        DecodeLayer(decode, spec, payload),
        name=decoded,
        dtype=source.dtype.newbyteorder("="),
        beside=related.measured,
    )
