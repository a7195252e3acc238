"""Athena++: HDF5 output (.athdf), refined or not, many files as a time series."""

from typing import TYPE_CHECKING

from xphys._lazy import attach

if TYPE_CHECKING:
    from xphys.io.readers.athdf.backend import AthdfBackend

__all__ = ["AthdfBackend"]

__getattr__, __dir__ = attach(__name__, {"AthdfBackend": ".backend"})
