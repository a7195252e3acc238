"""Small sound files of every format that `xphys.open` reads, to be changed by a mutator."""

from __future__ import annotations

import io
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

__all__ = ["FORMATS", "Files", "Sample"]

DATA = Path(__file__).parents[2] / "tests" / "data"

Files = dict[str, bytes]


@dataclass(frozen=True)
class Sample:
    """A small file or folder, and how it is changed.

    Attributes
    ----------
    files : dict
        Name -> content.
    options : dict
        For `xphys.open`.
    """

    files: Files
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes
    ----------
    samples : callable
        Makes the samples; called in a child.
    native : bool
        Whether a C library parses files, which may crash.
    """

    samples: Callable[[], list[Sample]]
    native: bool = False


def _folder(*names: str, **options: Any) -> list[Sample]:
    """Files and folders of tests/data."""
    samples = []
    for name in names:
        for place in sorted(DATA.glob(name)):
            inside = sorted(place.rglob("*")) if place.is_dir() else [place]
            home = place if place.is_dir() else place.parent
            files = {str(p.relative_to(home)): p.read_bytes() for p in inside if p.is_file()}
            samples.append(Sample(files, options))
    return samples


def _dataset() -> Any:
    import numpy as np
    import xarray as xr

    rng = np.random.default_rng(0)
    return xr.Dataset(
        {
            "u": (("time", "y", "x"), rng.random((4, 6, 8)), {"units": "1"}),
            "n": (("time", "x"), rng.integers(0, 99, (4, 8), np.int16), {"scale_factor": 0.5}),
        },
        {"time": np.arange(4.0), "y": np.arange(6.0), "x": np.arange(8.0)},
        {"title": "a run"},
    )


def _netcdf() -> list[Sample]:
    ds = _dataset()
    samples = []
    for engine in ("h5netcdf", "netcdf4", "scipy"):
        with tempfile.TemporaryDirectory() as folder:
            packed = {} if engine == "scipy" else {"u": {"zlib": True, "chunksizes": (2, 3, 8)}}
            ds.to_netcdf(f"{folder}/run.nc", engine=engine, encoding=packed)
            samples.append(Sample({"run.nc": Path(folder, "run.nc").read_bytes()}))
    return samples


def _zarr() -> list[Sample]:
    from xphys.io import to_zarr

    warnings.simplefilter("ignore")
    ds = _dataset()
    samples = []
    for kind in ("2", "3", "3 consolidated", "store"):
        with tempfile.TemporaryDirectory() as folder:
            if kind == "store":
                to_zarr(ds, f"{folder}/z")
            else:
                ds.to_zarr(f"{folder}/z", zarr_format=int(kind[0]), consolidated=kind != "3")
            home = Path(folder, "z")
            files = {
                str(p.relative_to(home)): p.read_bytes() for p in home.rglob("*") if p.is_file()
            }
            samples.append(Sample(files))
    return samples


def _py2d() -> list[Sample]:
    import scipy.io

    made = io.BytesIO()
    held = scipy.io.loadmat(DATA / "py2d/1.mat")
    values = {k: v for k, v in held.items() if not k.startswith("__")}
    scipy.io.savemat(made, values, do_compression=True)
    return [*_folder("py2d/1.mat", "py2d"), Sample({"1.mat": made.getvalue()})]


def _mri() -> list[Sample]:
    whole = _folder("mri_npy/dino_16")[0].files
    sets = [name for name in whole if name.endswith(".npy")]
    shared = {name: data for name, data in whole.items() if name not in sets}
    alone = [Sample({name: whole[name]}) for name in sets]
    beside = [Sample({**shared, name: whole[name]}) for name in sets]
    return [*_folder("mri_npy/npy_64"), *alone, *beside]


FORMATS: dict[str, Format] = {
    "athenak": Format(
        partial(
            _folder, "athenak/mri_64_one_rank", "athenak/mri_64_two_ranks", "athenak/history/*",
            "athenak/linear_wave_3d_slice/*",
        )
    ),
    "athdf": Format(partial(_folder, "athdf/*"), native=True),
    "dedalus": Format(partial(_folder, "dedalus/*"), native=True),
    "gust": Format(partial(_folder, "gust/*"), native=True),
    "mri_npy": Format(_mri),
    "netcdf": Format(_netcdf, native=True),
    "pdebench": Format(partial(_folder, "pdebench/*"), native=True),
    "py2d": Format(_py2d),
    "spinlock": Format(partial(_folder, "spinlock/*"), native=True),
    "the_well": Format(
        partial(_folder, "the_well/*.h*5", "the_well/several/data/train"), native=True
    ),
    "vtk": Format(partial(_folder, "vtk/*")),
    "zarr": Format(_zarr),
}  # fmt: skip
