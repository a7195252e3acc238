"""One ``.athdf`` file: its attributes and where its blocks lie.

Axes are in the order of storage, (x3, x2, x1), once they have left the attributes.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from xphys.errors import FormatError
from xphys.io.readers._blocks import Blocks, Mesh, Triple, check_cover, triple
from xphys.io.readers._hdf5 import HDF5Array, HDF5File

__all__ = ["Header", "Layout", "faces", "lay_out", "read_header"]

_FINEST = 30
_MOST_CELLS = 2**50
_SINGLE = 1e-6  # faces are stored in single precision


@dataclass(frozen=True)
class Header:
    """What the attributes say.

    Attributes
    ----------
    path : str
        The file.
    time : float
        Simulation time.
    cycle : int
        Number of time steps.
    coordinates : str
        Coordinate system.
    cells, stored : tuple of int
        Cells of the root grid, and of a block as stored (with ghost cells; 1 in a slice).
    lower, upper, ratio : tuple of float
        Bounds of the domain, and ratio of the widths of neighbouring cells.
    blocks : int
        Number of blocks.
    variables : tuple of (str, int, str)
        Dataset, place in it, and name.
    dtype : dtype
        Of all variables, native.
    """

    path: str
    time: float
    cycle: int
    coordinates: str
    cells: Triple
    stored: Triple
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    ratio: tuple[float, ...]
    blocks: int
    variables: tuple[tuple[str, int, str], ...]
    dtype: np.dtype

    @property
    def run(self) -> tuple[Any, ...]:
        """Equal for files of one run."""
        return (
            self.coordinates, self.cells, self.stored, self.lower, self.upper, self.ratio,
            self.variables, self.dtype,
        )  # fmt: skip


@dataclass(frozen=True)
class Layout(Blocks):
    """Where the blocks of a file lie; a block's place in the file is its place here.

    Attributes
    ----------
    level, start, active, sliced
        As of `Blocks`.
    trim : tuple of int
        Ghost cells in front.
    """

    trim: Triple


def read_header(file: HDF5File) -> Header:
    """Read the attributes, and check the datasets against them.

    Parameters
    ----------
    file : HDF5File
        The file.

    Returns
    -------
    Header
        Of this output.

    Raises
    ------
    FormatError
        If something is missing or does not fit.
    """
    attrs = file.attributes()
    path = file.path
    cells, stored = (_integers(attrs, key, path) for key in ("RootGridSize", "MeshBlockSize"))
    grids = [_floats(attrs, f"RootGridX{d}", path) for d in (3, 2, 1)]
    for n, b, (low, high, ratio) in zip(cells, stored, grids, strict=True):
        if not (0 < n < 2**31 and 0 < b < 2**31 and low < high and ratio):
            raise FormatError(
                f"{path}: expected cells and a domain, found RootGridSize {cells[::-1]}, "
                f"MeshBlockSize {stored[::-1]} and bounds {low} and {high}"
            )
    blocks = int(_number(attrs, "NumMeshBlocks", path))
    variables = _variables(attrs, path)
    dtypes = set()
    for dataset in dict.fromkeys(name for name, _, _ in variables):
        array = HDF5Array(file, dataset)
        wanted = (sum(name == dataset for name, _, _ in variables), blocks, *stored)
        if array.shape != wanted or array.dtype.kind != "f":
            raise FormatError(
                f"{path}: expected floats of shape {wanted} in {dataset!r}, found {array.dtype} "
                f"of shape {array.shape}"
            )
        dtypes.add(array.dtype)
    if len(dtypes) != 1:
        raise FormatError(f"{path}: expected one dtype, found {sorted(map(str, dtypes))}")
    lower, upper, ratios = zip(*grids, strict=True)
    return Header(
        path, _number(attrs, "Time", path), int(_number(attrs, "NumCycles", path)),
        str(attrs.get("Coordinates", "")), triple(iter(cells)), triple(iter(stored)),
        lower, upper, ratios, blocks, variables, dtypes.pop(),
    )  # fmt: skip


def _number(attrs: Mapping[str, Any], key: str, path: str) -> float:
    values = np.asarray(attrs.get(key, ()))
    if values.size != 1 or values.dtype.kind not in "fiu" or not abs(values.item()) < 2**53:
        raise FormatError(f"{path}: expected a number in attribute {key}, found {attrs.get(key)!r}")
    return float(values.item())


def _integers(attrs: Mapping[str, Any], key: str, path: str) -> list[int]:
    values = np.asarray(attrs.get(key, ()))
    if values.shape != (3,) or values.dtype.kind not in "iu":
        raise FormatError(f"{path}: expected three integers in attribute {key}")
    return [int(value) for value in values[::-1]]


def _floats(attrs: Mapping[str, Any], key: str, path: str) -> tuple[float, float, float]:
    values = np.asarray(attrs.get(key, ()))
    if (
        values.shape not in ((2,), (3,))
        or values.dtype.kind != "f"
        or not np.isfinite(values).all()
    ):
        raise FormatError(f"{path}: expected minimum, maximum and ratio in attribute {key}")
    low, high, ratio = [*values.tolist(), 1.0][:3]
    return float(low), float(high), float(ratio)


def _variables(attrs: Mapping[str, Any], path: str) -> tuple[tuple[str, int, str], ...]:
    counts = np.atleast_1d(np.asarray(attrs.get("NumVariables", ())))
    datasets, names = (_words(attrs.get(key)) for key in ("DatasetNames", "VariableNames"))
    sizes = [int(n) for n in counts.ravel()] if counts.dtype.kind in "iu" else []
    if (
        not sizes
        or min(sizes) < 1
        or len(datasets) != len(sizes)
        or sum(sizes) != len(names)
        or len(set(datasets)) != len(datasets)
        or len(set(names)) != len(names)
    ):
        raise FormatError(
            f"{path}: expected the attributes DatasetNames, NumVariables and VariableNames to fit "
            "together, with every name once"
        )
    owners = [(d, i) for d, n in zip(datasets, sizes, strict=True) for i in range(n)]
    return tuple((d, i, name) for (d, i), name in zip(owners, names, strict=True))


def _words(value: Any) -> list[str]:
    return [str(word) for word in value] if isinstance(value, list) else []


def faces(file: HDF5File, header: Header, axis: int) -> np.ndarray:
    """Interfaces of the cells of every block along axis 0, 1 or 2 (x3, x2, x1)."""
    name = f"x{3 - axis}f"
    values = file.values(name)
    wanted = (header.blocks, header.stored[axis] + 1)
    if values.shape != wanted or values.dtype.kind != "f" or not np.isfinite(values).all():
        raise FormatError(
            f"{file.path}: expected finite positions of shape {wanted} in {name!r}, found "
            f"{values.dtype} of shape {values.shape}"
        )
    return values


def lay_out(file: HDF5File, header: Header) -> tuple[Layout, Mesh, bytes]:
    """Read where the blocks lie, and check that they tile the mesh.

    Parameters
    ----------
    file : HDF5File
        The file.
    header : Header
        Its attributes.

    Returns
    -------
    layout : Layout
        The blocks.
    mesh : Mesh
        The root grid.
    digest : bytes
        Equal if the blocks of two files are the same in the same order.

    Raises
    ------
    FormatError
        If blocks are missing, overlap or lie outside the mesh.
    """
    levels, places = file.values("Levels"), file.values("LogicalLocations")
    n = header.blocks
    kinds = levels.dtype.kind + places.dtype.kind
    if levels.shape != (n,) or places.shape != (n, 3) or set(kinds) - set("iu") or not n:
        raise FormatError(
            f"{file.path}: expected Levels and LogicalLocations of {n} blocks, found shapes "
            f"{levels.shape} and {places.shape}"
        )
    level, place = levels.astype(np.int64), places.astype(np.int64)[:, ::-1]
    if level.min() < 0 or level.max() > _FINEST or place.min() < 0 or place.max() >= 2**61:
        raise FormatError(f"{file.path}: expected levels from 0 to {_FINEST} and places from 0 on")
    trim, active, sliced = [0, 0, 0], [1, 1, 1], [False, False, False]
    for axis, (cells, stored) in enumerate(zip(header.cells, header.stored, strict=True)):
        if stored == 1:
            sliced[axis] = cells > 1
        else:
            trim[axis] = _ghosts(file, header, axis, place[:, axis])
            active[axis] = stored - 2 * trim[axis]
        if active[axis] < 1 or cells % active[axis]:
            raise FormatError(
                f"{file.path}: expected blocks that divide {cells} cells along x{3 - axis}, found "
                f"{stored} with {trim[axis]} ghost cells on each side"
            )
    mesh = Mesh(
        cells=header.cells,
        block=triple(iter(active)),
        lower=_three(header.lower),
        upper=_three(header.upper),
        refinement="static",
    )
    layout = Layout(
        level=level,
        start=place * np.array([1 if cut else a for cut, a in zip(sliced, active, strict=True)]),
        active=triple(iter(active)),
        sliced=(sliced[0], sliced[1], sliced[2]),
        trim=triple(iter(trim)),
    )
    if math.prod(layout.shape(mesh, layout.finest)) > _MOST_CELLS:
        raise FormatError(f"{file.path}: a grid of level {layout.finest} is too large to be true")
    check_cover(layout, mesh, place, file.path)
    raw = np.column_stack([level, place]).astype("<i8").tobytes()
    return layout, mesh, hashlib.blake2b(raw, digest_size=16).digest()


def _three(values: tuple[float, ...]) -> tuple[float, float, float]:
    third, second, first = values
    return third, second, first


def _ghosts(file: HDF5File, header: Header, axis: int, place: np.ndarray) -> int:
    """Faces below the domain, of a block at its lower end."""
    ends = np.flatnonzero(place == 0)
    if not ends.size:
        return 0  # the check of the cover names what is missing
    values = faces(file, header, axis)[ends[0]].astype(np.float64)
    low, high = header.lower[axis], header.upper[axis]
    return int((values < low - _SINGLE * max(abs(low), abs(high))).sum())
