"""Bases: norms are kept, everything comes back, waves and steps land where they should."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from xphys.coding.bases import Kind, Plan, _halves, _rotate, arrange, fit, orthonormal, wavelet
from xphys.coding.bases.orthogonal import pair
from xphys.coding.bases.wavelet import cascade, inverse_cascade, lengths

SINGLE = [k for k in Kind if k is not Kind.MODES]
SHAPES = [(1,), (2,), (3,), (53,), (64,), (7, 5), (16, 9), (3, 31, 8), (4, 16, 24), (2, 3, 17, 12)]


def _noise(shape: tuple[int, ...], dtype: str = "f8") -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 9, 10, 13, 24, 31, 64, 65, 241])
@pytest.mark.parametrize("kind", SINGLE)
def test_one_axis_comes_back(kind: Kind, n: int) -> None:
    x = _noise((3, n, 2))
    plan = Plan((Kind.NONE, kind, Kind.NONE))
    c = plan.forward(x.copy())
    assert np.abs(plan.inverse(c.copy(), c.shape) - x).max() < 1e-12
    if plan.orthonormal(x.shape):
        assert np.sum(c**2) == pytest.approx(np.sum(x**2), rel=1e-12)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_combinations_come_back(shape: tuple[int, ...], dtype: str) -> None:
    x = _noise(shape, dtype)
    close = 2e-5 if dtype == "f4" else 1e-13
    for kinds in itertools.islice(itertools.product(SINGLE, repeat=len(shape)), 0, None, 5):
        plan = Plan(kinds)
        c = plan.forward(x.copy())
        y = plan.inverse(c.copy(), c.shape)
        assert c.dtype == y.dtype == x.dtype
        assert np.abs(y - x).max() < close, kinds
        if plan.orthonormal(shape):
            assert np.sum(c**2) == pytest.approx(np.sum(x**2), rel=1e-5), kinds


def test_wavelets_are_matrices_with_orthonormal_rows() -> None:
    for n, wraps in ((16, False), (40, False), (16, True), (48, True)):
        matrix = cascade(np.eye(n), (1,), (wraps,))
        assert np.allclose(matrix @ matrix.T, np.eye(n), atol=1e-12)


def test_wavelets_of_an_odd_number_of_points_are_nearly_orthonormal() -> None:
    matrix = cascade(np.eye(33), (1,), (False,))
    values = np.linalg.svd(matrix, compute_uv=False)
    assert 0.6 < values.min() <= values.max() < 1.5
    assert np.median(values) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("wraps", [False, True])
def test_details_of_smooth_signals_vanish(wraps: bool) -> None:
    x = np.cos(2 * np.pi * (np.arange(64) + 0.5) / 64)
    c = cascade(x.copy(), (0,), (wraps,))
    assert np.abs(c[32:]).max() < 2e-6
    assert np.sum(c[:8] ** 2) > 0.99 * np.sum(x**2)


@pytest.mark.parametrize("wraps", [False, True])
def test_wavelets_are_local(wraps: bool) -> None:
    c = np.zeros(128)
    c[80] = 1.0
    x = inverse_cascade(c, (0,), (wraps,))
    near = np.sort(np.abs(x))[::-1]
    assert np.sum(near[:12] ** 2) > 0.99
    assert abs(int(np.argmax(np.abs(x))) - 33) <= 2


def _kernels(*names: str) -> Iterator[tuple[Callable[..., None], ...]]:
    """Compiled functions, then the same with the compiler off."""
    with pytest.MonkeyPatch.context() as patch:
        yield tuple(getattr(_halves, n) for n in names)
        for name, kernel in vars(_halves).items():
            if hasattr(kernel, "py_func"):
                patch.setattr(_halves, name, kernel.py_func)
        yield tuple(getattr(_halves, n) for n in names)


@pytest.mark.parametrize("inner", [1, 3])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_mirrored_halves_do_not_depend_on_the_compiler(dtype: str, inner: int) -> None:
    for m in (8, 9, 16, 23):
        x = _noise((2, m, inner), dtype)
        theta = np.arange((m - 1) // 2) * 0.1
        cos, sin = np.cos(theta).astype(dtype), np.sin(theta).astype(dtype)
        made = []
        for split, join in _kernels("split_mirrored", "join_mirrored"):
            parts, whole = np.empty_like(x), x.copy()
            split(x, cos, sin, parts)
            join(whole, cos, -sin)
            back = parts.copy()
            join(back, cos, -sin)
            assert np.allclose(back, x, atol=1e-6)
            made.append((parts, whole))
        for compiled, plain in zip(*made, strict=True):
            assert np.array_equal(compiled, plain)


@pytest.mark.parametrize("inner", [1, 3])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_wave_halves_do_not_depend_on_the_compiler(dtype: str, inner: int) -> None:
    complex_type, root = np.result_type(dtype, np.complex64), np.sqrt(2).astype(dtype)
    for m in (8, 12, 14, 32):
        half, theta = m // 2, np.arange(m // 4 + 1) * (2 * np.pi / m)
        cos, sin = np.cos(theta).astype(dtype), np.sin(theta).astype(dtype)
        phase = np.exp(1j * theta).astype(complex_type)
        turn = np.stack([phase.real, -phase.imag])
        modes = (_noise((2, half + 1, inner)) + 1j * _noise((2, half + 1, inner))).astype(
            phase.dtype
        )
        made = []
        for split, join in _kernels("split_waves", "join_waves"):
            low, fine = np.empty((2, 2, half // 2 + 1, inner), complex_type)
            split(modes, cos, sin, phase, low, fine)
            whole = _noise((2, m, inner), dtype)
            join(whole, cos, sin, turn, root)
            made.append((low, fine, whole))
        for compiled, plain in zip(*made, strict=True):
            assert np.allclose(compiled, plain, rtol=1e-6, atol=1e-6)


def test_marks_of_what_holds_anything() -> None:
    for (busy,) in _kernels("busy"):
        x, marks = np.zeros((4, 3, 5, 2), "f4"), np.zeros(4, bool)
        x[1, 2, 4, 1], x[2, 0, 0, 0], x[3] = 1e-30, np.nan, -0.0
        busy(x[:, ::2], marks)
        assert marks.tolist() == [False, True, True, False]


def test_a_level_at_once_is_what_its_parts_are(monkeypatch: pytest.MonkeyPatch) -> None:
    for periodic in itertools.product((False, True), repeat=2):
        c = _noise((3, 32, 24), "f4")
        c[1, 16:] = c[2, :, 12:] = 0  # some have no details
        made = []
        for few in (0, 2**20):
            monkeypatch.setattr(wavelet, "_FEW", few)
            made.append(inverse_cascade(c.copy(), (1, 2), periodic))
        assert np.array_equal(*made)


def test_series_and_products_do_not_depend_on_the_compiler() -> None:
    rng = np.random.default_rng(7)
    for n in (1, 2, 7, 8):
        modes = rng.standard_normal((2, n // 2 + 1, 6)).astype("f4")
        c, waves = (rng.standard_normal(s).astype("f4") for s in ((2, n, 3), (2, n, 2, n, 3)))
        results = []
        for plain in (False, True):
            pack, unpack, join, combine = (
                f.py_func if plain else f
                for f in (_rotate.pack, _rotate.unpack, _rotate.plane_waves, _rotate.combine)
            )
            packed, back, product = np.empty_like(c), np.zeros_like(modes), np.zeros_like(c)
            pack(modes, np.float32(0.7), packed)
            unpack(c[:, : n - (n > 2)], n, np.float32(0.7), back)
            joined = waves.copy()
            join(joined, np.float32(0.7))
            combine(c[0, :, :1] @ np.ones((1, n), "f4"), c, product)
            results.append((packed, back, joined, product))
        for compiled, reference in zip(*results, strict=True):
            assert np.array_equal(compiled, reference)


@pytest.mark.parametrize("kind", SINGLE)
def test_a_corner_stands_for_all_where_the_rest_is_zero(kind: Kind) -> None:
    for shape in ((9, 16, 12), (24, 31, 8)):
        plan = Plan((Kind.COSINE, kind, kind))
        c = np.zeros(shape, "f4")
        c[:2, :6, :3] = _noise((2, 6, 3), "f4")
        room = plan.room((2, 6, 3), shape)
        corner = np.ascontiguousarray(c[tuple(slice(0, n) for n in room)])
        assert np.allclose(plan.inverse(corner.copy(), shape), plan.inverse(c, shape), atol=1e-5)


def test_lengths() -> None:
    assert lengths((241, 480), (False, True))[-1] == (8, 15)
    assert lengths((7,), (False,)) == [(7,)]
    assert lengths((9,), (True,)) == [(9,)]


def test_an_oblique_wave_is_one_coefficient() -> None:
    y, x = np.meshgrid(np.arange(16), np.arange(20), indexing="ij")
    for sign in (1, -1):
        wave = np.cos(2 * np.pi * (3 * y / 16 + sign * 2 * x / 20))
        c = Plan((Kind.FOURIER, Kind.FOURIER)).forward(wave)
        assert np.sum(np.abs(c) > 1e-9) == 1


def test_pairing_is_its_own_inverse() -> None:
    for shape in ((1, 1), (2, 3), (8, 7), (3, 9, 10)):
        c = _noise(shape)
        twice = c.copy()
        pair(twice, 0, len(shape) - 1)
        assert np.sum(twice**2) == pytest.approx(np.sum(c**2))
        pair(twice, 0, len(shape) - 1)
        assert np.allclose(twice, c)


def test_modes_hold_what_has_few_of_them() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((20, 3)) @ rng.standard_normal((3, 500))
    rounded = fit(x, 1e-3, 1e-6)
    rows = orthonormal(rounded)
    assert rows.shape == (3, 20)
    assert np.allclose(rows @ rows.T, np.eye(3), atol=1e-14)
    assert np.abs(rows.T @ (rows @ x) - x).max() < 0.05


def test_modes_that_depend_on_each_other_become_zero() -> None:
    rounded = np.array([[3, 1, 0], [6, 2, 0], [0, 0, 5], [0, 0, 0]], np.int32)
    rows = orthonormal(rounded)
    assert np.allclose(rows[[1, 3]], 0)
    assert np.allclose(np.sum(rows[[0, 2]] ** 2, axis=1), 1)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_planes_hold_every_coefficient_once(shape: tuple[int, ...]) -> None:
    c = np.arange(np.prod(shape)).reshape(shape)
    for kinds in itertools.islice(itertools.product(Kind, repeat=len(shape)), 0, None, 7):
        if kinds.count(Kind.MODES) > 1:
            continue
        planes = arrange(Plan(kinds), shape)
        q = planes.to_planes(c)
        assert q.shape == planes.layout.shape
        assert np.array_equal(planes.from_planes(planes.corner(q, shape, shape)), c)


def test_short_axes_are_planes() -> None:
    plan = Plan((Kind.FOURIER, Kind.FOURIER, Kind.NONE))
    assert arrange(plan, (64, 32, 3)).layout.shape == (3, 64, 32)
    assert arrange(Plan((Kind.NONE,) * 4), (4, 32, 16, 24)).layout.back == 32
