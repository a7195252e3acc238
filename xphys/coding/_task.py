"""One chunk that is being coded, and how far another machine may decode its values from here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xphys.coding import _values, preserve
from xphys.coding._errors import measure_floats, measure_integers
from xphys.coding.bounds import ULP_MARGIN, Allowance
from xphys.coding.method import Method
from xphys.coding.reference import parts_of

__all__ = ["SLACK", "Task", "measure", "ulps"]

# Another processor may round an inverse transform differently: by this much where magnitudes
# are at most about one.
SLACK = {np.dtype(np.float32): 2.0**-21, np.dtype(np.float64): 2.0**-48}


@dataclass(frozen=True)
class Task:
    """What stays the same over the attempts at one chunk."""

    x: np.ndarray
    held: np.ndarray | None
    axis: int
    exponent: int
    method: Method
    allowance: Allowance
    exponents: np.ndarray  # of the weights, shape of the groups
    weighted: tuple[int, ...]
    expected: np.ndarray | None  # prediction in units of 2**exponent
    preserve: preserve.Preserve | None
    fields: tuple[int, ...]  # axes of what has invariants of its own
    effort: str


def ulps(dtype: np.dtype, slack: float, corrected: bool = False) -> float:
    """Units in the last place by which another machine may get other values."""
    # float64 that is rounded to a shorter type: it can only fall on the neighbour
    double = slack <= SLACK[np.dtype(np.float64)] and not corrected
    return 1.0 if double and dtype.itemsize < 8 else ULP_MARGIN


def measure(
    task: Task,
    groups: tuple[slice, ...],
    x: np.ndarray,
    y: np.ndarray,
    values: np.ndarray,
    slack: float,
    bad: np.ndarray,
) -> tuple[np.ndarray, float, int]:
    """Look at the errors of one block, as large as another machine may find them.

    Parameters
    ----------
    task : Task
        The chunk.
    groups : tuple of slice
        Of its groups, those of the block.
    x, y : ndarray
        The block, and what a reader gets.
    values : ndarray of float32 or float64
        What a reader has before the last scaling; for integers, which are rounded.
    slack : float
        By how much another machine may have other values.
    bad : ndarray of bool
        True at points that are stored exactly; points that miss a bound become True.

    Returns
    -------
    squares : ndarray
        Squared errors of each group in units of ``4**exponent``.
    peak : float
        Largest error in units of ``2**exponent``.
    count : int
        Points that are bad.
    """
    exponents, absolute = task.exponents[groups], task.allowance.absolute[groups]
    size = np.ldexp(_values.weights(exponents) * slack, task.exponent)
    units = ulps(x.dtype, slack, task.preserve is not None)
    sums, peak, count = np.zeros(exponents.shape), 0.0, 0
    for index, where in parts_of(exponents.shape):
        chosen = np.ascontiguousarray(bad[where])
        limits = (task.exponent, float(absolute[index]), task.allowance.relative)
        if x.dtype.kind == "f":
            a, b = np.ascontiguousarray(x[where]), y[where]
            found = measure_floats(a, b, *limits, float(size[index]), units, chosen)
        else:
            found = measure_integers(x[where], values[where], *limits, float(size[index]), chosen)
        bad[where] = chosen
        sums[index] = found[0]
        peak, count = max(peak, found[1]), count + found[2]
    return sums, peak, count
