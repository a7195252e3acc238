"""Compressors of others: bounds hold around them, whatever they do, crash or say."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from xphys import codecs, io
from xphys._streams import deflate
from xphys.codecs.wrapped import CODECS, _codec, _isolate, _methods, extra_of
from xphys.coding import Bounds, Request, decode_chunk, encode_chunk, methods, read_header, table
from xphys.coding.bounds import Limits
from xphys.coding.method import Method
from xphys.errors import (
    CorruptDataError,
    MissingDependencyError,
    UnknownNameError,
    XphysError,
    XphysWarning,
)

_spec = importlib.util.spec_from_file_location(
    "hard_fields", Path(__file__).parents[1] / "coding" / "hard_fields.py"
)
assert _spec is not None
assert _spec.loader is not None
_hard = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_hard)
FIELDS, violations = _hard.hard_fields(), _hard.violations

SHAPES = [
    (1,),
    (7,),
    (1009,),
    (1, 1),
    (3, 50),
    (64, 65),
    (1, 9, 1),
    (4, 17, 13),
    (16, 24, 24),
    (3, 5, 7, 2),
    (2, 3, 9, 16),
    (2, 1, 2, 3, 12),
]
BOUNDS = [
    Bounds(vrmse=3e-2),
    Bounds(max_abs=1e-3),
    Bounds(pointwise_rel=1e-2),
    Bounds(vrmse=1e-3, max_rel=1e-3),
]
SOME = ["noise", "constant", "spike", "sixty decades", "nan payload", "fill 1e20", "largest f8"]
SOME += ["denormals f4", "every f2", "big endian f4", "i2", "one dimension"]
NAMES = list(CODECS)


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    package = CODECS[request.param].package
    if package:
        pytest.importorskip(package)
    return str(request.param)


def _smooth(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    rng = np.random.default_rng(len(shape) + shape[-1])
    x = rng.standard_normal(shape)
    for axis in range(len(shape)):
        x = x.cumsum(axis) / np.sqrt(shape[axis])
    return np.asarray(x, dtype)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bounds_hold_for_shapes(name: str, shape: tuple[int, ...]) -> None:
    for i, bounds in enumerate(BOUNDS):
        x = _smooth(shape, "f4" if i % 2 else "f8")
        y = decode_chunk(encode_chunk(x, Request(name, bounds)))
        assert violations(x, y, bounds) == []


@pytest.mark.parametrize("field", SOME)
def test_bounds_hold_on_hard_fields(name: str, field: str) -> None:
    x = FIELDS[field]
    for bounds in BOUNDS[:3]:
        y = decode_chunk(encode_chunk(x, Request(name, bounds))).reshape(x.shape)
        assert violations(x, y, bounds) == []


def test_it_is_really_that_method_and_close_to_the_bound(name: str) -> None:
    x = _smooth((16, 48, 48), "f4")
    data = encode_chunk(x, Request(name, Bounds(vrmse=1e-2)))
    assert {b.method for b in read_header(data).blocks} == {CODECS[name].code}
    error = np.sqrt(((decode_chunk(data) - x).astype(np.float64) ** 2).mean()) / x.std()
    # tolerances of zfp and the bits of bitround are powers of two
    assert (0.3 if name in ("zfp", "bitround") else 0.9) * 1e-2 < error <= 1e-2
    assert len(data) < x.nbytes / 3


def test_equal_input_gives_equal_bytes(name: str) -> None:
    x, request = _smooth((4, 17, 13), "f8"), Request(name, Bounds(max_abs=1e-3))
    assert encode_chunk(x, request) == encode_chunk(np.asfortranarray(x), request)


def test_few_encodes(name: str) -> None:
    x = _smooth((8, 32, 32), "f4")
    count = 0

    def counting(*args: Any) -> bytes:
        nonlocal count
        count += 1
        return CODECS[name].encode(*args)

    codec = dataclasses.replace(CODECS[name], encode=counting)
    limits = Limits(float(1e-4 * x.var() * x.size), np.inf, np.inf)
    _codec.encode(codec, x / np.abs(x).max(), 0, limits, Request(name, Bounds(vrmse=1e-2)))
    assert 1 <= count <= 6


@pytest.mark.parametrize(
    "hostile",
    [
        lambda x: np.zeros_like(x),
        lambda x: -x,
        lambda x: np.full_like(x, np.nan),
        lambda x: np.random.default_rng(0).standard_normal(x.shape).astype(x.dtype),
        lambda x: x * np.float32(1e30),
    ],
)
@pytest.mark.parametrize("bounds", BOUNDS)
def test_hostile_codecs_meet_the_bounds(
    hostile: Any, bounds: Bounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    def encode(x: np.ndarray, tolerance: float, pointwise: bool) -> bytes:
        return hostile(x).tobytes()

    def decode(data: bytes, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        return np.frombuffer(data, dtype).reshape(shape)

    codec = _codec.Codec("hostile", 250, "", (1, 2, 3), 1, 0.5, encode, decode)
    monkeypatch.setattr(table, "_TABLE", dict(table._TABLE))
    table.register(
        Method(
            "hostile",
            250,
            lambda *args: _codec.encode(codec, *args),
            lambda *args: _codec.decode(codec, *args),
        )
    )
    x = _smooth((6, 12, 20), "f4")
    y = decode_chunk(encode_chunk(x, Request("hostile", bounds)))
    assert violations(x, y, bounds) == []


def test_layouts_join_leading_axes_and_lengthen_short_ones() -> None:
    sperr = CODECS["sperr"]
    assert sperr.layout((2, 3, 9, 16)) == (8, 9, 16)
    assert sperr.layout((20, 30, 1, 40, 50)) == (600, 40, 50)
    assert sperr.layout((1000,)) == (32, 32)
    assert sperr.layout((1,)) == (8, 8)
    assert CODECS["sz3"].layout((1, 7, 1)) == (7,)
    for shape in SHAPES:
        x = _smooth(shape, "f8")
        assert (_codec._unfit(_codec._fit(x, sperr), shape) == x).all()


def test_a_crash_costs_one_chunk_its_lossy_coding(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pysz")
    dead = _isolate.Child()
    os.kill(dead._process.pid, signal.SIGSEGV)
    monkeypatch.setattr(_isolate._POOL, "take", lambda: dead)
    x = _smooth((6, 12, 20), "f4")
    with pytest.warns(XphysWarning, match=r"'sz3' crashed \(SIGSEGV\).*stored losslessly"):
        data = encode_chunk(x, Request("sz3", Bounds(vrmse=1e-2)))
    assert (decode_chunk(data) == x).all()
    monkeypatch.undo()
    data = encode_chunk(x, Request("sz3", Bounds(vrmse=1e-2)))
    assert read_header(data).blocks[0].method == CODECS["sz3"].code


def test_one_that_hangs_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    child = _isolate.Child()
    monkeypatch.setattr(_isolate, "_START", 0.0)
    monkeypatch.setattr(_isolate, "_SECONDS", 0.05)
    os.kill(child._process.pid, signal.SIGSTOP)
    with pytest.raises(_isolate.Gone, match="took more than"):
        child.ask({"task": "decode"}, [], 0)
    child.end()


def test_errors_of_a_child_are_told() -> None:
    child = _isolate.Child()
    with pytest.raises(XphysError, match="KeyError"):
        child.ask({"task": "nonsense"}, [], 0)
    assert child.alive
    child.end()
    assert not child.alive


def test_random_bytes_are_refused_and_crash_nobody(name: str) -> None:
    rng = np.random.default_rng(5)
    x = _smooth((8, 16, 16), "f4")
    coded = _codec.encode(
        CODECS[name], x, 0, Limits(np.inf, 1e-3, np.inf), Request(name, Bounds(max_abs=1e-3))
    )
    child = _isolate._POOL.take()
    refused = 0
    for i in range(60):
        data = bytearray(coded.streams[0])
        if i % 3 == 0:
            data = bytearray(rng.bytes(int(rng.integers(200))))
        elif i % 3 == 1:
            data = data[: rng.integers(len(data))]
        else:
            data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        head = {"task": "decode", "method": name, "shape": x.shape}
        try:
            answer = child.ask(head, [bytes(data)], x.nbytes)
            assert len(answer.parts[0]) == x.nbytes
        except _isolate.Gone:  # C libraries do crash: that is what the child is for
            assert CODECS[name].native
            child.end()
            child = _isolate._POOL.take()
        except XphysError:
            refused += 1
    _isolate._POOL.give(child)
    assert refused > 10


def test_a_zstd_bomb_is_refused() -> None:
    with pytest.raises(CorruptDataError, match="it declares"):
        _codec.decode(CODECS["bitround"], b"\0" + deflate(bytes(2**22)), (4, 4))


def test_the_store_names_the_extra(tmp_path: Path) -> None:
    pytest.importorskip("pysz")
    ds = xr.Dataset({"u": (("time", "y", "x"), _smooth((8, 16, 16), "f4"))})
    io.to_zarr(codecs.compress(ds, vrmse=1e-2, method="sz3"), tmp_path / "a.zarr")
    codec = json.loads((tmp_path / "a.zarr" / "u" / "zarr.json").read_text())["codecs"][0]
    assert codec["configuration"]["extra"] == "codecs"
    assert codec["configuration"]["method"] == "sz3"
    io.to_zarr(codecs.compress(ds, vrmse=1e-2, method="bitround"), tmp_path / "b.zarr")
    codec = json.loads((tmp_path / "b.zarr" / "u" / "zarr.json").read_text())["codecs"][0]
    assert "extra" not in codec["configuration"]
    back = io.open(tmp_path / "a.zarr").u.values
    assert np.sqrt(((back - ds.u.values) ** 2).mean()) <= 1e-2 * ds.u.values.std()
    assert extra_of(Request("auto", Bounds(vrmse=1), extras=("sperr",))) == {"extra": "codecs"}


def test_without_the_package_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pysz")
    x = _smooth((8, 16, 16), "f4")
    data = encode_chunk(x, Request("sz3", Bounds(vrmse=1e-2)))
    for package in ("pysz", "zfpy", "imagecodecs"):
        monkeypatch.setitem(sys.modules, package, None)
    real = importlib.import_module

    def missing(module: str, *args: Any) -> Any:
        if module in ("pysz", "zfpy", "imagecodecs"):
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)
        return real(module, *args)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingDependencyError, match=r"pip install 'xphys\[codecs\]'"):
        decode_chunk(data)
    ds = xr.Dataset({"u": (("time", "y", "x"), x)})
    for method in ("sz3", "sperr", "zfp", "pco", "jpeg2000"):
        with pytest.raises(MissingDependencyError, match=r"pip install 'xphys\[codecs\]'"):
            codecs.compress(ds, vrmse=1e-2, method=method)
    codecs.compress(ds, vrmse=1e-2, method="bitround")
    with pytest.raises(MissingDependencyError):
        codecs.AutoOptions(allow_extras=True)


def test_packages_come_on_first_use() -> None:
    code = (
        "import sys, xphys.codecs.adapters.zarr_v3, xphys.codecs.wrapped;"
        "print([m for m in ('pysz', 'imagecodecs') if m in sys.modules])"  # zarr takes zfpy
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_auto_takes_the_smallest(name: str) -> None:
    x = _smooth((16, 24, 24), "f4")
    grid = np.round(np.random.default_rng(0).standard_normal((40, 32, 32)) * 4).astype("f4") / 4
    for values in (x, grid):
        bounds = Bounds(max_abs=1e-3)
        extras = (name,) if CODECS[name].package else ()
        auto = encode_chunk(values, Request("auto", bounds, effort="max", extras=extras))
        alone = [encode_chunk(values, Request(m, bounds)) for m in (name, "bitround")]
        assert violations(values, decode_chunk(auto), bounds) == []
        assert len(auto) <= min(map(len, alone))


def test_auto_without_extras_needs_none() -> None:
    x = np.random.default_rng(0).standard_normal((8, 16, 16))
    codes = {m.code for n, m in table._TABLE.items() if not m.extra} | {0}
    data = encode_chunk(x, Request("auto", Bounds(pointwise_rel=1e-3)))
    assert {b.method for b in read_header(data).blocks} <= codes


def test_names() -> None:
    assert set(NAMES) < set(methods())
    assert len({codec.code for codec in CODECS.values()}) == len(CODECS)
    assert _methods.CODECS is CODECS
    with pytest.raises(UnknownNameError, match="sperr"):
        codecs.AutoOptions(allow_extras=("nothing",))
