"""Compression ratio beside other compressors under a bound on every point, in one run.

``python -m benchmarks.pointwise`` measures on the folder named by XPHYS_TEST_DATA and writes
``benchmarks/results/pointwise.json`` and ``.md``. Bounds are shares of the range of a variable.
Bytes of xphys are those of the coded chunks of a Zarr store that was written and read again, with
their records in its manifest; those of a peer the stream and 24 bytes.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from benchmarks._fields import fields
from benchmarks._machine import describe, machine_line
from benchmarks._peers import HEADER, POINT_PEERS, Peer, flatten
from benchmarks.compression import ASIDE, RESULTS, mean, stored_bytes
from xphys.codecs import AutoOptions, compress
from xphys.io import to_zarr

BOUNDS = (1e-2, 1e-3, 1e-4)


def largest(x: np.ndarray, y: np.ndarray) -> float:
    """Largest error over the range of x."""
    wide = x.astype(np.float64)
    return float(np.abs(wide - y).max() / np.ptp(wide))


def own(ds: xr.Dataset, bound: float) -> dict[str, float]:
    """Ratio of each variable from a store that was written and read again."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "c.zarr"
        to_zarr(compress(ds, max_rel=bound, options=AutoOptions(together=False)), store)
        read = xr.open_zarr(store)
        found = {}
        for name in map(str, ds.data_vars):
            error = largest(ds[name].values, read[name].values)
            if not error <= bound:
                raise SystemExit(f"{name}: {error} of the range is above {bound}")
            found[name] = ds[name].nbytes / sum(stored_bytes(store, name))
    return found


def theirs(peer: Peer, x: np.ndarray, bound: float) -> dict[str, float]:
    """Ratio, and the largest error over the bound, which not all of them keep."""
    x = flatten(x)
    x = x[None] if x.ndim == 2 and peer.frames else x
    data = peer.encode(x, bound * float(np.ptp(x)))
    error = largest(x, np.asarray(peer.decode(data, x.shape)).reshape(x.shape))
    return {"ratio": x.nbytes / (len(data) + HEADER), "over_bound": error / bound}


def measure(only: str | None) -> list[dict[str, Any]]:
    """One row per data set, variable and bound."""
    peers = [make() for make in POINT_PEERS.values()]
    rows = []
    for source, ds in fields():
        if (only and only.lower() not in source.lower()) or source in ASIDE:
            continue
        for bound in BOUNDS:
            for name, ratio in own(ds, bound).items():
                found = {p.name: theirs(p, ds[name].values, bound) for p in peers}
                gain = ratio / max(f["ratio"] for f in found.values())
                rows.append({"data": source, "variable": name, "bound": bound, "xphys": ratio,
                             "peers": found, "gain": gain})  # fmt: skip
                sys.stderr.write(f"{source} {name} {bound:g}: {ratio:.2f} {gain:.2f}\n")
    return rows


def markdown(rows: list[dict[str, Any]], machine: dict[str, Any]) -> str:
    """The table as text."""
    lines = [
        "# Compression ratio at equal largest error",
        "",
        f"{machine_line(machine)} Every variable by itself; bounds as shares of its range; bytes "
        "of the coded chunks and of their records in the manifest. Geometric means over the "
        f"variables. Gain: over the best of {', '.join(POINT_PEERS)} for each variable.",
        "",
        "|data (variables)|bound / range|xphys|SZ3|SPERR|SPERR 2-D|gain|least gain|"
        "largest error of SPERR / bound|",
        "|" + "---|" * 9,
    ]
    for source in dict.fromkeys(r["data"] for r in rows):
        for bound in BOUNDS:
            chosen = [r for r in rows if r["data"] == source and r["bound"] == bound]
            cells = [mean([r["xphys"] for r in chosen])]
            cells += [mean([r["peers"][p]["ratio"] for r in chosen]) for p in POINT_PEERS]
            gains = [r["gain"] for r in chosen]
            over = max(r["peers"]["SPERR"]["over_bound"] for r in chosen)
            numbers = [*cells, mean(gains), min(gains), over]
            text = "|".join(f"{v:.3g}" for v in numbers)
            lines.append(f"|{source} ({len(chosen)})|{bound:g}|{text}|")
    lost = [r for r in rows if r["gain"] < 1]
    lines += ["", "Variables for which a peer is smaller:", ""]
    lines += [f"- {r['data']}, {r['variable']} at {r['bound']:g}: {r['gain']:.2f}" for r in lost]
    return "\n".join([*lines, *([] if lost else ["None."])]) + "\n"


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="part of the name of one data set; nothing is written")
    arguments = parser.parse_args()
    rows = measure(arguments.only)
    machine = describe(("xphys", "numpy", "numba", "zarr", "pysz", "imagecodecs"))
    text = markdown(rows, machine)
    sys.stdout.write(text)
    if not arguments.only:
        (RESULTS / "pointwise.json").write_text(
            json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n"
        )
        (RESULTS / "pointwise.md").write_text(text)


if __name__ == "__main__":
    main()
