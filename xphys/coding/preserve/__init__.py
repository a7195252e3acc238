"""Invariants that survive lossy coding: corrections of decoded values, stored beside them.

What is stored are the numbers that have to come out (sums, energies, the lowest value), not the
changes that bring them about: whoever decodes works those out from the values at hand, so that
the invariants hold where another machine rounds an inverse transform differently.
"""

from typing import TYPE_CHECKING

from xphys._lazy import attach
from xphys.coding.preserve._apply import apply, correct
from xphys.coding.preserve._request import NAMES, TOGETHER, Preserve

if TYPE_CHECKING:
    from xphys.coding.preserve._joint import Setup as Setup
    from xphys.coding.preserve._joint import restore_together as restore_together
    from xphys.coding.preserve._search import correct_together as correct_together

__all__ = [
    "NAMES",
    "TOGETHER",
    "Preserve",
    "Setup",
    "apply",
    "correct",
    "correct_together",
    "restore_together",
]

__getattr__, __dir__ = attach(
    __name__,
    {"Setup": "._joint", "correct_together": "._search", "restore_together": "._joint"},
)
