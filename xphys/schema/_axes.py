"""Dimensions and spatial axes: their order, spacing, boundary and period."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
import xarray as xr

from xphys.errors import SchemaError

__all__ = [
    "BOUNDARIES",
    "DIM_ORDER",
    "ENSEMBLE_DIMS",
    "SPACINGS",
    "SPATIAL_DIMS",
    "Axis",
    "axis",
    "spatial_dims",
]

ENSEMBLE_DIMS = ("trajectory", "operator", "realization", "sample")
SPATIAL_DIMS = ("z", "y", "x")
DIM_ORDER = (*ENSEMBLE_DIMS, "time", *SPATIAL_DIMS)
BOUNDARIES = ("periodic", "wall", "open", "shear_periodic")
SPACINGS = ("uniform", "chebyshev", "nonuniform")

# A grid counts as uniform when no step departs from the mean step by more than this share of
# it: coordinates written as float32 on a box of 10^4 cells stay inside.
_UNIFORM_TOLERANCE = 1e-3
_PERIOD_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Axis:
    """One spatial axis as the data model sees it.

    Attributes
    ----------
    name : str
        Dimension name.
    size : int
        Number of points.
    coordinate : numpy.ndarray
        Positions, float64.
    spacing : {"uniform", "chebyshev", "nonuniform"}
        As declared, or found from the positions.
    step : float
        Mean distance between neighbours; NaN for one point without a period.
    boundary : str or None
        Declared boundary, if any.
    period : float or None
        Declared length of the period, if any.
    periodic : bool
        True only if a period is declared, the boundary is not another one, the spacing is
        uniform and ``size * step`` equals the period to 1e-6 (a slice of a periodic axis is
        open).
    """

    name: str
    size: int
    coordinate: np.ndarray
    spacing: str
    step: float
    boundary: str | None
    period: float | None
    periodic: bool

    @property
    def length(self) -> float:
        """Length of the period, or of the cells that the points stand for."""
        return self.period if self.periodic and self.period is not None else self.size * self.step


def spatial_dims(obj: xr.DataArray | xr.Dataset | xr.Variable) -> tuple[str, ...]:
    """Spatial dimensions of an object in the order of the data model (z, y, x).

    Parameters
    ----------
    obj : DataArray, Dataset or Variable
        Anything with ``dims``.

    Returns
    -------
    tuple of str
        Those of ``("z", "y", "x")`` that exist.

    Examples
    --------
    >>> import xarray as xr
    >>> spatial_dims(xr.DataArray([[0.0]], dims=("x", "time")))
    ('x',)
    """
    return tuple(d for d in SPATIAL_DIMS if d in obj.dims)


def axis(obj: xr.DataArray | xr.Dataset, dim: Hashable) -> Axis:
    """Describe one axis of an object.

    Parameters
    ----------
    obj : DataArray or Dataset
        Object with a coordinate for ``dim``.
    dim : str
        The dimension.

    Returns
    -------
    Axis
        Positions, spacing, boundary and period.

    Raises
    ------
    SchemaError
        If the dimension does not exist, has no coordinate, or the coordinate is not made of
        numbers along it alone, finite and strictly monotonic.

    Examples
    --------
    >>> import xarray as xr
    >>> x = xr.Variable("x", [0.25, 0.75], {"period": 1.0, "boundary": "periodic"})
    >>> axis(xr.Dataset(coords={"x": x}), "x").periodic
    True
    """
    if dim not in obj.dims:
        raise SchemaError(f"expected a dimension {dim!r}, found {tuple(obj.dims)}")
    if dim not in obj.coords:
        raise SchemaError(
            f"dimension {dim!r} has no coordinate: give positions with .assign_coords({dim}=...)"
        )
    coordinate = obj.coords[dim]
    if coordinate.dims != (dim,) or coordinate.dtype.kind not in "biufmM":
        raise SchemaError(
            f"coordinate {dim!r} has dims {coordinate.dims} and dtype {coordinate.dtype}: expected "
            f"numbers along {dim!r} alone"
        )
    positions = np.asarray(coordinate.values, dtype=np.float64)
    size = positions.size
    steps = np.diff(positions)
    if not np.isfinite(positions).all():
        raise SchemaError(f"coordinate {dim!r} holds NaN or infinity: expected finite positions")
    if steps.size and not ((steps > 0).all() or (steps < 0).all()):
        raise SchemaError(f"coordinate {dim!r} is not strictly monotonic: use .sortby({dim!r})")
    period = coordinate.attrs.get("period")
    period = None if period is None else float(period)
    if steps.size:
        step = abs(float(positions[-1] - positions[0])) / (size - 1)
        uniform = bool(np.abs(np.abs(steps) - step).max() <= _UNIFORM_TOLERANCE * step)
    else:
        step = period if period is not None else float("nan")
        uniform = True
    declared = coordinate.attrs.get("spacing")
    spacing = declared if declared in SPACINGS else ("uniform" if uniform else "nonuniform")
    if spacing == "uniform" and not uniform:
        spacing = "nonuniform"
    boundary = coordinate.attrs.get("boundary")
    periodic = (
        period is not None
        and size > 0
        and spacing == "uniform"
        and boundary in (None, "periodic")  # a sheared or closed axis does not simply repeat
        and abs(size * step - period) <= _PERIOD_TOLERANCE * abs(period)
    )
    return Axis(str(dim), size, positions, spacing, step, boundary, period, periodic)
