"""Which transform each axis gets, done and undone, and what kinds of coefficients that makes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from xphys.coding.bases._rotate import combine
from xphys.coding.bases.orthogonal import (
    cosine,
    fourier,
    inverse_cosine,
    inverse_fourier,
    middle,
    pair,
)
from xphys.coding.bases.wavelet import cascade, inverse_cascade, lengths

__all__ = ["Kind", "Plan"]


class Kind(IntEnum):
    """Transform of one axis; the numbers are written into streams."""

    NONE = 0
    COSINE = 1
    FOURIER = 2
    WAVELET = 3  # alone, with mirrored ends
    WAVELET_PERIODIC = 4
    PYRAMID = 5  # together with all other axes of kind 5 and 6
    PYRAMID_PERIODIC = 6
    MODES = 7


_Transform = Callable[[np.ndarray, int], np.ndarray]
_FORWARD: dict[Kind, _Transform] = {
    Kind.COSINE: cosine,
    Kind.FOURIER: fourier,
    Kind.WAVELET: lambda a, axis: cascade(a, (axis,), (False,)),
    Kind.WAVELET_PERIODIC: lambda a, axis: cascade(a, (axis,), (True,)),
}
_INVERSE: dict[Kind, Callable[[np.ndarray, int, int], np.ndarray]] = {
    Kind.COSINE: inverse_cosine,
    Kind.FOURIER: inverse_fourier,
    Kind.WAVELET: lambda c, axis, n: inverse_cascade(_longer(c, axis, n), (axis,), (False,)),
    Kind.WAVELET_PERIODIC: lambda c, axis, n: inverse_cascade(
        _longer(c, axis, n), (axis,), (True,)
    ),
    Kind.NONE: lambda c, axis, n: _longer(c, axis, n),
}
_PYRAMID = (Kind.PYRAMID, Kind.PYRAMID_PERIODIC)
_PERIODIC = (Kind.WAVELET_PERIODIC, Kind.PYRAMID_PERIODIC)
_WAVELETS = (Kind.WAVELET, Kind.WAVELET_PERIODIC)


@dataclass(frozen=True)
class Plan:
    """Transforms of all axes but the fitted modes, which the caller applies.

    Attributes
    ----------
    kinds : tuple of Kind
        One for each axis.
    """

    kinds: tuple[Kind, ...]

    @property
    def _together(self) -> tuple[tuple[int, ...], tuple[bool, ...]]:
        axes = tuple(i for i, k in enumerate(self.kinds) if k in _PYRAMID)
        return axes, tuple(self.kinds[i] in _PERIODIC for i in axes)

    def _pairs(self) -> list[tuple[int, int]]:
        """Pairs of Fourier axes whose waves are joined: the last one with each other one."""
        waves = [i for i, k in enumerate(self.kinds) if k is Kind.FOURIER]
        return [(i, waves[-1]) for i in reversed(waves[:-1])]

    def orthonormal(self, shape: tuple[int, ...]) -> bool:
        """True if squared errors of coefficients are those of the values."""
        axes, periodic = self._together
        splits = [(lengths(tuple(shape[i] for i in axes), periodic), periodic)] if axes else []
        for i, kind in enumerate(self.kinds):
            if kind in _WAVELETS:
                splits.append((lengths((shape[i],), (kind in _PERIODIC,)), (kind in _PERIODIC,)))
        return not any(
            n % 2 and not wraps
            for levels, periods in splits
            for level in levels[:-1]
            for n, wraps in zip(level, periods, strict=True)
        )

    def forward(self, a: np.ndarray) -> np.ndarray:
        """Coefficients of a float32 or float64 array in C order, which may be overwritten."""
        for axis, kind in reversed(list(enumerate(self.kinds))):
            if kind in _FORWARD:
                a = _FORWARD[kind](a, axis)
        for first, second in self._pairs():
            pair(a, first, second)
        axes, periodic = self._together
        return cascade(a, axes, periodic) if axes else a

    def room(self, used: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of a corner that holds the first `used` coefficients along each axis.

        What `inverse` needs at least, if all others are zero: an odd number of Fourier
        coefficients, so that none is without its partner, and all of a pyramid.
        """
        return tuple(
            n if k in _PYRAMID else min(used | 1 if k is Kind.FOURIER else used, n)
            for used, n, k in zip(used, shape, self.kinds, strict=True)
        )

    def inverse(
        self, c: np.ndarray, shape: tuple[int, ...], rows: np.ndarray | None = None
    ) -> np.ndarray:
        """Inverse of `forward`.

        Parameters
        ----------
        c : ndarray
            Coefficients in C order, or a corner of them (see `room`) outside of which there are
            zeros; may be overwritten.
        shape : tuple of int
            Of the result.
        rows : ndarray (r, n), optional
            Fitted modes of the axis of that kind.

        Returns
        -------
        ndarray
            The values. Axes that grow most are done last, so that few lines are transformed.
        """
        axes, periodic = self._together
        if axes:
            c = inverse_cascade(c, axes, periodic)
        for first, second in reversed(self._pairs()):
            pair(c, first, second)
        here = c.shape
        for axis in sorted(range(c.ndim), key=lambda i: shape[i] / here[i]):
            kind = self.kinds[axis]
            if kind is Kind.MODES and rows is not None:
                out = np.zeros((*c.shape[:axis], shape[axis], *c.shape[axis + 1 :]), c.dtype)
                few = np.ascontiguousarray(rows[: here[axis]])
                combine(few, middle(np.ascontiguousarray(c), axis), middle(out, axis))
                c = out
            elif kind in _INVERSE and (kind is not Kind.NONE or here[axis] < shape[axis]):
                c = _INVERSE[kind](c, axis, shape[axis])
        return c

    def scales(self, shape: tuple[int, ...]) -> list[np.ndarray]:
        """Frequency of each place along each axis as a share of the highest, 0 to 1.

        Parameters
        ----------
        shape : tuple of int
            Of the coefficients.

        Returns
        -------
        list of ndarray of float64
            One for each axis; for wavelets the power of two of the level.
        """
        axes, periodic = self._together
        levels = lengths(tuple(shape[i] for i in axes), periodic) if axes else []
        out = []
        for axis, (n, kind) in enumerate(zip(shape, self.kinds, strict=True)):
            index = np.arange(n, dtype=np.float64)
            if kind is Kind.FOURIER:
                share = (index + 1) // 2 * 2 / n
            elif kind in (Kind.COSINE, Kind.MODES):
                share = index / n
            elif kind in _PYRAMID:
                share = _octaves(n, [level[axes.index(axis)] for level in levels])
            elif kind in _WAVELETS:
                share = _octaves(n, [x for (x,) in lengths((n,), (kind in _PERIODIC,))])
            else:
                share = np.zeros(n)
            out.append(share)
        return out


def _longer(c: np.ndarray, axis: int, n: int) -> np.ndarray:
    """With zeros behind, up to n places."""
    if c.shape[axis] == n:
        return c
    out = np.zeros(tuple(n if i == axis else m for i, m in enumerate(c.shape)), c.dtype)
    out[(slice(None),) * axis + (slice(0, c.shape[axis]),)] = c
    return out


def _octaves(n: int, sizes: list[int]) -> np.ndarray:
    """1 for the finest details, half of that for each coarser level, 0 for the coarsest part."""
    out = np.zeros(n)
    for level, (whole, half) in enumerate(zip(sizes, sizes[1:], strict=False)):
        out[half:whole] = math.ldexp(1.0, -level)
    return out
