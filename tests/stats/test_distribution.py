"""Moments and densities: NumPy and SciPy, merging without loss, laziness, NaN."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import scipy.stats
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xphys.schema import provenance
from xphys.stats import _moment_states as moment_states
from xphys.stats import histograms, moments, pdf

CHUNKS = [{"time": 1}, {"time": 2, "y": 7, "x": 11}, {"x": 1}, {"y": 13}]


def refuse(*args, **kwargs):
    raise AssertionError("the graph was computed")


@pytest.fixture
def ds() -> xr.Dataset:
    rng = np.random.default_rng(0)
    values = rng.gamma(2.0, 1.0, (5, 30, 40))
    coords = {"time": np.arange(5.0), "x": np.arange(40.0), "nu": 0.1}
    return xr.Dataset(
        {
            "u": (("time", "y", "x"), values, {"units": "m/s"}),
            "profile": (("y", "x"), rng.normal(size=(30, 40)) - 3),
            "label": ("time", list("abcde")),
        },
        coords,
    )


def test_moments_are_those_of_scipy(ds):
    found = moments(ds)
    assert list(found["variable"].values) == ["u", "profile"]
    for name in ("u", "profile"):
        values, one = ds[name].values.ravel(), found.sel(variable=name)
        assert one["count"] == values.size
        np.testing.assert_allclose(one["mean"], values.mean(), rtol=1e-13)
        np.testing.assert_allclose(one.variance, values.var(), rtol=1e-13)
        np.testing.assert_allclose(one["std"], values.std(), rtol=1e-13)
        np.testing.assert_allclose(one.skewness, scipy.stats.skew(values), rtol=1e-11)
        np.testing.assert_allclose(one.kurtosis, scipy.stats.kurtosis(values), rtol=1e-10)
        assert (one["min"], one["max"]) == (values.min(), values.max())
    assert list(found.units.values) == ["m/s", ""]
    assert provenance(found)[-1]["operation"] == "moments"


@pytest.mark.parametrize("chunks", CHUNKS)
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_moments_of_any_chunks_are_the_same_lazily(ds, chunks, offset):
    moved = ds.assign(u=ds.u + offset)
    expected = moments(moved)
    with dask.config.set(scheduler=refuse):
        lazy = moments(moved.chunk(chunks))
    assert lazy.skewness.chunks is not None
    found = lazy.compute()
    for name in expected.data_vars:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-12, atol=1e-13)


def test_a_large_offset_does_not_spoil_the_skewness(ds):
    values = np.round(ds.u.values * 2**20) / 2**20  # the sum with the offset is exact
    plain = ds.u.copy(data=values)
    expected = moments(plain)
    moved = moments((plain + 2.0**20).chunk(y=7, time=1)).compute()
    for name in ("variance", "skewness", "kurtosis"):
        np.testing.assert_allclose(moved[name], expected[name], rtol=1e-12)


def test_moments_over_some_dims(ds):
    found = moments(ds.chunk(time=2, x=9), dims=("y", "x")).compute()
    assert found.kurtosis.dims == ("variable", "time")
    expected = scipy.stats.kurtosis(ds.u.values.reshape(5, -1), axis=1)
    np.testing.assert_allclose(found.kurtosis.sel(variable="u"), expected, rtol=1e-11)
    np.testing.assert_array_equal(found.time, ds.time)
    over_time = moments(ds, dims="time")
    assert list(over_time["variable"].values) == ["u"]
    np.testing.assert_allclose(over_time.variance[0], ds.u.values.var(axis=0), rtol=1e-12)


def test_nan_and_constants(ds):
    holes = ds.u.where(ds.u > 0.5)
    assert moments(holes)["mean"].isnull().all()
    kept = ds.u.values[ds.u.values > 0.5]
    found = moments(holes.chunk(x=7), skipna=True).compute()
    assert int(found["count"][0]) == kept.size
    assert int(found.nan_count[0]) == ds.u.size - kept.size
    np.testing.assert_allclose(found.skewness[0], scipy.stats.skew(kept), rtol=1e-11)
    flat = moments(xr.DataArray(np.full(1000, 0.1), dims="x"))
    assert flat.variance[0] == 0
    assert flat.kurtosis.isnull().all()
    assert moments(xr.DataArray([np.nan, np.nan], dims="x"), skipna=True)["mean"].isnull().all()


def test_a_state_of_no_values_changes_nothing():
    state = moment_states.states(np.arange(7.0) + 5, core=1)
    nothing = moment_states.states(np.empty(0), core=1)
    for order in ([state, nothing], [nothing, state], [nothing, state, nothing]):
        merged = moment_states.merge(np.concatenate(order), axes=1)
        np.testing.assert_array_equal(merged, state[0])


# --- densities ------------------------------------------------------------------------------


def test_given_bins_are_those_of_numpy(ds):
    for bins, edges in ((np.array([0.0, 0.5, 2, 4]), None), (13, (0.0, 4.0))):
        found = pdf(ds.chunk(x=7), "u", bins=bins, range=edges).compute()
        counts, ends = np.histogram(ds.u, bins, edges)
        np.testing.assert_array_equal(found["count"][0], counts)
        np.testing.assert_allclose(found.left[0], ends[:-1], rtol=1e-15)
        np.testing.assert_allclose(found.right[0], ends[1:], rtol=1e-15)
        density = np.histogram(ds.u, bins, edges, density=True)[0]
        np.testing.assert_allclose(found.pdf[0], density, rtol=1e-14)
        assert int(found.above[0]) == (ds.u.values > 4).sum()
        assert int(found.below[0]) == 0


@pytest.mark.parametrize("chunks", CHUNKS)
@pytest.mark.parametrize("bins", [2, 50, 1000])
def test_fitting_bins_are_the_same_for_any_chunks(ds, chunks, bins):
    expected = pdf(ds, bins=bins)
    with dask.config.set(scheduler=refuse):
        lazy = pdf(ds.chunk(chunks), bins=bins)
    xr.testing.assert_identical(lazy.compute(), expected)
    for name in ("u", "profile"):
        one = expected.sel(variable=name)
        edges = np.append(one.left, one.right[-1])
        np.testing.assert_array_equal(one["count"], np.histogram(ds[name], edges)[0])
        assert int(one["count"].sum()) == ds[name].size
        width = float(one.right[0] - one.left[0])
        assert np.log2(width) == round(np.log2(width))
        np.testing.assert_array_equal(edges % width, 0)
        # half the width would not do
        assert np.ptp(np.floor(ds[name].values / (width / 2))) >= bins
        np.testing.assert_allclose(float((one.pdf * width).sum()), 1, rtol=1e-14)


def test_density_at_each_time(ds):
    found = pdf(ds.chunk(time=2, y=11), "u", bins=20, dims=("y", "x")).compute()
    assert found.pdf.dims == ("variable", "time", "bin")
    for i in range(5):
        xr.testing.assert_equal(
            found.isel(time=i)["count"].drop_vars("time"),
            pdf(ds.u.isel(time=i), bins=20)["count"].drop_vars(["time", "units"], errors="ignore")
            .assign_coords(units=("variable", ["m/s"])),
        )  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(
        st.floats(allow_nan=True, allow_infinity=True, width=64).filter(
            lambda v: not 0 < abs(v) < 1e-290
        ),
        min_size=1,
        max_size=40,
    ),
    bins=st.integers(2, 30),
    cuts=st.lists(st.integers(0, 40), max_size=4),
)
def test_histogram_states_merge_without_loss(values, bins, cuts):
    x = np.array(values)
    whole = histograms.states(x, core=1, bins=bins)[0]
    places = [0, *sorted(min(c, x.size) for c in cuts), x.size]
    parts = [
        histograms.states(x[a:b], core=1, bins=bins)[0]
        for a, b in zip(places[:-1], places[1:], strict=True)
    ]
    np.testing.assert_array_equal(histograms.merge(np.stack(parts), axes=1), whole)
    nested = histograms.merge(np.stack([histograms.merge(np.stack(parts[:2]), axes=1), *parts[2:]]),
                              axes=1)  # fmt: skip
    np.testing.assert_array_equal(nested, whole)
    finite = x[np.isfinite(x)]
    assert whole[histograms.HEAD :].sum() == finite.size
    assert whole[1] == np.isnan(x).sum()


def test_constants_nan_and_infinity():
    flat = pdf(xr.DataArray(np.full(10, 3.0), dims="x"), bins=4).isel(variable=0)
    assert (float(flat.left[0]), float(flat.right[-1])) == (2.5, 3.5)
    assert int(flat["count"].sum()) == 10
    assert float((flat.pdf * 0.25).sum()) == 1
    holes = xr.DataArray([0.0, 1.0, np.nan, np.inf, -np.inf], dims="x")
    found = pdf(holes, bins=4).isel(variable=0)
    assert found.pdf.isnull().all()
    assert [int(found[n]) for n in ("nan_count", "below", "above")] == [1, 1, 1]
    kept = pdf(holes, bins=4, skipna=True).isel(variable=0)
    assert int(kept["count"].sum()) == 2
    assert float((kept.pdf * (kept.right - kept.left)).sum()) == 1
    nothing = pdf(xr.DataArray([np.nan], dims="x"), bins=4, skipna=True)
    assert nothing.pdf.isnull().all()
    assert int(nothing["count"].sum()) == 0


def test_single_precision_and_integers_are_counted_exactly():
    rng = np.random.default_rng(1)
    for values in (rng.normal(size=500).astype("f4"), rng.integers(-9, 9, 500), [True, False]):
        array = xr.DataArray(values, dims="x")
        found = pdf(array.chunk(x=77) if array.size > 77 else array, bins=8).compute()
        edges = np.append(found.left[0], found.right[0, -1])
        expected = np.histogram(np.asarray(values, np.float64), edges)[0]
        np.testing.assert_array_equal(found["count"][0], expected)


def test_vectors_stand_for_their_components():
    tag = {"vector": "velocity", "units": "m/s"}
    ds = xr.Dataset({f"v{c}": ("x", [1.0, 2.0], {**tag, "component": c}) for c in "xy"})
    assert list(pdf(ds, "velocity", bins=2)["variable"].values) == ["vx", "vy"]
    assert list(moments(ds, "velocity")["variable"].values) == ["vx", "vy"]
