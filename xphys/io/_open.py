"""``xphys.open``: recognise what lies behind a name by its content and open it lazily."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, overload

import xarray as xr

from xphys._storage import Source, expand, is_url
from xphys.errors import FormatError, SchemaError, UnknownNameError
from xphys.io.readers._chunk import Chunks, chunked
from xphys.io.readers._probe import Probe, probe
from xphys.io.readers.athenak.backend import is_athenak, open_paths, open_tree
from xphys.io.readers.general import is_netcdf, is_zarr, open_engine, open_netcdf
from xphys.schema import PROVENANCE

__all__ = ["READERS", "Reader", "open"]


@dataclass(frozen=True)
class Reader:
    """One format: a line in the table below.

    Attributes
    ----------
    name : str
        What ``engine=`` takes.
    wants : str
        What it looks for, for error messages.
    recognise : callable
        Probe -> bool, from the content alone.
    open : callable
        (paths, *, storage_options, cache, **reader) -> Dataset, without Dask where possible.
    checks : bool
        Whether ``open`` takes ``strict``.
    tree : callable, optional
        Like ``open``, -> DataTree.
    """

    name: str
    wants: str
    recognise: Callable[[Probe], bool]
    open: Callable[..., xr.Dataset]
    checks: bool = False
    tree: Callable[..., xr.DataTree] | None = None


def _open_zarr(paths: Sequence[str], **options: Any) -> xr.Dataset:
    # zarr is not needed for other formats, and slow to import
    from xphys.io.readers.zarr_store import open_zarr

    return open_zarr(paths, **options)


def _open_zarr_tree(paths: Sequence[str], **options: Any) -> xr.DataTree:
    from xphys.io._tree import open_zarr_tree

    return open_zarr_tree(paths, **options)


# The general formats come last: many others are HDF5 underneath.
READERS = (
    Reader(
        "athenak",
        "AthenaK dumps (.bin, .cbin) or history (.hst)",
        is_athenak,
        open_paths,
        tree=open_tree,
    ),
    Reader(
        "zarr",
        "a Zarr group (zarr.json, .zgroup, .zmetadata)",
        is_zarr,
        _open_zarr,
        checks=True,
        tree=_open_zarr_tree,
    ),
    Reader("netcdf", "netCDF or HDF5 (by signature)", is_netcdf, open_netcdf),
)


@overload
def open(
    source: Source,
    *,
    engine: str | None = ...,
    chunks: Chunks = ...,
    strict: bool | Literal["full"] = ...,
    tree: Literal[True],
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
    storage_options: Mapping[str, Any] | None = None,
    **reader: Any,
) -> xr.Dataset | xr.DataTree:
    """Open simulation data as one lazy Dataset, or a DataTree, in the data model.

    Parameters
    ----------
    source : str, path or iterable of those
        A file, folder, glob, URL or list. The format is recognised by content, not by name. In a
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
        If no reader recognises the source, or what it finds is damaged.
    UnknownNameError
        If ``engine`` does not exist.
    SchemaError
        If ``chunks``, ``strict`` or ``levels`` is invalid, or the format has no tree.

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
    options = {"storage_options": storage_options, "cache": chunks is None, **reader}
    chosen = _recognise(paths, storage_options) if engine is None else _named(engine)
    if chosen.checks:
        options["strict"] = strict
    if not tree and levels == "common":
        ds = chosen.open(paths, **options)
        return chunked(ds, chunks, _token(paths, ds, reader))
    if chosen.tree is None:
        raise SchemaError(f"{chosen.name} is opened as one Dataset: leave out tree and levels")
    opened = chosen.tree(paths, **options)
    nodes = {}
    for path, node in opened.subtree_with_keys:
        ds = node.to_dataset(inherit=False)
        token = _token(paths, ds, {**reader, "node": path})
        nodes["/" if path == "." else path] = chunked(ds, chunks, token)
    return xr.DataTree.from_dict(nodes, name=opened.name)


def _recognise(paths: Sequence[str], storage_options: Mapping[str, Any] | None) -> Reader:
    first = probe(paths[0], storage_options)
    for reader in READERS:
        if reader.recognise(first):
            return reader
    looked = "; ".join(reader.wants for reader in READERS)
    kind = "a folder" if os.path.isdir(paths[0]) else f"first bytes {first.start[:16]!r}"
    if first.failure is not None:
        kind = f"no readable file ({first.failure})"
    raise FormatError(
        f"{paths[0]}: looked for {looked}; found {kind}: give engine=... or the path of the data"
    ) from first.failure


def _named(engine: str) -> Reader:
    for reader in READERS:
        if reader.name == engine:
            return reader
    known = xr.backends.list_engines()
    if engine not in known:
        names = sorted({*(reader.name for reader in READERS), *known})
        raise UnknownNameError(f"expected an engine among {names}, got {engine!r}")
    return Reader(engine, "", lambda _: True, partial(open_engine, engine=engine))


def _token(paths: Sequence[str], ds: xr.Dataset, reader: Mapping[str, Any]) -> str | None:
    """Equal for equal local files, whose times of change are in the provenance; else none.

    A store at a URL may change behind its name: its tasks must never be taken for older ones.
    """
    if any(is_url(path) or not os.path.exists(path) for path in paths):
        return None
    from dask.base import tokenize

    times = [os.stat(path).st_mtime_ns for path in paths]
    where = [os.path.abspath(path) for path in paths]
    return str(tokenize(where, times, ds.attrs.get(PROVENANCE), sorted(map(repr, reader.items()))))
