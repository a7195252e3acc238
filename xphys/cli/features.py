"""``xphys features``: features of a source as numbers or a file, and the list of all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
import xarray as xr

from xphys import features as functions
from xphys import io
from xphys.cli._open import Untrusted, open_source
from xphys.cli._output import AsJson, emit_json, number, print_table
from xphys.cli._progress import ProgressBar
from xphys.cli._select import listed
from xphys.errors import XphysError

__all__ = ["features"]


def features(
    source: Annotated[
        str | None, typer.Argument(help="Path, glob, folder or URL of data; none to list names.")
    ] = None,
    families: Annotated[
        str | None, typer.Option(help="Families, with commas; by default those of the 153.")
    ] = None,
    names: Annotated[str | None, typer.Option(help="Names, with commas.")] = None,
    level: Annotated[str, typer.Option(help="trajectory, step or aggregated.")] = "trajectory",
    over_realizations: Annotated[
        str, typer.Option(help="For aggregated: of mean, std, cv, min, max, with commas.")
    ] = "mean,std,cv",
    over_time: Annotated[
        str | None, typer.Option(help="Features of steps by mean, std, min, max or final.")
    ] = None,
    variables: Annotated[
        str | None, typer.Option(help="Variables, with commas; by default all fields.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Write .nc, .zarr or .csv.")] = None,
    untrusted: Untrusted = False,
    as_json: AsJson = False,
) -> None:
    """Describe steps and trajectories of fields by named numbers.

    Without a source all features are listed, with --json the register with all definitions.

    Example: xphys features run.zarr --level aggregated --output features.nc
    """
    if source is None:
        _list(listed(families), listed(names), as_json)
        return
    if output is not None and output.suffix not in (".nc", ".zarr", ".csv"):
        raise XphysError(f"cannot write {output}, expected an ending .nc, .zarr or .csv")
    ds = open_source(source, untrusted)
    if (chosen := listed(variables)) is not None:
        missing = [name for name in chosen if name not in ds.data_vars]
        if missing:
            raise XphysError(f"expected variables out of {list(ds.data_vars)}, got {missing}")
        ds = ds[chosen]
    timed = listed(over_time)
    result = functions.features(
        ds,
        listed(families),
        listed(names),
        level=level,
        over_realizations=listed(over_realizations) or (),
        over_time=timed[0] if timed is not None and len(timed) == 1 else timed,
    )
    with ProgressBar("describing"):
        result = result.compute()
    if output is not None:
        _write(result, output)
    rows = _rows(result)
    undefined = json.loads(result.attrs["undefined"])
    if as_json:
        sizes = {str(dim): int(n) for dim, n in result.sizes.items()}
        found = {"source": source, "level": level, "sizes": sizes, "features": rows}
        emit_json({**found, "undefined": undefined, "output": None if output is None else
                   str(output)})  # fmt: skip
        return
    print_table(
        f"Features of {source}",
        ("number", "name", "family", "mean", "min", "max", "valid"),
        [
            [str(r["number"]), r["name"], r["family"], *(number(r[c], 6) for c in
             ("mean", "min", "max")), number(r["valid_fraction"])]
            for r in rows
        ],
    )  # fmt: skip
    print_table("Undefined for these data", ("name", "reason"), list(undefined.items()))


def _list(families: list[str] | None, names: list[str] | None, as_json: bool) -> None:
    registry = functions.registry()
    if as_json:
        typer.echo(registry.to_json())
        return
    for family in families or ():
        registry.select(family=family)
    chosen = [
        registry[name]
        for name in (names or registry)
        if families is None or registry[name].family in families
    ]
    print_table(
        f"Features, definitions {functions.DEFINITION_VERSION}",
        ("number", "name", "family", "level", "definition"),
        [[str(f.number), f.name, f.family, f.level, f.definition] for f in chosen],
    )


def _write(result: xr.DataArray, path: Path) -> None:
    if path.suffix == ".csv":
        kept = result.drop_vars([c for c in result.coords if c not in result.dims])
        frame = kept.to_dataframe()["features"].unstack("feature")
        frame = frame[list(result["feature"].values)]
        frame.to_csv(path)
        return
    ds = result.to_dataset(name="features")
    truths = {name: c.astype("int8") for name, c in ds.coords.items() if c.dtype == bool}
    ds = ds.assign_coords(truths)  # netCDF has no truth values
    if path.suffix == ".zarr":
        io.to_zarr(ds, str(path), mode="w")
    else:
        ds.to_netcdf(path, engine="netcdf4")


def _rows(result: xr.DataArray) -> list[dict[str, Any]]:
    over = [dim for dim in result.dims if dim != "feature"]
    means = result.mean(over)
    least, most = result.min(over), result.max(over)
    valid = result["valid_fraction"].mean(over)
    return [
        {
            "number": int(result["number"][i]),
            "name": str(result["feature"].values[i]),
            "family": str(result["family"].values[i]),
            "mean": float(means[i]),
            "min": float(least[i]),
            "max": float(most[i]),
            "valid_fraction": float(valid[i]),
        }
        for i in range(result.sizes["feature"])
    ]
