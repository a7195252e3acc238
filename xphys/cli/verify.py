"""``xphys verify``: every object of a store against its manifest."""

from __future__ import annotations

from typing import Annotated

import typer
import xarray as xr

from xphys import io
from xphys.cli._output import AsJson, emit_json, print_table
from xphys.cli._progress import ProgressBar

__all__ = ["ExistingStore", "Group", "report", "verify"]

ExistingStore = Annotated[str, typer.Argument(help="Zarr store: a path or URL.")]
Group = Annotated[str | None, typer.Option(help="Group inside the store.")]


def verify(
    store: ExistingStore,
    group: Group = None,
    seal: Annotated[
        bool, typer.Option("--seal", help="Accept what is there: make a new manifest first.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Read every object of a store and hold it against the manifest; exit code 1 if one differs.

    Example: xphys verify run.zarr
    """
    with ProgressBar("verifying"):
        rows = io.verify(store, group=group, seal=seal)
    bad = rows.isel(chunk=rows.state.values != "ok")
    if not as_json:
        typer.echo(f"{store}: {rows.sizes['chunk']} objects, {bad.sizes['chunk']} not as written")
    report(bad, as_json, objects=rows.sizes["chunk"])
    if bad.sizes["chunk"]:
        raise typer.Exit(1)


def report(rows: xr.Dataset, as_json: bool, **more: int) -> None:
    """Print rows as a table, or as JSON."""
    names = ("state", "variable", "key", "bytes")
    lines = list(zip(*(rows[name].values.tolist() for name in names), strict=True))
    if as_json:
        emit_json({**more, "found": [dict(zip(names, line, strict=True)) for line in lines]})
    else:
        print_table("", names, [tuple(map(str, line)) for line in lines])
