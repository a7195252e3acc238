"""Physics, events in time, harmonics, dissipation and their like against slow literal formulas."""

from __future__ import annotations

import importlib.util
import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from xphys.features import features, registry

STEP = ("physics", "spatial_extensions", "harmonics", "sequences")
NEW = ("physics", "temporal_extensions", "spatial_extensions", "harmonics",
       "conditional_information", "dissipation", "sequences")  # fmt: skip

_SPEC = importlib.util.spec_from_file_location(
    "literal_new_families", Path(__file__).parent / "literal_new_families.py"
)
literal = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(literal)


def mean(values) -> float:
    known = [v for v in values if not np.isnan(v)]
    return float(np.mean(known)) if known else math.nan


@pytest.mark.parametrize("kind", literal.GRIDS)
def test_fields(kind):
    ds, planes = literal.made(kind, times=2)
    found = features(ds, [*STEP, "conditional_information"], level="step")
    assert set(found["name"].values) == set(literal.FIELD) | set(literal.JOINT)
    for time, name in itertools.product((0, 1), found["name"].values):
        if name in literal.JOINT:
            expected = literal.JOINT[name]([one[time].u for one in planes])
        else:
            expected = mean([literal.FIELD[name](one[time]) for one in planes])
        value = float(found.sel(feature=name)[time])
        np.testing.assert_allclose(value, expected, rtol=1e-9, err_msg=name)


@pytest.mark.parametrize("kind", ["periodic", "open x"])
def test_trajectories(kind):
    ds, planes = literal.made(kind)
    found = features(ds, ["temporal_extensions", "dissipation"])
    times = ds.time.values
    decays = [literal.decay(one, times) for one in planes]
    assert set(found["name"].values) == set(literal.SERIES) | set(decays[0])
    for name in found["name"].values:
        if name in literal.SERIES:
            series = [np.array([plane.u.mean() for plane in one]) for one in planes]
            expected = mean([literal.SERIES[name](s, times) for s in series])
        else:
            expected = mean([one[name] for one in decays])
        np.testing.assert_allclose(found.sel(feature=name), expected, rtol=1e-8, err_msg=name)


@pytest.mark.parametrize(
    "chunks", [{"time": 1}, {"time": 7, "y": 5}, {"time": -1, "x": 4}], ids=str
)
def test_any_chunks(chunks):
    ds, _ = literal.made("open x")
    for level in ("step", "trajectory"):
        of = [f for f in NEW if registry().select(family=f)[0].level == level]
        whole, parts = features(ds, of, level=level), features(ds.chunk(chunks), of, level=level)
        assert parts.chunks is not None
        np.testing.assert_allclose(parts, whole, rtol=1e-10, atol=1e-13)
        np.testing.assert_array_equal(parts["valid_fraction"], whole["valid_fraction"])


def test_building_computes_nothing_and_one_pass_serves_all():
    ds, _ = literal.made("periodic", times=12)
    reads = []

    def block(values):
        reads.append(values.shape)
        return values

    held = ds.chunk(time=4)
    held = held.map(lambda v: v.copy(data=v.data.map_blocks(block, meta=np.empty((0, 0, 0)))))
    found = features(held, NEW, over_time="mean")
    assert reads == []
    assert found.sizes["feature"] == sum(len(registry().select(family=f)) for f in NEW)
    found.compute(scheduler="sync")
    assert len(reads) == 3 * 3


def test_numbers_go_on():
    every = registry()
    assert [f.number for f in every.values()] == list(range(1, len(every) + 1))
    assert every.by_number(269).name == "evol_alpha"
    assert every.by_number(270).name == "correlation_length"
    assert every.families[-len(NEW) :] == list(NEW)
    assert not any(f.standard for family in NEW for f in every.select(family=family))


def waves(n: int, *parts: tuple[float, int, int]) -> xr.Dataset:
    """Sum of amplitude sin(2 pi (ky y + kx x)) on the unit box."""
    y, x = np.meshgrid(*[(np.arange(n) + 0.5) / n] * 2, indexing="ij")
    u = sum(a * np.sin(2 * np.pi * (ky * y + kx * x)) for a, ky, kx in parts)
    coords = {d: literal.line(d, n, 1 / n, True) for d in "yx"}
    return xr.Dataset({"u": (("y", "x"), u)}, coords)


def of(ds: xr.Dataset, *families: str) -> dict[str, float]:
    found = features(ds, families, level="step")
    return dict(zip(found["name"].values.tolist(), found.values.tolist(), strict=True))


def test_a_wave_with_harmonics():
    found = of(waves(32, (1.0, 0, 4), (0.5, 0, 8), (0.25, 0, 12)), "harmonics", *STEP)
    assert found["harmonic_ratio_2f"] == pytest.approx(0.25)
    assert found["harmonic_ratio_3f"] == pytest.approx(0.0625)
    assert found["total_harmonic_distortion"] == pytest.approx(math.sqrt(0.3125))
    assert found["fundamental_purity"] == pytest.approx(1 / 1.3125)
    assert found["structure_factor_peak"] == pytest.approx(0.25)
    assert found["effective_rank"] == pytest.approx(1)
    assert found["explained_variance_90"] == 1
    assert found["correlation_anisotropy"] < -0.2  # longer along y, where nothing changes
    high = of(waves(32, (1.0, 0, 7)), "harmonics")
    assert high["fundamental_purity"] == pytest.approx(1)
    assert np.isnan(high["harmonic_ratio_3f"])
    assert high["harmonic_ratio_2f"] == pytest.approx(0, abs=1e-12)


def test_grids_compare():
    """A field with few modes has the same numbers on a finer grid and in other units."""
    parts = ((1.0, 1, 2), (0.7, 3, -1), (0.4, 0, 3), (0.5, 5, 0))
    coarse, fine = (of(waves(n, *parts), "physics", "sequences") for n in (48, 96))
    for name in ("structure_factor_peak_k", "structure_factor_width", "structure_factor_peak",
                 "structure_factor_peak_value", "structure_factor_integral",
                 "energy_trajectory"):  # fmt: skip
        assert fine[name] == pytest.approx(coarse[name], rel=1e-9), name
    for name in ("coherence_length", "smoothness_trajectory"):
        assert fine[name] == pytest.approx(coarse[name], rel=0.03), name
    ds = waves(48, *parts)
    wide = ds.assign_coords({d: literal.line(d, 48, 10 / 48, True) for d in "yx"})
    for name, power in (("correlation_length", 1), ("coherence_length", 1),
                        ("structure_factor_peak", 1), ("structure_factor_peak_k", -1),
                        ("structure_factor_width", -1), ("structure_factor_peak_value", 2),
                        ("correlation_peak", 0), ("correlation_anisotropy", 0)):  # fmt: skip
        expected = coarse[name] * 10.0**power
        assert of(wide, "physics")[name] == pytest.approx(expected, rel=1e-9), name


def test_moved_and_turned():
    ds, _ = literal.made("periodic", times=1)
    square = ds.isel(x=slice(0, 12), time=0)
    square = square.assign_coords(x=literal.line("x", 12, 1.0, True))
    plain = of(square, *STEP)
    moved = of(square.roll(x=3, y=5, roll_coords=False), *STEP)
    turned = of(square.map(lambda v: v.copy(data=v.values.T)), *STEP)
    for name, value in plain.items():
        assert moved[name] == pytest.approx(value, rel=1e-9, abs=1e-12), name
        if name == "correlation_anisotropy":
            assert turned[name] == pytest.approx(-value)
        elif name != "clustering_coefficient":  # of neighbours along x
            assert turned[name] == pytest.approx(value, rel=1e-9, abs=1e-12), name


def test_noise_and_known_lengths():
    rng = np.random.default_rng(0)
    n, length = 4096, 8.0
    x = np.arange(n)
    noise = xr.Dataset({"u": (("time", "y", "x"), rng.normal(size=(8, 64, 64)))})
    found = features(noise, "physics", level="step").mean("time")
    assert abs(float(found.sel(feature="clustering_coefficient"))) < 0.05
    assert float(found.sel(feature="coherence_length")) < 1
    assert abs(float(found.sel(feature="correlation_peak"))) < 0.05
    assert found.sel(feature="correlation_length").isnull()
    # one axis, correlation exp(-r / length): an autoregression of order 1 around the circle
    r = np.minimum(x, n - x)
    root = np.sqrt(np.maximum(np.fft.fft(np.exp(-r / length)).real, 0))
    many = np.fft.ifft(np.fft.fft(rng.normal(size=(40, n))) * root).real
    known = features(xr.Dataset({"u": (("time", "x"), many)}), "physics", level="step")
    for name in ("correlation_length", "coherence_length"):
        assert float(known.sel(feature=name).median()) == pytest.approx(length, rel=0.1), name


def test_diffusion():
    """Each mode of the heat equation decays at twice its own rate: energy goes up the scales."""
    n, times, nu = 32, np.arange(6) * 0.1, 0.02
    parts = [(2, 1.0), (14, 0.5)]
    frames = [waves(n, *[(a * math.exp(-nu * k**2 * t), 0, k) for k, a in parts]).u for t in times]
    ds = xr.concat(frames, xr.DataArray(times, dims="time", name="time")).to_dataset(name="u")
    found = features(ds, "dissipation").values
    np.testing.assert_allclose(found, [2 * nu * 4, 2 * nu * 196, 49, 1], rtol=1e-9)
    still = features(xr.concat([frames[0]] * 5, "time").to_dataset(name="u"), "dissipation")
    np.testing.assert_array_equal(still, [0, 0, np.nan, 0])
    back = ds.isel(time=slice(None, None, -1)).assign_coords(time=times)
    assert float(features(back, "dissipation")[-1]) == -1


def test_events():
    s = np.zeros(60)
    s[[10, 20, 21, 22, 23]] = 5.0
    s[40] = -5.0
    s += 0.3 * np.sin(np.arange(60))
    ds = xr.Dataset({"u": (("time", "x"), s[:, None] + np.array([-1.0, 1, -1, 1]))})
    found = features(ds, "temporal_extensions")
    assert found[:2].values.tolist() == [3, 1]
    grown = xr.Dataset({"u": (("time", "x"), np.exp(0.1 * np.arange(20))[:, None] + np.zeros(4))})
    grown = grown.assign_coords(time=np.arange(20) * 3.0)
    found = features(grown, "temporal_extensions")
    assert found.sel(feature="time_to_0.5x").isnull()
    assert float(found.sel(feature="time_to_2.0x")) == 21.0
    rng = np.random.default_rng(0)
    walk = [0.0]
    for step in rng.normal(size=4000):
        walk.append(0.6 * walk[-1] + step)
    ds = xr.Dataset({"u": (("time", "x"), np.array(walk)[:, None] + np.zeros(2))})
    found = features(ds, "temporal_extensions")[-10:]
    np.testing.assert_allclose(found, [0.6] + [0] * 9, atol=0.06)


def test_conditional_information_of_a_chain():
    """a and b depend on c only: what they share is gone when c is given."""
    rng = np.random.default_rng(0)
    c = rng.integers(0, 8, (64, 64)).astype(float)
    a, b = ((c + rng.integers(0, 2, c.shape)) % 8 for _ in "ab")
    assert literal.conditional([a, b, c])[2] < 0.02 < literal.conditional([a, b, c])[0]
    ds = xr.Dataset({k: (("y", "x"), v) for k, v in zip("abc", (a, b, c), strict=True)})
    found = of(ds, "conditional_information", "mutual_information")
    assert found["cross_channel_cmi_max"] == pytest.approx(max(literal.conditional([a, b, c])))
    two = features(ds[["a", "b"]], "conditional_information", level="step")
    assert "3 channels" in json.loads(two.attrs["undefined"])["cross_channel_cmi_max"]
    assert two.isnull().all()


def undefined(result: xr.DataArray) -> dict[str, str]:
    """Columns that are NaN everywhere are those with a reason, no more and no less."""
    empty = result.isnull().all([d for d in result.dims if d != "feature"])
    found = json.loads(result.attrs["undefined"])
    assert set(result["name"].values[empty.values]) == set(found)
    return found


@pytest.mark.parametrize("dims", [("x",), ("y",), ("z", "y", "x")])
def test_any_axes(dims):
    rng = np.random.default_rng(0)
    coords = {d: literal.line(d, 12, 0.5, True) for d in dims}
    x = np.stack(np.meshgrid(*[np.arange(12)] * len(dims), indexing="ij")).sum(0)
    smooth = 3 * np.sin(2 * np.pi * x / 12) + rng.normal(size=(14, 3, *x.shape))
    ds = xr.Dataset({"u": (("time", "channel", *dims), smooth)}, coords)
    found = undefined(features(ds, [*STEP, "conditional_information"], level="step"))
    names = {"clustering_coefficient"} if "x" not in dims else set()
    names |= {"correlation_anisotropy"} if len(dims) == 1 else set()
    assert names | {"effective_rank", "explained_variance_90"} == set(found)
    undefined(features(ds, ["temporal_extensions", "dissipation"]))


@pytest.mark.parametrize("count", range(1, 13))
def test_few_times(count):
    rng = np.random.default_rng(0)
    ds = xr.Dataset({"u": (("time", "x"), rng.normal(0.5, 1, size=(count, 16)))})
    given = features(ds, ["temporal_extensions", "dissipation"])
    reached = given["name"].str.startswith("time_to")
    found = json.loads(given.attrs["undefined"])
    empty = given["name"].values[(given.isnull() & ~reached).values]
    assert set(empty) == {name for name in found if not name.startswith("time_to")}
    assert ("pacf_lag_10" in found) == (count < 11)
    assert ("rolling_w20_mean_variability" in found) == (count < 3)


def test_axes_and_times_that_are_not_uniform():
    rng = np.random.default_rng(0)
    ds = xr.Dataset(
        {"u": (("time", "x"), rng.normal(1, 1, size=(12, 16)))},
        {"x": np.arange(16.0) ** 2, "time": np.arange(12.0) ** 2},
    )
    found = undefined(features(ds, ["physics", "harmonics"], level="step"))
    uniform = [f.name for k in ("physics", "harmonics") for f in registry().select(family=k)
               if f.uniform]  # fmt: skip
    assert set(found) == set(uniform)
    assert len(uniform) == 13
    assert "uniform axes" in found["coherence_length"]
    found = json.loads(features(ds, ["temporal_extensions", "dissipation"]).attrs["undefined"])
    assert "uniform times" in found["pacf_lag_1"]
    assert "uniform axes" in found["dissipation_rate_lowfreq"]


def test_constants_and_fields_that_are_not_finite():
    for value in (0.0, 3.0, 1e10):
        ds = xr.Dataset({c: (("time", "y", "x"), np.full((12, 8, 8), value)) for c in "abc"})
        found = features(ds, [*STEP, "conditional_information"], level="step")
        there = set(found["name"].values[found.notnull().all("time").values])
        kept = {"energy_trajectory", "variance_trajectory"}
        assert there == kept | (
            {"density_fluctuation", "compressibility_proxy"} if value else set()
        )
        assert "constant" in json.loads(found.attrs["undefined_where"])["coherence_length"]
        series = features(ds, ["temporal_extensions", "dissipation"])
        assert series[:3].values.tolist() == [0, 0, 0]
        names = series["name"].str
        assert series[names.startswith("pacf") | names.startswith("time_to")].isnull().all()
        assert series[-4:].isnull().all()
        assert float(series.sel(feature="rolling_w5_mean")) == value
    ds, _ = literal.made("periodic", times=12)
    ds["b"][4, 3, 3] = np.nan
    found = features(ds, [*STEP, "conditional_information"], level="step")
    valid = found["valid_fraction"].isel(time=4)
    assert float(valid.sel(feature="coherence_length")) == pytest.approx(2 / 3)
    for name in ("cross_channel_cmi_mean", "channel_correlation_trajectory"):
        assert found.sel(feature=name).isnull().values.tolist() == [t == 4 for t in range(12)]
    series = features(ds, ["temporal_extensions", "dissipation"])
    both = features(ds[["a", "c"]], ["temporal_extensions", "dissipation"])
    np.testing.assert_allclose(series, both, rtol=1e-12)
