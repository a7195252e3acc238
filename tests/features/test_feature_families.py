"""Optional families against their literal formulas."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

from xphys.errors import SchemaError
from xphys.features import features, registry

FIELDS = (
    "mutual_information", "extensions", "distributional", "structural", "morphological",
    "multiscale",
)  # fmt: skip


def mean(values) -> float:
    known = [v for v in values if not np.isnan(v)]
    return float(np.mean(known)) if known else np.nan


@pytest.fixture(scope="module")
def ds() -> xr.Dataset:
    """Two realizations of smooth and rough fields on the unit box."""
    rng = np.random.default_rng(3)
    n = 16
    k = np.hypot(*np.meshgrid(np.fft.fftfreq(n), np.fft.fftfreq(n), indexing="ij"))
    noise = np.fft.fft2(rng.normal(size=(2, 2, 24, n, n))) / (0.02 + k) ** 1.5
    u = np.fft.ifft2(noise).real + rng.normal(size=(2, 2, 24, 1, 1))
    coords = {
        d: (d, (np.arange(n) + 0.5) / n, {"period": 1.0, "boundary": "periodic"}) for d in "yx"
    }
    dims = ("realization", "time", "y", "x")
    return xr.Dataset({"a": (dims, u[0]), "b": (dims, u[1])}, coords)


def test_fields(ds, literal_families, literal):
    result = features(ds, FIELDS, level="step")
    names = [n for f in FIELDS for n in registry().names(family=f) if registry()[n].level == "step"]
    assert result["name"].values.tolist() == names
    frames = np.stack([ds.a.values, ds.b.values], 2)
    for time in (0, 7):
        for name in names:
            if name in literal.JOINT:
                expected = [literal.JOINT[name](frames[m, time]) for m in (0, 1)]
            else:
                formula = literal_families.FIELD[name]
                expected = [formula(u) for m in (0, 1) for u in frames[m, time]]
            found = float(result.sel(feature=name)[time])
            np.testing.assert_allclose(found, mean(expected), rtol=1e-9, err_msg=name)


def test_series_and_first_states(ds, literal_families, literal):
    result = features(ds, ["extensions", "nonlinear", "initial"])
    frames = np.stack([ds.a.values, ds.b.values], 1)
    for m in (0, 1):
        for name in result["name"].values:
            with np.errstate(invalid="ignore"):
                if "mean_abs" in name:
                    lag = int(name[-1])
                    expected = np.abs(literal.lagged(np.swapaxes(frames[m], 0, 1), lag)).mean()
                elif name in literal_families.SERIES:
                    formula = literal_families.SERIES[name]
                    expected = mean([formula(u.mean((-2, -1))) for u in frames[m]])
                else:
                    expected = mean([literal_families.FIRST[name](u[0]) for u in frames[m]])
            found = float(result.sel(feature=name)[m])
            np.testing.assert_allclose(found, expected, rtol=1e-9, err_msg=name)


def test_any_chunks(ds):
    chosen = {"families": ["extensions", "nonlinear", "initial"]}
    xr.testing.assert_allclose(
        features(ds.chunk(time=5, realization=1, x=7), **chosen), features(ds, **chosen)
    )


def test_architecture():
    coords = {
        "num_layers": ("operator", [2, 5]),
        "activation": ("operator", ["relu", "gelu"]),
        "noise_scale": ("operator", [1e-3, 0.0]),
        "update_policy": "convex",
    }
    rng = np.random.default_rng(0)
    fields = {"u": (("operator", "time", "x"), rng.normal(size=(2, 3, 8)))}
    for ds in (xr.Dataset(fields, coords), xr.Dataset(fields, coords).chunk(operator=1)):
        found = features(ds, "architecture")
        assert found.sel(feature="arch_num_layers").values.tolist() == [2, 5]
        assert found.sel(feature="arch_activation_gelu").values.tolist() == [0, 1]
        assert found.sel(feature="evol_policy_convex").values.tolist() == [1, 1]
        np.testing.assert_allclose(found.sel(feature="stoch_noise_scale_log"), [-3, np.nan])
        assert "dropout_rate" in json.loads(found.attrs["undefined"])["arch_dropout_rate"]
    both = features(ds, ["temporal", "architecture"])
    assert both.shape == (2, 13 + found.sizes["feature"])


def test_only_planes_and_lines_where_they_are_needed():
    rng = np.random.default_rng(0)
    cube = xr.Dataset({"u": (("z", "y", "x"), rng.normal(size=(8, 8, 8)))})
    found = features(cube, ["structural", "morphological", "multiscale"], level="step")
    assert found.sel(feature="num_connected_components").notnull()
    assert found.where(found.family == "morphological", drop=True).isnull().all()
    assert "two axes" in json.loads(found.attrs["undefined"])["solidity"]
    line = cube.isel(z=0, y=0)
    found = features(line, ["distributional", "structural", "initial"], over_time="mean")
    assert found.sel(feature="approximate_entropy").notnull()
    assert found.sel(feature="svd_entropy").isnull()
    assert found.sel(feature="spatial_autocorr").notnull()
    assert found.sel(feature="morph_symmetry").isnull()


def test_sensitivity(trajectories):
    """A linear operator: quotients are its gain, gains are the scales."""
    ds = trajectories.isel(operator=slice(0, 2))
    found = features(ds, operator=lambda u: 3 * u)
    assert found.sizes["feature"] == 97
    assert found["number"].values.tolist() == list(range(57, 154))
    value = found.sel(operator=0, realization=0) if "operator" in ds.indexes else found[0, 0]
    np.testing.assert_allclose(value[-10:-7], 3, rtol=1e-9)
    expected = [0.5, 0.75, 1.25, 1.5, 1.0, 0.0, 1 / 3]
    np.testing.assert_allclose(value[-7:], expected, atol=1e-12)
    assert features(ds, level="aggregated", operator=lambda u: u).sizes["feature"] == 291
    noisy = [lambda u, rng: np.tanh(u) + rng.normal(size=u.shape), lambda u: u**2]
    one = features(ds, "operator_sensitivity", operator=noisy)
    other = features(ds.chunk(operator=1, time=4, x=5), "operator_sensitivity", operator=noisy)
    xr.testing.assert_allclose(one, other.compute())
    assert (one[0, :, 0] < 1.1).all()  # the noise cancels
    with pytest.raises(SchemaError, match="2 entries"):
        features(ds, operator=noisy[:1])
