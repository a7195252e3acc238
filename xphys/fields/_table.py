"""The derived fields that xphys knows, one line each."""

from __future__ import annotations

from xphys.errors import SchemaError, UnknownNameError
from xphys.fields import _flow as flow
from xphys.fields import _state as state
from xphys.fields._catalog import Field, Outputs
from xphys.fields._source import Source

__all__ = ["FIELDS", "evaluate", "find"]

_LINES = (
    Field("divergence", "any vector", "sum_i d_i v_i", flow.divergence, "optional"),
    Field("gradient", "a variable or vector", "d_a f; d_a v_b", flow.gradient, "required"),
    Field("curl", "a vector", "eps_abc d_b v_c", flow.curl_of, "required", True),
    Field("vorticity", "velocity", "curl u", flow.vorticity, "", True),
    Field("strain_rate", "velocity", "(d_a u_b + d_b u_a)/2", flow.strain_rate),
    Field("q_criterion", "velocity", "-(d_a u_b)(d_b u_a)/2", flow.q_criterion),
    Field("enstrophy", "velocity or vorticity", "|curl u|^2/2", flow.enstrophy),
    Field("kinetic_helicity", "velocity", "u . curl u", flow.kinetic_helicity),
    Field("streamfunction", "velocity or vorticity", "-lap psi = omega", flow.solve_streamfunction),
    Field("velocity", "vorticity", "curl u = omega, div u = 0", flow.velocity, "", True),
    Field("kinetic_energy", "velocity, density", "rho u^2/2", state.kinetic_energy),
    Field("magnetic_energy", "magnetic_field", "B^2/2", state.magnetic_energy),
    Field("internal_energy", "pressure, gamma", "p/(gamma - 1)", state.internal_energy),
    Field("current_density", "magnetic_field", "curl B", state.current_density, "", True),
    Field("vector_potential", "magnetic_field", "curl A = B", state.vector_potential, "", True),
    Field("magnetic_helicity", "magnetic_field", "A . B", state.magnetic_helicity),
    Field("cross_helicity", "velocity, magnetic_field", "u . B", state.cross_helicity),
    Field("elsasser", "velocity, magnetic_field, density", "both of them", state.elsasser),
    Field(
        "elsasser_plus",
        "velocity, magnetic_field, density",
        "u + B/rho^(1/2)",
        state.elsasser_plus,
        "",
        True,
    ),
    Field(
        "elsasser_minus",
        "velocity, magnetic_field, density",
        "u - B/rho^(1/2)",
        state.elsasser_minus,
        "",
        True,
    ),
    Field("pressure", "internal_energy and gamma; density and sound_speed", "p", state.pressure),
    Field("temperature", "pressure as above, density", "p/rho", state.temperature),
    Field(
        "sound_speed",
        "pressure as above, density, gamma; or sound_speed",
        "(gamma p/rho)^(1/2)",
        state.sound_speed,
    ),
    Field("mach", "velocity, sound speed as above", "|u|/c", state.mach),
    Field("alfven_speed", "magnetic_field, density", "|B|/rho^(1/2)", state.alfven_speed),
    Field("mach_alfven", "velocity, magnetic_field, density", "|u|/v_A", state.mach_alfven),
    Field("plasma_beta", "pressure as above, magnetic_field", "2 p/B^2", state.plasma_beta),
)

# What derive() knows. A new field is a function and a line here.
FIELDS = {line.name: line for line in _LINES}


def _shown() -> list[str]:
    return sorted(
        f"{f.name}_<name>" if f.subject == "required" else f.name for f in FIELDS.values()
    )


def find(name: str) -> tuple[Field, str | None, str | None]:
    """Split a name into a line of the table, its subject and its component.

    Raises
    ------
    UnknownNameError
        If no line fits.
    """
    field = FIELDS.get(name) if isinstance(name, str) else None
    if field is not None and field.subject != "required":
        return field, None, None
    for line in FIELDS.values() if isinstance(name, str) else ():
        rest = name[len(line.name) + 1 :]
        if not name.startswith(f"{line.name}_") or not rest:
            continue
        if line.subject and line.vector and rest[-2:] in ("_x", "_y", "_z"):
            return line, rest[:-2], rest[-1]
        if line.subject:
            return line, rest, None
        if line.vector and rest in "xyz":
            return line, None, rest
    raise UnknownNameError(f"expected derived fields out of {_shown()}, got {name!r}")


def evaluate(source: Source, name: str) -> Outputs:
    """Compute the fields of one name.

    Raises
    ------
    UnknownNameError
        If the name is not known.
    SchemaError
        If the data do not give the field.
    """
    field, subject, component = find(name)
    outputs = field.function(source, subject, component)
    if component is None:
        return outputs
    chosen = {key: o for key, o in outputs.items() if o.attrs.get("component") == component}
    if not chosen:
        raise SchemaError(f"expected {name!r} out of {sorted(outputs)}: the data do not give it")
    return chosen
