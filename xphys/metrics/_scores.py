"""Scores of predicted fields against a reference."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from xphys._dims import lift, reduce_blocks, resolve_dims, stack, whole
from xphys.errors import SchemaError, UnknownNameError
from xphys.metrics import _kernels as errors
from xphys.metrics import _score_kernels as kernels
from xphys.metrics._pairs import LEADING, datasets, paired
from xphys.schema import PROVENANCE, SPATIAL_DIMS, axis, record
from xphys.spectra import spectra

__all__ = ["SCORES", "scores"]

#: Name -> what it is; those of a variable's own units have None.
SCORES: dict[str, tuple[str, str | None]] = {
    "mse": ("mean square error", None),
    "rmse": ("root mean square error", None),
    "mae": ("mean absolute error", None),
    "bias": ("mean error", None),
    "max_abs": ("largest absolute error", None),
    "nrmse": ("root mean square error over root mean square", "1"),
    "vrmse": ("root mean square error over standard deviation", "1"),
    "r2": ("share of the variance that is explained", "1"),
    "pearson_r": ("correlation coefficient", "1"),
    "psnr": ("peak signal-to-noise ratio", "dB"),
    "mismatched_nonfinite": ("points that are not finite and differ", "1"),
    "crmse": ("root mean square error of the means of fields", None),
    "brmse": ("root mean square error at open ends of axes", None),
    "ssim": ("mean structural similarity", "1"),
    "frmse": ("root mean square error in a band of wavenumbers", None),
    "fnrmse": ("frmse over the root mean square of the reference in the band", "1"),
    "log_spectrum_error": ("mean decimal order between the spectra in a band", "1"),
}
_OF_ALL = tuple(SCORES)[:11]
_OF_BANDS = ("frmse", "fnrmse", "log_spectrum_error")
# First and last shell of each band, as PDEBench cuts them.
_BANDS = {"low": (1, 4), "mid": (5, 12), "high": (13, None)}


def scores(
    test: xr.Dataset | xr.DataArray,
    reference: xr.Dataset | xr.DataArray,
    names: str | Iterable[str] | None = None,
    *,
    dims: str | Iterable[Hashable] | None = None,
    data_range: float | None = None,
) -> xr.Dataset:
    r"""Score fields against a reference, as papers on learned solvers do, lazily.

    With the error :math:`d = \hat x - x` and means over the finite points, in float64:

    - ``mse`` = <d²>, ``rmse`` its root, ``mae`` = <|d|>, ``bias`` = <d>, ``max_abs`` = max |d|
    - ``nrmse`` = rmse/√<x²>, ``vrmse`` = rmse/σ(x) (The Well), ``r2`` = 1 - vrmse²
    - ``pearson_r`` = <(x̂-<x̂>)(x-<x>)>/(σ(x̂) σ(x)); NaN if one of the two is constant
    - ``psnr`` = 20 log10((max x - min x)/rmse) in dB
    - ``crmse``: root mean square over fields (all but ensemble dims and time) of <d> of each
    - ``brmse``: rmse of the first and last points along axes that are not periodic
    - ``ssim``: structural similarity [1]_, mean over fields, Gaussian window of 1.5 cells; windows
      go round periodic axes and stay inside open ones
    - ``frmse(band)``: :math:`(\sum E_d\,dk)^{1/2}` over the shells 1-4 ("low"), 5-12 ("mid") and
      from 13 on ("high") of the spectrum of d over the periodic axes; ``fnrmse(band)`` is that over
      the same of x; ``log_spectrum_error(band)`` = mean |log10(E_x̂/E_x)| over the shells
    - ``mismatched_nonfinite`` counts points that are not finite in one and not equal. Where there
      are any, errors are infinite and ``bias`` and ``pearson_r`` NaN. Equal ones are left out, but
      make ``ssim`` and the scores of bands NaN.

    Parameters
    ----------
    test, reference : Dataset or DataArray
        Both of one kind, any chunks. Scored are the real variables that both have.
    names : str or iterable of str, optional
        Scores to take, by default all.
    dims : str or iterable of str, optional
        Dims to take them over, all by default; the others stay. Variables with none of them are
        left out.
    data_range : float, optional
        R in ``ssim``; by default the range of each reference field.

    Returns
    -------
    Dataset
        The scores on dim ``variable`` and the dims that are left, lazy where the inputs are; one
        pass over the chunks. NaN where a score has no meaning: without periodic axes, without
        open ones, with fewer points than a window (11).

    Raises
    ------
    UnknownNameError
        If a score is not known, or no real variable is in both.
    SchemaError
        If a variable differs in dims, sizes or positions, a dim is unknown, ``data_range`` is not
        above 0, or the two are not of one kind.

    References
    ----------
    .. [1] Z. Wang et al., IEEE Trans. Image Process. 13, 600 (2004), doi:10.1109/TIP.2003.819861,
       eq. 13

    Examples
    --------
    >>> x = xr.Dataset({"u": ("x", [0.0, 1.0, 2.0, 3.0])})
    >>> found = scores(x + 0.5, x, ["rmse", "pearson_r"])
    >>> float(found.rmse[0]), float(found.pearson_r[0].round(12))
    (0.5, 1.0)
    """
    wanted = _wanted(names)
    number = isinstance(data_range, int | float | np.number) and not isinstance(data_range, bool)
    if data_range is not None and not (number and 0 < data_range < np.inf):
        raise SchemaError(f"expected data_range as a number above 0, got {data_range!r}")
    new, old = datasets(test, reference)
    over = None if dims is None else resolve_dims(old, dims)
    pairs = paired(new, old, over)
    columns: dict[str, dict[Hashable, xr.DataArray]] = {score: {} for score in wanted}
    for name, (t, r) in pairs.items():
        along = [d for d in r.dims if over is None or d in over]
        found = _whole_scores(t, r, along, wanted)
        for family, measured in _FAMILIES:
            if wanted & set(family):
                found |= measured(t, r, along, data_range)
        for key in wanted:
            columns[key][name] = found.get(key, xr.DataArray(np.nan))
    result = xr.Dataset({k: stack(columns[k], list(pairs)) for k in SCORES if k in wanted})
    for score in map(str, result.data_vars):
        about, units = SCORES[score]
        result[score].attrs = {"long_name": about} | ({} if units is None else {"units": units})
    result = result.assign_coords(
        units=("variable", [str(r.attrs.get("units", "")) for _, r in pairs.values()])
    )
    result.attrs = {k: test.attrs[k] for k in (PROVENANCE,) if k in test.attrs}
    used = {"names": None if names is None else sorted(wanted), "data_range": data_range}
    over_names = None if over is None else [str(d) for d in over]
    return record(result, "scores", {**used, "dims": over_names})


def _wanted(names: str | Iterable[str] | None) -> set[str]:
    if names is None:
        return set(SCORES)
    found = {names} if isinstance(names, str) else set(names)
    if unknown := sorted(map(str, found - set(SCORES))):
        raise UnknownNameError(f"expected scores out of {list(SCORES)}, got {unknown}")
    if not found:
        raise SchemaError("expected at least one score, got none")
    return found


def _states(t: xr.DataArray, r: xr.DataArray, core: Sequence[Hashable]) -> xr.DataArray:
    found = reduce_blocks(kernels.states, kernels.merge, t, r, over=core, size=kernels.SIZE)
    return found.reset_coords(drop=True)


def _whole_scores(
    t: xr.DataArray, r: xr.DataArray, along: list[Hashable], wanted: set[str]
) -> dict[str, xr.DataArray]:
    if not wanted & {*_OF_ALL, "crmse"}:
        return {}
    core, lead = [d for d in along if d not in LEADING], [d for d in along if d in LEADING]
    state = _states(t, r, core)
    state = state.chunk(dict.fromkeys(lead, -1)) if lead and state.chunks is not None else state
    inputs: dict[str, Any] = {"core_dims": [*map(str, lead), "state"]}
    inputs["kwargs"] = {"axes": len(lead)}
    number = len(_OF_ALL)
    found = lift(
        kernels.measures, state, output_core_dims=[[]] * number,
        output_dtypes=[np.float64] * number, **inputs,
    )  # fmt: skip
    result = dict(zip(_OF_ALL, found, strict=True))
    result["crmse"] = lift(
        kernels.field_mean, state, output_core_dims=[[]], output_dtypes=[np.float64], **inputs
    )
    return result


def _ends(
    t: xr.DataArray, r: xr.DataArray, along: list[Hashable], data_range: float | None
) -> dict[str, xr.DataArray]:
    """Each end point once: those along one axis, inside along the axes before it."""
    inside: dict[Hashable, slice] = {}
    found = []
    for d in SPATIAL_DIMS:
        if d not in along or (d in r.coords and axis(r, d).periodic):
            continue
        for place in dict.fromkeys((0, r.sizes[d] - 1)):
            where = {**inside, d: slice(place, place + 1)}
            found.append(_states(t.isel(where), r.isel(where), along))
        inside[d] = slice(1, max(1, r.sizes[d] - 1))
    if not found:
        return {}
    joined = xr.concat(found, "end", coords="minimal", compat="override", join="exact")
    joined = joined.chunk(end=-1) if joined.chunks is not None else joined
    measured = lift(
        kernels.measures, joined, core_dims=["end", "state"], output_core_dims=[[]] * len(_OF_ALL),
        output_dtypes=[np.float64] * len(_OF_ALL), kwargs={"axes": 1},
    )  # fmt: skip
    return {"brmse": measured[_OF_ALL.index("rmse")]}


def _similarity(
    t: xr.DataArray, r: xr.DataArray, along: list[Hashable], data_range: float | None
) -> dict[str, xr.DataArray]:
    space = [d for d in SPATIAL_DIMS if d in along]
    if not space:
        return {}
    periodic = tuple(d in r.coords and axis(r, d).periodic for d in space)
    found = lift(
        partial(kernels.similarity, periodic=periodic, data_range=data_range),
        whole(t, space),
        whole(r, space),
        core_dims=space,
        output_core_dims=[[]],
        output_dtypes=[np.float64],
    )
    return {"ssim": found.mean([d for d in along if d not in space], skipna=False)}


def _bands(
    t: xr.DataArray, r: xr.DataArray, along: list[Hashable], data_range: float | None
) -> dict[str, xr.DataArray]:
    axes = [d for d in SPATIAL_DIMS if d in along and d in r.coords and r.sizes[d] > 1]
    axes = [d for d in axes if axis(r, d).periodic]
    if not axes:
        return {}
    rest = [d for d in along if d not in axes]
    error = t.astype(np.float64) - r.astype(np.float64)
    error = error.assign_coords(r.coords)
    three = [
        spectra(f, dims=axes, convention="sum").mean(rest, skipna=False).reset_coords(drop=True)
        for f in (error, t, r)
    ]
    shells = three[0].sizes["wavenumber"]
    cut = {band: slice(a - 1, b) for band, (a, b) in _BANDS.items()}
    found = lift(
        partial(_of_bands, cut=tuple(s if s.start < shells else None for s in cut.values())),
        *three,
        core_dims=["wavenumber"],
        output_core_dims=[["band"]] * 3,
        output_sizes={"band": len(cut)},
        output_dtypes=[np.float64] * 3,
    )
    named = (one.assign_coords(band=list(cut)) for one in found)
    return dict(zip(_OF_BANDS, named, strict=True))


def _of_bands(
    error: Any, test: Any, reference: Any, *, cut: tuple[slice | None, ...]
) -> tuple[Any, ...]:
    columns = np.full((3, *error.shape[:-1], len(cut)), np.nan)
    for i, part in enumerate(cut):
        if part is None:
            continue
        rmse = np.sqrt(error[..., part].sum(axis=-1))
        columns[0, ..., i] = rmse
        columns[1, ..., i] = errors.divide(rmse, np.sqrt(reference[..., part].sum(axis=-1)))
        floor = errors.EMPTY_SHELL * reference.sum(axis=-1, keepdims=True)
        full = (reference > floor)[..., part]
        with np.errstate(divide="ignore", invalid="ignore"):
            order = np.abs(np.log10(test[..., part] / reference[..., part]))
            mean = np.where(full, order, 0.0).sum(axis=-1) / full.sum(axis=-1)
        columns[2, ..., i] = np.where(np.isnan(error[..., part].sum(axis=-1)), np.nan, mean)
    return tuple(columns)


_Family = Callable[
    [xr.DataArray, xr.DataArray, list[Hashable], float | None], dict[str, xr.DataArray]
]
_FAMILIES: tuple[tuple[tuple[str, ...], _Family], ...] = (
    (("brmse",), _ends),
    (("ssim",), _similarity),
    (_OF_BANDS, _bands),
)
