"""Dedalus 3: output of file handlers, many sets as one, also of parallel runs."""

from typing import TYPE_CHECKING

from xphys._lazy import attach

if TYPE_CHECKING:
    from xphys.io.readers.dedalus.backend import DedalusBackend

__all__ = ["DedalusBackend"]

__getattr__, __dir__ = attach(__name__, {"DedalusBackend": ".backend"})
