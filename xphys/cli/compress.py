"""``xphys compress``: a source to a compressed store within error bounds."""

from __future__ import annotations

from typing import Annotated, Any

import typer
import xarray as xr

from xphys import codecs, io
from xphys.accessors import bytes_text
from xphys.cli._bounds import broken, parse_bound
from xphys.cli._open import Untrusted, open_source
from xphys.cli._output import AsJson, Source, Store, emit_json
from xphys.cli._progress import ProgressBar
from xphys.cli._report import measure, print_rows, rows
from xphys.cli._write import check_target
from xphys.cli.convert import Overwrite
from xphys.errors import BoundError

__all__ = ["compress"]

# What codecs.compress keeps when no bound is given.
DEFAULT_VRMSE = 1e-2
_SCOPES = ("variable", "chunk")
_FORM = "number, or variable=number; may be repeated"


def _bound(text: str) -> Any:
    return typer.Option(help=f"{text} ({_FORM}).", show_default=False, metavar="BOUND")


def compress(
    source: Source,
    store: Store,
    vrmse: Annotated[list[str] | None, _bound("Error norm over deviation")] = None,
    rel_l2: Annotated[list[str] | None, _bound("Error norm over norm")] = None,
    max_abs: Annotated[list[str] | None, _bound("Largest error")] = None,
    max_rel: Annotated[list[str] | None, _bound("Largest error over range")] = None,
    psnr: Annotated[list[str] | None, _bound("Peak signal-to-noise ratio in dB")] = None,
    pointwise_rel: Annotated[list[str] | None, _bound("Largest error over value")] = None,
    method: Annotated[str, typer.Option(help="Method of coding.")] = "auto",
    effort: Annotated[
        str, typer.Option(help="How long to search for the smallest: fast, normal or max.")
    ] = "normal",
    scope: Annotated[
        str,
        typer.Option(help="What bounds hold for: variable, chunk, or dims with commas (y,x)."),
    ] = "variable",
    preserve: Annotated[
        str,
        typer.Option(
            help="Invariants to keep, with commas: mean, energy, momentum, divergence_free, "
            "positivity, spectrum (spectrum=0.01 for another tolerance)."
        ),
    ] = "",
    variables: Annotated[
        str | None, typer.Option(help="Variables to compress, with commas; others lossless.")
    ] = None,
    overwrite: Overwrite = False,
    untrusted: Untrusted = False,
    as_json: AsJson = False,
) -> None:
    """Compress a source within error bounds, read the store back and check the bounds.

    Without a bound: --vrmse 1e-2.

    Example: xphys compress run.zarr small.zarr --vrmse 1e-2 --max-abs density=1e-3
    """
    check_target(store, source=source, overwrite=overwrite)
    ds = open_source(source, untrusted)
    asked = {
        "vrmse": vrmse,
        "rel_l2": rel_l2,
        "max_abs": max_abs,
        "max_rel": max_rel,
        "psnr": psnr,
        "pointwise_rel": pointwise_rel,
    }
    chosen = [v for v in variables.split(",") if v] if variables is not None else None
    names = chosen or [str(name) for name in ds.data_vars]
    bounds: dict[str, Any] = {
        kind: parse_bound(kind, entries, names) for kind, entries in asked.items()
    }
    compressed = codecs.compress(
        ds,
        **bounds,
        method=method,
        effort=effort,
        scope=scope if scope in _SCOPES else tuple(d for d in scope.split(",") if d),
        preserve=_preserve(preserve),
        variables=chosen,
    )
    with ProgressBar("compressing"):
        io.to_zarr(compressed, store, mode="w" if overwrite else "w-")
    with ProgressBar("checking"):
        written = io.open(store)
        found = rows(measure(written, ds))
        if all(bound is None for bound in bounds.values()) and method != "lossless":
            bounds["vrmse"] = DEFAULT_VRMSE
        failures = broken(bounds, [r for r in found if r["variable"] in names], written, ds)
    _report(store, ds, found, failures, as_json)
    if failures:
        raise typer.Exit(1)


def _preserve(text: str) -> dict[str, float | None]:
    """Names, some with a tolerance."""
    found: dict[str, float | None] = {}
    for entry in filter(None, text.split(",")):
        name, equals, value = entry.partition("=")
        try:
            found[name] = float(value) if equals else None
        except ValueError:
            raise BoundError(
                f"expected a name or name=tolerance for --preserve, got {entry!r}"
            ) from None
    return found


def _report(
    store: str, ds: xr.Dataset, found: list[dict[str, Any]], failures: list[str], as_json: bool
) -> None:
    stored = int(sum(row.get("bytes", 0) for row in found))
    if as_json:
        sizes = {"store": store, "bytes": ds.nbytes, "stored_bytes": stored}
        emit_json({**sizes, "variables": found, "bounds_not_met": failures})
        return
    print_rows(f"{store}: {bytes_text(ds.nbytes)} of data in {bytes_text(stored)}", found)
    for failure in failures:
        typer.echo(f"xphys: bound not met: {failure}", err=True)
