"""Reconstructions, gaps between resolutions and lasting turbulence, with reports and figures."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import xarray as xr

import xphys
from xphys.errors import SchemaError
from xphys.fields import degrade
from xphys.metrics import (
    analysis_metrics,
    analyze,
    distances,
    domain_gap,
    gap_report,
    sustained,
    sweep_report,
)
from xphys.plotting import analysis_figures, gap_figure, pdf_figure
from xphys.schema import provenance
from xphys.stats import pdf


def refuse(*args, **kwargs):
    raise AssertionError("the graph was computed")


def vortices(seed: int = 0, ny: int = 24, nx: int = 32) -> xr.Dataset:
    rng = np.random.default_rng(seed)
    coords = {"time": ("time", np.arange(6) * 0.5, {"units": "s"})}
    for d, n in (("y", ny), ("x", nx)):
        coords[d] = (d, np.arange(n) / n, {"units": "m", "period": 1.0})
    return xr.Dataset({"omega": (("time", "y", "x"), rng.normal(size=(6, ny, nx)))}, coords)


def literal_spectra(w: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bins, energy and enstrophy of one frame, as published diagnostics take them."""
    ky, kx = np.meshgrid(*(2 * np.pi * np.fft.fftfreq(n) for n in w.shape), indexing="ij")
    k = np.hypot(kx, ky)
    hat = np.fft.fft2(w)
    with np.errstate(divide="ignore", invalid="ignore"):
        psi = np.where(k > 0, hat / k**2, 0)
    energy = 0.5 * (np.abs(ky * psi) ** 2 + np.abs(kx * psi) ** 2)
    edges = np.linspace(0, k.max(), min(w.shape) // 2)
    place = np.maximum(np.searchsorted(edges, k), 1)
    place = np.minimum(place, edges.size - 1)
    means = [
        np.array([q[place == i].mean() for i in range(1, edges.size)])
        for q in (energy, 0.5 * np.abs(hat) ** 2)
    ]
    return (edges[:-1] + edges[1:]) / 2, *means


def test_analysis_is_the_literal_one():
    old = vortices()
    new = old + 0.3 * vortices(1)
    found = analyze(new, old)
    for origin, ds in (("reference", old), ("test", new)):
        frames = [literal_spectra(w) for w in ds.omega.values]
        np.testing.assert_allclose(found.wavenumber, frames[0][0], rtol=1e-12)
        for i, name in ((1, "tke_spectrum"), (2, "enstrophy_spectrum")):
            mean = np.mean([f[i] for f in frames], axis=0)
            np.testing.assert_allclose(found[name].sel(origin=origin), mean, rtol=1e-10)
    t, r = new.omega.values, old.omega.values
    width = np.ptp(r)
    edges = np.linspace(r.min() - 0.01 * width, r.max() + 0.01 * width, 101)
    p, q = (np.histogram(v, edges, density=True)[0] for v in (r, t))
    np.testing.assert_allclose(found.pixel_histogram, [p, q], rtol=1e-12)
    np.testing.assert_allclose(np.append(found.left, found.right[-1]), edges, rtol=1e-14)
    p, q = (v + 1e-10 for v in (p, q))
    p, q = p / p.sum(), q / q.sum()
    middle = (p + q) / 2
    js = 0.5 * (p * np.log(p / middle)).sum() + 0.5 * (q * np.log(q / middle)).sum()
    each = ((t - r) ** 2).mean((1, 2))
    numbers = analysis_metrics(found)
    assert numbers["n_samples"] == 6
    np.testing.assert_allclose(numbers["pixel"]["js_divergence"], js, rtol=1e-12)
    np.testing.assert_allclose(
        numbers["pixel"]["tv_distance"], 0.5 * np.abs(p - q).sum(), rtol=1e-8
    )
    np.testing.assert_allclose(numbers["mse"]["mean"], each.mean(), rtol=1e-13)
    np.testing.assert_allclose(numbers["mse"]["std"], each.std(), rtol=1e-12)


@pytest.mark.parametrize("outer", [None, (-2.0, 2.5)])
@pytest.mark.parametrize("chunks", [{"time": 1}, {"time": 4, "y": 5, "x": 7}])
def test_analysis_of_any_chunks_is_the_same_lazily(chunks, outer):
    old = vortices()
    new = old + 0.3 * vortices(1)
    expected = analyze(new, old, range=outer)
    with dask.config.set(scheduler=refuse):
        lazy = analyze(new.chunk(chunks), old.chunk(time=2), range=outer)
    found = lazy.compute()
    for name in expected.data_vars:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-12, atol=1e-15)


def test_analysis_of_equal_data_of_samples_and_of_vectors():
    old = vortices()
    same = analysis_metrics(analyze(old, old))
    assert same["mse"] == {"mean": 0.0, "std": 0.0}
    assert same["pixel"] == {"js_divergence": 0.0, "tv_distance": 0.0}
    part = analyze(old + 0.1, old, samples=(1, 4))
    assert int(part.n_samples) == 3
    xr.testing.assert_allclose(part.tke_spectrum, analyze(old, old, samples=(1, 4)).tke_spectrum)
    flow = old.rename(omega="velocity_x").assign(velocity_y=vortices(2).omega)
    for c in "xy":
        flow[f"velocity_{c}"].attrs.update(vector="velocity", component=c)
    found = analyze(flow + 0.1, flow)
    np.testing.assert_allclose(found.mse_mean, 0.01, rtol=1e-12)
    assert (found.tke_spectrum > 0).all()
    bad = old.copy(deep=True)
    bad.omega[0, 0, 0] = np.nan
    lost = analyze(bad, old)
    assert lost.js_divergence.isnull()
    assert lost.mse_mean.isnull()
    assert analyze(old, bad).pixel_histogram.isnull().all()


def test_figures_of_an_analysis(tmp_path):
    old = vortices()
    figures = analysis_figures(analyze(old.chunk(time=2) * 1.1, old))
    assert list(figures) == ["tke_spectrum", "enstrophy_spectrum", "pixel_histogram"]
    for name, figure in figures.items():
        figure.savefig(tmp_path / f"{name}.png")
        (panel,) = figure.axes
        assert panel.get_yscale() == ("linear" if name == "pixel_histogram" else "log")
        assert [t.get_text() for t in panel.get_legend().get_texts()] == ["truth", "reconstruction"]
    assert len(pdf_figure(pdf(old), other=pdf(old * 2)).axes) == 1
    with pytest.raises(SchemaError, match=r"pdf\(\)"):
        pdf_figure(old)


# --- gap ------------------------------------------------------------------------------------


def run(n: int, *, shift: float = 0.0, dt: float = 0.0) -> xr.Dataset:
    x = (np.arange(n) + 0.5) / n
    coords = {"time": ("time", np.arange(3) * 0.5 + dt, {"units": "s"})}
    for d in "yx":
        coords[d] = (d, x, {"units": "m", "period": 1.0})
    wave = [
        np.sin(2 * np.pi * k * (x[None] + shift)) * np.cos(2 * np.pi * x[:, None])
        for k in (1, 2, 3)
    ]
    return xr.Dataset({"jz": (("time", "y", "x"), np.stack(wave), {"units": "A/m2"})}, coords)


def test_gap_is_its_formulas():
    low, high = run(16, shift=0.02), run(48, dt=1e-4)
    gap = domain_gap(low, high)
    small = degrade(high, 3).jz.values
    d = low.jz.values - small
    one = gap.sel(variable="jz")
    np.testing.assert_allclose(one.l2_gap, np.sqrt((d**2).mean((1, 2))), rtol=1e-12)
    for origin, values in (("coarse", low.jz), ("fine", high.jz), ("degraded", small)):
        v = np.asarray(values)
        np.testing.assert_allclose(one["std"].sel(origin=origin), v.std((1, 2)), rtol=1e-12)
        np.testing.assert_allclose(one["max"].sel(origin=origin), v.max((1, 2)), rtol=1e-12)
        np.testing.assert_allclose(one["min"].sel(origin=origin), v.min((1, 2)), rtol=1e-12)
        power = np.abs(np.fft.fft2(v) / v[0].size) ** 2
        ky, kx = np.meshgrid(*[np.fft.fftfreq(v.shape[-1], 1 / v.shape[-1])] * 2, indexing="ij")
        shell = np.floor(np.hypot(kx, ky) + 0.5)
        for n in (1, 3, 5):
            np.testing.assert_allclose(
                one.spectrum.sel(origin=origin)[:, n - 1], power[:, shell == n].mean(-1),
                rtol=1e-9, atol=1e-18,
            )  # fmt: skip
    for i in range(3):
        r = np.corrcoef(low.jz.values[i].ravel(), small[i].ravel())[0, 1]
        np.testing.assert_allclose(one.correlation[i], r, rtol=1e-12)
    fine = distances(high, low, "jz", bins=100)
    for name in ("js_divergence", "tv_distance"):
        np.testing.assert_allclose(one[name].sel(origin="fine"), fine[name][0], rtol=1e-12)
        assert one[name].sel(origin="coarse") == 0
    width = one.right - one.left
    np.testing.assert_allclose((one.pdf * width).sum("bin"), 1, rtol=1e-12)
    np.testing.assert_array_equal(gap.time, low.time)


def test_gap_of_either_order_and_any_chunks_is_the_same_lazily():
    low, high = run(16, shift=0.02), run(32)
    expected = domain_gap(low, high)
    with dask.config.set(scheduler=refuse):
        lazy = domain_gap(high.chunk(time=1, x=8), low.chunk(y=5))
    found = lazy.compute()
    for name in expected.data_vars:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-12, atol=1e-15)
    same = domain_gap(low, low)
    assert (same.l2_gap == 0).all()
    assert (same.correlation == 1).all()
    assert (same.std_ratio == 1).all()
    arrays = domain_gap(low.jz, high.jz)
    np.testing.assert_array_equal(arrays.l2_gap, expected.l2_gap)


def test_gap_report_says_what_agrees():
    low, high = run(16), run(32)
    report = gap_report(domain_gap(low, high))
    assert "## jz (A/m2)" in report
    assert report.count("\n| 0") == 2  # times 0 and 0.5
    assert "they agree" in report
    shifted = gap_report(domain_gap(run(16, shift=0.25), high))
    assert "do not agree" in shifted
    figure = gap_figure(domain_gap(low.chunk(time=1), high))
    assert len(figure.axes) == 3
    with pytest.raises(SchemaError, match="lazy"):
        gap_report(domain_gap(low.chunk(time=1), high))


# --- sustained ------------------------------------------------------------------------------


def histories() -> xr.Dataset:
    time = np.linspace(0, 100, 501) * 2 * np.pi
    energy = np.stack([1 + 0 * time, np.exp(-time / 200), np.exp(-time / 20), np.nan * time])
    coords = {
        "time": ("time", time, {"units": "1"}),
        "nu": ("trajectory", [1e-5, 1e-4, 1e-3, 1e-2]),
        "rotation_rate": 1.0,
    }
    parts = {f"kinetic_energy_{i}": (("trajectory", "time"), energy / 3) for i in (1, 2, 3)}
    return xr.Dataset(parts, coords)


def test_verdicts_of_a_sweep():
    ds = histories()
    with dask.config.set(scheduler=refuse):
        lazy = sustained(ds.chunk(trajectory=1, time=100))
    found = lazy.compute()
    assert list(found.verdict.values) == ["SUSTAINED", "DECAYING", "DEAD", "NOT FINITE"]
    orbit = ds.time / (2 * np.pi)
    total = sum(ds.data_vars.values())
    late, mid = (
        total.where((orbit >= a - 1e-9) & (orbit <= b + 1e-9)).mean("time")
        for a, b in ((70, 100), (30, 50))
    )
    np.testing.assert_allclose(found.ratio[:3], (late / mid)[:3], rtol=1e-12)
    assert found.attrs["windows_in"] == "periods"
    assert float(found.peak_time[1]) == 0
    assert provenance(found)[-1]["parameters"]["period"] == pytest.approx(2 * np.pi)
    report = sweep_report(found)
    assert "| nu |" in report
    assert "| SUSTAINED |" in report
    assert report.count("\n| ") == 6


def test_shares_of_a_run_are_orbits_of_one_of_100():
    ds = histories()
    orbits = sustained(ds)
    shares = sustained(ds.drop_vars("rotation_rate"))
    assert shares.attrs["windows_in"] == "share of the run"
    xr.testing.assert_equal(
        shares.ratio.drop_vars("nu"), orbits.ratio.drop_vars(["nu", "rotation_rate"])
    )
    given = sustained(ds.drop_vars("rotation_rate"), period=2 * np.pi)
    np.testing.assert_array_equal(given.ratio, orbits.ratio)
    other = sustained(ds, mid=(10, 20), late=(20, 30), thresholds=(0.9, 0.5))
    assert other.verdict.values.tolist()[:2] == ["SUSTAINED", "DECAYING"]


def test_fields_and_single_variables():
    rng = np.random.default_rng(0)
    time = np.arange(20.0)
    x = np.arange(8) / 8
    coords = {"time": time, "x": ("x", x, {"period": 1.0}), "y": ("y", x, {"period": 1.0})}
    fall = np.exp(-time / 4)[:, None, None]
    ds = xr.Dataset(coords=coords)
    for c in "xy":
        attrs = {"vector": "velocity", "component": c}
        ds[f"velocity_{c}"] = ("time", "y", "x"), fall * rng.normal(size=(20, 8, 8)), attrs
    found = sustained(ds.chunk(time=3)).compute()
    square = 0.5 * (ds.velocity_x**2 + ds.velocity_y**2).mean(("y", "x"))
    np.testing.assert_allclose(found.energy, square, rtol=1e-12)
    assert str(found.verdict.values) in ("DECAYING", "DEAD")
    one = sustained(ds, variable="velocity_x")
    np.testing.assert_allclose(one.energy, (ds.velocity_x**2).mean(("y", "x")), rtol=1e-12)


def test_real_runs(simulation_data):
    folder = simulation_data / "athenak"
    low, high = (xphys.open(str(folder / name))[["jz"]] for name in ("mri_64", "mri_128"))
    with pytest.raises(SchemaError, match="times differ"):
        domain_gap(low, high)
    when = [23.25, 23.88, 24.5]  # each run stores times that are a part of its own step apart
    low, high = (ds.sel(time=when, method="nearest").compute() for ds in (low, high))
    gap = domain_gap(low.chunk(time=1), high.chunk(time=1)).compute().sel(variable="jz")
    small = high.jz.values.astype("f8").reshape(3, 64, 2, 64, 2).mean((2, 4))
    d = low.jz.values - small.astype("f4")
    np.testing.assert_allclose(gap.l2_gap, np.sqrt((d.astype("f8") ** 2).mean((1, 2))), rtol=1e-6)
    assert (gap.correlation.values < 1).all()
    history = xphys.open(str(folder / "mri_128" / "HB3.mhd.hst"))
    found = sustained(history, period=2 * np.pi, mid=(1, 2), late=(3, 4))
    energy = sum(history[f"kinetic_energy_{i}"] for i in (1, 2, 3))
    orbit = history.time / (2 * np.pi)
    late, mid = (
        float(energy.values[(orbit.values >= a) & (orbit.values <= b)].mean())
        for a, b in ((3, 4), (1, 2))
    )
    np.testing.assert_allclose(found.ratio, late / mid, rtol=1e-12)
