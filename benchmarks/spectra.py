"""Spectra: speed beside the bare transform and xrft, memory of what does not fit.

``python -m benchmarks.spectra`` measures all and writes ``benchmarks/results/spectra.json`` and
``.md``; ``--part speed`` or ``--part memory`` measures one half and keeps the other. The row of
xrft needs xrft to be installed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import scipy.fft
import xarray as xr

from benchmarks._machine import describe, machine_line
from xphys.spectra import spectra

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("xphys", "numpy", "scipy", "numba", "xarray", "dask", "distributed", "xrft")
SHAPES = ((64, 512, 512), (16, 128, 128, 128))
FRAMES_PER_CHUNK = 4
MIB = 2**20
# A worker with two threads; each task may use TASK_MIB.
LIMIT_MIB, TASK_MIB, THREADS = 512, 96, 2
FRAME = (640, 512, 512)  # 640 MiB of float32: one frame is more than the limit
SERIES = 128  # points of the other two axes of the long series
MULTIPLES = (5, 20)
# Freed memory goes back to the system and is asked for again, or is kept by the allocator (glibc):
# the floor takes up to twice as long in the first case, so the second one is the one to pass.
ALLOCATORS: dict[str, dict[str, str]] = {
    "as it comes": {},
    "keeps memory": {"MALLOC_MMAP_THRESHOLD_": "33554432", "MALLOC_TRIM_THRESHOLD_": "1073741824"},
}


# --- speed ----------------------------------------------------------------------------------


def fields(shape: tuple[int, ...]) -> xr.DataArray:
    """White noise on a periodic box."""
    data = np.random.default_rng(0).standard_normal(shape, np.float32)
    dims = ("time", *"zyx"[-len(shape) + 1 :])
    coords = {
        d: (d, np.arange(n) / n, {"period": 1.0, "units": "1"})
        for d, n in zip(dims[1:], shape[1:], strict=True)
    }
    return xr.DataArray(data, coords, dims, "f", {"units": "1"})


class Floor:
    """What nobody can leave out: a real transform of each frame and a weighted count."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        sizes = shape[1:]
        modes = [np.minimum(np.arange(n), n - np.arange(n)) for n in sizes]
        modes[-1] = np.arange(sizes[-1] // 2 + 1)
        square = sum(m.astype(float) ** 2 for m in np.meshgrid(*modes, indexing="ij", sparse=True))
        self.index = np.floor(np.sqrt(square) + 0.5).astype(np.int64).ravel()
        self.count = int(self.index.max()) + 1
        self.weight = np.full(modes[-1].size, 2, np.float32)
        self.weight[0] = 1
        if sizes[-1] % 2 == 0:
            self.weight[-1] = 1

    def _bins(self, modes: np.ndarray) -> np.ndarray:
        power = (modes.real**2 + modes.imag**2) * self.weight
        return np.bincount(self.index, weights=power.ravel(), minlength=self.count)

    def frames(self, data: np.ndarray) -> np.ndarray:
        """Frame by frame."""
        return np.stack([self._bins(scipy.fft.rfftn(frame)) for frame in data])

    def batch(self, data: np.ndarray) -> np.ndarray:
        """All frames in one call of the transform."""
        modes = scipy.fft.rfftn(data, axes=tuple(range(1, data.ndim)))
        return np.stack([self._bins(m) for m in modes])


def speed(repeats: int) -> dict[str, Any]:
    """Every variant in turn, so that all of them see the same machine; medians of ratios."""
    rows = []
    for name, environment in ALLOCATORS.items():
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.spectra", "--rows", str(repeats)],
            stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, **environment},
        )  # fmt: skip
        found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
        rows += [{"allocator": name, **row} for row in found]
    return {"repeats": repeats, "rows": rows}


def _speed_row(shape: tuple[int, ...], repeats: int) -> dict[str, Any]:
    field = fields(shape)
    floor = Floor(shape)
    chunked = field.chunk(time=FRAMES_PER_CHUNK)
    expected = floor.frames(field.values[:1])[0, 1:] / np.prod(shape[1:], dtype=float) ** 2
    np.testing.assert_allclose(spectra(field[:1], convention="sum")[0], expected, rtol=1e-4)
    variants: dict[str, Callable[[], Any]] = {
        "floor_frames_s": lambda: floor.frames(field.values),
        "floor_batch_s": lambda: floor.batch(field.values),
        "fft_s": lambda: [scipy.fft.rfftn(frame) for frame in field.values],
        "eager_s": lambda: spectra(field),
        "dask_1_thread_s": lambda: _in_threads(chunked, 1),
        "dask_2_threads_s": lambda: _in_threads(chunked, 2),
    }
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(repeats + 1):
        for name, function in variants.items():
            elapsed = _timed(function)
            if turn:  # the first turn warms up
                seconds[name].append(elapsed)
    row: dict[str, Any] = {"shape": list(shape)}
    row |= {name: statistics.median(values) for name, values in seconds.items()}
    # of each turn the better way to write the floor
    best = [min(a, b) for a, b in zip(seconds["floor_frames_s"], seconds["floor_batch_s"],
                                      strict=True)]  # fmt: skip
    for name in ("eager", "dask_1_thread", "dask_2_threads"):
        ratios = [a / b for a, b in zip(seconds[f"{name}_s"], best, strict=True)]
        row[f"{name}_over_floor"] = statistics.median(ratios)
    row |= _peer(field, repeats) | {"extra_frames": _extra_memory(field)}
    sys.stderr.write(f"{row}\n")
    return row


def _in_threads(field: xr.DataArray, threads: int) -> None:
    with dask.config.set(scheduler="threads", num_workers=threads):
        spectra(field).compute()


def _timed(function: Callable[[], Any]) -> float:
    """Seconds of processor, all threads: what the neighbours do is not in it."""
    started = time.process_time()
    function()
    return time.process_time() - started


def _peer(field: xr.DataArray, repeats: int) -> dict[str, float]:
    """Time of xrft's isotropic spectrum (two axes; one frame is enough), over ours."""
    try:
        xrft = importlib.import_module("xrft")
    except ImportError:
        return {}
    if field.ndim != 3:
        return {}  # xrft's isotropic spectrum is for two axes
    plain = field.drop_attrs().assign_coords(time=np.arange(field.sizes["time"]))
    variants: dict[str, Callable[[], Any]] = {
        "theirs": lambda: xrft.isotropic_power_spectrum(
            plain, dim=["y", "x"], truncate=False
        ).load(),
        "ours": lambda: spectra(field),
    }
    wall, processor = [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for turn in range(max(repeats // 2, 2) + 1):
            times = {}
            for name, function in variants.items():
                function()  # what it needs is in the caches of the processor, for both alike
                started, elapsed = time.perf_counter(), _timed(function)
                times[name] = (time.perf_counter() - started, elapsed)
            if turn:
                wall.append(times["theirs"][0] / times["ours"][0])
                processor.append(times["theirs"][1] / times["ours"][1])
    return {
        "xrft_over_eager": statistics.median(wall),
        "xrft_over_eager_cpu": statistics.median(processor),
    }


def _extra_memory(field: xr.DataArray) -> float:
    """Peak of what an eager call allocates, in frames; plans made before."""
    spectra(field[:2])
    tracemalloc.start()
    spectra(field)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / (field[0].nbytes)


# --- memory ---------------------------------------------------------------------------------


def frames_field(multiple: int) -> tuple[xr.DataArray, dict[str, Any]]:
    """Frames larger than the limit, in blocks that cut two of their axes."""
    count = max(1, round(multiple * LIMIT_MIB * MIB / (4 * np.prod(FRAME))))
    return _noise((count, *FRAME), (1, 32, 128, 512), ("time", "z", "y", "x")), {}


def series_field(multiple: int) -> tuple[xr.DataArray, dict[str, Any]]:
    """Long series in blocks of few steps."""
    steps = multiple * LIMIT_MIB * MIB // (4 * SERIES**2)
    field = _noise((steps, SERIES, SERIES), (64, SERIES, SERIES), ("time", "y", "x"))
    return field, {"dims": "time"}


CASES = {"frames": frames_field, "series": series_field}


def _noise(shape: tuple[int, ...], chunks: tuple[int, ...], dims: tuple[str, ...]) -> xr.DataArray:
    def block(block_info: Any = None) -> np.ndarray:
        place = block_info[None]["array-location"]
        rng = np.random.default_rng([start for start, _ in place])
        return rng.random([stop - start for start, stop in place], np.float32)

    sizes = da.core.normalize_chunks(chunks, shape)
    data = da.map_blocks(
        block, chunks=sizes, dtype=np.float32, meta=np.empty((0,) * len(shape), "f4")
    )
    coords = {
        d: (d, np.arange(n) / n, {"period": 1.0, "units": "1"})
        for d, n in zip(dims, shape, strict=True)
    }
    return xr.DataArray(data, coords, dims, "f", {"units": "1"})


def run_child(case: str, multiple: int, scheduler: str) -> dict[str, Any]:
    """One transform in this process, which must be a fresh one."""
    if multiple == 0:
        field, keywords = fields((2, 64, 64)).chunk(), {}
    else:
        field, keywords = CASES[case](multiple)
    lazy = spectra(field, memory=f"{TASK_MIB}MiB", **keywords)
    if lazy.ndim > 2:
        lazy = lazy.mean([d for d in lazy.dims if d != "wavenumber"])
    if scheduler == "cluster":
        from distributed import Client, LocalCluster

        limit = f"{LIMIT_MIB}MiB"
        with LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=1, threads_per_worker=THREADS, memory_limit=limit, dashboard_address=None
        ) as cluster, Client(cluster) as client:  # type: ignore[no-untyped-call]  # fmt: skip
            (pid,) = client.run(os.getpid).values()
            started, before = time.perf_counter(), _cpu_of(pid)
            lazy.compute()
            seconds, cpu = time.perf_counter() - started, _cpu_of(pid) - before
            peak = _peak_of(pid)
    else:
        started, before = time.perf_counter(), _cpu_of(os.getpid())
        with dask.config.set(scheduler="threads", num_workers=THREADS):
            lazy.compute()
        seconds, cpu = time.perf_counter() - started, _cpu_of(os.getpid()) - before
        peak = _peak_of(os.getpid())
    return {
        "case": case, "multiple": multiple, "scheduler": scheduler, "MiB": field.nbytes / MIB,
        "seconds": seconds, "cpu_s": cpu, "peak_MiB": peak,
    }  # fmt: skip


def _cpu_of(pid: int) -> float:
    """Seconds of processor that a process has used: what the neighbours do is not in it."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak_of(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    lines = dict(line.split(":", 1) for line in text.splitlines())
    return int(lines["VmHWM"].split()[0]) / 1024


def in_child(case: str, multiple: int, scheduler: str) -> dict[str, Any]:
    """`run_child` in a fresh process, temporary files in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        call = [sys.executable, "-m", "benchmarks.spectra", "--child", case, str(multiple)]
        environment = {
            **os.environ,
            "DASK_TEMPORARY_DIRECTORY": folder,
            "MALLOC_TRIM_THRESHOLD_": "65536",
        }
        done = subprocess.run(
            [*call, scheduler], capture_output=True, text=True, check=False, env=environment
        )
        if done.returncode:
            raise SystemExit(done.stderr)
        row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    sys.stderr.write(f"{row}\n")
    return row


def memory(multiples: list[int]) -> dict[str, Any]:
    """Peaks and times of growing data, with threads and on a worker with a memory limit."""
    rows = []
    for scheduler in ("threads", "cluster"):
        base = in_child("frames", 0, scheduler)["peak_MiB"]
        for case in CASES:
            found = [in_child(case, multiple, scheduler) for multiple in multiples]
            for row in found:
                row["base_MiB"] = base
                for kind, name in (("seconds", "over_linear"), ("cpu_s", "cpu_over_linear")):
                    per_mib = found[0][kind] / found[0]["MiB"]
                    row[name] = row[kind] / row["MiB"] / per_mib
            rows += found
    return {"limit_MiB": LIMIT_MIB, "task_MiB": TASK_MIB, "threads": THREADS, "rows": rows}


# --- results --------------------------------------------------------------------------------

SPEED_COLUMNS = (
    ("shape", "shape", "{}", ""),
    ("allocator", "allocator", "{}", ""),
    ("fft_s", "transforms alone s", "{:.3f}", ""),
    ("floor_frames_s", "floor by frames s", "{:.3f}", ""),
    ("floor_batch_s", "floor in one batch s", "{:.3f}", ""),
    ("eager_s", "eager s", "{:.3f}", ""),
    ("eager_over_floor", "eager / floor", "{:.2f}", "<= 0.85"),
    ("dask_1_thread_over_floor", "Dask, 1 thread / floor", "{:.2f}", "<= 1.25"),
    ("dask_2_threads_over_floor", "Dask, 2 threads / floor", "{:.2f}", "<= 1.25"),
    ("xrft_over_eager", "xrft / eager, by the clock", "{:.1f}", ">= 20"),
    ("xrft_over_eager_cpu", "xrft / eager", "{:.1f}", ""),
    ("extra_frames", "extra memory, frames", "{:.2f}", ""),
)
MEMORY_COLUMNS = (
    ("case", "data", "{}", ""),
    ("scheduler", "scheduler", "{}", ""),
    ("multiple", "times the limit", "{}", ""),
    ("MiB", "MiB", "{:.0f}", ""),
    ("seconds", "seconds", "{:.1f}", ""),
    ("over_linear", "time / linear", "{:.2f}", "<= 1.30"),
    ("cpu_s", "CPU s", "{:.1f}", ""),
    ("cpu_over_linear", "CPU / linear", "{:.2f}", "<= 1.30"),
    ("base_MiB", "base MiB", "{:.0f}", ""),
    ("peak_MiB", "peak MiB", "{:.0f}", f"< {LIMIT_MIB}"),
)


def _table(rows: list[dict[str, Any]], columns: tuple[tuple[str, str, str, str], ...]) -> list[str]:
    lines = ["|" + "|".join(c[1] for c in columns) + "|", "|---" * len(columns) + "|"]
    if any(c[3] for c in columns):
        lines.append("|" + "|".join(c[3] for c in columns) + "|")
    for row in rows:
        cells = [c[2].format(row[c[0]]) if row.get(c[0]) is not None else "-" for c in columns]
        lines.append("|" + "|".join(cells) + "|")
    return [*lines, ""]


def report(results: dict[str, Any]) -> str:
    """The Markdown page of results."""
    lines = ["# Spectra", ""]
    if "speed" in results:
        part = results["speed"]
        lines += [
            "## Beside the bare transform", "", machine_line(part["machine"]), "",
            f"float32 in memory; the floor is scipy.fft.rfftn and numpy.bincount in one thread, "
            "per turn the better of two ways to write it; seconds of processor, all threads; "
            f"Dask with {FRAMES_PER_CHUNK} frames in a chunk; medians of ratios over "
            f"{part['repeats']} turns, all variants in each turn. The allocator either gives freed "
            "memory back to the system, as it does by itself, so that the floor pays for new "
            "memory; or it keeps it. "
            "The second row holds the bounds.",
            "", *_table(part["rows"], SPEED_COLUMNS),
        ]  # fmt: skip
    if "memory" in results:
        part = results["memory"]
        lines += [
            "## Data that do not fit", "", machine_line(part["machine"]), "",
            f"memory={part['task_MiB']} MiB for each of {part['threads']} threads, to stay below "
            f"{part['limit_MiB']} MiB with all of Python; frames of {FRAME} float32 in blocks of "
            f"(32, 128, 512), transformed along all axes; series in blocks of 64 steps, "
            "transformed along time. The cluster is one worker with that memory limit. Times "
            "include making the data.",
            "", *_table(part["rows"], MEMORY_COLUMNS),
        ]  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=("speed", "memory"))
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--multiples", type=int, nargs="+", default=list(MULTIPLES))
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.rows:
        rows = [_speed_row(shape, arguments.rows) for shape in SHAPES]
        sys.stdout.write(json.dumps(rows) + "\n")
        return
    if arguments.child:
        case, multiple, scheduler = arguments.child
        sys.stdout.write(json.dumps(run_child(case, int(multiple), scheduler)) + "\n")
        return
    path = RESULTS / "spectra.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    machine = describe(PACKAGES)
    if arguments.part in (None, "speed"):
        results["speed"] = {"machine": machine, **speed(arguments.repeats)}
    if arguments.part in (None, "memory"):
        results["memory"] = {"machine": machine, **memory(arguments.multiples)}
    path.write_text(json.dumps(results, indent=2) + "\n")
    path.with_suffix(".md").write_text(report(results))


if __name__ == "__main__":
    main()
