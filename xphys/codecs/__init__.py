"""Compressing: `compress`, and the adapters through which Zarr and numcodecs read the result."""

from typing import TYPE_CHECKING

from xphys._lazy import attach

if TYPE_CHECKING:
    from xphys.codecs._api import compress as compress

__all__ = ["compress"]

__getattr__, __dir__ = attach(__name__, {"compress": "._api"})
