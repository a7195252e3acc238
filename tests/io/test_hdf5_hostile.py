"""What the torture of malformed files found in the shared reading of HDF5, and bombs."""

from __future__ import annotations

import time
import tracemalloc
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from xarray.core.indexing import BasicIndexer

from xphys.errors import CorruptDataError, FormatError
from xphys.io.readers._hdf5 import HDF5Array, HDF5File
from xphys.io.readers._probe import probe


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "a.h5")


def test_links_to_elsewhere_are_never_followed(path: str, tmp_path: Path) -> None:
    other = str(tmp_path / "other.h5")
    with h5py.File(other, "w") as file:
        file.attrs["secret"] = 1
        file["group/data"] = [1.0]
    with h5py.File(path, "w") as file:
        file["elsewhere"] = h5py.ExternalLink(other, "/")
        file["soft"] = h5py.SoftLink("/own")
        file["own/data"] = [2.0]
    file = HDF5File(path)
    assert file.attributes("elsewhere") == file.attributes("elsewhere/group") == {}
    assert file.members() == {"own": "group"}
    assert probe(path).layout == {"own/", "own/data"}
    with pytest.raises(FormatError, match="link to elsewhere"):
        file.values("elsewhere/group/data")


def test_odd_attributes(path: str) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["empty"] = h5py.Empty("f8")
        file.attrs["number"] = 3
    assert HDF5File(path).attributes() == {"number": 3}
    with h5py.File(path, "a") as file:
        space = h5py.h5s.create(h5py.h5s.SCALAR)
        h5py.h5a.create(file.id, b"\xff", h5py.h5t.NATIVE_INT32, space)
    with pytest.raises(FormatError, match="attribute named"):
        HDF5File(path).attributes()


def test_endless_axes_cost_what_is_read(path: str) -> None:
    with h5py.File(path, "w") as file:
        made = file.create_dataset("u", (2**40,), "f8", chunks=(16,), fillvalue=7)
        made[32:40] = np.arange(8)
        file.create_dataset("small", (2**22,), "f8", chunks=(16,), fillvalue=5)[100:102] = 1
    array = HDF5Array(HDF5File(path), "u")
    tracemalloc.start()
    try:
        part = array[BasicIndexer((slice(0, 2**40, 2**39),))]
        assert part.tolist() == [7, 7]
        assert array[BasicIndexer((slice(30, 42),))].tolist() == [7, 7, *range(8), 7, 7]
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()
    with pytest.raises(FormatError, match="than fit into memory"):
        array[BasicIndexer((slice(None),))]
    start = time.process_time()
    values = HDF5File(path).values("small")
    assert time.process_time() - start < 30  # a chunk was looked for in all others, once
    assert values.sum() == 5 * (2**22 - 2) + 2


def test_parts_of_chunks(path: str) -> None:
    data = np.random.default_rng(0).random((9, 11, 7))
    with h5py.File(path, "w") as file:
        file.create_dataset("u", data=data, chunks=(4, 3, 7), compression="gzip")
    array = HDF5Array(HDF5File(path), "u", order=(2, 0, 1))
    for key in (
        (slice(None), slice(None), slice(None)),
        (slice(1, 6, 2), slice(3, 9), 10),
        (np.array([6, 0, 3]), slice(8, None), np.array([2, 2, 10])),
        (3, 4, 5),
        (slice(2, 2), 0, slice(None)),
    ):
        wanted = np.transpose(data, (2, 0, 1))
        for axis in (2, 1, 0):
            wanted = np.take(wanted, np.arange(wanted.shape[axis])[key[axis]], axis)
        np.testing.assert_array_equal(array._read(key), wanted)


@pytest.mark.parametrize("what", ["bomb", "declared", "short checksum", "cut"])
def test_chunks_that_lie(path: str, what: str) -> None:
    size = 2**27 if what == "declared" else 2**10
    with h5py.File(path, "w") as file:
        settings = {"fletcher32": True} if what == "short checksum" else {"compression": "gzip"}
        if what == "cut":
            settings = {}
        made = file.create_dataset("u", (size,), "u1", chunks=(size,), **settings)
        if what == "cut":
            made[:] = 1
        else:
            noise = {"short checksum": b"abc", "declared": zlib.compress(b"x")}
            made.id.write_direct_chunk((0,), noise.get(what) or zlib.compress(bytes(2**27), 9))
    if what == "cut":
        whole = Path(path).read_bytes()
        Path(path).write_bytes(whole[: len(whole) - 512])
    tracemalloc.start()
    try:
        with pytest.raises(FormatError) as caught:
            HDF5Array(HDF5File(path), "u")._read((slice(0, 1),))
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()
    assert isinstance(caught.value, CorruptDataError) or what == "cut"
    assert path in str(caught.value)


def test_text_that_is_named_again_and_again(path: str) -> None:
    with h5py.File(path, "w") as file:
        made = file.create_dataset("names", (70,), h5py.string_dtype())
        made[:] = "x" * 2**20
        file["few"] = np.array(["a", "bc"], object)
    with pytest.raises(FormatError, match="64 MiB of text"):
        HDF5File(path).values("names")
    assert HDF5File(path).values("few").tolist() == [b"a", b"bc"]


def test_messages_are_one_line() -> None:
    error = FormatError("a\nb\x1b[2J" + "c" * 9999)
    assert str(error).startswith("a b [2Jcc")
    assert len(str(error)) == 2003


@pytest.mark.parametrize(("at", "order"), [({0: 0}, [0]), ({2: 0}, [0, 1]), ({1: 9}, [0])])
def test_axes_that_the_dataset_does_not_have(
    path: str, at: dict[int, int], order: list[int]
) -> None:
    with h5py.File(path, "w") as file:
        file["x"] = np.zeros((2, 3))
    with pytest.raises(FormatError, match="'x'"):
        HDF5Array(HDF5File(path), "x", at=at, order=order)
