"""Integrals over space: what the equations conserve, or let decay."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xphys._dims import lift
from xphys.errors import SchemaError, UnknownNameError
from xphys.fields import _kernels as kernels
from xphys.fields._axes import check_method, widths
from xphys.fields._catalog import Output
from xphys.fields._source import LackingError, Quantity, Settings, Source, products
from xphys.fields._table import evaluate
from xphys.fields._units import Unit
from xphys.schema import record, spatial_dims

__all__ = ["INTEGRALS", "invariants"]


@dataclass(frozen=True)
class _Cells:
    """Widths of the cells along each spatial dim.

    Attributes
    ----------
    lengths : dict of dim to DataArray
        float64.
    texts : dict of dim to str
        Where they come from.
    """

    lengths: Mapping[str, xr.DataArray]
    texts: Mapping[str, str]

    def sum(self, density: xr.DataArray) -> xr.DataArray:
        """Integral over the spatial dims, in float64: partial sums of chunks, then their sum."""
        total = density.astype(np.float64, copy=False)
        for dim in [d for d in self.lengths if d in density.dims]:
            weighted = total * self.lengths[dim].drop_vars(dim, errors="ignore")
            total = weighted.sum(dim, skipna=False)
        # A dim that the field does not have: it is the same all along it.
        for dim in [d for d in self.lengths if d not in density.dims]:
            total = total * self.lengths[dim].drop_vars(dim, errors="ignore").sum()
        return total

    def volume(self) -> xr.DataArray:
        """Product of the lengths of the box."""
        total = xr.DataArray(1.0)
        for lengths in self.lengths.values():
            total = total * lengths.drop_vars(list(lengths.coords)).sum()
        return total


def _mass(source: Source) -> dict[str, Output]:
    if "density" not in source.ds.data_vars:
        raise LackingError("mass needs a variable 'density', found none")
    density = source.variable("density")
    return {"mass": Output(density.values, density.unit, "mass")}


def _momentum(source: Source) -> dict[str, Output]:
    parts, density = source.vector("velocity"), source.density()
    found = {}
    for c, part in parts.items():
        unit = part.unit if density is None else part.times(density.unit)
        values = part.values if density is None else products([(1.0, part, density)])
        attrs = {"vector": "momentum", "component": c}
        found[f"momentum_{c}"] = Output(values, unit, f"{c} component of momentum", attrs)
    return found


def _kinetic_energy(source: Source) -> dict[str, Output]:
    if source.knows_vector("velocity"):
        return evaluate(source, "kinetic_energy")
    flow = evaluate(source, "velocity")
    parts = [Quantity(o.values, o.unit) for o in flow.values()]
    source.note("density taken as 1")
    energy = products((0.5, q, q) for q in parts)
    return {"kinetic_energy": Output(energy, parts[0].to(2), "kinetic energy density")}


def _total_energy(source: Source) -> dict[str, Output]:
    parts: list[Quantity] = []
    names = []
    for name in _ENERGIES:
        try:
            output = _ENERGIES[name](source)[name]
        except LackingError:
            continue
        parts.append(Quantity(output.values, output.unit))
        names.append(name)
    if not parts:
        raise LackingError("total energy needs a kinetic, magnetic or internal energy")
    unit = source.common(f"the energies {names}", [q.unit for q in parts])
    total = parts[0].values
    for part in parts[1:]:
        total = total + part.values
    source.note(f"sum of {', '.join(names)}")
    return {"total_energy": Output(total, unit, "total energy")}


def _from_table(name: str) -> Callable[[Source], dict[str, Output]]:
    return lambda source: evaluate(source, name)


_ENERGIES: dict[str, Callable[[Source], dict[str, Output]]] = {
    "kinetic_energy": _kinetic_energy,
    "magnetic_energy": _from_table("magnetic_energy"),
    "internal_energy": _from_table("internal_energy"),
}
# Name -> densities to integrate. A new invariant is a line here.
INTEGRALS: dict[str, Callable[[Source], dict[str, Output]]] = {
    "mass": _mass,
    "momentum": _momentum,
    **_ENERGIES,
    "total_energy": _total_energy,
    "enstrophy": _from_table("enstrophy"),
    "kinetic_helicity": _from_table("kinetic_helicity"),
    "cross_helicity": _from_table("cross_helicity"),
    "magnetic_helicity": _from_table("magnetic_helicity"),
}
_DIVERGENCES = ("magnetic_field", "velocity")


def invariants(
    ds: xr.Dataset,
    *,
    scalars: bool | Iterable[str] = False,
    method: str | Mapping[str, str] | None = None,
    order: int = 2,
    gamma: float | None = None,
    sound_speed: float | None = None,
) -> xr.Dataset:
    r"""Integrate conserved and decaying quantities over space, for each time and trajectory.

    :math:`\int f\,\mathrm{d}V \approx \sum_i f_i \Delta V_i` in float64 of what the data allow:
    ``mass``, ``momentum_x`` ..., ``kinetic_energy``, ``magnetic_energy``, ``internal_energy``,
    ``total_energy`` (the sum of those that exist), ``enstrophy``, ``kinetic_helicity``,
    ``cross_helicity``, ``magnetic_helicity``, as `xphys.fields.derive` defines their densities;
    ``volume``; and the largest values ``max_abs_divergence_magnetic_field`` and ``..._velocity``.
    A flow given by its ``vorticity`` alone on a periodic 2-D box is taken as incompressible
    with zero mean.

    Widths of cells are, in this order, those of CF bounds, of the period, quadrature weights on
    Chebyshev axes (exact for polynomials), the distances between midpoints of neighbours.

    Parameters
    ----------
    ds : Dataset
        Variables with attrs ``vector`` and ``component``; any chunks.
    scalars : bool or iterable of str
        Variables to add ``mean_<name>`` and ``mean_square_<name>`` of, weighted by volume; True
        for all real variables that are not part of a vector.
    method : {"spectral", "finite", "compact", "chebyshev"} or mapping of dim to one, optional
        How to differentiate, as in ``derive``. A field whose divergence vanishes on a staggered
        grid does so for no stencil on cell centres: state the one to compare with.
    order : {2, 4, 6}
        Order of finite differences.
    gamma : float, optional
        Ratio of specific heats, as in ``derive``.
    sound_speed : float, optional
        Isothermal sound speed, as in ``derive``.

    Returns
    -------
    Dataset
        float64, without the spatial dims; lazy where the inputs are. In a 1- or 2-D box "volume"
        is the length or area of it. Attribute ``volume_weights`` says where widths come from,
        ``absent`` is JSON of what the data do not allow and why. NaN gives NaN.

    Raises
    ------
    SchemaError
        If nothing can be computed, an axis or value is not valid, or units do not fit.
    UnknownNameError
        If a scalar is not a variable.

    Examples
    --------
    >>> x = xr.Variable("x", np.arange(4) / 4, {"period": 1.0})
    >>> ds = xr.Dataset({"density": ("x", [1.0, 2.0, 3.0, 2.0])}, coords={"x": x})
    >>> float(invariants(ds).mass)
    2.0
    """
    check_method(method, order)
    dims = spatial_dims(ds)
    if not dims:
        raise SchemaError(
            f"expected a spatial dim (z, y, x) to integrate over, got {list(ds.dims)}"
        )
    found_widths = {dim: widths(ds, dim) for dim in dims}
    cells = _Cells(
        {d: w for d, (w, _) in found_widths.items()}, {d: t for d, (_, t) in found_widths.items()}
    )
    source = Source(ds, Settings(method, order, gamma, sound_speed))
    chosen = _scalars(ds, scalars)
    absent: dict[str, str] = {}
    result: dict[str, xr.DataArray] = {}
    for name, function in INTEGRALS.items():
        own = source.fresh()
        try:
            outputs = function(own)
        except LackingError as error:
            absent[name] = str(error)
            continue
        volume = _volume_unit(own, dims)
        for key, output in outputs.items():
            result[key] = _labelled(own, output, cells.sum(output.values), volume)
    for vector in _DIVERGENCES:
        key = f"max_abs_divergence_{vector}"
        try:
            result[key] = _largest(source.fresh(), vector)
        except (LackingError, UnknownNameError) as error:
            absent[key] = str(error)
    if not result and not chosen:
        raise SchemaError(
            f"expected fields such as density, velocity or magnetic_field, found "
            f"{list(ds.data_vars)}: tag vectors, or use scalars=True"
        )
    result |= _moments(source, chosen, cells)
    own = source.fresh()
    size = Output(cells.volume(), _volume_unit(own, dims), "volume of the box")
    result["volume"] = _labelled(own, size, size.values, None, integral=False)
    return _finish(ds, result, cells, absent, scalars, source.settings)


def _finish(
    ds: xr.Dataset,
    result: Mapping[str, xr.DataArray],
    cells: _Cells,
    absent: Mapping[str, str],
    scalars: bool | Iterable[str],
    settings: Settings,
) -> xr.Dataset:
    kept = {
        name: c.variable
        for name, c in ds.coords.items()
        if not spatial_dims(c) and name not in result
    }
    attrs = {k: v for k, v in ds.attrs.items()}
    attrs["volume_weights"] = ", ".join(f"{d}: {t}" for d, t in cells.texts.items())
    attrs["absent"] = json.dumps(absent)
    plain = {name: v.drop_vars(list(v.coords)) for name, v in result.items()}
    labelled = xr.Dataset(plain, attrs=attrs)
    labelled = labelled.assign_coords(
        {name: c for name, c in kept.items() if set(c.dims) <= set(labelled.dims)}
    )
    given: dict[str, Any] = {
        "scalars": scalars if isinstance(scalars, bool) else list(scalars),
        "method": settings.method,
        "order": settings.order,
        "gamma": settings.gamma,
        "sound_speed": settings.sound_speed,
    }
    return record(labelled, "invariants", {k: v for k, v in given.items() if v is not None})


def _volume_unit(source: Source, dims: Sequence[str]) -> Unit | None:
    unit = source.length_unit(dims)
    return None if unit is None else unit ** len(dims)


def _labelled(
    source: Source,
    output: Output,
    values: xr.DataArray,
    volume: Unit | None,
    *,
    integral: bool = True,
) -> xr.DataArray:
    values = values.copy(deep=False)
    unit = output.unit
    if integral:
        unit = None if unit is None or volume is None else unit * volume
    long_name = output.long_name.removesuffix(" density")
    attrs: dict[str, Any] = {"long_name": long_name, **output.attrs}
    if source.methods:
        attrs["method"] = ", ".join(f"{d}: {t}" for d, t in source.methods.items())
    if source.notes:
        attrs["comment"] = "; ".join(source.notes)
    if (units := source.written(unit)) is not None:
        attrs["units"] = units
    values.attrs = attrs
    return values


def _largest(source: Source, vector: str) -> xr.DataArray:
    output = evaluate(source, f"divergence_{vector}")[f"divergence_{vector}"]
    size: xr.DataArray = lift(
        kernels.absolute, output.values, core_dims=[], output_dtypes=[np.float64]
    )
    largest = size.max(spatial_dims(size), skipna=False)
    named = Output(largest, output.unit, f"largest absolute {output.long_name}")
    return _labelled(source, named, largest, None, integral=False)


def _scalars(ds: xr.Dataset, scalars: bool | Iterable[str]) -> list[str]:
    if isinstance(scalars, bool):
        plain = (n for n, v in ds.data_vars.items() if "vector" not in v.attrs and spatial_dims(v))
        return [str(n) for n in plain if ds[n].dtype.kind in "fiu"] if scalars else []
    names = [scalars] if isinstance(scalars, str) else list(scalars)
    missing = [n for n in names if n not in ds.data_vars]
    if missing:
        raise UnknownNameError(f"expected variables out of {list(ds.data_vars)}, got {missing}")
    return names


def _moments(source: Source, names: Sequence[str], cells: _Cells) -> dict[str, xr.DataArray]:
    found = {}
    for name in names:
        own = source.fresh()
        field = own.variable(name)
        if not spatial_dims(field.values):
            raise SchemaError(f"variable {name!r} has no spatial dim to take a mean over")
        square = products([(1.0, field, field)])
        for key, values, unit, words in (
            (f"mean_{name}", field.values, field.unit, "mean"),
            (f"mean_square_{name}", square, field.to(2), "mean square"),
        ):
            output = Output(values, unit, f"{words} of {name}")
            mean = cells.sum(values) / cells.volume()
            found[key] = _labelled(own, output, mean, None, integral=False)
    return found
