"""Types that the signatures of the accessors share."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from os import PathLike
from typing import Any, Literal

__all__ = ["Bound", "Dims", "FilePath", "Mode", "Region", "Store"]

Bound = float | Mapping[Hashable, float]
Dims = str | Iterable[Hashable]
FilePath = str | PathLike[str]
Mode = Literal["w", "w-", "a", "r+"]
Region = Mapping[str, slice] | Literal["auto"]
Store = str | PathLike[str] | Any  # or an open Zarr store
