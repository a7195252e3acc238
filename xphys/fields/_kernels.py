"""Derivatives on plain arrays, the axis of differentiation last."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

__all__ = ["derivative", "result_dtype"]


def result_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Floating type of a derivative: float32 for floats of up to 4 bytes, else float64."""
    single = dtype.kind == "f" and dtype.itemsize <= 4
    return np.dtype(np.float32 if single else np.float64)


def derivative(
    field: NDArray[Any], *, positions: NDArray[np.float64], period: float | None
) -> NDArray[Any]:
    """Differentiate along the last axis.

    Parameters
    ----------
    field : ndarray, shape (..., n)
        Real values.
    positions : ndarray, shape (n,)
        Strictly monotonic, rising or falling.
    period : float or None
        Length of the period, then spectral (exact for every mode below Nyquist; the Nyquist
        mode of an even n has no derivative on the grid and is zeroed). None: finite differences
        of second order, central inside and one-sided at the ends, any spacing, n >= 3.

    Returns
    -------
    ndarray, shape (..., n)
        In `result_dtype`. A value that is not finite spreads over its whole line (spectral) or
        to its neighbours (finite differences).
    """
    # One memory order, because sums along an axis depend on it to the last bit.
    work = np.array(field, dtype=result_dtype(field.dtype), order="C")
    with np.errstate(invalid="ignore", over="ignore"):
        if period is None:
            gradient: NDArray[Any] = np.gradient(work, positions, axis=-1, edge_order=2)
            return gradient
        direction = -1.0 if positions[-1] < positions[0] else 1.0
        return _spectral(work, direction * period)


def _spectral(field: NDArray[Any], period: float) -> NDArray[Any]:
    n = field.shape[-1]
    # The mean has no derivative, but a large one would cost the other modes their digits.
    mean = field.mean(axis=-1, keepdims=True, dtype=np.float64)
    field -= mean.astype(field.dtype)
    modes = scipy.fft.rfft(field, axis=-1, overwrite_x=True)
    factor = 2j * np.pi / period * np.arange(n // 2 + 1)
    if n % 2 == 0:
        factor[-1] = 0.0
    modes *= factor.astype(modes.dtype)
    result: NDArray[Any] = scipy.fft.irfft(modes, n=n, axis=-1, overwrite_x=True)
    return result
