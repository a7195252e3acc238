"""What a decoder knows of coefficients before it reads their stream."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["PLANE_CLASSES", "RINGS", "SPATIAL_CLASSES", "Layout"]

PLANE_CLASSES = 8
SPATIAL_CLASSES = 16
RINGS = 4096


@dataclass(frozen=True, eq=False)
class Layout:
    """Shape and classes of the coefficients of one block.

    Attributes
    ----------
    shape : tuple of three int
        Planes, rows, columns; none is 0.
    back : int
        The second earlier plane that is looked at: plane - back. 2 where planes follow each other
        in time, the number of levels where each time step has several planes.
    plane_class : ndarray of uint8, shape (planes,)
        Kind of each plane (temporal level), below `PLANE_CLASSES`.
    spatial_class : ndarray of uint8, shape (rows, cols)
        Kind of each place (bin of frequency or subband), below `SPATIAL_CLASSES`; neighbouring
        numbers should be of like size, since tables are coded as differences.
    ring : ndarray of uint16, shape (rows, cols), optional
        Finer frequency of each place, below `RINGS`: places of one ring have like magnitudes in
        one plane (for Fourier modes the rounded wavenumber). Only "mixing" uses it; by default
        the spatial class.
    """

    shape: tuple[int, int, int]
    back: int
    plane_class: np.ndarray
    spatial_class: np.ndarray
    ring: np.ndarray | None = None

    @property
    def classes(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint16]]:
        """Classes of planes, classes of places, rings."""
        assert self.ring is not None  # filled in below
        return self.plane_class, self.spatial_class, self.ring

    def __post_init__(self) -> None:
        planes, rows, cols = self.shape
        if min(self.shape) < 1 or self.back < 1:
            raise ValueError(f"expected sizes from 1 on, got {self.shape} and back {self.back}")
        fine = self.spatial_class if self.ring is None else self.ring
        parts = (
            ("plane_class", np.asarray(self.plane_class), (planes,), np.uint8, PLANE_CLASSES),
            ("spatial_class", self.spatial_class, (rows, cols), np.uint8, SPATIAL_CLASSES),
            ("ring", fine, (rows, cols), np.uint16, RINGS),
        )
        for name, values, shape, dtype, limit in parts:
            found = np.asarray(values)
            if found.shape != shape or int(found.max()) >= limit:
                raise ValueError(f"expected {name} of shape {shape} below {limit}: {found.shape}")
            object.__setattr__(self, name, np.ascontiguousarray(found, dtype=dtype))
