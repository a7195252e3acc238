"""How many bits a variable costs, from its spectrum: enough to compare, at little cost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import fft

from xphys.coding.bounds import Bounds
from xphys.coding.predict.recipe import Recipe
from xphys.coding.reference import reference
from xphys.coding.request import Request

__all__ = ["Target", "allowed_square", "bits_of_modes", "saved_bits"]

# Pointwise bounds let a root mean square error of this share of them.
_SHARE_OF_BOUND = 0.3
_LEAST_SAVING = 0.02
_MOST_POINTS = 2**21


@dataclass(frozen=True)
class Target:
    """A chunk with what it is to be coded within."""

    x: np.ndarray
    request: Request
    state: np.ndarray | None

    @cached_property
    def square(self) -> float:
        """Mean squared error that it may have; 0 if none."""
        if self.request.bounds is None:
            return 0.0
        state = reference(self.x) if self.state is None else self.state
        magnitude = float(np.sqrt(np.square(self.x, dtype=np.float64).mean()))
        return allowed_square(self.request.bounds, state, magnitude)


def allowed_square(bounds: Bounds, state: np.ndarray, magnitude: float) -> float:
    """Mean squared error that bounds allow, in the units of the variable; 0 if none.

    Parameters
    ----------
    bounds : Bounds
        All of which hold.
    state : structured ndarray
        Of the variable or its parts.
    magnitude : float
        Root mean square of its values, for bounds relative to single values.
    """
    exponent = int(state["exponent"].max())
    allowance = bounds.allowance(state, exponent)
    used = state["count"] > 0
    if not used.any():
        return 0.0
    square = float(np.ldexp(np.median(allowance.mean_square[used]), 2 * exponent))
    absolute = float(np.median(allowance.absolute[used]))
    found = min(square, (_SHARE_OF_BOUND * absolute) ** 2)
    if math.isfinite(allowance.relative):
        found = min(found, (_SHARE_OF_BOUND * allowance.relative * magnitude) ** 2)
    return found if math.isfinite(found) else 0.0


def bits_of_modes(power: np.ndarray, square: float) -> float:
    """Bits of coefficients with these squares at that mean squared error."""
    return float(np.log2(1 + power / square).sum() / 2)


def saved_bits(target: Target, expected: np.ndarray, recipe: Recipe) -> float:
    """Bits that coding the distance from a prediction saves; 0 where that is next to nothing.

    Parameters
    ----------
    target : Target
        The chunk, whose allowed error is above 0.
    expected : ndarray
        The prediction.
    recipe : Recipe
        How it is made.
    """
    square = target.square
    x = target.x
    axes = tuple(i for i, role in enumerate(target.request.roles) if role == "space")
    axes = axes or tuple(range(max(x.ndim - 2, 0), x.ndim))
    bits, points = [0.0, 0.0], 0
    for part in _parts(x.shape, axes):
        wide = x[part].astype(np.float64)
        for i, field in enumerate((wide, wide - expected[part])):
            modes = fft.dctn(field, axes=axes, norm="ortho")
            bits[i] += bits_of_modes(modes * modes, square)
        points += wide.size
    share = x.size / max(points, 1)
    overhead = 8 * (len(recipe.pack()) + 16)
    saved = (bits[0] - bits[1]) * share - overhead
    return saved if saved > _LEAST_SAVING * bits[0] * share else 0.0


def _parts(shape: tuple[int, ...], axes: tuple[int, ...]) -> list[tuple[slice, ...]]:
    """Steps along the longest other axis, spread over it, of a few million points together."""
    others = [i for i in range(len(shape)) if i not in axes]
    whole = [slice(None)] * len(shape)
    if not others:
        return [tuple(whole)]
    axis = max(others, key=lambda i: shape[i])
    step = math.prod(shape) // shape[axis]
    wanted = min(max(_MOST_POINTS // max(step, 1), 1), shape[axis])
    chosen = np.unique(np.linspace(0, shape[axis] - 1, wanted).astype(int))
    out = []
    for i in chosen:
        part = list(whole)
        part[axis] = slice(int(i), int(i) + 1)
        out.append(tuple(part))
    return out
