"""Orthonormal transforms along one axis: cosine and real Fourier series."""

from __future__ import annotations

import math

import numpy as np
from scipy import fft

from xphys.coding.bases._rotate import pack, plane_waves, unpack

__all__ = ["cosine", "fourier", "inverse_cosine", "inverse_fourier", "middle", "pair"]

_ROOT2 = math.sqrt(2.0)


def middle(x: np.ndarray, axis: int) -> np.ndarray:
    """As (outer, length, inner)."""
    outer, inner = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
    return x.reshape(outer, x.shape[axis], inner)


def cosine(a: np.ndarray, axis: int) -> np.ndarray:
    """DCT-II, norm kept; a may be overwritten."""
    return np.asarray(fft.dct(a, type=2, axis=axis, norm="ortho", overwrite_x=True))


def inverse_cosine(c: np.ndarray, axis: int, n: int) -> np.ndarray:
    """Inverse of `cosine` for n points; c may be overwritten, and may end early (zeros behind)."""
    return np.asarray(fft.idct(c, n=n, type=2, axis=axis, norm="ortho", overwrite_x=True))


def fourier(a: np.ndarray, axis: int) -> np.ndarray:
    """Real Fourier coefficients, norm kept, in the order mean, cos 1, sin 1, cos 2, sin 2, ...

    a is overwritten.
    """
    n, weight = a.shape[axis], a.dtype.type(_ROOT2)
    modes = middle(np.ascontiguousarray(fft.rfft(a, axis=axis, norm="ortho")), axis).view(a.dtype)
    out = middle(a, axis)
    if out.shape[2] > 1:
        pack(modes, weight, out)
        return a
    line = modes.reshape(len(out), -1)  # parts side by side, as they are wanted
    out = out[..., 0]
    out[:, 0] = line[:, 0]
    np.multiply(line[:, 2 : n + 1], weight, out=out[:, 1:])
    if n % 2 == 0:
        out[:, n - 1] = line[:, n]
    return a


def inverse_fourier(c: np.ndarray, axis: int, n: int) -> np.ndarray:
    """Inverse of `fourier` for n points; c may end early."""
    shape = tuple(n // 2 + 1 if i == axis else m for i, m in enumerate(c.shape))
    modes = np.empty(shape, np.result_type(c.dtype, np.complex64))
    here, out = middle(np.ascontiguousarray(c), axis), middle(modes, axis).view(c.dtype)
    weight = c.dtype.type(1 / _ROOT2)
    if here.shape[2] > 1:
        unpack(here, n, weight, out)
    else:
        line, here = out.reshape(len(out), -1), here[..., 0]
        used = here.shape[1]
        line[:, 0] = here[:, 0]
        line[:, 1] = 0
        np.multiply(here[:, 1:], weight, out=line[:, 2 : used + 1])
        line[:, used + 1 :] = 0
        if n % 2 == 0 and used == n:
            line[:, n] = here[:, n - 1]
    return np.asarray(fft.irfft(modes, n=n, axis=axis, norm="ortho", overwrite_x=True))


def pair(c: np.ndarray, first: int, second: int) -> None:
    """Turn products of waves along two axes into plane waves k + l and k - l; its own inverse.

    Works in place on an array in C order; first < second. A wave that runs aslant takes two
    coefficients instead of four. Where cosines were along the first axis there are now the waves
    k - l, where sines were the waves k + l; along the second axis cosine and sine alternate as
    before. Ends of axes without a partner stay.
    """
    shape = c.shape
    apart = (
        math.prod(shape[:first]),
        shape[first],
        math.prod(shape[first + 1 : second]),
        shape[second],
        math.prod(shape[second + 1 :]),
    )
    plane_waves(c.reshape(apart), c.dtype.type(1 / _ROOT2))
