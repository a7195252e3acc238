"""Words on the axes of pictures."""

from __future__ import annotations

__all__ = ["with_units"]


def with_units(name: str, units: str | None) -> str:
    """Write a name with its units, if it has any.

    Parameters
    ----------
    name : str
        Of a quantity.
    units : str or None
        As in the attribute; "1" and "" stand for none.

    Returns
    -------
    str
        ``"name (units)"``, or the name alone.

    Examples
    --------
    >>> with_units("time", "s"), with_units("phase", "1")
    ('time (s)', 'phase')
    """
    return name if units in (None, "", "1") else f"{name} ({units})"
