"""``xphys virtual``: references to netCDF4 and HDF5 files instead of a copy."""

from __future__ import annotations

from typing import Annotated

import typer

from xphys import io
from xphys.accessors import bytes_text
from xphys.cli._output import AsJson, emit_json
from xphys.cli._progress import ProgressBar
from xphys.cli.convert import Overwrite

__all__ = ["virtual"]


def virtual(
    files: Annotated[list[str], typer.Argument(help="netCDF4 or HDF5 files, globs or URLs.")],
    store: Annotated[str, typer.Argument(help="Folder or Icechunk URL of the new repository.")],
    group: Annotated[str | None, typer.Option(help="Group in each file.")] = None,
    concat_dim: Annotated[
        str | None, typer.Option(help="Dimension along which the files follow each other.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Write references to the chunks of netCDF4 or HDF5 files: a small store that reads like Zarr.

    Example: xphys virtual "run/*.nc" run.icechunk
    """
    with ProgressBar("looking into the files"):
        ds = io.virtual(
            files, store, group=group, concat_dim=concat_dim, mode="w" if overwrite else "w-"
        )
    sizes = {str(dim): size for dim, size in ds.sizes.items()}
    if as_json:
        emit_json({"store": store, "bytes": ds.nbytes, "sizes": sizes})
    else:
        shown = ", ".join(f"{dim} {size}" for dim, size in sizes.items())
        typer.echo(f"{store}: refers to {bytes_text(ds.nbytes)} ({shown})")
