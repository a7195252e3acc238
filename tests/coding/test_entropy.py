"""The entropy stage: what goes in comes out; damage ends in an error or in integers."""

from __future__ import annotations

import hashlib
import inspect
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xphys.coding.entropy import Layout, decode, encode, estimate, prices, refine
from xphys.coding.entropy import _family as family
from xphys.coding.entropy import _priors as priors
from xphys.errors import CorruptDataError

CODERS = ("static", "mixing")
LARGEST = 2**31 - 1
SHAPES = ((1, 1, 1), (1, 1, 40), (1, 33, 1), (7, 1, 1), (3, 8, 8), (4, 11, 19), (2, 24, 17))


def layout_of(shape: tuple[int, int, int], back: int = 2) -> Layout:
    """Classes as those of a Fourier or cosine basis."""
    y, x = np.indices(shape[1:])
    planes = np.minimum(np.arange(shape[0]), 2).astype(np.uint8)
    classes = np.minimum((y + x) // 3, 15).astype(np.uint8)
    return Layout(shape, back, planes, classes, (y + x).astype(np.uint16))


def like_a_field(shape: tuple[int, int, int], largest: float, decay: float) -> np.ndarray:
    """Magnitudes that fall with the frequency, as those of a smooth field."""
    rng = np.random.default_rng(shape[0] + shape[2])
    y, x = np.indices(shape[1:])
    return (rng.standard_normal(shape) * largest * np.exp(-(y + x) / decay)).astype(np.float32)


def assert_comes_back(q: np.ndarray, layout: Layout, coder: str) -> bytes:
    data = encode(q, layout, coder=coder)
    out = decode(data, layout, coder=coder)
    assert out.dtype == np.int32
    assert np.array_equal(out, q)
    return data


@pytest.mark.parametrize("coder", CODERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_zeros_take_nothing(shape: tuple[int, int, int], coder: str) -> None:
    assert assert_comes_back(np.zeros(shape, np.int32), layout_of(shape), coder) == b""


@pytest.mark.parametrize("coder", CODERS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("value", [1, -1, 14, -15, 16, 4096, -LARGEST, LARGEST])
def test_one_coefficient(shape: tuple[int, int, int], value: int, coder: str) -> None:
    q = np.zeros(shape, np.int32)
    q[-1, 0, -1] = value
    data = assert_comes_back(q, layout_of(shape), coder)
    assert 0 < len(data) < 45


@pytest.mark.parametrize("coder", CODERS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("largest", "decay"), [(2, 4), (40, 5), (3e5, 8), (1.5e9, 1e9)])
def test_fields(shape: tuple[int, int, int], largest: float, decay: float, coder: str) -> None:
    wide = np.clip(like_a_field(shape, largest, decay).astype(float), -LARGEST, LARGEST)
    for back in (1, 2, 5):
        assert_comes_back(wide.astype(np.int32), layout_of(shape, back), coder)


@pytest.mark.parametrize("coder", CODERS)
@given(
    st.tuples(st.integers(1, 5), st.integers(1, 20), st.integers(1, 20)),
    st.integers(1, 6),
    st.floats(0, 1),
    st.sampled_from([1, 3, 50, 10**4, LARGEST]),
    st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_anything(
    coder: str, shape: tuple[int, int, int], back: int, share: float, most: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    q = rng.integers(-most, most, shape, endpoint=True).astype(np.int32)
    q[rng.random(shape) > share] = 0
    layout = Layout(
        shape,
        back,
        rng.integers(0, 8, shape[0]).astype(np.uint8),
        rng.integers(0, 16, shape[1:]).astype(np.uint8),
        rng.integers(0, 4096, shape[1:]).astype(np.uint16),
    )
    assert_comes_back(q, layout, coder)


def test_a_stream_of_zero_bytes_is_not_empty() -> None:
    layout = layout_of((1, 1, 1))
    for value in range(-300, 300):
        for coder in CODERS:
            data = encode(np.full((1, 1, 1), value, np.int32), layout, coder=coder)
            assert (data == b"") == (value == 0)


def test_mixing_is_smaller() -> None:
    q = np.rint(like_a_field((6, 48, 48), 300, 6)).astype(np.int32)
    sizes = {c: len(assert_comes_back(q, layout_of(q.shape), c)) for c in CODERS}
    assert sizes["mixing"] < sizes["static"]
    # entropy of the values without any context
    counts = np.unique(q, return_counts=True)[1]
    plain = -(counts * np.log2(counts / q.size)).sum() / 8
    assert sizes["static"] < 0.8 * plain


@pytest.mark.parametrize(("largest", "decay"), [(20, 9), (300, 20), (3000, 15)])
def test_estimate_is_near_the_size(largest: float, decay: float) -> None:
    q = np.rint(like_a_field((12, 128, 128), largest, decay)).astype(np.int32)
    layout = layout_of(q.shape)
    size = 8 * len(encode(q, layout, coder="static"))
    assert estimate(q, layout) == pytest.approx(size, rel=0.03)
    assert estimate(np.zeros_like(q), layout) == 0


def test_refined_costs_less_than_it_loses() -> None:
    scaled = like_a_field((8, 64, 64), 30, 9)
    layout, price = layout_of(scaled.shape), 0.13
    q = (np.sign(scaled) * np.floor(np.abs(scaled) + 0.38)).astype(np.int32)
    better = refine(scaled, q, layout, price)

    def total(integers: np.ndarray) -> float:
        size, miss = np.abs(integers), 0.0
        for group in (size == 0, size == 1, size > 1):
            error = size[group] - np.abs(scaled[group])
            miss += float(((error - (error.mean() if size[group].any() else 0)) ** 2).sum())
        return miss + price * 8 * len(encode(integers, layout, coder="static"))

    assert total(better) < 0.99 * total(q)
    assert np.abs(better - scaled).max() < np.abs(scaled[better == 0]).max() + 1
    assert not (better[scaled == 0]).any()
    assert np.array_equal(refine(scaled, q, layout, price, prices(q, layout)), better)


def test_refine_leaves_huge_magnitudes() -> None:
    scaled = np.full((1, 8, 8), 2.0**31 - 256, np.float32)
    q = scaled.astype(np.int32)
    assert np.array_equal(refine(scaled, q, layout_of(q.shape), 0.1), q)


@pytest.mark.parametrize("coder", CODERS)
def test_damage_does_no_harm(coder: str) -> None:
    shape = (3, 17, 21)
    layout, rng = layout_of(shape), np.random.default_rng(7)
    streams = [
        encode(np.rint(like_a_field(shape, size, 6)).astype(np.int32), layout, coder=coder)
        for size in (3, 90, 1e8)
    ]
    seen = 0
    for number in range(1000):
        if number % 4 == 0:
            data = rng.bytes(int(rng.integers(1, 200)))
        else:
            spoiled = bytearray(streams[number % 3])
            for _ in range(int(rng.integers(1, 4))):
                spoiled[int(rng.integers(len(spoiled)))] = int(rng.integers(256))
            data = bytes(spoiled[: int(rng.integers(1, len(spoiled) + 1))])
            data += rng.bytes(int(rng.integers(0, 9)))
        try:
            out = decode(data, layout, coder=coder)
        except CorruptDataError:
            seen += 1
        else:
            assert out.shape == shape
    assert seen > 100


@pytest.mark.parametrize("coder", CODERS)
def test_a_stream_with_more_or_less_behind_is_refused(coder: str) -> None:
    q = np.rint(like_a_field((3, 32, 32), 200, 9)).astype(np.int32)
    layout = layout_of(q.shape)
    data = encode(q, layout, coder=coder)
    for wrong in (data[: len(data) // 2], data + bytes(range(1, 40)), b"\xff" * 9):
        with pytest.raises(CorruptDataError, match=f"{len(wrong)} bytes|more bytes|integer"):
            decode(wrong, layout, coder=coder)


def test_constants_are_those_of_the_format() -> None:
    digest = hashlib.sha256()
    tables = [family.FAMILY, family.DEFAULT, family.BIN_OF, priors.SQUASH, priors.STRETCH]
    tables += [priors.LOGARITHM, priors.LEVEL, priors.RECIPROCAL, priors.PACE, priors.PRIOR]
    for table in tables:
        digest.update(np.ascontiguousarray(table, "<i8").tobytes())
    assert (family.FAMILY.sum(axis=1) == 2**family.PRECISION).all()
    assert family.FAMILY.min() > 0
    assert digest.hexdigest()[:32] == "6c23b8fa5f7fdb678cbf77b74e84a301"


def same_bytes() -> str:
    """Digest of what everything makes of a few arrays; run in a process of its own, too."""
    digest = hashlib.sha256()
    for shape, back in (((4, 11, 19), 2), ((6, 9, 10), 3), ((1, 1, 40), 2), ((3, 16, 8), 1)):
        y, x = np.indices(shape[1:])
        z = np.arange(shape[0])[:, None, None]
        wave = (z * 7919 + y * 104729 + x * 1299709) % 1009 - 504
        scaled = (wave / 2.0 ** np.minimum(3 + (y + x) // 2, 12)).astype(np.float32)
        scaled[0, 0, 0] = 2.0**31 - 256
        q = np.trunc(scaled.astype(float)).astype(np.int32)
        layout = Layout(shape, back, np.arange(shape[0]) % 3, np.minimum((y + x) // 3, 15), y + x)
        for coder in ("static", "mixing"):
            data = encode(q, layout, coder=coder)
            assert np.array_equal(decode(data, layout, coder=coder), q)
            digest.update(data)
        digest.update(refine(scaled, q, layout, 0.1).tobytes())
        digest.update(repr(estimate(q, layout)).encode())
    return digest.hexdigest()[:32]


_ALONE = """
import hashlib, warnings
import numpy as np
warnings.simplefilter("error")
from xphys.coding.entropy import Layout, decode, encode, estimate, refine
{function}
print(same_bytes())
"""


def test_bytes_are_those_of_the_format() -> None:
    assert same_bytes() == "8fa3d4e8af42d95f96d77eaa2a832c28"


def test_kernels_that_are_not_compiled_make_the_same_bytes() -> None:
    # they are plain Python then, where an overflow would be a warning
    program = _ALONE.format(function=inspect.getsource(same_bytes))
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.strip() == "8fa3d4e8af42d95f96d77eaa2a832c28"


def test_importing_the_names_brings_no_compiler() -> None:
    program = "import sys, xphys.coding, xphys.coding.entropy; print('numba' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_wrong_arguments_are_named() -> None:
    layout = layout_of((2, 3, 4))
    good = np.zeros((2, 3, 4), np.int32)
    for bad in (good.astype(np.int64), good[:1]):
        with pytest.raises(ValueError, match="expected int32 of shape"):
            encode(bad, layout, coder="static")
    with pytest.raises(ValueError, match="2\\^31"):
        encode(np.full((2, 3, 4), -(2**31), np.int32), layout, coder="static")
    with pytest.raises(ValueError, match="expected a coder"):
        decode(b"", layout, coder="none")
    with pytest.raises(ValueError, match="expected float32"):
        refine(good, good, layout, 0.1)
    with pytest.raises(ValueError, match="spatial_class"):
        Layout((2, 3, 4), 2, np.zeros(2), np.full((3, 4), 16))
    with pytest.raises(ValueError, match="from 1 on"):
        Layout((2, 0, 4), 2, np.zeros(2), np.zeros((0, 4)))
