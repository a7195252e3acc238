"""Structure functions and correlations: literal loops, exact fields, any chunks, little memory."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import scipy.signal
import xarray as xr

from xphys.schema import provenance
from xphys.spectra import (
    _lags,
    autocorrelation,
    correlation_lengths,
    spectra,
    structure_functions,
)

CHUNKS = [{"time": 1}, {"time": 4, "y": 5, "x": 4}, {"x": 2}]


def refuse(*args, **kwargs):
    raise AssertionError("the graph was computed")


def flow(*, periodic: bool = True, offset: float = 0.0) -> xr.Dataset:
    rng = np.random.default_rng(0)
    coords = {"time": ("time", np.arange(6) * 0.5, {"units": "s"}), "nu": 0.1}
    for d, n, step in (("y", 12, 0.25), ("x", 15, 0.5)):
        period = {"period": n * step} if periodic else {}
        coords[d] = (d, np.arange(n) * step, {"units": "m", **period})
    ds = xr.Dataset(coords=coords)
    for c in "xy":
        attrs = {"vector": "velocity", "component": c, "units": "m/s"}
        values = np.round(rng.normal(size=(6, 12, 15)) * 2**20) / 2**20 + offset
        ds[f"velocity_{c}"] = ("time", "y", "x"), values, attrs
    return ds


def literal(u: np.ndarray, axis: int, lag: int, periodic: bool) -> tuple[np.ndarray, np.ndarray]:
    """First and second values of all pairs."""
    n = u.shape[axis]
    if periodic:
        return u, np.take(u, (np.arange(n) + lag) % n, axis)
    return np.take(u, np.arange(n - lag), axis), np.take(u, np.arange(lag, n), axis)


@pytest.mark.parametrize("periodic", [True, False])
def test_both_are_the_literal_formula(periodic):
    ds = flow(periodic=periodic)
    s, r = structure_functions(ds, orders=(1, 2, 3, 4, 6)), autocorrelation(ds)
    for name in ("velocity_x", "velocity_y"):
        u = ds[name].values
        for axis, d in ((1, "y"), (2, "x")):
            for lag in (1, 3, 6):
                a, b = literal(u, axis, lag, periodic)
                for p in (1, 2, 3, 4, 6):
                    np.testing.assert_allclose(
                        s[name].sel(direction=d, order=p, lag=lag),
                        ((b - a) ** p).mean((1, 2)),
                        rtol=1e-12,
                        atol=1e-12,
                    )
                m = u.mean((1, 2), keepdims=True)
                expected = ((a - m) * (b - m)).mean((1, 2)) / u.var((1, 2))
                np.testing.assert_allclose(
                    r[name].sel(direction=d, lag=lag), expected, rtol=1e-11, atol=1e-13
                )
    np.testing.assert_allclose(r.velocity_x.sel(lag=0), 1, rtol=1e-14)
    np.testing.assert_allclose(s.separation.sel(direction="x"), 0.5 * s.lag)
    assert s.separation.attrs["units"] == "m"
    assert provenance(s)[-1]["parameters"]["orders"] == [1, 2, 3, 4, 6]
    assert "nu" in s.coords


def test_open_lines_are_those_of_scipy():
    ds = flow(periodic=False)
    u = ds.velocity_x.isel(time=0, y=0).values
    found = autocorrelation(ds.velocity_x.isel(time=0, y=0), dims="x", lags=14)
    apart = u - u.mean()
    sums = scipy.signal.correlate(apart, apart, "full")[14:]
    pairs = np.arange(15, 0, -1)
    np.testing.assert_allclose(found.velocity_x[0], sums / pairs / u.var(), rtol=1e-11, atol=1e-13)


def test_longitudinal_and_transverse():
    s = structure_functions(flow())
    for d, other in (("x", "y"), ("y", "x")):
        np.testing.assert_array_equal(
            s.velocity_longitudinal.sel(direction=d), s[f"velocity_{d}"].sel(direction=d)
        )
        np.testing.assert_array_equal(
            s.velocity_transverse.sel(direction=d), s[f"velocity_{other}"].sel(direction=d)
        )
    one = structure_functions(flow(), dims="x")
    assert list(one.direction.values) == ["x"]
    np.testing.assert_array_equal(one.velocity_x, s.velocity_x.sel(direction=["x"], lag=one.lag))


def test_second_order_is_twice_the_variance_less_the_covariance():
    ds = flow()
    s = structure_functions(ds, orders=[2]).velocity_x.sel(order=2)
    r = autocorrelation(ds).velocity_x.sel(lag=s.lag)
    variance = ds.velocity_x.var(("y", "x"))
    np.testing.assert_allclose(
        s.transpose("time", ...), (2 * variance * (1 - r)).transpose("time", ...), rtol=1e-12
    )


def test_correlation_is_the_transform_of_the_spectrum():
    line = flow().velocity_x.isel(y=0)
    r = autocorrelation(line, dims="x").velocity_x.isel(direction=0)
    e = spectra(line, dims="x", convention="sum")
    k, x = e.wavenumber.values, r.separation.values.ravel()
    back = (e.values[:, None] * np.cos(np.outer(x, k))[None]).sum(-1) / e.values.sum(-1)[:, None]
    np.testing.assert_allclose(r, back, atol=1e-13)


def test_absolute_increments_take_any_power():
    ds = flow()
    found = structure_functions(ds, "velocity_x", orders=[0.5, 3], absolute=True)
    a, b = literal(ds.velocity_x.values, 2, 4, True)
    for p in (0.5, 3.0):
        np.testing.assert_allclose(
            found.velocity_x.sel(direction="x", order=p, lag=4),
            (np.abs(b - a) ** p).mean((1, 2)),
            rtol=1e-13,
        )


@pytest.mark.parametrize("chunks", CHUNKS)
@pytest.mark.parametrize("offset", [0.0, 2.0**17])
def test_any_chunks_give_the_same_lazily(chunks, offset):
    ds = flow(offset=offset)
    for function, arguments in (
        (structure_functions, {}),
        (autocorrelation, {}),
        (autocorrelation, {"dims": ("time", "x")}),
        (correlation_lengths, {}),
    ):
        expected = function(flow(), **arguments)  # neither chunks nor an offset matter
        with dask.config.set(scheduler=refuse):
            lazy = function(ds.chunk(chunks), **arguments)
        assert all(v.chunks is not None for v in lazy.data_vars.values())
        found = lazy.compute()
        for name in expected.data_vars:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-12, atol=1e-12)


def test_lines_that_do_not_fit_go_by_way_of_files(tmp_path):
    ds = flow()
    expected = autocorrelation(ds, dims="time")
    chunked = ds.chunk(time=1)
    with dask.config.set(scheduler=refuse):
        lazy = autocorrelation(chunked, dims="time", memory=3000, scratch=str(tmp_path))
    assert any("scratch" in str(key) for key in lazy.__dask_graph__().layers)
    np.testing.assert_allclose(lazy.velocity_x.compute(), expected.velocity_x, atol=1e-13)


def test_pairs_with_nan():
    ds = flow()
    u = ds.velocity_x.values.copy()
    u[0, 3, 4] = np.nan
    u[1, 0, 0] = np.inf
    holes = ds.velocity_x.copy(data=u)
    s, r = structure_functions(holes), autocorrelation(holes)
    for found in (s.velocity_x, r.velocity_x):
        assert found.isel(time=[0, 1]).isnull().all()
    np.testing.assert_array_equal(
        s.velocity_x.isel(time=2), structure_functions(ds.velocity_x).velocity_x.isel(time=2)
    )
    for chunks in ({}, {"y": 5, "x": 4}):
        part = holes.chunk(chunks) if chunks else holes
        s = structure_functions(part, skipna=True).velocity_x.compute()
        r = autocorrelation(part, skipna=True).velocity_x.compute()
        for t in (0, 1):
            a, b = literal(u[t], 1, 3, True)
            good = np.isfinite(a) & np.isfinite(b)
            d = (b - a)[good]
            np.testing.assert_allclose(
                s.isel(time=t).sel(direction="x", order=2, lag=3), (d**2).mean(), rtol=1e-13
            )
            m = u[t][np.isfinite(u[t])]
            product = ((a - m.mean()) * (b - m.mean()))[good].mean() / m.var()
            np.testing.assert_allclose(
                r.isel(time=t).sel(direction="x", lag=3), product, rtol=1e-11, atol=1e-13
            )


def test_a_constant_has_no_correlation():
    x = xr.Variable("x", np.arange(8) / 8, {"period": 1.0})
    flat = xr.DataArray(np.full(8, 0.1), {"x": x}, "x", "flat")
    assert autocorrelation(flat).flat.isnull().all()
    assert (structure_functions(flat).flat == 0).all()


def test_lengths_of_an_exponential_correlation():
    x = np.arange(2001) * 0.01
    integral, zero, fold = _lags.lengths(np.exp(-x / 1.5)[None], x)
    np.testing.assert_allclose(integral, 1.5, rtol=1e-3)
    np.testing.assert_allclose(fold, 1.5, rtol=1e-4)
    assert np.isnan(zero).all()
    integral, zero, fold = _lags.lengths(np.cos(x)[None], x)
    np.testing.assert_allclose(zero, np.pi / 2, rtol=1e-6)
    np.testing.assert_allclose(integral, 1.0, rtol=1e-5)
    np.testing.assert_allclose(fold, np.arccos(np.exp(-1)), rtol=1e-5)


def test_separations_of_unequal_axes_and_long_ones():
    ds = flow()
    s = structure_functions(ds)
    assert s.lag.max() == 7
    assert s.velocity_x.sel(direction="y", lag=7).isnull().all()  # more than half of 12
    assert np.isnan(s.separation.sel(direction="y", lag=7))
    assert s.velocity_x.sel(direction="x", lag=7).notnull().all()
    x = xr.Variable("x", np.arange(1024) / 1024, {"period": 1.0})
    line = xr.DataArray(np.sin(2 * np.pi * x.values), {"x": x}, "x", "wave")
    found = structure_functions(line, orders=[2])
    assert 25 <= found.sizes["lag"] <= 32
    assert int(found.lag[-1]) == 512
    r = found.separation.isel(direction=0)
    np.testing.assert_allclose(
        found.wave.isel(direction=0, order=0), 1 - np.cos(2 * np.pi * r), atol=1e-13
    )
    assert structure_functions(line, lags=[5, 2]).lag.values.tolist() == [5, 2]


def test_kolmogorov_scaling_of_a_made_field():
    """A line with E ~ k^-5/3 has S2 ~ r^2/3 between its ends."""
    n, rng = 2**16, np.random.default_rng(2)
    k = np.arange(1, n // 2)
    modes = np.zeros(n // 2 + 1, complex)
    modes[1 : n // 2] = k ** (-5 / 6) * np.exp(2j * np.pi * rng.random(k.size))
    x = xr.Variable("x", np.arange(n) / n, {"period": 1.0})
    line = xr.DataArray(np.fft.irfft(modes, n), {"x": x}, "x", "u")
    lags = np.unique(np.geomspace(30, 1000, 20).astype(int))
    s = structure_functions(line, orders=[2], lags=lags).u.squeeze()
    slope = np.polyfit(np.log(lags), np.log(s.values), 1)[0]
    assert abs(slope - 2 / 3) < 0.08


def test_real_flow(simulation_data):
    name = simulation_data / "exponax" / "decaying_navier_stokes_3d.nc"
    with xr.open_dataset(name, engine="netcdf4", chunks={}) as raw:
        ds = raw.isel({next(d for d in raw.dims if d not in "zyx"): slice(0, 2)}).load()
    for component, variable in zip("xyz", "uvw", strict=True):
        ds[component].attrs["period"] = 2 * np.pi
        ds[variable].attrs.update(vector="velocity", component=component)
    s = structure_functions(ds, "velocity", lags=6)
    u = ds["u"].transpose(..., "x").values.astype("f8")
    d = np.roll(u, -6, -1) - u
    lead = u.ndim - 3
    expected = (d**3).mean(tuple(range(lead, u.ndim)))
    found = s.velocity_longitudinal.sel(direction="x", order=3, lag=6)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert (s.velocity_transverse.sel(order=2) > 0).all()
