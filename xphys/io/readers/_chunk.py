"""From lazily indexed variables to Dask arrays that never split a stored chunk."""

from __future__ import annotations

import math
import uuid
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import xarray as xr

from xphys.errors import SchemaError

__all__ = ["chunked"]

_TARGET = 64 * 2**20  # bytes
_FEW = 8  # tasks
Chunks = str | Mapping[Any, int] | None


def chunked(ds: xr.Dataset, chunks: Chunks, token: str | None = None) -> xr.Dataset:
    """Put the variables of an opened Dataset into Dask arrays.

    Parameters
    ----------
    ds : Dataset
        Variables with ``encoding["preferred_chunks"]`` where the source is chunked.
    chunks : "auto", mapping or None
        "auto": whole multiples of stored chunks up to 64 MiB, grown from the last dimension on;
        a mapping: those sizes (-1 for a whole dimension), stored chunks elsewhere, so that
        ``{}`` gives one per stored chunk; None: no Dask.
    token : str, optional
        Same token, same names of tasks; by default a new one.

    Returns
    -------
    Dataset
        Variables that are Dask arrays already, scalars and one-dimensional coordinates are left
        as they are.

    Raises
    ------
    SchemaError
        If ``chunks`` is something else.
    """
    if chunks is None:
        return ds
    if chunks != "auto" and not isinstance(chunks, Mapping):
        raise SchemaError(f"chunks must be 'auto', a mapping of dims or None, got {chunks!r}")
    names = [name for name, variable in ds.variables.items() if _wants_dask(ds, name, variable)]
    if not names:
        return ds
    sizes = _auto(ds, names) if isinstance(chunks, str) else dict(chunks)
    stamp = token or uuid.uuid4().hex
    new = ds.copy()
    for name in names:
        new[name] = _lazily(ds.variables[name], sizes, f"open-{name}-{stamp}")
    return new


def _lazily(variable: xr.Variable, sizes: Mapping[Any, int], name: str) -> xr.Variable:
    wanted = _for_variable(variable, sizes)
    # In many tasks the source is one object that all refer to: that of a run knows all its files,
    # and travels to each worker once. In a few tasks it would be one task more.
    made = variable.chunk(wanted, name=name, inline_array=False)
    if math.prod(map(len, made.chunksizes.values())) > _FEW:
        return made
    return variable.chunk(wanted, name=name, inline_array=True)


def _wants_dask(ds: xr.Dataset, name: Hashable, variable: xr.Variable) -> bool:
    least = 2 if name in ds.coords else 1
    return variable.ndim >= least and name not in ds.xindexes and variable.chunks is None


def _preferred(variable: xr.Variable) -> dict[Hashable, int]:
    stored = variable.encoding.get("preferred_chunks") or {}
    return {d: n for d, n in stored.items() if isinstance(n, int) and n > 0}


def _for_variable(variable: xr.Variable, sizes: Mapping[Any, int]) -> dict[Hashable, int]:
    stored = _preferred(variable)
    return {d: sizes.get(d, stored.get(d, -1)) for d in variable.dims}


def _auto(ds: xr.Dataset, names: Sequence[Hashable]) -> dict[Hashable, int]:
    most = max(ds.variables[name].ndim for name in names)
    fields = [ds.variables[name] for name in names if ds.variables[name].ndim == most]
    units: dict[Hashable, int] = {}
    for variable in fields:
        stored = _preferred(variable)
        for dim, size in variable.sizes.items():
            units[dim] = min(math.lcm(units.get(dim, 1), stored.get(dim, 1)), max(size, 1))
    largest = max(fields, key=lambda variable: variable.nbytes)
    space = math.prod(units[d] for d in largest.dims) * largest.dtype.itemsize
    for dim in reversed(largest.dims):
        whole = -(-max(largest.sizes[dim], 1) // units[dim])
        times = min(max(_TARGET // space, 1), whole)
        units[dim] *= times
        space *= times
        if times < whole:
            break
    return {dim: min(n, max(ds.sizes[dim], 1)) for dim, n in units.items()}
