"""Equal writers that join each other, and what a write asks for before it begins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from zarr.abc.store import RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import LocalStore, MemoryStore, WrapperStore

import xphys
from xphys.errors import CorruptDataError, StoreConflictError
from xphys.io import _objects as objects
from xphys.io._journal import BeforeStore
from xphys.io.writers import _graph
from xphys.io.writers._begin import Request, begin


def _run() -> xr.Dataset:
    values = np.random.default_rng(0).standard_normal((24, 8))
    coords = {"time": np.arange(24) * 0.5, "x": np.arange(8.0)}
    return xr.Dataset({"u": (("time", "x"), values, {"units": "1"})}, coords)


@pytest.fixture(params=["plain", "sharded"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    shards = {"time": 8} if request.param == "sharded" else None
    _run().chunk(time=8).phys.to_zarr(tmp_path / "run.zarr", chunks={"time": 4}, shards=shards)
    return tmp_path / "run.zarr"


def _change() -> xr.Dataset:
    """Steps 6 to 18, which cut stored chunks in two."""
    return (_run().isel(time=slice(6, 18)) * 0 + 7).drop_vars(["x", "time"]).chunk(time=4)


def _begin(store: Path) -> object:
    region = {"time": slice(6, 18)}
    return begin(Request(_change(), LocalStore(store), "", mode="r+", region=region))


def test_a_late_equal_region_writer_reads_what_was_there_before(store, monkeypatch) -> None:
    """The first one has replaced chunks that both change in part, and has not sealed yet."""
    with monkeypatch.context() as patch:
        patch.setattr(_graph, "seal", lambda plan, *handed: None)
        first = _begin(store)
    late = _begin(store)
    first.finish()
    late.finish()
    read = xphys.open(store).u.values
    assert (read[6:18] == 7).all()
    for part in (slice(0, 6), slice(18, None)):
        assert np.array_equal(read[part], _run().u.values[part])
    assert set(xphys.verify(store).state.values) == {"ok"}
    assert not (store / "_xphys" / "journal").exists()


def test_a_late_equal_region_writer_finds_all_done(store) -> None:
    first, late = _begin(store), _begin(store)
    first.finish()
    late.finish()
    assert (xphys.open(store).u.values[6:18] == 7).all()


def test_damage_is_damage_although_somebody_else_writes(store) -> None:
    chunk = store / "u" / "c" / ("0" if (store / "u" / "c" / "2").exists() else "1") / "0"
    late = _begin(store)
    for path in sorted((store / "u" / "c").rglob("*")):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert chunk.exists()
    with pytest.raises(CorruptDataError, match="u/c/"):
        late.finish()


class _Counting(WrapperStore):
    """Counts what is asked for."""

    def __init__(self, store: object, asked: list[str]) -> None:
        super().__init__(store)
        self.asked = asked

    def _with_store(self, store: object) -> _Counting:
        return type(self)(store, self.asked)

    async def get(self, key: str, prototype: object, byte_range: object = None) -> object:
        self.asked.append(key)
        return await super().get(key, prototype, byte_range)


def test_what_is_asked_for_before_a_write_begins() -> None:
    asked: list[str] = []
    begin(Request(_run(), _Counting(MemoryStore(), asked), ""))
    before = asked[: asked.index("_xphys/journal/run.json", 1) + 1]
    assert before.count("_xphys/manifest/zarr.json") == 1
    assert before.count("_xphys/journal/run.json") == 2  # a look, and another one to take it


def test_a_run_that_comes_between_is_a_conflict(store, monkeypatch) -> None:
    """Damage that is seen while another run begins or ends is none."""
    from xphys.io.writers import _begin as module

    def disturbed(*args: object) -> None:
        (store / "_xphys" / "manifest" / "zarr.json").write_bytes(b"{}")
        raise CorruptDataError("u/c/0/0: its bytes are not the ones that were written")

    monkeypatch.setattr(module, "view_below", disturbed)
    with pytest.raises(StoreConflictError, match="another run wrote here while this one looked"):
        _begin(store)


def test_parts_of_what_was_there_before() -> None:
    place = MemoryStore()
    objects.write(place, "g/u/c/0", b"new bytes")
    objects.write(place, "g/_xphys/journal/before/u/c/0", b"\1old")
    objects.write(place, "g/_xphys/journal/before/u/c/1", b"\0")
    objects.write(place, "g/u/c/1", b"new")
    objects.write(place, "g/u/c/2", b"same")
    before = BeforeStore(place, "g")

    def read(key: str, part: object = None) -> bytes | None:
        found = objects.wait(before.get(key, default_buffer_prototype(), part))
        return None if found is None else found.to_bytes()

    assert read("g/u/c/0") == b"old"
    assert read("g/u/c/0", RangeByteRequest(1, 3)) == b"ld"
    assert read("g/u/c/0", SuffixByteRequest(1)) == b"d"
    assert read("g/u/c/1") is None
    assert read("g/u/c/2", RangeByteRequest(0, 2)) == b"sa"
