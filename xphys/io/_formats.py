"""The formats that ``xphys.open`` knows: a new one is a file among the readers and a line here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import xarray as xr

from xphys.errors import UnknownNameError
from xphys.io.readers import gust, py2d
from xphys.io.readers._probe import Probe
from xphys.io.readers._shared import Root
from xphys.io.readers.athdf import backend as athdf
from xphys.io.readers.athenak import backend as athenak
from xphys.io.readers.dedalus import backend as dedalus
from xphys.io.readers.general import is_netcdf, is_zarr, open_engine, open_netcdf
from xphys.io.readers.mri_npy import backend as mri_npy
from xphys.io.readers.pdebench import backend as pdebench
from xphys.io.readers.spinlock import backend as spinlock
from xphys.io.readers.the_well import backend as the_well
from xphys.io.readers.vtk import backend as vtk

__all__ = ["READERS", "Reader", "reader_named"]


@dataclass(frozen=True)
class Reader:
    """One format: a line in the table below.

    Attributes
    ----------
    name : str
        What ``engine=`` takes.
    recognise : callable
        Probe -> bool, from the content alone.
    open : callable
        (paths, *, storage_options, cache, **reader) -> Dataset, without Dask where possible.
    checks : bool
        Whether ``open`` takes ``strict``.
    tree : callable, optional
        Like ``open``, -> DataTree.
    scheme : str, optional
        Beginning of names that are this format's own, where nothing can be looked at.
    """

    name: str
    recognise: Callable[[Probe], bool]
    open: Callable[..., xr.Dataset]
    checks: bool = False
    tree: Callable[..., xr.DataTree] | None = None
    scheme: str | None = None


def _open_zarr(paths: Sequence[str], **options: Any) -> xr.Dataset:
    # zarr is not needed for other formats, and slow to import
    from xphys.io.readers.zarr_store import open_zarr

    return open_zarr(paths, **options)


def _is_icechunk(probe: Probe) -> bool:
    from xphys.io._icechunk import is_icechunk

    return is_icechunk(probe.path)


def _open_icechunk(paths: Sequence[str], *, root: Root | None = None, **options: Any) -> xr.Dataset:
    from xphys.io.readers.icechunk import open_icechunk

    return open_icechunk(paths, **options)


def _open_icechunk_tree(
    paths: Sequence[str], *, root: Root | None = None, **options: Any
) -> xr.DataTree:
    from xphys.io._tree import open_zarr_tree
    from xphys.io.readers.icechunk import open_icechunk, with_state

    return open_zarr_tree(paths, opener=open_icechunk, **with_state(options))


def _open_zarr_tree(paths: Sequence[str], **options: Any) -> xr.DataTree:
    from xphys.io._tree import open_zarr_tree

    return open_zarr_tree(paths, **options)


# The general formats come last: many others are HDF5 underneath.
READERS = (
    Reader("icechunk", _is_icechunk, _open_icechunk, checks=True, tree=_open_icechunk_tree),
    Reader("athenak", athenak.is_athenak, athenak.open_paths, tree=athenak.open_tree),
    Reader("mri_npy", mri_npy.is_mri_npy, mri_npy.open_paths),
    Reader("zarr", is_zarr, _open_zarr, checks=True, tree=_open_zarr_tree),
    Reader("athdf", athdf.is_athdf, athdf.open_paths, tree=athdf.open_tree),
    Reader("dedalus", dedalus.is_dedalus, dedalus.open_paths),
    Reader("gust", gust.is_gust, gust.open_paths),
    Reader("pdebench", pdebench.is_pdebench, pdebench.open_paths),
    Reader("py2d", py2d.is_py2d, py2d.open_paths),
    Reader("spinlock", spinlock.is_spinlock, spinlock.open_paths, tree=spinlock.open_tree),
    Reader("the_well", the_well.is_the_well, the_well.open_paths, scheme=the_well.SCHEME),
    Reader("vtk", vtk.is_vtk, vtk.open_paths),
    Reader("netcdf", is_netcdf, open_netcdf),
)


def reader_named(engine: str) -> Reader:
    """A line of the table, or one made for an engine of xarray.

    Raises
    ------
    UnknownNameError
        If there is neither.
    """
    for reader in READERS:
        if reader.name == engine:
            return reader
    known = xr.backends.list_engines()
    if engine not in known:
        names = sorted({*(reader.name for reader in READERS), *known})
        raise UnknownNameError(f"expected an engine among {names}, got {engine!r}")
    return Reader(engine, lambda _: True, partial(open_engine, engine=engine))
