r"""Proper orthogonal modes of one axis (usually time), fitted to the data and stored.

With the axis first, a (n, m) matrix A has modes :math:`u_i` with :math:`A A^T u_i = \sigma_i^2
u_i`. Written are the cosine series of :math:`\sigma_i u_i`, all rounded to one step: a rounding
then takes equally much energy out of every mode. Rounded modes are made orthonormal again, so
the norm of coefficients is kept and only what lies outside of their span is lost.
"""

from __future__ import annotations

import numpy as np
from scipy import fft

__all__ = ["MOST_STEPS", "fit", "orthonormal"]

# longest axis that modes are fitted to: the work grows with its square
MOST_STEPS = 256
# a mode that keeps less than this share of its length beside the earlier ones is left out
_INDEPENDENT = 0.25


def fit(a: np.ndarray, step: float, negligible: float) -> np.ndarray:
    """Rounded modes of an array.

    Parameters
    ----------
    a : ndarray of floats, shape (n, ...)
        The data.
    step : float
        Of the rounding.
    negligible : float
        Modes with less energy than this are left out.

    Returns
    -------
    ndarray of int32, shape (r, n)
        Cosine coefficients of each mode times its singular value, in steps.
    """
    flat = a.reshape(len(a), -1)
    gram = (flat @ flat.T).astype(np.float64)
    energy, vectors = np.linalg.eigh(gram)
    order = np.argsort(-energy)
    order = order[energy[order] > max(negligible, 0.0)]
    scaled = vectors[:, order] * np.sqrt(energy[order])
    rounded = np.rint(fft.dct(scaled, axis=0, norm="ortho").T / step)
    rounded = np.clip(rounded, -(2**30), 2**30).astype(np.int32)
    lengths = np.linalg.norm(orthonormal(rounded), axis=1)
    return np.ascontiguousarray(rounded[lengths > 0])


def orthonormal(rounded: np.ndarray) -> np.ndarray:
    """Orthonormal rows from what `fit` returned, by Gram and Schmidt, twice.

    Parameters
    ----------
    rounded : ndarray of int32, shape (r, n)
        Cosine coefficients.

    Returns
    -------
    ndarray of float64, shape (r, n)
        A row that nearly depends on earlier ones is zero.
    """
    rows = fft.idct(rounded.astype(np.float64), axis=1, norm="ortho")
    for i, row in enumerate(rows):
        length = np.sqrt(np.dot(row, row))
        for _ in range(2):
            row -= rows[:i].T @ (rows[:i] @ row)
        rest = np.sqrt(np.dot(row, row))
        row *= 1 / rest if rest > _INDEPENDENT * length and rest > 0 else 0.0
    return np.asarray(rows)
