"""Whole Datasets beside the best peer of each field, at equal VRMSE per field, in one run.

``python -m benchmarks.datasets`` measures on the folder named by XPHYS_TEST_DATA and writes
``benchmarks/results/datasets.json`` and ``.md``. Bytes of xphys are those of the coded chunks in
a Zarr store that was written and read again by plain ``xr.open_zarr``; of a peer, those of its
streams and 24 for shape, dtype and tolerance. "apart" codes every variable by itself.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import xarray as xr

import xphys
from benchmarks._fields import data_folder
from benchmarks._machine import describe, machine_line
from benchmarks._peers import FRAME_PEERS, PEERS, best_ratio, vrmse
from xphys.codecs import AutoOptions, compress
from xphys.coding.predict import bases_of
from xphys.io import to_zarr

TARGETS = (1e-1, 1e-2, 1e-3)
RESULTS = Path(__file__).parent / "results"
SOURCES = {
    "Rayleigh-Benard": "dedalus/snapshots",
    "Rayleigh-Benard, short gaps": "dedalus/rayleigh_benard_2d.nc",
    "MRI 64": "athenak/mri_64",
    "MRI 128": "athenak/mri_128",
}


def sources(only: str | None) -> dict[str, xr.Dataset]:
    """The Datasets as a user opens them, float32, in memory."""
    root = data_folder()
    if root is None:
        raise SystemExit("expected simulation output in the folder named by XPHYS_TEST_DATA")
    chosen = {n: p for n, p in SOURCES.items() if not only or only.lower() in n.lower()}
    return {n: xphys.open(root / p).astype("float32").load() for n, p in chosen.items()}


def own_bytes(ds: xr.Dataset, target: float, together: bool, effort: str) -> dict[str, Any]:
    """Bytes of each variable from a store that was written and read again."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "c.zarr"
        start = time.perf_counter()
        options = AutoOptions(together=together)
        to_zarr(compress(ds, vrmse=target, effort=effort, options=options), store)
        wrote = time.perf_counter()
        read = xr.open_zarr(store).load()
        done = time.perf_counter()
        sizes, bases = {}, {}
        for name in map(str, ds.data_vars):
            error = vrmse(ds[name].values, read[name].values)
            if not error <= target:
                raise SystemExit(f"{name}: VRMSE {error} is above {target}")
            chunks = [p for p in (store / name / "c").rglob("*") if p.is_file()]
            sizes[name] = sum(p.stat().st_size for p in chunks)
            bases[name] = sorted({b for p in chunks for b in bases_of(p.read_bytes())})
        everything = sum(p.stat().st_size for p in store.rglob("*") if p.is_file())
    seconds = {"write": wrote - start, "read": done - wrote}
    return {"bytes": sizes, "bases": bases, "store": everything, "seconds": seconds}


def measure(only: str | None, effort: str) -> list[dict[str, Any]]:
    """One row per data set and target."""
    peers = {name: make() for name, make in (PEERS | FRAME_PEERS).items()}
    rows = []
    for source, ds in sources(only).items():
        raw = {str(n): int(v.nbytes) for n, v in ds.data_vars.items()}
        for target in TARGETS:
            row: dict[str, Any] = {"data": source, "vrmse": target, "raw": raw}
            row["together"] = own_bytes(ds, target, True, effort)
            row["apart"] = own_bytes(ds, target, False, effort)
            row["peers"] = {}
            for name, size in raw.items():
                found = {p: best_ratio(peer, ds[name].values, target) for p, peer in peers.items()}
                best = max(found, key=lambda p: found[p])
                row["peers"][name] = {"peer": best, "bytes": size / found[best]}
            rows.append(row)
            sys.stderr.write(f"{source} {target:g}: {ratios(row)}\n")
    return rows


def ratios(row: dict[str, Any]) -> dict[str, float]:
    """Ratios of a whole Dataset and what lies between them."""
    raw = sum(row["raw"].values())
    out = {
        "peers": raw / sum(p["bytes"] for p in row["peers"].values()),
        "apart": raw / sum(row["apart"]["bytes"].values()),
        "together": raw / sum(row["together"]["bytes"].values()),
    }
    out["over peers"] = out["together"] / out["peers"]
    out["of which together"] = out["together"] / out["apart"]
    return out


def markdown(rows: list[dict[str, Any]], machine: dict[str, Any], effort: str) -> str:
    """The tables as text."""
    lines = [
        "# Whole Datasets at equal VRMSE per field",
        "",
        f"{machine_line(machine)} Effort `{effort}`. float32 bytes over coded bytes of all "
        "variables of a Dataset; peers: for each field the best of "
        + ", ".join(PEERS | FRAME_PEERS)
        + ".",
        "",
        "|data|VRMSE|best peer per field|xphys, apart|xphys, together|together over peers|"
        "together over apart|write MB/s|read MB/s|metadata kB|",
        "|" + "---|" * 10,
    ]
    for row in rows:
        r, size = ratios(row), sum(row["raw"].values())
        seconds = row["together"]["seconds"]
        beside = row["together"]["store"] - sum(row["together"]["bytes"].values())
        cells = [row["data"], f"{row['vrmse']:g}"]
        cells += [f"{r[k]:.2f}" for k in ("peers", "apart", "together")]
        cells += [f"**{r['over peers']:.2f}**", f"{r['of which together']:.2f}"]
        cells += [f"{size / 1e6 / seconds[k]:.1f}" for k in ("write", "read")]
        lines.append("|".join(["", *cells, f"{beside / 1e3:.0f}", ""]))
    lines += ["", "## Fields, bytes", ""]
    lines += ["|data|VRMSE|variable|best peer|apart|together|told from|", "|" + "---|" * 7]
    for row in rows:
        for name in row["raw"]:
            peer = row["peers"][name]
            cells = [row["data"], f"{row['vrmse']:g}", name, f"{peer['bytes']:.0f} {peer['peer']}"]
            cells += [str(row[k]["bytes"][name]) for k in ("apart", "together")]
            lines.append("|".join(["", *cells, ", ".join(row["together"]["bases"][name]), ""]))
    return "\n".join([*lines, ""])


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="part of the name of one data set; nothing is written")
    parser.add_argument("--effort", default="normal", help="as in compress")
    arguments = parser.parse_args()
    rows = measure(arguments.only, arguments.effort)
    machine = describe(("xphys", "numpy", "scipy", "zarr", "pysz", "imagecodecs", "zfpy"))
    text = markdown(rows, machine, arguments.effort)
    if arguments.only or arguments.effort != "normal":
        sys.stdout.write(text)
        return
    RESULTS.mkdir(exist_ok=True)
    result = {"machine": machine, "rows": rows, "ratios": [ratios(row) for row in rows]}
    (RESULTS / "datasets.json").write_text(json.dumps(result, indent=1) + "\n")
    (RESULTS / "datasets.md").write_text(text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
