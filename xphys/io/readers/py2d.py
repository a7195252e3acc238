"""Snapshots of py2d: MATLAB 5 files with the vorticity ``Omega`` and the ``time``.

``Omega[x, y]`` is dV/dx - dU/dy on the doubly periodic box of length 2 pi.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xphys.errors import FormatError, SchemaError
from xphys.io.readers._axes import check_axes, given_times, positions, time_axis
from xphys.io.readers._engine import Engine, opener, paths_of, without
from xphys.io.readers._folder import files_of
from xphys.io.readers._mat5 import SIGNATURE, MatArray, MatVariable, variables
from xphys.io.readers._probe import Probe
from xphys.io.readers._source import source_identity
from xphys.io.readers._stack import Stacked, lazy
from xphys.schema import record

__all__ = ["Py2dBackend", "is_py2d", "open_paths"]

_SUFFIXES = (".mat",)
_FIELD, _TIME = "Omega", "time"
_ATTRS = {"units": "1", "long_name": "vorticity", "source_name": _FIELD, "comment": "dv/dx - du/dy"}


class Py2dBackend(Engine):
    """``xr.open_dataset(path, engine="py2d")`` for the MATLAB 5 snapshots of py2d."""

    description = "py2d snapshots (MATLAB 5 .mat with Omega and time)"
    open_dataset_parameters = (
        "filename_or_obj",
        "drop_variables",
        "axes",
        "times",
        "length",
        "storage_options",
    )

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        axes: str | None = None,
        times: Any = None,
        length: float = 2 * np.pi,
        storage_options: Mapping[str, Any] | None = None,
    ) -> xr.Dataset:
        """Open a file, folder, pattern or list; several files are joined along time.

        Parameters
        ----------
        filename_or_obj : str, path or list of those
            ``.mat`` files, or a folder of them.
        drop_variables : str or iterable of str, optional
            Variables to leave out.
        axes : {"xy", "yx"}, optional
            Which axis of ``Omega`` comes first; by default "xy", as py2d writes.
        times : sequence of float, optional
            Time of every file in the order of their numbers, instead of what they hold.
        length : float, default 2 pi
            Of the box, which the files do not state.
        storage_options : mapping, optional
            For the file system of URLs.

        Returns
        -------
        Dataset
            ``vorticity(time, y, x)``, sorted by time; ``time`` holds numbers of outputs and no
            units where neither the files nor ``times`` give any.

        Raises
        ------
        FormatError
            If a file is no MATLAB 5 file with a real ``Omega``, is damaged, or the files do not
            fit together.
        SchemaError
            If an option is invalid.
        """
        check_axes(axes)
        if not isinstance(length, int | float) or not 0 < length < np.inf:
            raise SchemaError(f"length must be a positive number, got {length!r}")
        paths = files_of(paths_of(filename_or_obj), _SUFFIXES)
        found = [_snapshot(path, storage_options) for path in paths]
        row = _stored_times(found, storage_options) if times is None else None
        if times is not None:
            row = given_times(times, len(found))
        if row is not None:
            places = np.argsort(row, kind="stable")
            row, found = row[places], [found[place] for place in places]
            _check_distinct(row, found)
        arrays = [
            MatArray(one[_FIELD], axes == "yx", storage_options) for one in _alike(found, axes)
        ]
        said = "given as times=" if times is not None else ""
        said = said or ("" if row is not None else "the files store no times: give times=")
        coordinates = {"time": time_axis(row, len(found), paths[0], said)}
        for dim, size in zip("yx", arrays[0].shape, strict=True):
            coordinates[dim] = _axis(dim, size, float(length), paths[0])
        field = lazy(Stacked(arrays), ("time", "y", "x"), _ATTRS, (1, *arrays[0].shape))
        ds = xr.Dataset({"vorticity": field}, coordinates, _attrs(found, axes))
        ds = without(ds, drop_variables)
        ds.encoding["source"] = paths[0]
        used = {"engine": "py2d", "axes": axes, "length": float(length)}
        return record(ds, "open", used, source=source_identity(paths, storage_options))


open_paths = opener(Py2dBackend)


def is_py2d(probe: Probe) -> bool:
    """True for a MATLAB 5 file, or a folder of them, with a variable ``Omega``."""
    held = probe if probe.start else probe.member(*_SUFFIXES)
    if held is None or not held.start.startswith(SIGNATURE):
        return False
    try:
        return _FIELD in variables(held.path, held.storage_options)
    except FormatError:
        return False


Snapshot = dict[str, MatVariable]


def _snapshot(path: str, options: Mapping[str, Any] | None) -> Snapshot:
    if not os.path.isfile(path) and "://" not in path:
        raise FormatError(f"{path}: expected a .mat file")
    found = variables(path, options)
    if _FIELD not in found:
        raise FormatError(f"{path}: expected a variable {_FIELD!r}, found {sorted(found)[:8]}")
    found[_FIELD].check()
    if len(found[_FIELD].shape) != 2:
        raise FormatError(
            f"{path}: expected {_FIELD!r} with two axes, found {found[_FIELD].shape[::-1]}"
        )
    return found


def _stored_times(
    found: Sequence[Snapshot], options: Mapping[str, Any] | None
) -> np.ndarray | None:
    lacking = [one[_FIELD].path for one in found if _TIME not in one]
    if len(lacking) == len(found):
        return None
    if lacking:
        raise FormatError(f"{lacking[0]}: expected a variable 'time' as in the other files")
    row = np.empty(len(found))
    for place, one in enumerate(found):
        time = one[_TIME]
        time.check()
        if time.shape != (1, 1):
            raise FormatError(f"{time.path}: expected one time, found an array of {time.shape}")
        row[place] = time.rows(0, 1, options)[0, 0]
    return row


def _check_distinct(row: np.ndarray, found: Sequence[Snapshot]) -> None:
    if not np.isfinite(row).all():
        raise FormatError(f"{found[-1][_FIELD].path}: expected a finite time: give times=")
    same = np.flatnonzero(np.diff(row) == 0)
    if same.size:
        first, second = (found[same[0] + i][_FIELD].path for i in (0, 1))
        raise FormatError(f"{first} and {second} have the same time {row[same[0]]:g}: drop one")


def _alike(found: Sequence[Snapshot], axes: str | None) -> Sequence[Snapshot]:
    first = found[0][_FIELD]
    for one in found[1:]:
        other = one[_FIELD]
        if (other.shape, other.dtype) != (first.shape, first.dtype):
            raise FormatError(
                f"{other.path}: expected {first.dtype} of {first.shape[::-1]} as in {first.path}, "
                f"found {other.dtype} of {other.shape[::-1]}"
            )
    return found


def _axis(dim: str, size: int, length: float, where: str) -> xr.Variable:
    points = np.arange(size) * (length / max(size, 1))
    box = "2 pi" if length == 2 * np.pi else f"{length:g}"
    attrs = {
        "boundary": "periodic",
        "period": length,
        "comment": f"not stored: {size} points on a box of length {box}",
    }
    return positions(dim, points, where, attrs)


def _attrs(found: Sequence[Snapshot], axes: str | None) -> dict[str, str]:
    others = sorted(set(found[0]) - {_FIELD, _TIME})
    attrs = {
        "source": "py2d snapshots, MATLAB 5",
        "axes": axes or "xy",
        "axes_decided_by": "given as axes=" if axes else "py2d writes Omega[x, y]",
    }
    return attrs | ({"not_opened": ", ".join(others)} if others else {})
