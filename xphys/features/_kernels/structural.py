"""Components, edges and pairs of grey levels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xphys.features._kernels.frames import Frames, unbiased
from xphys.features._kernels.masks import component_sizes, each, sobel, standing_out

__all__ = ["structural"]

Array = NDArray[Any]
LEVELS = 8


def structural(frames: Frames) -> Array:
    """The 11 features, shape (frame, channel, 11)."""
    found = np.full((*frames.lead, 11), np.nan)
    mask = standing_out(frames)
    edges = sobel(frames.values, frames.grid).reshape(frames.flat.shape)
    found[..., 5], found[..., 6] = edges.mean(-1), unbiased(edges)
    limit = (found[..., 5] + found[..., 6])[..., None]
    found[..., 4] = np.where(frames.constant, np.nan, (edges > limit).mean(-1))
    for at in each(frames):
        if frames.constant[at] or frames.bad[at]:
            continue
        sizes = component_sizes(mask[at], frames.grid) / frames.grid.points
        found[at][:2] = sizes.size, sizes.max(initial=0.0)
        if sizes.size:
            found[at][2:4] = sizes.mean(), sizes.std()
        if "x" in frames.grid.names:
            found[at][7:] = _levels(frames, at)
    return found


def _levels(frames: Frames, at: tuple[int, int]) -> list[float]:
    field, least = frames.values[at], frames.least[at]
    scaled = (field - least) * (LEVELS / (frames.most[at] - least))
    level = np.minimum(scaled.astype(int), LEVELS - 1)
    after = np.roll(level, -1, axis=-1)
    if not frames.grid.lines[-1].periodic:
        level, after = level[..., :-1], after[..., :-1]
    share = np.bincount((level * LEVELS + after).ravel(), minlength=LEVELS**2) / level.size
    i, j = np.divmod(np.arange(LEVELS**2), LEVELS)
    apart = (i - j) ** 2
    x, y = i - share @ i, j - share @ j
    spread = np.sqrt((share @ x**2) * (share @ y**2))
    return [
        share @ apart,
        share @ (1 / (1 + apart)),
        np.sqrt(share @ share),
        share @ (x * y) / spread if spread > 0 else np.nan,
    ]
