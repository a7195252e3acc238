"""Zarr groups through xarray's engine, guarded and, where they have a manifest, checked."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Literal

import xarray as xr

from xphys._storage import is_url, name_of
from xphys.errors import FormatError, UnfinishedStoreError, XphysError
from xphys.io._guard import GuardedStore, read_document
from xphys.io._limits import LARGEST_DOCUMENT
from xphys.io._manifest import MARK
from xphys.io._objects import open_store
from xphys.io._strict import checked
from xphys.io._url_store import KnownStore, UrlStore
from xphys.io.readers._reported import reported
from xphys.io.readers._shared import (
    ROOTS,
    Options,
    Root,
    finish,
    root_document,
    simulation_time,
)
from xphys.schema import VERIFIED

__all__ = ["open_zarr"]


def open_zarr(
    paths: Sequence[str],
    *,
    storage_options: Options = None,
    normalize: bool | None = None,
    cache: bool = False,
    strict: bool | Literal["full"] = True,
    root: Root | None = None,
    **options: Any,
) -> xr.Dataset:
    """Open one Zarr group, version 2 or 3, consolidated or not.

    Parameters
    ----------
    paths : sequence of str
        One folder or URL.
    storage_options : mapping, optional
        For the file system of a URL.
    normalize : bool, optional
        Bring names and dims into the data model; by default unless the group has a manifest:
        what xphys wrote keeps the names it was given.
    cache : bool
        Keep what was read in memory; only of use without Dask.
    strict : bool or "full"
        How a group with a manifest is checked, see `xphys.open`.
    root : (str, bytes), optional
        Name and content of the metadata document of the store, if that was read before.
    **options
        Passed to ``xarray.open_dataset(engine="zarr")``, e.g. ``group``.

    Returns
    -------
    Dataset
        Without Dask; ``encoding["source"]`` is set on it and on every variable.

    Raises
    ------
    FormatError
        If there are several stores, the store is a single array, or its metadata is damaged or
        asks for codecs or sizes that are not allowed.
    """
    if len(paths) != 1:
        raise FormatError(f"expected one Zarr store, got {len(paths)}: open them one by one")
    path = paths[0].rstrip("/")
    place = f"{path}/{options.pop('group', None) or ''}".rstrip("/")
    if place != path:
        root = None
    repeats = UrlStore.repeats if is_url(place) else 0
    for left in range(repeats, -1, -1):
        if root is None:
            root = root_document(place, storage_options)
        if root is None:
            raise FormatError(f"{place}: expected one of {', '.join(ROOTS)}, found none")
        try:
            ds, source = _opened(place, root, storage_options, strict, {"cache": cache, **options})
        except UnfinishedStoreError:
            raise
        except FormatError:  # of a server: bytes may have been lost on the way
            if not left:
                raise
            root = None
        else:
            break
    source = {"name": name_of(path), **source}
    marked = ds.attrs.pop(MARK, None) is not None
    bring = not marked if normalize is None else normalize
    ds = finish(ds, "zarr", source, bring, paths[0])
    ds.encoding[VERIFIED] = "manifest_digest" in source
    return ds


def _opened(
    place: str,
    root: Root,
    storage_options: Options,
    strict: bool | Literal["full"],
    options: dict[str, Any],
) -> tuple[xr.Dataset, dict[str, str]]:
    """A group as xarray opens it, and the digests that identify it."""
    name, content = root
    # the group is opened as a store of its own: then its own document is the one that counts
    store = open_store(place, storage_options, read_only=True)
    if is_url(place):
        store = KnownStore(store, {name: content})
    try:
        document = read_document(f"{place}/{name}", content)
    except FormatError:
        if strict and len(content) <= LARGEST_DOCUMENT:
            with suppress(RecursionError):
                checked(store, "", True)  # where there is a manifest it knows what happened
        raise
    if name == ".zarray" or document.get("node_type") == "array":
        raise FormatError(
            f"{place}: expected a Zarr group, found a single array: open the group that holds it"
        )
    checking = checked(store, "", strict)
    guarded: Any = GuardedStore(store if checking is None else checking)
    cache = options.pop("cache", False)
    settings = {
        "decode_timedelta": simulation_time(),
        "zarr_format": 3 if name == "zarr.json" else 2,  # the other one would be looked for too
        "consolidated": name == ".zmetadata" or bool(document.get("consolidated_metadata")),
        **options,
    }
    try:
        ds = xr.open_dataset(guarded, engine="zarr", chunks=None, **settings, cache=False)
    except XphysError:
        raise
    except (
        ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError
    ) as error:  # fmt: skip
        raise FormatError(f"{place}: cannot be opened as a Zarr group: {error}") from error
    source = {"metadata_digest": hashlib.blake2b(content, digest_size=16).hexdigest()}
    if checking is not None:
        source["manifest_digest"] = checking.manifest.root
    return reported(ds, place, cache), source
