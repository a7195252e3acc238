"""Derivatives and the divergence."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import xarray as xr

from xphys.errors import SchemaError, UnknownNameError
from xphys.fields import derive
from xphys.fields._kernels import spectral_derivative
from xphys.fields._stencils import differentiate, make_stencil
from xphys.schema import provenance


def refuse(*args, **kwargs):
    raise AssertionError("the graph was computed")


def derivative(field, *, positions, period):
    if period is None:
        return differentiate(field, make_stencil(positions, 2, uniform=False, wraps=False))
    return spectral_derivative(field, period=period if positions[-1] > positions[0] else -period)


def flow(n=16, dtype=np.float64, times=3) -> xr.Dataset:
    """u = sin(2 k x) cos(k y) t, v = cos(k x) sin(3 k y) t on a periodic box of length 2."""
    k = np.pi
    x, y = np.arange(n + 4) * 2 / (n + 4), np.arange(n) * 2 / n
    t = np.arange(1.0, times + 1)[:, None, None]
    u = t * np.sin(2 * k * x) * np.cos(k * y)[:, None]
    v = t * np.cos(k * x) * np.sin(3 * k * y)[:, None]
    attrs = {"vector": "velocity", "units": "m/s"}
    about = {"period": 2.0, "units": "m", "boundary": "periodic"}
    return xr.Dataset(
        {
            "velocity_x": (("time", "y", "x"), u.astype(dtype), attrs | {"component": "x"}),
            "velocity_y": (("time", "y", "x"), v.astype(dtype), attrs | {"component": "y"}),
        },
        {"time": np.arange(times) * 0.1, "y": ("y", y, about), "x": ("x", x, about), "Re": 10.0},
        {"title": "modes"},
    )


def exact(ds: xr.Dataset) -> xr.DataArray:
    k, t = np.pi, xr.DataArray(np.arange(1.0, ds.sizes["time"] + 1), dims="time")
    du = 2 * k * np.cos(2 * k * ds.x) * np.cos(k * ds.y)
    dv = 3 * k * np.cos(k * ds.x) * np.cos(3 * k * ds.y)
    return ((du + dv) * t).transpose("time", "y", "x")


@pytest.mark.parametrize("n", [9, 16, 31])
@pytest.mark.parametrize("falling", [False, True])
def test_spectral_derivative_is_exact_on_modes(n, falling):
    x = np.arange(n) * 3.0 / n + 0.2
    x = x[::-1] if falling else x
    for mode in range((n + 1) // 2):
        k = 2 * np.pi * mode / 3.0
        result = derivative(np.sin(k * x + 0.3)[None], positions=x, period=3.0)
        np.testing.assert_allclose(result[0], k * np.cos(k * x + 0.3), atol=1e-12 * max(k, 1) * n)


def test_nyquist_mode_of_an_even_axis_has_no_derivative():
    wave = np.cos(np.pi * np.arange(8))
    np.testing.assert_allclose(
        derivative(wave, positions=np.arange(8.0), period=8.0), 0.0, atol=1e-14
    )


def test_single_precision_is_computed_in_double_and_rounded_once():
    x = xr.Variable("x", np.arange(64) / 64, {"period": 1.0})
    wave = (1e3 + np.sin(2 * np.pi * x.values)).astype(np.float32)
    tag = {"vector": "velocity", "component": "x"}
    for method, order in (("spectral", 2), ("finite", 6)):
        ds = xr.Dataset({"u": ("x", wave, tag)}, {"x": x})
        result = derive(ds, "divergence", method=method, order=order).divergence_velocity
        reference = derive(ds.astype(np.float64), "divergence", method=method, order=order)
        assert result.dtype == np.float32
        np.testing.assert_array_equal(result, reference.divergence_velocity.astype(np.float32))
    assert wave.mean() > 999  # the input is not changed


@pytest.mark.parametrize("stretched", [False, True])
def test_finite_differences_converge_with_second_order(stretched):
    errors = []
    for n in (32, 64, 128):
        s = np.linspace(0, 1, n)
        x = s + 0.1 * np.sin(2 * np.pi * s) / (2 * np.pi) if stretched else s
        result = derivative(np.exp(np.sin(3 * x)), positions=x, period=None)
        errors.append(np.abs(result - 3 * np.cos(3 * x) * np.exp(np.sin(3 * x))).max())
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert (orders > 1.85).all()
    assert (orders < 2.3).all()


def test_divergence_equals_the_exact_one():
    ds = flow()
    result = derive(ds, "divergence")
    assert list(result.data_vars) == ["divergence_velocity"]
    divergence = result.divergence_velocity
    assert divergence.dims == ("time", "y", "x")
    np.testing.assert_allclose(divergence, exact(ds), atol=1e-11)
    np.testing.assert_allclose(
        derivative(ds.velocity_x.values, positions=ds.x.values, period=2.0)
        + np.moveaxis(
            derivative(np.moveaxis(ds.velocity_y.values, 1, -1), positions=ds.y.values, period=2.0),
            -1,
            1,
        ),
        divergence,
        atol=1e-12,
    )


def test_divergence_keeps_coordinates_and_sets_units():
    ds = flow()
    result = derive(ds, "divergence")
    bare = result.coords.to_dataset().drop_attrs(deep=False)
    xr.testing.assert_identical(bare, ds.coords.to_dataset().drop_attrs(deep=False))
    assert result.divergence_velocity.attrs == {
        "long_name": "divergence of velocity",
        "method": "y: spectral, x: spectral",
        "units": "s-1",
    }
    assert result.attrs["title"] == "modes"
    assert provenance(result)[-1]["parameters"] == {"names": ["divergence"]}
    for d in "xy":
        ds[d].attrs["units"] = "1"
        ds[f"velocity_{d}"].attrs["units"] = "1"
    assert derive(ds, "divergence").divergence_velocity.attrs["units"] == "1"
    del ds.x.attrs["units"]  # what is known is in code units
    assert derive(ds, "divergence").divergence_velocity.attrs["units"] == "1"
    ds.velocity_x.attrs["units"] = ds.velocity_y.attrs["units"] = "m/s"
    assert "units" not in derive(ds, "divergence").divergence_velocity.attrs


@pytest.mark.parametrize("chunks", [{"time": 1}, {"y": 5, "x": 7}, {"time": 2, "x": 3}])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_any_chunks_give_the_same_bits_lazily(chunks, dtype):
    ds = flow(dtype=dtype)
    expected = derive(ds, "divergence")
    with dask.config.set(scheduler=refuse):
        result = derive(ds.chunk(chunks), "divergence")
    assert result.divergence_velocity.chunks is not None
    assert result.divergence_velocity.dtype == np.dtype(dtype)
    xr.testing.assert_identical(result.compute(), expected)


def test_open_axes_take_finite_differences_with_their_spacing():
    y = np.linspace(0, 1, 21) ** 1.5
    x = np.arange(8) / 8
    wave = np.sin(2 * np.pi * x) * (y**2)[:, None]
    tag = {"vector": "flow"}
    ds = xr.Dataset(
        {
            "p": (("y", "x"), 0 * wave, tag | {"component": "x"}),
            "q": (("y", "x"), wave, tag | {"component": "y"}),
        },
        {"y": ("y", y, {"boundary": "wall"}), "x": ("x", x, {"period": 1.0})},
    )
    result = derive(ds, "divergence_flow").divergence_flow
    np.testing.assert_allclose(result, np.gradient(wave, y, axis=0, edge_order=2), atol=1e-14)
    # second order is exact for a parabola
    np.testing.assert_allclose(result, np.sin(2 * np.pi * x) * (2 * y)[:, None], atol=1e-12)
    assert result.attrs["method"] == "y: finite differences of order 2, x: spectral"


def test_a_component_along_a_dim_that_is_not_there_adds_nothing():
    ds = flow()
    azimuthal = ds.velocity_x.assign_attrs(component="z") * 7
    result = derive(ds.assign(velocity_z=azimuthal), "divergence")
    xr.testing.assert_identical(
        result.divergence_velocity, derive(ds, "divergence").divergence_velocity
    )


def test_incomplete_vectors_are_left_out_or_named():
    ds = flow()
    jz = ds.velocity_x.assign_attrs(vector="current_density", component="z")
    assert list(derive(ds.assign(jz=jz), "divergence").data_vars) == ["divergence_velocity"]
    with pytest.raises(SchemaError, match=r"current_density.*\['x', 'y'\]"):
        derive(ds.assign(jz=jz), "divergence_current_density")
    with pytest.raises(SchemaError, match=r"velocity.*\['y'\]"):
        derive(ds[["velocity_x"]], "divergence")
    with pytest.raises(SchemaError, match="vector="):
        derive(ds.drop_attrs(), "divergence")


def test_refusals_name_what_is_wrong():
    ds = flow()
    with pytest.raises(UnknownNameError, match="divergence"):
        derive(ds, "warmth")
    with pytest.raises(UnknownNameError, match="divergence"):
        derive(ds)
    with pytest.raises(UnknownNameError, match="magnetic_field"):
        derive(ds, "divergence_magnetic_field")
    with pytest.raises(SchemaError, match="3 points"):
        derive(ds.isel(x=slice(0, 2)), "divergence")
    with pytest.raises(SchemaError, match="differ in dims"):
        derive(ds.assign(velocity_y=ds.velocity_y.isel(time=0, drop=True)), "divergence")
    ds.velocity_y.attrs["units"] = "km/s"
    with pytest.raises(SchemaError, match="different units"):
        derive(ds, "divergence")


def test_real_flow_is_free_of_divergence(simulation_data):
    name = simulation_data / "exponax" / "decaying_navier_stokes_3d.nc"
    with xr.open_dataset(name, engine="netcdf4", chunks={}) as ds:
        for component, variable in zip("xyz", "uvw", strict=True):
            ds[component].attrs["period"] = 2 * np.pi
            ds[variable].attrs.update(vector="velocity", component=component)
        divergence = derive(ds, "divergence").divergence_velocity.astype(np.float64)
        gradient = np.sqrt(
            float((ds.u.astype(np.float64).differentiate("x") ** 2).mean().compute())
        )
        rms = np.sqrt((divergence**2).mean(["z", "y", "x"])).compute()
    # stored as float32: what is left is rounding, far below one component's own gradient
    assert float(rms.max()) < 2e-5 * gradient
