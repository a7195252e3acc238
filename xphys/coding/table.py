"""The table of lossy methods: where the domains that bring one meet.

A method turns the blocks of a scaled chunk into byte strings and back. It may be as bad as it
likes: `frame.encode_chunk` checks every bound on what `decode` returns, stores points that
violate one exactly and falls back to lossless blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from xphys.coding.bounds import Limits
from xphys.coding.request import Request
from xphys.errors import UnknownNameError

__all__ = ["Method", "by_code", "get", "methods", "register"]


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


_TABLE: dict[str, Method] = {}


def register(method: Method) -> None:
    """Add a method to the table; a name or code that is taken is an error.

    Parameters
    ----------
    method : Method
        The method.

    Raises
    ------
    ValueError
        If name or code belong to another method already.
    """
    for other in _TABLE.values():
        if other is not method and (other.name == method.name or other.code == method.code):
            raise ValueError(f"method {method.name!r} ({method.code}) clashes with {other.name!r}")
    _TABLE[method.name] = method


def methods() -> tuple[str, ...]:
    """Names of the methods that can be asked for, ``"lossless"`` included."""
    return ("lossless", *sorted(_TABLE))


def get(name: str) -> Method:
    """The method of that name."""
    try:
        return _TABLE[name]
    except KeyError:
        known = ", ".join(methods())
        raise UnknownNameError(f"no method {name!r} for compressing: known are {known}") from None


def by_code(code: int) -> Method:
    """The method of that code."""
    for method in _TABLE.values():
        if method.code == code:
            return method
    raise UnknownNameError(f"a block was coded by method number {code}, unknown to this xphys")
