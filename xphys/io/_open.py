"""``xphys.open``: recognise what lies behind a name by its content and open it lazily."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

import xarray as xr

from xphys._storage import Source, expand, is_url
from xphys.errors import FormatError, RemoteError, SchemaError
from xphys.io._formats import READERS, Reader, reader_named
from xphys.io.readers._chunk import Chunks, chunked
from xphys.io.readers._probe import probe
from xphys.io.readers._shared import Root
from xphys.schema import PROVENANCE, provenance

if TYPE_CHECKING:
    from xphys.io._isolated import Isolation

__all__ = ["open"]


@overload
def open(
    source: Source,
    *,
    engine: str | None = ...,
    chunks: Chunks = ...,
    strict: bool | Literal["full"] = ...,
    tree: Literal[True],
    untrusted: bool | Isolation = ...,
    storage_options: Mapping[str, Any] | None = ...,
    **reader: Any,
) -> xr.DataTree: ...


@overload
def open(
    source: Source,
    *,
    engine: str | None = ...,
    chunks: Chunks = ...,
    strict: bool | Literal["full"] = ...,
    levels: Literal["tree"],
    untrusted: bool | Isolation = ...,
    storage_options: Mapping[str, Any] | None = ...,
    **reader: Any,
) -> xr.DataTree: ...


@overload
def open(
    source: Source,
    *,
    engine: str | None = ...,
    chunks: Chunks = ...,
    strict: bool | Literal["full"] = ...,
    tree: Literal[False] = ...,
    untrusted: bool | Isolation = ...,
    storage_options: Mapping[str, Any] | None = ...,
    **reader: Any,
) -> xr.Dataset: ...


def open(
    source: Source,
    *,
    engine: str | None = None,
    chunks: Chunks = "auto",
    strict: bool | Literal["full"] = True,
    tree: bool = False,
    untrusted: bool | Isolation = False,
    storage_options: Mapping[str, Any] | None = None,
    **reader: Any,
) -> xr.Dataset | xr.DataTree:
    """Open simulation data as one lazy Dataset, or a DataTree, in the data model.

    Parameters
    ----------
    source : str, path or iterable of those
        A file, folder, glob, URL or list, or a public data set of The Well,
        ``the_well://DATASET/SPLIT``. The format is recognised by content, not by name. In a
        folder of AthenaK dumps the history table is left aside: open it by its own path,
        ``xphys.open("run/HB3.mhd.hst")``.
    engine : str, optional
        "athenak", "zarr", "netcdf", or the name of any engine that xarray has. By default found
        from the content.
    chunks : "auto", mapping or None
        "auto": Dask chunks of whole stored chunks (or files) up to 64 MiB, none of which is
        split; a mapping dim -> size, ``{}`` for one per stored chunk; None: no Dask, values are
        read when they are asked for.
    strict : bool or "full"
        How stores that carry a manifest are checked: metadata at once and every chunk when it is
        read (True), everything first ("full"), not at all (False). Files of other programs have
        no manifest; it does not change how they are read.
    tree : bool, default False
        Open all groups of a Zarr store, each checked by its own manifest, or all refinement
        levels of a run, each on its own grid, as nodes of a DataTree.
    untrusted : bool or Isolation, default False
        Read in child processes with limits of memory and time, because the file may be made to do
        harm; :class:`xphys.io.Isolation` sets other limits. Linux only.
    storage_options : mapping, optional
        For the file system of URLs.
    **reader
        Options of the reader. AthenaK: ``groups``, ``level``, ``missing`` (see
        :func:`xphys.io.readers.athenak.open_athenak`) and ``levels="tree"``, which is
        ``tree=True`` (see :func:`xphys.io.readers.athenak.open_levels`). Zarr and netCDF:
        ``normalize=False`` to keep names and dims as stored, and those of
        ``xarray.open_dataset``.

    Returns
    -------
    Dataset or DataTree
        Dims ``(time, z, y, x)``, those that exist, with provenance and ``encoding["source"]``.

    Raises
    ------
    FileNotFoundError
        If a path does not exist or a pattern matches nothing.
    FormatError
        If no reader recognises the source, or what it finds is damaged; with ``untrusted`` also
        if a child process crashes, or takes too much time or memory.
    UnknownNameError
        If ``engine`` does not exist.
    SchemaError
        If ``chunks``, ``strict``, ``levels`` or ``untrusted`` is invalid, the format has no tree,
        or the system no limits for ``untrusted``.

    Examples
    --------
    >>> import tempfile
    >>> import xarray as xr
    >>> import xphys
    >>> path = tempfile.mkdtemp() + "/run.nc"
    >>> xr.Dataset({"rho": ("x1", [1.0, 2.0])}).to_netcdf(path)
    >>> xphys.open(path)["rho"].dims
    ('x',)
    """
    if strict not in (True, False, "full"):
        raise SchemaError(f"strict must be True, False or 'full', got {strict!r}")
    levels = reader.pop("levels", "common")
    if levels not in ("common", "tree"):
        raise SchemaError(f"levels must be 'common' or 'tree', got {levels!r}")
    paths = expand(source)
    tree = tree or levels == "tree"
    if untrusted:
        from xphys.io._isolated import open_isolated

        asked = {"engine": engine, "strict": strict, "storage_options": storage_options, **reader}
        cache = asked.pop("cache", chunks is None)
        found = open_isolated(paths, untrusted, tree=tree, cache=cache, options=asked)
        return _in_chunks(found, chunks, paths, {**reader, "untrusted": untrusted})
    options = {"storage_options": storage_options, "cache": chunks is None, **reader}
    root = None
    if engine is None:
        chosen, root = _recognise(paths, storage_options)
    else:
        chosen = reader_named(engine)
    if chosen.checks:
        options |= {"strict": strict, "root": root}
    if tree and chosen.tree is None:
        raise SchemaError(f"{chosen.name} is opened as one Dataset: leave out tree and levels")
    opened = (chosen.tree if tree and chosen.tree else chosen.open)(paths, **options)
    return _in_chunks(opened, chunks, paths, reader)


def _in_chunks(
    opened: xr.Dataset | xr.DataTree,
    chunks: Chunks,
    paths: Sequence[str],
    reader: Mapping[str, Any],
) -> xr.Dataset | xr.DataTree:
    """What was opened, in Dask arrays."""
    if isinstance(opened, xr.Dataset):
        return chunked(opened, chunks, _token(paths, opened, reader))
    nodes = {}
    for path, node in opened.subtree_with_keys:
        ds = node.to_dataset(inherit=False)
        token = _token(paths, ds, {**reader, "node": path})
        nodes["/" if path == "." else path] = chunked(ds, chunks, token)
    return xr.DataTree.from_dict(nodes, name=opened.name)


def _recognise(
    paths: Sequence[str], storage_options: Mapping[str, Any] | None
) -> tuple[Reader, Root | None]:
    """The reader of a source, and the document of a Zarr store if it was read on the way."""
    for reader in READERS:
        if reader.scheme and paths[0].startswith(reader.scheme):
            return reader, None
    first = probe(paths[0], storage_options)
    if first.root is not None:
        return reader_named("zarr"), first.root
    if isinstance(first.failure, RemoteError) and "*" not in paths[0]:
        raise first.failure  # says what the server said
    for reader in READERS:
        if reader.recognise(first):
            return reader, first.root
    known = ", ".join(reader.name for reader in READERS)
    kind = "a folder" if os.path.isdir(paths[0]) else f"first bytes {first.start[:16]!r}"
    if first.failure is not None:
        kind = f"no readable file ({first.failure})"
    raise FormatError(
        f"{paths[0]}: expected data in a format among {known}; found {kind}: give engine=... or "
        "the path of the data"
    ) from first.failure


def _token(paths: Sequence[str], ds: xr.Dataset, reader: Mapping[str, Any]) -> str | None:
    """Equal for equal sources: local files by their times of change, those of servers by etag or
    by the manifest of a sealed store, which are in the provenance; None where nothing tells.

    What lies behind a URL may change: its tasks must never be taken for older ones.
    """
    local = [path for path in paths if not is_url(path)]
    if len(local) < len(paths) and not _identified(ds):
        return None
    if any(not os.path.exists(path) for path in local):
        return None
    from dask.base import tokenize

    times = [os.stat(path).st_mtime_ns for path in local]
    where = [path if is_url(path) else os.path.abspath(path) for path in paths]
    return str(tokenize(where, times, ds.attrs.get(PROVENANCE), sorted(map(repr, reader.items()))))


def _identified(ds: xr.Dataset) -> bool:
    """Whether the provenance tells one version of what was opened from another."""
    sources = [step["source"] for step in provenance(ds) if step.get("operation") == "open"]
    found = sources[-1] if sources else None
    return isinstance(found, Mapping) and bool({"etag", "manifest_digest", "snapshot"} & set(found))
