"""Writing a tree: each node a group with a manifest of its own, finished when the root is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal

import xarray as xr
from zarr.abc.store import Store

from xphys.errors import SchemaError
from xphys.io import _objects as objects
from xphys.io._journal import Journal, read_run
from xphys.io.writers._begin import Request, begin

__all__ = ["tree_to_zarr"]


def tree_to_zarr(
    tree: xr.DataTree,
    store: str | os.PathLike[str] | Any,
    *,
    group: str | None = None,
    mode: Literal["w-", "w"] = "w-",
    chunks: Mapping[str, int] | None = None,
    shards: Mapping[str, int] | None = None,
    resume: bool = True,
    storage_options: dict[str, Any] | None = None,
) -> None:
    """Write every node of a tree as a group of a Zarr v3 store with a manifest of its own.

    Each group is complete: coordinates that a node inherits are written into it too, so that
    ``xphys.open(store, group="level_1")`` opens it alone; ``xphys.open(store, tree=True)`` and
    ``xarray.open_datatree(store, engine="zarr")`` open the tree. The root is sealed last, so a
    write that was killed leaves a store that is refused as unfinished; the same code run again
    goes on where it stopped.

    Parameters
    ----------
    tree : DataTree
        Lazy or in memory; nodes that come straight from `compress` are written as coded bytes.
    store : str, path or zarr store
        Local folder, URL, or an open store.
    group : str, optional
        Group inside the store for the root of the tree.
    mode : {"w-", "w"}, default "w-"
        ``"w-"`` refuses an existing store, ``"w"`` replaces it.
    chunks : mapping of str to int, optional
        Stored chunk sizes by dimension, as in `to_zarr`.
    shards : mapping of str to int, optional
        Sizes of shards by dimension, as in `to_zarr`.
    resume : bool, default True
        Go on with a write of the same data that was stopped; False begins it anew.
    storage_options : dict, optional
        For the file system of a URL.

    Raises
    ------
    FileExistsError
        If the store exists and mode is ``"w-"``.
    StoreConflictError
        If a write of other data is unfinished in the store.
    SchemaError
        If ``mode`` is something else.

    Examples
    --------
    >>> import tempfile, xarray as xr, xphys
    >>> ds = xr.Dataset({"u": ("x", [1.0, 2.0])}, {"x": [0.0, 1.0]})
    >>> path = tempfile.mkdtemp() + "/tree.zarr"
    >>> tree_to_zarr(xr.DataTree.from_dict({"/level_0": ds}), path)
    >>> list(xphys.open(path, tree=True).children)
    ['level_0']
    """
    if mode not in ("w-", "w"):
        raise SchemaError(f"a tree is written with mode 'w-' or 'w', got {mode!r}")
    place, top = objects.open_store(store, storage_options), (group or "").strip("/")
    nodes = {
        objects.join(top, path): _complete(node)
        for path, node in tree.subtree_with_keys
        if path != "."
    }
    options: dict[str, Any] = {"chunks": chunks, "shards": shards, "hold": True}
    root = begin(
        Request(
            _complete(tree), place, top, mode=mode, resume=resume, nodes=sorted(nodes), **options
        )
    )
    for path, ds in nodes.items():
        if root.pending is None and read_run(place, path) is None:
            continue  # sealed, and so is the root: only journals are left to end
        begin(Request(ds, place, path, **options)).finish()
    root.finish()
    for path in nodes:
        _end(place, path)
    _end(place, top)


def _complete(node: xr.DataTree) -> xr.Dataset:
    """The Dataset of a node; with inherited coordinates where there is something they belong to."""
    return node.to_dataset(inherit=bool(node.data_vars))


def _end(store: Store, group: str) -> None:
    run = read_run(store, group)
    if run is not None:
        Journal(store, group, run).end()
