"""Error bounds from the command line, and whether a comparison keeps them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import xarray as xr

from xphys.errors import BoundError

__all__ = ["Bound", "broken", "parse_bound"]

Bound = float | dict[str, float]


def parse_bound(
    name: str, entries: Sequence[str] | None, variables: Iterable[Hashable]
) -> Bound | None:
    """Read what was given for one bound.

    Parameters
    ----------
    name : str
        Name of the bound, for messages.
    entries : sequence of str or None
        Each a number for all variables or ``variable=number``.
    variables : iterable of hashable
        Variables to which a number alone applies when others are named too.

    Returns
    -------
    float, dict or None
        As `xphys.codecs.compress` takes it.

    Raises
    ------
    BoundError
        If an entry holds no number or two numbers stand alone.

    Examples
    --------
    >>> parse_bound("vrmse", ["1e-2"], ["u", "v"])
    0.01
    >>> parse_bound("vrmse", ["1e-2", "u=1e-3"], ["u", "v"])
    {'u': 0.001, 'v': 0.01}
    """
    if not entries:
        return None
    named: dict[str, float] = {}
    general: list[float] = []
    for entry in entries:
        variable, equals, value = entry.rpartition("=")
        try:
            parsed = float(value)
        except ValueError:
            raise BoundError(
                f"expected a number or variable=number for --{name}, got {entry!r}"
            ) from None
        if equals:
            named[variable] = parsed
        else:
            general.append(parsed)
    if len(general) > 1:
        raise BoundError(f"--{name} got {len(general)} numbers for all variables: give one")
    if not named:
        return general[0]
    if general:
        return {str(v): named.pop(str(v), general[0]) for v in variables} | named
    return named


def broken(
    bounds: Mapping[str, Bound | None],
    found: Iterable[Mapping[str, Any]],
    test: xr.Dataset,
    reference: xr.Dataset,
) -> list[str]:
    """Say which bounds do not hold.

    Parameters
    ----------
    bounds : mapping
        Kind of bound -> what was asked for.
    found : iterable of mappings
        Measured numbers, one row per variable.
    test, reference : Dataset
        What was measured; read again for bounds that no row holds.

    Returns
    -------
    list of str
        One line per bound and variable; empty if all hold.
    """
    failures = []
    for row in found:
        name = row["variable"]
        for kind, bound in bounds.items():
            limit = bound.get(name) if isinstance(bound, dict) else bound
            if limit is None:
                continue
            value = _measured(kind, row, test[name], reference[name])
            holds = value >= limit if kind == "psnr" else value <= limit
            if not holds:  # NaN does not hold either
                failures.append(f"{kind} of {name} is {value:.6g}, asked for {limit:g}")
    return failures


def _measured(
    kind: str, row: Mapping[str, Any], test: xr.DataArray, reference: xr.DataArray
) -> float:
    if kind == "max_rel":
        spread = float(reference.max()) - float(reference.min())
        return float(row["max_abs"] / spread if spread else row["max_abs"])
    if kind == "pointwise_rel":
        truth = reference.astype("float64")
        error = abs(test.astype("float64") - truth)
        return float((error / abs(truth)).where(error != 0, 0.0).max())
    return float(row[kind])
