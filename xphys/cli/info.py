"""``xphys info``: what is in a source, from its metadata."""

from __future__ import annotations

from typing import Annotated

import typer
import xarray as xr

from xphys import schema
from xphys.accessors import facts, sections, summarize
from xphys.cli._invariants import invariant_rows, print_invariants
from xphys.cli._open import Untrusted, open_source
from xphys.cli._output import AsJson, Source, emit_json, print_table

__all__ = ["info"]


def info(
    source: Source,
    invariants: Annotated[
        bool, typer.Option("--invariants", help="Integrate over space too: reads all data.")
    ] = False,
    untrusted: Untrusted = False,
    as_json: AsJson = False,
) -> None:
    """Show dimensions, variables, sizes, parameters, vectors and provenance.

    Reads metadata and the parameters only, unless --invariants asks for mass, energies and other
    integrals at the first and the last time, and how far they drift.

    Example: xphys info run.zarr
    """
    ds = _with_parameters(open_source(source, untrusted))
    found = {**summarize(ds), "provenance": schema.provenance(ds)}
    if invariants:
        found["invariants"] = invariant_rows(ds)
    if as_json:
        emit_json(found)
        return
    typer.echo(facts(found))
    for section in sections(found):
        print_table(section.title, section.header, section.rows)
    if invariants:
        print_invariants(found["invariants"])
    steps = [(step["operation"], _arguments(step)) for step in found["provenance"]]
    print_table("Provenance", ("operation", "parameters"), steps)


def _with_parameters(ds: xr.Dataset) -> xr.Dataset:
    small = [n for n, c in ds.coords.items() if set(c.dims) <= set(schema.ENSEMBLE_DIMS)]
    return ds.assign_coords({name: ds[name].load() for name in small})


def _arguments(step: dict[str, object]) -> str:
    parameters = step.get("parameters")
    if not isinstance(parameters, dict):
        return ""
    return ", ".join(f"{name}={value}" for name, value in parameters.items())
