"""Points of one block that miss a bound on single points, moved within it (see `_outliers`)."""

from __future__ import annotations

import math

import numpy as np

from xphys.coding import _outliers, _values
from xphys.coding._task import Task, measure, ulps
from xphys.coding.bounds import RELATIVE_MARGIN
from xphys.coding.header import digest
from xphys.errors import XphysError

__all__ = ["bring_near"]

# Step over a bound that is relative to each point: less than 2, since the decoded magnitude that
# the step goes by may be larger than the original.
_RELATIVE_STEP = 1.5
# Of what was written, this share of 256 is read to compare.
_READ = 4


def bring_near(
    task: Task,
    groups: tuple[slice, ...],
    x: np.ndarray,
    values: np.ndarray,
    slack: float,
    bad: np.ndarray,
) -> tuple[np.ndarray, bytes]:
    """Move the points of a block that miss a bound, as far as that helps.

    Parameters
    ----------
    task : Task
        The chunk.
    groups : tuple of slice
        Of its groups, those of the block.
    x : ndarray
        The block.
    values : ndarray of float32 or float64
        What a reader has before the last scaling.
    slack : float
        By how much another machine may have others.
    bad : ndarray of bool
        True at points that are stored exactly anyway.

    Returns
    -------
    values : ndarray
        With points moved; those given where there is none.
    data : bytes
        For `_outliers.apply`; empty where there is none.

    Raises
    ------
    XphysError
        If the bytes move points elsewhere.
    """
    weights = _values.weights(task.exponents[groups])
    steps = _steps(task, groups, slack)
    if steps is None:
        return values, b""
    far = bad.copy()
    measure(task, groups, x, _values.finish(values, task.exponent, x.dtype), values, slack, far)
    far &= ~bad
    if not far.any():
        return values, b""
    wanted = np.ldexp(x[far].astype(np.float64), -task.exponent)
    numbers = _outliers.count_steps(wanted, values, far, steps, weights)
    moved = values.copy()
    _outliers.move(moved, numbers, steps, weights)
    y, missed = _values.finish(moved, task.exponent, x.dtype), bad.copy()
    measure(task, groups, x, y, moved, slack, missed)
    if math.isfinite(steps.relative):
        _mark_unsure(task, groups, x, y, numbers, steps, slack, missed)
    numbers[missed] = 0
    if not numbers.any():
        return values, b""
    moved[missed] = values[missed]
    data = _outliers.write(numbers, steps, task.effort)
    if digest(data)[0] < _READ:
        _compare(data, values, weights, moved)
    return moved, data


def _compare(data: bytes, values: np.ndarray, weights: np.ndarray, moved: np.ndarray) -> None:
    read = values.copy()
    _outliers.apply(data, read, weights)
    if read.tobytes() != moved.tobytes():
        raise XphysError(
            f"points of a block of shape {values.shape} are not moved to where they were meant "
            "to be: please report this with the data"
        )


def _steps(task: Task, groups: tuple[slice, ...], slack: float) -> _outliers.Steps | None:
    """Length of the steps by which points of a block are moved; None where none is bounded."""
    weights, absolute = _values.weights(task.exponents[groups]), task.allowance.absolute[groups]
    finite = np.isfinite(absolute) & (absolute > 0)
    relative, dtype = task.allowance.relative, task.x.dtype
    if not finite.any() and not math.isfinite(relative):
        return None
    length = math.inf
    if finite.any():
        with np.errstate(over="ignore", under="ignore"):
            bound = float((np.ldexp(absolute, -task.exponent) / weights)[finite].min())
        length = 2 * bound
        if dtype.kind == "f":
            units = 0.5 + ulps(dtype, slack, task.preserve is not None)
            margin = slack + units * float(np.finfo(dtype).eps)  # magnitudes are about one at most
            length = max(2 * (bound * (1 - 2 * RELATIVE_MARGIN) - margin), bound)
    return _outliers.Steps.below(length, _RELATIVE_STEP * relative)


def _mark_unsure(
    task: Task,
    groups: tuple[slice, ...],
    x: np.ndarray,
    y: np.ndarray,
    numbers: np.ndarray,
    steps: _outliers.Steps,
    slack: float,
    missed: np.ndarray,
) -> None:
    """Mark moved points that another machine may move elsewhere, since its steps differ, too."""
    where = (numbers != 0) & ~missed
    a, b = x[where].astype(np.float64), y[where].astype(np.float64)
    exponents, absolute = task.exponents[groups], task.allowance.absolute[groups]
    size = np.broadcast_to(np.ldexp(_values.weights(exponents) * slack, task.exponent), x.shape)
    bound = np.broadcast_to(absolute, x.shape)[where]
    bound = np.minimum(bound, task.allowance.relative * np.abs(a)) * (1 - RELATIVE_MARGIN)
    reach = size[where] * (1 + steps.relative * np.abs(numbers[where]))
    if x.dtype.kind == "f":
        info = np.finfo(x.dtype)
        units = ulps(x.dtype, slack, task.preserve is not None)
        reach += units * (float(info.eps) * np.abs(b) + float(info.smallest_subnormal))
    else:
        reach = np.ceil(reach + np.abs(b) * 2.0**-40)
    missed[where] |= ~(np.abs(b - a) + reach <= bound)
