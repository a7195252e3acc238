"""The table of commands, and what happens to their errors."""

from __future__ import annotations

import sys
import warnings
from typing import Annotated, Any

import typer

from xphys._version import __version__
from xphys.cli.analyze import analyze
from xphys.cli.compare import compare
from xphys.cli.compress import compress
from xphys.cli.convert import convert
from xphys.cli.demo import demo
from xphys.cli.features import features
from xphys.cli.info import info
from xphys.cli.repair import repair
from xphys.cli.spectra import spectra
from xphys.cli.stats import stats
from xphys.cli.validate import validate
from xphys.cli.verify import verify
from xphys.cli.virtual import virtual
from xphys.errors import XphysError

__all__ = ["app", "main"]

COMMANDS = (
    demo,
    info,
    validate,
    convert,
    compress,
    compare,
    analyze,
    verify,
    repair,
    spectra,
    features,
    stats,
    virtual,
)


class _Commands(typer.core.TyperGroup):
    """Group in which a caller's mistake is one line on stderr and exit code 2."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (XphysError, OSError) as error:
            message = " ".join(str(error).split()) or type(error).__name__
            typer.echo(f"xphys: {message}", err=True)
            raise typer.Exit(2) from error


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"xphys {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Physics simulations as labelled, lazy, verified data: open, check, convert, compress.

    Exit codes: 0 done, 1 findings or a bound that is not met, 2 wrong usage or bad input.
    """


for _command in COMMANDS:
    app.command()(_command)


def main() -> None:
    """Run the command line."""
    # A warning is for the reader of the terminal: one line, without the place in our source.
    warnings.formatwarning = lambda message, *_, **__: f"xphys: {message}\n"
    sys.exit(app())
