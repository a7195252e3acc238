"""Stored chunks: whole frames, at least 16 steps, 1 to 64 MB."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xphys.errors import SchemaError
from xphys.io import storage_chunks


@pytest.mark.parametrize(
    ("dims", "shape", "expected"),
    [
        (("time", "y", "x"), (53, 64, 64), (53, 64, 64)),
        (("time", "y", "x"), (1000, 512, 512), (17, 512, 512)),
        (("time", "y", "x"), (65, 512, 512), (17, 512, 512)),
        (("time", "z", "y", "x"), (100, 512, 512, 512), (1, 64, 512, 512)),
        (("trajectory", "time", "y", "x"), (3, 40, 256, 256), (1, 40, 256, 256)),
        (("trajectory", "time", "x"), (64, 10, 64), (64, 10, 64)),
        (("y", "x"), (64, 64), (64, 64)),
        ((), (), ()),
        (("time",), (0,), (1,)),
    ],
)
def test_examples(dims: tuple[str, ...], shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert storage_chunks(dims, shape, 4) == expected


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=4), st.sampled_from([2, 4, 8]))
def test_limits_hold(sizes: list[int], itemsize: int) -> None:
    dims = ("time", "z", "y", "x")[: len(sizes)]
    chunks = storage_chunks(dims, sizes, itemsize)
    assert all(1 <= c <= n for c, n in zip(chunks, sizes, strict=True))
    assert math.prod(chunks) * itemsize <= 64 * 2**20


def test_wishes_are_granted_or_refused() -> None:
    assert storage_chunks(("time", "x"), (10, 8), 4, {"time": 2, "x": -1}) == (2, 8)
    with pytest.raises(SchemaError, match="'time' must be positive or -1"):
        storage_chunks(("time", "x"), (10, 8), 4, {"time": 0})
