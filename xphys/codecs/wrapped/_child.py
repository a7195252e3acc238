"""The child process: codes and decodes with native libraries until its parent goes."""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np

from xphys.codecs.wrapped import _codec, _wire
from xphys.codecs.wrapped._methods import CODECS
from xphys.coding.bounds import Bounds, Limits
from xphys.coding.request import Request

__all__ = ["main"]


def main() -> None:
    """Answer requests on standard input until it is closed."""
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not end up between answers
    while True:
        try:
            message = _wire.read(requests)
        except EOFError:
            return
        try:
            head, parts = _TASKS[message.head["task"]](message)
        except Exception as error:
            said = " ".join(str(error).split())[:500]
            head, parts = {"error": f"{type(error).__name__}: {said}"}, []
        _wire.write(answers, head, parts)


def _encode(message: _wire.Message) -> tuple[dict[str, Any], list[bytes]]:
    head = message.head
    x = np.frombuffer(message.parts[0], head["dtype"]).reshape(head["shape"])
    bounds = Bounds(**head["bounds"]) if head["bounds"] else None
    request = Request(head["method"], bounds, effort=head["effort"])
    coded = _codec.encode(CODECS[head["method"]], x, head["axis"], Limits(*head["limits"]), request)
    parts: list[bytes] = []
    for stream, values in zip(coded.streams, coded.values, strict=True):
        parts += [stream, values.astype(x.dtype, copy=False).tobytes()]
    return {"extent": coded.extent}, parts


def _decode(message: _wire.Message) -> tuple[dict[str, Any], list[bytes]]:
    head = message.head
    values = _codec.decode(CODECS[head["method"]], message.parts[0], tuple(head["shape"]))
    return {"dtype": values.dtype.str}, [values.tobytes()]


_TASKS = {"encode": _encode, "decode": _decode}
