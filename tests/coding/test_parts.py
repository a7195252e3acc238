"""Transforms, integers, streams: each part on its own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from xphys._streams import Reader, deflate, inflate, join_planes, split_planes, varint
from xphys.coding import integers, transforms
from xphys.coding.exact import read_points, write_points
from xphys.errors import CorruptDataError

KINDS = (transforms.NONE, transforms.COSINE, transforms.FOURIER)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 16, 31])
@pytest.mark.parametrize("kind", KINDS)
def test_transforms_are_orthonormal(n: int, kind: int) -> None:
    matrix = transforms.forward(np.eye(n), (transforms.NONE, kind))
    assert np.allclose(matrix @ matrix.T, np.eye(n), atol=1e-13)
    assert np.allclose(transforms.inverse(matrix, (transforms.NONE, kind)), np.eye(n), atol=1e-13)


def test_separable_round_trip_in_four_dimensions() -> None:
    a = np.random.default_rng(0).standard_normal((4, 5, 6, 7))
    kinds = (1, 2, 2, 1)
    assert np.allclose(transforms.inverse(transforms.forward(a, kinds), kinds), a, atol=1e-12)


@pytest.mark.parametrize("kind", [transforms.COSINE, transforms.FOURIER])
def test_scan_runs_from_low_to_high(kind: int) -> None:
    order = transforms.scan((9, 8), (kind, kind))
    assert order[0] == 0
    assert sorted(order) == list(range(72))


@given(
    hnp.arrays(
        np.int64,
        st.integers(0, 3000),
        elements=st.one_of(st.just(0), st.integers(-2, 2), st.integers(-(2**31) + 1, 2**31 - 1)),
    )
)
@settings(max_examples=60, deadline=None)
def test_integers_round_trip(values: np.ndarray) -> None:
    data = integers.pack(values)
    assert np.array_equal(integers.unpack(data, values.size), values)


def test_sparse_integers_are_small() -> None:
    values = np.zeros(10**5, np.int64)
    values[:50] = 1000
    assert len(integers.pack(values)) < 200


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "u2", "i8"])
def test_planes_round_trip(dtype: str) -> None:
    values = np.arange(77).astype(dtype)
    assert np.array_equal(join_planes(split_planes(values), np.dtype(dtype)), values)


@pytest.mark.parametrize("size", [0, 1, 255, 256, 65536, 70000])
def test_streams_hold_what_they_declare(size: int) -> None:
    raw = bytes(size)
    assert inflate(deflate(raw), size) == raw
    with pytest.raises(CorruptDataError):
        inflate(deflate(raw), size + 1)


def test_a_bomb_is_refused_before_it_is_opened() -> None:
    with pytest.raises(CorruptDataError, match="declares"):
        inflate(deflate(bytes(10**7)), 10)


@given(st.integers(0, 2**62))
def test_varint_round_trip(value: int) -> None:
    reader = Reader(varint(value))
    assert reader.varint() == value
    reader.end()


def test_points_come_back() -> None:
    x = np.random.default_rng(0).standard_normal((6, 7))
    mask = x > 1
    out = np.zeros_like(x)
    read_points(write_points(x, mask), out)
    assert np.array_equal(out, np.where(mask, x, 0))
