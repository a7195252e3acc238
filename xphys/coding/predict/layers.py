"""What can be told from what in a layer between two walls."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations

import numpy as np
from scipy import fft

from xphys.coding.predict.carry import wall_values
from xphys.coding.predict.fit import gram_of_layer, solve_bands, space_of
from xphys.coding.predict.grid import Grid
from xphys.coding.predict.identities import likely_curls
from xphys.coding.predict.plan import CARRIED, WALLS, Step, Term, needed_by
from xphys.coding.predict.saving import bits_of_modes
from xphys.coding.predict.walls import Layer, vorticity

__all__ = ["find_in_layer"]

# A pressure is worth predicting if this share of its variance at most is left.
_LEFT_OF_PRESSURE = 0.3
_MOST_VARIABLES = 12
_DIVERGENCE = 0.02  # of a flow, as a share of its derivatives
_WORTH = 0.02  # share of the bits that likeness must save


def find_in_layer(
    fields: Mapping[str, np.ndarray],
    squares: Mapping[str, float],
    grid: Grid,
    found: dict[str, Step],
) -> None:
    """Add velocities that a vorticity tells, the pressure that the flow and a force tell, and
    what is like another variable in the bands of wavenumbers along the layer.
    """
    names = [name for name in fields if name not in found][:_MOST_VARIABLES]
    if len(names) < 2:
        return
    axes, lengths = space_of(grid)
    layer = Layer(fields[names[0]].shape, *axes, *lengths)
    if not layer.fits:
        return
    slopes = {n: vorticity(layer, fields[n], fields[n]) for n in names}
    along = {n: s[0] for n, s in slopes.items()}
    across = {n: s[1] for n, s in slopes.items()}
    curls = likely_curls(np.ones(()), {n: fields[n] for n in names}, along, across)
    flow = _flow(along, across)
    others = names
    if curls:
        source, w, u = curls[0]
        flow = u, w
        found[u] = Step(u, WALLS, (Term((source,), "u"),))
        found[w] = Step(w, WALLS, (Term((source,), "w"),))
        others = [n for n in names if n not in (u, w, source)]
        _find_pressure(fields, layer, others, u, w, found)
    elif flow is not None:
        found[flow[1]] = Step(flow[1], WALLS, (Term((flow[0],), "c", True),))
    for name in others:
        if name not in found and name not in (flow or ()):
            _find_likeness(name, fields, squares[name], layer, found)
            _add_carried(name, fields[name], layer, grid, flow, found)


def _flow(
    along: Mapping[str, np.ndarray], across: Mapping[str, np.ndarray]
) -> tuple[str, str] | None:
    """Two variables u, w whose divergence is next to nothing."""
    size = {n: float(np.linalg.norm(a)) for n, a in along.items()}
    for u, w in permutations(along, 2):
        rest = float(np.linalg.norm(along[u] + across[w]))
        if size[u] and rest <= _DIVERGENCE * size[u]:
            return u, w
    return None


def _add_carried(
    name: str,
    x: np.ndarray,
    layer: Layer,
    grid: Grid,
    flow: tuple[str, str] | None,
    found: dict[str, Step],
) -> None:
    """A scalar with given values at the walls, in a flow at known times, may be carried."""
    if flow is None or not grid.times or wall_values(layer, x) is None:
        return
    if any(name in needed_by(n, found) for n in flow):
        return
    rest = found[name].terms if name in found else ()
    found[name] = Step(name, WALLS, (Term(flow, CARRIED, True), *rest))


def _find_likeness(
    name: str,
    fields: Mapping[str, np.ndarray],
    square: float,
    layer: Layer,
    found: dict[str, Step],
) -> None:
    """Add the variable that tells most of one, if any tells enough."""
    known = [n for n in fields if n != name and name not in needed_by(n, found)]
    whole = layer.forward(fields[name])
    start = best = _bits(layer, whole, square)
    chosen: Step | None = None
    for other in known:
        for by in ("", "h"):
            step = Step(name, WALLS, (Term((other,), by, True),))
            weights = solve_bands(*gram_of_layer(layer, step, fields[name], fields))
            waves = layer.waves(by, fields[other])
            assert waves is not None
            bits = _bits(layer, whole - waves * weights[layer.bands, 0], square)
            if bits < best:
                best, chosen = bits, step
    if chosen is not None and start - best >= _WORTH * start:
        found[name] = chosen


def _bits(layer: Layer, modes: np.ndarray, square: float) -> float:
    """Bits of waves along a layer and cosines across it."""
    spectrum = fft.dct(modes, axis=1, norm="ortho")
    power = (spectrum.real**2 + spectrum.imag**2) / layer.points
    return 2 * bits_of_modes(power, square)


def _find_pressure(
    fields: Mapping[str, np.ndarray],
    layer: Layer,
    names: list[str],
    u: str,
    w: str,
    found: dict[str, Step],
) -> None:
    flow = [Term((u, w), "q"), Term((w,), "v")]
    made = [layer.flow_pressure(fields[u], fields[w]), layer.viscous_pressure(fields[w])]
    forces = {n: layer.force_pressure(fields[n]) for n in names} if len(names) > 1 else {}
    best: tuple[float, str, str] | None = None
    for pressure in names:
        for force in (n for n in names if n != pressure):
            left = _left(fields[pressure], [*made, forces[force]])
            if left <= _LEFT_OF_PRESSURE and (best is None or left < best[0]):
                best = (left, pressure, force)
    if best is not None:
        terms = (*flow, Term((best[2],), "b"))
        found[best[1]] = Step(best[1], WALLS, terms)


def _left(x: np.ndarray, fields: list[np.ndarray]) -> float:
    """Share of the variance of x that no weights of the fields explain."""
    # every field of x may have a level of its own
    axis = tuple(range(1, x.ndim))
    columns = [(f - f.mean(axis=axis, keepdims=True)).reshape(-1) for f in fields]
    target = (x - x.mean(axis=axis, keepdims=True)).reshape(-1)
    weights = np.linalg.lstsq(np.stack(columns, 1), target, rcond=None)[0]
    rest = target - np.stack(columns, 1) @ weights
    return float(rest @ rest / max(target @ target, 1e-300))
