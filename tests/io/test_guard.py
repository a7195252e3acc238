"""Crafted Zarr stores: nothing runs, nothing large is allocated, each is refused by name."""

from __future__ import annotations

import bz2
import gzip
import importlib.metadata
import json
import lzma
import os
import pickle
import struct
import subprocess
import sys
import tracemalloc
import zlib
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from numcodecs import LZ4, Blosc, VLenUTF8, zstd
from numcodecs import registry as numcodecs_registry

import xphys
from xphys.coding.frame import encode_chunk
from xphys.coding.header import parse
from xphys.coding.request import Request
from xphys.errors import CorruptDataError, FormatError, XphysError
from xphys.io._guard import (
    GuardedStore,
    check_chunk,
    check_document,
    chunk_limit,
    read_document,
)

ITEMS = 512
CHUNK = 8 * ITEMS
VALUES = np.linspace(1.0, 2.0, ITEMS)
RAW = VALUES.tobytes()
MARGIN = 64 * 10**6
NATIVE = [{"name": "bytes", "configuration": {"endian": "little"}}]
FACTORS = (10**3, 10**4, 10**5, 10**6)


def named(name: str, **options) -> dict:
    return {"name": name, "configuration": options}


def array_v3(codecs: list, **changes) -> dict:
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [ITEMS],
        "data_type": "float64",
        "chunk_grid": named("regular", chunk_shape=[ITEMS]),
        "chunk_key_encoding": named("default", separator="/"),
        "fill_value": 0.0,
        "codecs": codecs,
        "attributes": {},
        "dimension_names": ["x"],
        "storage_transformers": [],
        **changes,
    }


def array_v2(filters: list | None, compressor: dict | None, **changes) -> dict:
    return {
        "zarr_format": 2,
        "shape": [ITEMS],
        "chunks": [ITEMS],
        "dtype": "<f8",
        "fill_value": 0.0,
        "order": "C",
        "filters": filters,
        "compressor": compressor,
        **changes,
    }


def put(folder: Path, key: str, content: dict | bytes) -> None:
    place = folder / key
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())


def store_v3(
    folder: Path, document: dict, chunk: bytes = RAW, *, consolidated=True, name="u"
) -> Path:
    root = {"zarr_format": 3, "node_type": "group", "attributes": {}}
    if consolidated:
        root["consolidated_metadata"] = {
            "kind": "inline",
            "must_understand": False,
            "metadata": {name: document},
        }
    put(folder, "zarr.json", root)
    put(folder, "u/zarr.json", document)
    put(folder, "u/c/0", chunk)
    return folder


def store_v2(
    folder: Path, document: dict, chunk: bytes = RAW, *, consolidated=True, name="u"
) -> Path:
    dims = {
        "_ARRAY_DIMENSIONS": ["x"]
        * len(document["shape"] if isinstance(document["shape"], list) else [0])
    }
    inside = {
        ".zgroup": {"zarr_format": 2},
        f"{name}/.zarray": document,
        f"{name}/.zattrs": dims,
    }
    if consolidated:
        put(folder, ".zmetadata", {"zarr_consolidated_format": 1, "metadata": inside})
    put(folder, ".zgroup", {"zarr_format": 2})
    put(folder, "u/.zarray", document)
    put(folder, "u/.zattrs", dims)
    put(folder, "u/0", chunk)
    return folder


STORES = {2: store_v2, 3: store_v3}


def refused(folder: Path, declared: int = CHUNK, **options) -> XphysError:
    """Open and read a store, which must fail without memory; the error."""
    tracemalloc.start()
    try:
        with pytest.raises(XphysError) as caught:
            xphys.open(folder, **options).load()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < declared + MARGIN
    assert "\n" not in str(caught.value)
    return caught.value


# Codecs that run code, and codecs nobody knows


class Payload:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


FOREIGN = (
    "pickle",
    "json2",
    "msgpack2",
    "categorize",
    "base64",
    "os.system",
    "builtins.eval",
    "evil_codec",
)


def sharded(codecs: list, index: list | None = None) -> list:
    options = {"chunk_shape": [64], "codecs": codecs, "index_location": "end"}
    return [named("sharding_indexed", **options, index_codecs=index or [*NATIVE, named("crc32c")])]


PLACES_V3 = {
    "last": lambda codec: [*NATIVE, codec],
    "first": lambda codec: [codec],
    "filter": lambda codec: [codec, *NATIVE],
    "shard": lambda codec: sharded([*NATIVE, codec]),
    "index": lambda codec: sharded(NATIVE, [*NATIVE, codec]),
}


@pytest.mark.parametrize("consolidated", [True, False])
@pytest.mark.parametrize("place", PLACES_V3)
@pytest.mark.parametrize("name", [*FOREIGN, "numcodecs.pickle", "numcodecs.msgpack2"])
def test_foreign_codecs_v3(tmp_path, name, place, consolidated):
    marker = tmp_path / "ran"
    document = array_v3(PLACES_V3[place](named(name, protocol=4)))
    folder = store_v3(
        tmp_path / "a", document, pickle.dumps(Payload(marker)), consolidated=consolidated
    )
    error = refused(folder)
    assert name in str(error)
    assert "not allowed" in str(error)
    assert not marker.exists()


PLACES_V2 = {
    "compressor": lambda codec: (None, codec),
    "filter": lambda codec: ([codec], None),
    "behind zlib": lambda codec: ([codec], {"id": "zlib", "level": 1}),
}


@pytest.mark.parametrize(("dtype", "consolidated"), [("|O", True), ("|O", False), ("<f8", False)])
@pytest.mark.parametrize("place", PLACES_V2)
@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_codecs_v2(tmp_path, name, place, dtype, consolidated):
    marker = tmp_path / "ran"
    payload = pickle.dumps(Payload(marker))
    document = array_v2(*PLACES_V2[place]({"id": name}), dtype=dtype, fill_value=None)
    data = zlib.compress(payload) if place == "behind zlib" else payload
    folder = store_v2(tmp_path / "a", document, data, consolidated=consolidated)
    assert name in str(refused(folder))
    assert not marker.exists()


def test_the_payload_would_run(tmp_path):
    """The crafted chunk is a real one: whoever unpickles it runs it."""
    marker = tmp_path / "ran"
    pickle.loads(pickle.dumps(Payload(marker)))
    assert marker.exists()


@pytest.mark.parametrize("version", [2, 3])
def test_unknown_codecs_import_nothing(tmp_path, monkeypatch, version):
    """No module is looked for, no entry point loaded, no codec built before the refusal."""
    (tmp_path / "evil_codec.py").write_text("import os; os.mkdir('ran')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    asked = []

    def load(entry):
        asked.append(entry.name)

    def get(config):
        asked.append(config)

    monkeypatch.setattr(importlib.metadata.EntryPoint, "load", load)
    monkeypatch.setattr("zarr.core.metadata.v3.get_codec_class", get)
    monkeypatch.setattr("zarr.core.metadata.v2.get_numcodec", get)
    codec = {"id": "evil_codec"} if version == 2 else named("evil_codec")
    document = array_v2([codec], None) if version == 2 else array_v3([*NATIVE, codec])
    refused(STORES[version](tmp_path / "a", document))
    assert asked == []
    assert "evil_codec" not in sys.modules
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("options", [{}, {"length": 8}])
@pytest.mark.parametrize("dtype", ["|O", "object", "|V8,O", [["a", "|O"]], "<f99", "O8", 7, None])
def test_object_and_unknown_dtypes(tmp_path, dtype, options):
    document = array_v2(None, None, dtype=dtype, fill_value=None, **options)
    refused(store_v2(tmp_path / "a", document))


@pytest.mark.parametrize(
    "dtype",
    [
        "object",
        "float128",
        named("raw_bytes", length_bytes=2**40),
        named("fixed_length_utf32", length_bytes=-4),
        named("structured", fields=[["a", "string"]]),
        named("structured", fields=[]),
        "r7",
        ["float64"],
        {"name": 5},
    ],
)
def test_unknown_data_types(tmp_path, dtype):
    refused(store_v3(tmp_path / "a", array_v3(NATIVE, data_type=dtype)))


# Shapes


BAD_LENGTHS = (-1, 1.5, True, "8", None, 2**62 + 1, 2**70, [8], float("inf"))


@pytest.mark.parametrize(("version", "consolidated"), [(2, False), (3, True)])
@pytest.mark.parametrize("place", ["shape", "chunk"])
@pytest.mark.parametrize("length", BAD_LENGTHS, ids=repr)
def test_bad_lengths(tmp_path, length, place, version, consolidated):
    if version == 2:
        document = array_v2(None, None, **{"shape" if place == "shape" else "chunks": [length]})
    elif place == "shape":
        document = array_v3(NATIVE, shape=[length])
    else:
        document = array_v3(NATIVE, chunk_grid=named("regular", chunk_shape=[length]))
    error = refused(STORES[version](tmp_path / "a", document, consolidated=consolidated))
    assert "whole numbers" in str(error)


def forged(shape: list, chunk: list, dtype: str = "float64", codecs: list | None = None) -> dict:
    grid = named("regular", chunk_shape=chunk)
    names = [f"d{i}" for i in range(len(shape))]
    given = {"shape": shape, "chunk_grid": grid, "data_type": dtype, "dimension_names": names}
    return array_v3(codecs or NATIVE, **given)


FORGED = {
    "no chunk": (forged([8], [0]), "whole numbers"),
    "huge chunk": (forged([2**40], [2**40]), "a chunk of"),
    "huge chunk in parts": (forged([2**15] * 3, [2**15] * 3), "a chunk of"),
    "too many chunks": (forged([2**40], [1]), "along an axis"),
    "beyond all": (forged([2**40, 2**40], [2**20, 1]), "along an axis"),
    "33 dims": (forged([1] * 33, [1] * 33), "at most 32"),
    "other dims": (forged([8, 8], [8]), "dims"),
    "no list": (array_v3(NATIVE, shape=8), "whole numbers"),
    "coordinate": (
        array_v3(NATIVE, shape=[10**9], dimension_names=["u"]),
        "a coordinate of",
    ),
    "undivided shard": (
        array_v3(
            [named("sharding_indexed", chunk_shape=[100], codecs=NATIVE, index_codecs=NATIVE)]
        ),
        "not divided",
    ),
    "shard of many": (
        forged(
            [2**21],
            [2**21],
            "uint8",
            [named("sharding_indexed", chunk_shape=[1], codecs=NATIVE, index_codecs=NATIVE)],
        ),
        "chunks in a shard",
    ),
    "shards in shards": (array_v3(sharded(sharded(sharded(sharded(sharded(NATIVE)))))), "shards"),
    "compressed shard": (array_v3([*sharded(NATIVE), named("zstd")]), "shards"),
    "compressed index": (array_v3(sharded(NATIVE, [*NATIVE, named("zstd")])), "not allowed"),
    "other grid": (array_v3(NATIVE, chunk_grid=named("rectilinear")), "regular"),
    "other keys": (array_v3(NATIVE, chunk_key_encoding=named("../{}")), "chunk keys"),
    "transformer": (array_v3(NATIVE, storage_transformers=[named("x")]), "transformers"),
    "no codecs": (array_v3([]), "codecs"),
    "many codecs": (array_v3([*NATIVE, *[named("crc32c")] * 20]), "codecs"),
    "no bytes": (array_v3([named("zstd")]), "one codec that makes bytes"),
    "scale by an array": (
        array_v3(
            [named("numcodecs.fixedscaleoffset", scale=[[1]] * 9, offset=0, dtype="<f8"), *NATIVE]
        ),
        "cannot take",
    ),
    "wide filter": (
        array_v3([named("numcodecs.astype", encode_dtype="<f8", decode_dtype="<U100000"), *NATIVE]),
        "dtype of a number",
    ),
    "widening filter": (
        array_v3([named("numcodecs.astype", encode_dtype="|i1", decode_dtype="<c16"), *NATIVE]),
        "decodes to",
    ),
    "other id": (array_v3([*NATIVE, named("numcodecs.zlib", id="pickle")]), "cannot take"),
    "huge dictionary": (
        array_v3(
            [*NATIVE, named("numcodecs.lzma", format=3, filters=[{"id": 33, "dict_size": 2**31}])]
        ),
        "cannot take",
    ),
    "text in numbers": (array_v3([named("vlen-utf8")]), "strings"),
    "numbers in text": (array_v3(NATIVE, data_type="string", fill_value=""), "vlen-utf8"),
    "no format": (array_v3(NATIVE, zarr_format=4), "zarr_format"),
    "no node": (array_v3(NATIVE, node_type="table"), "node_type"),
}


@pytest.mark.parametrize("consolidated", [True, False])
@pytest.mark.parametrize("case", FORGED)
def test_forged_metadata(tmp_path, case, consolidated):
    document, says = FORGED[case]
    folder = store_v3(tmp_path / "a", document, consolidated=consolidated)
    assert says in str(refused(folder))


@pytest.mark.parametrize("consolidated", [True, False])
def test_forged_coordinate_v2(tmp_path, consolidated):
    folder = store_v2(tmp_path / "a", array_v2(None, None, shape=[10**9]), name="x")
    (folder / "u").rename(folder / "x")
    if not consolidated:
        (folder / ".zmetadata").unlink()
    assert "a coordinate of" in str(refused(folder))


def test_a_large_sparse_array_opens(tmp_path):
    """Chunks that nobody wrote are allowed: opening must cost nothing."""
    folder = store_v3(tmp_path / "a", forged([10**6, 10**6], [1, 500]), b"")
    (folder / "u/c/0").unlink()
    tracemalloc.start()
    ds = xphys.open(folder, normalize=False)
    corner = ds["u"][:2, :2].load()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MARGIN
    assert float(corner.sum()) == 0


# Names and documents


NAMES = ("../u", "/u", "u/../../v", "u\\v", "u\0v", "", "u//v", ".", "..", "./u", "u/", "a/./b")


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_names_that_lead_elsewhere(tmp_path, name, version):
    outside = tmp_path / "secret"
    outside.mkdir()
    document = array_v2(None, None) if version == 2 else array_v3(NATIVE)
    if version == 2 and name == "":
        name = "/"
    folder = STORES[version](tmp_path / "a", document, name=name)
    assert "name inside the store" in str(refused(folder))


DOCUMENTS = {
    "no JSON": b"{",
    "no UTF-8": b'{"a": "\xff"}',
    "a list": b"[]",
    "a number": b"3",
    "deep lists": b'{"a":' * 60 + b"[" * 20 + b"]" * 20 + b"}" * 60,
    "very deep": b"[" * 200_000,
    "deep attributes": json.dumps(
        {
            "zarr_format": 3,
            "node_type": "group",
            "attributes": {"a": json.loads("[" * 99 + "]" * 99)},
        }
    ).encode(),
    "consolidated list": b'{"zarr_format": 3, "node_type": "group", "consolidated_metadata": []}',
    "no mapping": (
        b'{"zarr_format":3,"node_type":"group","consolidated_metadata":{"metadata":{"u":3}}}'
    ),
    "huge number": b'{"zarr_format": 3, "node_type": "group", "attributes": ' + b"9" * 9999 + b"}",
}


@pytest.mark.parametrize("case", DOCUMENTS)
def test_damaged_documents(tmp_path, case):
    put(tmp_path, "zarr.json", DOCUMENTS[case])
    assert isinstance(refused(tmp_path), FormatError)


@pytest.mark.parametrize("key", ["zarr.json", "u/zarr.json"])
def test_a_document_without_end(tmp_path, key):
    folder = store_v3(tmp_path / "a", array_v3(NATIVE), consolidated=False)
    with (folder / key).open("r+b") as file:
        file.truncate(2**40)  # takes no room on the disk
    assert "67108864" in str(refused(folder, declared=2**26))


# Bombs


def zstd_frames(size: int, *, stated: bool) -> bytes:
    """Frames of blocks that repeat one byte."""
    blocks, rest = divmod(size, 2**17)
    parts = [struct.pack("<I", 2**17 << 3 | 2)[:3] + b"z"] * blocks
    parts.append(struct.pack("<I", rest << 3 | 2 | 1)[:3] + b"z")
    head = b"\x28\xb5\x2f\xfd" + (b"\xc0\x38" + struct.pack("<Q", size) if stated else b"\x00\x38")
    return head + b"".join(parts)


def members(pack, size: int) -> bytes:
    """One stream after another."""
    whole, rest = divmod(size, 2**22)
    return (pack(bytes(2**22)) * whole if whole else b"") + pack(bytes(rest))


def zlib_stream(size: int) -> bytes:
    packer = zlib.compressobj(9)
    front = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    one = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return front + one * (size // 2**20) + packer.compress(b"0") + packer.flush()


def blosc_stream(size: int) -> bytes:
    stream = bytearray(Blosc("lz4").encode(bytes(CHUNK)))
    stream[4:8] = struct.pack("<I", min(size, 2**31 - 1))
    return bytes(stream)


def lz4_stream(size: int) -> bytes:
    return struct.pack("<I", min(size, 2**31 - 1)) + LZ4().encode(bytes(CHUNK))[4:]


def frame_chunk(size: int) -> bytes:
    """A whole and valid frame of another shape."""
    items = min(size, 2**25) // 8
    return encode_chunk(np.zeros(items), Request())


def frame_header(size: int) -> bytes:
    """A header alone, its digest in order, of a shape that nobody can hold."""
    from dataclasses import replace

    header = parse(encode_chunk(np.zeros((1, ITEMS)), Request()))
    return replace(header, shape=(1, size)).pack()


# name -> (codecs of v3, (filters, compressor) of v2, size -> stream)
BOMBS = {
    "zstd": ([named("zstd")], (None, {"id": "zstd"}), lambda n: zstd_frames(n, stated=True)),
    "zstd, size unsaid": (
        [named("zstd")],
        (None, {"id": "zstd"}),
        lambda n: zstd_frames(n, stated=False),
    ),
    "zstd, second frame": (
        [named("zstd")],
        (None, {"id": "zstd"}),
        lambda n: zstd.compress(RAW) + zstd_frames(n, stated=True),
    ),
    "zstd, skipped front": (
        [named("zstd")],
        (None, {"id": "zstd"}),
        lambda n: b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + zstd_frames(n, stated=False),
    ),
    "gzip": ([named("gzip")], (None, {"id": "gzip"}), lambda n: members(gzip.compress, n)),
    "zlib": ([named("numcodecs.zlib")], (None, {"id": "zlib"}), zlib_stream),
    "bz2": ([named("numcodecs.bz2")], (None, {"id": "bz2"}), lambda n: members(bz2.compress, n)),
    "lzma": (
        [named("numcodecs.lzma")],
        (None, {"id": "lzma"}),
        lambda n: members(lzma.compress, n),
    ),
    "blosc": ([named("blosc")], (None, {"id": "blosc"}), blosc_stream),
    "lz4": ([named("numcodecs.lz4")], (None, {"id": "lz4"}), lz4_stream),
    "zstd in zstd": (
        [named("zstd"), named("zstd")],
        ([{"id": "zstd"}], {"id": "zstd"}),
        lambda n: zstd.compress(zstd_frames(n, stated=True)),
    ),
    "gzip in zstd": (
        [named("gzip"), named("zstd")],
        ([{"id": "gzip"}], {"id": "zstd"}),
        lambda n: zstd.compress(members(gzip.compress, n)),
    ),
    "checksum around gzip": (
        [named("gzip"), named("numcodecs.crc32")],
        ([{"id": "gzip"}, {"id": "crc32", "location": "end"}], None),
        lambda n: (s := members(gzip.compress, n)) + struct.pack("<I", zlib.crc32(s)),
    ),
    "frame": (None, (None, {"id": "xphys.frame"}), frame_chunk),
    "header of a frame": (None, (None, {"id": "xphys.frame"}), frame_header),
}


def bomb(folder: Path, name: str, version: int, factor: int) -> Path:
    v3, v2, make = BOMBS[name]
    if version == 2:
        return store_v2(folder, array_v2(*v2), make(CHUNK * factor))
    codecs = [named("xphys.frame")] if v3 is None else [*NATIVE, *v3]
    return store_v3(folder, array_v3(codecs), make(CHUNK * factor))


@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not")
@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("name", BOMBS)
def test_bombs(tmp_path, name, factor, version):
    error = refused(bomb(tmp_path / "a", name, version, factor))
    assert isinstance(error, CorruptDataError)
    assert "u/" in str(error)


@pytest.mark.parametrize("strict", [True, "full"])
@pytest.mark.parametrize("name", ["zstd", "zstd, second frame", "blosc", "frame"])
def test_bombs_that_were_sealed(tmp_path, name, strict):
    """A manifest that matches the bomb does not help it."""
    folder = bomb(tmp_path / "a", name, 3, 10**5)
    xphys.verify(folder, seal=True)
    error = refused(folder, strict=strict)
    assert "expected" in str(error)
    assert "changed" not in str(error)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("location", ["start", "end"])
def test_bombs_in_shards(tmp_path, factor, location):
    codecs = sharded([*NATIVE, named("zstd")])
    codecs[0]["configuration"] |= {"index_location": location, "index_codecs": NATIVE}
    good = zstd.compress(VALUES[:64].tobytes())
    bad = zstd_frames(64 * 8 * factor, stated=True)
    start = 128 if location == "start" else 0
    table = struct.pack("<QQ", start, len(good)) * 7
    table += struct.pack("<QQ", start + len(good), len(bad))
    parts = (table, good, bad) if location == "start" else (good, bad, table)
    folder = store_v3(tmp_path / "a", array_v3(codecs), b"".join(parts))
    assert isinstance(refused(folder), CorruptDataError)
    ds = xphys.open(folder, chunks=None)
    assert float(ds["u"][3].load()) == VALUES[3]  # a part that is as it should be
    with pytest.raises(CorruptDataError, match="u/c/0"):
        ds["u"][-1].load()


@pytest.mark.parametrize("pair", [(2**63, 64), (0, 2**62), (2**64 - 2, 2**64 - 1), (10**6, 64)])
def test_shard_indexes_that_point_outside(tmp_path, pair):
    codecs = sharded([*NATIVE, named("zstd")], NATIVE)
    table = struct.pack("<QQ", *pair) * 8
    folder = store_v3(tmp_path / "a", array_v3(codecs), b"abc" + table)
    assert "shard index" in str(refused(folder))
    with pytest.raises(CorruptDataError, match="shard index"):
        xphys.open(folder, chunks=None)["u"][3].load()


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("count", [0, 3, 10**6, 2**31 - 1, 2**32 - 1])
def test_forged_counts_of_strings(tmp_path, count, compressed, version):
    data = struct.pack("<I", count) + bytes(VLenUTF8().encode(np.array(["ab", "c"], object)))[4:]
    data = zstd.compress(data) if compressed else data
    if version == 2:
        compressor = {"id": "zstd"} if compressed else None
        text = {"dtype": "|O", "shape": [2], "chunks": [2], "fill_value": ""}
        folder = store_v2(tmp_path, array_v2([{"id": "vlen-utf8"}], compressor, **text), data)
    else:
        codecs = [named("vlen-utf8"), *([named("zstd")] if compressed else [])]
        text = {"data_type": "string", "shape": [2], "fill_value": ""}
        grid = named("regular", chunk_shape=[2])
        folder = store_v3(tmp_path, array_v3(codecs, chunk_grid=grid, **text), data)
    assert f"found {count}" in str(refused(folder))


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK + 1, 2 * CHUNK, 10**7])
@pytest.mark.parametrize("version", [2, 3])
def test_plain_chunks_of_another_size(tmp_path, size, version):
    document = array_v2(None, None) if version == 2 else array_v3(NATIVE)
    folder = STORES[version](tmp_path, document, bytes(size))
    assert f"{CHUNK} bytes" in str(refused(folder))


def test_a_chunk_without_end(tmp_path):
    folder = store_v3(tmp_path, array_v3([*NATIVE, named("zstd")]))
    with (folder / "u/c/0").open("r+b") as file:
        file.truncate(2**40)
    assert "at most" in str(refused(folder))


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs /dev/zero")
def test_a_chunk_that_is_a_device(tmp_path):
    folder = store_v3(tmp_path, array_v3(NATIVE))
    (folder / "u/c/0").unlink()
    (folder / "u/c/0").symlink_to("/dev/zero")
    assert "expected a file" in str(refused(folder))


# the compiled kernels of the own codec are loaded before: libraries are no data
CODE = """
import sys, xphys, xphys.coding.frame
from pathlib import Path
def read(path):
    try:
        xphys.open(path).load()
    except xphys.errors.XphysError as error:
        return type(error).__name__
    return "read"
def memory(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(l for l in lines if l.startswith(name)).split()[1]) * 1024
folders = sorted(Path(sys.argv[1]).iterdir())
assert read(sys.argv[2]) == "read"
Path("/proc/self/clear_refs").write_text("5")
before = memory("VmRSS")
outcomes = {read(folder) for folder in folders}
print(outcomes == {"CorruptDataError"}, memory("VmHWM") - before)
"""


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux")
def test_peak_of_a_process(tmp_path):
    """What the system gave to a process while it met every bomb."""
    for version, name in product((2, 3), BOMBS):
        bomb(tmp_path / "bombs" / f"{version} {name}", name, version, 10**6)
    good = store_v3(tmp_path / "good", array_v3([*NATIVE, named("zstd")]), zstd.compress(RAW))
    command = [sys.executable, "-W", "ignore", "-c", CODE, str(tmp_path / "bombs"), str(good)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    same, peak = done.stdout.split()
    assert same == "True"
    assert int(peak) < CHUNK + MARGIN


# What is honest is read


def zstd_without_size(data: bytes) -> bytes:
    """The same blocks in a frame that does not state its size."""
    stream = zstd.compress(data, 1)
    single, flag = stream[4] & 0x20, stream[4] >> 6
    front = 5 + (0 if single else 1) + (1 if single else 0, 2, 4, 8)[flag]
    return stream[:4] + bytes([stream[4] & 0x04, 0x60]) + stream[front:]


def test_zstd_without_size(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.normal(size=10**5).round(3)
    document = forged([10**5], [10**5], codecs=[*NATIVE, named("zstd")])
    stream = zstd_without_size(values.tobytes())
    assert zstd.decompress(stream) == values.tobytes()
    folder = store_v3(tmp_path, document, stream)
    np.testing.assert_array_equal(xphys.open(folder, normalize=False)["u"], values)


COMPRESSORS_V2 = (
    None,
    *({"id": n} for n in ("zlib", "gzip", "bz2", "lzma", "zstd", "blosc", "lz4", "xphys.frame")),
)
FILTERS_V2 = (
    None,
    [{"id": "delta", "dtype": "<f8"}],
    [{"id": "shuffle", "elementsize": 8}],
    [{"id": "fixedscaleoffset", "dtype": "<f8", "astype": "<i4", "scale": 1e6, "offset": 0}],
    [{"id": "astype", "encode_dtype": "<f4", "decode_dtype": "<f8"}],
    [{"id": "crc32"}],
    [{"id": "fletcher32"}, {"id": "zlib"}],
)


PAIRS_V2 = [
    *product(COMPRESSORS_V2[:-1], FILTERS_V2[:1]),
    *product(COMPRESSORS_V2[5:6], FILTERS_V2),
]
PAIRS_V2 += [
    *product(COMPRESSORS_V2[:1], FILTERS_V2),
    *product(COMPRESSORS_V2[-1:], FILTERS_V2[:2]),
]


@pytest.mark.parametrize(("compressor", "filters"), PAIRS_V2, ids=str)
def test_honest_v2(tmp_path, compressor, filters):
    codecs = [numcodecs_registry.get_codec(c) for c in filters or []]
    packer = numcodecs_registry.get_codec(compressor) if compressor else None
    array = zarr.create_array(
        tmp_path / "u",
        shape=(ITEMS,),
        chunks=(200,),
        dtype="<f8",
        filters=codecs or None,
        compressors=packer,
        zarr_format=2,
        attributes={"_ARRAY_DIMENSIONS": ["x"]},
    )
    array[:] = VALUES
    put(tmp_path, ".zgroup", {"zarr_format": 2})
    np.testing.assert_allclose(xphys.open(tmp_path)["u"], VALUES, atol=1e-6)


CODECS_V3 = (
    [],
    [named("zstd", level=3, checksum=True)],
    [named("gzip", level=3)],
    [named("blosc", typesize=8, cname="zstd", clevel=5, shuffle="bitshuffle", blocksize=0)],
    [named("crc32c")],
    [named("zstd", level=1, checksum=False), named("crc32c")],
    [named("gzip", level=1), named("zstd", level=1, checksum=False)],
    [named("numcodecs.shuffle", elementsize=8), named("numcodecs.zlib", level=1)],
    [named("numcodecs.lz4"), named("numcodecs.adler32")],
    [named("numcodecs.bz2", level=1)],
    [named("numcodecs.lzma")],
)


@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not")
@pytest.mark.parametrize("shards", [None, (24, 32)])
@pytest.mark.parametrize("codecs", CODECS_V3, ids=lambda c: "+".join(e["name"] for e in c))
def test_honest_v3(tmp_path, codecs, shards):
    values = np.add.outer(np.arange(40.0), np.arange(50.0))
    group = zarr.open_group(tmp_path, mode="w", zarr_format=3)
    array = group.create_array(
        "u",
        shape=values.shape,
        chunks=(12, 16),
        shards=shards,
        dtype="float64",
        filters=[named("transpose", order=[1, 0])],
        compressors=codecs,
        dimension_names=("y", "x"),
    )
    array[:] = values
    ds = xphys.open(tmp_path, chunks=None)
    np.testing.assert_array_equal(ds["u"][13:14, 20], values[13:14, 20])
    np.testing.assert_array_equal(ds["u"], values)


@pytest.mark.parametrize("version", [2, 3])
def test_honest_strings_times_and_empty_arrays(tmp_path, version):
    ds = xr.Dataset(
        {
            "name": ("x", np.array(["a", "βγ", ""], object)),
            "fixed": ("x", np.array([b"ab", b"c", b""])),
            "when": ("x", np.array(["2001-01-01", "2002-01-01", "NaT"], "datetime64[ns]")),
            "none": ("y", np.zeros(0, "f4")),
            "one": ((), np.float32(3)),
            "flag": ("x", [True, False, True]),
            "pair": ("x", np.array([1 + 2j, 0, -1j])),
        }
    )
    if version == 3:
        ds = ds.drop_vars("fixed")  # no specification yet, zarr warns
    ds.to_zarr(tmp_path, zarr_format=version, consolidated=version == 2)
    xr.testing.assert_equal(xphys.open(tmp_path, normalize=False).load(), ds)


@pytest.mark.parametrize("strict", [True, False, "full"])
def test_sealed_stores_are_guarded_too(tmp_path, strict):
    ds = xr.Dataset({"u": (("y", "x"), np.random.default_rng(0).normal(size=(64, 64)))})
    ds.phys.compress(max_abs=1e-2).phys.to_zarr(tmp_path / "a")
    c = xphys.open(tmp_path / "a", strict=strict)
    np.testing.assert_allclose(c["u"], ds["u"], atol=1e-2)
    np.testing.assert_allclose(c["u"][:2], ds["u"][:2], atol=1e-2)
    (chunk,) = (p for p in (tmp_path / "a/u/c").rglob("*") if p.is_file())
    chunk.write_bytes(frame_header(2**31))
    with pytest.raises(CorruptDataError, match="u/c/0/0"):
        xphys.open(tmp_path / "a", strict=strict).load()


# Parts on their own


def test_guards_go_with_the_store():
    memory = zarr.storage.MemoryStore()
    codecs = [*NATIVE, named("zstd", level=0, checksum=False)]
    xr.Dataset({"u": ("x", VALUES)}).to_zarr(memory, zarr_format=3, consolidated=False)
    document = json.dumps(array_v3(codecs)).encode()
    buffer = zarr.core.buffer.default_buffer_prototype().buffer
    memory._store_dict["u/zarr.json"] = buffer.from_bytes(document)
    store = GuardedStore(memory)
    opened = xr.open_zarr(store, consolidated=False, chunks={})
    memory._store_dict["u/c/0"] = buffer.from_bytes(zstd_frames(10**8, stated=True))
    assert store.read_only
    assert store == GuardedStore(memory)
    with pytest.raises(CorruptDataError, match="u/c/0"):
        opened["u"].compute()
    copy = pickle.loads(pickle.dumps(store))
    copy._store._store_dict.update(memory._store_dict)
    with pytest.raises(CorruptDataError, match="u/c/0"):
        zarr.core.sync.sync(copy.get("u/c/0", zarr.core.buffer.default_buffer_prototype()))


def test_two_documents_of_one_array(tmp_path):
    """The looser one does not help: a chunk must fit both."""
    folder = store_v3(tmp_path, array_v3([*NATIVE, named("zstd")]), zstd_frames(10**6, stated=True))
    put(folder, "u/c/zarr.json", forged([10**6], [10**6], codecs=[*NATIVE, named("zstd")]))
    store = GuardedStore(zarr.storage.LocalStore(folder, read_only=True))
    prototype = zarr.core.buffer.default_buffer_prototype()
    for key in ("u/zarr.json", "u/c/zarr.json"):
        assert zarr.core.sync.sync(store.get(key, prototype)) is not None
    with pytest.raises(CorruptDataError, match="4096"):
        zarr.core.sync.sync(store.get("u/c/0", prototype))


def test_functions_on_their_own():
    document = array_v3([*NATIVE, named("zstd")])
    check_document("u/zarr.json", document)
    assert read_document("u/zarr.json", json.dumps(document).encode()) == document
    guard = chunk_limit(document)
    assert pickle.loads(pickle.dumps(guard)) == guard
    check_chunk(guard, zstd.compress(RAW), "u/c/0")
    with pytest.raises(CorruptDataError, match="chunk u/c/0: its zstd stream holds 4097 bytes"):
        check_chunk(guard, zstd.compress(RAW + b"x"), "u/c/0")
    with pytest.raises(CorruptDataError, match="too early"):
        check_chunk(guard, zstd.compress(RAW)[:-1], "u/c/0")
    with pytest.raises(CorruptDataError, match="expected a zstd stream"):
        check_chunk(guard, b"no stream", "u/c/0")
