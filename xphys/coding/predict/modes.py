r"""Operators on Fourier modes: for boxes that are periodic along two or three axes.

A prediction is :math:`\hat p_k = \sum_t w_t(|k|)\, m_t(k)\, \widehat{f_t}(k)` with a variable or a
product of two as :math:`f_t`. Multipliers :math:`m(k)`, axes counted among the periodic ones:

====== ========================================= =================================================
``=``  :math:`1`                                 with the mean, everything else is without
``""`` :math:`1`                                 the variable itself
``0``  :math:`i k_0 / |k|`                       a derivative, its growth taken out
``01`` :math:`k_0 k_1 / |k|^2`                   of a product: a part of the pressure
``c01n``  :math:`-k_0 k_1/(k_0^2+4^{-n}|k|^2)`   component 0 of a solenoidal vector from component 1
``j0sf``  see `_inverse_curl`                    component 0 of a vector from its curl
====== ========================================= =================================================
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from scipy import fft

from xphys.errors import CorruptDataError

__all__ = ["Modes", "derivative", "divergence_stencil"]

_KNOWN = re.compile("[0-2]{1,2}|c[0-2][0-2][0-9]|j[01][cs][fcs]")
_BATCH = 2**20  # points that are transformed at once
_SMALL = 1e-9  # share of the largest divisor below which a mode says nothing


class Modes:
    """Fourier modes of arrays of one shape.

    Parameters
    ----------
    shape : tuple of int
        Of the arrays.
    axes : sequence of int
        The periodic ones, two or three.
    lengths : sequence of float
        Of the box along them, in any unit.
    """

    def __init__(
        self, shape: tuple[int, ...], axes: Sequence[int], lengths: Sequence[float]
    ) -> None:
        self.shape, self.axes = shape, tuple(axes)
        self.sizes = tuple(shape[a] for a in self.axes)
        self.others = tuple(i for i in range(len(shape)) if i not in self.axes)
        self.lengths = tuple(float(n) for n in lengths)
        last = len(self.axes) - 1
        self.numbers = []  # wavenumbers in units of 2 pi / box, ready to broadcast
        for i, n in enumerate(self.sizes):
            m = np.arange(n // 2 + 1) if i == last else np.rint(np.fft.fftfreq(n) * n)
            self.numbers.append(np.asarray(m, np.float64).reshape((-1,) + (1,) * (last - i)))
        self.wavenumbers = [m / n for m, n in zip(self.numbers, self.lengths, strict=True)]
        self.squared = np.asarray(sum(k * k for k in self.wavenumbers))
        nyquist = np.zeros(self.squared.shape, bool)
        for m, n in zip(self.numbers, self.sizes, strict=True):
            nyquist |= 2 * np.abs(m) == n
        self.nyquist = nyquist
        self._known: dict[str, np.ndarray] = {}

    @property
    def count(self) -> int:
        """Modes of one field, those that are conjugate to others left out."""
        return self.squared.size

    @property
    def twice(self) -> np.ndarray:
        """How many modes of the whole spectrum each stands for."""
        m, n = self.numbers[-1], self.sizes[-1]
        double = np.where((m == 0) | (2 * m == n), 1.0, 2.0)
        return np.asarray(np.broadcast_to(double, self.squared.shape))

    @property
    def bands(self) -> np.ndarray:
        """Half octave of the wavenumber of each mode, 0 for the longest waves and the mean."""
        longest = max(self.lengths)
        ratio = np.maximum(np.sqrt(self.squared) * longest, 1.0)
        # a hair above, so that rounding does not move whole numbers to the band below
        return np.asarray((2 * np.log2(ratio) + 1e-9).astype(np.int64))

    def batches(self) -> Iterator[slice]:
        """Parts of the leading axis that `rows` makes."""
        field = math.prod(self.sizes)
        rows = max(math.prod(self.shape) // max(field, 1), 1)
        step = max(_BATCH // field, 1)
        for start in range(0, rows, step):
            yield slice(start, min(start + step, rows))

    def rows(self, values: np.ndarray) -> np.ndarray:
        """Other axes joined in front, the periodic ones behind."""
        moved = values.transpose(self.others + self.axes)
        return moved.reshape(-1, *self.sizes)

    def forward(self, rows: np.ndarray) -> np.ndarray:
        """Orthonormal modes of fields."""
        axes = tuple(range(1, 1 + len(self.sizes)))
        return np.asarray(fft.rfftn(rows.astype(np.float64), axes=axes, norm="ortho"))

    def backward(self, modes: np.ndarray) -> np.ndarray:
        """Inverse of `forward`."""
        axes = tuple(range(1, 1 + len(self.sizes)))
        return np.asarray(fft.irfftn(modes, s=self.sizes, axes=axes, norm="ortho"))

    def whole(self, rows: np.ndarray) -> np.ndarray:
        """Inverse of `rows` for all of them."""
        order = self.others + self.axes
        moved = rows.reshape([self.shape[i] for i in order])
        return np.ascontiguousarray(moved.transpose(np.argsort(order)))

    def products(
        self, values: Mapping[str, np.ndarray], wanted: Sequence[tuple[str, ...]], part: slice
    ) -> list[np.ndarray]:
        """Modes of variables, or of products of two, for some rows."""
        known: dict[tuple[str, ...], np.ndarray] = {}
        for names in wanted:
            if names not in known:
                rows = [self.rows(values[name])[part].astype(np.float64) for name in names]
                known[names] = self.forward(math.prod(rows[1:], start=rows[0]))
        return [known[names] for names in wanted]

    def multiplier(self, name: str) -> np.ndarray:
        """A linear operator by its name."""
        if name not in self._known:
            made = np.asarray(self._multiplier(name))
            if name != "=":
                made = np.where(self.squared == 0, 0, made)
            self._known[name] = made
        return self._known[name]

    def _multiplier(self, name: str) -> np.ndarray:
        shape = self.squared.shape
        if name in ("", "="):
            return np.ones(shape)
        if not _KNOWN.fullmatch(name):
            raise CorruptDataError(f"no operator {name!r}: this xphys is too old for this store")
        kind, places = name[0], [int(c) for c in name if c.isdigit()][:2]
        if max(places) >= len(self.axes) or (kind == "j" and len(self.axes) != 2):
            raise CorruptDataError(f"no operator {name!r} on {len(self.axes)} periodic axes")
        if kind == "j":
            return self._inverse_curl(places[0], name[2], name[3])
        square = np.where(self.squared == 0, 1.0, self.squared)
        k = [self.wavenumbers[p] for p in places]
        if kind == "c":
            damped = k[0] ** 2 + 4.0 ** -int(name[3]) * square
            return np.where(self.nyquist, 0.0, -k[0] * k[1] / damped)
        if len(places) == 1:
            return np.where(self.nyquist, 0.0, 1j * k[0] / np.sqrt(square))
        return np.where(self.nyquist & (places[0] != places[1]), 0.0, k[0] * k[1] / square)

    def _inverse_curl(self, component: int, curl: str, divergence: str) -> np.ndarray:
        """Component 0 or 1 of the vector whose discrete curl is given and divergence is none.

        With stencils D (curl) and w (divergence), :math:`v_1 = -w_0 s`, :math:`v_0 = w_1 s` for a
        scalar s, and the curl :math:`D_1 v_0 - D_0 v_1 = (D_1 w_1 + D_0 w_0) s`.
        """
        d = [derivative(self, axis, curl) for axis in (0, 1)]
        w = divergence_stencil(self, divergence)
        divisor = d[1] * w[1] + d[0] * w[0]
        clear = (np.abs(divisor) > _SMALL * np.abs(divisor).max()) & ~self.nyquist
        above = w[1] if component == 0 else -w[0]
        return np.where(clear, above / np.where(clear, divisor, 1.0), 0.0)


def derivative(modes: Modes, axis: int, stencil: str) -> np.ndarray:
    """Multiplier of a derivative: "c" central difference, "s" spectral."""
    m, n, length = modes.numbers[axis], modes.sizes[axis], modes.lengths[axis]
    shape = modes.squared.shape
    if stencil == "c":
        return np.broadcast_to(1j * np.sin(2 * np.pi * m / n) * n / length, shape)
    if stencil == "s":
        return np.where(modes.nyquist, 0.0, np.broadcast_to(2j * np.pi * m / length, shape))
    raise CorruptDataError(f"no stencil {stencil!r}: this xphys is too old for this store")


def divergence_stencil(modes: Modes, stencil: str) -> list[np.ndarray]:
    """Multipliers of both parts of a divergence: "f" of face averages, or as `derivative`."""
    if stencil != "f":
        return [derivative(modes, axis, stencil) for axis in (0, 1)]
    half = [np.pi * m / n for m, n in zip(modes.numbers, modes.sizes, strict=True)]
    steps = [n / length for n, length in zip(modes.sizes, modes.lengths, strict=True)]
    sines = [1j * np.sin(h) * s for h, s in zip(half, steps, strict=True)]
    pair = [sines[0] * np.cos(half[1]), np.cos(half[0]) * sines[1]]
    return [np.where(modes.nyquist, 0.0, w) for w in pair]
