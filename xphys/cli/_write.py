"""Writing a store without ever replacing something that is not one."""

from __future__ import annotations

import glob
import os
from pathlib import Path

from xphys.errors import XphysError

__all__ = ["check_target"]

_UNFINISHED = "_xphys/journal/run.json"
_MARKS = ("zarr.json", ".zgroup", ".zmetadata")


def check_target(store: str | Path, *, source: str | None = None, overwrite: bool) -> None:
    """Refuse to write over the source, over other files, or over a store unasked.

    Parameters
    ----------
    store : str or path
        Where a store is to be written; URLs are left to the writer.
    source : str, optional
        What will be read meanwhile: a path or glob.
    overwrite : bool
        Whether a store that is there may be replaced.

    Raises
    ------
    XphysError
        If the store may not be written there.
    """
    if "://" in str(store):
        return
    target = Path(store).resolve()
    if not target.exists():
        return
    if not target.is_dir():
        raise XphysError(f"{store} is a file: choose another store")
    if not any(target.iterdir()) or (target / _UNFINISHED).exists():
        return  # a write that was stopped: the writer goes on with it or refuses
    if not any((target / mark).exists() for mark in _MARKS):
        raise XphysError(f"{store} holds files that are no Zarr store: choose another store")
    if not overwrite:
        raise XphysError(f"{store} exists already: choose another store or give --overwrite")
    if any(_inside(path, target) for path in glob.glob(os.path.expanduser(source or ""))):
        raise XphysError(f"{store} holds the source {source}: choose another store")


def _inside(path: str, folder: Path) -> bool:
    found = Path(path).resolve()
    return found == folder or folder in found.parents
