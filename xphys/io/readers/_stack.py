"""Arrays of many files seen as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from xphys.io.readers._keys import positions

__all__ = ["Joined", "Stacked", "lazy"]


class Joined(BackendArray):
    """Arrays one after the other along an axis; only those touched are read.

    Parameters
    ----------
    parts : sequence of array
        Backend arrays of one rank and dtype, equal in shape except along ``axis``.
    axis : int
        Where they are joined.
    """

    def __init__(self, parts: Sequence[Any], axis: int = 0):
        self.parts, self.axis = tuple(parts), axis
        first = self.parts[0]
        self.starts = np.cumsum([0, *(part.shape[axis] for part in self.parts)])
        shape = list(first.shape)
        shape[axis] = int(self.starts[-1])
        self.shape, self.dtype = tuple(shape), first.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        single = isinstance(key[self.axis], int | np.integer)
        wanted = positions(key[self.axis], self.shape[self.axis])
        owners = np.searchsorted(self.starts, wanted, side="right") - 1
        rest = [i for i, part in enumerate(key) if isinstance(part, int | np.integer)]
        # where the joined axis stands once the axes at single places are gone
        axis = self.axis - sum(i < self.axis for i in rest)
        shape = [positions(k, n).size for n, k in zip(self.shape, key, strict=True)]
        shape[self.axis] = wanted.size
        kept = [i for i in range(len(shape)) if i not in rest or i == self.axis]
        out = np.empty([shape[i] for i in kept], self.dtype)
        for number in np.unique(owners):
            places = np.flatnonzero(owners == number)
            inner = list(key)
            inner[self.axis] = wanted[places] - self.starts[number]
            part = self.parts[number][indexing.OuterIndexer(tuple(_plain(k) for k in inner))]
            out[(slice(None),) * axis + (places,)] = part
        return out.take(0, axis) if single else out


class Stacked(BackendArray):
    """Arrays as the places of a new first axis; only those touched are read.

    Parameters
    ----------
    parts : sequence of array
        Backend arrays of one shape and dtype; it may make them when they are asked for.
    """

    def __init__(self, parts: Sequence[Any]):
        self.parts = parts
        first = parts[0]
        self.shape = (len(parts), *first.shape)
        self.chunks = (1, *getattr(first, "chunks", first.shape))
        self.dtype = first.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        wanted = positions(key[0], self.shape[0])
        inner = tuple(_plain(part) for part in key[1:])
        sizes = zip(self.shape[1:], inner, strict=True)
        kept = [positions(k, n).size for n, k in sizes if not isinstance(k, int)]
        out = np.empty((wanted.size, *kept), self.dtype)
        for place, number in enumerate(wanted.tolist()):
            out[place] = self.parts[number][indexing.OuterIndexer(inner)]
        return out[0] if isinstance(key[0], int | np.integer) else out


def _plain(key: Any) -> Any:
    return key if isinstance(key, slice | np.ndarray) else int(key)


def lazy(
    array: Any,
    dims: Sequence[str],
    attrs: Mapping[str, Any] | None = None,
    chunks: Sequence[int] | None = None,
) -> xr.Variable:
    """A variable that reads when it is looked at.

    Parameters
    ----------
    array : BackendArray
        The source.
    dims : sequence of str
        One for each axis.
    attrs : mapping, optional
        Attributes.
    chunks : sequence of int, optional
        Shape of the units in which the source is best read; by default ``array.chunks`` or all.
    """
    units = chunks if chunks is not None else getattr(array, "chunks", array.shape)
    encoding = {"preferred_chunks": dict(zip(dims, units, strict=True))}
    return xr.Variable(dims, indexing.LazilyIndexedArray(array), dict(attrs or {}), encoding)
