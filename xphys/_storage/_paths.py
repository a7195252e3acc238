"""From what a user names (path, glob, folder, URL, list) to the files behind it."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

__all__ = ["Source", "expand", "find", "identities", "identity", "is_url", "name_of", "open_binary"]

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

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    RemoteError
        If a server refuses, or goes on failing when it is asked again.
    """
    if not is_url(path):
        return open(path, "rb")
    import fsspec

    from xphys._storage._remote import is_remote, remote

    if is_remote(path):
        system, place = remote(path, storage_options)
        return system.open(place, "rb")  # type: ignore[no-any-return]
    return fsspec.open(path, "rb", **dict(storage_options or {})).open()  # type: ignore[no-any-return]


def find(pattern: str, storage_options: Mapping[str, Any] | None = None) -> list[str]:
    """URLs that match a pattern, sorted.

    Parameters
    ----------
    pattern : str
        URL with ``*``, ``?`` or ``[``.
    storage_options : mapping, optional
        For the file system.

    Returns
    -------
    list of str
        Empty if there are none.
    """
    import fsspec

    from xphys._storage._remote import is_remote, remote

    if is_remote(pattern):
        system, path = remote(pattern, storage_options)
        try:
            return sorted(system.url(found) for found in system.glob(path))
        except FileNotFoundError:  # the folder itself
            return []
    system, path = fsspec.core.url_to_fs(pattern, **dict(storage_options or {}))
    return sorted(str(system.unstrip_protocol(found)) for found in system.glob(path))


def identity(path: str, storage_options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What tells one version of a source from another, without reading it.

    Parameters
    ----------
    path : str
        Local path or URL.
    storage_options : mapping, optional
        For the file system of a URL.

    Returns
    -------
    dict
        ``name`` (last part of the path: no user folder is recorded; the whole of a URL), for
        local files ``size`` and ``mtime`` in nanoseconds, for objects of a server ``size`` and
        what it gives of ``etag`` and ``modified``. One request for a URL; what cannot be asked
        for is left out.
    """
    return identities([path], storage_options)[0]


def identities(
    paths: Sequence[str], storage_options: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """`identity` of each path; servers are asked for many at a time."""
    from_servers = _remote_identities(paths, storage_options)
    out = []
    for path in paths:
        found: dict[str, Any] = {"name": name_of(path)}
        if is_url(path):
            found |= from_servers.get(path, {})
        elif os.path.isfile(path):
            status = os.stat(path)
            found |= {"size": status.st_size, "mtime": status.st_mtime_ns}
        out.append(found)
    return out


def name_of(path: str) -> str:
    """Last part of a path; a URL without user, password and query, which may be secret."""
    if not is_url(path):
        return Path(path).name
    url = path
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path.partition('?')[0]}"


def _remote_identities(
    paths: Sequence[str], storage_options: Mapping[str, Any] | None
) -> dict[str, dict[str, Any]]:
    urls = [path for path in paths if is_url(path)]
    if not urls:
        return {}
    from xphys._storage._remote import infos

    return {url: _told(info) for url, info in infos(urls, storage_options).items()}


def _told(info: Mapping[str, Any]) -> dict[str, Any]:
    """What the file systems tell of one object, by one name each."""
    if info.get("type") == "directory":
        return {}
    found = {str(key).lower().replace("-", "_"): value for key, value in info.items()}
    out: dict[str, Any] = {}
    if found.get("size") is not None:
        out["size"] = int(found["size"])
    etag = found.get("etag") or found.get("md5hash") or found.get("content_md5")
    modified = found.get("last_modified") or found.get("mtime")
    if etag:
        out["etag"] = str(etag).strip('"')
    elif modified:
        out["modified"] = str(modified)
    return out
