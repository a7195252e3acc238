"""Scores, distances and ensembles: literal formulas, SciPy, ideals, any chunks."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import scipy.stats
import xarray as xr

from xphys.metrics import SCORES, distances, ensemble_scores, scores
from xphys.metrics import _ensemble_kernels as ensembles
from xphys.metrics import _score_kernels as kernels
from xphys.schema import provenance

CHUNKS = [{"time": 1}, {"time": 4, "y": 5, "x": 7}, {"x": 2}]
IDEAL = {"r2": 1.0, "pearson_r": 1.0, "psnr": np.inf, "ssim": 1.0}


def refuse(*args, **kwargs):
    raise AssertionError("the graph was computed")


def flow(seed: int = 0) -> xr.Dataset:
    rng = np.random.default_rng(seed)
    coords = {
        "time": ("time", np.arange(6) * 0.5, {"units": "s"}),
        "y": ("y", np.arange(24) * 0.5, {"units": "m", "boundary": "wall"}),
        "x": ("x", np.arange(30) * 0.5, {"units": "m", "period": 15.0}),
    }
    return xr.Dataset(
        {
            "u": (("time", "y", "x"), rng.normal(size=(6, 24, 30)) + 3, {"units": "m/s"}),
            "energy": ("time", rng.normal(size=6)),
        },
        coords,
    )


@pytest.fixture
def pair() -> tuple[xr.Dataset, xr.Dataset]:
    old = flow()
    return old + 0.1 * flow(1), old


def test_scores_are_their_formulas(pair):
    new, old = pair
    found = scores(new, old).sel(variable="u")
    assert set(found.data_vars) == set(SCORES)
    t, r = new.u.values, old.u.values
    d = t - r
    rmse = np.sqrt((d**2).mean())
    ends = np.zeros(r.shape, bool)
    ends[:, [0, -1]] = True
    expected = {
        "mse": rmse**2,
        "rmse": rmse,
        "mae": np.abs(d).mean(),
        "bias": d.mean(),
        "max_abs": np.abs(d).max(),
        "nrmse": np.linalg.norm(d) / np.linalg.norm(r),
        "vrmse": rmse / r.std(),
        "r2": 1 - (d**2).sum() / ((r - r.mean()) ** 2).sum(),
        "pearson_r": scipy.stats.pearsonr(t.ravel(), r.ravel()).statistic,
        "psnr": 20 * np.log10(np.ptp(r) / rmse),
        "mismatched_nonfinite": 0,
        "crmse": np.sqrt((d.mean((1, 2)) ** 2).mean()),
        "brmse": np.sqrt((d[ends] ** 2).mean()),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-12, err_msg=name)
    assert provenance(found)[-1]["operation"] == "scores"
    assert scores(new, old).rmse.attrs["long_name"] == "root mean square error"


def test_bands_add_up_to_the_error_of_the_fluctuations(pair):
    new, old = pair
    found = scores(new, old, ["frmse", "fnrmse", "log_spectrum_error"]).sel(variable="u")
    d, r = (new.u - old.u).values, old.u.values
    power = np.abs(np.fft.fft(d, axis=-1) / 30) ** 2
    truth = np.abs(np.fft.fft(r, axis=-1) / 30) ** 2
    test = np.abs(np.fft.fft(new.u.values, axis=-1) / 30) ** 2
    number = np.abs(np.fft.fftfreq(30, 1 / 30))
    for band, low, high in (("low", 1, 4), ("mid", 5, 12), ("high", 13, 99)):
        inside = (number >= low) & (number <= high)
        e, x = (p[..., inside].sum(-1).mean() for p in (power, truth))
        one = found.sel(band=band)
        np.testing.assert_allclose(one.frmse, np.sqrt(e), rtol=1e-12)
        np.testing.assert_allclose(one.fnrmse, np.sqrt(e / x), rtol=1e-12)
        orders = [
            abs(np.log10(test[..., number == n].mean() / truth[..., number == n].mean()))
            for n in np.unique(number[inside])
        ]
        np.testing.assert_allclose(one.log_spectrum_error, np.mean(orders), rtol=1e-10)
    apart = d - d.mean(-1, keepdims=True)
    np.testing.assert_allclose((found.frmse**2).sum(), (apart**2).mean(), rtol=1e-12)


def literal_similarity(x: np.ndarray, y: np.ndarray, periodic: tuple[bool, bool]) -> float:
    """Point by point, window by window."""
    offset = np.arange(-5, 6)
    window = np.exp(-(offset**2) / (2 * 1.5**2))
    window = np.outer(window, window) / window.sum() ** 2
    width = np.ptp(y)
    c1, c2 = (0.01 * width) ** 2, (0.03 * width) ** 2
    found = []
    rows = [range(n) if p else range(5, n - 5) for n, p in zip(x.shape, periodic, strict=True)]
    for i in rows[0]:
        for j in rows[1]:
            place = np.ix_((i + offset) % x.shape[0], (j + offset) % x.shape[1])
            a, b = x[place], y[place]
            ma, mb = (window * a).sum(), (window * b).sum()
            va, vb = (window * (a - ma) ** 2).sum(), (window * (b - mb) ** 2).sum()
            ab = (window * (a - ma) * (b - mb)).sum()
            found.append(
                (2 * ma * mb + c1) * (2 * ab + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
            )
    return float(np.mean(found))


@pytest.mark.parametrize("periodic", [(True, True), (False, True), (False, False)])
def test_similarity_is_the_literal_formula(periodic):
    rng = np.random.default_rng(3)
    y = rng.normal(size=(14, 17)) + 5
    x = y + 0.3 * rng.normal(size=y.shape)
    found = kernels.similarity(x[None], y[None], periodic=periodic)
    np.testing.assert_allclose(found, literal_similarity(x, y, periodic), rtol=1e-10)


def test_similarity_needs_a_window_and_finite_values(pair):
    new, old = pair
    small = {"x": slice(0, 8)}  # a part of a periodic axis is open
    assert scores(new.isel(small), old.isel(small), "ssim").ssim.isnull().all()
    holes = old.assign(u=old.u.where(old.u > 2))
    assert scores(holes, holes, "ssim").ssim.isnull().all()
    fixed = scores(new, old, "ssim", data_range=100.0).ssim.sel(variable="u")
    assert fixed > scores(new, old, "ssim").ssim.sel(variable="u")


@pytest.mark.parametrize("dtype", ["f8", "f4", "i4"])
def test_a_copy_has_the_ideal_of_each_score(dtype):
    ds = (flow()[["u"]] * 100).astype(dtype)
    found = scores(ds, ds.chunk(time=4, x=7)).compute()
    for name in SCORES:
        # means of spectra are summed in another order in chunks
        rounding = 1e-14 if name == "log_spectrum_error" else 0.0
        ideal = np.full(found[name].shape, IDEAL.get(name, 0.0))
        np.testing.assert_allclose(found[name], ideal, rtol=0, atol=rounding, err_msg=name)
    apart = distances(ds, ds)
    assert all(float(apart[name][0]) == 0 for name in apart.data_vars)


def test_constants_have_no_correlation_and_lost_ones_no_finite_error():
    flat = xr.Dataset({"p": ("x", np.full(100, 0.1))})
    found = scores(flat, flat)
    assert found.vrmse[0] == 0
    assert found.pearson_r.isnull().all()
    lost = scores(flat + 1e-9, flat)
    assert lost.vrmse[0] == np.inf
    assert lost.r2[0] == -np.inf


@pytest.mark.parametrize("chunks", CHUNKS)
def test_any_chunks_give_the_same_scores_lazily(pair, chunks):
    new, old = pair
    expected = scores(new, old)
    with dask.config.set(scheduler=refuse):
        lazy = scores(new.chunk(chunks), old.chunk(y=5))
    for name in SCORES:
        assert lazy[name].chunks is not None, name
    found = lazy.compute()
    for name in SCORES:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-12, atol=1e-15)


def test_scores_over_some_dims(pair):
    new, old = pair
    found = scores(new.chunk(time=2), old, ["rmse", "ssim", "fnrmse", "crmse"], dims=("y", "x"))
    assert found.rmse.dims == ("variable", "time")
    assert set(found.fnrmse.dims) == {"variable", "time", "band"}
    one = scores(new.u.isel(time=3), old.u.isel(time=3))
    for name in ("rmse", "ssim", "fnrmse", "crmse"):
        np.testing.assert_allclose(found[name].isel(time=3)[0], one[name][0], rtol=1e-12)


def test_values_that_are_not_finite(pair):
    new, old = pair
    holes = old.assign(u=old.u.where(old.u > 2))
    masked = new.assign(u=new.u.where(holes.u.notnull()))
    both = scores(masked, holes, ["rmse", "pearson_r", "frmse"])
    kept = holes.u.notnull().values
    d = (new.u - old.u).values[kept]
    one = both.sel(variable="u")
    np.testing.assert_allclose(one.rmse, np.sqrt((d**2).mean()), rtol=1e-12)
    assert one.frmse.isnull().all()
    found = scores(new, holes).sel(variable="u")
    assert int(found.mismatched_nonfinite) == (~kept).sum()
    assert found.rmse == found.vrmse == found.crmse == np.inf
    assert found.pearson_r.isnull()


# --- distances ------------------------------------------------------------------------------


def test_distances_are_those_of_scipy(pair):
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=4000), rng.gamma(2.0, 1.0, 3000)
    found = distances(xr.DataArray(x, dims="a", name="u"), xr.DataArray(y, dims="b", name="u"))
    width = np.ptp(np.append(x, y)) / 2**13
    np.testing.assert_allclose(
        found.wasserstein, [scipy.stats.wasserstein_distance(x, y)], atol=width
    )
    ks = scipy.stats.ks_2samp(x, y).statistic
    assert ks - 5e-3 < float(found.ks_distance[0]) <= ks
    low, high = min(x.min(), y.min()), max(x.max(), y.max())
    step = 2.0 ** np.ceil(np.log2((high - low) / 128))
    while np.floor(high / step) - np.floor(low / step) >= 128:
        step *= 2
    edges = np.arange(np.floor(low / step), np.floor(high / step) + 2) * step
    p, q = (np.histogram(v, edges)[0] / v.size for v in (x, y))
    middle = (p + q) / 2
    js = (scipy.stats.entropy(p, middle) + scipy.stats.entropy(q, middle)) / 2
    np.testing.assert_allclose(found.js_divergence, [js], rtol=1e-12)
    np.testing.assert_allclose(found.tv_distance, [0.5 * np.abs(p - q).sum()], rtol=1e-12)


def test_distances_of_values_apart_and_of_any_chunks(pair):
    x = xr.DataArray(np.linspace(0, 1, 50), dims="x", name="u")
    apart = distances(x, x + 10)
    np.testing.assert_allclose(apart.js_divergence, [np.log(2)])
    assert float(apart.tv_distance[0]) == float(apart.ks_distance[0]) == 1
    np.testing.assert_allclose(apart.wasserstein, [10], atol=1e-3)
    new, old = pair
    expected = distances(new, old, dims=("y", "x"), variables="u")
    assert expected.ks_distance.dims == ("variable", "time")
    with dask.config.set(scheduler=refuse):
        lazy = distances(new.chunk(x=7), old.chunk(time=4, y=5), dims=("y", "x"), variables="u")
    xr.testing.assert_identical(lazy.compute(), expected)
    one = distances(new.u.isel(time=2), old.u.isel(time=2))
    np.testing.assert_array_equal(expected.wasserstein.isel(time=2), one.wasserstein)
    holes = old.u.where(old.u > 2)
    assert distances(holes, old.u).js_divergence.isnull().all()
    kept = distances(holes, old.u.values[old.u.values > 2].reshape(-1) * xr.ones_like(
        xr.DataArray(np.zeros((old.u.values > 2).sum()), dims="p", name="u")), skipna=True
    )  # fmt: skip
    assert float(kept.wasserstein[0]) == 0


# --- ensembles ------------------------------------------------------------------------------


def test_crps_is_the_double_sum_and_the_integral():
    rng = np.random.default_rng(5)
    members, truth = rng.normal(size=(9, 7)), rng.normal(size=9)
    usual, fair = ensembles.crps(members, truth)
    far = np.abs(members - truth[:, None]).mean(-1)
    pairs = np.abs(members[:, :, None] - members[:, None]).sum((1, 2))
    np.testing.assert_allclose(usual, far - pairs / (2 * 49), rtol=1e-12)
    np.testing.assert_allclose(fair, far - pairs / (2 * 42), rtol=1e-12)
    grid = np.linspace(-8, 8, 160001)
    below = (members[0][:, None] <= grid).mean(0)
    integral = np.trapezoid((below - (truth[0] <= grid)) ** 2, grid)
    np.testing.assert_allclose(usual[0], integral, atol=1e-3)


@pytest.mark.parametrize("member", ["sample", "trajectory", "realization", "operator"])
def test_ensemble_scores_are_their_formulas(member):
    old = flow()
    test = xr.concat([old + 0.3 * flow(s) - 0.9 for s in range(2, 9)], member, data_vars="all")
    found = ensemble_scores(test, old).sel(variable="u")
    x, y = np.moveaxis(test.u.values, 0, -1), old.u.values
    usual, fair = ensembles.crps(x, y)
    np.testing.assert_allclose(found.crps, usual.mean(), rtol=1e-12)
    np.testing.assert_allclose(found.crps_fair, fair.mean(), rtol=1e-12)
    rmse = np.sqrt(((x.mean(-1) - y) ** 2).mean())
    spread = np.sqrt(x.var(-1, ddof=1).mean())
    np.testing.assert_allclose(found.rmse, rmse, rtol=1e-12)
    np.testing.assert_allclose(found.spread, spread, rtol=1e-12)
    np.testing.assert_allclose(found.spread_skill, np.sqrt(8 / 7) * spread / rmse, rtol=1e-12)
    below = (x < y[..., None]).sum(-1).ravel()
    np.testing.assert_allclose(found.rank_histogram, np.bincount(below, minlength=8) / y.size)
    assert provenance(found)[-1]["parameters"]["member"] == member


@pytest.mark.parametrize("chunks", [{"sample": 1}, {"sample": 3, "x": 7}, {"time": 2}])
def test_any_chunks_give_the_same_ensemble_scores_lazily(chunks):
    old = flow()
    test = xr.concat([old + 0.3 * flow(s) for s in range(2, 7)], "sample", data_vars="all")
    expected = ensemble_scores(test, old)
    with dask.config.set(scheduler=refuse):
        lazy = ensemble_scores(test.chunk(chunks), old.chunk(y=5))
    found = lazy.compute()
    for name in expected.data_vars:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-12, atol=1e-14)
    kept = ensemble_scores(test.chunk(chunks), old, "u", dims=("y", "x")).compute()
    assert kept.crps.dims == ("variable", "time")
    np.testing.assert_allclose(kept.crps.mean("time"), expected.crps.sel(variable=["u"]))


def test_ideal_ensembles_and_ties():
    rng = np.random.default_rng(6)
    draws = rng.normal(size=(8, 40000))
    truth = xr.DataArray(draws[0], dims="x", name="u")
    found = ensemble_scores(xr.DataArray(draws[1:], dims=("sample", "x"), name="u"), truth)
    assert abs(float(found.spread_skill[0]) - 1) < 0.02
    np.testing.assert_allclose(found.rank_histogram[0], 1 / 8, atol=0.01)
    perfect = ensemble_scores(truth.expand_dims(sample=3), truth)
    for name in ("crps", "crps_fair", "rmse", "spread"):
        assert float(perfect[name][0]) == 0
    np.testing.assert_allclose(perfect.rank_histogram[0], 0.25)  # ties are shared
    single = ensemble_scores(truth.expand_dims(sample=1) + 1, truth)
    np.testing.assert_allclose(single.crps, [1.0])
    assert single.crps_fair.isnull().all()
    assert single.spread.isnull().all()


def test_holes_in_an_ensemble():
    old = flow()[["u"]]
    test = xr.concat([old + 0.3 * flow(s)[["u"]] for s in range(2, 7)], "sample")
    test.u[0, 0, 0, 0] = np.nan
    assert ensemble_scores(test, old).crps.isnull().all()
    found = ensemble_scores(test, old, skipna=True)
    x, y = np.moveaxis(test.u.values, 0, -1), old.u.values
    good = np.isfinite(x).all(-1)
    np.testing.assert_allclose(found.crps, [ensembles.crps(x[good], y[good])[0].mean()])
    np.testing.assert_allclose(found.rank_histogram.sum(), 1)
