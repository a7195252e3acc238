"""The command ``xphys``; typer and rich load when it runs."""

from typing import TYPE_CHECKING

from xphys._lazy import attach

if TYPE_CHECKING:
    from xphys.cli._app import app as app
    from xphys.cli._app import main as main

__all__ = ["app", "main"]

__getattr__, __dir__ = attach(__name__, {"app": "xphys.cli._app", "main": "xphys.cli._app"})
