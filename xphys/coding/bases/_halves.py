"""Compiled loops over the frequencies of an axis that splits into a coarse half and details.

Arrays are (outer, frequency, inner), in C order. A half-band pair of filters rotates each
frequency with the one that folds onto it. Where the frequencies themselves lie side by side they
are counted without sign: a sign that might be there keeps a compiler from taking several at once.
"""

from __future__ import annotations

import numpy as np
from numba import njit

Array = np.ndarray

__all__ = ["busy", "join_mirrored", "join_waves", "split_mirrored", "split_waves"]


@njit(cache=True, nogil=True)
def busy(x: Array, marks: Array) -> None:
    """Mark the entries of the first of four axes that are not all zero; marks are zeros before."""
    for o in range(x.shape[0]):
        for a in range(x.shape[1]):
            for b in range(x.shape[2]):
                found = 0
                for i in range(x.shape[3]):
                    found += x[o, a, b, i] != 0
                if found:
                    marks[o] = True
                    break
            if marks[o]:
                break


@njit(cache=True, nogil=True)
def split_mirrored(x: Array, cos: Array, sin: Array, y: Array) -> None:
    """Frequencies of a mirrored axis to those of its coarse half, then those of its details.

    The highest frequency is the first of the details.
    """
    m, half, first = x.shape[1], (x.shape[1] + 1) // 2, 1 - x.shape[1] % 2
    # what has no partner, beside frequency 0: in the middle, and where it is as a part
    alone, place = (half, m - 1) if first else (half - 1, half - 1)
    for o in range(x.shape[0]):
        for i in range(x.shape[2]):
            y[o, 0, i], y[o, place, i] = x[o, 0, i], x[o, alone, i]
    if x.shape[2] == 1:
        _split_lines(x.reshape(x.shape[0], m), cos, sin, y.reshape(x.shape[0], m))
        return
    for o in range(x.shape[0]):
        for k in range(cos.size):
            c, s = cos[k], sin[k]
            for i in range(x.shape[2]):
                low, high = x[o, first + k, i], x[o, m - 1 - k, i]
                y[o, first + k, i] = c * low + s * high
                y[o, half + k, i] = c * high - s * low


@njit(cache=True, nogil=True)
def _split_lines(x: Array, cos: Array, sin: Array, y: Array) -> None:
    one, m, count = np.uint64(1), np.uint64(x.shape[1]), np.uint64(cos.size)
    half, first = np.uint64((x.shape[1] + 1) // 2), np.uint64(1 - x.shape[1] % 2)
    for o in range(np.uint64(x.shape[0])):
        for k in range(count):
            y[o, first + k] = cos[k] * x[o, first + k] + sin[k] * x[o, m - one - k]
        for k in range(count):
            y[o, half + k] = cos[k] * x[o, m - one - k] - sin[k] * x[o, first + k]


@njit(cache=True, nogil=True)
def join_mirrored(x: Array, cos: Array, sin: Array) -> None:
    """Inverse of `split_mirrored`, given the sine with its other sign, in place."""
    m, half, first = x.shape[1], (x.shape[1] + 1) // 2, 1 - x.shape[1] % 2
    if x.shape[2] == 1:
        _join_lines(x.reshape(x.shape[0], m), cos, sin)
        return
    fine = np.empty((m - half, x.shape[2]), x.dtype)
    for o in range(x.shape[0]):
        for k in range(fine.shape[0]):
            for i in range(x.shape[2]):
                fine[k, i] = x[o, half + k, i]
        if first:
            for i in range(x.shape[2]):
                x[o, half, i] = fine[half - 1, i]  # the one without a partner
        for k in range(cos.size):
            c, s = cos[k], sin[k]
            for i in range(x.shape[2]):
                low, high = x[o, first + k, i], fine[k, i]
                x[o, first + k, i] = c * low + s * high
                x[o, m - 1 - k, i] = c * high - s * low


@njit(cache=True, nogil=True)
def _join_lines(x: Array, cos: Array, sin: Array) -> None:
    one, m, count = np.uint64(1), np.uint64(x.shape[1]), np.uint64(cos.size)
    half, first = np.uint64((x.shape[1] + 1) // 2), np.uint64(1 - x.shape[1] % 2)
    line = np.empty(x.shape[1], x.dtype)
    for o in range(np.uint64(x.shape[0])):
        for i in range(np.uint64(line.size)):
            line[i] = x[o, i]
        if first:
            x[o, half] = line[m - one]
        for k in range(count):
            x[o, first + k] = cos[k] * line[first + k] + sin[k] * line[half + k]
        for k in range(count):
            x[o, m - one - k] = cos[k] * line[half + k] - sin[k] * line[first + k]


@njit(cache=True, nogil=True)
def split_waves(
    modes: Array, cos: Array, sin: Array, phase: Array, low: Array, fine: Array
) -> None:
    """Frequencies of a periodic axis to those of its coarse half and of its details."""
    half = modes.shape[1] - 1
    for o in range(modes.shape[0]):
        for k in range(cos.size):
            c, s, p = cos[k], sin[k], phase[k]
            for i in range(modes.shape[2]):
                near = modes[o, k, i]
                far = np.conj(modes[o, half - k, i])
                low[o, k, i] = c * near + s * far
                fine[o, k, i] = (s * near - c * far) * p


@njit(cache=True, nogil=True)
def join_waves(x: Array, cos: Array, sin: Array, turn: Array, weight: float) -> None:
    """Inverse of `split_waves` on packed series: coarse half, then details, to the whole, in place.

    `turn` (2, k) turns the details back. The weight is that of `pack`: it stands on all waves but
    the mean and the highest cosine.
    """
    half, one = x.shape[1] // 2, weight / weight
    if x.shape[2] == 1:
        _join_wave_lines(x.reshape(x.shape[0], x.shape[1]), cos, sin, turn, weight)
        return
    below = one / weight
    fine = np.empty((half, x.shape[2]), x.dtype)
    for o in range(x.shape[0]):
        for k in range(fine.shape[0]):
            for i in range(x.shape[2]):
                fine[k, i] = x[o, half + k, i]
        for i in range(x.shape[2]):
            edge = x[o, half - 1, i], fine[half - 1, i]
            mean = _join_mean(x[o, 0, i], fine[0, i], cos[0], sin[0], turn[0, 0], turn[1, 0], one)
            x[o, 0, i], x[o, 2 * half - 1, i] = mean
            if half % 2 == 0:
                k = half // 2
                both = _join_edge(*edge, cos[k], sin[k], turn[0, k], turn[1, k], weight)
                x[o, half - 1, i], x[o, half, i] = both
        for k in range(1, (half - 1) // 2 + 1):
            c, s, p, r = cos[k], sin[k], turn[0, k], turn[1, k]
            for i in range(x.shape[2]):
                near, near_sin = x[o, 2 * k - 1, i] * below, x[o, 2 * k, i] * below
                far, far_sin = fine[2 * k - 1, i] * below, fine[2 * k, i] * below
                far, far_sin = far * p - far_sin * r, far * r + far_sin * p
                x[o, 2 * k - 1, i] = (c * near + s * far) * weight
                x[o, 2 * k, i] = (c * near_sin + s * far_sin) * weight
                x[o, 2 * (half - k) - 1, i] = (s * near - c * far) * weight
                x[o, 2 * (half - k), i] = -(s * near_sin - c * far_sin) * weight


@njit(cache=True, nogil=True)
def _join_mean(near, far, c, s, p, r, one):  # type: ignore[no-untyped-def]
    """The mean and the highest cosine of the whole, from the means of the parts."""
    near, far = near * one, far * one
    far = far * p - (near - near) * r
    return c * near + s * far, s * near - c * far


@njit(cache=True, nogil=True)
def _join_edge(near, far, c, s, p, r, weight):  # type: ignore[no-untyped-def]
    """Cosine and sine in the middle of the whole, from the highest cosines of the parts."""
    near, far = near * (weight / weight), far * (weight / weight)
    zero = near - near
    far, far_sin = far * p - zero * r, far * r + zero * p
    return (c * near + s * far) * weight, (c * zero + s * far_sin) * weight


@njit(cache=True, nogil=True)
def _join_wave_lines(x: Array, cos: Array, sin: Array, turn: Array, weight: float) -> None:
    one, two, half = np.uint64(1), np.uint64(2), np.uint64(x.shape[1] // 2)
    count = np.uint64((x.shape[1] // 2 - 1) // 2)
    middle, below = half // two, weight / weight / weight
    line = np.empty(x.shape[1], x.dtype)
    for o in range(np.uint64(x.shape[0])):
        for i in range(np.uint64(line.size)):
            line[i] = x[o, i]
        ends = cos[0], sin[0], turn[0, 0], turn[1, 0], weight / weight
        x[o, 0], x[o, two * half - one] = _join_mean(line[0], line[half], *ends)
        if half == two * middle:
            ends = cos[middle], sin[middle], turn[0, middle], turn[1, middle], weight
            x[o, half - one], x[o, half] = _join_edge(
                line[half - one], line[two * half - one], *ends
            )
        for before in range(count):
            k = before + one
            low, low_sin = line[two * k - one] * below, line[two * k] * below
            far, far_sin = line[half + two * k - one] * below, line[half + two * k] * below
            turned = far * turn[0, k] - far_sin * turn[1, k]
            turned_sin = far * turn[1, k] + far_sin * turn[0, k]
            x[o, two * k - one] = (cos[k] * low + sin[k] * turned) * weight
            x[o, two * k] = (cos[k] * low_sin + sin[k] * turned_sin) * weight
        # the same once more, for the waves that run the other way: a loop has one direction
        for before in range(count):
            k = before + one
            low, low_sin = line[two * k - one] * below, line[two * k] * below
            far, far_sin = line[half + two * k - one] * below, line[half + two * k] * below
            turned = far * turn[0, k] - far_sin * turn[1, k]
            turned_sin = far * turn[1, k] + far_sin * turn[0, k]
            x[o, two * (half - k) - one] = (sin[k] * low - cos[k] * turned) * weight
            x[o, two * (half - k)] = -(sin[k] * low_sin - cos[k] * turned_sin) * weight
