"""Which features a call asks for, and why some of them cannot be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from xphys.errors import SchemaError, UnknownNameError
from xphys.features._catalog import registry
from xphys.features._kernels.grid import modes
from xphys.features._registry import Feature
from xphys.features._source import Source

__all__ = ["LEVELS", "chosen", "reason", "statistics"]

LEVELS = ("trajectory", "step", "aggregated")
OVER_REALIZATIONS = ("mean", "std", "cv", "min", "max")
OVER_TIME = ("mean", "std", "min", "max", "final")
_SMALL = 2**16  # points of a grid whose bands may lack modes
Names = str | Iterable[str] | None


def statistics(given: Any, known: Sequence[str], argument: str) -> tuple[str, ...]:
    """Names of statistics as a tuple.

    Raises
    ------
    UnknownNameError
        If one is not known.
    SchemaError
        If there is none, or one twice.
    """
    if isinstance(given, str):
        names: tuple[Any, ...] = (given,)
    elif isinstance(given, Iterable):
        names = tuple(given)
    else:
        raise SchemaError(f"expected names as {argument}, got {type(given).__name__}")
    for name in names:
        if name not in known:
            raise UnknownNameError(f"expected {argument} out of {known}, got {name!r}")
    if not names or len(set(names)) < len(names):
        raise SchemaError(f"expected each of {argument} once and at least one, got {names}")
    return names


def _listed(given: Names, argument: str) -> list[str] | None:
    if given is None:
        return None
    if isinstance(given, str):
        return [given]
    if not isinstance(given, Iterable):
        raise SchemaError(f"expected names as {argument}, got {type(given).__name__}")
    names = list(dict.fromkeys(given))
    if not names:
        raise SchemaError(f"expected at least one of {argument}, got none")
    return names


def chosen(
    families: Names, names: Names, *, level: str, timed: bool, has_operator: bool
) -> list[Feature]:
    """Features that a call asks for.

    Parameters
    ----------
    families, names : str, iterable of str or None
        As the caller gave them.
    level : str
        One of `LEVELS`.
    timed : bool
        Whether features of a step shall be taken over time.
    has_operator : bool
        Whether there is an operator to ask.

    Returns
    -------
    list of Feature
        In the order of the names, else of the numbers.

    Raises
    ------
    UnknownNameError
        If a level, family or name is not known.
    SchemaError
        If nothing is left, or a feature does not exist at the level.
    """
    if level not in LEVELS:
        raise UnknownNameError(f"expected level out of {LEVELS}, got {level!r}")
    if has_operator and level == "step":
        raise SchemaError("operator= is for the levels trajectory and aggregated, got step")
    listed, wanted = _listed(families, "families"), _listed(names, "names")
    every = registry()
    for family in listed or ():
        if family not in every.families:
            known = ", ".join(every.families)
            raise UnknownNameError(f"expected families out of {known}, got {family!r}")
    kinds = {"step"} if level == "step" else {"trajectory", "step"} if timed else {"trajectory"}
    if wanted is not None:
        found = [every[name] for name in wanted]
        _check_names(found, listed, kinds)
    elif listed is not None:
        found = []
        for family in sorted(listed, key=every.families.index):
            own = [f for f in every.select(family=family) if f.level in kinds]
            if not own:
                raise SchemaError(_misplaced(f"family {family!r}", level == "step"))
            found += own
    else:
        found = [f for f in every.select(standard=True) if f.level in kinds]
        if not has_operator:
            found = [f for f in found if f.family != "operator_sensitivity"]
    if not has_operator and any(f.family == "operator_sensitivity" for f in found):
        raise SchemaError("the family operator_sensitivity needs operator=, a callable")
    return found


def _misplaced(what: str, step: bool) -> str:
    if step:
        return f'{what} is of trajectories, not of steps: use level="trajectory"'
    return f'{what} is of steps: use level="step", or over_time="mean"'


def _check_names(found: list[Feature], families: list[str] | None, kinds: set[str]) -> None:
    for feature in found:
        if families is not None and feature.family not in families:
            raise UnknownNameError(
                f"expected names out of the families {families}, got {feature.name!r} of "
                f"{feature.family!r}"
            )
        if feature.level not in kinds:
            raise SchemaError(_misplaced(f"feature {feature.name!r}", kinds == {"step"}))


def reason(feature: Feature, source: Source) -> str | None:
    """Why a feature is NaN for all of the data; None if it is not."""
    lines = {line.name for line in source.grid.lines}
    steps = source.times.size
    if steps < feature.steps:
        return f"needs {feature.steps} times, there are {steps}"
    if source.channels < feature.channels:
        return f"needs {feature.channels} channels, there are {source.channels}"
    if not set(feature.axes) <= lines or len(lines) < feature.dimensions:
        needed = feature.axes or f"{feature.dimensions} axes"
        return f"needs {needed}, there are {source.grid.names}"
    if feature.plane and len(lines) != 2:
        return f"needs exactly two axes, there are {source.grid.names}"
    if feature.uniform and not source.grid.uniform:
        return "needs uniform axes: interpolate first"
    if feature.name.startswith("laplacian_"):
        short = [line.name for line in source.grid.lines if line.size < 3 and not line.periodic]
        if short:
            return f"needs 3 points along axes that are not periodic, there are 2 along {short}"
    if feature.name.startswith("fft_power_scale_") and source.grid.points <= _SMALL:
        table = modes(source.grid)
        count = float(table.weight[table.bands[int(feature.name.split("_")[3])]].sum())
        if count < (3 if feature.name.endswith("_std") else 1):
            return f"the band has {count:.0f} modes on this grid"
    if feature.uniform_time and source.step is None:
        return "needs uniform times: interpolate first"
    return None
