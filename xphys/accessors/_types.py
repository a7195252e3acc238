"""Types that the signatures of the accessors share."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from os import PathLike
from typing import Any, Literal

import numpy as np
import xarray as xr

__all__ = ["Bound", "Cross", "DType", "Dims", "FilePath", "Mode", "Region", "Store", "Window"]

Bound = float | Mapping[Hashable, float]
DType = str | np.dtype[Any]
Dims = str | Iterable[Hashable]
FilePath = str | PathLike[str]
Mode = Literal["w", "w-", "a", "r+"]
Region = Mapping[str, slice] | Literal["auto"]
Store = str | PathLike[str] | Any  # or an open Zarr store
Cross = tuple[Hashable, Hashable] | Iterable[tuple[Hashable, Hashable]] | xr.DataArray
_Window = str | tuple[str, float]
Window = _Window | Mapping[str, _Window]
