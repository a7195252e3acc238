"""``xphys demo``: the whole way on real simulation output, checked by a plain reader."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer
import xarray as xr

from xphys import codecs, io, plotting
from xphys.accessors import bytes_text
from xphys.cli import _plain_reader
from xphys.cli._output import AsJson, emit_json, number, print_table
from xphys.cli._progress import ProgressBar
from xphys.cli._report import COLUMNS, cells, measure, rows, total_stored
from xphys.cli._write import check_target
from xphys.errors import XphysError

__all__ = ["demo"]

BOUNDS = (1e-2, 1e-1)
DRAWN = 1e-2


def demo(
    output: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("xphys-demo"),
    as_json: AsJson = False,
) -> None:
    """Compress real turbulence at two error bounds, read it back in a new process, measure it.

    Opens AthenaK output of magnetorotational turbulence that comes with xphys, writes Zarr
    stores and a picture to the output folder; exit code 1 if a bound is not met.

    Example: xphys demo --output xphys-demo
    """
    lossless = output / "lossless.zarr"
    for store in (lossless, *(output / _name(bound) for bound in BOUNDS)):
        check_target(store, overwrite=True)
    output.mkdir(parents=True, exist_ok=True)
    with ProgressBar("reading AthenaK files"):
        source = _source()
        io.to_zarr(source, lossless, mode="w")
    results = [_compressed(source, output, lossless, bound) for bound in BOUNDS]
    figure = _draw(output, lossless)
    report = {
        "variables": len(source.data_vars),
        "bytes": source.nbytes,
        "lossless": str(lossless),
        "lossless_bytes": total_stored(io.open(str(lossless))),
        "results": results,
        "figure": str(figure),
    }
    if as_json:
        emit_json(report)
    else:
        _show(report)
    if not all(result["met"] for result in results):
        raise typer.Exit(1)


def _source() -> xr.Dataset:
    return io.open(str(files("xphys") / "data" / "mri_64"))


def _compressed(source: xr.Dataset, output: Path, lossless: Path, bound: float) -> dict[str, Any]:
    """Compress at one bound; every number comes from the store, opened again."""
    store = output / _name(bound)
    with ProgressBar(f"compressing at VRMSE {bound:g}"):
        io.to_zarr(codecs.compress(source, vrmse=bound), store, mode="w")
    plain = _read_plainly(store, lossless)
    written = io.open(str(store))
    with ProgressBar("measuring"):
        found = rows(measure(written, io.open(str(lossless))))
    for row in found:
        row["vrmse_plain_reader"] = plain[row["variable"]]
    met = all(row["vrmse"] <= bound and row["vrmse_plain_reader"] <= bound for row in found)
    size = total_stored(written)
    return {
        "vrmse": bound,
        "met": met,
        "store": str(store),
        "stored_bytes": size,
        "ratio": source.nbytes / size,
        "variables": found,
    }


def _name(bound: float) -> str:
    return f"vrmse_{bound:g}.zarr"


def _read_plainly(store: Path, lossless: Path) -> dict[str, float]:
    """VRMSE of each variable, by a new process that imports xarray and numpy only."""
    # -P: the folder of the script must not shadow modules of the same name.
    command = [sys.executable, "-P", str(_plain_reader.__file__), str(store), str(lossless)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise XphysError(f"plain xarray could not read {store}: {reason[0]}")
    errors: dict[str, float] = json.loads(done.stdout)
    return errors


def _draw(output: Path, lossless: Path) -> Path:
    test, reference = io.open(str(output / _name(DRAWN))), io.open(str(lossless))
    path = output / "demo.png"
    variable = "magnetic_field_x" if "magnetic_field_x" in reference else None
    plotting.compare_figure(test, reference, variable=variable).savefig(path)
    return path


def _show(report: dict[str, Any]) -> None:
    table = []
    for result in report["results"]:
        for row in result["variables"]:
            plain = number(row["vrmse_plain_reader"])
            table.append([f"{result['vrmse']:g}", row["variable"], *cells(row), plain])
    title = f"AthenaK, {report['variables']} variables, {bytes_text(report['bytes'])}"
    print_table(title, ("bound", "variable", *COLUMNS, "VRMSE (plain xarray)"), table)
    lossless = bytes_text(report["lossless_bytes"])
    typer.echo(f"lossless {lossless} in {report['lossless']}")
    for result in report["results"]:
        verdict = "met by every variable" if result["met"] else "NOT MET"
        typer.echo(
            f"VRMSE {result['vrmse']:g} {verdict}: {bytes_text(result['stored_bytes'])}, "
            f"ratio {result['ratio']:.3g}, in {result['store']}"
        )
    typer.echo(f"picture in {report['figure']}")
