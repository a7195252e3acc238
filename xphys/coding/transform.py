"""The method "transform": orthonormal transform, dead-zone quantiser, entropy stage.

Layout of a block: one byte per axis (kind of transform), mean and step as float64, two bytes of
reconstruction shifts (in 1/512 step), then the packed integers.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from itertools import product

import numpy as np

from xphys.coding import integers, transforms
from xphys.coding.bounds import Limits
from xphys.coding.method import Method
from xphys.coding.request import Request
from xphys.errors import CorruptDataError

__all__ = ["TRANSFORM"]

_HEAD = struct.Struct("<ddBB")
# Magnitudes are rounded down unless they pass this share of a step: zeros are cheap.
_DEAD_ZONE, _NO_DEAD_ZONE = 0.38, 0.5
# Root mean square error aimed at under a pointwise bound, as a share of the bound: the normal
# tail beyond it is patched.
_POINTWISE_SHARE = 1 / 3.5
_AIM = 0.997  # of the squared error allowed
_SAMPLE = 2**17
_LARGEST_CHANGE = 12.0  # of the logarithm of the step in one go


def _distortion(blocks: Sequence[np.ndarray], limits: Limits) -> float:
    """Squared error to aim at over all blocks."""
    size = sum(b.size for b in blocks)
    target = limits.squared
    if limits.pointwise:
        bound = limits.absolute
        if math.isfinite(limits.relative):
            magnitudes = np.concatenate([np.abs(b).reshape(-1)[::7] for b in blocks])
            bound = min(bound, limits.relative * float(np.quantile(magnitudes, 0.05)))
        target = min(target, size * (bound * _POINTWISE_SHARE) ** 2)
    return target


def _candidates(request: Request) -> list[tuple[int, ...]]:
    """Transforms worth a trial for each axis.

    Space: Fourier where periodic, cosine where not, both where unknown. Other axes: cosine or
    nothing, since neighbours in time may be unrelated.
    """
    per_role: dict[str, tuple[tuple[int, ...], ...]] = {}
    spaces = [p for r, p in zip(request.roles, request.periodic, strict=True) if r == "space"]
    known = tuple(transforms.FOURIER if p else transforms.COSINE for p in spaces)
    every = (transforms.FOURIER,) * len(spaces)
    per_role["space"] = (known, every) if None in spaces else (known,)
    rest = len(request.roles) - len(spaces)
    flat = (transforms.NONE,) * rest
    per_role["rest"] = (flat, (transforms.COSINE,) * rest) if rest else (flat,)
    out = []
    for space, other in product(per_role["space"], per_role["rest"]):
        a, b = iter(space), iter(other)
        out.append(tuple(next(a) if r == "space" else next(b) for r in request.roles))
    return list(dict.fromkeys(out))


def _rate(coefficients: np.ndarray, mean_square: float) -> float:
    """Bits of an ideal code at this error per value (reverse water-filling)."""
    power = np.maximum(coefficients.reshape(-1) ** 2, 1e-300)
    low, high = math.log(mean_square) - 1, max(math.log(mean_square), math.log(power.max())) + 1
    for _ in range(30):
        middle = (low + high) / 2
        spent = float(np.minimum(power, math.exp(middle)).mean())
        low, high = (middle, high) if spent < mean_square else (low, middle)
    return float(np.maximum(np.log2(power) - middle / math.log(2), 0).sum())


def _choose(blocks: Sequence[np.ndarray], mean_square: float, request: Request) -> tuple[int, ...]:
    candidates = _candidates(request)
    if len(candidates) == 1:
        return candidates[0]
    probe = blocks[len(blocks) // 2]
    probe = probe - probe.mean()
    rates = [_rate(transforms.forward(probe, kinds), mean_square) for kinds in candidates]
    return candidates[int(np.argmin(rates))]


def _quantise(magnitudes: np.ndarray, step: float, offset: float) -> np.ndarray:
    return np.floor(magnitudes / step + offset)


def _shifts(magnitudes: np.ndarray, q: np.ndarray, step: float) -> tuple[int, int]:
    """Mean distance of coefficients from q * step for q = 1 and q > 1, in 1/512 step."""
    out = []
    for chosen in (q == 1, q > 1):
        count = int(np.count_nonzero(chosen))
        mean = float((q[chosen] - magnitudes[chosen] / step).mean()) if count else 0.0
        out.append(int(np.clip(round(mean * 512) + 128, 0, 255)))
    return out[0], out[1]


def _restore(q: np.ndarray, step: float, shifts: tuple[int, int]) -> np.ndarray:
    """Magnitudes for quantised magnitudes q."""
    first, rest = ((s - 128) / 512 for s in shifts)
    return np.where(q > 1, q - rest, np.where(q == 1, 1 - first, 0.0)) * step


def _error(magnitudes: np.ndarray, step: float, offset: float) -> float:
    """Mean squared error after quantising."""
    q = _quantise(magnitudes, step, offset)
    difference = _restore(q, step, _shifts(magnitudes, q, step)) - magnitudes
    return float(np.dot(difference, difference)) / max(magnitudes.size, 1)


def _find_step(
    magnitudes: Sequence[np.ndarray], target: float, offset: float, start: float
) -> float:
    """Largest step whose mean squared error stays below target, by secant on logarithms."""
    count = sum(m.size for m in magnitudes)
    if sum(float(np.dot(m, m)) for m in magnitudes) / count <= target:
        return 4 * max(float(m.max()) for m in magnitudes) + 1e-300  # nothing needs to be coded
    step, known = start, []
    for _ in range(12):
        errors = [_error(m, step, offset) * m.size for m in magnitudes]
        error = sum(errors) / count
        if _AIM - 0.004 <= error / target <= 1:
            return step
        known.append((math.log(step), math.log(max(error, 1e-300))))
        aim = math.log(target * (_AIM - 0.001))
        slope = 2.0
        if len(known) > 1 and known[-1][0] != known[-2][0]:
            slope = (known[-1][1] - known[-2][1]) / (known[-1][0] - known[-2][0])
            slope = min(max(slope, 0.2), 4.0)
        change = (aim - known[-1][1]) / slope
        step = math.exp(known[-1][0] + min(max(change, -_LARGEST_CHANGE), _LARGEST_CHANGE))
    below = [s for s, e in known if e <= math.log(target)]
    return math.exp(max(below)) if below else math.exp(min(s for s, _ in known)) / 2


def _write(
    block: np.ndarray,
    coefficients: np.ndarray,
    kinds: tuple[int, ...],
    step: float,
    offset: float,
) -> bytes:
    magnitudes = np.abs(coefficients).reshape(-1)
    q = np.minimum(_quantise(magnitudes, step, offset), integers.LARGEST)
    first, rest = _shifts(magnitudes, q, step)
    signed = np.copysign(q, coefficients.reshape(-1)).astype(np.int64)
    head = bytes(kinds) + _HEAD.pack(float(block.mean()), step, first, rest)
    return head + integers.pack(signed[transforms.scan(block.shape, kinds)])


def encode(blocks: Sequence[np.ndarray], limits: Limits, request: Request) -> list[bytes]:
    """Code the blocks of one chunk with one step, which is best for a squared error.

    Parameters
    ----------
    blocks : sequence of ndarray of float64
        Parts of one chunk.
    limits : Limits
        What to aim at; the caller checks.
    request : Request
        Roles and periodicity of the axes.

    Returns
    -------
    list of bytes
        One string per block.
    """
    size = sum(b.size for b in blocks)
    target = _distortion(blocks, limits) / size
    if not target > 0:
        target = 1e-18  # nothing may be lost: as fine as float64 makes sense, the patch does it
    kinds = _choose(blocks, target, request)
    coefficients = [transforms.forward(b - b.mean(), kinds) for b in blocks]
    magnitudes = [np.abs(c).reshape(-1) for c in coefficients]
    offset = _NO_DEAD_ZONE if limits.pointwise else _DEAD_ZONE
    step = math.sqrt(12 * target)
    if size > 2 * _SAMPLE:
        stride = size // _SAMPLE | 1
        step = _find_step([m[::stride] for m in magnitudes], target, offset, step)
    step = _find_step(magnitudes, target, offset, step)
    pairs = zip(blocks, coefficients, strict=True)
    return [_write(block, c, kinds, step, offset) for block, c in pairs]


def decode(data: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """Read a block that `encode` wrote.

    Parameters
    ----------
    data : bytes
        The block.
    shape : tuple of int
        Its shape.

    Returns
    -------
    ndarray of float64
        The decoded values.

    Raises
    ------
    CorruptDataError
        If the bytes are no block of that shape.
    """
    start = len(shape) + _HEAD.size
    if len(data) < start:
        raise CorruptDataError(f"expected a block of at least {start} bytes, got {len(data)}")
    kinds = tuple(data[: len(shape)])
    if max(kinds, default=0) > transforms.FOURIER:
        raise CorruptDataError(f"expected transforms 0, 1, 2, found {kinds}")
    mean, step, first, rest = _HEAD.unpack(data[len(shape) : start])
    if not (math.isfinite(mean) and math.isfinite(step)):
        raise CorruptDataError(f"expected a finite mean and step, found {mean} and {step}")
    signed = integers.unpack(data[start:], math.prod(shape))
    values = np.copysign(_restore(np.abs(signed), step, (first, rest)), signed)
    coefficients = np.empty(values.size)
    coefficients[transforms.scan(shape, kinds)] = values
    return np.asarray(transforms.inverse(coefficients.reshape(shape), kinds) + mean)


TRANSFORM = Method("transform", 1, encode, decode)
