"""What readers look at to recognise a source: the path and its first bytes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from xphys._storage import is_url, open_binary

__all__ = ["Probe", "probe"]

_LENGTH = 64


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
    """

    path: str
    start: bytes
    storage_options: Mapping[str, Any] = field(default_factory=dict)
    failure: OSError | None = None


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
    if not is_url(path) and not os.path.isfile(path):
        return Probe(path, b"", options)
    try:
        with open_binary(path, options) as file:
            return Probe(path, file.read(_LENGTH), options)
    except OSError as error:
        if not is_url(path):
            raise
        return Probe(path, b"", options, error)
