"""Virtual HDF5 datasets, read from the files that they are assembled from.

HDF5 itself would open whatever path such a dataset names and give fill values where a file or a
part of it is missing. Here every source is looked at first: it lies beside or below the file, is
there, and together they tile the whole.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xphys._storage import is_url
from xphys.errors import FormatError
from xphys.io.readers._hdf5 import HDF5Array, HDF5File

__all__ = ["Sources", "VirtualArray", "find_sources"]

_MOST = 2**20  # sources of one dataset


@dataclass(frozen=True)
class _Part:
    """A box of a virtual dataset, and where its values are."""

    file: HDF5File
    name: str
    low: tuple[int, ...]
    size: tuple[int, ...]
    origin: tuple[int, ...]


@dataclass(frozen=True)
class Sources:
    """The datasets that a virtual one is assembled from.

    Attributes
    ----------
    parts : tuple
        Boxes that tile it.
    shape : tuple of int
        Its shape; along the first axis what all sources have.
    chunks : tuple of int
        Chunk of the first source.
    dtype : dtype
        Of all sources, in native byte order.
    """

    parts: tuple[_Part, ...]
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype


def find_sources(file: HDF5File, name: str, opened: dict[str, HDF5File]) -> Sources | None:
    """Look at every source of a virtual dataset.

    Parameters
    ----------
    file : HDF5File
        Where it is declared.
    name : str
        Path inside the file.
    opened : dict of str to HDF5File
        Source files met before; new ones are added.

    Returns
    -------
    Sources or None
        None for a dataset that has its values itself.

    Raises
    ------
    FormatError
        If a source is missing, too small, of another dtype or outside the folder of the file, or
        the sources do not tile the dataset.
    """
    where = f"{file.path}: {name!r}"
    with file.opened() as root:
        dataset = file.dataset(root, name, virtual=True)
        if not dataset.is_virtual:
            return None
        shape = tuple(int(n) for n in dataset.shape)
        maps = dataset.virtual_sources()
        if not 0 < len(maps) <= _MOST:
            raise FormatError(f"{where}: expected 1 to {_MOST:,} sources, found {len(maps)}")
        found = [
            (m.file_name, m.dset_name, _box(m.vspace, where), _box(m.src_space, where))
            for m in maps
        ]
    parts: list[_Part] = []
    dtypes, chunks = set(), shape
    for path, inner, (low, size), (origin, _) in found:
        source = _inside(file, path, name, opened)
        stored = HDF5Array(source, inner)
        rank = {len(low), len(origin), len(stored.shape), len(shape)}
        if len(rank) > 1 or any(low[:1] + origin[:1]):
            raise FormatError(f"{where}: expected sources of {len(shape)} axes from the first on")
        lengths = [stored.shape[0] if n is None else n for n in size]
        wanted = [o + n for o, n in zip(origin, lengths, strict=True)]
        if None in size[1:] or any(n > m for n, m in zip(wanted, stored.shape, strict=True)):
            raise FormatError(f"{where}: expected {wanted} values or more in {path}")
        dtypes.add(stored.dtype)
        chunks = stored.chunks if not parts else chunks
        parts.append(_Part(source, inner, low, tuple(lengths), origin))
    if len(dtypes) > 1:
        raise FormatError(
            f"{where}: expected sources of one dtype, found {sorted(map(str, dtypes))}"
        )
    _check_tiling(parts, shape[1:], where)
    length = min(part.size[0] for part in parts)
    return Sources(tuple(parts), (length, *shape[1:]), chunks, dtypes.pop())


def _box(space: Any, where: str) -> tuple[tuple[int, ...], tuple[int | None, ...]]:
    """First cell and size of a selection; None where it grows with the source."""
    from h5py import h5s

    if space.get_select_type() == h5s.SEL_ALL:
        return (0,) * len(space.shape), tuple(int(n) for n in space.shape)
    if space.get_select_type() == h5s.SEL_HYPERSLABS and space.is_regular_hyperslab():
        start, stride, count, block = space.get_regular_hyperslab()
        if all(n == 1 or s == b for s, n, b in zip(stride, count, block, strict=True)):
            endless = h5s.UNLIMITED
            sizes = zip(count, block, strict=True)
            return (
                tuple(int(n) for n in start),
                tuple(None if endless in (n, b) else int(n) * int(b) for n, b in sizes),
            )
    raise FormatError(f"{where}: expected sources that are boxes, found another selection")


def _inside(file: HDF5File, path: str, name: str, opened: dict[str, HDF5File]) -> HDF5File:
    """The source file, if it lies beside or below the file that names it."""
    parts = path.split("/")
    folder, slash, _ = file.path.rpartition("/") if is_url(file.path) else ("", "", "")
    place = f"{folder}{slash}{path}" if slash else os.path.join(os.path.dirname(file.path), path)
    fine = not any(part in ("", ".", "..") for part in parts) and not set(path) & set("\\:\0%")
    if fine and not is_url(place):
        home = os.path.realpath(os.path.dirname(file.path) or ".")
        fine = os.path.commonpath([home, os.path.realpath(place)]) == home
    if not fine:
        raise FormatError(
            f"{file.path}: {name!r} is assembled from {path[:80]!r}, which is not a relative path "
            "inside the folder of this file: not followed"
        )
    if place not in opened:
        if not is_url(place) and not os.path.isfile(place):
            raise FormatError(
                f"{file.path}: {name!r} is assembled from {path}, which is missing: copy the "
                "files of all processes"
            )
        opened[place] = HDF5File(place, file.storage_options)
    return opened[place]


def _check_tiling(parts: Sequence[_Part], shape: Sequence[int], where: str) -> None:
    """Boxes of a regular decomposition: every combination of the pieces of each axis, once."""
    lows = {part.low[1:] for part in parts}
    pieces = 1
    for axis, n in enumerate(shape, start=1):
        starts = sorted({part.low[axis] for part in parts})
        ends = dict(zip(starts, [*starts[1:], n], strict=True))
        pieces *= len(starts)
        whole = all(part.low[axis] + part.size[axis] == ends[part.low[axis]] for part in parts)
        if starts[0] != 0 or not whole:
            break
    else:
        if len(lows) == len(parts) == pieces:
            return
    raise FormatError(
        f"{where}: expected the parts of {len(parts)} files to fill {tuple(shape)} exactly once"
    )


class VirtualArray(HDF5Array):
    """A virtual dataset; arguments as those of `HDF5Array`.

    Parameters
    ----------
    file : HDF5File
        Where it is declared.
    name : str
        Path inside the file.
    sources : Sources
        What it is assembled from.
    at : mapping of int to int, optional
        Axis -> place; these axes are gone.
    order : sequence of int, optional
        Axes that are left, in the order of the result.
    """

    def __init__(
        self,
        file: HDF5File,
        name: str,
        sources: Sources,
        *,
        at: Mapping[int, int] | None = None,
        order: Sequence[int] | None = None,
    ):
        self.file, self.name, self.at = file, name, dict(at or {})
        self.sources, self.dtype = sources, sources.dtype
        self._arrange(sources.shape, sources.chunks, order)

    def _fill(self, wanted: Sequence[np.ndarray], out: np.ndarray) -> None:
        bounds = [(int(w.min()), int(w.max())) for w in wanted]
        for part in self.sources.parts:
            box = list(zip(part.low, part.size, part.origin, strict=True))
            if any(
                b < low or a >= low + n for (a, b), (low, n, _) in zip(bounds, box, strict=True)
            ):
                continue
            into, take = [], []
            for positions, (low, n, origin) in zip(wanted, box, strict=True):
                inside = np.flatnonzero((positions >= low) & (positions < low + n))
                into.append(inside)
                take.append(positions[inside] - low + origin)
            if all(i.size for i in into):
                out[np.ix_(*into)] = HDF5Array(part.file, part.name)._read(tuple(take))
