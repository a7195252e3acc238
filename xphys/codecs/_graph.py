"""The two layers behind a compressed array: bytes of each chunk, and values decoded from them."""

from __future__ import annotations

from itertools import product

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.task_spec import Task, TaskRef

from xphys.codecs.adapters.zarr_v3 import FrameCodec
from xphys.coding.frame import decode_chunk, encode_chunk
from xphys.coding.header import header_size, parse
from xphys.coding.request import Request
from xphys.io import DecodeLayer, Facts, PayloadLayer, PayloadSpec, attach_payload

__all__ = ["compressed"]


def _encode(block: np.ndarray, request: Request) -> bytes:
    return encode_chunk(np.asarray(block), request)


def _decode(data: bytes, shape: tuple[int, ...]) -> np.ndarray:
    return decode_chunk(data).reshape(shape)


def _describe(data: bytes) -> Facts:
    header = parse(data)
    unit = 2.0**header.exponent
    size = header_size(len(header.shape), len(header.blocks))
    return Facts(header.rms * unit, header.peak * unit, size)


def compressed(source: da.Array, chunks: tuple[int, ...], request: Request) -> da.Array:
    """Array of the values that a reader will get, with the payload behind it.

    Parameters
    ----------
    source : dask Array
        Values to code.
    chunks : tuple of int
        Shape of the stored chunks.
    request : Request
        Method, bounds, roles, periodicity.

    Returns
    -------
    dask Array
        Chunked as stored, native byte order.
    """
    source = source.rechunk(chunks)
    token = tokenize(source.name, chunks, request)
    payload, decoded = f"compress-encode-{token}", f"compress-decode-{token}"
    encode, decode = {}, {}
    for index in product(*map(range, source.numblocks)):
        shape = tuple(sizes[i] for sizes, i in zip(source.chunks, index, strict=True))
        made, read = (payload, *index), (decoded, *index)
        encode[made] = Task(made, _encode, TaskRef((source.name, *index)), request)
        decode[read] = Task(read, _decode, TaskRef(made), shape)
    spec = PayloadSpec(FrameCodec(request), chunks, _describe)
    return attach_payload(
        source,
        PayloadLayer(encode),
        DecodeLayer(decode, spec, payload),
        name=decoded,
        dtype=source.dtype.newbyteorder("="),
    )
