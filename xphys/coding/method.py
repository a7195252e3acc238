"""What a lossy method is.

A method turns the blocks of a scaled chunk into byte strings and back. It may be as bad as it
likes: `frame.encode_chunk` checks every bound on what ``decode`` returns, stores points that
violate one exactly and falls back to lossless blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from xphys.coding.bounds import Limits
from xphys.coding.request import Request

__all__ = ["Method"]


@dataclass(frozen=True)
class Method:
    """One lossy method.

    Attributes
    ----------
    name : str
        As users and stores call it.
    code : int
        1 to 255; written into every block, never given to another method.
    encode : callable
        ``(blocks, limits, request) -> list of bytes``: blocks are float64 arrays with magnitudes
        up to 1, cut from one chunk along its time axis.
    decode : callable
        ``(data, shape) -> float64 array``; a pure function of its arguments.
    """

    name: str
    code: int
    encode: Callable[[Sequence[np.ndarray], Limits, Request], list[bytes]]
    decode: Callable[[bytes, tuple[int, ...]], np.ndarray]
