r"""Discrete divergences of vectors, and the nearest vector that has none.

A divergence is a sum over axes, one component along each, of a derivative along the axis, or, for
stencil "f", of differences between corners averaged over the other axes. Every operator is
diagonal in orthonormal bases along the axes, so the projection onto vectors without divergence is
exact: with :math:`A v = \sum_a D_a v_a` it is :math:`v - A^* (A A^*)^{-1} A v`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from scipy import fft

from xphys.errors import CorruptDataError

__all__ = ["EXTREMA", "OPEN", "PERIODIC", "ROOTS", "Divergence", "divergence", "node_weights"]

#: Kinds of axes: periodic, Chebyshev nodes without and with the ends, uniform and open.
PERIODIC, ROOTS, EXTREMA, OPEN = "p", "c", "e", "o"
_KINDS = frozenset((PERIODIC, ROOTS, EXTREMA, OPEN))
_STENCILS = "scf"  # spectral, central differences, differences of face averages
_MOST_NODES = 1024
_NOTHING = 1e-20  # share of the largest eigenvalue below which a mode does not diverge


class _Matrix:
    """Derivative along an open axis: a matrix with its singular vectors."""

    def __init__(self, n: int, kind: str, length: float) -> None:
        self.slope = (_differences(n) if kind == OPEN else _polynomial(n, kind)) / length
        self.left, self.values, right = np.linalg.svd(self.slope)
        self.right = right.T
        self.square = (self.slope**2).sum(axis=0)


def _angles(n: int, kind: str) -> np.ndarray:
    index = np.arange(n)
    return np.pi * (2 * index + 1) / (2 * n) if kind == ROOTS else np.pi * index / (n - 1)


def _polynomial(n: int, kind: str) -> np.ndarray:
    """Derivative of the polynomial through all nodes, of an interval of length 1."""
    angle = _angles(n, kind)
    sign = (-1.0) ** np.arange(n)
    weight = sign * np.sin(angle) if kind == ROOTS else sign
    if kind == EXTREMA:
        weight[[0, -1]] /= 2
    # distances of -cos(angle) as products, so that close nodes lose no digits
    distance = 2 * np.sin((angle[:, None] + angle) / 2) * np.sin((angle[:, None] - angle) / 2)
    np.fill_diagonal(distance, 1.0)
    matrix = weight / weight[:, None] / distance
    np.fill_diagonal(matrix, 0.0)
    np.fill_diagonal(matrix, -matrix.sum(axis=1))
    return np.asarray(2 * matrix)


def _differences(n: int) -> np.ndarray:
    """Second-order differences of points, also at the ends, of n steps of length 1 / n."""
    matrix = np.zeros((n, n))
    rows = np.arange(1, n - 1)
    matrix[rows, rows - 1], matrix[rows, rows + 1] = -0.5, 0.5
    matrix[0, :3] = -1.5, 2.0, -0.5
    matrix[-1, -3:] = 0.5, -2.0, 1.5
    return matrix * n


def node_weights(n: int, kind: str) -> np.ndarray:
    """Shares of the integral that belong to Chebyshev nodes; they sum to one."""
    angle = _angles(n, kind)
    modes = np.arange(0, n, 2)
    norm = np.where(modes == 0, 1.0, 2.0)
    scale = np.full(n, 1.0 / n)
    if kind == EXTREMA:
        norm = np.where(modes == n - 1, 1.0, norm)
        scale = np.full(n, 1.0 / (n - 1))
        scale[[0, -1]] /= 2
    return np.asarray(scale * ((norm / (1 - modes**2.0)) @ np.cos(modes[:, None] * angle)))


class Divergence:
    """The divergence of vectors on one grid, one component along each axis.

    Parameters
    ----------
    shape : tuple of int
        Of a field.
    kinds : str
        Kind of each axis.
    lengths : sequence of float
        Of the period, the interval of the nodes, or n steps.
    stencil : str
        "s" spectral, "c" central differences, "f" differences of face averages; along open axes
        "s" and "c" are the same.

    Raises
    ------
    CorruptDataError
        If there is no such operator.
    """

    def __init__(
        self, shape: tuple[int, ...], kinds: str, lengths: Sequence[float], stencil: str
    ) -> None:
        self._periodic = tuple(i for i, kind in enumerate(kinds) if kind == PERIODIC)
        bounded = [n for n, kind in zip(shape, kinds, strict=True) if kind != PERIODIC]
        if (
            len(stencil) != 1
            or stencil not in _STENCILS
            or not set(kinds) <= _KINDS
            or len(lengths) != len(shape)
            or (stencil == "f" and bounded)
            or (not self._periodic and stencil != "c")
            or max(bounded, default=0) > _MOST_NODES
            or min(bounded, default=4) < 4
            or min(shape) < 2
        ):
            raise CorruptDataError(f"no divergence {stencil!r} of {shape} points on axes {kinds!r}")
        self.shape = shape
        self._matrices = {
            i: _Matrix(n, kind, length)
            for i, (n, kind, length) in enumerate(zip(shape, kinds, lengths, strict=True))
            if kind != PERIODIC
        }
        self._factors = [self._factor(lengths, stencil, i) for i in range(len(shape))]
        squares = np.asarray(sum(np.abs(f) ** 2 for f in self._factors))
        clear = squares > _NOTHING * squares.max()
        self._inverse = np.where(clear, 1 / np.where(clear, squares, 1.0), 0.0)
        #: Largest factor by which a vector enters its divergence.
        self.reach = math.sqrt(float(squares.max()))
        #: For each component the squared divergence of a single point of magnitude one.
        self.points = [self._square(i) for i in range(len(shape))]

    def _factor(self, lengths: Sequence[float], stencil: str, component: int) -> np.ndarray:
        """Singular values of one part of the divergence, ready to broadcast."""
        out = np.ones((1,) * len(self.shape), complex)
        for i, n in enumerate(self.shape):
            half = self._periodic and i == self._periodic[-1]
            if i in self._matrices:
                values = self._matrices[i].values if i == component else np.ones(n)
            else:
                m = np.arange(n // 2 + 1) if half else np.rint(np.fft.fftfreq(n) * n)
                values = _symbol(m, n, stencil, i == component) * (
                    n / lengths[i] if i == component else 1.0
                )
            out = out * values.reshape((-1,) + (1,) * (len(self.shape) - 1 - i))
        return out

    def _square(self, component: int) -> np.ndarray:
        """Squared divergence of a single point of one component, ready to broadcast."""
        axes = self._periodic
        f = np.abs(self._factors[component]) ** 2
        if component in self._matrices:
            slope = self._matrices[component].square
            return np.asarray(slope.reshape((-1,) + (1,) * (len(self.shape) - 1 - component)))
        if axes:
            last = axes[-1]
            n = self.shape[last]
            m = np.arange(f.shape[last])
            if f.shape[last] > 1:
                twice = np.where((m == 0) | (2 * m == n), 1.0, 2.0)
                f = f * twice.reshape((-1,) + (1,) * (len(self.shape) - 1 - last)) / n
            f = f.sum(axis=last, keepdims=True)
            f = f.mean(axis=axes, keepdims=True)
        return np.asarray(f)

    def _forward(self, field: np.ndarray, component: int) -> np.ndarray:
        for i, matrix in self._matrices.items():
            base = matrix.right if i == component else matrix.left
            field = np.moveaxis(np.tensordot(base.T, field, (1, i)), 0, i)
        return np.asarray(fft.rfftn(field, axes=self._periodic)) if self._periodic else field

    def _backward(self, modes: np.ndarray, component: int) -> np.ndarray:
        if self._periodic:
            sizes = [self.shape[a] for a in self._periodic]
            modes = fft.irfftn(modes, s=sizes, axes=self._periodic)
        modes = modes.real
        for i, matrix in self._matrices.items():
            base = matrix.right if i == component else matrix.left
            modes = np.moveaxis(np.tensordot(base, modes, (1, i)), 0, i)
        return np.ascontiguousarray(modes)

    def _modes(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        pairs = zip(self._factors, parts, strict=True)
        return np.asarray(sum(f * self._forward(part, i) for i, (f, part) in enumerate(pairs)))

    def of(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        """Divergence, float64."""
        return self._backward(self._modes(parts), -1)

    def adjoint(self, field: np.ndarray) -> list[np.ndarray]:
        """What turns a divergence back into a vector: the transpose of `of`."""
        modes = self._forward(field, -1)
        return [self._backward(f.conj() * modes, i) for i, f in enumerate(self._factors)]

    def rest(self, parts: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The smallest vector that has the same divergence."""
        modes = self._inverse * self._modes(parts)
        return [self._backward(f.conj() * modes, i) for i, f in enumerate(self._factors)]


def _symbol(m: np.ndarray, n: int, stencil: str, along: bool) -> np.ndarray:
    """Of a derivative, in units of one over a step, or of what is done across it."""
    if stencil == "f":  # between a point and the next one
        turned = np.exp(2j * np.pi * m / n)
        return turned - 1 if along else (turned + 1) / 2
    if not along:
        return np.ones(m.shape, complex)
    nyquist = 2 * np.abs(m) == n
    if stencil == "c":
        return np.where(nyquist, 0.0, 1j * np.sin(2 * np.pi * m / n))
    return np.where(nyquist, 0.0, 2j * np.pi * m / n)


@lru_cache(maxsize=8)
def divergence(
    shape: tuple[int, ...], kinds: str, lengths: tuple[float, ...], stencil: str
) -> Divergence:
    """The operator of that grid, kept for the next chunk."""
    return Divergence(shape, kinds, lengths, stencil)
