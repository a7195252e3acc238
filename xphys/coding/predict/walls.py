r"""Operators for a layer between two walls: Fourier along it, Chebyshev across.

Lengths are in units of half the distance of the walls, so weights carry the scale. With the
stream function :math:`\nabla^2 s = \omega`, zero at the walls:

* ``u``: :math:`-\partial_z s` along the layer (its mean from the mean vorticity, zero below);
* ``w``: :math:`\partial_x s` across it;
* ``q``: of the product u, w: pressure of the flow,
  :math:`\nabla^2 p = -(u_x^2 + 2 u_z w_x + w_z^2)`, no flux at the walls;
* ``b``: pressure that holds a force across the layer, :math:`\nabla^2 p = b_z`, :math:`p_z = b` at
  the walls;
* ``v``: pressure of viscous forces: :math:`\nabla^2 p = 0`, :math:`p_z = w_{zz}` at the walls;
* ``carried``: what the flow u, w makes of the first field of a scalar (see `carry`);
* ``c``: velocity across from that along the layer, as in a flow that conserves volume;
* ``""`` and ``h``: the variable itself and a quarter of a wave further along the layer, without
  what does not vary along it; weights differ by band of wavenumbers along the layer.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import fft

__all__ = ["Layer", "vorticity"]

_MOST_NODES = 512  # matrices of n x n are inverted for every wavenumber


class Layer:
    """Transforms and solvers for arrays of one shape.

    Parameters
    ----------
    shape : tuple of int
        Of the arrays.
    across, along : int
        The Chebyshev and the periodic axis.
    aspect : float
        Length of the box along the layer over the distance of the walls.
    """

    def __init__(self, shape: tuple[int, ...], across: int, along: int, aspect: float) -> None:
        self.shape, self.across, self.along, self.aspect = shape, across, along, aspect
        self.nodes, self.points = shape[across], shape[along]
        n = self.nodes
        order = np.arange(n)
        self.slope = _slope(n)
        k = np.arange(self.points // 2 + 1) * (math.pi / aspect)
        self.k = np.where(2 * np.arange(k.size) == self.points, 0.0, k)
        self.top, self.bottom = np.ones(n), (-1.0) ** order

    @property
    def bands(self) -> np.ndarray:
        """Half octave of each wavenumber along the layer."""
        number = np.maximum(np.arange(self.k.size), 1)
        # a hair above, so that rounding does not move whole numbers to the band below
        return np.asarray((2 * np.log2(number) + 1e-9).astype(np.int64))

    def waves(self, by: str, values: np.ndarray) -> np.ndarray | None:
        """Waves of ``""``, ``h``, ``c`` or ``carried``; None for another operator."""
        if by == "carried":
            return self.forward(values)
        if by == "c":
            return self._conserving(values)
        if by not in ("", "h"):
            return None
        modes = self.forward(values) * (1j if by == "h" else 1.0)
        modes[:, :, self.k == 0] = 0
        return modes

    def _conserving(self, u: np.ndarray) -> np.ndarray:
        """Waves of w with u_x + w_z = 0 that vanish at the lower wall."""
        source = self.spectrum(-1j * self.k * self.forward(u))
        rows, nodes, waves = source.shape
        flat = source.transpose(0, 2, 1).reshape(-1, nodes)
        pairs = np.concatenate([flat.real, flat.imag])
        parts = self.integral(pairs)
        whole = parts[: rows * waves] + 1j * parts[rows * waves :]
        return self.on_nodes(whole.reshape(rows, waves, nodes).transpose(0, 2, 1))

    @property
    def fits(self) -> bool:
        """False where the matrices would be too large."""
        return self.nodes <= _MOST_NODES

    @property
    def _order(self) -> list[int]:
        others = [i for i in range(len(self.shape)) if i not in (self.across, self.along)]
        return [*others, self.across, self.along]

    def rows(self, values: np.ndarray) -> np.ndarray:
        """Fields (rows, nodes, points) as float64."""
        moved = values.astype(np.float64).transpose(self._order)
        return moved.reshape(-1, self.nodes, self.points)

    def whole(self, rows: np.ndarray) -> np.ndarray:
        """Inverse of `rows`."""
        moved = rows.reshape([self.shape[i] for i in self._order])
        return np.ascontiguousarray(moved.transpose(np.argsort(self._order)))

    def forward(self, values: np.ndarray) -> np.ndarray:
        """Values -> (rows, nodes of values, wavenumbers)."""
        return np.asarray(fft.rfft(self.rows(values), axis=2))

    def backward(self, modes: np.ndarray) -> np.ndarray:
        """Inverse of `forward`."""
        return self.whole(fft.irfft(modes, n=self.points, axis=2))

    def spectrum(self, modes: np.ndarray) -> np.ndarray:
        """Chebyshev coefficients of values on the nodes."""
        # the nodes of the transform descend
        out = fft.dct(modes[:, ::-1], type=2, axis=1) / self.nodes
        out[:, 0] /= 2
        return np.asarray(out)

    def on_nodes(self, coefficients: np.ndarray) -> np.ndarray:
        """Inverse of `spectrum`."""
        scaled = coefficients * self.nodes
        scaled[:, 0] *= 2
        return np.asarray(fft.idct(scaled, type=2, axis=1)[:, ::-1])

    def across_slope(self, modes: np.ndarray) -> np.ndarray:
        """Derivative across the layer, on the nodes."""
        return self.on_nodes(_derived(self.spectrum(modes)))

    def poisson(self, source: np.ndarray, walls: np.ndarray, flux: bool) -> np.ndarray:
        """Coefficients of s with (d2/dz2 - k2) s = source, and s or its slope given at the walls.

        source : coefficients (rows, nodes, wavenumbers); walls : (2, rows, wavenumbers), top first.
        The two highest coefficients of the equation give way. For k = 0 with given slopes there
        is no answer: zero.
        """
        curved = self.slope @ self.slope
        ends = np.stack([self.top, self.bottom])
        ends = ends @ self.slope if flux else ends
        right = source.copy()
        right[:, -2:] = np.moveaxis(walls, 0, 1)
        out = np.zeros_like(right)
        for i, k in enumerate(self.k):
            if flux and k == 0:
                continue
            matrix = curved - k * k * np.eye(self.nodes)
            matrix[-2:] = ends
            given = right[:, :, i].T
            parts = np.linalg.solve(matrix, np.concatenate([given.real, given.imag], axis=1))
            out[:, :, i] = (parts[:, : len(right)] + 1j * parts[:, len(right) :]).T
        return out

    def integral(self, source: np.ndarray) -> np.ndarray:
        """Coefficients of the integral from below of coefficients (rows, nodes)."""
        matrix, right = self.slope.copy(), source.copy()
        matrix[-1], right[:, -1] = self.bottom, 0
        return np.asarray(np.linalg.solve(matrix, right.T).T)

    def velocity(self, vorticity: np.ndarray, component: str) -> np.ndarray:
        """``u`` or ``w`` from the vorticity."""
        source = self.spectrum(self.forward(vorticity))
        still = np.zeros((2, source.shape[0], self.k.size))
        stream = self.poisson(source, still, flux=False)
        if component == "w":
            return self.backward(1j * self.k * self.on_nodes(stream))
        along = -_derived(stream)
        along[:, :, 0] = -self.integral(source[:, :, 0])
        return self.backward(self.on_nodes(along))

    def flow_pressure(self, u: np.ndarray, w: np.ndarray) -> np.ndarray:
        """``q``: pressure of the flow."""
        a, b = self.forward(u), self.forward(w)
        squares = 2 * self.backward(self.across_slope(a)) * self.backward(1j * self.k * b)
        squares += self.backward(1j * self.k * a) ** 2
        squares += self.backward(self.across_slope(b)) ** 2
        source = self.spectrum(self.forward(-squares))
        out = self.poisson(source, np.zeros((2, source.shape[0], self.k.size)), flux=True)
        modes = self.on_nodes(out)
        modes[:, :, 0] = -self.forward(w.astype(np.float64) ** 2)[:, :, 0]
        return self.backward(modes)

    def force_pressure(self, force: np.ndarray) -> np.ndarray:
        """``b``: pressure that holds a force."""
        modes = self.forward(force)
        source = self.spectrum(self.across_slope(modes))
        coefficients = self.spectrum(modes)
        out = self.poisson(source, self._ends(coefficients), flux=True)
        out[:, :, 0] = self.integral(coefficients[:, :, 0])
        return self.backward(self.on_nodes(out))

    def viscous_pressure(self, w: np.ndarray) -> np.ndarray:
        """``v``: pressure of viscous forces at the walls."""
        curved = _derived(_derived(self.spectrum(self.forward(w))))
        out = self.poisson(np.zeros_like(curved), self._ends(curved), flux=True)
        return self.backward(self.on_nodes(out))

    def _ends(self, coefficients: np.ndarray) -> np.ndarray:
        """Values at both walls."""
        ends = np.stack([self.top, self.bottom])
        return np.asarray(np.einsum("en,rnk->erk", ends, coefficients))

    def level(self, values: np.ndarray) -> np.ndarray:
        """Values without the mean of each field, of which a pressure has none."""
        axes = (self.across, self.along)
        return np.asarray(values - values.mean(axis=axes, keepdims=True, dtype=np.float64))

    def term(self, by: str, values: list[np.ndarray]) -> np.ndarray | None:
        """The operator of that name; None if there is none."""
        if by in ("u", "w") and len(values) == 1:
            return self.velocity(values[0], by)
        if by == "q" and len(values) == 2:
            return self.level(self.flow_pressure(*values))
        if by == "b" and len(values) == 1:
            return self.level(self.force_pressure(values[0]))
        if by == "v" and len(values) == 1:
            return self.level(self.viscous_pressure(values[0]))
        return None


def vorticity(layer: Layer, u: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives of w along and of u across the layer."""
    first = layer.backward(1j * layer.k * layer.forward(w))
    return first, layer.backward(layer.across_slope(layer.forward(u)))


def _slope(n: int) -> np.ndarray:
    """Derivative of a Chebyshev series, coefficients to coefficients."""
    out = np.zeros((n, n))
    for column in range(n):
        out[(column + 1) % 2 : column : 2, column] = 2 * column
    out[0] /= 2
    return out


def _derived(coefficients: np.ndarray) -> np.ndarray:
    """Derivative of Chebyshev series (rows, coefficients, wavenumbers)."""
    out = np.zeros_like(coefficients)
    for order in range(coefficients.shape[1] - 1, 0, -1):
        out[:, order - 1] = 2 * order * coefficients[:, order]
        if order + 1 < coefficients.shape[1]:
            out[:, order - 1] += out[:, order + 1]
    out[:, 0] /= 2
    return out
