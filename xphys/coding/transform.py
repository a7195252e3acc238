"""The method "transform": bases by axis, dead-zone quantiser, entropy stage.

Bases are chosen for each chunk by the estimated size; small chunks are really coded in the best
few. See `bases`, `quantise`, `entropy` and `_stream` for the parts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xphys.coding._candidates import Axes
from xphys.coding._stream import Block, decode
from xphys.coding._trial import Trial, mixing_pays, write
from xphys.coding._values import FINEST_IN_SINGLE
from xphys.coding.bases import Kind
from xphys.coding.bounds import Limits
from xphys.coding.method import Coded, Method
from xphys.coding.quantise import distance, squares
from xphys.coding.request import Request

__all__ = ["TRANSFORM"]

_AIM = 0.998  # of the squared error allowed
_REFINED = 3e-3  # share of the deviation above which rate-distortion decisions pay
_MEAN_BITS = 4  # units of the mean: this many bits below the root mean square error
_LEAST, _LARGEST = 1e-36, 4.0  # mean squared error: more than 0, and no magnitude is above 1
_PROBE = 2**20  # values on which bases are compared
_LEAST_STEPS = 16  # of the probe
_LONGEST, _LARGE_STEP = 64, 2**18  # steps of a block whose steps have that many bytes
_ATTEMPTS = 3
_STEPS, _STREAM = 8, 2**15  # steps and coded bytes of a block without a basis in time
_CLOSE, _CLEAR = 1.05, 1.1  # ratio of estimates


def _round_mean(mean: float, rms: float) -> tuple[int, int]:
    exponent = max(math.frexp(rms)[1] - _MEAN_BITS, math.frexp(mean)[1] - 50, -120)
    return round(math.ldexp(mean, -exponent)), exponent


def _cut(x: np.ndarray, axis: int, extent: int) -> list[np.ndarray]:
    lead = (slice(None),) * axis
    starts = range(0, x.shape[axis], extent)
    return [np.ascontiguousarray(x[(*lead, slice(s, s + extent))]) for s in starts]


@dataclass(frozen=True)
class _Chosen:
    """A basis that is worth coding, with estimated bytes, and its trial if that saw all."""

    kinds: tuple[Kind, ...]
    estimate: float
    trial: Trial | None = None


def _choose(job: _Job, axes: Axes) -> list[_Chosen]:
    """Bases from the best on, those within a few per cent."""
    y, axis, effort = job.y, job.axis, job.request.effort
    steps = y.shape[axis]
    count = min(steps, max(_LEAST_STEPS, _PROBE * steps // max(y.size, 1)))
    first = (steps - count) // 2
    probe = y[(*(slice(None),) * axis, slice(first, first + count))] if axes.time == axis else y
    probe = np.ascontiguousarray(probe)
    target = job.mean_square * probe.size
    sizes: dict[tuple[Kind, ...], float] = {}
    trials: dict[tuple[Kind, ...], Trial] = {}

    def measure(candidates: Sequence[tuple[Kind, ...]]) -> list[float]:
        for kinds in candidates:
            trial = Trial([probe], kinds, target, job.mean)
            sizes[kinds] = trial.bits(trial.find(exact=False)) if trial.fits else math.inf
            if probe.size == y.size and sizes[kinds] <= _CLOSE * min(sizes.values()):
                trials[kinds] = trial
        return [sizes[k] for k in candidates]

    if effort == "fast":
        measure(axes.quick())
    else:
        found = measure(axes.first())
        ratio = found[0] / max(found[-1], 1.0)
        measure(list(axes.others(ratio > _CLEAR, ratio < 1 / _CLEAR, effort)))
    best = min(sizes.values())
    ranked = sorted(sizes, key=lambda k: sizes[k])
    close = 1.0 if effort == "fast" else _CLOSE if effort == "normal" else _CLOSE**2
    near = [k for k in ranked if sizes[k] <= close * best + 8 * 64]
    most = len(near) if best < 8 * 2**14 else 2 if best < 8 * 2**17 else 1
    scale = y.size / probe.size / 8
    return [_Chosen(kinds, sizes[kinds] * scale, trials.get(kinds)) for kinds in near[:most]]


def _extent(x: np.ndarray, axis: int, kinds: tuple[Kind, ...], size: float) -> int:
    """Steps of a block."""
    steps = x.shape[axis]
    if kinds[axis] is Kind.NONE:
        enough = math.ceil(_STREAM / max(size / max(steps, 1), 1e-9) / _STEPS) * _STEPS
        return int(max(min(enough, steps), 1))
    return int(min(steps, _LONGEST) if x.nbytes // steps >= _LARGE_STEP else steps)


@dataclass(frozen=True)
class _Outcome:
    """A chunk coded in one basis."""

    kinds: tuple[Kind, ...]
    estimate: float
    target: float
    extent: int
    blocks: list[Block]
    q: list[np.ndarray]
    streams: list[bytes]

    @property
    def size(self) -> int:
        return sum(map(len, self.streams))


class _Job:
    """One chunk with its bounds."""

    def __init__(self, x: np.ndarray, axis: int, squared: float, request: Request) -> None:
        self.x, self.axis, self.squared, self.request = x, axis, squared, request
        self.mean_square = min(max(_AIM * squared / x.size, _LEAST), _LARGEST)
        rms = math.sqrt(self.mean_square)
        dtype = np.dtype(np.float64 if rms < FINEST_IN_SINGLE else np.float32)
        self.mean = _round_mean(float(x.mean(dtype=np.float64)), rms)
        self.y = np.subtract(x, math.ldexp(float(self.mean[0]), self.mean[1]), dtype=dtype)
        spread = squares(self.y) / max(x.size, 1)
        self.refined = request.effort != "fast" and self.mean_square > _REFINED**2 * spread

    def choose(self) -> list[_Chosen]:
        """Bases worth coding."""
        return _choose(self, Axes(self.x, self.axis, self.request))

    def code(self, chosen: _Chosen, target: float = 0.0) -> _Outcome:
        """Streams in one basis that makes about so many bytes."""
        kinds, target = chosen.kinds, target or self.mean_square * self.x.size
        extent = _extent(self.x, self.axis, kinds, chosen.estimate)
        trial = chosen.trial.divided(self.axis, extent) if chosen.trial else None
        if trial is None or trial.target != target:
            blocks = _cut(self.y, self.axis, extent)
            trial = Trial(blocks, kinds, target, self.mean)
            if not trial.fits:
                kinds = tuple(Kind.COSINE if k is Kind.MODES else k for k in kinds)
                trial = Trial(blocks, kinds, target, self.mean)
        step, q = trial.settle(self.refined)
        made = trial.blocks(step, q)
        streams = [write(b, one, self.request.effort) for b, one in zip(made, q, strict=True)]
        return _Outcome(kinds, chosen.estimate, target, extent, made, q, streams)

    def finish(self, outcome: _Outcome) -> Coded:
        """Values of streams; coded once more, finer, where rounding made the error too large."""
        for attempt in range(_ATTEMPTS):
            pairs = zip(outcome.blocks, outcome.q, strict=True)
            values = [b.values(one if one.any() else None) for b, one in pairs]
            spent = self._error(outcome.extent, values)
            if spent <= self.squared or attempt == _ATTEMPTS - 1:
                break
            target = outcome.target * _AIM * self.squared / spent
            outcome = self.code(_Chosen(outcome.kinds, outcome.estimate), target)
        streams = outcome.streams
        if self.request.effort == "normal":
            streams = [_mixed(*t) for t in zip(outcome.blocks, outcome.q, streams, strict=True)]
        return Coded(outcome.extent, streams, values)

    def _error(self, extent: int, made: list[np.ndarray]) -> float:
        pairs = zip(_cut(self.x, self.axis, extent), made, strict=True)
        return sum(distance(a, b) for a, b in pairs)


def _mixed(block: Block, q: np.ndarray, stream: bytes) -> bytes:
    """A longer stream coded again by "mixing" if a sample says that it pays."""
    if not mixing_pays(block, q, len(stream)):
        return stream
    return min(block.write(q, "mixing"), stream, key=len)


def encode(x: np.ndarray, axis: int, limits: Limits, request: Request) -> Coded:
    """Code one chunk in the basis that makes it smallest.

    Parameters
    ----------
    x : ndarray of float32 or float64
        The chunk, magnitudes up to 1.
    axis : int
        Along which blocks divide it.
    limits : Limits
        Of which the sum of squared errors is aimed at; the caller checks, and sees to bounds on
        single points.
    request : Request
        Roles and periodicity of the axes, effort.

    Returns
    -------
    Coded
        Blocks of 8 or more steps without a basis in time, else one block or blocks of 64 steps.
    """
    job = _Job(x, axis, limits.squared, request)
    return job.finish(min((job.code(c) for c in job.choose()), key=lambda o: o.size))


TRANSFORM = Method("transform", 2, encode, decode, proved=True)
"""The method, as the table knows it."""
