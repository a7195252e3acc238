"""Entropies of lines and singular values of a field."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xphys.features._kernels.frames import Frames, entropy
from xphys.features._kernels.masks import each

__all__ = ["distributional"]

Array = NDArray[Any]
LINES, LONGEST, SCALES = 8, 512, (2, 4, 8)
_REACH = 0.2
_SHARE = 0.9


def distributional(frames: Frames) -> Array:
    """The 8 features, shape (frame, channel, 8)."""
    found = np.full((*frames.lead, 8), np.nan)
    along_x = "x" in frames.grid.names
    for at in each(frames):
        if frames.constant[at] or frames.bad[at]:
            continue
        if along_x:
            lines = _lines(frames.values[at])
            reach = _REACH * float(frames.deviation[at])
            found[at][0] = _sample_entropy(lines, reach)
            found[at][1] = np.mean([_approximate_entropy(line, reach) for line in lines])
            for number, scale in enumerate(SCALES):
                count = lines.shape[1] // scale
                coarse = lines[:, : count * scale].reshape(-1, count, scale).mean(-1)
                found[at][5 + number] = _sample_entropy(coarse, reach)
        if len(frames.grid.lines) == 2:
            found[at][2:5] = _singular(frames.centred[at].reshape(frames.grid.shape))
    return found


def _lines(field: Array) -> Array:
    rows = field.reshape(-1, field.shape[-1])
    chosen = np.unique(np.linspace(0, rows.shape[0], LINES, endpoint=False).astype(int))
    return rows[chosen, :LONGEST]


def _near(line: Array, reach: float) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = np.abs(line[:, None] - line[None, :]) <= reach
    return found


def _sample_entropy(lines: Array, reach: float) -> float:
    twos = threes = 0
    count = lines.shape[1] - 2
    if count < 2:
        return np.nan
    for line in lines:
        near = _near(line, reach)
        pairs = near[:count, :count] & near[1 : count + 1, 1 : count + 1]
        longer = pairs & near[2:, 2:]
        twos += int(pairs.sum()) - count
        threes += int(longer.sum()) - count
    return float(-np.log(threes / twos)) if threes else np.nan


def _approximate_entropy(line: Array, reach: float) -> float:
    near = _near(line, reach)
    if line.size < 4:
        return np.nan
    pairs = near[:-1, :-1] & near[1:, 1:]
    longer = pairs[:-1, :-1] & near[2:, 2:]
    phi = [float(np.log(found.mean(1)).mean()) for found in (pairs, longer)]
    return phi[0] - phi[1]


def _singular(field: Array) -> list[float]:
    squares = np.linalg.svd(field, compute_uv=False) ** 2
    total, count = squares.sum(), squares.size
    needed = int(np.argmax(np.cumsum(squares) >= _SHARE * total * (1 - 1e-12))) + 1
    spread = float(entropy(squares)) / np.log(count) if count > 1 else np.nan
    return [spread, float(total**2 / (squares**2).sum() / count), needed / count]
