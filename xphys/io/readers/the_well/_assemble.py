"""Files of The Well as one Dataset."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from xphys._storage import Source, expand
from xphys.errors import FormatError, SchemaError
from xphys.io.readers._axes import covered, positions
from xphys.io.readers._source import source_identity
from xphys.io.readers._stack import Joined, lazy
from xphys.io.readers.the_well._boundaries import Condition, conditions, of_axis
from xphys.io.readers.the_well._file import Piece, WellFile
from xphys.io.readers.the_well._files import find_files
from xphys.schema import PROVENANCE, record

__all__ = ["open_the_well"]


def open_the_well(
    source: Source,
    *,
    axes: Mapping[str, str] | None = None,
    split: str | None = None,
    base: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Open files of The Well as one lazy Dataset.

    Parameters
    ----------
    source : str, path or iterable of those
        A file, the folder of a data set or of one of its splits, a glob or a list, or a public
        data set by its name, ``the_well://DATASET/SPLIT``. Several files are joined along
        ``trajectory`` in the order of their names.
    axes : mapping of str to str, optional
        Name of an axis in the file -> dimension, e.g. ``{"theta": "y", "phi": "x"}``. By default
        every axis keeps its name: x, y and z are those of the data model, ``r``, ``theta`` or
        ``log_r`` stay what they are, so that nothing takes a curved grid for a Cartesian one.
    split : str, optional
        "train", "valid" or "test", for a folder that holds several.
    base : str, optional
        Folder or URL where ``the_well://`` finds the data sets, each as
        ``DATASET/data/SPLIT/*.hdf5``; by default the project's on the Hugging Face hub.
    storage_options : mapping, optional
        For the file system of URLs.

    Returns
    -------
    Dataset
        Dims ``(trajectory, time, z, y, x)``, without those along which a field does not vary.
        One variable per component (``velocity_x``, ``stress_xy``). Scalars are coordinates, on
        ``trajectory`` and ``time`` where they vary; positions are two-dimensional where every
        trajectory or time has its own. Boundary conditions are the attribute ``boundary`` of the
        axes (with ``boundary_lower`` and ``boundary_upper`` where the ends differ); one that
        lies inside the domain, varies, has values or belongs to single fields is also kept as a
        mask, coordinate ``boundary_<name>``, and ``boundary_<name>_values``. Of several files,
        ``file(trajectory)`` says which one a trajectory is from; what is not the same in all of
        them lies along ``trajectory``. Dtypes are those of the files.

    Raises
    ------
    FileNotFoundError
        If a path does not exist or a pattern matches nothing.
    FormatError
        If a file is damaged or laid out in another way, files do not fit together, or a folder
        holds several splits.
    SchemaError
        If ``axes`` names an axis that the files do not have.
    UnknownNameError
        If there is no such public data set or split.
    """
    renamed = dict(axes or {})
    paths = find_files(expand(source), split, storage_options, base)
    held = [_Held.read(WellFile(path, renamed, storage_options)) for path in paths]
    wells = [one.well for one in held]
    first = wells[0]
    unknown = sorted(set(renamed) - set(first.axes))
    if unknown:
        raise SchemaError(f"axes names {unknown[0]!r}, the files have the axes {first.axes}")
    for other in wells[1:]:
        _check_fits(first, other)
    fields = _joined(wells, [one.fields for one in held], "fields")
    ds = xr.Dataset(
        {name: _variable(piece) for name, piece in fields.items()},
        _coordinates(held, fields),
        _attrs(wells),
    )
    ds.encoding["source"] = paths[0]
    used = {"engine": "the_well", "axes": axes and dict(axes), "split": split}
    return record(ds, "open", used, source=source_identity(paths, storage_options))


@dataclass(frozen=True)
class _Held:
    """What a file holds, read while it is open: many files are not open at a time."""

    well: WellFile
    fields: dict[str, Piece]
    positions: dict[str, Piece]
    parameters: dict[str, Piece]
    others: dict[str, Piece]
    conditions: list[Condition]

    @classmethod
    def read(cls, well: WellFile) -> _Held:
        found = conditions(well)
        return cls(well, well.fields(), well.positions(), well.parameters(), well.others(), found)


def _check_fits(first: WellFile, other: WellFile) -> None:
    for what, own, its in (
        ("data set", first.root.get("dataset_name"), other.root.get("dataset_name")),
        ("grid type", first.root.get("grid_type"), other.root.get("grid_type")),
        ("axes", first.axes, other.axes),
        ("sizes", _common(first), _common(other)),
    ):
        if own != its:
            raise FormatError(
                f"{other.path}: expected the {what} {own} as in {first.path}, found {its}: open "
                "the files one by one"
            )


def _common(well: WellFile) -> dict[str, int]:
    return {dim: size for dim, size in well.sizes.items() if dim != "trajectory"}


# ---- several files --------------------------------------------------------------------------


class Repeated(BackendArray):
    """An array that is the same for every place of a new first axis."""

    def __init__(self, inner: Any, count: int):
        self.inner = inner
        self.shape, self.dtype = (count, *inner.shape), inner.dtype
        self.chunks = (1, *inner.chunks)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        rest = tuple(k if isinstance(k, slice | np.ndarray) else int(k) for k in key[1:])
        read = np.asarray(self.inner[indexing.OuterIndexer(rest)])
        if isinstance(key[0], int | np.integer):
            return read
        count = np.arange(self.shape[0])[key[0]].size
        return np.broadcast_to(read, (count, *read.shape)).copy()


def _joined(
    wells: Sequence[WellFile], found: Sequence[dict[str, Piece]], what: str
) -> dict[str, Piece]:
    """Variables of all files along ``trajectory``."""
    first = found[0]
    for well, pieces in zip(wells[1:], found[1:], strict=True):
        if set(pieces) != set(first):
            odd = sorted(set(pieces) ^ set(first))
            raise FormatError(
                f"{well.path}: expected the {what} of {wells[0].path}, {odd[0]!r} is in one of the "
                "two only: open the files one by one"
            )
    if len(found) == 1:
        return dict(first)
    return {name: _join(wells, [pieces[name] for pieces in found], name) for name in first}


def _join(wells: Sequence[WellFile], pieces: Sequence[Piece], name: str) -> Piece:
    first = pieces[0]
    inner = [tuple(dim for dim in piece.dims if dim != "trajectory") for piece in pieces]
    for well, piece, dims in zip(wells, pieces, inner, strict=True):
        if dims != inner[0] or piece.array.dtype != first.array.dtype:
            raise FormatError(
                f"{well.path}: {name!r} is {piece.array.dtype} on {piece.dims}, in {wells[0].path} "
                f"{first.array.dtype} on {first.dims}: open the files one by one"
            )
    small = all(isinstance(piece.array, np.ndarray) for piece in pieces)
    if small and all(_same(piece, first) for piece in pieces):
        return first
    parts: list[Any] = []
    for well, piece in zip(wells, pieces, strict=True):
        alone = "trajectory" not in piece.dims
        if small:
            shape = (well.count, *piece.array.shape[0 if alone else 1 :])
            parts.append(np.broadcast_to(piece.array, shape))
        else:
            parts.append(Repeated(piece.array, well.count) if alone else piece.array)
    if len({part.shape[1:] for part in parts}) > 1:
        raise FormatError(f"{name!r} has other sizes in some files: open the files one by one")
    array: Any = np.concatenate(parts) if small else _Chunked(parts)
    return Piece(("trajectory", *inner[0]), array, first.attrs)


class _Chunked(Joined):
    """Arrays of several files, to be read in the units in which they are stored."""

    def __init__(self, parts: Sequence[Any]):
        super().__init__(parts)
        stored = parts[0].chunks
        whole = all(part.shape[0] % stored[0] == 0 for part in parts)
        self.chunks = stored if whole else (1, *stored[1:])


def _same(piece: Piece, first: Piece) -> bool:
    if piece.dims != first.dims or "trajectory" in piece.dims:
        return False
    own, other = piece.array, first.array
    return bool(np.array_equal(own, other, equal_nan=own.dtype.kind == "f"))


# ---- the Dataset ----------------------------------------------------------------------------


def _variable(piece: Piece) -> xr.Variable:
    if isinstance(piece.array, np.ndarray):
        return xr.Variable(piece.dims, piece.array, piece.attrs)
    return lazy(piece.array, piece.dims, piece.attrs)


def _coordinates(held: Sequence[_Held], fields: Mapping[str, Piece]) -> dict[str, xr.Variable]:
    wells, bounds = [one.well for one in held], [one.conditions for one in held]
    places = _joined(wells, [one.positions for one in held], "dimensions")
    coords = {"time": _variable(places.pop("time"))}
    for dim, piece in places.items():
        coords[dim] = _axis(wells, bounds, dim, piece)
    masks = [{k: v for one in found for k, v in one.coords.items()} for found in bounds]
    for group in (
        _joined(wells, [one.others for one in held], "coordinates"),
        _joined(wells, masks, "boundary conditions"),
        _joined(wells, [one.parameters for one in held], "scalars"),
    ):
        for name, piece in group.items():
            free = name
            while free in fields or free in coords:
                free += "_scalar"  # a field or an axis has the name
            coords[free] = _variable(piece)
    if len(wells) > 1:
        numbers = np.repeat(np.arange(len(wells), dtype=np.int32), [w.count for w in wells])
        attrs = {"units": "1", "long_name": "file that the trajectory is from"}
        names = [well.path.replace("\\", "/").rpartition("/")[2] for well in wells]
        coords["file"] = xr.Variable("trajectory", numbers, {**attrs, "names": names})
    return coords


def _axis(
    wells: Sequence[WellFile], bounds: Sequence[Sequence[Condition]], dim: str, piece: Piece
) -> xr.Variable:
    first = wells[0]
    if first.complete:
        return _variable(piece)
    said = [of_axis(found, dim) for found in bounds]
    for well, words in zip(wells, said, strict=True):
        if words != said[0]:
            raise FormatError(
                f"{well.path}: expected the boundary {said[0]} of {dim!r} as in {first.path}, "
                f"found {words}: open the files one by one"
            )
    attrs: dict[str, Any] = {**said[0], **piece.attrs}
    if piece.dims != (dim,):
        return xr.Variable(piece.dims, piece.array, attrs)
    if attrs.get("boundary") == "periodic" and "period" not in attrs:
        attrs["period"] = covered(piece.array)
    return positions(dim, piece.array, f"{first.path}: dimensions/{dim}", attrs)


def _attrs(wells: Sequence[WellFile]) -> dict[str, Any]:
    """Attributes that all files have in common; only one file hands on its record."""
    every = [well.described() for well in wells]
    attrs = {
        key: value
        for key, value in every[0].items()
        if all(key in other and _equal(other[key], value) for other in every[1:])
    }
    steps = attrs.pop(PROVENANCE, None)
    if len(wells) == 1 and _is_record(steps):
        attrs[PROVENANCE] = steps
    if not wells[0].complete:
        attrs = {"source": "The Well HDF5", "axes": ", ".join(wells[0].axes), **attrs}
    return attrs


def _equal(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(np.array_equal(np.asarray(one), np.asarray(other)))


def _is_record(text: Any) -> bool:
    try:
        steps = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return False
    return isinstance(steps, list) and all(isinstance(step, dict) for step in steps)
