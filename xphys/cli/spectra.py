"""``xphys spectra``: spectra of a source as numbers, a file or a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
import xarray as xr

from xphys import io, plotting
from xphys import spectra as functions
from xphys.cli._open import Untrusted, open_source
from xphys.cli._output import AsJson, Source, emit_json, number, print_table
from xphys.cli._progress import ProgressBar
from xphys.cli._select import listed
from xphys.errors import XphysError
from xphys.schema import axis, spatial_dims

__all__ = ["spectra"]

_WRITERS = (".nc", ".zarr")


def spectra(
    source: Source,
    variables: Annotated[
        str | None, typer.Option(help="Variables or vectors, with commas; by default all.")
    ] = None,
    dims: Annotated[
        str | None,
        typer.Option(help="Axes to transform, with commas; by default the spatial ones."),
    ] = None,
    kind: Annotated[str, typer.Option(help="isotropic, modal_mean, 1d or 2d.")] = "isotropic",
    quantity: Annotated[
        str, typer.Option(help="variance, energy, kinetic_energy, enstrophy, ..., transfer.")
    ] = "variance",
    window: Annotated[
        str | None, typer.Option(help="Taper of open axes: hann, tukey, blackman, ...")
    ] = None,
    detrend: Annotated[
        str | None, typer.Option(help="constant or linear, along open axes.")
    ] = None,
    convention: Annotated[str, typer.Option(help="density, sum or mean.")] = "density",
    mean: Annotated[
        bool, typer.Option("--mean", help="Average over time and all other dims left.")
    ] = False,
    memory: Annotated[str, typer.Option(help="Bytes that a task may use.")] = "1GB",
    output: Annotated[
        Path | None, typer.Option(help="Write .nc or .zarr, or a picture (.png, .pdf, .svg).")
    ] = None,
    untrusted: Untrusted = False,
    as_json: AsJson = False,
) -> None:
    """Compute spectra by wavenumber.

    Example: xphys spectra run.zarr --quantity energy --output spectra.png
    """
    ds = open_source(source, untrusted)
    chosen = listed(variables)
    result = functions.spectra(
        ds,
        chosen,
        dims=listed(dims) or _default_dims(ds, window),
        kind=kind,
        quantity=quantity,
        window=window,
        detrend=detrend,
        convention=convention,
        memory=memory,
    )
    if mean:
        rest = [d for d in result.dims if not str(d).startswith("wavenumber")]
        result = result.mean(rest, keep_attrs=True)
    with ProgressBar("transforming"):
        result = result.compute()
    if output is not None:
        _write(result, output)
    integrated = convention == "density" and kind in ("isotropic", "1d")
    found = [_row(result[name], integrated) for name in result.data_vars]
    if as_json:
        emit_json(_document(result, found, output))
        return
    print_table(
        f"Spectra of {source}",
        ("variable", "total", "units", "peak at k", "mean k", "shells"),
        [_cells(row) for row in found],
    )


def _default_dims(ds: xr.Dataset, window: str | None) -> list[str] | None:
    """The periodic axes where not all are: a spectrum over these needs no window."""
    if window is not None:
        return None
    named = [d for d in spatial_dims(ds) if d in ds.coords and ds.sizes[d] > 1]
    periodic = [d for d in named if axis(ds, d).periodic]
    return periodic if 0 < len(periodic) < len(named) else None


def _write(result: xr.Dataset, path: Path) -> None:
    if path.suffix == ".zarr":
        io.to_zarr(result, str(path), mode="w")
    elif path.suffix == ".nc":
        # netCDF has no truth values
        result.assign_coords(
            {name: c.astype("int8") for name, c in result.coords.items() if c.dtype == bool}
        ).to_netcdf(path, engine="netcdf4")
    else:
        try:
            plotting.spectra_figure(result).savefig(path)
        except ValueError as error:  # an ending that matplotlib does not know
            expected = f"{', '.join(_WRITERS)} or an ending of a picture"
            raise XphysError(f"cannot write {path}, expected {expected}: {error}") from error


def _row(field: xr.DataArray, integrated: bool) -> dict[str, Any]:
    """Total of the mean over all but the wavenumber (over dk for a density), and where it lies."""
    dims = [d for d in field.dims if not str(d).startswith("wavenumber")]
    line = field.mean(dims)
    row: dict[str, Any] = {"variable": str(field.name), "units": field.attrs.get("units")}
    if "wavenumber" not in line.dims:
        return row | {"shells": None}
    k = line["wavenumber"]
    row["shells"] = int(k.size)
    step = float(k[0]) if integrated and k.size else 1.0
    row["total"] = float(line.sum(skipna=False)) * step
    if k.size and bool(line.notnull().all()):
        row["peak_wavenumber"] = float(k[int(abs(line).argmax("wavenumber"))])
        if row["total"] > 0:
            row["mean_wavenumber"] = float((line * k).sum() / line.sum())
    return row


def _cells(row: dict[str, Any]) -> list[str]:
    shells = row["shells"]
    return [
        row["variable"],
        number(row.get("total"), 6),
        str(row["units"] or "-"),
        number(row.get("peak_wavenumber"), 4),
        number(row.get("mean_wavenumber"), 4),
        "-" if shells is None else str(shells),
    ]


def _document(
    result: xr.Dataset, found: list[dict[str, Any]], output: Path | None
) -> dict[str, Any]:
    """Rows, and the mean spectrum of each variable."""
    lines = {
        str(name): v.mean([d for d in v.dims if d != "wavenumber"]).values
        for name, v in result.data_vars.items()
        if "wavenumber" in v.dims
    }
    document: dict[str, Any] = {"variables": found, "spectra": lines}
    if "wavenumber" in result.coords:
        document["wavenumber"] = result["wavenumber"].values
        document["complete"] = result["complete"].values
    document["output"] = None if output is None else str(output)
    return document
