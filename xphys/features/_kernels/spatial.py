"""Moments, quantiles, gradient and Laplacian of a field."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xphys.features._kernels import grid as grids
from xphys.features._kernels.frames import Frames, quantiles, unbiased

__all__ = ["anisotropy", "spatial"]

Array = NDArray[Any]


def spatial(frames: Frames) -> Array:
    """The 19 spatial features, shape (frame, channel, 19)."""
    quartiles = frames.median
    apart = np.abs(frames.flat - quartiles[..., 1:2])
    # powers of values over their deviation: those of the values themselves may underflow
    standard = frames.centred / np.where(frames.constant, np.nan, frames.deviation)[..., None]
    squares = standard**2
    third = np.einsum("fcn,fcn->fc", squares, standard) / frames.grid.points
    fourth = np.einsum("fcn,fcn->fc", squares, squares) / frames.grid.points
    columns = [
        frames.mean,
        frames.deviation**2,
        frames.deviation,
        third,
        fourth - 3,
        frames.least,
        frames.most,
        frames.most - frames.least,
        quartiles[..., 2] - quartiles[..., 0],
        quantiles(apart, (0.5,))[..., 0],
        *_gradient(frames),
        *_laplacian(frames),
    ]
    return np.stack(columns, axis=-1)


def _gradient(frames: Frames) -> list[Array]:
    parts = dict(zip(frames.grid.names, frames.gradient, strict=True))
    nothing = np.full(frames.lead, np.nan)
    amounts = {
        name: np.abs(part.reshape(frames.flat.shape)).mean(-1) for name, part in parts.items()
    }
    tensor = np.empty((*frames.lead, len(parts), len(parts)))
    flat = [part.reshape(frames.flat.shape) for part in frames.gradient]
    for i, a in enumerate(flat):
        for j, b in enumerate(flat[: i + 1]):
            tensor[..., i, j] = tensor[..., j, i] = np.einsum("fcn,fcn->fc", a, b)
    return [
        frames.slope.mean(-1),
        unbiased(frames.slope),
        frames.slope.max(-1),
        amounts.get("x", nothing),
        amounts.get("y", nothing),
        np.where(frames.constant, np.nan, anisotropy(tensor)),
    ]


def _laplacian(frames: Frames) -> list[Array]:
    total = np.zeros_like(frames.values)
    for number, line in enumerate(frames.grid.lines):
        total += grids.second_derivative(frames.values, 2 + number, line)
    flat = total.reshape(frames.flat.shape)
    square = np.einsum("fcn,fcn->fc", flat, flat) / frames.grid.points
    return [np.abs(flat).mean(-1), unbiased(flat), square]


def anisotropy(tensor: Array) -> Array:
    """Difference over sum of the largest and smallest eigenvalue; NaN for one axis.

    Parameters
    ----------
    tensor : ndarray, shape (..., axis, axis)
        Symmetric, not negative.

    Returns
    -------
    ndarray, shape (...)
        From 0 to 1.
    """
    if tensor.shape[-1] < 2:
        return np.full(tensor.shape[:-2], np.nan)
    finite = np.asarray(np.isfinite(tensor).all((-2, -1)))
    values = np.linalg.eigvalsh(np.where(finite[..., None, None], tensor, 0.0))
    low, high = np.maximum(values[..., 0], 0.0), values[..., -1]
    return np.where(finite & (high > 0), (high - low) / (high + low), np.nan)
