"""The table of prediction operators: pure functions of decoded values and a recipe."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np

from xphys.coding.frame import decode_chunk
from xphys.coding.predict.carry import Carrier, Setting, carry
from xphys.coding.predict.modes import Modes
from xphys.coding.predict.recipe import Carried, Recipe, RecipeTerm
from xphys.coding.predict.walls import Layer
from xphys.errors import CorruptDataError

__all__ = ["MODES_NAME", "WALLS_NAME", "carried_field", "layer_of", "modes_of", "predict"]

MODES_NAME, WALLS_NAME = "modes/1", "walls/1"


@lru_cache(maxsize=4)
def modes_of(shape: tuple[int, ...], axes: tuple[int, ...], lengths: tuple[float, ...]) -> Modes:
    """Modes of arrays of that shape, kept for the next chunk."""
    return Modes(shape, axes, lengths)


@lru_cache(maxsize=4)
def layer_of(shape: tuple[int, ...], axes: tuple[int, ...], lengths: tuple[float, ...]) -> Layer:
    """Layer between walls for arrays of that shape; axes: across, along."""
    return Layer(shape, *axes, *lengths)


def _weights(term: RecipeTerm, bands: np.ndarray) -> np.ndarray | float:
    if term.bands is None:
        return term.weight
    if int(bands.max()) >= term.bands.size:
        raise CorruptDataError(f"expected weights of {bands.max() + 1} bands of wavenumbers")
    return np.asarray(term.bands[bands] * term.weight)


def _modes(recipe: Recipe, values: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    if not 2 <= len(recipe.axes) <= 3 or len(recipe.lengths) != len(recipe.axes):
        raise CorruptDataError(f"expected two or three axes with lengths, found {recipe.axes}")
    modes = modes_of(shape, recipe.axes, recipe.lengths)
    names = [tuple(recipe.bases[i] for i in term.of) for term in recipe.terms]
    factors = [_weights(t, modes.bands) * modes.multiplier(t.by) for t in recipe.terms]
    out = np.empty((math.prod(shape) // math.prod(modes.sizes), *modes.sizes))
    for part in modes.batches():
        total = np.zeros(())
        for factor, field in zip(factors, modes.products(values, names, part), strict=True):
            total = total + factor * field
        out[part] = modes.backward(total)
    return modes.whole(out)


def _walls(recipe: Recipe, values: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    if len(recipe.axes) != 2 or len(recipe.lengths) != 1:
        raise CorruptDataError(f"expected the axes across and along, found {recipe.axes}")
    layer = layer_of(shape, recipe.axes, recipe.lengths)
    if not layer.fits:
        raise CorruptDataError(f"expected fewer points between the walls, found {layer.nodes}")
    out = np.zeros(shape)
    for term in recipe.terms:
        given = [values[recipe.bases[i]] for i in term.of]
        if term.by == "carried":
            given = [carried_field(recipe.carried, layer, given)]
        if term.bands is None:
            made = layer.term(term.by, given)
            made = None if made is None else term.weight * made
        else:
            waves = layer.waves(term.by, given[0])
            made = None if waves is None else layer.backward(waves * _weights(term, layer.bands))
        if made is None:
            raise CorruptDataError(f"no operator {term.by!r}: this xphys is too old for this store")
        out += made
    return out


def carried_field(carried: Carried | None, layer: Layer, flow: Sequence[np.ndarray]) -> np.ndarray:
    """A scalar in a flow u, w from its first field."""
    rows = math.prod(layer.shape) // (layer.nodes * layer.points)
    if carried is None or len(flow) != 2 or len(carried.gaps) != rows - 1:
        raise CorruptDataError(f"expected a flow at {rows} times to carry a scalar")
    first = decode_chunk(carried.first)
    if first.size != layer.nodes * layer.points:
        raise CorruptDataError(f"expected the first field of a scalar, found {first.shape}")
    single = layer_of(first.shape, (layer.across, layer.along), (layer.aspect,))
    u, w = (layer.rows(v) * carried.scale for v in flow)
    setting = Setting(carried.diffusivity, carried.low, carried.high, carried.steps)
    made = carry(Carrier(layer, u, w, carried.times), single.rows(first)[0], setting)
    return layer.whole(made)


_TABLE: dict[str, Callable[..., np.ndarray]] = {MODES_NAME: _modes, WALLS_NAME: _walls}


def predict(recipe: Recipe, values: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Values that a recipe expects.

    Parameters
    ----------
    recipe : Recipe
        Operator and parameters.
    values : mapping of str to ndarray
        Decoded chunks of the bases, all of one shape.
    shape : tuple of int
        Of the chunk to predict.

    Returns
    -------
    ndarray of float64
        Of that shape.

    Raises
    ------
    CorruptDataError
        If the operator is not known, or the bases or parameters do not fit it.
    """
    if recipe.operator not in _TABLE:
        raise CorruptDataError(
            f"no operator {recipe.operator!r} for predictions: known are {sorted(_TABLE)}; a newer "
            "xphys may read this store"
        )
    wrong = {n: v.shape for n, v in values.items() if n in recipe.bases and v.shape != shape}
    if wrong or max(recipe.axes, default=99) >= len(shape):
        raise CorruptDataError(f"expected chunks of shape {shape} to predict from, found {wrong}")
    return np.asarray(_TABLE[recipe.operator](recipe, values, shape))
