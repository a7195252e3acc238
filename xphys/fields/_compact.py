"""Compact (Pade) differences on plain arrays, the axis of differentiation last."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xphys.fields._stencils import Stencil, differentiate

__all__ = ["COMPACT_ORDERS", "Compact", "compact_derivative", "make_compact"]

COMPACT_ORDERS = (4, 6)

# Order -> of the rows 0, 1, ... and of all inner ones: places of the neighbours whose derivatives
# enter, and of the points whose values do. Together one more than the order: all are determined.
_ROWS = {
    4: (((1,), range(4)), ((-1, 1), range(-1, 2))),
    6: (((1,), range(6)), ((-1, 1), range(-1, 4)), ((-1, 1), range(-2, 3))),
}

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Compact:
    """Tridiagonal system of a first derivative on n points.

    Attributes
    ----------
    values : Stencil
        The right side: weights of the values.
    lower : ndarray, shape (n,)
        What the derivative before enters with; 0 in the first row.
    upper : ndarray, shape (n,)
        After elimination, what the derivative behind enters with; 0 in the last row.
    scale : ndarray, shape (n,)
        Inverse of the pivots of the elimination.
    """

    values: Stencil
    lower: Floats
    upper: Floats
    scale: Floats


def make_compact(n: int, step: float, order: int) -> Compact:
    r"""Coefficients of compact differences, at the ends too of the stated order.

    Inside, :math:`\alpha f'_{i-1} + f'_i + \alpha f'_{i+1} = a (f_{i+1} - f_{i-1})/2h
    + b (f_{i+2} - f_{i-2})/4h` with :math:`\alpha, a, b` = 1/4, 3/2, 0 (order 4) or 1/3, 14/9, 1/9
    (order 6), as in Lele, J. Comput. Phys. 103 (1992) 16, doi:10.1016/0021-9991(92)90324-R;
    at the ends one-sided, exact for the same polynomials.

    Parameters
    ----------
    n : int
        Number of points, more than the order.
    step : float
        Their distance, negative if positions fall.
    order : {4, 6}
        Order of accuracy.

    Returns
    -------
    Compact
        The eliminated system.
    """
    table = [_row(*places) for places in _ROWS[order]]
    inner = len(table) - 1
    starts = np.clip(np.arange(n) - order // 2, 0, n - order - 1)
    weights = np.zeros((n, order + 1))
    slopes = np.zeros((n, 2))
    for i in range(n):
        mirrored = n - 1 - i < inner
        near, far = table[min(i, n - 1 - i, inner)]
        for place, number in near.items():
            slopes[i, int((place > 0) != mirrored)] = float(number)
        for place, number in far.items():
            at, sign = (i - place, -1.0) if mirrored else (i + place, 1.0)
            weights[i, at - starts[i]] = sign * float(number) / step
    return _eliminated(Stencil(order, weights, starts.astype(np.int64), wraps=False), slopes)


def _row(near: tuple[int, ...], far: range) -> tuple[dict[int, Fraction], dict[int, Fraction]]:
    """Factors of the derivatives and of the values, exact for polynomials up to the order."""
    size = len(near) + len(far)
    # f'_0 = -sum_near c f' + sum_far w f for the powers 0 ... size - 1
    rows = []
    for power in range(size):
        slopes = [-Fraction(power * p ** (power - 1)) if power else Fraction(0) for p in near]
        values = [Fraction(p**power) for p in far]
        rows.append([*slopes, *values, Fraction(1 if power == 1 else 0)])
    found = _solved(rows)
    return dict(zip(near, found, strict=False)), dict(zip(far, found[len(near) :], strict=True))


def _solved(rows: list[list[Fraction]]) -> list[Fraction]:
    """Gauss-Jordan elimination without rounding; the right side is the last column."""
    size = len(rows)
    for column in range(size):
        pivot = next(i for i in range(column, size) if rows[i][column] != 0)
        rows[column], rows[pivot] = rows[pivot], rows[column]
        head = [value / rows[column][column] for value in rows[column]]
        rows = [
            head if i == column else [v - row[column] * h for v, h in zip(row, head, strict=True)]
            for i, row in enumerate(rows)
        ]
    return [row[-1] for row in rows]


def _eliminated(values: Stencil, slopes: Floats) -> Compact:
    n = len(slopes)
    upper, scale = np.zeros(n), np.ones(n)
    for i in range(n):
        scale[i] = 1.0 / (1.0 - (slopes[i, 0] * upper[i - 1] if i else 0.0))
        upper[i] = slopes[i, 1] * scale[i]
    return Compact(values, slopes[:, 0], upper, scale)


def compact_derivative(field: NDArray[Any], *, compact: Compact) -> Floats:
    """Differentiate along the last axis.

    Parameters
    ----------
    field : ndarray, shape (..., n)
        Real values.
    compact : Compact
        From `make_compact`.

    Returns
    -------
    ndarray, shape (..., n)
        float64. Arithmetic is point by point, so that a line has the same bits whatever lies
        beside it. A value that is not finite spreads over its whole line.
    """
    slopes = np.moveaxis(differentiate(field, compact.values), -1, 0).copy()
    with np.errstate(invalid="ignore", over="ignore"):
        slopes[0] *= compact.scale[0]
        for i in range(1, len(slopes)):
            slopes[i] -= compact.lower[i] * slopes[i - 1]
            slopes[i] *= compact.scale[i]
        for i in range(len(slopes) - 2, -1, -1):
            slopes[i] -= compact.upper[i] * slopes[i + 1]
    return np.moveaxis(slopes, 0, -1)
