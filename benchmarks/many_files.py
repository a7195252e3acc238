"""Opening runs of very many small files: seconds, memory, size of the graph.

``python -m benchmarks.many_files`` writes 10,000 AthenaK dumps of 16 x 16 cells and 4 variables,
opens them three times, each time in an interpreter of its own (without the index of headers, with
an empty one, with a full one), and writes ``benchmarks/results/many_files.json`` and ``.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks._machine import describe

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("xphys", "numpy", "xarray", "dask")
CELLS = 16
NAMES = ("dens", "velx", "vely", "velz")
LIMITS = {"cold": 60.0, "warm": 5.0, "tasks": 1.2}  # seconds, seconds, tasks per chunk
LARGEST_TASK = 4096  # bytes
MIB = 2**20

# As long as the decks of real runs: AthenaK dumps all parameters, defaults among them.
DECK = """\
#------------------------- PAR_DUMP -------------------------
<job>
basename = HB3 # problem ID: basename of output filenames
<mesh>
nghost = 3              # Number of ghost cells
nx1    = {n}             # Number of zones in X1-direction
x1min  = -0.5           # minimum value of X1
x1max  = 0.5            # maximum value of X1
ix1_bc = periodic       # Inner-X1 boundary condition flag
ox1_bc = periodic       # Outer-X1 boundary condition flag
nx2    = {n}             # Number of zones in X2-direction
x2min  = -0.5           # minimum value of X2
x2max  = 0.5            # maximum value of X2
ix2_bc = periodic       # Inner-X2 boundary condition flag
ox2_bc = periodic       # Outer-X2 boundary condition flag
nx3    = 1              # Number of zones in X3-direction
x3min  = -0.5           # minimum value of X3
x3max  = 0.5            # maximum value of X3
ix3_bc = periodic       # Inner-X3 boundary condition flag
ox3_bc = periodic       # Outer-X3 boundary condition flag
<meshblock>
nx1 = {n} # Number of cells in each MeshBlock, X1-dir
nx2 = {n} # Number of cells in each MeshBlock, X2-dir
nx3 = 1  # Number of cells in each MeshBlock, X3-dir
<mhd>
eos               = isothermal  # EOS type
iso_sound_speed   = 1.0
ohmic_resistivity = 3e-5        # 1.0e-4
viscosity         = 3e-5        # 1.0e-4
{filling}
<output1>
file_type      = bin          # Binary data dump
variable       = mhd_w        # variables to be output
dt             = 0.62831853   # time increment between outputs
last_time      = {time:.4f}   # Updated during run time
file_number    = {number}     # Updated during run time
<par_end>
"""
FILLING = "\n".join(
    f"parameter_{i:02d}      = {i}           # Default value added at run time" for i in range(80)
)


def dump(number: int) -> bytes:
    """The bytes of one file, put together from the description of the format."""
    stamp = 0.1 * number
    deck = DECK.format(n=CELLS, filling=FILLING, time=stamp, number=number)
    head = (
        "Athena binary output version=1.1\n  size of preheader=5\n"
        f"  time={stamp:.16e}\n  cycle={10 * number}\n  size of location=8\n"
        f"  size of variable=4\n  number of variables={len(NAMES)}\n"
        f"  variables:  {'  '.join(NAMES)}  \n  header offset={len(deck)}\n{deck}"
    ).encode()
    ghost = 3
    ranges = (ghost, ghost + CELLS - 1, ghost, ghost + CELLS - 1, 0, 0)
    block = struct.pack("<10i6d", *ranges, 0, 0, 0, 0, -0.5, 0.5, -0.5, 0.5, -0.5, 0.5)
    value = struct.pack("<f", float(number))
    return head + block + value * (CELLS * CELLS * len(NAMES))


def make(folder: Path, count: int) -> None:
    """Write the run."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"HB3.mhd_w.{number:05d}.bin").write_bytes(dump(number))


# --- measured in a process of its own --------------------------------------------------------


def measure(folder: str) -> dict[str, Any]:
    """Open a run with one chunk per file and look at what came."""
    import pickle

    import dask
    import numpy as np

    import xphys

    base = _peak()
    begun, worked = time.perf_counter(), time.process_time()
    ds = xphys.open(folder, chunks={})
    seconds, processor = time.perf_counter() - begun, time.process_time() - worked
    opened = _peak()
    field = ds["density"].data
    graph = dict(field.__dask_graph__())
    chunks = int(np.prod(field.numblocks))
    objects = list(graph.values())
    sizes = sorted(len(pickle.dumps(one)) for one in (*objects[:10], *objects[-10:]))
    with dask.config.set(scheduler="synchronous"):
        first = float(ds["density"][ds.sizes["time"] - 1].mean())
    return {
        "seconds": seconds,
        "cpu_seconds": processor,
        "base_MiB": base / MIB,
        "more_MiB": (opened - base) / MIB,
        "chunks": chunks,
        "tasks_per_chunk": len(graph) / chunks,
        "median_task_bytes": sizes[len(sizes) // 2],
        "largest_object_kB": sizes[-1] / 1000,
        "right": first == ds.sizes["time"] - 1,
    }


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _child(folder: Path, cache: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.many_files", "--child", str(folder)]
    environment = {**os.environ, "XPHYS_CACHE": cache}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return dict(json.loads(done.stdout))


def _drop(folder: Path) -> None:
    """Let the system forget what it has read of the files."""
    for path in folder.iterdir():
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def runs(count: int) -> list[dict[str, Any]]:
    """All rows."""
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for number in (count // 10, count):
            folder, cache = Path(place) / f"run_{number}", str(Path(place) / f"cache_{number}")
            make(folder, number)
            for case, where in (("no index", "off"), ("cold", cache), ("warm", cache)):
                if case != "warm":
                    _drop(folder)
                rows.append({"files": number, "case": case, **_child(folder, where)})
            size = sum(path.stat().st_size for path in Path(cache).rglob("*") if path.is_file())
            rows[-1]["index_kB"] = size / 1000
    return rows


# --- the page --------------------------------------------------------------------------------

COLUMNS = (
    ("files", "files", "{}"),
    ("case", "case", "{}"),
    ("seconds", "seconds", "{:.2f}"),
    ("cpu_seconds", "CPU seconds", "{:.2f}"),
    ("base_MiB", "MiB before", "{:.0f}"),
    ("more_MiB", "MiB more", "{:.0f}"),
    ("tasks_per_chunk", "tasks / chunk", "{:.4f}"),
    ("median_task_bytes", "bytes of a task", "{}"),
    ("largest_object_kB", "list of files, kB", "{:.0f}"),
    ("index_kB", "index, kB", "{:.0f}"),
)


def report(results: dict[str, Any]) -> str:
    """The Markdown page of results."""
    machine = results["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    lines = [
        "# Many small files",
        "",
        f"AthenaK dumps of {CELLS} x {CELLS} cells, {len(NAMES)} variables and a deck of "
        f"{len(DECK) + len(FILLING)} bytes, opened with one chunk per file. *cold*: the system has "
        "dropped the pages of the files, and the index of headers is made; *warm*: it is there. "
        f"Bounds for 10,000 files: {LIMITS['cold']:.0f} s cold, {LIMITS['warm']:.0f} s warm, "
        f"{LIMITS['tasks']} tasks per chunk. The list of files is one object of the graph that "
        "all tasks refer to. Seconds include the imports that opening causes.",
        "",
        f"{machine['processor']}, {machine['cores']} cores, load {machine['load']:.1f}, Python "
        f"{machine['python']}, {versions}; {machine['date']}.",
        "",
        "|" + "|".join(column[1] for column in COLUMNS) + "|",
        "|---" * len(COLUMNS) + "|",
    ]
    for row in results["rows"]:
        cells = [f.format(row[key]) if key in row else "-" for key, _, f in COLUMNS]
        lines.append("|" + "|".join(cells) + "|")
    return "\n".join([*lines, ""])


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        sys.stdout.write(json.dumps(measure(arguments.child)) + "\n")
        return
    machine = {**describe(PACKAGES), "load": os.getloadavg()[0]}
    results = {"machine": machine, "rows": runs(arguments.files)}
    path = RESULTS / "many_files.json"
    path.write_text(json.dumps(results, indent=2) + "\n")
    path.with_suffix(".md").write_text(report(results))


if __name__ == "__main__":
    main()
