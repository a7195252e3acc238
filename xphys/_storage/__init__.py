"""From a path or URL to the bytes behind it; the one place that asks a server again."""

from __future__ import annotations

from xphys._storage._paths import (
    Source,
    expand,
    find,
    identities,
    identity,
    is_url,
    name_of,
    open_binary,
)
from xphys._storage._retry import Policy, again

__all__ = [
    "Policy",
    "Source",
    "again",
    "expand",
    "find",
    "identities",
    "identity",
    "is_url",
    "name_of",
    "open_binary",
]
