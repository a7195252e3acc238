"""Fields derived from fields, and their integrals."""

from typing import TYPE_CHECKING

from xphys._lazy import attach

if TYPE_CHECKING:
    from xphys.fields._api import derive as derive
    from xphys.fields._degrade import degrade as degrade
    from xphys.fields._invariants import invariants as invariants

__all__ = ["degrade", "derive", "invariants"]

__getattr__, __dir__ = attach(
    __name__, {"degrade": "._degrade", "derive": "._api", "invariants": "._invariants"}
)
