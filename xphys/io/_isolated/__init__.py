"""Files of strangers, read by child processes with limits of memory and time."""

from typing import TYPE_CHECKING

from xphys._lazy import attach

if TYPE_CHECKING:
    from xphys.io._isolated._isolation import Isolation as Isolation
    from xphys.io._isolated._open import open_isolated as open_isolated

__all__ = ["Isolation", "open_isolated"]

__getattr__, __dir__ = attach(__name__, {"Isolation": "._isolation", "open_isolated": "._open"})
