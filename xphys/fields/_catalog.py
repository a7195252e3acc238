"""The table of derived fields: name, what it needs, equation, function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import xarray as xr

from xphys.fields._source import Source
from xphys.fields._units import Unit

__all__ = ["Field", "Output", "Outputs", "components"]


@dataclass(frozen=True)
class Output:
    """A derived field before it is labelled.

    Attributes
    ----------
    values : DataArray
        float64.
    unit : Unit or None
        None where it is not known.
    long_name : str
        For plots.
    attrs : dict
        Further attributes, such as ``vector`` and ``component``.
    """

    values: xr.DataArray
    unit: Unit | None
    long_name: str
    attrs: Mapping[str, Any] = field(default_factory=dict)


Outputs = dict[str, Output]


@dataclass(frozen=True)
class Field:
    """One line of the table.

    Attributes
    ----------
    name : str
        What users ask for; with a subject, ``name_<subject>``.
    needs : str
        Input, in words.
    equation : str
        Definition.
    function : callable
        (source, subject, component) -> outputs.
    subject : {"", "optional", "required"}
        Whether the name goes on with the name of a vector or variable.
    vector : bool
        The field has components: ``name_x`` asks for one of them.
    """

    name: str
    needs: str
    equation: str
    function: Callable[[Source, str | None, str | None], Outputs]
    subject: str = ""
    vector: bool = False


def components(
    name: str,
    parts: Mapping[str, tuple[xr.DataArray, Unit | None]],
    long_name: str,
    notes: Mapping[str, Any] | None = None,
) -> Outputs:
    """Name and tag the components of a vector or tensor."""
    return {
        f"{name}_{c}": Output(
            values,
            unit,
            f"{c} component of {long_name}",
            {"vector": name, "component": c, **(notes or {})},
        )
        for c, (values, unit) in parts.items()
    }
