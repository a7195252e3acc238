"""Sources opened by children: the Dataset of the parent, and arrays that ask a child."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from xphys._storage import is_url
from xphys.errors import FormatError, SchemaError, XphysError
from xphys.io._isolated._document import Described
from xphys.io._isolated._isolation import Isolation
from xphys.io._isolated._pool import Source, pool
from xphys.io._isolated._wire import encode

__all__ = ["IsolatedArray", "open_isolated"]

_PIECE = 2**26  # bytes of one request, where stored chunks allow
_LARGEST_CHUNK = 2**30
_FILES = ("h5py", "h5netcdf", "netCDF4", "scipy.io")
_STORES = ("xphys.io.readers.zarr_store",)


class IsolatedArray(BackendArray):
    """Values of a variable that a child reads.

    Parameters
    ----------
    source : Source
        What the child opens.
    digest : str
        Of its description.
    described : Described
        The variable.
    """

    def __init__(self, source: Source, digest: str, described: Described):
        self.source, self.digest = source, digest
        self.place = (described.node, described.name)
        self.shape, self.dtype = described.shape, described.dtype
        preferred = described.encoding.get("preferred_chunks", {})
        self.units = tuple(
            min(preferred.get(d, 1), n) for d, n in zip(described.dims, self.shape, strict=True)
        )

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        children = pool(self.source.isolation)
        whole = _result(key, self.shape)
        try:
            out = np.empty(whole, self.dtype)
        except (MemoryError, ValueError) as error:
            raise FormatError(
                f"{self.source.name}: {self.place[1]!r} declares {whole} values of "
                f"{self.dtype}, which do not fit into memory: read a part"
            ) from error
        if out.size:
            for part, into in _pieces(key, self.shape, self.units, self.dtype.itemsize):
                shape = _result(part, self.shape)
                out[into] = children.read(
                    self.source, self.digest, self.place, part, shape, self.dtype
                )
        return out


def _length(part: Any, size: int) -> int:
    return len(range(size)[part]) if isinstance(part, slice) else len(part)


def _result(key: Sequence[Any], shape: Sequence[int]) -> tuple[int, ...]:
    """Shape of what a key chooses."""
    parts = zip(key, shape, strict=True)
    return tuple(_length(k, n) for k, n in parts if not isinstance(k, int | np.integer))


def _pieces(
    key: tuple[Any, ...], shape: Sequence[int], units: Sequence[int], width: int
) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Parts of a key, each of whole stored chunks and up to 64 MiB if it can be, and their
    places in the result."""
    kept = [axis for axis, part in enumerate(key) if not isinstance(part, int | np.integer)]
    lengths = {axis: _length(key[axis], shape[axis]) for axis in kept}
    size = math.prod(lengths.values()) * width
    axis = next((axis for axis in kept if lengths[axis] > 1), None)
    if size <= _PIECE or axis is None:
        yield key, ...
        return
    row = size // lengths[axis]
    unit = units[axis] if units[axis] * row <= _LARGEST_CHUNK else 1
    step = max(_PIECE // row // unit, 1) * unit
    before = (slice(None),) * kept.index(axis)
    for start in range(0, lengths[axis], step):
        part = _part(key[axis], shape[axis], slice(start, start + step))
        yield (*key[:axis], part, *key[axis + 1 :]), (*before, slice(start, start + step))


def _part(key: Any, size: int, places: slice) -> Any:
    """Some places of a key along one axis."""
    if not isinstance(key, slice):
        return key[places]
    found = range(size)[key][places]
    return slice(found.start, found.stop if found.stop >= 0 else None, found.step)


def open_isolated(
    paths: Sequence[str],
    isolation: Isolation | bool,
    *,
    tree: bool = False,
    cache: bool = False,
    options: Mapping[str, Any],
) -> xr.Dataset | xr.DataTree:
    """Open a source in a child process.

    Parameters
    ----------
    paths : sequence of str
        Local paths and URLs.
    isolation : Isolation or True
        Limits; True for those by default.
    tree : bool
        Open a DataTree.
    cache : bool
        Keep what was read in memory.
    options : mapping
        Further arguments of ``xphys.open``.

    Returns
    -------
    Dataset or DataTree
        Without Dask.

    Raises
    ------
    XphysError
        What ``xphys.open`` raises; FormatError too for a child that crashes, or takes too much
        time or memory.
    SchemaError
        If ``isolation`` is something else, options are not numbers, text, arrays
        or lists and mappings of those, or this is not Linux.
    """
    limits = Isolation() if isolation is True else isolation
    if not isinstance(limits, Isolation):
        raise SchemaError(f"untrusted must be a bool or Isolation(...), got {isolation!r}")
    try:
        request = encode({"paths": list(paths), "tree": tree, "options": dict(options)})
    except TypeError as error:
        raise SchemaError(
            f"untrusted=True: expected options made of numbers, text and arrays: {error}"
        ) from error
    stored = any(is_url(path) or os.path.isdir(path) for path in paths)
    source = Source(request, paths[0], _STORES if stored else _FILES, limits)
    opened = pool(limits).open(source)
    make = partial(IsolatedArray, source, opened.digest)
    try:
        built: dict[str, xr.Dataset] = {n.path: n.build(make, cache) for n in opened.nodes}
    except XphysError:
        raise
    except Exception as error:  # what xarray says of dims and coordinates that do not fit
        raise FormatError(f"{paths[0]}: cannot be put together: {error}") from error
    for made in built.values():
        made.set_close(partial(_forget, source))
    if tree:
        whole: xr.DataTree = xr.DataTree.from_dict(built, name=opened.name)
        return whole
    if list(built) != ["/"]:
        raise FormatError(f"{paths[0]}: expected one Dataset, the process gave {len(built)}")
    return built["/"]


def _forget(source: Source) -> None:
    pool(source.isolation).forget(source)
