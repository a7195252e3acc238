"""Invariants that survive lossy coding: corrections of decoded values, stored beside them.

What is stored are the numbers that have to come out (sums, energies, the lowest value), not the
changes that bring them about: whoever decodes works those out from the values at hand, so that
the invariants hold where another machine rounds an inverse transform differently.
"""

from xphys.coding.preserve._apply import apply, correct
from xphys.coding.preserve._request import NAMES, Preserve

__all__ = ["NAMES", "Preserve", "apply", "correct"]
