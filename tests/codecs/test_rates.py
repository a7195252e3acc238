"""rate_distortion(): lazy, monotonous, bounded by its sample, close to what a store takes."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import xarray as xr

from xphys import codecs
from xphys.errors import BoundError, SchemaError, UnknownNameError
from xphys.metrics import charts
from xphys.schema import provenance

TARGETS = (1e-1, 1e-2, 1e-4)


def refuse(*args: object, **kwargs: object) -> None:
    raise AssertionError("the graph was computed")


def waves(steps: int = 16, dtype: str = "f4") -> xr.Dataset:
    rng = np.random.default_rng(1)
    t, y, x = np.meshgrid(np.arange(steps) / 16, *[np.arange(32) / 32] * 2, indexing="ij")
    smooth = np.sin(2 * np.pi * (x + t)) * np.cos(4 * np.pi * y)
    rough = smooth + 0.05 * rng.normal(size=smooth.shape)
    dims = ("time", "y", "x")
    ds = xr.Dataset({"smooth": (dims, smooth.astype(dtype)), "rough": (dims, rough.astype(dtype))})
    for d in "yx":
        ds[d] = d, np.arange(32) / 32, {"period": 1.0}
    return ds.assign(label=("time", np.array(["a"] * steps)))


def test_lazy_with_labels_and_units() -> None:
    ds = waves().chunk(time=4)
    with dask.config.set(scheduler=refuse):
        curve = codecs.rate_distortion(ds, targets=TARGETS, method="bitround")
    assert curve.bits_per_value.dims == curve.method.dims == ("target", "variable")
    np.testing.assert_array_equal(curve.target, TARGETS)
    assert list(curve["variable"].values) == ["smooth", "rough"]
    assert curve.bits_per_value.attrs["units"] == "bit"
    assert provenance(curve)[-1]["operation"] == "rate_distortion"
    found = curve.compute()
    np.testing.assert_allclose(found.bits_per_value * found.ratio, 32)
    assert (found.bits_per_value.diff("target") > 0).all()
    assert (found.method == "bitround").all()
    assert (found.seconds > 0).all()


def test_each_point_is_what_the_estimate_says() -> None:
    ds = waves()[["rough"]]
    curve = codecs.rate_distortion(ds, targets=[1e-2], method="transform").compute()
    single = codecs.estimate_compression(ds, vrmse=1e-2, method="transform").compute()
    np.testing.assert_array_equal(curve.ratio[0], single.ratio)


def test_the_stored_point_lies_on_the_curve() -> None:
    ds = waves()[["rough"]]
    stored = ds.phys.compress(vrmse=1e-2, method="transform")
    curve = ds.phys.rate_distortion(targets=TARGETS, method="transform")
    result = stored.phys.compare(ds, rate_distortion=curve).compute()
    near = result.estimated_bits.sel(target=1e-2, variable="rough")
    assert float(result.bits_per_value[0]) == pytest.approx(float(near), rel=0.2)
    assert [c.group for c in charts(result)].count("rate_distortion") == 1


def test_true_takes_the_variables_of_both() -> None:
    ds = waves()
    test = ds.phys.compress(vrmse=1e-1, method="bitround").drop_vars("smooth")
    result = test.phys.compare(ds, rate_distortion=True)
    assert result.estimated_bits.dims == ("target", "variable")
    assert list(result["variable"].values) == ["rough"]
    with dask.config.set(scheduler=refuse):
        none = test.chunk().phys.compare(ds.chunk(), rate_distortion=False)
    assert "estimated_bits" not in none


@pytest.mark.parametrize(
    ("sizes", "sample", "expected"),
    [
        ({"time": 100, "y": 10, "x": 10}, 8000, {"time": 10, "y": 10, "x": 10}),
        ({"trajectory": 4, "time": 5, "x": 10}, 800, {"trajectory": 2, "time": 5, "x": 10}),
        ({"z": 20, "y": 10, "x": 10}, 8 * 450, {"z": 4, "y": 10, "x": 10}),
        ({"z": 2, "y": 100, "x": 10}, 8 * 500, {"z": 1, "y": 50, "x": 10}),
    ],
)
def test_the_sample_is_bounded(monkeypatch, sizes, sample, expected) -> None:
    seen = []

    def watch(part: xr.Dataset, **kwargs: object) -> xr.Dataset:
        seen.append(part)
        blank = ("variable", [1.0])
        return xr.Dataset({"ratio": blank, "seconds": blank, "method": blank}, {"variable": ["p"]})

    monkeypatch.setattr("xphys.codecs._rates.estimate_compression", watch)
    values = np.arange(np.prod(list(sizes.values())), dtype="f8").reshape(*sizes.values())
    ds = xr.Dataset({"p": (tuple(sizes), values)})
    curve = codecs.rate_distortion(ds, targets=[0.1], sample=sample)
    assert dict(seen[0].sizes) == expected
    assert seen[0].p.nbytes <= sample
    assert float(curve.seconds[0, 0]) == pytest.approx(ds.p.size / seen[0].p.size)


def test_refusals() -> None:
    ds = waves()
    for targets in ((), (0.1, 0.0), (np.inf,), (np.nan,)):
        with pytest.raises(BoundError, match="targets"):
            codecs.rate_distortion(ds, targets=targets)
    for sample in (0, 2**30, 1.5, True):
        with pytest.raises(SchemaError, match="bytes"):
            codecs.rate_distortion(ds, sample=sample)
    with pytest.raises(UnknownNameError, match="pressure"):
        codecs.rate_distortion(ds, variables="pressure")
    with pytest.raises(UnknownNameError, match="magic"):
        codecs.rate_distortion(ds, method="magic")
    with pytest.raises(SchemaError, match="real variable"):
        codecs.rate_distortion(ds[["label"]])
