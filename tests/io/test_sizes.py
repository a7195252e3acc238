"""Sizes of what is stored: folders, servers, and what is no store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

import xphys
from xphys import io
from xphys.io import _objects as objects


def _run() -> xr.Dataset:
    values = np.random.default_rng(0).standard_normal((24, 16)).astype("f4")
    return xr.Dataset(
        {"u": (("time", "x"), values), "flat": (("time", "x"), values * 0)},
        {"time": np.arange(24.0), "x": np.arange(16.0)},
    )


def test_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "run.zarr"
    _run().phys.to_zarr(path, chunks={"time": 8})
    found = io.stored_bytes(xphys.open(path))
    assert found == {
        name: zarr.open_group(path, mode="r")[name].nbytes_stored() for name in ("u", "flat")
    }
    opened = xphys.open(path)
    assert io.stored_bytes(opened.isel(time=slice(3))) == {}
    assert io.stored_bytes(opened * 2) == {}


def test_files_have_none(tmp_path: Path) -> None:
    _run().to_netcdf(tmp_path / "run.nc")
    assert io.stored_bytes(xphys.open(tmp_path / "run.nc"), {}) == {}
    assert io.stored_bytes(_run()) == {}


@pytest.fixture(scope="module")
def memory(server: Callable[..., Any]) -> Any:
    pytest.importorskip("s3fs")
    return server("objects")


@pytest.fixture
def options(memory: Any) -> dict[str, Any]:
    return {"anon": True, "endpoint_url": memory.endpoint, "retry": {"attempts": 2}}


def test_servers_are_asked_only_with_their_options(options, memory, monkeypatch) -> None:
    url = "s3://sizes/run.zarr"
    _run().phys.to_zarr(url, chunks={"time": 8}, storage_options=options)
    store = objects.open_store(url, options)
    chunks = [key for key in objects.wait(objects.keys(store, "u/c"))]
    wanted = sum(len(objects.read(store, key)) for key in chunks)
    opened = xphys.open(url, storage_options=options)
    assert io.stored_bytes(opened, options)["u"] == wanted
    assert io.stored_bytes(opened, options)["flat"] < wanted
    plain = xphys.open(f"{memory.endpoint}/sizes/run.zarr")  # cannot be listed
    assert io.stored_bytes(plain, {})["u"] == wanted
    monkeypatch.setattr(objects, "open_store", lambda *_, **__: pytest.fail("asked"))
    assert io.stored_bytes(opened) == {}


def test_stores_of_other_programs_are_listed(options) -> None:
    url = "s3://sizes/foreign.zarr"
    store = objects.open_store(url, options)
    _run().to_zarr(store, zarr_format=3, consolidated=False)
    found = io.stored_bytes(xphys.open(url, storage_options=options), options)
    assert set(found) == {"u", "flat"}
    assert found["u"] > 1000


def test_a_file_behind_a_url_is_no_store(options, tmp_path: Path) -> None:
    _run().to_netcdf(tmp_path / "run.nc", engine="h5netcdf")
    store = objects.open_store("s3://sizes/files", options)
    objects.write(store, "run.nc", (tmp_path / "run.nc").read_bytes())
    opened = xphys.open("s3://sizes/files/run.nc", storage_options=options)
    assert io.stored_bytes(opened, options) == {}
