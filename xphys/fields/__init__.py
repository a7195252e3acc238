"""Fields derived from fields, and their integrals."""

from typing import TYPE_CHECKING

from xphys._lazy import attach

if TYPE_CHECKING:
    from xphys.fields._api import derive as derive
    from xphys.fields._invariants import invariants as invariants

__all__ = ["derive", "invariants"]

__getattr__, __dir__ = attach(__name__, {"derive": "._api", "invariants": "._invariants"})
