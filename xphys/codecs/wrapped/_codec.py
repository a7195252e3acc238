"""A compressor of others behind one interface, and the search for its knob."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from xphys.coding.bounds import Limits
from xphys.coding.header import block_extent
from xphys.coding.method import Coded
from xphys.coding.request import Request
from xphys.errors import CorruptDataError

__all__ = ["EXTRA", "Codec", "decode", "encode"]

#: Of xphys: brings the packages.
EXTRA = "codecs"
_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
_ENCODES = {"fast": 3, "normal": 5, "max": 9}
# The squared error aimed at, as a share of the allowed one, and what is close enough to it.
_AIM, _CLOSE = 0.99, 0.95
# Root mean square error as a share of a pointwise bound that a codec does not keep itself: the
# points beyond it are patched.
_POINTWISE_SHARE = 1 / 3.5
# Magnitudes below which points are left to the patch where errors are bounded relative to them.
_QUANTILE = 0.05
_MARGIN = 1 - 1e-5  # of a pointwise bound: the last bits are lost on the way to the user's units
_COARSEST = 2.0  # magnitudes are at most one
_FINEST = {np.dtype(np.float32): 2.0**-26, np.dtype(np.float64): 2.0**-55}


@dataclass(frozen=True)
class Codec:
    """One compressor.

    Attributes
    ----------
    name : str
        As users and stores call it.
    code : int
        In the table of methods.
    package : str
        What has to be imported; empty for what the core install has.
    ndims : tuple of int
        Numbers of axes that it takes.
    least : int
        Shortest axis that it takes.
    ratio : float
        Root mean square error at a tolerance, as a share of it; a first guess.
    encode : callable
        ``(x, tolerance, pointwise) -> bytes``: x C-contiguous; tolerance in units of x, of the
        largest error if ``pointwise``, else something that grows with the error.
    decode : callable
        ``(data, shape, dtype) -> array``.
    rehearse : callable, optional
        ``(x, tolerance, pointwise) -> array``: what would be decoded, where that is cheaper.
    bounded : bool
        Whether it keeps a tolerance at every point.
    relative : callable, optional
        ``(x, relative) -> tolerance`` that keeps errors below that share of each magnitude.
    """

    name: str
    code: int
    package: str
    ndims: tuple[int, ...]
    least: int
    ratio: float
    encode: Callable[[np.ndarray, float, bool], bytes]
    decode: Callable[[bytes, tuple[int, ...], np.dtype], np.ndarray]
    rehearse: Callable[[np.ndarray, float, bool], np.ndarray] | None = None
    bounded: bool = True
    relative: Callable[[np.ndarray, float], float] | None = None

    @property
    def native(self) -> bool:
        """Whether code runs that may crash the process."""
        return bool(self.package)

    def layout(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape that it is given for values of some shape: leading axes joined, short ones long."""
        long = [n for n in shape if n > 1] or [1]
        if len(long) > max(self.ndims):
            keep = max(self.ndims) - 1
            long = [math.prod(long[: len(long) - keep]), *long[len(long) - keep :]]
        if len(long) < min(self.ndims):  # one axis for a codec of images: rows of a square
            row = math.isqrt(max(long[0] - 1, 0)) + 1
            long = [-(-long[0] // row), row]
        return tuple(max(n, self.least) for n in long)


def _fit(x: np.ndarray, codec: Codec) -> np.ndarray:
    """Values in the shape that the codec is given; what is added repeats the edge."""
    target = codec.layout(x.shape)
    out = x.reshape([n for n in x.shape if n > 1] or [1])
    if out.ndim > len(target):
        out = out.reshape(-1, *out.shape[out.ndim - len(target) + 1 :])
    if out.ndim < len(target):
        flat = np.pad(out.reshape(-1), (0, math.prod(target) - out.size), mode="edge")
        return np.ascontiguousarray(flat.reshape(target))
    missing = [(0, n - m) for n, m in zip(target, out.shape, strict=True)]
    return np.ascontiguousarray(
        np.pad(out, missing, mode="edge") if any(m[1] for m in missing) else out
    )


def _unfit(y: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Inverse of `_fit`."""
    kept = [n for n in shape if n > 1] or [1]
    if len(kept) > y.ndim:
        kept = [math.prod(kept[: len(kept) - y.ndim + 1]), *kept[len(kept) - y.ndim + 1 :]]
    if len(kept) < y.ndim:
        y = y.reshape(-1)[: math.prod(shape)]
    else:
        y = y[tuple(slice(0, n) for n in kept)]
    return np.ascontiguousarray(y.reshape(shape))


def decode(codec: Codec, data: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """Read a block that `encode` wrote.

    Parameters
    ----------
    codec : Codec
        Which wrote it.
    data : bytes
        One byte for the dtype, then what the codec wrote.
    shape : tuple of int
        Of the block.

    Returns
    -------
    ndarray of float32 or float64
        The values.

    Raises
    ------
    CorruptDataError
        If the bytes are no such block.
    MissingDependencyError
        If the package is not installed.
    """
    if not data or data[0] >= len(_DTYPES):
        raise CorruptDataError(f"expected a block of method {codec.name}, found {data[:1]!r}")
    dtype, fitted = _DTYPES[data[0]], codec.layout(shape)
    try:
        values = np.asarray(codec.decode(data[1:], fitted, dtype))
    except (CorruptDataError, ImportError):
        raise
    except Exception as error:  # each package has its own
        said = " ".join(str(error).split())[:200]
        raise CorruptDataError(f"a block of method {codec.name} cannot be read: {said}") from error
    if values.shape != fitted or values.dtype != dtype:
        raise CorruptDataError(
            f"a block of method {codec.name} holds {values.dtype} {values.shape}, expected "
            f"{dtype} {fitted}"
        )
    return _unfit(values, shape)


def encode(codec: Codec, x: np.ndarray, axis: int, limits: Limits, request: Request) -> Coded:
    """Code a chunk with the coarsest knob that keeps the limits, as a method does.

    Parameters
    ----------
    codec : Codec
        Which.
    x : ndarray of float32 or float64
        One chunk with magnitudes up to 1.
    axis : int
        Along which blocks divide it, if it is too large for one.
    limits : Limits
        What to keep; points that miss one are left to the caller.
    request : Request
        With the effort: how many times the chunk may be coded.

    Returns
    -------
    Coded
        Each stream decoded once.
    """
    extent = block_extent(x.shape, axis, x.dtype.itemsize, x.shape[axis])
    cut = (slice(None),) * axis
    steps = range(0, x.shape[axis], extent)
    parts = [np.ascontiguousarray(x[(*cut, slice(s, s + extent))]) for s in steps]
    tolerance, pointwise = _start(codec, x, limits)
    target = limits.squared / x.size
    trial = _Trial(codec, parts)
    if math.isfinite(target):
        tolerance = _search(trial, tolerance, pointwise, target, _ENCODES[request.effort])
    streams, values = trial.code(tolerance, pointwise)
    return Coded(extent, streams, values)


class _Trial:
    """Codes the parts of a chunk at one tolerance after the other and keeps the last result."""

    def __init__(self, codec: Codec, parts: list[np.ndarray]) -> None:
        self.codec, self.parts = codec, parts
        self._known: dict[float, tuple[list[bytes], list[np.ndarray]]] = {}

    def code(self, tolerance: float, pointwise: bool) -> tuple[list[bytes], list[np.ndarray]]:
        """Streams and decoded values at a tolerance."""
        if tolerance not in self._known:
            streams, values = [], []
            for part in self.parts:
                head = bytes([_DTYPES.index(part.dtype)])
                fitted = _fit(part, self.codec)
                streams.append(head + bytes(self.codec.encode(fitted, tolerance, pointwise)))
                values.append(decode(self.codec, streams[-1], part.shape))
            self._known = {tolerance: (streams, values)}
        return self._known[tolerance]

    def error(self, tolerance: float, pointwise: bool) -> float:
        """Mean squared error at a tolerance."""
        if self.codec.rehearse is None:
            values = self.code(tolerance, pointwise)[1]
        else:
            values = [
                _unfit(self.codec.rehearse(_fit(p, self.codec), tolerance, pointwise), p.shape)
                for p in self.parts
            ]
        squared = 0.0
        for part, value in zip(self.parts, values, strict=True):
            difference = part.astype(np.float64).reshape(-1)
            difference -= value.reshape(-1)
            squared += float((difference * difference).sum())
        found = squared / sum(p.size for p in self.parts)
        return found if math.isfinite(found) else math.inf


def _start(codec: Codec, x: np.ndarray, limits: Limits) -> tuple[float, bool]:
    """First tolerance, and whether single points decide it."""
    finest = _FINEST[x.dtype]
    wanted = []
    if math.isfinite(limits.relative):
        if codec.relative is not None:
            wanted.append(codec.relative(x, limits.relative * _MARGIN))
        else:
            quantile = float(np.quantile(np.abs(x.reshape(-1)[::7]), _QUANTILE))
            wanted.append(limits.relative * quantile)
    if math.isfinite(limits.absolute):
        wanted.append(limits.absolute * _MARGIN)
    pointwise = min(wanted, default=math.inf)
    if not codec.bounded:
        pointwise *= _POINTWISE_SHARE / codec.ratio
    square = math.sqrt(limits.squared / x.size) / codec.ratio
    return min(max(min(pointwise, square), finest), _COARSEST), (
        pointwise <= square and codec.bounded
    )


def _search(trial: _Trial, start: float, pointwise: bool, target: float, most: int) -> float:
    """Coarsest tolerance found whose mean squared error is at most target."""
    finest = _FINEST[trial.parts[0].dtype]
    known: list[tuple[float, float]] = []  # logarithms of tolerance and of mean squared error
    at, best = start, None
    for _ in range(most):
        error = trial.error(at, pointwise)
        if error <= target:
            best = at if best is None else max(best, at)
            if pointwise and at == start:
                break  # single points want no coarser one
            if error >= _CLOSE * target:
                break
        known.append((math.log(at), math.log(max(error, target * 1e-6))))
        following = max(math.exp(_next(known, math.log(target), math.log(_AIM * target))), finest)
        following = min(following, start if pointwise else _COARSEST)
        if any(abs(following / math.exp(t) - 1) < 1e-4 for t, _ in known):
            break
        at = following
    return best if best is not None else max(math.exp(min(t for t, _ in known)) / 2, finest)


def _next(known: list[tuple[float, float]], limit: float, aim: float) -> float:
    """Where the error meets the aim, by the two trials around it or the slope near the last."""
    below = max((k for k in known if k[1] <= limit), default=None)
    above = min((k for k in known if k[1] > limit), default=None)
    if below and above and above[0] > below[0]:
        share = (aim - below[1]) / max(above[1] - below[1], 1e-9)
        return below[0] + min(max(share, 0.1), 0.9) * (above[0] - below[0])
    t, e = known[-1]
    slope = 2.0
    if len(known) > 1 and known[-1][0] != known[-2][0]:
        slope = (e - known[-2][1]) / (t - known[-2][0])
        slope = min(max(slope, 0.7), 4.0)
    return t + min(max((aim - e) / slope, -5.0), 3.0)
