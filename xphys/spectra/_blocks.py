"""Shell sums of labelled fields whose chunks hold whole frames."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xphys._dims import lift

__all__ = ["kept_coords", "sums_of_frames"]

Kernel = Callable[..., NDArray[Any]]


def sums_of_frames(
    kernel: Kernel, fields: list[xr.DataArray], names: list[str], count: int
) -> xr.DataArray:
    """Run a kernel on whole frames, lazily where the fields are chunked.

    Parameters
    ----------
    kernel : callable
        Fields (..., n_1, ..., n_d) to sums (..., count).
    fields : list of DataArray
        Each of the named dims in one chunk.
    names : list of str
        Dims of a frame.
    count : int
        Number of shells.

    Returns
    -------
    DataArray
        On the dims that are left and "wavenumber".
    """
    if len(fields) == 1 and fields[0].chunks is not None:
        return _block_by_block(kernel, fields[0], names, count)
    result: xr.DataArray = lift(
        kernel,
        *fields,
        core_dims=names,
        output_core_dims=[["wavenumber"]],
        output_sizes={"wavenumber": count},
        output_dtypes=[np.float64],
    )
    return result


def kept_coords(field: xr.DataArray, names: list[str]) -> dict[Hashable, xr.Variable]:
    """Coordinates that do not lie along the dims of a frame."""
    return {n: c.variable for n, c in field.coords.items() if not set(c.dims) & set(names)}


def _block_by_block(
    kernel: Kernel, field: xr.DataArray, names: list[str], count: int
) -> xr.DataArray:
    """As `lift`, but the kernel gets the blocks themselves: dropping dims would copy each."""
    lead = [d for d in field.dims if d not in names]
    data = field.transpose(*lead, *names).data
    ones = [(1,)] * (len(names) - 1)
    sums = data.map_blocks(
        partial(_spread, kernel=kernel, ones=len(ones)),
        chunks=(*data.chunks[: len(lead)], *ones, (count,)),
        dtype=np.float64,
        meta=np.empty((0,) * data.ndim),
    )
    sums = sums[(..., *(0 for _ in ones), slice(None))]
    return xr.DataArray(sums, kept_coords(field, names), [*lead, "wavenumber"])


def _spread(block: NDArray[Any], *, kernel: Kernel, ones: int) -> NDArray[Any]:
    """Sums with as many axes as the block."""
    sums = kernel(block)
    return sums.reshape(*sums.shape[:-1], *((1,) * ones), sums.shape[-1])
