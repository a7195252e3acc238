"""Features: speed beside a literal loop over fields, memory of what does not fit.

``python -m benchmarks.features`` writes ``results/features.json`` and ``results/features.md``.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import dask
import dask.array as da
import numpy as np
import xarray as xr

from benchmarks._machine import describe, machine_line
from xphys.features import features, registry
from xphys.metrics import compare
from xphys.stats import moments

RESULTS = Path(__file__).parent / "results"
FORMULAS = Path(__file__).parents[1] / "tests" / "features" / "literal.py"
PACKAGES = ("numpy", "scipy", "dask", "xarray")
SIZE, REALIZATIONS, CHANNELS, STEPS = 128, 10, 3, 8
SPINLOCK = 8.0  # samples/s as published: 59 features of version 1.0, one step, on a GPU
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
MIB = 2**20
LIMIT_MIB, THREADS = 512, 2
MULTIPLES = (5, 15, 50)
# Blocks go back to the system at once, what is smaller is used again: docs/memory.md.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(4 * MIB), "MALLOC_TRIM_THRESHOLD_": str(16 * MIB)}


def literal() -> ModuleType:
    """Formulas of the tests: each feature by itself, nothing shared."""
    spec = importlib.util.spec_from_file_location("literal", FORMULAS)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{FORMULAS} is missing")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def data(steps: int, size: int = SIZE) -> xr.Dataset:
    """Smooth and rough fields (realization, time, y, x) of three channels."""
    rng = np.random.default_rng(0)
    k = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.rfftfreq(size), indexing="ij"))
    coords = {
        d: (d, (np.arange(size) + 0.5) / size, {"period": 1.0, "boundary": "periodic"})
        for d in "yx"
    }
    shape = (REALIZATIONS, steps, size, size)
    fields = {}
    for channel in range(CHANNELS):
        noise = np.fft.rfft2(rng.standard_normal(shape)) / (0.02 + k)
        values = np.fft.irfft2(noise, s=(size, size)) + rng.standard_normal((*shape[:2], 1, 1))
        fields[f"u{channel}"] = (("realization", "time", "y", "x"), values.astype(np.float32))
    return xr.Dataset(fields, coords)


def processor(function: Callable[[], Any]) -> float:
    """Seconds of processor: what the neighbours do is not in it."""
    before = time.process_time()
    function()
    return time.process_time() - before


# --- speed ----------------------------------------------------------------------------------


def loop(formulas: ModuleType, ds: xr.Dataset) -> None:
    """All 143 features, field by field, each by its own formula."""
    u = np.stack([ds[name].values.astype(np.float64) for name in ds.data_vars], 2)
    d, times = (1 / SIZE, 1 / SIZE), np.arange(float(u.shape[1]))
    names = [f for f in registry().select(standard=True) if f.family != "operator_sensitivity"]
    for m in range(u.shape[0]):
        for feature in names:
            if feature.level == "step":
                for t in range(u.shape[1]):
                    formulas.step(feature.name, u[m, t], d)
            else:
                formulas.trajectory(feature.name, u[m], d, times)


def loop_of_steps(formulas: ModuleType, ds: xr.Dataset, names: list[str]) -> None:
    """Named features of the first step."""
    u = np.stack([ds[name].values[:, 0].astype(np.float64) for name in ds.data_vars], 1)
    for m in range(u.shape[0]):
        for name in names:
            formulas.step(name, u[m], (1 / SIZE, 1 / SIZE))


def all_143(ds: xr.Dataset) -> None:
    """Both levels from one graph, in one thread."""
    held = ds.chunk(realization=1)
    with dask.config.set(scheduler="sync"):
        features(held, over_time="mean", level="aggregated").compute()


def speed(repeats: int) -> dict[str, Any]:
    """Medians over turns, all variants in each turn."""
    formulas, ds = literal(), data(STEPS)
    one = ds.isel(time=[0])
    own = [f.name for f in registry().select(level="step", standard=True)]
    pair = registry().names(family="mutual_information")
    turns: dict[str, list[float]] = {}
    all_143(ds)
    for _ in range(repeats):
        found = {
            "all": processor(lambda: all_143(ds)),
            "all_loop": processor(lambda: loop(formulas, ds)),
            "step": processor(lambda: features(one, level="step")),
            "step_loop": processor(lambda: loop_of_steps(formulas, one, own)),
            "pair": processor(lambda: features(one, "mutual_information", level="step")),
            "pair_loop": processor(lambda: loop_of_steps(formulas, one, pair)),
        }
        for name, seconds in found.items():
            turns.setdefault(name, []).append(seconds)
    fields = REALIZATIONS * CHANNELS
    rows = []
    for name, label, count in (
        ("all", f"143 features, {STEPS} steps", fields * STEPS),
        ("step", "56 features, one step", fields),
        ("pair", "mutual information, one step", fields),
    ):
        fast, slow = np.array(turns[name]), np.array(turns[f"{name}_loop"])
        rows.append({
            "case": label, "fields": count, "seconds": float(np.median(fast)),
            "loop_seconds": float(np.median(slow)), "ratio": float(np.median(slow / fast)),
            "ms_per_field": 1e3 * float(np.median(fast)) / count,
            "samples_per_second": 1 / float(np.median(fast)),
        })  # fmt: skip
    return {"repeats": repeats, "rows": rows}


# --- memory ---------------------------------------------------------------------------------


class Made:
    """Numbers that are made where they are read, as a file of any size would give them."""

    dtype = np.dtype(np.float32)
    ndim = 3

    def __init__(self, steps: int, size: int) -> None:
        self.shape = (steps, size, size)

    def __getitem__(self, place: tuple[slice, ...]) -> np.ndarray:
        ends = [s.indices(n) for s, n in zip(place, self.shape, strict=True)]
        rng = np.random.default_rng([start for start, _, _ in ends])
        return rng.random([stop - start for start, stop, _ in ends], np.float32)


def made(multiple: int) -> xr.Dataset:
    """One long trajectory in blocks of 16 MiB: a multiple of the limit."""
    size = 256
    file = Made(multiple * LIMIT_MIB * MIB // (4 * size**2), size)
    values = da.from_array(file, chunks=(64, size, size), name=f"made-{multiple}")
    return xr.Dataset({"u": (("time", "y", "x"), values)})


def run_child(multiple: int) -> dict[str, Any]:
    """One computation in this process, which must be a fresh one."""
    ds = made(multiple) if multiple else data(2, 16)[["u0"]].rename(u0="u").chunk(time=1)
    described = features(ds, ["temporal", "causality"])
    errors, summary = compare(1.001 * ds, ds), moments(ds)
    started, before = time.perf_counter(), time.process_time()
    with dask.config.set(scheduler="threads", num_workers=THREADS):
        dask.compute(described, errors, summary)
    text = Path("/proc/self/status").read_text(encoding="ascii")
    peak = int(dict(line.split(":", 1) for line in text.splitlines())["VmHWM"].split()[0])
    return {
        "multiple": multiple, "MiB": ds["u"].nbytes / MIB,
        "seconds": time.perf_counter() - started, "cpu_s": time.process_time() - before,
        "peak_MiB": peak / 1024,
    }  # fmt: skip


def in_child(*arguments: str) -> Any:
    """This module in a fresh process with one thread in linear algebra."""
    call = [sys.executable, "-m", "benchmarks.features", *arguments]
    environment = {**os.environ, **ONE_THREAD}
    if "memory" in arguments:
        environment |= ALLOCATOR
    done = subprocess.run(call, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(done.stderr)
    found = json.loads(done.stdout.splitlines()[-1])
    sys.stderr.write(f"{found}\n")
    return found


# --- results --------------------------------------------------------------------------------

SPEED = (
    ("case", "case", "{}", ""),
    ("fields", "fields", "{}", ""),
    ("seconds", "s", "{:.3f}", ""),
    ("ms_per_field", "ms per field", "{:.2f}", ""),
    ("loop_seconds", "literal loop s", "{:.1f}", ""),
    ("ratio", "loop / features", "{:.0f}", ">= 20; pair >= 50"),
    ("samples_per_second", "samples/s", "{:.2f}", ""),
)
MEMORY = (
    ("multiple", "times the limit", "{}", ""),
    ("MiB", "MiB", "{:.0f}", ""),
    ("seconds", "seconds", "{:.1f}", ""),
    ("cpu_s", "CPU s", "{:.1f}", ""),
    ("peak_MiB", "peak MiB", "{:.0f}", f"< {LIMIT_MIB}"),
)


def _table(rows: list[dict[str, Any]], columns: tuple[tuple[str, str, str, str], ...]) -> list[str]:
    lines = ["|" + "|".join(c[1] for c in columns) + "|", "|---" * len(columns) + "|"]
    lines.append("|" + "|".join(c[3] for c in columns) + "|")
    for row in rows:
        lines.append("|" + "|".join(c[2].format(row[c[0]]) for c in columns) + "|")
    return [*lines, ""]


def report(results: dict[str, Any]) -> str:
    """The Markdown page of results."""
    lines = ["# Features", ""]
    if "speed" in results:
        part = results["speed"]
        lines += [
            "## Beside a literal loop", "", machine_line(part["machine"]), "",
            f"{SIZE} x {SIZE} points, {REALIZATIONS} realizations, {CHANNELS} channels, float32 "
            "in memory; one thread, seconds of processor. The loop takes each feature of each "
            "field from its own formula (tests/features/literal.py: NumPy and SciPy; mutual "
            f"information point by point). Medians over {part['repeats']} turns, all variants in "
            "each turn. A sample is one operator with its realizations; Spinlock has published "
            f"{SPINLOCK:.0f} samples/s on a GPU for the 59 features of its version 1.0, one step. "
            "The second row holds the bounds.",
            "", *_table(part["rows"], SPEED),
        ]  # fmt: skip
    if "memory" in results:
        part = results["memory"]
        lines += [
            "## Data that do not fit", "", machine_line(part["machine"]), "",
            f"One trajectory of 256 x 256 points in blocks of 64 steps (16 MiB), {THREADS} "
            "threads; in one pass the features of the families temporal and causality (which need "
            "the next step), compare() with a copy, and moments. Times include making the data. "
            "Blocks go back to the system at once, smaller arrays are used again (docs/memory.md).",
            "", *_table(part["rows"], MEMORY),
        ]  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=("speed", "memory"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--multiples", type=int, nargs="+", default=list(MULTIPLES))
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        kind, number = arguments.child
        found = speed(int(number)) if kind == "speed" else run_child(int(number))
        sys.stdout.write(json.dumps(found) + "\n")
        return
    path = RESULTS / "features.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    machine = describe(PACKAGES)
    if arguments.part in (None, "speed"):
        found = in_child("--child", "speed", str(arguments.repeats))
        results["speed"] = {"machine": machine, **found}
    if arguments.part in (None, "memory"):
        rows = [in_child("--child", "memory", str(n)) for n in (0, *arguments.multiples)]
        results["memory"] = {"machine": machine, "rows": rows}
    path.write_text(json.dumps(results, indent=2) + "\n")
    path.with_suffix(".md").write_text(report(results))


if __name__ == "__main__":
    main()
