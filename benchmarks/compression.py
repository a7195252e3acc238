"""Compression ratio beside SZ3, SPERR and zfp at equal VRMSE, in one run.

``python -m benchmarks.compression`` measures on the folder named by XPHYS_TEST_DATA and writes
``benchmarks/results/compression.json`` and ``.md``. A ratio counts float32 bytes over the coded
chunks in a Zarr store; for peers over the stream and 24 bytes for shape, dtype and tolerance.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from benchmarks._fields import fields
from benchmarks._machine import describe
from benchmarks._peers import PEERS, best_ratio, vrmse
from xphys.codecs import compress
from xphys.io import to_zarr

TARGETS = (1e-1, 1e-2, 1e-3)
RESULTS = Path(__file__).parent / "results"


def own_ratios(ds: xr.Dataset, target: float) -> dict[str, float]:
    """Ratio of each variable from a store that was written and read again."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "c.zarr"
        to_zarr(compress(ds, vrmse=target), store)
        read = xr.open_zarr(store)
        ratios = {}
        for name in map(str, ds.data_vars):
            error = vrmse(ds[name].values, read[name].values)
            if not error <= target:
                raise SystemExit(f"{name}: VRMSE {error} is above {target}")
            chunks = (store / name / "c").rglob("*")
            ratios[name] = ds[name].nbytes / sum(p.stat().st_size for p in chunks if p.is_file())
    return ratios


def measure(only: str | None = None) -> list[dict[str, Any]]:
    """One row per data set, variable and target."""
    peers = {name: make() for name, make in PEERS.items()}
    rows = []
    for source, ds in fields():
        if only and only.lower() not in source.lower():
            continue
        for target in TARGETS:
            own = own_ratios(ds, target)
            for name, ratio in own.items():
                row = {"data": source, "variable": name, "vrmse": target, "xphys": ratio}
                for peer in peers.values():
                    row[peer.name] = best_ratio(peer, ds[name].values, target)
                rows.append(row)
                sys.stderr.write(f"{source} {name} {target:g}: {ratio:.1f}\n")
    return rows


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Geometric means over the variables of a data set, then over data sets."""
    out = []
    names = ["xphys", *PEERS]
    for target in TARGETS:
        per_set = []
        for source in dict.fromkeys(r["data"] for r in rows):
            chosen = [r for r in rows if r["data"] == source and r["vrmse"] == target]
            means = {n: _mean([r[n] for r in chosen]) for n in names}
            per_set.append({"data": source, "vrmse": target, **means})
        total = {n: _mean([r[n] for r in per_set]) for n in names}
        out += [*per_set, {"data": "all (geometric mean)", "vrmse": target, **total}]
    return out


def _mean(values: list[float]) -> float:
    return math.exp(float(np.mean([math.log(max(v, 1e-9)) for v in values])))


def markdown(rows: list[dict[str, Any]], machine: dict[str, Any]) -> str:
    """The tables as text."""
    lines = [
        "# Compression ratio at equal VRMSE",
        "",
        f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}, "
        + ", ".join(f"{k} {v}" for k, v in machine["versions"].items())
        + f"; {machine['date']}. Method `transform`, bounds kept in every chunk; peers code the "
        "whole variable (leading axes joined to three). Gap: xphys over the best peer.",
        "",
    ]
    for title, table, key in (
        ("Data sets", summary(rows), None),
        ("Fields", sorted(rows, key=lambda r: -r["vrmse"]), "variable"),
    ):
        head = ["data", *([key] if key else []), "VRMSE", "xphys", *PEERS, "gap", "over zfp"]
        lines += [f"## {title}", "", "|".join(["", *head, ""]), "|" + "---|" * len(head)]
        for r in table:
            best = max(r[n] for n in PEERS)
            cells = [r["data"], *([r[key]] if key else []), f"{r['vrmse']:g}"]
            cells += [f"{r[n]:.2f}" for n in ("xphys", *PEERS)]
            cells += [f"{r['xphys'] / best:.2f}", f"{r['xphys'] / r['zfp']:.2f}"]
            lines.append("|".join(["", *cells, ""]))
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="part of the name of one data set; nothing is written")
    arguments = parser.parse_args()
    rows = measure(arguments.only)
    machine = describe(("xphys", "numpy", "scipy", "zarr", "pysz", "imagecodecs", "zfpy"))
    text = markdown(rows, machine)
    if arguments.only:
        sys.stdout.write(text)
        return
    RESULTS.mkdir(exist_ok=True)
    result = {"machine": machine, "rows": rows, "summary": summary(rows)}
    (RESULTS / "compression.json").write_text(json.dumps(result, indent=1) + "\n")
    (RESULTS / "compression.md").write_text(text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
