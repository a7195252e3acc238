"""How far data are from a reference."""

from typing import TYPE_CHECKING

from xphys._lazy import attach

if TYPE_CHECKING:
    from xphys.metrics._api import compare as compare
    from xphys.metrics._view import Comparison as Comparison
    from xphys.metrics._view import summary as summary

__all__ = ["Comparison", "compare", "summary"]

__getattr__, __dir__ = attach(
    __name__, {"Comparison": "._view", "compare": "._api", "summary": "._view"}
)
