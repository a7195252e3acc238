"""Coding of one chunk: bounds, transforms, quantiser, entropy stage, patch, container.

Plain arrays in and bytes out; no xarray, dask or zarr. `encode_chunk` and `decode_chunk` are the
two doors, `methods` the table of lossy methods.
"""

from xphys.coding.bounds import Bounds
from xphys.coding.frame import decode_chunk, encode_chunk, read_header
from xphys.coding.table import methods, register
from xphys.coding.request import Request
from xphys.coding.transform import TRANSFORM

register(TRANSFORM)

__all__ = [
    "Bounds",
    "Request",
    "decode_chunk",
    "encode_chunk",
    "methods",
    "read_header",
    "register",
]
