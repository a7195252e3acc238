"""Small stores of every kind, what writes them, and how to look at them as plain files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import dask
import dask.array as da
import numpy as np
import xarray as xr

__all__ = [
    "Job",
    "computed",
    "files",
    "lay_out",
    "load",
    "scheduled",
    "warm_up",
    "work_folder",
    "write",
]

#: Where the source notes what it computes: a variable of the environment, because a path among
#: the arguments would make the graphs of two runs differ.
LOG = "XPHYS_TORTURE_LOG"
STEPS, SIDE = 4, 12
FIELDS = ("density", "velocity_x", "level")


@dataclass(frozen=True)
class Job:
    """What one run writes.

    Attributes
    ----------
    kind : {"lossless", "compressed", "sharded"}
        How values are stored.
    action : {"new", "replace", "append", "region"}
        Into which store: none yet, an older one, or a sealed one that it extends or changes.
    scheduler : {"threads", "processes"}
        Of Dask, with two workers.
    blocks : int
        Chunks along time of each of the three variables of a whole store.
    seed : int
        Of the values; equal seeds give equal values.
    bound : float
        Of the compression.
    """

    kind: str = "lossless"
    action: str = "new"
    scheduler: str = "threads"
    blocks: int = 20
    seed: int = 1
    bound: float = 1e-2

    @property
    def name(self) -> str:
        """For reports."""
        return f"{self.kind}-{self.action}-{self.scheduler}"


def _block(variable: str, seed: int, first: int, block_id: tuple[int, ...]) -> np.ndarray:
    """Values of one stored chunk, a wave with noise; level is zero in every other chunk."""
    number = first + block_id[0]
    note(f"{variable}/{number}")
    rng = np.random.default_rng([seed, FIELDS.index(variable), number])
    if variable == "level":
        top = 1 if number % 2 else 6
        return rng.integers(0, top, (STEPS, SIDE, SIDE), np.int32)
    t, y, x = np.meshgrid(*(np.arange(n) / n for n in (STEPS, SIDE, SIDE)), indexing="ij")
    wave = np.sin(2 * np.pi * (x + 2 * y + t + rng.random()))
    return (1 + wave + 0.01 * rng.standard_normal(wave.shape)).astype(np.float32)


def note(line: str) -> None:
    """Append a line to the log, in one call, so that any number of processes may."""
    path = os.environ.get(LOG)
    if path:
        log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(log, f"{line}\n".encode())
        os.close(log)


def computed(log: Path) -> list[str]:
    """Chunks that the source computed, ``variable/number`` each."""
    return log.read_text().split() if log.exists() else []


def source(seed: int, first: int, blocks: int) -> xr.Dataset:
    """Blocks first ... first + blocks of a run, lazily."""
    chunks = ((STEPS,) * blocks, (SIDE,), (SIDE,))
    variables = {}
    for name in FIELDS:
        dtype = np.dtype("i4" if name == "level" else "f4")
        data = da.map_blocks(
            _block,
            name,
            seed,
            first,
            chunks=chunks,
            dtype=dtype,
            meta=np.empty((0, 0, 0), dtype),
        )
        attrs = {"units": "1"}
        if name.startswith("velocity"):
            attrs |= {"vector": "velocity", "component": "x"}
        variables[name] = (("time", "y", "x"), data, attrs)
    cells = (np.arange(SIDE) + 0.5) / SIDE
    space = {"units": "1", "boundary": "periodic", "period": 1.0, "spacing": "uniform"}
    times = np.arange(first * STEPS, (first + blocks) * STEPS) * 0.5
    coords = {
        "time": ("time", times, {"units": "1"}),
        "y": ("y", cells, space),
        "x": ("x", cells, space),
    }
    return xr.Dataset(variables, coords)


def _place(job: Job) -> tuple[int, int]:
    """First block and number of blocks that an action writes."""
    quarter = max(job.blocks // 4, 1)
    if job.action == "append":
        return job.blocks - quarter * 2, quarter * 2
    if job.action == "region":
        return quarter, quarter * 2
    return 0, job.blocks


def dataset(job: Job) -> xr.Dataset:
    """What a job gives to `to_zarr`."""
    first, blocks = _place(job)
    ds = source(job.seed, first, blocks)
    if job.kind == "compressed":
        from xphys.codecs import AutoOptions, compress

        ds = compress(
            ds,
            vrmse=job.bound,
            scope="chunk",
            # of variables coded together a place is one piece of work: all or none
            options=AutoOptions(together=False),
            variables=["density", "velocity_x"],
            chunks={"time": STEPS},
        )
    return ds


def write(job: Job, path: str, **options: Any) -> None:
    """Do the whole of a job, or what is left of it."""
    from xphys.io import to_zarr

    # shards hold two chunks: one block of the source is one shard, so that counts compare
    how: dict[str, Any] = {"chunks": {"time": STEPS}}
    if job.kind == "sharded":
        how = {"chunks": {"time": STEPS // 2}, "shards": {"time": STEPS}}
    if job.action == "replace":
        how["mode"] = "w"
    elif job.action == "append":
        how = {"append_dim": "time"}
    elif job.action == "region":
        first, blocks = _place(job)
        how = {"region": {"time": slice(first * STEPS, (first + blocks) * STEPS)}}
    ds = dataset(job)
    if job.action == "region":
        ds = ds.drop_vars(["y", "x"])
    with scheduled(job.scheduler):
        to_zarr(ds, path, **{**how, **options})


def base(job: Job) -> Job | None:
    """The job that makes the store which another one starts from."""
    if job.action == "new":
        return None
    first, _ = _place(job)
    blocks = first if job.action == "append" else job.blocks
    return Job(job.kind, "new", "threads", blocks, job.seed + 1000, job.bound)


@contextmanager
def scheduled(name: str) -> Iterator[None]:
    """Compute on two threads, two processes or here."""
    # forked workers have everything imported; spawned ones would take seconds each time
    with dask.config.set({"scheduler": name, "num_workers": 2, "multiprocessing.context": "fork"}):
        yield


def warm_up() -> None:
    """Import and compile what the children need, without touching zarr's event loop."""
    import zarr.storage  # noqa: F401

    import xphys.io.writers.zarr  # noqa: F401

    with scheduled("synchronous"):
        dataset(Job("compressed", blocks=1)).compute()


@contextmanager
def work_folder() -> Iterator[Path]:
    """A folder in memory where there is one."""
    shared = Path("/dev/shm")
    where = shared if os.access(shared, os.W_OK) else None
    folder = Path(mkdtemp(prefix="xphys-torture-", dir=where))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def files(store: Path) -> dict[str, bytes]:
    """All files of a store by relative name."""
    return {
        str(p.relative_to(store)): p.read_bytes() for p in sorted(store.rglob("*")) if p.is_file()
    }


def lay_out(store: Path, content: dict[str, bytes]) -> None:
    """Make a store of these files, in place of what was there."""
    shutil.rmtree(store, ignore_errors=True)
    for name, data in content.items():
        (store / name).parent.mkdir(parents=True, exist_ok=True)
        (store / name).write_bytes(data)


def difference(store: Path, wanted: dict[str, bytes]) -> str:
    """How the files of a store differ from those wanted, "" if they do not."""
    found = files(store)
    parts = {
        "lacking": sorted(wanted.keys() - found.keys()),
        "left over": sorted(found.keys() - wanted.keys()),
        "other bytes": sorted(k for k in wanted.keys() & found.keys() if wanted[k] != found[k]),
    }
    return "; ".join(f"{what} {names[:5]}" for what, names in parts.items() if names)


def load(path: str, **options: Any) -> xr.Dataset:
    """Open through xphys and read everything."""
    import xphys

    with scheduled("synchronous"):
        return xphys.open(path, **options).load()
