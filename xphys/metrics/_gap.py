"""The gap between runs of two resolutions: what a model trained on one meets on the other."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from xphys._dims import lift, reduce_blocks, stack
from xphys.errors import SchemaError
from xphys.fields import degrade
from xphys.metrics import _score_kernels as kernels
from xphys.metrics._distances import FINE, common_names, fine_state
from xphys.metrics._pairs import check_grid, datasets, linked
from xphys.schema import PROVENANCE, axis, record, spatial_dims
from xphys.spectra import spectra
from xphys.stats import histograms

__all__ = ["domain_gap"]

ORIGINS = ("coarse", "fine", "degraded")
# Output times of two runs differ by part of a time step; of the mean step between outputs.
_TIME_TOLERANCE = 1e-2
_DISTANCES = ("js_divergence", "tv_distance", "ks_distance", "wasserstein")
_ABOUT: dict[str, tuple[str, str | None]] = {
    "mean": ("mean of each field", None),
    "std": ("standard deviation of each field", None),
    "min": ("smallest value of each field", None),
    "max": ("largest value of each field", None),
    "std_ratio": ("standard deviation of the coarse over that of the degraded field", "1"),
    "l2_gap": ("root mean square of coarse less degraded", None),
    "correlation": ("correlation coefficient of coarse and degraded", "1"),
    "spectrum": ("mean power of the modes in a shell", None),
    "pdf": ("probability density of all values", None),
    "js_divergence": ("Jensen-Shannon divergence from the coarse values, natural logarithm", "1"),
    "tv_distance": ("total variation distance from the coarse values", "1"),
    "ks_distance": ("Kolmogorov-Smirnov distance from the coarse values", "1"),
    "wasserstein": ("Wasserstein distance of order 1 from the coarse values", None),
}


def domain_gap(
    test: xr.Dataset | xr.DataArray,
    other: xr.Dataset | xr.DataArray,
    variables: str | Iterable[Hashable] | None = None,
    *,
    method: str = "block",
    bins: int = 100,
) -> xr.Dataset:
    r"""Compare the same run at two resolutions: statistics, pixels, spectra and densities, lazily.

    The finer of the two is also brought to the grid of the coarser (`xphys.fields.degrade`), so
    that there are three origins: "coarse", "fine" and "degraded". With :math:`d` = coarse -
    degraded, for each time:

    - ``mean``, ``std``, ``min``, ``max`` by origin; ``std_ratio`` of coarse over degraded
    - ``l2_gap`` = √<d²> in the units of the variable, and ``correlation`` of coarse and degraded:
      where it is low, the statistics may agree, the pixels do not
    - ``spectrum(wavenumber)``: mean of \|c_k\|² over the modes of a shell, by origin
    - ``pdf(bin)`` of all values in no more than ``bins`` common bins, by origin, and the
      `distances` of "fine" and "degraded" from "coarse" (0 for coarse itself)

    Parameters
    ----------
    test, other : Dataset or DataArray
        Two runs of one kind, any chunks, each read once; either may be the finer, by whole factors
        along each axis. With equal grids ``test`` counts as coarse, nothing is degraded.
    variables : str or iterable of str, optional
        Variables, or vectors for their components; by default the real ones that both have.
    method : {"block", "spectral"}
        How the finer run is degraded.
    bins : int
        2 to 16384.

    Returns
    -------
    Dataset
        On dim ``variable``, the dims of the runs that are not spatial, and those named.

    Raises
    ------
    UnknownNameError
        If a variable is not in both.
    SchemaError
        If sizes are no whole multiples, each run is finer along another axis, positions or times
        (by more than a hundredth of their step) differ, or an axis is not uniform and periodic.

    Examples
    --------
    >>> def run(n):
    ...     x = (np.arange(n) + 0.5) / n
    ...     axis = xr.Variable("x", x, {"period": 1.0})
    ...     return xr.Dataset({"u": ("x", np.sin(2 * np.pi * x))}, {"x": axis})
    >>> gap = domain_gap(run(32), run(64))
    >>> float(gap.std_ratio[0].round(3)), float(gap.correlation[0].round(3))
    (1.001, 1.0)
    """
    if isinstance(bins, bool) or not isinstance(bins, int | np.integer) or not 2 <= bins <= FINE:
        raise SchemaError(f"expected a number of bins from 2 to {FINE}, got {bins!r}")
    first, second = datasets(test, other)
    if isinstance(test, xr.DataArray):
        (name,) = second.data_vars
        first = first.rename({next(iter(first.data_vars)): name})
    names = common_names(first, second, variables)
    coarse, fine, factors = _ordered(first[names], second[names])
    degraded = degrade(fine, factors, method=method) if factors else fine
    degraded = _at_times(degraded, coarse)
    runs = dict(zip(ORIGINS, (coarse, _at_times(fine, coarse), degraded), strict=True))
    columns: dict[str, dict[str, xr.DataArray]] = {key: {} for key in (*_ABOUT, "left", "right")}
    for name in names:
        check_grid(degraded[name], coarse[name])
        fields = {origin: ds[name] for origin, ds in runs.items()}
        fields["degraded"] = coarse[name].copy(
            data=degraded[name].transpose(*coarse[name].dims).data
        )
        fields["degraded"], fields["coarse"] = linked(fields["degraded"], fields["coarse"])
        if not factors:
            fields["fine"] = fields["degraded"]
        found = {**_moments(fields), **_densities(fields, int(bins)), "spectrum": _lines(fields)}
        for key, value in found.items():
            columns[key][name] = value
    edges = {key: columns.pop(key) for key in ("left", "right")}
    result = xr.Dataset({key: stack(parts, names) for key, parts in columns.items()})
    result = result.assign_coords({key: stack(parts, names) for key, parts in edges.items()})
    for key, (about, units) in _ABOUT.items():
        result[key].attrs = {"long_name": about} | ({} if units is None else {"units": units})
    units_of = [str(coarse[name].attrs.get("units", "")) for name in names]
    result = result.assign_coords(units=("variable", units_of))
    result.attrs = {k: test.attrs[k] for k in (PROVENANCE,) if k in test.attrs}
    used = {"variables": names, "factor": factors, "method": method, "bins": int(bins)}
    return record(result, "domain_gap", used)


def _ordered(a: xr.Dataset, b: xr.Dataset) -> tuple[xr.Dataset, xr.Dataset, dict[str, int]]:
    """The coarse run, the fine one, and the factor along each axis."""
    dims = spatial_dims(a)
    if set(dims) != set(spatial_dims(b)) or not dims:
        raise SchemaError(
            f"expected the same spatial dims in both, found {dims} and {spatial_dims(b)}"
        )
    sizes = {d: (a.sizes[d], b.sizes[d]) for d in dims}
    if any(m > n for m, n in sizes.values()):
        if any(m < n for m, n in sizes.values()):
            raise SchemaError(f"each run is finer along another axis: {sizes}: degrade one first")
        coarse, fine, factors = _ordered(b, a)
        return coarse, fine, factors
    wrong = {d: s for d, s in sizes.items() if not s[0] or s[1] % s[0]}
    if wrong:
        raise SchemaError(f"sizes are no whole multiples: {wrong}: degrade or interpolate first")
    for d in dims:
        for ds in (a, b):
            axis(ds, d)  # says what positions lack
    return a, b, {d: n // m for d, (m, n) in sizes.items() if n > m}


def _at_times(ds: xr.Dataset, like: xr.Dataset) -> xr.Dataset:
    """With the times of the other run, if they are the same but for part of a time step."""
    if "time" not in ds.indexes or "time" not in like.indexes:
        return ds
    a, b = ds.indexes["time"].to_numpy(), like.indexes["time"].to_numpy()
    if a.size == b.size and all(t.dtype.kind in "fiu" for t in (a, b)):
        step = np.ptp(b) / (b.size - 1) if b.size > 1 else np.abs(b).max(initial=0.0)
        if (np.abs(a - b) <= _TIME_TOLERANCE * step).all():
            return ds.assign_coords(time=like["time"])
    elif np.array_equal(a, b):
        return ds
    raise SchemaError(
        f"the times differ ({a.size} and {b.size} of them): choose those that both have, e.g. with "
        '.sel(time=other.time, method="nearest")'
    )


def _moments(fields: dict[str, xr.DataArray]) -> dict[str, xr.DataArray]:
    """Statistics of each field by origin, and of coarse less degraded."""
    space = spatial_dims(fields["coarse"])
    coarse, fine, degraded = (fields[o] for o in ORIGINS)
    both = _pair_states(degraded, coarse, space)
    alone = _pair_states(fine, fine, space)
    found = lift(
        _gap_numbers, both, alone,
        core_dims=["state"],
        output_core_dims=[*[["origin"]] * 4, [], [], []],
        output_sizes={"origin": len(ORIGINS)},
        output_dtypes=[np.float64] * 7,
    )  # fmt: skip
    names = ("mean", "std", "min", "max", "std_ratio", "l2_gap", "correlation")
    values = dict(zip(names, found, strict=True))
    for key in names[:4]:
        values[key] = values[key].assign_coords(origin=list(ORIGINS)).transpose("origin", ...)
    return values


def _pair_states(test: xr.DataArray, reference: xr.DataArray, space: Any) -> xr.DataArray:
    found = reduce_blocks(
        kernels.states, kernels.merge, test, reference, over=space, size=kernels.SIZE
    ).reset_coords(drop=True)
    return _joined(found)


def _joined(small: xr.DataArray) -> xr.DataArray:
    """In one chunk: with one output for all times Dask goes through the source chunk by chunk."""
    return small if small.chunks is None else small.chunk(-1)


def _gap_numbers(both: Any, alone: Any) -> tuple[Any, ...]:
    """From states (degraded, coarse) and (fine, fine)."""
    columns = [kernels.own_numbers(s, test=t) for s, t in ((both, 0), (alone, 0), (both, 1))]
    four = [np.stack([c[i] for c in columns], axis=-1) for i in range(4)]
    measured = kernels.measures(both, axes=0)
    ratio = kernels.divide(four[1][..., 0], four[1][..., 2])
    return (*four, ratio, measured[1], measured[8])


def _densities(fields: dict[str, xr.DataArray], bins: int) -> dict[str, xr.DataArray]:
    states = [fine_state(f, None) for f in fields.values()]
    found = lift(
        partial(_density, bins=bins),
        *states,
        core_dims=["state"],
        output_core_dims=[["origin", "bin"], ["bin"], ["bin"], *[["origin"]] * 4],
        output_sizes={"origin": len(ORIGINS), "bin": bins},
        output_dtypes=[np.float64] * 7,
    )
    values = dict(zip(("pdf", "left", "right", *_DISTANCES), found, strict=True))
    return {
        key: v.assign_coords(origin=list(ORIGINS)) if "origin" in v.dims else v
        for key, v in values.items()
    }


def _density(*states: Any, bins: int) -> tuple[Any, ...]:
    counts, edges = histograms.aligned(*states, bins=bins)
    with np.errstate(invalid="ignore", divide="ignore"):
        density = counts / counts.sum(axis=-1, keepdims=True) / np.diff(edges)
    bad = np.array([bool(s[1:4].any()) for s in states])  # NaN or infinity
    density[bad] = np.nan
    found = np.full((len(_DISTANCES), len(states)), np.nan)
    for i, state in enumerate(states):
        if bad[0] or bad[i]:
            continue
        (p, q), _ = histograms.aligned(state, states[0], bins=bins)
        found[:2, i] = kernels.distances(p, q)[:2]
        (p, q), ends = histograms.aligned(state, states[0], bins=FINE)
        found[2:, i] = kernels.distances(p, q, ends)[2:]
    return density, edges[:-1], edges[1:], *found


def _lines(fields: dict[str, xr.DataArray]) -> xr.DataArray:
    space = [d for d in spatial_dims(fields["coarse"]) if fields["coarse"].sizes[d] > 1]
    periodic = [d for d in space if axis(fields["coarse"], d).periodic]
    if not periodic:
        return xr.DataArray(np.nan)
    lines = []
    for field in fields.values():
        line = spectra(field, dims=periodic, convention="mean").reset_coords(drop=True)
        rest = [d for d in spatial_dims(line)]
        lines.append(_joined(line.mean(rest, skipna=False) if rest else line))
    origin = xr.DataArray(list(ORIGINS), dims="origin", name="origin")
    return xr.concat(lines, origin, coords="minimal", compat="override", join="outer")
