"""The frame through Zarr v3, Zarr v2 and numcodecs: every selection, only the bytes needed."""

from __future__ import annotations

from typing import Any

import numcodecs
import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.storage import MemoryStore

from xphys.codecs.adapters import zarr_v2
from xphys.codecs.adapters.zarr_v3 import FrameCodec
from xphys.coding import Bounds, Request, decode_chunk
from xphys.coding import frame as frame_module
from xphys.errors import CorruptDataError, FormatError

RNG = np.random.default_rng(5)
SHAPE = (70, 10, 12)
DATA = np.cumsum(RNG.standard_normal(SHAPE), axis=0).astype(np.float32)
LOSSY = Request("transform", Bounds(vrmse=1e-2))


def _array(store: Any, codec: FrameCodec, data: np.ndarray, chunks: tuple[int, ...]) -> zarr.Array:
    array = zarr.create_array(
        store,
        name="u",
        shape=data.shape,
        dtype=data.dtype,
        chunks=chunks,
        serializer=codec,
        compressors=None,
        filters=None,
    )
    array[...] = data
    return array


class CountingStore(MemoryStore):
    """Remembers which ranges were asked for."""

    requests: list[tuple[str, Any]]

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        if "/c/" in key:
            self.requests.append((key, byte_range))
        return await super().get(key, prototype, byte_range)


@pytest.fixture
def lossy() -> tuple[zarr.Array, np.ndarray]:
    array = _array(MemoryStore(), FrameCodec(LOSSY, lossy=True), DATA, (64, 10, 12))
    return array, array[...]


def test_lossy_writing_through_zarr_keeps_the_bound(
    lossy: tuple[zarr.Array, np.ndarray],
) -> None:
    _, whole = lossy
    for part in (slice(0, 64), slice(64, 70)):  # in every stored chunk, the padded one too
        x = DATA[part].astype(np.float64)
        error = np.sqrt(((whole[part] - x) ** 2).mean()) / x.std()
        assert 0 < error <= 1e-2


SELECTIONS: list[Any] = [
    np.s_[3],
    np.s_[-1],
    np.s_[20:23],
    np.s_[5:66:7, 2, ::3],
    np.s_[..., 4],
    np.s_[:, :, :],
    np.s_[60:69:2, :, 1:5],
]


@pytest.mark.parametrize("selection", SELECTIONS, ids=str)
def test_basic_selections(lossy: tuple[zarr.Array, np.ndarray], selection: Any) -> None:
    array, whole = lossy
    assert np.array_equal(array[selection], whole[selection])


def test_negative_steps_are_refused_by_zarr(lossy: tuple[zarr.Array, np.ndarray]) -> None:
    with pytest.raises(IndexError, match="step"):
        lossy[0][::-1]


def test_fancy_selections(lossy: tuple[zarr.Array, np.ndarray]) -> None:
    array, whole = lossy
    rows, columns = np.array([66, 3, 3, 40]), np.array([9, 0, 4])
    orthogonal = array.oindex[rows, columns, 2:7]
    assert np.array_equal(orthogonal, whole[np.ix_(rows, columns, range(2, 7))])
    points = array.vindex[rows, [1, 2, 3, 4], [0, 11, 5, 5]]
    assert np.array_equal(points, whole[rows, [1, 2, 3, 4], [0, 11, 5, 5]])
    mask = whole > 1
    assert np.array_equal(array.vindex[mask], whole[mask])
    rows_wanted = np.arange(70) % 9 == 0
    assert np.array_equal(array.oindex[rows_wanted], whole[rows_wanted])


def test_reading_three_steps_fetches_and_decodes_only_their_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # steps that have nothing to do with each other: no basis reaches over time
    frames = np.cumsum(RNG.standard_normal((64, 96, 96)), axis=1).astype(np.float32)
    store = CountingStore()
    store.requests = []
    array = _array(store, FrameCodec(LOSSY, lossy=True), frames, (64, 96, 96))
    whole = array[...]
    size = len(store._store_dict["u/c/0/0/0"])
    store.requests.clear()
    decoded: list[int] = []
    original = frame_module._decode_block

    def counting(data: bytes, header: Any, index: int, prediction: Any) -> np.ndarray:
        decoded.append(index)
        return original(data, header, index, prediction)

    monkeypatch.setattr(frame_module, "_decode_block", counting)
    assert np.array_equal(array[33:36], whole[33:36])
    assert decoded == [4]  # steps 32 to 39 of eight blocks of 8
    assert len(store.requests) == 2  # the header, then one run of blocks
    fetched = sum(r.end - r.start for _, r in store.requests)
    assert fetched < size / 3


def test_edges_padded_by_zarr_do_not_count() -> None:
    offset = DATA[:6] + 1e4
    array = _array(MemoryStore(), FrameCodec(LOSSY, lossy=True), offset, (64, 10, 12))
    error = np.sqrt(((array[...] - offset).astype(np.float64) ** 2).mean()) / offset.std()
    assert error <= 1e-2


def test_a_codec_from_a_store_writes_losslessly(lossy: tuple[zarr.Array, np.ndarray]) -> None:
    array, whole = lossy
    again = zarr.open_array(array.store, path="u")
    again[10:12] = 7.25
    expected = whole.copy()
    expected[10:12] = 7.25
    assert np.array_equal(again[...], expected)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i2", "u4"])
@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 4, 5, 6)])
def test_dtypes_and_shapes(dtype: str, shape: tuple[int, ...]) -> None:
    data = (RNG.standard_normal(shape) * 100).astype(dtype)
    array = _array(MemoryStore(), FrameCodec(Request()), data, tuple(min(3, n) for n in shape))
    assert np.array_equal(array[...], data)


def test_missing_chunks_are_fill_values() -> None:
    array = zarr.create_array(
        MemoryStore(), shape=(8,), dtype="f4", chunks=(4,), fill_value=9, compressors=None,
        serializer=FrameCodec(Request()), filters=None,
    )  # fmt: skip
    array[:4] = np.arange(4)
    assert array[...].tolist() == [0, 1, 2, 3, 9, 9, 9, 9]
    assert array[3:6].tolist() == [3, 9, 9]


def test_a_foreign_chunk_is_refused() -> None:
    store = MemoryStore()
    _array(store, FrameCodec(Request()), DATA, (64, 10, 12))
    other = MemoryStore()
    _array(other, FrameCodec(Request()), DATA.astype(np.float64), (64, 10, 12))
    store._store_dict["u/c/0/0/0"] = other._store_dict["u/c/0/0/0"]
    array = zarr.open_array(store, path="u")
    for selection in (np.s_[...], np.s_[2:3]):
        with pytest.raises(CorruptDataError, match="expected a chunk of float32"):
            array[selection]


def test_dtypes_that_do_not_fit_are_refused_at_creation() -> None:
    with pytest.raises(FormatError, match="complex128"):
        zarr.create_array(
            MemoryStore(), shape=(8,), dtype="c16", serializer=FrameCodec(), compressors=None
        )


def test_metadata_names_codec_version_and_request(lossy: tuple[zarr.Array, np.ndarray]) -> None:
    described = lossy[0].metadata.to_dict()["codecs"][0]
    assert described["name"] == "xphys.frame"
    assert described["configuration"]["version"] == 2
    assert described["configuration"]["bounds"] == {"vrmse": 1e-2}
    assert FrameCodec.from_dict(described) == FrameCodec(LOSSY)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">i2"])
def test_zarr_v2_through_numcodecs(order: str, dtype: str) -> None:
    data = (DATA * 10).astype(dtype)
    store = MemoryStore()
    array = zarr.create_array(
        store, shape=data.shape, dtype=data.dtype, chunks=(32, 10, 12), zarr_format=2, order=order,
        compressors=zarr_v2.FrameCodec(max_abs=2), filters=None,
    )  # fmt: skip
    array[...] = data
    read = zarr.open_array(store, zarr_format=2)[...]
    error = np.abs(read.astype(np.float64) - data.astype(np.float64)).max()
    assert 0 < error <= 2
    assert read.dtype.newbyteorder("=") == data.dtype.newbyteorder("=")


def test_numcodecs_and_zarr_bytes_are_the_same() -> None:
    codec = numcodecs.get_codec(zarr_v2.FrameCodec(vrmse=1e-2).get_config())
    assert isinstance(codec, zarr_v2.FrameCodec)
    assert codec == zarr_v2.FrameCodec(vrmse=1e-2)
    store = MemoryStore()
    _array(store, FrameCodec(LOSSY, lossy=True), DATA[:64], (64, 10, 12))
    assert zarr_v2.FrameCodec(vrmse=1e-2).encode(DATA[:64]) == (
        store._store_dict["u/c/0/0/0"].to_bytes()
    )
    assert np.array_equal(decode_chunk(codec.encode(DATA)), DATA)  # from metadata: lossless
    out = np.empty_like(DATA)
    codec.decode(codec.encode(DATA), out=out)
    assert np.array_equal(out, DATA)


def test_xarray_encoding_takes_the_codec(tmp_path: Any) -> None:
    ds = xr.Dataset({"u": (("time", "y", "x"), DATA)})
    encoding = {
        "u": {"serializer": FrameCodec(LOSSY, lossy=True), "compressors": None, "chunks": SHAPE}
    }
    ds.to_zarr(tmp_path / "u.zarr", encoding=encoding, consolidated=False)
    read = xr.open_zarr(tmp_path / "u.zarr", consolidated=False).u.load()
    error = np.sqrt(((read.values - DATA).astype(np.float64) ** 2).mean()) / DATA.std()
    assert 0 < error <= 1e-2
