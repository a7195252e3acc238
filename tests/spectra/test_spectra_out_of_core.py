"""Frames and series that no task can hold: same values, little memory, files that go away."""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

from xphys.errors import CorruptDataError, SchemaError
from xphys.spectra import _pencils, _scratch, spectra
from xphys.spectra._blocks import sums_of_frames


def refuse(*args, **kwargs):
    raise AssertionError("the graph was computed")


def box(sizes, dtype="f8", times=2, offset=3.0) -> xr.DataArray:
    rng = np.random.default_rng(1)
    data = (rng.normal(size=(times, *sizes.values())) + offset).astype(dtype)
    coords = {
        d: (d, np.arange(n) * (0.5 + i), {"period": n * (0.5 + i), "units": "m"})
        for i, (d, n) in enumerate(sizes.items())
    }
    time = ("time", np.arange(times) * 0.1, {"units": "s"})
    return xr.DataArray(data, {"time": time, **coords}, ("time", *sizes), "f", {"units": "K"})


@pytest.fixture
def folder(tmp_path):
    with dask.config.set({"temporary-directory": str(tmp_path)}):
        yield tmp_path
    assert list(tmp_path.iterdir()) == []  # nothing is left behind


CASES = [
    ({"y": 16, "x": 16}, {"time": 1, "y": 4, "x": 16}, 3000),
    ({"y": 13, "x": 17}, {"time": 2, "y": 5, "x": 4}, 2000),
    ({"y": 16, "x": 9}, {"time": 2, "y": -1, "x": 2}, 1000),
    ({"z": 8, "y": 6, "x": 10}, {"time": 1, "z": 3, "y": 6, "x": 10}, 4000),
    ({"z": 7, "y": 5, "x": 11}, {"time": 2, "z": 2, "y": 2, "x": 3}, 3000),
    ({"z": 12, "y": 4, "x": 5}, {"time": 2, "z": -1, "y": 1, "x": 4}, 1200),
]


@pytest.mark.parametrize(("sizes", "chunks", "memory"), CASES)
@pytest.mark.parametrize(("dtype", "tolerance"), [("f8", 1e-12), ("f4", 3e-6), ("i2", 1e-12)])
def test_pencils_equal_whole_frames(folder, sizes, chunks, memory, dtype, tolerance):
    field = box(sizes, dtype)
    expected = spectra(field)
    with dask.config.set(scheduler=refuse):
        result = spectra(field.chunk(chunks), memory=memory)
    assert any("scratch" in str(key) for key in result.__dask_graph__().layers)
    assert result.chunks is not None
    found = result.compute()
    # a shell with few modes in single precision: relative to the largest
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * expected.max())
    xr.testing.assert_equal(found.drop_attrs() * 0, expected.drop_attrs() * 0)
    assert found.attrs["units"] == expected.attrs["units"]


def test_parseval_along_chunked_axes(folder):
    field = box({"z": 9, "y": 8, "x": 10}, times=1)
    result = spectra(field.chunk(z=2, y=3, x=4), memory=6000).compute()
    total = (result * result.wavenumber[0]).sum("wavenumber")
    np.testing.assert_allclose(total, field.var(("z", "y", "x")), rtol=1e-12)


def test_an_offset_costs_no_digits(folder):
    field = box({"y": 16, "x": 16}, "f4", offset=1e4)
    result = spectra(field.chunk(time=1, y=4), memory=2000).compute()
    np.testing.assert_allclose(result, spectra(field), rtol=1e-4)
    assert float(abs(result / spectra(field) - 1).max()) < 5e-6


def test_forms_of_several_fields(folder):
    sizes = {"z": 6, "y": 8, "x": 7}
    parts = {c: box(sizes).roll(time=1) * (i + 1) for i, c in enumerate("xyz")}
    rng = np.random.default_rng(2)
    ds = xr.Dataset({
        f"velocity_{c}": f.copy(data=rng.normal(size=f.shape)).assign_attrs(
            vector="velocity", component=c, units="m/s"
        )
        for c, f in parts.items()
    })  # fmt: skip
    chunked = ds.chunk(time=1, z=2, y=3, x=7)
    for quantity in ("energy", "enstrophy", "kinetic_helicity"):
        expected = spectra(ds, quantity=quantity)
        found = spectra(chunked, quantity=quantity, memory=6000).compute()
        xr.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    pair = ("velocity_x", "velocity_y")
    expected = spectra(ds, cross=pair)
    mixed = chunked.assign(velocity_y=ds.velocity_y)
    xr.testing.assert_allclose(spectra(mixed, cross=pair, memory=6000).compute(), expected)
    with pytest.raises(SchemaError, match="memory="):
        spectra(chunked, quantity="transfer", memory=300)


@pytest.mark.parametrize("scheduler", ["threads", "synchronous"])
def test_long_series_in_many_chunks_are_gathered_by_way_of_files(folder, scheduler):
    rng = np.random.default_rng(3)
    data = rng.normal(size=(96, 20, 30))
    coords = {"time": ("time", np.arange(96) * 0.1, {"units": "s"})}
    field = xr.DataArray(data, coords, ("time", "y", "x"), "f")
    expected = spectra(field, dims="time", window="hann", detrend="linear")
    lazy = spectra(
        field.chunk(time=8, y=20, x=15), dims="time", window="hann", detrend="linear", memory=60000
    )
    with dask.config.set(scheduler=scheduler):
        result = lazy.compute()
    xr.testing.assert_allclose(result, expected, rtol=1e-12)
    xr.testing.assert_allclose(lazy.compute(), expected, rtol=1e-12)  # again: new files


def test_a_value_that_is_not_finite_spoils_its_own_field(folder):
    field = box({"y": 12, "x": 10}, times=3)
    field[1, 5, 5] = np.nan
    lazy = spectra(field.chunk(time=1, y=4), memory=1500)
    result = lazy.compute()
    assert result[1].isnull().all()
    assert result[[0, 2]].notnull().all()


def test_a_value_that_is_not_finite_can_be_an_error(tmp_path):
    field = box({"y": 12, "x": 10}, times=3)
    field[1, 5, 5] = np.inf
    strict = spectra(
        field.chunk(time=1, y=4), memory=1500, nan="raise", scratch=str(tmp_path / "made")
    )
    with pytest.raises(SchemaError, match="not finite"):
        strict.compute()
    assert (tmp_path / "made").exists()


def test_too_little_memory_is_refused_with_what_is_needed():
    field = box({"y": 64, "x": 64}).chunk(time=1, y=8)
    with pytest.raises(SchemaError, match="raise memory="):
        spectra(field, memory=1000)
    with pytest.raises(SchemaError, match="one series of 64 points"):
        spectra(field, dims="y", memory=100)
    with pytest.raises(SchemaError, match="windows"):
        spectra(field, window="hann", memory=4000)
    with pytest.raises(SchemaError, match="memory="):
        spectra(field, kind="2d", memory=4000)


@pytest.mark.parametrize("seed", range(20))
def test_rechunking_by_files_gives_the_same_array(folder, seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 9, 3))

    def chunks():
        found = []
        for n in shape:
            cuts = sorted(set(rng.integers(1, n, rng.integers(0, 4)))) if n > 1 else []
            found.append(tuple(np.diff([0, *cuts, n]).tolist()))
        return tuple(found)

    data = rng.normal(size=shape).astype(rng.choice(["f4", "c8", "i2", ">f8"]))
    array = da.from_array(data, chunks=chunks())
    new = chunks()
    result = _scratch.rechunk(array, new, None)
    assert result.chunks == new
    np.testing.assert_array_equal(result.compute(), data)


def test_a_missing_or_short_piece_is_an_error(tmp_path, monkeypatch):
    array = da.arange(24, chunks=6)
    for damage in (lambda name: name.unlink(), lambda name: name.write_bytes(bytes(60))):

        def spoil(opened, *_, damage=damage):
            from pathlib import Path

            damage(sorted(Path(opened[0]).iterdir())[0])
            return opened

        monkeypatch.setattr(_scratch, "_written", spoil)
        with pytest.raises(CorruptDataError, match="scratch="):
            _scratch.rechunk(array, ((24,),), str(tmp_path)).compute(scheduler="synchronous")


def test_blocks_stay_within_the_memory():
    field = box({"z": 24, "y": 20, "x": 22}, "f4", times=3).chunk(time=3, z=5, y=4, x=22)
    room = _pencils.Room(60000)
    lazy = spectra(field, memory=60000)
    layers = lazy.__dask_graph__().layers
    assert sum("scratch" in name for name in layers) >= 1
    from xphys.spectra._box import Box
    from xphys.spectra._kernels import Request
    from xphys.spectra._treatment import Treatment

    request = Request(Box((24, 20, 22), (1.0, 1.0, 1.0)), Treatment((None,) * 3, (False,) * 3))
    turned = _pencils._turned(field.data, request, room)
    largest = np.prod([max(c) for c in turned.chunks]) * turned.dtype.itemsize
    assert largest <= room.block
    assert turned.chunks[1] == (24,)


def test_small_blocks_are_joined_before_they_are_cut_up():
    steps = 40960
    old = ((64,) * (steps // 64), (128,), (128,))
    new = ((steps,), (1,) * 128, (64, 64))
    joined = _pencils._joined(old, new, 4, _pencils.Room(96 * 2**20))
    assert joined == ((512,) * 80, (128,), (128,))  # memory / 3
    # not beyond a border that both have: the parts before and behind it go on by themselves
    assert _pencils._together((4, 4, 4, 4, 2), (8, 10), 3) == (8, 10)
    large = ((16, 16), (4096,), (4096,))
    assert _pencils._joined(large, ((32,), (64,) * 64, (4096,)), 4, _pencils.Room(2**30)) == large


def test_joined_blocks_give_the_same_values(folder):
    field = box({"y": 8, "x": 8}, times=96)
    dims = {"dims": "time", "window": "hann"}
    field = field.assign_coords(time=("time", np.arange(96.0)))
    expected = spectra(field, **dims)
    lazy = spectra(field.chunk(time=3), **dims, memory=96 * 8 * 8 * 8 // 4, scratch=str(folder))
    np.testing.assert_allclose(lazy, expected, rtol=1e-12)


def test_a_kernel_gets_the_blocks_themselves():
    data = np.random.default_rng(0).normal(size=(4, 8, 8))
    seen = []

    def kernel(block):
        seen.append(np.shares_memory(block, data))
        return block.sum(axis=(-2, -1))[:, None] * np.ones(3)

    array = da.map_blocks(
        lambda block_info=None: data[slice(*block_info[None]["array-location"][0])],
        chunks=((2, 2), (8,), (8,)), dtype=data.dtype, meta=np.empty((0, 0, 0)),
    )  # fmt: skip
    field = xr.DataArray(array, {"time": np.arange(4.0)}, ("time", "y", "x"))
    result = sums_of_frames(kernel, [field], ["y", "x"], 3)
    assert result.chunksizes == {"time": (2, 2), "wavenumber": (3,)}
    np.testing.assert_array_equal(result[:, 1].compute(scheduler="sync"), data.sum(axis=(1, 2)))
    assert seen == [True, True]
