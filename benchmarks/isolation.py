"""Reading by a child process beside reading directly: throughput and ratio.

``python -m benchmarks.isolation`` writes ``benchmarks/results/isolation.json`` and ``.md``. Files
lie in memory where that is possible, nothing is cached, and the two kinds of reading alternate; the
best of several is taken. A ratio of 1 would be isolation for nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr

import xphys
from benchmarks._machine import describe
from xphys.io import Isolation

SIZES = (1, 4, 16, 64)  # MiB
RESULTS = Path(__file__).parent / "results"
_LIMITS = Isolation(seconds=120, processes=1)


def _field(megabytes: int) -> np.ndarray:
    """A smooth float32 field with noise, four steps."""
    side = int((megabytes * 2**18) ** 0.5)
    y, x = np.meshgrid(*(np.linspace(0, 20, side),) * 2, indexing="ij")
    steps = [np.sin(x + step) * np.cos(y) for step in range(4)]
    noise = np.random.default_rng(0).standard_normal((4, side, side))
    return (np.stack(steps) + 1e-3 * noise).astype(np.float32)


def _well(path: str, data: np.ndarray, **packed: Any) -> None:
    """A file in Gust's layout, one chunk per step."""
    with h5py.File(path, "w") as file:
        chunks = (1, *data.shape[1:])
        file.create_dataset("fields/vorticity", data=data, chunks=chunks, **packed)
        for axis, n in zip("xy", data.shape[1:], strict=True):
            file[f"coordinates/{axis}"] = np.linspace(0, 1, n)


def _zarr(path: str, data: np.ndarray, **_: Any) -> None:
    dims = ("time", "y", "x")
    ds = xr.Dataset({"vorticity": (dims, data)})
    for dim, size in zip(dims, data.shape, strict=True):
        ds[dim] = np.arange(float(size))
    encoding = {"vorticity": {"chunks": (1, *data.shape[1:])}}
    ds.to_zarr(path, zarr_format=3, encoding=encoding, consolidated=False)


def _netcdf(path: str, data: np.ndarray, **_: Any) -> None:
    xr.Dataset({"vorticity": (("time", "y", "x"), data)}).to_netcdf(path)


KINDS: dict[str, Callable[..., None]] = {
    "netCDF, contiguous": _netcdf,
    "HDF5, chunks": _well,
    "HDF5, deflate": lambda path, data: _well(path, data, compression="gzip", compression_opts=4),
    "Zarr 3, zstd": _zarr,
}


def _seconds(ds: xr.Dataset, repeats: int) -> list[float]:
    """Of reading one step; each step is of the stated size."""
    array = ds["vorticity"].variable
    times = []
    for number in range(repeats):
        start = time.perf_counter()
        values = array[{"time": number % array.sizes["time"]}].values
        times.append(time.perf_counter() - start)
        assert values.size
    return times


def measure(repeats: int) -> list[dict[str, Any]]:
    """One row for each kind of file and size of a read."""
    rows = []
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    for kind, write in KINDS.items():
        for size in SIZES:
            with tempfile.TemporaryDirectory(dir=shared) as folder:
                path = f"{folder}/run"
                write(path, _field(size))
                options: dict[str, Any] = {"chunks": None, "cache": False}
                direct = xphys.open(path, **options)
                start = time.perf_counter()
                child = xphys.open(path, untrusted=_LIMITS, **options)
                opening = time.perf_counter() - start
                _seconds(direct, 1), _seconds(child, 1)
                pairs = [(_seconds(direct, 1)[0], _seconds(child, 1)[0]) for _ in range(repeats)]
                first, second = (min(pair[i] for pair in pairs) for i in (0, 1))
                direct.close()
                child.close()
            megabytes = child["vorticity"].isel(time=0).nbytes / 1e6
            rows.append(
                {
                    "file": kind,
                    "MB": round(megabytes, 2),
                    "direct_MB_per_s": round(megabytes / first, 1),
                    "isolated_MB_per_s": round(megabytes / second, 1),
                    "ratio": round(second / first, 2),
                    "added_ms": round(1e3 * (second - first), 2),
                    "opening_ms": round(1e3 * opening, 1),
                }
            )
            sys.stderr.write(f"{rows[-1]}\n")
    return rows


def _page(report: dict[str, Any]) -> str:
    machine = report["machine"]
    versions = ", ".join(f"{k} {v}" for k, v in machine["versions"].items())
    rows = report["rows"]
    lines = [
        "# Reading by child processes",
        "",
        f"{machine['date']}, {machine['processor']}, {machine['cores']} cores, "
        f"Python {machine['python']}, {versions}. Best of {report['repeats']} reads of each kind, "
        f"one child, load of the machine {report['load']}. Made by "
        "`python -m benchmarks.isolation`.",
        "",
        "`ratio` is the time of a read with `untrusted=True` over that of a direct one; `opening` "
        "includes the start of the child, the first one also the imports of the process that "
        "forks children.",
        "",
        f"| {' | '.join(key.replace('_', ' ') for key in rows[0])} |",
        f"|{'---|' * len(rows[0])}",
        *(f"| {' | '.join(str(value) for value in row.values())} |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Read arguments, measure, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.isolation", description=__doc__)
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write to")
    options = parser.parse_args()
    report = {
        "machine": describe(("xphys", "xarray", "h5py", "netCDF4", "zarr")),
        "repeats": options.repeats,
        "load": round(os.getloadavg()[0], 1),
        "rows": measure(options.repeats),
    }
    options.results.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report, indent=1) + "\n"
    (options.results / "isolation.json").write_text(text, encoding="utf-8")
    (options.results / "isolation.md").write_text(_page(report), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
