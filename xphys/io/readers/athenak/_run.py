"""Which groups and outputs of a run fit into one Dataset."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np

from xphys._storage import Source
from xphys.errors import FormatError, SchemaError, UnknownNameError
from xphys.io.readers.athenak._files import find_files
from xphys.io.readers.athenak._format import Options
from xphys.io.readers.athenak._group import Group

__all__ = ["Run", "is_path", "select"]

_SAME_TIME = 1e-4  # headers of early versions carry six digits


@dataclass(frozen=True)
class Run:
    """What was chosen of a run.

    Attributes
    ----------
    groups : list of Group
        On one grid.
    positions : list of list of int
        Where the common outputs are in each group.
    level : int
        Level of the common grid.
    others : list of str
        Groups that were left out.
    source : str
        What the user named, or the first file.
    """

    groups: list[Group]
    positions: list[list[int]]
    level: int
    others: list[str]
    source: str

    @property
    def files(self) -> list[str]:
        """All files of the chosen groups, sorted."""
        return sorted(f.path for g in self.groups for output in g.outputs for f in output.files)


def select(
    source: Source,
    *,
    groups: Iterable[str] | None,
    level: int | None,
    missing: str,
    storage_options: Options,
) -> Run:
    """Find the files and choose groups and outputs; parameters as in `open_athenak`."""
    if missing not in ("error", "drop"):
        raise SchemaError(f"missing must be 'error' or 'drop', got {missing!r}")
    if level is not None and (isinstance(level, bool) or int(level) != level or level < 0):
        raise SchemaError(f"level must be a whole number from 0 (the root grid) on, got {level!r}")
    found = find_files(source, storage_options)
    names = list(found.groups)
    if groups is not None:
        asked = [groups] if isinstance(groups, str) else list(groups)
        unknown = [name for name in asked if name not in names]
        if unknown or not asked:
            raise UnknownNameError(f"expected groups among {names}, got {unknown or asked}")
        names = [name for name in names if name in asked]
    loaded = [Group(name, found.groups[name], storage_options) for name in names]
    levels = [group.finest() if level is None else int(level) for group in loaded]
    fitting = _choose(loaded, levels, groups is not None)
    merged = [loaded[i] for i in fitting]
    return Run(
        merged,
        _positions(merged, _common_outputs(merged, missing)),
        levels[fitting[0]],
        sorted(set(found.groups) - {group.name for group in merged}),
        os.fspath(source) if is_path(source) else found.files[0],
    )


def is_path(source: Any) -> TypeGuard[str | os.PathLike[str]]:
    """True for one path or URL, False for a list."""
    return isinstance(source, str | os.PathLike)


def _grid(group: Group, level: int) -> tuple[Any, ...]:
    """Equal for groups whose variables fit into one Dataset."""
    layout = group.layout(0)
    planes = [
        layout.plane(axis) / group.mesh.scale(layout.finest)[axis]
        for axis, cut in enumerate(layout.sliced)
        if cut
    ]
    mesh = group.mesh
    return (layout.shape(mesh, level), layout.sliced, tuple(planes), mesh.lower, mesh.upper)


def _choose(loaded: Sequence[Group], levels: Sequence[int], chosen: bool) -> list[int]:
    """Positions of the groups on the largest grid; all must fit if the user named them."""
    grids = [_grid(group, level) for group, level in zip(loaded, levels, strict=True)]
    sizes = [int(np.prod(grid[0])) for grid in grids]
    largest = grids[sizes.index(max(sizes))]
    fitting = [i for i, grid in enumerate(grids) if grid == largest]
    if chosen and len(fitting) < len(loaded):
        raise SchemaError(
            f"groups {[g.name for g in loaded]} are on different grids "
            f"{[grid[0] for grid in grids]}: open them one by one"
        )
    return fitting


def _common_outputs(loaded: Sequence[Group], missing: str) -> list[int]:
    numbers = [{output.number for output in group.outputs} for group in loaded]
    every, common = set().union(*numbers), set(numbers[0]).intersection(*numbers[1:])
    if every != common and missing != "drop":
        lacking = {g.name: sorted(every - n) for g, n in zip(loaded, numbers, strict=True)}
        listed = "; ".join(f"{name} lacks {_short(n)}" for name, n in lacking.items() if n)
        raise FormatError(
            f"expected the same output numbers in all groups, found that {listed}: give "
            "missing='drop' to keep the common ones, or groups=[...]"
        )
    if not common:
        raise FormatError(f"groups {[g.name for g in loaded]} have no output number in common")
    return sorted(common)


def _short(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:8]))
    return shown if len(numbers) <= 8 else f"{shown}, ... ({len(numbers)} outputs)"


def _positions(loaded: Sequence[Group], numbers: Sequence[int]) -> list[list[int]]:
    """Where the common outputs are in each group; their times must agree."""
    found = []
    for group in loaded:
        places = {output.number: i for i, output in enumerate(group.outputs)}
        found.append([places[number] for number in numbers])
    reference = [loaded[0].outputs[i] for i in found[0]]
    for group, here in zip(loaded[1:], found[1:], strict=True):
        for wanted, i in zip(reference, here, strict=True):
            other = group.outputs[i]
            if abs(other.time - wanted.time) > _SAME_TIME * max(abs(other.time), abs(wanted.time)):
                raise FormatError(
                    f"{other.name}: expected time {wanted.time:g} as in {wanted.name}, found "
                    f"{other.time:g}: files of several runs are mixed"
                )
    return found
