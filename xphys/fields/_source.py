"""What derived fields are made from: checked variables with units, vectors, derivatives."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np
import xarray as xr

from xphys._dims import lift
from xphys.errors import SchemaError, UnknownNameError
from xphys.fields import _kernels as kernels
from xphys.fields._axes import Calculus, calculus, derivative
from xphys.fields._units import ONE, Unit, parse
from xphys.schema import SPATIAL_DIMS, spatial_dims

__all__ = ["LackingError", "Quantity", "Settings", "Source", "linear", "products"]

# Attributes of values that are still coded, or hold a fill value.
_PACKED = ("scale_factor", "add_offset", "_FillValue", "missing_value")


class LackingError(SchemaError):
    """The data have not what a field needs, as opposed to something wrong in them."""


@dataclass(frozen=True)
class Settings:
    """How to differentiate, and constants of the equation of state.

    Attributes
    ----------
    method : str, mapping of dim to str, or None
        See `xphys.fields.derive`.
    order : int
        Order of finite differences.
    gamma, sound_speed : float or None
        Ratio of specific heats; isothermal sound speed.
    """

    method: str | Mapping[str, str] | None = None
    order: int = 2
    gamma: float | None = None
    sound_speed: float | None = None


@dataclass(frozen=True)
class Quantity:
    """A field with its unit; None where that is not known.

    Attributes
    ----------
    values : DataArray
        Real values.
    unit : Unit or None
        Power product.
    name : str or None
        Of the variable in the Dataset; None for what was computed.
    """

    values: xr.DataArray
    unit: Unit | None = None
    name: Hashable | None = None

    def times(self, other: Unit | None) -> Unit | None:
        """Unit of a product with another quantity."""
        return None if self.unit is None or other is None else self.unit * other

    def over(self, other: Unit | None) -> Unit | None:
        """Unit of a quotient by another quantity."""
        return None if self.unit is None or other is None else self.unit / other

    def to(self, exponent: int | Fraction) -> Unit | None:
        """Unit of a power."""
        return None if self.unit is None else self.unit**exponent


def pointwise(
    kernel: Callable[..., Any], arrays: Sequence[xr.DataArray], **options: Any
) -> xr.DataArray:
    """Run a kernel of pointwise arithmetic; dims are broadcast in the order of the first."""
    result: xr.DataArray = lift(
        kernel, *arrays, core_dims=[], output_dtypes=[np.float64], kwargs=options
    )
    return result


def products(terms: Iterable[tuple[float, Quantity, Quantity]]) -> xr.DataArray:
    """Sum of products of pairs of quantities."""
    listed = list(terms)
    arrays = [q.values for _, a, b in listed for q in (a, b)]
    return pointwise(kernels.products, arrays, factors=tuple(f for f, _, _ in listed))


def linear(terms: Iterable[tuple[float, Quantity]]) -> xr.DataArray:
    """Sum of quantities with factors."""
    listed = list(terms)
    return pointwise(
        kernels.linear, [q.values for _, q in listed], factors=tuple(f for f, _ in listed)
    )


@dataclass
class Source:
    """Access to a Dataset that checks what it gives and remembers what was used.

    Attributes
    ----------
    ds : Dataset
        The data.
    settings : Settings
        How to differentiate; equation of state.
    methods : dict
        Dim -> words for the derivatives taken so far.
    notes : list of str
        What a reader of the result must know.
    dtypes : list
        Of the variables used so far.
    dims : list of str
        Theirs, in the order in which they came.
    """

    ds: xr.Dataset
    settings: Settings
    methods: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    dtypes: list[np.dtype[Any]] = field(default_factory=list)
    dims: list[Hashable] = field(default_factory=list)
    _partials: dict[tuple[Hashable, str], tuple[xr.DataArray, Calculus]] = field(
        default_factory=dict
    )

    def fresh(self) -> Source:
        """One with an empty memory for the next field; derivatives are shared."""
        return replace(self, methods={}, notes=[], dtypes=[], dims=[])

    def note(self, text: str) -> None:
        """Remember a sentence for the attribute ``comment``."""
        if text not in self.notes:
            self.notes.append(text)

    def variable(self, name: Hashable) -> Quantity:
        """A variable of real numbers.

        Raises
        ------
        LackingError
            If there is none of this name.
        SchemaError
            If its values are not real numbers, are packed, or there are none.
        """
        if name not in self.ds.variables:
            raise LackingError(f"expected a variable {name!r}, found {list(self.ds.data_vars)}")
        array = self.ds[name]
        if array.dtype.kind not in "fiu":
            raise SchemaError(
                f"variable {name!r} has dtype {array.dtype}: expected real numbers; use .real, "
                '.imag or .astype("float64")'
            )
        coded = sorted(set(_PACKED) & set(array.attrs))
        if coded:
            raise SchemaError(
                f"variable {name!r} has attributes {coded}: its values are not decoded; use "
                "ds = xr.decode_cf(ds)"
            )
        empty = [str(d) for d, n in array.sizes.items() if n == 0]
        if empty:
            raise SchemaError(f"variable {name!r} is empty: dims {empty} have size 0")
        self.dtypes.append(array.dtype)
        self.dims.extend(d for d in array.dims if d not in self.dims)
        return Quantity(array, _unit(array.attrs.get("units")), name)

    def tagged(self, name: str) -> dict[str, Quantity]:
        """Components of a vector that exist, by "x", "y", "z"; none of them is missed.

        Raises
        ------
        SchemaError
            If components are given twice, are not Cartesian, or differ in dims or units.
        """
        parts: dict[str, Hashable] = {}
        for key, variable in self.ds.data_vars.items():
            if variable.attrs.get("vector") != name or "component" not in variable.attrs:
                continue
            component = str(variable.attrs["component"])
            if component in parts:
                raise SchemaError(
                    f"{parts[component]!r} and {key!r} are both component {component!r} of "
                    f"{name!r}: drop one with .drop_vars"
                )
            parts[component] = key
        unknown = sorted(set(parts) - set("xyz"))
        if unknown:
            raise SchemaError(f"{name!r} has components {unknown}: expected Cartesian x, y, z")
        found = {c: self.variable(parts[c]) for c in sorted(parts)}
        if found:
            self._agree(name, found)
        return found

    def vector(self, name: str) -> dict[str, Quantity]:
        """Components of a vector that has one along every spatial dim of its variables.

        Raises
        ------
        LackingError
            If the vector or one of its components is not there.
        SchemaError
            If components are given twice, are not Cartesian, or differ in dims or units.
        """
        found = self.tagged(name)
        box = self.box(found)
        lacking = sorted(set(box) - set(found)) or ([] if box else ["a spatial dim"])
        if not found:
            raise LackingError(
                f"expected a vector {name!r}, found none: tie its components with attrs "
                f'vector="{name}", component="x"'
            )
        if lacking:
            raise LackingError(
                "expected a vector with a component along each spatial dim; missing: "
                f'{ {name: lacking} }. Tie variables to one with attrs vector="{name}", '
                'component="x"'
            )
        return found

    def _agree(self, name: str, parts: Mapping[str, Quantity]) -> None:
        first = next(iter(parts.values())).values
        for part in parts.values():
            if set(part.values.dims) != set(first.dims):
                raise SchemaError(
                    f"components of {name!r} differ in dims: {first.name!r} has {first.dims}, "
                    f"{part.values.name!r} has {part.values.dims}"
                )
        self.common(f"components of {name!r}", [q.unit for q in parts.values()])

    @staticmethod
    def common(what: str, units: Iterable[Unit | None]) -> Unit | None:
        """Unit that all share; None if one is not known.

        Raises
        ------
        SchemaError
            If two known ones differ.
        """
        listed = list(units)
        known = [u for u in listed if u is not None]
        for unit in known:
            if not unit.same(known[0]):
                shown = sorted({str(u) for u in known})
                raise SchemaError(f"{what} have different units {shown}: convert them to one")
        return known[0] if len(known) == len(listed) else None

    def box(self, parts: Mapping[str, Quantity]) -> tuple[str, ...]:
        """Spatial dims of a set of quantities, in the order z, y, x."""
        found = {d for q in parts.values() for d in spatial_dims(q.values)}
        return tuple(d for d in SPATIAL_DIMS if d in found)

    def partial(self, quantity: Quantity, dim: str) -> Quantity | None:
        """Derivative along one dim; None (that is 0) along a dim that the data do not have.

        Raises
        ------
        SchemaError
            If the axis cannot be differentiated along, or the data are a slice across it.
        """
        values = quantity.values
        if dim not in values.dims:
            if dim in self.ds.coords and self.ds.coords[dim].ndim == 0:
                raise LackingError(
                    f"the data are a slice at one {dim!r}: derivatives along it are not known; "
                    f"if nothing depends on {dim!r}, drop it with .drop_vars({dim!r}); or ask for "
                    "the one component of a curl that needs none"
                )
            return None
        kept = self._partials.get((quantity.name, dim))
        if kept is None or quantity.name is None:
            how = calculus(values, dim, self.settings.method, self.settings.order)
            kept = derivative(values, how), how
            self._partials[quantity.name, dim] = kept
        self.methods[dim] = kept[1].text
        length = _unit(self.ds.coords[dim].attrs.get("units"))
        return Quantity(kept[0], quantity.over(length))

    def length_unit(self, dims: Iterable[str]) -> Unit | None:
        """Common unit of the positions along some dims."""
        units = [_unit(self.ds.coords[d].attrs.get("units")) for d in dims]
        return self.common("the positions", units) if units else ONE

    def density(self) -> Quantity | None:
        """Mass density; None (that is 1) where the data have none."""
        if "density" not in self.ds.data_vars:
            self.note("density taken as 1, because the data have none")
            return None
        return self.variable("density")

    def constant(self, name: str, given: float | None) -> Quantity | None:
        """A parameter: the argument, else a coordinate without spatial dims, else an attribute.

        Raises
        ------
        SchemaError
            If it is not a positive number.
        """
        if given is not None:
            return Quantity(xr.DataArray(_positive(name, given)), ONE if name == "gamma" else None)
        if name in self.ds.coords and not spatial_dims(self.ds[name]):
            kept = list(self.dtypes)
            found = self.variable(name)
            self.dtypes[:] = kept  # a float64 parameter does not make a field float64
            unit = ONE if name == "gamma" else found.unit
            return Quantity(found.values.reset_coords(drop=True), unit)
        if name in self.ds.attrs:
            return Quantity(xr.DataArray(_positive(name, self.ds.attrs[name])), ONE)
        return None

    def written(self, unit: Unit | None) -> str | None:
        """Units of a result: where they are not known, "1" if the data state no other at all."""
        if unit is not None:
            return str(unit)
        fields = [*self.ds.data_vars.values(), *(self.ds[d] for d in spatial_dims(self.ds))]
        stated = {str(v.attrs["units"]) for v in fields if "units" in v.attrs}
        return None if any(parse(text).powers for text in stated) else "1"

    def knows_vector(self, name: str) -> bool:
        """True if a variable is tagged as part of the vector."""
        return any(v.attrs.get("vector") == name for v in self.ds.data_vars.values())


def _unit(text: Any) -> Unit | None:
    return None if text is None else parse(str(text))


def _positive(name: str, value: Any) -> float:
    number = float("nan")
    with contextlib.suppress(TypeError, ValueError):
        number = float(value)
    if not 0 < number < np.inf:
        raise SchemaError(f"expected a positive number for {name}, got {value!r}")
    return number


def unknown(name: str, known: Iterable[str], what: str) -> UnknownNameError:
    """An error that lists what is known."""
    return UnknownNameError(f"expected {what} out of {sorted(known)}, got {name!r}")
