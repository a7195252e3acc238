"""Spinlock: HDF5 files of operators, their inputs, outputs, parameters and features."""

from typing import TYPE_CHECKING

from xphys._lazy import attach

if TYPE_CHECKING:
    from xphys.io.readers.spinlock.backend import SpinlockBackend

__all__ = ["SpinlockBackend"]

__getattr__, __dir__ = attach(__name__, {"SpinlockBackend": ".backend"})
