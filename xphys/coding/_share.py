"""How large an error to allow everywhere where single points are bounded.

A coarser method is shorter and leaves more points beyond their bound, which are then moved one by
one. What both cost at another root mean square error is foreseen from a chunk that was coded once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

__all__ = ["Spent", "first_share", "next_share", "roughness"]

# Bound over the root mean square error, for a start: where neighbours differ by much more than the
# bound, how much is added where they do not, and the octaves over which that fades.
_ROUGH, _SMOOTH, _FADE = 1.7, 1.8, 0.5
_CROP = 48  # points along each axis that are looked at for that
_SHARES = np.exp(np.linspace(math.log(1 / 4.5), math.log(1 / 1.5), 33))
# Each halving of the error costs as much of a bit for each value as there are coefficients that
# are not zero: all where many bits are spent, few where most are zero, fewer still where values are
# coded in hardly more bits than neighbours differ by, so that few coefficients hold everything.
# Measured on simulation data.
_BITS, _MORE_BITS, _COMPACT, _RANGE = 1.4, 1.4, 0.55, 0.4
# Bytes of moved points over what they would cost if they were spread at random.
_LEAST, _MOST = 0.4, 1.5
# A gain that is worth coding the chunk once more.
_WORTH = 0.012


@dataclass(frozen=True)
class Spent:
    """What a chunk took at one share.

    Attributes
    ----------
    share : float
        Root mean square error over the bound.
    coarse, points : float
        Bits of each value for the method, and for points beyond the bound.
    errors : ndarray
        Of a sample, over the bound.
    rough : float
        Roughness of the values.
    """

    share: float
    coarse: float
    points: float
    errors: np.ndarray
    rough: float


def roughness(x: np.ndarray, bound: float) -> float:
    """By how many octaves values differ from what lies between their neighbours.

    Parameters
    ----------
    x : ndarray of floats
        The chunk.
    bound : float
        On the error of a typical point.

    Returns
    -------
    float
        Mean of log2(1 + difference / bound) along the axis where it is least.
    """
    crop = x[tuple(slice(max((n - _CROP) // 2, 0), (n + _CROP) // 2) for n in x.shape)]
    octaves = []
    for axis in range(x.ndim):
        if crop.shape[axis] > 2:
            line = np.moveaxis(crop, axis, 0)
            away = np.abs(line[1:-1] - (line[2:] + line[:-2]) / 2) / bound
            octaves.append(float(np.log2(1 + away).mean(dtype=np.float64)))
    return min(octaves, default=0.0)


def first_share(rough: float) -> float:
    """A share to begin with: root mean square error over the bound, by the roughness of values."""
    return 1 / (_ROUGH + _SMOOTH * math.exp(-rough / _FADE))


def _random(errors: np.ndarray) -> float:
    """Bits of each value for moved points that are spread at random."""
    beyond = errors[errors > 1]
    p = beyond.size / max(errors.size, 1)
    if p in (0.0, 1.0):
        return p
    steps = np.maximum(np.rint(beyond / 2), 1)
    places = -p * math.log2(p) - (1 - p) * math.log2(1 - p)
    return places + p * (1 + 2 * float(np.log2(steps).mean()))


def next_share(spent: Spent, before: Spent | None = None) -> float | None:
    """The share at which a chunk is foreseen to be shortest.

    Parameters
    ----------
    spent : Spent
        At the last share.
    before : Spent, optional
        At another one, from which it is known what a halving of the error costs.

    Returns
    -------
    float or None
        None where nothing is to be gained.
    """
    compact = (spent.rough / max(spent.coarse, 1e-9) - _COMPACT) / _RANGE
    slope = 1 - math.exp(-spent.coarse / (_BITS + _MORE_BITS * min(max(compact, 0.0), 1.0)))
    if before is not None and before.share != spent.share:
        octaves = math.log2(before.share / spent.share)
        slope = min(max((spent.coarse - before.coarse) / octaves, 0.02), 1.05)
    now = _random(spent.errors)
    clustered = min(max(spent.points / now, _LEAST), _MOST) if now > 0 else 1.0
    foreseen = [
        -slope * math.log2(s / spent.share) + clustered * _random(spent.errors * (s / spent.share))
        for s in _SHARES
    ]
    best = int(np.argmin(foreseen))
    gain = clustered * now - foreseen[best]
    if gain <= _WORTH * (spent.coarse + spent.points):
        return None
    return float(_SHARES[best])
