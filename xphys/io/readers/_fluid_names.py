"""Names that the Athena family of codes, and what is made from its output, gives to variables."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from xphys.errors import SchemaError
from xphys.schema import SPATIAL_DIMS

__all__ = ["check_axes_names", "current_attrs", "fluid_attrs"]

_SCALARS = {
    "dens": ("density", "density"),
    "rho": ("density", "density"),
    "press": ("pressure", "gas pressure"),
    "eint": ("internal_energy", "internal energy density"),
    "Etot": ("total_energy", "total energy density"),
}
_COMPONENT = re.compile(r"(?P<stem>vel|mom|bcc|Bcc|B(?=[xyz]))(?P<place>[123xyz])$")
_VECTORS = {
    "vel": "velocity",
    "mom": "momentum",
    "bcc": "magnetic_field",
    "Bcc": "magnetic_field",
    "B": "magnetic_field",
}
_FACTOR = (
    "values as stored: AthenaK at commit 92bbc3f writes twice the central-difference curl of "
    "the cell-centred magnetic field (the factor 1/2 is left out), later versions write it once"
)


def fluid_attrs(stored: str, axes: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Name and attributes of a variable.

    Parameters
    ----------
    stored : str
        Name in the file.
    axes : sequence of str
        What the first, second and third direction are.

    Returns
    -------
    name : str
        Physical name; names that are not known stay as they are.
    attrs : dict
        ``units``, ``long_name``, ``source_name``, and ``vector`` and ``component``.
    """
    attrs: dict[str, Any] = {"units": "1"}
    match = _COMPONENT.match(stored)
    if match is None:
        name, long_name = _SCALARS.get(stored, (stored, stored))
        return name, {**attrs, "long_name": long_name, "source_name": stored}
    vector = _VECTORS[match["stem"]]
    component = axes["123xyz".index(match["place"]) % 3]
    attrs |= {"vector": vector, "component": component, "source_name": stored}
    long_name = f"{component} component of {vector.replace('_', ' ')}"
    return f"{vector}_{component}", {**attrs, "long_name": long_name}


def current_attrs(vertical: bool) -> dict[str, str]:
    """Attributes of AthenaK's ``jz``, which keeps its name.

    Parameters
    ----------
    vertical : bool
        Whether the plane is radial-vertical, with the azimuthal axis as the third one.
    """
    if not vertical:
        long_name = "z component of current density"
        return {
            "long_name": long_name,
            "comment": _FACTOR,
            "vector": "current_density",
            "component": "z",
        }
    comment = (
        "curl along the stored third axis, d(B_z)/dx - d(B_x)/dz, which is minus the y "
        f"(azimuthal) component of the current density; {_FACTOR}"
    )
    return {"long_name": "minus y component of current density", "comment": comment}


def check_axes_names(axes: Any, active: Sequence[bool]) -> tuple[str, str, str]:
    """What the first, second and third direction are.

    Parameters
    ----------
    axes : str, sequence of str or None
        As the caller gave it: "xyz" (also None), "xzy" for a radial-vertical plane, ...
    active : sequence of bool
        Which of the three directions become dimensions.

    Returns
    -------
    tuple of str
        Three names.

    Raises
    ------
    SchemaError
        If these are not x, y and z, or the dimensions would not be in the order (z, y, x).
    """
    names = tuple("xyz" if axes is None else axes)
    if sorted(map(str, names)) != ["x", "y", "z"]:
        raise SchemaError(f"axes= takes 'x', 'y' and 'z' in the order of x1, x2, x3, got {axes!r}")
    kept = [name for name, on in zip(names, active, strict=True) if on]
    if kept != [dim for dim in reversed(SPATIAL_DIMS) if dim in kept]:
        raise SchemaError(
            f"axes={axes!r} puts the dimensions in the order {kept[::-1]}, expected (z, y, x): "
            "choose axes that keep it"
        )
    first, second, third = names
    return first, second, third
