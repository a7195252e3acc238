"""Which variables of a Dataset are coded together."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from xphys.codecs._graph import Scope
from xphys.codecs._together import compressed_together
from xphys.coding.choice import AUTO
from xphys.coding.predict import Joining
from xphys.coding.predict.grid import CHEBYSHEV, PERIODIC, Grid, chebyshev_length
from xphys.coding.request import Request
from xphys.errors import SchemaError
from xphys.io import storage_chunks
from xphys.schema import axis

__all__ = ["compress_groups"]

_METHODS = (AUTO, "transform")
# Chunks of all variables at one place are in memory together.
_LARGEST_PLACE = 256 * 2**20
_SPATIAL = ("z", "y", "x")


def compress_groups(
    ds: xr.Dataset,
    requests: Mapping[Hashable, Request],
    scope: str | tuple[str, ...],
    chunks: Mapping[str, int] | None,
    joinings: Sequence[Joining] = (),
    told: bool = True,
) -> dict[Hashable, da.Array]:
    """Compressed arrays of those variables that may be told from others or must be kept together.

    Parameters
    ----------
    ds : Dataset
        With the variables.
    requests : mapping
        How each variable that is compressed is to be coded.
    scope : str or tuple of dims
        As in `compress`.
    chunks : mapping, optional
        As in `compress`.
    joinings : sequence of Joining
        Vectors whose components are corrected together.
    told : bool, default True
        Whether variables may be told from others.

    Returns
    -------
    dict
        Of variables that share dims, shape and chunks with others, on a grid for which there are
        operators: periodic along two or three axes, or a layer between walls; and all components
        of vectors that are corrected.
    """
    groups: dict[Any, list[Hashable]] = defaultdict(list)
    needed = {name for j in joinings for name in (*j.members, j.density) if name is not None}
    for name, request in requests.items():
        da_ = ds[name]
        dims = tuple(map(str, da_.dims))
        stored = storage_chunks(dims, da_.shape, da_.dtype.itemsize, chunks)
        fits = name in needed or (
            told
            and isinstance(name, str)
            and "/" not in name
            and da_.dtype.kind == "f"
            and _tellable(request)
        )
        if fits:
            groups[dims, da_.shape, stored].append(name)
    out: dict[Hashable, Any] = {}
    for (dims, shape, stored), names in groups.items():
        grid = _grid(ds[names[0]])
        bytes_of_place = math.prod(stored) * sum(ds[n].dtype.itemsize for n in names)
        whole = all(stored[i] >= shape[i] for i, kind in enumerate(grid.kinds) if kind)
        fine = len(names) > 1 and grid.usable and whole and bytes_of_place <= _LARGEST_PLACE
        fine = fine and all(_tellable(requests[n]) for n in names) and told
        names = names if fine else [n for n in names if n in needed]
        if names:
            blocks = dict(zip(dims, stored, strict=True))
            sources = {str(n): ds[n].chunk(blocks).data for n in names}
            asked = {str(n): requests[n] for n in names}
            here = tuple(j for j in joinings if set(j.members) <= set(names))
            made = compressed_together(
                sources, stored, asked, Scope.of(dims, scope), grid, here, told=fine
            )
            out |= dict(made.items())
    return out


def _tellable(request: Request) -> bool:
    return request.bounds is not None and request.method in _METHODS and request.effort != "fast"


def _grid(da_: xr.DataArray) -> Grid:
    """Kind and length of each axis as the coordinates state them."""
    kinds, lengths = [], []
    for dim in map(str, da_.dims):
        kind, length = "", 0.0
        if dim in _SPATIAL and dim in da_.coords and da_.coords[dim].dtype.kind in "fiu":
            try:
                found = axis(da_, dim)
            except SchemaError:
                found = None
            if found is not None and found.periodic:
                kind, length = PERIODIC, found.length
            elif found is not None and found.spacing == "chebyshev":
                length = chebyshev_length(found.coordinate)
                kind = CHEBYSHEV if length else ""
        kinds.append(kind)
        lengths.append(float(length))
    time = [i for i, kind in enumerate(kinds) if not kind]
    times = _times(da_) if len(time) == 1 and da_.dims[time[0]] == "time" else ()
    return Grid(tuple(kinds), tuple(lengths), time[0] if times else None, times)


def _times(da_: xr.DataArray) -> tuple[float, ...]:
    """Increasing numbers along time; none where it has other positions."""
    if "time" not in da_.coords or da_.coords["time"].dtype.kind not in "fiu":
        return ()
    found = da_.coords["time"].values.astype(float)
    steps = np.diff(found)
    fine = np.isfinite(found).all() and (steps > 0).all()
    return tuple(found.tolist()) if fine else ()
