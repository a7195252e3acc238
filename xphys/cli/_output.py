"""What all commands share: options, JSON on stdout, tables."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

__all__ = ["AsJson", "Source", "Store", "console", "emit_json", "number", "print_table"]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON only, for machines.")]
Source = Annotated[str, typer.Argument(help="Path, glob, folder or URL of data.")]
Store = Annotated[str, typer.Argument(help="Zarr store to write: a path or URL.")]


def console(*, stderr: bool = False) -> Console:
    """Terminal to print to; made at the call, so that redirected streams are honoured."""
    found = Console(stderr=stderr)
    # Tables in a pipe or a log are to be read too: do not fold them to 80 columns.
    return found if found.is_terminal else Console(stderr=stderr, width=max(found.width, 160))


def emit_json(value: Any) -> None:
    """Write one JSON document to stdout; NaN and infinity become null."""
    typer.echo(json.dumps(_plain(value), indent=2, allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def number(value: float | None, digits: int = 3) -> str:
    """A measured number for a table; ``-`` where there is none."""
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.{digits}g}"


def print_table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; nothing for one without rows."""
    table = Table(*header, title=escape(title), title_justify="left", box=box.SIMPLE_HEAD)
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    if table.row_count:
        console().print(table)
