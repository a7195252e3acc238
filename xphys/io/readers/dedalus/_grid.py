"""Axes of the tasks of a handler: names, positions, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xphys.errors import FormatError, SchemaError
from xphys.io.readers._boundary import boundary_attrs
from xphys.io.readers.dedalus._sets import CONSTANT, Handler, Task, as_text
from xphys.schema._grid import spacing_of

__all__ = ["axis_names", "coordinates", "one_grid"]

_UNIFORM = 1e-9  # of the mean step; the nodes of Legendre in angle come as close as 1e-4
_FEWEST = 4  # three Chebyshev points are uniform too


def axis_names(
    tasks: Mapping[str, Task], asked: Sequence[str] | None
) -> tuple[tuple[str, ...], str]:
    """Name of each stored axis.

    Parameters
    ----------
    tasks : mapping of str to Task
        All tasks of the handler: an axis along which one is constant is named by another.
    asked : sequence of str or None
        What the caller says.

    Returns
    -------
    names : tuple of str
        Axes that no task varies along are named by the rest of x, y, z if only one name fits,
        else by their number.
    note : str
        What was assumed; "" if all names are stored.

    Raises
    ------
    FormatError
        If the tasks have another number of axes, or other names.
    SchemaError
        If ``asked`` does not fit.
    """
    ranks = {len(task.labels) for task in tasks.values()}
    if len(ranks) != 1:
        raise FormatError(f"expected tasks of one number of axes, found {sorted(ranks)}")
    rank = ranks.pop()
    if asked is not None:
        names = tuple(asked)
        if len(names) != rank or len(set(names)) != rank or not all(map(str, names)):
            raise SchemaError(f"axes= takes {rank} names, one for each stored axis, got {asked!r}")
        return names, f"stored axes are {', '.join(names)}: given as axes="
    found = [_stored_name(tasks, axis) for axis in range(rank)]
    fits = [
        f
        for f in _CHOICES.get(rank, ())
        if all(n in (None, m) for n, m in zip(found, f, strict=True))
    ]
    names = tuple(
        name or (fits[0][axis] if len(fits) == 1 else str(axis)) for axis, name in enumerate(found)
    )
    added = [name for name, stored in zip(names, found, strict=True) if stored is None]
    note = f"no task varies along {', '.join(added)}, named by the other axes" if added else ""
    return names, note


_CHOICES = {2: ("xy", "xz", "yz"), 3: ("xyz",)}


def _stored_name(tasks: Mapping[str, Task], axis: int) -> str | None:
    names = set()
    for task in tasks.values():
        label = task.labels[axis]
        if label != CONSTANT:
            # coefficients are on "kx", "Tz": one letter before the name of the coordinate
            names.add(label if task.grid_space[axis] else label[1:])
    if len(names) > 1:
        raise FormatError(f"expected one name for stored axis {axis}, found {sorted(names)}")
    return names.pop() if names else None


def one_grid(
    handler: Handler, chosen: Mapping[str, Task], names: Sequence[str]
) -> dict[str, np.ndarray]:
    """Positions along each axis, the same for all tasks and sets.

    Parameters
    ----------
    handler : Handler
        The sets.
    chosen : mapping of str to Task
        Tasks of the first set that are opened.
    names : sequence of str
        Name of each stored axis.

    Returns
    -------
    dict
        Name -> positions, for axes that some task varies along.

    Raises
    ------
    FormatError
        If tasks are on different grids, or a set is on another one.
    """
    found: dict[str, np.ndarray] = {}
    for axis, name in enumerate(names):
        scales: dict[str, list[str]] = {}
        for task, held in chosen.items():
            if held.scales[axis]:
                scales.setdefault(held.scales[axis], []).append(task)
        if not scales:
            continue
        if len(scales) > 1:
            most = max(scales, key=lambda scale: len(scales[scale]))
            others = [task for scale, held in scales.items() if scale != most for task in held]
            points = sorted(chosen[held[0]].shape[axis - len(names)] for held in scales.values())
            raise FormatError(
                f"{handler.sets[0].file.path}: expected tasks on one grid, found {points} points "
                f"along {name!r}: open {as_text(scales[most])} with drop_variables={others!r}, "
                "the others by themselves"
            )
        (scale,) = scales
        task = scales[scale][0]
        found[name] = handler.sets[0].file.values(scale)
        for later in handler.sets[1:]:
            other = later.file.values(later.tasks[task].scales[axis] or scale)
            if not np.array_equal(other, found[name]):
                raise FormatError(
                    f"{later.file.path}: expected the positions along {name!r} of "
                    f"{handler.sets[0].file.path}, found others: files of several runs are mixed"
                )
    return found


def coordinates(
    positions: Mapping[str, np.ndarray], boundary: Mapping[str, str] | None
) -> tuple[dict[str, xr.Variable], list[str]]:
    """Coordinate variables, and what was concluded from the positions.

    Parameters
    ----------
    positions : mapping of str to ndarray
        Name -> positions.
    boundary : mapping of str to str or None
        What the caller gave; it wins.

    Returns
    -------
    coords : dict
        With attrs ``spacing``, and ``boundary`` and ``period`` where given or concluded.
    notes : list of str
        For the attributes of the Dataset.
    """
    coords, notes = {}, []
    for name, values in positions.items():
        spacing = _spacing(name, values)
        length = _length(values) if spacing == "uniform" else None
        attrs: dict[str, Any] = {"units": "1", "long_name": name, "source_name": name}
        if values.size > 1:
            attrs["spacing"] = spacing
        given = boundary_attrs(boundary, name, length)
        if given:
            notes.append(f"{name}: boundary given as boundary=")
        elif length is not None:
            given = {"boundary": "periodic", "period": length}
            notes.append(f"{name}: uniform, as only Fourier bases are: periodic, period {length:g}")
        else:
            notes.append(f"{name}: {spacing}, boundary not stored")
        coords[name] = xr.Variable(name, values, {**attrs, **given})
    return coords, notes


def _length(values: np.ndarray) -> float:
    return float(values[-1] - values[0]) / (values.size - 1) * values.size


def _spacing(name: str, values: np.ndarray) -> str:
    steps = np.diff(values.astype(np.float64))
    if not np.isfinite(steps).all() or not (steps > 0).all():
        return "nonuniform"
    if values.size >= _FEWEST and np.ptp(steps) <= _UNIFORM * steps.mean():
        return "uniform"
    if values.size < _FEWEST:
        return "nonuniform"
    seen = spacing_of(xr.Dataset(coords={name: values}), name)
    return "nonuniform" if seen == "uniform" else seen
