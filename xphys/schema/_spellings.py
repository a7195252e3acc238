"""Tables of the spellings that simulation codes use, and the renamings that follow from them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import xarray as xr

from xphys.schema._axes import DIM_ORDER, SPATIAL_DIMS

__all__ = ["ALIASES", "component_names", "dimension_names", "is_geographic", "model_order"]

ALIASES: dict[str, tuple[str, ...]] = {
    **{
        axis: (
            f"x{number}",
            f"x{number}v",
            axis.upper(),
            f"n{axis}",
            f"N{axis}",
            f"N{axis.upper()}",
            f"{axis}-coordinate",
            f"{axis}_coordinate",
            f"{axis}_coord",
        )
        for number, axis in enumerate("xyz", start=1)
    },
    "time": ("t", "T", "Time", "TIME", "nt", "time_counter", "t-coordinate", "t_coordinate"),
}
# Vector -> spellings of its x, y and z component.
FAMILIES: dict[str, tuple[tuple[str, str, str], ...]] = {
    "velocity": (
        ("velocity_x", "velocity_y", "velocity_z"),
        ("u", "v", "w"),
        ("vx", "vy", "vz"),
        ("Vx", "Vy", "Vz"),
        ("velx", "vely", "velz"),
        ("vel_x", "vel_y", "vel_z"),
        ("vel1", "vel2", "vel3"),
        ("x_velocity", "y_velocity", "z_velocity"),
    ),
    "magnetic_field": (
        ("magnetic_field_x", "magnetic_field_y", "magnetic_field_z"),
        ("Bx", "By", "Bz"),
        ("B_x", "B_y", "B_z"),
        ("bcc1", "bcc2", "bcc3"),
    ),
    "momentum": (
        ("momentum_x", "momentum_y", "momentum_z"),
        ("mom1", "mom2", "mom3"),
        ("x_momentum", "y_momentum", "z_momentum"),
    ),
}
_LETTERS = ("u", "v", "w")
_FLOW_WORDS = ("velocity", "wind", "speed", "flow")
_SPECIES_WORDS = ("reaction", "concentration", "gray-scott", "species")
_GEOGRAPHIC = {"lat", "lon", "latitude", "longitude"}


def is_geographic(ds: xr.Dataset, dim: Hashable) -> bool:
    """True for latitude and longitude, by name, ``standard_name`` or units in degrees."""
    if str(dim).lower() in _GEOGRAPHIC:
        return True
    attrs = ds[dim].attrs if dim in ds.coords else {}
    return str(attrs.get("standard_name")) in _GEOGRAPHIC or str(attrs.get("units", "")).startswith(
        ("degrees_", "degree_")
    )


def model_order(dims: Iterable[Hashable]) -> tuple[Hashable, ...]:
    """Order dimensions as the data model does.

    Spatial dimensions go last as (z, y, x). Ensemble dimensions and time are put in order among
    the places that they hold; a dimension that the model does not know keeps its place before
    the spatial ones.

    Examples
    --------
    >>> model_order(("x", "y", "channel", "time", "trajectory"))
    ('channel', 'trajectory', 'time', 'y', 'x')
    """
    dims = tuple(dims)
    leading = [d for d in dims if d not in SPATIAL_DIMS]
    known = iter(
        sorted((d for d in leading if d in DIM_ORDER), key=lambda d: DIM_ORDER.index(str(d)))
    )
    ordered = [next(known) if d in DIM_ORDER else d for d in leading]
    return (*ordered, *(d for d in SPATIAL_DIMS if d in dims))


def dimension_names(ds: xr.Dataset, keep: Iterable[Hashable] = ()) -> dict[str, str]:
    """Find dimensions that mean x, y, z or time under another name.

    Parameters
    ----------
    ds : Dataset
        Any Dataset.
    keep : iterable of str
        Names that must not change.

    Returns
    -------
    dict
        Name in ``ds`` -> name in the model. Empty for an axis that exists already or that two
        dimensions claim; on geographic grids only time is considered.
    """
    geographic = any(is_geographic(ds, dim) for dim in ds.dims)
    kept = set(keep)
    plan: dict[str, str] = {}
    for target, aliases in ALIASES.items():
        if target in ds.dims or (geographic and target != "time"):
            continue
        found = [name for name in aliases if name in ds.dims and name not in kept]
        if len(found) == 1 and _is_free(ds, target, found[0]):
            plan[found[0]] = target
    return plan


def _is_free(ds: xr.Dataset, target: str, dim: str) -> bool:
    """A variable that holds the new name may only be the positions of that very dimension."""
    return target not in ds.variables or (
        ds.variables[target].dims == (dim,) and dim not in ds.variables
    )


def _letters_are_velocity(ds: xr.Dataset, names: dict[str, str]) -> bool:
    """``u, v, w`` are a velocity unless the axes do not fit them or the source says otherwise."""
    space = {d for d in ds[next(iter(names.values()))].dims if d in SPATIAL_DIMS}
    if not (set(names) == {"x", "y", "z"} or set(names) == space):
        return False
    about = " ".join(str(ds.attrs.get(key, "")) for key in ("title", "equations", "name"))
    if any(word in about.lower() for word in _SPECIES_WORDS):
        return False
    for name in names.values():
        attrs = ds[name].attrs
        stated = f"{attrs.get('long_name', '')} {attrs.get('standard_name', '')}".strip().lower()
        if stated and not any(word in stated for word in _FLOW_WORDS):
            return False
    return True


def component_names(ds: xr.Dataset, keep: Iterable[Hashable] = ()) -> dict[str, dict[str, str]]:
    """Find variables that are the components of one vector under common spellings.

    Parameters
    ----------
    ds : Dataset
        With dimensions named as in the model.
    keep : iterable of str
        Names that must not change.

    Returns
    -------
    dict
        Vector -> {component: name in ``ds``}. A vector counts only if at least two components
        of one spelling exist on the same spatial dims, no second spelling competes, and no
        other variable holds the new names.
    """
    kept = set(keep)
    plan: dict[str, dict[str, str]] = {}
    for vector, spellings in FAMILIES.items():
        present = [
            {c: n for c, n in zip("xyz", names, strict=True) if n in ds.data_vars and n not in kept}
            for names in spellings
        ]
        candidates = [
            (names, found)
            for names, found in zip(spellings, present, strict=True)
            if len(found) > 1
        ]
        if len(candidates) != 1:
            continue
        names, found = candidates[0]
        dims = {ds[name].dims for name in found.values()}
        if len(dims) != 1 or not any(d in SPATIAL_DIMS for d in next(iter(dims))):
            continue
        if names == _LETTERS and not _letters_are_velocity(ds, found):
            continue
        taken = {f"{vector}_{c}" for c in found} - set(found.values())
        if not taken & set(ds.variables) and _agrees(ds, vector, found):
            plan[vector] = found
    return plan


def _agrees(ds: xr.Dataset, vector: str, found: dict[str, str]) -> bool:
    """Tags that are already there must not say something else."""
    return all(
        ds[name].attrs.get("vector", vector) == vector
        and ds[name].attrs.get("component", component) == component
        for component, name in found.items()
    )
