"""Integrals over space: exact ones, any chunks, widths of cells, what is absent and why."""

from __future__ import annotations

import json

import dask
import numpy as np
import pytest
import xarray as xr

from xphys.errors import SchemaError
from xphys.fields import derive, invariants
from xphys.schema import provenance


def refuse(*args, **kwargs):
    raise AssertionError("the graph was computed")


def plasma(dtype="f8") -> xr.Dataset:
    """Random fields on a box of 2 x 3 x 4 m, two trajectories and two times."""
    rng = np.random.default_rng(5)
    ds = xr.Dataset(coords={"trajectory": [0, 1], "time": [0.0, 0.5], "gamma": 1.5})
    for d, n, length in (("z", 6, 2.0), ("y", 5, 3.0), ("x", 8, 4.0)):
        attrs = {"period": length, "units": "1"}
        ds = ds.assign_coords({d: xr.Variable(d, (np.arange(n) + 0.5) * length / n, attrs)})
    dims = ("trajectory", "time", "z", "y", "x")
    shape = tuple(ds.sizes[d] for d in dims)
    for vector in ("velocity", "magnetic_field"):
        for c in "xyz":
            attrs = {"vector": vector, "component": c, "units": "1"}
            ds[f"{vector}_{c}"] = (dims, rng.normal(size=shape).astype(dtype), attrs)
    ds["density"] = (dims, rng.uniform(1, 2, shape).astype(dtype), {"units": "1"})
    ds["internal_energy"] = (dims, rng.uniform(1, 2, shape).astype(dtype), {"units": "1"})
    return ds


def test_integrals_are_sums_of_densities_times_volume():
    ds = plasma()
    result = invariants(ds)
    space = ["z", "y", "x"]
    cell = 24 / (6 * 5 * 8)
    assert float(result.volume) == pytest.approx(24)
    np.testing.assert_allclose(result.mass, ds.density.sum(space) * cell)
    np.testing.assert_allclose(
        result.momentum_y, (ds.density * ds.velocity_y).sum(space) * cell, atol=1e-13
    )
    names = ("kinetic_energy", "magnetic_energy", "enstrophy", "kinetic_helicity")
    names = (*names, "cross_helicity", "magnetic_helicity")
    densities = derive(ds, *names)
    for name in names:
        np.testing.assert_allclose(result[name], densities[name].sum(space) * cell, atol=1e-12)
    total = result.kinetic_energy + result.magnetic_energy + result.internal_energy
    np.testing.assert_allclose(result.total_energy, total)
    divergence = derive(ds, "divergence_velocity").divergence_velocity
    np.testing.assert_allclose(
        result.max_abs_divergence_velocity, np.abs(divergence).max(space), rtol=1e-13
    )
    assert result.mass.dims == ("trajectory", "time")
    assert set(result.coords) == {"trajectory", "time", "gamma"}
    assert json.loads(result.attrs["absent"]) == {}
    assert provenance(result)[-1]["operation"] == "invariants"
    assert all("long_name" in v.attrs and v.attrs["units"] == "1" for v in result.values())


@pytest.mark.parametrize("chunks", [{"time": 1}, {"x": 3}, {"z": 3, "x": 5}], ids=str)
def test_any_chunks_give_the_same_lazily(chunks):
    ds = plasma("f4").isel(trajectory=0)
    expected = invariants(ds, scalars=True)
    with dask.config.set(scheduler=refuse):
        result = invariants(ds.chunk(chunks), scalars=True)
    assert all(v.chunks is not None for n, v in result.items() if n != "volume")
    result = result.compute(scheduler="synchronous")
    for name, values in expected.items():
        # relative to the sum of sizes: a momentum is the small difference of large numbers
        scale = 24 * 10
        assert values.dtype == np.float64
        np.testing.assert_allclose(result[name], values, rtol=1e-12, atol=1e-12 * scale)


def test_units_are_those_of_a_volume_integral():
    ds = plasma()
    for d in "xyz":
        ds[d].attrs["units"] = "m"
        ds[f"velocity_{d}"].attrs["units"] = "m/s"
    ds.density.attrs["units"] = "kg m-3"
    ds = ds.drop_vars([f"magnetic_field_{c}" for c in "xyz"])
    ds.internal_energy.attrs["units"] = "Pa"
    result = invariants(ds)
    assert result.mass.attrs["units"] == "kg"
    assert result.momentum_x.attrs["units"] == "kg m s-1"
    assert result.kinetic_energy.attrs["units"] == "kg m2 s-2"
    assert result.volume.attrs["units"] == "m3"
    assert result.max_abs_divergence_velocity.attrs["units"] == "s-1"
    assert "total_energy" in result
    ds.internal_energy.attrs["units"] = "erg cm-3"
    with pytest.raises(SchemaError, match="energies.*different units"):
        invariants(ds)


def line(points, **attrs) -> xr.Dataset:
    x = xr.Variable("x", np.asarray(points, dtype=float), attrs)
    return xr.Dataset({"density": ("x", np.ones(len(points)))}, {"x": x})


def test_widths_of_each_kind_of_axis():
    angle = np.pi * np.arange(9) / 8
    gauss = np.pi * (2 * np.arange(9) + 1) / 18
    cases = [
        (line(np.arange(4) / 4, period=1.0), 1.0, "x: period"),
        (line(np.arange(4) / 4), 1.0, "x: step"),
        (line([0.0, 1.0, 3.0]), 4.5, "x: midpoints"),
        (line(-np.cos(angle), spacing="chebyshev"), 2.0, "x: Clenshaw-Curtis quadrature"),
        (line(-np.cos(gauss)[::-1], spacing="chebyshev"), 2.0, "x: Fejer quadrature"),
    ]
    for ds, length, text in cases:
        result = invariants(ds)
        assert float(result.mass) == pytest.approx(length, rel=1e-14)
        assert result.attrs["volume_weights"] == text
        if "quadrature" in text:  # exact for polynomials of degree 8
            power = invariants(ds.assign(density=("x", ds.x.values**8)))
            assert float(power.mass) == pytest.approx(2 / 9, rel=1e-13)
    bounded = line([0.5, 2.0]).assign_coords(x_bounds=(("x", "nv"), [[0.0, 1.0], [1.0, 3.0]]))
    assert float(invariants(bounded).mass) == 3.0
    with dask.config.set(scheduler=refuse):
        lazy = invariants(bounded.chunk(x=1))
    assert float(lazy.mass.compute(scheduler="synchronous")) == 3.0
    assert lazy.attrs["volume_weights"] == "x: bounds"


def test_what_is_absent_is_listed_with_its_reason():
    result = invariants(line(np.arange(4) / 4, period=1.0))
    assert list(result.data_vars) == ["mass", "volume"]
    absent = json.loads(result.attrs["absent"])
    assert "magnetic_field" in absent["magnetic_energy"]
    assert set(absent) >= {"momentum", "enstrophy", "max_abs_divergence_velocity"}


def test_scalars_have_their_mean_and_mean_square():
    ds = line([0.0, 1.0, 3.0]).rename(density="theta")
    ds["theta"] = ("x", [1.0, 2.0, 3.0], {"units": "K"})
    result = invariants(ds, scalars=True)
    weights = np.array([1.0, 1.5, 2.0]) / 4.5
    assert float(result.mean_theta) == pytest.approx(weights @ [1, 2, 3])
    assert float(result.mean_square_theta) == pytest.approx(weights @ [1, 4, 9])
    assert result.mean_theta.attrs["units"] == "K"
    assert result.mean_square_theta.attrs["units"] == "K2"
    assert list(invariants(ds, scalars="theta").data_vars) == list(result.data_vars)
    with pytest.raises(SchemaError, match="scalars=True"):
        invariants(ds)
