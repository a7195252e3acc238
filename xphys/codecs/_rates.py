"""`rate_distortion`: size against error bound, estimated on a sample."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

import numpy as np
import xarray as xr

from xphys.codecs._estimate import SAMPLE, estimate_compression
from xphys.codecs._options import AutoOptions
from xphys.errors import BoundError, SchemaError, UnknownNameError
from xphys.schema import ENSEMBLE_DIMS, PROVENANCE, SPATIAL_DIMS, record

__all__ = ["rate_distortion"]

_TARGETS = (1e-1, 3e-2, 1e-2, 1e-3, 1e-4)


def rate_distortion(
    ds: xr.Dataset,
    *,
    targets: Sequence[float] = _TARGETS,
    variables: str | Iterable[Hashable] | None = None,
    method: str = "auto",
    effort: str = "normal",
    options: AutoOptions | None = None,
    sample: int = SAMPLE // 2,
) -> xr.Dataset:
    """Estimate how many bits a value takes at several error bounds, lazily.

    Parameters
    ----------
    ds : Dataset
        As for `compress`.
    targets : sequence of float
        Bounds on the vrmse, above 0.
    variables : str or iterable of str, optional
        By default all that are compressed.
    method, effort, options : optional
        As for `compress`.
    sample : int
        Bytes of the largest variable to measure on, up to 4 MiB. They come from the first
        members of an ensemble and the middle of time; where one field is larger, from the middle
        of its axes, the first one cut first.

    Returns
    -------
    Dataset
        On dims ``target`` and ``variable``: ``bits_per_value``, ``ratio`` (original over coded
        bytes), ``seconds`` (for the whole variable, on one thread) and ``method``. The sample is
        read when it is computed, and coded once for each target.

    Raises
    ------
    BoundError
        If a target is not above 0, or there is none.
    UnknownNameError
        If a variable or the method is not known.
    SchemaError
        If the sample is not of 1 byte to 4 MiB, or no variable is left to compress.

    Notes
    -----
    The sample's own spread stands for that of the variable, a cut axis counts as open, and
    longer chunks compress somewhat better: a guide, not a measurement. The point of a store that
    was written is in ``test.phys.compare(reference, rate_distortion=True)``.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> wave = np.sin(np.linspace(0, 60, 16384)).reshape(16, 32, 32)
    >>> ds = xr.Dataset({"u": (("time", "y", "x"), wave)})
    >>> curve = rate_distortion(ds, targets=(1e-1, 1e-4), method="bitround")
    >>> bool(curve.bits_per_value[0, 0] < curve.bits_per_value[1, 0])
    True
    """
    bounds = [float(t) for t in np.atleast_1d(targets)]
    if not bounds or not all(0 < t < np.inf for t in bounds):
        raise BoundError(f"expected targets above 0, such as (1e-1, 1e-2), got {targets!r}")
    whole = isinstance(sample, int | np.integer) and not isinstance(sample, bool)
    if not whole or not 0 < sample <= SAMPLE:
        raise SchemaError(f"expected sample as a number of bytes, 1 to {SAMPLE}, got {sample!r}")
    names = _names(ds, variables)
    part = _sample(ds[names], int(sample))
    found = [
        estimate_compression(
            part, vrmse=t, method=method, effort=effort, variables=names, options=options
        )
        for t in bounds
    ]
    target = xr.DataArray(
        bounds, dims="target", name="target",
        attrs={"long_name": "bound on the root mean square error over deviation", "units": "1"},
    )  # fmt: skip
    curve = xr.concat(found, target, join="exact", combine_attrs="override")
    coded = [str(name) for name in curve["variable"].values]
    bits = xr.DataArray([8.0 * ds[n].dtype.itemsize for n in coded], dims="variable")
    share = xr.DataArray([ds[n].size / max(part[n].size, 1) for n in coded], dims="variable")
    about = {"long_name": "coded size over the number of values", "units": "bit"}
    result = curve.assign(
        bits_per_value=(bits / curve["ratio"]).assign_attrs(about),
        seconds=(curve["seconds"] * share).assign_attrs(curve["seconds"].attrs),
    )
    result = result.transpose("target", "variable")
    result.attrs = {k: ds.attrs[k] for k in (PROVENANCE,) if k in ds.attrs}
    given = {"targets": bounds, "variables": coded, "method": method, "effort": effort}
    return record(result, "rate_distortion", {**given, "sample": int(sample)})


def _names(ds: xr.Dataset, variables: str | Iterable[Hashable] | None) -> list[Hashable]:
    """Real variables with more than one value; those that are asked for have to be there."""
    if variables is None:
        names = [n for n, v in ds.data_vars.items() if v.dtype.kind in "fiu" and v.size > 1]
    else:
        names = [variables] if isinstance(variables, str) else list(variables)
    if unknown := [n for n in names if n not in ds.data_vars]:
        raise UnknownNameError(f"expected variables out of {list(ds.data_vars)}, got {unknown}")
    if not names:
        raise SchemaError(f"expected a real variable to compress, found {list(ds.data_vars)}")
    return names


def _sample(ds: xr.Dataset, size: int) -> xr.Dataset:
    """A part of which no variable is larger, cut along one dim after the other."""
    order = [*ENSEMBLE_DIMS, "time", *SPATIAL_DIMS]
    dims = [*(d for d in ds.dims if d not in order), *(d for d in order if d in ds.dims)]
    for dim in dims:
        wide = max((v.nbytes for v in ds.values() if dim in v.dims), default=0)
        if wide <= size:
            continue
        count = max(1, int(ds.sizes[dim] * size / wide))
        start = 0 if dim in ENSEMBLE_DIMS else (ds.sizes[dim] - count) // 2
        ds = ds.isel({dim: slice(start, start + count)})
    return ds
