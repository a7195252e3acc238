"""How an operator answers to disturbed and to scaled fields."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["AMOUNTS", "DRAWS", "SCALES", "sensitivity"]

Array = NDArray[Any]
AMOUNTS = (1e-4, 1e-3, 1e-2)
SCALES = (0.5, 0.75, 1.25, 1.5)
DRAWS = 8
COUNT = 10
_SEED = 0


def sensitivity(operator: Callable[..., Any], field: Array) -> Array:
    """The 10 features of an operator at one field.

    Each pair of evaluations gets random numbers that begin alike, so that noise of the operator
    cancels.

    Parameters
    ----------
    operator : callable
        Takes a field (channel, \\*grid), and a ``numpy.random.Generator`` if it has a second
        parameter; returns a field of the same shape.
    field : ndarray, shape (channel, \\*grid)
        float64.

    Returns
    -------
    ndarray, shape (10,)
        NaN where the field or its image is zero or not finite.
    """
    found = np.full(COUNT, np.nan)
    if not np.isfinite(field).all():
        return found
    two = _takes_generator(operator)

    def apply(values: Array) -> Array:
        arguments = (np.random.default_rng(_SEED),) if two else ()
        return np.asarray(operator(values, *arguments), dtype=np.float64)

    image = apply(field)
    rng = np.random.default_rng(_SEED + 1)
    noises = [rng.standard_normal(field.shape) for _ in range(DRAWS)]
    for number, amount in enumerate(AMOUNTS):
        quotients = []
        for noise in noises:
            change = field + amount * noise
            step = float(np.linalg.norm(change - field))
            quotients.append(float(np.linalg.norm(apply(change) - image)) / step)
        found[number] = max(quotients)
    size = float(np.linalg.norm(image))
    if not 0 < size < np.inf:
        return found
    gains = [float(np.linalg.norm(apply(scale * field))) / size for scale in SCALES]
    found[3:7] = gains
    points = np.array([*SCALES[:2], 1.0, *SCALES[2:]])
    answers = np.array([*gains[:2], 1.0, *gains[2:]])
    x, y = points - points.mean(), answers - answers.mean()
    if (y**2).sum() > 0:
        left = y - x * (x @ y) / (x @ x)
        found[7] = 1 - (left @ left) / (y @ y)
    found[8] = SCALES[-1] - gains[-1]
    found[9] = gains[0] / gains[-1] if gains[-1] > 0 else np.nan
    return np.where(np.isfinite(found), found, np.nan)


def _takes_generator(operator: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(operator).parameters.values()
    except (TypeError, ValueError):  # a function written in C does not say
        return False
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in kinds and p.default is p.empty for p in parameters) > 1
