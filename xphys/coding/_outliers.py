"""Points beyond a bound on single points, moved by a small whole number of steps.

A step is about twice the bound, so that one step up or down brings nearly every such point within
it: the numbers are zeros, a few ones of either sign, hardly anything else. They are coded by the
entropy stage as planes of rows and columns, given their neighbours in space and time.

Bytes: u8 flags (1 for the coder "mixing", 2 and 4 for the steps that follow) | f4 step, a
multiple of the weight of each point | f4 step as a share of the decoded magnitude | integers. The
smaller of both steps counts. Values are those before the last scaling, in units of 2**exponent.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import numpy as np

from xphys._streams import Reader, varint
from xphys.coding import entropy
from xphys.errors import CorruptDataError

__all__ = ["Steps", "apply", "count_steps", "join", "move", "split", "write"]

_MIXING, _ABSOLUTE, _RELATIVE = 1, 2, 4
_STEP = struct.Struct("<f")
# Points that are further off are left to the exact patch.
_FURTHEST = 2.0**15
# Integers that take no more bytes than this are coded by "mixing" too, and the shorter one kept.
_SHORT = 2**12


@dataclass(frozen=True)
class Steps:
    """Length of a step, float32 numbers; infinity for one that does not count.

    Attributes
    ----------
    absolute : float
        In units of the weight of each point.
    relative : float
        As a share of the magnitude of the decoded value.
    """

    absolute: float
    relative: float

    @classmethod
    def below(cls, absolute: float, relative: float) -> Steps:
        """The longest steps that can be stored and are not above those given."""
        return cls(_floor(absolute), _floor(relative))

    def at(self, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Length of a step at each value, float64."""
        length = np.asarray(self.absolute * weights)
        if math.isfinite(self.relative):
            length = np.minimum(length, self.relative * np.abs(values.astype(np.float64)))
        return np.asarray(np.broadcast_to(length, values.shape))


def _floor(value: float) -> float:
    """Largest float32 not above a positive number; infinity where there is none."""
    if not value < float(np.finfo(np.float32).max):
        return math.inf
    rounded = np.float32(value)
    return float(rounded if float(rounded) <= value else np.nextafter(rounded, np.float32(0)))


def _layout(shape: tuple[int, ...]) -> entropy.Layout:
    """Planes of the last two axes; the one before them is a plane of the same time in 4-D."""
    long = [n for n in shape if n > 1]
    long = [1] * (3 - len(long)) + long
    back = long[-3] if len(long) > 3 else 2
    whole = (math.prod(long[:-2]), long[-2], long[-1])
    kinds = np.zeros(whole[0], np.uint8), np.zeros(whole[1:], np.uint8)
    return entropy.Layout(whole, back, *kinds)


def count_steps(
    wanted: np.ndarray,
    values: np.ndarray,
    far: np.ndarray,
    steps: Steps,
    weights: np.ndarray,
) -> np.ndarray:
    """Steps that bring each far point as close to what is wanted as they can.

    Parameters
    ----------
    wanted : ndarray of float64, shape (points,)
        Originals of the far points in units of the values.
    values : ndarray of floats
        Decoded ones, all of them.
    far : ndarray of bool
        True at points to be moved.
    steps : Steps
        Their length.
    weights : ndarray
        Broadcastable to the values.

    Returns
    -------
    ndarray of int32
        Shape of the values; 0 where steps are of no use.
    """
    out = np.zeros(values.shape, np.int32)
    there = values[far]
    length = steps.at(there, _weights_at(weights, far))
    with np.errstate(all="ignore"):
        number = np.rint((wanted - there.astype(np.float64)) / length)
        number[~(np.abs(number) <= _FURTHEST)] = 0
    out[far] = number
    return out


def _weights_at(weights: np.ndarray, where: np.ndarray) -> np.ndarray:
    if weights.size == 1:
        return weights.reshape(())
    return np.asarray(np.broadcast_to(weights, where.shape)[where])


def move(values: np.ndarray, numbers: np.ndarray, steps: Steps, weights: np.ndarray) -> None:
    """Move points by their numbers of steps, in place."""
    where = numbers != 0
    there = values[where]
    with np.errstate(all="ignore"):
        length = steps.at(there, _weights_at(weights, where))
        values[where] = (there.astype(np.float64) + numbers[where] * length).astype(values.dtype)


def write(numbers: np.ndarray, steps: Steps, effort: str) -> bytes:
    """Bytes of numbers of steps.

    Parameters
    ----------
    numbers : ndarray of int32
        Of each point of a block; not all zero.
    steps : Steps
        Their length; at least one of them finite.
    effort : {"fast", "normal", "max"}
        "max" codes with the slower, denser coder.

    Returns
    -------
    bytes
        For `apply`.
    """
    layout = _layout(numbers.shape)
    planes = numbers.reshape(layout.shape)
    flags, data = 0, entropy.encode(planes, layout, coder="static")
    if effort == "max" or (effort == "normal" and len(data) <= _SHORT):
        denser = entropy.encode(planes, layout, coder="mixing")
        if len(denser) < len(data):
            flags, data = _MIXING, denser
    lengths = b""
    for flag, length in ((_ABSOLUTE, steps.absolute), (_RELATIVE, steps.relative)):
        if math.isfinite(length):
            flags |= flag
            lengths += _STEP.pack(length)
    return bytes([flags]) + lengths + data


def apply(data: bytes, values: np.ndarray, weights: np.ndarray) -> None:
    """Move the points of a decoded block.

    Parameters
    ----------
    data : bytes
        What `write` returned.
    values : ndarray of floats
        Of the block; changed in place.
    weights : ndarray
        As given to `count_steps`.

    Raises
    ------
    CorruptDataError
        If the bytes cannot have been written for such a block.
    """
    reader = Reader(data)
    flags = reader.take(1)[0]
    found = []
    for flag in (_ABSOLUTE, _RELATIVE):
        length = _STEP.unpack(reader.take(_STEP.size))[0] if flags & flag else math.inf
        if not length >= 0:
            raise CorruptDataError(f"expected the length of a step, found {length}")
        found.append(length)
    steps = Steps(*found)
    if flags >> 3 or not flags & (_ABSOLUTE | _RELATIVE):
        raise CorruptDataError(f"expected flags of moved points, found {flags:#x}")
    layout = _layout(values.shape)
    coder = "mixing" if flags & _MIXING else "static"
    numbers = entropy.decode(reader.rest(), layout, coder=coder)
    move(values, numbers.reshape(values.shape), steps, weights)


def join(moved: bytes, points: bytes) -> bytes:
    """The end of a lossy block: what moves points, then the points that are exact.

    The latter begin with their number, which is never 0, or are empty: a 0 in front tells that
    something else comes first.
    """
    return b"\0" + varint(len(moved)) + moved + points if moved else points


def split(data: bytes) -> tuple[bytes, bytes]:
    """Inverse of `join`."""
    if not data.startswith(b"\0"):
        return b"", data
    reader = Reader(data[1:])
    return reader.take(reader.varint()), reader.rest()
