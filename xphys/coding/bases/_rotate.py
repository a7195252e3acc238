"""Compiled loops over coefficients: real Fourier series, plane waves, products.

Arrays are (outer, frequency, inner). Plain products and sums in a fixed order.
"""

from __future__ import annotations

import numpy as np
from numba import njit

Array = np.ndarray

__all__ = ["combine", "pack", "plane_waves", "unpack"]

_COLUMNS = 512  # of a product at a time: they stay in the fastest memory


@njit(cache=True, nogil=True)
def pack(modes: Array, weight: float, out: Array) -> None:
    """Modes of real data to mean, cos 1, sin 1, ... times the weight (not mean and highest cos).

    Real and imaginary parts stand side by side along the last axis of `modes`.
    """
    n = out.shape[1]
    for o in range(out.shape[0]):
        for i in range(out.shape[2]):
            out[o, 0, i] = modes[o, 0, 2 * i]
        for k in range(1, (n + 1) // 2):
            line, cos, sin = modes[o, k], out[o, 2 * k - 1], out[o, 2 * k]
            for i in range(out.shape[2]):
                cos[i] = line[2 * i] * weight
                sin[i] = line[2 * i + 1] * weight
        if n % 2 == 0:
            for i in range(out.shape[2]):
                out[o, n - 1, i] = modes[o, n // 2, 2 * i]


@njit(cache=True, nogil=True)
def unpack(c: Array, n: int, weight: float, modes: Array) -> None:
    """Inverse of `pack` for n points; c may end early, with zeros behind."""
    whole = min(c.shape[1], 2 * ((n - 1) // 2) + 1)
    zero = weight - weight
    for o in range(c.shape[0]):
        for k in range((whole + 1) // 2, modes.shape[1]):
            for i in range(modes.shape[2]):
                modes[o, k, i] = zero
        for i in range(c.shape[2]):
            modes[o, 0, 2 * i], modes[o, 0, 2 * i + 1] = c[o, 0, i], zero
        for k in range(1, (whole + 1) // 2):
            line, cos, sin = modes[o, k], c[o, 2 * k - 1], c[o, 2 * k]
            for i in range(c.shape[2]):
                line[2 * i] = cos[i] * weight
                line[2 * i + 1] = sin[i] * weight
        if n % 2 == 0 and c.shape[1] == n:
            for i in range(c.shape[2]):
                modes[o, n // 2, 2 * i] = c[o, n - 1, i]


@njit(cache=True, nogil=True)
def plane_waves(c: Array, weight: float) -> None:
    """Products of waves along axes 1 and 3 of five to sums and differences, in place."""
    for o in range(c.shape[0]):
        for k in range(1, c.shape[1] - 1, 2):
            for m in range(c.shape[2]):
                for x in range(1, c.shape[3] - 1, 2):
                    for i in range(c.shape[4]):
                        cos_cos, sin_sin = c[o, k, m, x, i], c[o, k + 1, m, x + 1, i]
                        cos_sin, sin_cos = c[o, k, m, x + 1, i], c[o, k + 1, m, x, i]
                        c[o, k, m, x, i] = (cos_cos + sin_sin) * weight
                        c[o, k + 1, m, x + 1, i] = (cos_cos - sin_sin) * weight
                        c[o, k + 1, m, x, i] = (sin_cos + cos_sin) * weight
                        c[o, k, m, x + 1, i] = (sin_cos - cos_sin) * weight


@njit(cache=True, nogil=True)
def combine(rows: Array, c: Array, out: Array) -> None:
    """Product of the transpose of rows (r, n) with c (outer, r, inner), into out, all zeros.

    Sums run in one order on every machine, which those of a library need not.
    """
    inner, whole = c.shape[2], rows.shape[0] // 4 * 4
    for o in range(c.shape[0]):
        for start in range(0, inner, _COLUMNS):
            stop = min(start + _COLUMNS, inner)
            for j in range(rows.shape[1]):
                own = out[o, j]
                for k in range(0, whole, 4):
                    w0, w1, w2, w3 = rows[k, j], rows[k + 1, j], rows[k + 2, j], rows[k + 3, j]
                    c0, c1, c2, c3 = c[o, k], c[o, k + 1], c[o, k + 2], c[o, k + 3]
                    for i in range(start, stop):
                        own[i] += ((w0 * c0[i] + w1 * c1[i]) + w2 * c2[i]) + w3 * c3[i]
                for k in range(whole, rows.shape[0]):
                    w0, c0 = rows[k, j], c[o, k]
                    for i in range(start, stop):
                        own[i] += w0 * c0[i]
