"""AthenaK: binary dumps of one or many ranks, refined, sliced or coarsened; history tables."""

from typing import TYPE_CHECKING

from xphys._lazy import attach

if TYPE_CHECKING:
    from xphys.io.readers.athenak._history import open_history
    from xphys.io.readers.athenak.backend import AthenaKBackend, open_athenak

__all__ = ["AthenaKBackend", "open_athenak", "open_history"]

__getattr__, __dir__ = attach(
    __name__,
    {
        "AthenaKBackend": ".backend",
        "open_athenak": ".backend",
        "open_history": "._history",
    },
)
