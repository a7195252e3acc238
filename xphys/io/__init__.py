"""Opening and writing: readers, writers, and the payloads between them."""

from typing import TYPE_CHECKING

from xphys._lazy import attach

if TYPE_CHECKING:
    from xphys.io._chunks import storage_chunks as storage_chunks
    from xphys.io._open import open as open
    from xphys.io._payload import DecodeLayer as DecodeLayer
    from xphys.io._payload import PayloadLayer as PayloadLayer
    from xphys.io._payload import PayloadSpec as PayloadSpec
    from xphys.io._payload import attach_payload as attach_payload
    from xphys.io._payload import find_payload as find_payload
    from xphys.io._records import Facts as Facts
    from xphys.io._repair import repair as repair
    from xphys.io._sizes import stored_bytes as stored_bytes
    from xphys.io._verify import verify as verify
    from xphys.io.writers.gust import to_gust as to_gust
    from xphys.io.writers.tree import tree_to_zarr as tree_to_zarr
    from xphys.io.writers.zarr import to_zarr as to_zarr

__all__ = [
    "DecodeLayer",
    "Facts",
    "PayloadLayer",
    "PayloadSpec",
    "attach_payload",
    "find_payload",
    "open",
    "repair",
    "storage_chunks",
    "stored_bytes",
    "to_gust",
    "to_zarr",
    "tree_to_zarr",
    "verify",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "DecodeLayer": "._payload",
        "Facts": "._records",
        "PayloadLayer": "._payload",
        "PayloadSpec": "._payload",
        "attach_payload": "._payload",
        "find_payload": "._payload",
        "open": "._open",
        "repair": "._repair",
        "storage_chunks": "._chunks",
        "stored_bytes": "._sizes",
        "to_gust": ".writers.gust",
        "to_zarr": ".writers.zarr",
        "tree_to_zarr": ".writers.tree",
        "verify": "._verify",
    },
)
