"""Fields derived from fields."""

from typing import TYPE_CHECKING

from xphys._lazy import attach

if TYPE_CHECKING:
    from xphys.fields._api import derive as derive

__all__ = ["derive"]

__getattr__, __dir__ = attach(__name__, {"derive": "._api"})
