"""Rank and gradient of a field, and the curves that describe a trajectory step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xphys.features._kernels import grid as grids
from xphys.features._kernels.cross_channel import correlation
from xphys.features._kernels.frames import NOTHING, Frames, unbiased

__all__ = ["sequences", "spatial_extensions"]

Array = NDArray[Any]
_SHARE, _FLAT = 0.9, 0.05


def spatial_extensions(frames: Frames) -> Array:
    """The 4 features, shape (frame, channel, 4)."""
    found = np.full((*frames.lead, 4), np.nan)
    if len(frames.grid.lines) == 2:
        standard = frames.centred / frames.deviation[..., None]
        usable = np.asarray(np.isfinite(standard).all(-1))  # else constant, or it overflows
        field = np.where(usable[..., None], standard, 0.0).reshape(frames.values.shape)
        if frames.grid.shape[0] > frames.grid.shape[-1]:
            field = np.swapaxes(field, -1, -2)
        # of the smaller product: many times faster, and small values do not matter here
        squares = np.linalg.eigvalsh(field @ np.swapaxes(field, -1, -2))[..., ::-1]
        total = np.where(usable, squares.sum(-1), np.nan)
        found[..., 0] = total / squares[..., 0]
        held = np.cumsum(squares, axis=-1) >= _SHARE * (1 - 1e-12) * total[..., None]
        found[..., 1] = np.where(usable, np.argmax(held, axis=-1) + 1, np.nan)
    rounding = NOTHING * frames.scale / frames.grid.finest
    most = frames.slope.max(-1)
    share = (frames.slope < _FLAT * most[..., None]).mean(-1)
    found[..., 2] = np.where(most > rounding, share, np.nan)
    spread = unbiased(frames.slope)
    spread = np.where(spread > rounding, spread, np.nan)
    apart = (frames.slope - frames.slope.mean(-1, keepdims=True)) / spread[..., None]
    found[..., 3] = (apart**4).mean(-1) - 3
    found[frames.constant] = np.nan
    return found


def sequences(frames: Frames) -> Array:
    """The 4 features, shape (frame, channel, 4); the last is the same for each channel."""
    found = np.full((*frames.lead, 4), np.nan)
    cells = np.broadcast_to(grids.volumes(frames.grid), frames.grid.shape).ravel()
    found[..., 0] = np.sqrt(frames.flat**2 @ cells)
    found[..., 1] = frames.deviation**2
    steep = np.sqrt((frames.slope**2).mean(-1))
    rounding = NOTHING * frames.scale / frames.grid.finest
    usable = ~frames.constant & (steep > rounding)
    found[..., 2] = np.where(usable, frames.deviation / np.where(usable, steep, 1.0), np.nan)
    first, second = np.triu_indices(frames.lead[1], 1)
    if first.size:
        pairs = np.stack(
            [np.abs(correlation(frames.flat[:, i], frames.flat[:, j]))
             for i, j in zip(first, second, strict=True)], axis=-1,
        )  # fmt: skip
        whole = ~(frames.bad | frames.constant).any(-1)
        found[..., 3] = np.where(whole, pairs.mean(-1), np.nan)[:, None]
    return found
