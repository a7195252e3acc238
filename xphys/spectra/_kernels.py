"""Shell sums of Fourier modes on plain arrays, transformed axes last."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from xphys.errors import SchemaError
from xphys.spectra._box import Box, mode_counts, shell_count, shell_index, wavevector, weights
from xphys.spectra._forms import FORMS
from xphys.spectra._loops import add_power, add_values
from xphys.spectra._treatment import Treatment, treat

__all__ = ["Request", "add_modes", "finish", "isotropic", "plane", "shell_sums"]

# Points transformed at once: enough to hide the cost of a call, little next to a chunk.
_BLOCK = 65536
# Frames of so many points are copied: quicker, and little memory.
_SMALL = 2**19
# Points from which threads are worth starting.
_THREADED = 2**20
# Rows from which the offset of a frame is taken: any value within its range will do.
_ROWS = 64
Modes = NDArray[np.complexfloating[Any, Any]]


@dataclass
class Buffers:
    """Memory for one frame after the other: fresh one would cost as much as the transform.

    Attributes
    ----------
    values : ndarray or None
        A copy of a frame.
    modes : ndarray or None
        Its modes.
    """

    values: NDArray[Any] | None = None
    modes: Modes | None = None


@dataclass(frozen=True)
class Request:
    """One quadratic form of a few fields, summed over shells.

    Attributes
    ----------
    box : Box
        Transformed axes.
    treatment : Treatment
        Preparation of the fields.
    form : str
        "power" or a name in `FORMS`.
    components : tuple of 3 int
        For vectors: position of the x, y, z component among the fields, -1 for one that is 0.
    axes : tuple of 3 int
        Position of the axes x, y, z among the transformed ones, -1 for one that is not there.
    mean : bool
        Average over the modes of each shell instead of their sum.
    strict : bool
        Values that are not finite are an error; else they give NaN.
    name : str
        What the error calls the field.
    """

    box: Box
    treatment: Treatment
    form: str = "power"
    components: tuple[int, int, int] = (-1, -1, -1)
    axes: tuple[int, int, int] = (-1, -1, -1)
    mean: bool = False
    strict: bool = False
    name: str = ""


def shell_sums(*fields: NDArray[Any], request: Request, threads: int = 1) -> NDArray[np.float64]:
    """Sum of a quadratic form over the modes of each shell.

    S_n = sum of form(c_k) over the modes with n = floor(|k|/dk + 1/2), where
    c_k = N^-1 sum_j f_j exp(-i k x_j); with the form "power", sum_n S_n is the variance.

    Parameters
    ----------
    *fields : ndarray, shape (..., n_1, ..., n_d)
        Real values; float32 is transformed in float32, all sums are float64. Leading axes
        broadcast against each other.
    request : Request
        What to sum.
    threads : int, default 1
        How many may share frames of up to 2^19 points, each with memory for one; the values do
        not depend on it.

    Returns
    -------
    ndarray, shape (..., shell_count), float64
        NaN for a field that holds a value that is not finite.

    Raises
    ------
    SchemaError
        If ``request.strict`` and a value is not finite.
    """
    box = request.box
    lead = np.broadcast_shapes(*(f.shape[: f.ndim - len(box.sizes)] for f in fields))
    sums = np.zeros((math.prod(lead), shell_count(box) + 1))
    batches = list(_batches(fields, lead, box.sizes))
    points = math.prod(box.sizes)
    if points > _SMALL or points * len(sums) < _THREADED:
        threads = 1  # a large frame is transformed with memory for itself alone

    def add(mine: list[tuple[slice, list[NDArray[Any]]]]) -> None:
        buffers = [Buffers() for _ in fields]
        with np.errstate(invalid="ignore", over="ignore"):
            for rows, parts in mine:
                modes = [
                    transform(part, request.treatment, buffer)
                    for part, buffer in zip(parts, buffers, strict=True)
                ]
                add_modes(modes, request, box.whole, sums[rows])
                del modes  # freed before the next ones are made

    shares = [batches[start::threads] for start in range(min(threads, len(batches)))]
    if len(shares) > 1:
        with ThreadPoolExecutor(len(shares)) as pool:
            list(pool.map(add, shares))
    else:
        add(batches)
    return finish(sums, request).reshape(*lead, shell_count(box))


def transform(fields: NDArray[Any], treatment: Treatment, buffers: Buffers | None = None) -> Modes:
    """Coefficients of a real transform over all axes but the first.

    Parameters
    ----------
    fields : ndarray, shape (field, *axes)
        Real values.
    treatment : Treatment
        Preparation.
    buffers : Buffers, optional
        Of an earlier call, whose modes are not needed any more.

    Returns
    -------
    ndarray, shape (field, *axes), complex
        Last axis halved.
    """
    # by the size of a frame alone: a frame gets the same bits whatever is in its chunk
    if treatment.plain and _BLOCK // max(1, math.prod(fields.shape[1:])) <= 1:
        return _transform_frame(fields, treatment, buffers or Buffers())
    work = treat(fields, treatment)
    axes = tuple(range(1, work.ndim))
    modes: Modes = scipy.fft.rfftn(work, axes=axes, norm="forward", overwrite_x=True)
    return modes


def _transform_frame(fields: NDArray[Any], treatment: Treatment, buffers: Buffers) -> Modes:
    """One frame; a large one without a copy: some rows at a time, then the other axes in place."""
    single = fields.dtype.kind == "f" and fields.dtype.itemsize <= 4
    dtype = np.dtype(np.float32 if single else np.float64)
    rows = fields.reshape(-1, fields.shape[-1])
    # An offset goes first: a large one would cost the small modes their digits.
    some = rows[:: max(1, len(rows) // _ROWS) | 1]  # odd: not the same points of each plane
    # one memory order: the last bit of a sum depends on it
    offset = dtype.type(0) if treatment.keep_mean else np.ascontiguousarray(some, dtype).mean()
    axes = tuple(range(1, fields.ndim))
    if rows.size <= _SMALL:
        if buffers.values is None or buffers.values.shape != fields.shape:
            buffers.values = np.empty(fields.shape, dtype)
        work = np.subtract(fields, offset, out=buffers.values, dtype=dtype)
        copied: Modes = scipy.fft.rfftn(work, axes=axes, norm="forward", overwrite_x=True)
        return copied
    half = (*fields.shape[:-1], fields.shape[-1] // 2 + 1)
    if buffers.modes is None or buffers.modes.shape != half:
        buffers.modes = np.empty(half, np.complex64 if single else np.complex128)
    modes = buffers.modes
    target = modes.reshape(-1, half[-1])
    step = max(1, _BLOCK // rows.shape[1])
    for start in range(0, len(rows), step):
        part = np.subtract(rows[start : start + step], offset, dtype=dtype)
        target[start : start + step] = scipy.fft.rfft(part, norm="forward", overwrite_x=True)
    if len(axes) > 1:
        buffers.modes = scipy.fft.fftn(modes, axes=axes[:-1], norm="forward", overwrite_x=True)
    return buffers.modes


def add_modes(
    modes: list[Modes], request: Request, where: tuple[slice, ...], sums: NDArray[np.float64]
) -> None:
    """Add the form of modes (field, *axes), a part of a real transform, to ``sums`` in place."""
    box = request.box
    index = shell_index(box, where)
    index = index.reshape(-1, index.shape[-1])
    weight = weights(box, where[-1])
    shape = (len(sums), *index.shape)
    if request.form == "power":
        # rows that mirror each other along an axis that is whole are in the same shells
        mirrored = where[-2].stop - where[-2].start if len(where) > 1 else 1
        mirrored = mirrored if len(where) > 1 and mirrored == box.sizes[-2] else 1
        add_power(modes[0].reshape(shape), index, weight, sums, mirrored)
        return
    values = form_values(modes, request, where)
    add_values(np.broadcast_to(values, (len(sums), *values.shape[1:])).reshape(shape),
               index, weight, sums)  # fmt: skip


def form_values(
    modes: list[Modes], request: Request, where: tuple[slice, ...]
) -> NDArray[np.float64]:
    """What each mode adds, shape (field, *axes)."""
    true = wavevector(request.box, where)
    zero = np.zeros((1,) * len(true))
    if max(request.components) >= 0:
        odd = wavevector(request.box, where, odd=True)
        derivative = [odd[a] if a >= 0 else zero for a in request.axes]
        modes = [modes[c] if c >= 0 else zero[None] + 0j for c in request.components]
    else:
        derivative = []
    return FORMS[request.form](modes, derivative, true)


def finish(sums: NDArray[np.float64], request: Request) -> NDArray[np.float64]:
    """Leave the mean mode out, divide by the window's power, look at what is not finite."""
    result = sums[..., 1:] / request.treatment.power(request.box.sizes)
    # the mean mode too: it is all there is in a box of one point
    bad = np.logical_not(np.isfinite(sums).all(axis=-1, keepdims=True))[..., 0]
    _refuse(bad, request)
    result[bad] = np.nan
    if request.mean:
        counts = mode_counts(request.box)
        result = np.divide(result, counts, out=np.zeros_like(result), where=counts > 0)
    return result


def _refuse(bad: NDArray[np.bool_], request: Request) -> None:
    if request.strict and bad.any():
        raise SchemaError(
            f"{request.name or 'the field'} holds values that are not finite: fill them, or pass "
            'nan="propagate", which makes the spectrum of such a field NaN'
        )


def _batches(
    fields: tuple[NDArray[Any], ...], lead: tuple[int, ...], sizes: tuple[int, ...]
) -> Iterator[tuple[slice, list[NDArray[Any]]]]:
    """Frames that are transformed together: one, or as many small ones as make a block."""
    wide = [np.broadcast_to(f, (*lead, *sizes)) for f in fields]
    step = _BLOCK // max(1, math.prod(sizes))
    if step <= 1:
        for row, place in enumerate(np.ndindex(*lead)):
            yield slice(row, row + 1), [f[place][None] for f in wide]
        return
    flat = [f.reshape(-1, *sizes) for f in wide]
    for start in range(0, math.prod(lead), step):
        rows = slice(start, min(start + step, math.prod(lead)))
        yield rows, [f[rows] for f in flat]


def plane(*fields: NDArray[Any], request: Request) -> NDArray[np.float64]:
    """Form of each mode over the whole plane of wavenumbers, from negative to positive ones.

    Parameters
    ----------
    *fields : ndarray, shape (..., n_1, ..., n_d)
        Real values.
    request : Request
        Form "power", "cospectrum" or "quadrature".

    Returns
    -------
    ndarray, shape (..., n_1, ..., n_d), float64
        The sum over all modes is the variance (covariance); the mean mode is 0.
    """
    box = request.box
    ndim = len(box.sizes)
    lead = np.broadcast_shapes(*(f.shape[: f.ndim - ndim] for f in fields))
    result = np.empty((math.prod(lead), *box.sizes))
    axes = tuple(range(1, ndim + 1))
    pair = request.form if request.form != "power" else "cospectrum"
    with np.errstate(invalid="ignore", over="ignore"):
        for rows, parts in _batches(fields, lead, box.sizes):
            modes = [transform(part, request.treatment) for part in parts]
            values = FORMS[pair]([modes[0], modes[-1]], [], [])
            # the other half: the conjugate of the mode with the opposite wavevector
            rest = values[..., 1 : (box.sizes[-1] + 1) // 2][..., ::-1]
            for axis in axes[:-1]:
                rest = np.roll(np.flip(rest, axis), 1, axis)
            sign = -1.0 if pair == "quadrature" else 1.0
            full = np.concatenate([values, sign * rest], axis=-1)
            result[rows] = np.fft.fftshift(full, axes=axes)
    result /= request.treatment.power(box.sizes)
    flat = result.reshape(len(result), math.prod(box.sizes))
    bad = np.logical_not(np.isfinite(flat).all(axis=-1, keepdims=True))[..., 0]
    _refuse(bad, request)
    flat[bad] = np.nan
    mean: Any = (slice(None), *(n // 2 for n in box.sizes))
    result[mean] *= 0.0  # NaN stays NaN
    return result.reshape(*lead, *box.sizes)


def isotropic(field: NDArray[Any], *, lengths: tuple[float, ...]) -> NDArray[np.float64]:
    """Density E_n of the variance in shells of width dk, n = 1 ... corner, without a window.

    Parameters
    ----------
    field : ndarray, shape (..., n_1, ..., n_d)
        Real values.
    lengths : tuple of d floats
        Periods of the last d axes; dk = 2 pi / max(lengths).

    Returns
    -------
    ndarray, shape (..., shell_count), float64
        ``sum_n E_n dk`` is the variance of ``field``.
    """
    ndim = len(lengths)
    box = Box(field.shape[-ndim:], lengths)
    nothing = Treatment((None,) * ndim, (False,) * ndim)
    density: NDArray[np.float64] = shell_sums(field, request=Request(box, nothing)) * (
        1.0 / box.step
    )
    return density
