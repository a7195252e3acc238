"""All groups of a Zarr store as one tree, each opened like a store of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import xarray as xr
from zarr.abc.store import Store

from xphys._storage import is_url
from xphys.errors import FormatError
from xphys.io import _objects as objects
from xphys.io._manifest import nodes_inside, parse_document
from xphys.io.readers.zarr_store import open_zarr

__all__ = ["open_zarr_tree"]


def open_zarr_tree(
    paths: Sequence[str],
    *,
    storage_options: Mapping[str, Any] | None = None,
    group: str | None = None,
    opener: Callable[..., xr.Dataset] = open_zarr,
    **options: Any,
) -> xr.DataTree:
    """Open a Zarr group and all groups below it.

    Parameters
    ----------
    paths : sequence of str
        One folder or URL.
    storage_options : mapping, optional
        For the file system of a URL.
    group : str, optional
        Root of the tree.
    opener : callable
        What opens one group.
    **options
        As for `open_zarr`; each group is opened with them and checked by its own manifest.

    Returns
    -------
    DataTree
        Without Dask. Coordinates that a group shares with one above it are inherited.

    Raises
    ------
    FormatError
        If there are several stores, or coordinates of a group do not fit those above it.
    """
    top = (group or "").strip("/")
    nodes = {"/": opener(paths, storage_options=storage_options, group=top, **options)}
    for path in _groups(paths[0], top, storage_options):
        inside = f"{top}/{path}".strip("/")
        nodes[path] = opener(paths, storage_options=storage_options, group=inside, **options)
    try:
        return xr.DataTree.from_dict(nodes)
    except ValueError as error:
        reason = str(error).partition("\n")[0]
        raise FormatError(
            f"{paths[0]}: expected groups whose coordinates fit those above them, found that "
            f"{reason}: open them one by one with group=..."
        ) from error


def _groups(path: str, top: str, storage_options: Mapping[str, Any] | None) -> list[str]:
    """Paths of the groups below one, parents first."""
    store = objects.open_store(path, storage_options, read_only=True)
    # A web server cannot list: there the group's own list must do. Elsewhere what is there counts.
    if is_url(path) and path.partition("://")[0] in ("http", "https"):
        key = objects.join(top, "zarr.json")
        document = parse_document(objects.read(store, key) or b"{}", key)
        nodes = nodes_inside(document).items()
        return sorted(inside for inside, node in nodes if node.get("node_type") == "group")
    found: list[str] = []
    waiting = [""]
    while waiting:
        above = waiting.pop(0)
        inside = objects.wait(_groups_inside(store, objects.join(top, above)))
        below = [objects.join(above, name) for name in inside]
        found += below
        waiting += below
    return found


async def _groups_inside(store: Store, group: str) -> list[str]:
    names = {name.rstrip("/") async for name in store.list_dir(group)}
    children = sorted(name for name in names if not name.startswith((".", "_xphys")))
    return [name for name in children if await _is_group(store, objects.join(group, name))]


async def _is_group(store: Store, place: str) -> bool:
    """A damaged document counts: opening the group says what is wrong with it."""
    data = await objects.get(store, objects.join(place, "zarr.json"))
    if data is None:
        return await store.exists(objects.join(place, ".zgroup"))
    try:
        return bool(parse_document(data, place).get("node_type") != "array")
    except FormatError:
        return True
