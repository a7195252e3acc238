"""Coding of one chunk: bounds, transforms, quantiser, entropy stage, patch, container.

Plain arrays in and bytes out; no xarray, dask or zarr. `encode_chunk` and `decode_chunk` are the
two doors, `methods` and `register` the table of lossy methods.
"""

from typing import TYPE_CHECKING

from xphys._lazy import attach

if TYPE_CHECKING:
    from xphys.coding.bounds import Bounds as Bounds
    from xphys.coding.frame import decode_chunk as decode_chunk
    from xphys.coding.frame import encode_chunk as encode_chunk
    from xphys.coding.frame import read_header as read_header
    from xphys.coding.method import Method as Method
    from xphys.coding.request import Request as Request
    from xphys.coding.table import methods as methods
    from xphys.coding.table import register as register

__all__ = [
    "Bounds",
    "Method",
    "Request",
    "decode_chunk",
    "encode_chunk",
    "methods",
    "read_header",
    "register",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "Bounds": ".bounds",
        "Method": ".method",
        "Request": ".request",
        "decode_chunk": ".frame",
        "encode_chunk": ".frame",
        "methods": ".table",
        "read_header": ".frame",
        "register": ".table",
    },
)
