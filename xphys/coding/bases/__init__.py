"""Bases of one chunk: orthonormal transforms of its axes, and the kinds of their coefficients.

`Plan` does and undoes the transforms; `arrange` brings coefficients into planes of rows and
columns for the entropy stage; `fit` and `orthonormal` make modes of one axis from the data.
"""

from typing import TYPE_CHECKING

from xphys._lazy import attach

if TYPE_CHECKING:
    from xphys.coding.bases.modes import MOST_STEPS as MOST_STEPS
    from xphys.coding.bases.modes import fit as fit
    from xphys.coding.bases.modes import orthonormal as orthonormal
    from xphys.coding.bases.plan import Kind as Kind
    from xphys.coding.bases.plan import Plan as Plan
    from xphys.coding.bases.planes import Planes as Planes
    from xphys.coding.bases.planes import arrange as arrange

__all__ = ["MOST_STEPS", "Kind", "Plan", "Planes", "arrange", "fit", "orthonormal"]

__getattr__, __dir__ = attach(
    __name__,
    {
        "MOST_STEPS": ".modes",
        "Kind": ".plan",
        "Plan": ".plan",
        "Planes": ".planes",
        "arrange": ".planes",
        "fit": ".modes",
        "orthonormal": ".modes",
    },
)
