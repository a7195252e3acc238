"""Points that are moved by steps: they come within their bound, cheaply, on any machine."""

from __future__ import annotations

import contextlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xphys.coding import (
    Bounds,
    Request,
    _near,
    _outliers,
    _share,
    decode_chunk,
    encode_chunk,
    read_header,
    table,
)
from xphys.coding.bounds import Limits
from xphys.coding.frame import decode_blocks
from xphys.coding.method import Coded, Method
from xphys.coding.preserve import Preserve
from xphys.coding.reference import reference
from xphys.coding.table import register
from xphys.errors import CorruptDataError, XphysError

SHAPES = [(1,), (53,), (5, 9), (4, 6, 7), (3, 5, 7, 2), (1, 8, 1), (2, 3, 4, 5, 6)]
_SLACK = {"f4": 2.0**-21, "f8": 2.0**-48}


def waves(steps: int = 12, n: int = 32, rough: float = 0.05) -> np.ndarray:
    """Travelling waves and noise."""
    rng = np.random.default_rng(0)
    t, x = np.arange(steps)[:, None, None] / 8, 2 * np.pi * np.arange(n) / n
    u = np.sin(x[:, None] + 2 * x - t) + np.cos(3 * x[:, None] - x + t)
    return np.asarray(u + rough * rng.standard_normal(u.shape))


def numbers_of(shape: tuple[int, ...], share: float) -> np.ndarray:
    rng = np.random.default_rng(1)
    numbers = np.where(rng.random(shape) < share, rng.integers(1, 4, shape), 0)
    numbers.reshape(-1)[0] = -2
    return (numbers * rng.choice([-1, 1], shape)).astype(np.int32)


@pytest.mark.parametrize("effort", ["fast", "normal", "max"])
@pytest.mark.parametrize("shape", SHAPES)
def test_reader_moves_as_the_writer_did(shape: tuple[int, ...], effort: str) -> None:
    rng = np.random.default_rng(2)
    weights = np.exp2(rng.integers(-3, 1, (shape[0],) + (1,) * (len(shape) - 1)).astype(float))
    for dtype in (np.float32, np.float64):
        values = rng.standard_normal(shape).astype(dtype)
        for steps in (
            _outliers.Steps.below(0.3, math.inf),
            _outliers.Steps.below(math.inf, 0.1),
            _outliers.Steps.below(0.3, 0.1),
        ):
            for share in (0.0, 0.1, 0.9):
                numbers = numbers_of(shape, share)
                here, there = values.copy(), values.copy()
                _outliers.move(here, numbers, steps, weights)
                _outliers.apply(_outliers.write(numbers, steps, effort), there, weights)
                assert here.tobytes() == there.tobytes()
                assert (here == values)[numbers == 0].all()


def test_steps_are_stored_as_they_are_used() -> None:
    steps = _outliers.Steps.below(0.1, 1e300)
    assert steps.absolute < 0.1
    assert steps.absolute == np.float32(steps.absolute)
    assert steps.relative == math.inf
    assert _outliers.Steps.below(0.25, 0.5) == _outliers.Steps(0.25, 0.5)


def test_a_number_brings_a_point_as_close_as_steps_can() -> None:
    rng = np.random.default_rng(3)
    values, wanted = rng.standard_normal((20, 30)), rng.standard_normal((20, 30))
    far = np.abs(values - wanted) > 0.05
    steps = _outliers.Steps(0.125, math.inf)
    numbers = _outliers.count_steps(wanted[far], values, far, steps, np.ones(()))
    assert (numbers[~far] == 0).all()
    _outliers.move(values, numbers, steps, np.ones(()))
    assert np.abs(values - wanted)[far].max() <= 0.0625


def test_points_too_far_or_without_a_number_stay() -> None:
    values = np.array([0.0, 0.0, 0.0])
    wanted = np.array([1e9, np.nan, np.inf])
    steps = _outliers.Steps(1e-3, math.inf)
    far = np.ones(3, bool)
    assert not _outliers.count_steps(wanted, values, far, steps, np.ones(())).any()


@pytest.mark.parametrize("points", [b"", b"\x05abc"])
def test_ends_of_blocks(points: bytes) -> None:
    assert _outliers.split(_outliers.join(b"moved", points)) == (b"moved", points)
    assert _outliers.join(b"", points) == points  # as it was before points could be moved
    assert _outliers.split(points) == (b"", points)


@given(st.binary(max_size=120), st.sampled_from(SHAPES))
@settings(max_examples=300, deadline=None)
def test_any_bytes_move_points_or_are_refused(data: bytes, shape: tuple[int, ...]) -> None:
    for start in (b"", b"\x02\x00\x00\x80\x3e", b"\x03\x00\x00\x80\x3e"):
        values = np.zeros(shape, np.float32)
        try:
            _outliers.apply(start + data, values, np.ones(()))
        except CorruptDataError:
            continue
        assert values.shape == shape


@pytest.mark.parametrize("seed", range(40))
def test_changed_bytes_move_points_or_are_refused(seed: int) -> None:
    rng = np.random.default_rng(seed)
    steps = _outliers.Steps(0.25, 0.25)
    data = bytearray(_outliers.write(numbers_of((4, 20, 20), 0.1), steps, "normal"))
    for place in rng.choice(len(data), 3):
        data[place] = rng.integers(256)
    values = np.ones((4, 20, 20))
    with contextlib.suppress(CorruptDataError):
        _outliers.apply(bytes(data[: rng.integers(len(data) + 1)]), values, np.ones(()))
    assert values.shape == (4, 20, 20)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00rest",  # no step
        b"\x0a\x00\x00\x80\x3erest",  # an unknown flag
        b"\x02\x00\x00\xc0\x7frest",  # not a number
        b"\x02\x00\x00\x80\xberest",  # negative
        b"\x02\x00\x00",
    ],
)
def test_bad_fronts_are_refused(data: bytes) -> None:
    with pytest.raises(CorruptDataError):
        _outliers.apply(data, np.zeros((2, 3), np.float32), np.ones(()))


def off_by(x: np.ndarray, y: np.ndarray, bounds: Bounds) -> float:
    """Largest error over its bound, of points that are finite."""
    fine = np.isfinite(x)
    a, b = x[fine].astype(np.longdouble), y[fine].astype(np.longdouble)
    allowed = np.full(a.shape, np.inf, np.longdouble)
    if bounds.max_abs is not None:
        allowed = np.minimum(allowed, bounds.max_abs)
    if bounds.max_rel is not None:
        allowed = np.minimum(allowed, bounds.max_rel * (a.max() - a.min()))
    if bounds.pointwise_rel is not None:
        allowed = np.minimum(allowed, bounds.pointwise_rel * np.abs(a))
    same = a == b
    return float((np.abs(b - a)[~same] / allowed[~same]).max(initial=0))


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Points moved and bytes for them, of each block that is written."""
    found: list[tuple[int, int]] = []
    original = _outliers.write

    def write(numbers: np.ndarray, steps: _outliers.Steps, effort: str) -> bytes:
        data = original(numbers, steps, effort)
        found.append((int(np.count_nonzero(numbers)), len(data)))
        return data

    monkeypatch.setattr(_outliers, "write", write)
    return found


CASES = {
    "absolute": (np.float32, Bounds(max_abs=0.01)),
    "of the range": (np.float32, Bounds(max_rel=1e-3)),
    "double": (np.float64, Bounds(max_rel=1e-6)),
    "relative": (np.float32, Bounds(pointwise_rel=1e-2)),
    "both": (np.float64, Bounds(pointwise_rel=1e-1, max_abs=1e-2)),
    "with a norm": (np.float32, Bounds(vrmse=1e-1, max_rel=1e-2)),
    "half": (np.float16, Bounds(max_rel=2e-2)),
}


@pytest.mark.parametrize("effort", ["fast", "normal", "max"])
@pytest.mark.parametrize("name", CASES)
def test_points_are_moved_within_their_bound(
    name: str, effort: str, written: list[tuple[int, int]]
) -> None:
    dtype, bounds = CASES[name]
    x = waves().astype(dtype)
    y = decode_chunk(encode_chunk(x, Request("transform", bounds, effort=effort)))
    assert off_by(x, y, bounds) <= 1
    assert y.dtype == dtype
    points, size = map(sum, zip(*written, strict=True))
    assert points > 100
    assert 8 * size < 16 * points  # the values alone would take 16, 32 or 64 bits


def test_cheap_points_make_a_smaller_chunk(written: list[tuple[int, int]]) -> None:
    x = waves(24, 48).astype(np.float32)
    request = Request("transform", Bounds(max_rel=1e-3), ("time", "space", "space"))
    small = len(encode_chunk(x, request))
    assert 0.02 < written[-1][0] / x.size < 0.2
    # an error that leaves hardly a point beyond the bound
    strict = Bounds(max_rel=1e-3, vrmse=1e-3 * float(np.ptp(x)) / 3.5 / float(x.std()))
    assert small < 0.95 * len(encode_chunk(x, Request("transform", strict, request.roles)))


def test_integers_use_all_of_an_absolute_bound(written: list[tuple[int, int]]) -> None:
    x = np.rint(waves() * 500).astype(np.int16)
    for bound in (1, 3):
        written.clear()
        data = encode_chunk(x, Request("transform", Bounds(max_abs=bound)))
        error = np.abs(decode_chunk(data).astype(int) - x)
        assert error.max() == bound
        assert written


def test_not_finite_and_fill_values_are_exact(written: list[tuple[int, int]]) -> None:
    x = waves()
    holes = np.random.default_rng(4).random(x.shape)
    x[holes < 0.1], x[holes > 0.95], x[0, 0, 0] = np.nan, 1e30, np.inf
    for bounds in (Bounds(max_abs=1e-2), Bounds(pointwise_rel=1e-2)):
        y = decode_chunk(encode_chunk(x, Request("transform", bounds)))
        odd = ~np.isfinite(x) | (x > 1e20)
        assert y[odd].tobytes() == x[odd].tobytes()
        assert off_by(x[~odd], y[~odd], bounds) <= 1
    assert written


def test_zeros_stay_zeros_under_a_relative_bound() -> None:
    x = np.maximum(waves(), 0.5) - 0.5
    y = decode_chunk(encode_chunk(x, Request("transform", Bounds(pointwise_rel=1e-2))))
    assert (y[x == 0] == 0).all()
    assert off_by(x, y, Bounds(pointwise_rel=1e-2)) <= 1


def test_invariants_are_kept_beside(written: list[tuple[int, int]]) -> None:
    x, bounds = waves().astype(np.float32), Bounds(max_rel=1e-2)
    roles = ("time", "space", "space")
    request = Request("transform", bounds, roles, preserve=Preserve(("mean",)))
    y = decode_chunk(encode_chunk(x, request))
    assert written
    assert off_by(x, y, bounds) <= 1
    drift = np.abs(y.sum((1, 2), dtype=np.float64) - x.sum((1, 2), dtype=np.float64))
    assert (drift <= 1e-12 * np.abs(x).sum((1, 2), dtype=np.float64)).all()


_KEPT: dict[bytes, np.ndarray] = {}


def _noisy(moved: float = 0.0) -> Method:
    """Errors as large as allowed, two blocks, short streams; `moved`: what a reader has beside."""

    def decode(data: bytes, shape: tuple[int, ...]) -> np.ndarray:
        values = _KEPT[data].reshape(shape)
        signs = np.random.default_rng(6).choice([-1.0, 1.0], shape)
        return values.copy() if not moved else (values + moved * signs).astype(values.dtype)

    def encode(x: np.ndarray, axis: int, limits: Limits, _: Request) -> Coded:
        error = np.random.default_rng(5).standard_normal(x.shape)
        error *= 0.99 * np.sqrt(limits.squared / (error**2).sum())
        half = -(-x.shape[axis] // 2)
        parts = [p.copy() for p in np.split((x + error).astype(x.dtype), [half], axis=axis)]
        streams = [len(_KEPT).to_bytes(4, "little"), (len(_KEPT) + 1).to_bytes(4, "little")]
        _KEPT.update(zip(streams, parts, strict=True))
        return Coded(half, streams, parts)

    return Method("noisy", 252, encode, decode, proved=True)


@pytest.fixture
def noisy(monkeypatch: pytest.MonkeyPatch) -> Method:
    monkeypatch.setattr(table, "_TABLE", dict(table._TABLE))
    method = _noisy()
    register(method)
    return method


@pytest.mark.parametrize("name", ["absolute", "double", "relative", "both"])
def test_a_block_by_itself_is_what_it_is_in_the_whole(
    name: str, noisy: Method, written: list[tuple[int, int]]
) -> None:
    dtype, bounds = CASES[name]
    x = waves().astype(dtype)
    data = encode_chunk(x, Request("noisy", bounds, effort="fast"))
    whole, header = decode_chunk(data), read_header(data)
    assert off_by(x, whole, bounds) <= 1
    assert len(header.blocks) == len(written) == 2
    for i, block in enumerate(header.blocks):
        alone = np.zeros_like(whole)
        part = data[block.offset : block.offset + block.length]
        decode_blocks(header, [(i, part)], alone)
        assert alone[header.span(i)].tobytes() == whole[header.span(i)].tobytes()


def test_every_field_has_a_bound_of_its_own(noisy: Method, written: list[tuple[int, int]]) -> None:
    x = waves() * 10.0 ** np.linspace(-3, 3, 12)[:, None, None]
    bounds = Bounds(max_rel=1e-2)
    y = decode_chunk(encode_chunk(x, Request("noisy", bounds), reference(x, (1, 2))))
    assert all(off_by(a, b, bounds) <= 1 for a, b in zip(x, y, strict=True))
    assert sum(n for n, _ in written) > 100


def test_distance_from_a_prediction(noisy: Method, written: list[tuple[int, int]]) -> None:
    x = waves()
    near = x + np.random.default_rng(7).standard_normal(x.shape)
    for bounds in (Bounds(max_abs=1e-2), Bounds(pointwise_rel=1e-2)):
        data = encode_chunk(x, Request("noisy", bounds), None, near)
        assert off_by(x, decode_chunk(data, near), bounds) <= 1
    assert written


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("name", ["absolute", "double", "relative", "both", "half", "octaves"])
def test_bounds_hold_on_a_machine_that_rounds_otherwise(
    name: str, sign: int, noisy: Method, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "octaves":  # steps by a decoded magnitude that is wrong by far: many of them
        dtype, bounds = np.float32, Bounds(pointwise_rel=0.1)
        x = (waves(24) * 10.0 ** -np.random.default_rng(9).uniform(0, 3, (24, 32, 32))).astype("f4")
    else:
        dtype, bounds = CASES[name]
        x = waves().astype(dtype)
    data = encode_chunk(x, Request("noisy", bounds, effort="fast"))
    assert read_header(data).blocks[0].method == noisy.code
    slack = sign * _SLACK["f8" if dtype is np.float64 else "f4"]
    monkeypatch.setitem(table._TABLE, "noisy", _noisy(slack))
    assert off_by(x, decode_chunk(data), bounds) <= 1


def test_numbers_that_move_points_elsewhere_are_found(
    noisy: Method, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_near, "_READ", 256)
    monkeypatch.setattr(_outliers, "write", lambda *_: b"\x02\x00\x00\x80\x3e")
    with pytest.raises(XphysError, match="report"):
        encode_chunk(waves(), Request("noisy", Bounds(max_abs=1e-2)))


def test_rough_values_allow_a_larger_share() -> None:
    x = waves()
    rough = [_share.roughness(x, bound) for bound in (10.0, 0.1, 1e-3)]
    assert rough == sorted(rough)
    shares = [_share.first_share(r) for r in rough]
    assert shares == sorted(shares)
    assert 1 / 4 < shares[0] < shares[-1] < 1 / 1.6
    assert _share.roughness(np.zeros(1), 1.0) == 0


def test_the_next_share_goes_where_bits_are_saved() -> None:
    errors = np.abs(np.random.default_rng(8).standard_normal(2**14))

    def spent(share: float, coarse: float, rough: float) -> _share.Spent:
        return _share.Spent(share, coarse, _share._random(errors * share), errors * share, rough)

    # many bits: a halved error costs one of them, so that more points beyond the bound pay
    larger = _share.next_share(spent(1 / 4, 8.0, 4.0))
    assert larger is not None
    assert larger > 1 / 2.2
    # hardly any bits: points beyond the bound are what costs
    smaller = _share.next_share(spent(1 / 2, 0.05, 0.0))
    assert smaller is not None
    assert smaller < 1 / 2.8
    assert _share.next_share(spent(larger, 8.0, 4.0)) is None
    # what was measured goes before what was guessed
    measured = _share.next_share(spent(1 / 2, 0.25, 0.0), spent(1 / 4, 1.25, 0.0))
    assert measured is None or measured > 1 / 2.2
