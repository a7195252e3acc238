"""Speed of the method "transform" beside SPERR and SZ3 at equal VRMSE, one thread, in one run.

``python -m benchmarks.codec_speed`` measures on the folder named by XPHYS_TEST_DATA and writes
``benchmarks/results/codec_speed.json`` and ``.md``. Times are seconds of processor and of the
clock, medians over turns in which every codec comes once. Columns:

given
    Coding with basis and step known: transform, integers, entropy stage.
checked
    The same and the inverse transform that the guarantee needs.
decode, automatic
    A whole chunk: `decode_chunk`; `encode_chunk` with the choice of basis and step.
max
    Both with ``effort="max"``.
"""

# ruff: noqa: E402 - one thread has to be asked for before NumPy is there

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import xarray as xr

from benchmarks._fields import fields
from benchmarks._machine import describe, machine_line
from benchmarks._peers import PEERS, Peer, flatten, vrmse
from xphys.codecs._api import _request
from xphys.coding import Bounds, Request, decode_chunk, encode_chunk, table, transform
from xphys.coding._stream import plain_step
from xphys.coding._trial import Trial, write
from xphys.coding.bounds import Limits
from xphys.coding.method import Coded, Method

TARGETS = (1e-1, 1e-2, 1e-3)
RESULTS = Path(__file__).parent / "results"
LEFT_OUT = ("3-D linear wave",)  # no set of the goal
GOALS = {
    "given": 1.0, "decode": 1.5, "max given": 0.7, "max decode": 0.5,
    "automatic MB/s": 8.0, "guarantee": 1.25,
}  # fmt: skip
_CHILD = """
import time; start = time.perf_counter()
import numpy as np
from xphys.coding import Bounds, Request, decode_chunk, encode_chunk
axes = [np.linspace(0, 2 * np.pi, n, endpoint=False) for n in (40, 64, 64)]
t, y, x = np.meshgrid(*axes, indexing="ij")
a = (np.sin(3 * x + t) * np.cos(2 * y) + np.sin(7 * np.sin(x + y) - 2 * t)).astype("f4")
request = Request("transform", Bounds(vrmse=1e-2), ("time", "space", "space"), (None,) * 3)
decode_chunk(encode_chunk(a, request))
print(time.perf_counter() - start, time.process_time())
"""


class Clock:
    """Times of named steps, turn by turn."""

    def __init__(self) -> None:
        self.times: dict[str, list[tuple[float, float]]] = {}

    def run(self, name: str, step: Callable[[], Any]) -> Any:
        """Result of a step, its processor and wall time noted."""
        processor, wall = time.process_time(), time.perf_counter()
        out = step()
        spent = time.process_time() - processor, time.perf_counter() - wall
        self.times.setdefault(name, []).append(spent)
        return out

    def medians(self) -> dict[str, list[float]]:
        """Processor and wall seconds of each step."""
        return {n: [median(v[i] for v in t) for i in (0, 1)] for n, t in self.times.items()}


class Watched:
    """The method, as the frame calls it: keeps what it was given and what time it took."""

    def __init__(self) -> None:
        self.arguments: tuple[np.ndarray, int, Limits, Request] | None = None
        self.seconds = 0.0
        name, code = "transform watched by a benchmark", 251
        table.register(Method(name, code, self.encode, transform.TRANSFORM.decode, proved=True))
        self.name = name

    def encode(self, x: np.ndarray, axis: int, limits: Limits, request: Request) -> Coded:
        """Code a chunk."""
        start = time.process_time()
        coded = transform.encode(x, axis, limits, request)
        self.seconds += time.process_time() - start
        self.arguments = x, axis, limits, request
        return coded


def equal(peer: Peer, x: np.ndarray, target: float) -> float:
    """Tolerance at which a peer comes just below the target."""
    tolerance = target * float(x.astype(np.float64).std())
    for _ in range(6):
        error = vrmse(x, np.asarray(peer.decode(peer.encode(x, tolerance), x.shape)))
        if 0.97 * target < error <= target:
            break
        tolerance *= 0.99 * target / max(error, 0.1 * target)
    return tolerance


def given(watched: Watched) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    """Coding a chunk again in the basis and with the step that were found, and its values."""
    assert watched.arguments is not None
    x, axis, limits, request = watched.arguments
    job = transform._Job(x, axis, limits.squared, request)
    best = min((job.code(chosen) for chosen in job.choose()), key=lambda o: o.size)
    step = plain_step(best.blocks[0].step)

    def code() -> Any:
        trial = Trial(transform._cut(job.y, axis, best.extent), best.kinds, best.target, job.mean)
        q = trial.integers(step, job.refined)
        made = trial.blocks(step, q)
        streams = [write(b, one, request.effort) for b, one in zip(made, q, strict=True)]
        return made, q, streams

    def values(coded: Any) -> Any:
        pairs = zip(coded[0], coded[1], strict=True)
        return [b.values(one if one.any() else None) for b, one in pairs]

    return code, values


def field(
    x: np.ndarray, request: Request, target: float, watched: Watched, turns: int
) -> dict[str, Any]:
    """One row: times of all codecs on one array."""
    request = replace(request, method=watched.name, bounds=Bounds(vrmse=target))
    flat = flatten(x)
    peers = {name: PEERS[name]() for name in ("SPERR", "SZ3")}
    tolerances = {name: equal(peer, flat, target) for name, peer in peers.items()}
    clock, shares, sizes = Clock(), [], {}
    coders = {}
    decode_chunk(encode_chunk(x, request))  # kernels are there
    for effort in ("normal", "max"):
        data = encode_chunk(x, replace(request, effort=effort))
        coders[effort] = (*given(watched), data)
        sizes[effort] = len(data)
    for _ in range(turns):
        for name, peer in peers.items():
            data = clock.run(f"{name} encode", lambda p=peer, n=name: p.encode(flat, tolerances[n]))
            clock.run(f"{name} decode", lambda p=peer, d=data: p.decode(d, flat.shape))
            sizes[name] = len(data)
        for effort, (code, values, stored) in coders.items():
            before = "" if effort == "normal" else "max "
            coded = clock.run(f"{before}given", code)
            clock.run(f"{before}values", lambda v=values, c=coded: v(c))
            clock.run(f"{before}decode", lambda d=stored: decode_chunk(d))
        watched.seconds = 0.0
        clock.run("automatic", lambda: encode_chunk(x, request))
        shares.append(clock.times["automatic"][-1][0] / watched.seconds)
    error = vrmse(x, decode_chunk(coders["normal"][2]))
    if not error <= target:
        raise SystemExit(f"VRMSE {error} is above {target}")
    return {
        "bytes": x.nbytes,
        "sizes": sizes,
        "times": clock.medians(),
        "guarantee": median(shares),
    }


def measure(only: str | None, turns: int) -> list[dict[str, Any]]:
    """One row per data set, variable and target."""
    watched, rows = Watched(), []
    for source, ds in fields():
        if source in LEFT_OUT or (only and only.lower() not in source.lower()):
            continue
        for name in ds.data_vars:
            for target in TARGETS:
                row = _row(ds[name], target, watched, turns)
                rows.append({"data": source, "variable": str(name), "vrmse": target, **row})
                found = ratios(rows[-1])
                text = " ".join(f"{k} {v:.2f}" for k, v in found.items())
                sys.stderr.write(f"{source} {name} {target:g}: {text}\n")
    return rows


def _row(da: xr.DataArray, target: float, watched: Watched, turns: int) -> dict[str, Any]:
    request = _request(da, "transform", Bounds(vrmse=target), "normal")
    return field(np.ascontiguousarray(da.values), request, target, watched, turns)


def ratios(row: dict[str, Any], clock: int = 0) -> dict[str, float]:
    """Speeds over those of SPERR; MB/s of automatic coding; cost of the guarantee."""
    t = {name: times[clock] for name, times in row["times"].items()}
    mega = row["bytes"] / 1e6
    return {
        "given": t["SPERR encode"] / t["given"],
        "checked": t["SPERR encode"] / (t["given"] + t["values"]),
        "decode": t["SPERR decode"] / t["decode"],
        "max given": t["SPERR encode"] / t["max given"],
        "max decode": t["SPERR decode"] / t["max decode"],
        "automatic MB/s": mega / t["automatic"],
        "SPERR encode MB/s": mega / t["SPERR encode"],
        "SPERR decode MB/s": mega / t["SPERR decode"],
        "SZ3 encode MB/s": mega / t["SZ3 encode"],
        "SZ3 decode MB/s": mega / t["SZ3 decode"],
        "guarantee": row["guarantee"],
    }


def means(rows: list[dict[str, Any]], *keys: str, clock: int = 0) -> dict[tuple[Any, ...], Any]:
    """Geometric means of the ratios over rows with equal keys."""
    groups: dict[tuple[Any, ...], list[dict[str, float]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[k] for k in keys), []).append(ratios(row, clock))
    return {
        key: {n: math.exp(float(np.mean([math.log(r[n]) for r in found]))) for n in found[0]}
        for key, found in groups.items()
    }


def total(rows: list[dict[str, Any]], clock: int = 0) -> dict[str, float]:
    """Geometric mean over data sets of that over fields and targets."""
    sets = list(means(rows, "data", clock=clock).values())
    return {n: math.exp(float(np.mean([math.log(s[n]) for s in sets]))) for n in sets[0]}


def cold_start() -> dict[str, list[float]]:
    """Wall and processor seconds of a new process that codes and decodes once."""
    out = {}
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
        for name in ("empty cache", "filled cache"):
            done = subprocess.run(
                [sys.executable, "-c", _CHILD],
                env=environment, capture_output=True, text=True, check=True,
            )  # fmt: skip
            out[name] = [float(v) for v in done.stdout.split()]
    return out


def threads(turns: int) -> dict[str, float]:
    """How many times faster two threads code and decode eight chunks than one, by the clock."""
    _, ds = next(iter(fields()))
    da = ds[next(iter(ds.data_vars))]
    request = _request(da, "transform", Bounds(vrmse=1e-2), "normal")
    chunks = [np.ascontiguousarray(np.roll(da.values, 9 * i, axis=-1)) for i in range(8)]
    coded = [encode_chunk(c, request) for c in chunks]
    steps: dict[str, tuple[Callable[[Any], Any], list[Any]]] = {
        "encode": (lambda c: encode_chunk(c, request), chunks),
        "decode": (decode_chunk, coded),
    }
    gains: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(turns):
        for name, (step, parts) in steps.items():
            seconds = []
            for count in (1, 2):
                start = time.perf_counter()
                with ThreadPoolExecutor(count) as pool:
                    list(pool.map(step, parts))
                seconds.append(time.perf_counter() - start)
            gains[name].append(seconds[0] / seconds[1])
    return {name: median(g) for name, g in gains.items()}


def _table(head: list[str], lines: list[list[str]]) -> list[str]:
    return ["", "|".join(["", *head, ""]), "|" + "---|" * len(head)] + [
        "|".join(["", *cells, ""]) for cells in lines
    ]


def markdown(result: dict[str, Any]) -> str:
    """The tables as text."""
    rows, machine = result["rows"], result["machine"]
    names = list(ratios(rows[0]))
    out = [
        "# Speed of the lossy codec",
        "",
        f"{machine_line(machine)} Load {result['load']:.1f} while measured.",
        "",
        f"Method `transform`, one thread, VRMSE {', '.join(f'{t:g}' for t in TARGETS)}; processor "
        f"time, medians over {result['turns']} turns in which every codec comes once. given, "
        "checked, decode, max: speed over that of SPERR 3-D at equal VRMSE (given: step and basis "
        "known; checked: with the inverse transform of the guarantee). guarantee: time of "
        "`encode_chunk` over that of the method alone. Means are geometric: over fields and "
        "targets, then over data sets.",
    ]
    goals = {n: f"{'<=' if n == 'guarantee' else '>='} {g:g}" for n, g in GOALS.items()}
    lines = [["goal", *[goals.get(n, "") for n in names]]]
    for name, clock in (("processor", 0), ("wall", 1)):
        found = total(rows, clock)
        lines.append([name, *[f"{found[n]:.2f}" for n in names]])
    out += ["", "## All", *_table(["time", *names], lines)]
    for title, keys in (
        ("Targets", ("vrmse",)), ("Data sets", ("data",)), ("Fields", ("data", "variable")),
        ("Cells", ("data", "variable", "vrmse")),
    ):  # fmt: skip
        lines = [
            [" ".join(map(str, key)), *[f"{found[n]:.2f}" for n in names]]
            for key, found in means(rows, *keys).items()
        ]
        out += ["", f"## {title}", *_table(["", *names], lines)]
    slow = [" ".join(k) for k, f in means(rows, "data", "variable").items() if f["decode"] < 1]
    out += ["", f"Fields that decode slower than SPERR: {', '.join(slow) or 'none'}.", ""]
    lines = [[name, *[f"{v:.2f}" for v in found]] for name, found in result["cold"].items()]
    out += [
        "## A new process, first encode and decode",
        *_table(["cache", "wall s", "processor s"], lines),
    ]
    lines = [[name, f"{gain:.2f}"] for name, gain in result["threads"].items()]
    out += ["", "## Two threads over chunks", *_table(["", "times faster"], lines), ""]
    return "\n".join(out)


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="part of the name of one data set; nothing is written")
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    rows = measure(arguments.only, arguments.turns)
    result = {
        "machine": describe(("xphys", "numpy", "scipy", "numba", "imagecodecs", "pysz")),
        "turns": arguments.turns,
        "load": os.getloadavg()[2],
        "rows": rows,
        "cold": cold_start(),
        "threads": threads(arguments.turns),
    }
    text = markdown(result)
    if arguments.only:
        sys.stdout.write(text)
        return
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "codec_speed.json").write_text(json.dumps(result, indent=1))
    (RESULTS / "codec_speed.md").write_text(text)


if __name__ == "__main__":
    main()
