"""Every error bound on adversarial values, and on every float32 that there is.

Values that codecs tend to break on go through compressing and decoding under bounds of every
kind; what comes back is measured here, without code of the codec. Then all 2^32 float32 patterns
go once through a coarse quantiser and the patch of points behind it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

__all__ = ["KINDS", "run"]

KINDS: tuple[dict[str, float], ...] = (
    {"vrmse": 1e-2},
    {"rel_l2": 1e-3},
    {"max_abs": 1e-3},
    {"max_rel": 1e-4},
    {"psnr": 50.0},
    {"pointwise_rel": 1e-2},
    {"vrmse": 1e-1, "max_rel": 1e-2, "pointwise_rel": 0.5},
    {"vrmse": 1e-6},
)
_SHAPE = (8, 64, 64)
_PATTERNS = 2**22  # in one chunk


def _adversarial(rng: np.random.Generator, dtype: np.dtype) -> np.ndarray:
    """One chunk of a kind that once broke some codec."""
    info = np.finfo(dtype)
    n = int(np.prod(_SHAPE))
    kind = int(rng.integers(12))
    x = rng.standard_normal(n)
    if kind == 0:  # any bits: NaN with payloads, infinities, subnormal numbers
        whole = rng.integers(0, 2**63, n, dtype=np.int64).astype(np.uint64) * np.uint64(2)
        bits = whole if dtype.itemsize == 8 else (whole >> np.uint64(32)).astype(np.uint32)
        return bits.view(dtype).reshape(_SHAPE)
    if kind == 1:  # all magnitudes
        span = np.log10(float(info.max)) - 1
        x = 10.0 ** rng.uniform(-span, span, n) * np.sign(x)
    elif kind == 2:  # subnormal
        x = rng.integers(-999, 1000, n) * float(info.smallest_subnormal)
    elif kind == 3:  # an offset that leaves few bits
        x += 10.0 ** rng.integers(2, 8)
    elif kind == 4:  # largest
        x = x / np.abs(x).max() * float(info.max)
    elif kind == 5:  # spikes in nothing
        x = np.where(rng.random(n) < 1e-3, x * 1e3, 0.0)
    elif kind == 6:  # two values
        x = np.where(x > 0, 1.0, -1.0) + (rng.random(n) < 1e-4)
    elif kind == 7:  # holes and fill values
        x = np.where(rng.random(n) < 0.1, np.nan, x)
        x = np.where(rng.random(n) < 0.05, 1e20, x)
    elif kind == 8:  # just above and below the edges of a quantiser
        x = np.rint(x * 500) / 500 + float(rng.choice([0.5, 1.0, 1.5])) * 1e-3
        x += float(info.eps) * rng.integers(-2, 3, n)
    elif kind == 9:  # zeros of both signs
        x = np.where(x > 1.5, x, np.where(x > 0, 0.0, -0.0))
    elif kind == 10:  # almost constant
        x = 3.7 + float(info.eps) * rng.integers(-3, 4, n)
    else:  # smooth
        x = x.reshape(_SHAPE).cumsum(0).cumsum(1).cumsum(2).reshape(-1)
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(x, dtype).reshape(_SHAPE)


def violated(x: np.ndarray, y: np.ndarray, bounds: dict[str, float]) -> list[str]:
    """Bounds that y breaks; fill values and what is not finite must be equal."""
    if y.dtype != x.dtype or y.shape != x.shape:
        return [f"{y.dtype} {y.shape} for {x.dtype} {x.shape}"]
    bits = f"u{x.dtype.itemsize}"
    finite = np.isfinite(x)
    found = []
    if (x[~finite].view(bits) != y[~finite].view(bits)).any():
        found.append("a value that is not finite changed")
    wide = np.longdouble if x.dtype.itemsize == 8 else np.float64
    a, b = x[finite].astype(wide), y[finite].astype(wide)
    if not np.isfinite(b).all():
        return [*found, "a finite value is not finite any more"]
    if not a.size:
        return found
    error, size = np.abs(b - a), np.abs(a)
    # all finite values: stricter is what the codec promises, which leaves fill values out
    norm, spread = np.sqrt((error**2).sum()), a.max() - a.min()
    deviation = np.sqrt(((a - a.mean()) ** 2).sum())
    limits = {
        "vrmse": (norm, deviation),
        "rel_l2": (norm, np.sqrt((a**2).sum())),
        "max_abs": (error.max(), np.longdouble(1)),
        "max_rel": (error.max(), spread),
    }
    for kind, bound in bounds.items():
        if kind == "pointwise_rel":
            bad = bool((error > np.longdouble(bound) * size).any())
        elif kind == "psnr":
            root = np.sqrt(np.longdouble(a.size))
            bad = bool(norm > spread * root * np.longdouble(10) ** (-bound / 20))
        else:
            measured, unit = limits[kind]
            bad = bool(measured > np.longdouble(bound) * unit)
        if bad:
            found.append(f"{kind}={bound} does not hold")
    return found


def _through(x: np.ndarray, method: str, bounds: dict[str, float]) -> list[str]:
    from xphys.coding import Bounds, Request, decode_chunk, encode_chunk

    y = decode_chunk(encode_chunk(x, Request(method, Bounds(**bounds), effort="fast")))
    return violated(x, y, bounds)


def _battery(
    chunks: Iterator[tuple[str, np.ndarray]], method: Callable[[int], str], most: int
) -> dict[str, Any]:
    """Chunk after chunk, each under one kind of bounds."""
    count, failures, start, number = 0, [], time.perf_counter(), 0
    kinds: dict[str, int] = {}
    for name, x in chunks:
        if count >= most:
            break
        bounds = KINDS[number % len(KINDS)]
        for problem in _through(x, method(number), bounds):
            failures.append({"chunk": name, "method": method(number), "problem": problem})
        label = "+".join(bounds)
        kinds[label] = kinds.get(label, 0) + x.size
        count, number = count + x.size, number + 1
    seconds = round(time.perf_counter() - start, 1)
    return {"values": count, "values_under": kinds, "seconds": seconds, "failures": failures}


def _random(dtype: str, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    number = 0
    while True:
        yield (
            f"{dtype} {seed} {number}",
            _adversarial(np.random.default_rng([seed, number]), np.dtype(dtype)),
        )
        number += 1


def _patterns() -> Iterator[tuple[str, np.ndarray]]:
    """All float32, each once: half of the chunks hold neighbours, half all magnitudes."""
    count = 2**32 // _PATTERNS
    for number in range(count):
        if number % 2:  # odd patterns that lie far apart
            half = np.arange(number // 2, 2**31, count // 2, dtype=np.uint32)
            whole = 2 * half + 1
        else:  # even ones
            start = number // 2 * _PATTERNS
            whole = 2 * np.arange(start, start + _PATTERNS, dtype=np.uint32)
        yield f"patterns {number}", whole.view(np.float32).reshape(16, -1)


def _register_grid() -> None:
    """A quantiser without any entropy stage: what is tried is everything around it."""
    from xphys.coding import Method, register
    from xphys.coding.method import Coded

    def decode(data: bytes, shape: tuple[int, ...]) -> np.ndarray:
        (step,) = np.frombuffer(data[:8], np.float64)
        whole = np.frombuffer(data[8:], np.int16).reshape(shape)
        return np.asarray(whole * np.float32(step), np.float32)

    def encode(x: np.ndarray, axis: int, limits: Any, request: Any) -> Coded:
        wanted = min(float(np.sqrt(12 * limits.squared / x.size)), limits.absolute, 0.5)
        step = float(np.float32(max(wanted, 2.0**-14)))
        whole = np.rint(x / np.float32(step)).astype(np.int16)
        data = np.float64(step).tobytes() + whole.tobytes()
        return Coded(x.shape[axis], [data], [decode(data, x.shape)])

    register(Method("grid of the torture", 251, encode, decode))


def run(values: int, seed: int, *, patterns: bool = True) -> dict[str, Any]:
    """Count violations.

    Parameters
    ----------
    values : int
        Of float32; a tenth as many of float64.
    seed : int
        Of the values.
    patterns : bool
        Whether all 2^32 patterns are tried too.

    Returns
    -------
    dict
        Of each part: values, how many under each kind of bounds, failures.
    """
    from xphys.codecs import wrapped  # noqa: F401

    def chosen(number: int) -> str:
        # all kinds of bounds meet both methods
        return "transform" if number // len(KINDS) % 4 else "bitround"

    out = {
        "float32": _battery(_random("f4", seed), chosen, values),
        "float64": _battery(_random("f8", seed + 1), chosen, values // 10),
    }
    if patterns:
        _register_grid()
        out["every float32"] = _battery(_patterns(), lambda _: "grid of the torture", 2**32)
    return out
