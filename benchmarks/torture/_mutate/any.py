"""Changes that need no format, and numbers that programs get wrong."""

from __future__ import annotations

import random

__all__ = ["anything", "fields", "number", "odd"]

_EDGES = (0, 1, 2, 3, 7, 8, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**40)


def odd(rng: random.Random, width: int, old: int = 0, size: int = 0) -> int:
    """A number of ``width`` bytes at an edge: of types, of the file, or beside the old one."""
    most = 1 << 8 * width
    near = (
        old + 1,
        old - 1,
        old * 2,
        old // 2,
        -old,
        size,
        size - 1,
        size + 1,
        most - 1,
        most // 2,
    )
    return rng.choice(_EDGES + near + (rng.randrange(most),)) % most


def number(rng: random.Random, data: bytearray, at: int, width: int, order: str = "little") -> None:
    """Replace the number of ``width`` bytes at a place."""
    old = int.from_bytes(data[at : at + width], order)  # type: ignore[arg-type]
    new = odd(rng, width, old, len(data))
    data[at : at + width] = new.to_bytes(width, order)  # type: ignore[arg-type]


def fields(rng: random.Random, data: bytes, start: int, stop: int, order: str = "little") -> bytes:
    """One or a few numbers of 1 to 8 bytes inside a part of the file."""
    out = bytearray(data)
    stop = min(stop, len(out))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        width = rng.choice((1, 2, 4, 8))
        if stop - start < width:
            continue
        at = start + rng.randrange((stop - start) // width) * width
        number(rng, out, at, width, order)
    return bytes(out)


def anything(rng: random.Random, data: bytes) -> bytes:
    """A bit, a number, a part that is cut, zero, doubled, moved, or noise."""
    out, n = bytearray(data), len(data)
    if not n:
        return rng.randbytes(rng.randint(1, 64))
    start, stop = sorted((rng.randrange(n + 1), rng.randrange(n + 1)))
    what = rng.randrange(8)
    if what == 0:
        out[rng.randrange(n)] ^= 1 << rng.randrange(8)
    elif what == 1:
        return fields(rng, data, 0, n, rng.choice(("little", "big")))
    elif what == 2:
        return data[: rng.randrange(n)]
    elif what == 3:
        out[start:stop] = bytes(stop - start)
    elif what == 4:
        out[start:start] = data[start : min(stop, start + 4096)]
    elif what == 5:
        del out[start : min(stop, start + rng.choice((1, 4, 8, 64, 4096)))]
    elif what == 6:
        piece = data[start:stop][:4096]
        at = rng.randrange(n)
        out[at : at + len(piece)] = piece
    else:
        noise = rng.randbytes(min(stop - start, 256))
        out[start : start + len(noise)] = noise
    return bytes(out)
