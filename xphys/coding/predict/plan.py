"""Which variable is told from which, found once for a Dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["CARRIED", "MODES", "WALLS", "Plan", "Step", "Term", "needed_by", "plan_apart"]

MODES, WALLS = "modes", "walls"
CARRIED = "carried"


@dataclass(frozen=True)
class Term:
    """One summand of a prediction: a linear operator on one variable or a product of two.

    Attributes
    ----------
    of : tuple of str
        The variables.
    by : str
        The linear operator, in the words of the family that it belongs to.
    banded : bool
        True if every band of wavenumbers has a weight of its own, False if one holds for all.
    """

    of: tuple[str, ...]
    by: str
    banded: bool = False


@dataclass(frozen=True)
class Step:
    """How one variable is coded: by itself if there are no terms.

    Attributes
    ----------
    name : str
        The variable.
    operator : str
        Family of the operators of the terms.
    terms : tuple of Term
        What its prediction is the sum of; weights are fitted to each chunk.
    """

    name: str
    operator: str = ""
    terms: tuple[Term, ...] = ()

    @property
    def bases(self) -> tuple[str, ...]:
        """Variables that have to be decoded before."""
        return tuple(dict.fromkeys(name for term in self.terms for name in term.of))

    @property
    def choices(self) -> tuple[Step, ...]:
        """Steps to try for a chunk: with and without a scalar that a flow carries."""
        rest = tuple(term for term in self.terms if term.by != CARRIED)
        if len(rest) in (0, len(self.terms)):
            return (self,)
        return (self, Step(self.name, self.operator, rest))


@dataclass(frozen=True)
class Plan:
    """Steps in the order of coding: every variable comes after its bases."""

    steps: tuple[Step, ...]

    @property
    def decoded(self) -> frozenset[str]:
        """Variables whose decoded values are needed on the way."""
        return frozenset(name for step in self.steps for name in step.bases)


def plan_apart(names: Sequence[str]) -> Plan:
    """Every variable by itself."""
    return Plan(tuple(Step(name) for name in names))


def needed_by(name: str, found: Mapping[str, Step]) -> set[str]:
    """A variable and all that have to be decoded before it."""
    out, todo = set(), [name]
    while todo:
        here = todo.pop()
        if here not in out:
            out.add(here)
            todo += found[here].bases if here in found else ()
    return out
