"""From what a user names (path, glob, folder, URL, list) to the files behind it."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

__all__ = ["Source", "expand", "identity", "is_url", "open_binary"]

Source = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


def is_url(path: str) -> bool:
    """True for ``scheme://...``; a Windows drive or a plain path is not a URL."""
    return "://" in path


def expand(source: Source) -> list[str]:
    """Turn a path, glob or list into a sorted list of paths and URLs.

    Parameters
    ----------
    source : str, path or iterable of those
        A folder is returned as it is; a pattern with ``*``, ``?`` or ``[`` is expanded.

    Returns
    -------
    list of str
        At least one entry, duplicates removed.

    Raises
    ------
    FileNotFoundError
        If a local path does not exist or a pattern matches nothing.
    """
    if isinstance(source, str | os.PathLike):
        source = [source]
    found: list[str] = []
    for entry in source:
        path = os.fspath(entry)
        if is_url(path) or os.path.exists(path):
            found.append(path)
        else:
            path = os.path.expanduser(path)
            matches = sorted(glob.glob(path, recursive=True))
            if not matches:
                raise FileNotFoundError(f"nothing found at {path!r}: no such file, folder or match")
            found.extend(matches)
    if not found:
        raise FileNotFoundError("expected at least one path, got an empty list")
    return list(dict.fromkeys(found))


def open_binary(path: str, storage_options: Mapping[str, Any] | None = None) -> IO[bytes]:
    """Open a local path or URL for reading bytes.

    Parameters
    ----------
    path : str
        Local path or URL of any kind that fsspec knows.
    storage_options : mapping, optional
        Passed to the file system of a URL.

    Returns
    -------
    binary file
        Seekable, read-only.
    """
    if is_url(path):
        import fsspec

        return fsspec.open(path, "rb", **dict(storage_options or {})).open()  # type: ignore[no-any-return]
    return open(path, "rb")


def identity(path: str) -> dict[str, Any]:
    """What tells one version of a source from another, without reading it.

    Parameters
    ----------
    path : str
        Local path or URL.

    Returns
    -------
    dict
        ``name`` (last part of the path: no user folder is recorded), and for local files
        ``size`` and ``mtime`` in nanoseconds.
    """
    name = path if is_url(path) else Path(path).name
    if is_url(path) or not os.path.isfile(path):
        return {"name": name}
    status = os.stat(path)
    return {"name": name, "size": status.st_size, "mtime": status.st_mtime_ns}
