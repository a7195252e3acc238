"""Comparison of labelled Datasets."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import reduce
from operator import add

import numpy as np
import xarray as xr

from xphys._dims import lift, reduce_blocks, resolve_dims, stack
from xphys.errors import SchemaError
from xphys.fields import derive
from xphys.metrics import _kernels as kernels
from xphys.metrics._pairs import LEADING, Fields, Pairs, datasets, paired
from xphys.metrics._shown import ATTRS as SHOWN
from xphys.metrics._shown import estimated, over_origins, shown
from xphys.metrics._view import Comparison, summary
from xphys.schema import PROVENANCE, SPATIAL_DIMS, axis, record, vectors
from xphys.spectra import spectra

__all__ = ["Comparison", "compare", "summary"]

_ATTRS = {
    "vrmse": {"long_name": "root mean square error over standard deviation", "units": "1"},
    "vrmse_t": {"long_name": "vrmse of each snapshot", "units": "1"},
    "rel_l2": {"long_name": "norm of the error over norm of the reference", "units": "1"},
    "max_abs": {"long_name": "largest absolute error, in the units of the variable"},
    "psnr": {"long_name": "peak signal-to-noise ratio", "units": "dB"},
    "mismatched_nonfinite": {"long_name": "points that are not finite and differ", "units": "1"},
    "invariant_drift": {"long_name": "largest change of a mean over deviation", "units": "1"},
    "invariant_drift_t": {"long_name": "change of each mean over deviation", "units": "1"},
    "spectrum_error": {"long_name": "relative error of the power spectrum", "units": "1"},
    "divergence": {"long_name": "rms divergence times mean spacing over rms", "units": "1"},
    "bytes": {"long_name": "stored size", "units": "byte"},
    "ratio": {"long_name": "size of the reference in memory over stored size", "units": "1"},
    "bits_per_value": {"long_name": "stored size over the number of values", "units": "bit"},
    **SHOWN,
}


def compare(
    test: Fields,
    reference: Fields,
    *,
    dims: str | Iterable[Hashable] | None = None,
    stored: Mapping[str, int | xr.DataArray] | None = None,
    report: bool | Hashable = False,
    rate_distortion: xr.Dataset | None = None,
) -> Comparison:
    r"""Measure how far data are from a reference.

    With the error :math:`d = \hat x - x`, means over the finite points and sums in float64:

    - ``vrmse`` = :math:`\sqrt{\langle d^2\rangle / \langle (x-\langle x\rangle)^2\rangle}`;
      ``vrmse_t(time)`` is that of each snapshot, against its own deviation (NaN where a variable
      has no snapshots: no time, or nothing but time)
    - ``rel_l2`` = :math:`\sqrt{\langle d^2\rangle / \langle x^2\rangle}`, ``max_abs`` = max |d|
    - ``psnr`` = :math:`20 \log_{10}((\max x - \min x)/\sqrt{\langle d^2\rangle})` in dB
    - ``invariant_drift`` = the largest :math:`|\langle d\rangle|` of a field (mean over all but
      ensemble dims and time) over the standard deviation of the whole variable;
      ``invariant_drift_t(time)`` is that of each time
    - ``spectrum_error(wavenumber)`` = :math:`|E_{\hat x}/E_x - 1|` of the power spectra over
      the periodic axes, averaged over the rest; NaN in shells with less than 1e-14 of the
      variance, and for variables without periodic axes
    - ``divergence(vector, origin)`` = rms of the divergence times the mean spacing of the axes,
      over the rms length of the vector (its components along them); origin is "reference" or
      "test"; only for vectors whose divergence exists
    - ``mismatched_nonfinite`` counts points that are not finite in one of the two and not equal
      (all NaN count as equal); where there are any, the errors are infinite. Equal ones are left
      out of all sums, but make ``spectrum_error`` and ``divergence`` NaN.

    An exact copy has error 0 and psnr infinity, also of a constant; a constant that is not
    reproduced has vrmse infinity.

    With ``report`` the result also holds what the pictures of a report show, and its notebook
    view draws them:

    - ``spectrum(origin, variable, wavenumber)`` of both, and ``error_spectrum`` of d: densities
      over the periodic axes (else, with a Hann window, the uniform ones), mean over the rest
    - ``section(origin, section_y, section_x)``: one variable at the last time, in the middle of z,
      over space and time in 1-D, of the first member; at most 512 points along an axis
    - ``integral(origin, invariant)`` of `xphys.fields.invariants` over time, means of members,
      and ``integral_drift(invariant)``, the largest change of a member over the largest value of
      the reference at any time, or, where that is more, what the Cauchy-Schwarz inequality allows
      (a momentum of about 0 against :math:`\sqrt{2 M E}`)

    Parameters
    ----------
    test, reference : Dataset or DataArray
        Both of one kind, any chunks. Compared are the real variables that both have.
    dims : str or iterable of str, optional
        Dims to take the measures over, all by default; the others stay. Variables with none of
        them are left out.
    stored : mapping of str to int or 0-d DataArray, optional
        Stored bytes per variable; adds ``bytes``, ``ratio`` and ``bits_per_value``.
    report : bool or str
        Add what a report shows; a name chooses the variable of the section, by default the first
        that has one. Only over all dims.
    rate_distortion : Dataset, optional
        Result of `xphys.codecs.rate_distortion` for the reference; adds ``estimated_bits``
        and ``estimated_ratio`` on ``target``. ``test.phys.compare`` takes True as well: what
        ``reference.phys.rate_distortion()`` gives.

    Returns
    -------
    Comparison
        A Dataset on dim ``variable``, lazy where the inputs are: the errors take one pass, with
        about 6 times the float64 size of a chunk per task; spectra, divergence and integrals are
        separate.

    Raises
    ------
    UnknownNameError
        If no real variable is in both, or ``report`` names none with a spatial dim.
    SchemaError
        If a variable differs in dims, sizes or positions between the two, a dim is unknown,
        the two are not of one kind, ``report`` is asked for some dims only, or
        ``rate_distortion`` is another Dataset.

    Examples
    --------
    >>> x = xr.Dataset({"density": ("x", [1.0, 2.0, 3.0])})
    >>> float(compare(x + 0.1, x).max_abs.round(3)[0])
    0.1
    """
    new, old = datasets(test, reference)
    over = None if dims is None else resolve_dims(old, dims)
    if report is not False and over is not None and set(over) != set(old.dims):
        raise SchemaError(f"a report is over all dims, got dims={list(map(str, over))}: leave them")
    pairs = paired(new, old, over)
    columns: dict[str, dict[Hashable, xr.DataArray]] = {}
    for name, (t, r) in pairs.items():
        along = [d for d in r.dims if over is None or d in over]
        for measure, value in {**_errors(t, r, along), **_spectrum_error(t, r, along)}.items():
            columns.setdefault(measure, {})[name] = value
    for name, size in (stored or {}).items():
        if name in pairs:
            number = size if isinstance(size, xr.DataArray) else xr.DataArray(float(size))
            columns.setdefault("bytes", {})[name] = number.astype(np.float64).reset_coords(
                drop=True
            )
    if "bytes" in columns:
        columns["ratio"] = {
            name: _divide(xr.DataArray(float(pairs[name][1].nbytes)), size)
            for name, size in columns["bytes"].items()
        }
        columns["bits_per_value"] = {
            name: _divide(8 * size, xr.DataArray(float(pairs[name][1].size)))
            for name, size in columns["bytes"].items()
        }
    result = {measure: stack(parts, list(pairs)) for measure, parts in columns.items()}
    result |= _divergence(pairs, over)
    if report is not False:
        result |= shown(pairs, None if report is True else report)
    if rate_distortion is not None:
        result |= estimated(rate_distortion, list(pairs))
    return _finish(result, pairs, old, new, dims)


def _finish(
    result: dict[str, xr.DataArray],
    pairs: Pairs,
    reference: xr.Dataset,
    test: xr.Dataset,
    dims: str | Iterable[Hashable] | None,
) -> Comparison:
    ds = xr.Dataset({name: v.assign_attrs(_ATTRS[name]) for name, v in result.items()})
    units = [str(r.attrs.get("units", "")) for _, r in pairs.values()]
    kept = {
        name: c.variable
        for name, c in reference.coords.items()
        if set(c.dims) <= set(ds.dims) and name not in ds.variables
    }
    ds = ds.assign_coords(kept).assign_coords(units=("variable", units))
    shells = {tuple(_periodic(r, r.dims)) for _, r in pairs.values()} - {()}
    if "complete" in ds.coords and len(shells) > 1:
        ds = ds.drop_vars("complete")  # each set of axes has its own Nyquist wavenumber
    if PROVENANCE in test.attrs:
        ds.attrs[PROVENANCE] = test.attrs[PROVENANCE]
    names = None if dims is None else [str(d) for d in resolve_dims(reference, dims)]
    ds = record(ds, "compare", {"dims": names})
    return Comparison(ds.data_vars, ds.coords, ds.attrs)


def _errors(
    test: xr.DataArray, reference: xr.DataArray, along: Sequence[Hashable]
) -> dict[str, xr.DataArray]:
    core = [d for d in along if d not in LEADING]
    lead = [d for d in along if d in LEADING]
    fields = reduce_blocks(
        kernels.states, kernels.merge, test, reference, over=core, size=kernels.STATE,
        together=lead,
    ).reset_coords(drop=True)  # fmt: skip
    names = ("vrmse", "rel_l2", "max_abs", "psnr", "mismatched_nonfinite")
    measures = dict(zip(names, _scores(fields, lead), strict=True))
    if "time" in reference.dims and set(along) - {"time"}:
        measures["vrmse_t"] = _scores(fields, [d for d in lead if d != "time"])[0]
    each = lift(
        kernels.drifts,
        _together(fields, lead),
        core_dims=[*map(str, lead), "state"],
        output_core_dims=[lead],
        output_dtypes=[np.float64],
        kwargs={"axes": len(lead)},
    )
    measures["invariant_drift"] = _largest(each, lead)
    if "time" in along:
        measures["invariant_drift_t"] = _largest(each, [d for d in lead if d != "time"])
    return measures


def _largest(values: xr.DataArray, over: Sequence[Hashable]) -> xr.DataArray:
    if not all(values.sizes[d] for d in over):
        return values.sum(over)  # nothing has changed by 0
    return values.max(over, skipna=False)


def _together(state: xr.DataArray, over: Sequence[Hashable]) -> xr.DataArray:
    return state if state.chunks is None or not over else state.chunk(dict.fromkeys(over, -1))


def _scores(state: xr.DataArray, over: Sequence[Hashable]) -> tuple[xr.DataArray, ...]:
    result: tuple[xr.DataArray, ...] = lift(
        kernels.scores,
        _together(state, over),
        core_dims=[*map(str, over), "state"],
        output_core_dims=[[]] * 5,
        output_dtypes=[np.float64] * 5,
        kwargs={"axes": len(over)},
    )
    return result


def _divide(numerator: xr.DataArray, denominator: xr.DataArray) -> xr.DataArray:
    result: xr.DataArray = lift(
        kernels.divide,
        numerator,
        denominator,
        core_dims=[],
        output_core_dims=[[]],
        output_dtypes=[np.float64],
    )
    return result


def _periodic(field: xr.DataArray, along: Iterable[Hashable]) -> list[str]:
    """Periodic uniform spatial axes with more than one point."""
    dims = [d for d in SPATIAL_DIMS if d in along and d in field.coords and field.sizes[d] > 1]
    return [d for d in dims if axis(field, d).periodic]


def _spectrum_error(
    test: xr.DataArray, reference: xr.DataArray, along: Sequence[Hashable]
) -> dict[str, xr.DataArray]:
    axes = _periodic(reference, along)
    if not axes:
        return {}
    rest = [d for d in along if d not in axes]
    means = [spectra(f, dims=axes).mean(rest, skipna=False) for f in (test, reference)]
    error: xr.DataArray = lift(
        kernels.spectrum_error, *means, core_dims=["wavenumber"], output_dtypes=[np.float64]
    )
    return {"spectrum_error": error}


def _divergence(pairs: Pairs, over: tuple[Hashable, ...] | None) -> dict[str, xr.DataArray]:
    origins = {
        "reference": xr.Dataset({name: r for name, (_, r) in pairs.items()}),
        "test": xr.Dataset({name: t for name, (t, _) in pairs.items()}),
    }
    found: dict[str, list[xr.DataArray]] = {}
    for vector in vectors(origins["reference"]):
        try:
            found[vector] = [_mean_divergence(ds, vector, over) for ds in origins.values()]
        except SchemaError:  # incomplete vector, or an axis without positions
            continue
    if not found:
        return {}
    parts = {vector: over_origins(values) for vector, values in found.items()}
    return {"divergence": stack(parts, list(parts), "vector")}


def _mean_divergence(
    ds: xr.Dataset, vector: str, over: tuple[Hashable, ...] | None
) -> xr.DataArray:
    divergence = derive(ds, f"divergence_{vector}")[f"divergence_{vector}"]
    along = [d for d in divergence.dims if over is None or d in over]
    axes = [axis(ds, d) for d in SPATIAL_DIMS if d in divergence.dims]
    components = [ds[vectors(ds)[vector][a.name]] for a in axes]
    spacing = sum(a.step for a in axes) / len(axes)
    square = reduce(add, (_mean_square(c, along) for c in components))
    rms = _mean_square(divergence, along) ** 0.5
    return _divide(rms * spacing, square**0.5)


def _mean_square(field: xr.DataArray, along: Sequence[Hashable]) -> xr.DataArray:
    return (field.astype(np.float64) ** 2).mean(along, skipna=False)
