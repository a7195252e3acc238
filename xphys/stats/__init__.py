"""Statistics of variables in one pass: moments, histograms, extremes, kept beside the data."""

from typing import TYPE_CHECKING

from xphys._lazy import attach

if TYPE_CHECKING:
    from xphys.stats._api import statistics as statistics
    from xphys.stats._distribution import moments as moments
    from xphys.stats._distribution import pdf as pdf
    from xphys.stats._kernels import STATE as STATE
    from xphys.stats._kernels import empty as empty
    from xphys.stats._kernels import merge as merge
    from xphys.stats._kernels import state as state
    from xphys.stats._store import load as load
    from xphys.stats._store import place as place
    from xphys.stats._store import save as save

__all__ = [
    "STATE",
    "empty",
    "load",
    "merge",
    "moments",
    "pdf",
    "place",
    "save",
    "state",
    "statistics",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "STATE": "._kernels",
        "empty": "._kernels",
        "load": "._store",
        "merge": "._kernels",
        "moments": "._distribution",
        "pdf": "._distribution",
        "place": "._store",
        "save": "._store",
        "state": "._kernels",
        "statistics": "._api",
    },
)
