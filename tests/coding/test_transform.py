"""The method "transform": errors meet their aim, decode equals what encode said, damage is seen."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xphys
from xphys.coding import Bounds, Request, decode_chunk, encode_chunk, table
from xphys.coding._candidates import Axes
from xphys.coding._stream import Block, coarse, plain_step
from xphys.coding.bases import Kind
from xphys.coding.bounds import Limits
from xphys.coding.method import Coded
from xphys.coding.quantise import (
    Centroids,
    _restore,
    centroids,
    error,
    find_step,
    quantise,
    restore,
    squares,
)
from xphys.coding.transform import TRANSFORM, decode, encode
from xphys.errors import CorruptDataError

SERIES = (Kind.NONE, Kind.FOURIER, Kind.COSINE)


def _spread(x: np.ndarray) -> float:
    wide = x.astype(np.float64)
    return float(np.sum((wide - wide.mean()) ** 2))


def _encode(x: np.ndarray, target: float, effort: str = "normal", **known: tuple) -> Coded:
    request = Request("transform", Bounds(vrmse=target), effort=effort, **known).resolved(x.ndim)
    limits = Limits(target**2 * _spread(x), math.inf, math.inf)
    return encode(x, 0, limits, request)


def _error(x: np.ndarray, coded: Coded) -> float:
    made = np.concatenate(coded.values)
    return math.sqrt(float(np.sum((x.astype(np.float64) - made) ** 2)) / _spread(x))


def _decoded(coded: Coded) -> list[np.ndarray]:
    pairs = zip(coded.streams, coded.values, strict=True)
    return [decode(stream, values.shape) for stream, values in pairs]


def _fields(small_data: Path) -> list[np.ndarray]:
    mri = xphys.open(Path(xphys.__file__).parent / "data" / "mri_64")["jz"].values
    convection = xphys.open(small_data / "dedalus" / "snapshots")["buoyancy"].values
    out = []
    for x in (mri, convection):
        x = np.ascontiguousarray(x, np.float32)
        out.append(np.ldexp(x, -math.frexp(float(np.abs(x).max()))[1]))
    return out


@pytest.mark.parametrize("target", [1e-1, 1e-2, 1e-4])
def test_errors_of_real_fields_meet_their_aim(small_data: Path, target: float) -> None:
    for x in _fields(small_data):
        coded = _encode(x, target)
        error_ = _error(x, coded)
        assert error_ <= target
        if sum(map(len, coded.streams)) > 2000:
            assert error_ > 0.99 * target
        for made, values in zip(_decoded(coded), coded.values, strict=True):
            assert made.tobytes() == values.tobytes()


def test_more_effort_is_not_larger(small_data: Path) -> None:
    x = _fields(small_data)[0]
    sizes = [sum(map(len, _encode(x, 1e-2, e).streams)) for e in ("fast", "normal", "max")]
    assert sizes[2] <= 1.01 * sizes[1]
    assert sizes[1] <= 1.01 * sizes[0]


def test_coding_twice_gives_the_same_bytes(small_data: Path) -> None:
    x = _fields(small_data)[1]
    assert _encode(x, 1e-2).streams == _encode(x, 1e-2).streams


def test_a_plane_wave_takes_a_few_bytes() -> None:
    t, y, x = np.meshgrid(np.arange(24), np.arange(64), np.arange(64), indexing="ij")
    wave = np.cos(2 * np.pi * (3 * y + 2 * x) / 64) * np.cos(np.pi * 5 * (t + 0.5) / 24)
    coded = _encode(wave.astype(np.float32), 1e-2, periodic=(None, True, True))
    assert sum(map(len, coded.streams)) < 60


@pytest.mark.parametrize(
    "shape", [(1,), (2,), (53,), (3, 5, 7, 2), (1, 1, 1), (40, 3), (17, 13), (5, 1, 300), (2,) * 6]
)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_any_shape_can_be_coded(shape: tuple[int, ...], dtype: str) -> None:
    rng = np.random.default_rng(3)
    x = (rng.standard_normal(shape).cumsum(axis=0) / 64).astype(dtype)
    for target in (1e-1, 1e-3) if x.size > 1 else (1e-1,):
        coded = _encode(x, target)
        for made, values in zip(_decoded(coded), coded.values, strict=True):
            assert made.tobytes() == values.tobytes()
        if x.size > 2:
            assert _error(x, coded) <= target


def test_tight_bounds_use_double_precision() -> None:
    x = np.random.default_rng(5).standard_normal((8, 20, 24)).cumsum(axis=2) / 32
    coded = _encode(x, 1e-7)
    assert coded.values[0].dtype == np.float64
    assert _error(x, coded) <= 1e-7


def test_an_offset_costs_next_to_nothing() -> None:
    x = 0.01 * np.random.default_rng(5).standard_normal((6, 32, 32)).cumsum(axis=2)
    plain = sum(map(len, _encode(x, 1e-2).streams))
    moved = _encode(0.5 + x / 16, 1e-2)
    assert sum(map(len, moved.streams)) <= plain + 16
    assert _error(0.5 + x / 16, moved) <= 1e-2


def test_frames_are_apart_where_time_does_not_help() -> None:
    x = np.random.default_rng(2).standard_normal((16, 128, 128)).astype(np.float32) / 8
    coded = _encode(x, 1e-1)
    assert coded.extent == 8
    assert len(coded.streams) == 2


def test_random_bytes_never_crash_decode() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        shape = tuple(int(n) for n in rng.integers(1, 20, rng.integers(1, 5)))
        data = rng.bytes(int(rng.integers(0, 60)))
        try:
            values = decode(data, shape)
        except CorruptDataError:
            continue
        assert values.shape == shape


def test_changed_bytes_never_crash_decode(small_data: Path) -> None:
    rng = np.random.default_rng(1)
    for target in (1e-1, 1e-3):
        coded = _encode(_fields(small_data)[1], target)
        stream, shape = coded.streams[0], coded.values[0].shape
        for _ in range(100):
            damaged = bytearray(stream[: rng.integers(1, len(stream) + 1)])
            damaged[rng.integers(0, min(len(damaged), 40))] = rng.integers(0, 256)
            try:
                with np.errstate(all="ignore"):
                    assert decode(bytes(damaged), shape).shape == shape
            except CorruptDataError:
                pass


def test_flags_beyond_the_axes_are_refused() -> None:
    with pytest.raises(CorruptDataError, match="flags for 1 axes"):
        decode(b"\xff\x7f\x00\x00", (5,))


def test_many_modes_are_refused_before_memory_is_taken() -> None:
    flags = (7 << 4).to_bytes(2, "little")
    flags = bytes([flags[0] & 0x7F]) if flags[0] < 128 else bytes([flags[0], 0])
    with pytest.raises(CorruptDataError):
        decode(flags + bytes(4) + b"\xff\xff\x7f", (10**7,))


def test_axes_that_wrap_round_are_found() -> None:
    y, x = np.meshgrid(np.linspace(0, 3, 32), np.arange(64) * 2 * np.pi / 64, indexing="ij")
    field = (y + np.sin(x))[None].astype(np.float32)
    axes = Axes(field, 0, Request().resolved(3))
    assert axes.periodic == {1: False, 2: True}


@given(st.floats(2.0**-49, 2.0**13))
@settings(max_examples=50, deadline=None)
def test_steps_are_rounded_down_by_little(step: float) -> None:
    stored = plain_step(coarse(step))
    assert 0.999 * step <= stored <= step
    assert coarse(stored) == coarse(step)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_quantiser(dtype: str) -> None:
    c = np.random.default_rng(9).laplace(size=(4, 100)).astype(dtype)
    q = quantise(c, 0.5, 0.38)
    assert np.array_equal(np.abs(q), np.floor(np.abs(c.astype("f8")) / 0.5 + 0.38))
    assert np.all((q == 0) | (np.sign(q) == np.sign(c)))
    shifts, spent = centroids(c, q, 0.5)
    y = restore(q, 0.5, shifts, c.dtype)
    assert spent == pytest.approx(squares(y - c), rel=1e-5)
    assert spent == pytest.approx(error(c, 0.5, 0.38), rel=1e-9)
    plain = restore(q, 0.5, Centroids(0, 0), c.dtype)
    assert spent < squares(plain - c)


def test_restoring_does_not_depend_on_the_compiler() -> None:
    q = np.random.default_rng(8).integers(-9, 9, 200).astype(np.int32)
    for dtype in (np.float32, np.float64):
        compiled, plain = np.empty(200, dtype), np.empty(200, dtype)
        _restore(q, 0.37, 0.1, 0.02, compiled)
        _restore.py_func(q, 0.37, 0.1, 0.02, plain)
        assert np.array_equal(compiled, plain)


def test_quantiser_does_not_overflow() -> None:
    assert quantise(np.array([1.0, -1.0, 0.0]), 1e-300, 0.5).tolist() == [2**30, -(2**30), 0]


def test_the_step_that_is_found_spends_what_it_may() -> None:
    c = np.random.default_rng(4).laplace(size=5000)
    for target in (1e-4, 1.0, 2000.0):
        step = find_step(lambda at: error(c, at, 0.38), target, 1e-3)
        assert 0.99 * target <= error(c, step, 0.38) <= target


def test_blocks_of_zeros_are_short() -> None:
    block = Block(SERIES, (4, 8, 8), np.dtype("f4"), mean=(3, -2))
    data = block.write(np.zeros((4, 8, 8), np.int32), "static")
    assert len(data) <= 4
    assert np.all(decode(data, (4, 8, 8)) == 0.75)


@pytest.mark.parametrize("target", [1e-2, 1e-3, 1e-4])
def test_margins_for_rounding_take_one_attempt(
    monkeypatch: pytest.MonkeyPatch, target: float
) -> None:
    calls = []

    def counted(x: np.ndarray, axis: int, limits: Limits, request: Request) -> Coded:
        calls.append(limits)
        return encode(x, axis, limits, request)

    monkeypatch.setitem(table._TABLE, "transform", replace(TRANSFORM, encode=counted))
    y, x = np.meshgrid(*[np.linspace(0, 2 * np.pi, 64, endpoint=False)] * 2, indexing="ij")
    noise = np.random.default_rng(5).standard_normal((12, 64, 64))
    field = (1 + 0.05 * np.sin(x + np.cos(2 * y)) + 0.002 * noise).astype(np.float32)
    request = Request("transform", Bounds(vrmse=target), ("time", "space", "space"), (None,) * 3)
    out = decode_chunk(encode_chunk(field, request)).astype(np.float64)
    assert np.sqrt(((out - field) ** 2).mean()) <= target * field.astype(np.float64).std()
    assert len(calls) == 1


def test_a_thin_stream_is_coded_small() -> None:
    # short beside its data: "mixing"; long beside them: the faster coder
    t, x = np.meshgrid(
        np.arange(300), np.linspace(0, 2 * np.pi, 512, endpoint=False), indexing="ij"
    )
    wave = np.sin(x + np.sin(0.1 * t)).astype(np.float32)
    noise = np.random.default_rng(1).standard_normal(wave.shape).astype(np.float32)
    for values, mixing in ((wave, 1), (noise / 6, 0)):
        limits = Limits(1e-4 * values.size * float(values.var()), math.inf, math.inf)
        request = Request("transform", Bounds(vrmse=0.01), ("time", "space"), (None, True))
        coded = encode(values, 0, limits, request)
        assert coded.streams[0][0] & 1 == mixing
