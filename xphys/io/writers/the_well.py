"""Writing The Well: block by block, with a journal beside the file until it is complete."""

from __future__ import annotations

import hashlib
import json
import os
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, Literal

import numpy as np
import xarray as xr

from xphys._storage import is_url
from xphys.errors import SchemaError, StoreConflictError
from xphys.io.writers._frames import already_exists
from xphys.io.writers._well_file import digest_of, make_file, put, settle
from xphys.io.writers._well_plan import LEAD, Plan, Target, make_plan
from xphys.schema import record

__all__ = ["to_the_well"]

_SUFFIXES = (".hdf5", ".h5")
_BLOCK = 2**27  # bytes of a block, unless a single frame or Dask chunk along time is larger
_LEAST = 2**24  # bytes up to which chunks are put together
_VERSION = 1


def to_the_well(
    ds: xr.Dataset,
    path: str | os.PathLike[str],
    *,
    split: str = "train",
    dataset_name: str | None = None,
    dtype: str | np.dtype | None = None,
    mode: Literal["w-", "w"] = "w-",
    resume: bool = True,
) -> None:
    """Write a Dataset as a file of The Well, which its ``WellDataset`` reads.

    Vectors with a component for every axis become ``t1_fields``, tensors ``t2_fields``, all else
    ``t0_fields`` (so does the third component of a vector on a plane). Scalar coordinates and
    those on ``trajectory`` and ``time`` become scalars, the attribute ``boundary`` of the axes
    boundary conditions, attributes HDF5 attributes. Coordinates that the layout has no place for
    go into a group of their own that other programs pass over: `xphys.open` gives the Dataset
    back with values, coordinates and attributes unchanged.

    Parameters
    ----------
    ds : Dataset
        Dims ``(trajectory, time, z, y, x)``, those that exist, ``time`` among them. Other spatial
        dimensions are taken if ``ds.attrs["grid_type"]`` names the grid.
    path : str or path
        Local folder of the data set: the file becomes ``<path>/data/<split>/<name>.hdf5``. A path
        that ends in .hdf5 or .h5 is the file itself.
    split : {"train", "valid", "test"}
        Folder below ``data/``.
    dataset_name : str, optional
        Name of the data set; by default ``ds.attrs["dataset_name"]``, else that of the path. All
        files of a folder need the same.
    dtype : dtype, optional
        Of numeric fields, e.g. "float32", which is what The Well publishes. By default they keep
        their own, which ``WellDataset`` reads as it is.
    mode : {"w-", "w"}, default "w-"
        ``"w-"`` refuses an existing file, ``"w"`` replaces it once the new one is complete.
    resume : bool, default True
        Go on with a write of the same data that was stopped; False begins it anew.

    Raises
    ------
    FileExistsError
        If the file exists and mode is ``"w-"``.
    StoreConflictError
        If a write of other data is unfinished here, or another process is at it.
    SchemaError
        If the layout cannot hold something (dims, dtypes, names, attributes), or an option is
        invalid.

    Notes
    -----
    One block at a time is in memory: all fields of at most 128 MiB of frames (at least one frame
    or one Dask chunk along trajectory and time), twice while components are put together. Fields
    are stored contiguous and uncompressed. While a write runs, ``<file>.part`` has its final size
    and ``<file>.part.journal`` a digest of each finished block; a write of the same Dataset that
    was killed checks those blocks and goes on with the next one. Equal Datasets give equal bytes.
    A Dataset without Dask whose values are still in files (``chunks=None``) begins anew.

    Examples
    --------
    >>> import tempfile, h5py
    >>> ds = xr.Dataset(
    ...     {"density": (("time", "x"), [[1.0, 2.0]])}, {"time": [0.0], "x": [0.25, 0.75]}
    ... )
    >>> folder = tempfile.mkdtemp()
    >>> to_the_well(ds, folder, dataset_name="waves")
    >>> with h5py.File(f"{folder}/data/train/waves.hdf5") as file:
    ...     file["t0_fields/density"].shape
    (1, 2)
    """
    if mode not in ("w-", "w"):
        raise SchemaError(f"a file of The Well is written with mode 'w-' or 'w', got {mode!r}")
    final, name = _place(os.fspath(path), split, dataset_name or ds.attrs.get("dataset_name"))
    wanted = None if dtype is None else np.dtype(dtype).newbyteorder("=")
    used = {"dataset_name": name, "dtype": None if wanted is None else str(wanted)}
    ds = record(ds, "to_the_well", used)
    plan = make_plan(ds, name, wanted)
    journal = f"{final}.part.journal"
    if mode == "w-" and os.path.exists(final) and not os.path.exists(journal):
        raise already_exists(final)
    os.makedirs(os.path.dirname(final) or ".", exist_ok=True)
    with _held(journal) as book:
        _Write(ds, plan, final, book).run(replace=mode == "w", resume=resume)
        os.remove(journal)
    settle(final)


def _place(path: str, split: str, name: Any) -> tuple[str, str]:
    """The file, and the name of the data set."""
    if is_url(path):
        raise SchemaError(f"expected a local path, got {path!r}: write there and copy the file")
    path = os.path.expanduser(path)
    folder, last = os.path.split(os.path.abspath(path))
    if path.endswith(_SUFFIXES):
        return os.path.join(folder, last), str(name or last.rpartition(".")[0])
    if split not in ("train", "valid", "test"):
        raise SchemaError(f"split must be 'train', 'valid' or 'test', got {split!r}")
    name = str(name or last)
    if not re.fullmatch(r"[^/\\\0]+", name) or name in (".", ".."):
        raise SchemaError(f"dataset_name is to be part of a file name, got {name!r}")
    return os.path.join(folder, last, "data", split, f"{name}.hdf5"), name


@contextmanager
def _held(path: str) -> Iterator[IO[bytes]]:
    """The journal, open for this process alone; the lock goes with the process."""
    with open(path, "a+b") as book:
        try:
            import fcntl
        except ImportError:  # not on this system: two writers are not told of each other
            yield book
            return
        try:
            fcntl.flock(book, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StoreConflictError(
                f"{path.removesuffix('.part.journal')}: another process is writing it"
            ) from error
        yield book


Block = Mapping[str, tuple[int, int]]


@dataclass
class _Write:
    """One write."""

    ds: xr.Dataset
    plan: Plan
    final: str
    book: IO[bytes]

    def run(self, *, replace: bool, resume: bool) -> None:
        part = f"{self.final}.part"
        identity = _identity(self.ds, self.plan)
        starts, known = self._begun(identity)
        if os.path.exists(self.final) and not os.path.exists(part) and starts is not None:
            return  # all that was missing is the removal of the journal
        if os.path.exists(self.final) and not replace:
            raise already_exists(self.final)
        if resume and starts is None and known is not None and os.path.exists(part):
            raise StoreConflictError(
                f"{part}: a write of other data is unfinished: pass resume=False to begin anew"
            )
        if starts is None or not resume or not os.path.exists(part):
            self.book.truncate(0)
            starts, known = make_file(part, self.plan), {}
            self._note({"version": _VERSION, "identity": identity, "starts": starts})
        with open(part, "r+b") as file:
            self._fill(file, starts, known or {})
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, self.final)

    def _begun(self, identity: str) -> tuple[dict[str, int] | None, dict[str, str] | None]:
        """Places and finished blocks of the write in the journal; no places if it is another."""
        self.book.seek(0)
        lines = self.book.read().split(b"\n")[:-1]  # the last one may have been cut off
        entries = []
        for line in lines:
            try:
                entries.append(json.loads(line))
            except ValueError:
                break
        if not entries:
            return None, None
        if entries[0].get("identity") != identity or entries[0].get("version") != _VERSION:
            return None, {}
        # what follows a line that was cut off would not be found again
        self.book.truncate(sum(len(line) + 1 for line in lines[: len(entries)]))
        found = {key: value for entry in entries[1:] for key, value in entry.items()}
        return dict(entries[0]["starts"]), found

    def _note(self, entry: Mapping[str, Any]) -> None:
        self.book.seek(0, os.SEEK_END)
        self.book.write(json.dumps(entry, separators=(",", ":")).encode() + b"\n")
        self.book.flush()

    def _fill(self, file: IO[bytes], starts: Mapping[str, int], known: Mapping[str, str]) -> None:
        for number, (targets, block) in enumerate(_blocks(self.ds, self.plan.targets)):
            seen = known.get(str(number))
            if seen is not None:
                held = [digest_of(file, t, starts[t.path], block) for t in targets]
                if b"".join(held).hex() == seen:
                    continue
            digests = _write(self.ds, file, targets, starts, block)
            file.flush()
            self._note({str(number): digests.hex()})


def _write(
    ds: xr.Dataset,
    file: IO[bytes],
    targets: list[Target],
    starts: Mapping[str, int],
    block: Block,
) -> bytes:
    """Compute a block of all targets at once, so that what they share is computed once."""
    cut = {dim: slice(*ends) for dim, ends in block.items()}
    parts = {}
    for target in targets:
        for name in target.names:
            variable = ds[name].variable
            variable = variable.transpose(*(d for d in target.dims if d in variable.dims))
            parts[name] = variable.isel({d: s for d, s in cut.items() if d in target.lead})
    # names of no meaning: a coordinate may be called like a dimension
    loaded = xr.Dataset({f"_{name}": part for name, part in parts.items()}).compute()
    digests = []
    for target in targets:
        values = [_whole(loaded.variables[f"_{name}"], target) for name in target.names]
        digests.append(put(file, target, starts[target.path], values, block))
    return b"".join(digests)


def _whole(variable: xr.Variable, target: Target) -> np.ndarray:
    """Values on all axes of a target."""
    values = variable.values
    missing = [i for i, dim in enumerate(target.dims) if dim not in variable.dims]
    shape = [variable.sizes.get(d, n) for d, n in zip(target.dims, target.shape, strict=False)]
    return np.broadcast_to(np.expand_dims(values, missing), shape) if missing else values


# ---- blocks ---------------------------------------------------------------------------------


def _blocks(ds: xr.Dataset, targets: list[Target]) -> Iterator[tuple[list[Target], Block]]:
    """Targets that do not vary in time, then the others, along Dask's chunks."""
    sizes = {dim: ds.sizes.get(dim, 1) for dim in LEAD}
    if 0 in sizes.values():
        return
    for varying in (False, True):
        chosen = [t for t in targets if ("time" in t.lead) is varying and np.prod(t.shape) > 0]
        if not chosen:
            continue
        largest = max(chosen, key=_frame)
        frame = sum(_frame(target) for target in chosen)
        members = _cuts(_chunks(ds, largest, "trajectory", sizes), frame)
        for first, last in members:
            if not varying:
                yield chosen, {"trajectory": (first, last), "time": (0, 1)}
                continue
            steps = _chunks(ds, largest, "time", sizes)
            for begin, end in _cuts(steps, frame * (last - first)):
                yield chosen, {"trajectory": (first, last), "time": (begin, end)}


def _frame(target: Target) -> int:
    inner = target.shape[len(target.lead) :]
    return int(np.prod(inner, dtype=np.int64)) * target.dtype.itemsize


def _chunks(ds: xr.Dataset, target: Target, dim: str, sizes: Mapping[str, int]) -> list[int]:
    chunks = ds[target.names[0]].variable.chunksizes.get(dim)
    if chunks is None:
        return [1] * sizes[dim]
    return [int(n) for n in chunks]


def _cuts(chunks: list[int], unit: int) -> list[tuple[int, int]]:
    """Ranges of whole chunks up to 16 MiB; chunks above 128 MiB are divided."""
    found: list[tuple[int, int]] = []
    start = stop = 0
    for size in chunks:
        if stop > start and (stop - start + size) * unit > _LEAST:
            found.append((start, stop))
            start = stop
        stop += size
        most = max(_BLOCK // max(unit, 1), 1)
        while stop - start > most:
            found.append((start, start + most))
            start += most
    if stop > start:
        found.append((start, stop))
    return found


def _identity(ds: xr.Dataset, plan: Plan) -> str:
    """Equal for equal data and settings: layout, attributes, small arrays and names of tasks."""
    from dask.base import tokenize

    seen = hashlib.blake2b(digest_size=16)
    for part in (plan.root, plan.groups):
        seen.update(repr(tokenize(part)).encode())
    for path, (values, attrs) in sorted(plan.small.items()):
        seen.update(repr((path, tokenize(values, attrs))).encode())
    for target in plan.targets:
        seen.update(repr((target.path, target.shape, target.dtype.str)).encode())
        seen.update(repr((target.dims, tokenize(target.attrs))).encode())
        for name in target.names:
            variable = ds[name].variable
            if variable.chunks is not None or variable._in_memory:
                seen.update(tokenize(variable.data).encode())
            else:  # it would have to be read to be told from another
                seen.update(uuid.uuid4().bytes)
    return seen.hexdigest()
