"""Which axes of an object can be transformed."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping

import xarray as xr

from xphys._dims import resolve_dims
from xphys.errors import SchemaError, XphysError
from xphys.schema import SPATIAL_DIMS, Axis, axis
from xphys.spectra._options import Options

__all__ = ["described", "transformed_axes"]


def transformed_axes(
    obj: xr.Dataset | xr.DataArray, dims: str | Iterable[Hashable] | None, options: Options
) -> list[Axis]:
    """Axes to transform, each uniform, and periodic or windowed.

    Parameters
    ----------
    obj : Dataset or DataArray
        The object.
    dims : str or iterable of str, optional
        Names; by default the spatial ones with more than one point.
    options : Options
        Kind, windows and trend.

    Returns
    -------
    list of Axis
        In the order in which the object has them.

    Raises
    ------
    SchemaError
        If an axis will not do, or there are too many or too few of them.
    """
    names = resolve_dims(obj, dims)
    if dims is None:
        # An axis with one point has no modes, and its length must not set dk.
        names = tuple(name for name in names if obj.sizes[name] > 1)
        if not names:
            raise SchemaError("no spatial axis has more than one point: name one with dims=(...)")
    _check_number(names, options.kind)
    axes = [described(obj, name) for name in names]
    if isinstance(options.window, Mapping):
        strange = set(map(str, options.window)) - {a.name for a in axes}
        if strange:
            raise SchemaError(f"window= names {sorted(strange)}, transformed are {list(names)}")
    for a in axes:
        _check(a, options)
    if options.detrend == "linear" and all(a.periodic for a in axes):
        raise SchemaError(
            f'detrend="linear" is for open axes, and {[a.name for a in axes]} are periodic: '
            "leave it out"
        )
    if all(a.size == 1 for a in axes):
        raise SchemaError(
            f"axes {[a.name for a in axes]} have no modes: expected more than one point"
        )
    _check_units(obj, axes, options.kind)
    return axes


def _check_number(names: tuple[Hashable, ...], kind: str) -> None:
    wanted = {"1d": 1, "2d": 2}.get(kind)
    if wanted is not None and len(names) != wanted:
        raise SchemaError(
            f"kind={kind!r} transforms {wanted} {'axis' if wanted == 1 else 'axes'}, got "
            f"{list(names)}: name {'it' if wanted == 1 else 'them'} with dims=..."
        )
    if len(names) > 3:
        raise SchemaError(f"expected at most 3 axes to transform, got {list(names)}")
    if wanted is None and len(names) > 1 and not set(names) <= set(SPATIAL_DIMS):
        raise SchemaError(
            f"shells of wavenumber need axes out of {SPATIAL_DIMS}, got {list(names)}: take one "
            'axis, or two with kind="2d"'
        )


def described(obj: xr.Dataset | xr.DataArray, name: Hashable) -> Axis:
    """Axis with positions and a period that are numbers."""
    if name in obj.coords and obj.coords[name].dtype.kind not in "fiu":
        raise SchemaError(
            f"coordinate {name!r} holds {obj.coords[name].dtype}, expected numbers: e.g. "
            f'.assign_coords({name}=(ds.{name} - ds.{name}[0]) / np.timedelta64(1, "s"))'
        )
    if name in obj.coords and obj.coords[name].ndim > 1:
        raise SchemaError(
            f"coordinate {name!r} has dims {obj.coords[name].dims}, expected only ({name!r},): a "
            f"spectrum needs a rectangular grid; interpolate, or rename it with .rename("
            f'{name}="{name}_2d") and give {name!r} positions with .assign_coords'
        )
    try:
        return axis(obj, name)
    except XphysError:
        raise
    except (TypeError, ValueError) as error:
        raise SchemaError(
            f"attrs of coordinate {name!r} do not hold a number as period: {error}"
        ) from error


def _check(a: Axis, options: Options) -> None:
    if a.spacing != "uniform":
        raise SchemaError(
            f"axis {a.name!r} has {a.spacing} spacing, a spectrum needs a uniform one: leave "
            f"it out with dims=(...) or interpolate with .interp({a.name}=...)"
        )
    if a.periodic or (options.window_of(a.name) is not None and a.size >= 2):
        return
    boundary = "" if a.boundary is None else f", boundary {a.boundary!r}"
    raise SchemaError(
        f"axis {a.name!r} is not periodic (period {a.period}, {a.size} points of step "
        f'{a.step:.6g}{boundary}): pass window="hann" (two points or more), or declare its length '
        f'in .{a.name}.attrs["period"]'
    )


def _check_units(obj: xr.Dataset | xr.DataArray, axes: list[Axis], kind: str) -> None:
    units = {str(obj.coords[a.name].attrs.get("units")) for a in axes} - {"None"}
    if len(units) > 1 and kind != "2d":
        raise SchemaError(
            f"axes {[a.name for a in axes]} have different units {sorted(units)}: "
            "convert the positions to one unit"
        )
