"""Comparison of Datasets: numbers against plain NumPy, ideals, laziness, refusals, view."""

from __future__ import annotations

import pickle
import warnings
from xml.etree import ElementTree

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xphys.errors import SchemaError, UnknownNameError
from xphys.fields import derive
from xphys.metrics import Comparison, compare, summary
from xphys.metrics import _kernels as kernels
from xphys.schema import provenance
from xphys.spectra import spectra

MEASURES = {
    "vrmse",
    "vrmse_t",
    "rel_l2",
    "max_abs",
    "psnr",
    "mismatched_nonfinite",
    "invariant_drift",
    "invariant_drift_t",
    "spectrum_error",
    "divergence",
}


def refuse(*args, **kwargs):
    raise AssertionError("the graph was computed")


def flow(seed=0, dtype=np.float64) -> xr.Dataset:
    rng = np.random.default_rng(seed)
    about = {"period": 1.0, "units": "m"}
    coords = {
        "time": ("time", np.arange(5) * 0.5),
        "y": ("y", np.arange(8) / 8, about),
        "x": ("x", np.arange(12) / 12, about),
        "Re": 100.0,
    }
    tag = {"vector": "velocity", "units": "m/s"}
    dims = ("time", "y", "x")

    def noise(*shape):
        return (rng.normal(size=shape) + 2).astype(dtype)

    return xr.Dataset(
        {
            "velocity_x": (dims, noise(5, 8, 12), tag | {"component": "x"}),
            "velocity_y": (dims, noise(5, 8, 12), tag | {"component": "y"}),
            "depth": (("y", "x"), noise(8, 12)),
            "energy": ("time", noise(5)),
        },
        coords,
    )


def disturbed(ds: xr.Dataset, size=0.01) -> xr.Dataset:
    rng = np.random.default_rng(99)
    noisy = ds.copy(deep=True)
    for field in noisy.data_vars.values():
        field.values += (size * rng.normal(size=field.shape)).astype(field.dtype)
    return noisy


def test_numbers_equal_plain_numpy():
    old = flow()
    new = disturbed(old)
    result = compare(new, old)
    assert set(result.data_vars) == MEASURES
    for name in old.data_vars:
        t, r = new[name].values, old[name].values
        rmse = np.sqrt(np.mean((t - r) ** 2))
        found = result.sel(variable=name)
        np.testing.assert_allclose(found.vrmse, rmse / r.std(), rtol=1e-12)
        np.testing.assert_allclose(
            found.rel_l2, np.linalg.norm(t - r) / np.linalg.norm(r), rtol=1e-12
        )
        np.testing.assert_allclose(found.max_abs, np.abs(t - r).max(), rtol=1e-15)
        np.testing.assert_allclose(found.psnr, 20 * np.log10(np.ptp(r) / rmse), rtol=1e-12)
        assert found.mismatched_nonfinite == 0
        if r.ndim == 3:
            per_time = np.sqrt(((t - r) ** 2).mean(axis=(1, 2))) / r.std(axis=(1, 2))
            np.testing.assert_allclose(found.vrmse_t, per_time, rtol=1e-12)
            change = np.abs((t - r).mean(axis=(1, 2))) / r.std()
            np.testing.assert_allclose(found.invariant_drift, change.max(), rtol=1e-10)
            np.testing.assert_allclose(found.invariant_drift_t, change, rtol=1e-10)
        else:
            assert found.vrmse_t.isnull().all()


def test_spectrum_error_and_divergence_follow_their_functions():
    old = flow()
    new = disturbed(old)
    result = compare(new, old)
    means = [spectra(ds.velocity_x).mean("time") for ds in (new, old)]
    expected = np.abs(means[0] / means[1] - 1)
    np.testing.assert_allclose(
        result.spectrum_error.sel(variable="velocity_x"), expected, rtol=1e-12
    )
    assert result.spectrum_error.sel(variable="energy").isnull().all()
    np.testing.assert_array_equal(result.complete, means[0].complete)
    for origin, ds in (("reference", old), ("test", new)):
        divergence = derive(ds, "divergence").divergence_velocity
        speed = np.sqrt((ds.velocity_x**2 + ds.velocity_y**2).mean())
        spacing = (1 / 8 + 1 / 12) / 2
        share = np.sqrt((divergence**2).mean()) * spacing / speed
        np.testing.assert_allclose(
            result.divergence.sel(vector="velocity", origin=origin), share, rtol=1e-12
        )


def test_labels_units_and_provenance():
    result = compare(flow(), flow())
    assert isinstance(result, Comparison)
    assert result.vrmse.attrs["units"] == "1"
    assert result.psnr.attrs["units"] == "dB"
    assert list(result.units.values) == ["m/s", "m/s", "", ""]
    assert result.wavenumber.attrs["units"] == "1/m"
    assert float(result.Re) == 100.0
    np.testing.assert_array_equal(result.time, flow().time)
    assert provenance(result)[-1]["operation"] == "compare"


@pytest.mark.parametrize("dtype", ["f8", "f4", "i2"])
def test_a_copy_is_ideal(dtype):
    ds = (flow() * 100).astype(dtype)
    ds = ds.assign(flat=ds.depth * 0 + ds.depth.dtype.type(7))
    result = compare(ds, ds.chunk(time=2, x=5))
    for name in ("vrmse", "rel_l2", "max_abs", "invariant_drift", "mismatched_nonfinite"):
        assert (result[name] == 0).all(), name
    assert (result.psnr == np.inf).all()
    # nothing but the mean is in the constant field, so it has no spectrum
    errors = result.spectrum_error.sel(variable=["velocity_x", "velocity_y", "depth"])
    assert (errors == 0).all()
    assert result.spectrum_error.sel(variable="flat").isnull().all()


def test_a_constant_that_is_not_reproduced_has_no_finite_error():
    flat = xr.Dataset({"p": ("x", np.full(1000, 0.1))})
    near = flat + 1e-9
    for test in (near, near.chunk(x=7)):
        result = compare(test, flat).compute()
        assert result.vrmse.item() == np.inf
        assert result.psnr.item() == -np.inf
        np.testing.assert_allclose(result.rel_l2, 1e-8, rtol=1e-6)


@pytest.mark.parametrize(
    "chunks", [{"time": 1}, {"time": 2, "y": 3, "x": 5}, {"y": 4, "x": 3}, {"time": -1}]
)
@pytest.mark.parametrize("dtype", ["f8", "f4"])
def test_any_chunks_give_the_same_numbers_lazily(chunks, dtype):
    old = flow(dtype=dtype)
    new = disturbed(old)
    expected = compare(new, old, stored={"depth": 10})
    with dask.config.set(scheduler=refuse):
        result = compare(new.chunk(chunks), old.chunk(y=4), stored={"depth": 10})
        html = result._repr_html_()
    assert "lazy: <code>.compute()</code>" in html
    for name in MEASURES:
        assert result[name].chunks is not None, name
    computed = result.compute()
    assert isinstance(computed, Comparison)
    xr.testing.assert_allclose(computed, expected, rtol=1e-11)
    for mixed in (compare(new.chunk(chunks), old), compare(new, old.chunk(chunks))):
        xr.testing.assert_allclose(mixed.compute().vrmse, expected.vrmse, rtol=1e-12)


@settings(max_examples=15, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 5), st.integers(1, 6), st.integers(1, 6)),
    chunk=st.tuples(st.integers(2, 4), st.integers(1, 4), st.integers(2, 4)),
    offset=st.sampled_from([0.0, 1e8]),
    holes=st.floats(0, 0.5),
)
def test_states_merge_for_any_shape_chunks_and_holes(shape, chunk, offset, holes):
    rng = np.random.default_rng(5)
    values = rng.normal(size=shape) + offset
    values[rng.random(shape) < holes] = np.nan
    old = xr.Dataset({"p": (("time", "y", "x"), values)})
    new = old + 0.1 * rng.normal(size=shape)
    result = compare(new.chunk(dict(zip(("time", "y", "x"), chunk, strict=True))), old).compute()
    error = (new - old).p.values
    finite = np.isfinite(values)
    spread = values[finite].std() if np.ptp(values[finite] if finite.any() else [0]) else 0.0
    rmse = np.sqrt(np.mean(error[finite] ** 2)) if finite.any() else 0.0
    expected = rmse / spread if spread else (np.inf if rmse else 0.0)
    np.testing.assert_allclose(result.vrmse.item(), expected, rtol=1e-9 + 1e-15 * offset)
    assert result.mismatched_nonfinite.item() == 0


def test_a_large_offset_cannot_spoil_the_deviation():
    rng = np.random.default_rng(2)
    wave = rng.normal(size=4000)
    old = xr.Dataset({"p": ("x", wave + 1e9)})
    new = old + 0.1
    expected = 0.1 / (old.p.values - 1e9).std()
    for test in (new, new.chunk(x=37)):
        np.testing.assert_allclose(compare(test, old).vrmse, expected, rtol=1e-6)


def test_equal_holes_are_left_out_and_others_counted():
    old = flow()
    old.velocity_x[0, 0, 0] = np.nan
    old.velocity_x[1, 2, 3] = -np.inf
    new = disturbed(old)
    finite = np.isfinite(old.velocity_x.values)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = compare(new.chunk(time=1), old).compute().sel(variable="velocity_x")
    t, r = new.velocity_x.values[finite], old.velocity_x.values[finite]
    np.testing.assert_allclose(result.vrmse, np.sqrt(np.mean((t - r) ** 2)) / r.std(), rtol=1e-12)
    assert result.mismatched_nonfinite == 0
    assert result.spectrum_error.isnull().all()

    new.velocity_x[1, 2, 3] = np.inf
    new.velocity_x[3, 0, 0] = np.nan
    result = compare(new, old).sel(variable="velocity_x")
    assert result.mismatched_nonfinite == 2
    for name in ("vrmse", "rel_l2", "max_abs", "invariant_drift"):
        assert result[name] == np.inf
    assert result.psnr == -np.inf
    np.testing.assert_array_equal(np.isinf(result.vrmse_t), [False, True, False, True, False])


def test_kernel_states_hold_what_they_say():
    old = np.array([[1.0, 2.0, 3.0, np.nan]])
    new = np.array([[1.5, 2.0, 2.0, 0.0]])
    state = kernels.states(new, old, core=1)
    np.testing.assert_allclose(state[0, 0], [3, 1, 2, 2, -0.5, 1.25, 1.0, 1.0, 3.0])
    halves = np.stack(
        [kernels.states(new[:, i], old[:, i], core=1)[:, 0] for i in (slice(0, 1), slice(1, 4))],
        axis=1,
    )
    np.testing.assert_allclose(kernels.merge(halves, axes=1)[0], state[0, 0])


def test_dims_choose_what_is_reduced():
    old = flow()
    new = disturbed(old)
    result = compare(new.chunk(time=2), old, dims=("y", "x")).compute()
    assert result.vrmse.dims == ("variable", "time")
    assert "energy" not in result.variable
    whole = compare(new, old)
    velocity = ["velocity_x", "velocity_y"]
    np.testing.assert_allclose(
        result.vrmse.sel(variable=velocity), whole.vrmse_t.sel(variable=velocity), rtol=1e-12
    )
    assert result.spectrum_error.dims == ("variable", "time", "wavenumber")
    assert "Comparison" in result._repr_html_()
    with pytest.raises(SchemaError, match="over all dims"):
        summary(result)
    lines = compare(new, old, dims="x")
    assert set(lines.vrmse.dims) == {"variable", "time", "y"}
    with pytest.raises(SchemaError, match="lon"):
        compare(new, old, dims="lon")


def test_an_ensemble_is_reduced_like_time():
    old = xr.concat([flow(s)[["velocity_x"]] for s in range(3)], "trajectory")
    new = disturbed(old)
    result = compare(new.chunk(trajectory=1), old).compute()
    t, r = new.velocity_x.values, old.velocity_x.values
    change = np.abs((t - r).mean(axis=(2, 3))) / r.std()
    np.testing.assert_allclose(result.invariant_drift, [change.max()], rtol=1e-10)
    np.testing.assert_allclose(result.invariant_drift_t[0], change.max(axis=0), rtol=1e-10)
    per_time = np.sqrt(((t - r) ** 2).mean(axis=(0, 2, 3))) / r.std(axis=(0, 2, 3))
    np.testing.assert_allclose(result.vrmse_t[0], per_time, rtol=1e-12)


def test_stored_bytes_give_the_ratio():
    old = flow()
    size = xr.DataArray(dask.array.from_array(np.array(96.0)))
    result = compare(old, old, stored={"velocity_x": 384, "depth": size, "other": 1}).compute()
    np.testing.assert_array_equal(result.bytes, [384, np.nan, 96, np.nan])
    np.testing.assert_array_equal(result.ratio, [10, np.nan, 8, np.nan])
    np.testing.assert_array_equal(result.bits_per_value, [6.4, np.nan, 8, np.nan])


def test_data_arrays_and_order_of_dims():
    old = flow().velocity_x
    new = disturbed(flow()).velocity_x
    result = compare(new.transpose("x", "time", "y"), old)
    np.testing.assert_allclose(result.vrmse[0], compare(new, old).vrmse[0], rtol=1e-15)
    assert list(result.variable) == ["velocity_x"]
    with pytest.raises(SchemaError, match="two Datasets or two DataArrays"):
        compare(new, flow())


def test_axes_of_different_variables_share_one_wavenumber():
    ds = flow()[["depth"]].assign(profile=flow().depth.isel(y=0, drop=True))
    result = compare(disturbed(ds), ds)
    count = spectra(ds.profile).sizes["wavenumber"]
    assert result.sizes["wavenumber"] == spectra(ds.depth).sizes["wavenumber"] > count
    assert result.spectrum_error.sel(variable="profile")[count:].isnull().all()
    assert result.spectrum_error.sel(variable="profile")[:count].notnull().all()
    assert "complete" not in result.coords


def test_differences_of_grid_and_name_are_refused():
    old = flow()
    with pytest.raises(SchemaError, match=r"velocity_x.*'x': 11.*'x': 12"):
        compare(old.isel(x=slice(0, 11)), old)
    with pytest.raises(SchemaError, match=r"velocity_x.*positions along 'x'"):
        compare(old.assign_coords(x=old.x + 0.01), old)
    single = old.assign_coords(x=old.x.astype(np.float32))
    assert (compare(single, old).vrmse == 0).all()
    with pytest.raises(UnknownNameError, match="no real variable"):
        compare(old.rename(dict.fromkeys(old.data_vars) and {n: n + "_" for n in old}), old)
    with pytest.raises(UnknownNameError, match="no real variable"):
        compare(old * 1j, old * 1j)


def test_view_is_a_table_with_a_wellformed_picture():
    old = flow().rename(depth="<depth & more>")
    result = compare(disturbed(old), old, stored={"velocity_x": 100})
    html = result._repr_html_()
    assert "&lt;depth &amp; more&gt;" in html
    assert "<depth" not in html
    assert "<th>psnr (dB)</th>" in html
    assert "m/s" in html
    picture = html[html.index("<svg") : html.index("</svg>") + 6]
    root = ElementTree.fromstring(picture)
    assert len(root.findall("polyline")) == 2 * 3  # each has a sample in the legend
    for line in root.findall("polyline"):
        points = np.array([p.split(",") for p in line.get("points").split()], dtype=float)
        assert ((points >= 0) & (points <= (420, 300))).all()
    assert "<svg" not in compare(old, old)._repr_html_().split("<details>")[0]
    assert "Comparison" in result[["psnr"]]._repr_html_()


def test_summary_gives_plain_rows():
    old = flow()
    rows = summary(compare(disturbed(old), old, stored={"velocity_x": 384}))
    assert [row["variable"] for row in rows] == list(old.data_vars)
    assert rows[0]["ratio"] == 10.0
    assert rows[0]["units"] == "m/s"
    assert all(type(value) in (str, float) for row in rows for value in row.values())
    with pytest.raises(SchemaError, match="compute"):
        summary(compare(old.chunk(), old))


def test_a_comparison_survives_pickle_and_copies():
    result = compare(flow(), flow())
    again = pickle.loads(pickle.dumps(result))
    assert isinstance(again, Comparison)
    xr.testing.assert_identical(again, result)
    assert isinstance(result.isel(variable=[0]), Comparison)


def test_real_flow(simulation_data):
    name = simulation_data / "exponax" / "decaying_navier_stokes_3d.nc"
    with xr.open_dataset(name, engine="netcdf4", chunks={}) as ds:
        for component, variable in zip("xyz", "uvw", strict=True):
            ds[component].attrs["period"] = 2 * np.pi
            ds[variable].attrs.update(vector="velocity", component=component)
        loaded = ds.load()
        step = 1e-3
        rounded = (loaded / step).round() * step
        rounded = rounded.map(lambda v: v.astype(np.float32).assign_attrs(loaded[v.name].attrs))
        result = compare(rounded.chunk(time=4), loaded).compute()
    assert (result.max_abs < 0.5001 * step).all()
    # uniform rounding: the error has the deviation step / sqrt(12)
    deviation = np.array([loaded[v].astype(np.float64).std() for v in "uvw"])
    np.testing.assert_allclose(result.vrmse, step / 12**0.5 / deviation, rtol=0.01)
    low, high = result.divergence.sel(vector="velocity", origin=["reference", "test"]).values
    assert low < 1e-5 < high
    assert float(result.spectrum_error.sel(wavenumber=slice(0.5, 5.5)).max()) < 1e-3
