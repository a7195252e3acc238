"""The four doors of the entropy stage: checks, the frame of a stream, choice of a coder."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from xphys._streams import Reader, varint
from xphys.coding.entropy import _binary, _measure, _mixing_map, _refine, _static, _table, _tiles
from xphys.coding.entropy._family import BINS
from xphys.coding.entropy.layout import SPATIAL_CLASSES, Layout
from xphys.errors import CorruptDataError

__all__ = ["decode", "encode", "estimate", "prices", "refine"]

_Encoder = Callable[[NDArray[np.int32], Layout], bytes]
_Decoder = Callable[[bytes, Layout], NDArray[np.int32]]
Prices = tuple[int, NDArray[np.uint8]]
_SAMPLE = 2**13  # coefficients whose counts choose the weights of space and time
_MIDDLE_SAMPLE = 2**14  # coefficients whose counts tell the price of a bit
_LARGE_SAMPLE = 2**16  # coefficients whose counts tell the size of the rest
_FRAME = 14  # bytes of lengths and last states


def _checked(q: np.ndarray, layout: Layout) -> NDArray[np.int32]:
    found = np.asarray(q)
    if found.shape != layout.shape or found.dtype != np.int32:
        raise ValueError(f"expected int32 of shape {layout.shape}, got {found.dtype} {found.shape}")
    if int(found.min()) < -(2**31) + 1:
        raise ValueError("expected magnitudes up to 2^31 - 1, found -2^31")
    return np.ascontiguousarray(found)


def _marked(q: NDArray[np.int32]) -> tuple[NDArray[np.uint8], int]:
    tiles = np.zeros(_tiles.tile_grid(q.shape), np.uint8)
    return tiles, _tiles.find_tiles(q, tiles)


def _present(layout: Layout, tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """1 for each class that has a place in a marked tile."""
    present = np.zeros(_classes(layout), np.uint8)
    _tiles.mark_classes(tiles, layout.plane_class, layout.spatial_class, present)
    return present


def _classes(layout: Layout) -> int:
    """Classes of planes and places up to the last one that there is."""
    return SPATIAL_CLASSES * (int(layout.plane_class.max()) + 1)


def _back(layout: Layout) -> int:
    return min(layout.back, layout.shape[0])


def _choose_mode(
    q: NDArray[np.int32], tiles: NDArray[np.uint8], number: int, layout: Layout
) -> int:
    """Weights of space and time that suit a sample."""
    if layout.shape[0] == 1:
        return 0
    return _measure.best_mode(*_sample(q, tiles, layout, number * 64 // _SAMPLE, 0, 4)[:2])


def _sample(
    q: NDArray[np.int32],
    tiles: NDArray[np.uint8],
    layout: Layout,
    stride: int,
    first_mode: int,
    modes: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Counts of symbols, bits that are not modelled, tiles looked at; the first two by weights."""
    counts = np.zeros((modes, _classes(layout) * BINS, _static.SYMBOLS), np.int64)
    plain = np.zeros(modes, np.int64)
    parts = (tiles, layout.plane_class, layout.spatial_class, _back(layout), max(stride, 1))
    return counts, plain, _measure.count_sample(q, *parts, first_mode, counts, plain)


def _encode_static(q: NDArray[np.int32], layout: Layout) -> bytes:
    tiles, number = _marked(q)
    if not number:
        return b""
    back = _back(layout)
    mode = _choose_mode(q, tiles, number, layout)
    room = min(number * _tiles.SIDE**2, q.size)
    codes = np.empty(room, np.uint16)
    classes = _classes(layout)
    counts = np.zeros((classes * BINS, _static.SYMBOLS), np.int64)
    signs = np.zeros(room // 8 + 1, np.uint8)
    raw, bits, signed = _static.gather(
        q, tiles, layout.plane_class, layout.spatial_class, back, mode, codes, counts, signs
    )
    rows = np.zeros((classes + 1, BINS), np.int64)
    own = np.zeros(classes, np.uint8)
    _table.choose(counts, rows, own)
    own = np.where(_present(layout, tiles) > 0, np.maximum(own, 1), 0).astype(np.uint8)
    words = np.empty(room + 4, np.uint16)
    total = int(counts.sum())
    chosen = rows[1:].reshape(-1).astype(np.uint8)
    first = _static.push(codes, total, chosen, words)
    start = (0, _binary.FULL, np.zeros(4096, np.uint8), 0)
    low, high, out, at = _tiles.write_tiles(tiles, back, *start)
    low, high, at = _binary.code_raw(mode, 2, low, high, out, at)
    low, high, out, at = _table.write_table(rows, own, low, high, out, at)
    out = _binary.grown(out, at)
    side = out[: _binary.code_end(low, high, out, at)].tobytes()
    coded = words[first:].astype("<u2").tobytes()
    head = varint(len(side)) + varint(len(coded) // 2) + varint(bits)
    return b"".join(
        (head, side, coded, raw[: -(-bits // 8)].tobytes(), signs[: -(-signed // 8)].tobytes())
    )


def _decode_static(data: bytes, layout: Layout) -> NDArray[np.int32]:
    q = np.zeros(layout.shape, np.int32)
    reader = Reader(data)
    side_size, count, bits = reader.varint(), reader.varint(), reader.varint()
    side = np.frombuffer(reader.take(side_size), np.uint8).copy()
    back, spare = _back(layout), layout.shape[2]
    words = np.frombuffer(reader.take(2 * count) + bytes(2 * spare + 8), "<u2")
    raw = np.frombuffer(reader.take(-(-bits // 8)) + bytes(16), np.uint8)
    rest = reader.rest()
    signs = np.frombuffer(rest + bytes(spare // 8 + 1), np.uint8)
    if count < 4:
        raise CorruptDataError(f"expected at least 4 words of coefficients, found {count}")
    tiles = np.zeros(_tiles.tile_grid(layout.shape), np.uint8)
    code, at = _binary.read_start(side)
    low, high, code, at = _tiles.read_tiles(tiles, back, 0, _binary.FULL, code, side, at)
    mode, low, high, code, at = _binary.read_raw(2, low, high, code, side, at)
    own = _present(layout, tiles)
    rows = np.zeros((own.size + 1, BINS), np.int64)
    low, high, code, at = _table.read_table(rows, own, low, high, code, side, at)
    signed = (
        -1
        if at < 0
        else _static.pull(
            q,
            tiles,
            layout.plane_class,
            layout.spatial_class,
            back,
            mode,
            _table.expand(rows[1:]),
            *_static.slot_tables(),
            words.astype(np.uint16),
            count,
            raw.copy(),
            bits,
            signs.copy(),
        )
    )
    if signed < 0 or -(-signed // 8) != len(rest):
        raise CorruptDataError(f"the {len(data)} bytes of coefficients cannot be decoded")
    return q


def encode(q: np.ndarray, layout: Layout, *, coder: str) -> bytes:
    """Code integers.

    Parameters
    ----------
    q : ndarray of int32, shape (planes, rows, cols)
        Magnitudes up to 2^31 - 1.
    layout : Layout
        Its shape and classes; the reader must have the same.
    coder : {"static", "mixing"}
        Fast, or small.

    Returns
    -------
    bytes
        All but the layout and the name of the coder; none for zeros.

    Raises
    ------
    ValueError
        If the array has another shape or type, or the coder is unknown.
    """
    return _coders(coder)[0](_checked(q, layout), layout)


def decode(data: bytes, layout: Layout, *, coder: str) -> NDArray[np.int32]:
    """Read what `encode` wrote.

    Parameters
    ----------
    data : bytes
        The stream.
    layout : Layout
        As given to `encode`.
    coder : {"static", "mixing"}
        As given to `encode`.

    Returns
    -------
    ndarray of int32, shape (planes, rows, cols)
        The integers.

    Raises
    ------
    CorruptDataError
        If the bytes cannot be read. Damage is not always seen: that is up to a digest outside.
    ValueError
        If the coder is unknown.
    """
    read = _coders(coder)[1]
    return read(bytes(data), layout) if data else np.zeros(layout.shape, np.int32)


def estimate(q: np.ndarray, layout: Layout) -> float:
    """Bits that the coder "static" would take, from the counts of a sample of tiles.

    Parameters
    ----------
    q : ndarray of int32, shape (planes, rows, cols)
        The integers.
    layout : Layout
        Its shape and classes.

    Returns
    -------
    float
        Bits, mostly within 3 % of the real stream.

    Raises
    ------
    ValueError
        If the array has another shape or type.
    """
    found = _checked(q, layout)
    tiles, number = _marked(found)
    if not number:
        return 0.0
    mode = _choose_mode(found, tiles, number, layout)
    counts, plain, looked = _sample(found, tiles, layout, number * 64 // _LARGE_SAMPLE, mode, 1)
    classes = _classes(layout)
    rows = np.zeros((classes + 1, BINS), np.int64)
    scale = number / max(looked, 1)
    scaled = np.rint(counts[0] * scale).astype(np.int64)
    bits = _table.choose(scaled, rows, np.zeros(classes, np.uint8)) / 256 + plain[0] * scale
    start = (0, _binary.FULL, np.zeros(4096, np.uint8), 0)
    return float(bits) + 8.0 * (_tiles.write_tiles(tiles, _back(layout), *start)[3] + _FRAME)


def prices(q: np.ndarray, layout: Layout) -> Prices:
    """What `refine` takes a bit to cost where integers are about as given.

    Parameters
    ----------
    q : ndarray of int32, shape (planes, rows, cols)
        A rounding.
    layout : Layout
        Its shape and classes.

    Returns
    -------
    tuple
        Weights of space and time, and the distribution of each context.

    Raises
    ------
    ValueError
        If the array has another shape or type.
    """
    found = _checked(q, layout)
    tiles, number = _marked(found)
    mode = _choose_mode(found, tiles, number, layout)
    classes = _classes(layout)
    rows = np.zeros((classes + 1, BINS), np.int64)
    counts = _sample(found, tiles, layout, number * 64 // _MIDDLE_SAMPLE, mode, 1)[0]
    _table.choose(counts[0], rows, np.zeros(classes, np.uint8))
    return mode, _table.expand(rows[1:])


def refine(
    scaled: np.ndarray,
    q: np.ndarray,
    layout: Layout,
    lagrangian: float,
    known: Prices | None = None,
) -> NDArray[np.int32]:
    """Choose for each integer the rounding that is worth its bits.

    Minimises the sum of ``(scaled - restored)^2 + lagrangian * bits`` greedily in the order of
    coding, with the bits of the coder "static" and with the mean of what is rounded to 1, and to
    more, as the restored values of those.

    Parameters
    ----------
    scaled : ndarray of float32, shape (planes, rows, cols)
        Coefficients in units of the step.
    q : ndarray of int32, same shape
        A first rounding; zeros in tiles of zeros stay.
    layout : Layout
        Its shape and classes.
    lagrangian : float
        Price of a bit in squared steps; about 0.1 is good.
    known : tuple, optional
        What `prices` returned for a similar rounding; that of `q` by default.

    Returns
    -------
    ndarray of int32, same shape
        New integers: as `scaled` rounded down, up, or to 0.

    Raises
    ------
    ValueError
        If an array has another shape or type.
    """
    out = _checked(q, layout).copy()
    if scaled.shape != layout.shape or scaled.dtype != np.float32:
        raise ValueError(f"expected float32 of {layout.shape}, got {scaled.dtype} {scaled.shape}")
    true = np.ascontiguousarray(scaled)
    tiles, number = _marked(out)
    if not number:
        return out
    mode, table = known or prices(out, layout)
    weight = float(lagrangian) / 256
    classes = (layout.plane_class, layout.spatial_class)
    first, rest = _refine.centroids(true, out, tiles)
    _refine.drop_tiles(true, out, tiles, *classes, table, weight, first)
    _refine.decide_sizes(
        true, out, tiles, *classes, _back(layout), mode, table, weight, first, rest
    )
    return out


def _encode_mixing(q: NDArray[np.int32], layout: Layout) -> bytes:
    tiles, number = _marked(q)
    if not number:
        return b""
    return _mixing_map.write_mixed(q, tiles, layout.classes, _back(layout)) or b"\0"


def _decode_mixing(data: bytes, layout: Layout) -> NDArray[np.int32]:
    stream = np.frombuffer(data, np.uint8).copy()
    q, right = _mixing_map.read_mixed(stream, layout.shape, layout.classes, _back(layout))
    if not right:
        raise CorruptDataError(f"the {len(data)} bytes of coefficients cannot be decoded")
    return q


_CODERS = {"static": (_encode_static, _decode_static), "mixing": (_encode_mixing, _decode_mixing)}


def _coders(name: str) -> tuple[_Encoder, _Decoder]:
    if name not in _CODERS:
        raise ValueError(f"expected a coder of {sorted(_CODERS)}, got {name!r}")
    return _CODERS[name]
