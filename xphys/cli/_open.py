"""The one place where commands open what a user names."""

from __future__ import annotations

from typing import Annotated

import typer
import xarray as xr

from xphys import io

__all__ = ["Untrusted", "open_source"]

Untrusted = Annotated[
    bool,
    typer.Option(
        "--untrusted", help="Read in child processes with limits: the file may be made to do harm."
    ),
]


def open_source(source: str, untrusted: bool = False) -> xr.Dataset:
    """Open a source lazily, as `xphys.open` does.

    Parameters
    ----------
    source : str
        Path, glob, folder or URL.
    untrusted : bool
        What ``--untrusted`` says.
    """
    return io.open(source, untrusted=untrusted)
