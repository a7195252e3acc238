"""What positions and attributes say about a spatial axis: spacing, boundary, period."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from xphys.schema._axes import BOUNDARIES, SPATIAL_DIMS, Axis, axis

__all__ = [
    "index_of",
    "is_regular",
    "length_of",
    "spacing_of",
    "stated_boundaries",
    "stated_length",
]

_CHEBYSHEV_TOLERANCE = 1e-5
_LENGTH_TOLERANCE = 1e-6
# What files write for the boundaries of the data model.
_BOUNDARY_WORDS = {
    **{word: word for word in BOUNDARIES},
    "shear-periodic": "shear_periodic",
    "shearing": "shear_periodic",
    "walls": "wall",
    "no-slip": "wall",
    "no_slip": "wall",
    "noslip": "wall",
    "outflow": "open",
}
_BOUNDARY_ATTRS = ("bc", "boundary_condition", "boundary_conditions", "boundaries")
_PERIODIC_IN = re.compile(
    r"(?<![\w-])periodic\s+(?:in\s+)?([xyz](?:(?:\s*,\s*|\s+and\s+)?[xyz])*)\b"
)
_PERIODIC = re.compile(r"(?<![\w-])(?<!not )periodic\b(?:\s+(\d*)\s?pi\b)?")


def index_of(ds: xr.Dataset, dim: str) -> Any:
    """The plain pandas index of a dimension, already in memory; None if it has another kind."""
    if dim not in ds.xindexes:
        return None
    try:
        index = ds.xindexes[dim].to_pandas_index()
    except TypeError:  # an index of another package, which has no positions to look at
        return None
    return index if index.nlevels == 1 else None


def is_regular(ds: xr.Dataset, dim: str) -> bool:
    """True if ``dim`` has an index of finite, strictly monotonic numbers.

    Only then can positions be judged; an index is in memory, so nothing is loaded.
    """
    index = index_of(ds, dim)
    if index is None or index.size == 0 or ds[dim].dtype.kind not in "fiu":
        return False
    positions = np.asarray(index, dtype=np.float64)
    steps = np.diff(positions)
    return bool(np.isfinite(positions).all() and ((steps > 0).all() or (steps < 0).all()))


def spacing_of(ds: xr.Dataset, dim: str) -> str:
    """Name the spacing that the positions of a regular axis show.

    Returns
    -------
    {"uniform", "chebyshev", "nonuniform"}
        "chebyshev" if the positions are Gauss or Gauss-Lobatto points mapped to an interval,
        to 1e-5 of its length.
    """
    found = axis(ds[dim].drop_attrs(), dim)
    if found.spacing == "uniform":
        return "uniform"
    position = (found.coordinate - found.coordinate[0]) / (
        found.coordinate[-1] - found.coordinate[0]
    )
    index = np.arange(found.size)
    angles = (np.pi * (2 * index + 1) / (2 * found.size), np.pi * index / (found.size - 1))
    for angle in angles:
        points = -np.cos(angle)
        points = (points - points[0]) / (points[-1] - points[0])
        if np.abs(points - position).max() <= _CHEBYSHEV_TOLERANCE:
            return "chebyshev"
    return "nonuniform"


def length_of(found: Axis) -> float:
    """Length covered by the cells of a uniform axis: number of points times spacing."""
    return found.size * found.step


def _number(value: Any) -> float | None:
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "fiu":
        return None
    number = float(array.reshape(()))
    return number if np.isfinite(number) and number > 0 else None


def stated_length(ds: xr.Dataset, dim: str) -> float | None:
    """Length of the box along ``dim`` as the attributes give it (``length``, ``Lx``, ``L``)."""
    own: Mapping[Any, Any] = ds[dim].attrs if dim in ds.coords else {}
    for attrs, names in ((own, ("length", "L")), (ds.attrs, (f"L{dim}", f"l{dim}", "L"))):
        for name in names:
            number = _number(attrs.get(name))
            if number is not None:
                return number
    return None


def _boundary_word(value: Any) -> str | None:
    return _BOUNDARY_WORDS.get(value.strip().lower()) if isinstance(value, str) else None


def _is_true(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip().lower() in ("true", "yes")
    return isinstance(value, bool | np.bool_ | int | np.integer) and bool(value == 1)


def _named_axes(value: Any) -> set[str]:
    """Axes in ``periodic="x,y"``, ``periodic=["x", "y"]``; none for anything else."""
    if isinstance(value, str):
        parts: Iterable[Any] = re.split(r"[\s,;]+", value.strip())
    elif isinstance(value, list | tuple | np.ndarray):
        parts = list(value)
    else:
        return set()
    names = {str(part) for part in parts}
    return names if names and names <= set(SPATIAL_DIMS) else set()


def _from_attributes(ds: xr.Dataset, dim: str) -> str | None:
    for attrs in (ds[dim].attrs, ds.attrs):
        for name in _BOUNDARY_ATTRS:
            if (word := _boundary_word(attrs.get(name))) is not None:
                return word
        if _is_true(attrs.get("periodic")):
            return "periodic"
    return "periodic" if dim in _named_axes(ds.attrs.get("periodic")) else None


def _from_equations(ds: xr.Dataset, dim: str) -> tuple[bool, float | None]:
    """Whether the text of the equations calls ``dim`` periodic, and a length given as n pi."""
    text = ds.attrs.get("equations")
    if not isinstance(text, str):
        return False, None
    named = _PERIODIC_IN.search(text)
    if named is not None:
        return dim in named.group(1), None
    found = _PERIODIC.search(text)
    if found is None:
        return False, None
    factor = found.group(1)
    return True, None if factor is None else float(factor or 1) * np.pi


def stated_boundaries(ds: xr.Dataset, dim: str) -> dict[str, Any]:
    """Attributes ``boundary`` and ``period`` of one axis, from what the source states.

    An attribute of the coordinate or Dataset counts as it stands. The word "periodic" in a text
    of equations counts only if the text or an attribute also gives a length and the positions
    confirm it to 1e-6. Nothing is guessed from positions alone.

    Parameters
    ----------
    ds : Dataset
        With a regular coordinate ``dim`` (see `is_regular`).
    dim : str
        Spatial dimension.

    Returns
    -------
    dict
        Attributes that the coordinate lacks; empty if nothing is stated.
    """
    attrs = ds[dim].attrs
    boundary = attrs.get("boundary", _from_attributes(ds, dim))
    length = stated_length(ds, dim)
    uniform = ds.sizes[dim] > 1 and spacing_of(ds, dim) == "uniform"
    covered = length_of(axis(ds[dim].drop_attrs(), dim)) if uniform else None
    if boundary is None and covered is not None:
        periodic, multiple = _from_equations(ds, dim)
        length = length if length is not None else multiple
        if periodic and length is not None and abs(covered - length) <= _LENGTH_TOLERANCE * length:
            boundary = "periodic"
    found: dict[str, Any] = {}
    if boundary is not None and "boundary" not in attrs:
        found["boundary"] = boundary
    period = length if length is not None else covered
    if (
        str(boundary) in ("periodic", "shear_periodic")
        and "period" not in attrs
        and period is not None
    ):
        found["period"] = float(period)
    return found
