"""``xphys convert``: any source to lossless Zarr."""

from __future__ import annotations

from typing import Annotated

import typer

from xphys import io
from xphys.accessors import bytes_text
from xphys.cli._output import AsJson, Source, Store, emit_json
from xphys.cli._progress import ProgressBar
from xphys.cli._report import total_stored
from xphys.cli._write import check_target

__all__ = ["Overwrite", "convert"]

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a store that is there.")]


def convert(
    source: Source, store: Store, overwrite: Overwrite = False, as_json: AsJson = False
) -> None:
    """Write any source that xphys opens as a Zarr store, losslessly.

    Example: xphys convert "run/*.bin" run.zarr
    """
    check_target(store, source=source, overwrite=overwrite)
    ds = io.open(source)
    with ProgressBar("converting"):
        io.to_zarr(ds, store, mode="w" if overwrite else "w-")
    stored = total_stored(io.open(store))
    if as_json:
        emit_json({"store": store, "bytes": ds.nbytes, "stored_bytes": stored})
    else:
        typer.echo(f"{store}: {bytes_text(ds.nbytes)} of data in {bytes_text(stored)}")
