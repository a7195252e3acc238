"""Wavenumbers, units and names of spectra."""

from __future__ import annotations

import numpy as np
import xarray as xr

from xphys.schema import Axis
from xphys.spectra._box import Box, shell_centres, shell_complete
from xphys.spectra._options import Options
from xphys.spectra._quantities import Job
from xphys.spectra._units import product_units, wavenumber_units

__all__ = ["flux", "labelled", "scale"]


def scale(box: Box, chosen: Options) -> float:
    """Factor from sums over shells to the convention that was asked for."""
    if chosen.kind == "modal_mean":
        return float(np.prod(box.sizes, dtype=np.float64)) ** 2
    if chosen.convention != "density":
        return 1.0
    if chosen.kind == "2d":
        return float(np.prod([length / (2 * np.pi) for length in box.lengths]))
    return 1.0 / box.step


def labelled(
    result: xr.DataArray, job: Job, axes: list[Axis], box: Box, chosen: Options
) -> xr.DataArray:
    """Wavenumbers, units and long_name for the sums of one job."""
    lengths = _length_units(job, axes)
    if chosen.kind == "2d":
        coords = {
            f"wavenumber_{a.name}": _signed(a, lengths[i], f"angular wavenumber along {a.name}")
            for i, a in enumerate(axes)
        }
    else:
        coords = _wavenumbers(box, lengths[0], chosen.kind)
    result = result.assign_coords(coords).rename(job.name)
    kind = "" if chosen.kind == "isotropic" else f" ({chosen.kind.replace('_', ' ')})"
    result.attrs["long_name"] = f"{job.about}{kind}"
    density = chosen.convention == "density" and chosen.kind != "modal_mean"
    powers = [(u, 1) for u in (lengths if chosen.kind == "2d" else lengths[:1])] if density else []
    if chosen.kind != "modal_mean":
        powers.append((lengths[0], job.length))
    units = product_units([*job.units, *powers])
    return result if units is None else result.assign_attrs(units=units)


def flux(
    transfer: xr.DataArray, job: Job, axes: list[Axis], box: Box, chosen: Options
) -> xr.DataArray:
    """Energy per time that leaves the shells up to each one for larger wavenumbers."""
    step = box.step if chosen.convention == "density" else 1.0
    result = -(transfer * step).cumsum("wavenumber", skipna=False).assign_coords(transfer.coords)
    result = result.rename("flux")
    result.attrs = {
        "long_name": job.about.replace("transfer", "flux", 1) + " to larger wavenumbers"
    }
    units = product_units([*job.units, (_length_units(job, axes)[0], job.length)])
    return result if units is None else result.assign_attrs(units=units)


def _length_units(job: Job, axes: list[Axis]) -> list[str | None]:
    field = job.terms[0].fields[0]
    units = [field.coords[a.name].attrs.get("units") for a in axes]
    known = all(u is not None for u in units)
    return [str(u) if known else None for u in units]


def _wavenumbers(box: Box, units: str | None, kind: str) -> dict[str, xr.Variable]:
    cells = kind == "modal_mean"
    attrs = {"long_name": "wavenumber in radians per cell" if cells else "angular wavenumber"}
    unit = "1" if cells else wavenumber_units(units)
    if unit is not None:
        attrs["units"] = unit
    about = {"long_name": "shell not beyond the smallest Nyquist wavenumber"}
    return {
        "wavenumber": xr.Variable("wavenumber", shell_centres(box), attrs),
        "complete": xr.Variable("wavenumber", shell_complete(box), about),
    }


def _signed(a: Axis, units: str | None, about: str) -> xr.Variable:
    numbers = np.arange(a.size) - a.size // 2
    attrs = {"long_name": about}
    unit = wavenumber_units(units)
    if unit is not None:
        attrs["units"] = unit
    return xr.Variable(f"wavenumber_{a.name}", 2 * np.pi / a.length * numbers, attrs)
