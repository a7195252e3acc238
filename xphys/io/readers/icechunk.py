"""Icechunk repositories: any of their states as one lazy Dataset, guarded and checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from urllib.parse import unquote

import xarray as xr

from xphys.errors import CorruptDataError, FormatError, UnfinishedStoreError, XphysError
from xphys.io import _objects as objects
from xphys.io._guard import GuardedStore, read_document
from xphys.io._icechunk import SOURCES, Place, etag, of_hdf5
from xphys.io._icechunk_store import RepositoryStore
from xphys.io._journal import read_run
from xphys.io._manifest import MARK
from xphys.io._strict import checked
from xphys.io.readers._shared import Options, finish, simulation_time
from xphys.schema import VERIFIED

__all__ = ["open_icechunk", "with_state"]

_STATE = ("branch", "tag", "snapshot", "sources")


def open_icechunk(
    paths: Sequence[str],
    *,
    storage_options: Options = None,
    normalize: bool | None = None,
    cache: bool = False,
    strict: bool | Literal["full"] = True,
    group: str | None = None,
    **options: Any,
) -> xr.Dataset:
    """Open a group in one state of a repository.

    Parameters
    ----------
    paths : sequence of str
        One folder or URL: ``icechunk:///folder``, ``icechunk+s3://bucket/prefix``.
    storage_options : mapping, optional
        For the storage.
    normalize, cache, strict
        As for Zarr, see `xphys.open`.
    group : str, optional
        Group in the repository.
    **options
        One of ``branch`` (default "main"), ``tag`` and ``snapshot``; ``sources``, the folders or
        URL prefixes that virtual chunks may be read from beside the folder that holds the
        repository; others are passed to ``xarray.open_dataset(engine="zarr")``.

    Returns
    -------
    Dataset
        Without Dask, of a read-only session that is pickled with it.

    Raises
    ------
    FileNotFoundError
        If there is no such repository, branch, tag or snapshot.
    UnfinishedStoreError
        If the first write to it was not finished.
    FormatError
        If there is no such group, or its metadata is damaged or not allowed.
    """
    if len(paths) != 1:
        raise FormatError(f"expected one repository, got {len(paths)}: open them one by one")
    options = with_state({**options, "storage_options": storage_options})
    place = Place.of(paths[0], options.pop("storage_options"))
    store, path = RepositoryStore.open_state(place), (group or "").strip("/")
    content = _root(store, path)
    checking = checked(store, path, strict)
    guarded: Any = GuardedStore(store if checking is None else checking)
    settings = {
        "decode_timedelta": simulation_time(),
        "zarr_format": 3,
        "consolidated": bool(read_document("zarr.json", content).get("consolidated_metadata")),
        "group": path or None,
        **options,
    }
    try:
        with of_hdf5():  # the guard lets through those that it knows
            ds = xr.open_dataset(guarded, engine="zarr", chunks=None, cache=cache, **settings)
    except XphysError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise FormatError(f"{place}: cannot be opened as a Zarr group: {error}") from error
    sources = ds.attrs.pop(SOURCES, None)
    if strict and sources is not None:
        _require_unchanged(sources)
    marked = ds.attrs.pop(MARK, None) is not None
    bring = not marked if normalize is None else normalize
    root = None if checking is None else checking.manifest.root
    ds = finish(ds, "icechunk", _source(store, content, root), bring, paths[0])
    ds.encoding[VERIFIED] = checking is not None
    return ds


def _require_unchanged(sources: str) -> None:
    """Files that references lead to, by size and time; what is read of them is checked again."""
    for url, mark in json.loads(sources):
        changed = etag(unquote(url.removeprefix("file://"))) not in (mark, None)
        if changed:
            raise CorruptDataError(
                f"{url} has changed since the references to it were written: write them again with "
                "xphys.virtual, or look at what is there with strict=False"
            )


def with_state(options: dict[str, Any]) -> dict[str, Any]:
    """Options of a reader with those that name a state moved to the storage options."""
    state = {name: options[name] for name in _STATE if name in options}
    rest = {name: value for name, value in options.items() if name not in _STATE}
    return {**rest, "storage_options": {**(options.get("storage_options") or {}), **state}}


def _root(store: RepositoryStore, path: str) -> bytes:
    content = objects.read(store, objects.join(path, "zarr.json"))
    if content is not None:
        return content
    if read_run(store, path) is not None:
        raise UnfinishedStoreError(
            f"{store}: a write has not been finished: run the code that began it again, or drop it "
            "with xphys.repair(url)"
        )
    raise FormatError(f"{store}: no Zarr group {path or '/'!r} in {' '.join(store.place.ref)}")


def _source(store: RepositoryStore, content: bytes, root: str | None) -> Mapping[str, Any]:
    """What tells this version: of a sealed group, whose equal writes are equal, its manifest."""
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()
    found = {"name": store.place.name, "metadata_digest": digest}
    return {
        **found,
        **({"snapshot": store.snapshot} if root is None else {"manifest_digest": root}),
    }
