"""What is known about an array before any chunk of it is seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xphys.coding.bounds import Bounds
from xphys.errors import FormatError

__all__ = ["ROLES", "VERSION", "Request"]

VERSION = 1
ROLES = ("time", "space", "other")


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
    """

    method: str = "lossless"
    bounds: Bounds | None = None
    roles: tuple[str, ...] = ()
    periodic: tuple[bool | None, ...] = ()

    def __post_init__(self) -> None:
        if self.method != "lossless" and self.bounds is None:
            raise FormatError(f"method {self.method!r} needs bounds, got none")
        unknown = set(self.roles) - set(ROLES)
        if unknown:
            raise FormatError(f"roles must be of {ROLES}, got {sorted(unknown)}")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, with the version of the format."""
        return {
            "version": VERSION,
            "method": self.method,
            "bounds": {} if self.bounds is None else self.bounds.to_dict(),
            "roles": list(self.roles),
            "periodic": list(self.periodic),
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
        )

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
        return Request(self.method, self.bounds, roles, periodic)
