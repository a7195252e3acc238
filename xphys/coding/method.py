"""What a lossy method is.

A method turns a scaled chunk into byte strings, one for each block of steps, and back. It may be
as bad as it likes: `frame.encode_chunk` checks every bound on the values that a reader will get,
stores points that violate one exactly and falls back to lossless blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from xphys.coding.bounds import Limits
from xphys.coding.request import Request

__all__ = ["Coded", "Method"]


@dataclass(frozen=True)
class Coded:
    """What a method made of one chunk.

    Attributes
    ----------
    extent : int
        Steps per block along the time axis, the last block may be shorter.
    streams : list of bytes
        One for each block, independent of the others.
    values : list of ndarray
        What ``decode(stream, shape)`` returns for each block, made by the decoder's own code.
    """

    extent: int
    streams: list[bytes]
    values: list[np.ndarray]


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
        ``(x, axis, limits, request) -> Coded``: x is one chunk, float32 or float64 with
        magnitudes up to 1, ``axis`` the one along which blocks divide it.
    decode : callable
        ``(data, shape) -> array`` of float32 or float64; a pure function of its arguments.
    proved : bool
        True if ``values`` come from quantised numbers rather than from decoding the streams:
        then one chunk in 64 is decoded as a whole to compare.
    extra : str
        Of xphys: brings what the method needs; empty if the core install has it.
    """

    name: str
    code: int
    encode: Callable[[np.ndarray, int, Limits, Request], Coded]
    decode: Callable[[bytes, tuple[int, ...]], np.ndarray]
    proved: bool = False
    extra: str = ""
