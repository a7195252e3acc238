"""From blocks of fields to rows of numbers, and from rows to features; plain arrays only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xphys.features._catalog import GROUPS, Plan, column, registry
from xphys.features._kernels.causality import asymmetry, direction
from xphys.features._kernels.drift import drift
from xphys.features._kernels.events import temporal_extensions
from xphys.features._kernels.extra import log_step, nonlinear
from xphys.features._kernels.frames import Frames
from xphys.features._kernels.harmonics import dissipation
from xphys.features._kernels.temporal import temporal
from xphys.features._registry import Feature

__all__ = ["STATISTICS", "aggregated", "frame_rows", "step_features", "trajectory_features"]

Array = NDArray[Any]
_BATCH = 2**14  # values of one channel that are worked on at a time: they stay in the cache


def frame_rows(blocks: Sequence[Array], following: Sequence[Array] | None, plan: Plan) -> Array:
    """Describe every frame of a block by one row of numbers.

    Parameters
    ----------
    blocks : sequence of ndarray, shape (..., time, channel, \\*grid)
        One for each variable.
    following : sequence of ndarray, shape (..., 1, channel, \\*grid), optional
        The step behind the block; without, or with 0 of them, there is none.
    plan : Plan
        What to make.

    Returns
    -------
    ndarray, shape (..., time, plan.size)
        float64.
    """
    inner = 1 + len(plan.grid.lines)
    lead = blocks[0].shape[: -inner - 1]
    steps = blocks[0].shape[-inner - 1]
    flat = [b.reshape(-1, steps, *b.shape[-inner:]) for b in blocks]
    has_next = following is not None and following[0].shape[-inner - 1] > 0
    behind = [f.reshape(-1, *f.shape[-inner:]) for f in following or ()] if has_next else []
    count = flat[0].shape[0] * steps
    rows = np.empty((count, plan.size))
    size = max(1, _BATCH // plan.grid.points)
    pairs = "flow" in plan.groups
    with np.errstate(all="ignore"):
        for start in range(0, count, size):
            places = [divmod(i, steps) for i in range(start, min(start + size, count))]
            frames = _batch(flat, behind, places, steps, has_next, pairs, plan)
            rows[start : start + len(places)] = _rows(frames, plan)
    return rows.reshape(*lead, steps, plan.size)


def _batch(
    flat: Sequence[Array],
    behind: Sequence[Array],
    places: Sequence[tuple[int, int]],
    steps: int,
    has_next: bool,
    pairs: bool,
    plan: Plan,
) -> Frames:
    values = np.empty((len(places), plan.channels, *plan.grid.shape))
    later = np.zeros_like(values) if pairs else None
    has = np.array([t + 1 < steps or has_next for _, t in places])
    for number, (l, t) in enumerate(places):
        at = 0
        for variable, block in enumerate(flat):
            upto = at + block.shape[2]
            values[number, at:upto] = block[l, t]
            if later is not None and has[number]:
                inside = t + 1 < steps
                later[number, at:upto] = block[l, t + 1] if inside else behind[variable][l]
            at = upto
    return Frames(values, plan.grid, later, has)


def _rows(frames: Frames, plan: Plan) -> Array:
    parts = []
    for name in plan.groups:
        group = GROUPS[name]
        found = np.asarray(group.kernel(frames))
        found[frames.bad.any(-1) if group.joint else frames.bad] = np.nan
        parts.append(found.reshape(found.shape[0], -1))
    return np.concatenate(parts, axis=-1)


def mean_of(values: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
    """Mean of what is not NaN, and its share of all."""
    known = np.isfinite(values)
    share = known.mean(axes)
    count = known.sum(axes)
    with np.errstate(over="ignore"):
        total = np.where(known, values, 0.0).sum(axes)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan), share


def _together(parts: tuple[Array, Array]) -> Array:
    return np.stack(parts, axis=-1)


def step_features(rows: Array, *, plan: Plan, features: Sequence[Feature], over: int) -> Array:
    """Features of each step, means over channels and over realizations.

    Parameters
    ----------
    rows : ndarray, shape (..., \\*realization, plan.size)
        From `frame_rows`, with ``over`` axes of realizations.
    plan : Plan
        What the rows hold.
    features : sequence of Feature
        Those that are wanted, all of a step.
    over : int
        Number of axes of realizations.

    Returns
    -------
    ndarray, shape (..., feature, 2)
        Value and share of valid numbers.
    """
    found = []
    for group, members in _by_group(features).items():
        part = plan.part(rows, group)[..., [column(group, name) for name in members]]
        axes = tuple(range(-2 - over, -1))
        found.append((members, mean_of(part, axes)))
    return _ordered(found, features)


def _by_group(features: Sequence[Feature]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for feature in features:
        found.setdefault(feature.family, []).append(feature.name)
    return found


def _ordered(
    found: Sequence[tuple[Sequence[str], tuple[Array, Array]]], features: Sequence[Feature]
) -> Array:
    names = [name for members, _ in found for name in members]
    values = np.concatenate([_together(parts) for _, parts in found], axis=-2)
    order: Array = values[..., [names.index(feature.name) for feature in features], :]
    return order


def trajectory_features(
    rows: Array,
    first: Array | None = None,
    *,
    plan: Plan,
    first_plan: Plan | None,
    features: Sequence[Feature],
    times: Array,
    step: float | None,
    over_time: Sequence[str],
) -> Array:
    """Features of each trajectory, means over channels.

    Parameters
    ----------
    rows : ndarray, shape (..., time, plan.size)
        From `frame_rows`.
    first : ndarray, shape (..., 1, first_plan.size), optional
        The same of the first step, for features that need no others.
    plan, first_plan : Plan
        What the rows hold.
    features : sequence of Feature
        Those of a trajectory as they are; those of a step once for each of ``over_time``.
    times : ndarray, shape (time,)
        Times.
    step : float or None
        Their distance, if it is uniform.
    over_time : sequence of str
        Statistics over time of the features of a step.

    Returns
    -------
    ndarray, shape (..., column, 2)
        Value and share of valid numbers: features of steps first, statistic by statistic.
    """
    of_steps = [f for f in features if f.level == "step"]
    of_all = [f for f in features if f.level != "step"]
    found = []
    with np.errstate(all="ignore"):
        if of_steps:
            each = step_features(rows, plan=plan, features=of_steps, over=0)
            found += [_over(each, name, axis=-3) for name in over_time]
        if of_all:
            found.append(_of_trajectory(rows, first, plan, first_plan, of_all, times, step))
    return np.concatenate(found, axis=-2)


def _of_trajectory(
    rows: Array,
    first: Array | None,
    plan: Plan,
    first_plan: Plan | None,
    features: Sequence[Feature],
    times: Array,
    step: float | None,
) -> Array:
    held = {
        name: np.moveaxis(plan.part(rows, name), -3, -2)  # (..., channel, time, column)
        for name in plan.groups
    }
    found = []
    for family, members in _by_group(features).items():
        names = [f.name for f in registry().select(family=family, level="trajectory")]
        if family == "initial" and first is not None and first_plan is not None:
            parts = mean_of(first_plan.part(first[..., 0, :], family), (-2,))
        else:
            parts = _FAMILIES[family](held, times, step)
        at = [names.index(name) for name in members]
        found.append((members, (parts[0][..., at], parts[1][..., at])))
    return _ordered(found, features)


Held = dict[str, Array]
Parts = tuple[Array, Array]


def _single(values: Array) -> Parts:
    return values, np.isfinite(values).astype(np.float64)


def _joined(*parts: Parts) -> Parts:
    values = np.concatenate([p[0] for p in parts], axis=-1)
    return values, np.concatenate([p[1] for p in parts], axis=-1)


def _temporal(held: Held, times: Array, step: float | None) -> Parts:
    return mean_of(temporal(held["series"], held["flow"][..., 3], times, step), (-2,))


def _causality(held: Held, times: Array, step: float | None) -> Parts:
    mean, rms = held["series"][..., 0], held["series"][..., 3]
    pairs = asymmetry(mean, rms)[..., :6]
    return _joined(_single(pairs), mean_of(direction(mean, rms, held["flow"][..., :3]), (-2,)))


def _drift(held: Held, times: Array, step: float | None) -> Parts:
    return mean_of(drift(held["norms"]), (-2,))


def _extensions(held: Held, times: Array, step: float | None) -> Parts:
    mean, rms = held["series"][..., 0], held["series"][..., 3]
    return _joined(_single(asymmetry(mean, rms)[..., 6:]), mean_of(log_step(mean, rms), (-2,)))


def _nonlinear(held: Held, times: Array, step: float | None) -> Parts:
    return mean_of(nonlinear(held["series"][..., 0], held["series"][..., 3]), (-2,))


def _temporal_extensions(held: Held, times: Array, step: float | None) -> Parts:
    return mean_of(temporal_extensions(held["series"], times, step), (-2,))


def _dissipation(held: Held, times: Array, step: float | None) -> Parts:
    return mean_of(dissipation(held["bands"], times), (-2,))


_FAMILIES = {
    "temporal": _temporal,
    "causality": _causality,
    "invariant_drift": _drift,
    "extensions": _extensions,
    "nonlinear": _nonlinear,
    "temporal_extensions": _temporal_extensions,
    "dissipation": _dissipation,
}


def _cv(values: Array, axis: int) -> Array:
    mean = np.abs(_mean(values, axis))
    return _std(values, axis) / np.where(mean > 0, mean, np.nan)


def _mean(values: Array, axis: int) -> Array:
    return mean_of(values, (axis,))[0]


def _std(values: Array, axis: int) -> Array:
    known = np.isfinite(values)
    count = known.sum(axis)
    mean = np.expand_dims(np.where(count > 0, _mean(values, axis), 0.0), axis)
    squares = np.where(known, (values - mean) ** 2, 0.0).sum(axis)
    return np.where(count > 1, np.sqrt(squares / np.maximum(count - 1, 1)), np.nan)


def _extreme(values: Array, axis: int, sign: float) -> Array:
    found = sign * np.where(np.isfinite(values), sign * values, -np.inf).max(axis)
    return np.where(np.isfinite(found), found, np.nan)


#: Statistics over realizations or time; NaN are left out.
STATISTICS: dict[str, Callable[[Array, int], Array]] = {
    "mean": _mean,
    "std": _std,
    "cv": _cv,
    "min": lambda values, axis: _extreme(values, axis, -1.0),
    "max": lambda values, axis: _extreme(values, axis, 1.0),
    "final": lambda values, axis: np.take(values, -1, axis),
}


def _over(values: Array, name: str, axis: int) -> Array:
    """A statistic of the values along an axis and the mean share of valid numbers."""
    found = STATISTICS[name](values[..., 0], axis + 1)
    return _together((found, values[..., 1].mean(axis + 1)))


def aggregated(values: Array, *, statistics: Sequence[str], over: int) -> Array:
    """Statistics over realizations.

    Parameters
    ----------
    values : ndarray, shape (..., \\*realization, feature, 2)
        From `trajectory_features`.
    statistics : sequence of str
        Names in `STATISTICS`; one block of features for each.
    over : int
        Number of axes of realizations.

    Returns
    -------
    ndarray, shape (..., statistic and feature, 2)
        Value and share of valid numbers.
    """
    lead = values.shape[: -2 - over]
    flat = values.reshape(*lead, -1, *values.shape[-2:])
    with np.errstate(all="ignore"):
        return np.concatenate([_over(flat, name, axis=-3) for name in statistics], axis=-2)
