"""Which files belong to a run: folders, ranks, variable groups and output numbers by name."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xphys._storage import Source, expand, find, is_url
from xphys.errors import FormatError

__all__ = ["Found", "find_files", "has_dumps"]

_PATTERNS = ("*.bin", "*.cbin")
_NAME = re.compile(r"(?P<base>.+)\.(?P<group>[^.]+)\.(?P<number>\d+)\.c?bin$")
# A run's own folder, then the two that AthenaK makes inside it.
_FOLDERS = ("", "bin", "cbin_*")


@dataclass(frozen=True)
class Found:
    """Files of one basename.

    Attributes
    ----------
    groups : dict
        Variable group (``mhd_w``) -> output number -> files, one per rank.
    files : tuple of str
        All of them in one list.
    """

    groups: Mapping[str, Mapping[int, tuple[str, ...]]]
    files: tuple[str, ...]


def _glob(folder: str, pattern: str, storage_options: Mapping[str, Any] | None) -> list[str]:
    import glob

    joined = f"{folder.rstrip('/')}/{pattern}"
    if not is_url(folder):
        return sorted(glob.glob(os.path.join(glob.escape(folder), pattern)))
    return find(joined, storage_options)


def _in_folder(folder: str, storage_options: Mapping[str, Any] | None) -> list[str]:
    for inside in _FOLDERS:
        found: list[str] = []
        for pattern in _PATTERNS:
            for ranks in ("", "rank_*/"):
                parts = f"{inside}/{ranks}{pattern}".lstrip("/")
                found += _glob(folder, parts, storage_options)
        named = [path for path in found if _NAME.match(_last(path))]
        if named:
            return named
    return []


def _last(path: str) -> str:
    return re.split(r"[/\\]", path)[-1]


def _is_folder(path: str) -> bool:
    if not is_url(path):
        return os.path.isdir(path)
    return "*" in path or not _last(path).endswith((".bin", ".cbin"))


def has_dumps(path: str, storage_options: Mapping[str, Any] | None = None) -> bool:
    """True if a folder or URL pattern holds files named like AthenaK's."""
    return bool(_listed(path, storage_options))


def _listed(path: str, storage_options: Mapping[str, Any] | None) -> list[str]:
    if is_url(path) and "*" in path:
        folder, _, pattern = path.rpartition("/")
        return _glob(folder, pattern, storage_options)
    return _in_folder(path, storage_options)


def find_files(source: Source, storage_options: Mapping[str, Any] | None = None) -> Found:
    """List the dumps behind a file, folder, glob or list and sort them by their names.

    Parameters
    ----------
    source : str, path or iterable of those
        A folder is searched for ``*.bin`` and ``*.cbin``, also inside ``rank_*/``, and if it has
        none, its ``bin/`` or ``cbin_*/``.
    storage_options : mapping, optional
        For the file system of a URL.

    Returns
    -------
    Found
        Files with equal names in different folders are ranks of one output.

    Raises
    ------
    FormatError
        If there are none, if a name has no output number, or if two runs are mixed.
    """
    paths: list[str] = []
    for entry in expand(source):
        if _is_folder(entry):
            paths += _listed(entry, storage_options)
        else:
            paths.append(entry)
    paths = list(dict.fromkeys(paths))
    if not paths:
        raise FormatError(
            f"{source}: expected files named like run.mhd_w.00012.bin here, in rank_*/ or in bin/, "
            "found none"
        )
    if len(paths) == 1 and not _NAME.match(_last(paths[0])):
        return Found({"output": {0: (paths[0],)}}, (paths[0],))
    groups: dict[str, dict[int, list[str]]] = {}
    bases: set[str] = set()
    for path in paths:
        match = _NAME.match(_last(path))
        if match is None:
            raise FormatError(
                f"{path}: expected a name like run.mhd_w.00012.bin, whose last number gives the "
                "order of the outputs: give a narrower pattern or rename the file"
            )
        bases.add(match["base"])
        numbers = groups.setdefault(match["group"], {})
        numbers.setdefault(int(match["number"]), []).append(path)
    if len(bases) > 1:
        raise FormatError(
            f"expected the files of one run, found the basenames {sorted(bases)}: open one with a "
            f"pattern such as '{sorted(bases)[0]}.*.bin'"
        )
    ordered = {
        group: {n: tuple(sorted(numbers[n])) for n in sorted(numbers)}
        for group, numbers in sorted(groups.items())
    }
    return Found(ordered, tuple(paths))
