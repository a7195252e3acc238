"""Names of PDEBench's arrays, and the numbers in its attributes and configurations."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from xphys.io.readers.pdebench._part import Part
from xphys.schema import PROVENANCE

__all__ = ["PARAMETERS", "described", "take_attributes", "take_configs"]

_NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$")
_LARGEST_CONFIG = 2**16
# stored name -> name, description
_FIELDS = {
    "tensor": ("u", "solution"),
    "nu": ("diffusion_coefficient", "diffusion coefficient"),
    "density": ("density", "density"),
    "pressure": ("pressure", "pressure"),
    "particles": ("particles", "density of the advected particles"),
}
_VECTORS = {"V": "velocity", "omega_": "vorticity"}
PARAMETERS = {
    "Nu": "diffusion coefficient",
    "eta": "shear viscosity",
    "zeta": "bulk viscosity",
    "M": "Mach number",
}
# of the configuration: what repeats the grid
_GRID = {"t", "T_end", "n", "n_batch", "n_steps", "n_time_steps", "tdim", "xdim", "ydim"}
_GRID |= {"x_left", "x_right", "y_bottom", "y_top", "frame_int"}


def described(stored: str) -> tuple[str, dict[str, Any]]:
    """Name and attributes of an array."""
    for prefix, vector in _VECTORS.items():
        letter = stored.removeprefix(prefix)
        if letter in ("x", "y", "z") and stored != letter:
            tags = {"vector": vector, "component": letter}
            said = f"{letter} component of {vector}"
            name = f"{vector}_{letter}"
            return name, {"units": "1", "long_name": said, "source_name": stored, **tags}
    name, said = _FIELDS.get(stored, (stored, stored.replace("_", " ")))
    return name, {"units": "1", "long_name": said, "source_name": stored}


def take_attributes(part: Part, attributes: Mapping[str, Any]) -> None:
    """Numbers become parameters, ``parameters`` one number for each sample, text stays."""
    for key, value in attributes.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            part.parameters[key] = [value] * part.count
        elif key == "parameters" and isinstance(value, str):
            part.attrs[key] = value
            part.parameters |= _listed(value, part.count)
        elif isinstance(value, str) and key != PROVENANCE:
            part.attrs.setdefault(key, value)


def _listed(text: str, count: int) -> dict[str, list[float]]:
    """Numbers in ``"a=1,b=2; a=3,b=4"``, one group for each sample; none in any other text."""
    rows = [
        dict(pair.partition("=")[::2] for pair in row.replace(" ", "").split(",") if pair)
        for row in text[:_LARGEST_CONFIG].split(";")
        if row.strip()
    ]
    names = list(rows[0]) if rows else []
    plain = all(list(row) == names and all(map(_NUMBER.match, row.values())) for row in rows)
    if len(rows) != count or not plain:
        return {}
    return {name: [_number(row[name]) for row in rows] for name in names if name}


def take_configs(part: Part, configs: Sequence[Any], section: str | None) -> None:
    """Numbers of the YAML configurations of the samples; the first one is kept as text."""
    texts = [text if isinstance(text, str) else "" for text in configs]
    if not any(texts):
        return
    part.attrs["config"] = texts[0]
    rows = [_numbers(text, section) for text in texts]
    for name in rows[0]:
        if name not in _GRID and all(name in row for row in rows):
            part.parameters[name] = [row[name] for row in rows]


def _numbers(text: str, section: str | None) -> dict[str, float]:
    """``key: number`` at the top of a YAML text, or one level below the key ``section``."""
    found: dict[str, float] = {}
    inside = section is None
    indent = "" if section is None else "  "
    for line in text[:_LARGEST_CONFIG].splitlines():
        if section is not None and line[:1].strip():
            inside = line.rstrip() == f"{section}:"
            continue
        key, separator, value = line.partition(":")
        value = value.strip()
        if inside and separator and key.startswith(indent) and _NUMBER.match(value):
            name = key[len(indent) :]
            if name.isidentifier():
                found[name] = _number(value)
    return found


def _number(text: str) -> float:
    return int(text) if text.lstrip("+-").isdigit() and len(text) < 18 else float(text)
