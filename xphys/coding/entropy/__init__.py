"""Entropy stage of the lossy codec: quantised coefficients to bytes and back.

The integers form planes of rows and columns; each is coded given the magnitudes around it in its
own plane and in two earlier planes, and given its class (what kind of frequency it is).

``encode(q, layout, coder=)`` -> bytes
    q : int32 (planes, rows, cols), magnitudes up to 2^31 - 1. Tile map, tables and everything else
    but the layout are in the bytes; an array of zeros takes none (``b""``).
``decode(data, layout, coder=)`` -> int32 array
    `CorruptDataError` where the bytes cannot be read; never reads or allocates out of bounds.
``estimate(q, layout)`` -> float
    Bits that the coder "static" would take, without coding.
``refine(scaled, q, layout, lagrangian, known)`` -> int32 array
    Rounds up, down or to zero, whichever costs least: (scaled - q)^2 + lagrangian * bits.
    ``prices(q, layout)`` gives what may be known before, to refine several times.

Coders: "static" is fast (tables in front, then interleaved rANS); "mixing" is slower and smaller
(adaptive probabilities mixed for every binary decision), above all on streams of a few kB.
"""

from typing import TYPE_CHECKING

from xphys._lazy import attach

if TYPE_CHECKING:
    from xphys.coding.entropy._api import decode as decode
    from xphys.coding.entropy._api import encode as encode
    from xphys.coding.entropy._api import estimate as estimate
    from xphys.coding.entropy._api import prices as prices
    from xphys.coding.entropy._api import refine as refine
    from xphys.coding.entropy.layout import Layout as Layout

__all__ = ["Layout", "decode", "encode", "estimate", "prices", "refine"]

__getattr__, __dir__ = attach(
    __name__,
    {
        "Layout": ".layout",
        "decode": "._api",
        "encode": "._api",
        "estimate": "._api",
        "prices": "._api",
        "refine": "._api",
    },
)
