"""What operators must know of the axes of an array."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

__all__ = ["CHEBYSHEV", "PERIODIC", "Grid", "chebyshev_length"]

PERIODIC, CHEBYSHEV = "periodic", "chebyshev"
_SAME_NODE = 1e-6  # of the length, between a position and the node it is to be


@dataclass(frozen=True)
class Grid:
    """Kind and length of each axis.

    Attributes
    ----------
    kinds : tuple of str
        "periodic" (uniform), "chebyshev" (Gauss nodes, ascending), or "" for every other axis.
    lengths : tuple of float
        Of the box along each axis, in one unit; 0 where the kind is "".
    time : int or None
        Axis of time, where it is the only other one and its positions are known.
    times : tuple of float
        Positions along it, increasing.
    """

    kinds: tuple[str, ...]
    lengths: tuple[float, ...]
    time: int | None = None
    times: tuple[float, ...] = ()

    @property
    def periodic(self) -> bool:
        """True if two or three axes are periodic and none has walls."""
        return 2 <= self.kinds.count(PERIODIC) <= 3 and CHEBYSHEV not in self.kinds

    @property
    def walls(self) -> bool:
        """True for a layer between two walls: one Chebyshev and one periodic axis."""
        return self.kinds.count(PERIODIC) == 1 and self.kinds.count(CHEBYSHEV) == 1

    @property
    def usable(self) -> bool:
        """True if there are operators for it."""
        return self.periodic or self.walls


def chebyshev_length(positions: np.ndarray) -> float:
    """Distance of the walls if positions are the ascending Gauss nodes between them, else 0."""
    n = positions.size
    if n < 4:
        return 0.0
    nodes = -np.cos(math.pi * (np.arange(n) + 0.5) / n)
    wide = np.asarray(positions, np.float64)
    half = (wide[-1] - wide[0]) / (nodes[-1] - nodes[0])
    expected = (wide[-1] + wide[0]) / 2 + half * nodes
    fits = half > 0 and np.abs(wide - expected).max() <= _SAME_NODE * half
    return float(2 * half) if fits else 0.0
