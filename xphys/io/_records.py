"""Records of units: what must be known of a unit to trust its bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from blake3 import blake3

from xphys.io._layout import Index, Layout

__all__ = ["EMPTY", "RECORD", "UNKNOWN", "WRITTEN", "Facts", "digest", "records_of", "unit_digest"]

UNKNOWN, WRITTEN, EMPTY = 0, 1, 2
_LENGTH = 16  # bytes of a digest

#: One record: state of the unit, which fingerprint it is bound to, place in its object, measured
#: errors, digest of all its bytes and of its first ``head`` bytes.
RECORD = np.dtype(
    [
        ("state", "u1"),
        ("generation", "u1"),
        ("reserved", "u1", 2),
        ("head", "<u4"),
        ("offset", "<u8"),
        ("length", "<u8"),
        ("rms", "<f8"),
        ("peak", "<f8"),
        ("digest", "u1", 16),
        ("head_digest", "u1", 16),
    ]
)


@dataclass(frozen=True)
class Facts:
    """What whoever made a payload knows of its bytes.

    Attributes
    ----------
    rms, peak : float
        Measured root mean square and largest error, in the units of the variable.
    head : int
        Bytes at the front that hold the digests of all others.
    """

    rms: float = 0.0
    peak: float = 0.0
    head: int = 0


Describe = Callable[[bytes], Facts]


def digest(data: bytes) -> str:
    """BLAKE3 of 16 bytes in hexadecimal, for documents."""
    return str(blake3(data).hexdigest(_LENGTH))


def unit_digest(fingerprint: bytes, path: str, index: Index, data: bytes | memoryview) -> bytes:
    """Digest that binds bytes to a run, an array and a place in it."""
    place = f"{path}\0{','.join(map(str, index))}\0".encode()
    # BLAKE3: as strong as BLAKE2b, and several times faster than anything that is decoded here
    state = blake3(fingerprint + len(place).to_bytes(4, "little") + place)
    state.update(data)
    return bytes(state.digest(_LENGTH))


def records_of(
    layout: Layout,
    path: str,
    index: Index,
    data: bytes | memoryview | None,
    fingerprint: bytes,
    generation: int,
    facts: Facts = Facts(),  # noqa: B008 - frozen
) -> Iterator[tuple[Index, np.ndarray]]:
    """Records of the units in one object.

    Parameters
    ----------
    layout : Layout
        Of the array.
    path : str
        Of the array in its group.
    index : tuple of int
        Of the object.
    data : bytes or None
        The object; None for one that is left out because it holds fill values only.
    fingerprint : bytes
        Of the run.
    generation : int
        Number of that fingerprint.
    facts : Facts
        Known of the bytes.

    Yields
    ------
    (tuple of int, ndarray)
        Unit and its record, shape ().
    """
    if data is None:
        pieces: dict[Index, tuple[int, int] | None] = dict.fromkeys(layout.inner(index))
    else:
        pieces = layout.pieces(index, data)
    for unit, piece in pieces.items():
        record = np.zeros((), RECORD)
        record["generation"] = generation
        if piece is None or data is None:
            record["state"] = EMPTY
        else:
            offset, length = piece
            body = memoryview(data)[offset : offset + length]
            record["state"], record["offset"], record["length"] = WRITTEN, offset, length
            record["rms"], record["peak"] = facts.rms, facts.peak
            record["digest"] = _bytes(unit_digest(fingerprint, path, unit, body))
            if facts.head:
                head = body[: facts.head]
                record["head"] = facts.head
                record["head_digest"] = _bytes(unit_digest(fingerprint, path, unit, head))
        yield unit, record


def _bytes(value: bytes) -> np.ndarray:
    return np.frombuffer(value, np.uint8)
