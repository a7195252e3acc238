"""Imported where children are forked: makes an opening do what a hostile file might do."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

import xphys.io._open as module
from xphys.io._isolated import child

ACTS = {
    "crash": lambda: signal.raise_signal(signal.SIGSEGV),
    "abort": os.abort,
    "leave": lambda: os._exit(3),
    "end": lambda: os._exit(0),
    "sleep": lambda: time.sleep(600),
    "hoard": lambda: bytearray(2**31),
}
_open = module.open


def acting(*args: Any, **options: Any) -> Any:
    act = (options.get("storage_options") or {}).get("act")
    if act is not None:
        ACTS[act]()
    return _open(*args, **options)


_read = child._Reader.read


def reading(self: Any, *, name: str, **request: Any) -> Any:
    if name in ACTS:
        ACTS[name]()
    return _read(self, name=name, **request)


# pytest imports every file to look for doctests: there nothing is to be changed
if "pytest" not in sys.modules:
    module.open = acting  # type: ignore[assignment]
    child._Reader.read = reading  # type: ignore[method-assign, assignment]
