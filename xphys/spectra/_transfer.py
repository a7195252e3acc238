"""Transfer of kinetic energy between wavenumbers, on plain arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from xphys.spectra._box import Box, shell_count, wavevector
from xphys.spectra._kernels import Request, add_modes, finish

__all__ = ["transfer_sums"]

Modes = NDArray[np.complexfloating[Any, Any]]


def transfer_sums(
    *fields: NDArray[Any], request: Request, dealias: bool, stream: bool
) -> NDArray[np.float64]:
    """Gain of kinetic energy by the advection term, summed over the modes of each shell.

    T_n = sum of Re(u_k* . (u x omega)_k) over the modes of shell n, which for a velocity without
    divergence is -Re(u_k* . ((u . grad) u)_k). The sum over all shells is 0 to rounding.

    Parameters
    ----------
    *fields : ndarray, shape (..., n_1, ..., n_d)
        Components of the velocity in the order of ``request.components``, or the vorticity.
    request : Request
        Box, components and axes.
    dealias : bool
        Products on a grid finer by 3/2, so that no mode gains from the grid; Nyquist modes are
        left out. Else on the grid of the data.
    stream : bool
        The one field is the vorticity of a plane flow, its velocity is made from it.

    Returns
    -------
    ndarray, shape (..., shell_count), float64
        Energy per time.
    """
    box = request.box
    ndim = len(box.sizes)
    lead = np.broadcast_shapes(*(f.shape[: f.ndim - ndim] for f in fields))
    wide = [np.broadcast_to(f, (*lead, *box.sizes)) for f in fields]
    sums = np.zeros((math.prod(lead), shell_count(box) + 1))
    with np.errstate(invalid="ignore", over="ignore"):
        for row, place in enumerate(np.ndindex(*lead)):
            frames = [f[place].astype(np.float64) for f in wide]
            _add_frame(frames, request, sums[row : row + 1], dealias, stream)
    return finish(sums, request).reshape(*lead, shell_count(box))


def _add_frame(
    frames: list[NDArray[np.float64]],
    request: Request,
    sums: NDArray[np.float64],
    dealias: bool,
    stream: bool,
) -> None:
    box = request.box
    derivative = wavevector(box, box.whole, odd=True)
    zero = np.zeros((1,) * len(derivative))
    k = [derivative[a] if a >= 0 else zero for a in request.axes]
    found = [scipy.fft.rfftn(f, norm="forward") for f in frames]
    velocity = _from_vorticity(found[0], k, box) if stream else [
        found[c] if c >= 0 else None for c in request.components
    ]  # fmt: skip
    if dealias:
        velocity = [None if u is None else _without_nyquist(u, box) for u in velocity]
    vorticity = _curl(velocity, k)
    grid = tuple(2 * math.ceil(3 * n / 4) if dealias and n > 1 else n for n in box.sizes)
    u = [_to_grid(c, box.sizes, grid) for c in velocity]
    w = [_to_grid(c, box.sizes, grid) for c in vorticity]
    del vorticity
    for i in range(3):
        speed = velocity[i]
        if speed is None:
            continue
        a, b = (i + 1) % 3, (i + 2) % 3
        product = _difference(_times(u[a], w[b]), _times(u[b], w[a]))
        if product is None:
            continue
        gain = _from_grid(scipy.fft.rfftn(product, norm="forward"), box)
        pair = Request(box, request.treatment, form="cospectrum")
        add_modes([speed[None], gain[None]], pair, box.whole, sums)


def _from_vorticity(omega: Modes, k: list[NDArray[np.float64]], box: Box) -> list[Modes | None]:
    """u = d psi / dy, v = -d psi / dx with psi = omega / k^2."""
    square = np.asarray(sum(c**2 for c in wavevector(box, box.whole)))
    psi = np.divide(omega, square, out=np.zeros_like(omega), where=square > 0)
    return [1j * k[1] * psi, -1j * k[0] * psi, None]


def _curl(u: list[Modes | None], k: list[NDArray[np.float64]]) -> list[Modes | None]:
    result: list[Modes | None] = []
    for i in range(3):
        a, b = (i + 1) % 3, (i + 2) % 3
        result.append(_difference(_slope(u[b], k[a]), _slope(u[a], k[b])))
    return result


def _slope(mode: Modes | None, k: NDArray[np.float64]) -> Modes | None:
    return None if mode is None or not k.any() else 1j * k * mode


def _times(a: Any, b: Any) -> Any:
    return None if a is None or b is None else a * b


def _difference(a: Any, b: Any) -> Any:
    if b is None:
        return a
    return -b if a is None else a - b


def _to_grid(
    modes: Modes | None, sizes: tuple[int, ...], grid: tuple[int, ...]
) -> NDArray[np.float64] | None:
    if modes is None:
        return None
    if grid != sizes:
        wide = np.zeros((*grid[:-1], grid[-1] // 2 + 1), modes.dtype)
        for low, high in _corners(sizes, grid):
            wide[high] = modes[low]
        modes = wide
    values: NDArray[np.float64] = scipy.fft.irfftn(modes, s=grid, norm="forward")
    return values


def _from_grid(modes: Modes, box: Box) -> Modes:
    grid = modes.shape
    if grid == box.half:
        return modes
    result = np.zeros(box.half, modes.dtype)
    for low, high in _corners(box.sizes, grid):
        result[low] = modes[high]
    return result


def _corners(
    sizes: tuple[int, ...], grid: tuple[int, ...]
) -> list[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """Slices of the modes below Nyquist on the small and on the fine grid."""
    pairs: list[tuple[tuple[slice, ...], tuple[slice, ...]]] = [((), ())]
    for position, (n, _) in enumerate(zip(sizes, grid, strict=True)):
        top = (n - 1) // 2
        choices = [slice(0, top + 1)]
        if position < len(sizes) - 1 and top > 0:
            choices.append(slice(-top, None))
        pairs = [((*low, c), (*high, c)) for low, high in pairs for c in choices]
    return pairs


def _without_nyquist(modes: Modes, box: Box) -> Modes:
    result = modes.copy()
    for axis, n in enumerate(box.sizes):
        if n % 2 == 0:
            place: list[Any] = [slice(None)] * modes.ndim
            place[axis] = n // 2
            result[tuple(place)] = 0
    return result
