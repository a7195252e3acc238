"""Sums over shells in one pass over the modes, compiled at their first use."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["add_power", "add_values"]


@numba.njit(nogil=True, cache=True)
def add_power(
    modes: NDArray[Any],
    index: NDArray[np.int64],
    weight: NDArray[np.float64],
    sums: NDArray[np.float64],
    mirrored: int,
) -> None:
    """Add ``weight |modes|^2``, squared and summed in float64, to the shells of each field.

    Parameters
    ----------
    modes : ndarray, shape (field, row, column), complex
        Fourier coefficients.
    index : ndarray, shape (row, column)
        Shell of each mode.
    weight : ndarray, shape (column,)
        How often each mode counts.
    sums : ndarray, shape (field, shell)
        Changed in place.
    mirrored : int
        Rows come in groups of so many, of which those at places p and ``mirrored - p`` have the
        same shells; 1 if none have.
    """
    columns = modes.shape[2]
    power = np.empty(columns)
    for field in range(modes.shape[0]):
        for first in range(0, modes.shape[1], mirrored):
            for place in range(mirrored // 2 + 1):
                here, there = first + place, first + (mirrored - place) % mirrored
                row = modes[field, here]
                # squares first, in a loop that the compiler turns into vector instructions
                for column in range(columns):
                    real, imag = np.float64(row[column].real), np.float64(row[column].imag)
                    power[column] = (real * real + imag * imag) * weight[column]
                if here != there:
                    row = modes[field, there]
                    for column in range(columns):
                        real, imag = np.float64(row[column].real), np.float64(row[column].imag)
                        power[column] += (real * real + imag * imag) * weight[column]
                for column in range(columns):
                    sums[field, index[here, column]] += power[column]


@numba.njit(nogil=True, cache=True)
def add_values(
    values: NDArray[np.float64],
    index: NDArray[np.int64],
    weight: NDArray[np.float64],
    sums: NDArray[np.float64],
) -> None:
    """Add ``weight * values`` to the shells of each field; shapes as in `add_power`."""
    for field in range(values.shape[0]):
        for row in range(values.shape[1]):
            for column in range(values.shape[2]):
                value = values[field, row, column] * weight[column]
                sums[field, index[row, column]] += value
