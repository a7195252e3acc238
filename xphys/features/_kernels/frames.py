"""A batch of fields and what the families share of them: one gradient, one transform."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from xphys.features._kernels import grid as grids
from xphys.features._kernels.grid import Grid
from xphys.features._kernels.loops import ranked

__all__ = ["NOTHING", "Frames", "entropy", "histogram", "unbiased"]

Array = NDArray[Any]
NOTHING = 1e-13  # what is smaller than this share of the field is rounding


class Frames:
    """Fields of one grid; intermediates are made once, when the first family asks.

    Parameters
    ----------
    values : ndarray, shape (frame, channel, \\*grid)
        float64, no copy; values that are not finite are taken out.
    grid : Grid
        The axes.
    following : ndarray, optional
        The fields one step later.
    has_following : ndarray of bool, shape (frame,), optional
        Whether there is one.
    """

    def __init__(
        self,
        values: Array,
        grid: Grid,
        following: Array | None = None,
        has_following: Array | None = None,
    ) -> None:
        self.grid = grid
        self.lead = values.shape[:2]
        finite = np.asarray(np.isfinite(values.reshape(*self.lead, -1)).all(-1))
        self.bad: Array = ~finite
        self.values = values if finite.all() else np.where(self._wide(finite), values, 0.0)
        self.following = following
        self.has_following = has_following

    def _wide(self, numbers: Array) -> Array:
        return numbers.reshape(*numbers.shape, *(1,) * len(self.grid.lines))

    @cached_property
    def flat(self) -> Array:
        """Values, shape (frame, channel, point)."""
        return self.values.reshape(*self.lead, -1)

    @cached_property
    def mean(self) -> Array:
        """Mean over space."""
        return np.asarray(self.flat.mean(-1))

    @cached_property
    def centred(self) -> Array:
        """Flat values less their mean."""
        found: Array = self.flat - self.mean[..., None]
        return found

    @cached_property
    def squares(self) -> Array:
        """Sum of the squares of `centred`."""
        found: Array = np.einsum("fcn,fcn->fc", self.centred, self.centred)
        return found

    @cached_property
    def least(self) -> Array:
        """Smallest value."""
        return np.asarray(self.flat.min(-1))

    @cached_property
    def most(self) -> Array:
        """Largest value."""
        return np.asarray(self.flat.max(-1))

    @cached_property
    def scale(self) -> Array:
        """Largest amount."""
        return np.maximum(np.abs(self.least), np.abs(self.most))

    @cached_property
    def deviation(self) -> Array:
        """Standard deviation, divided by n - 1; 0 where it is rounding."""
        found = np.sqrt(self.squares / (self.grid.points - 1))
        return np.where(found <= NOTHING * self.scale, 0.0, found)

    @cached_property
    def constant(self) -> Array:
        """Whether a field is the same everywhere."""
        return np.asarray(self.deviation == 0)

    @cached_property
    def gradient(self) -> tuple[Array, ...]:
        """Derivative along each axis."""
        return tuple(
            grids.derivative(self.values, 2 + i, line) for i, line in enumerate(self.grid.lines)
        )

    @cached_property
    def slope(self) -> Array:
        """Length of the gradient, shape (frame, channel, point)."""
        return length(self.gradient).reshape(self.flat.shape)

    @cached_property
    def median(self) -> Array:
        """Quartiles and median, shape (frame, channel, 3): linear interpolation."""
        return quantiles(self.flat, (0.25, 0.5, 0.75))

    @cached_property
    def power(self) -> Array:
        """Squared modes of the orthonormal transform, sorted, without the mean mode.

        With the weights of `grids.modes` they add up to the sum of squares of `centred`
        (exactly on periodic axes, as an estimate where a window was needed).
        """
        field = self.centred.reshape(self.values.shape)
        taper = grids.window(self.grid)
        if taper is not None:
            field = field * taper
        axes = tuple(range(2, field.ndim))
        modes = scipy.fft.rfftn(field, axes=axes, norm="ortho").reshape(*self.lead, -1)
        power = modes.real**2
        power += modes.imag**2
        return np.take(power, grids.modes(self.grid).order, axis=-1)


def length(parts: tuple[Array, ...]) -> Array:
    """Root of the sum of squares."""
    total = parts[0] ** 2
    for part in parts[1:]:
        total += part**2
    return np.asarray(np.sqrt(total, out=total))


def quantiles(flat: Array, shares: tuple[float, ...]) -> Array:
    """Quantiles along the last axis by linear interpolation, without sorting all."""
    n = flat.shape[-1]
    places = [share * (n - 1) for share in shares]
    ranks = sorted({k for p in places for k in (int(p), min(int(p) + 1, n - 1))})
    rows = np.ascontiguousarray(flat).reshape(-1, n)
    values = np.empty((rows.shape[0], len(ranks)))
    ranked(rows, np.array(ranks), values)
    found = []
    for place in places:
        low = int(place)
        a, b = (values[:, ranks.index(k)] for k in (low, min(low + 1, n - 1)))
        found.append(a + (place - low) * (b - a))
    return np.stack(found, axis=-1).reshape(*flat.shape[:-1], len(shares))


def unbiased(values: Array) -> Array:
    """Standard deviation along the last axis, divided by n - 1."""
    if values.shape[-1] < 2:
        return np.full(values.shape[:-1], np.nan)
    return np.asarray(values.std(-1, ddof=1))


def histogram(flat: Array, bins: int, least: Array, most: Array) -> Array:
    """Counts in equal bins between two ends, which belong to the first and last bin.

    Parameters
    ----------
    flat : ndarray, shape (frame, channel, point)
        Values.
    bins : int
        Number of bins.
    least, most : ndarray, shape (frame, channel)
        Ends; where they are equal, all values are in the first bin.

    Returns
    -------
    ndarray, shape (frame, channel, bin)
        float64.
    """
    span = most - least
    factor = np.where(span > 0, bins / np.where(span > 0, span, 1.0), 0.0)
    place = ((flat - least[..., None]) * factor[..., None]).astype(np.int32)
    np.clip(place, 0, bins - 1, out=place)
    rows = place.reshape(-1, flat.shape[-1])
    rows += (np.arange(rows.shape[0], dtype=np.int32) * bins)[:, None]
    counts = np.bincount(rows.ravel(), minlength=rows.shape[0] * bins)
    return counts.astype(np.float64).reshape(*flat.shape[:-1], bins)


def entropy(counts: Array) -> Array:
    """Entropy in nats of counts along the last axis; 0 ln 0 = 0."""
    share = counts / counts.sum(-1, keepdims=True)
    found: Array = -(share * np.log(np.where(share > 0, share, 1.0))).sum(-1)
    return found + 0.0
