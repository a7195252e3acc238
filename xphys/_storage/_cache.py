"""Where xphys keeps on this machine what it can find out again."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["cache_folder"]

_SWITCH = "XPHYS_CACHE"
_OFF = ("off", "0", "no", "false")


def cache_folder() -> Path | None:
    """Folder of the user's cache, which may not exist yet; None if it is switched off.

    The environment variable ``XPHYS_CACHE`` names another folder, or switches the cache off
    ("off"). Without it: ``$XDG_CACHE_HOME/xphys``, else what the platform keeps such things in.

    Examples
    --------
    >>> import os
    >>> os.environ["XPHYS_CACHE"] = "off"
    >>> cache_folder() is None
    True
    >>> del os.environ["XPHYS_CACHE"]
    """
    named = os.environ.get(_SWITCH, "").strip()
    if named.lower() in _OFF:
        return None
    if named:
        return Path(named).expanduser()
    wanted = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(wanted):  # the rules say that a relative one does not count
        return Path(wanted) / "xphys"
    try:
        home = Path.home()
    except RuntimeError:  # a user without one
        return None
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "xphys"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "xphys"
    return home / ".cache" / "xphys"
