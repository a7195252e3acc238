"""What features must do on fields that are known: waves, noise, symmetries, other grids."""

from __future__ import annotations

import json

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

import xphys
from xphys.features import features
from xphys.features._kernels.loops import ranked
from xphys.schema import provenance

SPATIAL = ("spatial", "spectral")


def axis(dim: str, n: int, length: float = 1.0, **attrs) -> xr.Variable:
    about = {"units": "m", "boundary": "periodic", "period": length, **attrs}
    return xr.Variable(dim, (np.arange(n) + 0.5) * length / n, about)


def plane(values, lengths=(1.0, 1.0)) -> xr.Dataset:
    """Last axes of values are (y, x)."""
    values = np.asarray(values)
    dims = ("time", "y", "x")[3 - values.ndim :]
    coords = {
        d: axis(d, n, length)
        for d, n, length in zip(("y", "x"), values.shape[-2:], lengths, strict=True)
    }
    return xr.Dataset({"u": (dims, values)}, coords)


def described(values, families=SPATIAL, **kwargs) -> dict[str, float]:
    found = features(plane(values, **kwargs), families, level="step")
    return dict(zip(found["name"].values.tolist(), found.values.tolist(), strict=True))


def wave(ky: int, kx: int, n: int = 32) -> np.ndarray:
    y, x = np.meshgrid(*[(np.arange(n) + 0.5) / n] * 2, indexing="ij")
    return np.sin(2 * np.pi * (kx * x + ky * y))


@pytest.mark.parametrize("kind", range(8))
def test_quantiles_are_exact(kind):
    """Counting in buckets finds what sorting finds, whatever the distribution."""
    rng = np.random.default_rng(kind)
    rows = [
        rng.normal(size=(3, 501)), rng.integers(0, 3, (3, 40)).astype(float), np.zeros((1, 9)),
        np.exp(20 * rng.normal(size=(2, 300))), np.array([[1.0, 1 + 2.3e-16]]),
        np.array([[-1.7e308, 1.7e308, 0.0]]), np.array([[5e-324, 0.0, 0.0, 1e-323]]),
        rng.normal(size=(2, 4096)) ** 9,
    ][kind]  # fmt: skip
    ranks = np.unique(np.linspace(0, rows.shape[1] - 1, 7).astype(int))
    found = np.empty((len(rows), ranks.size))
    ranked(rows, ranks, found)
    np.testing.assert_array_equal(found, np.sort(rows, axis=1)[:, ranks])


def test_plane_wave():
    found = described(3.0 + wave(2, -5))
    assert found["dominant_freq_x"] == pytest.approx(5)
    assert found["dominant_freq_y"] == pytest.approx(2)
    assert found["spectral_centroid_x"] == pytest.approx(5)
    assert found["spectral_centroid_y"] == pytest.approx(2)
    assert found["spectral_bandwidth"] == pytest.approx(0, abs=1e-6)
    assert found["spectral_anisotropy"] == pytest.approx(1)
    assert found["spectral_rolloff"] == pytest.approx(np.hypot(5, 2))
    assert found["gradient_anisotropy"] == pytest.approx(1)
    shares = [found[f"{name}_freq_ratio"] for name in ("low", "mid", "high")]
    np.testing.assert_allclose(shares, [0, 0, 1], atol=1e-12)
    assert found["dominant_freq_magnitude"] == pytest.approx(32**2 / 4)
    low = described(wave(0, 1))
    assert low["low_freq_ratio"] == pytest.approx(1)
    assert described(wave(1, 3))["mid_freq_ratio"] == pytest.approx(1)


def test_white_noise():
    rng = np.random.default_rng(0)
    found = [described(rng.normal(size=(64, 64))) for _ in range(20)]
    flat = np.mean([f["spectral_flatness"] for f in found])
    assert flat == pytest.approx(np.exp(-np.euler_gamma), abs=0.01)
    assert np.mean([f["spectral_anisotropy"] for f in found]) < 0.05
    assert np.mean([f["gradient_anisotropy"] for f in found]) < 0.05


@pytest.mark.parametrize("shape", [(12, 16), (9, 15), (8, 9)])
def test_parseval(shape):
    """Means over bands times their modes add up to the sum of squares."""
    u = np.random.default_rng(0).normal(2, 1, shape)
    found = described(u, lengths=(1.0, 2.0))
    f = [np.fft.fftfreq(n, length / n) for n, length in zip(shape, (1.0, 2.0), strict=True)]
    q = np.hypot(*np.meshgrid(*f, indexing="ij")).ravel()[1:]
    edges = np.linspace(np.sqrt(q.min() / 2), np.sqrt(q.max()), 6) ** 2
    edges[:-1] *= 1 - 1e-9
    edges[-1] = np.inf
    counts = np.histogram(q, edges)[0]
    total = sum(
        count * found[f"fft_power_scale_{i}_mean"] for i, count in enumerate(counts) if count
    )
    assert total == pytest.approx(((u - u.mean()) ** 2).sum(), rel=1e-12)


def test_symmetries():
    u = np.random.default_rng(1).normal(size=(16, 16)).cumsum(0)
    plain, moved, turned = (described(v) for v in (u, np.roll(u, (3, 5), (0, 1)), np.rot90(u)))
    swapped = {"x": "y", "y": "x"}
    for name, value in plain.items():
        assert moved[name] == pytest.approx(value, rel=1e-9, abs=1e-12), name
        other = name
        for a, b in swapped.items():
            for form in (f"_{a}", f"_{a}_mean"):
                if name.endswith(form):
                    other = name.removesuffix(form) + form.replace(f"_{a}", f"_{b}")
        assert turned[other] == pytest.approx(value, rel=1e-9, abs=1e-12), name
    lifted = described(u + 100.0, "spectral")
    for name, value in lifted.items():
        assert value == pytest.approx(plain[name], rel=1e-6, abs=1e-9), name


def test_finer_grid_of_the_same_field():
    def field(n: int) -> np.ndarray:
        return wave(1, 2, n) + 0.5 * wave(3, 0, n) + 0.2

    series = ("temporal", "invariant_drift")
    coarse, fine = described(field(32)), described(field(96))
    same = ["spatial_mean", "dominant_freq_x", "dominant_freq_y", "spectral_centroid_x",
            "spectral_centroid_y", "spectral_bandwidth", "spectral_rolloff",
            "spectral_anisotropy"]  # fmt: skip
    for name in same:
        assert fine[name] == pytest.approx(coarse[name], rel=1e-9), name
    for name in ("spatial_std", "gradient_x_mean", "laplacian_energy", "gradient_anisotropy"):
        assert fine[name] == pytest.approx(coarse[name], rel=0.2), name
    grown = [features(plane([field(n) * (1 + t) for t in range(4)]), series) for n in (32, 96)]
    for name in ("L1_mean_drift_raw", "L2_mean_drift_raw", "energy_growth_rate"):
        a, b = (float(one.sel(feature=name)) for one in grown)
        assert a == pytest.approx(b, rel=0.02), name


def test_reversed_time(trajectories):
    ds = trajectories.isel(operator=slice(0, 5))
    back = ds.isel(time=slice(None, None, -1)).assign_coords(time=ds.time)
    forth, reverse = features(ds, "causality"), features(back, "causality")
    for name in ("causality_time_irreversibility", "causality_time_asymmetry_index"):
        np.testing.assert_allclose(reverse.sel(feature=name), -forth.sel(feature=name), rtol=1e-9)
    for order in (1, 2):
        a, b = (f.sel(feature=f"causality_pred_error_diff_lag{order}") for f in (forth, reverse))
        np.testing.assert_allclose(b, -a, rtol=1e-7, atol=1e-12)


def test_growth_of_a_distance():
    """u(t) = v + e^(2t) w: the trajectory leaves itself at the rate 2."""
    rng = np.random.default_rng(0)
    v, w = rng.normal(size=(2, 16, 16))
    times = np.arange(6) * 0.1
    ds = plane([v + np.exp(2 * t) * w for t in times]).assign_coords(time=times)
    assert float(features(ds, names=["lyapunov_approx"])[0]) == pytest.approx(2, rel=1e-9)


def test_real_times():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(12, 8, 8)).cumsum(0)
    plain = features(plane(values))
    scaled = features(plane(values).assign_coords(time=np.arange(12) * 0.25))
    factors = {
        "energy_growth_rate": 4, "variance_growth_rate": 4, "lyapunov_approx": 4,
        "temporal_freq_dominant": 4, "oscillation_period": 0.25, "autocorr_decay_time": 0.25,
    }  # fmt: skip
    for name in plain["name"].values:
        a, b = (float(f.sel(feature=name)) for f in (plain, scaled))
        if not np.isnan(a):
            assert b == pytest.approx(a * factors.get(name, 1), rel=1e-9), name
    dates = np.datetime64("2000-01-01", "ns") + np.arange(12) * np.timedelta64(250, "ms")
    dated = features(plane(values).assign_coords(time=dates))
    np.testing.assert_allclose(dated, scaled, rtol=1e-9)
    uneven = features(plane(values).assign_coords(time=np.arange(12.0) ** 2))
    undefined = json.loads(uneven.attrs["undefined"])
    for name in ("temporal_freq_dominant", "oscillation_period", "autocorr_decay_time"):
        assert "uniform times" in undefined[name]
    assert uneven.sel(feature="energy_growth_rate").notnull()


def check_undefined(result: xr.DataArray) -> dict[str, str]:
    """Columns that are NaN everywhere are those with a reason, no more and no less."""
    empty = result.isnull().all([d for d in result.dims if d != "feature"])
    found = json.loads(result.attrs["undefined"])
    assert set(result["name"].values[empty.values]) == set(found)
    return found


@pytest.mark.parametrize("dims", [("x",), ("z", "x"), ("z", "y", "x"), ("y",)])
def test_any_axes_and_channels(dims):
    rng = np.random.default_rng(0)
    shape = (6, *(8,) * len(dims))
    coords = {d: axis(d, 8) for d in dims}
    for channels in (1, 2, 5):
        ds = xr.Dataset(
            {f"c{i}": (("time", *dims), rng.normal(size=shape)) for i in range(channels)}, coords
        )
        step, whole = features(ds, level="step"), features(ds)
        found = check_undefined(step) | check_undefined(whole)
        assert ("gradient_y_mean" in found) == ("y" not in dims)
        assert ("gradient_anisotropy" in found) == (len(dims) == 1)
        assert ("cross_channel_corr_mean" in found) == (channels < 2)
        assert ("cross_channel_corr_std" in found) == (channels < 3)
        chunked = features(ds.chunk(time=2), level="step")
        np.testing.assert_allclose(chunked.values, step.values, rtol=1e-10)


@pytest.mark.parametrize("count", range(1, 9))
def test_few_times(count):
    rng = np.random.default_rng(0)
    ds = xr.Dataset({c: (("time", "y", "x"), rng.normal(size=(count, 8, 8))) for c in "ab"})
    found = check_undefined(features(ds))
    assert ("L1_mean_drift_raw" in found) == (count < 2)
    assert ("causality_lag_corr_asymmetry_max_lag3" in found) == (count < 6)
    assert ("causality_pred_error_ratio_lag2" in found) == (count < 7)
    step = features(ds.isel(time=0) if count == 1 else ds, level="step")
    assert step.dims == (("feature",) if count == 1 else ("time", "feature"))
    assert check_undefined(step).keys() == {"cross_channel_eigen_top_3", "cross_channel_corr_std"}


def test_one_realization():
    rng = np.random.default_rng(0)
    ds = xr.Dataset({"u": (("trajectory", "time", "y", "x"), rng.normal(size=(2, 6, 8, 8)))})
    result = features(ds, "temporal", level="aggregated")
    assert result.dims == ("trajectory", "feature")
    undefined = json.loads(result.attrs["undefined"])
    assert set(undefined) == {f"{n}_{s}" for n in features(ds, "temporal")["name"].values
                              for s in ("std", "cv")}  # fmt: skip
    assert "'realization'" in undefined["regime_switches_std"]
    spread = result.isel(feature=slice(13, None))
    assert spread.isnull().all()


def test_constants_and_zeros_are_nan_not_numbers():
    for value in (0.0, 3.0, 1e10):
        ds = plane(np.full((8, 8, 8), value))
        step = features(ds, level="step")
        names = step["name"].values
        nan = set(names[step.isnull().all("time").values])
        assert {"spatial_skewness", "spatial_kurtosis", "spectral_flatness", "dominant_freq_x",
                "gradient_anisotropy", "low_freq_ratio"} <= nan  # fmt: skip
        assert not {"spatial_mean", "spatial_std", "laplacian_energy"} & nan
        whole = features(ds)
        for name in ("trend_strength", "lyapunov_approx", "causality_time_asymmetry_index",
                     "L1_final_initial_ratio_highpass", "temporal_freq_dominant"):  # fmt: skip
            assert whole.sel(feature=name).isnull(), name
        assert float(whole.sel(feature="regime_switches")) == 0
        assert float(whole.sel(feature="L1_monotonicity_raw")) == 0
        reasons = json.loads(step.attrs["undefined_where"])
        assert "constant" in reasons["spatial_skewness"]


def test_one_field_that_is_not_finite():
    rng = np.random.default_rng(0)
    ds = xr.Dataset(
        {c: (("realization", "time", "y", "x"), rng.normal(size=(2, 6, 8, 8))) for c in "ab"}
    )
    clean_step, clean = features(ds, level="step"), features(ds)
    for bad in (np.nan, np.inf):
        spoilt = ds.copy(deep=True)
        spoilt["a"][0, 2, 3, 3] = bad
        for one in (spoilt, spoilt.chunk(time=3)):
            step, whole = features(one, level="step"), features(one)
            valid = step["valid_fraction"].sel(feature="spatial_mean")
            np.testing.assert_allclose(valid, [1, 1, 0.75, 1, 1, 1])
            others = [0, 1, 3, 4, 5]
            np.testing.assert_allclose(step.isel(time=others), clean_step.isel(time=others))
            assert step.isel(time=2).sel(feature="cross_channel_corr_mean").notnull()
            np.testing.assert_allclose(whole.isel(realization=1), clean.isel(realization=1))
            growth = whole.sel(feature="energy_growth_rate")
            assert growth["valid_fraction"].values.tolist() == [0.5, 1.0]
            only_b = features(ds[["b"]]).sel(feature="energy_growth_rate")
            np.testing.assert_allclose(growth[0], only_b[0])
            pair = whole.sel(feature="causality_lag_corr_asymmetry_max_lag1")
            assert pair.isnull().values.tolist() == [True, False]


def test_axes_that_are_not_periodic():
    n = 32
    x = np.linspace(0, 1, n)
    y = axis("y", 16)
    values = np.broadcast_to(x**2, (16, n)) + 0 * y.values[:, None]
    uniform = xr.Dataset({"u": (("y", "x"), values)}, {"x": ("x", x), "y": y})
    found = features(uniform, SPATIAL, level="step")
    assert check_undefined(found) == {}
    assert "Hann" in found.attrs["axis_x"]
    assert float(found.sel(feature="gradient_x_mean")) == pytest.approx(np.mean(2 * x), rel=1e-12)
    assert float(found.sel(feature="laplacian_mean")) == pytest.approx(2, rel=1e-9)
    assert float(found.sel(feature="laplacian_std")) == pytest.approx(0, abs=1e-8)
    stretched = x**2
    uneven = xr.Dataset(
        {"u": (("y", "x"), np.broadcast_to(stretched**2, (16, n)))}, {"x": stretched, "y": y}
    )
    found = features(uneven, SPATIAL, level="step")
    undefined = check_undefined(found)
    assert all("uniform axes" in why for why in undefined.values())
    assert len(undefined) == 27
    expected = np.mean(2 * stretched)
    assert float(found.sel(feature="gradient_x_mean")) == pytest.approx(expected, rel=1e-6)
    tail = features(xr.concat([uneven] * 4, "time"), "invariant_drift")
    assert tail.sel(feature="L1_mean_drift_raw").notnull()


def test_what_an_axis_without_positions_means():
    rng = np.random.default_rng(0)
    bare = xr.Dataset({"u": (("time", "y", "x"), rng.normal(size=(5, 8, 8)))})
    cells = bare.assign_coords(y=axis("y", 8, 8.0), x=axis("x", 8, 8.0))
    for level in ("step", "trajectory"):
        np.testing.assert_allclose(features(bare, level=level), features(cells, level=level))
    assert "cells" in features(bare).attrs["axis_x"]
    assert "axis_x" not in features(cells).attrs


def test_types_and_order_of_dims_do_not_matter():
    values = np.random.default_rng(0).integers(-9, 9, (2, 6, 8, 8))
    dims = ("realization", "time", "y", "x")
    ds = xr.Dataset({"u": (dims, values.astype("f8"))})
    expected = features(ds)
    for dtype in ("i2", "f4", ">f8"):
        np.testing.assert_allclose(features(ds.astype(dtype)), expected)
    np.testing.assert_allclose(features(ds.transpose("x", "time", "realization", "y")), expected)


def test_static_fields_are_left_out_and_named():
    rng = np.random.default_rng(0)
    ds = xr.Dataset(
        {
            "u": (("time", "y", "x"), rng.normal(size=(5, 8, 8))),
            "mask": (("y", "x"), np.ones((8, 8))),
            "total": (("time",), np.ones(5)),
        }
    )
    found = features(ds)
    assert found.attrs["left_out"] == "mask"
    xr.testing.assert_equal(found, features(ds[["u"]]))


def test_parameters_and_provenance_stay(trajectories):
    ds = trajectories.isel(operator=slice(0, 2)).assign_coords(nu=0.1)
    found = features(ds, level="aggregated")
    assert found["strength"].values.tolist() == ds.strength.values.tolist()
    assert float(found["nu"]) == 0.1
    (step,) = provenance(found)
    assert step["operation"] == "features"
    assert step["parameters"]["level"] == "aggregated"
    assert step["parameters"]["definition_version"] == "xphys-1"
    assert features(ds, level="step")["time"].attrs["units"] == "s"


def counted(ds: xr.Dataset, chunks: dict[str, int]) -> tuple[xr.Dataset, dict]:
    """The same data in blocks that count how often they are read."""
    reads: dict = {}

    def block(values, name, block_info=None):
        key = (name, tuple(block_info[0]["chunk-location"]))
        reads[key] = reads.get(key, 0) + 1
        return values

    made = {}
    for name, field in ds.data_vars.items():
        data = da.from_array(field.values, chunks=tuple(chunks[d] for d in field.dims))
        made[name] = (field.dims, data.map_blocks(block, name, dtype=field.dtype), field.attrs)
    return xr.Dataset(made, ds.coords), reads


def test_each_chunk_is_read_once(trajectories):
    ds = trajectories.isel(operator=slice(0, 2))
    chunks = {"operator": 1, "realization": 2, "time": 5, "y": 16, "x": 16}
    held, reads = counted(ds, chunks)
    with dask.config.set(scheduler="sync"):
        everything = dask.compute(
            features(held), features(held, "spatial", level="step"),
            held.phys.stats(), held.phys.compare(held + 1e-3).vrmse,
        )  # fmt: skip
    assert len(reads) == 3 * 2 * 4
    assert set(reads.values()) == {1}
    np.testing.assert_allclose(everything[0], features(ds), rtol=1e-10, atol=1e-13)


def test_building_computes_nothing(trajectories):
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("computed while a graph was built")

    ds = trajectories.isel(operator=slice(0, 2)).chunk(time=4, x=8)
    with dask.config.set(scheduler=refuse):
        for level in ("step", "trajectory", "aggregated"):
            found = features(ds, level=level, operator=None)
            assert found.chunks is not None
        repr(features(ds, ["initial", "nonlinear"], over_time=None))
        features(ds, operator=lambda u: u)


def test_real_data(simulation_data):
    for path, channels in (
        ("py2d/py2d_turbulence_2d.nc", 1),
        ("dedalus/rayleigh_benard_2d.nc", None),
        ("exponax/gray_scott_2d.nc", 2),
        ("exponax/kuramoto_sivashinsky_1d.nc", 1),
    ):
        ds = xphys.open(simulation_data / path).isel(time=slice(0, 5))
        for level in ("step", "trajectory"):
            found = features(ds, level=level).compute()
            share = float(found.notnull().mean())
            assert share > 0.4, (path, level, json.loads(found.attrs["undefined"]))
        if channels is not None:
            assert len(ds.data_vars) == channels


def test_spinlock_file(small_data):
    files = sorted((small_data / "spinlock").glob("*.h5"))
    assert files
    ds = xphys.open(files[0], engine="spinlock")
    fields = [name for name in ds.data_vars if "y" in ds[name].dims and name != "inputs"]
    found = features(ds[fields[:1]], level="step").compute()
    assert found.sizes["feature"] == 56
    assert found.sel(feature="spatial_std").notnull().all()
