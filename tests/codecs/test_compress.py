"""compress(): lazy, encoded once, the same bytes however it is run, plain Zarr behind it."""

from __future__ import annotations

import hashlib
import json
import pickle
import subprocess
import sys
import threading
import warnings
import weakref
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

from xphys import codecs, io
from xphys.codecs import _graph
from xphys.errors import BoundError, SchemaError, UnknownNameError, XphysWarning
from xphys.schema import provenance


def _waves(steps: int = 48, n: int = 24, seed: int = 0) -> xr.Dataset:
    rng = np.random.default_rng(seed)
    t, x = np.arange(steps) / 10.0, np.arange(n) / n
    u = np.sin(2 * np.pi * (x[:, None] + x - 0.1 * t[:, None, None]))
    u = u + 0.01 * rng.standard_normal(u.shape)
    periodic = {"boundary": "periodic", "period": 1.0, "units": "1"}
    return xr.Dataset(
        {
            "u": (("time", "y", "x"), u.astype(np.float32), {"units": "m/s"}),
            "v": (("time", "y", "x"), (3 * u) ** 2 + 5),
            "height": (("y", "x"), u[0]),
            "step": (("time",), np.arange(steps)),
            "flag": (("y", "x"), u[0] > 0),
            "phase": (("x",), np.exp(2j * np.pi * x)),
            "label": ((), "run 7"),
        },
        coords={"time": t, "y": ("y", x, periodic), "x": ("x", x, periodic), "nu": 0.1},
        attrs={"title": "waves"},
    )


def _refuse(*args: Any, **kwargs: Any) -> None:
    raise AssertionError("a graph was computed while one was built")


def _digest(folder: Path) -> str:
    total = hashlib.blake2b()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            total.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return total.hexdigest()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    counts = {"encode": 0, "decode": 0}

    def counting(name: str, function: Any) -> Any:
        def wrapper(*args: Any) -> Any:
            counts[name] += 1
            return function(*args)

        return wrapper

    monkeypatch.setattr(_graph, "encode_chunk", counting("encode", _graph.encode_chunk))
    monkeypatch.setattr(_graph, "decode_chunk", counting("decode", _graph.decode_chunk))
    return counts


def test_building_computes_nothing() -> None:
    ds = _waves().chunk(time=5)
    with dask.config.set(scheduler=_refuse):
        c = codecs.compress(ds, vrmse=1e-2)
    assert c.u.chunks is not None


def test_labels_and_dtypes_stay() -> None:
    ds = _waves()
    c = codecs.compress(ds, vrmse=1e-2).compute()
    assert dict(c.sizes) == dict(ds.sizes)
    assert list(c.data_vars) == list(ds.data_vars)
    assert {n: v.dtype for n, v in c.variables.items()} == {
        n: v.dtype for n, v in ds.variables.items()
    }
    assert c.u.attrs == ds.u.attrs
    assert all(c[name].identical(ds[name]) for name in ds.coords)
    assert c.attrs["title"] == "waves"
    for untouched in ("flag", "phase", "label"):
        assert c[untouched].identical(ds[untouched])
    step = provenance(c)[-1]
    assert step["operation"] == "compress"
    assert step["parameters"]["vrmse"] == 1e-2


@pytest.mark.parametrize(
    ("kind", "value"),
    [("vrmse", 1e-2), ("rel_l2", 1e-3), ("max_abs", 0.05), ("max_rel", 1e-3), ("psnr", 50.0)],
)
def test_bounds_hold_for_the_whole_variable(kind: str, value: float) -> None:
    ds = _waves(80)
    c = codecs.compress(ds, variables=["u", "v"], chunks={"time": 20}, **{kind: value})
    for name in ("u", "v"):
        x, y = ds[name].values.astype(np.float64), c[name].values.astype(np.float64)
        error, spread = np.abs(y - x), x.max() - x.min()
        measured = {
            "vrmse": np.sqrt((error**2).mean()) / x.std(),
            "rel_l2": np.sqrt((error**2).sum() / (x**2).sum()),
            "max_abs": error.max(),
            "max_rel": error.max() / spread,
            "psnr": 20 * np.log10(spread / np.sqrt((error**2).mean())),
        }[kind]
        assert measured > 0
        assert measured >= value if kind == "psnr" else measured <= value


def test_a_bound_for_each_variable() -> None:
    ds = _waves()
    c = codecs.compress(ds, max_abs={"u": 1e-3, "v": 0.1}, vrmse={"v": 1e-2})
    assert float(abs(c.u - ds.u).max()) <= 1e-3
    assert 1e-3 < float(abs(c.v - ds.v).max()) <= 0.1
    assert c.height.identical(ds.height.compute())


def test_each_chunk_is_encoded_once_and_not_decoded(
    tmp_path: Path, counted: dict[str, int]
) -> None:
    apart = codecs.AutoOptions(together=False)
    names = ["u", "v"]
    c = codecs.compress(_waves(), vrmse=1e-2, variables=names, chunks={"time": 16}, options=apart)
    io.to_zarr(c, tmp_path / "c.zarr")
    assert counted == {"encode": 6, "decode": 0}


def test_store_equals_the_result_in_a_process_that_imports_xarray_only(tmp_path: Path) -> None:
    c = codecs.compress(_waves(), vrmse=1e-2, chunks={"time": 16})
    io.to_zarr(c, tmp_path / "c.zarr")
    script = (
        "import sys, xarray as xr; ds = xr.open_zarr(sys.argv[1]).load();"
        "ds.to_netcdf(sys.argv[2], engine='h5netcdf', mode='w')"
    )
    out = tmp_path / "copy.nc"
    # plain netCDF libraries have no complex numbers: those are compared below
    smaller = c.drop_vars(["phase", "flag", "label"])
    io.to_zarr(smaller, tmp_path / "smaller.zarr")
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "smaller.zarr"), str(out)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with xr.open_dataset(out, engine="h5netcdf") as read:
        for name in ("u", "v", "height", "step"):
            assert np.array_equal(read[name].values, c[name].values), name
    again = xr.open_zarr(tmp_path / "c.zarr").load()
    assert again.drop_vars("label").drop_attrs().equals(c.compute().drop_vars("label").drop_attrs())
    assert str(again.label.values) == "run 7"


@pytest.mark.parametrize("scheduler", ["synchronous", "threads", "processes"])
@pytest.mark.parametrize("chunks", [None, {"time": 7}, {"time": 48, "x": 5}])
def test_same_bytes_for_any_scheduler_and_chunking(
    tmp_path: Path, scheduler: str, chunks: dict[str, int] | None
) -> None:
    ds = _waves()[["u", "height"]]
    io.to_zarr(codecs.compress(ds, vrmse=1e-2, chunks={"time": 16}), tmp_path / "reference.zarr")
    other = ds if chunks is None else ds.chunk(chunks)
    with dask.config.set(scheduler=scheduler, num_workers=2):
        io.to_zarr(codecs.compress(other, vrmse=1e-2, chunks={"time": 16}), tmp_path / "other.zarr")
    assert _digest(tmp_path / "other.zarr") == _digest(tmp_path / "reference.zarr")


def test_payload_survives_what_changes_no_value(tmp_path: Path, counted: dict[str, int]) -> None:
    c = codecs.compress(_waves()[["u", "v"]], vrmse=1e-2, variables=["u"])
    same = pickle.loads(pickle.dumps(c.rename(u="w").assign_attrs(a=1).copy(deep=True)))
    same["w"].attrs["note"] = "kept"
    io.to_zarr(same, tmp_path / "same.zarr")
    assert counted["decode"] == 0
    assert codecs.compress(_waves(), vrmse=1e-2).isel(time=slice(0, 3)).u.sizes["time"] == 3
    written = xr.open_zarr(tmp_path / "same.zarr")
    assert written.w.encoding["serializer"].request.bounds.vrmse == 1e-2
    for changed in (c.isel(time=slice(0, 8)), c * 2, c.persist()):
        assert io.find_payload(changed.u.data) is None


@pytest.mark.parametrize("change", ["none", "isel", "persist"])
def test_another_way_of_writing_loses_nothing_and_says_so_once(tmp_path: Path, change: str) -> None:
    c = codecs.compress(_waves().drop_vars("label"), vrmse=1e-2)
    c = {"none": c, "isel": c.isel(time=slice(0, 16)), "persist": c.persist()}[change]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        c.to_zarr(tmp_path / "plain.zarr")
    ours = [w for w in caught if issubclass(w.category, XphysWarning)]
    assert len(ours) == 1
    assert "c.phys.to_zarr" in str(ours[0].message)
    read = xr.open_zarr(tmp_path / "plain.zarr").load()
    assert read.drop_attrs().equals(c.compute().drop_attrs())


def test_a_copy_of_a_compressed_store_loses_nothing_more(tmp_path: Path) -> None:
    io.to_zarr(codecs.compress(_waves(), vrmse=1e-1), tmp_path / "first.zarr")
    first = xr.open_zarr(tmp_path / "first.zarr")
    io.to_zarr(first, tmp_path / "second.zarr")
    assert xr.open_zarr(tmp_path / "second.zarr").u.load().equals(first.u.load())


def test_stored_sizes_are_known_before_and_after(tmp_path: Path) -> None:
    c = codecs.compress(_waves(), vrmse=1e-2, variables=["u"])
    before = io.stored_bytes(c)
    assert list(before) == ["u"]
    io.to_zarr(c, tmp_path / "c.zarr")
    after = io.stored_bytes(xr.open_zarr(tmp_path / "c.zarr"))
    files = [p for p in (tmp_path / "c.zarr" / "u").rglob("*") if p.name not in ("zarr.json",)]
    assert int(before["u"]) == sum(p.stat().st_size for p in files if p.is_file())
    assert int(before["u"]) <= after["u"] <= int(before["u"]) + 2000  # metadata counts there
    opened = xr.open_zarr(tmp_path / "c.zarr")
    assert "u" not in io.stored_bytes(opened.isel(time=[0]))
    assert "u" not in io.stored_bytes(opened[["u"]] * 1.0)


def test_delayed_writing(tmp_path: Path) -> None:
    c = codecs.compress(_waves().chunk(time=9), vrmse=1e-2)
    pending = io.to_zarr(c, tmp_path / "c.zarr", compute=False)
    assert pending is not None
    assert not list((tmp_path / "c.zarr" / "u").glob("c/**/0"))
    pending.compute()
    assert xr.open_zarr(tmp_path / "c.zarr").u.load().equals(c.u.compute())


def test_groups_and_existing_stores(tmp_path: Path) -> None:
    c = codecs.compress(_waves(), vrmse=1e-2)
    io.to_zarr(c, tmp_path / "c.zarr", group="run/a")
    assert xr.open_zarr(tmp_path / "c.zarr", group="run/a").u.load().equals(c.u.compute())
    with pytest.raises(FileExistsError):
        io.to_zarr(c, tmp_path / "c.zarr", group="run/a")


def test_lossless_variables_have_a_checksum(tmp_path: Path) -> None:
    io.to_zarr(_waves()[["v"]].chunk(time=8), tmp_path / "v.zarr")
    described = json.loads((tmp_path / "v.zarr" / "v" / "zarr.json").read_text())
    assert described["codecs"][-1] == {
        "name": "zstd",
        "configuration": {"level": 3, "checksum": True},
    }


def test_source_packing_is_dropped(tmp_path: Path) -> None:
    packed = _waves()[["u"]]
    packed.u.encoding = {"dtype": "int16", "scale_factor": 0.01, "_FillValue": -1}
    packed.to_netcdf(tmp_path / "packed.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "packed.nc", engine="h5netcdf") as ds:
        c = codecs.compress(ds, max_abs=1e-4)
        io.to_zarr(c, tmp_path / "c.zarr")
        read = xr.open_zarr(tmp_path / "c.zarr").load()
        assert read.u.dtype == ds.u.dtype
        assert read.u.equals(c.u.compute())
        assert float(abs(read.u - ds.u).max()) <= 1e-4


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"vrmse": -1}, BoundError, "not negative"),
        ({"vrmse": {"w": 1e-2}}, BoundError, "names .'w'."),
        ({"variables": ["w"]}, UnknownNameError, "no variable 'w'"),
        ({"variables": ["flag"]}, SchemaError, "expected a numeric one"),
        ({"method": "magic"}, UnknownNameError, "known are auto, lossless, .*transform"),
        ({"scope": "galaxy"}, SchemaError, "scope must be one of"),
        ({"seed": -1}, SchemaError, "seed must be a whole number"),
        ({"seed": 0.5}, SchemaError, "seed must be a whole number"),
        ({"chunks": {"time": -7}}, SchemaError, "positive or -1"),
    ],
)
def test_mistakes_are_told(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        codecs.compress(_waves(), **arguments)


def test_payloads_are_not_changed_by_encoding(tmp_path: Path) -> None:
    c = codecs.compress(_waves(), vrmse=1e-2)
    with pytest.raises(SchemaError, match="compressed already"):
        io.to_zarr(c, tmp_path / "c.zarr", encoding={"u": {"chunks": (1, 24, 24)}})
    with pytest.raises(UnknownNameError, match="names 'w'"):
        io.to_zarr(c, tmp_path / "c.zarr", encoding={"w": {}})


def test_append_and_region_of_lossless_data(tmp_path: Path) -> None:
    ds = _waves()[["v"]]
    io.to_zarr(ds, tmp_path / "v.zarr", chunks={"time": 24})
    io.to_zarr(ds, tmp_path / "v.zarr", append_dim="time", mode="a")
    io.to_zarr(
        ds.drop_vars(["x", "y", "nu"]) * 2, tmp_path / "v.zarr", region={"time": slice(0, 48)}
    )
    read = xr.open_zarr(tmp_path / "v.zarr").load()
    assert np.array_equal(read.v[:48], 2 * ds.v)
    assert np.array_equal(read.v[48:], ds.v)


@pytest.mark.parametrize("together", [False, True])
def test_the_source_is_read_twice_and_does_not_wait_in_memory(
    tmp_path: Path, together: bool
) -> None:
    alive, most, reads, lock = 0, 0, 0, threading.Lock()

    class Watched(np.ndarray):
        pass

    def gone() -> None:
        nonlocal alive
        with lock:
            alive -= 1

    def block(block_info: Any = None) -> np.ndarray:
        nonlocal alive, most, reads
        first, last = block_info[None]["array-location"][0]
        noise = np.random.default_rng(first).standard_normal((last - first, 16, 16))
        values = noise.cumsum(axis=1).view(Watched)
        with lock:
            alive, reads = alive + 1, reads + 1
            most = max(most, alive)
        weakref.finalize(values, gone)
        return values

    shape = ((10,) * 40, (16,), (16,))  # borders of blocks lie inside of stored chunks
    arrays = {
        n: da.map_blocks(block, name=n, chunks=shape, dtype="f8", meta=np.empty((0, 0, 0)))
        for n in "uv"
    }
    ds = xr.Dataset({n: (("time", "y", "x"), a) for n, a in arrays.items()})
    options = codecs.AutoOptions(together=together)
    c = codecs.compress(ds, vrmse=1e-1, effort="fast", chunks={"time": 16}, options=options)
    with dask.config.set(num_workers=2):
        io.to_zarr(c, tmp_path / "c.zarr")
    assert reads == 160
    assert most < 40
