"""Bounds hold on hard fields, special values come back bit for bit, damage is seen."""

from __future__ import annotations

import importlib.util
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xphys.coding import Bounds, Request, decode_chunk, encode_chunk, methods, read_header, table
from xphys.coding.bounds import Limits
from xphys.coding.method import Coded, Method
from xphys.coding.reference import reference
from xphys.coding.table import register
from xphys.errors import (
    BoundError,
    CorruptDataError,
    FormatError,
    UnknownNameError,
    XphysError,
)

_spec = importlib.util.spec_from_file_location(
    "hard_fields", Path(__file__).parent / "hard_fields.py"
)
assert _spec is not None
assert _spec.loader is not None
_hard = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_hard)
FIELDS, violations = _hard.hard_fields(), _hard.violations

BOUNDS = [
    Bounds(vrmse=1e-1),
    Bounds(vrmse=1e-3),
    Bounds(vrmse=0.0),
    Bounds(rel_l2=1e-2),
    Bounds(max_abs=1e-3),
    Bounds(max_rel=1e-4),
    Bounds(psnr=60),
    Bounds(pointwise_rel=1e-2),
    Bounds(pointwise_rel=1e-6, vrmse=1e-2),
    Bounds(vrmse=1e-8, max_abs=10.0),
]


@pytest.mark.parametrize("bounds", BOUNDS, ids=lambda b: str(b.to_dict()))
@pytest.mark.parametrize("name", FIELDS)
def test_bounds_hold(name: str, bounds: Bounds) -> None:
    x = FIELDS[name]
    data = encode_chunk(x, Request("transform", bounds))
    assert violations(x, decode_chunk(data).reshape(x.shape), bounds) == []


@pytest.mark.parametrize("name", FIELDS)
def test_lossless(name: str) -> None:
    x = FIELDS[name]
    y = decode_chunk(encode_chunk(x, Request())).reshape(x.shape)
    native = np.ascontiguousarray(x.astype(x.dtype.newbyteorder("=")))
    assert y.tobytes() == native.tobytes()


def test_sentinels_do_not_loosen_the_bound() -> None:
    x = FIELDS["fill 1e20"]
    y = decode_chunk(encode_chunk(x, Request("transform", Bounds(vrmse=1e-2))))
    sea = x < 1e19
    assert (y[~sea] == 1e20).all()
    assert np.sqrt(((y - x)[sea] ** 2).mean()) <= 1e-2 * x[sea].std()


@pytest.mark.parametrize("periodic", [(), (None, True, True), (None, False, True)])
def test_smaller_than_float32_and_close_to_the_bound(periodic: tuple[bool | None, ...]) -> None:
    x = FIELDS["smooth"].astype(np.float32)
    request = Request("transform", Bounds(vrmse=3e-2), ("time", "space", "space"), periodic)
    data = encode_chunk(x, request)
    y = decode_chunk(data)
    error = np.sqrt(((y - x).astype(np.float64) ** 2).mean()) / x.std(dtype=np.float64)
    assert 0.9 * 3e-2 < error <= 3e-2  # a codec that returned x would waste the budget
    assert len(data) < x.nbytes / 10


@pytest.mark.parametrize(
    ("name", "decode"),
    [
        ("zeros", lambda data, shape: np.zeros(shape)),
        ("noise", lambda data, shape: np.random.default_rng(1).standard_normal(shape)),
        ("nan", lambda data, shape: np.full(shape, np.nan)),
        ("negation", lambda data, shape: -np.frombuffer(data, np.float64).reshape(shape)),
        ("shape", lambda data, shape: np.zeros((3, 3))),
    ],
)
@pytest.mark.parametrize("bounds", [Bounds(vrmse=1e-2), Bounds(max_abs=1e-2)])
def test_hostile_methods_meet_the_bound(
    name: str, decode: object, bounds: Bounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "_TABLE", dict(table._TABLE))

    def encode(x: np.ndarray, *_: object) -> Coded:
        data = x.astype(np.float64).tobytes()
        return Coded(x.shape[0], [data], [decode(data, x.shape)])  # type: ignore[operator]

    register(Method(name, 250, encode, decode))  # type: ignore[arg-type]
    x = FIELDS["smooth"]
    data = encode_chunk(x, Request(name, bounds))
    assert violations(x, decode_chunk(data), bounds) == []


def test_every_single_bit_flip_is_seen() -> None:
    x = FIELDS["nan"][:17, :6, :6]
    data = encode_chunk(x, Request("transform", Bounds(vrmse=1e-2)))
    rng = np.random.default_rng(3)
    for bit in rng.choice(len(data) * 8, 800, replace=False):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptDataError):
            decode_chunk(bytes(broken))


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_random_bytes_are_refused(data: bytes) -> None:
    for candidate in (data, b"XPF\x02" + data):
        with pytest.raises(CorruptDataError):
            decode_chunk(candidate)


@pytest.mark.parametrize("cut", [0, 3, 20, 60, -1])
def test_truncation_is_seen(cut: int) -> None:
    data = encode_chunk(FIELDS["smooth"], Request("transform", Bounds(vrmse=1e-2)))
    with pytest.raises(CorruptDataError):
        decode_chunk(data[:cut])


def test_header_tells_the_measured_errors() -> None:
    x = FIELDS["smooth"]
    header = read_header(data := encode_chunk(x, Request("transform", Bounds(vrmse=1e-2))))
    error = decode_chunk(data) - x
    unit = 2.0**header.exponent
    rms, peak = np.sqrt((error**2).mean()), np.abs(error).max()
    assert rms <= header.rms * unit <= 1.001 * rms
    assert peak <= header.peak * unit <= 1.001 * peak


def test_equal_input_gives_equal_bytes() -> None:
    request = Request("transform", Bounds(vrmse=1e-2))
    x = FIELDS["smooth"]
    assert encode_chunk(x, request) == encode_chunk(np.asfortranarray(x), request)


def test_request_survives_json() -> None:
    request = Request("transform", Bounds(vrmse=1e-2, psnr=3), ("time", "space"), (None, True))
    assert Request.from_dict(request.to_dict()) == request


@pytest.mark.parametrize("bad", [{}, {"vrmse": -1.0}, {"vrmse": float("nan")}, {"max_abs": "1"}])
def test_bad_bounds_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(BoundError):
        Bounds(**bad)  # type: ignore[arg-type]


def test_unknown_things_are_named() -> None:
    assert methods()[0] == "lossless"
    assert "transform" in methods()
    with pytest.raises(UnknownNameError, match="known are lossless.*transform"):
        encode_chunk(FIELDS["smooth"], Request("magic", Bounds(vrmse=1e-2)))
    with pytest.raises(FormatError, match="complex128"):
        encode_chunk(np.zeros(3, complex), Request())
    with pytest.raises(FormatError, match="update xphys"):
        Request.from_dict({"version": 99})


def _rounding(step_share: float, wrong: bool = False) -> Method:
    """Values rounded to a step, two blocks; not what it says if wrong."""

    def decode(data: bytes, shape: tuple[int, ...]) -> np.ndarray:
        step, q = np.frombuffer(data[:8]), np.frombuffer(zlib.decompress(data[8:]), np.int32)
        return q.reshape(shape) * step + wrong

    def encode(x: np.ndarray, axis: int, limits: Limits, _: Request) -> Coded:
        step = step_share * np.sqrt(12 * limits.squared / x.size)
        half = -(-x.shape[axis] // 2)
        q = np.rint(x / step).astype(np.int32)
        parts = [p for p in np.split(q, [half], axis=axis) if p.size]
        streams = [step.tobytes() + zlib.compress(p.tobytes()) for p in parts]
        return Coded(half, streams, [p * step for p in parts])

    return Method("rounding", 251, encode, decode, proved=True)


@pytest.fixture
def rounding(monkeypatch: pytest.MonkeyPatch) -> Method:
    monkeypatch.setattr(table, "_TABLE", dict(table._TABLE))
    method = _rounding(0.98)
    register(method)
    return method


@pytest.mark.parametrize("kind", ["vrmse", "rel_l2", "max_rel"])
def test_a_bound_for_every_field_on_its_own(kind: str, rounding: Method) -> None:
    rng = np.random.default_rng(5)
    size = 10.0 ** np.arange(-3, 5)[:, None, None]
    x = (rng.standard_normal((8, 20, 30)) + 0.3) * size
    x[2] = 7.0  # no spread: exact
    bounds = Bounds(**{kind: 1e-2}) if kind != "max_rel" else Bounds(max_rel=1e-2, vrmse=1e-2)
    data = encode_chunk(x, Request("rounding", bounds), reference(x, (1, 2)))
    y = decode_chunk(data)
    for i in range(8):
        assert violations(x[i], y[i], bounds) == []
    assert kind == "rel_l2" or (y[2] == 7).all()
    assert (y[0] != x[0]).any()


def test_relative_to_more_than_the_chunk(rounding: Method) -> None:
    x = np.random.default_rng(6).standard_normal((4, 8, 8))
    wide = np.stack([x, 100 * x])
    request = Request("rounding", Bounds(vrmse=1e-3))
    y = decode_chunk(encode_chunk(x, request, reference(wide)[0]))
    error = np.sqrt(((y - x) ** 2).mean())
    assert 0.9e-3 * wide.std() < error <= 1e-3 * wide.std()


def test_distance_from_a_prediction(rounding: Method) -> None:
    x = np.random.default_rng(7).standard_normal((6, 10, 10)) * 1e3
    x[3, 4, 5] = np.nan
    near = np.nan_to_num(x) + np.random.default_rng(8).standard_normal(x.shape)
    bounds = Bounds(vrmse=1e-5)
    data = encode_chunk(x, Request("rounding", bounds), None, near)
    assert read_header(data).predicted
    assert violations(x, decode_chunk(data, near), bounds) == []
    with pytest.raises(CorruptDataError, match="prediction"):
        decode_chunk(data)


def test_a_method_that_decodes_something_else_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "_TABLE", dict(table._TABLE))
    register(_rounding(0.98, wrong=True))
    rng = np.random.default_rng(9)
    request = Request("rounding", Bounds(vrmse=1e-2))
    with pytest.raises(XphysError, match="report"):  # one chunk in 64 is decoded to compare
        [encode_chunk(rng.standard_normal((2, 3, 4)), request) for _ in range(1000)]
