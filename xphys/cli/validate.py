"""``xphys validate``: findings of the data model."""

from __future__ import annotations

import dataclasses

import typer

from xphys import schema
from xphys.cli._open import Untrusted, open_source
from xphys.cli._output import AsJson, Source, emit_json

__all__ = ["validate"]


def validate(source: Source, untrusted: Untrusted = False, as_json: AsJson = False) -> None:
    """Check a source against the data model; exit code 1 if anything is found.

    Example: xphys validate "run/*.bin"
    """
    findings = schema.validate(open_source(source, untrusted))
    if as_json:
        emit_json([dataclasses.asdict(finding) for finding in findings])
    elif findings:
        typer.echo("\n".join(map(str, findings)))
    else:
        typer.echo("no findings")
    if findings:
        raise typer.Exit(1)
