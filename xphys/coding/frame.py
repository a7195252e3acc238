"""One chunk to bytes and back: a header and independent blocks of steps."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from xphys._streams import Reader
from xphys.coding import _lossy, _outliers, _values, choice, exact, preserve, table
from xphys.coding.header import SUPPORTED, Block, Header, block_extent, digest, parse
from xphys.coding.request import Request
from xphys.errors import CorruptDataError, FormatError

__all__ = ["decode_blocks", "decode_chunk", "encode_chunk", "read_header"]

read_header = parse


def _lossless(x: np.ndarray, axis: int) -> _lossy.Lossy:
    extent = block_extent(x.shape, axis, x.dtype.itemsize)
    cut = (slice(None),) * axis
    pieces = (x[(*cut, slice(s, s + extent))] for s in range(0, x.shape[axis], extent))
    parts = [(_lossy.LOSSLESS, exact.write_lossless(p)) for p in pieces]
    return _lossy.Lossy(extent, 0, (), False, parts, 0.0, 0.0)


def encode_chunk(
    x: np.ndarray,
    request: Request,
    state: np.ndarray | None = None,
    prediction: np.ndarray | None = None,
) -> bytes:
    """Code one chunk so that every bound holds on the values that a reader gets.

    Parameters
    ----------
    x : ndarray
        Floating point or integer values of any shape and byte order.
    request : Request
        Method, bounds, roles and periodicity of the axes.
    state : structured ndarray, optional
        What relative bounds are relative to, as `reference.reference` returns it, with as many
        axes as x; the chunk itself by default.
    prediction : ndarray of float64, shape of x, optional
        What a reader will know before it decodes, bit for bit or nearly so: the distance from
        it is coded.

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
    coded = None
    if request.method != "lossless":
        choice.candidates(request)  # an unknown name is an error for every chunk
        if values.size:
            state = state if state is None or x.ndim else state.reshape(1)
            if prediction is not None:
                prediction = prediction.reshape(shape)
            coded = _lossy.encode(values, axis, request, state, prediction)
    if not values.size:  # nothing to store: no block at all
        shape = tuple(0 if i == axis else n for i, n in enumerate(shape))
        values = np.empty(shape, values.dtype)
    coded = coded or _lossless(values, axis)
    blocks = tuple(Block(method, 0, len(data), digest(data)) for method, data in coded.parts)
    header = Header(
        np.dtype((stored if stored.byteorder != "=" else stored.newbyteorder("=")).str),
        shape,
        axis,
        coded.extent,
        coded.exponent,
        coded.weighted,
        coded.predicted,
        math.sqrt(coded.squared / max(values.size, 1)),
        coded.peak,
        blocks,
        corrected=coded.corrected,
    )
    return header.pack() + b"".join(data for _, data in coded.parts)


def _decode_block(
    data: bytes, header: Header, index: int, prediction: np.ndarray | None
) -> np.ndarray:
    block, shape = header.blocks[index], header.block_shape(index)
    data = block.check(data)
    dtype = header.dtype.newbyteorder("=")
    if block.method == _lossy.LOSSLESS:
        return exact.read_lossless(data, shape, dtype)
    reader = Reader(data)
    stream = reader.take(reader.varint())
    values = table.by_code(block.method).decode(stream, shape)
    weights = np.ones(())
    if header.weighted:
        groups = tuple(n if i in header.weighted else 1 for i, n in enumerate(shape))
        weights = _values.read_weights(reader, groups)
        values = values * weights
    if header.predicted:
        if prediction is None:
            raise CorruptDataError("a chunk needs its prediction to be decoded, got none")
        where = (*(slice(None),) * header.axis, header.span(index))
        values = values + np.ldexp(prediction[where], -header.exponent)
    correction = reader.take(reader.varint()) if header.corrected else b""
    moved, points = _outliers.split(reader.rest())
    if moved:
        values = np.require(values, requirements="W")
        _outliers.apply(moved, values, weights)
    y = _values.finish(values, header.exponent, dtype, reuse=values.flags.writeable)
    fixed = exact.read_points(points, y)
    if header.corrected:
        preserve.apply(Reader(correction), y, fixed, header.exponent)
    return y


def decode_blocks(
    header: Header,
    parts: Iterable[tuple[int, bytes]],
    out: np.ndarray,
    prediction: np.ndarray | None = None,
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
    prediction : ndarray of float64, optional
        Of the whole chunk, as it was when the chunk was coded.

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
        out[where] = _decode_block(data, header, index, prediction)
    return out


def decode_chunk(data: bytes, prediction: np.ndarray | None = None) -> np.ndarray:
    """Decode a whole chunk.

    Parameters
    ----------
    data : bytes
        What `encode_chunk` returned.
    prediction : ndarray of float64, optional
        As it was given to `encode_chunk`.

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
    end = header.blocks[-1].offset + header.blocks[-1].length if header.blocks else header.size
    if len(data) != end:
        raise CorruptDataError(f"expected a chunk of {end} bytes, got {len(data)}")
    if len(header.blocks) == 1:
        only = _decode_block(data[header.blocks[0].offset :], header, 0, prediction)
        return np.require(only, requirements=("C", "W"))
    out = np.empty(header.shape, header.dtype.newbyteorder("="))
    parts = ((i, data[b.offset : b.offset + b.length]) for i, b in enumerate(header.blocks))
    return decode_blocks(header, parts, out, prediction)
