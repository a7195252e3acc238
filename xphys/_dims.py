"""Which dims a function works on, whole chunks along them, and the one call of apply_ufunc."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from xphys.errors import SchemaError, UnknownNameError
from xphys.schema import SPATIAL_DIMS, spatial_dims, vectors

__all__ = [
    "add_states",
    "fold_blocks",
    "lift",
    "real_variables",
    "reduce_blocks",
    "resolve_dims",
    "stack",
    "whole",
]

_PACKED = {"scale_factor", "add_offset", "_FillValue", "missing_value"}
_AT_ONCE = 4  # states that one task merges; with more of them more source blocks wait in memory
_PIECE = 2**18  # values that a kernel is given at a time, where it can be: they stay in the cache


def resolve_dims(
    obj: xr.Dataset | xr.DataArray, dims: str | Iterable[Hashable] | None = None
) -> tuple[Hashable, ...]:
    """Dims that a function shall work on, in the order in which the object has them.

    Parameters
    ----------
    obj : Dataset or DataArray
        The object.
    dims : str or iterable of str, optional
        Names; None stands for the spatial dims (z, y, x) that exist.

    Returns
    -------
    tuple of str
        At least one name, each once.

    Raises
    ------
    SchemaError
        If a name is not a dim of the object, or nothing is left.

    Examples
    --------
    >>> resolve_dims(xr.DataArray([[0.0]], dims=("time", "x")))
    ('x',)
    """
    existing = tuple(obj.sizes)
    if dims is None:
        found = spatial_dims(obj)
        if not found:
            raise SchemaError(
                f"expected a spatial dimension out of {SPATIAL_DIMS}, found {existing}: "
                "name the dimensions with dims=(...)"
            )
        return found
    names = {dims} if isinstance(dims, str) else set(dims)
    unknown = sorted(str(name) for name in names if name not in existing)
    if unknown:
        raise SchemaError(f"expected dims out of {existing}, got {unknown}")
    if not names:
        raise SchemaError(f"expected at least one of the dims {existing}, got none")
    return tuple(d for d in existing if d in names)


def real_variables(
    obj: xr.Dataset | xr.DataArray,
    variables: str | Iterable[Hashable] | None = None,
    *,
    dims: Iterable[Hashable] = (),
) -> dict[str, xr.DataArray]:
    """Real variables that a function shall work on.

    Parameters
    ----------
    obj : Dataset or DataArray
        The object; a DataArray without a name is called "data".
    variables : str or iterable of str, optional
        Names of variables, or of vectors for all their components; by default all real ones.
    dims : iterable of str, optional
        By default only variables with all of these are taken; a named one must have them.

    Returns
    -------
    dict of str to DataArray
        At least one.

    Raises
    ------
    UnknownNameError
        If a name does not exist.
    SchemaError
        If a variable is not of real numbers, is still packed, or lacks a dim; or there is none.

    Examples
    --------
    >>> list(real_variables(xr.Dataset({"u": ("x", [1.0]), "name": ("x", ["a"])})))
    ['u']
    """
    needed = set(dims)
    if isinstance(obj, xr.DataArray):
        if variables is not None:
            raise SchemaError("variables= is for a Dataset: a DataArray has only its own values")
        return {str(obj.name or "data"): _real(obj, needed)}
    if variables is None:
        found = {
            str(n): _real(v, needed)
            for n, v in obj.data_vars.items()
            if v.dtype.kind in "biuf" and needed <= set(v.dims)
        }
        if not found:
            having = f" that has the dims {sorted(map(str, needed))}" if needed else ""
            raise SchemaError(f"expected a variable of real numbers{having}, found none")
        return found
    known = vectors(obj)
    names: list[Hashable] = []
    for name in [variables] if isinstance(variables, str) else list(variables):
        if name in obj.variables:
            names.append(name)
        elif name in known:
            names += known[str(name)].values()
        else:
            raise UnknownNameError(
                f"expected variables out of {[*obj.data_vars, *known]}, got {name!r}"
            )
    if not names:
        raise SchemaError("expected at least one variable, got none")
    return {str(name): _real(obj[name], needed) for name in dict.fromkeys(names)}


def _real(field: xr.DataArray, needed: set[Hashable]) -> xr.DataArray:
    if field.dtype.kind not in "biuf":
        raise SchemaError(f"{field.name!r} is {field.dtype}: expected real numbers")
    if packed := sorted(_PACKED & set(field.attrs)):
        raise SchemaError(
            f"variable {field.name!r} is still packed or masked by attrs {packed}: decode it with "
            "xr.decode_cf(ds)"
        )
    if not needed <= set(field.dims):
        raise SchemaError(
            f"variable {field.name!r} has dims {field.dims}, expected {sorted(map(str, needed))} "
            "among them: leave it out with variables=..."
        )
    return field


def whole(array: xr.DataArray, dims: Iterable[Hashable]) -> xr.DataArray:
    """Rechunk so that every one of the dims lies in one chunk.

    The other dims are split by the factor by which the chunks would grow, so that a task needs
    about as much memory as one chunk of ``array`` (never less than one point of each other dim).

    Parameters
    ----------
    array : DataArray
        Chunked or not; an array without chunks comes back as it is.
    dims : iterable of str
        Dims to make whole.

    Returns
    -------
    DataArray
        Same values, lazily rechunked.
    """
    chunks, core = array.chunksizes, set(dims)
    parts = math.prod(len(chunks[d]) for d in core if d in chunks)
    if parts <= 1:
        return array
    target: dict[Hashable, int] = dict.fromkeys(core, -1)
    for dim in (d for d in array.dims if d not in core):
        largest = max(chunks[dim])
        target[dim] = max(1, largest // parts)
        parts = math.ceil(parts * target[dim] / largest)
        if parts <= 1:
            break
    return array.chunk(target)


def _refuse_chunked(kernel: Callable[..., Any], array: xr.DataArray, core: Sequence[str]) -> None:
    split = {d: len(array.chunksizes[d]) for d in core if len(array.chunksizes.get(d, ())) > 1}
    if split:
        call = ", ".join(f'"{d}": -1' for d in split)
        raise SchemaError(
            f"{getattr(kernel, '__name__', 'this function')} needs each of {tuple(core)} in one "
            f"chunk, found {split} chunks: rechunk with .chunk({{{call}}})"
        )


def lift(
    kernel: Callable[..., Any],
    *arrays: xr.DataArray,
    core_dims: Sequence[str],
    output_core_dims: Sequence[Sequence[str]] | None = None,
    output_sizes: Mapping[str, int] | None = None,
    output_dtypes: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
) -> Any:
    """Run a kernel of plain arrays on labelled ones, lazily where they are chunked.

    Parameters
    ----------
    kernel : callable
        Takes one plain array per DataArray, core axes last, and returns one plain array per
        output, its core axes last.
    *arrays : DataArray
        Inputs; dims other than the core dims are broadcast, coordinates must agree exactly.
    core_dims : sequence of str
        Core dims, the same for all inputs, each in one chunk.
    output_core_dims : sequence of sequences of str, optional
        Core dims of each output; by default one output with the core dims of the inputs.
    output_sizes : mapping of str to int, optional
        Sizes of the core dims that are new, or that change their size.
    output_dtypes : sequence of dtypes
        One per output: nothing is run to find out.
    kwargs : mapping, optional
        Further keyword arguments of the kernel.

    Returns
    -------
    DataArray or tuple of DataArray
        Coordinates kept with their attributes; no attributes of its own.

    Raises
    ------
    SchemaError
        If a core dim is in several chunks.

    Examples
    --------
    >>> import numpy as np
    >>> field = xr.DataArray(np.ones((2, 3)), dims=("time", "x"))
    >>> lift(np.cumsum, field, core_dims=["x"], output_dtypes=[float], kwargs={"axis": -1}).sizes
    Frozen({'time': 2, 'x': 3})
    """
    for array in arrays:
        _refuse_chunked(kernel, array, core_dims)
    sizes = dict(output_sizes or {})
    result = xr.apply_ufunc(
        kernel,
        *arrays,
        input_core_dims=[list(core_dims)] * len(arrays),
        output_core_dims=[list(d) for d in (output_core_dims or [core_dims])],
        exclude_dims=set(sizes) & set(core_dims),
        join="exact",
        keep_attrs="override",  # "drop" would also drop the attributes of the coordinates
        kwargs=dict(kwargs or {}),
        dask="parallelized",
        output_dtypes=list(output_dtypes),
        dask_gufunc_kwargs={"output_sizes": sizes},
    )
    for output in result if isinstance(result, tuple) else (result,):
        output.attrs = {}
    return result


def reduce_blocks(
    state: Callable[..., Any],
    merge: Callable[..., Any],
    *arrays: xr.DataArray,
    over: Sequence[Hashable],
    size: int,
    kwargs: Mapping[str, Any] | None = None,
    together: Iterable[Hashable] = (),
) -> xr.DataArray:
    """One state of all values along some dims, from the states of the blocks.

    Each block is read once, by one task; a few states at a time are merged, so that memory does
    not grow with their number.

    Parameters
    ----------
    state : callable
        ``state(*blocks, core=n, **kwargs)``: blocks of shape (..., c_1, ..., c_n) to
        (..., 1, ..., 1, size), float64.
    merge : callable
        ``merge(states, axes=n)``: (..., b_1, ..., b_n, size) to (..., size).
    *arrays : DataArray
        Of equal dims and sizes.
    over : sequence of str
        Dims to reduce, in the order in which the kernel sees them.
    size : int
        Numbers of a state.
    kwargs : mapping, optional
        Further keyword arguments of ``state``.
    together : iterable of str
        Dims that are left, but not in the chunks of the data: in one.

    Returns
    -------
    DataArray
        Dims that are left, with their coordinates, and ``state``.
    """
    core = list(over)
    lead = [d for d in arrays[0].dims if d not in core]
    ordered = [a.transpose(*lead, *core) for a in arrays]
    first = ordered[0]
    kernel = partial(state, core=len(core), **(kwargs or {}))
    if all(a.chunks is None for a in ordered):
        data = merge(kernel(*(a.to_numpy() for a in ordered)), axes=len(core))
    else:
        joined = [lead.index(d) for d in together if d in lead]
        data = _reduced(kernel, merge, ordered, len(core), size, joined)
    coords = {n: c.variable for n, c in first.coords.items() if not set(c.dims) & set(core)}
    return xr.DataArray(data, coords, [*lead, "state"])


def add_states(states: np.ndarray, *, axes: int) -> np.ndarray:
    """Merge of `reduce_blocks` for states that add up."""
    first = states.ndim - 1 - axes
    return np.asarray(states.sum(axis=tuple(range(first, first + axes))))


def _reduced(
    kernel: Callable[..., Any],
    merge: Callable[..., Any],
    ordered: Sequence[xr.DataArray],
    core: int,
    size: int,
    together: Sequence[int],
) -> Any:
    import dask.array as da

    sizes = next(a.chunksizes for a in ordered if a.chunks is not None)
    blocks = [a.chunk(sizes).data for a in ordered]
    chunks, ndim = blocks[0].chunks, blocks[0].ndim
    lead = ndim - core
    merged = partial(_merged, merge=merge, lead=lead)
    states = da.map_blocks(
        partial(_merged_state, kernel=kernel, merged=merged, lead=lead),
        *blocks,
        chunks=(*chunks[:lead], *((1,) * len(c) for c in chunks[lead:]), (size,)),
        new_axis=[ndim],
        dtype=np.float64,
        meta=np.empty((0,) * (ndim + 1)),
    )
    return fold_blocks(states, merged, range(lead, ndim), without=range(lead, ndim), join=together)


def _merged_state(
    *blocks: Any, kernel: Callable[..., Any], merged: Callable[..., Any], lead: int
) -> Any:
    """The state of a block, entry by entry of its first axis: copies of all of it do not fit."""
    length = blocks[0].shape[0] if lead else 1
    step = max(1, _PIECE * length // max(1, blocks[0].size))
    if step >= length:
        return merged(kernel(*blocks))
    parts = [merged(kernel(*(b[i : i + step] for b in blocks))) for i in range(0, length, step)]
    return np.concatenate(parts)


def _merged(*states: Any, merge: Callable[..., Any], lead: int) -> Any:
    rows = [state.reshape(*state.shape[:lead], -1, state.shape[-1]) for state in states]
    return merge(np.concatenate(rows, axis=-2), axes=1)


def fold_blocks(
    leaves: Any,
    function: Callable[..., Any],
    axes: Sequence[int] = (),
    *,
    without: Sequence[int] = (),
    join: Sequence[int] = (),
    dtype: Any = np.float64,
) -> Any:
    """Fold the blocks of an array of Dask along some axes into one, by a tree of few tasks.

    A task takes 4 blocks, so that there is one for every three of them, and what it took is
    dropped.

    Parameters
    ----------
    leaves : dask.array.Array
        Its blocks may be anything that ``function`` takes.
    function : callable
        ``function(*blocks)``: one for several along ``axes``, in C order; also of one alone.
    axes : sequence of int
        Axes to fold.
    without : sequence of int
        Axes that the result has not; of one block, if they are not folded.
    join : sequence of int
        Other axes, along which the results are then put beside each other.
    dtype : dtype
        Of the result.

    Returns
    -------
    dask.array.Array
        One chunk along each axis that was folded or joined.
    """
    import dask.array as da
    from dask.base import tokenize
    from dask.highlevelgraph import HighLevelGraph, MaterializedLayer

    left = [axis for axis in range(leaves.ndim) if axis not in without]
    rest = [axis for axis in range(leaves.ndim) if axis not in axes]
    count = math.prod(leaves.numblocks[axis] for axis in axes)
    rounds: list[tuple[int, Callable[..., Any]]] = [(len(rest), function)] * _rounds(count)
    for axis in join:
        beside = partial(_beside, axis=left.index(axis))
        rounds += [(rest.index(axis), beside)] * _rounds(leaves.numblocks[axis])
    if not (rounds or without):
        return leaves
    rounds = rounds or [(len(rest), function)]  # takes the axes away
    keys = np.empty(leaves.numblocks, dtype=object)
    for index in np.ndindex(*keys.shape):
        keys[index] = (leaves.name, *index)
    keys = keys.transpose(*rest, *axes).reshape(*(leaves.numblocks[axis] for axis in rest), count)
    places = [rest.index(axis) if axis in rest else len(rest) for axis in left]
    name = f"fold-{tokenize(leaves.name, function, list(axes), list(without), list(join))}"
    graph = HighLevelGraph.from_collections(
        name, MaterializedLayer(_tree(name, keys, rounds, places)), [leaves]
    )
    single = {*axes, *join}
    chunks = [(sum(leaves.chunks[a]),) if a in single else leaves.chunks[a] for a in left]
    meta = np.empty((0,) * len(left), dtype)
    return da.Array(graph, name, tuple(chunks), dtype=dtype, meta=meta)


def _tree(
    name: str, keys: Any, rounds: Sequence[tuple[int, Callable[..., Any]]], places: Sequence[int]
) -> dict[Any, Any]:
    """Tasks of each round, which makes one of a few along an axis; at last (name, *index)."""
    from dask._task_spec import Task, TaskRef  # half the memory of (function, *keys)

    tasks: dict[Any, Any] = {}
    for number, (axis, function) in enumerate(rounds, start=1):
        shape = list(keys.shape)
        shape[axis] = math.ceil(shape[axis] / _AT_ONCE)
        found = np.empty(shape, dtype=object)
        for index in np.ndindex(*shape):
            part = slice(index[axis] * _AT_ONCE, (index[axis] + 1) * _AT_ONCE)
            taken = keys[(*index[:axis], part, *index[axis + 1 :])]
            key = (f"{name}-{number}", *index)
            if number == len(rounds):
                key = (name, *(index[place] for place in places))
            tasks[key] = Task(key, function, *map(TaskRef, taken))
            found[index] = key
        keys = found
    return tasks


def _rounds(count: int) -> int:
    """How often a few are made one until one is left."""
    rounds = 0
    while count > 1:
        count, rounds = math.ceil(count / _AT_ONCE), rounds + 1
    return rounds


def _beside(*blocks: Any, axis: int) -> Any:
    return np.concatenate(blocks, axis)


def stack(
    parts: Mapping[Hashable, xr.DataArray] | Mapping[str, xr.DataArray],
    names: Iterable[Hashable],
    dim: str = "variable",
) -> xr.DataArray:
    """Put one array per name on a new first dim; NaN where a name has none.

    Parameters
    ----------
    parts : mapping of str to DataArray
        Values; they may differ in dims.
    names : iterable of str
        Labels of the new dim.
    dim : str
        Its name.

    Returns
    -------
    DataArray
        All dims of all parts behind the new one.
    """
    values = {str(name): part for name, part in parts.items()}
    labels = [str(name) for name in names]
    filled = [values.get(name, xr.DataArray(np.nan)).rename(None) for name in labels]
    wide = xr.broadcast(*xr.align(*filled, join="outer"))
    index = xr.DataArray(labels, dims=dim, name=dim)
    return xr.concat(wide, index, coords="minimal", compat="override", join="outer")
