"""What xphys writes into netCDF beside the data, so that they come back as they were.

Files carry CF attributes that every program reads. What these cannot hold (truth values, None,
lists of one entry, types that netCDF lacks) is in one global attribute too, `MARK`: JSON with the
exact attributes, the attributes that were added, and the types of values that were converted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from xphys.errors import FormatError, SchemaError

__all__ = ["MARK", "RESERVED", "VERSION", "Record", "natural", "pack", "restore", "written"]

#: Global attribute of a file that `to_netcdf` wrote.
MARK = "xphys_netcdf"
#: Attributes that have a meaning of their own in netCDF, CF or HDF5.
RESERVED = frozenset(
    ("_FillValue", "missing_value", "scale_factor", "add_offset", "coordinates", "dtype", MARK)
    + ("_Unsigned", "_Encoding", "_NCProperties", "_nc3_strict", "_Netcdf4Dimid")
    + ("_Netcdf4Coordinates", "CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST")
)
VERSION = 1
_MOST_NUMBERS = 1000  # of an attribute: HDF5 keeps short ones only
Record = dict[str, Any]


def natural(value: Any) -> Any:
    """The form of an attribute that netCDF holds and gives back: text, a number, some numbers.

    Returns
    -------
    str, int, float, list, or None
        None if there is no such form.
    """
    if isinstance(value, str):
        return value if value and "\0" not in value and _encodable(value) else None
    if isinstance(value, bool) or not isinstance(value, int | float | list):
        return None
    if isinstance(value, np.generic):
        return None
    if isinstance(value, int):
        return value if abs(value) < 2**63 else None
    if isinstance(value, float):
        return value
    kinds = {type(entry) for entry in value}
    fits = 1 < len(value) <= _MOST_NUMBERS and kinds in ({int}, {float})
    return value if fits and all(natural(entry) is not None for entry in value) else None


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def pack(value: Any, where: str) -> Any:
    """An attribute as JSON values that tell its type."""
    if isinstance(value, np.generic | np.ndarray):
        array = np.asarray(value)
        if array.dtype.kind not in "biufU":
            raise SchemaError(f"{where} is of {array.dtype}: give text or numbers")
        held = [array.dtype.str, list(array.shape), pack(array.ravel().tolist(), where)]
        return {"array" if isinstance(value, np.ndarray) else "numpy": held}
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": repr(value)}
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, list | tuple):
        entries = [pack(entry, where) for entry in value]
        return entries if isinstance(value, list) else {"tuple": entries}
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {"dict": {key: pack(entry, where) for key, entry in value.items()}}
    raise SchemaError(
        f"{where} is a {type(value).__name__}: netCDF takes text, numbers, None, and lists and "
        "dicts of them"
    )


def unpack(value: Any) -> Any:
    """An attribute again from what `pack` gave."""
    if isinstance(value, list):
        return [unpack(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    ((tag, held),) = value.items()
    if tag == "float":
        return float(held)
    if tag == "tuple":
        return tuple(unpack(entry) for entry in held)
    if tag == "dict":
        return {key: unpack(entry) for key, entry in held.items()}
    dtype, shape, entries = np.dtype(held[0]), tuple(held[1]), unpack(held[2])
    if dtype.kind not in "biufU":
        raise ValueError(str(dtype))
    array = np.array(entries, dtype).reshape(shape)
    return array if tag == "array" else array[()]


class _Converted(BackendArray):
    """Values of a type that netCDF lacks, as the file holds them, converted when read."""

    def __init__(self, held: xr.Variable, dtype: np.dtype):
        self.held, self.dtype, self.shape = held, dtype, held.shape

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        return np.asarray(self.held[key].values).astype(self.dtype)


def restore(ds: xr.Dataset, path: str) -> xr.Dataset:
    """Undo what the writer did to attributes and types.

    Parameters
    ----------
    ds : Dataset
        As opened without decoding of times, masks and scales.
    path : str
        For errors.

    Returns
    -------
    Dataset
        As it was written; lazy.

    Raises
    ------
    FormatError
        If the record is damaged.
    """
    try:
        record: Record = json.loads(ds.attrs[MARK])
        if record["version"] != VERSION:
            raise FormatError(f"{path}: written by a later version of xphys: update it")
        found = ds.copy()
        for name, text in record["dtypes"].items():
            if name in found.variables:
                found[name] = _converted(found.variables[name], np.dtype(text))
        found = found.drop_attrs(deep=False).assign_attrs(_attributes(ds.attrs, record, ""))
        for name in found.variables:
            attrs = _attributes(ds.variables[name].attrs, record, str(name))
            found[name].attrs = attrs
    except FormatError:
        raise
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        raise FormatError(f"{path}: cannot read its attribute {MARK}: {error}") from error
    return found


def _converted(variable: xr.Variable, dtype: np.dtype) -> xr.Variable:
    if dtype.kind not in "bfmMUO":
        raise ValueError(str(dtype))
    if dtype.kind in "UO" or variable.ndim < 2:
        data: Any = np.asarray(variable.values).astype(dtype)
    else:
        data = indexing.LazilyIndexedArray(_Converted(variable, dtype))
    return xr.Variable(variable.dims, data, variable.attrs, variable.encoding)


def _attributes(found: Mapping[Hashable, Any], record: Record, name: str) -> dict[str, Any]:
    """Attributes as they were; those that somebody has changed since stay as they are now."""
    added = record["added"].get(name, {})
    exact = {key: unpack(value) for key, value in record["attrs"].get(name, {}).items()}
    kept: dict[str, Any] = {}
    for key in (*record["order"].get(name, ()), *map(str, found)):
        if key in kept or key == MARK:
            continue
        if key not in found:
            if key in exact and written(exact[key], key) is None:
                kept[key] = exact[key]
            continue
        value = _plain(found[key])
        if key in exact and written(exact[key], key) == value:
            kept[key] = exact[key]
        elif added.get(key) != value:
            kept[key] = value
    return kept


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


def written(value: Any, key: str) -> Any:
    """What a file holds for an attribute: its natural form, else what comes next to it."""
    if key in RESERVED:
        return None
    found = natural(value)
    if found is None and isinstance(value, bool | np.bool_):
        return int(value)
    if found is None and isinstance(value, np.generic | np.ndarray | list | tuple):
        near = _plain(np.asarray(value)) if isinstance(value, np.generic) else _plain(value)
        near = list(near) if isinstance(near, tuple) else near
        if isinstance(near, list) and len(near) == 1:
            near = near[0]
        return natural(int(near) if isinstance(near, bool) else near)
    return found
