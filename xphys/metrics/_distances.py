"""Distances between the distributions of two Datasets."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from xphys._dims import lift, real_variables, reduce_blocks, resolve_dims, stack
from xphys.errors import SchemaError, UnknownNameError
from xphys.metrics import _score_kernels as kernels
from xphys.metrics._pairs import datasets
from xphys.schema import PROVENANCE, record
from xphys.stats import histograms

__all__ = ["FINE", "distance_of", "distances", "fine_state"]

#: Bins of the histograms from which distances of distributions are taken.
FINE = 2**14
_ABOUT = {
    "js_divergence": ("Jensen-Shannon divergence, natural logarithm", "1"),
    "tv_distance": ("total variation distance", "1"),
    "ks_distance": ("Kolmogorov-Smirnov distance", "1"),
    "wasserstein": ("Wasserstein distance of order 1", None),
}


def distances(
    test: xr.Dataset | xr.DataArray,
    reference: xr.Dataset | xr.DataArray,
    variables: str | Iterable[Hashable] | None = None,
    *,
    bins: int = 128,
    dims: str | Iterable[Hashable] | None = None,
    skipna: bool = False,
) -> xr.Dataset:
    r"""Distances between the distributions of values of two Datasets, lazily.

    With the shares p and q of the values in common bins and their sums P and Q up to an edge:

    - ``js_divergence`` :math:`= \frac12\sum p\ln\frac{2p}{p+q} + \frac12\sum q\ln\frac{2q}{p+q}`,
      0 to ln 2, and ``tv_distance`` :math:`= \frac12\sum|p-q|`, 0 to 1: in no more than ``bins``
      bins of a width that is a power of 2, over all values of both
    - ``ks_distance`` :math:`= \max|P-Q|` and ``wasserstein`` :math:`= \int|P-Q|\,du`: in bins as
      much finer as 16384 of them allow; the second is right to one such bin, the first is never
      too large

    Parameters
    ----------
    test, reference : Dataset or DataArray
        Both of one kind, any chunks, each read once. They need not share a grid.
    variables : str or iterable of str, optional
        Variables, or vectors for their components; by default the real ones that both have.
    bins : int
        2 to 16384.
    dims : str or iterable of str, optional
        Dims to count over, by default all; others stay and must agree.
    skipna : bool, default False
        True leaves NaN out; False gives NaN where there is one. Infinite values give NaN.

    Returns
    -------
    Dataset
        On dim ``variable`` and the dims that are left. All 0 for equal distributions.

    Raises
    ------
    UnknownNameError
        If a variable is not in both.
    SchemaError
        If a variable is not of real numbers or still packed, has no values, a dim is unknown or
        differs, or ``bins`` is no such number.

    Examples
    --------
    >>> x = xr.Dataset({"u": ("x", [0.0, 1.0, 2.0, 3.0])})
    >>> found = distances(x + 1, x)
    >>> float(found.wasserstein[0]), float(found.tv_distance[0])
    (1.0, 0.25)
    """
    if isinstance(bins, bool) or not isinstance(bins, int | np.integer) or not 2 <= bins <= FINE:
        raise SchemaError(f"expected a number of bins from 2 to {FINE}, got {bins!r}")
    new, old = datasets(test, reference)
    over = None if dims is None else resolve_dims(old, dims)
    names = common_names(new, old, variables)
    columns: dict[str, dict[str, xr.DataArray]] = {name: {} for name in _ABOUT}
    for name in names:
        if over is not None and not set(over) & set(old[name].dims):
            raise SchemaError(f"variable {name!r} has none of the dims {over}: leave it out")
        states = [fine_state(ds[name], over) for ds in (new, old)]
        found = distance_of(states[0], states[1], bins=int(bins), skipna=skipna)
        for key, value in zip(_ABOUT, found, strict=True):
            columns[key][name] = value
    result = xr.Dataset({key: stack(parts, names) for key, parts in columns.items()})
    for key, (about, units) in _ABOUT.items():
        result[key].attrs = {"long_name": about} | ({} if units is None else {"units": units})
    units_of = [str(old[name].attrs.get("units", "")) for name in names]
    result = result.assign_coords(units=("variable", units_of))
    result.attrs = {k: test.attrs[k] for k in (PROVENANCE,) if k in test.attrs}
    over_names = None if over is None else [str(d) for d in over]
    return record(result, "distances", {"variables": names, "bins": int(bins), "dims": over_names})


def common_names(
    new: xr.Dataset, old: xr.Dataset, variables: str | Iterable[Hashable] | None
) -> list[str]:
    """Real variables of both."""
    if variables is not None:
        names = list(real_variables(old, variables))
        real_variables(new, names)
        return names
    there = [n for n in old.data_vars if n in new.data_vars]
    names = [str(n) for n in there if all(f[n].dtype.kind in "biuf" for f in (new, old))]
    if not names:
        raise UnknownNameError(
            f"no real variable is in both: test has {list(new.data_vars)}, reference has "
            f"{list(old.data_vars)}"
        )
    real_variables(new, names)
    return list(real_variables(old, names))


def fine_state(field: xr.DataArray, over: tuple[Hashable, ...] | None) -> xr.DataArray:
    """Fine histogram of a field over some dims (None: all)."""
    along = [d for d in field.dims if over is None or d in over]
    empty = [str(d) for d in along if not field.sizes[d]]
    if empty:
        raise SchemaError(f"{field.name!r} has no points along {empty}: the selection is empty")
    return reduce_blocks(
        histograms.states,
        histograms.merge,
        field,
        over=along,
        size=histograms.HEAD + FINE,
        kwargs={"bins": FINE},
    ).reset_coords(drop=True)


def distance_of(
    test: xr.DataArray, reference: xr.DataArray, *, bins: int, skipna: bool = False
) -> tuple[xr.DataArray, ...]:
    """Distances of two fine histograms: js_divergence, tv_distance, ks_distance, wasserstein."""
    left = {d: n for d, n in test.sizes.items() if d != "state"}
    other = {d: n for d, n in reference.sizes.items() if d != "state"}
    if left != other:
        raise SchemaError(f"the dims that are left differ: test has {left}, reference {other}")
    found: tuple[xr.DataArray, ...] = lift(
        partial(_distances, bins=bins, skipna=skipna),
        test.drop_vars(list(test.coords)),
        reference,
        core_dims=["state"],
        output_core_dims=[[]] * 4,
        output_dtypes=[np.float64] * 4,
    )
    return found


def _distances(test: Any, reference: Any, *, bins: int, skipna: bool) -> tuple[Any, ...]:
    lead = np.broadcast_shapes(test.shape[:-1], reference.shape[:-1])
    rows = [np.broadcast_to(s, (*lead, s.shape[-1])).reshape(-1, s.shape[-1])
            for s in (test, reference)]  # fmt: skip
    found = np.full((4, len(rows[0])), np.nan)
    for i, (a, b) in enumerate(zip(*rows, strict=True)):
        # of a state: number of values, of NaN, of -infinity, of infinity
        bad = any(s[2] or s[3] or (s[1] and not skipna) for s in (a, b))
        if bad:
            continue
        (p, q), _ = histograms.aligned(a, b, bins=bins)
        found[:2, i] = kernels.distances(p, q)[:2]
        (p, q), edges = histograms.aligned(a, b, bins=FINE)
        found[2:, i] = kernels.distances(p, q, edges)[2:]
    return tuple(row.reshape(lead) for row in found)
