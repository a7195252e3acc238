"""Masks of what stands out, their components, and smoothed differences between cells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from xphys.features._kernels.frames import Frames
from xphys.features._kernels.grid import Grid

__all__ = ["component_sizes", "each", "sobel", "standing_out"]

Array = NDArray[Any]


def each(frames: Frames) -> Iterator[tuple[int, int]]:
    """Frame and channel of each field."""
    yield from np.ndindex(*frames.lead)


def standing_out(frames: Frames) -> NDArray[np.bool_]:
    """Whether a value is larger than the median and half a standard deviation."""
    limit = frames.median[..., 1] + 0.5 * frames.deviation
    found: NDArray[np.bool_] = (frames.flat > limit[..., None]).reshape(frames.values.shape)
    return found


def component_sizes(mask: NDArray[np.bool_], grid: Grid) -> NDArray[np.int64]:
    """Points in each component of a mask; diagonal neighbours belong together.

    Parameters
    ----------
    mask : ndarray of bool, shape grid.shape
        The mask.
    grid : Grid
        Periodic axes are closed.

    Returns
    -------
    ndarray of int
        One for each component.
    """
    padded = np.pad(mask, 1)
    place = np.pad(np.arange(mask.size).reshape(mask.shape), 1, constant_values=-1)
    for axis, line in enumerate(grid.lines):
        if line.periodic:
            for array in (padded, place):
                ends = [slice(None)] * mask.ndim
                for to, source in ((0, -2), (-1, 1)):
                    ends[axis] = to  # type: ignore[call-overload]
                    origin = list(ends)
                    origin[axis] = source  # type: ignore[call-overload]
                    array[tuple(ends)] = array[tuple(origin)]
    labels, count = scipy.ndimage.label(padded, np.ones((3,) * mask.ndim))
    if not count:
        return np.zeros(0, np.int64)
    inner = labels[(slice(1, -1),) * mask.ndim]
    seen = padded & (place >= 0)
    pairs = labels[seen], inner.ravel()[place[seen]]
    ones = np.ones(pairs[0].size, np.int8)
    graph = coo_array((ones, pairs), shape=(count + 1, count + 1))
    _, joined = connected_components(graph, directed=False)
    sizes = np.bincount(joined[inner[mask]])
    return sizes[sizes > 0]


def sobel(values: Array, grid: Grid, offset: int = 2) -> Array:
    """Length of the smoothed difference between cells: (1, 2, 1)/4 across, (−1, 0, 1)/2 along."""
    modes = ["wrap" if line.periodic else "nearest" for line in grid.lines]
    total = np.zeros_like(values)
    for along in range(len(modes)):
        part = values
        for axis, mode in enumerate(modes):
            weights = [-0.5, 0.0, 0.5] if axis == along else [0.25, 0.5, 0.25]
            part = scipy.ndimage.correlate1d(part, weights, axis=offset + axis, mode=mode)
        total += part**2
    return np.sqrt(total)
