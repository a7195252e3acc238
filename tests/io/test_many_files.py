"""Runs of very many files: the index of headers, and what each task carries."""

from __future__ import annotations

import gc
import json
import os
import pickle
import struct
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr

import xphys
from xphys._storage._cache import cache_folder
from xphys.errors import FormatError
from xphys.io.readers import _index
from xphys.io.readers._chunk import chunked
from xphys.io.readers._stack import Joined, lazy
from xphys.io.readers.athenak import _group, _headers

COUNT, CELLS = 80, 4
DECK = """\
<mesh>
nghost = 2
nx1 = 4 # cells
x1min = 0.0
x1max = 1.0
nx2 = 4
x2min = 0.0
x2max = 1.0
nx3 = 1
x3min = 0.0
x3max = 1.0
ix1_bc = periodic
ox1_bc = periodic
<mhd>
viscosity = {viscosity}
<output1>
last_time = {time}
file_number = {number}
<par_end>
"""


def dump(number: int, viscosity: str = "1e-3") -> bytes:
    deck = DECK.format(number=number, time=0.1 * number, viscosity=viscosity)
    head = (
        "Athena binary output version=1.1\n  size of preheader=5\n"
        f"  time={0.1 * number!r}\n  cycle={number}\n  size of location=8\n"
        "  size of variable=4\n  number of variables=1\n  variables:  dens  \n"
        f"  header offset={len(deck)}\n{deck}"
    )
    block = struct.pack("<10i6d", 2, 5, 2, 5, 0, 0, 0, 0, 0, 0, *(6 * [0.0]))
    return head.encode() + block + np.full(CELLS**2, number, "<f4").tobytes()


def write(folder: Path, number: int, **options: str) -> Path:
    path = folder / f"run.w.{number:05d}.bin"
    path.write_bytes(dump(number, **options))
    old = 10**18 + number  # long ago: an index takes no file that has just changed
    os.utime(path, ns=(old, old))
    return path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XPHYS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    for number in range(COUNT):
        write(folder, number)
    return folder


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths of the headers that are read."""
    seen: list[str] = []
    honest = _headers.read_header

    def counting(path, *rest):
        seen.append(path)
        return honest(path, *rest)

    monkeypatch.setattr(_headers, "read_header", counting)
    return seen


def index_of(cache: Path) -> Path:
    (found,) = (cache / "headers").iterdir()
    return found


def test_second_opening_reads_no_header(run, cache, reads):
    first = xphys.open(run)
    assert len(reads) == COUNT
    again = xphys.open(run)
    assert len(reads) == COUNT
    xr.testing.assert_identical(again.load(), first.load())
    np.testing.assert_array_equal(first["density"][:, 0, 0], np.arange(COUNT))
    assert json.loads(again.attrs["athenak_deck"])["output1"]["file_number"] == "0"


def test_only_what_changed_is_read_again(run, cache, reads):
    xphys.open(run)
    reads.clear()
    changed = write(run, 3, viscosity="2e-3")
    later = 2 * 10**18 // 2 + 10**9
    os.utime(changed, ns=(later, later))
    added = write(run, COUNT)
    ds = xphys.open(run)
    assert sorted(reads) == sorted(map(str, (changed, added)))
    assert ds["viscosity"].values[2:5].tolist() == [1e-3, 2e-3, 1e-3]
    assert ds.sizes["time"] == COUNT + 1


def test_a_file_that_has_just_changed_is_not_kept(run, cache, reads):
    for path in run.iterdir():
        os.utime(path)
    xphys.open(run)
    xphys.open(run)
    assert len(reads) == 2 * COUNT


def test_switched_off_and_few_files(run, cache, reads, monkeypatch):
    monkeypatch.setenv("XPHYS_CACHE", "off")
    assert cache_folder() is None
    xphys.open(run)
    xphys.open(run)
    assert len(reads) == 2 * COUNT
    monkeypatch.setenv("XPHYS_CACHE", str(cache))
    xphys.open(sorted(run.iterdir())[:3])
    assert not cache.exists()


def test_place_of_the_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("XPHYS_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "xphys"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder().is_relative_to(tmp_path)


def _resealed(data: bytes, change) -> bytes:
    head = len(_index._MAGIC) + _index._DIGEST
    document = json.loads(zlib.decompress(data[head:]))
    change(document)
    body = zlib.compress(json.dumps(document).encode())
    return _index._MAGIC + _index._digest(body) + body


def _set(key, value):
    return lambda document: document.__setitem__(key, value)


def _entry(place, value):
    def change(document):
        for entry in document["files"].values():
            entry[2][place] = value

    return lambda data: _resealed(data, change)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-5],
        lambda data: data[:100] + b"?" + data[101:],
        lambda data: data + b"more",
        lambda data: _resealed(data, _set("parts", [])),
        lambda data: _resealed(data, _set("files", [1, 2])),
        lambda data: _resealed(data, _set("folder", "/elsewhere")),
        lambda data: _resealed(data, lambda d: d.pop("kind")),
        _entry(0, 10**9),
        _entry(0, -1),
        _entry(0, None),
        _entry(1, "nan?"),
        _entry(3, 5),
        _entry(5, 0),
    ],
)
def test_damaged_index_is_as_none(run, cache, reads, damage):
    wanted = xphys.open(run).load()
    place = index_of(cache)
    place.write_bytes(damage(place.read_bytes()))
    reads.clear()
    xr.testing.assert_identical(xphys.open(run).load(), wanted)
    assert len(reads) == COUNT
    reads.clear()
    xphys.open(run)
    assert reads == []


def test_cache_that_cannot_be_written(run, cache, reads):
    cache.write_text("a file where the folder should be")
    assert xphys.open(run).sizes["time"] == COUNT
    assert cache.read_text().startswith("a file")


def test_many_at_a_time(run, cache):
    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(lambda _: xphys.open(run)["time"].values, range(8)))
    for times in opened:
        np.testing.assert_array_equal(times, opened[0])
    assert [path.suffix for path in (cache / "headers").iterdir()] == [".index"]
    assert len(_index._load(index_of(cache), _headers._KIND, str(run)).files) == COUNT


def test_old_indexes_go(run, cache, monkeypatch):
    xphys.open(run)
    monkeypatch.setattr(_index, "_LARGEST", 2 * index_of(cache).stat().st_size)
    old = index_of(cache).with_name("0.index")
    old.write_bytes(bytes(_index._LARGEST))
    os.utime(old, ns=(1, 1))
    write(run, COUNT)
    xphys.open(run)
    assert not old.exists()
    assert index_of(cache).suffix == ".index"


def test_a_damaged_file_among_many_is_named(run, cache):
    path = write(run, 40)
    path.write_bytes(b"nothing")
    with pytest.raises(FormatError, match=r"00040\.bin: expected a first line"):
        xphys.open(run)


def test_tasks_do_not_carry_the_list_of_files(run, cache):
    ds = xphys.open(run, chunks={})
    field = ds["density"].data
    graph = dict(field.__dask_graph__())
    assert len(graph) <= 1.2 * field.npartitions
    sizes = sorted(len(pickle.dumps(one)) for one in graph.values())
    assert sizes[-2] < 1000  # the largest is the source itself, once
    assert sizes[-1] > 10 * sizes[-2]


def test_few_tasks_need_no_task_more(run, cache):
    field = xphys.open(run, chunks={"time": COUNT // 2})["density"].data
    assert len(dict(field.__dask_graph__())) == field.npartitions == 2


def test_joined_arrays_are_carried_once():
    parts = [xr.Variable("time", np.arange(3.0))._data for _ in range(50)]
    array = Joined([_Part(values) for values in parts])
    ds = xr.Dataset({"u": lazy(array, ("time",), chunks=(3,))})
    field = chunked(ds, {})["u"].data
    graph = dict(field.__dask_graph__())
    assert len(graph) == field.npartitions + 1
    assert sorted(len(pickle.dumps(one)) for one in graph.values())[-2] < 1000
    np.testing.assert_array_equal(field.compute(), np.tile(np.arange(3.0), 50))


class _Part:
    def __init__(self, values):
        self.values, self.shape, self.dtype = values, values.shape, values.dtype

    def __getitem__(self, key):
        return self.values[key.tuple]


def test_variables_of_a_worker_share_their_tables(run, cache):
    ds = xphys.open(run, chunks=None)
    _group._live.clear()
    held = [pickle.loads(pickle.dumps(ds["density"].variable)) for _ in range(2)]
    assert len(_group._live) == 1
    for one in held:
        np.testing.assert_array_equal(one[5], np.full((CELLS, CELLS), 5.0))
    del held, one
    gc.collect()
    assert len(_group._live) == 0


def test_works_in_other_processes(run, cache):
    ds = xphys.open(run, chunks={"time": 4})
    with dask.config.set(scheduler="processes", num_workers=2):
        np.testing.assert_array_equal(ds["density"].max(("y", "x")).values, np.arange(COUNT))


def test_memory_per_file_is_small(run, cache):
    xphys.open(run)
    tracemalloc.start()
    ds = xphys.open(run)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert ds.sizes["time"] == COUNT
    assert held < COUNT * 4096
