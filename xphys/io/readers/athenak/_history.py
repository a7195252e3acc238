"""The ``.hst`` history table: volume integrals over time."""

from __future__ import annotations

import os
import re
from typing import Any

import numpy as np
import xarray as xr

from xphys._storage import open_binary
from xphys.errors import FormatError
from xphys.io.readers._source import source_identity
from xphys.io.readers.athenak._format import Options
from xphys.schema import record

__all__ = ["is_history", "open_history"]

_FIRST = re.compile(rb"#\s*Athena(\+\+|K|XXX)? history data")
_COLUMN = re.compile(r"\[(\d+)\]=(\S+)")
_FULL = {
    "mass": ("mass", "mass"),
    "dt": ("time_step", "time step"),
    "tot-E": ("total_energy", "total energy"),
}
_DIRECTED = {"mom": "momentum", "KE": "kinetic_energy", "ME": "magnetic_energy"}


def is_history(start: bytes) -> bool:
    """True if a file that starts with these bytes is a history table."""
    return _FIRST.match(start) is not None


def _name(column: str) -> tuple[str, str]:
    axis, dash, quantity = column.partition("-")
    if dash and axis in ("1", "2", "3") and quantity in _DIRECTED:
        name = _DIRECTED[quantity]
        return f"{name}_{axis}", f"volume integral of {name.replace('_', ' ')}, stored axis {axis}"
    return _FULL.get(column, (column, column))


def open_history(path: str | os.PathLike[str], storage_options: Options = None) -> xr.Dataset:
    """Read a history table.

    Parameters
    ----------
    path : str or path
        A ``.hst`` file.
    storage_options : mapping, optional
        For the file system of a URL.

    Returns
    -------
    Dataset
        Dim ``time``; variables ``mass``, ``momentum_1`` ..., ``kinetic_energy_1`` ...,
        ``magnetic_energy_1`` ... (integrals over the domain along the stored axes 1, 2, 3: the
        table does not say what those axes mean), ``time_step``, and other columns under their
        own names.

    Raises
    ------
    FormatError
        If a row has another number of columns than the header (the name and line are given), or
        the header changes.

    Notes
    -----
    A restart writes earlier times again: rows that a later row repeats or goes behind are
    dropped, so time is strictly increasing.
    """
    path = os.fspath(path)
    with open_binary(path, storage_options) as file:
        lines = file.read().decode("utf-8", "replace").splitlines()
    if not lines or not _FIRST.match(lines[0].encode()):
        raise FormatError(f"{path}: expected '# Athena++ history data' in the first line")
    columns: list[str] = []
    rows: list[np.ndarray] = []
    for number, line in enumerate(lines, 1):
        if line.startswith("#"):
            named = [match[2] for match in _COLUMN.finditer(line)]
            if named and columns and named != columns:
                raise FormatError(f"{path}: expected columns {columns}, found {named} in {number}")
            columns = named or columns
        elif line.strip():
            rows.append(_row(path, number, line, len(columns)))
    if "time" not in columns:
        raise FormatError(f"{path}: expected a column 'time', found {columns}")
    table = np.array(rows, np.float64).reshape(len(rows), len(columns))
    table = table[_last_run(table[:, columns.index("time")])]
    ds = _dataset(table, columns)
    ds.encoding["source"] = path
    source = source_identity([path], storage_options)
    return record(ds, "open", {"engine": "athenak"}, source=source)


def _row(path: str, number: int, line: str, count: int) -> np.ndarray:
    fields = line.split()
    try:
        if len(fields) == count:
            return np.array(fields, np.float64)
    except ValueError:
        pass
    raise FormatError(
        f"{path}: expected {count} numbers in line {number}, found {line[:40]!r}: the table is "
        "truncated or damaged; remove that line to go on without it"
    )


def _last_run(time: np.ndarray) -> np.ndarray:
    """Rows that no later row repeats or goes behind."""
    later = np.minimum.accumulate(np.append(time[1:], np.inf)[::-1])[::-1]
    return np.asarray(time < later)


def _dataset(table: np.ndarray, columns: list[str]) -> xr.Dataset:
    variables: dict[str, Any] = {}
    for column, values in zip(columns, table.T, strict=True):
        name, long_name = _name(column)
        attrs = {"units": "1", "long_name": long_name, "source_name": column}
        variables[name] = xr.Variable("time", np.ascontiguousarray(values), attrs)
    time = variables.pop("time")
    attrs = {"title": "AthenaK history"}
    return xr.Dataset(variables, coords={"time": time}, attrs=attrs)
