"""The one guard for optional packages."""

from __future__ import annotations

import importlib
from types import ModuleType

from xphys.errors import MissingDependencyError

__all__ = ["require"]


def require(module: str, extra: str) -> ModuleType:
    """Import an optional package or say which extra brings it.

    Parameters
    ----------
    module : str
        Import name, e.g. ``"imagecodecs"``.
    extra : str
        The extra of xphys that installs it, e.g. ``"codecs"``.

    Returns
    -------
    module
        The imported module.

    Raises
    ------
    MissingDependencyError
        If the package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or module.split(".")[0] != error.name.split(".")[0]:
            raise  # the package is there, something that it needs is not
        raise MissingDependencyError(
            f"{module} is needed here and is not installed: pip install 'xphys[{extra}]'"
        ) from error
