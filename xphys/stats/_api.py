"""Statistics of labelled Datasets."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any

import numpy as np
import xarray as xr

from xphys._dims import real_variables
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
    columns = {name: [_value(one, name, skipna) for one in order] for name in NAMES}
    coords: dict[str, Any] = {"variable": list(rows)}
    for key in ("vector", "component", "units"):
        coords[key] = ("variable", [str(attrs.get(key, "")) for attrs in rows.values()])
    result = xr.Dataset(
        {
            name: ("variable", _stacked(columns[name]), {"long_name": text})
            for name, text in NAMES.items()
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

    return da.reduction(
        variable.data,
        chunk=_of_block,
        combine=_of_states,
        aggregate=_of_states,
        dtype=STATE,
        concatenate=False,
        meta=np.empty((), STATE),
    )


def _all(values: Any) -> Any:
    return kernels.state(np.asarray(values))


def _of_block(block: Any, axis: Any, keepdims: bool) -> Any:
    return kernels.state(block).reshape((1,) * (block.ndim if keepdims else 0))


def _of_states(nested: Any, axis: Any, keepdims: bool) -> Any:
    found = list(_flat(nested))
    return kernels.merge(found).reshape((1,) * found[0].ndim if keepdims else ())


def _flat(nested: Any) -> Iterable[Any]:
    if isinstance(nested, list):
        for entry in nested:
            yield from _flat(entry)
    else:
        yield nested


def _merged(*states: Any) -> Any:
    return kernels.merge(states)


def _value(state: Any, name: str, skipna: bool) -> Any:
    dtype = np.int64 if name in ("count", "nan_count") else np.float64
    return _apply(_Column(name, skipna), state, dtype=np.dtype(dtype))


class _Column:
    """One number of a state."""

    def __init__(self, name: str, skipna: bool):
        self.name, self.skipna = name, skipna

    def __call__(self, state: Any) -> Any:
        if self.name in ("count", "nan_count"):
            return np.asarray(state[self.name])
        if int(state["count"]) == 0 or (int(state["nan_count"]) and not self.skipna):
            return np.array(np.nan)
        if self.name == "std":
            return kernels.deviation(state)
        if self.name == "rms":
            return kernels.root_mean_square(state)
        return np.asarray(state[self.name])


def _apply(function: Callable[..., Any], *states: Any, dtype: np.dtype) -> Any:
    """A function of single states, lazily if any of them is lazy."""
    if not any(hasattr(one, "dask") for one in states):
        return function(*states)
    import dask.array as da

    arrays = [da.asarray(one) for one in states]
    return da.map_blocks(function, *arrays, dtype=dtype, meta=np.empty((), dtype))


def _stacked(values: list[Any]) -> Any:
    if not any(hasattr(one, "dask") for one in values):
        return np.stack(values)
    import dask.array as da

    return da.stack([da.asarray(one) for one in values])
