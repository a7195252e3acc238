"""What can be written: one line for each format."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from xphys import io
from xphys.cli._report import total_stored
from xphys.cli._write import check_target
from xphys.errors import UnknownNameError, XphysError

__all__ = ["FORMATS", "Format", "Request", "format_of"]

# Endings of formats that can only be read.
_FOREIGN = (".bin", ".mat", ".npy", ".npz", ".athdf", ".vtk", ".hst")


@dataclass(frozen=True)
class Request:
    """How to write.

    Attributes
    ----------
    target : str
        Path or URL.
    overwrite, resume : bool
        Replace what is there; go on with what was stopped.
    chunks, shards : dict or None
        Sizes by dim.
    """

    target: str
    overwrite: bool = False
    resume: bool = True
    chunks: Mapping[str, int] | None = None
    shards: Mapping[str, int] | None = None

    @property
    def mode(self) -> Any:
        """What the writers call it."""
        return "w" if self.overwrite else "w-"


@dataclass(frozen=True)
class Format:
    """One format: a line in the table below.

    Attributes
    ----------
    name : str
        What ``--to`` takes.
    suffixes : tuple of str
        Endings by which it is known.
    takes : tuple of str
        Which of chunks and shards it has.
    write : callable
        (Dataset, Request) -> None.
    unfinished : tuple of str
        Endings of what a stopped write leaves beside a file; none for folders and URLs.
    """

    name: str
    suffixes: tuple[str, ...]
    takes: tuple[str, ...]
    write: Callable[[xr.Dataset, Request], None]
    unfinished: tuple[str, ...] = ()

    def check(self, request: Request, source: str) -> None:
        """Refuse to write over the source, over other files, or over something unasked.

        Raises
        ------
        XphysError
            If it may not be written there.
        """
        for option in ("chunks", "shards"):
            if getattr(request, option) and option not in self.takes:
                raise XphysError(f"{self.name} has no {option}: leave out --{option}")
        if self.name == "icechunk":
            _check_repository(request)
            return
        if not self.unfinished:
            check_target(request.target, source=source, overwrite=request.overwrite)
            return
        target = Path(request.target)
        if target.is_dir():
            raise XphysError(f"{target} is a folder: give a file, such as {target}/run{self.end}")
        begun = any(os.path.exists(request.target + end) for end in self.unfinished)
        if not target.exists() or begun:
            return
        if not request.overwrite:
            raise XphysError(f"{target} exists already: choose another file or give --overwrite")
        if any(target.samefile(path) for path in glob.glob(os.path.expanduser(source))):
            raise XphysError(f"{target} is the source: choose another file")

    @property
    def end(self) -> str:
        """The first suffix."""
        return self.suffixes[0]

    def stored(self, request: Request) -> int | None:
        """Bytes that were written; None where only the server knows."""
        if self.unfinished:
            return os.path.getsize(request.target)
        if self.name == "icechunk":
            return None
        return total_stored(io.open(request.target))


def _check_repository(request: Request) -> None:
    """Leave other folders alone; whether a write may begin the writer knows."""
    target = Path(request.target)
    if "://" in request.target or not target.exists():
        return
    if not target.is_dir() or (any(target.iterdir()) and not (target / "snapshots").is_dir()):
        raise XphysError(f"{target} is no Icechunk repository: choose another place")


def _zarr(ds: xr.Dataset, request: Request) -> None:
    io.to_zarr(
        ds,
        request.target,
        mode=request.mode,
        resume=request.resume,
        chunks=request.chunks,
        shards=request.shards,
    )


def _icechunk(ds: xr.Dataset, request: Request) -> None:
    target = request.target
    if "://" not in target:
        target = f"icechunk://{os.path.abspath(target)}"
    io.to_zarr(
        ds,
        target,
        mode=request.mode,
        resume=request.resume,
        chunks=request.chunks,
        shards=request.shards,
    )


def _netcdf(ds: xr.Dataset, request: Request) -> None:
    io.to_netcdf(
        ds, request.target, mode=request.mode, resume=request.resume, chunks=request.chunks
    )


def _the_well(ds: xr.Dataset, request: Request) -> None:
    io.to_the_well(ds, request.target, mode=request.mode, resume=request.resume)


def _gust(ds: xr.Dataset, request: Request) -> None:
    io.to_gust(ds, request.target, mode=request.mode, resume=request.resume)


FORMATS = (
    Format("zarr", (".zarr",), ("chunks", "shards"), _zarr),
    Format("icechunk", (".icechunk",), ("chunks", "shards"), _icechunk),
    Format("netcdf", (".nc", ".nc4"), ("chunks",), _netcdf, (".partial",)),
    Format("the_well", (".hdf5",), (), _the_well, (".part.journal",)),
    Format("gust", (".h5",), (), _gust, (".partial",)),
)


def format_of(target: str, named: str | None = None) -> Format:
    """The format to write: the one named, else by the ending of the target.

    Parameters
    ----------
    target : str
        Path or URL; without a known ending a Zarr store.
    named : str, optional
        What ``--to`` gave.

    Raises
    ------
    UnknownNameError
        If the name is not known.
    XphysError
        If the ending belongs to no format that can be written.
    """
    known = {one.name: one for one in FORMATS}
    if named is not None:
        if named not in known:
            raise UnknownNameError(f"expected a format out of {list(known)}, got {named!r}")
        return known[named]
    if target.startswith(("icechunk:", "icechunk+")):
        return known["icechunk"]
    suffix = os.path.splitext(target.rstrip("/"))[1].lower()
    for one in FORMATS:
        if suffix in one.suffixes:
            return one
    if suffix in _FOREIGN and not os.path.isfile(target):
        endings = [end for one in FORMATS for end in one.suffixes]
        raise XphysError(f"{target}: cannot write {suffix}: choose one of {', '.join(endings)}")
    return known["zarr"]
