"""References to chunks of HDF5 files: a store of a few kilobytes that reads like Zarr."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

import xarray as xr

from xphys._optional import require
from xphys._storage import Source, expand, identity, is_url, open_binary
from xphys.errors import FormatError, SchemaError
from xphys.io._icechunk import SOURCES, Place, etag, folder_url, is_icechunk, of_hdf5, translated
from xphys.schema import record

__all__ = ["virtual"]

_HDF5 = b"\x89HDF\r\n\x1a\n"
_SCHEMES = ("s3", "http", "https")


def virtual(
    files: Source,
    store: str | os.PathLike[str],
    *,
    group: str | None = None,
    concat_dim: str | None = None,
    mode: Literal["w-", "w"] = "w-",
    storage_options: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Write references to the chunks of netCDF4 or HDF5 files and open them as one Dataset.

    The values stay in the files. They are read from there chunk by chunk, in Dask tasks, through
    an Icechunk repository that holds metadata, coordinates, and for every chunk its file, offset
    and length. A file that has changed since (time, size or etag) is an error when one of its
    chunks is read, never a number.

    Parameters
    ----------
    files : str, path or iterable of those
        Files, globs, or URLs (s3, https); netCDF4, or HDF5 with dimension scales.
    store : str or path
        Folder or Icechunk URL of the new repository.
    group : str, optional
        Group in each file.
    concat_dim : str, optional
        Dimension along which files follow each other, in the order of their coordinates; by
        default the one whose coordinate differs.
    mode : {"w-", "w"}, default "w-"
        ``"w-"`` refuses a repository that is there, ``"w"`` makes a new version of it.
    storage_options : mapping, optional
        For the storage of the repository.

    Returns
    -------
    Dataset
        As `xphys.open` opens the store. Others than the caller of this function name the folder
        of the files when they open it, ``xphys.open(store, sources="/data/run")``, unless the
        repository lies in that folder or beside it.

    Raises
    ------
    FormatError
        If a file is not HDF5, has a layout that needs a reader of its own, or the files do not
        fit together in whole chunks.
    FileExistsError
        If the repository exists and mode is ``"w-"``.
    MissingDependencyError
        If icechunk or virtualizarr is not installed.
    SchemaError
        If ``mode`` is something else.

    Examples
    --------
    >>> ds = virtual("run/*.nc", "run.icechunk")  # doctest: +SKIP
    """
    if mode not in ("w-", "w"):
        raise SchemaError(f"references are written with mode 'w-' or 'w', got {mode!r}")
    require("icechunk", "icechunk")
    require("virtualizarr", "virtual")
    paths = [_file(path) for path in expand(files)]
    target = os.fspath(store)
    if is_url(target) and not is_icechunk(target):
        raise FormatError(f"{target}: expected a folder or a URL like icechunk+s3://bucket/prefix")
    place = Place.of(target, storage_options)
    if mode == "w-" and place.find() is not None:
        raise FileExistsError(f"{place} exists: choose another store, or mode='w'")
    with of_hdf5():
        held = [_parsed(file, group) for file in paths]
        ds = held[0] if len(held) == 1 else _joined(held, concat_dim, paths, group)
        _write(_described(ds, paths), place, paths)
    from xphys.io._open import open as open_any

    sources = sorted({file.folder for file in paths})
    return open_any(
        target, engine="icechunk", storage_options={**(storage_options or {}), "sources": sources}
    )


@dataclass(frozen=True)
class _File:
    """A file that is referred to.

    Attributes
    ----------
    url : str
        As references name it.
    folder : str
        URL of what holds it, with a slash at the end.
    mark : dict
        What its references carry to tell when it has changed.
    identity : dict
        Name and what tells this version, for the provenance.
    """

    url: str
    folder: str
    mark: dict[str, Any]
    identity: dict[str, Any]


def _file(path: str) -> _File:
    with open_binary(path) as opened:
        start = opened.read(8)
    if start != _HDF5:
        raise FormatError(
            f"{path}: expected netCDF4 or HDF5, found the first bytes {start!r}: references need "
            "HDF5; copy other formats with xphys convert"
        )
    if is_url(path):
        if path.partition("://")[0] not in _SCHEMES:
            raise FormatError(f"{path}: expected a local file or a URL of {', '.join(_SCHEMES)}")
        return _remote_file(path)
    full = os.path.realpath(path)
    folder = folder_url(os.path.dirname(full))
    mark = {"etag_checksum": etag(full)}
    return _File(f"{folder}{quote(os.path.basename(full))}", folder, mark, identity(path))


def _remote_file(url: str) -> _File:
    obstore = require("obstore", "cloud")
    root, path = _root(url)
    head = obstore.head(_store(root), path)
    mark = {"last_updated_at_checksum": head["last_modified"]}
    version = {"name": url, "size": head["size"], "etag": head["e_tag"]}
    return _File(url, f"{url.rpartition('/')[0]}/", mark, version)


def _root(url: str) -> tuple[str, str]:
    scheme, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    return f"{scheme}://{host}", path


def _store(root: str) -> Any:
    obstore = require("obstore.store", "cloud")
    return obstore.LocalStore() if root == "file://" else obstore.from_url(root)


def _parsed(file: _File, group: str | None, load: list[str] | None = None) -> xr.Dataset:
    """References of one file; what is to be loaded (by default indexes) is, all else stays."""
    virtualizarr = require("virtualizarr", "virtual")
    parser = require("virtualizarr.parsers", "virtual").HDFParser(group=group)
    registered = require("obspec_utils.registry", "virtual").ObjectStoreRegistry
    root = "file://" if file.url.startswith("file:") else _root(file.url)[0]
    registry = registered({root: _store(root)})
    try:
        ds: xr.Dataset = virtualizarr.open_virtual_dataset(
            file.url,
            registry=registry,
            parser=parser,
            loadable_variables=load,
            decode_times=False,
        )
    except (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise FormatError(
            f"{file.url}: its layout cannot be referred to as it is ({reason}): open it with "
            "xphys.open and write a copy with to_zarr"
        ) from error
    if not ds.data_vars:
        raise FormatError(
            f"{file.url}: no variables in group {group or '/'!r}: name the group that holds them, "
            "or open it with xphys.open and write a copy with to_zarr"
        )
    return ds


def _joined(
    held: list[xr.Dataset], dim: str | None, files: list[_File], group: str | None
) -> xr.Dataset:
    """Files one behind the other, in the order of their coordinates."""
    along = dim or _differing(held)
    for ds in held:
        if along not in ds.indexes:
            raise FormatError(
                f"expected a coordinate {along!r} in every file, to put them in order"
            )
        if set(ds.variables) != set(held[0].variables):
            names = sorted(map(str, set(ds.variables) ^ set(held[0].variables)))
            raise FormatError(f"expected the same variables in every file, {names} differ")
    fixed = [str(n) for n, v in held[0].variables.items() if along not in v.dims]
    if any(name not in held[0].indexes for name in fixed):
        # each file has its own: whether they agree is seen in their values
        load = [*fixed, *map(str, held[0].indexes)]
        held = [_parsed(file, group, load) for file in files]
    for name in fixed:
        if any(not held[0][[name]].drop_attrs().equals(ds[[name]].drop_attrs()) for ds in held):
            raise FormatError(f"{name!r} differs between files that follow along {along!r}")
    held = sorted(held, key=lambda ds: float(ds.indexes[along][0]))
    _require_in_order(held, along)
    try:
        return xr.concat(
            held,
            along,
            data_vars="minimal",
            coords="minimal",
            compat="override",
            join="override",
            combine_attrs="drop_conflicts",
        )
    except (NotImplementedError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise FormatError(
            f"the files do not fit together in whole chunks ({reason}): write a copy with to_zarr"
        ) from error


def _differing(held: list[xr.Dataset]) -> str:
    """The one dimension whose coordinate is not the same in all files."""
    first = held[0]
    names = [
        str(dim)
        for dim, index in first.indexes.items()
        if any(dim in ds.indexes and not index.equals(ds.indexes[dim]) for ds in held)
    ]
    if len(names) != 1:
        raise FormatError(
            f"{len(held)} files whose coordinates differ along {names or 'no dimension'}, expected "
            "one: name it with concat_dim"
        )
    return names[0]


def _require_in_order(held: list[xr.Dataset], along: str) -> None:
    for one, other in zip(held, held[1:], strict=False):
        last, first = float(one.indexes[along][-1]), float(other.indexes[along][0])
        if not last < first:
            raise FormatError(
                f"files overlap along {along!r}: one ends at {last}, the next begins at {first}"
            )


def _described(ds: xr.Dataset, files: list[_File]) -> xr.Dataset:
    identities = [file.identity for file in files]
    ds = record(
        ds, "virtual", {}, source=identities[0] if len(files) == 1 else {"files": identities}
    )
    local = [
        [file.url, file.mark["etag_checksum"]] for file in files if "etag_checksum" in file.mark
    ]
    ds.attrs[SOURCES] = json.dumps(local, separators=(",", ":"))
    return ds


def _write(ds: xr.Dataset, place: Place, files: list[_File]) -> None:
    """One commit with metadata, coordinates and references."""
    icechunk = require("icechunk", "icechunk")
    with translated(str(place)):
        repo = place.create()
        config = icechunk.RepositoryConfig.default()
        for folder in sorted({file.folder for file in files}):
            config.set_virtual_chunk_container(
                icechunk.VirtualChunkContainer(folder, _container(icechunk, folder))
            )
        repo = repo.reopen(config=config)
        with place.locked():
            repo.save_config()
        session = repo.writable_session(place.ref[1])
        session.store.sync_clear()
        ds.vz.to_icechunk(session.store)
        marks = {file.url: file.mark for file in files}
        for name, variable in ds.variables.items():
            references = getattr(variable.data, "manifest", None)
            if references is not None:
                _refer(icechunk, session.store, str(name), references, marks)
        with place.locked():
            session.commit("xphys: references", {"xphys": {"provenance": ds.attrs[SOURCES]}})


def _container(icechunk: Any, folder: str) -> Any:
    if folder.startswith("file://"):
        return icechunk.local_filesystem_store(folder.removeprefix("file://"))
    if folder.startswith("s3://"):
        return icechunk.s3_store()
    return icechunk.http_store()


def _refer(icechunk: Any, store: Any, name: str, references: Any, marks: dict[str, Any]) -> None:
    """References with what tells when their file has changed."""
    specs = [
        icechunk.VirtualChunkSpec(
            [int(i) for i in index],
            entry["path"],
            int(entry["offset"]),
            int(entry["length"]),
            **marks[entry["path"]],
        )
        for index, entry in references.iter_refs()
    ]
    if specs and store.set_virtual_refs(f"/{name}", specs, validate_containers=True):
        raise FormatError(f"variable {name!r}: a chunk lies in none of the files that were named")
