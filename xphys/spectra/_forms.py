"""Quadratic forms of Fourier modes: what each mode adds to its shell.

A form takes the modes of its fields and two wavevectors, and gives a real float64 array. In the
first wavevector the Nyquist mode is 0, as for a derivative on the grid; the second is the true one.
Fields that are components of a vector come in the order x, y, z.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FORMS"]

Modes = NDArray[np.complexfloating[Any, Any]]
Floats = NDArray[np.float64]
Vector = list[Floats]


def _product(a: Modes, b: Modes) -> tuple[Floats, Floats]:
    """Real and imaginary part of a b*, in float64."""
    ar, ai = a.real.astype(np.float64), a.imag.astype(np.float64)
    return ar * b.real + ai * b.imag, ai * b.real - ar * b.imag


def _cospectrum(modes: list[Modes], derivative: Vector, true: Vector) -> Floats:
    return _product(modes[0], modes[1])[0]


def _quadrature(modes: list[Modes], derivative: Vector, true: Vector) -> Floats:
    return _product(modes[0], modes[1])[1]


def _helicity(modes: list[Modes], derivative: Vector, true: Vector) -> Floats:
    # u* . (i k x u) = 2 k . (Re u x Im u) = 2 k . (Im(u_{j+1}* u_{j+2}))
    total: Floats = np.zeros(1)
    for j, k in enumerate(derivative):
        total = total + 2 * k * _product(modes[(j + 2) % 3], modes[(j + 1) % 3])[1]
    return total


def _potential_helicity(modes: list[Modes], derivative: Vector, true: Vector) -> Floats:
    # b . a with a = i k x b / k^2, the vector potential without divergence
    return _helicity(modes, derivative, true) * _inverse(_square(true))


def _curl_energy(modes: list[Modes], derivative: Vector, true: Vector) -> Floats:
    total: Floats = np.zeros(1)
    for j in range(3):
        a, b = (j + 1) % 3, (j + 2) % 3
        curl = derivative[a] * modes[b] - derivative[b] * modes[a]
        total = total + 0.5 * _product(curl, curl)[0]
    return total


def _stream_energy(modes: list[Modes], derivative: Vector, true: Vector) -> Floats:
    # psi = omega / k^2; (|k_x psi|^2 + |k_y psi|^2) / 2
    return 0.5 * _product(modes[0], modes[0])[0] * _inverse(_square(true))


def _square(vector: Vector) -> Floats:
    return np.asarray(sum(k**2 for k in vector))


def _inverse(square: Floats) -> Floats:
    return np.divide(1.0, square, out=np.zeros_like(square), where=square > 0)


#: Name -> what each mode adds. "power" has a compiled loop of its own.
FORMS: dict[str, Callable[[list[Modes], Vector, Vector], Floats]] = {
    "cospectrum": _cospectrum,
    "quadrature": _quadrature,
    "helicity": _helicity,
    "potential_helicity": _potential_helicity,
    "curl_energy": _curl_energy,
    "stream_energy": _stream_energy,
}
