"""The wrapped compressors in the table of methods."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from xphys._optional import require
from xphys.codecs.wrapped import _codec, _isolate
from xphys.codecs.wrapped._codec import EXTRA, Codec
from xphys.codecs.wrapped.bitround import BITROUND
from xphys.codecs.wrapped.jpeg2000 import JPEG2000
from xphys.codecs.wrapped.pco import PCO
from xphys.codecs.wrapped.sperr import SPERR
from xphys.codecs.wrapped.sz3 import SZ3
from xphys.codecs.wrapped.zfp import ZFP
from xphys.coding.bounds import Limits
from xphys.coding.method import Coded, Method
from xphys.coding.request import Request
from xphys.coding.table import register

__all__ = ["CODECS", "extra_of", "require_method"]

CODECS = {codec.name: codec for codec in (SZ3, SPERR, JPEG2000, ZFP, PCO, BITROUND)}


def require_method(name: str) -> None:
    """Check that a method can be used here.

    Parameters
    ----------
    name : str
        Of a method; one that is no wrapper is fine.

    Raises
    ------
    MissingDependencyError
        If its package is not installed; the line names the extra that brings it.
    """
    if name in CODECS and CODECS[name].package:
        require(CODECS[name].package, EXTRA)


def extra_of(request: Request) -> dict[str, str]:
    """What the metadata of an array says of the extra that reading it needs.

    Parameters
    ----------
    request : Request
        As the array is stored.

    Returns
    -------
    dict
        ``{"extra": name}``; empty if the core install reads it.
    """
    needed = [name for name in (request.method, *request.extras) if name in CODECS]
    return {"extra": EXTRA} if any(CODECS[name].package for name in needed) else {}


def _encoder(codec: Codec) -> Callable[[np.ndarray, int, Limits, Request], Coded]:
    if not codec.native:
        return partial(_codec.encode, codec)
    return partial(_isolate.encode, codec)


for _one in CODECS.values():
    register(
        Method(
            _one.name,
            _one.code,
            _encoder(_one),
            partial(_codec.decode, _one),
            extra=EXTRA if _one.package else "",
        )
    )
