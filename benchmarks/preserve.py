"""Invariants with and without ``preserve``, on data read back from a store: drift and bytes.

``python -m benchmarks.preserve`` measures on the folder named by XPHYS_TEST_DATA and writes
``benchmarks/results/preserve.json`` and ``.md``. Drift is the largest over all fields (everything
along space at one time): of a sum against the sum of magnitudes, of a sum of squares, of the
integral of density times velocity, and of a divergence (root mean square and largest value) as a
multiple of that of the original in the operator in which the original diverges least.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import xphys
from benchmarks._fields import data_folder
from benchmarks._machine import describe, machine_line
from xphys.codecs import AutoOptions, compress
from xphys.io import to_zarr
from xphys.schema import axis, vectors

RESULTS = Path(__file__).parent / "results"
VRMSE = 1e-2
SOURCES = {
    "MRI 64": "athenak/mri_64",
    "MRI 128": "athenak/mri_128",
    "Rayleigh-Benard": "dedalus/rayleigh_benard_2d.nc",
    "2-D turbulence": "py2d/py2d_turbulence_2d.nc",
    "3-D Navier-Stokes": "exponax/decaying_navier_stokes_3d.nc",
}
KEPT = {
    "nothing": (),
    "mean, energy": ("mean", "energy"),
    "mean, energy, momentum, divergence": ("mean", "energy", "momentum", "divergence_free"),
}


def own(ds: xr.Dataset, preserve: tuple[str, ...], together: bool) -> tuple[xr.Dataset, Any]:
    """What plain xarray reads back, bytes of each variable's chunks, and seconds."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "c.zarr"
        options = AutoOptions(together=together)
        start = time.perf_counter()
        to_zarr(compress(ds, vrmse=VRMSE, preserve=preserve, options=options), store)
        wrote = time.perf_counter()
        read = xr.open_zarr(store).load()
        done = time.perf_counter()
        sizes = {
            str(n): sum(p.stat().st_size for p in (store / str(n) / "c").rglob("*") if p.is_file())
            for n in ds.data_vars
        }
    return read, {"bytes": sizes, "write_s": wrote - start, "read_s": done - wrote}


def _slope(values: np.ndarray, along: int, ds: xr.Dataset, dim: str, stencil: str) -> np.ndarray:
    """Derivative along an axis: spectral, Chebyshev, central, or between cells."""
    where = axis(ds, dim)
    n = values.shape[along]
    if not where.periodic:
        nodes = -np.cos(np.pi * (np.arange(n) + 0.5) / n)
        series = np.polynomial.chebyshev.chebvander(nodes, n - 1)
        slopes = np.stack(
            [np.polynomial.chebyshev.chebval(nodes, np.polynomial.chebyshev.chebder(row))
             for row in np.eye(n)], 1,
        )  # fmt: skip
        matrix = slopes @ np.linalg.inv(series)
        half = (where.coordinate[-1] - where.coordinate[0]) / (nodes[-1] - nodes[0])
        return np.moveaxis(np.tensordot(matrix / half, values, (1, along)), 0, along)
    if stencil == "c":
        step = where.length / n
        return (np.roll(values, -1, along) - np.roll(values, 1, along)) / (2 * step)
    if stencil == "f":
        return (np.roll(values, -1, along) - values) * (n / where.length)
    m = np.fft.rfftfreq(n, 1 / n)
    m[2 * m == n] = 0
    shape = (-1,) + (1,) * (values.ndim - 1 - along)
    modes = np.fft.rfft(values, axis=along) * (2j * np.pi / where.length * m).reshape(shape)
    return np.fft.irfft(modes, n, axis=along)


def divergence(ds: xr.Dataset, parts: dict[str, Any], dims: list[str], stencil: str) -> np.ndarray:
    """Of a vector, fields and all."""
    total: Any = 0.0
    for dim in dims:
        values = ds[parts[dim]].values.astype(np.float64)
        along = {d: ds[parts[dim]].dims.index(d) for d in dims}
        for other in dims:
            if stencil == "f" and other != dim:
                values = (np.roll(values, -1, along[other]) + values) / 2
        total = total + _slope(values, along[dim], ds, dim, stencil)
    return np.asarray(total)


def levels(x: xr.Dataset, y: xr.Dataset) -> dict[str, Any]:
    """For each vector the stencil, and root mean square and peak over those of the original."""
    out = {}
    for name, parts in vectors(x).items():
        dims = [str(d) for d in x[next(iter(parts.values()))].dims if d in ("z", "y", "x")]
        if name not in ("velocity", "magnetic_field") or not set(dims) <= set(parts):
            continue
        walls = any(not axis(x, d).periodic for d in dims)
        square = {
            s: float((divergence(x, parts, dims, s) ** 2).mean()) for s in ("s" if walls else "fcs")
        }
        best = min(square, key=lambda s: square[s])
        a, b = (divergence(d, parts, dims, best) for d in (x, y))
        space = tuple(range(1, a.ndim))
        rms = np.sqrt((b * b).mean(axis=space) / (a * a).mean(axis=space))
        peak = np.abs(b).max(axis=space) / np.abs(a).max(axis=space)
        out[name] = {"stencil": best, "rms": float(rms.max()), "peak": float(peak.max())}
    return out


def drifts(x: xr.Dataset, y: xr.Dataset) -> dict[str, Any]:
    """Largest drift of each kind over variables and fields."""
    space = [d for d in ("z", "y", "x") if d in x.dims]
    sums, squares, momenta = 0.0, 0.0, 0.0
    for name in x.data_vars:
        a, b = x[name].astype("f8"), y[name].astype("f8")
        sums = max(sums, float((np.abs((b - a).sum(space)) / np.abs(a).sum(space)).max()))
        lost = np.abs((b * b).sum(space) - (a * a).sum(space)) / (a * a).sum(space)
        squares = max(squares, float(lost.max()))
    if "density" in x:
        for part in vectors(x).get("velocity", {}).values():
            a, b = (d["density"].astype("f8") * d[part].astype("f8") for d in (x, y))
            lost = np.abs(b.sum(space) - a.sum(space)) / np.abs(a).sum(space)
            momenta = max(momenta, float(lost.max()))
    return {"mean": sums, "energy": squares, "momentum": momenta, "divergence": levels(x, y)}


def measure(only: str | None) -> list[dict[str, Any]]:
    """One row per data set, way of coding and set of invariants."""
    root = data_folder()
    if root is None:
        raise SystemExit("expected simulation output in the folder named by XPHYS_TEST_DATA")
    rows = []
    for source, path in SOURCES.items():
        if only and only.lower() not in source.lower():
            continue
        ds = xphys.open(root / path).load()
        for together in (False, True) if len(ds.data_vars) > 1 else (False,):
            for kept, names in KEPT.items():
                if "divergence_free" in names and "velocity" not in vectors(ds):
                    continue
                read, found = own(ds, names, together)
                row = {"data": source, "together": together, "kept": kept, **found}
                rows.append(row | {"drift": drifts(ds, read)})
                sys.stderr.write(f"{source}, {together}, {kept}: {sum(found['bytes'].values())}\n")
    return rows


def markdown(rows: list[dict[str, Any]], machine: dict[str, Any]) -> str:
    """The table as text."""
    lines = [
        "# What preserve keeps, and what it costs",
        "",
        machine_line(machine) + f" VRMSE {VRMSE:g}; bytes of the chunks of all variables. Drift: "
        "largest over all fields; divergence over that of the original, root mean square / peak "
        "(s spectral or Chebyshev, c central, f face averages).",
        "",
        "|data|coded|kept|bytes|more|mean|energy|momentum|divergence|write s|read s|",
        "|" + "---|" * 11,
    ]
    plain = {
        (r["data"], r["together"]): sum(r["bytes"].values()) for r in rows if r["kept"] == "nothing"
    }
    for row in rows:
        size, base = sum(row["bytes"].values()), plain[row["data"], row["together"]]
        found = row["drift"]
        cells = [row["data"], "together" if row["together"] else "apart", row["kept"], str(size)]
        cells.append(f"{100 * (size / base - 1):+.2f} %")
        cells += [f"{found[k]:.1e}" if found[k] else "" for k in ("mean", "energy", "momentum")]
        cells.append(
            "; ".join(
                f"{n} ({v['stencil']}) {v['rms']:.3g} / {v['peak']:.3g}"
                for n, v in found["divergence"].items()
            )
        )
        lines.append("|".join(["", *cells, f"{row['write_s']:.1f}", f"{row['read_s']:.1f}", ""]))
    return "\n".join([*lines, ""])


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="part of the name of one data set; nothing is written")
    arguments = parser.parse_args()
    rows = measure(arguments.only)
    machine = describe(("xphys", "numpy", "scipy", "zarr"))
    text = markdown(rows, machine)
    if not arguments.only:
        RESULTS.mkdir(exist_ok=True)
        result = {"machine": machine, "vrmse": VRMSE, "rows": rows}
        (RESULTS / "preserve.json").write_text(json.dumps(result, indent=1) + "\n")
        (RESULTS / "preserve.md").write_text(text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
