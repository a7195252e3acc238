"""``xphys repair``: damaged objects computed again, or an unfinished change undone."""

from __future__ import annotations

from typing import Annotated

import typer
import xarray as xr

from xphys import codecs, io, schema
from xphys.cli._open import Untrusted, open_source
from xphys.cli._output import AsJson
from xphys.cli._progress import ProgressBar
from xphys.cli.verify import ExistingStore, Group, report

__all__ = ["repair"]


def repair(
    store: ExistingStore,
    source: Annotated[
        str | None,
        typer.Argument(help="What the store was written from; without it, a change is undone."),
    ] = None,
    group: Group = None,
    untrusted: Untrusted = False,
    as_json: AsJson = False,
) -> None:
    """Compute damaged objects again from the source, or undo an append that was not finished.

    Compression is repeated as the store's provenance records it.

    Example: xphys repair small.zarr "run/*.bin"
    """
    ds = None if source is None else _as_written(store, source, group, untrusted)
    with ProgressBar("repairing"):
        mended = io.repair(store, ds, group=group)
    if not as_json:
        typer.echo(f"{store}: {mended.sizes['chunk']} objects mended")
    report(mended, as_json)


def _as_written(store: str, source: str, group: str | None, untrusted: bool) -> xr.Dataset:
    ds = open_source(source, untrusted)
    place = store if group is None else f"{store.rstrip('/')}/{group}"
    for step in schema.provenance(io.open(place, strict=False)):
        if step["operation"] == "compress":
            asked = dict(step["parameters"])
            options = codecs.AutoOptions.from_dict(asked.pop("options", {}))
            ds = codecs.compress(ds, **asked, options=options)
    return ds
