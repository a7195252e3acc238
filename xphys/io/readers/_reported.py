"""Whatever a library says of a damaged file becomes one kind of error, at reading too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from xphys.errors import FormatError, XphysError

__all__ = ["reported", "reporting"]


@contextmanager
def reporting(path: str) -> Iterator[None]:
    """Any error but those of xphys, of missing files and packages becomes a FormatError."""
    try:
        yield
    except (XphysError, FileNotFoundError, PermissionError, ImportError):
        raise
    except Exception as error:
        said = str(error).splitlines()[0] if str(error) else ""
        raise FormatError(f"{path}: cannot be read: {type(error).__name__}: {said}") from error


class _Reported(BackendArray):
    """An array whose errors are reported."""

    def __init__(self, array: Any, path: str):
        self.variable, self.path = xr.Variable(range(len(array.shape)), array), path
        self.shape, self.dtype = array.shape, array.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        with reporting(self.path):
            return np.asarray(self.variable[key].values)


def reported(ds: xr.Dataset, path: str, cache: bool) -> xr.Dataset:
    """A Dataset opened with ``cache=False``, the errors of its lazy variables reported.

    Parameters
    ----------
    ds : Dataset
        Its lazy variables are changed in place.
    path : str
        For messages.
    cache : bool
        Keep what was read in memory.

    Returns
    -------
    Dataset
        The same one.
    """
    keep: Any = indexing.MemoryCachedArray
    for variable in ds.variables.values():
        held = variable._data
        if isinstance(held, indexing.CopyOnWriteArray):
            lazy: Any = indexing.LazilyIndexedArray(_Reported(held, path))
            lazy = indexing.CopyOnWriteArray(lazy)
            variable._data = keep(lazy) if cache else lazy
    return ds
