"""Compact differences: of the order they state up to the ends, the same for any chunks."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import xarray as xr

from xphys.fields import derive
from xphys.fields._compact import compact_derivative, make_compact
from xphys.fields._stencils import differentiate, make_stencil


def refuse(*args, **kwargs):
    raise AssertionError("the graph was computed")


def channel(nz: int = 24, nx: int = 8, falls: bool = False) -> xr.Dataset:
    z = np.linspace(0.5, 2.0, nz)
    ds = xr.Dataset(
        coords={
            "time": np.arange(3.0),
            "z": ("z", z[::-1] if falls else z, {"boundary": "wall"}),
            "x": ("x", np.arange(nx) / nx, {"period": 1.0}),
        }
    )
    return ds.assign(f=np.sin(3 * ds.z + ds.time) * np.cos(2 * np.pi * ds.x) + 5.0 * ds.z)


@pytest.mark.parametrize("order", [4, 6])
@pytest.mark.parametrize("norm", ["mean square", "largest"])
def test_the_order_is_the_stated_one(order, norm):
    errors = []
    for n in (40, 80, 160):
        x = np.linspace(0, 1, n)
        k = 2 * np.pi
        values = np.exp(np.sin(k * x))
        error = compact_derivative(values, compact=make_compact(n, x[1] - x[0], order))
        error -= k * np.cos(k * x) * values
        errors.append(np.abs(error).max() if norm == "largest" else np.sqrt(np.mean(error**2)))
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert orders[-1] > order - 0.1
    assert orders[-1] < order + 0.9


@pytest.mark.parametrize("order", [4, 6])
@pytest.mark.parametrize("extra", [1, 2, 3, 20])
def test_polynomials_up_to_the_order_are_exact(order, extra):
    n = order + extra
    x = np.linspace(-1, 1, n)
    for points in (x, x[::-1]):
        compact = make_compact(n, points[1] - points[0], order)
        for power in range(order + 1):
            exact = power * points ** max(power - 1, 0)
            result = compact_derivative(points**power, compact=compact)
            np.testing.assert_allclose(result, exact, atol=1e-12)
    assert not compact_derivative(np.full((2, n), 1e9), compact=compact).any()


@pytest.mark.parametrize("order", [4, 6])
def test_short_waves_are_resolved_better_than_by_finite_differences(order):
    x = np.linspace(0, 1, 65)
    k = 2 * np.pi * 8  # eight points in a wave
    exact = k * np.cos(k * x)
    compact = compact_derivative(np.sin(k * x), compact=make_compact(65, 1 / 64, order))
    plain = differentiate(np.sin(k * x), make_stencil(x, order, uniform=True, wraps=False))
    inner = slice(16, -16)
    ratio = np.abs(plain - exact)[inner].max() / np.abs(compact - exact)[inner].max()
    assert ratio > 3


@pytest.mark.parametrize("falls", [False, True])
def test_derive_gives_it_on_the_axes_it_is_asked_for(falls):
    ds = channel(falls=falls)
    result = derive(ds, "gradient_f", method={"z": "compact"}, order=6)
    text = result.gradient_f_z.attrs["method"]
    assert text == "z: compact differences of order 6, x: spectral"
    exact = 3 * np.cos(3 * ds.z + ds.time) * np.cos(2 * np.pi * ds.x) + 5.0
    xr.testing.assert_allclose(
        result.gradient_f_z, exact.transpose(*result.gradient_f_z.dims), atol=2e-5
    )
    slope = -2 * np.pi * np.sin(3 * ds.z + ds.time) * np.sin(2 * np.pi * ds.x)
    xr.testing.assert_allclose(
        result.gradient_f_x, slope.transpose(*result.gradient_f_x.dims), atol=1e-11
    )


@pytest.mark.parametrize("chunks", [{"z": 5}, {"z": 1, "x": 3}, {"time": 1, "z": 24, "x": 1}])
def test_any_chunks_give_the_same_bits_lazily(chunks):
    ds = channel()
    with dask.config.set(scheduler=refuse):
        lazy = derive(ds.chunk(chunks), "gradient_f", method={"z": "compact"}, order=4)
    assert lazy.gradient_f_z.chunksizes == ds.f.chunk(chunks).chunksizes
    whole = derive(ds, "gradient_f", method={"z": "compact"}, order=4)
    with dask.config.set(scheduler="sync"):
        xr.testing.assert_identical(lazy.compute(), whole)


def test_nan_spreads_over_its_line_only():
    ds = channel()
    data = ds.f.values.copy()
    data[4, 1, 2] = np.nan
    result = derive(ds.assign(f=ds.f.copy(data=data)), "gradient_f", method={"z": "compact"},
                    order=4).gradient_f_z  # fmt: skip
    bad = result.isnull()
    lines = bad.all("z")
    assert int(lines.sum()) == 1
    assert int(bad.sum()) == ds.sizes["z"]
