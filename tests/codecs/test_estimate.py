"""estimate_compression(): lazy, the arguments of compress, close to what compress gives."""

from __future__ import annotations

import inspect
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr

from xphys import codecs, io
from xphys.codecs import _estimate
from xphys.errors import BoundError, UnknownNameError


def _refuse(*args: Any, **kwargs: Any) -> None:
    raise AssertionError("a graph was computed while one was built")


def _waves(steps: int = 64) -> xr.Dataset:
    rng = np.random.default_rng(0)
    t, x = np.arange(steps) / 10.0, np.arange(32) / 32
    u = np.sin(2 * np.pi * (x[:, None] + x - 0.1 * t[:, None, None]))
    u = u + 0.01 * rng.standard_normal(u.shape)
    return xr.Dataset(
        {
            "u": (("time", "y", "x"), u.astype(np.float32)),
            "noise": (("time", "y", "x"), rng.standard_normal(u.shape)),
            "label": ((), "run 7"),
        }
    )


def test_same_arguments_as_compress() -> None:
    ours = inspect.signature(codecs.estimate_compression).parameters
    assert list(ours) == list(inspect.signature(codecs.compress).parameters)


def test_lazy_and_labelled() -> None:
    ds = _waves().chunk(time=5)
    with dask.config.set(scheduler=_refuse):
        found = codecs.estimate_compression(ds, vrmse=1e-2, method="bitround")
    assert list(found.variable.values) == ["u", "noise"]
    assert found.ratio.chunks is not None
    assert found.seconds.attrs["units"] == "s"


@pytest.mark.parametrize("method", ["bitround", "auto", "lossless"])
def test_close_to_what_compress_gives(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ds = _waves()
    monkeypatch.setattr(_estimate, "SAMPLE", 2**18)
    found = codecs.estimate_compression(ds, vrmse=1e-2, method=method, effort="fast").compute()
    coded = codecs.compress(ds, vrmse=1e-2, method=method, effort="fast")
    for name in ("u", "noise"):
        layer = io.find_payload(coded[name].data)
        assert layer is not None
        data = dask.get(coded[name].data.__dask_graph__(), (layer.payload, 0, 0, 0))
        ratio = ds[name].nbytes / len(data)
        assert float(found.ratio.sel(variable=name)) == pytest.approx(ratio, rel=0.35)
        assert float(found.seconds.sel(variable=name)) > 0
    assert (found.ratio > (1 if method == "lossless" else 3)).all()
    names = {"lossless"} if method == "lossless" else {"bitround", "transform"}
    assert set(found.method.values) <= names


def test_through_the_accessor_and_without_time() -> None:
    ds = _waves().isel(time=0)
    found = ds.phys.estimate_compression(max_abs={"u": 1e-2}, method="bitround", variables=["u"])
    assert list(found.variable.values) == ["u"]
    assert float(found.ratio[0]) > 1


def test_cost_of_invariants_is_told() -> None:
    ds = _waves()[["u"]]
    asked: dict[str, Any] = {"vrmse": 1e-2, "method": "transform", "effort": "fast"}
    found = codecs.estimate_compression(ds, **asked, preserve=iter(["energy"])).compute()
    free = codecs.estimate_compression(ds, **asked).compute()
    assert "preserve_cost" not in free
    more = float(free.ratio[0] / found.ratio[0]) - 1
    assert 0 < more < 0.2
    assert float(found.preserve_cost[0]) == pytest.approx(more)


def test_errors_are_those_of_compress() -> None:
    with pytest.raises(UnknownNameError):
        codecs.estimate_compression(_waves(), method="magic")
    with pytest.raises(BoundError):
        codecs.estimate_compression(_waves(), vrmse=-1)
