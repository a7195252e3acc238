"""Streams and exact points: each part on its own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xphys._streams import Reader, deflate, inflate, join_planes, split_planes, varint
from xphys.coding.exact import read_points, write_points
from xphys.errors import CorruptDataError


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
