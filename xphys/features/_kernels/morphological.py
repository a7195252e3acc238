"""Shape of what stands out of a plane field, and sizes of its grains."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

from xphys.features._kernels.frames import Frames
from xphys.features._kernels.grid import Grid
from xphys.features._kernels.masks import each, standing_out

__all__ = ["morphological"]

Array = NDArray[Any]
SIZES = (3, 5, 7, 9)
COUNT = 12


def morphological(frames: Frames) -> Array:
    """The 12 features, shape (frame, channel, 12); NaN unless there are two axes."""
    found = np.full((*frames.lead, COUNT), np.nan)
    if len(frames.grid.lines) != 2:
        return found
    mask = standing_out(frames)
    for at in each(frames):
        if frames.constant[at] or frames.bad[at]:
            continue
        found[at][0] = mask[at].mean()
        if mask[at].any():
            found[at][1:10] = _shape(mask[at], frames.grid)
        found[at][10:] = _grains(frames.values[at], frames.grid)
    return found


def _perimeter(mask: NDArray[np.bool_], grid: Grid) -> int:
    sides = 0
    for axis, line in enumerate(grid.lines):
        if line.periodic:
            sides += int((mask != np.roll(mask, 1, axis)).sum())
        else:
            width = [(0, 0), (0, 0)]
            width[axis] = (1, 1)
            sides += int(np.diff(np.pad(mask, width).astype(np.int8), axis=axis).astype(bool).sum())
    return sides


def _shape(mask: NDArray[np.bool_], grid: Grid) -> list[float]:
    height, width = mask.shape
    y, x = np.nonzero(mask)
    area, sides = y.size, _perimeter(mask, grid)
    apart = np.stack([y - y.mean(), x - x.mean()])
    low, high = np.linalg.eigvalsh(apart @ apart.T / area)
    corners = np.concatenate([[(a + i, b + j) for i in (0, 1) for j in (0, 1)]
                              for a, b in _ends(y, x)])  # fmt: skip
    hull = float(ConvexHull(corners).volume)
    box = (np.ptp(y) + 1) * (np.ptp(x) + 1)
    moments = {(p, q): (apart[1] ** p * apart[0] ** q).sum() / area**2
               for p, q in ((2, 0), (0, 2), (1, 1))}  # fmt: skip
    return [
        sides / (height + width),
        4 * np.pi * area / sides**2 if sides else np.nan,
        np.sqrt(1 - max(low, 0.0) / high) if high > 0 else np.nan,
        area / hull,
        area / box,
        (x.mean() + 0.5) / width,
        (y.mean() + 0.5) / height,
        moments[2, 0] + moments[0, 2],
        (moments[2, 0] - moments[0, 2]) ** 2 + 4 * moments[1, 1] ** 2,
    ]


def _ends(y: NDArray[np.int64], x: NDArray[np.int64]) -> list[tuple[int, int]]:
    """First and last cell of each row: the others are no corners of a hull."""
    found = []
    for row in np.unique(y):
        own = x[y == row]
        found += [(int(row), int(own.min())), (int(row), int(own.max()))]
    return found


def _grains(field: Array, grid: Grid) -> list[float]:
    pads = [["edge", "wrap"][line.periodic] for line in grid.lines]
    left = [float((field - field.min()).sum())]
    for size in SIZES:
        half = size // 2
        padded = field
        for axis, mode in enumerate(pads):
            width = [(0, 0), (0, 0)]
            width[axis] = (2 * half, 2 * half)
            padded = np.pad(padded, width, mode=mode)  # type: ignore[call-overload]
        opened = scipy.ndimage.grey_opening(padded, size=(size, size))
        inner = opened[2 * half : -2 * half, 2 * half : -2 * half]
        left.append(float((inner - field.min()).sum()))
    taken = np.maximum(-np.diff(left), 0.0)
    if not taken.sum() > 0:
        return [np.nan, np.nan]
    mean = taken @ np.array(SIZES) / taken.sum()
    return [mean, float(np.sqrt(taken @ (np.array(SIZES) - mean) ** 2 / taken.sum()))]
