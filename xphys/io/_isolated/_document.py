"""What was opened, described by the child and built again by the parent.

The child is not trusted once it has looked at a file: what it says is JSON, and every part of it
is checked.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from xarray.core import indexing

from xphys.errors import FormatError
from xphys.io._isolated._values import dtype_of, is_carried, plain, restored
from xphys.io._limits import LARGEST_DOCUMENT

__all__ = ["Described", "Node", "Opened", "describe", "parse", "read_json"]

# in place of a dtype: text of any length
_TEXTS: dict[str, np.dtype] = {"O": np.dtype(object), "T": np.dtypes.StringDType()}
_MOST_NODES, _MOST_DIMS = 2**16, 32
_LARGEST_HELD = 2**28  # bytes of what is read when a file is opened


def describe(nodes: Mapping[str, xr.Dataset], name: str | None) -> dict[str, Any]:
    """JSON for what was opened.

    Parameters
    ----------
    nodes : mapping of str to Dataset
        Path -> Dataset; "/" for the only one.
    name : str, optional
        Of the tree.

    Raises
    ------
    FormatError
        If a variable has a dtype that is not carried.
    """
    every = []
    for path, ds in nodes.items():
        variables = [
            {
                "name": str(key),
                "dims": list(map(str, variable.dims)),
                "shape": list(variable.shape),
                "dtype": _dtype(key, variable),
                "coord": key in ds.coords,
                "held": variable.ndim == 0 or key in ds.xindexes or _in_memory(variable),
                "attrs": _items(variable.attrs, True),
                "encoding": _items(_encoding(variable), False),
            }
            for key, variable in ds.variables.items()
        ]
        every.append(
            {
                "path": path,
                "variables": variables,
                "attrs": _items(ds.attrs, True),
                "encoding": _items(ds.encoding, False),
            }
        )
    return {"name": name, "nodes": every}


def _dtype(name: Hashable, variable: xr.Variable) -> str:
    if variable.dtype.kind in "OT":
        return str(variable.dtype.kind)
    if not is_carried(variable.dtype):
        raise FormatError(
            f"variable {name!r} is of dtype {variable.dtype}, which untrusted=True does not "
            "carry: leave it out with drop_variables"
        )
    return str(variable.dtype.newbyteorder("=").str)


def _in_memory(variable: xr.Variable) -> bool:
    return isinstance(variable._data, np.ndarray) and variable.nbytes <= 2**20


def _encoding(variable: xr.Variable) -> dict[Any, Any]:
    units = {d: max(n) for d, n in zip(variable.dims, variable.chunks or (), strict=False)}
    return {**({"preferred_chunks": units} if units else {}), **variable.encoding}


def _items(values: Mapping[Any, Any], all_of_them: bool) -> list[list[Any]]:
    """Pairs; of an encoding only what has a form in JSON, of attributes the rest as text."""
    pairs = []
    for key, value in values.items():
        try:
            pairs.append([str(key), plain(value)])
        except (TypeError, ValueError):
            if all_of_them:
                pairs.append([str(key), str(value)[:1000]])
    return pairs


@dataclass(frozen=True)
class Described:
    """A variable as the child describes it.

    Attributes
    ----------
    node, name : str
        Where it is.
    dims, shape, dtype : tuple of str, tuple of int, dtype
        As usual; object or StringDType for text of any length.
    coord, held : bool
        Whether it is a coordinate, and whether it is read when the file is opened.
    attrs, encoding : dict
        As in xarray.
    """

    node: str
    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype
    coord: bool
    held: bool
    attrs: dict[str, Any]
    encoding: dict[str, Any]


@dataclass(frozen=True)
class Node:
    """A Dataset as the child describes it."""

    path: str
    variables: tuple[Described, ...]
    attrs: dict[str, Any]
    encoding: dict[str, Any]

    def build(self, make: Callable[[Described], Any], cache: bool) -> xr.Dataset:
        """The Dataset, its values behind the arrays that ``make`` makes."""
        held = sum(math.prod(v.shape) * v.dtype.itemsize for v in self.variables if v.held)
        if held > _LARGEST_HELD:
            raise FormatError(f"coordinates of {held:,} bytes: expected {_LARGEST_HELD:,} or less")
        data: dict[str, xr.Variable] = {}
        coords: dict[str, xr.Variable] = {}
        for one in self.variables:
            array: Any = make(one)
            if one.held:
                array = np.asarray(array[indexing.BasicIndexer((slice(None),) * len(one.shape))])
            else:
                array = _protected(indexing.LazilyIndexedArray(array), cache)
            made = xr.Variable(one.dims, array, one.attrs, one.encoding)
            (coords if one.coord else data)[one.name] = made
        ds = xr.Dataset(data, coords, self.attrs)
        ds.encoding = self.encoding
        return ds


@dataclass(frozen=True)
class Opened:
    """What a child has opened.

    Attributes
    ----------
    name : str or None
        Of a tree.
    nodes : tuple of Node
        One for a Dataset.
    digest : str
        Of names, dims, shapes and dtypes.
    """

    name: str | None
    nodes: tuple[Node, ...]
    digest: str


def _protected(array: Any, cache: bool) -> Any:
    """As xarray does it: written to nowhere, and kept in memory if that is wanted."""
    array = indexing.CopyOnWriteArray(array)
    kept: Any = indexing.MemoryCachedArray
    return kept(array) if cache else array


def parse(document: Any) -> Opened:
    """Check what a child says.

    Raises
    ------
    ValueError
        If anything is not as `describe` makes it.
    """
    try:
        name, nodes = document["name"], tuple(_node(node) for node in document["nodes"])
    except (KeyError, TypeError, RecursionError, OverflowError) as error:
        raise ValueError(f"{type(error).__name__} in the description of a Dataset") from error
    _expect(name is None or isinstance(name, str), "name")
    _expect(0 < len(nodes) <= _MOST_NODES, "nodes")
    _expect(len({node.path for node in nodes}) == len(nodes), "paths")
    facts = [
        [node.path, [[v.name, v.dims, v.shape, v.dtype.str] for v in node.variables]]
        for node in nodes
    ]
    digest = hashlib.blake2b(json.dumps(facts).encode(), digest_size=16).hexdigest()
    return Opened(name, nodes, digest)


def _expect(fine: bool, what: str) -> None:
    if not fine:
        raise ValueError(f"unexpected {what} in the description of a Dataset")


def _node(found: Any) -> Node:
    path = found["path"]
    _expect(isinstance(path, str) and ".." not in path.split("/"), "path")
    variables = tuple(_variable(path, one) for one in found["variables"])
    _expect(len({one.name for one in variables}) == len(variables), "names")
    sizes: dict[str, int] = {}
    for one in variables:
        for dim, size in zip(one.dims, one.shape, strict=True):
            _expect(sizes.setdefault(dim, size) == size, f"sizes of {dim[:40]!r}")
    return Node(path, variables, _restored_items(found, "attrs"), _restored_encoding(found))


def _variable(node: str, found: Any) -> Described:
    name, dims, shape = found["name"], found["dims"], found["shape"]
    _expect(isinstance(name, str), "name")
    _expect(isinstance(dims, list) and all(isinstance(d, str) for d in dims), "dims")
    _expect(isinstance(shape, list) and len(shape) == len(dims) <= _MOST_DIMS, "shape")
    _expect(all(type(n) is int and 0 <= n < 2**62 for n in shape), "shape")
    _expect(len(set(dims)) == len(dims), "dims")
    dtype = _TEXTS.get(found["dtype"]) or dtype_of(found["dtype"])
    _expect(math.prod(shape) * dtype.itemsize < 2**62, "size")
    coord, held = found["coord"], found["held"]
    _expect(isinstance(coord, bool) and isinstance(held, bool), "flags")
    attrs, encoding = _restored_items(found, "attrs"), _restored_encoding(found)
    return Described(node, name, tuple(dims), tuple(shape), dtype, coord, held, attrs, encoding)


def _restored_items(found: Any, what: str) -> dict[str, Any]:
    pairs = found[what]
    _expect(isinstance(pairs, list), what)
    _expect(all(isinstance(p, list) and len(p) == 2 and isinstance(p[0], str) for p in pairs), what)
    return {key: restored(value) for key, value in pairs}


def _restored_encoding(found: Any) -> dict[str, Any]:
    encoding = _restored_items(found, "encoding")
    preferred = encoding.get("preferred_chunks", {})
    _expect(isinstance(preferred, dict), "chunks")
    _expect(all(type(n) is int and n > 0 for n in preferred.values()), "chunks")
    return encoding


def read_json(data: bytes) -> Any:
    """The content of a message; ValueError if it is none."""
    _expect(len(data) <= LARGEST_DOCUMENT, "length")
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError("a document that is too deep") from error
