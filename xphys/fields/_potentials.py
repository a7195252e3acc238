"""Inverse derivatives on periodic boxes and between walls: potentials, flows of a vorticity."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xphys._dims import lift, whole
from xphys.fields import _kernels as kernels
from xphys.fields._walls import Walls, times_matrix, weighted_sum
from xphys.schema import Axis

__all__ = ["CURL", "inverse_curl", "inverse_laplacian", "through_flow"]

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


def _field(modes: xr.DataArray, axes: Sequence[Axis], like: xr.DataArray | None) -> xr.DataArray:
    """The inverse of `_modes`; dims, coordinates and chunks of ``like``, if given."""
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
    result = _real(modes, partial(kernels.from_modes, n=last.size, half=True), last.size)
    return result if like is None else _as(result, like)


def _real(
    modes: xr.DataArray, kernel: Callable[..., Any] = np.real, size: int | None = None
) -> xr.DataArray:
    """Real values of a kernel of complex ones; ``size`` is that of the last axis if it changes."""
    data = modes.data
    if modes.chunks is None:
        return xr.DataArray(kernel(data), dims=modes.dims)
    # not by lift: it would cast an empty complex array to float, with a warning
    chunks = data.chunks if size is None else (*data.chunks[:-1], (size,))
    values = data.map_blocks(
        kernel, chunks=chunks, dtype=np.float64, meta=np.empty((0,) * data.ndim)
    )
    return xr.DataArray(values, dims=modes.dims)


def _as(values: xr.DataArray, like: xr.DataArray) -> xr.DataArray:
    """Values with the order of dims, the coordinates and the chunks of another array."""
    result = like.copy(data=values.transpose(*like.dims).data)
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


def inverse_laplacian(field: xr.DataArray, axes: Sequence[Axis | Walls]) -> xr.DataArray:
    """Field with minus the given Laplacian, without the modes that have none.

    Parameters
    ----------
    field : DataArray
        Real values.
    axes : sequence of Axis or Walls
        All spatial dims, periodic or between walls.

    Returns
    -------
    DataArray
        float64, 0 on walls; of zero mean if there are none.
    """
    walls = [along for along in axes if isinstance(along, Walls)]
    repeating = [along for along in axes if isinstance(along, Axis)]
    modes = field.drop_vars(list(field.coords))
    for along in walls:
        modes = _multiplied(modes, along, along.forward)
    if repeating:
        modes = _modes(modes, repeating)
    numbers = {w.name: xr.DataArray(w.wavenumbers, dims=w.name) for w in walls}
    terms = [(1.0 + 0j, xr.DataArray(1.0), modes)]
    solved = _solve(terms, {**numbers, **_wavenumbers(repeating)})
    result = _field(solved, repeating, None) if repeating else _real(solved)
    for along in walls:
        result = _multiplied(result, along, along.backward)
    return _as(result, field)


def _multiplied(field: xr.DataArray, along: Walls, matrix: NDArray[np.float64]) -> xr.DataArray:
    changed = {} if matrix.shape[0] == matrix.shape[1] else {along.name: matrix.shape[0]}
    result: xr.DataArray = lift(
        times_matrix,
        whole(field, [along.name]),
        core_dims=[along.name],
        output_sizes=changed,
        output_dtypes=[np.float64],
        kwargs={"matrix": matrix},
    )
    return result


def through_flow(
    velocity: xr.DataArray, walls: Walls, widths: NDArray[np.float64], along: Axis
) -> xr.DataArray:
    """Streamfunction of the flow that goes along the walls: 0 at the first one, linear between.

    Parameters
    ----------
    velocity : DataArray
        Its component along the periodic axis.
    walls : Walls
        Where they are.
    widths : ndarray
        Of the cells between them.
    along : Axis
        The periodic axis.

    Returns
    -------
    DataArray
        float64, dims and chunks of the velocity: at the second wall the flow between both, taken
        towards rising positions.
    """
    total = velocity.drop_vars(list(velocity.coords))
    shares = {along.name: np.full(along.size, 1 / along.size), walls.name: widths}
    for name, weights in shares.items():
        total = lift(
            weighted_sum,
            whole(total, [name]),
            core_dims=[name],
            output_core_dims=[[]],
            output_dtypes=[np.float64],
            kwargs={"weights": weights},
        )
    sign = 1.0 if walls.high > walls.low else -1.0
    ramp = sign * (walls.points - walls.low) / (walls.high - walls.low)
    shape = xr.DataArray(ramp, dims=walls.name)
    if walls.name in velocity.chunksizes:
        shape = shape.chunk({walls.name: velocity.chunksizes[walls.name]})
    flat = xr.DataArray(np.ones(along.size), dims=along.name)
    if along.name in velocity.chunksizes:
        flat = flat.chunk({along.name: velocity.chunksizes[along.name]})
    return _as(total * shape * flat, velocity)
