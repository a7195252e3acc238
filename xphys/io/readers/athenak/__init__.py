"""AthenaK: binary dumps of one or many ranks, refined, sliced or coarsened; history tables."""

from typing import TYPE_CHECKING

from xphys._lazy import attach

if TYPE_CHECKING:
    from xphys.io.readers.athenak._assemble import open_athenak, open_levels
    from xphys.io.readers.athenak._history import open_history
    from xphys.io.readers.athenak.backend import AthenaKBackend

__all__ = ["AthenaKBackend", "open_athenak", "open_history", "open_levels"]

__getattr__, __dir__ = attach(
    __name__,
    {
        "AthenaKBackend": ".backend",
        "open_athenak": "._assemble",
        "open_history": "._history",
        "open_levels": "._assemble",
    },
)
