"""Keys along one axis."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["positions"]


def positions(part: Any, size: int) -> np.ndarray:
    """Places along an axis that a key chooses; memory only for those.

    Parameters
    ----------
    part : int, slice or array of int
        The key.
    size : int
        Of the axis.

    Returns
    -------
    ndarray
        One-dimensional.
    """
    if isinstance(part, slice):
        return np.arange(*part.indices(size))
    chosen = np.atleast_1d(np.asarray(part))
    return np.where(chosen < 0, chosen + size, chosen)
