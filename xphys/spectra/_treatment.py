"""What is done to a field before it is transformed: mean, trend and window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["WINDOWS", "Treatment", "taper", "treat"]

Floats = NDArray[np.float64]
Window = tuple[str, float]


def _tukey(s: Floats, share: float) -> Floats:
    near = np.minimum(s, 1 - s)
    if share <= 0:
        return np.ones_like(s)
    return np.where(near < share / 2, np.sin(np.pi * near / share) ** 2, 1.0)


#: Window -> its value at the share ``s`` of the axis, given its parameter.
WINDOWS: dict[str, Callable[[Floats, float], Floats]] = {
    "boxcar": lambda s, _: np.ones_like(s),
    "hann": lambda s, _: np.sin(np.pi * s) ** 2,
    "hamming": lambda s, _: 0.54 - 0.46 * np.cos(2 * np.pi * s),
    "blackman": lambda s, _: 0.42 - 0.5 * np.cos(2 * np.pi * s) + 0.08 * np.cos(4 * np.pi * s),
    "tukey": _tukey,
}


@dataclass(frozen=True)
class Treatment:
    """Preparation of a field; equal by value, so that it can be part of a cached plan.

    Attributes
    ----------
    windows : tuple of (name, parameter) or None
        One for each transformed axis.
    linear : tuple of bool
        Axes along which the least-squares slope is taken out.
    keep_mean : bool
        Leave the mean of the field in.
    """

    windows: tuple[Window | None, ...]
    linear: tuple[bool, ...]
    keep_mean: bool = False

    @property
    def plain(self) -> bool:
        """Nothing but the mean is taken out."""
        return not any(self.linear) and all(window is None for window in self.windows)

    def power(self, sizes: tuple[int, ...]) -> float:
        """Mean square of the window over the box."""
        tapers = (taper(w, n) for w, n in zip(self.windows, sizes, strict=True))
        return float(np.prod([np.mean(t**2) for t in tapers]))


def taper(window: Window | None, size: int) -> Floats:
    """Window along one axis; points are cell centres, so it vanishes at the outer faces."""
    if window is None:
        return np.ones(size)
    name, parameter = window
    return WINDOWS[name]((np.arange(size) + 0.5) / size, parameter)


def treat(fields: NDArray[Any], treatment: Treatment) -> NDArray[np.floating[Any]]:
    """Copy of ``fields`` (field, *axes) in native order, float32 or float64, ready to transform.

    Parameters
    ----------
    fields : ndarray, shape (field, *axes)
        Real values; those of up to 4 bytes of floating point stay in single precision.
    treatment : Treatment
        What to take out and to taper with.

    Returns
    -------
    ndarray, shape (field, *axes)
        New values in C order, because sums over axes depend on the order to the last bit.
    """
    single = fields.dtype.kind == "f" and fields.dtype.itemsize <= 4
    work: NDArray[np.floating[Any]] = np.empty(fields.shape, np.float32 if single else np.float64)
    work[...] = fields
    if not treatment.keep_mean:
        # The mean goes first: a large offset would cost the small modes their digits.
        rows = work.reshape(len(work), -1)
        rows -= rows.mean(axis=1, keepdims=True)
    for axis, linear in enumerate(treatment.linear, start=1):
        if linear:
            _take_slope_out(work, axis)
    for axis, window in enumerate(treatment.windows, start=1):
        if window is not None:
            work *= _along(taper(window, work.shape[axis]), axis, work.ndim).astype(work.dtype)
    return work


def _take_slope_out(work: NDArray[Any], axis: int) -> None:
    """Least squares: on a grid the slopes along the axes do not depend on each other."""
    size = work.shape[axis]
    line = _along(np.arange(size) - (size - 1) / 2, axis, work.ndim)
    others = tuple(i for i in range(1, work.ndim) if i != axis)
    profile = work.mean(axis=others, keepdims=True, dtype=np.float64)
    slope = (profile * line).sum(axis=axis, keepdims=True) / max(float((line**2).sum()), 1.0)
    work -= (slope * line).astype(work.dtype)


def _along(values: Floats, axis: int, ndim: int) -> Floats:
    return values.reshape((1,) * axis + (-1,) + (1,) * (ndim - 1 - axis))
