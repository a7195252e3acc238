"""Rounding a vector to its dtype with less divergence than rounding point by point leaves."""

from __future__ import annotations

import math

import numpy as np

from xphys.coding.preserve._moves import units
from xphys.coding.preserve._operators import Divergence

__all__ = ["quieten"]

_SHARE, _LEAST, _MOST, _GROWTH = 0.1, 0.02, 0.5, 1.2
_PEAKS = 2.5  # root mean squares beyond which a divergence counts more and more


def quieten(
    parts: list[np.ndarray], operator: Divergence, dtype: np.dtype, exponent: int, passes: int
) -> list[np.ndarray]:
    """Move values by units in the last place where that lowers the divergence.

    Each pass moves a share of the points along the slope of the summed squares, as many as the
    sum still falls with. Twelve passes halve what rounding leaves.

    Parameters
    ----------
    parts : list of ndarray
        Components, values of the dtype in units of ``2**exponent``.
    operator : Divergence
        Whose result is to be small.
    dtype : dtype
        Of the values as they are stored.
    exponent : int
        Of the unit.
    passes : int
        How often to try.

    Returns
    -------
    list of ndarray
        Values of the dtype.
    """
    share = _SHARE
    places = np.arange(parts[0].size, dtype=np.uint32).reshape(parts[0].shape)
    found = operator.of(parts)
    limit = _PEAKS * math.sqrt(float((found * found).mean()))
    size = _size(found, limit)
    for turn in range(passes if limit > 0 else 0):
        slopes = operator.adjoint(found * np.maximum(np.abs(found) / limit, 1.0))
        moved = []
        for i, part in enumerate(parts):
            chosen = _draw(places, turn * len(parts) + i, share)
            unit = units(part, dtype, exponent)
            moved.append(part + _steps(slopes[i], unit, operator.points[i], chosen))
        trial = operator.of(moved)
        now = _size(trial, limit)
        if now < size:
            parts, found, size = moved, trial, now
            share = min(share * _GROWTH, _MOST)
        else:
            share = max(share / 2, _LEAST)
    return parts


def _size(found: np.ndarray, limit: float) -> float:
    """Sum of squares, of peaks more than that."""
    return float((found * found * np.maximum(np.abs(found) / limit, 1.0)).sum())


def _draw(places: np.ndarray, turn: int, share: float) -> np.ndarray:
    """A share of the points, others in every turn, the same on every machine."""
    with np.errstate(over="ignore"):
        z = places * np.uint32(0x9E3779B1) + np.uint32((turn + 1) * 0x85EBCA6B & 0xFFFFFFFF)
        z = (z ^ (z >> np.uint32(15))) * np.uint32(0x2C1B3C6D)
        z = (z ^ (z >> np.uint32(12))) * np.uint32(0x297A2D39)
        z ^= z >> np.uint32(15)
    return z < np.uint32(share * 2**32)


def _steps(
    slope: np.ndarray, unit: np.ndarray, square: np.ndarray, chosen: np.ndarray
) -> np.ndarray:
    """Units that points move by: those of the better half of all moves that help."""
    gain = 2 * np.abs(slope) * unit - square * unit * unit
    helps = gain > 0
    if not helps.any():
        return np.zeros_like(slope)
    helps &= chosen & (gain >= np.median(gain[helps]))
    return np.where(helps, -np.sign(slope) * unit, 0.0)
