"""Which files of The Well belong together: folders, splits, patterns of URLs, public data sets."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from xphys._storage import find, is_url
from xphys.errors import FormatError
from xphys.io.readers.the_well._public import find_public, is_public

__all__ = ["SUFFIXES", "find_files"]

SUFFIXES = (".hdf5", ".h5")
# A data set's own folder, then the place of its splits.
_PLACES = ("", "{split}/", "data/{split}/")


def find_files(
    paths: Sequence[str],
    split: str | None,
    storage_options: Mapping[str, Any] | None,
    base: str | None = None,
) -> list[str]:
    """List the files behind paths, sorted by name.

    Parameters
    ----------
    paths : sequence of str
        Files, folders (a data set, its ``data/`` or one of its splits), URLs and patterns of them,
        ``the_well://DATASET/SPLIT``.
    split : str or None
        Folder of the split, needed where there are several.
    storage_options : mapping, optional
        For the file system of URLs.
    base : str, optional
        Where the public data sets lie.

    Returns
    -------
    list of str
        At least one.

    Raises
    ------
    FormatError
        If there is none, or several splits and none was chosen.
    UnknownNameError
        If there is no such public data set or split.
    """
    found: list[str] = []
    for path in paths:
        if is_public(path):
            found += find_public(path, split, base, storage_options)
            continue
        found += _in_folder(path, split, storage_options) if _is_folder(path) else [path]
    return sorted(dict.fromkeys(found))


def _is_folder(path: str) -> bool:
    if is_url(path):
        return "*" in path or not path.endswith(SUFFIXES)
    return os.path.isdir(path)


def _in_folder(
    folder: str, split: str | None, storage_options: Mapping[str, Any] | None
) -> list[str]:
    if "*" in folder:
        return _needed(_glob(folder, storage_options), folder)
    own = re.split(r"[/\\]", folder.rstrip("/"))[-1]
    places = _PLACES if split in (None, own) else _PLACES[1:]
    for place in places:
        inside = f"{folder.rstrip('/')}/{place.format(split=split or '*')}"
        found = [one for suffix in SUFFIXES for one in _glob(f"{inside}*{suffix}", storage_options)]
        splits = sorted({re.split(r"[/\\]", one)[-2] for one in found})
        if len(splits) > 1:
            raise FormatError(
                f"{folder}: found the splits {', '.join(splits)}: choose one, split={splits[-1]!r}"
            )
        if found:
            return found
    where = f"the split {split!r}" if split else "the folder or its splits"
    raise FormatError(f"{folder}: expected .hdf5 or .h5 files in {where}, found none")


def _needed(found: list[str], pattern: str) -> list[str]:
    if not found:
        raise FormatError(f"{pattern}: nothing found that fits the pattern")
    return found


def _glob(pattern: str, storage_options: Mapping[str, Any] | None) -> list[str]:
    if is_url(pattern):
        return find(pattern, storage_options)
    import glob

    folder, name = os.path.split(pattern)
    star = "*" if os.path.basename(folder) == "*" else ""
    fixed = os.path.dirname(folder) if star else folder
    return sorted(glob.glob(os.path.join(glob.escape(fixed), star, name)))
