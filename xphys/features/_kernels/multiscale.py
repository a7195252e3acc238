"""Haar wavelets and Laplacian pyramid of plane fields."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from xphys.features._kernels.frames import Frames

__all__ = ["multiscale"]

Array = NDArray[Any]
LEVELS = 4


def multiscale(frames: Frames) -> Array:
    """The 20 features, shape (frame, channel, 20); NaN unless there are two axes."""
    wavelet = np.full((*frames.lead, 3, LEVELS), np.nan)
    pyramid = np.full((*frames.lead, 2, LEVELS), np.nan)
    if len(frames.grid.lines) == 2:
        smooth = frames.values
        for level in range(LEVELS):
            if min(smooth.shape[-2:]) < 2:
                break
            a, b, c, d = _quarters(smooth)
            details = np.stack([a + b - c - d, a - b + c - d, a - b - c + d]) / 2
            flat = np.moveaxis(details, 0, -1).reshape(*frames.lead, -1)
            wavelet[..., 0, level] = (flat**2).mean(-1)
            wavelet[..., 1, level] = np.abs(flat).mean(-1)
            wavelet[..., 2, level] = flat.std(-1)
            smooth = (a + b + c + d) / 2
        _pyramid(frames, pyramid)
    return np.concatenate([part.reshape(*frames.lead, -1) for part in (wavelet, pyramid)], -1)


def _quarters(field: Array) -> tuple[Array, Array, Array, Array]:
    even = field[..., : field.shape[-2] // 2 * 2, : field.shape[-1] // 2 * 2]
    return even[..., ::2, ::2], even[..., ::2, 1::2], even[..., 1::2, ::2], even[..., 1::2, 1::2]


def _pyramid(frames: Frames, out: Array) -> None:
    kernel = np.exp(-0.5 * np.arange(-2, 3) ** 2)
    kernel /= kernel.sum()
    modes = ["wrap" if line.periodic else "reflect" for line in frames.grid.lines]
    field = frames.values
    for level in range(LEVELS):
        if min(field.shape[-2:]) < 2:
            break
        blurred = field
        for axis, mode in enumerate(modes):
            blurred = scipy.ndimage.correlate1d(blurred, kernel, axis=2 + axis, mode=mode)
        a, b, c, d = _quarters(blurred)
        below = (a + b + c + d) / 4
        raised = below
        for axis, mode in enumerate(modes):
            raised = _doubled(raised, 2 + axis, mode == "wrap")
        even = field[..., : raised.shape[-2], : raised.shape[-1]]
        flat = (even - raised).reshape(*frames.lead, -1)
        out[..., 0, level] = (flat**2).mean(-1)
        deviation = np.where(frames.constant, np.nan, frames.deviation)
        out[..., 1, level] = flat.std(-1) / deviation
        field = below


def _doubled(values: Array, axis: int, periodic: bool) -> Array:
    """Linear interpolation to cells of half the size."""
    last = np.moveaxis(values, axis, -1)
    width = [(0, 0)] * (last.ndim - 1) + [(1, 1)]
    padded = np.pad(last, width, mode="wrap" if periodic else "edge")
    pairs = (0.75 * last + 0.25 * padded[..., :-2], 0.75 * last + 0.25 * padded[..., 2:])
    found = np.stack(pairs, axis=-1).reshape(*last.shape[:-1], -1)
    return np.moveaxis(found, -1, axis)
