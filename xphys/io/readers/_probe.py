"""What readers look at to recognise a source: the path and its first bytes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from xphys._storage import is_url, open_binary
from xphys.errors import RemoteError
from xphys.io._icechunk import is_icechunk
from xphys.io.readers._shared import Root, root_document

__all__ = ["Probe", "probe"]

_LENGTH = 64
_HDF5 = b"\x89HDF\r\n\x1a\n"
_DEPTH = 4  # how far below a folder files are looked for
_NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Probe:
    """A source before it is opened.

    Attributes
    ----------
    path : str
        File, folder, URL, or URL pattern.
    start : bytes
        First 64 bytes of a file; empty for anything else.
    storage_options : dict
        For the file system of a URL.
    failure : OSError or None
        Why the start of a URL could not be read.
    root : (str, bytes) or None
        Name and content of the document that makes a URL a Zarr store, where that was asked for
        first.
    """

    path: str
    start: bytes
    storage_options: Mapping[str, Any] = field(default_factory=dict)
    failure: OSError | None = None
    root: Root | None = None

    @cached_property
    def layout(self) -> frozenset[str]:
        """What an HDF5 file holds down to two levels: "group/", "group/dataset", "@attribute".

        Links to elsewhere are left out. Empty for anything else; a file that cannot be read has
        the layout of nothing.
        """
        return _layout(self.path, self.storage_options) if self.is_hdf5 else _NOTHING

    @property
    def is_hdf5(self) -> bool:
        """Whether the file begins as HDF5 does."""
        return self.start.startswith(_HDF5)

    def member(self, *suffixes: str) -> Probe | None:
        """The first file in a local folder, or below, whose name ends in one of the suffixes."""
        if is_url(self.path) or not os.path.isdir(self.path):
            return None
        for folder, inside, names in os.walk(self.path):
            inside.sort()
            if os.path.relpath(folder, self.path).count(os.sep) >= _DEPTH:
                inside.clear()
            for name in sorted(names):
                if name.endswith(suffixes):
                    return probe(os.path.join(folder, name), self.storage_options)
        return None


def _layout(path: str, options: Mapping[str, Any]) -> frozenset[str]:
    from xphys.errors import FormatError
    from xphys.io.readers._hdf5 import HDF5File

    file = HDF5File(path, options)
    try:
        with file.opened() as root:
            found = {f"@{name}" for name in root.attrs}
            for name, held in file.members().items():
                found.add(f"{name}/" if held == "group" else name)
                if held == "group":
                    found.update(f"{name}/{inner}" for inner in root[name])
            return frozenset(found)
    except FormatError:
        return _NOTHING
    finally:
        file.close()


def _may_be_zarr(url: str) -> bool:
    """Whether a URL is asked for a Zarr store before it is asked for a file: by its name."""
    inside = url.partition("://")[2].rstrip("/").partition("/")[2]
    suffix = os.path.splitext(inside.rpartition("/")[2])[1]
    return is_url(url) and "*" not in url and suffix in ("", ".zarr")


def probe(path: str, storage_options: Mapping[str, Any] | None = None) -> Probe:
    """Read the first bytes of a source; a folder, local or remote, has none.

    Parameters
    ----------
    path : str
        Local path that exists, or URL.
    storage_options : mapping, optional
        For the file system of a URL.

    Returns
    -------
    Probe
        What the recognisers of all readers share, so that a URL is asked once.
    """
    options = dict(storage_options or {})
    if is_icechunk(path) or (not is_url(path) and not os.path.isfile(path)):
        return Probe(path, b"", options)
    asked = _may_be_zarr(path)
    try:
        if asked and (root := root_document(path, options)) is not None:
            return Probe(path, b"", options, root=root)
        with open_binary(path, options) as file:
            return Probe(path, file.read(_LENGTH), options)
    except OSError as error:
        if not is_url(path):
            raise
        refused = isinstance(error, RemoteError) and error.status in (401, 403)
        if refused and not asked and "*" not in path:  # as web servers do with folders
            with suppress(RemoteError):
                return Probe(path, b"", options, error, root_document(path, options))
        return Probe(path, b"", options, error)
