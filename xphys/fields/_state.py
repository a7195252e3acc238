"""Fields without derivatives: energies, equation of state, speeds, Elsasser fields."""

from __future__ import annotations

from fractions import Fraction

from xphys.errors import SchemaError
from xphys.fields import _kernels as kernels
from xphys.fields._catalog import Output, Outputs, components
from xphys.fields._flow import Parts, curl, potential_of
from xphys.fields._source import LackingError, Quantity, Source, linear, pointwise, products
from xphys.fields._units import ONE

__all__ = [
    "alfven_speed",
    "cross_helicity",
    "current_density",
    "elsasser",
    "elsasser_minus",
    "elsasser_plus",
    "internal_energy",
    "kinetic_energy",
    "mach",
    "mach_alfven",
    "magnetic_energy",
    "magnetic_helicity",
    "plasma_beta",
    "pressure",
    "sound_speed",
    "temperature",
    "vector_potential",
]

_HALF = Fraction(1, 2)


def _square(parts: Parts, factor: float = 1.0) -> Quantity:
    first = next(iter(parts.values()))
    return Quantity(products((factor, q, q) for q in parts.values()), first.to(2))


def _root(quantity: Quantity) -> Quantity:
    values = pointwise(kernels.power, [quantity.values], exponent=0.5)
    return Quantity(values, quantity.to(_HALF))


def _quotient(above: Quantity, below: Quantity) -> Quantity:
    values = pointwise(kernels.divide, [above.values, below.values])
    return Quantity(values, above.over(below.unit))


def _ratio(above: Quantity, below: Quantity, what: str) -> Quantity:
    """A quotient that must have no unit."""
    found = _quotient(above, below)
    if found.unit is not None and not found.unit.same(ONE):
        raise SchemaError(
            f"{what} must be dimensionless, but the units give {str(found.unit)!r}: convert to "
            "units in which magnetic pressure is B**2/2"
        )
    return Quantity(found.values, None if found.unit is None else ONE)


def _density(source: Source, what: str) -> Quantity:
    if "density" not in source.ds.data_vars:
        raise LackingError(f"{what} needs a variable 'density', found none")
    return source.variable("density")


def kinetic_energy(source: Source, _: str | None, only: str | None) -> Outputs:
    """Half of density times velocity squared."""
    square = _square(source.vector("velocity"), 0.5)
    density = source.density()
    if density is not None:
        values = products([(1.0, square, density)])
        square = Quantity(values, square.times(density.unit))
    return {"kinetic_energy": Output(square.values, square.unit, "kinetic energy density")}


def magnetic_energy(source: Source, _: str | None, only: str | None) -> Outputs:
    """Half of the magnetic field squared."""
    square = _square(source.vector("magnetic_field"), 0.5)
    return {"magnetic_energy": Output(square.values, square.unit, "magnetic energy density")}


def current_density(source: Source, _: str | None, only: str | None) -> Outputs:
    """Curl of the magnetic field."""
    found = curl(source, "magnetic_field", only)
    parts = {c: (q.values, q.unit) for c, q in found.items()}
    return components("current_density", parts, "current density")


def vector_potential(source: Source, _: str | None, only: str | None) -> Outputs:
    """Coulomb gauge, of the fluctuating field."""
    found = potential_of(source, source.vector("magnetic_field"), "a vector potential")
    source.note("Coulomb gauge; of the divergence-free field without its mean")
    parts = {c: (q.values, q.unit) for c, q in found.items()}
    return components("vector_potential", parts, "vector potential")


def magnetic_helicity(source: Source, _: str | None, only: str | None) -> Outputs:
    """Vector potential times magnetic field."""
    field = source.vector("magnetic_field")
    if len(field) < 3:
        raise LackingError(f"helicity needs three components of 'magnetic_field', not {len(field)}")
    potential = potential_of(source, field, "magnetic helicity")
    shared = [c for c in field if c in potential]
    unit = potential[shared[0]].times(field["x"].unit)
    source.note("Coulomb gauge; the potential is that of the field without its mean")
    values = products((1.0, potential[c], field[c]) for c in shared)
    return {"magnetic_helicity": Output(values, unit, "magnetic helicity density")}


def _both(source: Source) -> tuple[Parts, Parts]:
    velocity, field = source.vector("velocity"), source.vector("magnetic_field")
    if set(velocity) != set(field):
        raise LackingError(
            f"expected the same components of both, found {list(velocity)} of 'velocity' and "
            f"{list(field)} of 'magnetic_field'"
        )
    return velocity, field


def cross_helicity(source: Source, _: str | None, only: str | None) -> Outputs:
    """Velocity times magnetic field."""
    velocity, field = _both(source)
    first = next(iter(velocity))
    values = products((1.0, velocity[c], field[c]) for c in velocity)
    unit = velocity[first].times(field[first].unit)
    return {"cross_helicity": Output(values, unit, "cross helicity density")}


def _elsasser(source: Source, name: str, sign: float, only: str | None) -> Outputs:
    velocity, field = _both(source)
    density = source.density()
    root = None if density is None else _root(density)
    found = {}
    for c in velocity if only is None else [only]:
        if c not in velocity:
            raise LackingError(f"expected a component out of {list(velocity)}, got {c!r}")
        alfven = field[c] if root is None else _quotient(field[c], root)
        units = [velocity[c].unit, alfven.unit]
        unit = source.common("velocity and magnetic field over root of density", units)
        found[c] = linear([(1.0, velocity[c]), (sign, alfven)]), unit
    words = f"Elsasser field velocity {'+' if sign > 0 else '-'} Alfven velocity"
    return components(name, found, words)


def elsasser_plus(source: Source, _: str | None, only: str | None) -> Outputs:
    """Velocity plus Alfven velocity."""
    return _elsasser(source, "elsasser_plus", 1.0, only)


def elsasser_minus(source: Source, _: str | None, only: str | None) -> Outputs:
    """Velocity minus Alfven velocity."""
    return _elsasser(source, "elsasser_minus", -1.0, only)


def elsasser(source: Source, _: str | None, only: str | None) -> Outputs:
    """Both Elsasser fields."""
    return elsasser_plus(source, None, None) | elsasser_minus(source, None, None)


def _isothermal(source: Source) -> Quantity | None:
    return source.constant("sound_speed", source.settings.sound_speed)


def _gamma(source: Source, what: str) -> Quantity:
    gamma = source.constant("gamma", source.settings.gamma)
    if gamma is None:
        raise LackingError(f"{what} needs the ratio of specific heats: give gamma=")
    return gamma


def _ideal(source: Source) -> bool:
    """True where the pressure does not follow from a sound speed alone."""
    stored = {"pressure", "internal_energy"} & {str(n) for n in source.ds.data_vars}
    return bool(stored) and source.settings.sound_speed is None


def find_pressure(source: Source) -> Quantity:
    """Pressure: stored, or from internal energy, or from density and isothermal sound speed.

    Raises
    ------
    LackingError
        If the data do not determine it.
    """
    if _ideal(source):
        if "pressure" in source.ds.data_vars:
            return source.variable("pressure")
        energy = source.variable("internal_energy")
        gamma = _gamma(source, "the pressure of an internal energy")
        values = pointwise(kernels.ideal_pressure, [energy.values, gamma.values])
        return Quantity(values, energy.unit)
    speed = _isothermal(source)
    if speed is None:
        raise LackingError(
            "pressure needs a variable 'pressure', or 'internal_energy' with gamma=, or "
            "'density' with an isothermal sound_speed=; found none of them"
        )
    density = _density(source, "isothermal pressure")
    values = products([(1.0, density, _square({"": speed}))])
    return Quantity(values, density.times(speed.to(2)))


def pressure(source: Source, _: str | None, only: str | None) -> Outputs:
    """Gas pressure."""
    found = find_pressure(source)
    return {"pressure": Output(linear([(1.0, found)]), found.unit, "pressure")}


def internal_energy(source: Source, _: str | None, only: str | None) -> Outputs:
    """Internal energy density of an ideal gas."""
    if "internal_energy" in source.ds.data_vars:
        found = source.variable("internal_energy")
    elif "pressure" in source.ds.data_vars:
        stored, gamma = source.variable("pressure"), _gamma(source, "internal energy")
        values = pointwise(kernels.ideal_energy, [stored.values, gamma.values])
        found = Quantity(values, stored.unit)
    else:
        raise LackingError("internal energy needs 'internal_energy', or 'pressure' with gamma=")
    values = linear([(1.0, found)])
    return {"internal_energy": Output(values, found.unit, "internal energy density")}


def temperature(source: Source, _: str | None, only: str | None) -> Outputs:
    """Pressure over density."""
    found = _quotient(find_pressure(source), _density(source, "temperature"))
    source.note("pressure over density: in units in which the gas constant is 1")
    return {"temperature": Output(found.values, found.unit, "temperature")}


def find_sound_speed(source: Source) -> Quantity:
    """Speed of sound, adiabatic or isothermal.

    Raises
    ------
    LackingError
        If the data do not determine it.
    """
    speed = None if _ideal(source) else _isothermal(source)
    if speed is not None:
        return speed
    gamma = _gamma(source, "the speed of sound")
    stiffness = products([(1.0, find_pressure(source), gamma)])
    unit = find_pressure(source).unit
    density = _density(source, "the speed of sound")
    return _root(_quotient(Quantity(stiffness, unit), density))


def sound_speed(source: Source, _: str | None, only: str | None) -> Outputs:
    """Speed of sound."""
    found = find_sound_speed(source)
    return {"sound_speed": Output(linear([(1.0, found)]), found.unit, "sound speed")}


def mach(source: Source, _: str | None, only: str | None) -> Outputs:
    """Speed over speed of sound."""
    speed = _root(_square(source.vector("velocity")))
    found = _ratio(speed, find_sound_speed(source), "the Mach number")
    return {"mach": Output(found.values, found.unit, "Mach number")}


def find_alfven_speed(source: Source) -> Quantity:
    """Magnetic field over the root of the density."""
    strength = _root(_square(source.vector("magnetic_field")))
    density = source.density()
    return strength if density is None else _quotient(strength, _root(density))


def alfven_speed(source: Source, _: str | None, only: str | None) -> Outputs:
    """Alfven speed."""
    found = find_alfven_speed(source)
    return {"alfven_speed": Output(found.values, found.unit, "Alfven speed")}


def mach_alfven(source: Source, _: str | None, only: str | None) -> Outputs:
    """Speed over Alfven speed."""
    speed = _root(_square(source.vector("velocity")))
    found = _ratio(speed, find_alfven_speed(source), "the Alfven Mach number")
    return {"mach_alfven": Output(found.values, found.unit, "Alfven Mach number")}


def plasma_beta(source: Source, _: str | None, only: str | None) -> Outputs:
    """Gas pressure over magnetic pressure."""
    magnetic = _square(source.vector("magnetic_field"), 0.5)
    found = _ratio(find_pressure(source), magnetic, "plasma beta")
    return {"plasma_beta": Output(found.values, found.unit, "plasma beta")}
