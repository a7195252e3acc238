"""Physics simulations as labelled, lazy, verified xarray Datasets.

Importing xphys registers the accessor ``.phys`` on Dataset, DataArray and DataTree.
"""

from typing import TYPE_CHECKING

from xphys import accessors as accessors
from xphys._lazy import attach
from xphys._version import __version__

if TYPE_CHECKING:
    from xphys.io import open as open
    from xphys.io import repair as repair
    from xphys.io import verify as verify
    from xphys.io import virtual as virtual

__all__ = ["__version__", "open", "repair", "verify", "virtual"]

__getattr__, __dir__ = attach(
    __name__, dict.fromkeys(("open", "repair", "verify", "virtual"), "xphys.io")
)
