"""What the stored names and axes of the MRI project mean.

The names, attributes and positions are those that the reader of AthenaK gives to the same run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xphys.errors import FormatError, SchemaError
from xphys.io.readers._fluid_names import current_attrs, fluid_attrs

__all__ = ["Meaning", "cell_axis", "meaning", "stored_axis", "unique_names"]

_EDGE_TOLERANCE = 1e-6  # of a cell
_TAKEN = frozenset(
    {"", "time", "x", "y", "z", "trajectory", "snapshot", "split", "sample_time", "channel"}
)


@dataclass(frozen=True)
class Meaning:
    """What the stored axes x1, x2, x3 are.

    Attributes
    ----------
    directions : str
        Directions of x1, x2, x3.
    dims : tuple of str
        Names of the two axes of a plane, (x2, x1).
    said : str
        For the attributes of a Dataset.
    """

    directions: str
    dims: tuple[str, str]
    said: str

    @property
    def vertical(self) -> bool:
        """Whether the plane is radial-vertical."""
        return self.dims[0] == "z"

    def field(self, stored: str) -> tuple[str, dict[str, Any]]:
        """Name and attributes of a channel; names that are not known stay as they are."""
        name, attrs = fluid_attrs(stored, self.directions)
        if attrs.get("vector") == "velocity":
            attrs["comment"] = "relative to the background shear -q Omega x in y"
        elif stored == "jz":
            attrs |= current_attrs(self.vertical)
        return name, attrs

    def boundary(self, dim: str, length: float) -> tuple[dict[str, Any], str]:
        """Attributes of an axis, and what to say about them."""
        if dim == "x" and not self.vertical:
            return {"boundary": "shear_periodic"}, ""
        said = "shear-periodic, which is plain periodic because nothing depends on y"
        return {"boundary": "periodic", "period": length}, said if dim == "x" else ""


_USUAL = "the plane of the project's shearing box is radial-vertical"
_MEANINGS = {
    "zx": Meaning("xzy", ("z", "x"), "stored (x2, x1) are (z, x), x3 is y"),
    "yx": Meaning("xyz", ("y", "x"), "stored (x2, x1) are (y, x), x3 is z"),
}


def meaning(axes: str | None) -> Meaning:
    """What the axes are.

    Parameters
    ----------
    axes : {"zx", "yx"} or None
        Directions of the two stored axes of a plane; None for the usual "zx".

    Returns
    -------
    Meaning
        With what decided in ``said``.

    Raises
    ------
    SchemaError
        If ``axes`` is something else.
    """
    if axes not in (None, *_MEANINGS):
        raise SchemaError(
            f"axes must be 'zx' (a radial-vertical plane) or 'yx' (radial-azimuthal), got {axes!r}"
        )
    found = _MEANINGS[axes or "zx"]
    reason = f"{_USUAL}, the files do not tell" if axes is None else "given as axes="
    return Meaning(found.directions, found.dims, f"{found.said}: {reason}")


def unique_names(stored: Sequence[str], found: Meaning, path: str) -> list[str]:
    """Names of the variables of some channels; FormatError if two would be the same."""
    names = [found.field(channel)[0] for channel in stored]
    if len(set(names)) < len(names) or not _TAKEN.isdisjoint(names):
        raise FormatError(
            f"{path}: expected every channel once and none named like a coordinate, found "
            f"{list(stored)[:16]}"
        )
    return names


@np.errstate(all="ignore")  # what a damaged file holds may overflow
def stored_axis(
    dim: str, edges: np.ndarray, limits: tuple[float, float] | None, found: Meaning, path: str
) -> xr.Variable:
    """Cell centres from stored left edges.

    Parameters
    ----------
    dim : str
        Name of the axis.
    edges : ndarray
        Shape (n,), as stored.
    limits : tuple of float or None
        Ends of the box; None takes them from the edges.
    found : Meaning
        What the axes are.
    path : str
        For error messages.

    Returns
    -------
    Variable
        float64, with ``boundary``, ``spacing`` and, on a periodic axis, ``period``.

    Raises
    ------
    FormatError
        If the edges are not those of equal cells that fill the box.
    """
    n, name = edges.size, "x_coords" if dim == "x" else "y_coords"
    if limits is None:
        if n < 2:
            raise FormatError(f"{path}: expected x1min, x1max, x2min and x2max for a single cell")
        width = float(edges[-1] - edges[0]) / (n - 1)
        limits = (float(edges[0]), float(edges[0]) + n * width)
    lower, upper = limits
    width = (upper - lower) / n
    expected = lower + np.arange(n) * width
    fits = np.isfinite(edges).all() and np.abs(edges - expected).max() <= _EDGE_TOLERANCE * width
    if not (width > 0 and np.isfinite(width) and fits):
        raise FormatError(
            f"{path}: expected in {name} the left edges of {n} equal cells from {lower:g} to "
            f"{upper:g}, found {edges[:1]} to {edges[-1:]}"
        )
    comment = f"cell centres: {name} holds the left edges, half a cell was added"
    return _axis(dim, lower + (np.arange(n) + 0.5) * width, upper - lower, found, name, comment)


def cell_axis(dim: str, n: int, box: Any, found: Meaning) -> xr.Variable:
    """Positions where the files hold none: in cells, or in the box that the caller gives.

    Parameters
    ----------
    dim : str
        Name of the axis.
    n : int
        Number of cells.
    box : (float, float), mapping of dim to that, or None
        Ends of the box.
    found : Meaning
        What the axes are.

    Returns
    -------
    Variable
        Cell centres, float64.

    Raises
    ------
    SchemaError
        If ``box`` is invalid or lacks the axis.
    """
    if box is None:
        comment = "in cells, because the files hold no positions: give box=(lower, upper)"
        return _axis(dim, np.arange(n) + 0.5, float(n), found, None, comment)
    given = box.get(dim, ()) if isinstance(box, Mapping) else box
    try:
        lower, upper = (float(end) for end in given)
    except (TypeError, ValueError):
        lower = upper = 0.0
    if not (np.isfinite([lower, upper]).all() and upper > lower):
        raise SchemaError(
            f"box must be (lower, upper) or a mapping of {found.dims} to that, got {box!r}"
        )
    centres = lower + (np.arange(n) + 0.5) * ((upper - lower) / n)
    return _axis(dim, centres, upper - lower, found, None, "cell centres in the box given as box=")


def _axis(
    dim: str, centres: np.ndarray, length: float, found: Meaning, source: str | None, comment: str
) -> xr.Variable:
    boundary, said = found.boundary(dim, float(length))
    attrs = {"units": "1", "long_name": dim, "spacing": "uniform", **boundary}
    attrs["comment"] = f"{comment}; {said}" if said else comment
    if source is not None:
        attrs["source_name"] = source
    return xr.Variable(dim, centres.astype(np.float64), attrs)
