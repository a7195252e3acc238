"""Spectral and Chebyshev calculus on plain arrays, the axis last; arithmetic point by point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from xphys.errors import SchemaError

__all__ = [
    "absolute",
    "angular_wavenumbers",
    "bound_widths",
    "chebyshev_derivative",
    "chebyshev_kind",
    "chebyshev_matrix",
    "chebyshev_weights",
    "divide",
    "from_modes",
    "ideal_energy",
    "ideal_pressure",
    "linear",
    "over_laplacian",
    "power",
    "products",
    "result_dtype",
    "spectral_derivative",
    "to_modes",
]

# Positions may be off the points of a Chebyshev grid by this share of the local step.
_NODE_TOLERANCE = 1e-2


def result_dtype(*dtypes: np.dtype[Any]) -> np.dtype[Any]:
    """Floating type of a result: float32 if all are floats of up to 4 bytes, else float64."""
    single = all(dtype.kind == "f" and dtype.itemsize <= 4 for dtype in dtypes)
    return np.dtype(np.float32 if single and dtypes else np.float64)


def angular_wavenumbers(n: int, period: float, *, half: bool) -> NDArray[np.float64]:
    """Angular wavenumbers of the modes of n points, the Nyquist mode of an even n as 0.

    A first derivative of the Nyquist mode does not exist on the grid: it vanishes at each point.

    Parameters
    ----------
    n : int
        Number of points.
    period : float
        Length; negative for a falling axis.
    half : bool
        Modes of a real transform (0 ... n // 2) instead of all in FFT order.

    Returns
    -------
    ndarray, shape (n // 2 + 1,) or (n,)
        In the inverse unit of the period.
    """
    modes = np.arange(n // 2 + 1.0) if half else scipy.fft.fftfreq(n, 1 / n)
    if n % 2 == 0:
        modes[n // 2] = 0.0
    return 2 * np.pi / period * modes


def spectral_derivative(field: NDArray[Any], *, period: float) -> NDArray[np.float64]:
    """Differentiate a periodic field along the last axis: exact for each mode below Nyquist.

    Parameters
    ----------
    field : ndarray, shape (..., n)
        Real values.
    period : float
        Length of the period, negative if positions fall. The Nyquist mode of an even n is zeroed.

    Returns
    -------
    ndarray, shape (..., n)
        float64. A value that is not finite spreads over its whole line.
    """
    # One memory order, because sums along an axis depend on it to the last bit.
    work = np.array(field, dtype=np.float64, order="C")
    n = work.shape[-1]
    with np.errstate(invalid="ignore", over="ignore"):
        # The mean has no derivative, but a large one would cost the other modes their digits.
        work -= work.mean(axis=-1, keepdims=True)
        modes = scipy.fft.rfft(work, axis=-1, overwrite_x=True)
        modes *= 1j * angular_wavenumbers(n, period, half=True)
        result: NDArray[np.float64] = scipy.fft.irfft(modes, n=n, axis=-1, overwrite_x=True)
        return result


def _angles(n: int, kind: str) -> NDArray[np.float64]:
    index = np.arange(n)
    return np.pi * (2 * index + 1) / (2 * n) if kind == "roots" else np.pi * index / (n - 1)


def chebyshev_kind(positions: NDArray[np.float64]) -> tuple[str, float, float] | None:
    """Name the Chebyshev grid that positions lie on, with the ends of its interval.

    Parameters
    ----------
    positions : ndarray, shape (n,)
        Strictly monotonic.

    Returns
    -------
    tuple or None
        "roots" (Gauss, ends outside the points) or "extrema" (Gauss-Lobatto, ends are points),
        end before the first and after the last point; None if each is missed by more than 1 %
        of the local step.
    """
    n = positions.size
    if n < 4:  # three points in equal distances are on both grids
        return None
    for kind in ("roots", "extrema"):
        nodes = -np.cos(_angles(n, kind))
        half = (positions[-1] - positions[0]) / (nodes[-1] - nodes[0])
        middle = (positions[-1] + positions[0]) / 2
        exact = middle + half * nodes
        steps = np.abs(np.gradient(exact))
        if (np.abs(positions - exact) <= _NODE_TOLERANCE * steps).all():
            return kind, float(middle - half), float(middle + half)
    return None


def chebyshev_matrix(n: int, kind: str, length: float) -> NDArray[np.float64]:
    r"""Differentiation matrix of the polynomial through all n points (barycentric form).

    :math:`D_{ij} = (w_j/w_i)/(x_i - x_j)`, :math:`D_{ii} = -\sum_{j\ne i} D_{ij}`, with the
    differences of positions from products of sines (Baltensperger and Trummer, SIAM J. Sci.
    Comput. 24 (2003) 1465, doi:10.1137/S1064827501388182).

    Parameters
    ----------
    n : int
        Number of points.
    kind : {"roots", "extrema"}
        Grid.
    length : float
        Length of the interval, negative if positions fall.

    Returns
    -------
    ndarray, shape (n, n)
        Times a column of values gives their derivative.
    """
    angle = _angles(n, kind)
    sign = (-1.0) ** np.arange(n)
    weight = sign * np.sin(angle) if kind == "roots" else sign
    if kind == "extrema":
        weight[[0, -1]] /= 2
    # x_i - x_j of x = -cos(angle)
    total, gap = angle[:, None] + angle, angle[:, None] - angle
    distance = 2 * np.sin(total / 2) * np.sin(gap / 2)
    np.fill_diagonal(distance, 1.0)
    matrix = weight / weight[:, None] / distance
    np.fill_diagonal(matrix, 0.0)
    np.fill_diagonal(matrix, -matrix.sum(axis=1))
    return np.asarray(matrix * (2 / length))


def chebyshev_derivative(field: NDArray[Any], *, matrix: NDArray[np.float64]) -> NDArray[Any]:
    """Differentiate along the last axis by a matrix.

    Parameters
    ----------
    field : ndarray, shape (..., n)
        Real values.
    matrix : ndarray, shape (n, n)
        From `chebyshev_matrix`.

    Returns
    -------
    ndarray, shape (..., n)
        float64. A value that is not finite spreads over its whole line.
    """
    work = np.array(field, dtype=np.float64, order="C")
    with np.errstate(invalid="ignore", over="ignore"):
        work -= work.mean(axis=-1, keepdims=True)  # a constant has no derivative, to the last bit
        # Line by line: the bits of a product of matrices depend on the number of lines.
        result: NDArray[Any] = np.matmul(matrix, work[..., None])[..., 0]
        return result


def chebyshev_weights(n: int, kind: str, length: float) -> NDArray[np.float64]:
    """Weights of the integral of the polynomial through all points.

    Fejer's first rule on roots, Clenshaw-Curtis on extrema (Waldvogel, BIT 46 (2006) 195,
    doi:10.1007/s10543-006-0045-4), exact for polynomials of degree n - 1.

    Parameters
    ----------
    n : int
        Number of points.
    kind : {"roots", "extrema"}
        Grid.
    length : float
        Length of the interval.

    Returns
    -------
    ndarray, shape (n,)
        Their sum is the length.
    """
    angle = _angles(n, kind)
    modes = np.arange(0, n, 2)  # integrals of odd Chebyshev polynomials vanish
    integral = 2 / (1 - modes**2.0)
    norm = np.where(modes == 0, 1.0, 2.0)
    if kind == "extrema":
        norm = np.where(modes == n - 1, 1.0, norm)
        scale = np.full(n, 1.0 / (n - 1))
        scale[[0, -1]] /= 2
    else:
        scale = np.full(n, 1.0 / n)
    series = (norm * integral) @ np.cos(modes[:, None] * angle)
    return np.asarray(scale * series * abs(length) / 2)


def bound_widths(edges: NDArray[Any], *, positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Widths of cells from their edges.

    Parameters
    ----------
    edges : ndarray, shape (n, 2)
        Both edges of each cell, in any order.
    positions : ndarray, shape (n,)
        Strictly monotonic points in the cells.

    Returns
    -------
    ndarray, shape (n,)
        Positive.

    Raises
    ------
    SchemaError
        If a cell is empty, overlaps its neighbour or does not hold its point.
    """
    pairs = np.sort(np.asarray(edges, dtype=np.float64), axis=1)
    rising = pairs[np.argsort(positions)]
    low, high = pairs.T
    slack = 1e-6 * (high - low)
    apart = rising[1:, 0] - rising[:-1, 1] >= -1e-6 * (rising[1:, 1] - rising[1:, 0])
    holds = (low - slack <= positions) & (positions <= high + slack)
    if not (np.isfinite(pairs).all() and (high > low).all() and holds.all() and apart.all()):
        raise SchemaError(
            "expected bounds of cells that hold their points and do not overlap: mend them, or "
            "drop them with .drop_vars"
        )
    return np.asarray(high - low)


def _double(array: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(array, dtype=np.float64)


def products(*arrays: NDArray[Any], factors: Sequence[float]) -> NDArray[np.float64]:
    """Sum of products point by point: ``factors[i] * arrays[2 i] * arrays[2 i + 1]``, float64."""
    with np.errstate(all="ignore"):
        pairs = zip(factors, arrays[::2], arrays[1::2], strict=True)
        terms = [factor * (_double(a) * _double(b)) for factor, a, b in pairs]
        return _total(terms)


def linear(*arrays: NDArray[Any], factors: Sequence[float]) -> NDArray[np.float64]:
    """Sum ``factors[i] * arrays[i]`` point by point, float64."""
    with np.errstate(all="ignore"):
        return _total([f * _double(a) for f, a in zip(factors, arrays, strict=True)])


def _total(terms: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    result = terms[0]
    for term in terms[1:]:
        result = result + term
    return result


def divide(above: NDArray[Any], below: NDArray[Any]) -> NDArray[np.float64]:
    """Quotient point by point, float64: infinite or NaN over 0, without a warning."""
    with np.errstate(all="ignore"):
        return np.asarray(_double(above) / _double(below))


def ideal_pressure(energy: NDArray[Any], gamma: NDArray[Any]) -> NDArray[np.float64]:
    """Pressure of an ideal gas, (gamma - 1) times the internal energy density, float64.

    Raises
    ------
    SchemaError
        If a gamma is not above 1.
    """
    with np.errstate(all="ignore"):
        return np.asarray(_above_one(gamma) * _double(energy))


def ideal_energy(pressure: NDArray[Any], gamma: NDArray[Any]) -> NDArray[np.float64]:
    """Internal energy density of an ideal gas, pressure over (gamma - 1), float64.

    Raises
    ------
    SchemaError
        If a gamma is not above 1.
    """
    with np.errstate(all="ignore"):
        return np.asarray(_double(pressure) / _above_one(gamma))


def _above_one(gamma: NDArray[Any]) -> NDArray[np.float64]:
    work = _double(gamma)
    if not (work > 1).all():
        raise SchemaError(f"expected gamma above 1, got {float(work.min()):.6g}")
    return work - 1


def to_modes(field: NDArray[Any], *, half: bool) -> NDArray[np.complex128]:
    """Fourier modes along the last axis: n // 2 + 1 of a real field (half), all of a complex."""
    work = np.array(field, dtype=np.float64 if half else np.complex128, order="C")
    with np.errstate(all="ignore"):
        transform = scipy.fft.rfft if half else scipy.fft.fft
        result: NDArray[np.complex128] = transform(work, axis=-1, overwrite_x=True)
        return result


def from_modes(modes: NDArray[Any], *, n: int, half: bool) -> NDArray[Any]:
    """Field of n points from its modes along the last axis: the inverse of `to_modes`."""
    work = np.array(modes, dtype=np.complex128, order="C")
    with np.errstate(all="ignore"):
        transform = scipy.fft.irfft if half else scipy.fft.ifft
        result: NDArray[Any] = transform(work, n=n, axis=-1, overwrite_x=True)
        return result


def over_laplacian(*arrays: NDArray[Any], factors: Sequence[complex]) -> NDArray[Any]:
    """Sum of ``factors[i] * k[i] * modes[i]`` over the square of the wavenumber.

    Parameters
    ----------
    *arrays : ndarray
        Pairs of wavenumbers and modes, then the wavenumbers along each axis; they broadcast.
    factors : sequence of complex
        One per pair.

    Returns
    -------
    ndarray
        complex128; 0 where the square of the wavenumber is 0: the mean, and modes that are
        Nyquist or constant along all axes. NaN there if the sum is not finite.
    """
    count = 2 * len(factors)
    with np.errstate(all="ignore"):
        pairs = zip(factors, arrays[:count:2], arrays[1:count:2], strict=True)
        total = sum(factor * (k * modes) for factor, k, modes in pairs)
        square = sum(k**2 for k in arrays[count:])
        return np.asarray(total / np.where(square == 0, 1.0, square) * (square != 0))


def power(array: NDArray[Any], *, exponent: float) -> NDArray[np.float64]:
    """Power point by point, float64: NaN for the root of a negative number."""
    with np.errstate(all="ignore"):
        work = _double(array)
        return np.asarray(np.sqrt(work) if exponent == 0.5 else work**exponent)


def absolute(field: NDArray[Any]) -> NDArray[np.float64]:
    """Absolute value, float64."""
    return np.abs(_double(field))
