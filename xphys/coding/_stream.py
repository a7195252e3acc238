"""Bytes of one block of the method "transform", and the values that they stand for.

Layout: a varint of flags and of the kind of each axis; the mean of the chunk as a multiple of a
power of two; step and centroids; fitted modes; then what the entropy stage made. Nothing follows
the mean where all integers are zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from xphys._streams import Reader, varint
from xphys.coding import entropy
from xphys.coding.bases import MOST_STEPS, Kind, Plan, Planes, arrange, orthonormal
from xphys.coding.quantise import Centroids, restore
from xphys.errors import CorruptDataError

__all__ = ["Block", "coarse", "decode", "plain_step"]

_MIXING, _DOUBLE, _MEAN, _EMPTY = 1, 2, 4, 8
_FLAGS, _KIND = 4, 3  # bits
_MANTISSA, _LOWEST, _LARGEST_CODE = 10, -60, 2**16 - 1
_LARGEST_MEAN = 2**53


def plain_step(code: int) -> float:
    """A step from its two bytes: ten bits of mantissa, six of exponent."""
    mantissa = (1 << _MANTISSA) + (code & ((1 << _MANTISSA) - 1))
    return math.ldexp(mantissa, (code >> _MANTISSA) + _LOWEST)


def coarse(step: float) -> int:
    """Two bytes of the largest step that is not above the one given, within 0.1 %."""
    fraction, exponent = math.frexp(step)
    mantissa = int(math.ldexp(fraction, _MANTISSA + 1)) - (1 << _MANTISSA)
    high = exponent - _MANTISSA - 1 - _LOWEST
    if high < 0:
        return 0
    return min((high << _MANTISSA) + mantissa, _LARGEST_CODE)


@dataclass(frozen=True)
class Block:
    """What a block needs beside its integers.

    Attributes
    ----------
    kinds : tuple of Kind
        Transform of each axis.
    shape : tuple of int
        Of the block.
    dtype : dtype
        float32 or float64, of transforms and values.
    mean : tuple of int
        Multiple and exponent: ``m * 2**e`` is added to all values.
    step : int
        Two bytes for `plain_step`.
    shifts : Centroids
        Of the reconstruction.
    modes : ndarray of int32 or None
        Rounded modes of the axis of that kind, (r, n).
    """

    kinds: tuple[Kind, ...]
    shape: tuple[int, ...]
    dtype: np.dtype
    mean: tuple[int, int] = (0, 0)
    step: int = 0
    shifts: Centroids = Centroids(0, 0)
    modes: np.ndarray | None = None

    @property
    def coefficients(self) -> tuple[int, ...]:
        """Shape of the coefficients: an axis of fitted modes has one place for each of them."""
        if self.modes is None:
            return self.shape
        modes = len(self.modes)
        return tuple(
            modes if k is Kind.MODES else n for k, n in zip(self.kinds, self.shape, strict=True)
        )

    @property
    def planes(self) -> Planes:
        """Layout of the integers."""
        return arrange(Plan(self.kinds), self.coefficients)

    def write(self, q: np.ndarray, coder: str) -> bytes:
        """Bytes of integers in planes."""
        empty = not q.any()
        flags = _MIXING * (coder == "mixing") | _DOUBLE * (self.dtype == np.float64)
        flags |= _MEAN * (self.mean[0] != 0) | _EMPTY * empty
        for axis, kind in enumerate(self.kinds):
            flags |= kind << (_FLAGS + _KIND * axis)
        out = [varint(flags)]
        if self.mean[0]:
            m, e = self.mean
            out.append(varint(2 * m if m > 0 else -2 * m - 1) + (e + 128).to_bytes(1, "little"))
        if empty:
            return b"".join(out)
        out.append(self.step.to_bytes(2, "little"))
        out.append(bytes((self.shifts.first + 128, self.shifts.rest + 128)))
        if self.modes is not None:
            stored = entropy.encode(
                self.modes[None], _mode_layout(self.modes.shape), coder="mixing"
            )
            out.append(varint(len(self.modes)) + varint(len(stored)) + stored)
        return b"".join([*out, entropy.encode(q, self.planes.layout, coder=coder)])

    def values(self, q: np.ndarray | None, reuse: bool = False) -> np.ndarray:
        """Values that integers in planes stand for; None for zeros.

        With `reuse` the integers may be overwritten.
        """
        m, e = self.mean
        mean = math.ldexp(float(m), e)
        if q is None:
            return np.full(self.shape, mean, self.dtype)
        step = plain_step(self.step)
        plan, planes, shape = Plan(self.kinds), self.planes, self.coefficients
        used = planes.corner(q, shape, plan.room(planes.used(q, shape), shape))
        c = planes.from_planes(restore(used, step, self.shifts, self.dtype, reuse))
        rows = None if self.modes is None else orthonormal(self.modes).astype(self.dtype)
        values = plan.inverse(c, self.shape, rows)
        values += values.dtype.type(mean)
        return np.ascontiguousarray(values)


def _mode_layout(shape: tuple[int, ...]) -> entropy.Layout:
    r, n = shape
    bins = np.minimum(np.log2(1 + np.arange(n)), 7).astype(np.uint8)
    spatial = np.ascontiguousarray(np.broadcast_to(bins, (r, n)))
    return entropy.Layout((1, r, n), 1, np.zeros(1, np.uint8), spatial)


def _read_mean(reader: Reader) -> tuple[int, int]:
    folded = reader.varint()
    if folded > 2 * _LARGEST_MEAN:
        raise CorruptDataError(f"expected a mean below 2^53 units, found {folded}")
    m = folded // 2 if folded % 2 == 0 else -(folded // 2) - 1
    return m, reader.take(1)[0] - 128


def decode(data: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """Read a block.

    Parameters
    ----------
    data : bytes
        What `Block.write` returned.
    shape : tuple of int
        Of the block.

    Returns
    -------
    ndarray of float32 or float64
        The decoded values.

    Raises
    ------
    CorruptDataError
        If the bytes are no block of that shape.
    """
    reader = Reader(data)
    flags = reader.varint()
    kinds = tuple(Kind(flags >> (_FLAGS + _KIND * i) & 7) for i in range(len(shape)))
    dtype = np.dtype(np.float64 if flags & _DOUBLE else np.float32)
    if kinds.count(Kind.MODES) > 1 or flags >> (_FLAGS + _KIND * len(shape)):
        raise CorruptDataError(f"expected flags for {len(shape)} axes, found {flags:#x}")
    mean = _read_mean(reader) if flags & _MEAN else (0, 0)
    if flags & _EMPTY:
        reader.end()
        return Block(kinds, shape, dtype, mean).values(None)
    step = int.from_bytes(reader.take(2), "little")
    first, rest = reader.take(2)
    modes = None
    if Kind.MODES in kinds:
        count, length = shape[kinds.index(Kind.MODES)], reader.varint()
        if not 0 < length <= count <= MOST_STEPS:
            raise CorruptDataError(f"expected up to {min(count, MOST_STEPS)} modes, found {length}")
        stored = reader.take(reader.varint())
        modes = entropy.decode(stored, _mode_layout((length, count)), coder="mixing")[0]
    block = Block(kinds, shape, dtype, mean, step, Centroids(first - 128, rest - 128), modes)
    coder = "mixing" if flags & _MIXING else "static"
    try:
        q = entropy.decode(reader.rest(), block.planes.layout, coder=coder)
    except ValueError as error:
        if isinstance(error, CorruptDataError):
            raise
        raise CorruptDataError(f"the layout of a block cannot be: {error}") from error
    return block.values(q, reuse=True)
