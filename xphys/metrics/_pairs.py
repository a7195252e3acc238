"""Variables of two Datasets side by side, on one grid."""

from __future__ import annotations

from collections.abc import Hashable
from operator import itemgetter
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from xphys.errors import SchemaError, UnknownNameError
from xphys.schema import ENSEMBLE_DIMS

__all__ = ["LEADING", "Fields", "Pairs", "check_grid", "datasets", "linked", "paired"]

#: Means are taken over the other dims; what changes most is sought along these.
LEADING = (*ENSEMBLE_DIMS, "time")
# Coordinates may be off by this share of their mean step (float32 positions of a large box).
_COORDINATE_TOLERANCE = 1e-3

Fields = xr.Dataset | xr.DataArray
Pairs = dict[Hashable, tuple[xr.DataArray, xr.DataArray]]


def datasets(test: Fields, reference: Fields) -> tuple[xr.Dataset, xr.Dataset]:
    """Both as Datasets; two DataArrays as one variable, named as the reference."""
    if isinstance(test, xr.DataArray) and isinstance(reference, xr.DataArray):
        name = reference.name or "data"
        return test.to_dataset(name=name), reference.to_dataset(name=name)
    if isinstance(test, xr.Dataset) and isinstance(reference, xr.Dataset):
        return test, reference
    raise SchemaError(
        f"expected two Datasets or two DataArrays, got {type(test).__name__} and "
        f"{type(reference).__name__}"
    )


def paired(test: xr.Dataset, reference: xr.Dataset, over: tuple[Hashable, ...] | None) -> Pairs:
    """Variables of both, the test's values on the reference's dims, coordinates and attrs."""
    common = [
        name
        for name in reference.data_vars
        if name in test.data_vars
        and all(v.dtype.kind in "fiub" for v in (test[name], reference[name]))
    ]
    if not common:
        raise UnknownNameError(
            f"no real variable is in both: test has {list(test.data_vars)}, reference has "
            f"{list(reference.data_vars)}"
        )
    pairs: Pairs = {}
    for name in common:
        t, r = test[name], reference[name]
        if over is not None and not set(over) & set(r.dims):
            continue
        check_grid(t, r)
        pairs[name] = linked(r.copy(data=t.transpose(*r.dims).data), r)
    if not pairs:
        raise SchemaError(f"none of the variables {common} has any of the dims {over}")
    return pairs


def check_grid(test: xr.DataArray, reference: xr.DataArray) -> None:
    """Refuse other sizes or positions."""
    if dict(test.sizes) != dict(reference.sizes):
        raise SchemaError(
            f"variable {reference.name!r} has sizes {dict(test.sizes)} in test and "
            f"{dict(reference.sizes)} in reference: select or interpolate to one grid"
        )
    for dim in reference.dims:
        if dim not in test.indexes or dim not in reference.indexes:
            continue
        a, b = test.indexes[dim].to_numpy(), reference.indexes[dim].to_numpy()
        if a.dtype.kind in "fiu" and b.dtype.kind in "fiu":
            step = (np.ptp(b) / (b.size - 1)) if b.size > 1 else np.abs(b).max(initial=0.0)
            same = bool((np.abs(a - b) <= _COORDINATE_TOLERANCE * step).all())
        else:
            same = np.array_equal(a, b)
        if not same:
            raise SchemaError(
                f"variable {reference.name!r} has sizes {dict(test.sizes)} in test and "
                f"{dict(reference.sizes)} in reference, but other positions along {dim!r}: "
                "select or interpolate to one grid"
            )


def linked(test: xr.DataArray, reference: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Both in the same chunks, each pair of blocks made by one task.

    What takes only one of the two could otherwise be computed first, for all of it, and its
    chunks would stay in memory until the other ones are read.
    """
    if test.chunks is None and reference.chunks is None:
        return test, reference
    chunks = reference.chunksizes if reference.chunks is not None else test.chunksizes
    fields = [f.chunk(chunks) for f in (test, reference)]
    both = da.map_blocks(_pair, *(f.data for f in fields), dtype=object, meta=np.empty((), object))
    apart = [
        f.copy(data=da.map_blocks(itemgetter(i), both, dtype=f.dtype, meta=f.data._meta))
        for i, f in enumerate(fields)
    ]
    return apart[0], apart[1]


def _pair(test: Any, reference: Any) -> tuple[Any, Any]:
    return test, reference
