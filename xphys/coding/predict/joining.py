"""All variables at one place, with vectors whose components are corrected together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from xphys.coding import preserve
from xphys.coding._errors import measure_floats
from xphys.coding.bounds import RELATIVE_MARGIN, ULP_MARGIN, Bounds
from xphys.coding.predict.grid import Grid
from xphys.coding.predict.joint import Joint, write_joint
from xphys.coding.predict.plan import Plan
from xphys.coding.predict.together import decode_predicted, decode_raw, encode_together
from xphys.coding.reference import parts_of, reference
from xphys.coding.request import Request

__all__ = ["Joining", "encode_place"]

_ATTEMPTS = 5
# A correction may take errors away: so much of the error allowed may stay unused, and so much is
# aimed at in the next attempt.
_ENOUGH, _NEXT = 0.96, 0.985
_MOST_FACTOR = 2.0
# Another machine may round a transform differently, and then move other points by units.
_ULPS = 2 * ULP_MARGIN


@dataclass(frozen=True)
class Joining:
    """Components that are corrected together, and what for.

    Attributes
    ----------
    members : tuple of str
        Variables; for a divergence one for each axis of a field, in their order.
    setup : preserve.Setup
        What is to be kept.
    density : str or None
        Variable that momenta need.
    """

    members: tuple[str, ...]
    setup: preserve.Setup
    density: str | None = None


@dataclass(frozen=True)
class _Made:
    """A correction of one vector: its bytes, errors, and the share of the error allowed."""

    data: bytes
    errors: tuple[tuple[float, float], ...]
    share: float


def encode_place(
    plan: Plan,
    grid: Grid,
    chunks: Mapping[str, np.ndarray],
    requests: Mapping[str, Request],
    states: Mapping[str, np.ndarray | None],
    times: np.ndarray | None,
    joinings: Sequence[Joining],
) -> dict[str, bytes]:
    """Code the chunks of all variables at one place, and correct vectors.

    Parameters
    ----------
    plan, grid, chunks, requests, states, times
        As `encode_together`.
    joinings : sequence of Joining
        Vectors that are corrected, none of whose members is in another one.

    Returns
    -------
    dict of str to bytes
        What is stored. Components of a vector that cannot be corrected are stored losslessly.
    """
    if not joinings:
        return encode_together(plan, grid, chunks, requests, states, times)
    factors: list[float] = [1.0] * len(joinings)
    best: tuple[int, dict[str, bytes], list[_Made | None]] | None = None
    for _ in range(_ATTEMPTS):
        payloads, made = _attempt(plan, grid, chunks, requests, states, times, joinings, factors)
        shares = [math.inf if m is None else m.share for m in made]
        fine = [s <= 1 - RELATIVE_MARGIN or not f for s, f in zip(shares, factors, strict=True)]
        size = sum(map(len, payloads.values()))
        if all(fine) and (best is None or size < best[0]):
            best = size, payloads, made
        if all(fine) and (
            any(requests[n].effort == "fast" for j in joinings for n in j.members)
            or all(s >= _ENOUGH or not f for s, f in zip(shares, factors, strict=True))
        ):
            break
        factors = [_next(f, s) for f, s in zip(factors, shares, strict=True)]
    if best is None:
        factors = [0.0] * len(factors)
        payloads, made = _attempt(plan, grid, chunks, requests, states, times, joinings, factors)
        best = 0, payloads, made
    return _joined(best[1], best[2], joinings)


def _next(factor: float, share: float) -> float:
    """Factor of the bounds of raw values for the next attempt; zero: lossless."""
    if not math.isfinite(share):
        return factor / 3
    return min(factor * _NEXT / max(share, 1e-3), _MOST_FACTOR * max(factor, 1.0))


def _attempt(
    plan: Plan,
    grid: Grid,
    chunks: Mapping[str, np.ndarray],
    requests: Mapping[str, Request],
    states: Mapping[str, np.ndarray | None],
    times: np.ndarray | None,
    joinings: Sequence[Joining],
    factors: Sequence[float],
) -> tuple[dict[str, bytes], list[_Made | None]]:
    """Chunks before correction, coded within multiples of their bounds, and corrections."""
    inner = dict(requests)
    for joining, factor in zip(joinings, factors, strict=True):
        for name in joining.members:
            inner[name] = _inner(requests[name], factor)
        if joining.density is not None and not factor:
            inner[joining.density] = _inner(requests[joining.density], 0.0)
    inner = {name: _alone(request) for name, request in inner.items()}
    payloads = encode_together(plan, grid, chunks, inner, states, times)
    made = [
        _correct(joining, chunks, payloads, requests, states) if factor else None
        for joining, factor in zip(joinings, factors, strict=True)
    ]
    return payloads, made


def _alone(request: Request) -> Request:
    """Without what takes several variables."""
    if request.preserve is None:
        return request
    return replace(request, preserve=request.preserve.without(preserve.TOGETHER))


def _inner(request: Request, factor: float) -> Request:
    """How a component is coded before it is corrected."""
    if not factor or request.bounds is None:
        return replace(request, method="lossless", bounds=None, preserve=None)
    given = {
        kind: value - 20 * math.log10(factor) if kind == "psnr" else value * factor
        for kind, value in request.bounds.to_dict().items()
    }
    kept = request.preserve
    kept = None if kept is None else kept.without(("mean", "energy"))
    return replace(request, bounds=Bounds(**given), preserve=kept)


def _correct(
    joining: Joining,
    chunks: Mapping[str, np.ndarray],
    payloads: Mapping[str, bytes],
    requests: Mapping[str, Request],
    states: Mapping[str, np.ndarray | None],
) -> _Made | None:
    x = [
        np.ascontiguousarray(chunks[n], chunks[n].dtype.newbyteorder("=")) for n in joining.members
    ]
    raw = [decode_raw(payloads[name], payloads) for name in joining.members]
    density = None
    if joining.density is not None:
        density = chunks[joining.density], decode_predicted(payloads[joining.density], payloads)
    found = preserve.correct_together(x, raw, density, joining.setup)
    if found is None:
        return None
    data, made = found
    share, errors = 0.0, []
    for name, a, b in zip(joining.members, x, made, strict=True):
        state = states[name]
        one, rms, peak = _error(a, b, requests[name], reference(a) if state is None else state)
        share = max(share, one)
        errors.append((rms, peak))
        kept = requests[name].preserve
        if kept is not None and "positivity" in kept.names and not _same_sign(a, b):
            return None
    return _Made(data, tuple(errors), share)


def _same_sign(a: np.ndarray, b: np.ndarray) -> bool:
    """True if values of one sign stay so."""
    return not ((a.min() >= 0 and b.min() < min(a.min(), 0.0)) or (a.max() <= 0 < b.max()))


def _error(
    x: np.ndarray, y: np.ndarray, request: Request, state: np.ndarray
) -> tuple[float, float, float]:
    """Largest share of a bound that is used, root mean square and largest error."""
    assert request.bounds is not None
    exponent = math.frexp(float(np.abs(x).max()))[1]
    allowance = request.bounds.allowance(state, exponent)
    share, total, peak = 0.0, 0.0, 0.0
    for index, where in parts_of(state.shape):
        a, b = np.ascontiguousarray(x[where]), np.ascontiguousarray(y[where])
        bad = np.zeros(a.shape, bool)
        squared, most, _ = measure_floats(a, b, exponent, math.inf, math.inf, 0.0, _ULPS, bad)
        allowed = float(allowance.mean_square[index]) * a.size
        absolute = math.ldexp(float(allowance.absolute[index]), -exponent)
        used = [squared / allowed if allowed > 0 else math.inf if squared else 0.0]
        used.append((most / absolute) ** 2 if absolute > 0 else math.inf if most else 0.0)
        if math.isfinite(allowance.relative):
            wide = np.abs(a.astype(np.float64))
            away = np.abs(b.astype(np.float64) - a) + _ULPS * np.spacing(np.abs(b)).astype(float)
            with np.errstate(divide="ignore", invalid="ignore"):
                ratio = np.where(away > 0, away / (allowance.relative * wide), 0.0)
            used.append(float(ratio.max()) ** 2)
        share = max(share, math.sqrt(max(used)))
        total, peak = total + squared, max(peak, most)
    return share, math.sqrt(total / x.size), peak


def _joined(
    payloads: dict[str, bytes], made: Sequence[_Made | None], joinings: Sequence[Joining]
) -> dict[str, bytes]:
    """Chunks with their corrections behind them."""
    out = dict(payloads)
    for joining, correction in zip(joinings, made, strict=True):
        if correction is None:
            continue
        for place, name in enumerate(joining.members):
            data = b"" if place else correction.data
            joint = Joint(joining.members, joining.density, place, *correction.errors[place], data)
            out[name] = write_joint(joint, payloads)
    return out
