"""Shell sums of Fourier modes on plain arrays, transformed axes last."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

__all__ = ["WINDOWS", "isotropic", "shell_count"]

# A mode on the border of two shells belongs to the upper one, also when the ratio of the
# periods is known only to rounding.
_HALF_UP = 0.5 + 1e-9
# Points transformed at once: enough to hide the cost of a call, little next to a chunk.
_BLOCK = 65536


def _hann(size: int) -> NDArray[np.float64]:
    # Points are cell centres: the window vanishes at the outer cell faces.
    return np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2


WINDOWS = {"hann": _hann}


def _stretch(lengths: tuple[float, ...]) -> list[float]:
    return [max(lengths) / length for length in lengths]


def shell_count(sizes: tuple[int, ...], lengths: tuple[float, ...]) -> int:
    """Number of the last shell: that of the corner of the box of wavenumbers."""
    squares = ((n // 2 * s) ** 2 for n, s in zip(sizes, _stretch(lengths), strict=True))
    return math.floor(math.sqrt(sum(squares)) + _HALF_UP)


@lru_cache(maxsize=4)
def shell_index(sizes: tuple[int, ...], lengths: tuple[float, ...]) -> NDArray[np.int64]:
    """Shell of each mode of a real transform (last axis halved), flattened.

    Only the mean mode is in shell 0: dk is the smallest wavenumber of the box, so every other
    mode has ``|k| >= dk``.
    """
    squared = np.zeros(())
    for position, (n, stretch) in enumerate(zip(sizes, _stretch(lengths), strict=True)):
        last = position == len(sizes) - 1
        modes = np.arange(n // 2 + 1) if last else np.minimum(np.arange(n), n - np.arange(n))
        shape = [1] * len(sizes)
        shape[position] = modes.size
        squared = squared + ((modes * stretch) ** 2).reshape(shape)
    index: NDArray[np.int64] = np.floor(np.sqrt(squared) + _HALF_UP).astype(np.int64).ravel()
    index.setflags(write=False)
    return index


def _power(fields: NDArray[Any], window: str | None) -> NDArray[np.float64]:
    """Squared amplitude of each mode of ``fields`` (field, *axes), conjugates counted in."""
    single = fields.dtype.kind == "f" and fields.dtype.itemsize <= 4
    # One memory order, because sums over axes depend on it to the last bit.
    work: NDArray[np.floating[Any]]
    work = fields.astype(np.float32 if single else np.float64, order="C")
    axes = tuple(range(1, work.ndim))
    # The mean goes first: a large offset would cost the small modes their digits.
    work = work - work.mean(axis=axes, keepdims=True, dtype=np.float64).astype(work.dtype)
    weight = 1.0
    if window is not None:
        for axis in axes:
            taper = WINDOWS[window](work.shape[axis])
            weight *= float(np.mean(taper**2))
            work = work * taper.astype(work.dtype).reshape((-1,) + (1,) * (work.ndim - 1 - axis))
    modes = scipy.fft.rfftn(work, axes=axes, norm="forward", overwrite_x=True)
    power: NDArray[np.float64] = modes.real.astype(np.float64) ** 2
    power += modes.imag.astype(np.float64) ** 2
    # Modes strictly between zero and Nyquist on the halved axis also stand for their conjugates.
    power[..., 1 : (work.shape[-1] + 1) // 2] *= 2.0
    if window is not None:
        power /= weight
    return power.reshape(len(fields), -1)


def isotropic(
    field: NDArray[Any], *, lengths: tuple[float, ...], window: str | None = None
) -> NDArray[np.float64]:
    """Density E_n of the variance in shells of width dk, n = 1 ... corner.

    E_n dk = sum of |c_k|^2 over the modes with n = floor(|k|/dk + 1/2), where
    c_k = N^-1 sum_j f_j exp(-i k x_j), so that sum_n E_n dk is the variance of ``field``.

    Parameters
    ----------
    field : ndarray, shape (..., n_1, ..., n_d)
        Real values; float32 is transformed in float32, all sums are float64.
    lengths : tuple of d floats
        Periods of the last d axes; dk = 2 pi / max(lengths).
    window : {"hann"}, optional
        Taper along all d axes, its mean square divided out.

    Returns
    -------
    ndarray, shape (..., shell_count), float64
        NaN for a field that holds a value that is not finite.
    """
    ndim = len(lengths)
    lead, sizes = field.shape[:-ndim], field.shape[-ndim:]
    fields = field.reshape(math.prod(lead), *sizes)
    bins = shell_count(sizes, lengths) + 1
    index = shell_index(sizes, lengths)
    step = max(1, _BLOCK // max(1, math.prod(sizes)))
    energy = np.empty((len(fields), bins))
    with np.errstate(invalid="ignore", over="ignore"):
        for start in range(0, len(fields), step):
            power = _power(fields[start : start + step], window)
            rows = len(power)
            flat = index if rows == 1 else (index + bins * np.arange(rows)[:, None]).ravel()
            sums = np.bincount(flat, weights=power.ravel(), minlength=rows * bins)
            energy[start : start + rows] = sums.reshape(rows, bins)
    density: NDArray[np.float64] = energy[:, 1:] * (max(lengths) / (2 * np.pi))
    return density.reshape(*lead, bins - 1)
