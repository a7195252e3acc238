"""Vectors keep momentum and stay free of divergence: measured with numpy on what a store gives."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import xphys
from xphys.codecs import AutoOptions, compress
from xphys.coding import decode_chunk, read_header
from xphys.coding.predict import bases_of
from xphys.coding.preserve import Setup, correct_together, restore_together
from xphys.coding.preserve._moves import Goal, bring
from xphys.coding.preserve._operators import Divergence
from xphys.coding.preserve._packed import read_numbers, snapped, write_numbers
from xphys.errors import CorruptDataError, SchemaError

N, STEPS = 24, 4
KEPT = ("mean", "energy", "momentum", "divergence_free")


def _periodic(name: str, n: int = N) -> tuple[str, np.ndarray, dict[str, object]]:
    return name, (np.arange(n) + 0.5) / n, {"boundary": "periodic", "period": 1.0}


def _potential(rng: np.random.Generator, shape: tuple[int, ...], slope: float = 3.0) -> np.ndarray:
    """Modes of periodic fields with a power-law spectrum."""
    axes = tuple(range(1, len(shape)))
    k = np.meshgrid(*(np.fft.fftfreq(n) * n for n in shape[1:]), indexing="ij")
    size = np.sqrt(sum(a * a for a in k))
    keep = np.all([np.abs(2 * a) < n for a, n in zip(k, shape[1:], strict=True)], axis=0)
    weight = np.where((size > 0) & keep, np.where(size > 0, size, 1.0) ** -slope, 0.0)
    return np.fft.fftn(rng.standard_normal(shape), axes=axes) * weight


def _faces(values: np.ndarray, along: int, across: int) -> np.ndarray:
    ahead = np.roll(values, -1, along) - values
    return (np.roll(ahead, -1, across) + ahead) / 2 * values.shape[along]


def _wave(modes: np.ndarray, axis: int) -> np.ndarray:
    n = modes.shape[axis]
    k = 2j * np.pi * np.fft.fftfreq(n) * n
    return modes * k.reshape((-1,) + (1,) * (modes.ndim - 1 - axis))


def _vector(name: str, values: dict[str, np.ndarray], dims: tuple[str, ...]) -> dict[str, object]:
    return {
        f"{name}_{c}": (dims, v.astype(np.float32), {"vector": name, "component": c})
        for c, v in values.items()
    }


@pytest.fixture(scope="module")
def magnetic() -> xr.Dataset:
    """A field without divergence between cell faces, and a flow that is compressed."""
    rng = np.random.default_rng(0)
    a = np.fft.ifft2(_potential(rng, (STEPS, N, N))).real
    # both are differences of one potential between corners
    b = {
        "x": -np.roll(_faces(a, 1, 2), (1, 1), (1, 2)),
        "z": np.roll(_faces(a, 2, 1), (1, 1), (1, 2)),
    }
    size = np.std(b["x"])
    b = {c: v / size + 0.3 for c, v in b.items()}
    v = {c: np.fft.ifft2(_potential(rng, (STEPS, N, N), 2.0)).real for c in "xyz"}
    v = {c: u / u.std() for c, u in v.items()}
    density = np.exp(0.5 * v["x"] + 0.2 * v["y"]).astype(np.float32)
    dims = ("time", "z", "x")
    fields = _vector("magnetic_field", b, dims) | _vector("velocity", v, dims)
    return xr.Dataset(
        fields | {"density": (dims, density)},
        {"time": np.arange(float(STEPS)), "z": _periodic("z"), "x": _periodic("x")},
    )


def _store(ds: xr.Dataset, path: Path, **options: object) -> xr.Dataset:
    xphys.io.to_zarr(compress(ds, **options), path)  # type: ignore[arg-type]
    return xr.open_zarr(path).load()


def _vrmse(x: xr.DataArray, y: xr.DataArray) -> float:
    wide = x.values.astype(np.float64)
    return float(np.sqrt(((y.values - wide) ** 2).mean()) / wide.std())


def _corners(ds: xr.Dataset, vector: str, central: bool = False) -> np.ndarray:
    """Divergence of the (z, x) components, by rolling."""
    z, x = (ds[f"{vector}_{c}"].values.astype(np.float64) for c in "zx")
    if central:
        slopes = ((np.roll(v, -1, a) - np.roll(v, 1, a)) * N / 2 for v, a in ((z, 1), (x, 2)))
        return np.asarray(sum(slopes))
    return _faces(z, 1, 2) + _faces(x, 2, 1)


def _levels(divergence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    space = tuple(range(1, divergence.ndim))
    return np.sqrt((divergence**2).mean(axis=space)), np.abs(divergence).max(axis=space)


def _check_sums(x: xr.Dataset, y: xr.Dataset, weights: np.ndarray | None = None) -> None:
    for name in x.data_vars:
        a, b = (d[name].values.astype(np.float64) for d in (x, y))
        space = tuple(range(1, a.ndim))
        assert (np.abs(b.sum(space) - a.sum(space)) <= 1e-12 * np.abs(a).sum(space)).all()
        assert (np.abs((b * b).sum(space) / (a * a).sum(space) - 1) <= 1e-12).all()
        if weights is not None and x[name].attrs.get("vector") == "velocity":
            p, q = a * weights, b * weights
            assert (np.abs(q.sum(space) - p.sum(space)) <= 1e-12 * np.abs(p).sum(space)).all()


@pytest.mark.parametrize("together", [True, False])
def test_all_at_once(magnetic: xr.Dataset, tmp_path: Path, together: bool) -> None:
    options = AutoOptions(together=together)
    y = _store(magnetic, tmp_path / "c", vrmse=1e-2, preserve=KEPT, options=options)
    plain = _store(magnetic, tmp_path / "p", vrmse=1e-2, options=options)
    _check_sums(magnetic, y)
    for name in magnetic.data_vars:
        assert y[name].dtype == np.float32
        assert _vrmse(magnetic[name], y[name]) <= 1e-2
    for vector, central in (("magnetic_field", False), ("velocity", True)):
        before, after, without = (_corners(d, vector, central) for d in (magnetic, y, plain))
        for level, found in zip(_levels(before), _levels(after), strict=True):
            assert (found <= level * (1 + 1e-6)).all()
        if vector == "magnetic_field":
            assert _levels(without)[0].min() > 1e3 * _levels(before)[0].max()
    for part in "xyz":
        a = magnetic["density"].astype("f8") * magnetic[f"velocity_{part}"].astype("f8")
        b = y["density"].astype("f8") * y[f"velocity_{part}"].astype("f8")
        lost = np.abs((b - a).sum(("z", "x"))) / np.abs(a).sum(("z", "x"))
        assert float(lost.max()) <= 1e-12


def test_it_costs_little(magnetic: xr.Dataset, tmp_path: Path) -> None:
    ds = magnetic[["magnetic_field_x", "magnetic_field_z"]]
    options = AutoOptions(together=False)
    plain = compress(ds, vrmse=1e-2, options=options)
    xphys.io.to_zarr(plain, tmp_path / "p")
    xphys.io.to_zarr(
        compress(ds, vrmse=1e-2, options=options, preserve="divergence_free"), tmp_path / "c"
    )
    sizes = {
        k: sum(
            p.stat().st_size for n in ds for p in (tmp_path / k / n / "c").rglob("*") if p.is_file()
        )
        for k in "pc"
    }
    # what the projection takes off need not be coded
    assert sizes["c"] <= sizes["p"] + 100


def test_three_dimensions_and_parts(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    n, dims = 12, ("time", "z", "y", "x")
    a = [_potential(rng, (3, n, n, n), 2.5) for _ in range(3)]  # along z, y, x
    u = {
        "x": _wave(a[0], 2) - _wave(a[1], 1),
        "y": _wave(a[2], 1) - _wave(a[0], 3),
        "z": _wave(a[1], 3) - _wave(a[2], 2),
    }
    values = {c: np.fft.ifftn(v, axes=(1, 2, 3)).real for c, v in u.items()}
    ds = xr.Dataset(
        _vector("velocity", values, dims),
        {"time": np.arange(3.0)} | {d: _periodic(d, n) for d in dims[1:]},
    )
    y = _store(ds, tmp_path / "c", vrmse=1e-2, preserve=("divergence_free", "energy"))
    _check_sums(ds, y)

    def spectral(d: xr.Dataset) -> np.ndarray:
        total = np.zeros((3, n, n, n), complex)
        for i, dim in enumerate(dims[1:]):
            modes = np.fft.fftn(d[f"velocity_{dim}"].values.astype("f8"), axes=(1, 2, 3))
            k = np.fft.fftfreq(n) * n
            k[n // 2] = 0
            total += modes * (2j * np.pi * k).reshape((-1,) + (1,) * (2 - i))
        return np.fft.ifftn(total, axes=(1, 2, 3)).real

    for level, found in zip(_levels(spectral(ds)), _levels(spectral(y)), strict=True):
        assert (found <= level * (1 + 1e-6)).all()
    # a part of one component needs the others, and gives the same
    part = xr.open_zarr(tmp_path / "c")["velocity_y"][1:2, 3, :, 2].values
    assert (part == y["velocity_y"].values[1:2, 3, :, 2]).all()


def test_between_walls(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    nz, nx = 20, 24
    nodes = -np.cos(np.pi * (np.arange(nz) + 0.5) / nz)
    x = np.arange(nx) / nx
    u, w = np.zeros((2, 3, nz, nx))
    for m in range(1, 5):
        size = rng.standard_normal((2, 3, 1, 1)) / m
        wave = size[0] * np.cos(2 * np.pi * m * x) + size[1] * np.sin(2 * np.pi * m * x)
        slope = (
            2
            * np.pi
            * m
            * (size[1] * np.cos(2 * np.pi * m * x) - size[0] * np.sin(2 * np.pi * m * x))
        )
        u += (-4 * nodes * (1 - nodes**2))[:, None] * wave
        w -= ((1 - nodes**2) ** 2)[:, None] * slope
    dims = ("time", "z", "x")
    z = ("z", nodes, {"spacing": "chebyshev"})
    ds = xr.Dataset(
        _vector("velocity", {"x": u, "z": w}, dims),
        {"time": np.arange(3.0), "z": z, "x": ("x", x, {"boundary": "periodic", "period": 1.0})},
    )
    y = _store(ds, tmp_path / "c", vrmse=1e-2, preserve=("divergence_free", "momentum", "mean"))

    def levels(d: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
        k = 2j * np.pi * np.fft.rfftfreq(nx, 1 / nx)
        k[-1] = 0
        along = np.fft.irfft(np.fft.rfft(d["velocity_x"].values.astype("f8")) * k, nx)
        series = np.linalg.inv(np.polynomial.chebyshev.chebvander(nodes, nz - 1))
        rows = [np.polynomial.chebyshev.chebder(row) for row in np.eye(nz)]
        slopes = np.stack([np.polynomial.chebyshev.chebval(nodes, row) for row in rows], 1)
        across = (slopes @ series) @ d["velocity_z"].values.astype("f8")
        return _levels(along + across)

    for level, found in zip(levels(ds), levels(y), strict=True):
        assert (found <= level * (1 + 1e-6)).all()
    # Fejer's weights: moments of Chebyshev polynomials
    moments = np.array([2 / (1 - k * k) if k % 2 == 0 else 0.0 for k in range(nz)])
    cell = np.linalg.solve(np.polynomial.chebyshev.chebvander(nodes, nz - 1).T, moments)[:, None]
    for name in ds.data_vars:
        for weight in (cell, 1.0):
            a, b = (d[name].values.astype("f8") * weight for d in (ds, y))
            assert (np.abs((b - a).sum((1, 2))) <= 1e-12 * np.abs(a).sum((1, 2))).all()


def test_pointwise_bounds_hold(magnetic: xr.Dataset, tmp_path: Path) -> None:
    ds = magnetic[["magnetic_field_x", "magnetic_field_z"]]
    y = _store(ds, tmp_path / "c", max_abs=2e-2, preserve="divergence_free")
    for name in ds.data_vars:
        assert float(np.abs(y[name] - ds[name]).max()) <= 2e-2
    for level, found in zip(
        *(_levels(_corners(d, "magnetic_field")) for d in (ds, y)), strict=True
    ):
        assert (found <= level * (1 + 1e-6)).all()


def test_what_cannot_be_kept_is_lossless(magnetic: xr.Dataset, tmp_path: Path) -> None:
    ds = magnetic[["magnetic_field_x", "magnetic_field_z"]].copy(deep=True)
    ds["magnetic_field_x"][0, 3, 4] = np.nan
    y = _store(ds, tmp_path / "c", vrmse=1e-2, preserve="divergence_free")
    for name in ds.data_vars:
        assert (y[name].values.view("u4") == ds[name].values.view("u4")).all()


def test_a_changed_component_is_seen(magnetic: xr.Dataset, tmp_path: Path) -> None:
    ds = magnetic[["magnetic_field_x", "magnetic_field_z"]]
    options = AutoOptions(together=False)
    for seed in (0, 1):
        store = tmp_path / str(seed)
        kept = {"preserve": "divergence_free", "options": options}
        _store(
            ds.copy(data={n: v.data * (1 + seed) for n, v in ds.items()}), store, vrmse=1e-2, **kept
        )
    key = Path("magnetic_field_z/c/0/0/0")
    data = (tmp_path / "0" / key).read_bytes()
    assert read_header(data).joined
    assert bases_of(data) == ("magnetic_field_z", "magnetic_field_x")
    with pytest.raises(CorruptDataError, match="expected a chunk of"):
        decode_chunk(data)
    shutil.copy(tmp_path / "1" / key, tmp_path / "0" / key)
    with pytest.raises(Exception, match="changed after it was written"):
        xr.open_zarr(tmp_path / "0")["magnetic_field_x"].load()
    (tmp_path / "0" / key).unlink()
    with pytest.raises(Exception, match="missing"):
        xr.open_zarr(tmp_path / "0")["magnetic_field_x"].load()


def test_flipped_bits_are_seen(magnetic: xr.Dataset, tmp_path: Path) -> None:
    ds = magnetic[["magnetic_field_x", "magnetic_field_z"]]
    _store(ds, tmp_path / "c", vrmse=1e-1, preserve="divergence_free")
    file = tmp_path / "c" / "magnetic_field_z" / "c/0/0/0"
    data = file.read_bytes()
    rng = np.random.default_rng(0)
    for place in [*rng.integers(len(data), size=6), *range(len(data) - 16, len(data), 3)]:
        broken = bytearray(data)
        broken[place] ^= 1 << int(rng.integers(8))
        file.write_bytes(bytes(broken))
        with pytest.raises(CorruptDataError):
            xr.open_zarr(tmp_path / "c")["magnetic_field_z"].load()


def test_nothing_is_computed_before(magnetic: xr.Dataset) -> None:
    import dask

    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("computed")

    with dask.config.set(scheduler=never):
        c = compress(magnetic.chunk(), preserve=KEPT)
        assert c["velocity_x"].shape == magnetic["velocity_x"].shape


def test_mistakes_of_callers(magnetic: xr.Dataset) -> None:
    with pytest.raises(SchemaError, match="component along each"):
        compress(magnetic[["density"]], preserve="divergence_free")
    with pytest.raises(SchemaError, match="components of a velocity"):
        compress(magnetic[["density"]], preserve="momentum")
    with pytest.raises(SchemaError, match="whole fields"):
        compress(magnetic, preserve="divergence_free", chunks={"z": 8})
    bounds = {"magnetic_field_x": 1e-2, "velocity_x": 1e-2, "velocity_z": 1e-2}
    with pytest.raises(SchemaError, match="floating dtype and bounds"):
        compress(magnetic, vrmse=bounds, preserve="divergence_free")
    with pytest.raises(SchemaError, match="positions along"):
        compress(magnetic.drop_vars("z"), preserve="divergence_free")


@pytest.mark.parametrize(
    ("kinds", "stencil", "shape"),
    [
        ("pp", "s", (8, 9)),
        ("pp", "c", (8, 10)),
        ("pp", "f", (7, 8)),
        ("cp", "s", (9, 8)),
        ("oe", "c", (8, 9)),
        ("ppp", "f", (4, 6, 5)),
        ("pop", "s", (6, 5, 4)),
    ],
)
def test_operators(kinds: str, stencil: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    operator = Divergence(shape, kinds, (1.0, 2.0, 3.0)[: len(shape)], stencil)
    v = [rng.standard_normal(shape) for _ in shape]
    d = rng.standard_normal(shape)
    products = [(a * b).sum() for a, b in zip(v, operator.adjoint(d), strict=True)]
    assert (operator.of(v) * d).sum() == pytest.approx(sum(products), rel=1e-10)
    rest = operator.rest(v)
    left = [a - b for a, b in zip(v, rest, strict=True)]
    assert np.abs(operator.of(left)).max() <= 1e-12 * np.abs(operator.of(v)).max()
    assert abs(sum((a * b).sum() for a, b in zip(left, rest, strict=True))) <= 1e-9
    for i, square in enumerate(operator.points):
        point = [np.zeros(shape) for _ in shape]
        point[i][tuple(n // 2 for n in shape)] = 1.0
        wanted = np.broadcast_to(square, shape)[tuple(n // 2 for n in shape)]
        assert (operator.of(point) ** 2).sum() == pytest.approx(wanted, rel=1e-9)


def test_operators_that_are_none() -> None:
    for kinds, stencil in (("pp", "x"), ("cp", "f"), ("zz", "s"), ("oo", "s")):
        with pytest.raises(CorruptDataError):
            Divergence((8, 8), kinds, (1.0, 1.0), stencil)


def test_three_sums_are_met_at_once() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(4096).astype(np.float32).astype(np.float64)
    weights = rng.random(4096)
    v = (x * (1 + 1e-9)).astype(np.float32).astype(np.float64)
    v[::7] += np.spacing(v[::7].astype(np.float32))
    goals = [
        Goal(x.sum(), 2e-13 * np.abs(x).sum()),
        Goal((x * x).sum(), 2e-13 * (x * x).sum(), None, 0.0),
        Goal((weights * x).sum(), 2e-13 * np.abs(weights * x).sum(), weights),
    ]
    assert max(abs(g.missing(v)) for g in goals) > 100
    bring(v, np.dtype(np.float32), 0, goals)
    assert max(abs(g.missing(v)) for g in goals) <= 1
    assert (v.astype(np.float32) == v).all()


def test_snapped_numbers_come_back_whatever_is_known() -> None:
    from xphys._streams import Reader

    rng = np.random.default_rng(0)
    scales = 10.0 ** rng.uniform(-8, 8, 50)
    values = snapped(scales * rng.standard_normal(50), scales)
    for away in (1e-3, 1e-7, 0.0):
        near = values + away * scales * rng.uniform(-1, 1, 50)
        data = write_numbers(values, scales, near, steady=False)
        assert (read_numbers(Reader(data), near) == values).all()


@given(st.binary(max_size=80))
@settings(max_examples=200, deadline=None)
def test_random_corrections_are_refused_or_harmless(data: bytes) -> None:
    raw = [np.ones((2, 6, 6), np.float32), np.zeros((2, 6, 6), np.float32)]
    try:
        made = restore_together(data, raw, None)
    except CorruptDataError:
        return
    assert [m.shape for m in made] == [(2, 6, 6)] * 2


def test_fields_of_zeros_stay_zero() -> None:
    rng = np.random.default_rng(0)
    x = [rng.standard_normal((4, 12, 12)).astype("f4") for _ in range(2)]
    for v in x:
        v[1] = 0
    raw = [v + np.float32(1e-3) for v in x]
    setup = Setup((1, 2), "pp", (1.0, 1.0), True, ("mean", "energy"))
    found = correct_together(x, raw, None, setup)
    assert found is not None
    assert all((v[1] == 0).all() for v in found[1])
