"""One chunk through a lossy method, every bound checked on the values that a reader gets."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from xphys._streams import deflate, split_planes, varint
from xphys.coding import _outliers, _share, _values, choice, exact, preserve
from xphys.coding._near import bring_near
from xphys.coding._task import SLACK, Task, measure, ulps
from xphys.coding.bounds import RELATIVE_MARGIN, Allowance, Bounds, Limits
from xphys.coding.header import digest
from xphys.coding.method import Coded, Method
from xphys.coding.reference import reference
from xphys.coding.request import Request
from xphys.errors import XphysError

__all__ = ["LOSSLESS", "Lossy", "encode"]

LOSSLESS = 0
_ATTEMPTS = 6
_CORRECTIONS = 4
# Above this magnitude neighbouring integers are one float64.
_LARGEST_INTEGER = 2**53
# Of the streams of methods that are proved, this share of 256 is decoded to compare.
_DECODED = 4
_PROBES, _PROBE = 8, 2**13
# A guess: root mean square error above which methods work in float32, mean magnitude of an error
# over its root mean square (with some room), and the least that is left of the error allowed.
_MEAN_SHARE, _LEAST_SHARE = 0.82, 0.3
# How often a chunk with bounds on single points is coded at most; points whose errors are looked
# at to say with which error next; magnitudes below this quantile count as small where bounds are
# relative to them.
_CODINGS = {"fast": 1, "normal": 3, "max": 5}
_LOOKED_AT = 2**16
_SMALL = 0.3
_LEAST_BOUND, _LARGEST_BOUND, _FAR = 2.0**-60, 4.0, 1e6


@dataclass(frozen=True)
class Lossy:
    """A coded chunk: method and bytes of each block, and the errors of the whole."""

    extent: int
    exponent: int
    weighted: tuple[int, ...]
    predicted: bool
    parts: list[tuple[int, bytes]]
    squared: float
    peak: float
    corrected: bool = False


def encode(
    x: np.ndarray,
    axis: int,
    request: Request,
    state: np.ndarray | None,
    prediction: np.ndarray | None,
) -> Lossy | None:
    """Code one chunk within the bounds of the request.

    Parameters
    ----------
    x : ndarray of floats or integers
        Native byte order, C order, not empty.
    axis : int
        Along which blocks divide it.
    request : Request
        With bounds, a role and a periodicity for each axis.
    state : structured ndarray or None
        What relative bounds are relative to; the chunk itself if None.
    prediction : ndarray of float64 or None
        What a reader knows before, in the units of x: the distance from it is coded.

    Returns
    -------
    Lossy or None
        None where only lossless coding keeps the bounds.

    Raises
    ------
    XphysError
        If a method does not decode what it said it would.
    """
    first, *others = choice.candidates(request)
    task = _prepare(x, axis, request, state, prediction, first)
    if task is None:
        return None
    scaled = _values.scale(x, task.held, task.exponent, task.expected)
    if task.weighted:
        scaled /= _values.weights(task.exponents).astype(scaled.dtype)
    counts = _counts(task)
    best = _attempt(task, scaled, counts, request)
    for method in others:
        size = math.inf if best is None else _size(best)
        limits = _limits(task, counts)
        if choice.promises(method, scaled, axis, limits, request, size):
            other = _attempt(replace(task, method=method), scaled, counts, request)
            if other is not None and _size(other) < size:
                best = other
    return best


def _size(coded: Lossy) -> int:
    return sum(len(data) for _, data in coded.parts)


def _attempt(task: Task, scaled: np.ndarray, counts: np.ndarray, request: Request) -> Lossy | None:
    """One method at the limits that suit it."""
    aim = _limits(task, counts)
    if not task.method.proved:
        found = _within(task, scaled, counts, request, aim)
        return None if found is None else found[0]
    aim = replace(aim, squared=_foreseen(aim.squared, task.x, scaled))
    if aim.pointwise:
        return _balance(task, scaled, counts, request, aim)
    found = _within(task, scaled, counts, request, aim)
    return None if found is None else found[0]


def _balance(
    task: Task, scaled: np.ndarray, counts: np.ndarray, request: Request, aim: Limits
) -> Lossy | None:
    """Bounds on single points: the error that makes the stream and the points beyond short."""
    bounds = _point_bounds(task, aim)
    stride = max(scaled.size // _LOOKED_AT, 1)
    counted = bounds if bounds.ndim == 0 else bounds[::stride]
    counted = counted[counted > 0]  # zeros that have to stay zero say nothing about the others
    typical = max(float(np.quantile(counted, _SMALL)) if counted.size else 0.0, _LEAST_BOUND)
    largest = math.sqrt(aim.squared / scaled.size) / typical
    rough = _share.roughness(scaled, typical)
    share, best, before = _share.first_share(rough), None, None
    for _ in range(_CODINGS[request.effort]):
        share = min(share, largest)
        squared = scaled.size * (typical * share) ** 2
        found = _within(task, scaled, counts, request, Limits(squared, math.inf, math.inf))
        if found is None:
            break
        size = _size(found[0])
        if best is None or size < _size(best):
            best = found[0]
        if all(method == LOSSLESS for method, _ in found[0].parts):
            break
        bits, coarse = 8 / scaled.size, sum(map(len, found[1].streams))
        errors = _errors_over(bounds, scaled, found[1], task.axis, stride)
        spent = _share.Spent(share, bits * coarse, bits * (size - coarse), errors, rough)
        following = _share.next_share(spent, before)
        if following is None or min(following, largest) == share:
            break
        share, before = following, spent
    return best


def _point_bounds(task: Task, aim: Limits) -> np.ndarray:
    """Bounds of points as the method sees them, one for all where they do not differ; NaN: none."""
    if not math.isfinite(aim.relative):
        return np.asarray(min(aim.absolute, _LARGEST_BOUND))
    with np.errstate(all="ignore"):
        size = np.abs(np.ldexp(task.x.astype(np.float64), -task.exponent))
        size = size / _values.weights(task.exponents)
        if task.held is not None:
            size[task.held] = np.nan
    return np.asarray(np.minimum(min(aim.absolute, _LARGEST_BOUND), aim.relative * size)).reshape(
        -1
    )


def _errors_over(
    bounds: np.ndarray, scaled: np.ndarray, coded: Coded, axis: int, stride: int
) -> np.ndarray:
    """Errors of every so manieth point over its bound."""
    made = np.concatenate(coded.values, axis=axis).reshape(-1)[::stride]
    with np.errstate(all="ignore"):
        away = np.abs(scaled.reshape(-1)[::stride] - made.astype(np.float64))
        over = away / (bounds if bounds.ndim == 0 else bounds[::stride])
    return np.asarray(np.minimum(np.nan_to_num(over, nan=0.0), _FAR))


def _within(
    task: Task, scaled: np.ndarray, counts: np.ndarray, request: Request, aim: Limits
) -> tuple[Lossy, Coded] | None:
    """One method, with smaller limits until what a reader gets keeps the bounds."""
    for _ in range(_ATTEMPTS):
        coded = task.method.encode(scaled, task.axis, aim, request)
        _prove(task.method, coded, task.x.shape, task.axis)
        result, squares = _settle_all(task, coded)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = squares / (task.allowance.mean_square * counts)
        worst = float(np.nan_to_num(share, nan=0.0).max())
        if worst <= (1 - RELATIVE_MARGIN) ** 2:
            return result, coded
        shrink = 0.99 / worst if math.isfinite(worst) else 0.1
        aim = replace(aim, squared=aim.squared * max(shrink, 1e-3))
    return None


def _foreseen(squared: float, x: np.ndarray, scaled: np.ndarray) -> float:
    """Squared error that reaches the one given once every point has its margin for rounding.

    The margin m adds 2 m E|e| + m^2 to the mean square of errors e, which are about Gaussian. A
    guess saves attempts; what decides is measured.
    """
    if x.dtype.kind != "f" or not math.isfinite(squared):
        return squared
    rms = math.sqrt(squared / x.size)
    single = scaled.dtype == np.float32 and rms >= _values.FINEST_IN_SINGLE
    slack = SLACK[np.dtype(np.float32 if single else np.float64)]
    unit = float(np.finfo(x.dtype).eps * np.abs(scaled).mean(dtype=np.float64))
    margin = ulps(x.dtype, slack) * unit + slack
    share = margin / rms if rms > 0 else 0.0
    left = math.sqrt(max(1 - (1 - _MEAN_SHARE**2) * share**2, 0.0)) - _MEAN_SHARE * share
    return squared * max(left, _LEAST_SHARE) ** 2


def _prepare(
    x: np.ndarray,
    axis: int,
    request: Request,
    state: np.ndarray | None,
    prediction: np.ndarray | None,
    method: Method,
) -> Task | None:
    assert request.bounds is not None
    held: np.ndarray | None = exact.fill_values(x) if x.dtype.kind == "f" else None
    if held is not None and not held.any():
        held = None
    if held is not None and held.all():
        return None
    if state is None:
        state = reference(x, None, held if held is not None else np.zeros((), bool))
    free = x if held is None else np.where(held, 0, x)
    peak = max(float(free.max()), -float(free.min()))
    if peak == 0 or (x.dtype.kind in "iu" and peak >= _LARGEST_INTEGER):
        return None
    if request.preserve is not None and (x.dtype.kind != "f" or not request.fields):
        return None  # sums of integers are kept by keeping all of them
    exponent = math.frexp(peak)[1]
    allowance = request.bounds.allowance(state, exponent)
    nothing = (allowance.mean_square == 0) | (allowance.absolute == 0)
    if x.dtype.kind in "iu":
        allowance = replace(allowance, absolute=_between_integers(request.bounds, allowance))
    if allowance.relative == 0 or nothing.all():
        return None
    if nothing.any():  # groups without any spread: stored exactly
        held = nothing | (False if held is None else held)
        held = np.ascontiguousarray(np.broadcast_to(held, x.shape))
        if held.all():
            return None
    weighted = tuple(i for i, n in enumerate(state.shape) if n > 1)
    exponents = _weights(allowance, nothing) if weighted else np.zeros(state.shape, np.int64)
    return Task(
        x=x,
        held=held,
        axis=axis,
        exponent=exponent,
        method=method,
        allowance=allowance,
        exponents=exponents,
        weighted=weighted,
        expected=None if prediction is None else np.ldexp(prediction, -exponent),
        preserve=request.preserve,
        fields=request.fields,
        effort=request.effort,
    )


def _between_integers(bounds: Bounds, allowance: Allowance) -> np.ndarray:
    """Bounds of single points halfway between the largest integer error allowed and the next."""
    # a bound that was multiplied by a range may be rounded up to an integer
    exact = bounds.max_rel is None
    largest = np.floor(allowance.absolute * (1.0 if exact else 1 - RELATIVE_MARGIN))
    return np.where(allowance.absolute > 0, largest + 0.5, 0.0)


def _weights(allowance: Allowance, nothing: np.ndarray) -> np.ndarray:
    """Quarter octaves by which the allowed error of each group lies below the largest one."""
    with np.errstate(divide="ignore"):
        size = np.log2(allowance.mean_square) / 2
        if not np.isfinite(size[~nothing]).all():
            size = np.log2(allowance.absolute)
    size = np.where(nothing | ~np.isfinite(size), -np.inf, size)
    top = size.max()
    if not math.isfinite(top):
        return np.zeros(size.shape, np.int64)
    return np.where(np.isfinite(size), np.rint(4 * np.maximum(size - top, -1000)), 0).astype(
        np.int64
    )


def _counts(task: Task) -> np.ndarray:
    """Points of each group that are free."""
    axes = tuple(i for i, n in enumerate(task.exponents.shape) if n == 1)
    free = np.ones((), bool) if task.held is None else ~task.held
    return np.asarray(np.broadcast_to(free, task.x.shape).sum(axis=axes, keepdims=True))


def _limits(task: Task, counts: np.ndarray) -> Limits:
    """What the method has to aim at, in the units that it sees."""
    size = _values.weights(task.exponents)
    used = counts > 0
    mean_square = float((task.allowance.mean_square / size**2)[used].min())
    with np.errstate(over="ignore", under="ignore"):
        absolute = np.ldexp(task.allowance.absolute, -task.exponent) / size
    squared = mean_square * int(counts.sum()) if math.isfinite(mean_square) else math.inf
    return Limits(squared, float(absolute[used].min()), task.allowance.relative)


def _prove(method: Method, coded: Coded, shape: tuple[int, ...], axis: int) -> None:
    if not method.proved or digest(b"".join(coded.streams))[0] >= _DECODED:
        return
    for part, stream, values in zip(
        _spans(shape[axis], coded.extent), coded.streams, coded.values, strict=True
    ):
        block = (*shape[:axis], part.stop - part.start, *shape[axis + 1 :])
        if method.decode(stream, block).tobytes() != values.tobytes():
            raise XphysError(
                f"method {method.name!r} decodes other values than it coded for a block of shape "
                f"{block}: please report this with the data"
            )


def _spans(steps: int, extent: int) -> Iterator[slice]:
    for start in range(0, steps, extent):
        yield slice(start, min(start + extent, steps))


def _settle_all(task: Task, coded: Coded) -> tuple[Lossy, np.ndarray]:
    """All blocks with their patches, and the squared errors of each group."""
    squares = np.zeros(task.exponents.shape)
    parts, peak = [], 0.0
    spans = _spans(task.x.shape[task.axis], coded.extent)
    for span, stream, values in zip(spans, coded.streams, coded.values, strict=True):
        cut = (*(slice(None),) * task.axis, span)
        groups = cut if task.axis in task.weighted else (slice(None),)
        part, sums, largest = _settle(task, cut, groups, stream, values)
        squares[groups] += sums
        peak = max(peak, largest)
        parts.append(part)
    total = float(squares.sum())
    predicted = task.expected is not None
    corrected = task.preserve is not None
    lossy = Lossy(
        coded.extent, task.exponent, task.weighted, predicted, parts, total, peak, corrected
    )
    return lossy, squares


def _settle(
    task: Task,
    cut: tuple[slice, ...],
    groups: tuple[slice, ...],
    stream: bytes,
    values: np.ndarray,
) -> tuple[tuple[int, bytes], np.ndarray, float]:
    """One block as a reader will see it: store exactly what violates a bound, measure the rest."""
    x = np.ascontiguousarray(task.x[cut])
    exponents = task.exponents[groups]
    lossless = np.zeros(exponents.shape)
    if values.shape != x.shape or values.dtype not in SLACK:
        return (LOSSLESS, exact.write_lossless(x)), lossless, 0.0
    slack = SLACK[values.dtype]
    head = varint(len(stream)) + stream
    if task.weighted:
        head += _values.write_weights(exponents)
        values = values * _values.weights(exponents)
    if task.expected is not None:
        values = values + task.expected[cut]
    bad = np.zeros(x.shape, bool) if task.held is None else task.held[cut].copy()
    values, moved = bring_near(task, groups, x, values, slack, bad)
    y = _values.finish(values, task.exponent, x.dtype)
    if task.preserve is not None:
        found = _correct(task, groups, x, y, values, slack, bad)
        if found is None:
            return (LOSSLESS, exact.write_lossless(x)), lossless, 0.0
        correction, y = found
        head += varint(len(correction)) + correction
    sums, peak, count = measure(task, groups, x, y, values, slack, bad)
    data = head + _outliers.join(moved, exact.write_points(x, bad) if count else b"")
    if _lossless_may_win(x, len(data)):
        whole = exact.write_lossless(x)
        if len(whole) <= len(data):
            return (LOSSLESS, whole), lossless, 0.0
    return (task.method.code, data), sums, peak


def _correct(
    task: Task,
    groups: tuple[slice, ...],
    x: np.ndarray,
    y: np.ndarray,
    values: np.ndarray,
    slack: float,
    bad: np.ndarray,
) -> tuple[bytes, np.ndarray] | None:
    """A correction of a block that keeps its invariants, and what comes out; marks bad points.

    None if there is no such correction within the bounds.
    """
    assert task.preserve is not None
    for _ in range(_CORRECTIONS):
        measure(task, groups, x, y, values, slack, bad)
        data, corrected, failed = preserve.correct(
            x, np.where(bad, x, y), bad, task.exponent, task.fields, task.preserve
        )
        again = bad | failed
        measure(task, groups, x, corrected, values, slack, again)
        if (again == bad).all():
            return data, corrected
        bad |= again
    return None


def _lossless_may_win(x: np.ndarray, size: int) -> bool:
    """A guess from a few places, so that no time is lost on a trial of the whole."""
    flat = x.reshape(-1)
    length = _PROBE // x.dtype.itemsize
    if flat.size <= _PROBES * length:
        return size * 16 > x.nbytes
    starts = np.linspace(0, flat.size - length, _PROBES).astype(int)
    coded = sum(len(deflate(split_planes(flat[s : s + length]))) for s in starts)
    return coded / (_PROBES * _PROBE) * x.nbytes <= 1.3 * size
