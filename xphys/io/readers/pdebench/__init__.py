"""PDEBench HDF5: arrays of samples, groups of samples, and the incompressible flow."""

from typing import TYPE_CHECKING

from xphys._lazy import attach

if TYPE_CHECKING:
    from xphys.io.readers.pdebench.backend import PDEBenchBackend

__all__ = ["PDEBenchBackend"]

__getattr__, __dir__ = attach(__name__, {"PDEBenchBackend": ".backend"})
