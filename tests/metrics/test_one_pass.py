"""Each source chunk is read once by each function, and memory does not grow with their number."""

from __future__ import annotations

import collections
import gc
import threading
import weakref

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

from xphys import metrics, spectra, stats
from xphys.features import features


class Live:
    """Counts arrays that are alive."""

    def __init__(self) -> None:
        self.now = self.most = 0

    def add(self, values: np.ndarray) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        weakref.finalize(values, self._gone)

    def _gone(self) -> None:
        self.now -= 1


class Reader:
    """Counts how often each block of a made-up file is read."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.read: collections.Counter[tuple[int, ...]] = collections.Counter()
        self.live: Live | None = None
        self._lock = threading.Lock()

    def __call__(self, block_info=None) -> np.ndarray:
        place = tuple(start for start, _ in block_info[None]["array-location"])
        with self._lock:
            self.read[place] += 1
        rng = np.random.default_rng([self.seed, *place])
        values = rng.normal(size=block_info[None]["chunk-shape"])
        if self.live is not None:
            self.live.add(values)
        return values

    def open(self, shape: tuple[int, int, int], chunks: tuple[int, int, int]) -> da.Array:
        blocks = [(c,) * (n // c) for n, c in zip(shape, chunks, strict=True)]
        return da.map_blocks(self, chunks=tuple(blocks), dtype="f8", meta=np.empty((0, 0, 0)))


def opened(*, shape=(12, 16, 16), chunks=(2, 8, 16), seed=0) -> tuple[xr.Dataset, list[Reader]]:
    coords = {"time": np.arange(float(shape[0]))}
    for d, n in zip("yx", shape[1:], strict=True):
        coords[d] = (d, np.arange(n) / n, {"period": 1.0})
    ds, readers = xr.Dataset(coords=coords), []
    for i, c in enumerate("xy"):
        readers.append(Reader(seed + i))
        attrs = {"vector": "velocity", "component": c}
        ds[f"velocity_{c}"] = ("time", "y", "x"), readers[-1].open(shape, chunks), attrs
    return ds, readers


ALONE = {
    "statistics": stats.statistics,
    "moments": stats.moments,
    "pdf": stats.pdf,
    "pdf with edges": lambda ds: stats.pdf(ds, bins=np.linspace(-4, 4, 20)),
    "structure functions": spectra.structure_functions,
    "autocorrelation": spectra.autocorrelation,
    "autocorrelation in time": lambda ds: spectra.autocorrelation(ds, dims="time"),
    "correlation lengths": spectra.correlation_lengths,
    "sustained": metrics.sustained,
}
PAIRS = {
    "compare": metrics.compare,
    "compare for a report": lambda a, b: metrics.compare(a, b, report=True),
    "scores": metrics.scores,
    "distances": metrics.distances,
    "analyze": lambda a, b: metrics.analyze(a, b, range=(-4, 4)),
    "domain gap": metrics.domain_gap,
    "all": lambda a, b: xr.merge(
        [metrics.scores(a, b), metrics.distances(a, b)], compat="override", join="outer"
    ),
}


@pytest.mark.parametrize("name", ALONE)
def test_each_chunk_is_read_once(name):
    ds, readers = opened()
    ALONE[name](ds).compute(scheduler="threads")
    for reader in readers:
        assert len(reader.read) == 12
        assert set(reader.read.values()) == {1}


@pytest.mark.parametrize("name", PAIRS)
def test_each_chunk_of_both_is_read_once(name):
    (new, first), (old, second) = opened(seed=5), opened(chunks=(4, 16, 8))
    PAIRS[name](new, old).compute(scheduler="threads")
    for reader in first + second:
        assert set(reader.read.values()) == {1}


def test_each_member_is_read_once():
    (old, second), readers, members = opened(), [], []
    for i in range(4):
        ds, own = opened(seed=10 * i)
        members.append(ds)
        readers += own
    test = xr.concat(members, "trajectory")
    metrics.ensemble_scores(test, old).compute(scheduler="threads")
    for reader in readers + second:
        assert set(reader.read.values()) == {1}


def test_everything_at_once_reads_once():
    (new, first), (old, second) = opened(seed=5), opened()
    dask.compute(
        metrics.compare(new, old),
        metrics.scores(new, old),
        metrics.distances(new, old),
        stats.moments(new),
        stats.pdf(old),
        spectra.structure_functions(new),
        spectra.spectra(old),
        scheduler="threads",
    )
    for reader in first + second:
        assert set(reader.read.values()) == {1}


def test_the_range_of_an_analysis_costs_a_second_read():
    (new, first), (old, second) = opened(seed=5), opened()
    metrics.analyze(new, old).compute(scheduler="threads")
    for reader in first + second:
        assert set(reader.read.values()) == {2}


def most_at_once(function, times: int, *, pair: bool) -> int:
    """Largest number of source chunks that are in memory together, on one thread."""
    sources = [opened(shape=(times, 16, 16), chunks=(2, 16, 16), seed=s) for s in (0, 5)]
    counter = Live()
    for _, readers in sources:
        for reader in readers:
            reader.live = counter
    given = [ds for ds, _ in sources]
    lazy = function(*given) if pair else function(given[0])
    lazy.compute(scheduler="synchronous")
    gc.collect()
    assert counter.now == 0
    return counter.most


GROWING = [*((name, False) for name in ALONE if "time" not in name)]
GROWING += [(name, True) for name in ("scores", "distances", "domain gap", "compare")]


@pytest.mark.parametrize(("name", "pair"), GROWING)
def test_memory_does_not_grow_with_the_data(name, pair):
    function = PAIRS[name] if pair else ALONE[name]
    few, many = (most_at_once(function, times, pair=pair) for times in (20, 160))
    assert many <= few + 8, f"{few} source chunks at 20 steps, {many} at 160"


def everything(ds: xr.Dataset) -> list[xr.Dataset | xr.DataArray]:
    """What is computed together: the families need the next step, the copy is made by a task."""
    one = ds[["velocity_x"]]
    return [
        features(one, ["temporal", "causality"]),
        metrics.compare(1.001 * one, one),
        stats.moments(one),
    ]


def tasks_of(*lazy: xr.Dataset | xr.DataArray) -> int:
    graphs = [dict(one.__dask_graph__()) for one in dask.optimize(*lazy)]
    return len({key for graph in graphs for key in graph})


OF_EACH_BLOCK = {
    "statistics": (lambda ds: [stats.statistics(ds[["velocity_x"]])], 1.5),
    "moments": (lambda ds: [stats.moments(ds[["velocity_x"]])], 1.5),
    "compare": (lambda ds: everything(ds)[1:2], 1.5),
    "features": (lambda ds: everything(ds)[:1], 3.5),
    "everything": (everything, 6.1),
}


@pytest.mark.parametrize("name", OF_EACH_BLOCK)
def test_tasks_of_each_block_are_few(name):
    made, most = OF_EACH_BLOCK[name]
    counts = []
    for blocks in (64, 128):
        ds, _ = opened(shape=(2 * blocks, 16, 16), chunks=(2, 16, 16))
        ds = ds.drop_vars(["y", "x"])  # spectra are a task of each block more
        counts.append(tasks_of(*made(ds)))
    assert (counts[1] - counts[0]) / 64 <= most


def test_memory_of_everything_does_not_grow_with_the_data():
    found = []
    for blocks in (20, 320):
        ds, readers = opened(shape=(2 * blocks, 16, 16), chunks=(2, 16, 16))
        for reader in readers:
            reader.live = Live()
        lazy = everything(ds.drop_vars(["y", "x"]))
        dask.compute(*lazy, scheduler="synchronous")
        gc.collect()
        assert set(readers[0].read.values()) == {1}
        assert readers[0].live.now == 0
        found.append(readers[0].live.most)
    assert found[1] <= found[0] + 2
