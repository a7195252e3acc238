"""Invariants survive: sums and energies to 1e-12, signs, shells of wavenumbers."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xphys import codecs, io
from xphys._streams import Reader
from xphys.codecs import wrapped
from xphys.coding import Bounds, Request, decode_chunk, encode_chunk, read_header
from xphys.coding.preserve import NAMES, Preserve, apply
from xphys.coding.preserve._packed import read_numbers, write_numbers
from xphys.coding.preserve._spectrum import Shells
from xphys.coding.preserve._sums import settle
from xphys.errors import BoundError, CorruptDataError, SchemaError, UnknownNameError

METHOD = "bitround" if "bitround" in wrapped.CODECS else "transform"
ROLES = ("time", "space", "space")


def _turbulence(shape: tuple[int, ...] = (6, 48, 48), offset: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(3)
    series = np.fft.rfftn(rng.standard_normal(shape), axes=(-2, -1))
    ky, kx = np.fft.fftfreq(shape[-2])[:, None], np.fft.rfftfreq(shape[-1])
    series /= (0.03 + np.hypot(ky, kx)) ** 2.5
    x = np.fft.irfftn(series, shape[-2:], axes=(-2, -1))
    return np.asarray(x / x.std() + offset, np.float32)


def _drift(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Largest drift of sum and energy of a step, by exact sums."""
    means, energies = [], []
    for a, b in zip(x.astype(np.float64), y.astype(np.float64), strict=True):
        a, b = a.reshape(-1), b.reshape(-1)
        means.append(abs(math.fsum(b) - math.fsum(a)) / math.fsum(np.abs(a)))
        energies.append(abs(math.fsum(b**2) - math.fsum(a**2)) / math.fsum(a**2))
    return max(means), max(energies)


def _code(x: np.ndarray, *names: str, bounds: Bounds | None = None, method: str = METHOD) -> bytes:
    bounds = bounds or Bounds(vrmse=1e-2)
    return encode_chunk(x, Request(method, bounds, ROLES, preserve=Preserve(names)))


@pytest.mark.parametrize("offset", [0.0, 1.0, 300.0])
@pytest.mark.parametrize("dtype", ["f4", "f8", ">f4"])
@pytest.mark.parametrize("bounds", [Bounds(vrmse=1e-1), Bounds(vrmse=1e-2, max_abs=0.05)])
def test_mean_and_energy(offset: float, dtype: str, bounds: Bounds) -> None:
    x = _turbulence(offset=offset).astype(dtype)
    data = _code(x, "mean", "energy", bounds=bounds)
    assert {b.method for b in read_header(data).blocks} != {0}
    y = decode_chunk(data)
    mean, energy = _drift(x, y)
    assert mean <= 1e-12
    assert energy <= 1e-12
    assert np.sqrt(((y - x.astype("f8")) ** 2).mean()) <= bounds.vrmse * x.std(dtype="f8")  # type: ignore[operator]
    if bounds.max_abs:
        assert np.abs(y - x.astype("f8")).max() <= bounds.max_abs
    plain = _drift(x, decode_chunk(encode_chunk(x, Request(METHOD, bounds, ROLES))))
    assert max(plain) > 1e-7


def test_it_costs_a_few_bytes_a_step() -> None:
    x = _turbulence((24, 48, 48))
    plain = len(encode_chunk(x, Request(METHOD, Bounds(vrmse=1e-2), ROLES)))
    assert len(_code(x, "mean")) <= plain + 24 * 8 + 16
    assert len(_code(x, "mean", "energy")) <= plain + 24 * 16 + 32


@pytest.mark.parametrize("n", [8, 16, 32])
def test_small_fields_without_small_values_are_kept_too(n: int) -> None:
    t, at = np.arange(64) / 10.0, np.arange(n) / n
    x = np.sin(2 * np.pi * (at[:, None] + at - 0.1 * t[:, None, None]))
    x += 0.01 * np.random.default_rng(0).standard_normal(x.shape)
    x = x.astype(np.float32)
    free = len(encode_chunk(x, Request("transform", Bounds(vrmse=1e-2), ROLES)))
    data = _code(x, "mean", "energy", method="transform")
    assert len(data) < free + 25 * len(x)  # a field now and then is exact: 100 to 2,000 bytes
    assert max(_drift(x, decode_chunk(data))) <= 1e-12


def test_mean_of_points_beside_nan_and_fill_values() -> None:
    x = _turbulence()
    x[:, :4], x[2, 10, 10] = 1e20, np.nan
    y = decode_chunk(_code(x, "mean", "energy"))
    sea = np.isfinite(x) & (x < 1e19)
    assert (y[~sea].view("u4") == x[~sea].view("u4")).all()
    for a, b, free in zip(x, y, sea, strict=True):
        drift, energy = _drift(a[free][None], b[free][None])
        assert drift <= 1e-12
        assert energy <= 1e-12


@pytest.mark.parametrize("sign", [1, -1])
def test_positivity(sign: int) -> None:
    x = (sign * np.exp(2 * _turbulence())).astype(np.float32)
    bounds = Bounds(vrmse=1e-1)
    y = decode_chunk(_code(x, "positivity", "mean", bounds=bounds))
    assert (y * sign > 0).all()
    assert _drift(x, y)[0] <= 1e-12
    zero = np.where(x * sign > 1, x, 0)
    assert (decode_chunk(_code(zero, "positivity", bounds=bounds)) * sign >= 0).all()


def test_positivity_costs_nothing_where_signs_change() -> None:
    x = _turbulence()
    y = decode_chunk(_code(x, "positivity"))
    assert (y < 0).any()
    assert (y > 0).any()


@pytest.mark.parametrize("tolerance", [0.05, 0.2])
@pytest.mark.parametrize("bound", [1e-1, 1e-2])
def test_spectrum(tolerance: float, bound: float) -> None:
    x = _turbulence()
    kept = Preserve(("spectrum", "energy"), tolerance)
    request = Request(METHOD, Bounds(vrmse=bound), ROLES, preserve=kept)
    y = decode_chunk(encode_chunk(x, request))
    shells = Shells((48, 48), (48.0, 48.0), tolerance)
    for a, b in zip(x.astype("f8"), y.astype("f8"), strict=True):
        wanted, found = shells.energies(a), shells.energies(b)
        counted = np.flatnonzero(wanted > 1e-10 * wanted[1:].sum())
        counted = counted[counted > 0]
        assert np.abs(found / wanted - 1)[counted].max() <= tolerance
    assert np.sqrt(((y - x) ** 2).mean()) <= bound * x.std()
    assert _drift(x, y)[1] <= 1e-12


def test_shells_hold_all_energy() -> None:
    for shape in ((16, 15), (9,), (8, 6, 7)):
        x = np.random.default_rng(0).standard_normal(shape)
        energies = Shells(shape, tuple(map(float, shape)), 0.05).energies(x)
        assert energies.sum() == pytest.approx((x**2).sum() * x.size, rel=1e-12)


def test_noise_fills_what_was_lost() -> None:
    shells = Shells((32, 32), (32.0, 32.0), 0.05)
    wanted = shells.energies(np.random.default_rng(0).standard_normal((32, 32)))
    field = np.zeros((32, 32))
    gains = shells.gains(wanted, shells.energies(field))
    found = shells.energies(shells.apply(field, gains, wanted))
    assert np.allclose(found[1:], wanted[1:], rtol=1e-6)


def test_small_and_odd_shapes_are_kept_too() -> None:
    rng = np.random.default_rng(0)
    for shape in ((1,), (5,), (2, 1), (3, 5, 7, 2), (4, 3, 3)):
        x = (1 + rng.standard_normal(shape)).astype("f4")
        kept = Preserve(("mean", "energy", "positivity", "spectrum"))
        y = decode_chunk(encode_chunk(x, Request(METHOD, Bounds(vrmse=1e-1), preserve=kept)))
        axes = Request().resolved(len(shape)).fields
        drift = np.abs((y.astype("f8") - x).sum(axis=axes))
        assert (drift <= 1e-12 * np.abs(x.astype("f8")).sum(axis=axes)).all()


def test_integers_are_stored_losslessly() -> None:
    x = (_turbulence() * 1000).astype(np.int16)
    assert (decode_chunk(_code(x, "mean")) == x).all()


@pytest.mark.parametrize("n", [256, 4096])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_settling_adds_no_error(n: int, dtype: str) -> None:
    rng = np.random.default_rng(n)
    x = rng.standard_normal(n).astype(dtype)
    y = (x + 1e-2 * rng.standard_normal(n)).astype(dtype)
    wide = np.ldexp(x.astype("f8"), -2)
    total = math.fsum(wide)
    energy = math.fsum((wide - total / n) ** 2)
    out = y.copy()
    assert settle(out, np.ones(n, bool), 2, total, energy, None)
    assert max(_drift(x[None], out[None])) <= 1e-12
    assert ((out - x) ** 2).sum() <= 1.001 * ((y - x) ** 2).sum()
    held = np.arange(n) % 3 > 0
    out = np.where(held, y, x)
    settle(out, held, 2, math.fsum(wide[held]), None, None)
    assert (out[~held] == x[~held]).all()


@given(
    st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=1, max_size=40),
    st.floats(1e-3, 1e6),
    st.sampled_from([0.0, 1e-3, 10.0]),
)
@settings(max_examples=80, deadline=None)
def test_numbers_come_back(values: list[float], scale: float, away: float) -> None:
    numbers = np.array(values)
    scales = np.full(numbers.size, scale)
    rng = np.random.default_rng(0)
    near = numbers + away * rng.uniform(-1, 1, numbers.size)
    data = write_numbers(numbers, scales, near)
    elsewhere = near + 2e-7 * scale * rng.uniform(-1, 1, numbers.size)
    back = read_numbers(Reader(data), elsewhere)
    assert (np.abs(back - numbers) <= 7.6e-13 * scale + 1e-15 * np.abs(numbers)).all()


def test_numbers_that_barely_change_take_few_bytes() -> None:
    rng = np.random.default_rng(0)
    far = np.zeros(64)
    data = write_numbers(100 + 1e-12 * rng.standard_normal(64), np.full(64, 100.0), far)
    assert len(data) < 64
    numbers = 100 + rng.standard_normal(64)
    data = write_numbers(numbers, np.full(64, 100.0), numbers + 1e-6)
    assert len(data) < 64 * 3.5


@given(st.binary(max_size=120))
@settings(max_examples=300, deadline=None)
def test_random_corrections_are_refused_or_harmless(data: bytes) -> None:
    y = np.ones((4, 6, 6), np.float32)
    try:
        apply(Reader(data), y, None, 0)
    except CorruptDataError:
        return
    assert y.shape == (4, 6, 6)


def test_a_flipped_bit_is_seen() -> None:
    data = bytearray(_code(_turbulence(), "mean", "energy", "spectrum"))
    rng = np.random.default_rng(0)
    for bit in rng.choice(len(data) * 8, 60, replace=False):
        data[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptDataError):
            decode_chunk(bytes(data))
        data[bit // 8] ^= 1 << bit % 8


def test_names_and_json() -> None:
    kept = Preserve(("energy", "mean"), 0.1, (1.0, 2.0, 3.0))
    assert kept.names == ("mean", "energy")
    request = Request("transform", Bounds(vrmse=1e-2), preserve=Preserve(NAMES, 0.1, (1.0, 2.0)))
    assert Request.from_dict(request.to_dict()) == request
    with pytest.raises(UnknownNameError, match="known are mean"):
        Preserve(("charm",))
    with pytest.raises(BoundError, match="tolerance"):
        Preserve(("spectrum",), 2.0)


def test_compress_and_read_a_store(tmp_path: Path) -> None:
    x = _turbulence((40, 24, 24))
    density = np.exp(_turbulence((40, 24, 24)))
    ds = xr.Dataset(
        {"u": (("time", "y", "x"), x), "rho": (("time", "y", "x"), density)},
        coords={"x": np.linspace(0, 1, 24), "y": np.linspace(0, 1, 24)},
    )
    c = codecs.compress(
        ds,
        vrmse=3e-2,
        method=METHOD,
        preserve={"mean": None, "energy": None, "positivity": None, "spectrum": 0.1},
        chunks={"time": 16},
    )
    io.to_zarr(c, tmp_path / "c.zarr")
    back = io.open(tmp_path / "c.zarr")
    for name in ("u", "rho"):
        assert max(_drift(ds[name].values, back[name].values)) <= 1e-12
    assert (back["rho"] > 0).all()
    assert back["u"].identical(c["u"].compute()) or (back["u"] == c["u"]).all()


def test_mistakes_of_callers() -> None:
    ds = xr.Dataset({"u": (("time", "y", "x"), _turbulence())})
    with pytest.raises(UnknownNameError, match="cannot preserve"):
        codecs.compress(ds, preserve="charm")
    with pytest.raises(BoundError, match="tolerance of its own"):
        codecs.compress(ds, preserve={"mean": 1e-3})
    with pytest.raises(SchemaError, match="needs whole fields"):
        codecs.compress(ds, preserve="spectrum", chunks={"y": 12})
