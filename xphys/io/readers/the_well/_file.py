"""One file of The Well: its arrays with the dims that their flags give them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from xphys.errors import FormatError
from xphys.io._the_well import (
    COMPONENTS,
    COORDINATES,
    FIELDS,
    FLAGS,
    MARK,
    REPEATED,
    ROOT,
    component_names,
)
from xphys.io.readers._hdf5 import HDF5Array, HDF5File
from xphys.io.readers._strings import read_strings
from xphys.schema._spellings import model_order

__all__ = ["Piece", "WellFile", "texts"]

_MOST_TRAJECTORIES = 2**24
_GROUPS = ("dimensions", "scalars", "boundary_conditions")


@dataclass(frozen=True)
class Piece:
    """A variable of one file.

    Attributes
    ----------
    dims : tuple of str
        In the order of the data model.
    array : HDF5Array or ndarray
        Read later, or small and read already.
    attrs : dict
        Its attributes.
    """

    dims: tuple[str, ...]
    array: Any
    attrs: dict[str, Any] = field(default_factory=dict)


class WellFile:
    """What one file holds; fields are not read.

    Parameters
    ----------
    path : str
        Local path or URL.
    axes : mapping of str to str
        Name of an axis in the file -> dimension, where it is to have another name.
    storage_options : mapping, optional
        For the file system of a URL.

    Raises
    ------
    FormatError
        If it is not HDF5 or the groups and sizes of The Well are not in it.
    """

    def __init__(
        self,
        path: str,
        axes: Mapping[str, str],
        storage_options: Mapping[str, Any] | None = None,
    ):
        self.path = path
        self.file = HDF5File(path, storage_options)
        self.root = self.file.attributes()
        self.groups = {name for name, kind in self.file.members().items() if kind == "group"}
        for name in (*FIELDS, *_GROUPS):
            if name not in self.groups:
                raise self.wrong(f"there is no group {name!r}")
        self.count = self._whole("n_trajectories")
        #: Names of the axes as the file has them, in its order.
        self.axes = tuple(texts(self.file.attributes("dimensions").get("spatial_dims")))
        if not self.axes or len(set(self.axes)) < len(self.axes):
            raise self.wrong(f"attribute spatial_dims should name the axes, found {self.axes}")
        if self._whole("n_spatial_dims") != len(self.axes):
            raise self.wrong(
                f"n_spatial_dims is {self.root['n_spatial_dims']}, spatial_dims names {self.axes}"
            )
        #: Their names as dimensions.
        self.dims = tuple(axes.get(name, name) for name in self.axes)
        self.sizes = {"trajectory": self.count, "time": self._length("time")}
        for name, dim in zip(self.axes, self.dims, strict=True):
            if dim in self.sizes:
                raise self.wrong(f"two axes would be called {dim!r}: choose other names, axes=")
            self.sizes[dim] = self._length(name)

    def wrong(self, text: str) -> FormatError:
        """The error to raise."""
        return FormatError(f"{self.path}: not laid out as The Well: {text}")

    @cached_property
    def complete(self) -> bool:
        """Whether xphys wrote the file, with every attribute that there is."""
        return MARK in self.root

    def _whole(self, name: str) -> int:
        value = self.root.get(name)
        if not isinstance(value, int) or not 0 < value <= _MOST_TRAJECTORIES:
            raise self.wrong(f"attribute {name} should be a positive number, found {value!r}")
        return value

    def _length(self, name: str) -> int:
        shape = HDF5Array(self.file, f"dimensions/{name}").shape
        if not shape:
            raise self.wrong(f"dimensions/{name} should have an axis, found a single value")
        return shape[-1]

    def flag(self, attrs: Mapping[str, Any], name: str, where: str) -> bool:
        """A flag of a dataset or boundary condition; False where it is left out."""
        value = attrs.get(name, False)
        if not isinstance(value, bool | int) or value not in (0, 1):
            raise self.wrong(f"attribute {name} of {where} should be true or false, got {value!r}")
        return bool(value)

    def leading(self, attrs: Mapping[str, Any], where: str) -> tuple[str, ...]:
        """``trajectory`` and ``time``, as far as the flags say that values vary along them."""
        names = zip(("trajectory", "time"), FLAGS, strict=False)
        return tuple(dim for dim, flag in names if self.flag(attrs, flag, where))

    def names(self, group: str) -> list[str]:
        """Datasets of a group: those in its list, then others that have flags."""
        held = [name for name, kind in self.file.members(group).items() if kind == "dataset"]
        attrs = self.file.attributes(group)
        if "field_names" not in attrs:
            return held
        listed = texts(attrs["field_names"])
        missing = [name for name in listed if name not in held]
        if missing:
            raise self.wrong(f"{group} lists {missing[0]!r}, there is no such dataset")
        others = [name for name in held if name not in listed]
        flagged = [n for n in others if FLAGS[0] in self.file.attributes(f"{group}/{n}")]
        return [*dict.fromkeys(listed), *flagged]

    # ---- fields -------------------------------------------------------------------------------

    def fields(self) -> dict[str, Piece]:
        """All fields, a variable for each component."""
        found: dict[str, Piece] = {}
        for order, group in enumerate(FIELDS):
            for name in self.names(group):
                for variable, piece in self._field(f"{group}/{name}", name, order).items():
                    if variable in found:
                        raise self.wrong(f"two fields would be called {variable!r}")
                    found[variable] = piece
        return found

    def _field(self, path: str, name: str, order: int) -> dict[str, Piece]:
        whole, attrs = HDF5Array(self.file, path), self.file.attributes(path)
        varying = attrs.get("dim_varying")
        varying = [] if varying is None else np.atleast_1d(np.asarray(varying)).tolist()
        if len(varying) != len(self.dims) or any(flag not in (0, 1) for flag in varying):
            raise self.wrong(f"dim_varying of {path} should be {len(self.dims)} flags: {varying}")
        lead = self.leading(attrs, path)
        dims, tail = self._match(path, whole.shape, lead, varying, order)
        repeated = set(texts(attrs.get(REPEATED))) & set(self.dims)
        dims = [None if dim in repeated else dim for dim in dims]
        own, specific = self._described(path, attrs)
        found = {}
        for place, component in enumerate(component_names(self.dims, order)):
            given = dict(specific.get(component, {}))
            variable = str(given.pop("name", f"{name}_{component}" if component else name))
            tied = {"vector": name, "component": component} if component else {}
            plain = {"units": "1", "long_name": variable.replace("_", " ")}
            if component:
                plain["source_name"] = name
            known = {} if self.complete else plain
            at = dict(tail[place])
            at |= {i: 0 for i, dim in enumerate(dims) if dim is None}
            kept = [dim for dim in dims if dim is not None]
            ordered = tuple(str(dim) for dim in model_order(kept))
            array = HDF5Array(self.file, path, at=at, order=[dims.index(dim) for dim in ordered])
            found[variable] = Piece(ordered, array, known | own | tied | given)
        return found

    def _match(
        self,
        path: str,
        shape: Sequence[int],
        lead: Sequence[str],
        varying: Sequence[int],
        order: int,
    ) -> tuple[list[str | None], list[dict[int, int]]]:
        """Dims of the axes before the components, None for one without meaning; the components.

        Axes along which a field does not vary are left out or have one point.
        """
        short = [dim for dim, flag in zip(self.dims, varying, strict=True) if flag]
        long = [dim if flag else None for dim, flag in zip(self.dims, varying, strict=True)]
        rank = len(self.dims)
        tails = {(rank,) * order} | ({(rank**2,)} if order == 2 else set())
        for space in (short, long):
            dims = [*lead, *space]
            sizes = tuple(1 if dim is None else self.sizes[dim] for dim in dims)
            for tail in tails:
                if tuple(shape) == (*sizes, *tail):
                    places = np.ndindex(*tail)
                    start = len(dims)
                    return dims, [{start + i: n for i, n in enumerate(p)} for p in places]
        expected = (*(self.sizes[dim] for dim in (*lead, *short)), *(rank,) * order)
        raise self.wrong(f"{path} should have the shape {expected}, found {tuple(shape)}")

    def _described(
        self, path: str, attrs: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Attributes without flags, and those of single components."""
        own = {
            k: v
            for k, v in attrs.items()
            if k not in (*FLAGS, COMPONENTS, REPEATED) and is_plain(v)
        }
        text = attrs.get(COMPONENTS)
        if text is None:
            return own, {}
        try:
            specific = json.loads(text)
        except (TypeError, ValueError, RecursionError) as error:
            raise self.wrong(f"{COMPONENTS} of {path} is not JSON") from error
        if not isinstance(specific, dict) or not all(
            isinstance(v, dict) for v in specific.values()
        ):
            raise self.wrong(f"{COMPONENTS} of {path} should map components to attributes")
        return own, specific

    # ---- coordinates --------------------------------------------------------------------------

    def positions(self) -> dict[str, Piece]:
        """Times and positions along the axes."""
        found = {}
        for name, dim in zip(("time", *self.axes), ("time", *self.dims), strict=True):
            path = f"dimensions/{name}"
            attrs = self.file.attributes(path)
            lead = self.leading(attrs, path)
            if name == "time":
                lead = tuple(other for other in lead if other != "time")
            own = {k: v for k, v in attrs.items() if k not in FLAGS and is_plain(v)}
            piece = self._small(path, (*lead, dim))
            known = {} if self.complete else {"units": "1", "long_name": name.replace("_", " ")}
            if dim != name and not self.complete:
                known["source_name"] = name
            found[dim] = Piece(piece.dims, piece.array, known | own)
        return found

    def _small(self, path: str, dims: tuple[str, ...]) -> Piece:
        values = self.file.values(path)
        sizes = tuple(self.sizes[dim] for dim in dims)
        if values.shape != sizes and values.size == 1 and not dims:
            values = values.reshape(())  # a constant is often stored as an array of one
        if values.shape != sizes:
            raise self.wrong(f"{path} should have the shape {sizes}, found {values.shape}")
        return Piece(dims, values)

    def parameters(self) -> dict[str, Piece]:
        """Scalars, and parameters of the root that are not among them."""
        found: dict[str, Piece] = {}
        for name in self.names("scalars"):
            path = f"scalars/{name}"
            attrs = self.file.attributes(path)
            piece = self._small(path, self.leading(attrs, path))
            if piece.array.dtype.kind not in "fiub":
                raise self.wrong(f"{path} should hold numbers, found {piece.array.dtype}")
            value = piece.array
            if not piece.dims:
                value = _exact(value, self.root.get(name))
            own = {k: v for k, v in attrs.items() if k not in FLAGS and is_plain(v)}
            found[name] = Piece(piece.dims, value, self._named(name) | own)
        for name in texts(self.root.get("simulation_parameters")):
            value = self.root.get(name)
            if name not in found and isinstance(value, bool | int | float | str):
                found[name] = Piece((), np.asarray(value), self._named(name))
        return found

    def _named(self, name: str) -> dict[str, Any]:
        if self.complete:
            return {}
        return {"units": "1", "long_name": name.replace("_", " "), "source_name": name}

    def others(self) -> dict[str, Piece]:
        """Coordinates that xphys put beside the layout."""
        found: dict[str, Piece] = {}
        for name in self.names(COORDINATES) if COORDINATES in self.groups else ():
            path = f"{COORDINATES}/{name}"
            attrs = self.file.attributes(path)
            dims = tuple(texts(attrs.pop("dims", None)))
            with self.file.opened() as opened:
                stored = self.file.dataset(opened, path)
                shape, kind = tuple(stored.shape), stored.dtype.kind
            if len(dims) != len(shape) or len(set(dims)) < len(dims):
                raise self.wrong(f"{path} has {len(shape)} axes, its attribute dims names {dims}")
            for dim, size in zip(dims, shape, strict=True):
                if self.sizes.setdefault(dim, size) != size:
                    raise self.wrong(f"{path}: {dim} has {self.sizes[dim]} points, found {size}")
            if kind in "OS":
                array: Any = self._text(path, shape)
            else:
                array = HDF5Array(self.file, path)
            own = {k: v for k, v in attrs.items() if is_plain(v)}
            found[name] = Piece(dims, array, own)
        return found

    def _text(self, path: str, shape: tuple[int, ...]) -> np.ndarray:
        if len(shape) == 1:
            return read_strings(self.file, path)
        found = texts(self.file.values(path).tolist())
        if shape or not found:
            raise self.wrong(f"{path} should be a text or a row of them, found the shape {shape}")
        return np.asarray(found[0])

    def described(self) -> dict[str, Any]:
        """Attributes of the Dataset: those of the root that are not parameters or sizes."""
        listed = set(texts(self.root.get("simulation_parameters")))
        left_out = {*ROOT[2:], MARK, *listed}
        return {k: v for k, v in self.root.items() if k not in left_out and is_plain(v)}


def texts(value: Any) -> list[str]:
    """A text or a list of them as a list; anything else is left out."""
    entries = [value] if isinstance(value, str | bytes) else value
    if not isinstance(entries, list | tuple):
        return []
    decoded = [e.decode("utf-8", "replace") if isinstance(e, bytes) else e for e in entries]
    return [entry for entry in decoded if isinstance(entry, str)]


def is_plain(value: Any) -> bool:
    """Whether a Dataset can carry the attribute on."""
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "fiub" and value.ndim <= 1
    return isinstance(value, str | bool | int | float | list)


def _exact(stored: np.ndarray, given: Any) -> np.ndarray:
    """A constant; the value of the root where the stored one is that value, rounded."""
    if isinstance(given, bool) or not isinstance(given, int | float):
        return stored
    if stored.dtype.kind != "f" or float(stored) == given:
        return stored
    with np.errstate(over="ignore"):
        rounded = np.asarray(given, np.float64).astype(stored.dtype)
    return np.asarray(float(given)) if rounded == stored else stored
