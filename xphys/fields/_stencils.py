"""Finite differences on plain arrays, the axis of differentiation last."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ORDERS", "Stencil", "differentiate", "make_stencil"]

ORDERS = (2, 4, 6)


@dataclass(frozen=True, eq=False)
class Stencil:
    """First derivative of stated order on n points, row by row.

    Attributes
    ----------
    order : int
        Order of accuracy p; each row has p + 1 weights.
    weights : ndarray, shape (n, p + 1)
        Weights of the points ``start[i] ... start[i] + p``.
    starts : ndarray of int64, shape (n,)
        First point of each row; below 0 or beyond n - p - 1 only if the axis wraps.
    wraps : bool
        The axis is periodic.
    """

    order: int
    weights: NDArray[np.float64]
    starts: NDArray[np.int64]
    wraps: bool

    @property
    def depth(self) -> int:
        """Points that a block needs from each neighbour, if it has ``order`` points itself."""
        return self.order // 2


def make_stencil(
    positions: NDArray[np.float64], order: int, *, uniform: bool, wraps: bool
) -> Stencil:
    """Weights of the derivative of the polynomial through the p + 1 nearest points.

    Central inside; at the ends of an open axis the points that exist, so that the order is the
    same. Weights as in Fornberg, Math. Comp. 51 (1988) 699, doi:10.1090/S0025-5718-1988-0935077-0.

    Parameters
    ----------
    positions : ndarray, shape (n,)
        Strictly monotonic; n > order for an open axis.
    order : {2, 4, 6}
        Order of accuracy.
    uniform : bool
        Use one step, (last - first)/(n - 1), and exact rational weights.
    wraps : bool
        The last point is the neighbour of the first; needs ``uniform``.

    Returns
    -------
    Stencil
        Weights and starts of each row.
    """
    n = positions.size
    rows = np.arange(n)
    starts = rows - order // 2
    if not wraps:
        starts = np.clip(starts, 0, n - order - 1)
    if uniform:
        step = (positions[-1] - positions[0]) / (n - 1)
        table = np.array([_rational_weights(order, at) for at in range(order + 1)])
        weights = table[rows - starts] / step
    else:
        weights = _weights(positions[starts[:, None] + np.arange(order + 1)], rows - starts)
    return Stencil(order, weights, starts.astype(np.int64), wraps)


def _rational_weights(order: int, at: int) -> list[float]:
    """Weights on the points 0 ... order at point ``at``, rounded once."""
    result = []
    for j in range(order + 1):
        others = [m for m in range(order + 1) if m not in (j, at)]
        weight = Fraction(0)
        if j != at:
            weight = Fraction(1, j - at)
            for m in others:
                weight *= Fraction(at - m, j - m)
        result.append(float(weight))
    return result


def _weights(nodes: NDArray[np.float64], at: NDArray[np.int64]) -> NDArray[np.float64]:
    """Derivatives of the Lagrange polynomials of each row's nodes at one of its nodes."""
    rows = np.arange(len(nodes))
    here = nodes[rows, at][:, None]
    gaps = nodes[:, :, None] - nodes[:, None, :]
    gaps[:, range(nodes.shape[1]), range(nodes.shape[1])] = 1.0
    lengths = gaps.prod(axis=2)  # of the node polynomial without the factor of the node itself
    distance = nodes - here
    distance[rows, at] = 1.0
    weights = -lengths[rows, at][:, None] / lengths / distance
    weights[rows, at] = 0.0  # the sum of all is zero: see differentiate
    return np.asarray(weights)


def differentiate(
    block: NDArray[Any], stencil: Stencil, *, first: int = 0, rows: slice | None = None
) -> NDArray[np.float64]:
    r"""Differentiate along the last axis: :math:`f'_i = \sum_j w_{ij} (f_j - f_i)`.

    The differences make a constant vanish exactly; the sum over j runs from left to right in
    float64, point by point, so that a block gives the bits of the whole.

    Parameters
    ----------
    block : ndarray, shape (..., m)
        Real values of the points ``first ... first + m - 1``. By default all n points; those of
        a periodic axis are then wrapped here.
    stencil : Stencil
        Weights.
    first : int
        Index of the first point of the block, negative for a halo before point 0.
    rows : slice, optional
        Points to give the derivative at, all by default.

    Returns
    -------
    ndarray, shape (..., number of rows)
        float64. A value that is not finite spreads to the rows that use it.
    """
    n = stencil.starts.size
    chosen = range(n)[rows or slice(None)]
    values = np.asarray(block, dtype=np.float64)
    if rows is None and stencil.wraps:
        first = -stencil.depth
        values = values[..., np.arange(first, n + stencil.depth) % n]
    result = np.zeros((*values.shape[:-1], len(chosen)))
    starts = stencil.starts[chosen.start : chosen.stop] - first
    weights = stencil.weights[chosen.start : chosen.stop]
    centres = np.arange(chosen.start, chosen.stop) - first
    ends = np.flatnonzero(np.diff(starts) != 1) + 1
    with np.errstate(invalid="ignore", over="ignore"):
        for low, high in zip([0, *ends], [*ends, len(chosen)], strict=True):
            size = high - low
            centre = values[..., centres[low] : centres[low] + size]
            for j in range(stencil.order + 1):
                node = starts[low] + j
                if node != centres[low]:
                    part = values[..., node : node + size] - centre
                    result[..., low:high] += weights[low:high, j] * part
    return result
