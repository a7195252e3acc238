"""``xphys analyze``: reconstructions of flows, gaps between resolutions, lasting turbulence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
import xarray as xr

from xphys import metrics, plotting
from xphys.cli._open import Untrusted, open_source
from xphys.cli._output import AsJson, emit_json, number, print_table
from xphys.cli._progress import ProgressBar
from xphys.errors import SchemaError, XphysError

__all__ = ["analyze"]


def analyze(
    test: Annotated[str, typer.Argument(help="Reconstruction, coarse run, or history.")],
    reference: Annotated[
        str | None, typer.Argument(help="The truth, or the fine run; none: does a run last?")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder for metrics.json, reports and pictures.")
    ] = None,
    variable: Annotated[
        str | None, typer.Option(help="Vorticity or vector; by default the first that both have.")
    ] = None,
    bins: Annotated[int, typer.Option(help="Bins of the histogram.")] = 100,
    range_: Annotated[
        str | None, typer.Option("--range", help="LOW,HIGH of the histogram: saves a second read.")
    ] = None,
    samples: Annotated[
        str | None, typer.Option(help="START:STOP, numbers of samples from 0, STOP left out.")
    ] = None,
    gap: Annotated[
        bool, typer.Option("--gap", help="Compare two resolutions of the same run.")
    ] = False,
    method: Annotated[str, typer.Option(help="How --gap degrades: block or spectral.")] = "block",
    mid: Annotated[
        str | None, typer.Option(help="FIRST,LAST of the middle window, in periods.")
    ] = None,
    late: Annotated[str | None, typer.Option(help="FIRST,LAST of the late window.")] = None,
    period: Annotated[float | None, typer.Option(help="Time of one orbit.")] = None,
    untrusted: Untrusted = False,
    as_json: AsJson = False,
) -> None:
    """Analyse a reconstruction against the truth, a gap between resolutions, or one run's energy.

    With --output a reconstruction leaves metrics.json, tke_spectrum.png, enstrophy_spectrum.png and
    pixel_histogram.png there; --gap gap.md and gap.png; a run alone sustained.md.

    Example: xphys analyze decoded.zarr run.zarr --variable omega --output analysis
    """
    new = open_source(test, untrusted)
    old = None if reference is None else open_source(reference, untrusted)
    if gap and old is None:
        raise SchemaError("--gap takes two runs: give the other one too")
    _make(output)
    if old is None:
        windows = _two("mid", mid), _two("late", late)
        with ProgressBar("reading"):
            found = metrics.sustained(
                new, variable=variable, mid=windows[0], late=windows[1], period=period
            ).compute()
        _energy(found, output, as_json)
    elif gap:
        names = None if variable is None else [variable]
        with ProgressBar("comparing"):
            found = metrics.domain_gap(new, old, names, method=method, bins=bins).compute()
        _gap(found, output, as_json)
    else:
        with ProgressBar("analysing"):
            found = metrics.analyze(
                new, old, variable, bins=bins, range=_two("range", range_), samples=_span(samples)
            ).compute()
        _reconstruction(found, output, as_json)


def _two(option: str, text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise SchemaError(f"--{option} takes two numbers, such as 30,50, got {text!r}") from None
    return low, high


def _span(text: str | None) -> tuple[int | None, int | None] | None:
    if text is None:
        return None
    try:
        start, stop = (int(part) if part.strip() else None for part in text.split(":"))
    except ValueError:
        raise SchemaError(f"--samples takes START:STOP, such as 0:64, got {text!r}") from None
    return start, stop


def _make(output: Path | None) -> None:
    if output is None:
        return
    if output.exists() and not output.is_dir():
        raise XphysError(f"{output} is a file: choose a folder")
    output.mkdir(parents=True, exist_ok=True)


def _reconstruction(found: xr.Dataset, output: Path | None, as_json: bool) -> None:
    numbers = metrics.analysis_metrics(found)
    if output is not None:
        text = json.dumps(numbers, indent=2) + "\n"
        (output / "metrics.json").write_text(text, encoding="utf-8")
        for name, figure in plotting.analysis_figures(found).items():
            figure.savefig(output / f"{name}.png")
    if as_json:
        lines = {
            key: found[key].transpose("origin", ...).values
            for key in ("tke_spectrum", "enstrophy_spectrum", "pixel_histogram")
        }
        emit_json(
            {**numbers, "origin": found["origin"].values, "wavenumber": found["wavenumber"].values}
            | lines
        )
        return
    flat = {"samples": numbers["n_samples"], "MSE": numbers["mse"]["mean"],
            "deviation of MSE": numbers["mse"]["std"], "JS": numbers["pixel"]["js_divergence"],
            "TV": numbers["pixel"]["tv_distance"]}  # fmt: skip
    print_table("Reconstruction", tuple(flat), [[number(v, 4) for v in flat.values()]])


def _gap(found: xr.Dataset, output: Path | None, as_json: bool) -> None:
    report = metrics.gap_report(found)
    if output is not None:
        (output / "gap.md").write_text(report, encoding="utf-8")
        plotting.gap_figure(found).savefig(output / "gap.png")
    if as_json:
        keys = ("std", "min", "max", "std_ratio", "l2_gap", "correlation", "js_divergence",
                "tv_distance", "ks_distance", "wasserstein")  # fmt: skip
        document: dict[str, Any] = {key: found[key].transpose("variable", ...).values
                                    for key in keys}  # fmt: skip
        names = {"variable": found["variable"].values, "origin": found["origin"].values}
        emit_json(names | document)
        return
    typer.echo(report)


def _energy(found: xr.Dataset, output: Path | None, as_json: bool) -> None:
    report = metrics.sweep_report(found)
    if output is not None:
        (output / "sustained.md").write_text(report, encoding="utf-8")
    if as_json:
        keys = ("mid_energy", "late_energy", "ratio", "peak_time", "verdict")
        windows = {key: found.attrs[key] for key in ("windows_in", "mid", "late")}
        emit_json({key: found[key].values for key in keys} | windows)
        return
    typer.echo(report)
