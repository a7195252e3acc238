"""Spectra of labelled fields."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from functools import partial, reduce
from operator import add
from typing import Any, overload

import dask.array as da
import numpy as np
import xarray as xr
from dask.system import CPU_COUNT

from xphys._dims import lift
from xphys.errors import SchemaError, UnknownNameError
from xphys.schema import PROVENANCE, SPATIAL_DIMS, Axis, record, spatial_dims
from xphys.spectra import _pencils as pencils
from xphys.spectra._axes import transformed_axes
from xphys.spectra._blocks import kept_coords, sums_of_frames
from xphys.spectra._box import Box, shell_count
from xphys.spectra._gather import gather, gathered
from xphys.spectra._kernels import Request, plane, shell_sums
from xphys.spectra._labels import flux, labelled, scale
from xphys.spectra._options import Options, WindowLike, options
from xphys.spectra._quantities import QUANTITIES, Job, Term, cross_jobs, is_real
from xphys.spectra._transfer import transfer_sums

__all__ = ["spectra"]

Window = WindowLike | Mapping[str, WindowLike] | None
Pair = tuple[Hashable, Hashable]


@overload
def spectra(
    obj: xr.Dataset,
    variables: str | Iterable[Hashable] | None = None,
    *,
    dims: str | Iterable[Hashable] | None = None,
    kind: str = "isotropic",
    quantity: str = "variance",
    cross: Pair | Iterable[Pair] | xr.DataArray | None = None,
    convention: str = "density",
    window: Window = None,
    detrend: str | None = None,
    dealias: bool = True,
    nan: str = "propagate",
    memory: int | str = "1GB",
    scratch: str | None = None,
) -> xr.Dataset: ...


@overload
def spectra(
    obj: xr.DataArray,
    variables: str | Iterable[Hashable] | None = None,
    *,
    dims: str | Iterable[Hashable] | None = None,
    kind: str = "isotropic",
    quantity: str = "variance",
    cross: Pair | Iterable[Pair] | xr.DataArray | None = None,
    convention: str = "density",
    window: Window = None,
    detrend: str | None = None,
    dealias: bool = True,
    nan: str = "propagate",
    memory: int | str = "1GB",
    scratch: str | None = None,
) -> xr.DataArray: ...


def spectra(
    obj: xr.Dataset | xr.DataArray,
    variables: str | Iterable[Hashable] | None = None,
    *,
    dims: str | Iterable[Hashable] | None = None,
    kind: str = "isotropic",
    quantity: str = "variance",
    cross: Pair | Iterable[Pair] | xr.DataArray | None = None,
    convention: str = "density",
    window: Window = None,
    detrend: str | None = None,
    dealias: bool = True,
    nan: str = "propagate",
    memory: int | str = "1GB",
    scratch: str | None = None,
) -> xr.Dataset | xr.DataArray:
    r"""Spectra of variance, energy, helicity or transfer by wavenumber.

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
        Variables or vectors of a Dataset; by default what the quantity is of.
    dims : str or iterable of str, optional
        Axes to transform; by default the spatial ones with more than one point.
    kind : {"isotropic", "modal_mean", "1d", "2d"}
        Shells of \|k\|; mean energy of the modes in a bin of \|k\| (see Notes); the spectrum along
        one axis, averaged over the other spatial ones; the plane of two wavenumbers, averaged
        likewise.
    quantity : str
        - "variance" of variables; for the name of a vector, the sum over its components
        - "energy": half of that, vectors summed
        - "kinetic_energy", "enstrophy": of the vector velocity, or of the vorticity of a plane flow
        - "kinetic_helicity" u · curl u, "current_helicity" B · curl B, "magnetic_helicity" A · B,
          "cross_helicity" u · B
        - "transfer": T(k) = -Re(u* · (u · grad u)) of a velocity without divergence and the flux
          Π(k) = -∫ T from 0 to the upper border of the shell, which ends at 0
    cross : pair of str, iterable of pairs, or DataArray, optional
        Instead of a quantity: co-spectra Re(a b*) of two variables or two vectors, named
        ``a_b_cospectrum``; with ``kind`` "1d" or "2d" also ``a_b_quadrature``, Im(a b*), over the
        positive wavenumbers in 1-D. For a DataArray, the other DataArray (co-spectrum only).
    convention : {"density", "sum", "mean"}
        E(k), the sum E(k) dk over a shell, or the mean over its modes.
    window : str, (str, number) or mapping of dim to these, optional
        Taper along the transformed axes, which may then be open: "hann", "hamming", "blackman",
        "tukey" or ("tukey", share), "boxcar" (none, and leakage). The mean of each field is taken
        out before, the mean square of the window is divided out afterwards; the sum over the
        shells is then an estimate of the variance. By default every axis must be periodic.
    detrend : {"constant", "linear"}, optional
        "linear" takes the least-squares slope along open axes out. The mean always goes.
    dealias : bool
        For "transfer": products on a grid finer by 3/2, without Nyquist modes.
    nan : {"propagate", "raise"}
        A field with a value that is not finite gives NaN in all shells, or an error when computed.
    memory : int or str
        Bytes that a task may use. Frames chunked along the transformed axes that do not fit go by
        way of temporary files (see Notes).
    scratch : str, optional
        Folder for these, on a disk that all workers see; by default that of
        ``dask.config["temporary-directory"]``, or the system's.

    Returns
    -------
    Dataset or DataArray
        Float64 on the dims that are left and ``wavenumber`` (angular, 2 pi / length), with the
        coordinate ``complete(wavenumber)``, False beyond the smallest Nyquist wavenumber, where
        the corners of the box hold only part of a shell; with ``kind="2d"`` on
        ``wavenumber_<dim>`` from negative to positive. Units are those of the field, squared,
        times those of the positions.

    Raises
    ------
    SchemaError
        If an axis is not uniform, or neither periodic nor windowed, or has other units than the
        rest; if a variable is not real, still packed, or lacks one of the axes; if the quantity
        needs components or axes that are not there; if settings exclude each other; when
        computed, with ``nan="raise"``.
    UnknownNameError
        If a variable, quantity, kind, window or other setting is not known.
    CorruptDataError
        When computed, if the workers do not share ``scratch``.

    Notes
    -----
    ``kind="modal_mean"`` is the mean of \|FFT\|² (not normalised) over the modes of
    min(n)/2 - 1 equal bins of wavenumber in radians per cell up to the corner, the mean mode in
    the first bin; with the quantities "kinetic_energy" and "enstrophy" of a vorticity the usual
    diagnostics of learned turbulence models. It depends on the grid and does not add up to the
    energy.

    Fields in float32 are transformed in float32 (Parseval to about 1e-6; 1e-12 in float64), sums
    are float64. A task holds one chunk of whole frames and, for one frame of n points and b bytes
    a value, n b for its modes (2 n b below 2**19 points, or with a window); forms of several
    fields 8 n for each more. The
    shells of all modes, 4 n bytes, are kept once per process. "transfer" needs about 250 n bytes.
    Frames whose chunks do not fit in ``memory`` are gathered by way of files; a frame of more than
    memory/6 bytes is transformed plane by plane, its modes written once and read once. The largest
    plane (line, in 2-D) must fit in memory/6. Compute time is that of the transform and of disk
    for twice the frame.

    Examples
    --------
    >>> x = xr.Variable("x", np.arange(8) / 8, {"period": 1.0})
    >>> wave = xr.DataArray(np.sin(4 * np.pi * x), coords={"x": x})
    >>> result = spectra(wave)
    >>> float((result * result.wavenumber[0]).sum().round(12))  # variance of a sine
    0.5
    """
    chosen = options(kind, convention, window, detrend, nan, memory, scratch)
    _check_quantity(quantity, cross, chosen)
    if isinstance(obj, xr.DataArray):
        return _of_array(obj, variables, dims, quantity, cross, chosen, dealias)
    subset = _subset(obj, variables, quantity, cross)
    axes = transformed_axes(subset, dims, chosen)
    jobs = _jobs(subset, variables, quantity, cross, axes, chosen)
    fields = _results(jobs, axes, chosen, dealias)
    parameters = {
        "variables": [str(name) for name in fields] if quantity == "variance" else None,
        "quantity": None if quantity == "variance" else quantity,
        "dims": [a.name for a in axes],
        **chosen.parameters(),
        "dealias": None if quantity != "transfer" else dealias,
    }
    return record(xr.Dataset(fields, attrs=obj.attrs), "spectra", parameters)


def _of_array(
    field: xr.DataArray,
    variables: Any,
    dims: str | Iterable[Hashable] | None,
    quantity: str,
    cross: Any,
    chosen: Options,
    dealias: bool,
) -> xr.DataArray:
    if variables is not None:
        raise SchemaError("variables= is for a Dataset: a DataArray has only its own values")
    if quantity == "transfer":
        raise SchemaError('quantity="transfer" has two results: use .to_dataset(name=...) first')
    if not is_real(field):
        raise SchemaError(f"expected a real field, got dtype {field.dtype} in {field.name!r}")
    taken = field.name is None or field.name in field.coords  # the name of an axis, say
    first: Hashable = "field" if taken else field.name
    ds = xr.Dataset({first: field})
    pair = None
    if cross is not None:
        if not isinstance(cross, xr.DataArray):
            raise SchemaError(f"cross= of a DataArray is another one, got {type(cross).__name__}")
        second: Hashable = cross.name if cross.name not in (None, first) else "other"
        _check_grid(field, cross)
        ds[second] = cross
        pair = (first, second)
    names = [first] if pair is None else None
    axes = transformed_axes(ds[first], dims, chosen)
    jobs = _jobs(ds, names, quantity, pair, axes, chosen)[:1]
    ((name, result),) = _results(jobs, axes, chosen, dealias).items()
    if cross is None:
        name = field.name
    result = result.rename(name)
    if field.name is None and cross is None:
        result.attrs["long_name"] = result.attrs["long_name"].replace("of field", "of the field")
    if PROVENANCE in field.attrs:
        result.attrs[PROVENANCE] = field.attrs[PROVENANCE]
    parameters = {
        "quantity": None if quantity == "variance" else quantity,
        "dims": [a.name for a in axes],
        **chosen.parameters(),
    }
    return record(result, "spectra", parameters)


def _check_quantity(quantity: str, cross: Any, chosen: Options) -> None:
    if quantity not in QUANTITIES:
        raise UnknownNameError(f"expected quantity out of {list(QUANTITIES)}, got {quantity!r}")
    if cross is not None and quantity != "variance":
        raise SchemaError(f"cross= and quantity={quantity!r} exclude each other: leave one out")
    if chosen.kind == "2d" and quantity not in ("variance", "energy"):
        raise SchemaError(f'kind="2d" is for variance, energy and cross=, got {quantity!r}')
    if chosen.kind == "1d" and quantity not in ("variance", "energy", "cross_helicity"):
        raise SchemaError(f'kind="1d" is for variance, energy and cross=, got {quantity!r}')
    if quantity == "transfer" and (chosen.kind != "isotropic" or chosen.convention == "mean"):
        raise SchemaError('quantity="transfer" is for kind="isotropic", convention density or sum')
    derived = quantity not in ("variance", "energy", "cross_helicity")
    if derived and (chosen.tapered or chosen.detrend is not None):
        raise SchemaError(
            f"quantity={quantity!r} takes derivatives, which need periodic axes: window= and "
            "detrend= are for variance, energy and cross-spectra"
        )


def _subset(ds: xr.Dataset, variables: Any, quantity: str, cross: Any) -> xr.Dataset:
    """What decides which axes there are: the variables that are asked for."""
    if isinstance(cross, xr.DataArray):
        raise SchemaError("cross= of a Dataset is a pair of names, got a DataArray")
    if cross is not None and variables is not None:
        raise SchemaError("variables= and cross= exclude each other: leave one out")
    if quantity != "variance" or variables is None:
        return ds
    names = [variables] if isinstance(variables, str) else list(variables)
    return ds[names] if names and all(name in ds.data_vars for name in names) else ds


def _jobs(
    ds: xr.Dataset, variables: Any, quantity: str, cross: Any, axes: list[Axis], chosen: Options
) -> list[Job]:
    if cross is None:
        return QUANTITIES[quantity](ds, variables, axes)
    both = chosen.kind in ("1d", "2d")
    return [
        job
        for pair in _pairs(cross)
        for job in cross_jobs(ds, pair, axes, with_quadrature=both)
    ]  # fmt: skip


def _pairs(cross: Any) -> list[Pair]:
    listed = list(cross) if isinstance(cross, Iterable) and not isinstance(cross, str) else [cross]
    if len(listed) == 2 and all(isinstance(name, str) for name in listed):
        listed = [tuple(listed)]
    if not listed or any(not isinstance(p, tuple | list) or len(p) != 2 for p in listed):
        raise SchemaError(f"expected cross= as a pair of names or pairs of names, got {cross!r}")
    return [(a, b) for a, b in listed]


def _check_grid(a: xr.DataArray, b: xr.DataArray) -> None:
    for dim in set(a.dims) | set(b.dims):
        if a.sizes.get(dim) != b.sizes.get(dim) or not (
            dim not in a.indexes or dim not in b.indexes or a.indexes[dim].equals(b.indexes[dim])
        ):
            raise SchemaError(
                f"cross= has other positions along {dim!r} ({b.sizes.get(dim)} points, the field "
                f"has {a.sizes.get(dim)}): select or interpolate to one grid"
            )


# --- computing ------------------------------------------------------------------------------


def _results(
    jobs: list[Job], axes: list[Axis], chosen: Options, dealias: bool
) -> dict[Hashable, xr.DataArray]:
    sizes = tuple(a.size for a in axes)
    if chosen.kind == "modal_mean":
        box = Box(sizes, tuple(map(float, sizes)), "modal_mean")
    else:
        box = Box(sizes, tuple(a.length for a in axes))
    found: dict[Hashable, xr.DataArray] = {}
    for job in jobs:
        total = reduce(add, (_term(term, axes, box, chosen, dealias) for term in job.terms))
        total.attrs = {}
        found[job.name] = labelled(
            total * (job.factor * scale(box, chosen)), job, axes, box, chosen
        )
        if job.name == "transfer":
            found["flux"] = flux(found["transfer"], job, axes, box, chosen)
    return found


def _term(term: Term, axes: list[Axis], box: Box, chosen: Options, dealias: bool) -> xr.DataArray:
    """Sums of one form with its wavenumbers, on the dims that are left."""
    names = [a.name for a in axes]
    fields = [_risen(f, axes) for f in term.fields]
    x, y, z = (names.index(c) if c in names else -1 for c in "xyz")
    stream = term.form.startswith("stream")
    derived = stream or max(term.components) >= 0
    request = Request(
        box,
        chosen.treatment(axes),
        form=term.form,
        components=term.components,
        axes=_plane_axes(names) if stream else ((x, y, z) if derived else (-1, -1, -1)),
        mean=chosen.kind == "modal_mean" or chosen.convention == "mean",
        strict=chosen.strict,
        name=", ".join(repr(str(f.name)) for f in fields),
    )
    if chosen.kind == "2d":
        result = _plane(fields, names, request, chosen.room)
    elif term.form in ("transfer", "stream_transfer"):
        kernel = partial(transfer_sums, request=request, dealias=dealias, stream=stream)
        result = sums_of_frames(
            kernel, gathered(fields, names, chosen.room), names, shell_count(box)
        )
    else:
        result = _shells(fields, names, request, chosen.room)
    left = [d for d in spatial_dims(result)] if chosen.kind in ("1d", "2d") else []
    return result.mean(left, skipna=False) if left else result


def _plane_axes(names: list[str]) -> tuple[int, int, int]:
    """First and second direction of a plane, whichever axes it has, as x and y."""
    order = [names.index(d) for d in reversed(SPATIAL_DIMS) if d in names]
    return (order[0], order[1], -1)


def _risen(field: xr.DataArray, axes: list[Axis]) -> xr.DataArray:
    """Positions that rise: the sign of a wavevector depends on it."""
    falling = [a.name for a in axes if a.size > 1 and a.coordinate[0] > a.coordinate[-1]]
    return field.isel({name: slice(None, None, -1) for name in falling}) if falling else field


def _shells(
    fields: list[xr.DataArray], names: list[str], request: Request, room: pencils.Room
) -> xr.DataArray:
    gathered = [gather(f, names, room) for f in fields]
    if all(f is not None for f in gathered):
        known = [f for f in gathered if f is not None]
        # values in memory are computed now, by all processors; blocks are Dask's to share out
        threads = CPU_COUNT if all(f.chunks is None for f in known) else 1
        kernel = partial(shell_sums, request=request, threads=threads)
        return sums_of_frames(kernel, known, names, shell_count(request.box))
    wide = list(xr.broadcast(*fields))
    lead = [d for d in wide[0].dims if d not in names]
    ordered = [f.transpose(*lead, *names) for f in wide]
    chunks = next(f.chunksizes for f in ordered if f.chunks is not None)
    arrays: list[da.Array] = [f.chunk(chunks).data for f in ordered]
    sums = pencils.pencil_sums(arrays, request, room)
    return xr.DataArray(sums, kept_coords(ordered[0], names), [*lead, "wavenumber"])


def _plane(
    fields: list[xr.DataArray], names: list[str], request: Request, room: pencils.Room
) -> xr.DataArray:
    result: xr.DataArray = lift(
        partial(plane, request=request),
        *gathered(fields, names, room),
        core_dims=names,
        output_core_dims=[[f"wavenumber_{name}" for name in names]],
        output_sizes={
            f"wavenumber_{name}": n for name, n in zip(names, request.box.sizes, strict=True)
        },
        output_dtypes=[np.float64],
    )
    return result
