"""HDF5 read lazily and with bounds: what the readers of HDF5 layouts share.

Chunks are fetched as they are stored and decoded here, outside HDF5's global lock and never to
more bytes than a chunk has; nothing outside the file is followed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from xarray.backends import BackendArray, CachingFileManager
from xarray.core import indexing

from xphys._storage import is_url, open_binary
from xphys.errors import CorruptDataError, FormatError, RemoteError
from xphys.io.readers._filters import FILTERS, decode_chunk
from xphys.io.readers._keys import positions

__all__ = ["HDF5Array", "HDF5File", "close_files", "text"]

_LARGEST_CHUNK = 2**31  # bytes
_LARGEST_SMALL = 2**26  # bytes of what is read whole when a file is opened
_MANY = 1000  # chunks, from which on those never written are worth being left out
_TEXTS = 64  # elements of text read at a time
_RATIO = 1100  # deflate makes at most about 1030 bytes out of one
_PLAIN = "fiucb"


class _Options(dict[str, Any]):
    """Options of a file system, nested ones too, in the key of the cache of open files."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(repr(sorted(self.items())))


def _open(path: str, options: Mapping[str, Any], mode: str = "r") -> Any:
    import h5py

    # the cache of chunks is of no use: they are decoded here
    settings: dict[str, Any] = {"mode": mode, "rdcc_nbytes": 0}
    if is_url(path):
        return h5py.File(open_binary(path, options), **settings)
    try:
        # as everybody opens files: HDF5 refuses one that is open in another way in this process
        return h5py.File(path, **settings)
    except BlockingIOError:
        return h5py.File(path, locking=False, **settings)  # a file system that has no locks


class HDF5File:
    """A file that is opened when needed, and again in other processes.

    Parameters
    ----------
    path : str
        Local path or URL.
    storage_options : mapping, optional
        For the file system of a URL.
    """

    def __init__(self, path: str, storage_options: Mapping[str, Any] | None = None):
        self.path = path
        self.storage_options = dict(storage_options or {})
        options = _Options(storage_options or {})
        self._manager = CachingFileManager(_open, path, options, mode="r", lock=False)

    @contextmanager
    def opened(self) -> Iterator[Any]:
        """The ``h5py.File``; whatever HDF5 complains about becomes a FormatError."""
        try:
            with self._manager.acquire_context(needs_lock=True) as file:
                yield file
        except (FormatError, FileNotFoundError, PermissionError, RemoteError):
            raise
        except (OSError, KeyError, RuntimeError, ValueError, TypeError, OverflowError) as error:
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise FormatError(f"{self.path}: not a readable HDF5 file: {said}") from error

    def close(self) -> None:
        """Close the handle of this process, if there is one."""
        self._manager.close()

    def dataset(self, file: Any, name: str, *, virtual: bool = False) -> Any:
        """A dataset inside this file, checked before anything of it is read.

        One that is assembled from other datasets is let through with ``virtual`` only: HDF5
        would follow any path in it, and give fill values for a missing file.

        Raises
        ------
        FormatError
            If it is missing, or its data lie outside this file, or a chunk is above 2 GiB.
        """
        import h5py

        found: Any = file
        for part in name.strip("/").split("/"):
            link = found.get(part, getlink=True) if isinstance(found, h5py.Group) else None
            if link is None:
                raise FormatError(f"{self.path}: expected a dataset {name!r}, there is none")
            if not isinstance(link, h5py.HardLink):
                raise FormatError(f"{self.path}: {name!r} is a link to elsewhere: not followed")
            found = found[part]
        if not isinstance(found, h5py.Dataset):
            raise FormatError(f"{self.path}: expected a dataset {name!r}, found a group")
        if found.external:
            raise FormatError(f"{self.path}: {name!r} is kept in other files: not followed")
        if found.is_virtual and not virtual:
            raise FormatError(f"{self.path}: {name!r} is assembled from other files: not followed")
        if found.chunks and min(found.chunks) < 1:
            raise CorruptDataError(f"{self.path}: {name!r} has chunks of shape {found.chunks}")
        if found.chunks and math.prod(found.chunks) * found.dtype.itemsize > _LARGEST_CHUNK:
            raise FormatError(f"{self.path}: {name!r} has chunks above 2 GiB: rewrite the file")
        return found

    def members(self, group: str = "/") -> dict[str, str]:
        """Name -> "group" or "dataset" of what lies in a group; links to elsewhere are left out.

        Raises
        ------
        FormatError
            If there is no such group in this file.
        """
        import h5py

        with self.opened() as file:
            held = _inside(file, group)
            if not isinstance(held, h5py.Group):
                raise FormatError(f"{self.path}: expected a group {group!r}, there is none")
            found = {}
            for name in held:
                if not isinstance(name, str):
                    raise FormatError(f"{self.path}: {group!r} has a member named {name[:80]!r}")
                if isinstance(held.get(name, getlink=True), h5py.HardLink):
                    kind = held.get(name, getclass=True)
                    found[name] = "group" if kind is h5py.Group else "dataset"
            return found

    def values(self, name: str) -> np.ndarray:
        """All values of a small dataset (at most 64 MiB), such as a coordinate."""
        with self.opened() as file:
            dataset = self.dataset(file, name)
            if dataset.size * dataset.dtype.itemsize > _LARGEST_SMALL:
                raise FormatError(
                    f"{self.path}: {name!r} should be small, it declares {dataset.nbytes:,} bytes"
                )
            if dataset.dtype.kind == "O" and _is_plain(dataset.dtype):
                return _texts(dataset, f"{self.path}: {name!r}")
        return np.asarray(HDF5Array(self, name)._read((slice(None),) * dataset.ndim))

    def attributes(self, name: str = "/") -> dict[str, Any]:
        """Attributes of a group or dataset as text, numbers and small arrays; no references.

        Empty where this file has nothing of that name: links to elsewhere are not followed.
        """
        import h5py

        with self.opened() as file:
            held = _inside(file, name)
            if held is None:
                return {}
            found: dict[str, Any] = {}
            for key in held.attrs:
                if not isinstance(key, str):
                    raise FormatError(f"{self.path}: {name!r} has an attribute named {key[:80]!r}")
                kind = held.attrs.get_id(key)
                if math.prod(kind.shape or ()) * max(kind.dtype.itemsize, 1) > _LARGEST_SMALL:
                    raise FormatError(f"{self.path}: attribute {key!r} of {name!r} is too large")
                if _is_plain(kind.dtype) and not isinstance(value := held.attrs[key], h5py.Empty):
                    found[key] = text(value)
            return found


def _inside(file: Any, name: str) -> Any:
    """A group or dataset of this file; None if there is none, or a link to elsewhere on the way."""
    import h5py

    held: Any = file
    for part in name.strip("/").split("/") if name.strip("/") else ():
        link = held.get(part, getlink=True) if isinstance(held, h5py.Group) else None
        if not isinstance(link, h5py.HardLink):
            return None
        held = held[part]
    return held


def close_files(files: Sequence[HDF5File]) -> None:
    """What closing a Dataset does: ``ds.set_close(partial(close_files, files))``."""
    for file in files:
        file.close()


def _is_plain(dtype: np.dtype) -> bool:
    import h5py

    if dtype.kind == "O":
        return h5py.check_string_dtype(dtype) is not None
    return dtype.names is None and h5py.check_ref_dtype(dtype) is None


def _texts(dataset: Any, where: str) -> np.ndarray:
    """All text of a dataset, piece by piece: any number of elements may name one long text."""
    if not dataset.shape:
        return np.asarray(dataset[()])
    out = np.empty(dataset.shape, object)
    step = max(_TEXTS // max(math.prod(dataset.shape[1:]), 1), 1)
    length = 0
    for start in range(0, len(out), step):
        piece = dataset[start : start + step]
        out[start : start + step] = piece
        length += sum(len(item) for item in piece.ravel().tolist() if item)
        if length > _LARGEST_SMALL:
            raise FormatError(f"{where} should be small, it holds more than 64 MiB of text")
    return out


def text(value: Any) -> Any:
    """Bytes and arrays of them as str; single numbers as Python's; the rest unchanged."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, np.ndarray) and value.dtype.kind in "OS":
        return [text(item) for item in value.ravel().tolist()]
    if isinstance(value, np.generic):
        return text(value.item())
    return value


class HDF5Array(BackendArray):
    """A dataset, or a part of it at fixed places of some axes, its axes in another order.

    Parameters
    ----------
    file : HDF5File
        Where it lies.
    name : str
        Path inside the file.
    at : mapping of int to int, optional
        Axis -> place; these axes are gone.
    order : sequence of int, optional
        Axes of the dataset that are left, in the order of the result.
    """

    def __init__(
        self,
        file: HDF5File,
        name: str,
        *,
        at: Mapping[int, int] | None = None,
        order: Sequence[int] | None = None,
    ):
        self.file, self.name, self.at = file, name, dict(at or {})
        with file.opened() as opened:
            dataset = file.dataset(opened, name)
            shape, stored = tuple(int(n) for n in dataset.shape), dataset.chunks
            dtype = dataset.dtype
        if dtype.kind not in _PLAIN:
            raise FormatError(f"{file.path}: expected numbers in {name!r}, found {dtype}")
        self.dtype = dtype.newbyteorder("=")
        self._arrange(shape, stored or shape, order)

    def _arrange(
        self, shape: Sequence[int], chunks: Sequence[int], order: Sequence[int] | None
    ) -> None:
        left = [axis for axis in range(len(shape)) if axis not in self.at]
        self.order = tuple(left if order is None else order)
        beyond = [axis for axis in self.at if axis >= len(shape)]
        if sorted(self.order) != left or beyond or len(chunks) != len(shape):
            raise FormatError(
                f"{self.file.path}: {self.name!r} has {len(shape)} axes, expected another number"
            )
        if any(not 0 <= place < shape[axis] for axis, place in self.at.items()):
            raise FormatError(f"{self.file.path}: {self.name!r} of shape {shape} has no {self.at}")
        self.shape = tuple(shape[axis] for axis in self.order)
        self.chunks = tuple(chunks[axis] for axis in self.order)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        wanted: list[np.ndarray] = [np.array([self.at.get(a, 0)]) for a in range(self._rank)]
        try:
            for axis, part in zip(self.order, key, strict=True):
                wanted[axis] = positions(part, self.shape[self.order.index(axis)])
            out = np.empty([w.size for w in wanted], self.dtype)
        except (MemoryError, ValueError) as error:
            raise FormatError(
                f"{self.file.path}: {self.name!r} declares more values than fit into memory: read "
                "a part"
            ) from error
        if out.size:
            self._fill(wanted, out)
        fixed = tuple(axis for axis in range(self._rank) if axis in self.at)
        out = np.transpose(out.squeeze(fixed), np.argsort(np.argsort(self.order)))
        gone = tuple(i for i, part in enumerate(key) if isinstance(part, int | np.integer))
        return out.squeeze(gone)

    @property
    def _rank(self) -> int:
        return len(self.order) + len(self.at)

    def _fill(self, wanted: Sequence[np.ndarray], out: np.ndarray) -> None:
        with self.file.opened() as opened:
            dataset = self.file.dataset(opened, self.name)
            filters = _filters(dataset)
            if dataset.chunks is None or any(code not in FILTERS for code, _ in filters):
                out[...] = _by_h5py(dataset, wanted)
                return
            if dataset.id.get_type().get_size() != dataset.dtype.itemsize:
                out[...] = _by_h5py(dataset, wanted)
                return
            chunks, stored, fill = dataset.chunks, dataset.dtype, dataset.fillvalue
            along = [_touched(w, n) for w, n in zip(wanted, chunks, strict=True)]
            corners = _corners(along, dataset.id)
        out[...] = fill
        for corner in corners:
            raw, mask = self._stored(corner, math.prod(chunks) * stored.itemsize, bool(filters))
            if raw is None:
                continue
            parts = [found[n] for found, n in zip(along, corner, strict=True)]
            into, take = zip(*parts, strict=True)
            where = f"{self.file.path}: chunk {corner} of {self.name!r}"
            data = decode_chunk(raw, filters, mask, chunks, stored, where)
            out[_box(into, out.shape)] = data[_box(take, chunks)]

    def _stored(
        self, corner: tuple[int, ...], size: int, filtered: bool
    ) -> tuple[bytes | None, int]:
        """Bytes of a chunk as they lie in the file; None for a chunk never written."""
        with self.file.opened() as opened:
            held = self.file.dataset(opened, self.name).id
            file_size = opened.id.get_filesize()
            info = held.get_chunk_info_by_coord(corner)
            if info.byte_offset is None:
                return None, 0
            # without filters HDF5 makes room for the nominal size and reads the stated one
            beyond = info.byte_offset + info.size > file_size
            small = filtered and size > info.size * _RATIO + 4096
            large = info.size > size + size // 8 + 4096 or (not filtered and info.size != size)
            if beyond or small or large:
                raise CorruptDataError(
                    f"{self.file.path}: chunk {corner} of {self.name!r} takes {info.size:,} bytes "
                    f"for {size:,} bytes of values: the file is damaged"
                )
            mask, raw = held.read_direct_chunk(corner)
            return raw, mask


def _filters(dataset: Any) -> list[tuple[int, tuple[int, ...]]]:
    made = dataset.id.get_create_plist()
    every = (made.get_filter(i) for i in range(made.get_nfilters()))
    return [(code, tuple(values)) for code, _, values, _ in every]


def _by_h5py(dataset: Any, wanted: Sequence[np.ndarray]) -> np.ndarray:
    """The box around what is wanted, then the choice: h5py takes no two lists at once."""
    box = tuple(slice(int(w.min()), int(w.max()) + 1) for w in wanted)
    steps = [w - w.min() for w in wanted]
    return np.asarray(dataset[box][np.ix_(*steps)])


def _touched(wanted: np.ndarray, size: int) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Along an axis: first cell of each chunk with wanted cells, their places in the result, and
    in the chunk."""
    numbers = wanted // size
    order = np.argsort(numbers, kind="stable")
    found, starts = np.unique(numbers[order], return_index=True)
    pieces = np.split(order, starts[1:])
    return {
        int(n) * size: (_run(places), _run(wanted[places] - n * size))
        for n, places in zip(found, pieces, strict=True)
    }


def _run(places: np.ndarray) -> Any:
    """A slice for places that follow each other, which is copied much faster."""
    if len(places) and (np.diff(places) == 1).all():
        return slice(int(places[0]), int(places[-1]) + 1)
    return places


def _box(every: Sequence[Any], shape: Sequence[int]) -> Any:
    """An index of the box of such parts."""
    if all(isinstance(part, slice) for part in every):
        return tuple(every)
    return np.ix_(*(positions(part, n) for part, n in zip(every, shape, strict=True)))


def _corners(along: Sequence[Mapping[int, Any]], held: Any) -> Iterable[tuple[int, ...]]:
    """First cell of each chunk to look at: where more are wanted than were ever written, those."""
    if math.prod(map(len, along)) <= max(held.get_num_chunks(), _MANY):
        return itertools.product(*along)
    written: list[tuple[int, ...]] = []
    held.chunk_iter(lambda info: written.append(tuple(map(int, info.chunk_offset))))
    return [c for c in written if all(n in found for n, found in zip(c, along, strict=True))]
