"""Reconstructions of flows against the truth: spectra and histogram as of learned tokenizers."""

from __future__ import annotations

from collections.abc import Hashable
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from xphys._dims import lift, reduce_blocks
from xphys.errors import SchemaError, UnknownNameError
from xphys.metrics import _score_kernels as kernels
from xphys.metrics._pairs import Pairs, datasets, paired
from xphys.schema import PROVENANCE, record, spatial_dims, vectors
from xphys.spectra import spectra
from xphys.stats import histograms

__all__ = ["analyze"]

_VORTICITIES = ("vorticity", "omega", "vorticity_z")
_ORIGINS = ("reference", "test")
_MARGIN = 0.01  # of the width of the truth, added at either side of the histogram
_FLOOR = 1e-10  # added to densities before their divergence
_QUANTITIES = {"tke_spectrum": "kinetic_energy", "enstrophy_spectrum": "enstrophy"}


def analyze(
    test: xr.Dataset | xr.DataArray,
    reference: xr.Dataset | xr.DataArray,
    variable: str | None = None,
    *,
    bins: int = 100,
    range: tuple[float, float] | None = None,
    samples: tuple[int | None, int | None] | None = None,
) -> xr.Dataset:
    r"""Analyse the reconstruction of a flow: spectra of energy and enstrophy, values, errors.

    - ``tke_spectrum`` and ``enstrophy_spectrum``: `spectra` of kinetic energy and enstrophy with
      ``kind="modal_mean"``, averaged over the samples. They depend on the grid and do not add up
      to the energy
    - ``pixel_histogram``: density of the values in equal bins over the range of the truth, wider
      by 1 % at either side; values outside are left out
    - ``js_divergence`` (natural logarithm, 1e-10 added to the densities) and ``tv_distance`` of
      the two histograms
    - ``mse``: mean square error of each sample; ``mse_mean`` and ``mse_std`` over the samples
      (divided by their number)

    Parameters
    ----------
    test, reference : Dataset or DataArray
        Reconstruction and truth on one grid with periodic axes; any chunks. Samples are all but
        the spatial dims.
    variable : str, optional
        A vorticity in a plane, or a vector for its components together; by default "vorticity",
        "omega", "vorticity_z" or the vector "velocity", the first that both have.
    bins : int
        Bins of the histogram.
    range : (float, float), optional
        Their outer edges. Then each chunk is read once. By default those of the truth are found
        first and chunks are read a second time, so that none has to wait in memory.
    samples : (int, int), optional
        First and last but one number along time, or without time the first dim that is not
        spatial; None for an open end.

    Returns
    -------
    Dataset
        The spectra on (origin, wavenumber), the histogram on (origin, bin) with its edges
        ``left`` and ``right``, and the numbers; origin is "reference" or "test". ``n_samples``
        counts the samples. NaN where values are not finite.

    Raises
    ------
    UnknownNameError
        If there is no such variable in both.
    SchemaError
        If grids differ, axes are not periodic, there are no samples, or ``bins`` or ``range``
        are no such numbers.

    Examples
    --------
    >>> axes = {d: (d, np.arange(8) / 8, {"period": 1.0}) for d in "yx"}
    >>> wave = np.sin(2 * np.pi * np.arange(8) / 8) + np.zeros((2, 8, 1))
    >>> truth = xr.Dataset({"omega": (("time", "y", "x"), wave)}, axes)
    >>> found = analyze(truth + 0.1, truth)
    >>> int(found.n_samples), float(found.mse_mean.round(6))
    (2, 0.01)
    """
    outer = _outer(bins, range)
    new, old = datasets(test, reference)
    name, parts = _flow(new, old, variable)
    pairs = paired(new[parts], old[parts], None)
    pairs = {n: (_sampled(t, samples), _sampled(r, samples)) for n, (t, r) in pairs.items()}
    by_origin = {
        origin: xr.Dataset({n: pair[1 - i] for n, pair in pairs.items()})
        for i, origin in enumerate(_ORIGINS)
    }
    fields: dict[str, xr.DataArray] = {}
    origin = xr.DataArray(list(_ORIGINS), dims="origin", name="origin")
    for key, quantity in _QUANTITIES.items():
        lines = [_mean_spectrum(ds, name, quantity) for ds in by_origin.values()]
        fields[key] = xr.concat(lines, origin, coords="minimal", compat="override", join="exact")
        fields[key].attrs = lines[0].attrs
    fields |= _histogram(pairs, int(bins), outer)
    mse = _errors(pairs)
    fields |= {"mse": mse, "mse_mean": mse.mean(skipna=False), "mse_std": mse.std(skipna=False)}
    fields["n_samples"] = xr.DataArray(np.int64(mse.size))
    result = xr.Dataset(fields).set_coords(["left", "right"])
    for key, about in _ABOUT.items():
        result[key].attrs = {"long_name": about}
    result.attrs = {k: test.attrs[k] for k in (PROVENANCE,) if k in test.attrs}
    return record(
        result,
        "analyze",
        {
            "variable": name,
            "bins": int(bins),
            "range": None if outer is None else list(outer),
            "samples": None if samples is None else list(samples),
        },
    )


_ABOUT = {
    "pixel_histogram": "probability density of the values",
    "js_divergence": "Jensen-Shannon divergence of the histograms, natural logarithm",
    "tv_distance": "total variation distance of the histograms",
    "mse": "mean square error of each sample",
    "mse_mean": "mean over the samples of the mean square error",
    "mse_std": "standard deviation over the samples of the mean square error",
    "n_samples": "number of samples",
}


def _outer(bins: Any, range: Any) -> tuple[float, float] | None:
    if isinstance(bins, bool) or not isinstance(bins, int | np.integer) or not 1 <= bins <= 2**20:
        raise SchemaError(f"expected a number of bins from 1 to {2**20}, got {bins!r}")
    if range is None:
        return None
    try:
        low, high = (float(v) for v in range)
    except (TypeError, ValueError):
        low, high = np.nan, np.nan
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise SchemaError(f"expected range=(low, high), finite and low < high, got {range!r}")
    return low, high


def _flow(new: xr.Dataset, old: xr.Dataset, variable: str | None) -> tuple[str, list[Hashable]]:
    """The name that is analysed, and the variables it stands for."""
    known = vectors(old)
    if variable is None and len(old.data_vars) == 1:
        variable = str(next(iter(old.data_vars)))
    names = [*_VORTICITIES, "velocity"] if variable is None else [variable]
    for name in names:
        parts: list[Hashable] = [name] if name in old.data_vars else [*known.get(name, {}).values()]
        if parts and all(part in new.data_vars for part in parts):
            return name, parts
    asked = f"a flow out of {names}" if variable is None else repr(variable)
    raise UnknownNameError(
        f"expected {asked} in both, test has {list(new.data_vars)}, reference has "
        f"{list(old.data_vars)}: name it with variable=..."
    )


def _sampled(field: xr.DataArray, samples: Any) -> xr.DataArray:
    if not spatial_dims(field):
        raise SchemaError(f"variable {field.name!r} has dims {field.dims}: expected z, y or x")
    lead = [d for d in field.dims if d not in spatial_dims(field)]
    if samples is not None:
        if not lead:
            raise SchemaError(f"samples= needs a dim that is not spatial, found {field.dims}")
        try:
            start, stop = samples
            field = field.isel({"time" if "time" in lead else lead[0]: slice(start, stop)})
        except (TypeError, ValueError) as error:
            raise SchemaError(
                f"expected samples=(start, stop) in whole numbers, got {samples!r}"
            ) from error
    if not field.size:
        raise SchemaError(f"there are no samples in {samples!r}: {field.name!r} is empty")
    return field


def _mean_spectrum(ds: xr.Dataset, name: str, quantity: str) -> xr.DataArray:
    found = spectra(ds, name, quantity=quantity, kind="modal_mean")[quantity]
    rest = [d for d in found.dims if d != "wavenumber"]
    line = found.mean(rest, skipna=False, keep_attrs=True)
    return line.drop_vars([n for n in line.coords if n not in ("wavenumber", "complete")])


def _errors(pairs: Pairs) -> xr.DataArray:
    parts = []
    for t, r in pairs.values():
        square = (t.astype(np.float64) - r.astype(np.float64)) ** 2
        parts.append(square.mean(spatial_dims(r), skipna=False))
    return sum(parts[1:], parts[0]) / len(parts)


def _histogram(
    pairs: Pairs, bins: int, outer: tuple[float, float] | None
) -> dict[str, xr.DataArray]:
    totals: list[list[xr.DataArray]] = [[], []]
    ends = None if outer is not None else _extremes([r for _, r in pairs.values()])
    for t, r in pairs.values():
        for total, field in zip(totals, (r, t), strict=True):
            total.append(_counts(field, bins, outer, ends))
    states = [
        xr.concat(total, "part", coords="minimal", compat="override", join="exact")
        for total in totals
    ]
    states = [s.chunk(part=-1) if s.chunks is not None else s for s in states]
    found = lift(
        partial(_densities, outer=outer),
        *states,
        core_dims=["part", "state"],
        output_core_dims=[["origin", "bin"], ["bin"], ["bin"], [], []],
        output_sizes={"origin": 2, "bin": bins},
        output_dtypes=[np.float64] * 5,
    )
    names = ("pixel_histogram", "left", "right", "js_divergence", "tv_distance")
    return dict(zip(names, found, strict=True))


def _extremes(fields: list[xr.DataArray]) -> tuple[xr.DataArray, xr.DataArray]:
    low = [f.min(skipna=False).astype(np.float64).drop_vars(f.coords, errors="ignore")
           for f in fields]  # fmt: skip
    high = [f.max(skipna=False).astype(np.float64).drop_vars(f.coords, errors="ignore")
            for f in fields]  # fmt: skip
    both = (xr.concat(ends, "part", coords="minimal", compat="override") for ends in (low, high))
    first, last = both
    return first.min("part", skipna=False), last.max("part", skipna=False)


def _counts(
    field: xr.DataArray,
    bins: int,
    outer: tuple[float, float] | None,
    ends: tuple[xr.DataArray, xr.DataArray] | None,
) -> xr.DataArray:
    field = field.drop_vars(list(field.coords))
    size = histograms.HEAD + bins
    if ends is None:
        edges = np.linspace(*(outer or (0.0, 1.0)), bins + 1)
        return reduce_blocks(
            histograms.counted, histograms.merge_counted, field, over=field.dims, size=size,
            kwargs={"edges": edges, "uniform": True},
        )  # fmt: skip
    field, spread = _after(field, ends)
    return reduce_blocks(
        histograms.counted_within, histograms.merge_counted, field, *spread, over=field.dims,
        size=size, kwargs={"bins": bins, "margin": _MARGIN},
    )  # fmt: skip


def _after(
    field: xr.DataArray, ends: tuple[xr.DataArray, xr.DataArray]
) -> tuple[xr.DataArray, list[xr.DataArray]]:
    """The field, read again once the ends are known, and the ends as wide as it."""
    if field.chunks is None and all(end.chunks is None for end in ends):
        wide = [np.broadcast_to(end.to_numpy(), field.shape) for end in ends]
        return field, [xr.DataArray(values, dims=field.dims) for values in wide]
    import dask.array as da
    from dask.graph_manipulation import bind

    data = da.asarray(field.data)
    known = [da.asarray(end.data) for end in ends]
    # one seed: test and reference are read again together, as they were read first
    again = bind(data, known, seed=known[0].name) if field.chunks is not None else data
    wide = [da.broadcast_to(end, data.shape, chunks=data.chunks) for end in known]
    return field.copy(data=again), [xr.DataArray(values, dims=field.dims) for values in wide]


def _densities(reference: Any, test: Any, *, outer: tuple[float, float] | None) -> tuple[Any, ...]:
    """Densities of both (origin, bin), left and right edges, divergence and distance."""
    both = np.stack([reference.sum(axis=-2), test.sum(axis=-2)])
    counts = both[:, histograms.HEAD :]
    low, high = outer or reference[0, histograms.HEAD - 2 : histograms.HEAD]
    edges = np.linspace(low, high, counts.shape[-1] + 1)
    if both[:, 1:2].any() or (outer is None and not np.isfinite(low)):  # NaN, or no range
        nan = np.full(edges.size - 1, np.nan)
        return np.stack([nan, nan]), edges[:-1], edges[1:], np.float64(np.nan), np.float64(np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        densities = counts / counts.sum(axis=-1, keepdims=True) / np.diff(edges)
    js, tv, *_ = kernels.distances(densities[0], densities[1])
    if np.isfinite(js):
        shares = densities + _FLOOR
        js = kernels.distances(shares[0], shares[1])[0]
    return densities, edges[:-1], edges[1:], np.float64(js), np.float64(tv)
