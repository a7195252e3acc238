"""`compress`: bounds on variables, turned into lazy payloads."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace
from numbers import Integral
from typing import Any

import dask.array as da
import xarray as xr

from xphys.codecs._graph import Scope, compressed
from xphys.codecs._groups import compress_groups
from xphys.codecs._options import AutoOptions
from xphys.codecs._vectors import find_joinings
from xphys.codecs.adapters.zarr_v3 import FrameCodec, Notice
from xphys.codecs.wrapped import require_method
from xphys.coding import Bounds, Request, methods
from xphys.coding.choice import AUTO
from xphys.coding.header import SUPPORTED
from xphys.coding.preserve import NAMES, Preserve
from xphys.coding.request import EFFORTS
from xphys.errors import BoundError, SchemaError, UnknownNameError
from xphys.io import storage_chunks
from xphys.schema import axis, record

__all__ = ["compress"]

Bound = float | Mapping[Hashable, float]

_DEFAULT_VRMSE = 1e-2
_SCOPES = ("variable", "chunk")
_SPATIAL = frozenset({"z", "y", "x", "lat", "lon", "latitude", "longitude"})
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
    scope: str | Iterable[str] = "variable",
    method: str = "auto",
    effort: str = "normal",
    preserve: Iterable[str] | Mapping[str, float | None] = (),
    variables: Iterable[Hashable] | None = None,
    chunks: Mapping[str, int] | None = None,
    seed: int = 0,
    options: AutoOptions | None = None,
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
    scope : {"variable", "chunk"} or iterable of dims, default "variable"
        What the bounds hold for: each variable as a whole; every stored chunk, which needs one
        reading only and can be appended to; or everything along the named dims, such as
        ``("y", "x")`` for every field on its own.
    method : str, default "auto"
        ``"transform"`` (bases by axis, quantised), ``"bitround"``, ``"lossless"``, or, with the
        extra ``codecs``, ``"sz3"``, ``"sperr"``, ``"jpeg2000"``, ``"zfp"``, ``"pco"``; bounds
        hold for each of them. ``"auto"`` takes for each chunk the smallest of those that the
        core install can decode. A block that lossless coding makes smaller is coded losslessly.
    effort : {"fast", "normal", "max"}, default "normal"
        How long the search for the smallest stream may take; ``"fast"`` makes ``"auto"``
        ``"transform"``, ``"max"`` codes each chunk by all methods.
    preserve : iterable of names or mapping, optional
        Invariants of each field (everything along space at one time), kept by corrections that
        are checked after decoding: ``"mean"`` (its sum, to 1e-12 of the sum of magnitudes),
        ``"energy"`` (its sum of squares, to 1e-12), ``"positivity"`` (signs of variables that
        have only one), ``"spectrum"`` (energy of each shell of wavenumbers that holds over
        1e-10 of all, to 5 %; a mapping ``{"spectrum": 0.01}`` states another tolerance),
        ``"momentum"`` (integral of ``density`` times each component of ``velocity``, to 1e-12;
        without a density of the velocity alone), ``"divergence_free"`` (discrete divergence of
        ``velocity`` and ``magnetic_field``, no larger than that of the original). What
        cannot be kept within the bounds is stored losslessly; so are integers.
    variables : iterable of names, optional
        Variables to compress; all numeric ones by default.
    chunks : mapping of str to int, optional
        Stored chunk sizes by dimension, -1 for whole; by default whole frames, at least 16
        steps, 1 to 64 MB, whatever the Dask chunks of ``ds`` are.
    seed : int, default 0
        Of the random numbers of methods that draw any. Those listed above draw none: their bytes
        do not depend on it.
    options : AutoOptions, optional
        Whether ``"auto"`` may choose methods that need an extra, and whether variables on one
        grid may be told from others (by ``"auto"`` and ``"transform"`` unless ``effort`` is
        ``"fast"``; see the docs on compressing Datasets).

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
        If ``method`` or one of ``preserve`` or ``variables`` is not known.
    SchemaError
        If ``scope``, ``chunks`` or ``seed`` do not fit, or ``"spectrum"`` is asked of fields that
        are cut into chunks.
    MissingDependencyError
        If the method needs a package that is not installed.

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
    scope = scope if isinstance(scope, str) else tuple(map(str, scope))
    _check_choices(ds, scope, method, effort, seed)
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
    kept = _preserve(preserve)
    extras = options.names if options is not None and method == AUTO else ()
    out, notice = ds.copy(), Notice(_NOTICE)
    requests = {}
    for variable in chosen:
        request = _request(ds[variable], method, _bounds_of(variable, given), effort)
        if request.bounds is not None and method != "lossless":
            request = replace(request, extras=extras, preserve=_lengths(ds[variable], kept))
        requests[variable] = request
    together = options is None or options.together
    joinings, requests = find_joinings(ds, requests, chunks)
    data = compress_groups(ds, requests, scope, chunks, joinings, together)
    for variable, request in requests.items():
        known = data.get(variable)
        out[variable] = _compress_variable(ds[variable], request, scope, chunks, notice, known)
    parameters: dict[str, Any] = {
        **{k: dict(b) if isinstance(b, Mapping) else float(b) for k, b in given.items()},
        "scope": scope if isinstance(scope, str) else list(scope),
        "method": method,
        "effort": effort,
        "preserve": {} if kept is None else kept.to_dict()["preserve"],
        "seed": int(seed),
        "options": {"allow_extras": list(extras), "together": together},
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


def _check_choices(
    ds: xr.Dataset, scope: str | tuple[str, ...], method: str, effort: str, seed: object
) -> None:
    dims = () if isinstance(scope, str) else scope
    if scope not in _SCOPES and not (dims and set(dims) <= set(map(str, ds.dims))):
        raise SchemaError(
            f"scope must be one of {_SCOPES} or dims of {list(ds.dims)}, got {scope!r}"
        )
    if effort not in EFFORTS:
        raise UnknownNameError(f"effort must be one of {EFFORTS}, got {effort!r}")
    if isinstance(seed, bool) or not isinstance(seed, Integral) or int(seed) < 0:
        raise SchemaError(f"seed must be a whole number, 0 or more, got {seed!r}")
    if method != AUTO and method not in methods():
        known = ", ".join((AUTO, *methods()))
        raise UnknownNameError(f"no method {method!r} for compressing: known are {known}")
    require_method(method)


def _preserve(asked: Iterable[str] | Mapping[str, float | None]) -> Preserve | None:
    names = (asked,) if isinstance(asked, str) else tuple(asked)
    if not names:
        return None
    tolerances = asked if isinstance(asked, Mapping) else {}
    stated = [n for n, t in tolerances.items() if t is not None and n in NAMES and n != "spectrum"]
    if stated:
        raise BoundError(f"only 'spectrum' has a tolerance of its own, got one for {stated}")
    tolerance = tolerances.get("spectrum")
    return Preserve(names) if tolerance is None else Preserve(names, tolerance)


def _lengths(da_: xr.DataArray, preserve: Preserve | None) -> Preserve | None:
    """With the lengths of the axes that spectra need."""
    if preserve is None or "spectrum" not in preserve.names:
        return preserve
    lengths = []
    for dim in map(str, da_.dims):
        try:
            length = axis(da_, dim).length
        except (SchemaError, ValueError):
            length = 0.0
        fine = math.isfinite(length) and length > 0
        lengths.append(float(length) if fine else float(da_.sizes[dim]))
    return replace(preserve, lengths=tuple(lengths))


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


def _request(da_: xr.DataArray, method: str, bounds: Bounds | None, effort: str) -> Request:
    """Roles and periodicity of the axes as the data model states them."""
    roles, periodic = [], []
    for dim in map(str, da_.dims):
        space = dim in _SPATIAL
        roles.append("time" if dim == "time" else "space" if space else "other")
        periodic.append(_periodic(da_, dim) if space else None)
    if "space" not in roles and "time" not in roles:
        roles, periodic = [], []
    name = method if bounds else "lossless"
    return Request(name, bounds, tuple(roles), tuple(periodic), effort)


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
    da_: xr.DataArray,
    request: Request,
    scope: str | tuple[str, ...],
    chunks: Mapping[str, int] | None,
    notice: Notice,
    known: da.Array | None = None,
) -> xr.DataArray:
    """One variable; known are its values if it is compressed together with others."""
    dims = tuple(map(str, da_.dims))
    stored = storage_chunks(dims, da_.shape, da_.dtype.itemsize, chunks)
    if request.preserve is not None and "spectrum" in request.preserve.names:
        fields = request.resolved(da_.ndim).fields
        cut = [dims[i] for i in fields if stored[i] < da_.shape[i]]
        if cut:
            raise SchemaError(
                f"preserve='spectrum' needs whole fields in a chunk, those of {da_.name!r} are cut "
                f"along {cut}: give chunks={ {d: -1 for d in cut} } or leave it out"
            )
    if known is None:
        data = da_.chunk(dict(zip(da_.dims, stored, strict=True))).data
        known = compressed(data, stored, request, Scope.of(dims, scope))
    out = da_.copy(data=known)
    # Source packing is gone: the values are decoded ones. Whoever writes them by another way
    # than the payload gets a codec that loses nothing more, and says so.
    out.encoding = {
        "serializer": FrameCodec(request, notice=notice),
        "compressors": None,
        "filters": None,
    }
    return out
