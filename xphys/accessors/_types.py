"""Types that the signatures of the accessors share."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from os import PathLike
from typing import Any, Literal

import numpy as np
import xarray as xr

__all__ = [
    "Bins",
    "Bound",
    "Cross",
    "DType",
    "Dims",
    "FilePath",
    "Mode",
    "Names",
    "Operator",
    "Preserve",
    "Region",
    "Store",
    "Window",
]

Bins = int | Sequence[float] | np.ndarray
Bound = float | Mapping[Hashable, float]
DType = str | np.dtype[Any]
Dims = str | Iterable[Hashable]
FilePath = str | PathLike[str]
Names = str | Iterable[str]
Operator = Callable[..., Any] | Sequence[Callable[..., Any]]
Preserve = Iterable[str] | Mapping[str, float | None]
Mode = Literal["w", "w-", "a", "r+"]
Region = Mapping[str, slice] | Literal["auto"]
Store = str | PathLike[str] | Any  # or an open Zarr store
Cross = tuple[Hashable, Hashable] | Iterable[tuple[Hashable, Hashable]] | xr.DataArray
_Window = str | tuple[str, float]
Window = _Window | Mapping[str, _Window]
