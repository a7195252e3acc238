"""Statistics beside the data that they are of: a JSON file, which knows what it was made from."""

from __future__ import annotations

import glob
import hashlib
import json
import math
import os
import uuid
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from xphys._storage import identities, is_url, open_binary
from xphys.errors import FormatError, SchemaError
from xphys.schema import PROVENANCE, provenance
from xphys.stats._api import NAMES

__all__ = ["load", "place", "save"]

_VERSION = 1
_SUFFIX = ".stats.json"
_LARGEST = 2**26
_TEXT = ("vector", "component", "units")
_WHOLE = ("count", "nan_count")
_AGAIN = "run `xphys stats` again, or ds.phys.stats()"
_MANIFEST = "_xphys/manifest/zarr.json"
Identity = dict[str, Any]


def place(source: xr.Dataset | str | os.PathLike[str]) -> str:
    """Where the statistics of a source are kept: a file beside it, ``<source>.stats.json``.

    Parameters
    ----------
    source : Dataset, str or path
        An opened Dataset, or what it was opened from; of a pattern the folder counts.

    Returns
    -------
    str
        Local path or URL. Nothing inside a store is touched: its manifest stays valid.

    Raises
    ------
    SchemaError
        If the Dataset was not opened from anywhere.

    Examples
    --------
    >>> place("data/run.zarr/")
    'data/run.zarr.stats.json'
    """
    if isinstance(source, xr.Dataset):
        found = source.encoding.get("source")
        if not isinstance(found, str | os.PathLike):
            raise SchemaError("expected a Dataset that was opened with xphys.open: give path=...")
        source = found
    path = os.fspath(source)
    if is_url(path):
        return path.rstrip("/") + _SUFFIX
    if glob.has_magic(path) and not os.path.exists(path):
        path = os.path.dirname(path) or os.curdir
    return os.path.normpath(os.path.abspath(path) if path == os.curdir else path) + _SUFFIX


def save(found: xr.Dataset, ds: xr.Dataset, path: str | os.PathLike[str] | None = None) -> str:
    """Keep statistics beside the data, with a digest of what they are of.

    Parameters
    ----------
    found : Dataset
        From `statistics`; computed now if it is lazy.
    ds : Dataset
        What they are of, as `xphys.open` gave it.
    path : str or path, optional
        Local file; by default that of `place`.

    Returns
    -------
    str
        The file.

    Raises
    ------
    SchemaError
        If the place is a URL, or ``found`` are no statistics of ``ds``.
    """
    target = place(ds) if path is None else os.fspath(path)
    if is_url(target):
        raise SchemaError(f"statistics are written to a local file, got {target!r}: give path=...")
    values = found.compute()
    steps = [step for step in provenance(found) if step["operation"] == "statistics"]
    if not steps or any(name not in values for name in NAMES):
        raise SchemaError("expected the Dataset of ds.phys.stats(), got another one")
    used = steps[-1]["parameters"]
    rows = []
    for i, name in enumerate(values["variable"].values.tolist()):
        row: dict[str, Any] = {"variable": name}
        row |= {key: str(values[key].values[i]) for key in _TEXT}
        row |= {key: int(values[key].values[i]) for key in _WHOLE}
        row |= {key: _number(values[key].values[i]) for key in NAMES if key not in _WHOLE}
        rows.append(row)
    about = _identity(ds)
    document = {
        "xphys_stats": _VERSION,
        "digest": _digest(about),
        "of": about,
        "skipna": used["skipna"],
        "sizes": {name: _sizes(ds, name) for name in used["variables"]},
        "read": [name for name in used["variables"] if ds[name].encoding],
        "variables": rows,
        "provenance": provenance(found),
    }
    partial = f"{target}.{uuid.uuid4().hex}.partial"
    try:
        with open(partial, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=1, sort_keys=True, allow_nan=False)
            file.write("\n")
        os.replace(partial, target)
    finally:
        if os.path.exists(partial):
            os.remove(partial)
    return target


def load(
    source: xr.Dataset | str | os.PathLike[str], path: str | os.PathLike[str] | None = None
) -> xr.Dataset:
    """Statistics that were kept beside data, if they are of these data still.

    Parameters
    ----------
    source : Dataset, str or path
        An opened Dataset; or a sealed store or a single file, which is not opened for it.
    path : str or path, optional
        The file, if it is not beside the data.

    Returns
    -------
    Dataset
        As `statistics` gives it, in memory.

    Raises
    ------
    FileNotFoundError
        If there are none.
    FormatError
        If they are of other data: the source has changed since; or if the file is damaged.
    SchemaError
        If the Dataset is a part of the source, or it takes a Dataset to find out.
    """
    where = place(source) if path is None else os.fspath(path)
    document = _read(where)
    try:
        about: Identity = document["of"]
        if isinstance(source, xr.Dataset):
            current: Identity | None = _identity(source)
        else:
            current = _identity_behind(os.fspath(source), about)
        if current is None:
            raise SchemaError(
                f"{os.fspath(source)}: it takes the Dataset to tell whether statistics are still "
                "right: load(xphys.open(...))"
            )
        if document["digest"] != _digest(about) or current != about:
            raise FormatError(f"{where}: statistics of other data than there are now: {_AGAIN}")
        if isinstance(source, xr.Dataset):
            _check_whole(source, document, where)
        return _dataset(document)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        if isinstance(error, SchemaError | FormatError):
            raise
        raise FormatError(f"{where}: cannot be read as statistics: {error}") from error


def _read(where: str) -> dict[str, Any]:
    try:
        with open_binary(where) as file:
            data = file.read(_LARGEST + 1)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{where}: no statistics yet: {_AGAIN}") from error
    try:
        document = json.loads(data) if len(data) <= _LARGEST else None
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{where}: expected JSON, found damage: {error}") from error
    if not isinstance(document, dict) or document.get("xphys_stats") != _VERSION:
        raise FormatError(f"{where}: expected statistics of version {_VERSION}: {_AGAIN}")
    return document


def _identity(ds: xr.Dataset) -> Identity:
    """Which data these are: the manifest of a sealed store, else source and reader; and what was
    done to them since they were opened.
    """
    steps = provenance(ds)
    opened = [i for i, step in enumerate(steps) if step["operation"] == "open"]
    if not opened:
        raise SchemaError("expected a Dataset that was opened with xphys.open")
    first, later = steps[opened[-1]], steps[opened[-1] + 1 :]
    source = first.get("source", {})
    found: Identity = {"source": source, "reader": first["parameters"]}
    if isinstance(source, Mapping) and "manifest_digest" in source:
        found = {"manifest_digest": source["manifest_digest"]}
    return {**found, "steps": [[step["operation"], step["parameters"]] for step in later]}


def _identity_behind(path: str, about: Identity) -> Identity | None:
    """The identity of what lies at a path, as far as it can be told without a reader."""
    if "manifest_digest" in about:
        try:
            with open_binary(f"{path.rstrip('/')}/{_MANIFEST}") as file:
                document = json.loads(file.read(2**28))
            return {**about, "manifest_digest": document["attributes"]["digest"]}
        except FileNotFoundError:
            return {"manifest_digest": None}
    if "name" in about.get("source", {}) and (is_url(path) or os.path.isfile(path)):
        return {**about, "source": identities([path])[0]}
    return None


def _digest(about: Identity) -> str:
    if "manifest_digest" in about and not about.get("steps"):
        return str(about["manifest_digest"])
    text = json.dumps(about, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _sizes(ds: xr.Dataset, name: str) -> dict[str, int]:
    return {str(dim): int(n) for dim, n in ds[name].sizes.items()}


def _check_whole(ds: xr.Dataset, document: Mapping[str, Any], where: str) -> None:
    """Refuse a part of the source, and variables that were replaced since it was opened."""
    for name, whole in document["sizes"].items():
        if name not in ds.variables:
            continue
        if _sizes(ds, name) != dict(whole):
            raise SchemaError(
                f"{where}: statistics of all of {name!r}, {dict(whole)}, this is a part, "
                f"{_sizes(ds, name)}: use ds.phys.stats() for it"
            )
        if name in document["read"] and not ds[name].encoding:
            raise SchemaError(
                f"{where}: {name!r} has changed since it was opened: use ds.phys.stats() for it"
            )


def _number(value: Any) -> float | str:
    number = float(value)
    return number if math.isfinite(number) else repr(number)


def _dataset(document: Mapping[str, Any]) -> xr.Dataset:
    rows = document["variables"]
    coords: dict[str, Any] = {"variable": [str(row["variable"]) for row in rows]}
    for key in _TEXT:
        coords[key] = ("variable", np.array([str(row[key]) for row in rows], np.str_))
    fields = {
        name: (
            "variable",
            np.array([(int if name in _WHOLE else float)(row[name]) for row in rows]),
            {"long_name": text},
        )
        for name, text in NAMES.items()
    }
    history = json.dumps(document["provenance"], sort_keys=True, separators=(",", ":"))
    return xr.Dataset(fields, coords, {PROVENANCE: history})
