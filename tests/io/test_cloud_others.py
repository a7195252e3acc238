"""Google's and Azure's storage: a few words of each on the loop-back, signed and anonymous."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr

import xphys
from xphys._storage import find, identity
from xphys._storage._remote import remote
from xphys.errors import UnfinishedStoreError
from xphys.io import _objects as objects
from xphys.io._icechunk import Place

pytest.importorskip("aiohttp")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:google")

QUICK = {"attempts": 3, "first": 0.001, "longest": 0.01}
KEY = "bm8gc2VjcmV0IGF0IGFsbA=="  # any base64 will do


@pytest.fixture(scope="module")
def servers(server: Callable[..., Any]) -> dict[str, str]:
    return dict(server("clouds").facts)


def _google(servers: dict[str, str], signed: bool) -> dict[str, Any]:
    pytest.importorskip("gcsfs")
    options: dict[str, Any] = {"endpoint_url": servers["google"], "retry": QUICK}
    if not signed:
        return {**options, "anon": True}
    credentials = pytest.importorskip("google.oauth2.credentials")
    return {**options, "token": credentials.Credentials(token="word")}


def _azure(servers: dict[str, str], signed: bool) -> dict[str, Any]:
    pytest.importorskip("adlfs")
    place = f"BlobEndpoint={servers['azure']}/account"
    signature = f"DefaultEndpointsProtocol=http;AccountName=account;AccountKey={KEY};"
    return {
        "connection_string": signature + place if signed else place,
        "anon": not signed,
        "retry": QUICK,
    }


# URL of a bucket, its options, name among the servers, and how a signature begins
CLOUDS = {
    "gs": ("gs://bucket", _google, "google", "Bearer word"),
    "az": ("az://container", _azure, "azure", "SharedKey account:"),
}


@pytest.fixture(params=list(CLOUDS))
def cloud(request: pytest.FixtureRequest) -> tuple[str, Any, str, str]:
    return CLOUDS[request.param]


def _run(seed: int = 0) -> xr.Dataset:
    values = np.random.default_rng(seed).standard_normal((8, 16)).astype("f4")
    coords = {"time": np.arange(8) * 0.5, "x": np.arange(16.0)}
    return xr.Dataset({"u": (("time", "x"), values, {"units": "1"})}, coords)


def _asked(servers: dict[str, str], name: str) -> list[str]:
    with urllib.request.urlopen(f"{servers[name]}/_asked", timeout=30) as answer:
        return list(json.load(answer))


def test_write_verify_and_read(servers, cloud):
    bucket, options, name, signature = cloud
    signed, anonymous = options(servers, True), options(servers, False)
    url = f"{bucket}/run.zarr"
    before = len(_asked(servers, name))
    _run().chunk(time=4).phys.to_zarr(url, chunks={"time": 4}, storage_options=signed)
    assert set(xphys.verify(url, storage_options=signed).state.values) == {"ok"}
    lines = _asked(servers, name)[before:]
    assert all(line.rpartition(" /")[2].partition(" ")[2].startswith(signature) for line in lines)
    with pytest.raises(FileExistsError):
        _run(1).phys.to_zarr(url, storage_options=signed)

    before = len(_asked(servers, name))
    found = xphys.open(url, storage_options=anonymous)
    assert len(_asked(servers, name)[before:]) == 2
    assert found.u[5].load().equals(_run().u[5])
    assert found.load().equals(_run())
    lines = _asked(servers, name)[before:]
    assert all(line.endswith(" ") for line in lines)  # nobody signed


def test_append_and_resume(servers, cloud):
    bucket, options, _, _ = cloud
    url, access = f"{bucket}/growing.zarr", options(servers, False)
    first, second = _run().isel(time=slice(4)), _run().isel(time=slice(4, None))
    first.phys.to_zarr(url, chunks={"time": 4}, storage_options=access)
    second.phys.to_zarr(url, append_dim="time", storage_options=access)
    assert xphys.open(url, storage_options=access).load().equals(_run())
    stopped = f"{bucket}/stopped.zarr"
    lazy = _run().chunk(time=4)
    lazy.phys.to_zarr(stopped, chunks={"time": 4}, storage_options=access, compute=False)
    with pytest.raises(UnfinishedStoreError, match=r"stopped\.zarr"):
        xphys.open(stopped, storage_options=access)
    lazy.phys.to_zarr(stopped, chunks={"time": 4}, storage_options=access)
    assert xphys.open(stopped, storage_options=access).load().equals(_run())


def test_lists_identities_and_who_comes_first(servers, cloud):
    bucket, options, _, _ = cloud
    access = options(servers, False)
    store = objects.open_store(f"{bucket}/things", access)
    for text in (b"first", b"second"):
        objects.wait(objects.put_if_absent(store, "a.bin", text))
    assert objects.read(store, "a.bin") == b"first"
    assert objects.read(store, "none") is None
    objects.write(store, "folder/b.bin", b"0123456789")
    assert find(f"{bucket}/things/*.bin", access) == [f"{bucket}/things/a.bin"]
    assert find(f"{bucket}/things/*/*.bin", access) == [f"{bucket}/things/folder/b.bin"]
    known = identity(f"{bucket}/things/a.bin", access)
    assert known["name"] == f"{bucket}/things/a.bin"
    assert (known["size"], bool(known["etag"])) == (5, True)
    objects.wait(objects.remove_tree(store, ""))
    assert objects.wait(objects.keys(store, "")) == []


def test_files_are_read_in_parts(servers, cloud, tmp_path):
    bucket, options, _, _ = cloud
    access = options(servers, False)
    _run().to_netcdf(tmp_path / "run.nc", engine="h5netcdf")
    store = objects.open_store(f"{bucket}/files", access)
    objects.write(store, "run.nc", (tmp_path / "run.nc").read_bytes())
    found = xphys.open(f"{bucket}/files/run.nc", storage_options=access)
    assert np.array_equal(found.u.values, _run().u.values)


def test_a_program_ends_without_a_word(servers, cloud):
    """Connections are closed in the loop that they belong to."""
    bucket, options, _, _ = cloud
    url, access = f"{bucket}/small.zarr", options(servers, False)
    _run().phys.to_zarr(url, storage_options=access, mode="w")
    code = f"import xphys; print(float(xphys.open({url!r}, storage_options={access!r}).u[3, 2]))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stderr == ""
    assert float(done.stdout) == float(_run().u[3, 2])


@pytest.mark.parametrize(
    ("url", "given", "function", "wanted"),
    [
        (
            "icechunk+gs://bucket/a/run",
            {"anon": True},
            "gcs_storage",
            {"bucket": "bucket", "prefix": "a/run", "anonymous": True},
        ),
        (
            "icechunk+gs://bucket/run",
            {},
            "gcs_storage",
            {"bucket": "bucket", "prefix": "run", "from_env": True},
        ),
        (
            "icechunk+gs://bucket/run",
            {"service_account_file": "key.json", "retry": QUICK},
            "gcs_storage",
            {"bucket": "bucket", "prefix": "run", "service_account_file": "key.json"},
        ),
        (
            "icechunk+az://container/run",
            {"account_name": "me", "account_key": KEY},
            "azure_storage",
            {"container": "container", "prefix": "run", "account": "me", "access_key": KEY},
        ),
        (
            "icechunk+az://container/run",
            {"account": "me"},
            "azure_storage",
            {"container": "container", "prefix": "run", "account": "me", "from_env": True},
        ),
    ],
)
def test_options_of_repositories(url, given, function, wanted, monkeypatch):
    icechunk = pytest.importorskip("icechunk")
    monkeypatch.setattr(icechunk, function, lambda **options: options)
    assert Place.of(url, given).storage() == wanted


def test_options_of_accounts():
    """What is given goes to the packages as it is; nobody is asked yet."""
    pytest.importorskip("adlfs")
    signed, _ = remote("az://container/run", {"account_name": "me", "sas_token": "?sv=1"})
    assert (signed.inner.account_name, signed.inner.sas_token) == ("me", "?sv=1")
    anonymous, _ = remote("abfs://container/run", {"account_name": "me", "anon": True})
    assert anonymous.inner.anon is True
    assert anonymous.inner.credential is None
    pytest.importorskip("gcsfs")
    open_to_all, _ = remote("gs://bucket/run", {"anon": True, "endpoint_url": "http://localhost"})
    assert open_to_all.inner.storage_options["token"] == "anon"
    assert open_to_all.inner._location == "http://localhost"
