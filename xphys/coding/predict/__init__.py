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
    from xphys.coding.predict.joining import Joining as Joining
    from xphys.coding.predict.joining import encode_place as encode_place
    from xphys.coding.predict.joint import errors_of as errors_of
    from xphys.coding.predict.plan import Plan as Plan
    from xphys.coding.predict.plan import plan_apart as plan_apart
    from xphys.coding.predict.together import bases_of as bases_of
    from xphys.coding.predict.together import check_bases as check_bases
    from xphys.coding.predict.together import decode_predicted as decode_predicted
    from xphys.coding.predict.together import encode_together as encode_together

__all__ = [
    "Grid",
    "Joining",
    "Plan",
    "bases_of",
    "check_bases",
    "decode_predicted",
    "encode_place",
    "encode_together",
    "errors_of",
    "make_plan",
    "plan_apart",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "Grid": ".grid",
        "Joining": ".joining",
        "Plan": ".plan",
        "plan_apart": ".plan",
        "bases_of": ".together",
        "check_bases": ".together",
        "decode_predicted": ".together",
        "encode_place": ".joining",
        "encode_together": ".together",
        "errors_of": ".joint",
        "make_plan": ".detect",
    },
)
