"""What can be asked for: each quantity as a sum of quadratic forms of fields of a Dataset."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

import xarray as xr

from xphys.errors import SchemaError, UnknownNameError
from xphys.schema import Axis, spatial_dims, vectors

__all__ = ["QUANTITIES", "Job", "Names", "Term", "cross_jobs", "is_real"]

Names = str | Iterable[Hashable] | None
_COMPONENTS = ("x", "y", "z")
_VORTICITIES = ("vorticity", "omega", "vorticity_z")


@dataclass(frozen=True)
class Term:
    """One quadratic form.

    Attributes
    ----------
    fields : tuple of DataArray
        What it takes.
    form : str
        Its name in the kernels.
    components : tuple of 3 int
        Position of the x, y and z component among the fields, -1 for none.
    """

    fields: tuple[xr.DataArray, ...]
    form: str = "power"
    components: tuple[int, int, int] = (-1, -1, -1)


@dataclass(frozen=True)
class Job:
    """One result: ``factor`` times the sum of its terms.

    Attributes
    ----------
    name : str
        Of the result.
    terms : tuple of Term
        What is added.
    units : tuple of (str or None, int)
        Units of the fields with their powers.
    length : int
        Power of the length in the units of the form.
    factor : float
        On the sum.
    about : str
        For ``long_name``.
    """

    name: Hashable
    terms: tuple[Term, ...]
    units: tuple[tuple[str | None, int], ...]
    about: str
    length: int = 0
    factor: float = 1.0


def is_real(array: xr.DataArray) -> bool:
    """Whether the values are real numbers."""
    return array.dtype.kind in "fiub"


def variance(ds: xr.Dataset, variables: Names, axes: list[Axis]) -> list[Job]:
    """Variance of variables; of a vector named in ``variables``, the sum of its components."""
    return _powers(ds, variables, axes, factor=1.0, about="power spectrum")


def energy(ds: xr.Dataset, variables: Names, axes: list[Axis]) -> list[Job]:
    """Half the sum over the components of each vector; half the variance of other variables."""
    if variables is None:
        found = vectors(ds)
        parts = {part for names in found.values() for part in names.values()}
        needed = {a.name for a in axes}
        fit = {n for n, v in ds.data_vars.items() if is_real(v) and needed <= set(v.dims)}
        whole = [name for name, names in found.items() if set(names.values()) <= fit]
        variables = [*whole, *(name for name in ds.data_vars if name in fit - parts)]
        if not variables:
            raise SchemaError(f"no real variable has all of the dims {sorted(needed)}")
    return _powers(ds, variables, axes, factor=0.5, about="energy spectrum")


def _powers(
    ds: xr.Dataset, variables: Names, axes: list[Axis], *, factor: float, about: str
) -> list[Job]:
    jobs = []
    for name, parts in _chosen(ds, variables, axes).items():
        first = next(iter(parts.values()))
        terms = tuple(Term((part,)) for part in parts.values())
        label = str(name) if len(parts) > 1 or name not in ds else _label(first)
        units = ((_unit(list(parts.values())), 2),)
        jobs.append(Job(name, terms, units, f"{about} of {label}", factor=factor))
    return jobs


def kinetic_energy(ds: xr.Dataset, variables: Names, axes: list[Axis]) -> list[Job]:
    """Half the squared velocity; of the vorticity of a plane flow, that of its velocity."""
    name, parts = _flow(ds, variables, axes)
    about = f"kinetic energy spectrum of {name}"
    unit = (_unit(list(parts.values())), 2)
    if len(parts) == 1:
        _refuse_other_than_plane(name, parts, axes)
        field = next(iter(parts.values()))
        term = Term((field,), "stream_energy")
        return [Job("kinetic_energy", (term,), (unit,), about, length=2)]
    terms = tuple(Term((part,)) for part in parts.values())
    return [Job("kinetic_energy", terms, (unit,), about, factor=0.5)]


def enstrophy(ds: xr.Dataset, variables: Names, axes: list[Axis]) -> list[Job]:
    """Half the squared vorticity, given or the curl of the velocity."""
    name, parts = _flow(ds, variables, axes)
    about = f"enstrophy spectrum of {name}"
    unit = (_unit(list(parts.values())), 2)
    if len(parts) == 1:
        term = Term((next(iter(parts.values())),))
        return [Job("enstrophy", (term,), (unit,), about, factor=0.5)]
    term = _curled(name, parts, axes, "curl_energy")
    return [Job("enstrophy", (term,), (unit,), about, length=-2)]


def kinetic_helicity(ds: xr.Dataset, variables: Names, axes: list[Axis]) -> list[Job]:
    """Velocity times vorticity."""
    return [_helicity(ds, variables, axes, "kinetic_helicity", "velocity", "helicity", -1)]


def current_helicity(ds: xr.Dataset, variables: Names, axes: list[Axis]) -> list[Job]:
    """Magnetic field times its curl."""
    return [_helicity(ds, variables, axes, "current_helicity", "magnetic_field", "helicity", -1)]


def magnetic_helicity(ds: xr.Dataset, variables: Names, axes: list[Axis]) -> list[Job]:
    """Magnetic field times the vector potential without divergence."""
    form = "potential_helicity"
    return [_helicity(ds, variables, axes, "magnetic_helicity", "magnetic_field", form, 1)]


def cross_helicity(ds: xr.Dataset, variables: Names, axes: list[Axis]) -> list[Job]:
    """Velocity times magnetic field."""
    names = _listed(variables, ("velocity", "magnetic_field"))
    if len(names) != 2:
        raise SchemaError(f"cross_helicity takes two vectors, got variables={names}")
    (job,) = cross_jobs(ds, (names[0], names[1]), axes, with_quadrature=False)
    about = f"cross helicity spectrum of {names[0]} and {names[1]}"
    return [Job("cross_helicity", job.terms, job.units, about)]


def transfer(ds: xr.Dataset, variables: Names, axes: list[Axis]) -> list[Job]:
    """Gain of kinetic energy from other wavenumbers by advection."""
    name, parts = _flow(ds, variables, axes)
    about = f"transfer of kinetic energy of {name}"
    unit = (_unit(list(parts.values())), 3)
    if len(parts) == 1:
        _refuse_other_than_plane(name, parts, axes)
        term = Term((next(iter(parts.values())),), "stream_transfer")
        return [Job("transfer", (term,), (unit,), about, length=2)]
    term = _curled(name, parts, axes, "transfer")
    return [Job("transfer", (term,), (unit,), about, length=-1)]


#: Name -> its results for (Dataset, variables, axes).
QUANTITIES: dict[str, Callable[[xr.Dataset, Names, list[Axis]], list[Job]]] = {
    "variance": variance,
    "energy": energy,
    "kinetic_energy": kinetic_energy,
    "enstrophy": enstrophy,
    "kinetic_helicity": kinetic_helicity,
    "current_helicity": current_helicity,
    "magnetic_helicity": magnetic_helicity,
    "cross_helicity": cross_helicity,
    "transfer": transfer,
}


def cross_jobs(
    ds: xr.Dataset, pair: tuple[Hashable, Hashable], axes: list[Axis], *, with_quadrature: bool
) -> list[Job]:
    """Co-spectrum (and quadrature spectrum) of two variables, or of two vectors.

    Parameters
    ----------
    ds : Dataset
        Where they are.
    pair : tuple of str
        Two names.
    axes : list of Axis
        Transformed axes.
    with_quadrature : bool
        Add the imaginary part.

    Returns
    -------
    list of Job
        One or two.
    """
    first, second = (next(iter(_chosen(ds, [name], axes).values())) for name in pair)
    if set(first) != set(second):
        raise SchemaError(
            f"cross= takes two variables or two vectors with the same components, got {pair[0]!r} "
            f"with {list(first)} and {pair[1]!r} with {list(second)}"
        )
    units = ((_unit(list(first.values())), 1), (_unit(list(second.values())), 1))
    forms = ["cospectrum", "quadrature"] if with_quadrature else ["cospectrum"]
    return [
        Job(
            f"{pair[0]}_{pair[1]}_{form}",
            tuple(Term((first[c], second[c]), form) for c in first),
            units,
            f"{form if form != 'quadrature' else 'quadrature spectrum'} of {pair[0]} and {pair[1]}",
        )
        for form in forms
    ]


# --- finding fields -------------------------------------------------------------------------


def _listed(variables: Names, default: Sequence[Hashable]) -> list[Hashable]:
    if variables is None:
        return list(default)
    return [variables] if isinstance(variables, str) else list(variables)


def _chosen(
    ds: xr.Dataset, variables: Names, axes: list[Axis]
) -> dict[Hashable, dict[str, xr.DataArray]]:
    """Name -> its components: of a vector, or "" for a variable."""
    needed = {a.name for a in axes}
    if variables is None:
        fit = [n for n, v in ds.data_vars.items() if is_real(v) and needed <= set(v.dims)]
        if not fit:
            raise SchemaError(f"no real variable has all of the dims {sorted(needed)}")
        found: dict[Hashable, dict[str, Hashable]] = {name: {"": name} for name in fit}
    else:
        names, known = _listed(variables, ()), vectors(ds)
        unknown = [n for n in names if n not in ds.data_vars and n not in known]
        if unknown or not names:
            raise UnknownNameError(
                f"expected variables out of {[*ds.data_vars, *known]}, got {unknown or names}"
            )
        found = {
            n: {"": n} if n in ds.data_vars else known[str(n)]  # a variable goes before a vector
            for n in names
        }
    return {
        name: {c: _checked(ds[part], needed) for c, part in parts.items()}
        for name, parts in found.items()
    }


def _checked(field: xr.DataArray, needed: set[str]) -> xr.DataArray:
    if not is_real(field) or not needed <= set(field.dims):
        raise SchemaError(
            f"expected real variables with dims {sorted(needed)}, got {field.name!r} with "
            f"{field.dims} and dtype {field.dtype}"
        )
    packed = {"scale_factor", "add_offset", "_FillValue", "missing_value"} & set(field.attrs)
    if packed:
        raise SchemaError(
            f"variable {field.name!r} is still packed or masked by attrs {sorted(packed)}: decode "
            "it with xr.decode_cf(ds)"
        )
    return field


def _flow(
    ds: xr.Dataset, variables: Names, axes: list[Axis]
) -> tuple[Hashable, dict[str, xr.DataArray]]:
    """Velocity by components, or the vorticity of a plane flow."""
    known = vectors(ds)
    default = ["velocity"] if "velocity" in known else [n for n in _VORTICITIES if n in ds][:1]
    names = _listed(variables, default)
    if len(names) != 1:
        raise SchemaError(
            f"expected one vector (a velocity) or one vorticity, got {names}: name it with "
            f"variables=, vectors are {list(known)}"
        )
    ((name, parts),) = _chosen(ds, names, axes).items()
    if len(parts) > 1 and not set(parts) <= set(_COMPONENTS):
        raise SchemaError(f"expected components x, y, z of {name!r}, got {list(parts)}")
    return name, parts


def _refuse_other_than_plane(
    name: Hashable, parts: dict[str, xr.DataArray], axes: list[Axis]
) -> None:
    _refuse_left_out(name, parts, axes)
    if len(axes) != 2:
        raise SchemaError(
            f"a velocity follows from the vorticity {name!r} in a plane only, got the axes "
            f"{[a.name for a in axes]}: give the velocity with variables="
        )


def _refuse_left_out(name: Hashable, parts: dict[str, xr.DataArray], axes: list[Axis]) -> None:
    """A derivative needs every axis along which the field varies."""
    first = next(iter(parts.values()))
    others = {d for d in spatial_dims(first) if first.sizes[d] > 1} - {a.name for a in axes}
    strange = {a.name for a in axes} - set(spatial_dims(first))
    if others or strange:
        raise SchemaError(
            f"derivatives of {name!r} need all of its spatial axes {list(spatial_dims(first))}, "
            f"got dims={[a.name for a in axes]}"
        )


def _curled(name: Hashable, parts: dict[str, xr.DataArray], axes: list[Axis], form: str) -> Term:
    _refuse_left_out(name, parts, axes)
    missing = {a.name for a in axes} - set(parts)
    if missing:
        raise SchemaError(
            f"vector {name!r} has no component {sorted(missing)}: found {list(parts)}"
        )
    places = {c: i for i, c in enumerate(parts)}
    x, y, z = (places.get(c, -1) for c in _COMPONENTS)
    return Term(tuple(parts.values()), form, (x, y, z))


def _helicity(
    ds: xr.Dataset,
    variables: Names,
    axes: list[Axis],
    quantity: str,
    vector: str,
    form: str,
    length: int,
) -> Job:
    names = _listed(variables, (vector,))
    if len(names) != 1:
        raise SchemaError(f"{quantity} takes one vector, got variables={names}")
    ((name, parts),) = _chosen(ds, names, axes).items()
    if set(parts) != set(_COMPONENTS):
        raise SchemaError(f"{quantity} needs the components x, y, z of {name!r}, got {list(parts)}")
    about = f"{quantity.replace('_', ' ')} spectrum of {name}"
    units = ((_unit(list(parts.values())), 2),)
    return Job(quantity, (_curled(name, parts, axes, form),), units, about, length=length)


def _unit(fields: list[xr.DataArray]) -> str | None:
    units = {str(f.attrs["units"]) if "units" in f.attrs else None for f in fields}
    if len(units) > 1:
        raise SchemaError(
            f"components {[str(f.name) for f in fields]} have different units "
            f"{sorted(map(str, units))}: convert them to one unit"
        )
    return next(iter(units))


def _label(field: xr.DataArray) -> str:
    return str(field.attrs.get("long_name") or field.name or "the field")
