"""What the metadata of a Zarr array may ask for, and how large its chunks may be."""

from __future__ import annotations

import lzma
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from xphys.errors import FormatError
from xphys.io._guard_sizes import LARGEST_DICTIONARY, MEASURES
from xphys.io._guard_types import TEXT, itemsize_v2, itemsize_v3, plain_itemsize, short

__all__ = ["CODECS_V2", "CODECS_V3", "ChunkGuard", "Stage", "array_guard"]

#: Largest chunk (inner chunk of a shard) once decoded, in bytes.
LARGEST_CHUNK = 2**31
#: Largest shard once decoded, and the most chunks in one.
LARGEST_SHARD, MOST_INNER = 2**36, 2**20
#: Most chunks along one axis: readers keep a list of them.
MOST_ALONG_AXIS = 2**22
#: Largest coordinate of a dimension: readers load it whole when they open a store.
LARGEST_INDEX = 2**26
#: Bytes of a chunk of strings: this much and this much for each string.
TEXT_BYTES, TEXT_PER_ITEM = 2**24, 256
_MOST_DIMS, _LARGEST_NUMBER, _MOST_CODECS, _DEEPEST = 32, 2**62, 16, 4
_TEXT_ITEM = 16

_TEXT = ("vlen-utf8", "vlen-bytes")
_FILTERS = ("delta", "fixedscaleoffset", "quantize", "bitround", "astype", "packbits")
_SUMS = ("crc32", "crc32c", "adler32", "fletcher32", "jenkins_lookup3")
_STREAMS = ("zlib", "gzip", "bz2", "lzma", "zstd", "blosc", "lz4")
_FRAME = "xphys.frame"
CODECS_V2 = frozenset({*_TEXT, *_FILTERS, *_SUMS, *_STREAMS, "shuffle", _FRAME})
_NATIVE = ("bytes", "transpose", "zstd", "gzip", "blosc", "crc32c", "sharding_indexed")
_NUMCODECS = (*_FILTERS, *_SUMS, *_STREAMS, "shuffle")
CODECS_V3 = frozenset({*_NATIVE, *_TEXT, _FRAME, *(f"numcodecs.{name}" for name in _NUMCODECS)})
#: Options of filters that name the dtype before and after them.
_BEFORE = {"astype": "decode_dtype"}
_AFTER = {"astype": "encode_dtype"}

Codecs = Sequence[tuple[str, Mapping[str, Any]]]


@dataclass(frozen=True)
class Stage:
    """One step of decoding: codec as numcodecs calls it, its options, most bytes that it makes."""

    codec: str
    limit: int
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ChunkGuard:
    """What a stored chunk of one array may be.

    Attributes
    ----------
    items : int
        Elements of a chunk.
    stages : tuple of Stage
        Bytes to bytes, outermost first; the last may make the array.
    stored : int
        Most bytes of a stored chunk.
    exact : bool
        Whether each stored chunk has just that many.
    inner : ChunkGuard or None
        Of the chunks in a shard.
    inner_count, index_at_end, index_order, index_size
        Their number, and where the index of a shard lies, its byte order and its size.
    whole : int
        Bytes of the whole array if it has one dimension, else 0.
    """

    items: int
    stages: tuple[Stage, ...]
    stored: int
    exact: bool
    inner: ChunkGuard | None = None
    inner_count: int = 0
    index_at_end: bool = True
    index_order: str = "<"
    index_size: int = 0
    whole: int = 0

    @property
    def slow(self) -> bool:
        """True if checking a chunk takes more than a look at its front."""
        if self.inner is not None:
            return True
        return len(self.inspected) > 1 or any(
            s.codec in ("zlib", "gzip", "bz2", "lzma") for s in self.inspected
        )

    @property
    def inspected(self) -> tuple[Stage, ...]:
        """Stages up to the last one whose stream is looked at."""
        last = max((i for i, s in enumerate(self.stages) if _is_inspected(s)), default=-1)
        return self.stages[: last + 1]


def _is_inspected(stage: Stage) -> bool:
    return stage.codec in MEASURES or stage.codec in _TEXT


def _lengths(value: object, path: str, what: str, least: int) -> tuple[int, ...]:
    good = isinstance(value, list | tuple) and all(
        isinstance(n, int) and not isinstance(n, bool) and least <= n <= _LARGEST_NUMBER
        for n in value
    )
    if not good or not isinstance(value, list | tuple) or len(value) > _MOST_DIMS:
        raise FormatError(
            f"{path}: expected as {what} at most {_MOST_DIMS} whole numbers from {least} to 2^62, "
            f"got {short(value)}"
        )
    return tuple(value)


def _mapping(value: object, path: str, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise FormatError(f"{path}: expected {what} as a JSON object, got {short(value)}")
    return value


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


def _is_flat(value: object) -> bool:
    """Scalars, and lists or mappings of a few of them."""
    parts = value.values() if isinstance(value, Mapping) else value
    if isinstance(parts, str) or not hasattr(parts, "__iter__"):
        return _is_scalar(value)
    parts = list(parts)
    return len(parts) <= 2 * _MOST_DIMS and all(_is_scalar(p) for p in parts)


def _check_options(codec: str, config: Mapping[str, Any], path: str) -> None:
    """Options are scalars, so that none can be an array to compute with."""
    for name, value in config.items():
        if codec == "lzma" and name == "filters" and isinstance(value, list):
            parts = [_mapping(p, path, "a filter of lzma") for p in value]
            good = len(parts) <= 4 and all(_is_scalar(v) for p in parts for v in p.values())
            sizes = [p.get("dict_size") or 0 for p in parts]
            good = good and all(isinstance(n, int) and n <= LARGEST_DICTIONARY for n in sizes)
        elif codec == "lzma" and name == "format":
            known = (lzma.FORMAT_AUTO, lzma.FORMAT_XZ, lzma.FORMAT_ALONE, lzma.FORMAT_RAW)
            good = isinstance(value, int) and value in known
        elif codec in (_FRAME, "transpose"):
            good = _is_flat(value)
        else:
            good = _is_scalar(value) and name != "id"
        if not good:
            raise FormatError(f"{path}: codec {codec!r} cannot take {name}={short(value)}")


def _through_filter(
    codec: str, config: Mapping[str, Any], items: int, itemsize: int, path: str
) -> tuple[int, int]:
    """Bytes of a chunk and of an element behind a filter."""
    if codec == "packbits":
        return 1 + -(-items // 8), 1
    before = config.get(_BEFORE.get(codec, "dtype"))
    if before is not None and plain_itemsize(before, path) != itemsize:
        raise FormatError(
            f"{path}: filter {codec!r} decodes to {before!r}, expected {itemsize} bytes an element"
        )
    after = config.get(_AFTER.get(codec, "astype"))
    size = itemsize if after is None else plain_itemsize(after, path)
    return items * size, size


def _expanded(size: int) -> int:
    """Most bytes to which size bytes may grow when they are compressed."""
    return size + size // 8 + 2**16


def _plan(codecs: Codecs, items: int, itemsize: int, path: str) -> ChunkGuard:
    """Follow a chunk through its codecs, in the order of writing."""
    size, exact, stages, packed = items * (itemsize or _TEXT_ITEM), True, [], itemsize == TEXT
    for number, (codec, config) in enumerate(codecs):
        _check_options(codec, config, path)
        if (codec in _TEXT) != (itemsize == TEXT and number == 0):
            wanted = " or ".join(_TEXT)
            raise FormatError(
                f"{path}: expected {wanted} first for strings and nowhere else, got {codec!r}"
            )
        if codec in _FILTERS:
            if packed:
                raise FormatError(f"{path}: filter {codec!r} stands behind a codec of bytes")
            size, itemsize = _through_filter(codec, config, items, itemsize, path)
        elif codec in _TEXT:
            size, exact = TEXT_BYTES + items * TEXT_PER_ITEM, False
            stages.append(Stage(codec, items))
        elif codec in _SUMS:
            stages.append(Stage(codec, size, config))
            size, packed = size + 4, True
        elif codec == "shuffle":
            stages.append(Stage(codec, size, {"elementsize": itemsize, **config}))
            packed = True
        elif codec in MEASURES:
            stages.append(Stage(codec, size, config))
            size, exact, packed = _expanded(size), False, True
            size += 2**20 if codec == _FRAME else 0
    if itemsize == TEXT and not codecs:
        raise FormatError(f"{path}: objects need one of the codecs {', '.join(_TEXT)}")
    return ChunkGuard(items, tuple(reversed(stages)), size, exact)


def _check_size(chunk: tuple[int, ...], itemsize: int, most: int, path: str) -> int:
    items = math.prod(chunk)
    size = items * (itemsize or _TEXT_ITEM)
    if size > most:
        raise FormatError(f"{path}: a chunk of {size} bytes, expected at most {most}")
    return items


def _check_grid(shape: tuple[int, ...], chunk: tuple[int, ...], itemsize: int, path: str) -> None:
    if len(chunk) != len(shape):
        raise FormatError(f"{path}: chunks of {len(chunk)} dims in an array of {len(shape)}")
    counts = [-(-n // c) for n, c in zip(shape, chunk, strict=True)]
    if max(counts, default=0) > MOST_ALONG_AXIS:
        raise FormatError(
            f"{path}: {max(counts)} chunks along an axis, expected at most {MOST_ALONG_AXIS}"
        )
    if math.prod(shape) * (itemsize or _TEXT_ITEM) > _LARGEST_NUMBER:
        raise FormatError(f"{path}: an array of shape {short(shape)} is beyond 2^62 bytes")


def array_guard(document: Mapping[str, Any], path: str) -> ChunkGuard:
    """Check the metadata of an array of either version and say how large its chunks may be.

    Parameters
    ----------
    document : mapping
        Content of ``zarr.json`` or ``.zarray``.
    path : str
        Key of the document, for errors.

    Returns
    -------
    ChunkGuard
        For `xphys.io._guard.check_chunk`.

    Raises
    ------
    FormatError
        If the document asks for anything that is not allowed.
    """
    old = document.get("zarr_format") == 2
    shape = _lengths(document.get("shape"), path, "shape", 0)
    if old:
        itemsize = itemsize_v2(document.get("dtype"), path)
        stored = _lengths(document.get("chunks"), path, "chunks", 1)
        guard = _guard_v2(document, stored, itemsize, path)
        chunk = stored
    else:
        itemsize = itemsize_v3(document.get("data_type"), path)
        stored = _grid_v3(document, path)
        if len(stored) != len(shape):
            raise FormatError(f"{path}: chunks of {len(stored)} dims in an array of {len(shape)}")
        guard, chunk = _guard_v3(document.get("codecs"), stored, itemsize, path, 0)
    _check_grid(shape, chunk, itemsize, path)
    whole = shape[0] * (itemsize or _TEXT_ITEM) if len(shape) == 1 else 0
    return replace(guard, whole=whole)


def _guard_v2(
    document: Mapping[str, Any], chunk: tuple[int, ...], itemsize: int, path: str
) -> ChunkGuard:
    filters, compressor = document.get("filters"), document.get("compressor")
    if filters is not None and not isinstance(filters, list):
        raise FormatError(f"{path}: expected a list of filters, got {short(filters)}")
    listed = [*(filters or []), *([] if compressor is None else [compressor])]
    if len(listed) > _MOST_CODECS:
        raise FormatError(f"{path}: {len(listed)} codecs, expected at most {_MOST_CODECS}")
    codecs = []
    for entry in listed:
        config = _mapping(entry, path, "a codec")
        name = config.get("id")
        if not isinstance(name, str) or name not in CODECS_V2:
            raise _foreign(name, CODECS_V2, path)
        codecs.append((name, {k: v for k, v in config.items() if k != "id"}))
    return _plan(codecs, _check_size(chunk, itemsize, LARGEST_CHUNK, path), itemsize, path)


def _foreign(name: object, known: frozenset[str], path: str) -> FormatError:
    return FormatError(
        f"{path}: codec {short(name)} is not allowed, expected one of {', '.join(sorted(known))}"
    )


def _grid_v3(document: Mapping[str, Any], path: str) -> tuple[int, ...]:
    if document.get("storage_transformers"):
        raise FormatError(f"{path}: expected no storage transformers")
    grid = _mapping(document.get("chunk_grid"), path, "chunk_grid")
    if grid.get("name") != "regular":
        raise FormatError(f"{path}: expected a regular chunk grid, got {short(grid.get('name'))}")
    options = _mapping(grid.get("configuration"), path, "the configuration of chunk_grid")
    encoding = _mapping(document.get("chunk_key_encoding"), path, "chunk_key_encoding")
    if encoding.get("name") not in ("default", "v2"):
        raise FormatError(
            f"{path}: expected chunk keys 'default' or 'v2', got {short(encoding.get('name'))}"
        )
    return _lengths(options.get("chunk_shape"), path, "chunk_shape", 1)


def _named(codecs: object, known: frozenset[str], path: str) -> Codecs:
    """Names and options of a list of codecs of Zarr v3."""
    if not isinstance(codecs, list | tuple) or not 0 < len(codecs) <= _MOST_CODECS:
        raise FormatError(f"{path}: expected 1 to {_MOST_CODECS} codecs, got {short(codecs)}")
    out = []
    for entry in codecs:
        config: Mapping[str, Any] = {}
        name: object = entry
        if not isinstance(entry, str):
            name = _mapping(entry, path, "a codec").get("name")
            config = _mapping(entry.get("configuration") or {}, path, f"options of {short(name)}")
        if not isinstance(name, str) or name not in known:
            raise _foreign(name, known, path)
        out.append((name, config))
    return out


def _guard_v3(
    given: object, chunk: tuple[int, ...], itemsize: int, path: str, depth: int
) -> tuple[ChunkGuard, tuple[int, ...]]:
    """Guard of a chunk and the shape of the smallest chunk in it."""
    codecs = _named(given, CODECS_V3, path)
    names = [name for name, _ in codecs]
    if "sharding_indexed" in names:
        if len(codecs) > 1 or depth >= _DEEPEST:
            raise FormatError(f"{path}: expected shards with no codec around them, got {names}")
        return _guard_shard(codecs[0][1], chunk, itemsize, path, depth)
    makers = [n for n in names if n in ("bytes", _FRAME, *_TEXT)]
    if len(makers) != 1:
        raise FormatError(f"{path}: expected one codec that makes bytes, got {names}")
    native: Mapping[str, Mapping[str, Any]] = {n: {} for n in ("zstd", "gzip", "blosc", "crc32c")}
    chain = []
    for name, config in codecs:
        if name in ("bytes", "transpose"):
            _check_options(name, config, path)
            continue
        chain.append((name.removeprefix("numcodecs."), native.get(name, config)))
        _check_options(chain[-1][0], config, path)
    items = _check_size(chunk, itemsize, LARGEST_CHUNK, path)
    return _plan(chain, items, itemsize, path), chunk


def _guard_shard(
    config: Mapping[str, Any], shard: tuple[int, ...], itemsize: int, path: str, depth: int
) -> tuple[ChunkGuard, tuple[int, ...]]:
    _check_size(shard, itemsize, LARGEST_SHARD, path)
    chunk = _lengths(config.get("chunk_shape"), path, "chunk_shape of a shard", 1)
    if len(chunk) != len(shard) or any(s % c for s, c in zip(shard, chunk, strict=True)):
        raise FormatError(f"{path}: shards of {shard} are not divided by chunks of {chunk}")
    count = math.prod(s // c for s, c in zip(shard, chunk, strict=True))
    if count > MOST_INNER:
        raise FormatError(f"{path}: {count} chunks in a shard, expected at most {MOST_INNER}")
    inner, smallest = _guard_v3(config.get("codecs"), chunk, itemsize, path, depth + 1)
    index = _named(config.get("index_codecs"), frozenset({"bytes", "crc32c"}), path)
    place = config.get("index_location", "end")
    if [n for n, _ in index] not in (["bytes"], ["bytes", "crc32c"]) or place not in (
        "start",
        "end",
    ):
        raise FormatError(f"{path}: expected an index of bytes, crc32c at the start or the end")
    size = 16 * count + 4 * (len(index) - 1)
    order = ">" if index[0][1].get("endian") == "big" else "<"
    most = count * inner.stored + size
    at_end = place == "end"
    return ChunkGuard(0, (), most, False, inner, count, at_end, order, size), smallest
