"""One task for each block of fields, which needs only the first step of the next block."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask._task_spec import Task, TaskRef
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer

from xphys._dims import fold_blocks, whole
from xphys.features._blocks import frame_rows
from xphys.features._catalog import Plan
from xphys.features._kernels.sensitivity import COUNT, sensitivity
from xphys.features._source import Source

__all__ = ["rows_of", "sensitivity_rows"]

Operators = Callable[..., Any] | Sequence[Callable[..., Any]]


def rows_of(ds: xr.Dataset, source: Source, plan: Plan, *, together: bool = False) -> xr.DataArray:
    """A row of numbers for each frame: dims that lead, time, ``state``.

    Parameters
    ----------
    ds : Dataset
        What the source was read from: tasks take its blocks as they are.
    source : Source
        Channels; chunked ones give a lazy result.
    plan : Plan
        What to make of each frame.
    together : bool
        Rows of all times in one chunk.

    Returns
    -------
    DataArray
        float64.
    """
    if all(array.chunks is None for array in source.arrays):
        blocks = [a.to_numpy() for a in source.arrays]
        return _labelled(frame_rows(blocks, None, plan), source)
    core = ("channel", *source.grid.names)
    fields = _aligned([_plain(ds[a.name], (*source.lead, "time", *core)) for a in source.arrays],
                      source, core)  # fmt: skip
    inputs: list[Any] = []
    for field in fields:
        inputs += [field.data, field.dims]
    behind = "flow" in plan.groups and len(fields[0].chunksizes.get("time", ())) > 1
    if behind:
        for field in fields:
            inputs += [_next_first(field.data, field.dims.index("time")), field.dims]
    outer = (*source.lead, "time")
    kernel = partial(
        _rows_of_block, dims=tuple(f.dims for f in fields), wanted=(*outer, *core), plan=plan
    )
    held = {dim for field in fields for dim in field.dims}
    new = {dim: 1 for dim in (*outer, *core) if dim not in held}
    leaves = da.blockwise(
        kernel,
        (*outer, *core, "state"),
        *inputs,
        new_axes={**new, "state": plan.size},
        align_arrays=False,
        dtype=np.float64,
        meta=np.empty((0,) * (len(outer) + len(core) + 1)),
    )
    place = len(source.lead)
    inside = range(place + 1, place + 1 + len(core))
    data = fold_blocks(leaves, _unchanged, without=inside, join=[place] if together else [])
    return _labelled(data, source)


def _plain(field: xr.DataArray, dims: Sequence[Hashable]) -> xr.DataArray:
    return field.isel({d: 0 for d in field.dims if d not in dims}, drop=True)


def _labelled(data: Any, source: Source) -> xr.DataArray:
    first = source.arrays[0]
    dims = (*source.lead, "time", "state")
    coords = {d: first.coords[d].variable for d in dims if d in first.coords}
    return xr.DataArray(data, coords, dims)


def _aligned(
    arrays: Sequence[xr.DataArray], source: Source, core: Sequence[Hashable]
) -> list[xr.DataArray]:
    """All in the same chunks, with channels and space whole."""
    chunked = next(array for array in arrays if array.chunks is not None)
    chunks = whole(chunked, [d for d in core if d in chunked.dims]).chunksizes
    outer = {d: chunks[d] for d in (*source.lead, "time") if d in chunks}
    return [array.chunk({d: outer.get(d, -1) for d in array.dims}) for array in arrays]


def _next_first(data: da.Array, axis: int) -> da.Array:
    """For each block along an axis the first entry of the next one; the last gets none."""
    name = f"next-first-{tokenize(data.name, axis)}"
    one, none = (partial(_copied, axis=axis, count=count) for count in (1, 0))
    tasks: dict[Any, Any] = {}
    for index in np.ndindex(*data.numblocks):
        more = index[axis] + 1 < data.numblocks[axis]
        source = (data.name, *index[:axis], index[axis] + more, *index[axis + 1 :])
        tasks[name, *index] = Task((name, *index), one if more else none, TaskRef(source))
    graph = HighLevelGraph.from_collections(name, MaterializedLayer(tasks), [data])
    ends = (*(1,) * (data.numblocks[axis] - 1), 0)
    chunks = (*data.chunks[:axis], ends, *data.chunks[axis + 1 :])
    return da.Array(graph, name, chunks, meta=data._meta)


def _copied(block: np.ndarray, *, axis: int, count: int) -> np.ndarray:
    # a view would keep the block in memory
    return block[(slice(None),) * axis + (slice(count),)].copy()


def _unchanged(rows: np.ndarray) -> np.ndarray:
    return rows


def _ordered(block: np.ndarray, dims: Sequence[Hashable], wanted: Sequence[Hashable]) -> np.ndarray:
    """A view with axes for all dims that are wanted."""
    there = [dim for dim in wanted if dim in dims]
    missing = [place for place, dim in enumerate(wanted) if dim not in dims]
    return np.expand_dims(block.transpose([dims.index(dim) for dim in there]), missing)


def _rows_of_block(
    *nested: Any, dims: Sequence[Sequence[Hashable]], wanted: Sequence[Hashable], plan: Plan
) -> np.ndarray:
    count = len(dims)
    every = [_ordered(block, dims[i % count], wanted) for i, block in enumerate(nested)]
    blocks, following = every[:count], every[count:]
    return frame_rows(blocks, following or None, plan)


def _unwrapped(nested: Any) -> np.ndarray:
    while isinstance(nested, list):
        (nested,) = nested
    return np.asarray(nested)


def _index(source: Source, number: int) -> tuple[Hashable, ...]:
    return (*source.lead, "time", f"channel {number}", *source.grid.names)


def sensitivity_rows(source: Source, operators: Operators) -> xr.DataArray:
    """The features of operators, at the first state of each trajectory.

    Parameters
    ----------
    source : Source
        Channels.
    operators : callable or sequence of callables
        One for all, or one for each entry of the dim ``operator``.

    Returns
    -------
    DataArray
        Dims that lead, then ``state``.
    """
    first = Source(
        [array.isel(time=[0]) for array in source.arrays], source.lead, source.grid,
        source.times[:1], None, source.has_time, [],
    )  # fmt: skip
    arrays = first.arrays
    if any(array.chunks is not None for array in arrays):
        arrays = _aligned(arrays, source, ("channel", *source.grid.names))
    which = np.zeros(1, np.int64)
    of = [dim for dim in source.lead if dim == "operator"]
    if not callable(operators):
        which = np.arange(source.arrays[0].sizes["operator"])
    else:
        of, operators = [], (operators,)
    kernel = partial(_sensitivities, operators=tuple(operators), lead=len(source.lead))
    if arrays[0].chunks is None:
        shape = [which.size if dim in of else 1 for dim in source.lead]
        data: Any = kernel(which.reshape(shape), *(a.to_numpy() for a in arrays))
    else:
        dims = tuple(source.lead) if of else ()
        if of:
            sizes = [which.size if dim in of else 1 for dim in source.lead]
            full = [arrays[0].sizes[dim] for dim in source.lead]
            numbers = np.broadcast_to(which.reshape(sizes), full)
            held = da.from_array(numbers, chunks=[arrays[0].chunksizes[d] for d in source.lead])
        else:
            held = da.from_array(np.zeros((), np.int64), chunks=())
        inputs: list[Any] = [held, dims]
        for number, array in enumerate(arrays):
            inputs += [array.data, _index(source, number)]
        data = da.blockwise(
            kernel,
            (*source.lead, "state"),
            *inputs,
            new_axes={"state": COUNT},
            align_arrays=False,
            dtype=np.float64,
            meta=np.empty((0,) * (len(source.lead) + 1)),
        )
    lead = source.arrays[0]
    coords = {d: lead.coords[d].variable for d in source.lead if d in lead.coords}
    return xr.DataArray(data, coords, (*source.lead, "state"))


def _sensitivities(
    which: Any, *nested: Any, operators: Sequence[Callable[..., Any]], lead: int
) -> np.ndarray:
    blocks = [_unwrapped(one) for one in nested]
    shape = blocks[0].shape[:lead]
    numbers = np.broadcast_to(_unwrapped(which), shape)
    found = np.empty((*shape, COUNT))
    for at in np.ndindex(*shape):
        field = np.concatenate([block[at][0] for block in blocks]).astype(np.float64)
        with np.errstate(all="ignore"):
            found[at] = sensitivity(operators[int(numbers[at])], field)
    return found
