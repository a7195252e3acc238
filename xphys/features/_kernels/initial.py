"""The first state of a trajectory: clusters, slope of its spectrum, information, symmetry."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xphys.features._kernels import grid as grids
from xphys.features._kernels.frames import Frames, entropy, histogram
from xphys.features._kernels.masks import component_sizes, each, standing_out
from xphys.features._kernels.spectral import FLOOR

__all__ = ["initial"]

Array = NDArray[Any]
COUNT = 14
BINS, WINDOW, STRIDE = 32, 8, 4
_EQUAL = 1e-9


def initial(frames: Frames) -> Array:
    """The 14 features, shape (frame, channel, 14)."""
    found = np.full((*frames.lead, COUNT), np.nan)
    mask = standing_out(frames)
    counts = histogram(frames.flat, BINS, frames.least, frames.most)
    found[..., 7] = entropy(counts) / np.log(BINS)
    found[..., 11] = mask.reshape(frames.flat.shape).mean(-1)
    if frames.grid.uniform:
        found[..., 4:7] = _spectrum(frames)
    for at in each(frames):
        field = frames.values[at]
        if frames.constant[at] or frames.bad[at]:
            continue
        sizes = component_sizes(mask[at], frames.grid)
        found[at][0] = np.log1p(sizes.size)
        found[at][1] = sizes.max() / sizes.sum() if sizes.size else np.nan
        found[at][2] = _moran(frames.centred[at].reshape(field.shape), frames)
        found[at][8] = _patchy(field) / float(frames.deviation[at]) ** 4
        found[at][9] = _phrases(frames.flat[at] > frames.median[at][1])
        found[at][10] = _neighbours(frames, at)
        found[at][13] = _symmetry(field)
    found[frames.constant] = np.nan
    for at in each(frames):
        found[at][3] = _off_centre(np.abs(frames.values[at]))
    found[..., 12] = _outward(frames)
    return found


def _spectrum(frames: Frames) -> Array:
    table = grids.modes(frames.grid)
    power = frames.power
    weighted = power * table.weight
    total = weighted.sum(-1)
    place = np.argmax(power >= power.max(-1, keepdims=True) * (1 - _EQUAL), axis=-1)
    strong = power > FLOOR * (total / table.count)[..., None]
    weight = table.weight * strong
    x, y = np.log(table.radius), np.log(np.where(strong, power, 1.0))
    count = weight.sum(-1, keepdims=True)
    x = x - (weight * x).sum(-1, keepdims=True) / count
    y = y - (weight * y).sum(-1, keepdims=True) / count
    slope = (weight * x * y).sum(-1) / (weight * x * x).sum(-1)
    return np.stack([table.radius[place], weighted @ table.radius / total, -slope], axis=-1)


def _moran(field: Array, frames: Frames) -> float:
    together, pairs = 0.0, 0
    for axis, line in enumerate(frames.grid.lines):
        after = np.roll(field, -1, axis) * field
        if not line.periodic:
            after = np.delete(after, -1, axis)
        together, pairs = together + float(after.sum()), pairs + after.size
    return together / pairs / float((field**2).mean())


def _off_centre(amount: Array) -> float:
    total = float(amount.sum())
    if not total > 0:
        return np.nan
    places = []
    for axis, size in enumerate(amount.shape):
        other = tuple(a for a in range(amount.ndim) if a != axis)
        line = amount.sum(other)
        places.append(float(line @ (np.arange(size) + 0.5)) / size / total - 0.5)
    return 2 * float(np.linalg.norm(places)) / math.sqrt(amount.ndim)


def _patchy(field: Array) -> float:
    if min(field.shape) < WINDOW + STRIDE:
        return np.nan
    windows = np.lib.stride_tricks.sliding_window_view(field, (WINDOW,) * field.ndim)
    windows = windows[(slice(None, None, STRIDE),) * field.ndim]
    axes = tuple(range(field.ndim, 2 * field.ndim))
    return float(windows.var(axes, ddof=1).var(ddof=1))


def _phrases(signs: NDArray[np.bool_]) -> float:
    seen: set[bytes] = set()
    phrase, count = b"", 0
    text = signs.astype(np.uint8).tobytes()
    for at in range(len(text)):
        phrase += text[at : at + 1]
        if phrase not in seen:
            seen.add(phrase)
            phrase, count = b"", count + 1
    count += bool(phrase)
    return float(count * np.log2(len(text)) / len(text))


def _neighbours(frames: Frames, at: tuple[int, int]) -> float:
    if "x" not in frames.grid.names:
        return np.nan
    field = frames.values[at]
    after = np.roll(field, -1, -1)
    if not frames.grid.lines[-1].periodic:
        field, after = field[..., :-1], after[..., :-1]
    return abs(_correlation(field, after))


def _correlation(a: Array, b: Array) -> float:
    x, y = a - a.mean(), b - b.mean()
    size = np.sqrt((x * x).sum() * (y * y).sum())
    return float((x * y).sum() / size) if size > 0 else np.nan


def _symmetry(field: Array) -> float:
    if field.ndim != 2:
        return np.nan
    turns = (1, 2, 3) if field.shape[0] == field.shape[1] else (2,)
    return float(np.mean([abs(_correlation(field, np.rot90(field, k))) for k in turns]))


def _outward(frames: Frames) -> Array:
    places = []
    for line in frames.grid.lines:
        x = np.array(line.positions) if line.positions else np.arange(line.size) * line.step
        places.append(x - 0.5 * (x[0] + x[-1]))
    mesh = np.meshgrid(*places, indexing="ij")
    radius = np.sqrt(sum(x**2 for x in mesh))
    unit = [x / np.where(radius > 0, radius, 1.0) for x in mesh]
    total = sum(g * u for g, u in zip(frames.gradient, unit, strict=True))
    return np.asarray(np.asarray(total).reshape(frames.flat.shape).mean(-1))
