"""``xphys compare``: how far one source is from another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xphys import plotting
from xphys.cli._compare_report import write_report
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
    untrusted: Untrusted = False,
    as_json: AsJson = False,
) -> None:
    """Measure errors, spectra and drift of one source against another.

    --report adds all scores and the distances of the distributions, with a picture of the fields
    and one of the densities.

    Example: xphys compare small.zarr run.zarr --figure errors.png
    """
    new, old = open_source(test, untrusted), open_source(reference, untrusted)
    with ProgressBar("comparing"):
        comparison = measure(new, old)
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
