"""Zarr groups through xarray's engine, guarded and, where they have a manifest, checked."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Literal

import xarray as xr

from xphys.errors import FormatError, XphysError
from xphys.io._guard import GuardedStore, read_document
from xphys.io._limits import LARGEST_DOCUMENT
from xphys.io._manifest import MARK
from xphys.io._objects import open_store
from xphys.io._strict import checked
from xphys.io.readers._shared import ROOTS, Options, finish, root_document, simulation_time
from xphys.io.readers._source import source_identity
from xphys.schema import VERIFIED

__all__ = ["open_zarr"]


def open_zarr(
    paths: Sequence[str],
    *,
    storage_options: Options = None,
    normalize: bool | None = None,
    cache: bool = False,
    strict: bool | Literal["full"] = True,
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
    path = paths[0]
    place = f"{path.rstrip('/')}/{options.get('group') or ''}".rstrip("/")
    root = root_document(place, storage_options)
    if root is None:
        raise FormatError(f"{place}: expected one of {', '.join(ROOTS)}, found none")
    name, content = root
    # the group is opened as a store of its own: then its own document is the one that counts
    store = open_store(place, storage_options, read_only=True)
    try:
        document = read_document(f"{place}/{name}", content)
    except FormatError:
        if strict and len(content) <= LARGEST_DOCUMENT:
            with suppress(RecursionError):
                checked(store, "", True)  # where there is a manifest it knows what happened
        raise
    if name == ".zarray" or document.get("node_type") == "array":
        raise FormatError(
            f"{path}: expected a Zarr group, found a single array: open the group that holds it"
        )
    checking = checked(store, "", strict)
    guarded: Any = GuardedStore(store if checking is None else checking)
    settings = {
        "decode_timedelta": simulation_time(),
        "consolidated": name == ".zmetadata" or bool(document.get("consolidated_metadata")),
        **{k: v for k, v in options.items() if k != "group"},
    }
    try:
        ds = xr.open_dataset(guarded, engine="zarr", chunks=None, cache=cache, **settings)
    except XphysError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise FormatError(f"{place}: cannot be opened as a Zarr group: {error}") from error
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()
    source = {**source_identity([path.rstrip("/")]), "metadata_digest": digest}
    marked = ds.attrs.pop(MARK, None) is not None
    bring = not marked if normalize is None else normalize
    ds = finish(ds, "zarr", source, bring, path)
    ds.encoding[VERIFIED] = checking is not None
    return ds
