"""Stores behind URLs, against a few words of S3 in memory and a proxy that counts and spoils."""

from __future__ import annotations

import pickle
import urllib.request
from collections.abc import Callable
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr

import xphys
from xphys._storage import find, identity, open_binary
from xphys._storage._remote import remote
from xphys.errors import CorruptDataError, FormatError, RemoteError, UnfinishedStoreError
from xphys.io import _objects as objects

pytest.importorskip("s3fs")
pytest.importorskip("aiohttp")

STEPS, N = 24, 16
QUICK = {"first": 0.001, "longest": 0.01}
PASSING = ("429", "500", "503", "reset", "short", "lost")


def _run(seed: int = 0) -> xr.Dataset:
    rng = np.random.default_rng(seed)
    u = rng.standard_normal((STEPS, N, N)).cumsum(0).astype("f4")
    level = np.zeros((STEPS, N, N), "i4")
    level[8:16] = 1
    return xr.Dataset(
        {
            "u": (("time", "y", "x"), u, {"units": "1"}),
            "v": (("time", "y", "x"), rng.standard_normal(u.shape), {"units": "1"}),
            "level": (("time", "y", "x"), level),
        },
        coords={"time": np.arange(STEPS) * 0.5, "y": np.arange(N) * 1.0, "x": np.arange(N) * 1.0},
    )


def _write(ds: xr.Dataset, url: str, options: dict[str, Any], **more: Any) -> xr.Dataset:
    made = ds.chunk(time=8).phys.compress(vrmse=1e-2, variables=["u"], chunks={"time": 8})
    made.phys.to_zarr(url, chunks={"time": 8}, storage_options=options, **more)
    return made.compute()


@pytest.fixture(scope="module")
def memory(server: Callable[..., Any]) -> Any:
    return server("objects")


@pytest.fixture(scope="module")
def proxy(server: Callable[..., Any], memory: Any) -> Any:
    return server("faults", memory.endpoint.partition("//")[2])


@pytest.fixture(scope="module")
def through(proxy: Any) -> dict[str, Any]:
    """Options of S3 through the proxy."""
    return {"anon": True, "endpoint_url": proxy.endpoint, "retry": QUICK}


@pytest.fixture(scope="module")
def stored(memory: Any) -> xr.Dataset:
    """What is in ``s3://runs/a.zarr``."""
    return _write(_run(), "s3://runs/a.zarr", {"anon": True, "endpoint_url": memory.endpoint})


@pytest.fixture
def counted(proxy: Any) -> Any:
    """Requests from here on."""
    proxy.faults(rate=0.0)
    yield lambda: proxy.faults()["lines"]
    proxy.faults(rate=0.0)


def _equal(found: xr.Dataset, wanted: xr.Dataset) -> None:
    with dask.config.set(scheduler="threads", num_workers=4):
        found = found.load()
    for name in wanted.variables:
        assert np.array_equal(found[name].values, wanted[name].values), name


def test_opening_takes_two_requests(stored, through, counted):
    ds = xphys.open("s3://runs/a.zarr", storage_options=through)
    lines = counted()
    assert [line.rpartition("a.zarr")[2] for line in lines] == [
        "/zarr.json",
        "/_xphys/manifest/zarr.json",
    ]
    _equal(ds, stored)
    assert set(xphys.verify("s3://runs/a.zarr", storage_options=through).state.values) == {"ok"}


def test_reading_steps_asks_for_their_chunks_once(stored, through, proxy, counted):
    ds = xphys.open("s3://runs/a.zarr", storage_options=through)
    proxy.faults(rate=0.0)
    with dask.config.set(scheduler="synchronous"):
        ds.u.isel(time=slice(3, 12)).load()
        assert len(counted()) <= 1 + 2 * 2  # records; front and steps of two chunks
        proxy.faults(rate=0.0)
        for step in range(3, 12):  # one by one: records and fronts are known
            ds.u.isel(time=step).load()
        assert len(counted()) <= 9
        proxy.faults(rate=0.0)
        ds.level.load()
    assert sum("level/c/" in line and "manifest" not in line for line in counted()) == 1


def test_an_index_of_a_shard_is_never_asked_for(memory, through, proxy, counted):
    ds = _run()[["v"]].chunk(time=8)
    url = "s3://runs/shards.zarr"
    ds.phys.to_zarr(url, chunks={"time": 2}, shards={"time": 8}, storage_options=through, mode="w")
    proxy.faults(rate=0.0)
    part = xphys.open(url, storage_options=through, chunks=None).v.isel(time=slice(2, 6))
    assert np.array_equal(part.values, ds.v.isel(time=slice(2, 6)).values)
    read = [line for line in counted() if "/v/c/" in line and "manifest" not in line]
    assert len(read) == 2
    assert all("bytes=" in line for line in read)


def test_faults_that_pass_are_not_noticed(through, proxy, stored):
    url = "s3://runs/hard.zarr"
    proxy.faults(rate=0.2, kinds=PASSING, seed=1, retry_after=0.01)
    written = _write(_run(), url, through, mode="w")
    proxy.faults(rate=0.3, kinds=(*PASSING, "cut"), seed=2, count=proxy.faults())
    _equal(xphys.open(url, storage_options=through), written)
    _equal(xphys.open("s3://runs/a.zarr", storage_options=through), stored)
    report = proxy.faults()
    assert report["requests"] > 100
    assert {*PASSING, "cut"} <= set(report["spoiled"])
    proxy.faults(rate=0.0)
    assert set(xphys.verify(url, storage_options=through).state.values) == {"ok"}


@pytest.mark.parametrize("variable", ["u", "v"])
def test_a_chunk_that_is_not_there_is_an_error(stored, through, proxy, variable):
    ds = xphys.open("s3://runs/a.zarr", storage_options=through)
    proxy.faults(rate=1.0, kinds=["404"], only=f"a.zarr/{variable}/c/1")
    try:
        with pytest.raises(CorruptDataError, match=rf"variable '{variable}', chunk {variable}/c/1"):
            ds[variable].load(scheduler="synchronous")
    finally:
        proxy.faults(rate=0.0)


def test_refusals_name_the_url(stored, through, proxy):
    ds = xphys.open("s3://runs/a.zarr", storage_options=through)
    proxy.faults(rate=1.0, kinds=["403"])
    try:
        with pytest.raises(RemoteError, match=r"s3://runs/a.zarr/v/c/0/0/0|manifest/v") as caught:
            ds.v.load(scheduler="synchronous")
        assert caught.value.status == 403
        lines = proxy.faults()["lines"]
        assert len(lines) <= 3  # one for each chunk: none is asked again
        assert {line.rpartition("/manifest/")[2] for line in lines} == {"v/c/0/0"}
        with pytest.raises(RemoteError, match=r"s3://runs/a.zarr/zarr.json: .* 403"):
            xphys.open("s3://runs/a.zarr", storage_options=through)
    finally:
        proxy.faults(rate=0.0)
    with pytest.raises(FormatError, match="no such object"):
        xphys.open("s3://runs/nothing.zarr", storage_options=through)


def test_a_server_that_goes_on_failing_is_given_up(stored, through, proxy):
    proxy.faults(rate=1.0, kinds=["503"])
    few = {**through, "retry": {"attempts": 3, "first": 0.001}}
    try:
        with pytest.raises(RemoteError, match="3 attempts .* 503"):
            xphys.open("s3://runs/a.zarr", storage_options=few)
        assert proxy.faults()["requests"] == 3
    finally:
        proxy.faults(rate=0.0)


def test_a_plain_web_server_is_enough_to_read(stored, memory, proxy, counted):
    url = f"{proxy.endpoint}/runs/a.zarr"
    ds = xphys.open(url)
    assert len(counted()) == 2
    _equal(ds, stored)
    assert ds.encoding["source"] == url
    with pytest.raises((RemoteError, ValueError), match=r"read.only|cannot be written"):
        _run().phys.to_zarr(f"{proxy.endpoint}/runs/b.zarr")
    assert set(xphys.verify(url).state.values) == {"ok"}


def test_the_hub_is_read_by_its_plain_addresses(memory):
    options = {"anon": True, "endpoint_url": memory.endpoint}
    place = "datasets/org/name/resolve/refs%2Fconvert%2Fx/run.zarr"
    _run()[["v"]].phys.to_zarr(f"s3://{place.replace('%2F', '/')}", storage_options=options)
    hub = {"endpoint": memory.endpoint}
    ds = xphys.open("hf://datasets/org/name@refs/convert/x/run.zarr", storage_options=hub)
    assert np.array_equal(ds.v.values, _run().v.values)
    system, path = remote("hf://org/name/a/b.h5", {"token": "t"})
    assert path == "https://huggingface.co/org/name/resolve/main/a/b.h5"
    assert system.inner.kwargs["headers"]["Authorization"] == "Bearer t"
    with pytest.raises(FormatError, match="expected hf://"):
        remote("hf://name")


def test_equal_sources_give_equal_tasks(stored, through, memory, proxy):
    url = "s3://runs/changing.zarr"
    _write(_run(1), url, through, mode="w")
    names = [xphys.open(url, storage_options=through).u.data.name for _ in range(2)]
    assert names[0] == names[1]
    _write(_run(2), url, through, mode="w")
    assert xphys.open(url, storage_options=through).u.data.name != names[0]
    source = xphys.open(url, storage_options=through)
    for target in ("s3://runs/one.zarr", "s3://runs/two.zarr"):
        again = xphys.open(url, storage_options=through)
        (again.v * 2).to_dataset().phys.to_zarr(target, storage_options=through)
    assert source.v.data.name == again.v.data.name
    system, _ = remote("s3://runs", through)
    contents = [
        {k.partition(".zarr")[2]: system.cat_file(k) for k in system.find(f"runs/{name}.zarr")}
        for name in ("one", "two")
    ]
    assert contents[0] == contents[1]


def test_an_unfinished_write_is_refused_and_resumed(through, proxy, memory):
    url = "s3://runs/stopped.zarr"
    direct = {"anon": True, "endpoint_url": memory.endpoint}
    proxy.faults(rate=1.0, kinds=["403"], only="PUT /runs/stopped.zarr/v/c/2")
    with pytest.raises(RemoteError, match=r"stopped.zarr/v/c/2/0/0: .* 403"):
        _write(_run(), url, through)
    proxy.faults(rate=0.0)
    with pytest.raises(UnfinishedStoreError, match="stopped.zarr"):
        xphys.open(url, storage_options=through)
    written = _write(_run(), url, direct)
    _equal(xphys.open(url, storage_options=through), written)


def test_only_one_of_two_makes_an_object(through):
    store = objects.open_store("s3://runs/race", through)
    for text in (b"first", b"second"):
        objects.wait(objects.put_if_absent(store, "a", text))
    assert objects.read(store, "a") == b"first"
    assert objects.wait(store.exists("a"))
    assert not objects.wait(store.exists("b"))
    copy = pickle.loads(pickle.dumps(store))
    assert copy == store
    assert objects.read(copy, "a") == b"first"
    objects.wait(objects.remove_tree(store, ""))
    assert objects.wait(objects.keys(store, "")) == []


def test_stores_of_obstore_are_taken():
    memory = pytest.importorskip("obstore.store").MemoryStore()
    written = _write(_run(), memory, {})
    assert set(xphys.verify(memory).state.values) == {"ok"}
    read = xr.open_zarr(objects.open_store(memory, read_only=True), chunks=None)
    assert np.array_equal(read.u.values, written.u.values)


def test_files_behind_urls(memory, proxy, tmp_path):
    ds = _run()[["v"]]
    ds.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    data = (tmp_path / "a.nc").read_bytes()
    for name in ("a.nc", "b.nc"):
        request = urllib.request.Request(f"{memory.endpoint}/files/{name}", data, method="PUT")
        urllib.request.urlopen(request).close()
    url = f"{proxy.endpoint}/files/a.nc"
    proxy.faults(rate=0.2, kinds=("503", "reset", "short"), seed=3)
    try:
        with open_binary(url, {"retry": QUICK}) as file:
            file.seek(len(data) // 2)
            assert file.read() == data[len(data) // 2 :]
        opened = xphys.open(url, storage_options={"retry": QUICK})
        assert np.array_equal(opened.v.values, ds.v.values)
    finally:
        proxy.faults(rate=0.0)
    known = identity(url)
    assert known["name"] == url
    assert known["size"] == len(data)
    assert len(known["etag"]) == 32
    assert identity(url.replace("//", "//me:secret@", 1) + "?token=secret")["name"] == url
    anonymous = {"anon": True, "endpoint_url": memory.endpoint}
    assert identity("s3://files/a.nc", anonymous)["etag"] == known["etag"]
    assert find("s3://files/*.nc", anonymous) == ["s3://files/a.nc", "s3://files/b.nc"]


@pytest.mark.parametrize(
    ("url", "options", "package"),
    [
        ("gs://bucket/a", {"anon": True}, "gcsfs"),
        ("az://bucket/a", {"anon": True, "account_name": "nobody"}, "adlfs"),
    ],
)
def test_other_clouds_are_reached_anonymously(url, options, package):
    pytest.importorskip(package)
    system, path = remote(url, options, asynchronous=True)
    assert path == "bucket/a"
    assert system.url(path).startswith(url.partition("://")[0])
    assert not getattr(system.inner, "use_listings_cache", False)
