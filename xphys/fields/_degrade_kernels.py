"""Coarser fields from plain arrays: means over groups of cells, truncated Fourier series."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

__all__ = ["block_mean", "truncate_modes"]


def block_mean(
    field: NDArray[Any], weights: NDArray[Any], *, factor: int, along: int
) -> NDArray[np.float64]:
    """Weighted means over groups of neighbouring points along one axis.

    Parameters
    ----------
    field : ndarray
        Real; the size of the axis is a multiple of ``factor``.
    weights : ndarray
        Positive, of a shape that broadcasts against the field, whole along the axis.
    factor : int
        Points of a group.
    along : int
        The axis.

    Returns
    -------
    ndarray of float64
        Sums run in the order of the points, so that any chunking gives the same bits.
    """
    values = np.moveaxis(field, along, -1)
    shares = np.moveaxis(np.asarray(weights, np.float64), along, -1)
    total = np.zeros((*values.shape[:-1], values.shape[-1] // factor))
    norm = np.zeros((*shares.shape[:-1], shares.shape[-1] // factor))
    for first in range(factor):
        share = shares[..., first::factor]
        total += values[..., first::factor].astype(np.float64) * share
        norm += share
    return np.moveaxis(np.asarray(total / norm), -1, along)


def truncate_modes(field: NDArray[Any], *, factor: int) -> NDArray[np.float64]:
    """Fourier series along the last axis, cut off and evaluated on fewer points.

    Parameters
    ----------
    field : ndarray, shape (..., n)
        One period of real values.
    factor : int
        Divides n.

    Returns
    -------
    ndarray of float64, shape (..., n / factor)
        Modes below half the number of points of the result, at the middle of each group of
        ``factor`` points.
    """
    n = field.shape[-1]
    count = n // factor
    modes = scipy.fft.rfft(field.astype(np.float64), axis=-1)[..., : count // 2 + 1]
    number = np.arange(count // 2 + 1)
    # the points of the result lie between those of the field
    modes = modes * np.exp(2j * np.pi * number * ((factor - 1) / 2) / n) / factor
    if count % 2 == 0:
        modes[..., -1] = 0  # the Nyquist mode: half of it is not known
    return np.asarray(scipy.fft.irfft(modes, count, axis=-1))
