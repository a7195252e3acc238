"""What was opened, short enough for the provenance."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from xphys._storage import identity

__all__ = ["source_identity"]


def source_identity(paths: Sequence[str]) -> dict[str, Any]:
    """Identity of one file, or a summary of many.

    Parameters
    ----------
    paths : sequence of str
        Local paths and URLs, at least one.

    Returns
    -------
    dict
        One file: name, size and mtime. Many: their number, the first and last name, the sum of
        the sizes and a BLAKE2b digest over all identities.
    """
    every = [identity(path) for path in paths]
    if len(every) == 1:
        return every[0]
    text = json.dumps(every, sort_keys=True, separators=(",", ":"))
    return {
        "files": len(every),
        "first": every[0]["name"],
        "last": every[-1]["name"],
        "size": sum(one.get("size", 0) for one in every),
        "digest": hashlib.blake2b(text.encode(), digest_size=16).hexdigest(),
    }
