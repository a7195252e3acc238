"""``xphys stats``: statistics of a source, kept beside it."""

from __future__ import annotations

from typing import Annotated, Any

import typer
import xarray as xr

from xphys import stats as functions
from xphys.cli._open import Untrusted, open_source
from xphys.cli._output import AsJson, Source, emit_json, number, print_table
from xphys.cli._progress import ProgressBar
from xphys.cli._select import listed
from xphys.errors import FormatError, SchemaError
from xphys.schema import provenance

__all__ = ["stats"]

_COLUMNS = ("mean", "std", "min", "max", "rms", "nan_count")


def stats(
    source: Source,
    variables: Annotated[
        str | None, typer.Option(help="Variables, with commas; by default all numbers.")
    ] = None,
    skipna: Annotated[bool, typer.Option("--skipna", help="Leave NaN out.")] = False,
    output: Annotated[
        str | None, typer.Option(help="File to keep them in; by default SOURCE.stats.json.")
    ] = None,
    save: Annotated[bool, typer.Option("--save/--no-save", help="Keep them in a file.")] = True,
    force: Annotated[bool, typer.Option("--force", help="Compute also what is there.")] = False,
    untrusted: Untrusted = False,
    as_json: AsJson = False,
) -> None:
    """Compute mean, deviation, extremes and rms of each variable once, and keep them.

    Statistics that are there already are shown if they are of the data as they are now, and
    computed again if not. Exit code 1 if there are NaN and no --skipna.

    Example: xphys stats run.zarr
    """
    ds = open_source(source, untrusted)
    names = listed(variables)
    found, place = None, output or (functions.place(ds) if save else None)
    if place is not None and not force:
        found = _kept(ds, place, names, skipna)
    computed = found is None
    if found is None:
        with ProgressBar("reading"):
            found = functions.statistics(ds, names, skipna=skipna).compute()
        if place is not None and save:
            functions.save(found, ds, place)
    rows = _rows(found)
    if as_json:
        emit_json({"file": place if save else None, "computed": computed, "variables": rows})
    else:
        print_table(
            f"Statistics of {source}",
            ("variable", *_COLUMNS, "units"),
            [
                [r["variable"], *(number(r[c], 6) for c in _COLUMNS), r["units"] or "-"]
                for r in rows
            ],
        )
    if not skipna and any(row["nan_count"] for row in rows):
        typer.echo("xphys: there are NaN: --skipna leaves them out", err=True)
        raise typer.Exit(1)


def _kept(ds: xr.Dataset, place: str, names: list[str] | None, skipna: bool) -> xr.Dataset | None:
    """What was kept, if it answers the same question about the same data."""
    try:
        found = functions.load(ds, place)
    except (FileNotFoundError, FormatError, SchemaError):
        return None
    wanted = functions.statistics(ds, names, skipna=skipna)
    same = found["variable"].values.tolist() == wanted["variable"].values.tolist()
    return found if same and _skips(found) == skipna else None


def _skips(found: xr.Dataset) -> bool:
    steps = [step for step in provenance(found) if step["operation"] == "statistics"]
    return bool(steps[-1]["parameters"]["skipna"])


def _rows(found: xr.Dataset) -> list[dict[str, Any]]:
    keys = ("vector", "component", "units", "count", *_COLUMNS)
    return [
        {"variable": name, **{key: found[key].values[i].item() for key in keys}}
        for i, name in enumerate(found["variable"].values.tolist())
    ]
