"""The same stores on a real S3 server (Ceph's gateway) and behind nginx, all on the loop-back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr

import xphys
from xphys._storage._remote import remote
from xphys.errors import CorruptDataError, RemoteError, UnfinishedStoreError

pytestmark = pytest.mark.servers
s3fs = pytest.importorskip("s3fs")

ROOT = Path(__file__).parents[2]
LOG = "XPHYS_TORTURE_LOG"
BLOCKS = 6
WRITER = """
import json, sys
from benchmarks.torture import _stores as stores
kind, url, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
stores.write(stores.Job(kind, blocks=int(sys.argv[4])), url, storage_options=options)
"""


@pytest.fixture(scope="module")
def gateway(server: Callable[..., Any]) -> Any:
    """The server, with a bucket that anybody may read but not list."""
    made = server("radosgw")
    system = s3fs.S3FileSystem(**_signed(made, made.endpoint))
    system.mkdir("runs")
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": ["s3:GetObject"],
        "Resource": ["arn:aws:s3:::runs/open/*"],
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    system.call_s3("put_bucket_policy", Bucket="runs", Policy=policy)
    return made


@pytest.fixture(scope="module")
def proxy(server: Callable[..., Any], gateway: Any) -> Any:
    return server("faults", gateway.endpoint.partition("//")[2])


def _signed(gateway: Any, endpoint: str) -> dict[str, Any]:
    keys = {"key": gateway.facts["key"], "secret": gateway.facts["secret"]}
    return {**keys, "endpoint_url": endpoint}


def _writer(kind: str, url: str, options: dict[str, Any], log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-W", "ignore", "-c", WRITER, kind, url, json.dumps(options)]
    return subprocess.Popen([*command, str(BLOCKS)], cwd=ROOT, env={**os.environ, LOG: str(log)})


def _objects(url: str, options: dict[str, Any]) -> dict[str, bytes]:
    system, path = remote(url, options)
    keys = system.find(path)
    return {key[len(path) + 1 :]: system.cat_file(key) for key in keys}


def _values(ds: xr.Dataset) -> dict[str, np.ndarray]:
    with dask.config.set(scheduler="threads", num_workers=4):
        loaded = ds.load()
    return {str(name): v.values for name, v in loaded.variables.items()}


def _same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


@pytest.fixture(scope="module")
def written(gateway: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Kinds of stores that an uninterrupted writer has made, and where."""
    urls = {}
    for kind in ("lossless", "compressed", "sharded"):
        urls[kind] = f"s3://runs/open/{kind}.zarr"
        log = tmp_path_factory.mktemp("log") / kind
        options = _signed(gateway, gateway.endpoint)
        assert _writer(kind, urls[kind], options, log).wait(120) == 0
    return urls


@pytest.mark.parametrize("kind", ["lossless", "compressed"])
def test_a_killed_writer_is_refused_and_resumed(gateway, proxy, written, tmp_path, kind):
    options = _signed(gateway, proxy.endpoint)
    url = f"s3://runs/killed/{kind}.zarr"
    proxy.faults(rate=0.0)
    first = _writer(kind, url, options, tmp_path / "first")
    while first.poll() is None:
        lines = proxy.faults()["lines"]
        if sum(f"{kind}.zarr/density/c/" in line and "PUT" in line for line in lines) >= 4:
            first.send_signal(signal.SIGKILL)
            break
        time.sleep(0.01)
    assert first.wait() == -signal.SIGKILL
    with pytest.raises(UnfinishedStoreError, match=f"killed/{kind}.zarr"):
        xphys.open(url, storage_options=options)
    there = {key for key in _objects(url, options) if "/c/" in key and "_xphys" not in key}
    proxy.faults(rate=0.0)
    assert _writer(kind, url, options, tmp_path / "second").wait(120) == 0
    computed = (tmp_path / "second").read_text().split()
    assert 0 < len(computed) < 3 * BLOCKS
    put = {line for line in proxy.faults()["lines"] if line.startswith("PUT")}
    finished = [key for key in there if not any(line.endswith(key) for line in put)]
    assert len(finished) >= 3
    whole = _objects(written[kind], options)
    assert _objects(url, options) == whole
    assert set(xphys.verify(url, storage_options=options).state.values) == {"ok"}


@pytest.mark.parametrize("kind", ["lossless", "compressed", "sharded"])
def test_signed_anonymous_and_plain_readers_see_the_same(
    gateway, proxy, written, server, tmp_path, kind
):
    url = written[kind]
    options = _signed(gateway, proxy.endpoint)
    anonymous = {"anon": True, "endpoint_url": proxy.endpoint}
    wanted = _values(xphys.open(url, storage_options=options))
    proxy.faults(rate=0.0)
    ds = xphys.open(url, storage_options=anonymous)
    assert proxy.faults()["requests"] <= 5
    assert _same(_values(ds), wanted)
    for key, data in _objects(url, options).items():
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).write_bytes(data)
    tmp_path.chmod(0o755)
    web = server("nginx", str(tmp_path))
    counting = server("faults", web.endpoint.partition("//")[2])
    ds = xphys.open(counting.endpoint)
    assert counting.faults()["requests"] <= 5
    assert _same(_values(ds), wanted)
    plain = xr.open_zarr(counting.endpoint, zarr_format=3, chunks=None)
    assert np.array_equal(plain.density.values, wanted["density"])


def test_a_part_is_read_by_few_requests(gateway, proxy, written):
    anonymous = {"anon": True, "endpoint_url": proxy.endpoint}
    for kind, most in (("lossless", 1), ("compressed", 2), ("sharded", 1)):
        ds = xphys.open(written[kind], storage_options=anonymous)
        proxy.faults(rate=0.0)
        with dask.config.set(scheduler="synchronous"):
            ds.density.isel(time=slice(2, 10)).load()
        units = ds.density.encoding["chunks"][0]
        touched = -(-10 // units) - 2 // units
        assert proxy.faults()["requests"] <= 1 + most * touched, kind


def test_refused_and_missing_are_named(gateway, proxy, written):
    closed = "s3://runs/closed.zarr"
    options = _signed(gateway, gateway.endpoint)
    xr.Dataset({"u": ("x", np.arange(4.0))}).phys.to_zarr(closed, storage_options=options)
    with pytest.raises(RemoteError, match=r"closed.zarr/zarr.json: .* 403"):
        xphys.open(closed, storage_options={"anon": True, "endpoint_url": gateway.endpoint})
    with pytest.raises(RemoteError, match="403"):
        xphys.open(closed, storage_options={**options, "secret": "wrong"})
    ds = xphys.open(closed, storage_options=options)
    system, path = remote(closed, options)
    system.rm_file(f"{path}/u/c/0")
    with pytest.raises(CorruptDataError, match="variable 'u', chunk u/c/0: missing"):
        ds.load()


def test_two_writers_leave_one_result(gateway, tmp_path):
    options = _signed(gateway, gateway.endpoint)
    url = "s3://runs/raced.zarr"
    both = [_writer(kind, url, options, tmp_path / kind) for kind in ("lossless", "compressed")]
    ends = [one.wait(120) for one in both]
    assert sorted(ends)[0] == 0
    assert any(ends)
    assert set(xphys.verify(url, storage_options=options).state.values) == {"ok"}
