"""Legacy VTK files of structured points: single snapshots and time series."""

from typing import TYPE_CHECKING

from xphys._lazy import attach

if TYPE_CHECKING:
    from xphys.io.readers.vtk.backend import VTKBackend

__all__ = ["VTKBackend"]

__getattr__, __dir__ = attach(__name__, {"VTKBackend": ".backend"})
