"""What was opened, short enough for the provenance."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from xphys._storage import identities

__all__ = ["source_identity"]


def source_identity(
    paths: Sequence[str], storage_options: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Identity of one file, or a summary of many.

    Parameters
    ----------
    paths : sequence of str
        Local paths and URLs, at least one.
    storage_options : mapping, optional
        For the file system of URLs.

    Returns
    -------
    dict
        One file: name, size and mtime, or the etag of a URL. Many: their number, the first and
        last name, the sum of the sizes and a BLAKE2b digest over all identities, which is the
        ``etag`` too if all have one.
    """
    every = identities(paths, storage_options)
    if len(every) == 1:
        return every[0]
    text = json.dumps(every, sort_keys=True, separators=(",", ":"))
    digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    out = {
        "files": len(every),
        "first": every[0]["name"],
        "last": every[-1]["name"],
        "size": sum(one.get("size", 0) for one in every),
        "digest": digest,
    }
    if all("etag" in one for one in every):
        out["etag"] = digest
    return out
