"""Compression ratio beside other compressors at equal VRMSE, in one run.

``python -m benchmarks.compression`` measures on the folder named by XPHYS_TEST_DATA and writes
``benchmarks/results/compression.json`` and ``.md``. Every variable is coded by itself. A ratio
counts float32 bytes over the coded chunks of a Zarr store that was written and read again, with
their records in its manifest; for peers over the stream and 24 bytes for shape, dtype and
tolerance. ``--video`` adds x265 (package av) at loose targets; ``--effort max`` writes
``compression_max.*``.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from benchmarks._fields import fields
from benchmarks._machine import describe, machine_line
from benchmarks._peers import FRAME_PEERS, OTHER_PEERS, PEERS, VIDEO_PEERS, Peer, best_ratio, vrmse
from xphys.codecs import AutoOptions, compress
from xphys.io import to_zarr

TARGETS = (1e-1, 3e-2, 1e-2, 1e-3, 1e-4)
VIDEO_TARGETS = (1e-1, 3e-2, 1e-2)
GOALS = {
    "normal": {1e-1: 1.8, 3e-2: 1.75, 1e-2: 1.7, 1e-3: 1.55, 1e-4: 1.3},
    "max": {1e-1: 1.9, 1e-2: 1.8, 1e-3: 1.6},
}
#: Pseudo-spectral runs on periodic boxes, which favour any Fourier basis.
PERIODIC = ("Gray-Scott", "acoustic wave", "3-D Navier-Stokes", "1-D Kuramoto-Sivashinsky")
ASIDE = ("3-D linear wave",)  # a few modes only: it would flatter the mean
RESULTS = Path(__file__).parent / "results"


def own_ratios(ds: xr.Dataset, target: float, effort: str) -> dict[str, dict[str, float]]:
    """Ratio of each variable from a store that was written and read again."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "c.zarr"
        start = time.perf_counter()
        options = AutoOptions(together=False)
        to_zarr(compress(ds, vrmse=target, effort=effort, options=options), store)
        seconds = time.perf_counter() - start
        read = xr.open_zarr(store)
        found = {}
        for name in map(str, ds.data_vars):
            error = vrmse(ds[name].values, read[name].values)
            if not error <= target:
                raise SystemExit(f"{name}: VRMSE {error} is above {target}")
            size, records = stored_bytes(store, name)
            found[name] = {
                "xphys": ds[name].nbytes / (size + records),
                "bytes": size,
                "records": records,
                "seconds_of_set": seconds,
            }
    return found


def stored_bytes(store: Path, name: str) -> tuple[int, int]:
    """Of the chunks of a variable, and of their records in the manifest."""
    folders = store / name / "c", store / "_xphys" / "manifest" / name / "c"
    size, records = (sum(p.stat().st_size for p in f.rglob("*") if p.is_file()) for f in folders)
    return size, records


def peers_of(video: bool) -> dict[str, Peer]:
    """All peers that are installed."""
    chosen = PEERS | OTHER_PEERS | FRAME_PEERS | (VIDEO_PEERS if video else {})
    return {name: make() for name, make in chosen.items()}


def measure(
    only: str | None, effort: str, peers: dict[str, Peer], known: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """One row per data set, variable and target; ratios of peers that are known stay."""
    kept = {(r["data"], r["variable"], r["vrmse"]): r["peers"] for r in known}
    rows = []
    for source, ds in fields():
        if only and only.lower() not in source.lower():
            continue
        for target in TARGETS:
            if effort != "normal" and target not in GOALS[effort]:
                continue
            for name, own in own_ratios(ds, target, effort).items():
                found = dict(kept.get((source, name, target), {}))
                for peer in peers.values():
                    if peer.name not in found and (
                        peer.name not in VIDEO_PEERS or target in VIDEO_TARGETS
                    ):
                        found[peer.name] = _ratio(peer, ds[name].values, target)
                row = {"data": source, "variable": name, "vrmse": target, **own, "peers": found}
                rows.append(row)
                sys.stderr.write(f"{source} {name} {target:g}: {own['xphys']:.1f} {gap(row):.2f}\n")
    return rows


def _ratio(peer: Peer, x: np.ndarray, target: float) -> float:
    try:
        return best_ratio(peer, x, target)
    except Exception as error:  # a peer that cannot take this field does not stop the run
        sys.stderr.write(f"{peer.name}: {error}\n")
        return 0.0


def gap(row: dict[str, Any], without: tuple[str, ...] = ()) -> float:
    """Ratio over that of the best peer."""
    best = max((v for name, v in row["peers"].items() if name not in without), default=0.0)
    return float(row["xphys"] / max(best, 1e-9))


def mean(values: list[float]) -> float:
    """Geometric mean."""
    return math.exp(float(np.mean([math.log(max(v, 1e-9)) for v in values]))) if values else 1.0


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Geometric means over the variables of a data set, then over groups of data sets."""
    out = []
    for target in dict.fromkeys(r["vrmse"] for r in rows):
        per_set = []
        for source in dict.fromkeys(r["data"] for r in rows):
            chosen = [r for r in rows if r["data"] == source and r["vrmse"] == target]
            gaps = [gap(r) for r in chosen]
            ratio = mean([r["xphys"] for r in chosen])
            per_set.append({"data": source, "ratio": ratio, "gap": mean(gaps), "least": min(gaps)})
        counted = [r for r in per_set if r["data"] not in ASIDE]
        groups = {
            "all sets": counted,
            "periodic, pseudo-spectral": [r for r in counted if r["data"] in PERIODIC],
            "the others": [r for r in counted if r["data"] not in PERIODIC],
        }
        for name, members in groups.items():
            if members:
                ratio, gaps = mean([r["ratio"] for r in members]), [r["gap"] for r in members]
                least = min(r["least"] for r in members)
                per_set.append({"data": name, "ratio": ratio, "gap": mean(gaps), "least": least})
        out += [{"vrmse": target, **r} for r in per_set]
    return out


def markdown(rows: list[dict[str, Any]], machine: dict[str, Any], effort: str) -> str:
    """The tables as text."""
    names = list(dict.fromkeys(name for r in rows for name in r["peers"]))
    lines = [
        "# Compression ratio at equal VRMSE",
        "",
        f"{machine_line(machine)} Effort `{effort}`. Every variable by itself; bytes of the "
        "coded chunks and of their records in the manifest. Peers code the whole variable "
        f"(leading axes joined to three). Gain: over the best of {', '.join(names)}. "
        f"{', '.join(ASIDE)} is not in the means.",
        "",
        "## Data sets",
        "",
        "|data|VRMSE|ratio|gain|least gain of a field|asked|",
        "|---|---|---|---|---|---|",
    ]
    for r in summary(rows):
        asked = GOALS[effort].get(r["vrmse"], "") if r["data"] == "all sets" else ""
        gain = f"**{r['gap']:.2f}**" if asked else f"{r['gap']:.2f}"
        lines.append(
            f"|{r['data']}|{r['vrmse']:g}|{r['ratio']:.2f}|{gain}|{r['least']:.2f}|{asked}|"
        )
    lost = [r for r in rows if gap(r) < 1]
    lines += ["", "## Cells that a peer wins", ""]
    lines += [
        f"- {r['data']}, {r['variable']} at {r['vrmse']:g}: {gap(r):.2f} of "
        f"{max(r['peers'], key=r['peers'].get)} ({r['bytes']} bytes and {r['records']} in the "
        "manifest)"
        for r in lost
    ] or ["None."]
    lines += ["", "## Fields", "", "|" + "|".join(["data", "variable", "VRMSE", "xphys", *names])]
    lines[-1] += "|gain|"
    lines.append("|---" * (5 + len(names)) + "|")
    for r in sorted(rows, key=lambda r: -r["vrmse"]):
        cells = [r["data"], r["variable"], f"{r['vrmse']:g}", f"{r['xphys']:.2f}"]
        cells += [f"{r['peers'][n]:.2f}" if r["peers"].get(n) else "" for n in names]
        lines.append("|" + "|".join([*cells, f"{gap(r):.2f}"]) + "|")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="part of the name of one data set; nothing is written")
    parser.add_argument("--effort", choices=tuple(GOALS), default="normal")
    parser.add_argument("--video", action="store_true", help="x265 too")
    parser.add_argument("--keep-peers", action="store_true", help="take theirs from the last run")
    arguments = parser.parse_args()
    name = "compression" if arguments.effort == "normal" else f"compression_{arguments.effort}"
    path = RESULTS / f"{name}.json"
    last = RESULTS / "compression.json"
    known = json.loads(last.read_text())["rows"] if arguments.keep_peers else []
    rows = measure(arguments.only, arguments.effort, peers_of(arguments.video), known)
    machine = describe(("xphys", "numpy", "scipy", "numba", "zarr", "pysz", "imagecodecs", "zfpy"))
    text = markdown(rows, machine, arguments.effort)
    if arguments.only:
        sys.stdout.write(text)
        return
    RESULTS.mkdir(exist_ok=True)
    result = {"machine": machine, "rows": rows, "summary": summary(rows)}
    path.write_text(json.dumps(result, indent=1) + "\n")
    path.with_suffix(".md").write_text(text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
