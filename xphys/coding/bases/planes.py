"""Coefficients of any number of axes as planes of rows and columns, with classes of frequency."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numba import njit

from xphys.coding.bases.plan import Kind, Plan
from xphys.coding.entropy import Layout

__all__ = ["Planes", "arrange"]

_SHORT = 8  # an axis below this makes poor rows and columns
_WAVES = (Kind.FOURIER, Kind.COSINE)
_MOST_RINGS = 4096


@dataclass(frozen=True)
class Planes:
    """How coefficients are laid out for the entropy stage.

    Attributes
    ----------
    order : tuple of int
        Axes in the order planes..., rows, columns.
    layout : Layout
        Shape and classes.
    """

    order: tuple[int, ...]
    layout: Layout

    def to_planes(self, c: np.ndarray) -> np.ndarray:
        """Array of the shape of the layout, C order."""
        return np.ascontiguousarray(c.transpose(self.order)).reshape(self.layout.shape)

    def used(self, q: np.ndarray, shape: tuple[int, ...]) -> tuple[int, ...]:
        """For each axis of coefficients: 1 + the last place that is not zero, or 1.

        Parameters
        ----------
        q : ndarray of int32
            Integers in planes.
        shape : tuple of int
            Of the coefficients.
        """
        marks = np.zeros(q.shape[0], bool)
        row, col = last_used(q, marks)
        lead = [shape[i] for i in self.order[:-2]]
        ends = [int(p.max(initial=0)) + 1 for p in np.nonzero(marks.reshape(lead))] if lead else []
        ends += [max(row, 1), max(col, 1)][2 - len(self.order[-2:]) :]
        out = [1] * len(shape)
        for axis, end in zip(self.order, ends, strict=True):
            out[axis] = end
        return tuple(out)

    def corner(self, q: np.ndarray, shape: tuple[int, ...], room: tuple[int, ...]) -> np.ndarray:
        """First `room` coefficients along each axis as a new array, axes in the order of planes."""
        moved = q.reshape([shape[i] for i in self.order])
        return np.ascontiguousarray(moved[tuple(slice(0, room[i]) for i in self.order)])

    def from_planes(self, q: np.ndarray) -> np.ndarray:
        """Axes of an array as `corner` returns it in their own order, C order."""
        own = sorted(range(q.ndim), key=self.order.__getitem__)
        return np.ascontiguousarray(q.transpose(own))


@njit(cache=True, nogil=True)
def last_used(q, marks):  # type: ignore[no-untyped-def]
    """Mark planes that are not all zero; -> last row and last column with anything, plus 1."""
    rows = cols = 0
    for plane in range(q.shape[0]):
        for row in range(q.shape[1] - 1, -1, -1):
            line = q[plane, row]
            # all of a row before `rows` is known to lie within it: only what is behind counts
            start = 0 if row >= rows or not marks[plane] else cols
            found = 0
            for x in range(np.uint64(start), np.uint64(q.shape[2])):
                found |= line[x]
            if found == 0:
                continue
            marks[plane] = True
            rows = max(rows, row + 1)
            x = q.shape[2] - 1
            while x >= cols and line[x] == 0:
                x -= 1
            cols = max(cols, x + 1)
    return rows, cols


def _order(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Last two long axes as rows and columns, the others in their order before them."""
    axes = list(range(len(shape)))
    long = [i for i in axes if shape[i] >= _SHORT] or [i for i in axes if shape[i] > 1]
    last = (long or axes)[-2:]
    return (*(i for i in axes if i not in last), *last)


def _spatial_class(rows: np.ndarray, cols: np.ndarray, wavelet: bool) -> np.ndarray:
    if wavelet:  # subbands: level, and details along both axes apart from those along one
        top = np.maximum(rows[:, None], cols[None])
        with np.errstate(divide="ignore"):
            level = np.where(top > 0, np.maximum(7 + np.log2(top), 1), 0)
        both = (rows[:, None] == cols[None]) & (top > 0)
        return np.asarray(2 * level + both, np.uint8)
    radius = np.sqrt(rows[:, None] ** 2 + cols[None] ** 2)
    return np.asarray(np.minimum(radius * 8, 11), np.uint8)


def _waves(n: int, kind: Kind) -> np.ndarray:
    """Number of waves along a whole axis."""
    index = np.arange(n, dtype=np.float64)
    return np.asarray((index + 1) // 2 if kind is Kind.FOURIER else index / 2)


def _plane_class(shares: list[np.ndarray]) -> np.ndarray:
    """Time-like first axis in three classes, all others together in two."""
    if not shares:
        return np.zeros(1, np.uint8)
    first = np.asarray(np.minimum(shares[0] * 3, 2), np.uint8)
    if len(shares) == 1:
        return first
    square = np.zeros(())
    for share in shares[1:]:
        square = np.add.outer(square, share**2)
    rest = np.asarray(square.reshape(-1) > 0.25**2, np.uint8)
    return np.asarray((2 * first[:, None] + rest[None]).reshape(-1))


@lru_cache(maxsize=16)
def arrange(plan: Plan, shape: tuple[int, ...]) -> Planes:
    """Layout of the coefficients of a plan.

    Parameters
    ----------
    plan : Plan
        One kind for each axis.
    shape : tuple of int
        Of the coefficients, none of them 0.

    Returns
    -------
    Planes
        A pure function of the arguments, so that a decoder finds the same.
    """
    order = _order(shape)
    shares = plan.scales(shape)
    lead, last = [i for i in order[:-2] if shape[i] > 1], order[-2:]
    if len(last) == 1:
        row_share, row_kind, row_count = np.zeros(1), Kind.NONE, 1
    else:
        row_share, row_kind, row_count = shares[last[0]], plan.kinds[last[0]], shape[last[0]]
    col_kind, col_count = plan.kinds[last[-1]], shape[last[-1]]
    wavelet = row_kind not in _WAVES and col_kind not in _WAVES
    spatial = _spatial_class(row_share, shares[last[-1]], wavelet)
    ring = None
    if row_kind in _WAVES and col_kind in _WAVES:
        waves = _waves(row_count, row_kind)[:, None] ** 2 + _waves(col_count, col_kind)[None] ** 2
        ring = np.minimum(np.rint(np.sqrt(waves)), _MOST_RINGS - 1).astype(np.uint16)
    planes = math.prod(shape[i] for i in lead)
    inner = math.prod(shape[i] for i in lead[1:])
    layout = Layout(
        shape=(planes, row_count, col_count),
        back=inner if len(lead) > 1 and inner > 1 else 2,
        plane_class=_plane_class([shares[i] for i in lead]),
        spatial_class=spatial,
        ring=ring,
    )
    return Planes(order, layout)
