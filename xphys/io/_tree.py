"""All groups of a Zarr store as one tree, each opened like a store of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import xarray as xr

from xphys._storage import is_url
from xphys.errors import FormatError
from xphys.io.readers.general import open_zarr

__all__ = ["open_zarr_tree"]


def open_zarr_tree(
    paths: Sequence[str],
    *,
    storage_options: Mapping[str, Any] | None = None,
    group: str | None = None,
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
    nodes = {"/": open_zarr(paths, storage_options=storage_options, group=top, **options)}
    for path in _groups(paths[0], top, storage_options):
        inside = f"{top}/{path}".strip("/")
        nodes[path] = open_zarr(paths, storage_options=storage_options, group=inside, **options)
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
    import zarr

    # A web server cannot list: there the group's own list must do. Elsewhere what is there counts.
    listed = is_url(path) and path.partition("://")[0] in ("http", "https")
    options = dict(storage_options or {}) if is_url(path) else None
    root = zarr.open_group(
        path,
        mode="r",
        path=top,
        storage_options=options,
        use_consolidated=None if listed else False,
    )
    found: list[str] = []
    waiting = [("", root)]
    while waiting:
        above, node = waiting.pop(0)
        for name, child in sorted(node.groups()):
            if name != "_xphys":
                inside = f"{above}/{name}".strip("/")
                found.append(inside)
                waiting.append((inside, child))
    return found
