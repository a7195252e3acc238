"""Orthonormal transforms along one axis, and the order in which coefficients are written."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import fft

__all__ = ["COSINE", "FOURIER", "NONE", "forward", "inverse", "scan"]

NONE, COSINE, FOURIER = 0, 1, 2

_ROOT2 = np.sqrt(2.0)


def _along(axis: int, part: slice) -> tuple[slice, ...]:
    return (slice(None),) * axis + (part,)


def _fourier(a: np.ndarray, axis: int) -> np.ndarray:
    """Real Fourier coefficients in the order mean, cos 1, sin 1, cos 2, sin 2, ..."""
    n = a.shape[axis]
    modes = fft.rfft(a, axis=axis, norm="ortho")
    out = np.empty_like(a)
    out[_along(axis, slice(0, 1))] = modes[_along(axis, slice(0, 1))].real
    out[_along(axis, slice(1, None, 2))] = modes[_along(axis, slice(1, None))].real * _ROOT2
    out[_along(axis, slice(2, None, 2))] = modes[_along(axis, slice(1, (n + 1) // 2))].imag * _ROOT2
    if n % 2 == 0:
        out[_along(axis, slice(n - 1, n))] = modes[_along(axis, slice(n // 2, None))].real
    return out


def _inverse_fourier(c: np.ndarray, axis: int) -> np.ndarray:
    n = c.shape[axis]
    shape = list(c.shape)
    shape[axis] = n // 2 + 1
    modes = np.zeros(shape, np.complex128)
    modes[_along(axis, slice(0, 1))].real = c[_along(axis, slice(0, 1))]
    modes[_along(axis, slice(1, None))].real = c[_along(axis, slice(1, None, 2))] / _ROOT2
    modes[_along(axis, slice(1, (n + 1) // 2))].imag = c[_along(axis, slice(2, None, 2))] / _ROOT2
    if n % 2 == 0:
        modes[_along(axis, slice(n // 2, None))].real = c[_along(axis, slice(n - 1, n))]
    return np.asarray(fft.irfft(modes, n=n, axis=axis, norm="ortho"))


def forward(a: np.ndarray, kinds: tuple[int, ...]) -> np.ndarray:
    r"""Separable orthonormal transform.

    Parameters
    ----------
    a : ndarray of float64
        Any shape.
    kinds : tuple of int
        For each axis `NONE`, `COSINE` (DCT-II) or `FOURIER` (real Fourier series).

    Returns
    -------
    ndarray of float64
        Same shape; :math:`\sum c^2 = \sum a^2`.
    """
    for axis, kind in enumerate(kinds):
        if kind == COSINE:
            a = np.asarray(fft.dct(a, type=2, axis=axis, norm="ortho"))
        elif kind == FOURIER:
            a = _fourier(a, axis)
    return a


def inverse(c: np.ndarray, kinds: tuple[int, ...]) -> np.ndarray:
    """Inverse of `forward`."""
    for axis, kind in reversed(list(enumerate(kinds))):
        if kind == COSINE:
            c = np.asarray(fft.idct(c, type=2, axis=axis, norm="ortho"))
        elif kind == FOURIER:
            c = _inverse_fourier(c, axis)
    return c


@lru_cache(maxsize=16)
def scan(shape: tuple[int, ...], kinds: tuple[int, ...]) -> np.ndarray:
    """Flat indices of the coefficients from low to high frequency.

    Parameters
    ----------
    shape : tuple of int
        Shape of the block.
    kinds : tuple of int
        Transform of each axis; an axis without one has no frequency.

    Returns
    -------
    ndarray of intp, shape (size,)
        Ordered by the sum over axes of (frequency / Nyquist frequency)^2, ties by position.
    """
    total = np.zeros((), np.float64)
    for axis, (n, kind) in enumerate(zip(shape, kinds, strict=True)):
        index = np.arange(n)
        if kind == FOURIER:
            # integers first: the same order on every machine
            share = 2 * ((index + 1) // 2) / n
        elif kind == COSINE:
            share = index / n
        else:
            share = np.zeros(n)
        total = total + (share**2).reshape((-1,) + (1,) * (len(shape) - axis - 1))
    order = np.argsort(np.broadcast_to(total, shape).reshape(-1), kind="stable")
    order.setflags(write=False)
    return order
