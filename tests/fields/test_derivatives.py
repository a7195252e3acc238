"""Derivatives: exact on modes and polynomials, of the stated order, the same for any chunks."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import xarray as xr

from xphys.errors import SchemaError
from xphys.fields import _kernels as kernels
from xphys.fields import derive
from xphys.fields._kernels import chebyshev_derivative, chebyshev_kind, chebyshev_matrix
from xphys.fields._stencils import differentiate, make_stencil


def refuse(*args, **kwargs):
    raise AssertionError("the graph was computed")


def periodic(name: str, n: int, length: float, falls: bool = False) -> xr.Variable:
    points = np.arange(n) * length / n + 0.3
    return xr.Variable(name, points[::-1] if falls else points, {"period": length})


def roots(n: int) -> np.ndarray:
    return 1 - np.cos(np.pi * (2 * np.arange(n) + 1) / (2 * n))


def extrema(n: int) -> np.ndarray:
    return 1 - np.cos(np.pi * np.arange(n) / (n - 1))


@pytest.mark.parametrize(
    "sizes",
    [{"x": 12}, {"x": 13}, {"y": 15, "x": 8}, {"z": 9, "x": 16}, {"z": 7, "y": 10, "x": 11}],
    ids=str,
)
@pytest.mark.parametrize("falls", [False, True])
def test_gradient_is_exact_for_modes_in_each_number_of_dims(sizes, falls):
    lengths = {"z": 1.5, "y": 3.0, "x": 2 * np.pi}
    coords = {d: periodic(d, n, lengths[d], falls) for d, n in sizes.items()}
    ds = xr.Dataset(coords=coords)
    modes = {d: (n - 1) // 2 for d, n in sizes.items()}  # the highest below Nyquist
    phases = {d: modes[d] * 2 * np.pi / lengths[d] * ds[d] + 0.4 for d in sizes}
    ds["f"] = 1e3 + sum(np.sin(phase) for phase in phases.values())
    result = derive(ds, "gradient_f")
    assert set(result.data_vars) == {f"gradient_f_{d}" for d in sizes}
    for d in sizes:
        k = modes[d] * 2 * np.pi / lengths[d]
        exact = (k * np.cos(phases[d])).broadcast_like(ds.f).transpose(*ds.f.dims)
        np.testing.assert_allclose(result[f"gradient_f_{d}"], exact, atol=2e-12 * 1e3 * k)
        assert f"{d}: spectral" in result[f"gradient_f_{d}"].attrs["method"]


@pytest.mark.parametrize("order", [2, 4, 6])
@pytest.mark.parametrize("grid", ["uniform", "stretched", "random", "periodic"])
def test_finite_differences_have_the_order_they_state(order, grid):
    errors = []
    sizes = (40, 80, 160)
    for n in sizes:
        s = np.linspace(0, 1, n)
        x = {
            "uniform": s,
            "stretched": s + 0.12 * np.sin(2 * np.pi * s) / (2 * np.pi),
            "random": s + np.random.default_rng(n).uniform(-0.2, 0.2, n) / n,
            "periodic": np.arange(n) / n,
        }[grid]
        stencil = make_stencil(
            x, order, uniform=grid in ("uniform", "periodic"), wraps=grid == "periodic"
        )
        k = 2 * np.pi
        result = differentiate(np.exp(np.sin(k * x)), stencil)
        error = result - k * np.cos(k * x) * np.exp(np.sin(k * x))
        errors.append(np.sqrt(np.mean(error**2)))
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert orders[-1] > order - 0.35
    assert orders[-1] < order + 1.3


@pytest.mark.parametrize("order", [2, 4, 6])
def test_finite_differences_are_exact_for_polynomials_up_to_the_ends(order):
    x = np.sort(np.random.default_rng(0).uniform(-1, 1, 11))
    for uniform, points in ((False, x), (False, x[::-1]), (True, np.linspace(0, 1, 11))):
        stencil = make_stencil(points, order, uniform=uniform, wraps=False)
        for power in range(order + 1):
            exact = power * points ** max(power - 1, 0)
            scale = np.abs(stencil.weights).max()
            np.testing.assert_allclose(
                differentiate(points**power, stencil), exact, atol=1e-13 * scale
            )
    assert not differentiate(np.full((2, 11), 1e9), stencil).any()  # a constant, to the last bit


@pytest.mark.parametrize("points", [roots, extrema])
@pytest.mark.parametrize("n", [4, 8, 17, 64, 129])
def test_chebyshev_derivative_is_exact_for_polynomials(points, n):
    x = points(n)
    kind, low, high = chebyshev_kind(x)
    assert kind == points.__name__
    assert (low, high) == pytest.approx((0.0, 2.0), abs=1e-12)
    matrix = chebyshev_matrix(n, kind, high - low)
    for power in range(min(n, 6)):
        exact = power * (x - 1) ** max(power - 1, 0)
        result = chebyshev_derivative(((x - 1) ** power)[None], matrix=matrix)[0]
        np.testing.assert_allclose(result, exact, atol=3e-15 * n**2)
    if n >= 17:
        result = chebyshev_derivative(np.sin(3 * x), matrix=matrix)
        np.testing.assert_allclose(result, 3 * np.cos(3 * x), atol=2e-11)


def test_chebyshev_grids_are_told_apart_from_others():
    assert chebyshev_kind(roots(32)[::-1] * 0.5)[1:] == pytest.approx((1.0, 0.0))
    assert chebyshev_kind(roots(64).astype(np.float32).astype(np.float64))[0] == "roots"
    for other in (np.linspace(0, 1, 32), roots(32) ** 1.01, np.array([0.0, 1.0])):
        assert chebyshev_kind(other) is None


def mixed(dtype="f8") -> xr.Dataset:
    """One axis of each kind: Chebyshev z, open and stretched y, periodic x; two times."""
    z = xr.Variable("z", roots(12), {"spacing": "chebyshev", "boundary": "wall", "units": "m"})
    y = xr.Variable("y", np.linspace(0, 1, 15) ** 1.3, {"boundary": "open", "units": "m"})
    x = periodic("x", 10, 2.0)
    x.attrs["units"] = "m"
    ds = xr.Dataset(coords={"time": [0.0, 1.0], "z": z, "y": y, "x": x})
    t = 1 + ds.time
    shape = np.sin(np.pi * ds.x + ds.y) * np.exp(ds.z) * (1 + ds.y**2)
    for i, c in enumerate("xyz"):
        values = (t * (shape + i * np.cos(ds.z * ds.y))).transpose("time", "z", "y", "x")
        attrs = {"vector": "velocity", "component": c, "units": "m/s"}
        ds[f"velocity_{c}"] = values.astype(dtype).assign_attrs(attrs)
    return ds


CHUNKS = [
    {"time": 1},
    {"x": 1},
    {"z": 5, "y": 7, "x": 4},
    {"time": 1, "y": (2, 1, 7, 5)},
    {"z": 5, "y": 14, "x": 9},
]


@pytest.mark.parametrize("chunks", CHUNKS, ids=str)
@pytest.mark.parametrize(
    ("method", "order"), [(None, 2), ({"x": "finite", "z": "finite"}, 6), ("finite", 4)], ids=str
)
def test_any_chunks_give_the_same_bits_lazily(chunks, method, order):
    ds = mixed("f4")
    names = ("vorticity_z", "q_criterion")
    expected = derive(ds, *names, method=method, order=order)
    with dask.config.set(scheduler=refuse):
        result = derive(ds.chunk(chunks), *names, method=method, order=order)
    assert all(v.chunks is not None and v.dtype == np.float32 for v in result.values())
    xr.testing.assert_identical(result.compute(scheduler="synchronous"), expected)


def test_rechunking_is_bounded_to_one_axis_at_a_time(monkeypatch):
    seen = []

    def watch(field, **options):
        seen.append(field.size)
        return original(field, **options)

    original = kernels.spectral_derivative
    monkeypatch.setattr(kernels, "spectral_derivative", watch)
    ds = xr.Dataset(coords={d: periodic(d, 12, 1.0) for d in "zyx"})
    for c in "xyz":
        attrs = {"vector": "velocity", "component": c}
        ds[f"velocity_{c}"] = (("z", "y", "x"), np.random.default_rng(0).random((12,) * 3), attrs)
    result = derive(ds.chunk(z=4, y=4, x=4), "vorticity_z")
    assert result.vorticity_z.chunksizes["x"] == (4, 4, 4)
    result.compute(scheduler="synchronous")
    assert len(seen) >= 2
    assert max(seen) <= 64  # a chunk has 64 points, the field 1728


def test_methods_are_named_and_can_be_set_for_each_axis():
    ds = mixed()
    assert derive(ds, "divergence").divergence_velocity.attrs["method"] == (
        "z: Chebyshev polynomial (roots), y: finite differences of order 2, x: spectral"
    )
    result = derive(ds, "divergence", method={"x": "finite", "z": "finite"}, order=4)
    assert result.divergence_velocity.attrs["method"] == (
        "z: finite differences of order 4, y: finite differences of order 4, "
        "x: finite differences of order 4, periodic"
    )
    with pytest.raises(SchemaError, match=r"'z'.*period"):
        derive(ds, "divergence", method="spectral")
    with pytest.raises(SchemaError, match="expected a method"):
        derive(ds, "divergence", method={"x": "magic"})
    with pytest.raises(SchemaError, match="order"):
        derive(ds, "divergence", order=3)


def test_mixed_axes_agree_with_the_exact_derivative():
    ds = mixed()
    for order, tolerance in ((2, 0.06), (4, 4e-3), (6, 4e-4)):
        result = derive(ds, "gradient_velocity_x", order=order)
        t = 1 + ds.time
        shape = np.exp(ds.z) * (1 + ds.y**2)
        dx = np.pi * np.cos(np.pi * ds.x + ds.y) * shape * t
        dz = np.sin(np.pi * ds.x + ds.y) * shape * t
        dy = (np.cos(np.pi * ds.x + ds.y) * shape * t) + (
            np.sin(np.pi * ds.x + ds.y) * np.exp(ds.z) * 2 * ds.y * t
        )
        dims = ds.velocity_x.dims
        np.testing.assert_allclose(result.gradient_velocity_x_x, dx.transpose(*dims), atol=1e-11)
        np.testing.assert_allclose(result.gradient_velocity_x_z, dz.transpose(*dims), atol=1e-9)
        error = np.abs(result.gradient_velocity_x_y - dy.transpose(*dims)).max() / np.abs(dy).max()
        assert error < tolerance


def test_nan_spreads_along_lines_or_stencils_only():
    ds = mixed()
    values = ds.velocity_x.values.copy()
    values[0, 3, 7, 4] = np.nan
    ds["velocity_x"] = ds.velocity_x.copy(data=values)
    result = derive(ds, "gradient_velocity_x")
    for dim, expected in (("x", 10), ("z", 12), ("y", 3)):
        bad = np.isnan(result[f"gradient_velocity_x_{dim}"])
        # the point itself has no part in its own central difference, but in its size
        assert int(bad.sum()) == expected
        assert int(bad.any([d for d in ds.dims if d != dim]).sum()) == expected
