"""Poisson's equation between walls: bases of the second derivative of fields that vanish there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from xphys.errors import SchemaError
from xphys.fields._kernels import chebyshev_matrix

__all__ = ["Walls", "chebyshev_walls", "difference_walls", "times_matrix", "weighted_sum"]

Floats = NDArray[np.float64]
# A point closer to a wall than this share of a step lies on it.
_ON_WALL = 1e-6


@dataclass(frozen=True, eq=False)
class Walls:
    """Axis between two walls, and the functions on it that vanish at both.

    Attributes
    ----------
    name : str
        The dim.
    low, high : float
        Positions of the walls, before the first and behind the last point.
    points : ndarray, shape (n,)
        Positions.
    forward : ndarray, shape (m, n)
        Values to coefficients; m is n without the points on a wall.
    backward : ndarray, shape (n, m)
        Coefficients to values.
    wavenumbers : ndarray, shape (m,)
        Roots of minus the eigenvalues of the second derivative.
    text : str
        What goes into the attribute ``method``.
    """

    name: str
    low: float
    high: float
    points: Floats
    forward: Floats
    backward: Floats
    wavenumbers: Floats
    text: str


def chebyshev_walls(name: str, points: Floats, kind: str, low: float, high: float) -> Walls:
    """Collocation: the polynomial through the points and 0 at both walls satisfies the equation.

    Parameters
    ----------
    name : str
        The dim.
    points : ndarray, shape (n,)
        A Chebyshev grid.
    kind : {"roots", "extrema"}
        Which one.
    low, high : float
        Its ends.

    Returns
    -------
    Walls
        The basis.
    """
    n = points.size
    first = chebyshev_matrix(n, kind, 2.0)
    second = first @ first
    if kind == "roots":  # psi = (1 - s^2) q, and q is the polynomial through the points
        s = (points - (low + high) / 2) / ((high - low) / 2)
        bubble = 1 - s**2
        second = bubble[:, None] * second - 4 * s[:, None] * first - 2 * np.eye(n)
        second /= bubble
        inner = slice(None)
    else:
        inner = slice(1, -1)
        second = second[inner, inner]
    values, vectors = scipy.linalg.eig(second)
    order = np.argsort(-values.real)
    eigenvalues, modes = values.real[order], vectors.real[:, order]
    if not (eigenvalues < 0).all() or np.abs(values.imag).max() > 1e-6 * np.abs(values).max():
        raise SchemaError(
            f"axis {name!r}: {n} Chebyshev points are too many for a Poisson equation in float64"
        )
    backward = np.zeros((n, modes.shape[1]))
    backward[inner] = modes
    forward = np.zeros((modes.shape[1], n))
    forward[:, inner] = np.linalg.inv(modes)
    numbers = np.sqrt(-eigenvalues) * abs(2 / (high - low))
    return Walls(name, low, high, points, forward, backward, numbers, "Chebyshev collocation")


def difference_walls(name: str, points: Floats, low: float, high: float) -> Walls:
    """Three-point differences of order 2 between the points and the walls.

    Parameters
    ----------
    name : str
        The dim.
    points : ndarray, shape (n,)
        Strictly monotonic.
    low, high : float
        Positions of the walls, not between points.

    Returns
    -------
    Walls
        The basis.
    """
    step = np.abs(np.diff(points))
    first = 1 if abs(points[0] - low) <= _ON_WALL * step[0] else 0
    last = points.size - (1 if abs(points[-1] - high) <= _ON_WALL * step[-1] else 0)
    nodes = np.concatenate([[low], points[first:last], [high]])
    gaps = np.abs(np.diff(nodes))
    before, behind = gaps[:-1], gaps[1:]
    lower, upper = 2 / (before * (before + behind)), 2 / (behind * (before + behind))
    # made symmetric by a diagonal matrix: eigenvectors that are orthogonal
    beside = np.sqrt(upper[:-1] * lower[1:])
    ratios = np.sqrt(lower[1:] / upper[:-1])
    scale = np.cumprod(np.concatenate([[1.0], ratios]))[:, None]
    values, vectors = scipy.linalg.eigh_tridiagonal(-(lower + upper), beside)
    forward, backward = np.zeros((values.size, points.size)), np.zeros((points.size, values.size))
    forward[:, first:last] = (vectors / scale).T
    backward[first:last] = vectors * scale
    text = "finite differences of order 2"
    return Walls(name, low, high, points, forward, backward, np.sqrt(-values), text)


def times_matrix(field: NDArray[Any], *, matrix: Floats) -> Floats:
    """Matrix (m, n) times each line (..., n): float64, the same bits whatever lies beside it."""
    work = np.array(field, dtype=np.float64, order="C")
    with np.errstate(all="ignore"):
        return np.asarray(np.matmul(matrix, work[..., None])[..., 0])


def weighted_sum(field: NDArray[Any], *, weights: Floats) -> Floats:
    """Sum along the last axis, float64."""
    work = np.array(field, dtype=np.float64, order="C")
    with np.errstate(all="ignore"):
        work *= weights
        return np.asarray(work.sum(axis=-1))
