"""A box of wavenumbers: which shell each Fourier mode is in, and its wavevector."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from xphys.errors import SchemaError

__all__ = [
    "Box",
    "mode_counts",
    "shell_centres",
    "shell_complete",
    "shell_count",
    "shell_index",
    "wavevector",
    "weights",
]

Floats = NDArray[np.float64]
# A mode on the border of two shells belongs to the upper one, also when the ratio of the
# periods is known only to rounding.
_HALF_UP = 0.5 + 1e-9
_SLAB = 2**20


@dataclass(frozen=True)
class Box:
    """Transformed axes and how their modes are sorted.

    Attributes
    ----------
    sizes : tuple of int
        Points along each transformed axis.
    lengths : tuple of float
        Their periods.
    kind : {"isotropic", "modal_mean"}
        Shells of width dk of physical wavenumber, or bins of radians per cell (the lengths are
        then the sizes).
    """

    sizes: tuple[int, ...]
    lengths: tuple[float, ...]
    kind: str = "isotropic"

    @property
    def step(self) -> float:
        """Width dk of the shells: the smallest wavenumber of the box."""
        return 2 * math.pi / max(self.lengths)

    @property
    def half(self) -> tuple[int, ...]:
        """Shape of a real transform: the last axis is halved."""
        return (*self.sizes[:-1], self.sizes[-1] // 2 + 1)

    @property
    def whole(self) -> tuple[slice, ...]:
        """All modes of a real transform."""
        return tuple(slice(0, n) for n in self.half)


def shell_count(box: Box) -> int:
    """Number of shells (to the corner of the box), or of the bins of a modal mean."""
    if box.kind == "modal_mean":
        return _edges(box).size - 1
    squares = ((n // 2 * s) ** 2 for n, s in zip(box.sizes, _stretch(box), strict=True))
    return math.floor(math.sqrt(sum(squares)) + _HALF_UP)


def shell_centres(box: Box) -> Floats:
    """Wavenumber of each shell, or the middle of each bin of a modal mean."""
    if box.kind == "modal_mean":
        edges = _edges(box)
        centres: Floats = edges[:-1] + np.diff(edges) / 2
        return centres
    shells: Floats = box.step * np.arange(1.0, shell_count(box) + 1)
    return shells


def shell_complete(box: Box) -> NDArray[np.bool_]:
    """False for the shells that reach beyond the smallest Nyquist wavenumber."""
    if box.kind == "modal_mean":
        return _edges(box)[1:] <= np.pi * (1 + 1e-9)
    nyquist = (np.pi * n / s for n, s in zip(box.sizes, box.lengths, strict=True) if n > 1)
    return shell_centres(box) <= min(nyquist, default=np.inf) * (1 + 1e-9)


def shell_index(box: Box, where: tuple[slice, ...]) -> NDArray[np.int64]:
    """Shell of the modes in a part of a real transform; only the mean mode is in shell 0.

    dk is the smallest wavenumber of the box, so that every other mode has ``|k| >= dk``. The bins
    of a modal mean count from 1 too, and the mean mode is in the first.
    """
    if where == box.whole:
        return _whole_index(box)
    return _index(box, where)


@lru_cache(maxsize=4)
def _whole_index(box: Box) -> NDArray[np.int64]:
    index = _index(box, box.whole)
    index.setflags(write=False)
    return index


def _index(box: Box, where: tuple[slice, ...]) -> NDArray[np.int64]:
    if box.kind == "modal_mean":
        magnitude = np.sqrt(_sum_of_squares(wavevector(box, where)))
        found: NDArray[np.int64] = np.searchsorted(_edges(box), magnitude).astype(np.int64)
        return np.maximum(found, 1)
    scaled = [
        np.abs(_numbers(n, part)) * s
        for n, s, part in zip(box.sizes, _stretch(box), where, strict=True)
    ]
    magnitude = np.sqrt(_sum_of_squares(_open_mesh(scaled)))
    magnitude += _HALF_UP
    # truncation is the floor of what is not negative, and needs no copy in float64
    index: NDArray[np.int64] = magnitude.astype(np.int64)
    return index


def weights(box: Box, part: slice) -> Floats:
    """How often each mode along the halved axis counts: twice if it stands for its conjugate."""
    return _weights(box.sizes[-1], part.start, part.stop)


@lru_cache(maxsize=64)
def _weights(size: int, start: int, stop: int) -> Floats:
    number = np.arange(start, stop)
    weight = np.where((number > 0) & (2 * number < size), 2.0, 1.0)
    weight.setflags(write=False)
    return weight


def mode_counts(box: Box) -> Floats:
    """Number of modes (conjugates counted) in each shell."""
    return _counts(box)[1:]


@lru_cache(maxsize=16)
def _counts(box: Box) -> Floats:
    total = np.zeros(shell_count(box) + 1)
    first, *others = box.whole
    # in slabs: the frame itself may be too large for memory
    rows = max(1, _SLAB // math.prod(box.half[1:]))
    for start in range(0, first.stop, rows):
        where = (slice(start, min(start + rows, first.stop)), *others)
        index = _index(box, where)
        weight = np.broadcast_to(weights(box, where[-1]), index.shape)
        total += np.bincount(index.ravel(), weight.ravel(), minlength=total.size)
    total.setflags(write=False)
    return total


def wavevector(box: Box, where: tuple[slice, ...], *, odd: bool = False) -> list[Floats]:
    """Wavenumber along each axis, shaped to broadcast.

    Parameters
    ----------
    box : Box
        The box.
    where : tuple of slices
        Part of a real transform.
    odd : bool
        For a first derivative: 0 for the Nyquist mode, whose derivative is not on the grid.
    """
    parts = []
    for n, length, part in zip(box.sizes, box.lengths, where, strict=True):
        number = _numbers(n, part)
        if odd:
            number = np.where(2 * np.abs(number) == n, 0, number)
        parts.append(2 * np.pi / length * number)
    return _open_mesh(parts)


def _numbers(size: int, part: slice) -> Floats:
    number = np.arange(part.start, part.stop, dtype=np.float64)
    return np.where(2 * number <= size, number, number - size)


def _open_mesh(parts: list[Floats]) -> list[Floats]:
    count = len(parts)
    return [p.reshape((-1,) + (1,) * (count - 1 - i)) for i, p in enumerate(parts)]


def _sum_of_squares(parts: list[Floats]) -> Floats:
    total = np.zeros(())
    for part in parts:
        total = total + part**2
    return total


def _stretch(box: Box) -> list[float]:
    return [max(box.lengths) / length for length in box.lengths]


def _edges(box: Box) -> Floats:
    if min(box.sizes) < 4:
        raise SchemaError(f'kind="modal_mean" needs 4 or more points per axis, got {box.sizes}')
    corner = math.sqrt(sum((2 * np.pi * (n // 2) / n) ** 2 for n in box.sizes))
    # the corner belongs to the last bin whatever its rounding
    edges = np.linspace(0.0, corner, min(box.sizes) // 2)
    edges[-1] *= 1 + 1e-12
    return edges
