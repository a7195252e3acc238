"""Inverse derivatives on fully periodic boxes: potentials, and the flow of a vorticity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import xarray as xr

from xphys._dims import lift, whole
from xphys.fields import _kernels as kernels
from xphys.schema import Axis

__all__ = ["CURL", "inverse_curl", "inverse_laplacian"]

# Component c of a curl is d_a v_b - d_b v_a.
CURL = {"x": ("y", "z"), "y": ("z", "x"), "z": ("x", "y")}


def _wavenumbers(axes: Sequence[Axis]) -> dict[str, xr.DataArray]:
    found = {}
    for i, along in enumerate(axes):
        falls = along.size > 1 and along.coordinate[-1] < along.coordinate[0]
        period = -along.length if falls else along.length
        values = kernels.angular_wavenumbers(along.size, period, half=i == 0)
        found[along.name] = xr.DataArray(values, dims=along.name)
    return found


def _modes(field: xr.DataArray, axes: Sequence[Axis]) -> xr.DataArray:
    """Fourier modes along all axes, one axis after the other, each whole in its turn."""
    modes = field.drop_vars(list(field.coords))
    for i, along in enumerate(axes):
        modes = lift(
            kernels.to_modes,
            whole(modes, [along.name]),
            core_dims=[along.name],
            output_sizes={along.name: along.size // 2 + 1} if i == 0 else {},
            output_dtypes=[np.complex128],
            kwargs={"half": i == 0},
        )
    return modes


def _field(modes: xr.DataArray, axes: Sequence[Axis], like: xr.DataArray) -> xr.DataArray:
    for along in reversed(axes[1:]):
        modes = lift(
            kernels.from_modes,
            whole(modes, [along.name]),
            core_dims=[along.name],
            output_dtypes=[np.complex128],
            kwargs={"n": along.size, "half": False},
        )
    last = axes[0]
    modes = whole(modes, [last.name]).transpose(..., last.name)
    real = partial(kernels.from_modes, n=last.size, half=True)
    data = modes.data
    if modes.chunks is None:
        values = real(data)
    else:  # not by lift: it would cast an empty complex array to float, with a warning
        chunks = (*data.chunks[:-1], (last.size,))
        meta = np.empty((0,) * data.ndim)
        values = data.map_blocks(real, chunks=chunks, dtype=np.float64, meta=meta)
    ordered = xr.Variable(modes.dims, values).transpose(*like.dims)
    result = like.copy(data=ordered.data)
    result.attrs = {}
    return result if like.chunks is None else result.chunk(like.chunksizes)


def _solve(
    terms: Sequence[tuple[complex, xr.DataArray, xr.DataArray]],
    wavenumbers: Mapping[str, xr.DataArray],
) -> xr.DataArray:
    arrays = [array for _, k, modes in terms for array in (k, modes)]
    result: xr.DataArray = lift(
        kernels.over_laplacian,
        *arrays,
        *wavenumbers.values(),
        core_dims=[],
        output_dtypes=[np.complex128],
        kwargs={"factors": tuple(factor for factor, _, _ in terms)},
    )
    return result


def inverse_curl(
    parts: Mapping[str, xr.DataArray], axes: Sequence[Axis]
) -> dict[str, xr.DataArray]:
    r"""Divergence-free field of zero mean with a given curl: :math:`\hat a = i k\times\hat b/k^2`.

    Parameters
    ----------
    parts : mapping of component to DataArray
        Of b, real; a component that is not there is 0. All of the same dims.
    axes : sequence of Axis
        All spatial dims, periodic.

    Returns
    -------
    dict of component to DataArray
        float64, those that are not 0 for want of terms. Where b has a mean, a divergence, or a
        mode that is Nyquist along one axis and constant along the others, the curl of a is b
        without it.
    """
    wavenumbers = _wavenumbers(axes)
    modes = {c: _modes(b, axes) for c, b in parts.items()}
    like = next(iter(parts.values()))
    found = {}
    for c, (a, b) in CURL.items():
        pairs = ((1j, a, b), (-1j, b, a))
        terms = [
            (f, wavenumbers[d], modes[e]) for f, d, e in pairs if d in wavenumbers and e in modes
        ]
        if terms:
            found[c] = _field(_solve(terms, wavenumbers), axes, like)
    return found


def inverse_laplacian(field: xr.DataArray, axes: Sequence[Axis]) -> xr.DataArray:
    """Field of zero mean with minus the given Laplacian, without the modes that have none.

    Parameters
    ----------
    field : DataArray
        Real values.
    axes : sequence of Axis
        All spatial dims, periodic.

    Returns
    -------
    DataArray
        float64.
    """
    modes = _modes(field, axes)
    terms = [(1.0 + 0j, xr.DataArray(1.0), modes)]
    return _field(_solve(terms, _wavenumbers(axes)), axes, field)
