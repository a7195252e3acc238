"""What is known about an array before any chunk of it is seen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from xphys.coding.bounds import Bounds
from xphys.coding.preserve import Preserve
from xphys.errors import FormatError

__all__ = ["EFFORTS", "ROLES", "VERSION", "Request"]

VERSION = 2
ROLES = ("time", "space", "other")
EFFORTS = ("fast", "normal", "max")


@dataclass(frozen=True)
class Request:
    """How the chunks of one array are to be coded; equal by value, JSON in and out.

    Attributes
    ----------
    method : str
        Name in the table of methods, or ``"lossless"``.
    bounds : Bounds or None
        Held in every chunk; None for ``"lossless"``.
    roles : tuple of str
        Role of each axis: "time", "space" or "other"; empty when not known.
    periodic : tuple of bool or None
        For each axis whether it is periodic, None where that is not known; empty when not known.
    effort : {"fast", "normal", "max"}
        How long a method may search.
    preserve : Preserve or None
        Invariants of the fields.
    extras : tuple of str
        Methods beyond those of the core install among which ``"auto"`` may choose.
    """

    method: str = "lossless"
    bounds: Bounds | None = None
    roles: tuple[str, ...] = ()
    periodic: tuple[bool | None, ...] = ()
    effort: str = "normal"
    preserve: Preserve | None = None
    extras: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.method != "lossless" and self.bounds is None:
            raise FormatError(f"method {self.method!r} needs bounds, got none")
        unknown = set(self.roles) - set(ROLES)
        if unknown:
            raise FormatError(f"roles must be of {ROLES}, got {sorted(unknown)}")
        if self.effort not in EFFORTS:
            raise FormatError(f"effort must be of {EFFORTS}, got {self.effort!r}")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, with the version of the format."""
        return {
            "version": VERSION,
            "method": self.method,
            "bounds": {} if self.bounds is None else self.bounds.to_dict(),
            "roles": list(self.roles),
            "periodic": list(self.periodic),
            "effort": self.effort,
            **({} if self.preserve is None else self.preserve.to_dict()),
            **({"extras": list(self.extras)} if self.extras else {}),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Request:
        """Read what `to_dict` wrote.

        Parameters
        ----------
        data : dict
            The configuration of a codec.

        Returns
        -------
        Request
            Equal to the one that was written.

        Raises
        ------
        FormatError
            If the version is newer than this xphys.
        """
        version = data.get("version", VERSION)
        if version != VERSION:
            raise FormatError(
                f"this xphys reads version {VERSION} of xphys.frame, the store has {version!r}: "
                "update xphys"
            )
        bounds = data.get("bounds") or None
        return cls(
            method=data.get("method", "lossless"),
            bounds=None if bounds is None else Bounds(**bounds),
            roles=tuple(data.get("roles", ())),
            periodic=tuple(data.get("periodic", ())),
            effort=data.get("effort", "normal"),
            preserve=Preserve.from_dict(data),
            extras=tuple(data.get("extras", ())),
        )

    @property
    def fields(self) -> tuple[int, ...]:
        """Axes of one field: those of space, else all but time."""
        space = tuple(i for i, role in enumerate(self.roles) if role == "space")
        return space or tuple(i for i, role in enumerate(self.roles) if role != "time")

    def resolved(self, ndim: int) -> Request:
        """The same with a role and a periodicity for each of ndim axes.

        Where nothing is known the first of several axes counts as time and up to three last
        ones as space.
        """
        roles, periodic = self.roles, self.periodic
        if len(roles) != ndim:
            space = min(3, max(ndim - 1, 1)) if ndim else 0
            others = ("time",) + ("other",) * max(ndim - space - 1, 0) if ndim > space else ()
            roles = others + ("space",) * space
        if len(periodic) != ndim:
            periodic = (None,) * ndim
        return replace(self, roles=roles, periodic=periodic)
