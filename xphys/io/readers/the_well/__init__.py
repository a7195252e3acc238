"""The Well: HDF5 files with scalar, vector and tensor fields of many trajectories."""

from typing import TYPE_CHECKING

from xphys._lazy import attach

if TYPE_CHECKING:
    from xphys.io.readers.the_well._assemble import open_the_well
    from xphys.io.readers.the_well.backend import TheWellBackend

__all__ = ["TheWellBackend", "open_the_well"]

__getattr__, __dir__ = attach(
    __name__, {"TheWellBackend": ".backend", "open_the_well": "._assemble"}
)
