"""Weights of a prediction, fitted to one chunk and the decoded values that a reader will have."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from xphys.coding.frame import encode_chunk
from xphys.coding.predict.carry import Carrier, fit_setting
from xphys.coding.predict.grid import CHEBYSHEV, PERIODIC, Grid
from xphys.coding.predict.modes import Modes
from xphys.coding.predict.operators import (
    MODES_NAME,
    WALLS_NAME,
    carried_field,
    layer_of,
    modes_of,
)
from xphys.coding.predict.plan import WALLS, Step
from xphys.coding.predict.recipe import Carried, Recipe, RecipeTerm
from xphys.coding.predict.saving import Target
from xphys.coding.predict.walls import Layer
from xphys.coding.reference import reference

__all__ = ["CARRIED", "fit_recipe", "gram", "gram_of_layer", "solve_bands", "space_of"]

# A banded weight is coded in units that move the prediction by this share of the error allowed.
_SHARE = 0.3
_FEWEST_UNITS, _MOST_UNITS = 60.0, 16000.0
_FEWEST_FIELDS = 3
_GAP_UNITS = 10000  # of the longest gap between fields
#: Where a carried scalar stands among values; no variable has such a name.
CARRIED = "/carried"
_MOST_DIGITS = 12
_RIDGE = 1e-9
# Rounding noise in bands of which the coder kept no mode is this share of the strongest one.
_NOTHING = 1e-10


def space_of(grid: Grid) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Axes and lengths as the operators of a grid want them."""
    periodic = tuple(i for i, kind in enumerate(grid.kinds) if kind == PERIODIC)
    if not grid.walls:
        longest = max(grid.lengths[i] for i in periodic)
        return periodic, tuple(grid.lengths[i] / longest for i in periodic)
    across = grid.kinds.index(CHEBYSHEV)
    return (across, periodic[0]), (grid.lengths[periodic[0]] / grid.lengths[across],)


def fit_recipe(
    step: Step,
    grid: Grid,
    target: Target,
    values: Mapping[str, np.ndarray],
    times: np.ndarray | None = None,
) -> Recipe | None:
    """Recipe with the weights that fit a chunk best.

    Parameters
    ----------
    step : Step
        With terms.
    grid : Grid
        Of the array.
    target : Target
        The chunk, finite; weights are no finer than its error needs.
    values : mapping of str to ndarray
        Decoded chunks of the bases.
    times : ndarray, optional
        Of the fields of the chunk.

    Returns
    -------
    Recipe or None
        None where nothing can be fitted.
    """
    axes, lengths = space_of(grid)
    x, error = target.x, math.sqrt(target.square)
    places = {name: i for i, name in enumerate(step.bases)}
    of = [tuple(places[name] for name in term.of) for term in step.terms]
    if step.operator == WALLS:
        layer = layer_of(x.shape, axes, lengths)
        if all(term.banded for term in step.terms):
            carried, known = None, dict(values)
            if any(term.by == "carried" for term in step.terms):
                flow = [values[name] for name in step.terms[0].of]
                carried = _fit_carried(layer, grid, target, flow, times)
                if carried is None:
                    return None
                known[CARRIED] = carried_field(carried, layer, flow)
            products, dots = gram_of_layer(layer, step, x, known)
            size = x.size * layer.points / 2
            found = _all_banded(of, step, products, dots, error * math.sqrt(size))
            return _joined(WALLS_NAME, step, axes, lengths, found, carried)
        made = [layer.term(t.by, [values[n] for n in t.of]) for t in step.terms]
        fields = [layer.level(m) for m in made if m is not None]
        weights = _scalars(fields, layer.level(x), error)
        if weights is None:
            return None
        terms = [RecipeTerm(o, t.by, w) for o, t, w in zip(of, step.terms, weights, strict=True)]
        return Recipe(WALLS_NAME, step.bases, axes, lengths, tuple(terms))
    modes = modes_of(x.shape, axes, lengths)
    products, dots = gram(modes, step, x, values)
    if all(term.banded for term in step.terms):
        terms = _all_banded(of, step, products, dots, error * math.sqrt(x.size))
    else:
        total = products.sum(axis=0)
        solved = _solve(total, dots.sum(axis=0))
        sizes = np.sqrt(np.diagonal(total) / x.size)
        terms = [
            RecipeTerm(o, t.by, _short(w, error / max(size, 1e-300)))
            for o, t, w, size in zip(of, step.terms, solved, sizes, strict=True)
        ]
    return _joined(MODES_NAME, step, axes, lengths, terms)


def _joined(
    operator: str,
    step: Step,
    axes: tuple[int, ...],
    lengths: tuple[float, ...],
    terms: list[RecipeTerm],
    carried: Carried | None = None,
) -> Recipe | None:
    return Recipe(operator, step.bases, axes, lengths, tuple(terms), carried) if terms else None


def _all_banded(
    of: list[tuple[int, ...]],
    step: Step,
    products: np.ndarray,
    target: np.ndarray,
    error: float,
) -> list[RecipeTerm]:
    """Terms with weights by band; error is the norm that a chunk may be off by."""
    bands = solve_bands(products, target)
    sizes = np.sqrt(np.diagonal(products.sum(axis=0)))
    parts = zip(of, step.terms, bands.T, sizes, strict=True)
    terms = [_banded(o, t.by, w, error / max(size, 1e-300)) for o, t, w, size in parts]
    return [t for t in terms if t.weight]


def _fit_carried(
    layer: Layer,
    grid: Grid,
    target: Target,
    flow: Sequence[np.ndarray],
    times: np.ndarray | None,
) -> Carried | None:
    """How the flow carries a chunk; None if it does not, or where that cannot be known."""
    x, state = target.x, target.state
    if times is None or grid.time is None or times.size < _FEWEST_FIELDS or x.ndim != 3:
        return None
    state = reference(x) if state is None else state
    gaps = np.diff(times)
    if state.size != 1 or not (gaps > 0).all():
        return None
    unit = float(f"{gaps.max() / _GAP_UNITS:.6g}")
    whole = np.maximum(np.rint(gaps / unit), 1).astype(int)
    first = encode_chunk(x.take([0], axis=grid.time), target.request, state)
    scale = float(f"{2 / grid.lengths[layer.across]:.9g}")
    blank = Carried(1.0, 0.0, 0.0, 1, scale, unit, tuple(whole.tolist()), first)
    u, w = (layer.rows(v) * scale for v in flow)
    setting = fit_setting(Carrier(layer, u, w, blank.times), layer.rows(x))
    if setting is None:
        return None
    return replace(
        blank,
        diffusivity=setting.diffusivity,
        low=setting.low,
        high=setting.high,
        steps=setting.steps,
    )


def gram_of_layer(
    layer: Layer, step: Step, x: np.ndarray, values: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """As `gram`, by band of wavenumbers along a layer."""
    given = [values[CARRIED if t.by == "carried" else t.of[0]] for t in step.terms]
    fields = [layer.waves(t.by, v) for t, v in zip(step.terms, given, strict=True)]
    columns = [f for f in fields if f is not None]
    wanted = layer.forward(x)
    count, number = int(layer.bands.max()) + 1, len(columns)
    products, target = np.zeros((count, number, number)), np.zeros((count, number))
    for i, a in enumerate(columns):
        target[:, i] = _by_wave(layer, a, wanted)
        for j in range(i + 1):
            products[:, i, j] = products[:, j, i] = _by_wave(layer, a, columns[j])
    return products, target


def _by_wave(layer: Layer, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    product = (a.real * b.real + a.imag * b.imag).sum(axis=(0, 1))
    return np.bincount(layer.bands, weights=product)


def gram(
    modes: Modes, step: Step, x: np.ndarray, values: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Scalar products of the terms of a step: (bands, terms, terms) and, with x, (bands, terms)."""
    bands = modes.bands.reshape(-1)
    count, number = int(bands.max()) + 1, len(step.terms)
    products, target = np.zeros((count, number, number)), np.zeros((count, number))
    names = [term.of for term in step.terms]
    rows = modes.rows(x)
    for part in modes.batches():
        wanted = modes.forward(rows[part])
        fields = modes.products(values, names, part)
        fields = [f * modes.multiplier(t.by) for f, t in zip(fields, step.terms, strict=True)]
        for i, a in enumerate(fields):
            target[:, i] += _by_band(modes, bands, a, wanted)
            for j in range(i + 1):
                products[:, i, j] += _by_band(modes, bands, a, fields[j])
    for i in range(number):
        products[:, :i, i] = products[:, i, :i]
    return products, target


def _by_band(modes: Modes, bands: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    product = (a.real * b.real + a.imag * b.imag).sum(axis=0) * modes.twice
    return np.bincount(bands, weights=product.reshape(-1))


def _solve(products: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Least squares with a trace of damping, terms brought to one size."""
    size = np.sqrt(np.diagonal(products, axis1=-2, axis2=-1))
    size = np.where(size > 0, size, 1.0)
    scaled = products / size[..., :, None] / size[..., None, :]
    scaled = scaled + _RIDGE * np.eye(scaled.shape[-1])
    return np.asarray(np.linalg.solve(scaled, (target / size)[..., None])[..., 0] / size)


def solve_bands(products: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Weights (bands, terms); zero where a band has next to nothing of a term."""
    size = np.diagonal(products, axis1=-2, axis2=-1)
    held = (size > _NOTHING * size.max(axis=0)).astype(np.float64)
    return _solve(products * held[:, :, None] * held[:, None, :], target * held)


def _banded(of: tuple[int, ...], by: str, weights: np.ndarray, fine: float) -> RecipeTerm:
    largest = float(np.abs(weights).max())
    if not math.isfinite(largest) or largest < 1e-300:
        return RecipeTerm(of, by, 0.0)
    units = min(max(largest / max(_SHARE * fine, 1e-300), _FEWEST_UNITS), _MOST_UNITS)
    unit = float(f"{largest / units:.4g}")
    return RecipeTerm(of, by, unit, np.rint(weights / unit).astype(np.int16))


def _short(weight: float, fine: float) -> float:
    """The decimal of fewest digits within a tenth of what would be noticed."""
    for digits in range(1, _MOST_DIGITS):
        found = float(f"{weight:.{digits}g}")
        if abs(found - weight) <= 0.1 * fine:
            return found
    return float(f"{weight:.{_MOST_DIGITS}g}")


def _scalars(fields: list[np.ndarray], x: np.ndarray, error: float) -> list[float] | None:
    flat = np.stack([f.reshape(-1) for f in fields])
    products = flat @ flat.T
    sizes = np.sqrt(np.diagonal(products) / x.size)
    if not np.isfinite(products).all() or not sizes.all():
        return None
    solved = _solve(products, flat @ x.reshape(-1))
    return [_short(float(w), error / size) for w, size in zip(solved, sizes, strict=True)]
