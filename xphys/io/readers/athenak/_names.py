"""Physical names: which axis is which, what the variables are, what the deck says."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xphys.io.readers._fluid_names import current_attrs, fluid_attrs
from xphys.io.readers.athenak._format import Deck

__all__ = ["Geometry", "boundary_attrs", "field_attrs", "geometry", "parameters"]

_MOMENT = re.compile(r"(?P<name>.+)_(?P<moment>1st|2nd|3rd|4th)$")
_ORDINAL = {"1st": "first", "2nd": "second", "3rd": "third", "4th": "fourth"}

# parameter -> (blocks and key in the deck, type)
_PARAMETERS: dict[str, tuple[tuple[str, ...], str, type]] = {
    "viscosity": (("mhd", "hydro"), "viscosity", float),
    "resistivity": (("mhd",), "ohmic_resistivity", float),
    "conductivity": (("mhd", "hydro"), "conductivity", float),
    "sound_speed": (("mhd", "hydro"), "iso_sound_speed", float),
    "gamma": (("mhd", "hydro"), "gamma", float),
    "shear_parameter": (("shearing_box", "problem"), "qshear", float),
    "rotation_rate": (("shearing_box", "problem"), "omega0", float),
    "plasma_beta": (("problem",), "beta", float),
    "amplitude": (("problem",), "amp", float),
    "seed": (("problem",), "rand_seed", int),
    "cfl_number": (("time",), "cfl_number", float),
}


@dataclass(frozen=True)
class Geometry:
    """What the stored axes x3, x2, x1 mean.

    Attributes
    ----------
    dims : tuple of str
        Names of the stored axes (x3, x2, x1).
    shearing : bool
        True in a shearing box.
    """

    dims: tuple[str, str, str]
    shearing: bool

    @property
    def vertical_plane(self) -> bool:
        """True for the radial-vertical box, where the second stored axis is z."""
        return self.dims[1] == "z"


def _true(text: str | None) -> bool:
    return text is not None and text.lower() in ("true", "1")


def geometry(deck: Deck) -> Geometry:
    """Read from the deck what the axes mean.

    A two-dimensional shearing box of AthenaK is radial-vertical unless ``shearing_box_r_phi`` is
    set (no released version can set it: absent means false): x1 is radial (x), x2 vertical (z),
    x3 azimuthal (y) and ignorable.
    """
    problem = deck.get("problem", {})
    shearing = "shearing_box" in deck or _true(problem.get("shearing_box"))
    flags = [deck.get(b, {}).get("shearing_box_r_phi") for b in ("problem", "shearing_box")]
    flat = deck["mesh"].get("nx3", "1") == "1" and deck["mesh"].get("nx2", "1") != "1"
    if shearing and flat and not any(map(_true, flags)):
        return Geometry(("y", "z", "x"), True)
    return Geometry(("z", "y", "x"), shearing)


def field_attrs(stored: str, where: Geometry, group: str) -> tuple[str, dict[str, Any]]:
    """Name and attributes of a variable.

    Parameters
    ----------
    stored : str
        Name in the file, with ``_1st`` ... ``_4th`` for moments of a coarsened output.
    where : Geometry
        Meaning of the axes.
    group : str
        Name of the variable group.

    Returns
    -------
    name : str
        Physical name; names that are not known stay as they are.
    attrs : dict
        ``units``, ``long_name``, ``source_name``, and ``vector`` and ``component``.
    """
    match = _MOMENT.match(stored)
    base, moment = (match["name"], match["moment"]) if match else (stored, None)
    name, attrs = fluid_attrs(base, where.dims[::-1])
    if attrs.get("vector") == "velocity" and where.shearing:
        attrs["comment"] = "relative to the background shear -q Omega x in y"
    elif base == "jz":
        attrs |= current_attrs(where.vertical_plane)
    if moment:
        name = f"{name}_{moment}"
        attrs["long_name"] = f"{_ORDINAL[moment]} moment of {attrs['long_name']}"
        if moment != "1st":  # a power of a component is no component
            attrs.pop("vector", None)
            attrs.pop("component", None)
    return name, {**attrs, "source_name": stored, "source_group": group}


def boundary_attrs(deck: Deck, axis: int, where: Geometry, length: float) -> dict[str, Any]:
    """Attributes ``boundary`` and, on a periodic axis, ``period`` of stored axis 0, 1 or 2."""
    mesh = deck["mesh"]
    inner, outer = (mesh.get(f"{side}x{3 - axis}_bc", "") for side in "io")
    if {inner, outer} == {"periodic"}:
        return {"boundary": "periodic", "period": length}
    if {inner, outer} == {"shear_periodic"}:
        if where.vertical_plane:
            comment = "shear-periodic, which is plain periodic because nothing depends on y"
            return {"boundary": "periodic", "period": length, "comment": comment}
        return {"boundary": "shear_periodic"}
    if {inner, outer} == {"reflect"}:
        return {"boundary": "wall"}
    return {
        "boundary": "open",
        "comment": f"{inner or 'unknown'} below, {outer or 'unknown'} above",
    }


def parameters(decks: Sequence[Deck]) -> dict[str, xr.Variable]:
    """Physical parameters as coordinates: scalars, or on ``time`` where a restart changed one.

    Parameters
    ----------
    decks : sequence of dict
        Input deck of every output.

    Returns
    -------
    dict
        Name -> Variable with attrs ``units``, ``long_name``, ``source_name``.
    """
    found: dict[str, xr.Variable] = {}
    for name, (blocks, key, kind) in _PARAMETERS.items():
        for block in blocks:
            values = [_value(deck.get(block, {}), key, kind) for deck in decks]
            if any(value is None for value in values):
                continue
            attrs = {
                "units": "1",
                "long_name": name.replace("_", " "),
                "source_name": f"{block}/{key}",
            }
            dtype = np.int64 if kind is int else np.float64
            if len(set(values)) == 1:
                found[name] = xr.Variable((), np.array(values[0], dtype), attrs)
            else:
                found[name] = xr.Variable("time", np.array(values, dtype), attrs)
            break
    return found


def _value(block: Mapping[str, str], key: str, kind: type) -> float | int | None:
    try:
        return kind(block[key])  # type: ignore[no-any-return]
    except (KeyError, ValueError):
        return None
