"""The verified store: memory of a write, and what its safety costs beside plain Zarr.

``python -m benchmarks.store`` measures all and writes ``benchmarks/results/store.json`` and
``.md``; ``--part memory`` or ``--part speed`` measures one half and keeps the other. The longest
write of the memory half (``--multiples``) takes some ten minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import xarray as xr
from zarr.codecs import ZstdCodec

import xphys
from benchmarks._machine import describe, machine_line
from xphys.io import to_zarr
from xphys.io.writers import _graph

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("xphys", "numpy", "xarray", "dask", "zarr", "numcodecs")
THREADS = 2
SIDE = 512  # of a frame: one step of float32 is 1 MiB
STEPS_PER_UNIT = 400  # 400 MiB, the unit of --multiples
STEPS_PER_TASK = 10  # of the source: its chunks do not fall on the stored ones
SPEED_STEPS = 256
CHUNKS_MB = (1, 4, 8)
MIB = 2**20


def turbulence(steps: int, per_task: int) -> xr.Dataset:
    """Smooth waves and noise, made block by block: there is no stored source."""
    rng = np.random.default_rng(0)
    k = np.arange(1, 13)
    waves = rng.normal(size=(k.size, k.size)) / (k[:, None] ** 2 + k**2)
    phases = rng.uniform(0, 2 * np.pi, (2, k.size))
    x = 2 * np.pi * np.arange(SIDE) / SIDE

    def block(block_info: Any = None) -> np.ndarray:
        first, last = block_info[None]["array-location"][0]
        noise = np.random.default_rng(first)
        out = np.empty((last - first, SIDE, SIDE), np.float32)
        for i, t in enumerate(range(first, last)):
            along_y = np.cos(np.outer(x, k) + phases[0] + 0.01 * t * k)
            along_x = np.cos(np.outer(x, k) + phases[1])
            out[i] = along_y @ waves @ along_x.T
            out[i] += 3e-3 * noise.standard_normal((SIDE, SIDE), np.float32)
        return out

    chunks = da.core.normalize_chunks((per_task, SIDE, SIDE), (steps, SIDE, SIDE))
    name = f"turbulence-{steps}-{per_task}"
    made = da.map_blocks(block, chunks=chunks, dtype=np.float32, meta=np.empty((0,) * 3, "f4"))
    return _dataset(da.Array(made.dask, made.name, made.chunks, meta=made._meta), name)


def cheap(steps: int, per_task: int) -> xr.Dataset:
    """Blocks that cost little to make, so that writing them is what is timed."""
    frame = turbulence(1, 1).u.values[0]

    def block(block_info: Any = None) -> np.ndarray:
        first, last = block_info[None]["array-location"][0]
        return frame + np.arange(first, last, dtype=np.float32)[:, None, None] / 64

    chunks = da.core.normalize_chunks((per_task, SIDE, SIDE), (steps, SIDE, SIDE))
    made = da.map_blocks(block, chunks=chunks, dtype=np.float32, meta=np.empty((0,) * 3, "f4"))
    return _dataset(made, "cheap")


def _dataset(values: da.Array, title: str) -> xr.Dataset:
    steps = values.shape[0]
    x = (np.arange(SIDE) + 0.5) / SIDE
    attrs = {"units": "1", "spacing": "uniform", "boundary": "periodic", "period": 1.0}
    return xr.Dataset(
        {"u": (("time", "y", "x"), values, {"units": "1"})},
        {
            "time": ("time", np.arange(steps) * 0.01, {"units": "1"}),
            "y": ("y", x, attrs),
            "x": ("x", x, attrs),
        },
        {"title": title},
    )


# --- memory ---------------------------------------------------------------------------------


def resident() -> dict[str, float]:
    """Resident memory of this process now and at its peak, MiB."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    lines = dict(line.split(":", 1) for line in text.splitlines())
    return {k: int(lines[k].split()[0]) / 1024 for k in ("VmRSS", "VmHWM")}


def write_compressed(multiple: float, threads: int, chunk_steps: int | None) -> dict[str, Any]:
    """One write in this process, which must be a fresh one; 0 writes next to nothing."""
    steps = max(int(STEPS_PER_UNIT * multiple), 1)
    ds = turbulence(steps, STEPS_PER_TASK)
    chunks = {"time": chunk_steps} if chunk_steps else None
    with tempfile.TemporaryDirectory() as folder, dask.config.set(num_workers=threads):
        started = time.perf_counter()
        to_zarr(xphys.codecs.compress(ds, vrmse=1e-2, chunks=chunks), Path(folder) / "c.zarr")
        seconds = time.perf_counter() - started
        sizes = [p.stat().st_size for p in Path(folder).rglob("c/**/*") if p.is_file()]
    row = {"multiple": multiple, "threads": threads, "chunk_steps": chunk_steps}
    mb = ds.u.nbytes / MIB
    return {**row, "MiB": mb, "seconds": seconds, "MB_per_s": ds.u.nbytes / 1e6 / seconds,
            "ratio": ds.u.nbytes / max(sum(sizes), 1), "peak_MiB": resident()["VmHWM"]}  # fmt: skip


def in_child(multiple: float, threads: int, chunk_steps: int | None = None) -> dict[str, Any]:
    """`write_compressed` in a fresh process."""
    call = [sys.executable, "-m", "benchmarks.store", "--child", str(multiple), str(threads)]
    if chunk_steps:
        call.append(str(chunk_steps))
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    row: dict[str, Any] = json.loads(done.stdout)
    sys.stderr.write(f"{row}\n")
    return row


def memory(multiples: list[float]) -> dict[str, Any]:
    """Peaks for data of several sizes, and for other numbers of threads and sizes of chunks."""
    sizes = [in_child(multiple, THREADS) for multiple in multiples]
    peaks = [row["peak_MiB"] for row in sizes]
    base = in_child(0, 1)["peak_MiB"]
    # enough steps for every thread to have several chunks
    others = [in_child(0.32, threads, steps) for threads in (1, 2) for steps in (4, 8, 16, 32)]
    # least squares: peak = base + factor x threads x chunk
    load = np.array([row["threads"] * row["chunk_steps"] for row in others], float)
    peak = np.array([row["peak_MiB"] for row in others])
    factor, offset = np.polyfit(load, peak, 1)
    return {
        "sizes": sizes,
        "spread": max(peaks) / min(peaks) - 1,
        "others": others,
        "base_MiB": base,
        "fit": {"offset_MiB": offset, "chunks_per_thread": factor},
    }


# --- speed ----------------------------------------------------------------------------------


@contextmanager
def folder_for_stores() -> Iterator[Path]:
    """A fresh folder; what earlier measurements left to the disk is on it before timing begins."""
    with tempfile.TemporaryDirectory() as folder:
        os.sync()
        yield Path(folder)


def timed(function: Callable[[], Any]) -> float:
    """Seconds of a call."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def write_plain(ds: xr.Dataset, store: Path, steps: int) -> None:
    """The same arrays and codec through xarray and zarr-python."""
    codec = ZstdCodec(level=3, checksum=True)
    encoding = {name: {"compressors": (codec,)} for name in ds.variables}
    encoding["u"]["chunks"] = (steps, SIDE, SIDE)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Consolidated metadata is currently not part")
        ds.to_zarr(store, zarr_format=3, consolidated=True, encoding=encoding)


def write_own(ds: xr.Dataset, store: Path, steps: int) -> None:
    """With journal and manifest."""
    to_zarr(ds, store, chunks={"time": steps})


def medians(repeats: int, functions: dict[str, Callable[[Path], Any]]) -> dict[str, float]:
    """Median seconds of functions that are called in turn, each in a fresh folder."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats + 1):
        for name, function in functions.items():
            with folder_for_stores() as folder:
                seconds[name].append(timed(lambda f=function, d=folder: f(d)))
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}


def writing(ds: xr.Dataset, steps: int, repeats: int) -> dict[str, float]:
    """Seconds of writing with and without manifest."""
    seconds = medians(
        repeats,
        {
            "write_plain_s": lambda folder: write_plain(ds, folder / "a.zarr", steps),
            "write_s": lambda folder: write_own(ds, folder / "a.zarr", steps),
        },
    )
    return {**seconds, "write_ratio": seconds["write_s"] / seconds["write_plain_s"]}


def write_and_read(steps: int, repeats: int) -> dict[str, float]:
    """Seconds of writing and reading, for chunks of some steps, and the ratios."""
    ds = cheap(SPEED_STEPS, steps)
    write = writing(ds, steps, repeats)
    made = writing(turbulence(SPEED_STEPS, steps), steps, repeats)
    with folder_for_stores() as folder:
        store = folder / "a.zarr"
        write_own(ds, store, steps)
        read = medians(
            repeats,
            {
                "read_plain_s": lambda _: xr.open_zarr(store, chunks={}).load(),
                "read_s": lambda _: xphys.open(store, chunks={}).load(),
            },
        )
        return {
            "chunk_MB": steps,
            **write,
            **read,
            **{f"made_{name}": value for name, value in made.items()},
            "read_ratio": read["read_s"] / read["read_plain_s"],
            **verification(store, repeats),
            **shares(store),
        }


def verification(store: Path, repeats: int) -> dict[str, float]:
    """Speed of `verify` and of only reading the same files, in one thread and cached."""
    paths = [p for p in store.rglob("*") if p.is_file()]
    size = sum(p.stat().st_size for p in paths)
    both = medians(
        repeats,
        {
            "raw_s": lambda _: [p.read_bytes() for p in paths],
            "verify_s": lambda _: xphys.verify(store),
        },
    )
    assert set(xphys.verify(store).state.values.tolist()) == {"ok"}
    speeds = {f"{k[:-2]}_MB_per_s": size / 1e6 / v for k, v in both.items()}
    return {**speeds, "verify_over_raw": both["raw_s"] / both["verify_s"]}


def shares(store: Path) -> dict[str, float]:
    """What the manifest adds to a sealed store."""
    paths = [p for p in store.rglob("*") if p.is_file()]
    inside = [p for p in paths if "_xphys" in p.relative_to(store).parts]
    chunks = [p for p in (store / "u" / "c").rglob("*") if p.is_file()]
    manifest = sum(p.stat().st_size for p in inside)
    expected = -(-SPEED_STEPS // _chunk_steps(store))
    return {
        "manifest_share": manifest / sum(p.stat().st_size for p in paths),
        "objects_per_chunk": len(chunks) / expected,
        "objects_of_manifest": len(inside),
    }


def _chunk_steps(store: Path) -> int:
    document = json.loads((store / "u" / "zarr.json").read_text())
    return int(document["chunk_grid"]["configuration"]["chunk_shape"][0])


class _KilledError(Exception):
    """Stands for a kill after the last chunk."""


def resume_scan(steps: int, repeats: int) -> dict[str, float]:
    """A compress run stopped before sealing, then run again: nothing is computed twice."""
    c = xphys.codecs.compress(turbulence(SPEED_STEPS, steps), vrmse=1e-2, chunks={"time": steps})
    full, scan = [], []
    seal = _graph.seal
    for _ in range(repeats):
        with folder_for_stores() as folder:
            store = folder / "c.zarr"

            def killed(*_: object) -> None:
                raise _KilledError

            _graph.seal = killed
            try:
                full.append(timed(lambda s=store: _expect_kill(c, s)))
            finally:
                _graph.seal = seal
            scan.append(timed(lambda s=store: to_zarr(c, s)))
            xphys.open(store)
    full_s, scan_s = statistics.median(full), statistics.median(scan)
    return {
        "compress_chunk_MB": steps,
        "compress_s": full_s,
        "resume_s": scan_s,
        "resume_share": scan_s / full_s,
    }


def _expect_kill(c: xr.Dataset, store: Path) -> None:
    try:
        to_zarr(c, store)
    except _KilledError:
        return
    raise SystemExit("expected the run to stop before sealing")


def speed(repeats: int) -> dict[str, Any]:
    """All measurements beside plain Zarr, in one run."""
    rows = []
    with dask.config.set(num_workers=THREADS):
        for megabytes in CHUNKS_MB:
            rows.append(write_and_read(megabytes, repeats))
            rows[-1] |= resume_scan(megabytes, max(repeats // 2, 2))
            sys.stderr.write(f"{rows[-1]}\n")
    return {"repeats": repeats, "MiB": SPEED_STEPS, "rows": rows}


# --- results --------------------------------------------------------------------------------

SPEED_COLUMNS = (
    ("chunk_MB", "chunk MiB", "{:.0f}", ""),
    ("write_plain_s", "plain write s", "{:.3f}", ""),
    ("write_ratio", "write / plain", "{:.3f}", "<= 1.10"),
    ("made_write_plain_s", "plain write of computed fields s", "{:.3f}", ""),
    ("made_write_ratio", "write / plain", "{:.3f}", "<= 1.10"),
    ("read_plain_s", "plain read s", "{:.3f}", ""),
    ("read_ratio", "read / plain", "{:.3f}", "<= 1.05"),
    ("raw_MB_per_s", "raw read MB/s", "{:.0f}", ""),
    ("verify_MB_per_s", "verify MB/s", "{:.0f}", ""),
    ("verify_over_raw", "verify / raw", "{:.2f}", ">= 0.5"),
    ("compress_s", "compress s", "{:.2f}", ""),
    ("resume_share", "resume share", "{:.4f}", "<= 0.02"),
    ("manifest_share", "manifest share", "{:.6f}", "<= 0.001"),
    ("objects_per_chunk", "objects per chunk", "{:.2f}", "1"),
)


def markdown(result: dict[str, Any]) -> str:
    """The tables as text."""
    lines = ["# The verified store", ""]
    if "memory" in result:
        part = result["memory"]
        machine = machine_line(part["machine"])
        lines += ["## Peak resident memory of compress and to_zarr", "", machine, ""]
        lines += [
            f"Fields (time, {SIDE}, {SIDE}) of float32 made block by block, VRMSE 1e-2, fresh "
            f"process each. The peaks of the three sizes differ by {part['spread']:.1%} (at most "
            "15 %).",
            "",
            "|multiple of 400 MiB|MiB|threads|chunk MiB|seconds|MB/s|ratio|peak MiB|",
            "|" + "---|" * 8,
        ]
        for r in [*part["sizes"], *part["others"]]:
            lines.append(
                f"|{r['multiple']:g}|{r['MiB']:.0f}|{r['threads']}|{r['chunk_steps'] or 16}|"
                f"{r['seconds']:.0f}|{r['MB_per_s']:.0f}|{r['ratio']:.1f}|{r['peak_MiB']:.0f}|"
            )
        fit = part["fit"]
        lines += [
            "",
            f"Without data: {part['base_MiB']:.0f} MiB. Fit over the second half: peak = "
            f"{fit['offset_MiB']:.0f} MiB + threads x {fit['chunks_per_thread']:.1f} x chunk.",
            "",
        ]
    if "speed" in result:
        part = result["speed"]
        lines += ["## Beside plain Zarr", "", machine_line(part["machine"]), ""]
        lines += [
            f"{part['MiB']} MiB of float32, zstd level 3 with checksum, {THREADS} threads, files "
            f"in the page cache; medians over {part['repeats']} repeats.",
            "",
            "|" + "|".join(title for _, title, _, _ in SPEED_COLUMNS) + "|",
            "|" + "---|" * len(SPEED_COLUMNS),
            "|" + "|".join(goal for _, _, _, goal in SPEED_COLUMNS) + "|",
        ]
        for r in part["rows"]:
            cells = (form.format(r[key]) for key, _, form, _ in SPEED_COLUMNS)
            lines.append("|" + "|".join(cells) + "|")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=("memory", "speed"), help="one half only")
    parser.add_argument("--multiples", type=float, nargs="+", default=[5, 20, 50])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        multiple, threads, *steps = arguments.child
        row = write_compressed(float(multiple), int(threads), int(steps[0]) if steps else None)
        sys.stdout.write(json.dumps(row))
        return
    path = RESULTS / "store.json"
    result = json.loads(path.read_text()) if path.exists() else {}
    machine = describe(PACKAGES)
    if arguments.part != "speed":
        result["memory"] = {"machine": machine, **memory(arguments.multiples)}
    if arguments.part != "memory":
        result["speed"] = {"machine": machine, **speed(arguments.repeats)}
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    text = markdown(result)
    (RESULTS / "store.md").write_text(text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
