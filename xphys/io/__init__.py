"""Opening and writing: readers, writers, and the payloads between them."""

from typing import TYPE_CHECKING

from xphys._lazy import attach

if TYPE_CHECKING:
    from xphys.io._chunks import storage_chunks as storage_chunks
    from xphys.io._isolated import Isolation as Isolation
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
    from xphys.io.writers.netcdf import to_netcdf as to_netcdf
    from xphys.io.writers.references import virtual as virtual
    from xphys.io.writers.the_well import to_the_well as to_the_well
    from xphys.io.writers.tree import tree_to_zarr as tree_to_zarr
    from xphys.io.writers.zarr import to_zarr as to_zarr

__all__ = [
    "DecodeLayer",
    "Facts",
    "Isolation",
    "PayloadLayer",
    "PayloadSpec",
    "attach_payload",
    "find_payload",
    "open",
    "repair",
    "storage_chunks",
    "stored_bytes",
    "to_gust",
    "to_netcdf",
    "to_the_well",
    "to_zarr",
    "tree_to_zarr",
    "verify",
    "virtual",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "DecodeLayer": "._payload",
        "Facts": "._records",
        "Isolation": "._isolated",
        "PayloadLayer": "._payload",
        "PayloadSpec": "._payload",
        "attach_payload": "._payload",
        "find_payload": "._payload",
        "open": "._open",
        "repair": "._repair",
        "storage_chunks": "._chunks",
        "stored_bytes": "._sizes",
        "to_gust": ".writers.gust",
        "to_netcdf": ".writers.netcdf",
        "to_the_well": ".writers.the_well",
        "to_zarr": ".writers.zarr",
        "tree_to_zarr": ".writers.tree",
        "verify": "._verify",
        "virtual": ".writers.references",
    },
)
