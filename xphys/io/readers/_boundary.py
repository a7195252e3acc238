"""Boundaries that a file does not state: what the caller gives, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from xphys.errors import SchemaError
from xphys.schema import BOUNDARIES

__all__ = ["boundary_attrs", "check_boundary"]


def check_boundary(boundary: Mapping[str, str] | None, dims: Iterable[str]) -> None:
    """Raise SchemaError unless ``boundary`` maps dims of the data to boundaries of the model."""
    known = list(dims)
    for dim, kind in (boundary or {}).items():
        if dim not in known or kind not in BOUNDARIES:
            raise SchemaError(
                f"boundary= takes a dim among {known} and a boundary among {list(BOUNDARIES)}, "
                f"got {dim!r}: {kind!r}"
            )


def boundary_attrs(
    boundary: Mapping[str, str] | None, dim: str, length: float | None
) -> dict[str, Any]:
    """Attributes ``boundary`` and ``period`` of an axis, empty if the caller gave none.

    Parameters
    ----------
    boundary : mapping of str to str or None
        What the caller gave.
    dim : str
        The axis.
    length : float or None
        Length of the box along it, if known.

    Returns
    -------
    dict
        ``period`` only on periodic axes of known length.
    """
    kind = (boundary or {}).get(dim)
    if kind is None:
        return {}
    if kind in ("periodic", "shear_periodic") and length is not None:
        return {"boundary": kind, "period": length}
    return {"boundary": kind}
