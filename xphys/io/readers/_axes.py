"""Axes of unlabelled arrays: which stored axis is x and which is y, and their positions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xphys.errors import FormatError, SchemaError
from xphys.schema._grid import is_regular, spacing_of

__all__ = ["check_axes", "covered", "given_times", "plane_axes", "positions", "time_axis"]

_TIME = {"units": "1", "long_name": "time"}
_NUMBER = {"long_name": "number of the output, not a time"}


def check_axes(axes: Any) -> None:
    """Raise SchemaError unless ``axes`` is None, "xy" or "yx"."""
    if axes not in (None, "xy", "yx"):
        raise SchemaError(f"axes must be 'xy' (the first stored axis is x) or 'yx', got {axes!r}")


def positions(
    dim: str, values: np.ndarray, where: str, attrs: Mapping[str, Any] | None = None
) -> xr.Variable:
    """A spatial coordinate as stored, with units, spacing and what else is given.

    Raises
    ------
    FormatError
        If the values are not one row of real numbers.
    """
    values = _row(values, where)
    known = {key: value for key, value in (attrs or {}).items() if value is not None}
    variable = xr.Variable(dim, values, {"units": "1", "long_name": dim, **known})
    seen = xr.Dataset(coords={dim: variable})
    if values.size > 1 and is_regular(seen, dim):
        variable.attrs["spacing"] = spacing_of(seen, dim)
    return variable


def covered(values: np.ndarray) -> float | None:
    """Length that the cells of a uniform axis cover; None for any other axis."""
    if values.ndim != 1 or values.size < 2 or values.dtype.kind not in "fiu":
        return None
    seen = xr.Dataset(coords={"x": ("x", np.asarray(values, np.float64))})
    if not is_regular(seen, "x") or spacing_of(seen, "x") != "uniform":
        return None
    return float(abs(seen["x"][-1] - seen["x"][0])) / (values.size - 1) * values.size


def time_axis(values: np.ndarray | None, count: int, where: str, comment: str = "") -> xr.Variable:
    """Times as stored or given; numbers of the outputs, without units, where none are known.

    Raises
    ------
    FormatError
        If the values are not ``count`` real numbers.
    """
    said = {"comment": comment} if comment else {}
    if values is None:
        numbers = np.arange(count, dtype=np.int64)
        return xr.Variable(
            "time", numbers, {"long_name": "number of the output, not a time"} | said
        )
    values = _row(values, where)
    if values.size != count:
        raise FormatError(f"{where}: expected {count} times, found {values.size}")
    return xr.Variable("time", values, _TIME | said)


def given_times(times: Any, count: int) -> np.ndarray:
    """What the caller gives as ``times=``; SchemaError unless it is ``count`` numbers."""
    try:
        given = np.asarray(times, np.float64)
    except (TypeError, ValueError) as error:
        raise SchemaError(f"times must be {count} numbers, got {type(times).__name__}") from error
    if given.shape != (count,):
        raise SchemaError(f"times must be {count} numbers, got an array of {given.shape}")
    return given


def _row(values: np.ndarray, where: str) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim != 1 or values.dtype.kind not in "fiu":
        raise FormatError(
            f"{where}: expected one row of real numbers, found {values.dtype} of {values.shape}"
        )
    return values


def plane_axes(
    shape: Sequence[int],
    sizes: Sequence[int],
    *,
    asked: str | None,
    usual: str,
    reason: str,
    where: str,
) -> tuple[str, str]:
    """Decide the order of the spatial axes of an array.

    Parameters
    ----------
    shape : sequence of int
        Lengths of the stored axes.
    sizes : sequence of int
        Lengths of the coordinates x, y (and z).
    asked : {"xy", "yx"} or None
        What the caller demands.
    usual : {"xy", "yx"}
        Where the lengths cannot tell.
    reason : str
        Why that is usual.
    where : str
        File and array, for errors.

    Returns
    -------
    order : {"xy", "yx"}
        "xy" if the stored axes are x, y (and z), "yx" if they are (z,) y and x.
    reason : str
        What decided.

    Raises
    ------
    FormatError
        If the lengths do not fit the coordinates, or not in the order asked for.
    """
    orders = {"xy": tuple(sizes), "yx": tuple(reversed(sizes))}
    fitting = [order for order, wanted in orders.items() if wanted == tuple(shape)]
    if not fitting or (asked is not None and asked not in fitting):
        named = ", ".join(f"{d} ({n})" for d, n in zip("xyz", sizes, strict=False))
        order = f" in the order {asked!r}" if fitting else ""
        raise FormatError(f"{where}: expected the axes {named}{order}, found {tuple(shape)}")
    if asked is not None:
        return asked, "given as axes="
    if len(fitting) == 1:
        return fitting[0], "lengths of the coordinates"
    return usual, reason
