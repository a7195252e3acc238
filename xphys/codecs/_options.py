"""Options of methods: frozen values, one class for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xphys.codecs.wrapped import CODECS, require_method
from xphys.errors import UnknownNameError

__all__ = ["AutoOptions"]


@dataclass(frozen=True)
class AutoOptions:
    """What ``method="auto"`` may choose from.

    Parameters
    ----------
    allow_extras : bool or tuple of str, default False
        Methods that need the extra ``codecs``: none, all, or those named. A store that was
        written with some allowed says that reading it needs the extra.
    together : bool, default True
        Whether variables may be told from others where a test shows that this saves bytes; such
        variables can only be stored together, under their names.

    Raises
    ------
    UnknownNameError
        If one named is no such method.
    MissingDependencyError
        If the package of one named is not installed.
    """

    allow_extras: bool | tuple[str, ...] = False
    together: bool = True

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> AutoOptions:
        """Read what the provenance of a compressed Dataset records."""
        return cls(tuple(data.get("allow_extras", ())), bool(data.get("together", True)))

    @property
    def names(self) -> tuple[str, ...]:
        """Methods that may be chosen beyond those of the core install."""
        extra = tuple(name for name, codec in CODECS.items() if codec.package)
        if isinstance(self.allow_extras, bool):
            return extra if self.allow_extras else ()
        return tuple(name for name in extra if name in self.allow_extras)

    def __post_init__(self) -> None:
        if not isinstance(self.allow_extras, bool):
            unknown = [name for name in self.allow_extras if name not in CODECS]
            if unknown:
                known = ", ".join(CODECS)
                raise UnknownNameError(f"no extra methods {unknown}: known are {known}")
        for name in self.names:
            require_method(name)
