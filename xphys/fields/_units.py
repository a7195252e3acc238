"""Units as products of powers: enough to name the unit of a derived field."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from operator import mul

__all__ = ["ONE", "Unit", "parse"]

_TERM = re.compile(r"([A-Za-zµμ%°_]+)(?:\^|\*\*)?([+-]?\d+)?$")
_SPLIT = re.compile(r"\s*(/|(?<!\*)\*(?!\*)|·|\.(?=\D)|\s)\s*")


@dataclass(frozen=True)
class Unit:
    """Symbols with their exponents.

    Attributes
    ----------
    powers : tuple of (str, Fraction)
        No exponent is zero; empty for a pure number.
    """

    powers: tuple[tuple[str, Fraction], ...] = ()

    def __mul__(self, other: Unit) -> Unit:
        total = dict(self.powers)
        for symbol, power in other.powers:
            total[symbol] = total.get(symbol, Fraction(0)) + power
        return Unit(tuple((s, p) for s, p in total.items() if p))

    def __truediv__(self, other: Unit) -> Unit:
        return self * other**-1

    def __pow__(self, power: int | Fraction) -> Unit:
        return Unit(tuple((s, p * power) for s, p in self.powers if p * power))

    def base(self) -> Unit:
        """The same with pascal, newton, joule, watt and hertz written in base units."""
        terms = (DERIVED.get(s, Unit(((s, Fraction(1)),))) ** p for s, p in self.powers)
        return reduce(mul, terms, ONE)

    def same(self, other: Unit) -> bool:
        """True for the same symbols and exponents in any order."""
        return dict(self.base().powers) == dict(other.base().powers)

    def __str__(self) -> str:
        ordered = sorted(self.powers, key=lambda term: (term[1] < 0, term[0].lower()))
        return " ".join(_written(s, p) for s, p in ordered) or "1"


ONE = Unit()


def _written(symbol: str, power: Fraction) -> str:
    name = symbol if _TERM.match(symbol) else f"({symbol})"
    return name if power == 1 else f"{name}{power if power.denominator == 1 else f'^({power})'}"


def parse(text: str) -> Unit:
    """Read ``"m s-1"``, ``"m/s"``, ``"kg*m**-3"``; what is not of this kind is one symbol.

    Parameters
    ----------
    text : str
        Units attribute of a variable.

    Returns
    -------
    Unit
        Product of powers.

    Examples
    --------
    >>> str(parse("m/s") / parse("m")), str(parse("free-fall time") ** 2)
    ('s-1', '(free-fall time)2')
    """
    text = text.strip()
    pieces = _SPLIT.split(text)
    terms: list[Unit] = []
    for operator, piece in zip([" ", *pieces[1::2]], pieces[::2], strict=True):
        found = _TERM.match(piece)
        if piece == "1":
            continue
        if found is None or (found.group(2) and int(found.group(2)) == 0):
            return Unit(((text, Fraction(1)),)) if text else ONE
        power = Fraction(int(found.group(2) or 1))
        terms.append(Unit(((found.group(1), -power if operator == "/" else power),)))
    return reduce(mul, terms, ONE)


# Equal sizes only: an erg is not a joule.
DERIVED = {
    "Pa": parse("kg m-1 s-2"),
    "N": parse("kg m s-2"),
    "J": parse("kg m2 s-2"),
    "W": parse("kg m2 s-3"),
    "Hz": parse("s-1"),
}
