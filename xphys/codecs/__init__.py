"""Compressing: `compress`, and the adapters through which Zarr and numcodecs read the result."""

from typing import TYPE_CHECKING

from xphys._lazy import attach

if TYPE_CHECKING:
    from xphys.codecs._api import compress as compress
    from xphys.codecs._estimate import estimate_compression as estimate_compression
    from xphys.codecs._options import AutoOptions as AutoOptions
    from xphys.codecs._rates import rate_distortion as rate_distortion

__all__ = ["AutoOptions", "compress", "estimate_compression", "rate_distortion"]

__getattr__, __dir__ = attach(
    __name__,
    {
        "AutoOptions": "._options",
        "compress": "._api",
        "estimate_compression": "._estimate",
        "rate_distortion": "._rates",
    },
)
