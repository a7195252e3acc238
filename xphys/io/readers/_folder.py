"""Files of a run whose names are counted: in the order of their numbers, not of the text."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

from xphys._storage import is_url
from xphys.errors import FormatError

__all__ = ["by_number", "files_of"]


def files_of(paths: Sequence[str], suffixes: tuple[str, ...]) -> list[str]:
    """Files named, and those directly in folders that are named.

    Parameters
    ----------
    paths : sequence of str
        Files, local folders and URLs.
    suffixes : tuple of str
        Endings of the files in a folder.

    Returns
    -------
    list of str
        In the order of their numbers if the names came in the order of the text, as a pattern
        gives them; any other order is one that somebody chose, and stays.

    Raises
    ------
    FormatError
        If a folder has no such file.
    """
    found: list[str] = []
    for path in paths:
        if is_url(path) or not os.path.isdir(path):
            found.append(path)
            continue
        inside = [name for name in os.listdir(path) if name.endswith(suffixes)]
        if not inside:
            raise FormatError(f"{path}: expected files {', '.join(suffixes)}, found none")
        found.extend(os.path.join(path, name) for name in sorted(inside))
    return sorted(found, key=by_number) if found == sorted(found) else found


def by_number(path: str) -> list[Any]:
    """Key of a sort in which s2 comes before s10."""
    parts = re.split(r"(\d+)", path)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)]
