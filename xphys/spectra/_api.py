"""Spectra of labelled fields."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import overload

import numpy as np
import xarray as xr

from xphys._dims import lift, resolve_dims, whole
from xphys.errors import SchemaError, UnknownNameError
from xphys.schema import PROVENANCE, Axis, axis, record
from xphys.spectra._kernels import WINDOWS, isotropic, shell_count

__all__ = ["spectra"]


@overload
def spectra(
    obj: xr.Dataset,
    variables: str | Iterable[Hashable] | None = None,
    *,
    dims: str | Iterable[Hashable] | None = None,
    window: str | None = None,
) -> xr.Dataset: ...


@overload
def spectra(
    obj: xr.DataArray,
    variables: str | Iterable[Hashable] | None = None,
    *,
    dims: str | Iterable[Hashable] | None = None,
    window: str | None = None,
) -> xr.DataArray: ...


def spectra(
    obj: xr.Dataset | xr.DataArray,
    variables: str | Iterable[Hashable] | None = None,
    *,
    dims: str | Iterable[Hashable] | None = None,
    window: str | None = None,
) -> xr.Dataset | xr.DataArray:
    r"""Isotropic power spectrum: the variance of each field by wavenumber.

    .. math:: E(k_n)\,dk = \sum_{n = \lfloor |k|/dk + 1/2 \rfloor} |c_k|^2, \qquad
        c_k = \frac{1}{N} \sum_j f_j e^{-i k \cdot x_j}, \qquad \sum_n E(k_n)\,dk = \mathrm{var}(f)

    with :math:`k_n = n\,dk`, n = 1 ... to the corner of the box, and dk the smallest
    :math:`2\pi`/period over the transformed axes. There is no factor 1/2 and the mean mode is in
    no shell. A mode half way between two shells belongs to the upper one.

    Parameters
    ----------
    obj : Dataset or DataArray
        Real fields on uniform axes; any chunks, also along the transformed axes.
    variables : str or iterable of str, optional
        Variables of a Dataset; by default the real ones that have all of ``dims``.
    dims : str or iterable of str, optional
        Axes to transform; by default the spatial ones with more than one point.
    window : {"hann"}, optional
        Taper along the transformed axes, which may then be open. The mean of each field is
        taken out before, the mean square of the window is divided out afterwards; the sum over
        the shells is then an estimate of the variance. By default every axis must be periodic.

    Returns
    -------
    Dataset or DataArray
        Float64 on the dims that are left and ``wavenumber`` (angular, 2 pi / length), with the
        coordinate ``complete(wavenumber)``, False beyond the smallest Nyquist wavenumber, where
        the corners of the box hold only part of a shell. Units are those of the field, squared,
        times those of the positions.

    Raises
    ------
    SchemaError
        If an axis is not uniform, or neither periodic nor windowed, or has other units than the
        rest; if a variable is not real or lacks one of the axes.
    UnknownNameError
        If a variable or a window is not known.

    Notes
    -----
    A field with a value that is not finite gives NaN in all shells. Fields in float32 are
    transformed in float32 (Parseval to about 1e-6; 1e-12 in float64). A task holds one
    chunk with whole fields along the transformed axes (twice if these are not the last), and
    about 35 bytes per point of one field.

    Examples
    --------
    >>> x = xr.Variable("x", np.arange(8) / 8, {"period": 1.0})
    >>> wave = xr.DataArray(np.sin(4 * np.pi * x), coords={"x": x})
    >>> result = spectra(wave)
    >>> float((result * result.wavenumber[0]).sum().round(12))  # variance of a sine
    0.5
    """
    if window is not None and window not in WINDOWS:
        raise UnknownNameError(f"expected window None or one of {sorted(WINDOWS)}, got {window!r}")
    if isinstance(obj, xr.DataArray):
        if variables is not None:
            raise SchemaError("variables= is for a Dataset: a DataArray has only its own values")
        if not _is_real(obj):
            raise SchemaError(f"expected a real field, got dtype {obj.dtype} in {obj.name!r}")
        axes = _axes(obj, dims, window)
        result = _spectrum(obj, axes, window)
        if PROVENANCE in obj.attrs:
            result.attrs[PROVENANCE] = obj.attrs[PROVENANCE]
        return record(result, "spectra", {"dims": [a.name for a in axes], "window": window})
    subset = obj if variables is None else obj[_known(obj, variables)]
    axes = _axes(subset, dims, window)
    names = _selected(subset, axes, strict=variables is not None)
    fields = {name: _spectrum(subset[name], axes, window) for name in names}
    parameters = {
        "variables": [str(name) for name in names],
        "dims": [a.name for a in axes],
        "window": window,
    }
    return record(xr.Dataset(fields, attrs=obj.attrs), "spectra", parameters)


def _is_real(array: xr.DataArray) -> bool:
    return array.dtype.kind in "fiub"


def _known(ds: xr.Dataset, variables: str | Iterable[Hashable]) -> list[Hashable]:
    names: list[Hashable] = [variables] if isinstance(variables, str) else list(variables)
    unknown = [name for name in names if name not in ds.data_vars]
    if unknown:
        raise UnknownNameError(f"expected variables out of {list(ds.data_vars)}, got {unknown}")
    return names


def _selected(ds: xr.Dataset, axes: list[Axis], *, strict: bool) -> list[Hashable]:
    needed = {a.name for a in axes}
    fit = [n for n, v in ds.data_vars.items() if _is_real(v) and needed <= set(v.dims)]
    if strict and len(fit) < len(ds.data_vars):
        name = next(n for n in ds.data_vars if n not in fit)
        raise SchemaError(
            f"expected real variables with dims {sorted(needed)}, got {name!r} with "
            f"{ds[name].dims} and dtype {ds[name].dtype}"
        )
    if not fit:
        raise SchemaError(f"no real variable has all of the dims {sorted(needed)}")
    return fit


def _axes(
    obj: xr.Dataset | xr.DataArray, dims: str | Iterable[Hashable] | None, window: str | None
) -> list[Axis]:
    names = resolve_dims(obj, dims)
    if dims is None:
        # An axis with one point has no modes, and its length must not set dk.
        names = tuple(name for name in names if obj.sizes[name] > 1)
        if not names:
            raise SchemaError("no spatial axis has more than one point: name one with dims=(...)")
    axes = [axis(obj, name) for name in names]
    for a in axes:
        if a.spacing != "uniform":
            raise SchemaError(
                f"axis {a.name!r} has {a.spacing} spacing, a spectrum needs a uniform one: leave "
                f"it out with dims=(...) or interpolate with .interp({a.name}=...)"
            )
        if not a.periodic and (window is None or a.size < 2):
            raise SchemaError(
                f"axis {a.name!r} is not periodic (period {a.period}, {a.size} points of step "
                f'{a.step:.6g}): pass window="hann", or declare its length in '
                f'.{a.name}.attrs["period"]'
            )
    units = {obj.coords[a.name].attrs.get("units") for a in axes} - {None}
    if len(units) > 1:
        raise SchemaError(
            f"axes {[a.name for a in axes]} have different units {sorted(map(str, units))}: "
            "convert the positions to one unit"
        )
    return axes


def _spectrum(field: xr.DataArray, axes: list[Axis], window: str | None) -> xr.DataArray:
    names = [a.name for a in axes]
    sizes, lengths = tuple(a.size for a in axes), tuple(a.length for a in axes)
    count = shell_count(sizes, lengths)
    result: xr.DataArray = lift(
        isotropic,
        whole(field, names),
        core_dims=names,
        output_core_dims=[["wavenumber"]],
        output_sizes={"wavenumber": count},
        output_dtypes=[np.float64],
        kwargs={"lengths": lengths, "window": window},
    )
    length_units = field.coords[names[0]].attrs.get("units")
    result = result.assign_coords(_wavenumbers(axes, count, length_units)).rename(field.name)
    result.attrs["long_name"] = f"power spectrum of {_label(field)}"
    units = _density_units(field.attrs.get("units"), length_units)
    return result if units is None else result.assign_attrs(units=units)


def _wavenumbers(axes: list[Axis], count: int, units: str | None) -> dict[str, xr.Variable]:
    step = 2 * np.pi / max(a.length for a in axes)
    wavenumber = step * np.arange(1, count + 1)
    nyquist = min((np.pi * a.size / a.length for a in axes if a.size > 1), default=np.inf)
    attrs = {"long_name": "angular wavenumber"}
    if units is not None:
        attrs["units"] = "1" if units == "1" else f"1/{_factor(units)}"
    complete = wavenumber <= nyquist * (1 + 1e-9)
    about = {"long_name": "shell not beyond the smallest Nyquist wavenumber"}
    return {
        "wavenumber": xr.Variable("wavenumber", wavenumber, attrs),
        "complete": xr.Variable("wavenumber", complete, about),
    }


def _factor(units: str) -> str:
    return f"({units})" if set(units) & set(" */^") else units


def _density_units(units: str | None, length: str | None) -> str | None:
    if units is None or length is None:
        return None
    square = "" if units == "1" else f"{_factor(units)}^2"
    return " ".join(part for part in (square, "" if length == "1" else length) if part) or "1"


def _label(field: xr.DataArray) -> str:
    return str(field.attrs.get("long_name") or field.name or "the field")
