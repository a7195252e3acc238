"""One chunk to bytes and back, with every bound checked on the decoder's own arithmetic."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from xphys._streams import Reader, varint
from xphys.coding import exact, table
from xphys.coding.bounds import RELATIVE_MARGIN, ULP_MARGIN, Bounds, Limits
from xphys.coding.header import SUPPORTED, Block, Header, block_extent, digest, parse
from xphys.coding.method import Method
from xphys.coding.request import Request
from xphys.errors import CorruptDataError, FormatError

__all__ = ["decode_blocks", "decode_chunk", "encode_chunk", "read_header"]

LOSSLESS = 0
_ATTEMPTS = 6
# Above this magnitude neighbouring integers are one float64.
_LARGEST_INTEGER = 2**53
# Lossless coding of floating point data rarely passes this ratio; below it, it is not tried.
_WORTH_A_LOSSLESS_TRIAL = 8

read_header = parse


@dataclass(frozen=True)
class _Coded:
    """A coded block with the squares and the peak of its errors, in units of 2**exponent."""

    method: int
    data: bytes
    squared: float = 0.0
    peak: float = 0.0


def _lossless(x: np.ndarray) -> _Coded:
    return _Coded(LOSSLESS, exact.write_lossless(x))


def _finish(scaled: np.ndarray, exponent: int, dtype: np.dtype) -> np.ndarray:
    """From what a method decodes to the values that a reader gets."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        values = np.asarray(np.ldexp(scaled, exponent))
        if dtype.kind == "f":
            return values.astype(dtype)
        info = np.iinfo(dtype)
        # float64 cannot hold the largest 64-bit integers: one below is the closest it can
        top = min(float(info.max), np.nextafter(2.0**63, 0)) if info.max > 2**53 else info.max
        return np.asarray(np.clip(np.rint(values), float(info.min), top).astype(dtype))


def _errors(x: np.ndarray, y: np.ndarray, scaled: np.ndarray, exponent: int) -> np.ndarray:
    """Largest error that any machine may see at each point, in units of 2**exponent."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        original = np.ldexp(x.astype(np.float64), -exponent)
        if x.dtype.kind == "f":
            decoded = np.ldexp(y.astype(np.float64), -exponent)
            ulp = np.ldexp(np.spacing(np.abs(y)).astype(np.float64), -exponent)
            error = np.abs(decoded - original) + ULP_MARGIN * ulp
        else:
            slack = np.ldexp(np.abs(scaled), exponent) * 2.0**-40 + 2.0**-30
            low = np.rint(np.ldexp(scaled, exponent) - slack)
            high = np.rint(np.ldexp(scaled, exponent) + slack)
            value = x.astype(np.float64)
            error = np.ldexp(np.maximum(np.abs(low - value), np.abs(high - value)), -exponent)
    return np.where(np.isfinite(error), error, np.inf)


def _settle(
    x: np.ndarray,
    held: np.ndarray,
    stream: bytes,
    method: Method,
    limits: Limits,
    exponent: int,
) -> _Coded:
    """Decode one block as a reader will, store exactly what violates a bound, measure the rest."""
    scaled = np.asarray(method.decode(stream, x.shape), dtype=np.float64)
    if scaled.shape != x.shape:
        return _lossless(x)
    y = _finish(scaled, exponent, x.dtype)
    error = _errors(x, y, scaled, exponent)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        original = np.ldexp(x.astype(np.float64), -exponent)
        bad = held | ~np.isfinite(error)
        if limits.pointwise:
            bad |= ~(error <= limits.tolerance(original))
    error[bad] = 0.0
    data = varint(len(stream)) + stream + exact.write_points(x, bad)
    if len(data) * _WORTH_A_LOSSLESS_TRIAL > x.nbytes:
        whole = _lossless(x)
        if len(whole.data) <= len(data):
            return whole
    flat = error.reshape(-1)
    return _Coded(method.code, data, float(np.dot(flat, flat)), float(flat.max(initial=0.0)))


def _lossy(
    pieces: list[np.ndarray], held: list[np.ndarray], request: Request, bounds: Bounds
) -> tuple[list[_Coded], int]:
    """Code all blocks by the method asked for, within the bounds; exponent used."""
    method = table.get(request.method)
    free = np.concatenate([p[~h].astype(np.float64) for p, h in zip(pieces, held, strict=True)])
    peak = float(np.abs(free).max(initial=0.0))
    whole_numbers = pieces[0].dtype.kind in "iu"
    if peak == 0 or (whole_numbers and peak >= _LARGEST_INTEGER):
        return [_lossless(p) for p in pieces], 0
    exponent = math.frexp(peak)[1]
    free = np.ldexp(free, -exponent)
    limits = bounds.limits(free, exponent)
    if limits.squared == 0 or limits.absolute == 0 or limits.relative == 0:
        return [_lossless(p) for p in pieces], 0
    fill = float(free.mean())
    scaled = [
        np.where(h, fill, np.ldexp(np.where(h, 0, p).astype(np.float64), -exponent))
        for p, h in zip(pieces, held, strict=True)
    ]
    allowed = limits.squared * (1 - RELATIVE_MARGIN) ** 2
    aim = limits
    for _ in range(_ATTEMPTS):
        streams = method.encode(scaled, aim, request)
        coded = [
            _settle(p, h, s, method, limits, exponent)
            for p, h, s in zip(pieces, held, streams, strict=True)
        ]
        total = sum(c.squared for c in coded)
        if total <= allowed:
            return coded, exponent
        shrink = 0.99 * min(allowed / total, 1.0) if math.isfinite(total) else 0.1
        aim = replace(aim, squared=aim.squared * max(shrink, 1e-3))
    return [_lossless(p) for p in pieces], 0


def _assemble(
    coded: list[_Coded], stored: np.dtype, shape: tuple[int, ...], axis: int, extent: int, e: int
) -> bytes:
    size = max(math.prod(shape), 1)
    rms = math.sqrt(sum(c.squared for c in coded) / size)
    peak = max((c.peak for c in coded), default=0.0)
    blocks = tuple(Block(c.method, 0, len(c.data), digest(c.data)) for c in coded)
    header = Header(stored, shape, axis, extent, e, rms, peak, blocks)
    return header.pack() + b"".join(c.data for c in coded)


def encode_chunk(x: np.ndarray, request: Request) -> bytes:
    """Code one chunk so that every bound holds on the values that a reader gets.

    Parameters
    ----------
    x : ndarray
        Floating point or integer values of any shape and byte order.
    request : Request
        Method, bounds, roles and periodicity of the axes.

    Returns
    -------
    bytes
        A header and independent blocks of steps along the time axis (see `header`).

    Raises
    ------
    FormatError
        If the dtype is neither floating point of 2, 4, 8 bytes nor an integer.
    UnknownNameError
        If the method is not known.
    """
    if x.dtype.newbyteorder("<").str not in SUPPORTED:
        raise FormatError(f"expected floating point or integers, got dtype {x.dtype}")
    request = request.resolved(max(x.ndim, 1))
    stored, shape = x.dtype, x.shape if x.ndim else (1,)
    values = np.ascontiguousarray(x, dtype=x.dtype.newbyteorder("=")).reshape(shape)
    axis = request.roles.index("time") if "time" in request.roles else 0
    extent = block_extent(shape, axis, x.dtype.itemsize)
    starts = range(0, shape[axis], extent) if values.size else range(0)
    if not values.size:  # nothing to store: one step per block keeps the layout rule
        shape = tuple(0 if i == axis else n for i, n in enumerate(shape))
    cut = (slice(None),) * axis
    pieces = [np.ascontiguousarray(values[(*cut, slice(s, s + extent))]) for s in starts]
    if request.method == "lossless" or request.bounds is None or not pieces:
        coded, exponent = [_lossless(p) for p in pieces], 0
    else:
        masked = exact.fill_values(values) if values.dtype.kind == "f" else np.zeros(shape, bool)
        held = [np.ascontiguousarray(masked[(*cut, slice(s, s + extent))]) for s in starts]
        coded, exponent = _lossy(pieces, held, request, request.bounds)
    stored = stored if stored.byteorder != "=" else stored.newbyteorder("=")
    return _assemble(coded, np.dtype(stored.str), shape, axis, extent, exponent)


def _decode_block(data: bytes, header: Header, index: int) -> np.ndarray:
    block, shape = header.blocks[index], header.block_shape(index)
    data = block.check(data)
    dtype = header.dtype.newbyteorder("=")
    if block.method == LOSSLESS:
        return exact.read_lossless(data, shape, dtype)
    method = table.by_code(block.method)
    reader = Reader(data)
    stream = reader.take(reader.varint())
    y = _finish(method.decode(stream, shape), header.exponent, dtype)
    exact.read_points(reader.rest(), y)
    return y


def decode_blocks(
    header: Header, parts: Iterable[tuple[int, bytes]], out: np.ndarray
) -> np.ndarray:
    """Decode some blocks of a chunk into an array.

    Parameters
    ----------
    header : Header
        Of the chunk.
    parts : iterable of (int, bytes)
        Number and bytes of each block wanted.
    out : ndarray
        Native array at least as large as the chunk along every axis.

    Returns
    -------
    ndarray
        out, with the steps of those blocks set.

    Raises
    ------
    CorruptDataError
        If bytes do not match their digest or cannot be decoded.
    """
    corner = tuple(slice(0, n) for n in header.shape)
    for index, data in parts:
        where = (*corner[: header.axis], header.span(index), *corner[header.axis + 1 :])
        out[where] = _decode_block(data, header, index)
    return out


def decode_chunk(data: bytes) -> np.ndarray:
    """Decode a whole chunk.

    Parameters
    ----------
    data : bytes
        What `encode_chunk` returned.

    Returns
    -------
    ndarray
        Values in native byte order, with the shape that was coded (a scalar as ``(1,)``).

    Raises
    ------
    CorruptDataError
        If the bytes are not what was written.
    """
    header = parse(data)
    end = header.blocks[-1].offset + header.blocks[-1].length if header.blocks else None
    if end is not None and len(data) != end:
        raise CorruptDataError(f"expected a chunk of {end} bytes, got {len(data)}")
    out = np.empty(header.shape, header.dtype.newbyteorder("="))
    parts = ((i, data[b.offset : b.offset + b.length]) for i, b in enumerate(header.blocks))
    return decode_blocks(header, parts, out)
