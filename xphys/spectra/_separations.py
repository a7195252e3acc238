"""Structure functions and correlations of labelled fields."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial, reduce
from operator import add
from typing import Any

import numpy as np
import xarray as xr

from xphys._dims import add_states, lift, real_variables, reduce_blocks, resolve_dims
from xphys.errors import SchemaError
from xphys.schema import Axis, record, spatial_dims, vectors
from xphys.spectra import _lags as kernels
from xphys.spectra._axes import described
from xphys.spectra._gather import gathered
from xphys.spectra._options import options
from xphys.spectra._pencils import Room

__all__ = ["autocorrelation", "correlation_lengths", "structure_functions"]

_ALL, _SOME = 32, 32  # separations taken by default: all up to so many, else so many
Fields = xr.Dataset | xr.DataArray
Parts = dict[str, dict[str, xr.DataArray]]


def structure_functions(
    obj: xr.Dataset | xr.DataArray,
    variables: str | Iterable[Hashable] | None = None,
    *,
    orders: Sequence[float] = (2, 3, 4),
    dims: str | Iterable[Hashable] | None = None,
    lags: int | Sequence[int] | None = None,
    absolute: bool = False,
    skipna: bool = False,
    memory: int | str = "1GB",
    scratch: str | None = None,
) -> xr.Dataset:
    r"""Structure functions of fields, by direction and separation, lazily.

    :math:`S_p(r) = \langle (u(x + r\,e) - u(x))^p \rangle` with the mean over all points of the
    spatial dims; e is the unit vector of one axis. Of a vector with a component along each of the
    axes also the longitudinal one, :math:`\langle ((u(x + r e) - u(x)) \cdot e)^p\rangle`, and the
    transverse one, the mean of :math:`S_p` over the components across e.

    Parameters
    ----------
    obj : Dataset or DataArray
        Real fields on uniform axes; any chunks, each read once.
    variables : str or iterable of str, optional
        Variables, or vectors for their components; by default all real ones with these axes.
    orders : sequence of float
        Powers p; whole numbers from 1 on, with ``absolute`` any above 0.
    dims : str or iterable of str, optional
        Axes along which points are apart; by default the spatial ones with more than one point.
        Means are over these and all spatial dims; others stay.
    lags : int or sequence of int, optional
        Separations in cells, or the largest. By default all up to half of the longest axis if
        these are no more than 32, else about 32 of them in even steps of the logarithm.
    absolute : bool, default False
        Powers of the absolute increment.
    skipna : bool, default False
        True takes the pairs of finite values; False gives NaN for a field that has others.
    memory : int or str
        Bytes that a task may use to gather lines that lie in several chunks.
    scratch : str, optional
        Folder for lines that do not fit, as in `spectra`.

    Returns
    -------
    Dataset
        Same names, and ``<vector>_longitudinal`` and ``<vector>_transverse``, on the dims that are
        left, ``direction``, ``order`` and ``lag`` (cells), with the coordinate
        ``separation(direction, lag)`` in the units of the axes. NaN where a separation is more than
        half of a periodic axis, or not on an open one.

    Raises
    ------
    UnknownNameError
        If a variable does not exist.
    SchemaError
        If an axis is not uniform or has one point, a variable is not real or lacks an axis, orders
        or lags are no such numbers, or a line does not fit in ``memory``.

    Notes
    -----
    A task holds its chunk, and 2**16 values in float64 at a time; time is that of one subtraction
    and one product for each order and lag. Units are those of the field to the power p.

    Examples
    --------
    >>> x = xr.Variable("x", np.arange(8) / 8, {"period": 1.0})
    >>> wave = xr.Dataset({"u": ("x", np.cos(2 * np.pi * x.data))}, {"x": x})
    >>> found = structure_functions(wave, orders=[2])
    >>> found.u.sel(lag=4).values.round(12)  # 1 - cos(pi) = 2
    array([[2.]])
    """
    powers = _orders(orders, absolute)
    room = _room(memory, scratch)

    def one(field: xr.DataArray, along: Axis, number: np.ndarray, core: list[Hashable]) -> Any:
        state = reduce_blocks(
            kernels.increment_states,
            add_states,
            *gathered([field], [along.name], room),
            over=core,
            size=kernels.increment_size(number, powers),
            kwargs={
                "lags": number,
                "orders": powers,
                "periodic": along.periodic,
                "absolute": absolute,
            },
        )
        return lift(
            partial(kernels.increments, lags=number.size, skipna=skipna),
            state,
            core_dims=["state"],
            output_core_dims=[["order", "lag"]],
            output_sizes={"order": len(powers), "lag": number.size},
            output_dtypes=[np.float64],
        ).assign_coords(order=np.asarray(powers), lag=number)

    parts, axes = _each(obj, variables, dims, lags, one, first=1)
    about = "structure function" + (" of absolute increments" if absolute else "")
    result = _joined(_with_vectors(obj, parts), axes)
    for name, field in result.data_vars.items():
        field.attrs = {"long_name": f"{about} of {name}"}
    if all(float(p).is_integer() for p in powers):
        result = result.assign_coords(order=result["order"].astype(np.int64))
    used = {"orders": [float(p) for p in powers], "absolute": absolute}
    return _recorded(result, obj, "structure_functions", axes, {**used, "skipna": skipna})


def autocorrelation(
    obj: xr.Dataset | xr.DataArray,
    variables: str | Iterable[Hashable] | None = None,
    *,
    dims: str | Iterable[Hashable] | None = None,
    lags: int | None = None,
    skipna: bool = False,
    memory: int | str = "1GB",
    scratch: str | None = None,
) -> xr.Dataset:
    r"""Autocorrelation of fields, by direction and separation, lazily.

    .. math:: R(r) = \langle u'(x)\,u'(x + r\,e)\rangle / \langle u'^2\rangle,
        \qquad u' = u - \langle u\rangle

    with means over the points of the spatial dims and of ``dims``; pairs that an open axis does
    not have are left out of the mean.

    Parameters
    ----------
    obj : Dataset or DataArray
        Real fields on uniform axes; any chunks, each read once.
    variables : str or iterable of str, optional
        Variables, or vectors for their components; by default all real ones with these axes.
    dims : str or iterable of str, optional
        Axes along which points are apart, "time" among them; by default the spatial ones with more
        than one point. Other dims stay.
    lags : int, optional
        Largest separation in cells; by default half of the longest axis.
    skipna : bool, default False
        True takes the pairs of finite values; False gives NaN for a field that has others.
    memory : int or str
        Bytes that a task may use to gather lines that lie in several chunks.
    scratch : str, optional
        Folder for lines that do not fit, as in `spectra`.

    Returns
    -------
    Dataset
        Same names on the dims that are left, ``direction`` and ``lag`` (cells, from 0), with the
        coordinate ``separation(direction, lag)``. 1 at lag 0; NaN for a constant field.

    Raises
    ------
    UnknownNameError
        If a variable does not exist.
    SchemaError
        If an axis is not uniform or has one point, a variable is not real or lacks an axis, lags
        are no whole number, or a line does not fit in ``memory``.

    Notes
    -----
    By Fourier transforms along each line, 2**16 values at a time. A mean that varies in space or
    time is part of u': take it out before, e.g. ``ds - ds.mean("time")``.

    Examples
    --------
    >>> x = xr.Variable("x", np.arange(8) / 8, {"period": 1.0})
    >>> wave = xr.Dataset({"u": ("x", np.cos(2 * np.pi * x.data))}, {"x": x})
    >>> autocorrelation(wave).u.values.round(6)[0, [0, 4]]
    array([ 1., -1.])
    """
    if lags is not None and (isinstance(lags, bool) or not isinstance(lags, int | np.integer)):
        raise SchemaError(f"expected lags as the largest whole number of cells, got {lags!r}")
    room = _room(memory, scratch)

    def one(field: xr.DataArray, along: Axis, number: np.ndarray, core: list[Hashable]) -> Any:
        state = reduce_blocks(
            kernels.correlation_states,
            kernels.merge_correlations,
            *gathered([field], [along.name], room),
            over=core,
            size=kernels.correlation_size(number.size),
            kwargs={"lags": number.size, "periodic": along.periodic},
        )
        return lift(
            partial(kernels.correlation, skipna=skipna),
            state,
            core_dims=["state"],
            output_core_dims=[["lag"]],
            output_sizes={"lag": number.size},
            output_dtypes=[np.float64],
        ).assign_coords(lag=number)

    parts, axes = _each(obj, variables, dims, lags, one, first=0)
    result = _joined(parts, axes)
    for name, field in result.data_vars.items():
        field.attrs = {"long_name": f"autocorrelation of {name}", "units": "1"}
    return _recorded(result, obj, "autocorrelation", axes, {"lags": lags, "skipna": skipna})


def correlation_lengths(
    obj: xr.Dataset | xr.DataArray,
    variables: str | Iterable[Hashable] | None = None,
    *,
    dims: str | Iterable[Hashable] | None = None,
    lags: int | None = None,
    skipna: bool = False,
    memory: int | str = "1GB",
    scratch: str | None = None,
) -> xr.Dataset:
    r"""Lengths (along time, durations) over which fields are correlated, lazily.

    From the `autocorrelation` R: the integral length :math:`\int_0^{r_0} R\,dr` to the first zero
    :math:`r_0` (trapezoidal rule), that zero, and the separation where R has fallen to 1/e, both
    by linear interpolation.

    Parameters
    ----------
    obj : Dataset or DataArray
        Real fields on uniform axes; any chunks, each read once.
    variables : str or iterable of str, optional
        Variables, or vectors for their components; by default all real ones with these axes.
    dims : str or iterable of str, optional
        Axes along which points are apart; by default the spatial ones with more than one point.
    lags : int, optional
        Largest separation in cells; by default half of the longest axis.
    skipna : bool, default False
        True takes the pairs of finite values; False gives NaN for a field that has others.
    memory : int or str
        Bytes that a task may use to gather lines that lie in several chunks.
    scratch : str, optional
        Folder for lines that do not fit, as in `spectra`.

    Returns
    -------
    Dataset
        Same names on the dims that are left, ``direction`` and ``length``: "integral", "zero" and
        "e_folding", in the units of the axis, which must agree. NaN where R does not fall so far
        within the lags; the integral is then over all of them.

    Raises
    ------
    UnknownNameError
        If a variable does not exist.
    SchemaError
        As `autocorrelation`; or if the axes have different units.

    Examples
    --------
    >>> x = xr.Variable("x", np.arange(64) / 64, {"period": 1.0, "units": "m"})
    >>> wave = xr.Dataset({"u": ("x", np.cos(2 * np.pi * x.data))}, {"x": x})
    >>> correlation_lengths(wave).u.sel(length="zero").values.round(3)
    array([0.25])
    """
    found = autocorrelation(
        obj, variables, dims=dims, lags=lags, skipna=skipna, memory=memory, scratch=scratch
    )
    units = found["separation"].attrs.get("units")
    if units is None and len({obj[d].attrs.get("units") for d in found["direction"].values}) > 1:
        raise SchemaError(
            f"the axes {found['direction'].values.tolist()} have different units: name one with "
            "dims=..."
        )
    separation = xr.DataArray(found["separation"].variable)
    fields = {}
    for name, values in found.data_vars.items():
        three = lift(
            kernels.lengths,
            values.reset_coords(drop=True),
            separation,
            core_dims=["lag"],
            output_core_dims=[[]] * 3,
            output_dtypes=[np.float64] * 3,
        )
        length = xr.DataArray(["integral", "zero", "e_folding"], dims="length", name="length")
        joined = xr.concat(three, length, coords="minimal", compat="override", join="exact")
        joined = joined.transpose(..., "direction", "length")
        joined.attrs = {"long_name": f"correlation length of {name}"}
        fields[name] = joined if units is None else joined.assign_attrs(units=units)
    kept = {n: c for n, c in found.coords.items() if "lag" not in c.dims}
    result = xr.Dataset(fields, attrs=found.attrs).assign_coords(kept)
    return record(result, "correlation_lengths", {})


# --- what they share ------------------------------------------------------------------------


def _orders(orders: Any, absolute: bool) -> tuple[float, ...]:
    try:
        listed: list[Any] = [orders] if np.isscalar(orders) else list(orders)
        found = tuple(float(p) for p in listed)
    except (TypeError, ValueError):
        found = ()
    if not found or not all(np.isfinite(p) and p > 0 for p in found):
        raise SchemaError(f"expected orders as numbers above 0, got {orders!r}")
    if len(set(found)) < len(found):
        raise SchemaError(f"each order once, got {orders!r}")
    if not absolute and not all(p.is_integer() for p in found):
        raise SchemaError(
            f"orders {orders!r} of signed increments are whole numbers: pass absolute=True"
        )
    return found


def _room(memory: int | str, scratch: str | None) -> Room:
    return options("isotropic", "density", None, None, "propagate", memory, scratch).room


def _axes(obj: Fields, dims: str | Iterable[Hashable] | None) -> list[Axis]:
    names = resolve_dims(obj, dims)
    if dims is None:
        names = tuple(d for d in names if obj.sizes[d] > 1)
        if not names:
            raise SchemaError("no spatial axis has more than one point: name one with dims=(...)")
    axes = [described(obj, name) for name in names]
    for a in axes:
        if a.size < 2:
            raise SchemaError(f"axis {a.name!r} has {a.size} points: expected two or more")
        if a.spacing != "uniform":
            raise SchemaError(
                f"axis {a.name!r} has {a.spacing} spacing, separations need a uniform one: leave "
                f"it out with dims=(...) or interpolate with .interp({a.name}=...)"
            )
    return axes


def _numbers(lags: Any, axes: list[Axis], first: int) -> np.ndarray:
    """Separations in cells, the same for all axes."""
    most = max(_most(a) for a in axes)
    if lags is None:
        half = max(a.size // 2 for a in axes)
        if first == 0 or half <= _ALL:
            return np.arange(first, half + 1)
        return np.unique(np.rint(np.geomspace(1, half, _SOME)).astype(np.int64))
    single = isinstance(lags, int | np.integer) and not isinstance(lags, bool)
    found = np.arange(first, int(lags) + 1) if single else np.asarray(lags)
    if found.ndim != 1 or not found.size or found.dtype.kind not in "iu" or found.min() < first:
        raise SchemaError(f"expected lags as whole numbers of cells from 1 on, got {lags!r}")
    if found.max() > most:
        raise SchemaError(
            f"the largest lag is {int(found.max())} cells, the axes have pairs of up to {most}"
        )
    if np.unique(found).size < found.size:
        raise SchemaError(f"each lag once, got {lags!r}")
    return found.astype(np.int64)


def _most(a: Axis) -> int:
    return a.size // 2 if a.periodic else a.size - 1


def _each(
    obj: Fields,
    variables: str | Iterable[Hashable] | None,
    dims: str | Iterable[Hashable] | None,
    lags: Any,
    one: Callable[..., Any],
    first: int,
) -> tuple[Parts, list[Axis]]:
    """Results by variable and direction."""
    if not isinstance(obj, xr.Dataset | xr.DataArray):
        raise SchemaError(f"expected a Dataset or DataArray, got {type(obj).__name__}")
    axes = _axes(obj, dims)
    fields = real_variables(obj, variables, dims=[a.name for a in axes])
    numbers = _numbers(lags, axes, first)
    parts: Parts = {}
    for name, field in fields.items():
        empty = [str(d) for d in field.dims if not field.sizes[d]]
        if empty:
            raise SchemaError(f"{name!r} has no points along {empty}: the selection is empty")
        averaged = [*spatial_dims(field), *(a.name for a in axes)]
        for a in axes:
            core: list[Hashable] = [d for d in dict.fromkeys(averaged) if d != a.name]
            possible = numbers[numbers <= _most(a)]
            rising = field
            if a.coordinate[0] > a.coordinate[-1]:  # odd powers change their sign with the axis
                rising = field.isel({a.name: slice(None, None, -1)})
            parts.setdefault(name, {})[a.name] = one(rising, a, possible, [*core, a.name])
    return parts, axes


def _with_vectors(obj: Fields, parts: Parts) -> Parts:
    """The vectors too, all of whose components along the directions are there."""
    found = dict(parts)
    if isinstance(obj, xr.DataArray):
        return found
    for vector, components in vectors(obj).items():
        names = {c: str(n) for c, n in components.items() if str(n) in parts}
        directions = list(next(iter(parts.values())))
        if not set(directions) <= set(names):
            continue
        along = f"{vector}_longitudinal"
        found[along] = {d: parts[names[d]][d] for d in directions}
        if len(names) > 1:
            across = {d: [parts[n][d] for c, n in names.items() if c != d] for d in directions}
            found[f"{vector}_transverse"] = {
                d: reduce(add, several) / len(several) for d, several in across.items()
            }
    return found


def _joined(parts: Parts, axes: list[Axis]) -> xr.Dataset:
    direction = xr.DataArray([a.name for a in axes], dims="direction", name="direction")
    fields = {}
    for name, by_direction in parts.items():
        joined = xr.concat(
            [by_direction[a.name] for a in axes],
            direction,
            coords="minimal",
            compat="override",
            join="outer",
        )
        tail = [d for d in ("direction", "order", "lag") if d in joined.dims]
        joined = joined.chunk(lag=-1) if joined.chunks is not None else joined
        fields[name] = joined.transpose(..., *tail)
    return xr.Dataset(fields)


def _recorded(
    result: xr.Dataset, obj: Fields, operation: str, axes: list[Axis], used: dict[str, Any]
) -> xr.Dataset:
    lag = result["lag"].values
    limit = np.array([_most(a) for a in axes])[:, None]
    apart = np.array([a.step for a in axes])[:, None] * lag
    attrs = {"long_name": "separation"}
    units = {obj[a.name].attrs.get("units") for a in axes}
    if len(units) == 1 and None not in units:
        attrs["units"] = str(units.pop())
    separation = xr.Variable(("direction", "lag"), np.where(lag <= limit, apart, np.nan), attrs)
    result = result.assign_coords(separation=separation)
    result["lag"].attrs = {"long_name": "separation in cells", "units": "1"}
    result.attrs = dict(obj.attrs) if isinstance(obj, xr.Dataset) else {}
    return record(result, operation, {"dims": [a.name for a in axes], **used})
