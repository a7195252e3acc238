"""How alike a field is to itself some way off: along the axes and over the distance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from xphys.features._kernels import grid as grids
from xphys.features._kernels.frames import Frames
from xphys.features._kernels.grid import Grid

__all__ = ["Displacements", "correlation", "displacements"]

Array = NDArray[Any]
_TIE = 1e-9  # distances that differ by this share are one


@dataclass(frozen=True, eq=False)
class Displacements:
    """Ways from one point to another, none longer than half of the shortest side.

    Attributes
    ----------
    shape : tuple of int
        Of the transform that counts pairs: open axes are padded with zeros.
    places : ndarray of int, shape (displacement,)
        Where they lie in the flat transform, sorted by the shell of their length.
    pairs : ndarray, shape (displacement,)
        Pairs of points that are so far apart.
    starts : ndarray of int, shape (shell,)
        First of each shell; shells are as wide as the largest step, empty ones are left out.
    count : ndarray, shape (shell,)
        Displacements in each.
    radius : ndarray, shape (shell,)
        Their mean length.
    along : dict
        Axis -> numbers of the displacements along it, by their length.
    """

    shape: tuple[int, ...]
    places: NDArray[np.int64]
    pairs: Array
    starts: NDArray[np.int64]
    count: Array
    radius: Array
    along: dict[str, NDArray[np.int64]]


@lru_cache(maxsize=8)
def displacements(grid: Grid) -> Displacements:
    """Describe the displacements on a uniform grid; each is there in both directions."""
    shape, lags, pairs = [], [], []
    for line in grid.lines:
        furthest = line.size // 2
        size = line.size
        if not line.periodic:
            size = scipy.fft.next_fast_len(size + furthest, real=True)
        lag = np.arange(size)
        lag = np.minimum(lag, size - lag)
        lags.append(np.where(lag <= furthest, lag * line.step, np.inf))
        pairs.append(np.full(size, line.size) if line.periodic else line.size - lag)
        shape.append(size)
    length = np.sqrt(np.add.reduce([d**2 for d in np.meshgrid(*lags, indexing="ij")])).ravel()
    number = np.multiply.reduce(np.meshgrid(*pairs, indexing="ij")).ravel()
    limit = 0.5 * min(line.size * line.step for line in grid.lines) * (1 + _TIE)
    places = np.flatnonzero((length > 0) & (length <= limit))
    width = max(line.step for line in grid.lines)
    shell = np.floor(length[places] / width + 0.5 + _TIE).astype(np.int64)
    order = np.argsort(shell, kind="stable")
    places, shell = places[order], shell[order]
    starts = np.flatnonzero(np.diff(shell, prepend=-1))
    count = np.diff(starts, append=places.size).astype(np.float64)
    radius = np.add.reduceat(length[places], starts) / count if places.size else np.empty(0)
    back = np.full(length.size, -1)
    back[places] = np.arange(places.size)
    along = {}
    for axis, line in enumerate(grid.lines):
        steps = np.arange(1, line.size // 2 + 1) * math.prod(shape[axis + 1 :])
        along[line.name] = back[steps][back[steps] >= 0]
    return Displacements(
        tuple(shape), places, number[places].astype(np.float64), starts, count, radius, along
    )


def correlation(frames: Frames) -> Array:
    """Correlation of the field with itself, for each of `displacements`.

    Mean of (u(x) - m)(u(x + d) - m) over the pairs that exist, over the mean square of u - m.

    Parameters
    ----------
    frames : Frames
        Fields of a uniform grid.

    Returns
    -------
    ndarray, shape (frame, channel, displacement)
        NaN where a field is constant.
    """
    table = displacements(frames.grid)
    axes = tuple(range(2, frames.values.ndim))
    if table.shape == frames.grid.shape:  # all axes are periodic: the modes are there
        half = (*table.shape[:-1], table.shape[-1] // 2 + 1)
        power = np.zeros((*frames.lead, math.prod(half)))
        power[..., grids.modes(frames.grid).order] = frames.power * frames.grid.points
        power = power.reshape(*frames.lead, *half)
    else:
        field = frames.centred.reshape(frames.values.shape)
        found = scipy.fft.rfftn(field, s=table.shape, axes=axes)
        power = found.real**2 + found.imag**2
    total = scipy.fft.irfftn(power, s=table.shape, axes=axes).reshape(*frames.lead, -1)
    each = np.take(total, table.places, axis=-1) / table.pairs
    square = np.where(frames.constant, np.nan, frames.squares / frames.grid.points)
    return np.asarray(each / square[..., None])
