"""Which dims a function works on, whole chunks along them, and the one call of apply_ufunc."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

import xarray as xr

from xphys.errors import SchemaError
from xphys.schema import SPATIAL_DIMS, spatial_dims

__all__ = ["lift", "resolve_dims", "whole"]


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
