"""Finding by test, not by name, which variable can be told from which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from xphys.coding.predict.grid import Grid
from xphys.coding.predict.identities import find_copies, find_curls
from xphys.coding.predict.layers import find_in_layer
from xphys.coding.predict.plan import Plan, Step, needed_by
from xphys.coding.predict.regress import Regression
from xphys.coding.predict.saving import allowed_square
from xphys.coding.reference import reference
from xphys.coding.request import Request

__all__ = ["SAMPLE_POINTS", "Sample", "make_plan"]

#: Points of each variable that are enough to look at.
SAMPLE_POINTS = 2**17


@dataclass(frozen=True)
class Sample:
    """Some steps of a variable, and the mean squared error that it may have."""

    x: np.ndarray
    square: float


def make_plan(
    samples: Mapping[str, np.ndarray],
    grid: Grid,
    requests: Mapping[str, Request],
    states: Mapping[str, np.ndarray | None],
) -> Plan:
    """Order in which to code variables, and what to predict them from.

    Parameters
    ----------
    samples : mapping of str to ndarray
        The same steps of each variable, all of one shape.
    grid : Grid
        Of the arrays.
    requests : mapping of str to Request
        How each is to be coded.
    states : mapping of str to ndarray or None
        What relative bounds are relative to; the sample itself where None.

    Returns
    -------
    Plan
        With a step for every variable; one without terms where nothing was found.
    """
    known: dict[str, Sample] = {}
    for name, x in samples.items():
        bounds, state = requests[name].bounds, states[name]
        if bounds is None or x.dtype.kind != "f" or not np.isfinite(x).all() or not x.any():
            continue
        wide = x.astype(np.float64)
        state = reference(x) if state is None else state
        square = allowed_square(bounds, state, float(np.sqrt(np.square(wide).mean())))
        if square:
            known[name] = Sample(wide, square)
    found: dict[str, Step] = {}
    if len(known) > 1 and grid.usable:
        fields = {name: sample.x for name, sample in known.items()}
        find_copies(fields, found)
        if grid.walls:
            squares = {name: sample.square for name, sample in known.items()}
            find_in_layer(fields, squares, grid, found)
        else:
            find_curls(fields, grid, found)
            _regress(known, grid, found)
    return _ordered(list(samples), found)


def _regress(known: Mapping[str, Sample], grid: Grid, found: dict[str, Step]) -> None:
    """Add what shell-wise regression explains, the variable that gains most first."""
    fixed = set(found) | {base for step in found.values() for base in step.bases}
    copies = {name for name, step in found.items() if step.terms[0].by == "="}
    regression = Regression(
        {n: s.x for n, s in known.items()}, {n: s.square for n, s in known.items()}, grid
    )
    open_ = [name for name in known if name not in fixed]
    trials = {n: regression.explain(n, [b for b in known if b not in copies]) for n in open_}
    while open_:
        best = max(open_, key=lambda n: trials[n].bits)
        open_.remove(best)
        bases = [n for n in known if n not in copies and best not in needed_by(n, found)]
        if not set(trials[best].step.bases) <= set(bases):
            again = regression.explain(best, bases)
            trials[best] = again
        if trials[best].step.terms:
            found[best] = trials[best].step


def _ordered(names: list[str], found: Mapping[str, Step]) -> Plan:
    steps: list[Step] = []
    done: set[str] = set()
    while len(done) < len(names):
        for name in names:
            step = found.get(name, Step(name))
            if name not in done and set(step.bases) <= done:
                steps.append(step)
                done.add(name)
    return Plan(tuple(steps))
