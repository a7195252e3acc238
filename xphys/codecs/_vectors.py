"""Vectors whose components are corrected together when they are compressed."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from xphys.coding.predict import Joining
from xphys.coding.preserve import TOGETHER, Setup
from xphys.coding.request import Request
from xphys.errors import SchemaError
from xphys.fields._axes import chebyshev, widths
from xphys.io import storage_chunks
from xphys.schema import SPATIAL_DIMS, Axis, axis, vectors

__all__ = ["find_joinings"]

_SOLENOIDAL = ("velocity", "magnetic_field")
_FLOW, _DENSITY = "velocity", "density"
_NODES = {"roots": "c", "extrema": "e"}
_RULES = {"Fejer quadrature": "c", "Clenshaw-Curtis quadrature": "e"}
_SAME = 1e-9  # relative spread up to which cells count as equal


def find_joinings(
    ds: xr.Dataset,
    requests: Mapping[Hashable, Request],
    chunks: Mapping[str, int] | None,
) -> tuple[list[Joining], dict[Hashable, Request]]:
    """What ``"momentum"`` and ``"divergence_free"`` mean for the variables of a Dataset.

    Parameters
    ----------
    ds : Dataset
        With the variables.
    requests : mapping
        How each variable that is compressed is to be coded.
    chunks : mapping, optional
        As in `compress`.

    Returns
    -------
    joinings : list of Joining
        No variable is a component in two of them.
    requests : dict
        The same; variables that are in no joining keep what they can keep by themselves.

    Raises
    ------
    SchemaError
        If there is no vector to keep something of, or its components, their axes, bounds or
        chunks do not fit.
    """
    asked = {n for r in requests.values() if r.preserve is not None for n in r.preserve.names}
    known = {
        vector: {c: n for c, n in parts.items() if n in requests}
        for vector, parts in vectors(ds).items()
        if vector in _SOLENOIDAL
    }
    found: list[Joining] = []
    if "divergence_free" in asked:
        found += _solenoidal(ds, known, requests)
    if "momentum" in asked:
        found = _with_momentum(ds, known.get(_FLOW, {}), found, requests)
    out = dict(requests)
    for joining in found:
        _check(ds, joining, requests, chunks)
    members = {name for joining in found for name in joining.members}
    for name, request in requests.items():
        if name in members or request.preserve is None:
            continue
        kept = request.preserve
        if "momentum" in kept.names and name in known.get(_FLOW, {}).values():
            kept = replace(kept, names=("mean", *kept.names))
        out[name] = replace(request, preserve=kept.without(TOGETHER))
    return found, out


def _solenoidal(
    ds: xr.Dataset,
    known: Mapping[str, Mapping[str, Hashable]],
    requests: Mapping[Hashable, Request],
) -> list[Joining]:
    found = []
    for parts in known.values():
        if not parts:
            continue
        dims = [str(d) for d in ds[next(iter(parts.values()))].dims if d in SPATIAL_DIMS]
        if len(dims) < 2 or not set(dims) <= set(parts):
            continue
        members = tuple(str(parts[d]) for d in dims)
        axes = tuple(list(map(str, ds[members[0]].dims)).index(d) for d in dims)
        known_axes = [_axis(ds, members[0], d) for d in dims]
        setup = Setup(
            axes,
            "".join(_kind(a) for a in known_axes),
            tuple(_length(a) for a in known_axes),
            free=True,
            kept=_kept(requests[members[0]]),
        )
        found.append(Joining(members, setup))
    if not found:
        raise SchemaError(
            "preserve='divergence_free' needs a velocity or magnetic field with a component along "
            "each of two or three spatial dims: tie them by the attributes vector and component"
        )
    return found


def _with_momentum(
    ds: xr.Dataset,
    flow: Mapping[str, Hashable],
    found: list[Joining],
    requests: Mapping[Hashable, Request],
) -> list[Joining]:
    """Momenta among what is kept; sums of components where density and cells are all equal."""
    if not flow:
        raise SchemaError(
            "preserve='momentum' needs components of a velocity: variables with attributes "
            "vector='velocity' and component"
        )
    first = ds[next(iter(flow.values()))]
    dims = [str(d) for d in first.dims if d in SPATIAL_DIMS]
    cells = tuple(_cells(ds, d) for d in dims)
    density = _DENSITY if _DENSITY in ds.data_vars else None
    if density is not None and (ds[density].dims != first.dims or ds[density].dtype.kind != "f"):
        raise SchemaError(
            f"preserve='momentum' needs a density of dims {first.dims}, found {ds[density].dims}"
        )
    if density is None and all(kind == "=" for kind, _ in cells):
        return [_with(j, "mean") if set(j.members) <= set(flow.values()) else j for j in found]
    out, taken = [], set()
    for joining in found:
        if set(joining.members) <= set(flow.values()):
            taken |= set(joining.members)
            setup = replace(joining.setup, cells=cells)
            joining = _with(replace(joining, setup=setup, density=density), "momentum")
        out.append(joining)
    axes = tuple(list(map(str, first.dims)).index(d) for d in dims)
    for name in flow.values():
        if name not in taken:
            kept = (*_kept(requests[name]), "momentum")
            out.append(Joining((str(name),), Setup(axes, kept=kept, cells=cells), density))
    return out


def _with(joining: Joining, name: str) -> Joining:
    kept = tuple(dict.fromkeys((*joining.setup.kept, name)))
    return replace(joining, setup=replace(joining.setup, kept=kept))


def _kept(request: Request) -> tuple[str, ...]:
    names = () if request.preserve is None else request.preserve.names
    return tuple(n for n in names if n in ("mean", "energy"))


def _axis(ds: xr.Dataset, name: str, dim: str) -> Axis:
    if dim not in ds.coords:
        raise SchemaError(
            f"preserve='divergence_free' needs positions along {dim!r} of {name!r}: add them as a "
            "coordinate, with the attribute period if the axis is periodic"
        )
    return axis(ds, dim)


def _kind(along: Axis) -> str:
    if along.periodic:
        return "p"
    if along.spacing == "chebyshev":
        return _NODES[chebyshev(along)[0]]
    if along.spacing == "uniform":
        return "o"
    raise SchemaError(
        f"preserve='divergence_free' needs axes that are periodic, uniform or Chebyshev, and "
        f"{along.name!r} is {along.spacing}: leave it out for this Dataset"
    )


def _length(along: Axis) -> float:
    if along.periodic:
        return float(along.length)
    if along.spacing == "chebyshev":
        _, low, high = chebyshev(along)
        return float(high - low)
    return float(along.size * along.step)


def _cells(ds: xr.Dataset, dim: str) -> tuple[str, tuple[float, ...]]:
    """Widths of the cells along an axis, as a rule where there is one."""
    if dim not in ds.coords:
        return "=", ()
    found, text = widths(ds, dim)
    if text in _RULES:
        return _RULES[text], ()
    lengths = np.asarray(found.values, np.float64)
    if np.ptp(lengths) <= _SAME * lengths.max():
        return "=", ()
    return "w", tuple(map(float, lengths))


def _check(
    ds: xr.Dataset,
    joining: Joining,
    requests: Mapping[Hashable, Request],
    chunks: Mapping[str, int] | None,
) -> None:
    names = joining.members if joining.density is None else (*joining.members, joining.density)
    first: Any = ds[joining.members[0]]
    for name in names:
        here = ds[name]
        if here.dims != first.dims or "/" in name or name not in requests:
            raise SchemaError(
                f"expected {', '.join(names)} as compressed variables with dims {first.dims}, got "
                f"{name!r} with {here.dims}"
            )
    for name in joining.members:
        if (
            requests[name].bounds is None
            or ds[name].dtype != first.dtype
            or first.dtype.kind != "f"
        ):
            raise SchemaError(
                f"components that are kept together need one floating dtype and bounds: give "
                f"{name!r} those of {joining.members[0]!r}"
            )
    dims = tuple(map(str, first.dims))
    stored = storage_chunks(dims, first.shape, first.dtype.itemsize, chunks)
    cut = [dims[a] for a in joining.setup.axes if stored[a] < first.shape[a]]
    if cut:
        raise SchemaError(
            f"preserve={' and '.join(TOGETHER)} need whole fields in a chunk, those of "
            f"{first.name!r} are cut along {cut}: give chunks={ {d: -1 for d in cut} }"
        )
