"""`compress`: bounds on variables, turned into lazy payloads."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import xarray as xr

from xphys.codecs._graph import compressed
from xphys.codecs.adapters.zarr_v3 import FrameCodec, Notice
from xphys.coding import Bounds, Request, methods
from xphys.coding.header import SUPPORTED
from xphys.errors import BoundError, SchemaError, UnknownNameError
from xphys.io import storage_chunks
from xphys.schema import axis, record

__all__ = ["compress"]

Bound = float | Mapping[Hashable, float]

_DEFAULT_VRMSE = 1e-2
_SCOPES = ("variable", "chunk")
_SPATIAL = frozenset({"z", "y", "x", "lat", "lon", "latitude", "longitude"})
_METHOD_OF_AUTO = "transform"
_NOTICE = (
    "writing values decoded by compress() without their payload: they are stored losslessly, "
    "which is larger; c.phys.to_zarr(store) on the result of compress() writes the payload"
)


def compress(
    ds: xr.Dataset,
    *,
    vrmse: Bound | None = None,
    rel_l2: Bound | None = None,
    max_abs: Bound | None = None,
    max_rel: Bound | None = None,
    psnr: Bound | None = None,
    pointwise_rel: Bound | None = None,
    scope: str = "variable",
    method: str = "auto",
    variables: Iterable[Hashable] | None = None,
    chunks: Mapping[str, int] | None = None,
) -> xr.Dataset:
    r"""Compress within error bounds, lazily; the result holds what a reader of the store gets.

    With original :math:`x`, decoded :math:`\hat x`, :math:`N` points and range :math:`R`:
    ``vrmse`` is :math:`\|\hat x - x\|_2/\|x-\bar x\|_2`, ``rel_l2``
    :math:`\|\hat x - x\|_2/\|x\|_2`, ``max_abs`` :math:`\max|\hat x - x|`, ``max_rel``
    :math:`\max|\hat x - x|/R`, ``psnr`` :math:`20\log_{10}(R\sqrt N/\|\hat x-x\|_2)` in dB and
    ``pointwise_rel`` :math:`\max|\hat x - x|/|x|`.

    Parameters
    ----------
    ds : Dataset
        Any dims; floating point and integer variables are compressed, all others and those not
        in ``variables`` pass through losslessly. Nothing is computed.
    vrmse, rel_l2, max_abs, max_rel, psnr, pointwise_rel : float or mapping, optional
        Bounds; a mapping gives a number per variable (those not named are stored losslessly).
        Several may be given, all hold. ``max_abs`` is in the units of the variable, ``psnr`` in
        dB, the others are pure numbers. None given means ``vrmse=1e-2``.
    scope : {"variable", "chunk"}, default "variable"
        What the bounds hold for. They are kept in every stored chunk, which implies them for
        the whole variable.
    method : {"auto", "transform", "lossless"}, default "auto"
        ``"transform"`` (DCT or real Fourier series, quantised); a block that lossless coding
        makes smaller is coded losslessly.
    variables : iterable of names, optional
        Variables to compress; all numeric ones by default.
    chunks : mapping of str to int, optional
        Stored chunk sizes by dimension, -1 for whole; by default whole frames, at least 16
        steps, 1 to 64 MB, whatever the Dask chunks of ``ds`` are.

    Returns
    -------
    Dataset
        Same dims, coords and dtypes (native byte order), lazy. ``.phys.to_zarr(store)`` writes
        the coded bytes, each chunk encoded once.

    Raises
    ------
    BoundError
        If a bound is negative, not finite or no number, or a mapping names no variable that is
        compressed.
    UnknownNameError
        If ``method`` or one of ``variables`` is not known.
    SchemaError
        If ``scope`` or ``chunks`` do not fit.

    Notes
    -----
    NaN (payload bits too), infinities and huge fill values come back bit for bit and take no
    part in norms and ranges. A bound is verified on the decoder's own arithmetic with a margin
    of 1e-6 relative and 4 units in the last place.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> wave = np.sin(np.linspace(0, 6, 4096)).reshape(1, 64, 64)
    >>> ds = xr.Dataset({"u": (("time", "y", "x"), wave)})
    >>> c = compress(ds, max_abs=1e-3)
    >>> bool(abs(c.u - ds.u).max() <= 1e-3)
    True
    """
    _check_choices(scope, method)
    asked = {
        "vrmse": vrmse,
        "rel_l2": rel_l2,
        "max_abs": max_abs,
        "max_rel": max_rel,
        "psnr": psnr,
        "pointwise_rel": pointwise_rel,
    }
    given = {kind: bound for kind, bound in asked.items() if bound is not None}
    if not given and method != "lossless":
        given = {"vrmse": _DEFAULT_VRMSE}
    chosen = _choose_variables(ds, variables)
    _check_mappings(given, chosen)
    name = _METHOD_OF_AUTO if method == "auto" else method
    out, notice = ds.copy(), Notice(_NOTICE)
    for variable in chosen:
        request = _request(ds[variable], name, _bounds_of(variable, given))
        out[variable] = _compress_variable(ds[variable], request, chunks, notice)
    parameters: dict[str, Any] = {
        **{k: dict(b) if isinstance(b, Mapping) else float(b) for k, b in given.items()},
        "scope": scope,
        "method": method,
        "variables": None if variables is None else [str(v) for v in chosen],
        "chunks": None if chunks is None else dict(chunks),
    }
    return record(out, "compress", parameters)


def _bounds_of(variable: Hashable, given: Mapping[str, Bound]) -> Bounds | None:
    values = {
        kind: bound[variable] if isinstance(bound, Mapping) else bound
        for kind, bound in given.items()
        if not isinstance(bound, Mapping) or variable in bound
    }
    return Bounds(**values) if values else None


def _check_choices(scope: str, method: str) -> None:
    if scope not in _SCOPES:
        raise SchemaError(f"scope must be one of {_SCOPES}, got {scope!r}")
    if method != "auto" and method not in methods():
        known = ", ".join(("auto", *methods()))
        raise UnknownNameError(f"no method {method!r} for compressing: known are {known}")


def _choose_variables(ds: xr.Dataset, variables: Iterable[Hashable] | None) -> list[Hashable]:
    numeric = [
        name
        for name, v in ds.data_vars.items()
        if v.size and v.dtype.newbyteorder("<").str in SUPPORTED
    ]
    if variables is None:
        return numeric
    wanted = [variables] if isinstance(variables, str) else list(variables)
    for name in wanted:
        if name not in ds.data_vars:
            raise UnknownNameError(f"no variable {name!r}: the Dataset has {list(ds.data_vars)}")
        if name not in numeric and ds[name].size:
            raise SchemaError(f"variable {name!r} is {ds[name].dtype}: expected a numeric one")
    return [name for name in numeric if name in wanted]


def _check_mappings(given: Mapping[str, Bound], chosen: list[Hashable]) -> None:
    for kind, bound in given.items():
        unknown = [k for k in bound if k not in chosen] if isinstance(bound, Mapping) else []
        if unknown:
            raise BoundError(f"{kind} names {unknown}, which are not compressed: {chosen} are")


def _request(da_: xr.DataArray, method: str, bounds: Bounds | None) -> Request:
    """Roles and periodicity of the axes as the data model states them."""
    roles, periodic = [], []
    for dim in map(str, da_.dims):
        space = dim in _SPATIAL
        roles.append("time" if dim == "time" else "space" if space else "other")
        periodic.append(_periodic(da_, dim) if space else None)
    if "space" not in roles and "time" not in roles:
        return Request(method if bounds else "lossless", bounds)
    return Request(method if bounds else "lossless", bounds, tuple(roles), tuple(periodic))


def _periodic(da_: xr.DataArray, dim: str) -> bool | None:
    if dim not in da_.coords or da_.coords[dim].dtype.kind not in "fiu":
        return None
    attrs = da_.coords[dim].attrs
    if "period" not in attrs and "boundary" not in attrs and "spacing" not in attrs:
        return None
    try:
        return axis(da_, dim).periodic
    except SchemaError:
        return None


def _compress_variable(
    da_: xr.DataArray, request: Request, chunks: Mapping[str, int] | None, notice: Notice
) -> xr.DataArray:
    dims = tuple(map(str, da_.dims))
    stored = storage_chunks(dims, da_.shape, da_.dtype.itemsize, chunks)
    data = da_.chunk(dict(zip(da_.dims, stored, strict=True))).data
    out = da_.copy(data=compressed(data, stored, request))
    # Source packing is gone: the values are decoded ones. Whoever writes them by another way
    # than the payload gets a codec that loses nothing more, and says so.
    out.encoding = {
        "serializer": FrameCodec(request, notice=notice),
        "compressors": None,
        "filters": None,
    }
    return out
