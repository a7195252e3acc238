"""Fields made by differentiation: gradient, divergence, curl, strain, and what flows need."""

from __future__ import annotations

import xarray as xr

from xphys.errors import SchemaError
from xphys.fields._axes import periodic, walls, widths
from xphys.fields._catalog import Output, Outputs, components
from xphys.fields._potentials import CURL, inverse_curl, inverse_laplacian, through_flow
from xphys.fields._source import LackingError, Quantity, Source, linear, products, unknown
from xphys.fields._units import Unit
from xphys.fields._walls import Walls
from xphys.schema import Axis

__all__ = [
    "curl",
    "curl_of",
    "divergence",
    "enstrophy",
    "gradient",
    "kinetic_helicity",
    "plane_of",
    "potential_of",
    "q_criterion",
    "solve_streamfunction",
    "strain_rate",
    "tensor",
    "velocity",
    "vorticity",
    "vorticity_parts",
]

Parts = dict[str, Quantity]


def divergence(source: Source, subject: str | None, _: str | None) -> Outputs:
    """Divergence of one vector, or of each that is complete."""
    tags = {str(v.attrs["vector"]) for v in source.ds.data_vars.values() if "vector" in v.attrs}
    if subject is not None and subject not in tags:
        raise unknown(subject, tags, "a vector")
    found, lacking = {}, []
    for name in sorted(tags) if subject is None else [subject]:
        try:
            parts = source.vector(name)
        except LackingError as error:
            lacking.append(error)
            continue
        except SchemaError:
            if subject is None and _is_tensor(source, name):
                continue
            raise
        found[f"divergence_{name}"] = _divergence(source, name, parts)
    if not found:
        raise (
            lacking[0]
            if lacking
            else LackingError(
                "expected a vector, found none: tie variables to one with attrs "
                'vector="velocity", component="x"'
            )
        )
    return found


def _is_tensor(source: Source, name: str) -> bool:
    parts = [v.attrs for v in source.ds.data_vars.values() if v.attrs.get("vector") == name]
    return any(len(str(attrs.get("component", ""))) == 2 for attrs in parts)


def _divergence(source: Source, name: str, parts: Parts) -> Output:
    order = [*source.box(parts), *(c for c in parts if c not in source.box(parts))]
    found = [source.partial(parts[d], d) for d in order]
    terms = [part for part in found if part is not None]
    unit = source.common(f"the terms of the divergence of {name!r}", [t.unit for t in terms])
    total = linear((1.0, term) for term in terms)
    return Output(total, unit, f"divergence of {name}")


def gradient(source: Source, subject: str | None, _: str | None) -> Outputs:
    """Gradient of a variable (a vector) or of a vector (a tensor, ``ab`` = d_a v_b)."""
    subject = str(subject)
    name = f"gradient_{subject}"
    if subject in source.ds.data_vars:
        field = source.variable(subject)
        parts = {d: source.partial(field, d) for d in source.box({"": field})}
        if not parts:
            raise SchemaError(f"variable {subject!r} has no spatial dim to differentiate along")
        order = [d for d in "xyz" if d in parts]
        found = {d: p for d in order if (p := parts[d]) is not None}
        what = f"the gradient of {subject}"
    elif source.knows_vector(subject):
        found, what = tensor(source, source.vector(subject)), f"the gradient of {subject}"
    else:
        known = [*map(str, source.ds.data_vars), *_vector_names(source)]
        raise unknown(subject, known, "a variable or vector")
    return components(name, {c: (q.values, q.unit) for c, q in found.items()}, what)


def _vector_names(source: Source) -> set[str]:
    return {str(v.attrs["vector"]) for v in source.ds.data_vars.values() if "vector" in v.attrs}


def tensor(source: Source, parts: Parts) -> Parts:
    """All d_a v_b, by "ab", that are not 0 because nothing depends on a."""
    found = {}
    for a in "xyz":
        for b, part in parts.items():
            slope = source.partial(part, a)
            if slope is not None:
                found[a + b] = slope
    return found


def _zero(parts: Parts, unit: Unit | None) -> Quantity:
    return Quantity(linear([(0.0, next(iter(parts.values())))]), unit)


def strain_rate(source: Source, _: str | None, only: str | None) -> Outputs:
    """Symmetric part of the velocity gradient, six components or those of the plane."""
    parts = source.vector("velocity")
    slopes = tensor(source, parts)
    unit = source.common("velocity gradients", [q.unit for q in slopes.values()])
    found = {}
    for i, a in enumerate(parts):
        for b in list(parts)[i:]:
            halves = [(0.5, slopes[n]) for n in (a + b, b + a) if n in slopes]
            values = linear(halves) if halves else _zero(parts, unit).values
            found[a + b] = values, unit
    return components("strain_rate", found, "rate of strain")


def q_criterion(source: Source, _: str | None, only: str | None) -> Outputs:
    """Half of rotation rate squared minus strain rate squared."""
    parts = source.vector("velocity")
    slopes = tensor(source, parts)
    unit = source.common("velocity gradients", [q.unit for q in slopes.values()])
    pairs = [(n, n[::-1]) for n in slopes if n[::-1] in slopes and n <= n[::-1]]
    terms = [(-0.5 if a == b else -1.0, slopes[a], slopes[b]) for a, b in pairs]
    return {"q_criterion": Output(products(terms), unit and unit**2, "Q criterion")}


def curl(source: Source, name: str, only: str | None = None) -> Parts:
    """Right-handed curl: those components that the data determine.

    Raises
    ------
    LackingError
        If they determine none, or not the one asked for.
    """
    parts = source.vector(name)
    box = source.box(parts)
    found: Parts = {}
    for c, (a, b) in CURL.items():
        pairs = ((1.0, a, b), (-1.0, b, a))  # an unknown component along no axis hurts nothing
        if only not in (None, c) or any(d in box and e not in parts for _, d, e in pairs):
            continue
        slopes = [(sign, source.partial(parts[e], d)) for sign, d, e in pairs if e in parts]
        terms = [(sign, slope) for sign, slope in slopes if slope is not None]
        if terms:
            unit = source.common(f"the terms of the curl of {name!r}", [q.unit for _, q in terms])
            found[c] = Quantity(linear(terms), unit)
        elif len(parts) == 3:  # nothing varies across this component
            found[c] = _zero(parts, parts[c].over(source.length_unit(box)))
    if not found:
        raise LackingError(
            f"the {only + ' component of the ' if only else ''}curl of {name!r} needs more than "
            f"the components {list(parts)} on dims {box}"
        )
    return found


def curl_of(source: Source, subject: str | None, only: str | None) -> Outputs:
    """Curl of any vector."""
    name = str(subject)
    if not source.knows_vector(name):
        raise unknown(name, _vector_names(source), "a vector")
    found = curl(source, name, only)
    parts = {c: (q.values, q.unit) for c, q in found.items()}
    return components(f"curl_{name}", parts, f"the curl of {name}")


def plane_of(source: Source, parts: Parts) -> tuple[str, float] | None:
    """Normal of a 2-D box and the sign that turns a normal component into the plane's scalar.

    The scalar of the plane of axes a and b, in the order x, y, z, is d_a v_b - d_b v_a: the
    right-handed normal component in (x, y) and (y, z), minus it in (x, z).
    """
    box = source.box(parts)
    if len(box) != 2:
        return None
    normal = next(c for c in CURL if c not in box)
    return normal, -1.0 if normal == "y" else 1.0


def vorticity(source: Source, _: str | None, only: str | None) -> Outputs:
    """Curl of the velocity; one scalar for a flow in the plane of a 2-D box."""
    parts = source.vector("velocity")
    plane = plane_of(source, parts)
    if plane is None or only is not None or set(parts) != set(source.box(parts)):
        found = curl(source, "velocity", only)
        return components(
            "vorticity", {c: (q.values, q.unit) for c, q in found.items()}, "vorticity"
        )
    normal, sign = plane
    omega = curl(source, "velocity", normal)[normal]
    a, b = sorted(parts)
    if sign < 0:
        source.note(f"minus the {normal} component of the right-handed curl")
    values = linear([(sign, omega)])
    return {"vorticity": Output(values, omega.unit, f"vorticity dv_{b}/d{a} - dv_{a}/d{b}")}


def vorticity_parts(source: Source) -> Parts:
    """Right-handed vorticity: from the velocity, else from a stored vorticity.

    Raises
    ------
    LackingError
        If the data have neither.
    """
    if source.knows_vector("velocity"):
        return curl(source, "velocity")
    stored = source.tagged("vorticity")
    if stored:
        return stored
    if "vorticity" not in source.ds.data_vars:
        raise LackingError(
            "expected a vector 'velocity' or a stored vorticity, found neither: tie variables "
            'to one with attrs vector="velocity", component="x"'
        )
    scalar = source.variable("vorticity")
    plane = plane_of(source, {"": scalar})
    if plane is None:
        raise LackingError(
            "a stored scalar 'vorticity' needs a 2-D box; give components the attrs "
            'vector="vorticity", component="x"'
        )
    return {plane[0]: Quantity(linear([(plane[1], scalar)]), scalar.unit)}


def enstrophy(source: Source, _: str | None, only: str | None) -> Outputs:
    """Half the square of the vorticity."""
    parts = vorticity_parts(source)
    unit = source.common("vorticity", [q.unit for q in parts.values()])
    values = products((0.5, q, q) for q in parts.values())
    return {"enstrophy": Output(values, unit and unit**2, "enstrophy")}


def kinetic_helicity(source: Source, _: str | None, only: str | None) -> Outputs:
    """Velocity times vorticity."""
    parts = source.vector("velocity")
    if len(parts) < 3:
        raise LackingError(f"helicity needs three components of 'velocity', found {list(parts)}")
    omega = curl(source, "velocity")
    unit = parts["x"].times(omega["x"].unit)
    values = products((1.0, parts[c], omega[c]) for c in "xyz")
    return {"kinetic_helicity": Output(values, unit, "kinetic helicity density")}


def potential_of(source: Source, parts: Parts, what: str) -> Parts:
    """Inverse curl on a periodic box, with its unit.

    Raises
    ------
    LackingError
        If an axis is not periodic, or the data are a slice.
    """
    first = next(iter(parts.values()))
    dims = source.box(parts)
    for d in "xyz":
        if d not in dims:
            source.partial(first, d)  # refuses slices
    try:
        axes = [periodic(first.values, d, what) for d in dims]
    except SchemaError as error:
        raise LackingError(str(error)) from None
    length = source.length_unit(dims)
    unit = source.common(what, [q.unit for q in parts.values()])
    for d in dims:
        source.methods[d] = "spectral"
    arrays = xr.align(*(q.values for q in parts.values()), join="exact")
    found = inverse_curl(dict(zip(parts, arrays, strict=True)), axes)
    product = None if unit is None or length is None else unit * length
    return {c: Quantity(values, product) for c, values in found.items()}


def velocity(source: Source, _: str | None, only: str | None) -> Outputs:
    """Incompressible flow of zero mean with the stored vorticity."""
    if source.knows_vector("velocity"):
        raise SchemaError("the data have a velocity already: derive gives it from a vorticity")
    omega = vorticity_parts(source)
    found = potential_of(source, omega, "the velocity of a vorticity")
    source.note("flow of zero mean: a vorticity does not determine the mean")
    return components("velocity", {c: (q.values, q.unit) for c, q in found.items()}, "velocity")


def solve_streamfunction(source: Source, _: str | None, only: str | None) -> Outputs:
    """Streamfunction of the in-plane flow of a 2-D box, periodic or between walls."""
    what = "a streamfunction"
    moving = source.knows_vector("velocity")
    parts = source.vector("velocity") if moving else vorticity_parts(source)
    plane = plane_of(source, parts)
    if plane is None:
        raise LackingError(f"a streamfunction needs a 2-D box, found dims {source.box(parts)}")
    normal, sign = plane
    if not moving and normal not in parts:
        raise LackingError(f"a streamfunction needs the {normal} component of the vorticity")
    axes = _plane_axes(source, next(iter(parts.values())), what)
    if any(isinstance(along, Walls) for along in axes):
        return _between_walls(source, parts, axes, moving)
    if moving:
        inside = {c: q for c, q in parts.items() if c != normal}
        psi = potential_of(source, inside, what)[normal]
        source.note("of the divergence-free part of zero mean of the flow in the plane")
    else:
        omega = parts[normal]
        unit = potential_of(source, {normal: omega}, what)[axes[0].name].unit
        length = source.length_unit(source.box(parts))
        squared = None if unit is None or length is None else unit * length
        psi = Quantity(inverse_laplacian(omega.values, axes), squared)
        source.note("of the flow of zero mean")
    values = linear([(sign, psi)])
    return {"streamfunction": Output(values, psi.unit, "streamfunction")}


def _plane_axes(source: Source, first: Quantity, what: str) -> list[Axis | Walls]:
    """The two axes of a plane, each periodic or between walls.

    Raises
    ------
    LackingError
        If one is neither, or the data are a slice.
    """
    dims = source.box({"": first})
    for d in "xyz":
        if d not in dims:
            source.partial(first, d)  # refuses slices
    found: list[Axis | Walls] = []
    for d in dims:
        try:
            found.append(periodic(first.values, d, what))
        except SchemaError:
            try:
                found.append(walls(source.ds, first.values, d, what))
            except SchemaError as error:
                raise LackingError(str(error)) from None
    return found


def _between_walls(source: Source, parts: Parts, axes: list[Axis | Walls], moving: bool) -> Outputs:
    """Minus the inverse Laplacian of the vorticity, constant on each wall."""
    normal, sign = plane_of(source, parts) or ("", 1.0)
    omega = curl(source, "velocity", normal)[normal] if moving else parts[normal]
    length = source.length_unit(source.box(parts))
    unit = None if omega.unit is None or length is None else omega.unit * length * length
    terms = [(sign, Quantity(inverse_laplacian(omega.values, axes), unit))]
    closed = [along for along in axes if isinstance(along, Walls)]
    repeating = [along for along in axes if isinstance(along, Axis)]
    for along in axes:
        derived = f"{source.methods[along.name]}; " if along.name in source.methods else ""
        text = f"{along.text} between walls" if isinstance(along, Walls) else "spectral"
        source.methods[along.name] = text if derived == f"{text}; " else derived + text
    note = "no flow through the walls; streamfunction 0 on "
    if moving and repeating:
        (wall,), (along,) = closed, repeating
        lengths, _ = widths(source.ds, wall.name)
        flow = through_flow(parts[along.name].values, wall, lengths.values, along)
        # u_a = d_b psi, u_b = -d_a psi for axes a before b
        direction = 1.0 if along.name < wall.name else -1.0
        terms.append((direction, Quantity(flow, unit)))
        source.note(f"{note}the first wall, the flow between both on the second")
    else:
        source.note(f"{note}them" + (": no net flow along them" if repeating else ""))
    return {"streamfunction": Output(linear(terms), unit, "streamfunction")}
