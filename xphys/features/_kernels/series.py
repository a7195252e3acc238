"""Numbers of each frame from which trajectories are described: series, norms, pairs of steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from xphys.features._kernels import grid as grids
from xphys.features._kernels.frames import NOTHING, Frames, entropy, length
from xphys.features._kernels.loops import sums_and_counts

__all__ = ["FLOW", "NORMS", "SCALES", "SERIES", "flow", "norms", "series"]

Array = NDArray[Any]
SERIES = ("mean", "energy", "variance", "rms")
NORMS = ("L1", "L2", "Linf", "entropy", "tv")
SCALES = ("raw", "lowpass", "highpass")
FLOW = ("x", "y", "z", "step")
BINS = 32
_REACH = 4  # cells, two standard deviations
_SIGMA = 2.0


def series(frames: Frames) -> Array:
    """Mean, integral of the square, variance and rms, shape (frame, channel, 4)."""
    square = frames.flat**2
    volume = grids.volumes(frames.grid)
    cells = np.broadcast_to(volume, frames.grid.shape).ravel()
    return np.stack(
        [frames.mean, square @ cells, frames.deviation**2, np.sqrt(square.mean(-1))], axis=-1
    )


def norms(frames: Frames) -> Array:
    """Five norms of the field, its smooth part and the rest, shape (frame, channel, 15)."""
    values, grid = frames.values, frames.grid
    kernel = np.exp(-0.5 * (np.arange(-_REACH, _REACH + 1) / _SIGMA) ** 2)
    kernel /= kernel.sum()
    low = values
    for number, line in enumerate(grid.lines):
        mode = "wrap" if line.periodic else "reflect"
        low = scipy.ndimage.correlate1d(low, kernel, axis=2 + number, mode=mode)
    smooth = tuple(grids.derivative(low, 2 + i, line) for i, line in enumerate(grid.lines))
    rest = tuple(a - b for a, b in zip(frames.gradient, smooth, strict=True))
    whole = _five(frames, frames.flat, frames.slope)
    parts = [_five(frames, low, length(smooth)), _five(frames, values - low, length(rest))]
    found = np.stack([whole, *parts], axis=-1)  # norm, then scale
    rounding = NOTHING * np.stack(
        [whole[..., 0], whole[..., 1], whole[..., 2], whole[..., 0] * 0, whole[..., 0]], axis=-1
    )
    rounding[..., 4] /= grid.finest
    found[found <= rounding[..., None]] = 0.0
    return found.reshape(*frames.lead, -1)


def _five(frames: Frames, values: Array, slope: Array) -> Array:
    """L1, L2, Linf, entropy and total variation."""
    rows, slopes = (a.reshape(-1, frames.grid.points) for a in (values, slope))
    sums, counts = np.empty((rows.shape[0], 4)), np.zeros((rows.shape[0], BINS))
    sums_and_counts(rows, slopes, NOTHING * frames.scale.ravel(), sums, counts)
    volume = grids.volumes(frames.grid)
    if isinstance(volume, float):
        sums[:, [0, 1, 3]] *= volume
    else:
        cells = volume.ravel()
        sums[:, 0], sums[:, 1] = np.abs(rows) @ cells, rows**2 @ cells
        sums[:, 3] = slopes @ cells
    columns = [sums[:, 0], np.sqrt(sums[:, 1]), sums[:, 2], entropy(counts), sums[:, 3]]
    return np.stack(columns, axis=-1).reshape(*frames.lead, -1)


def flow(frames: Frames) -> Array:
    """Correlation of the gradient with the next step, and the size of the step.

    Returns
    -------
    ndarray, shape (frame, channel, 4)
        Correlation along x, y and z, and the rms of the difference; NaN where there is no
        next step.
    """
    found = np.full((*frames.lead, 4), np.nan)
    if frames.following is None or frames.has_following is None or not frames.has_following.any():
        return found
    following = frames.following.reshape(frames.flat.shape)
    usable = np.isfinite(following).all(-1) & frames.has_following[:, None]
    if not usable.all():
        following = np.where(usable[..., None], following, 0.0)
    later = following - following.mean(-1, keepdims=True)
    squares = np.einsum("fcn,fcn->fc", later, later)
    varies = squares > NOTHING**2 * np.einsum("fcn,fcn->fc", following, following)
    for name, line, part in zip(frames.grid.names, frames.grid.lines, frames.gradient, strict=True):
        slope = part.reshape(frames.flat.shape)
        slope = slope - slope.mean(-1, keepdims=True)
        own = np.einsum("fcn,fcn->fc", slope, slope)
        enough = own > (NOTHING * frames.scale / line.step) ** 2 * frames.grid.points
        together = np.einsum("fcn,fcn->fc", slope, later) / np.sqrt(own * squares)
        found[..., FLOW.index(name)] = np.where(varies & enough, together, np.nan)
    step = following - frames.flat
    found[..., 3] = np.sqrt(np.einsum("fcn,fcn->fc", step, step) / frames.grid.points)
    found[~usable] = np.nan
    return found
