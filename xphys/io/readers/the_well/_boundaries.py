"""Boundary conditions: attributes of the axes where they can be, coordinates where they cannot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xphys.io._the_well import BOUNDARIES, MASK, POINT, VALUES
from xphys.io.readers._hdf5 import HDF5Array
from xphys.io.readers.the_well._file import Piece, WellFile, texts
from xphys.schema._spellings import model_order

__all__ = ["Condition", "conditions", "of_axis"]

_LARGEST_MASK = 2**22  # bytes read to look at the faces of a box


@dataclass(frozen=True)
class Condition:
    """One boundary condition of a file.

    Attributes
    ----------
    name : str
        Of its group.
    kind : str
        Word of the data model, or what the file says if that is another.
    dims : tuple of str
        Dimensions of the mask, without trajectory and time.
    fields : tuple of str
        Fields that it is for; empty for all.
    ends : dict
        Dimension -> whether the condition holds at its lower and upper end.
    coords : dict
        Mask and values, if they say more than that.
    """

    name: str
    kind: str
    dims: tuple[str, ...]
    fields: tuple[str, ...]
    ends: dict[str, tuple[bool, bool]]
    coords: dict[str, Piece]


def conditions(well: WellFile) -> list[Condition]:
    """Read the boundary conditions of a file."""
    held = well.file.members("boundary_conditions")
    return [_read(well, name) for name in sorted(held) if held[name] == "group"]


def _read(well: WellFile, name: str) -> Condition:
    where = f"boundary_conditions/{name}"
    attrs, held = well.file.attributes(where), well.file.members(where)
    said = attrs.get("bc_type")
    if not isinstance(said, str):
        raise well.wrong(f"{where} has no attribute bc_type")
    known = dict(zip(well.axes, well.dims, strict=True))
    named = texts(attrs.get("associated_dims"))
    if not named or any(axis not in known for axis in named) or len(set(named)) < len(named):
        raise well.wrong(f"associated_dims of {where} should be among {well.axes}, found {named}")
    dims = tuple(known[axis] for axis in named)
    fields = tuple(texts(attrs.get("associated_fields")))
    lead = well.leading(attrs, where)
    if held.get("mask") != "dataset":
        raise well.wrong(f"{where} has no mask")
    stored = (*lead, *dims)
    shape = tuple(well.sizes[dim] for dim in stored)
    mask = HDF5Array(well.file, f"{where}/mask")
    if mask.shape != shape:
        raise well.wrong(f"the mask of {where} should have the shape {shape}, found {mask.shape}")
    read = None
    if not lead and math.prod(shape) * mask.dtype.itemsize <= _LARGEST_MASK:
        read = well.file.values(f"{where}/mask").astype(bool)
    values = f"{where}/values" if held.get("values") == "dataset" else None
    coords = {}
    if fields or not _only_ends(read) or not _only_zeros(well, values):
        order = [dim for dim in (*lead, *_space(well, dims))]
        array = HDF5Array(well.file, f"{where}/mask", order=[stored.index(dim) for dim in order])
        coords = _coordinates(well, name, said, fields, Piece(tuple(order), array), values, lead)
    kind = BOUNDARIES.get(said.upper(), said)
    return Condition(name, kind, dims, fields, _ends(dims, read), coords)


def _space(well: WellFile, dims: Sequence[str]) -> list[str]:
    return [str(dim) for dim in model_order([dim for dim in well.dims if dim in dims])]


def _only_ends(mask: np.ndarray | None) -> bool:
    return mask is not None and mask.ndim == 1 and not mask[1:-1].any()


def _only_zeros(well: WellFile, values: str | None) -> bool:
    if values is None:
        return True
    array = HDF5Array(well.file, values)
    if math.prod(array.shape) > 2:
        return False
    return not well.file.values(values).any()


def _ends(dims: Sequence[str], mask: np.ndarray | None) -> dict[str, tuple[bool, bool]]:
    """Where a mask covers the whole face of an axis; all of it if it has no cell at all."""
    if mask is None:
        return {}
    if not mask.any():
        return {dim: (True, True) for dim in dims} if mask.ndim == 1 else {}
    faces = [(mask.take(0, axis), mask.take(-1, axis)) for axis in range(mask.ndim)]
    return {d: (bool(a.all()), bool(b.all())) for d, (a, b) in zip(dims, faces, strict=True)}


def _coordinates(
    well: WellFile,
    name: str,
    said: str,
    fields: tuple[str, ...],
    mask: Piece,
    values: str | None,
    lead: tuple[str, ...],
) -> dict[str, Piece]:
    attrs: dict[str, Any] = {
        "long_name": f"where the boundary condition {name} holds",
        "bc_type": said,
        "source_name": name,
    }
    if fields:
        attrs["associated_fields"] = ", ".join(fields)
    if mask.array.dtype.kind != "b":
        attrs["units"] = "1"
    coords = {f"{MASK}{name}": Piece(mask.dims, mask.array, attrs)}
    if values is not None:
        array = HDF5Array(well.file, values)
        sizes = tuple(well.sizes[dim] for dim in lead)
        if array.shape[:-1] != sizes or not array.shape:
            raise well.wrong(f"{values} should have the shape {(*sizes, 'points of the mask')}")
        about = {"long_name": f"values of the boundary condition {name}", "units": "1"}
        dims = (*lead, f"{MASK}{name}{POINT}")
        coords[f"{MASK}{name}{VALUES}"] = Piece(dims, array, about)
    return coords


def of_axis(found: Sequence[Condition], dim: str) -> dict[str, str]:
    """Attribute ``boundary`` of an axis, with those of its two ends where they differ.

    Conditions on this axis alone and for all fields come first, then those for single fields,
    then masks over several axes that cover a face. Nothing is said where they contradict.
    """
    alone = [one for one in found if one.dims == (dim,)]
    general = [one for one in alone if not one.fields]
    for chosen in (general, alone, found):
        ends: list[set[str]] = [set(), set()]
        for one in chosen:
            for kinds, holds in zip(ends, one.ends.get(dim, ()), strict=False):
                kinds.update([one.kind] if holds else ())
        words = [kinds.pop() if len(kinds) == 1 else "" for kinds in ends]
        if not all(word in BOUNDARIES.values() for word in words):
            continue
        if words[0] == words[1]:
            return {"boundary": words[0]}
        return {"boundary": "open", "boundary_lower": words[0], "boundary_upper": words[1]}
    return {}
