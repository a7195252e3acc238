"""From points of the unit cube to named parameters, with Spinlock's own mapping."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

__all__ = ["Parameter", "as_json", "mapped", "parameter_space"]

# Order of the dimensions; files write the fourth group as one of two names.
_GROUPS = ("architecture", "stochastic", "operator", "evolution", "rollout")
_MOST = 4096
_LARGEST = 2**22  # characters of a JSON text
_LONGEST = 256  # characters of a name


@dataclass(frozen=True)
class Parameter:
    """One dimension of the cube.

    Attributes
    ----------
    name, group : str
        As configured.
    spec : dict
        Type, bounds, choices.
    """

    name: str
    group: str
    spec: Mapping[str, Any]


def as_json(value: Any) -> Any:
    """What a JSON text holds; None if it is none."""
    try:
        return json.loads(value) if isinstance(value, str) and len(value) < _LARGEST else None
    except (ValueError, RecursionError):
        return None


def parameter_space(config: Any) -> list[Parameter]:
    """Parameters in the order of the columns.

    Parameters
    ----------
    config : object
        The parsed configuration of the file.

    Returns
    -------
    list of Parameter
        Groups architecture, stochastic, operator, evolution; inside them in the order of the
        configuration. Arrays count once for each element. Empty if there is no such space.
    """
    space = config.get("parameter_space") if isinstance(config, dict) else None
    found: list[Parameter] = []
    for group in _GROUPS:
        specs = space.get(group) if isinstance(space, dict) else None
        for name, spec in (specs if isinstance(specs, dict) else {}).items():
            if not isinstance(spec, dict) or len(name) > _LONGEST:
                return []
            length = spec.get("length") if spec.get("type") == "array" else None
            if isinstance(length, int) and not 0 < length <= _MOST:
                return []
            numbers = range(length) if isinstance(length, int) else (None,)
            found += [Parameter(name if n is None else f"{name}_{n}", group, spec) for n in numbers]
            if len(found) > _MOST:
                return []
    names = [parameter.name for parameter in found]
    return [
        parameter
        if names.count(parameter.name) == 1
        else Parameter(f"{parameter.group}_{parameter.name}", parameter.group, parameter.spec)
        for parameter in found
    ]


def mapped(parameter: Parameter, unit: np.ndarray) -> xr.Variable | None:
    """Values of one parameter.

    Parameters
    ----------
    parameter : Parameter
        What the configuration says.
    unit : ndarray
        Shape (n,), in [0, 1] as stored.

    Returns
    -------
    Variable or None
        Dim ``operator``: integers round(lo + u (hi - lo)) with halves to even; numbers
        lo + u (hi - lo), or 10^(log10 lo + u (log10 hi - log10 lo)) if on a logarithmic scale;
        of K choices number floor(u K), or the first whose summed weight exceeds u; booleans
        u > 1/2. None for what has no such mapping, such as arrays.
    """
    maps = {"integer": _integer, "continuous": _number, "choice": _choice, "boolean": _boolean}
    kind = parameter.spec.get("type")
    make = maps.get(kind) if isinstance(kind, str) else None
    if make is None or not ((unit >= 0) & (unit <= 1)).all():
        return None
    found = make(parameter.spec, unit.astype(np.float64))
    if found is None:
        return None
    values, said = found
    attrs = {
        "units": "1",
        "long_name": parameter.name.replace("_", " "),
        "source_name": f"{parameter.group}/{parameter.name}",
        "comment": f"{said} of u in unit_parameters",
    }
    if values.dtype.kind in "Ub":
        del attrs["units"]
    return xr.Variable("operator", values, attrs)


Mapped = tuple[np.ndarray, str] | None


def _bounds(spec: Mapping[str, Any]) -> tuple[float, float] | None:
    bounds = spec.get("bounds")
    if not isinstance(bounds, list) or len(bounds) != 2:
        return None
    if any(isinstance(end, bool) or not isinstance(end, int | float) for end in bounds):
        return None
    if not all(abs(end) < 2**52 for end in bounds):  # beyond, or NaN: no exact integers
        return None
    return bounds[0], bounds[1]


def _integer(spec: Mapping[str, Any], unit: np.ndarray) -> Mapped:
    bounds = _bounds(spec)
    if bounds is None:
        return None
    lo, hi = bounds
    return np.rint(lo + unit * (hi - lo)).astype(np.int64), f"round({lo} + u ({hi} - {lo}))"


def _number(spec: Mapping[str, Any], unit: np.ndarray) -> Mapped:
    bounds = _bounds(spec)
    if bounds is None:
        return None
    lo, hi = bounds
    if not spec.get("log_scale"):
        return lo + unit * (hi - lo), f"{lo} + u ({hi} - {lo})"
    if lo <= 0 or hi <= 0:
        return None
    low, high = math.log10(lo), math.log10(hi)
    return 10 ** (low + unit * (high - low)), f"{lo} ({hi} / {lo})^u"


def _choice(spec: Mapping[str, Any], unit: np.ndarray) -> Mapped:
    choices, weights = spec.get("choices"), spec.get("weights")
    if not isinstance(choices, list) or not 0 < len(choices) <= _MOST:
        return None
    values = _plain(choices)
    if values is None:
        return None
    if weights is None:
        index = np.floor(unit * len(choices)).astype(np.int64)
    else:
        if not _are_weights(weights, len(choices)):
            return None
        index = np.searchsorted(np.cumsum(weights), unit, side="right")
    said = "choice by weight" if weights is not None else f"choice floor({len(choices)} u)"
    return values[np.minimum(index, len(choices) - 1)], said


def _are_weights(weights: Any, count: int) -> bool:
    if not isinstance(weights, list) or len(weights) != count:
        return False
    return all(isinstance(w, int | float) and 0 <= w <= 1 for w in weights)


def _plain(choices: Sequence[Any]) -> np.ndarray | None:
    """Choices as integers, numbers or, if there is any text, texts."""
    if any(not isinstance(c, str | int | float) or isinstance(c, bool) for c in choices):
        return None
    if any(isinstance(c, str) for c in choices):
        texts = [str(c) for c in choices]
        return None if max(map(len, texts)) > _LONGEST else np.array(texts, dtype=str)
    if not all(abs(c) < 2**52 for c in choices):
        return None
    return np.array(choices, np.int64 if all(isinstance(c, int) for c in choices) else np.float64)


def _boolean(spec: Mapping[str, Any], unit: np.ndarray) -> Mapped:
    return unit > 0.5, "u > 1/2"
