"""``xphys compare``: how far one source is from another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
import xarray as xr

from xphys import codecs, plotting
from xphys.cli._compare_report import make_folder, write_report
from xphys.cli._open import Untrusted, open_source
from xphys.cli._output import AsJson, emit_json
from xphys.cli._progress import ProgressBar
from xphys.cli._report import measure, print_rows, rows
from xphys.errors import XphysError

__all__ = ["compare"]


def compare(
    test: Annotated[str, typer.Argument(help="Source to judge, e.g. a compressed store.")],
    reference: Annotated[str, typer.Argument(help="Source that counts as the truth.")],
    figure: Annotated[
        Path | None, typer.Option(help="Save a picture: fields, error and spectra.")
    ] = None,
    variable: Annotated[str | None, typer.Option(help="Variable of the picture.")] = None,
    report: Annotated[
        Path | None, typer.Option(help="Folder for report.md, all scores and pictures.")
    ] = None,
    rate_distortion: Annotated[
        bool,
        typer.Option(
            "--rate-distortion", help="Add bits per value at several error bounds, from a sample."
        ),
    ] = False,
    untrusted: Untrusted = False,
    as_json: AsJson = False,
) -> None:
    """Measure errors, spectra and drift of one source against another.

    --report adds all scores and the distances of the distributions, with pictures of the fields,
    the densities, the spectra and the changes over time, and the numbers that are drawn as JSON.

    Example: xphys compare small.zarr run.zarr --report report --rate-distortion
    """
    if rate_distortion and report is None:
        raise XphysError("--rate-distortion belongs to a report: give --report FOLDER too")
    new, old = open_source(test, untrusted), open_source(reference, untrusted)
    if report is not None:
        make_folder(report)
    with ProgressBar("comparing"):
        comparison = measure(
            new,
            old,
            report=False if report is None else variable or True,
            rate_distortion=_curve(new, old) if rate_distortion else None,
        )
        if figure is not None:
            drawn = plotting.compare_figure(new, old, variable=variable, comparison=comparison)
            try:
                drawn.savefig(figure)
            except ValueError as error:  # an ending that matplotlib does not know
                raise XphysError(f"cannot save a picture as {figure}: {error}") from error
        if report is not None:
            write_report(report, new, old, comparison, variable)
    found = rows(comparison)
    if as_json:
        emit_json({"variables": found, "figure": None if figure is None else str(figure)})
    else:
        print_rows(f"{test} against {reference}", found)


def _curve(test: xr.Dataset, reference: xr.Dataset) -> xr.Dataset:
    """Of the variables that both have."""
    common = [n for n, v in reference.data_vars.items() if n in test and v.dtype.kind in "fiu"]
    return codecs.rate_distortion(reference, variables=common)
