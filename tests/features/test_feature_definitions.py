"""The 143 features that need no operator: literal formulas, diverse operators, any chunks."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

from xphys.features import features, registry

D = (1.25 / 16, 1.0 / 16)
STANDARD = [f for f in registry().select(standard=True) if f.family != "operator_sensitivity"]


def frames_of(ds: xr.Dataset) -> np.ndarray:
    """(operator, realization, time, channel, y, x)."""
    return np.stack([ds[name].values for name in ds.data_vars], 3)


@pytest.mark.parametrize("feature", STANDARD, ids=lambda f: f.name)
def test_literal_formula(feature, trajectories, described, literal):
    ds = trajectories.isel(operator=slice(0, 4))
    u, times = frames_of(ds), ds.time.values
    if feature.level == "step":
        at = (0, 9)
        expected = [
            [np.mean([literal.step(feature.name, u[n, m, t], D) for m in (0, 1)]) for t in at]
            for n in range(4)
        ]
        found = described["step"].sel(feature=feature.name).values[:4, at]
    else:
        expected = [
            [literal.trajectory(feature.name, u[n, m], D, times) for m in (0, 1)]
            for n in range(4)
        ]  # fmt: skip
        found = described["trajectory"].sel(feature=feature.name).values[:4]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-13)


def test_names_and_numbers(described):
    step, trajectory = described["step"], described["trajectory"]
    assert step["number"].values.tolist() == list(range(1, 57))
    assert trajectory["number"].values.tolist() == list(range(57, 144))
    for level, result in described.items():
        assert result.dims[-1] == "feature"
        assert result.dtype == np.float64
        assert (result["definition_version"] == "xphys-1").all()
        assert len(set(result["feature"].values)) == result.sizes["feature"]
        assert result["feature"].equals(result["name"]) or level == "aggregated"
        assert json.loads(result.attrs["undefined"]) == {}
    assert step.dims == ("operator", "time", "feature")
    assert trajectory.dims == ("operator", "realization", "feature")
    assert described["aggregated"].sizes == {"operator": 64, "feature": 3 * 87}


@pytest.mark.parametrize("level", ["step", "trajectory"])
def test_nothing_is_constant_or_nan_over_64_operators(described, level):
    result = described[level]
    values = result.values.reshape(-1, result.sizes["feature"])
    assert not np.isnan(values).any()
    assert (result["valid_fraction"] == 1).all()
    spread = np.ptp(values, axis=0)
    assert (spread > 1e-6 * np.abs(values).max(0)).all()
    means = values.reshape(64, -1, values.shape[1]).mean(1)
    assert (np.ptp(means, axis=0) > 1e-6 * np.abs(means).max(0)).all()


def test_aggregated_is_the_statistic_of_the_trajectories(described):
    result, each = described["aggregated"], described["trajectory"]
    expected = {
        "mean": each.mean("realization"),
        "std": each.std("realization", ddof=1),
        "cv": each.std("realization", ddof=1) / abs(each.mean("realization")),
    }
    for number, (name, one) in enumerate(expected.items()):
        block = result.isel(feature=slice(87 * number, 87 * (number + 1)))
        assert (block["statistic"] == name).all()
        assert block["name"].values.tolist() == [f"{n}_{name}" for n in each["name"].values]
        one = one.where(np.isfinite(one))
        np.testing.assert_allclose(block.values, one.values, rtol=1e-9, atol=1e-13)
    only_cv = result.isnull().any("operator")
    assert set(result["statistic"].values[only_cv.values]) <= {"cv"}  # a mean that is exactly 0
    assert "is 0" in json.loads(result.attrs["undefined_where"])["regime_switches_cv"]


CHUNKS = [
    {"time": 1},
    {"time": 5, "y": 3},
    {"operator": 1, "realization": 1},
    {"operator": 2, "time": (1, 16, 1), "x": 7},
    {},
]


@pytest.mark.parametrize("chunks", CHUNKS, ids=str)
@pytest.mark.parametrize("level", ["step", "trajectory", "aggregated"])
def test_any_chunks(trajectories, described, level, chunks):
    ds = trajectories.isel(operator=slice(0, 2)).chunk(chunks)
    found = features(ds, level=level).compute()
    expected = described[level].isel(operator=slice(0, 2))
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-10, atol=1e-13)
    np.testing.assert_array_equal(found["valid_fraction"], expected["valid_fraction"])


def test_variables_in_other_chunks(trajectories, described):
    ds = trajectories.isel(operator=slice(0, 2))
    mixed = ds.assign(
        velocity_y=ds.velocity_y.chunk(time=4), density=ds.density.chunk(realization=1, x=5)
    )
    expected = described["trajectory"].isel(operator=slice(0, 2))
    np.testing.assert_allclose(features(mixed).values, expected.values, rtol=1e-10, atol=1e-13)


def test_a_dim_of_channels_is_the_same(trajectories, described):
    ds = trajectories.isel(operator=slice(0, 2))
    together = ds.to_dataarray("channel").to_dataset(name="state")
    for one in (together, together.chunk(channel=1, time=5)):
        expected = described["trajectory"].isel(operator=slice(0, 2))
        np.testing.assert_allclose(features(one).values, expected.values, rtol=1e-12, atol=1e-13)


def test_all_143_by_their_mean_over_time(trajectories, described):
    ds = trajectories.isel(operator=slice(0, 3))
    found = features(ds, over_time="mean")
    assert found["number"].values.tolist() == list(range(1, 144))
    expected = described["step"].isel(operator=slice(0, 3)).mean("time")
    np.testing.assert_allclose(found[..., :56].mean("realization"), expected, rtol=1e-10)
    assert set(found["time_statistic"].values) == {"mean", ""}
    both = features(ds, "spatial", over_time=("final", "std"))
    assert both["name"].values[0] == "spatial_mean_final"
    assert both.sizes["feature"] == 38
    last = features(ds.isel(time=[-1]), "spatial", over_time="mean")
    np.testing.assert_allclose(both[..., :19], last, rtol=1e-12)
    stepped = features(ds, "spatial", level="step", over_time=("min", "max"))
    whole = described["step"].isel(operator=slice(0, 3), feature=slice(0, 19))
    np.testing.assert_allclose(stepped[..., 19:], whole.max("time"), rtol=1e-12)
    five = features(ds, "temporal", level="aggregated", over_realizations=("min", "max"))
    each = described["trajectory"].isel(operator=slice(0, 3), feature=slice(0, 13))
    np.testing.assert_allclose(five[:, :13], each.min("realization"), rtol=1e-10)


def test_names_in_the_order_of_the_call(trajectories):
    names = ["regime_switches", "L1_mean_drift_raw", "energy_growth_rate"]
    found = features(trajectories.isel(operator=[0]), names=names)
    assert found["name"].values.tolist() == names
    names = ["energy_growth_rate", "spatial_std"]
    found = features(trajectories.isel(operator=[0]), names=names, over_time="max")
    assert found["name"].values.tolist() == names
    std = features(trajectories.isel(operator=[0]), names=["spatial_std"], over_time="max")
    np.testing.assert_allclose(found[..., 1], std[..., 0])
