"""Coarser grids: exact means, exact modes, any chunks, coordinates."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import xarray as xr

import xphys
from xphys.errors import SchemaError
from xphys.fields import degrade
from xphys.schema import axis, provenance


def box(n: int = 16, m: int = 12, dtype: str = "f4") -> xr.Dataset:
    rng = np.random.default_rng(0)
    attrs = {"boundary": "periodic", "spacing": "uniform", "units": "m"}
    coords = {
        "time": ("time", np.arange(5.0)),
        "y": ("y", (np.arange(m) + 0.5) / m, {**attrs, "period": 1.0}),
        "x": ("x", (np.arange(n) + 0.5) * 2 / n, {**attrs, "period": 2.0}),
        "nu": 0.1,
        "depth": (("y", "x"), rng.random((m, n))),
        "level": (("y", "x"), np.ones((m, n), np.int8)),
    }
    values = rng.standard_normal((5, m, n)).astype(dtype)
    fields = {"u": (("time", "y", "x"), values, {"units": "m/s"}), "s": ("time", np.arange(5.0))}
    return xr.Dataset(fields, coords, {"title": "box"})


def test_block_means_are_means():
    ds = box()
    coarse = degrade(ds, 4)
    wanted = ds.u.values.astype(float).reshape(5, 3, 4, 4, 4).mean(axis=(2, 4))
    np.testing.assert_allclose(coarse.u.values, wanted, rtol=1e-6)
    assert coarse.u.dtype == np.float32
    assert coarse.u.attrs == ds.u.attrs
    assert coarse.attrs["title"] == "box"
    assert coarse.x.attrs == ds.x.attrs
    np.testing.assert_allclose(coarse.x, [0.25, 0.75, 1.25, 1.75])
    assert axis(coarse, "x").periodic
    assert coarse.depth.shape == (3, 4)
    assert "level" not in coarse
    xr.testing.assert_identical(coarse.s.drop_vars("nu"), ds.s.drop_vars("nu"))
    assert provenance(coarse)[-1]["parameters"] == {"factor": {"y": 4, "x": 4}, "method": "block"}
    xr.testing.assert_identical(ds.phys.degrade(4), coarse)


@pytest.mark.parametrize("method", ["block", "spectral"])
@pytest.mark.parametrize("chunks", [{"time": 2}, {"time": 1, "x": 5, "y": 7}, {"x": 1, "y": 1}])
def test_any_chunks_give_the_same(method, chunks):
    ds = box(dtype="f8")
    with dask.config.set(scheduler=_refuse):
        lazy = degrade(ds.chunk(chunks), {"x": 2, "y": 3}, method=method)
    assert lazy.u.chunks is not None
    wanted = degrade(ds, {"x": 2, "y": 3}, method=method)
    if method == "block":
        xr.testing.assert_identical(lazy.compute(), wanted)
    else:
        np.testing.assert_allclose(lazy.u.values, wanted.u.values, atol=1e-14)


def _refuse(*args, **kwargs):
    raise AssertionError("computed")


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("n", [16, 20])
def test_spectral_is_exact_below_the_new_nyquist_mode(n, factor):
    ds = box(n)
    waves = {k: np.cos(np.pi * k * ds.x.values + 0.3) for k in range(n // 2)}
    for k, wave in waves.items():
        field = xr.Dataset({"u": ("x", wave)}, {"x": ds.x})
        coarse = degrade(field, factor, method="spectral")
        kept = 2 * k < n // factor
        wanted = np.cos(np.pi * k * coarse.x.values + 0.3) if kept else np.zeros(n // factor)
        np.testing.assert_allclose(coarse.u, wanted, atol=1e-13)


def test_both_methods_agree_where_fields_are_smooth():
    ds = box(64, 64)
    wave = np.sin(np.pi * ds.x) * np.cos(2 * np.pi * ds.y)
    ds = xr.Dataset({"u": wave.transpose("y", "x")})
    block, spectral = degrade(ds, 2), degrade(ds, 2, method="spectral")
    assert float(abs(block.u - spectral.u).max()) < 3e-3  # (pi dx)^2 / 6 and alike
    for one in (block, spectral):
        assert float(one.u.mean()) == pytest.approx(float(ds.u.mean()), abs=1e-15)


def test_weights_of_bounds_keep_integrals():
    edges = np.array([0.0, 1.0, 3.0, 4.0, 8.0])
    bounds = np.stack([edges[:-1], edges[1:]], axis=1)
    coords = {"x": ("x", bounds.mean(axis=1), {"units": "m"}), "x_bounds": (("x", "nv"), bounds)}
    ds = xr.Dataset({"u": ("x", [1.0, 2.0, 3.0, 5.0])}, coords)
    coarse = degrade(ds, 2)
    np.testing.assert_allclose(coarse.u, [5 / 3, 23 / 5])
    np.testing.assert_array_equal(coarse.x_bounds, [[0, 3], [3, 8]])
    np.testing.assert_array_equal(coarse.x, [1.5, 5.5])
    lazy = degrade(ds.chunk({"x": 1}), 2)
    np.testing.assert_array_equal(lazy.u, coarse.u)


def test_chebyshev_axis_becomes_nonuniform():
    positions = -np.cos(np.pi * (np.arange(8) + 0.5) / 8)
    ds = xr.Dataset({"u": ("z", positions**2)}, {"z": ("z", positions, {"spacing": "chebyshev"})})
    coarse = degrade(ds, 2)
    assert coarse.z.attrs["spacing"] == "nonuniform"
    assert (np.diff(coarse.z) > 0).all()


def test_nan_stays_in_its_cell():
    ds = box()
    ds.u[0, 0, 0] = np.nan
    coarse = degrade(ds, 2)
    assert int(coarse.u.isnull().sum()) == 1


def test_real_simulation(small_data):
    ds = xphys.open(small_data / "athenak" / "mri_64_one_rank")
    coarse = ds.phys.degrade(2)
    assert dict(coarse.sizes) == {"time": 2, "z": 32, "x": 32}
    parts = ds.density.values.astype(float).reshape(2, 32, 2, 32, 2)
    np.testing.assert_allclose(coarse.density.values, parts.mean(axis=(2, 4)), rtol=1e-6)
    assert [f.severity for f in coarse.phys.validate() if f.severity == "error"] == []


@pytest.mark.parametrize(
    ("factor", "options", "message"),
    [
        (5, {}, "12 points, which 5 does not divide"),
        (0, {}, "whole number from 1 on"),
        (2.0, {}, "whole number"),
        (True, {}, "whole number"),
        ({"q": 2}, {}, "expected dims out of"),
        (2, {"method": "zoom"}, "expected a method"),
    ],
)
def test_misuse(factor, options, message):
    with pytest.raises(SchemaError, match=message):
        degrade(box(), factor, **options)


def test_what_has_no_means():
    ds = box()
    with pytest.raises(SchemaError, match="'k' is int64"):
        degrade(ds.assign(k=("x", np.arange(16))), 2)
    wall = ds.assign_coords(x=ds.x.assign_attrs(boundary="wall"))
    with pytest.raises(SchemaError, match="needs a periodic axis"):
        degrade(wall, 2, method="spectral")
    assert degrade(wall, 2).sizes["x"] == 8
    with pytest.raises(SchemaError, match="name the dims"):
        degrade(ds[["s"]].drop_vars("nu"), 2)
    xr.testing.assert_identical(degrade(ds, 1).drop_attrs(deep=False), ds.drop_attrs(deep=False))
