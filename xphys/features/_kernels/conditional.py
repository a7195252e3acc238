"""What two channels tell of each other beyond what a third one tells of both."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xphys.features._kernels.frames import Frames

__all__ = ["conditional_information"]

Array = NDArray[Any]
BINS = 8


def conditional_information(frames: Frames) -> Array:
    """Mean and largest conditional mutual information in nats, shape (frame, 2).

    Over all pairs of channels and each third one; one histogram serves three of them.
    """
    count, channels = frames.lead
    if channels < 3:
        return np.full((count, 2), np.nan)
    span = np.where(frames.constant, np.nan, frames.most - frames.least)
    place = np.nan_to_num((frames.flat - frames.least[..., None]) * (BINS / span)[..., None])
    bins = np.minimum(place.astype(np.int32), BINS - 1)
    rows = (np.arange(count, dtype=np.int32) * BINS**3)[:, None]
    found = []
    for a, b, c in itertools.combinations(range(channels), 3):
        together = ((bins[:, a] * BINS + bins[:, b]) * BINS + bins[:, c] + rows).ravel()
        counts = np.bincount(together, minlength=count * BINS**3)
        share = counts.reshape(count, BINS, BINS, BINS) / frames.grid.points
        found += [_given(share, axes) for axes in ((1, 2), (1, 3), (2, 3))]
    each = np.maximum(np.stack(found, axis=-1), 0.0)
    usable = np.asarray(~(frames.bad | frames.constant).any(-1))
    return np.where(usable[:, None], np.stack([each.mean(-1), each.max(-1)], -1), np.nan)


def _given(share: Array, axes: tuple[int, int]) -> Array:
    """Information of two axes of shares about each other, the third one given."""
    given = share.sum(axes, keepdims=True)
    first, second = (share.sum(axis, keepdims=True) for axis in axes)
    ratio = np.where(share > 0, share * given / np.where(share > 0, first * second, 1.0), 1.0)
    return np.asarray((share * np.log(ratio)).sum((1, 2, 3)))
