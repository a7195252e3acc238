"""What of the physics is to be preserved."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from xphys.errors import BoundError, UnknownNameError

__all__ = ["NAMES", "Preserve"]

#: What can be preserved.
NAMES = ("mean", "energy", "spectrum", "positivity", "momentum", "divergence_free")
#: Of them those that take several variables.
TOGETHER = ("momentum", "divergence_free")
_TOLERANCE = 5e-2


@dataclass(frozen=True)
class Preserve:
    """Invariants of the fields of a variable; equal by value, JSON in and out.

    Parameters
    ----------
    names : tuple of str
        Of `NAMES`, in that order.
    tolerance : float, default 5e-2
        Largest relative error of the energy of a shell of wavenumbers, for ``"spectrum"``.
    lengths : tuple of float, optional
        Of the domain along each axis, for ``"spectrum"``; numbers of points by default.

    Raises
    ------
    UnknownNameError
        If a name is not known.
    BoundError
        If the tolerance is not between 0 and 1.
    """

    names: tuple[str, ...]
    tolerance: float = _TOLERANCE
    lengths: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        unknown = [name for name in self.names if name not in NAMES]
        if unknown:
            raise UnknownNameError(f"cannot preserve {unknown}: known are {', '.join(NAMES)}")
        if not (math.isfinite(self.tolerance) and 1e-6 <= self.tolerance < 1):
            raise BoundError(f"expected a tolerance from 1e-6 to below 1, got {self.tolerance!r}")
        object.__setattr__(self, "names", tuple(n for n in NAMES if n in self.names))

    def without(self, names: Iterable[str]) -> Preserve | None:
        """The same without some names; None if nothing is left."""
        left = tuple(n for n in self.names if n not in names)
        return replace(self, names=left) if left else None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: a mapping of scalars and a list of them."""
        names = {n: self.tolerance if n == "spectrum" else None for n in self.names}
        return {"preserve": names, **({"lengths": list(self.lengths)} if self.lengths else {})}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Preserve | None:
        """Read what `to_dict` wrote, among other things; None if nothing is to be preserved."""
        names = data.get("preserve")
        if not names:
            return None
        return cls(
            tuple(names), names.get("spectrum") or _TOLERANCE, tuple(data.get("lengths", ()))
        )
