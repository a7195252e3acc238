"""Between what a method works on and what users have: scale, weights, dtype."""

from __future__ import annotations

import numpy as np

from xphys._streams import Reader, deflate, varint
from xphys.errors import CorruptDataError

__all__ = ["FINEST_IN_SINGLE", "finish", "read_weights", "scale", "weights", "write_weights"]

# quarters of an octave, written out: equal on every machine
_QUARTERS = np.array([1.0, 1.189207115002721, 1.4142135623730951, 1.681792830507429])
_WEIGHT = np.dtype("<i2")
# Integers up to this magnitude are float32 without loss.
_EXACT_IN_SINGLE = 2**24
#: Root mean square error below which float32 is too coarse where magnitudes are about one.
FINEST_IN_SINGLE = 2.0**-16


def scale(
    x: np.ndarray, held: np.ndarray | None, exponent: int, expected: np.ndarray | None = None
) -> np.ndarray:
    """Values divided by 2**exponent, float32 where that loses nothing; held points at the mean.

    Parameters
    ----------
    x : ndarray of floats or integers
        One chunk.
    held : ndarray of bool or None
        Points that are stored exactly.
    exponent : int
        So that the largest magnitude is below one.
    expected : ndarray of float64, optional
        What is taken off, in units of 2**exponent.

    Returns
    -------
    ndarray of float32 or float64, C order
        A new array.
    """
    small = x.dtype.itemsize <= 4 if x.dtype.kind == "f" else 2**exponent <= _EXACT_IN_SINGLE
    dtype = np.dtype(np.float32 if small else np.float64)
    if held is not None:
        x = np.where(held, 0, x)
    with np.errstate(under="ignore"):
        if small and -126 <= -exponent <= 126:
            out = np.multiply(x, np.float32(2.0**-exponent), dtype=np.float32)
        else:
            out = np.ldexp(x.astype(dtype), -exponent)
        if expected is not None:
            out = (out - expected).astype(dtype)
    if held is not None:
        out[held] = out[~held].mean(dtype=np.float64)
    return np.ascontiguousarray(out)


def finish(scaled: np.ndarray, exponent: int, dtype: np.dtype, reuse: bool = False) -> np.ndarray:
    """From what a method decodes to the values that a reader gets; dtype in native order.

    With `reuse` the result may take the place of what is given.
    """
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        if scaled.dtype == dtype == np.float32 and -126 <= exponent <= 126:
            return np.asarray(
                np.multiply(scaled, np.float32(2.0**exponent), out=scaled if reuse else None)
            )
        values = np.ldexp(scaled.astype(np.float64), exponent)
        if dtype.kind == "f":
            return values.astype(dtype)
        info = np.iinfo(dtype)
        # float64 cannot hold the largest 64-bit integers: one below is the closest it can
        top = min(float(info.max), np.nextafter(2.0**63, 0)) if info.max > 2**53 else info.max
        return np.asarray(np.clip(np.rint(values), float(info.min), top).astype(dtype))


def weights(exponents: np.ndarray) -> np.ndarray:
    """2**(exponents / 4) as float64."""
    octaves, quarters = np.divmod(exponents.astype(np.int64), 4)
    return np.asarray(np.ldexp(_QUARTERS[quarters], octaves))


def write_weights(exponents: np.ndarray) -> bytes:
    """Weights of one block as bytes."""
    data = deflate(exponents.astype(_WEIGHT))
    return varint(len(data)) + data


def read_weights(reader: Reader, shape: tuple[int, ...]) -> np.ndarray:
    """Weights that `write_weights` wrote, broadcastable to a block."""
    data = reader.section(int(np.prod(shape, dtype=np.int64)) * _WEIGHT.itemsize)
    exponents = np.frombuffer(data, _WEIGHT).reshape(shape)
    if np.abs(exponents.astype(np.int64)).max(initial=0) > 4 * 1100:
        raise CorruptDataError("expected weights within the range of float64, found larger ones")
    return weights(exponents)
