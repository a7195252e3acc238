"""Names of what lies on the Hugging Face hub, and the addresses where it is served."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from xphys.errors import FormatError

__all__ = ["ADDRESS", "hub_address", "hub_url"]

_URL = re.compile(
    r"hf://(?:(datasets|spaces|models)/)?([^/@]+/[^/@]+)"
    r"(?:@(refs/(?:convert|pr)/[^/]+|[^/]+))?(?:/(.*))?$"
)
#: An address, by its parts.
ADDRESS = re.compile(
    r"(?P<endpoint>https?://.+?)/(?:(?P<kind>datasets|spaces)/)?(?P<name>[^/]+/[^/]+)"
    r"/resolve/(?P<revision>[^/]+)/(?P<path>.*)$"
)


def hub_address(url: str, endpoint: str) -> str:
    """Where the hub serves a file.

    Parameters
    ----------
    url : str
        ``hf://datasets/OWNER/NAME[@REVISION]/PATH``.
    endpoint : str
        Of the hub, such as https://huggingface.co.

    Raises
    ------
    FormatError
        If the URL has another form.
    """
    found = _URL.match(url)
    if found is None:
        raise FormatError(
            f"{url}: expected hf://datasets/OWNER/NAME[@REVISION]/PATH (or spaces, models)"
        )
    kind, name, revision, path = found.groups()
    kind = f"{kind}/" if kind and kind != "models" else ""
    revision = quote(revision or "main", safe="")
    return f"{endpoint.rstrip('/')}/{kind}{name}/resolve/{revision}/{path or ''}"


def hub_url(address: str) -> str:
    """What users call an address: the way back from `hub_address`, without the endpoint."""
    found = ADDRESS.match(address)
    if found is None:
        return address
    kind = f"{found['kind']}/" if found["kind"] else ""
    revision = unquote(found["revision"])
    at = "" if revision == "main" else f"@{revision}"
    return f"hf://{kind}{found['name']}{at}/{found['path']}"
