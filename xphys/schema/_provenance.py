"""What was done to a Dataset, as JSON in its attributes.

No time, host or user path goes in: equal runs give equal bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeVar

import xarray as xr

from xphys._version import __version__

__all__ = ["PROVENANCE", "provenance", "record"]

PROVENANCE = "xphys_provenance"

T = TypeVar("T", xr.Dataset, xr.DataArray)


@cache
def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def provenance(obj: xr.Dataset | xr.DataArray) -> list[dict[str, Any]]:
    """Read the list of operations that led to an object.

    Parameters
    ----------
    obj : Dataset or DataArray
        Any object; one without a record gives an empty list.

    Returns
    -------
    list of dict
        Oldest first; keys ``operation``, ``parameters``, ``versions`` and, for the first,
        ``source``.
    """
    text = obj.attrs.get(PROVENANCE)
    return list(json.loads(text)) if text else []


def record(
    obj: T,
    operation: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    source: Mapping[str, Any] | str | None = None,
) -> T:
    """Add one operation to the record of an object.

    Parameters
    ----------
    obj : Dataset or DataArray
        Object to describe; it is not changed.
    operation : str
        Name as users call it, e.g. ``"compress"``.
    parameters : mapping, optional
        JSON values only; None values are left out.
    source : mapping or str, optional
        Identity of what was read (URL, size, etag); "in memory" when the record starts here.

    Returns
    -------
    Dataset or DataArray
        Shallow copy with ``attrs["xphys_provenance"]`` extended.

    Examples
    --------
    >>> import xarray as xr
    >>> provenance(record(xr.Dataset(), "compress", {"vrmse": 0.01}))[0]["operation"]
    'compress'
    """
    steps: list[dict[str, Any]] = provenance(obj)
    step: dict[str, Any] = {
        "operation": operation,
        "parameters": {k: v for k, v in (parameters or {}).items() if v is not None},
        "versions": {"xphys": __version__, **{p: _installed(p) for p in ("numpy", "scipy")}},
    }
    if source is not None or not steps:
        step["source"] = source if source is not None else "in memory"
    text = json.dumps([*steps, step], sort_keys=True, separators=(",", ":"))
    return obj.assign_attrs({PROVENANCE: text})
