"""Each row of the table of misuse: one clear line, or the policy; never a wrong number."""

from __future__ import annotations

import importlib.util
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from xphys.features import features

_SPEC = importlib.util.spec_from_file_location(
    "feature_misuse", Path(__file__).parent / "misuse.py"
)
table = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(table)


def test_the_table_is_long_and_every_row_is_named_once():
    names = [row[0] for row in table.MISUSE]
    assert len(names) == len(set(names))
    assert len(names) >= 70


@pytest.mark.parametrize("row", table.MISUSE, ids=lambda row: row[0])
def test_misuse(row):
    _, change, arguments, outcome = row
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ds = change(table.good())
        if isinstance(outcome, tuple):
            kind, word = outcome
            with pytest.raises(kind) as caught:
                features(ds, **arguments).compute()
            message = str(caught.value)
            assert word in message
            assert "\n" not in message
            assert len(message) < 400
        else:
            POLICIES[outcome](features(ds, **arguments).compute(), ds, arguments)


def undefined(result: xr.DataArray) -> dict[str, str]:
    return json.loads(result.attrs["undefined"])


def expected(arguments) -> xr.DataArray:
    return features(table.good(), **arguments)


def same(result, ds, arguments):
    np.testing.assert_allclose(result, expected(arguments), rtol=1e-10, atol=1e-12)


def cells(result, ds, arguments):
    assert "cells" in result.attrs["axis_x"]
    assert result.sel(feature="spectral_flatness").notnull().all()
    np.testing.assert_allclose(result[:, :10], expected(arguments)[:, :10])


def opened(result, ds, arguments):
    assert "not periodic" in result.attrs["axis_x"]
    assert result.sel(feature="spectral_flatness").notnull().all()
    slope = np.gradient(ds.a.values, *(ds[d].values for d in "yx"), axis=(2, 3), edge_order=2)[1]
    other = np.gradient(ds.b.values, *(ds[d].values for d in "yx"), axis=(2, 3), edge_order=2)[1]
    mean = 0.5 * (np.abs(slope).mean((0, 2, 3)) + np.abs(other).mean((0, 2, 3)))
    np.testing.assert_allclose(result.sel(feature="gradient_x_mean"), mean)


def uneven(result, ds, arguments):
    spectral = result.isel(feature=(result.family == "spectral").values)
    assert spectral.isnull().all()
    assert set(spectral["name"].values) <= set(undefined(result))
    assert result.isel(feature=slice(0, 19)).notnull().all()


def no_x(result, ds, arguments):
    assert "gradient_x_mean" in undefined(result)
    assert result.sel(feature="gradient_y_mean").notnull().all()


def finite(result, ds, arguments):
    known = ~np.isin(result["name"].values, list(undefined(result)))
    assert np.isfinite(result.values[:, known]).all()


def uneven_times(result, ds, arguments):
    assert {"temporal_freq_dominant", "oscillation_period", "autocorr_decay_time"} <= set(
        undefined(result)
    )
    assert result.sel(feature="trend_strength").notnull().all()


def all_undefined(result, ds, arguments):
    assert result.isnull().all()
    assert set(undefined(result)) == set(result["name"].values)


def spoilt(result, ds, arguments):
    whole = expected(arguments)
    kept = [0, 1, 2, 4, 5, 6]
    np.testing.assert_allclose(result.isel(time=kept), whole.isel(time=kept), rtol=1e-10)
    valid = result["valid_fraction"].isel(time=3)
    assert float(valid.sel(feature="spatial_mean")) == 0.75
    assert float(valid.sel(feature="cross_channel_corr_mean")) == 0.5
    three = [ds.b.values[0, 3].mean(), ds.a.values[1, 3].mean(), ds.b.values[1, 3].mean()]
    mean = result.isel(time=3).sel(feature="spatial_mean")
    np.testing.assert_allclose(mean, np.mean(three))


def all_nan(result, ds, arguments):
    assert result.isnull().all()
    assert (result["valid_fraction"] == 0).all()


def as_numbers(result, ds, arguments):
    np.testing.assert_allclose(result, features(ds.astype(float), **arguments))


def copies(result, ds, arguments):
    assert result.sel(feature="cross_channel_condition_number").isnull().all()
    np.testing.assert_allclose(result.sel(feature="cross_channel_corr_mean"), 1)


def one_constant(result, ds, arguments):
    assert result.sel(feature="cross_channel_corr_mean").isnull().all()
    assert result.sel(feature="cross_channel_eigen_trace").notnull().all()
    skewness = result.sel(feature="spatial_skewness")
    assert (skewness["valid_fraction"] == 0.5).all()
    np.testing.assert_allclose(skewness, features(ds[["a"]], **arguments).sel(
        feature="spatial_skewness"))  # fmt: skip


def no_error(result, ds, arguments):
    """Numbers beyond float64 overflow or underflow, and nothing else happens."""
    expected_mean = ds.to_dataarray().mean(("variable", "realization", "y", "x"))
    np.testing.assert_allclose(
        result.sel(feature="spatial_mean"), expected_mean, rtol=1e-9, atol=1e-300
    )


POLICIES = {
    "no error": no_error,
    "same": same,
    "cells": cells,
    "open": opened,
    "uneven": uneven,
    "no x": no_x,
    "finite where defined": finite,
    "uneven times": uneven_times,
    "all undefined": all_undefined,
    "spoilt": spoilt,
    "all nan": all_nan,
    "as numbers": as_numbers,
    "copies": copies,
    "one constant": one_constant,
}
