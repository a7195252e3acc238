"""Statistics of labelled Datasets."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from xphys._dims import fold_blocks, real_variables
from xphys.schema import PROVENANCE, record, vectors
from xphys.stats import _kernels as kernels
from xphys.stats._kernels import STATE

__all__ = ["NAMES", "statistics"]

#: Variables of the result and what they are.
NAMES = {
    "count": "number of values, NaN left out",
    "nan_count": "number of NaN",
    "mean": "mean",
    "std": "standard deviation, divided by the number of values",
    "min": "smallest value",
    "max": "largest value",
    "rms": "root of the mean square",
}
_TYPES = (np.int64, np.int64, *[np.float64] * 5)


def statistics(
    ds: xr.Dataset,
    variables: str | Iterable[Hashable] | None = None,
    *,
    skipna: bool = False,
) -> xr.Dataset:
    r"""Count, mean, standard deviation, extremes and root mean square of whole variables, lazily.

    Every value counts alike, whatever the width of its cell. :math:`\sigma^2 = \sum (u - \bar
    u)^2 / n`, rms :math:`= \sqrt{\sum u^2 / n}`. Each chunk is read once; float64 throughout, and
    any chunking gives the same to 1e-12.

    Parameters
    ----------
    ds : Dataset
        Any chunks.
    variables : str or iterable of str, optional
        Names; by default all variables of real numbers or truth values.
    skipna : bool, default False
        True leaves NaN out. False: where there is one, all but the counts is NaN.

    Returns
    -------
    Dataset
        ``count``, ``nan_count``, ``mean``, ``std``, ``min``, ``max``, ``rms`` on dim
        ``variable``, one entry for each variable, then one for each vector, all of whose
        components count as its values. Coordinates ``vector`` and ``component`` ("" where there
        is none) and ``units``.

    Raises
    ------
    UnknownNameError
        If a name does not exist.
    SchemaError
        If a variable is not of real numbers, or there is none.

    Examples
    --------
    >>> ds = xr.Dataset({"u": ("x", [1.0, 3.0])})
    >>> found = statistics(ds)
    >>> float(found["mean"].sel(variable="u")), float(found["std"].sel(variable="u"))
    (2.0, 1.0)
    """
    names = list(real_variables(ds, variables))
    states = {name: _state(ds.variables[name]) for name in names}
    rows = {str(name): ds[name].attrs for name in names}
    order = list(states.values())
    for vector, components in vectors(ds).items():
        own = [states[name] for name in components.values() if name in states]
        if len(own) > 1 and vector not in rows:
            units = {str(ds[name].attrs.get("units", "")) for name in components.values()}
            rows[vector] = {"vector": vector, "units": units.pop() if len(units) == 1 else ""}
            order.append(_apply(_merged, *own, dtype=STATE))
    table = _table(order, skipna)
    coords: dict[str, Any] = {"variable": list(rows)}
    for key in ("vector", "component", "units"):
        coords[key] = ("variable", [str(attrs.get(key, "")) for attrs in rows.values()])
    result = xr.Dataset(
        {
            name: ("variable", table[row].astype(_TYPES[row]), {"long_name": text})
            for row, (name, text) in enumerate(NAMES.items())
        },
        coords,
        {key: ds.attrs[key] for key in (PROVENANCE,) if key in ds.attrs},
    )
    used = {"variables": [str(name) for name in names], "skipna": skipna}
    return record(result, "statistics", used)


def _state(variable: xr.Variable) -> Any:
    """The state of all values: shape (), of Dask where the variable is."""
    if variable.chunks is None or variable.ndim == 0:
        held = variable.values if variable.chunks is None else variable.data
        return _apply(_all, held, dtype=STATE)
    import dask.array as da

    states = da.map_blocks(kernels.state, variable.data, dtype=STATE, meta=np.empty((), STATE))
    every = range(variable.ndim)
    return fold_blocks(states, _merged, every, without=every, dtype=STATE)


def _all(values: Any) -> Any:
    return kernels.state(np.asarray(values))


def _merged(*states: Any) -> Any:
    return kernels.merge(states)


def _table(states: list[Any], skipna: bool) -> Any:
    """Shape (len(NAMES), number of states): one task, whatever their number."""
    numbers = partial(_numbers, skipna=skipna)
    return _apply(numbers, *states, dtype=np.dtype(np.float64), shape=(len(NAMES), len(states)))


def _numbers(*states: Any, skipna: bool) -> Any:
    return np.array([_row(state, skipna) for state in states]).T


def _row(state: Any, skipna: bool) -> list[float]:
    counts = [float(state["count"]), float(state["nan_count"])]
    if not counts[0] or (counts[1] and not skipna):
        return counts + [np.nan] * (len(NAMES) - len(counts))
    measured = (
        state["mean"], kernels.deviation(state), state["min"], state["max"],
        kernels.root_mean_square(state),
    )  # fmt: skip
    return counts + [float(number) for number in measured]


def _apply(
    function: Callable[..., Any], *states: Any, dtype: np.dtype, shape: tuple[int, ...] = ()
) -> Any:
    """A function of single states, lazily if any of them is lazy."""
    if not any(hasattr(one, "dask") for one in states):
        return function(*states)
    import dask.array as da

    arrays = [da.asarray(one) for one in states]
    axes = list(range(len(shape)))
    meta = np.empty((0,) * len(shape), dtype)
    return da.map_blocks(function, *arrays, dtype=dtype, meta=meta, new_axis=axes or None,
                         chunks=tuple((n,) for n in shape) or None)  # fmt: skip
