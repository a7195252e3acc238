"""Moments and probability densities of labelled variables."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from xphys._dims import lift, real_variables, reduce_blocks, resolve_dims, stack
from xphys.errors import SchemaError
from xphys.schema import PROVENANCE, record
from xphys.stats import _moment_states as moment_states
from xphys.stats import histograms

__all__ = ["Bins", "dims_over", "histogram_states", "moments", "pdf"]

Bins = int | Sequence[float] | np.ndarray
Range = tuple[float, float]

_MOMENTS = {
    "count": "number of values, NaN left out",
    "nan_count": "number of NaN",
    "mean": "mean",
    "variance": "variance, divided by the number of values",
    "skewness": "skewness",
    "kurtosis": "excess kurtosis, 0 for a normal distribution",
    "min": "smallest value",
    "max": "largest value",
    "std": "standard deviation, divided by the number of values",
}
_COUNTS = ("count", "nan_count", "below", "above")
_FEWEST, _MOST = 1, 2**20


def moments(
    obj: xr.Dataset | xr.DataArray,
    variables: str | Iterable[Hashable] | None = None,
    *,
    dims: str | Iterable[Hashable] | None = None,
    skipna: bool = False,
) -> xr.Dataset:
    r"""Mean, variance, skewness and kurtosis of variables, lazily.

    With :math:`m_p = \langle (u - \bar u)^p\rangle` over the points: variance :math:`m_2`, skewness
    :math:`m_3 / m_2^{3/2}`, kurtosis :math:`m_4 / m_2^2 - 3`. Every point counts alike.

    Parameters
    ----------
    obj : Dataset or DataArray
        Any chunks; each is read once.
    variables : str or iterable of str, optional
        Variables, or vectors for their components; by default all of real numbers.
    dims : str or iterable of str, optional
        Dims to take the moments over, by default all; the others stay. Variables with none of them
        are left out.
    skipna : bool, default False
        True leaves NaN out. False: where there is one, all but the counts is NaN.

    Returns
    -------
    Dataset
        ``count``, ``nan_count``, ``mean``, ``variance``, ``std``, ``skewness``, ``kurtosis``,
        ``min`` and ``max`` on dim ``variable`` and the dims that are left, float64. Skewness and
        kurtosis of a constant are NaN.

    Raises
    ------
    UnknownNameError
        If a variable does not exist.
    SchemaError
        If a variable is not of real numbers or still packed, a dim is unknown, or nothing is left.

    Examples
    --------
    >>> ds = xr.Dataset({"u": ("x", [0.0, 0.0, 0.0, 4.0])})
    >>> found = moments(ds)
    >>> float(found.variance[0]), float(found.kurtosis[0].round(3))
    (3.0, -0.667)
    """
    fields, over = dims_over(obj, variables, dims)
    columns: dict[str, dict[str, xr.DataArray]] = {name: {} for name in _MOMENTS}
    for name, field in fields.items():
        along = [d for d in field.dims if over is None or d in over]
        state = reduce_blocks(
            moment_states.states, moment_states.merge, field, over=along, size=moment_states.SIZE
        )
        found = lift(
            partial(moment_states.scores, skipna=skipna),
            state,
            core_dims=["state"],
            output_core_dims=[[]] * 8,
            output_dtypes=[np.float64] * 8,
        )
        for key, value in zip(_MOMENTS, found, strict=False):
            columns[key][name] = value
        columns["std"][name] = columns["variance"][name] ** 0.5
    result = xr.Dataset({key: stack(parts, fields) for key, parts in columns.items()})
    for key, text in _MOMENTS.items():
        value = result[key].astype(np.int64) if key in _COUNTS else result[key]
        result[key] = value.assign_attrs(long_name=text)
    return finished(result, obj, fields, "moments", {"dims": named(over), "skipna": skipna})


def pdf(
    obj: xr.Dataset | xr.DataArray,
    variables: str | Iterable[Hashable] | None = None,
    *,
    bins: int | Sequence[float] | np.ndarray = 100,
    range: tuple[float, float] | None = None,
    dims: str | Iterable[Hashable] | None = None,
    skipna: bool = False,
) -> xr.Dataset:
    r"""Probability density of the values of variables, from exact histograms, lazily.

    :math:`p_i = n_i / (n\,w_i)` with :math:`n_i` of the :math:`n` values inside the bins in bin i
    of width :math:`w_i`, so that :math:`\sum_i p_i w_i = 1`. Every point counts alike.

    Parameters
    ----------
    obj : Dataset or DataArray
        Any chunks; each is read once, and any chunking gives the same counts.
    variables : str or iterable of str, optional
        Variables, or vectors for their components; by default all of real numbers.
    bins : int or sequence of float
        Edges that rise; or a number of bins, of equal width over ``range``. Without a range the
        width is the smallest power of 2 for which so many bins, at multiples of it, hold all
        values: more than half of them have some, the others are empty.
    range : (float, float), optional
        Outer edges for a number of bins.
    dims : str or iterable of str, optional
        Dims to count over, by default all; the others stay. Variables with none of them are left
        out.
    skipna : bool, default False
        True leaves NaN out. False: where there is one, the density is NaN.

    Returns
    -------
    Dataset
        ``pdf`` and ``count`` on dims ``variable``, those that are left, and ``bin``; ``below`` and
        ``above``, the numbers of values outside (infinity among them), and ``nan_count``.
        Coordinates ``left``, ``right`` and ``centre`` of the bins. The last bin is closed at the
        right, as in `numpy.histogram`; without a range all are half open.

    Raises
    ------
    UnknownNameError
        If a variable does not exist.
    SchemaError
        If a variable is not of real numbers or still packed, a dim is unknown, or bins or range
        are not finite numbers that rise.

    Examples
    --------
    >>> ds = xr.Dataset({"u": ("x", [0.0, 1.0, 1.5, 3.0])})
    >>> found = pdf(ds, bins=3, range=(0, 3))
    >>> found["count"].values, found.pdf.values
    (array([[1, 2, 1]]), array([[0.25, 0.5 , 0.25]]))
    """
    fields, over = dims_over(obj, variables, dims)
    edges, number = _edges(bins, range)
    columns: dict[str, dict[str, xr.DataArray]] = {}
    for name, field in fields.items():
        along = [d for d in field.dims if over is None or d in over]
        even = range is not None
        state = histogram_states(field, along, edges=edges, number=number, uniform=even)
        for key, value in zip(
            ("left", "right", "count", "pdf", "below", "above", "nan_count"),
            _densities(state, edges, number, skipna),
            strict=True,
        ):
            columns.setdefault(key, {})[name] = value
    result = xr.Dataset({key: stack(parts, fields) for key, parts in columns.items()})
    result = result.transpose("variable", ..., "bin")
    result["centre"] = (result["left"] + result["right"]) / 2
    about = {
        "pdf": "probability density, in the inverse unit of the variable",
        "count": "number of values in the bin",
        "below": "number of values below all bins",
        "above": "number of values above all bins",
        "nan_count": "number of NaN",
        "left": "left edge of the bin",
        "right": "right edge of the bin",
        "centre": "middle of the bin",
    }
    for key, text in about.items():
        value = result[key].astype(np.int64) if key in _COUNTS else result[key]
        result[key] = value.assign_attrs(long_name=text)
    result = result.set_coords(["left", "right", "centre"])
    used = {"bins": number if edges is None or range is not None else edges.tolist(),
            "range": None if range is None else [float(v) for v in range],
            "dims": named(over), "skipna": skipna}  # fmt: skip
    return finished(result, obj, fields, "pdf", used)


def histogram_states(
    field: xr.DataArray,
    over: Sequence[Hashable],
    *,
    edges: np.ndarray | None = None,
    number: int,
    uniform: bool = False,
) -> xr.DataArray:
    """Histogram of a field over some dims as states, in given bins or in those that fit it.

    Parameters
    ----------
    field : DataArray
        Real numbers.
    over : sequence of str
        Dims to reduce.
    edges : ndarray, optional
        Edges of the bins.
    number : int
        Number of bins.
    uniform : bool
        The edges are equally far apart.

    Returns
    -------
    DataArray
        Dims that are left, and ``state``.
    """
    size = histograms.HEAD + number
    if edges is None:
        return reduce_blocks(
            histograms.states, histograms.merge, field, over=over, size=size,
            kwargs={"bins": number},
        )  # fmt: skip
    return reduce_blocks(
        histograms.counted, histograms.merge_counted, field, over=over, size=size,
        kwargs={"edges": edges, "uniform": uniform},
    )  # fmt: skip


def _densities(
    state: xr.DataArray, edges: np.ndarray | None, number: int, skipna: bool
) -> tuple[xr.DataArray, ...]:
    found: tuple[xr.DataArray, ...] = lift(
        partial(_density, edges=edges, skipna=skipna),
        state,
        core_dims=["state"],
        output_core_dims=[["bin"]] * 4 + [[]] * 3,
        output_sizes={"bin": number},
        output_dtypes=[np.float64] * 7,
    )
    return found


def _density(state: Any, *, edges: np.ndarray | None, skipna: bool) -> tuple[Any, ...]:
    if edges is None:
        ends, counts = histograms.edges_of(state)
    else:
        counts = state[..., histograms.HEAD :]
        ends = np.broadcast_to(edges, (*counts.shape[:-1], edges.size))
    left, right = ends[..., :-1], ends[..., 1:]
    with np.errstate(invalid="ignore", divide="ignore"):
        density = counts / counts.sum(axis=-1, keepdims=True) / (right - left)
    count, nan, below, above = (state[..., i] for i in range(4))
    density = np.where(((nan > 0) & (not skipna))[..., None], np.nan, density)
    return left, right, counts, density, below, above, nan


def _edges(bins: Any, range: Any) -> tuple[np.ndarray | None, int]:
    """Edges, where they are known already, and the number of bins."""
    if isinstance(bins, int | np.integer) and not isinstance(bins, bool):
        if not _FEWEST <= bins <= _MOST:
            raise SchemaError(f"expected a number of bins from {_FEWEST} to {_MOST}, got {bins}")
        if range is None:
            if bins < 2:
                raise SchemaError("one bin needs its edges: give range=(low, high)")
            return None, int(bins)
        low, high = _two(range)
        return np.linspace(low, high, int(bins) + 1), int(bins)
    if range is not None:
        raise SchemaError("range= is for a number of bins: edges have their own, leave it out")
    try:
        edges = np.asarray(bins, np.float64)
    except (TypeError, ValueError):
        edges = np.empty(0)
    if edges.ndim != 1 or edges.size < 2 or not np.isfinite(edges).all():
        raise SchemaError(
            f"expected bins as a whole number or as two or more finite edges, got {bins!r}"
        )
    if not (np.diff(edges) > 0).all():
        raise SchemaError("the edges of bins do not rise: sort them, each once")
    return edges, edges.size - 1


def _two(range: Any) -> tuple[float, float]:
    try:
        low, high = (float(v) for v in range)
    except (TypeError, ValueError):
        low, high = np.nan, np.nan
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise SchemaError(f"expected range=(low, high), finite and low < high, got {range!r}")
    return low, high


# --- what the functions of this package share -----------------------------------------------


def dims_over(
    obj: xr.Dataset | xr.DataArray,
    variables: str | Iterable[Hashable] | None,
    dims: str | Iterable[Hashable] | None,
) -> tuple[dict[str, xr.DataArray], tuple[Hashable, ...] | None]:
    """Variables with at least one of the dims to reduce, and these dims (None for all)."""
    if not isinstance(obj, xr.Dataset | xr.DataArray):
        raise SchemaError(f"expected a Dataset or DataArray, got {type(obj).__name__}")
    over = None if dims is None else resolve_dims(obj, dims)
    found = real_variables(obj, variables)
    fields = {n: f for n, f in found.items() if over is None or set(over) & set(f.dims)}
    if not fields:
        raise SchemaError(f"none of the variables {list(found)} has any of the dims {over}")
    for name, field in fields.items():
        empty = [str(d) for d in field.dims if not field.sizes[d] and (over is None or d in over)]
        if empty:
            raise SchemaError(f"{name!r} has no points along {empty}: the selection is empty")
    return fields, over


def named(over: tuple[Hashable, ...] | None) -> list[str] | None:
    """Dims as a record keeps them."""
    return None if over is None else [str(d) for d in over]


def finished(
    result: xr.Dataset,
    obj: xr.Dataset | xr.DataArray,
    fields: Mapping[str, xr.DataArray],
    operation: str,
    parameters: Mapping[str, Any],
) -> xr.Dataset:
    """Units of the variables as a coordinate, and the record of what was done."""
    units = [str(f.attrs.get("units", "")) for f in fields.values()]
    result = result.assign_coords(units=("variable", units))
    result.attrs = {key: obj.attrs[key] for key in (PROVENANCE,) if key in obj.attrs}
    return record(result, operation, {"variables": list(fields), **parameters})
