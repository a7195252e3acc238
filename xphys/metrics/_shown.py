"""What the pictures of a comparison show: spectra, a section, integrals over time."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from xphys._dims import lift, stack
from xphys.errors import SchemaError, UnknownNameError
from xphys.fields import invariants
from xphys.metrics import _kernels as kernels
from xphys.metrics._pairs import Pairs
from xphys.schema import ENSEMBLE_DIMS, axis, spatial_dims
from xphys.spectra import spectra

__all__ = ["ATTRS", "estimated", "over_origins", "shown"]

ATTRS: dict[str, dict[str, str]] = {
    "spectrum": {"long_name": "power spectrum, variable squared times length"},
    "error_spectrum": {"long_name": "power spectrum of the error, variable squared times length"},
    "section": {"long_name": "values of one variable at one time"},
    "integral": {"long_name": "integral over space, mean of members"},
    "integral_drift": {"long_name": "largest change of an integral", "units": "1"},
    "estimated_bits": {
        "long_name": "size by an estimate over the number of values",
        "units": "bit",
    },
    "estimated_ratio": {"long_name": "estimated compression ratio", "units": "1"},
}
#: Points of a section along an axis: more than a picture of it can show.
LARGEST_SECTION = 512
_LENGTH = "volume"


def shown(pairs: Pairs, variable: Hashable | None) -> dict[str, xr.DataArray]:
    """What `compare` adds for a report, as far as the data have it.

    Parameters
    ----------
    pairs : mapping of name to (test, reference)
        On one grid.
    variable : str, optional
        Of the section.

    Returns
    -------
    dict of str to DataArray
        Those of spectrum, error_spectrum, section, integral, integral_drift that exist.
    """
    return _spectra(pairs) | _section(pairs, variable) | _integrals(pairs)


def estimated(curve: xr.Dataset, names: Iterable[Hashable]) -> dict[str, xr.DataArray]:
    """What a comparison keeps of a rate-distortion curve."""
    wanted = {"bits_per_value": "estimated_bits", "ratio": "estimated_ratio"}
    missing = [n for n in wanted if n not in curve or curve[n].dims != ("target", "variable")]
    if missing:
        raise SchemaError(
            f"expected the result of rate_distortion(), it has no {missing} on target and variable"
        )
    labels = [str(name) for name in names]
    return {new: curve[old].reindex(variable=labels) for old, new in wanted.items()}


def over_origins(values: Iterable[xr.DataArray]) -> xr.DataArray:
    """Values of the reference and of the test on a dim ``origin``."""
    origin = xr.DataArray(["reference", "test"], dims="origin", name="origin")
    return xr.concat(list(values), origin, coords="minimal", compat="override", join="outer")


def _spectra(pairs: Pairs) -> dict[str, xr.DataArray]:
    """Shell spectra of reference, test and error over the axes that have them."""
    both, errors, units = {}, {}, {}
    for name, (test, reference) in pairs.items():
        axes = [
            axis(reference, d)
            for d in spatial_dims(reference)
            if d in reference.coords and reference.sizes[d] > 1
        ]
        periodic = [a.name for a in axes if a.periodic]
        uniform = [a.name for a in axes if a.spacing == "uniform"]
        if not uniform:
            continue
        error = reference.copy(data=_real(test).data - _real(reference).data)
        lines = [
            spectra(f, dims=periodic or uniform, window=None if periodic else "hann")
            for f in (reference, test, error)
        ]
        means = [s.mean([d for d in s.dims if d != "wavenumber"], skipna=False) for s in lines]
        both[name], errors[name] = over_origins(means[:2]), means[2]
        units[name] = str(lines[0].attrs.get("units", ""))
    if not both:
        return {}
    names = list(pairs)
    named = ("variable", [units.get(name, "") for name in names])
    spectrum = stack(both, names).transpose("origin", ...).assign_coords(spectrum_units=named)
    return {"spectrum": spectrum, "error_spectrum": stack(errors, names)}


def _real(field: xr.DataArray) -> xr.DataArray:
    return field.astype(np.float64)


def _section(pairs: Pairs, variable: Hashable | None) -> dict[str, xr.DataArray]:
    names = [name for name, (_, r) in pairs.items() if spatial_dims(r)]
    if variable is not None and variable not in names:
        raise UnknownNameError(
            f"expected a real variable with spatial dims that both have, out of {names}, "
            f"got {variable!r}"
        )
    if not names:
        return {}
    name = names[0] if variable is None else variable
    test, reference = (_cut(field) for field in pairs[name])
    both = over_origins((reference, test))
    both.attrs = {}
    units = str(pairs[name][1].attrs.get("units", ""))
    return {"section": both.assign_coords(section_variable=str(name), section_units=units)}


def _cut(field: xr.DataArray) -> xr.DataArray:
    """The one or two dims that are drawn, the horizontal one last; the time as a coordinate."""
    space = spatial_dims(field)
    over_time = len(space) == 1 and field.sizes.get("time", 1) > 1
    kept: dict[str, Any] = {}
    if "time" in field.dims and not over_time:
        field = field.isel(time=-1)
    if "time" in field.coords and not field["time"].dims:
        kept["section_time"] = field["time"].variable
    if len(space) == 3:
        field = field.isel({space[0]: field.sizes[space[0]] // 2})
        if space[0] in field.coords:
            kept[f"section_{space[0]}"] = field[space[0]].variable
        space = space[1:]
    dims = ("time", *space) if over_time else space
    field = field.isel({d: 0 for d in field.dims if d not in dims}).transpose(*dims)
    steps = {d: slice(None, None, math.ceil(field.sizes[d] / LARGEST_SECTION)) for d in dims}
    values = _real(field.isel(steps).reset_coords(drop=True))
    return values.rename({d: f"section_{d}" for d in dims}).assign_coords(kept)


def _integrals(pairs: Pairs) -> dict[str, xr.DataArray]:
    """Integrals of both over time, and the change from one to the other."""
    try:
        old, new = (
            invariants(xr.Dataset({n: pair[i] for n, pair in pairs.items()}), scalars=True)
            for i in (1, 0)
        )
    except SchemaError:  # no spatial dim, or units that do not fit
        return {}
    names = [str(n) for n in old.data_vars if n in new.data_vars and _drawn(str(n))]
    if not names:
        return {}
    values, changes, units = {}, {}, []
    for name in names:
        r, t = (ds[name].reset_coords(drop=True) for ds in (old, new))
        members = [d for d in ENSEMBLE_DIMS if d in r.dims]
        scale = _scale(old, name)
        change: xr.DataArray = lift(
            kernels.divide, abs(t - r), scale, core_dims=[], output_core_dims=[[]],
            output_dtypes=[np.float64],
        )  # fmt: skip
        changes[name] = change.max(members, skipna=False)
        values[name] = over_origins(f.mean(members, skipna=False) for f in (r, t))
        units.append(str(old[name].attrs.get("units", "")))
    stacked = stack(values, names, "invariant").transpose("origin", ...)
    return {
        "integral": stacked.assign_coords(integral_units=("invariant", units)),
        "integral_drift": stack(changes, names, "invariant"),
    }


def _drawn(name: str) -> bool:
    """Not what stays by itself, nor the means that `invariant_drift_t` has."""
    return name != _LENGTH and not name.startswith("max_abs_") and (
        not name.startswith("mean_") or name.startswith("mean_square_")
    )  # fmt: skip


def _scale(ds: xr.Dataset, name: str) -> xr.DataArray:
    """Largest value at any time, or what the Cauchy-Schwarz inequality allows where that is more.

    Momentum, helicities and the like may vanish: what is a small change of them is said by the
    squares that they are made of.
    """
    own = abs(ds[name]).max().reset_coords(drop=True)
    mass = "mass" if "mass" in ds else _LENGTH
    bounds: Mapping[str, tuple[str, str, float]] = {
        "momentum": (mass, "kinetic_energy", 2.0),
        "kinetic_helicity": ("kinetic_energy", "enstrophy", 4.0),
        "cross_helicity": ("kinetic_energy", "magnetic_energy", 4.0),
    }
    key = name if name in bounds else name.rpartition("_")[0]
    if key not in bounds or not set(bounds[key][:2]) <= set(ds.data_vars):
        return own
    first, second, factor = bounds[key]
    most = (factor * abs(ds[first]).max() * abs(ds[second]).max()) ** 0.5
    return own.where(own > most, most).reset_coords(drop=True)
