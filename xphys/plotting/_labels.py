"""Words on the axes of figures."""

from __future__ import annotations

__all__ = ["with_units"]


def with_units(name: str, units: str | None) -> str:
    """A name with its units, if it has any."""
    return name if units in (None, "", "1") else f"{name} ({units})"
