"""NumPy files of the MRI project: fields, windows, pairs for diffusion, statistics."""

from typing import TYPE_CHECKING

from xphys._lazy import attach

if TYPE_CHECKING:
    from xphys.io.readers.mri_npy.backend import MRINumpyBackend

__all__ = ["MRINumpyBackend"]

__getattr__, __dir__ = attach(__name__, {"MRINumpyBackend": ".backend"})
