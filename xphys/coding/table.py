"""The table of lossy methods: where the domains that bring one meet."""

from __future__ import annotations

from xphys.coding.method import Method
from xphys.coding.transform import TRANSFORM
from xphys.errors import UnknownNameError

__all__ = ["by_code", "get", "methods", "register"]

_TABLE: dict[str, Method] = {TRANSFORM.name: TRANSFORM}


def register(method: Method) -> None:
    """Add a method to the table; a name or code that is taken is an error.

    Parameters
    ----------
    method : Method
        The method.

    Raises
    ------
    ValueError
        If name or code belong to another method already.
    """
    for other in _TABLE.values():
        if other is not method and (other.name == method.name or other.code == method.code):
            raise ValueError(f"method {method.name!r} ({method.code}) clashes with {other.name!r}")
    _TABLE[method.name] = method


def methods() -> tuple[str, ...]:
    """Names of the methods that can be asked for, ``"lossless"`` included.

    Returns
    -------
    tuple of str
        Sorted, ``"lossless"`` first.
    """
    return ("lossless", *sorted(_TABLE))


def get(name: str) -> Method:
    """The method of that name."""
    try:
        return _TABLE[name]
    except KeyError:
        known = ", ".join(methods())
        raise UnknownNameError(f"no method {name!r} for compressing: known are {known}") from None


def by_code(code: int) -> Method:
    """The method of that code."""
    for method in _TABLE.values():
        if method.code == code:
            return method
    raise UnknownNameError(f"a block was coded by method number {code}, unknown to this xphys")
