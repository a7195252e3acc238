"""Units of products."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["product_units", "wavenumber_units"]


def product_units(factors: Iterable[tuple[str | None, int]]) -> str | None:
    """Units of a product of powers; None if one of them is not known.

    Examples
    --------
    >>> product_units([("kg/m3", 2), ("m", 1)])
    '(kg/m3)^2 m'
    >>> product_units([("m/s", 3), ("m", -1)])
    '(m/s)^3 / m'
    """
    powers: dict[str, int] = {}
    for unit, power in factors:
        if power == 0:
            continue
        if unit is None:
            return None
        if unit != "1":
            powers[unit] = powers.get(unit, 0) + power
    above = [_power(unit, p) for unit, p in powers.items() if p > 0]
    below = [_power(unit, -p) for unit, p in powers.items() if p < 0]
    return " / ".join([" ".join(above) or "1", *below])


def wavenumber_units(units: str | None) -> str | None:
    """Units of an inverse length."""
    if units is None or units == "1":
        return units
    return f"1/{_factor(units)}"


def _power(unit: str, power: int) -> str:
    return _factor(unit) if power == 1 else f"{_factor(unit)}^{power}"


def _factor(units: str) -> str:
    return f"({units})" if set(units) & set(" */^") else units
