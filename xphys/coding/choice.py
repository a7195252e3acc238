"""``method="auto"``: which methods a chunk is coded with, before the smallest result is kept.

The choice is made by counts of values, never by the clock, so that equal chunks give equal bytes
on every machine; ``effort`` says how much of a chunk others than the first method are tried on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from xphys.coding import table
from xphys.coding.bounds import Limits
from xphys.coding.method import Method
from xphys.coding.request import Request

__all__ = ["AUTO", "candidates", "promises"]

AUTO = "auto"
_FIRST = "transform"
_OTHERS = ("bitround",)  # of the core install; those of extras only when named
# Share of a chunk on which other methods are tried, and the fewest values.
_SHARE = {"fast": 0.0, "normal": 1 / 16, "max": 1.0}
_LEAST = 2**14
# A stream of the sample may be this much larger for its share than that of the whole chunk: what
# a method gains by larger blocks is not seen in the sample.
_WORSE = 1.15


@dataclass(frozen=True)
class _Sample:
    """Some steps out of the middle of a chunk."""

    x: np.ndarray
    share: float


def candidates(request: Request) -> list[Method]:
    """Methods to try: the one that was named, or for ``"auto"`` the default and all others.

    Parameters
    ----------
    request : Request
        With ``extras``, the methods beyond the core install that may be chosen.

    Returns
    -------
    list of Method
        The first one is always coded in full.
    """
    if request.method != AUTO:
        return [table.get(request.method)]
    others = (*_OTHERS, *request.extras) if _SHARE[request.effort] else request.extras
    known = [table.get(name) for name in others if name in table.methods()]
    return [table.get(_FIRST), *known]


def promises(
    method: Method, scaled: np.ndarray, axis: int, limits: Limits, request: Request, size: float
) -> bool:
    """Whether a method is worth coding the whole chunk, judged by a sample.

    Parameters
    ----------
    method : Method
        One of the others.
    scaled : ndarray
        The chunk as methods see it.
    axis : int
        Of its steps.
    limits : Limits
        Of the whole chunk.
    request : Request
        With the effort.
    size : float
        Bytes of the best result so far.

    Returns
    -------
    bool
        True if the sample is coded small enough, or is all of the chunk.
    """
    share = max(_SHARE[request.effort], _SHARE["normal"])
    sample = _sample(scaled, axis, share)
    if sample.share == 1:
        return True
    part = replace(limits, squared=limits.squared * sample.share)
    coded = method.encode(sample.x, axis, part, replace(request, effort="fast"))
    return sum(map(len, coded.streams)) <= _WORSE * sample.share * size


def _sample(scaled: np.ndarray, axis: int, share: float) -> _Sample:
    steps = scaled.shape[axis]
    least = -(-_LEAST * steps // scaled.size)
    count = min(max(round(share * steps), least, 1), steps)
    start = (steps - count) // 2
    cut = (*(slice(None),) * axis, slice(start, start + count))
    return _Sample(np.ascontiguousarray(scaled[cut]), count / steps)
