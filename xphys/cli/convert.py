"""``xphys convert``: any source to any format that can be written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import dask
import typer
import xarray as xr

from xphys._storage import expand
from xphys.accessors import bytes_text
from xphys.cli._open import Untrusted, open_source
from xphys.cli._output import AsJson, Source, emit_json
from xphys.cli._progress import ProgressBar
from xphys.cli._select import advice, select, sizes
from xphys.cli._targets import Format, Request, format_of
from xphys.errors import XphysError

__all__ = ["Overwrite", "convert"]

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]


def convert(
    source: Source,
    target: Annotated[
        str,
        typer.Argument(help="A .zarr, .icechunk, .nc, .hdf5 (The Well) or .h5 (Gust)."),
    ],
    to: Annotated[
        str | None,
        typer.Option(help="Format, whatever the ending: zarr, icechunk, netcdf, the_well, gust."),
    ] = None,
    each: Annotated[
        bool, typer.Option("--each", help="Each match of SOURCE by itself, into the folder TARGET.")
    ] = False,
    variables: Annotated[
        str | None, typer.Option(help="Variables or vectors, with commas; by default all.")
    ] = None,
    time: Annotated[
        str | None, typer.Option(help="START:STOP[:STEP], numbers of steps from 0, without STOP.")
    ] = None,
    time_values: Annotated[
        str | None, typer.Option(help="START:STOP as times, both included.")
    ] = None,
    factor: Annotated[int, typer.Option(min=1, help="Cells per new cell along each axis.")] = 1,
    method: Annotated[
        str, typer.Option(help="block (means over cells) or spectral (cut Fourier series).")
    ] = "block",
    chunks: Annotated[
        list[str] | None, typer.Option(help="Inner chunks, dim=size with commas; -1 for whole.")
    ] = None,
    shards: Annotated[
        list[str] | None, typer.Option(help="Shards, dim=size with commas, of whole chunks.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads; by default all.")] = None,
    cluster: Annotated[
        int, typer.Option(min=0, help="Workers of a local cluster instead of threads.")
    ] = 0,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Go on with a write that was stopped.")
    ] = True,
    overwrite: Overwrite = False,
    untrusted: Untrusted = False,
    as_json: AsJson = False,
) -> None:
    """Write any source that xphys opens in another format, losslessly.

    A write that was stopped goes on where it was when the same command runs again.

    Example: xphys convert "run/*.bin" run.zarr --chunks time=16 --shards time=256

    Example: xphys convert run.zarr small.nc --variables velocity --time 50:500 --factor 2

    Example: xphys convert "mri128/seed_*" converted --each --to zarr --cluster 8
    """
    wanted = {"chunks": sizes("chunks", chunks), "shards": sizes("shards", shards)}
    found = _format(target, to, each)
    jobs = [
        (one, Request(place, overwrite, resume, **wanted))
        for one, place in _jobs(source, target, found, each)
    ]
    for one, request in jobs:
        found.check(request, one)
    with _workers(threads, cluster) as client:
        done = [
            _convert(open_source(one, untrusted), one, request, found, client, as_json, {
                "variables": variables,
                "time": time,
                "time_values": time_values,
                "factor": factor,
                "method": method,
            })
            for one, request in jobs
        ]  # fmt: skip
    if as_json:
        emit_json({"stores": done} if each else done[0])


def _format(target: str, to: str | None, each: bool) -> Format:
    if each and to is None:
        raise XphysError("--each writes into a folder: name the format with --to")
    return format_of(target, to)


def _jobs(source: str, target: str, found: Format, each: bool) -> Iterator[tuple[str, str]]:
    """Sources and where they go."""
    if not each:
        yield source, target
        return
    paths = expand(source)
    names = _names(paths)
    if "://" not in target:
        os.makedirs(target, exist_ok=True)
    for path, name in zip(paths, names, strict=True):
        yield path, f"{target.rstrip('/')}/{name}{found.end}"


def _names(paths: list[str]) -> list[str]:
    """What tells the paths from each other, as names: ``a/seed_1/bin`` becomes ``seed_1``."""
    parts = [path.rstrip("/").split("/") for path in paths]
    while len(parts) > 1 and len({part[-1] for part in parts}) == 1 and len(parts[0]) > 1:
        parts = [part[:-1] for part in parts]
    names = [os.path.splitext(part[-1])[0] for part in parts]
    if len(set(names)) < len(names):
        names = ["_".join(part[-2:]) for part in parts]
    if len(set(names)) < len(names):
        raise XphysError(f"expected sources with different names, found {names[:4]}: give fewer")
    return names


def _convert(
    ds: xr.Dataset,
    source: str,
    request: Request,
    found: Format,
    client: Any,
    as_json: bool,
    part: dict[str, Any],
) -> dict[str, Any]:
    ds = select(ds, **part)
    said = advice(ds, request.chunks, request.shards) if found.takes else []
    if not as_json:
        for line in said:
            typer.echo(f"xphys: {line}", err=True)
    label = f"converting {os.path.basename(source.rstrip('/'))}"
    with ProgressBar(label, client=client):
        found.write(ds, request)
    stored = found.stored(request)
    if not as_json:
        held = "" if stored is None else f" in {bytes_text(stored)}"
        typer.echo(f"{request.target}: {bytes_text(ds.nbytes)} of data{held}")
    sizes_of = {str(dim): n for dim, n in ds.sizes.items()}
    return {
        "store": request.target,
        "format": found.name,
        "bytes": ds.nbytes,
        "stored_bytes": stored,
        "sizes": sizes_of,
        "advice": said,
    }


@contextmanager
def _workers(threads: int | None, cluster: int) -> Iterator[Any]:
    """Threads of this process, or processes of a cluster on this machine and their client."""
    if cluster:
        from distributed import Client

        with Client(  # type: ignore[no-untyped-call]
            n_workers=cluster, threads_per_worker=threads, dashboard_address=":0"
        ) as client:
            typer.echo(f"xphys: {cluster} workers, see {client.dashboard_link}", err=True)
            yield client
        return
    with dask.config.set({"scheduler": "threads", "num_workers": threads} if threads else {}):
        yield None
