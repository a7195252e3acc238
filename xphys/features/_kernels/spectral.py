"""Power over bands of frequency, dominant frequency, centroid, shares, flatness."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xphys.features._kernels import grid as grids
from xphys.features._kernels.frames import Frames
from xphys.features._kernels.spatial import anisotropy

__all__ = ["sparsity", "spectral"]

Array = NDArray[Any]
FLOOR = 1e-10  # share of the mean power that the logarithm does not fall below
ROLLOFF = 0.85
_EQUAL = 1e-9  # modes whose power differs by less are equally strong


def spectral(frames: Frames) -> Array:
    """The 27 spectral features, shape (frame, channel, 27)."""
    if not frames.grid.uniform:
        return np.full((*frames.lead, 27), np.nan)
    table = grids.modes(frames.grid)
    power = frames.power
    weighted = power * table.weight
    sums = np.cumsum(weighted, axis=-1)
    total = sums[..., -1]
    columns = [
        *_bands(power, weighted, table),
        *_dominant(frames, power, table),
        *_centroid(frames, weighted, total, table),
    ]
    low, middle = (_upto(sums, n) for n in (table.low, table.middle))
    columns += [low / total, (middle - low) / total, (total - middle) / total]
    mean = total / table.count
    logs = np.log(power / mean[..., None] + FLOOR)
    columns += [
        np.exp(logs @ table.weight / table.count),
        table.radius[np.argmax(sums >= (ROLLOFF - _EQUAL) * total[..., None], axis=-1)],
        _direction(weighted, table),
    ]
    found = np.stack(columns, axis=-1)
    found[frames.constant, 15:] = np.nan  # no mode is stronger than another
    return found


def _upto(sums: Array, count: int) -> Array:
    return sums[..., count - 1] if count else np.zeros(sums.shape[:-1])


def _bands(power: Array, weighted: Array, table: grids.Modes) -> list[Array]:
    """Mean, largest and deviation of the power in each band."""
    filled = [number for number, band in enumerate(table.bands) if band.stop > band.start]
    starts = [table.bands[number].start for number in filled]
    sizes = [table.bands[number].stop - table.bands[number].start for number in filled]
    count = np.add.reduceat(table.weight, starts)
    mean = np.add.reduceat(weighted, starts, axis=-1) / count
    apart = power - np.repeat(mean, sizes, axis=-1)
    apart *= apart
    apart *= table.weight
    spread = np.sqrt(np.add.reduceat(apart, starts, axis=-1) / np.maximum(count - 1, 1))
    found = np.full((*power.shape[:-1], len(table.bands), 3), np.nan)
    found[..., filled, 0] = mean
    found[..., filled, 1] = np.maximum.reduceat(power, starts, axis=-1)
    # a mode and its conjugate are equal: two modes of the full plane have no deviation
    found[..., filled, 2] = np.where(count > 2, spread, np.nan)
    return list(np.moveaxis(found.reshape(*power.shape[:-1], -1), -1, 0))


def _dominant(frames: Frames, power: Array, table: grids.Modes) -> list[Array]:
    """Frequency of the strongest mode along x and y; of equal ones the lowest."""
    peak = power.max(-1)
    place = np.argmax(power >= peak[..., None] * (1 - _EQUAL), axis=-1)
    named = dict(zip(frames.grid.names, table.frequency, strict=True))
    nothing = np.full(frames.lead, np.nan)
    return [*(named[n][place] if n in named else nothing for n in ("x", "y")), peak]


def _centroid(frames: Frames, weighted: Array, total: Array, table: grids.Modes) -> list[Array]:
    named: dict[str, Array] = {}
    spread = np.zeros_like(weighted)
    for name, frequency in zip(frames.grid.names, table.frequency, strict=True):
        named[name] = weighted @ frequency / total
        spread += (frequency - named[name][..., None]) ** 2
    nothing = np.full(frames.lead, np.nan)
    width = np.sqrt((weighted * spread).sum(-1) / total)
    return [named.get("x", nothing), named.get("y", nothing), width]


def _direction(weighted: Array, table: grids.Modes) -> Array:
    axes = table.directions.shape[0]
    tensor = np.empty((*weighted.shape[:-1], axes, axes))
    for i in range(axes):
        for j in range(axes):
            tensor[..., i, j] = weighted @ table.directions[i, j]
    return anisotropy(tensor)


def sparsity(frames: Frames) -> Array:
    """Share of the modes that hold 85 % of the power, strongest first, shape (frame, channel)."""
    if not frames.grid.uniform:
        return np.full(frames.lead, np.nan)
    table = grids.modes(frames.grid)
    order = np.argsort(-frames.power, axis=-1, kind="stable")
    power = np.take_along_axis(frames.power, order, -1)
    weight = table.weight[order]
    sums = np.cumsum(power * weight, axis=-1)
    wanted = (ROLLOFF - _EQUAL) * sums[..., -1:]
    last = np.argmax(sums >= wanted, axis=-1)[..., None]
    own, twice, upto, counted = (
        np.take_along_axis(values, last, -1)
        for values in (power, weight, sums, np.cumsum(weight, axis=-1))
    )
    spare = np.floor((upto - wanted) / own)  # of two conjugate modes one may be enough
    count = counted - np.clip(spare, 0, twice - 1)
    return np.where(frames.constant, np.nan, count[..., 0] / table.count)
