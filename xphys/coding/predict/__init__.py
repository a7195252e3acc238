"""Predicting one variable from the decoded values of others, so that the distance is coded only.

A prediction is a named, versioned operator with JSON parameters (see `operators`); a `Recipe`
says which operator, of which other variables, and stands behind the chunk that needs it. `detect`
finds by test which variables of a Dataset can be told from which.
"""

from typing import TYPE_CHECKING

from xphys._lazy import attach

if TYPE_CHECKING:
    from xphys.coding.predict.detect import make_plan as make_plan
    from xphys.coding.predict.grid import Grid as Grid
    from xphys.coding.predict.plan import Plan as Plan
    from xphys.coding.predict.recipe import bases_of as bases_of
    from xphys.coding.predict.recipe import check_bases as check_bases
    from xphys.coding.predict.together import decode_predicted as decode_predicted
    from xphys.coding.predict.together import encode_together as encode_together

__all__ = [
    "Grid",
    "Plan",
    "bases_of",
    "check_bases",
    "decode_predicted",
    "encode_together",
    "make_plan",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "Grid": ".grid",
        "Plan": ".plan",
        "bases_of": ".recipe",
        "check_bases": ".recipe",
        "decode_predicted": ".together",
        "encode_together": ".together",
        "make_plan": ".detect",
    },
)
