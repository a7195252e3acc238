"""Between the object of an accessor and the Datasets that functions take."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar

import xarray as xr

from xphys import codecs, io
from xphys.errors import SchemaError
from xphys.schema import PROVENANCE

__all__ = [
    "as_array",
    "as_dataset",
    "curve_of",
    "datasets",
    "map_nodes",
    "map_pairs",
    "over_nodes",
    "stored_of",
]

T = TypeVar("T")

# xarray's own names for such variables: xr.open_dataarray turns them back into the array.
_UNNAMED = "__xarray_dataarray_variable__"
_CLASHES = "__xarray_dataarray_name__"


def as_dataset(array: xr.DataArray) -> xr.Dataset:
    """Dataset of one variable; the record of operations moves to the Dataset."""
    if array.name is None:
        name: Hashable = _UNNAMED
    else:
        name = _CLASHES if array.name in array.coords else array.name
    ds = array.to_dataset(name=name)
    if PROVENANCE in array.attrs:
        ds.attrs[PROVENANCE] = ds[name].attrs.pop(PROVENANCE)
    return ds


def as_array(ds: xr.Dataset, like: xr.DataArray) -> xr.DataArray:
    """Array of a Dataset with one variable; made from ``like``, whose name may not have fitted."""
    (array,) = ds.data_vars.values()
    if PROVENANCE in ds.attrs:
        array = array.assign_attrs({PROVENANCE: ds.attrs[PROVENANCE]})
    return array.rename(like.name) if array.name in (_UNNAMED, _CLASHES) else array


def stored_of(ds: xr.Dataset, *names: str) -> dict[str, int | xr.DataArray] | None:
    """Stored bytes of variables, under other ``names`` if given; None where not known."""
    sizes = {str(name): size for name, size in io.stored_bytes(ds).items()}
    return dict(zip(names or sizes, sizes.values(), strict=True)) if sizes else None


def curve_of(
    wanted: bool | xr.Dataset | None, test: xr.Dataset, reference: xr.Dataset
) -> xr.Dataset | None:
    """The curve given, or one of the variables that both have; None where not wanted."""
    if not isinstance(wanted, bool):
        return wanted
    names = [n for n, v in reference.data_vars.items() if n in test and v.dtype.kind in "fiu"]
    return codecs.rate_distortion(reference, variables=names) if wanted else None


def datasets(tree: xr.DataTree) -> dict[str, xr.Dataset]:
    """Nodes with variables: path from ``tree`` -> Dataset with inherited coordinates."""
    return {
        path: node.to_dataset(inherit=True)
        for path, node in tree.subtree_with_keys
        if node.data_vars
    }


def over_nodes(tree: xr.DataTree, function: Callable[[xr.Dataset], T]) -> dict[str, T]:
    """Apply a function to every node with variables: path -> result."""
    return {path: function(ds) for path, ds in datasets(tree).items()}


def map_nodes(tree: xr.DataTree, function: Callable[[xr.Dataset], xr.Dataset]) -> xr.DataTree:
    """Tree of the results; nodes without variables keep their attributes."""
    return _tree(over_nodes(tree, function), tree)


def map_pairs(
    tree: xr.DataTree,
    other: xr.DataTree,
    function: Callable[[xr.Dataset, xr.Dataset], xr.Dataset],
) -> xr.DataTree:
    """Tree of the results for nodes of equal path."""
    partners = datasets(other)
    missing = [path for path in datasets(tree) if path not in partners]
    if missing:
        raise SchemaError(f"expected a node {missing[0]!r} in both trees, found it in one only")
    pairs = datasets(tree).items()
    return _tree({path: function(ds, partners[path]) for path, ds in pairs}, tree)


def _tree(results: dict[str, xr.Dataset], like: xr.DataTree) -> xr.DataTree:
    # Coordinates of a node without variables are in the Datasets of its children already.
    nodes = {path: xr.Dataset(attrs=node.attrs) for path, node in like.subtree_with_keys}
    nodes.update(results)
    nodes["/"] = nodes.pop(".")
    return xr.DataTree.from_dict(nodes, name=like.name)
