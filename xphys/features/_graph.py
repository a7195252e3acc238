"""One task for each block of fields, which needs only the first step of the next block."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from xphys._dims import whole
from xphys.features._blocks import frame_rows
from xphys.features._catalog import Plan
from xphys.features._kernels.sensitivity import COUNT, sensitivity
from xphys.features._source import Source

__all__ = ["rows_of", "sensitivity_rows"]

Operators = Callable[..., Any] | Sequence[Callable[..., Any]]


def rows_of(source: Source, plan: Plan) -> xr.DataArray:
    """A row of numbers for each frame: dims that lead, time, ``state``.

    Parameters
    ----------
    source : Source
        Channels; chunked ones give a lazy result.
    plan : Plan
        What to make of each frame.

    Returns
    -------
    DataArray
        float64.
    """
    arrays = _aligned(source)
    if arrays[0].chunks is None:
        blocks = [a.to_numpy() for a in arrays]
        return _labelled(frame_rows(blocks, _last(source, blocks), False, plan), source)
    inputs: list[Any] = []
    for number, array in enumerate(arrays):
        inputs += [array.data, _index(source, number)]
    count = len(arrays[0].chunksizes["time"])
    behind = count > 1 and "flow" in plan.groups
    if behind:
        at = len(source.lead)
        for number, array in enumerate(arrays):
            inputs += [_next_first(array.data, at), _index(source, number)]
        flags = np.arange(count) < count - 1
        inputs += [da.from_array(flags, chunks=1), ("time",)]
    data = da.blockwise(
        partial(_rows_of_block, plan=plan, variables=len(arrays), behind=behind, source_axes=len(
            source.lead)),
        (*source.lead, "time", "state"),
        *inputs,
        new_axes={"state": plan.size},
        align_arrays=False,
        dtype=np.float64,
        meta=np.empty((0,) * (len(source.lead) + 2)),
        name=None,
    )  # fmt: skip
    return _labelled(data, source)


def _index(source: Source, number: int) -> tuple[Hashable, ...]:
    return (*source.lead, "time", f"channel {number}", *source.grid.names)


def _labelled(data: Any, source: Source) -> xr.DataArray:
    first = source.arrays[0]
    dims = (*source.lead, "time", "state")
    coords = {d: first.coords[d].variable for d in dims if d in first.coords}
    return xr.DataArray(data, coords, dims)


def _aligned(source: Source) -> list[xr.DataArray]:
    """All arrays in the same chunks, with channels and space whole."""
    if all(array.chunks is None for array in source.arrays):
        return source.arrays
    core = ("channel", *source.grid.names)
    chunked = next(array for array in source.arrays if array.chunks is not None)
    chunks = whole(chunked, core).chunksizes
    outer = {dim: chunks[dim] for dim in (*source.lead, "time")}
    return [array.chunk({**outer, **dict.fromkeys(core, -1)}) for array in source.arrays]


def _next_first(data: da.Array, axis: int) -> da.Array:
    """For each block along an axis the first entry of the next one; the last gets its own."""
    cut = (slice(None),) * axis
    first = data.map_blocks(
        partial(_first, axis=axis),
        chunks=(*data.chunks[:axis], (1,) * data.numblocks[axis], *data.chunks[axis + 1 :]),
        dtype=data.dtype,
        meta=data._meta,
    )
    return da.concatenate([first[(*cut, slice(1, None))], first[(*cut, slice(-1, None))]], axis)


def _first(block: np.ndarray, axis: int) -> np.ndarray:
    # a copy: a view would keep the block in memory
    return block[(slice(None),) * axis + (slice(0, 1),)].copy()


def _unwrapped(nested: Any) -> np.ndarray:
    while isinstance(nested, list):
        (nested,) = nested
    return np.asarray(nested)


def _last(source: Source, blocks: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [_step(block, len(source.lead), slice(-1, None)) for block in blocks]


def _step(block: np.ndarray, axis: int, part: slice) -> np.ndarray:
    found: np.ndarray = block[(slice(None),) * axis + (part,)]
    return found


def _rows_of_block(
    *nested: Any, plan: Plan, variables: int, behind: bool, source_axes: int
) -> np.ndarray:
    blocks = [_unwrapped(one) for one in nested[:variables]]
    if behind:
        following = [_unwrapped(one) for one in nested[variables : 2 * variables]]
        has_next = bool(_unwrapped(nested[2 * variables]).reshape(-1)[0])
    else:
        following = [_step(block, source_axes, slice(-1, None)) for block in blocks]
        has_next = False
    return frame_rows(blocks, following, has_next, plan)


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
    arrays = _aligned(first)
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
