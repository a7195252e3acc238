"""How the channels of a frame go together: correlations, their eigenvalues, information."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xphys.features._kernels.frames import NOTHING, Frames, unbiased

__all__ = ["cross_channel", "mutual_information"]

Array = NDArray[Any]
BINS = 16
_SINGULAR = 1e-12


def cross_channel(frames: Frames) -> Array:
    """The 10 features of all channels together, shape (frame, 10)."""
    count, channels = frames.lead
    if channels < 2:
        return np.full((count, 10), np.nan)
    covariance = frames.centred @ np.swapaxes(frames.centred, -1, -2) / (frames.grid.points - 1)
    usable = np.asarray(~(frames.bad | frames.constant).any(-1))
    deviation = np.where(usable[:, None], frames.deviation, 1.0)
    matrix = covariance / (deviation[:, :, None] * deviation[:, None, :])
    diagonal = np.arange(channels)
    matrix[:, diagonal, diagonal] = 1.0
    matrix[~usable] = np.eye(channels)
    np.clip(matrix, -1.0, 1.0, out=matrix)
    values = np.linalg.eigvalsh(matrix)[:, ::-1]
    top = np.full((count, 3), np.nan)
    top[:, : min(3, channels)] = values[:, :3]
    last = np.where(values[:, -1] > _SINGULAR * values[:, 0], values[:, -1], np.nan)
    pairs = matrix[:, *np.triu_indices(channels, 1)]
    columns = [
        *top.T,
        (frames.deviation**2).sum(-1),
        values[:, 0] / last,
        values.sum(-1) ** 2 / (values**2).sum(-1),
        pairs.mean(-1),
        pairs.max(-1),
        pairs.min(-1),
        unbiased(pairs),
    ]
    found = np.stack(columns, axis=-1)
    found[~usable] = np.nan
    found[~frames.bad.any(-1), 3] = columns[3][~frames.bad.any(-1)]
    return found


def mutual_information(frames: Frames) -> Array:
    """Mean and largest mutual information of two channels in nats, shape (frame, 2).

    Counts of all pairs come from one ``bincount`` over pairs of bins.
    """
    count, channels = frames.lead
    if channels < 2:
        return np.full((count, 2), np.nan)
    span = np.where(frames.constant, np.nan, frames.most - frames.least)
    place = np.nan_to_num((frames.flat - frames.least[..., None]) * (BINS / span)[..., None])
    bins = np.minimum(place.astype(np.int32), BINS - 1)
    first, second = np.triu_indices(channels, 1)
    found = np.empty((count, first.size))
    rows = (np.arange(count, dtype=np.int32) * BINS**2)[:, None]
    for pair, (a, b) in enumerate(zip(first, second, strict=True)):
        together = (bins[:, a] * BINS + bins[:, b] + rows).ravel()
        counts = np.bincount(together, minlength=count * BINS**2).reshape(count, BINS, BINS)
        share = counts / frames.grid.points
        apart = share.sum(2, keepdims=True) * share.sum(1, keepdims=True)
        ratio = np.where(share > 0, share / np.where(share > 0, apart, 1.0), 1.0)
        found[:, pair] = (share * np.log(ratio)).sum((1, 2))
    usable = np.asarray(~(frames.bad | frames.constant).any(-1))
    return np.where(usable[:, None], np.stack([found.mean(-1), found.max(-1)], -1), np.nan)


def correlation(a: Array, b: Array) -> Array:
    """Pearson's correlation along the last axis; NaN where one of the two does not vary."""
    x, y = a - a.mean(-1, keepdims=True), b - b.mean(-1, keepdims=True)
    squares = (x * x).sum(-1), (y * y).sum(-1)
    limits = [NOTHING**2 * (v * v).sum(-1) for v in (a, b)]
    usable = (squares[0] > limits[0]) & (squares[1] > limits[1])
    together = (x * y).sum(-1) / np.sqrt(np.where(usable, squares[0] * squares[1], 1.0))
    return np.where(usable, np.clip(together, -1.0, 1.0), np.nan)
