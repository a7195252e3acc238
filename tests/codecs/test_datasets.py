"""Datasets whose variables are told from others: bounds, reading, what happens when one changes."""

import shutil
import warnings
from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr

import xphys
from xphys.codecs import AutoOptions, compress
from xphys.coding import Bounds, Request, encode_chunk
from xphys.coding.predict import bases_of, decode_predicted
from xphys.errors import CorruptDataError, XphysWarning
from xphys.io import find_payload, to_zarr
from xphys.io._payload import find_payloads

N, STEPS = 32, 6


def _axis(name: str, values: np.ndarray, **attrs: object) -> tuple[str, np.ndarray, dict]:
    return name, values, attrs


def _rough(rng: np.random.Generator, slope: float) -> np.ndarray:
    """Periodic fields with a power-law spectrum."""
    k = np.fft.fftfreq(N) * N
    size = np.hypot(k[:, None], np.fft.rfftfreq(N) * N)
    size[0, 0] = np.inf
    modes = np.fft.rfft2(rng.standard_normal((STEPS, N, N))) * size**-slope
    modes[:, N // 2] = 0
    modes[:, :, -1] = 0
    x = np.fft.irfft2(modes, s=(N, N))
    return x / x.std()


def _difference(x: np.ndarray, axis: int) -> np.ndarray:
    return (np.roll(x, -1, axis) - np.roll(x, 1, axis)) * N / 2


@pytest.fixture(scope="module")
def magnetic() -> xr.Dataset:
    """A flow and a field whose current is stored, too, under names that say nothing."""
    rng = np.random.default_rng(0)
    k = 2 * np.pi * np.fft.fftfreq(N)[:, None], 2 * np.pi * np.fft.rfftfreq(N)
    potential = np.fft.rfft2(_rough(rng, 2.5))
    faces = (
        1j * np.sin(k[0] / 2) * np.cos(k[1] / 2),
        1j * np.cos(k[0] / 2) * np.sin(k[1] / 2),
    )
    b = [np.fft.irfft2(w * potential, s=(N, N)) * N for w in (faces[1], -faces[0])]
    flow = np.fft.rfft2(_rough(rng, 2.5))
    v = [np.fft.irfft2(1j * w * flow, s=(N, N)) for w in (k[1] + 0 * k[0], -k[0] + 0 * k[1])]
    noise = 0.02 * _rough(rng, 1.0)
    values = {
        "a": b[0],
        "b": b[1],
        "c": 2 * (_difference(b[0], 2) - _difference(b[1], 1)),
        "d": v[0],
        "e": v[1],
        "f": 3 + (b[0] ** 2 + b[1] ** 2) / 2 + noise,
    }
    x = _axis("x", (np.arange(N) + 0.5) / N, boundary="periodic", period=1.0)
    y = _axis("y", (np.arange(N) + 0.5) / N, boundary="periodic", period=1.0)
    return xr.Dataset(
        {name: (("time", "y", "x"), a.astype(np.float32)) for name, a in values.items()},
        {"time": np.arange(float(STEPS)), "y": y, "x": x},
    )


@pytest.fixture(scope="module")
def convection() -> xr.Dataset:
    """Stream function between walls: velocities, vorticity, and two others."""
    rng = np.random.default_rng(1)
    nodes, points, length = 32, 32, 4.0
    z = (1 - np.cos(np.pi * (np.arange(nodes) + 0.5) / nodes)) / 2
    x = np.arange(points) * length / points
    u, w, vorticity = (np.zeros((STEPS, nodes, points)) for _ in range(3))
    for m in range(1, 5):
        for n in range(1, 3):
            k, q = 2 * np.pi * m / length, np.pi * n
            size = rng.standard_normal((2, STEPS, 1, 1)) / (m * n) ** 2
            along = size[0] * np.cos(k * x) + size[1] * np.sin(k * x)
            slope = k * (size[1] * np.cos(k * x) - size[0] * np.sin(k * x))
            # sin^2 has neither value nor slope at the walls
            shape, first = np.sin(q * z) ** 2, q * np.sin(2 * q * z)
            second = 2 * q * q * np.cos(2 * q * z)
            u -= first[:, None] * along
            w += shape[:, None] * slope
            vorticity += (second - k * k * shape)[:, None] * along
    values = {"r": u, "s": w, "t": vorticity, "p": w * w + 0.1 * u}
    return xr.Dataset(
        {name: (("time", "z", "x"), a) for name, a in values.items()},
        {
            "time": np.arange(float(STEPS)),
            "z": ("z", z, {"spacing": "chebyshev"}),
            "x": ("x", x, {"boundary": "periodic", "period": length}),
        },
    )


def _vrmse(x: xr.DataArray, y: xr.DataArray) -> float:
    wide = x.values.astype(np.float64)
    return float(np.sqrt(((y.values - wide) ** 2).mean()) / wide.std())


def _payloads(c: xr.Dataset) -> dict[str, bytes]:
    keys = [(find_payload(v.data).payload, 0, 0, 0) for v in c.data_vars.values()]
    layers = {}
    for v in c.data_vars.values():
        layers |= dict(v.data.__dask_graph__())
    found = dask.get(layers, keys)
    return dict(zip(map(str, c.data_vars), found, strict=True))


@pytest.mark.parametrize("bound", [{"vrmse": 1e-1}, {"max_abs": 3e-2}])
def test_bounds_hold_and_bytes_are_saved(magnetic: xr.Dataset, bound: dict[str, float]) -> None:
    together = compress(magnetic, **bound)
    apart = compress(magnetic, **bound, options=AutoOptions(together=False))
    coded, alone = _payloads(together), _payloads(apart)
    predicted = {name: bases_of(data) for name, data in coded.items() if bases_of(data)}
    assert predicted["a"] == predicted["b"] == ("c",)
    assert sum(map(len, coded.values())) < 0.9 * sum(map(len, alone.values()))
    for name in magnetic:
        decoded = decode_predicted(coded[name], coded)
        if "vrmse" in bound:
            assert _vrmse(magnetic[name], magnetic[name].copy(data=decoded)) <= bound["vrmse"]
        else:
            assert np.abs(decoded - magnetic[name].values).max() <= bound["max_abs"]


def test_layer_between_walls(convection: xr.Dataset) -> None:
    c = compress(convection, vrmse=1e-2)
    coded = _payloads(c)
    assert bases_of(coded["r"]) == bases_of(coded["s"]) == ("t",)
    for name in convection:
        decoded = convection[name].copy(data=decode_predicted(coded[name], coded))
        assert _vrmse(convection[name], decoded) <= 1e-2


@pytest.fixture(scope="module")
def written(magnetic: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("together") / "s.zarr"
    to_zarr(compress(magnetic, vrmse=1e-2), store)
    return store


def test_plain_zarr_reads_what_was_written(magnetic: xr.Dataset, written: Path) -> None:
    read, checked = xr.open_zarr(written).load(), xphys.open(written).load()
    for name in magnetic:
        assert _vrmse(magnetic[name], read[name]) <= 1e-2
        np.testing.assert_array_equal(read[name].values, checked[name].values)
    part = xr.open_zarr(written).a.isel(time=slice(2, 4), x=5)
    np.testing.assert_array_equal(part.values, read.a.values[2:4, :, 5])


def test_group_and_several_chunks(magnetic: xr.Dataset, tmp_path) -> None:
    c = compress(magnetic, vrmse=1e-2, chunks={"time": 2})
    to_zarr(c, tmp_path / "s.zarr", group="in/side")
    read = xr.open_zarr(tmp_path / "s.zarr", group="in/side")
    for name in magnetic:
        assert _vrmse(magnetic[name], read[name]) <= 1e-2
        np.testing.assert_array_equal(read[name].values, c[name].values)


def test_chunking_of_the_source_does_not_matter(magnetic: xr.Dataset) -> None:
    whole = compress(magnetic, vrmse=1e-2, chunks={"time": 3})
    cut = compress(magnetic.chunk({"time": 1, "x": 8}), vrmse=1e-2, chunks={"time": 3})
    xr.testing.assert_identical(whole.load().drop_attrs(), cut.load().drop_attrs())


def test_lazy(magnetic: xr.Dataset) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("computed")

    with dask.config.set(scheduler=refuse):
        c = compress(magnetic.chunk({"time": 1}), vrmse=1e-2)
        assert c.a.chunks is not None


def test_each_place_is_coded_once(magnetic: xr.Dataset, tmp_path, monkeypatch) -> None:
    from xphys.codecs import _together

    calls = []
    encode = _together.encode_place
    monkeypatch.setattr(_together, "encode_place", lambda *a: calls.append(1) or encode(*a))
    to_zarr(compress(magnetic, vrmse=1e-2, chunks={"time": 2}), tmp_path / "s.zarr")
    assert len(calls) == 3


def test_a_changed_base_is_an_error(magnetic: xr.Dataset, written: Path, tmp_path: Path) -> None:
    store, place = tmp_path / "s.zarr", "c/c/0/0/0"
    shutil.copytree(written, store)
    other = encode_chunk(magnetic.c.values * 2, Request("transform", Bounds(vrmse=1e-2)))
    (store / place).write_bytes(other)
    read = xr.open_zarr(store)
    read.c.load()
    with pytest.raises(CorruptDataError, match="predicted from c"):
        read.a.load()
    (store / place).unlink()
    with pytest.raises(CorruptDataError, match="missing"):
        xr.open_zarr(store).a.load()


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c[["a", "d"]],
        lambda c: c.rename(c="current"),
        lambda c: c.assign(c=c.c + 1),
    ],
)
def test_what_lacks_its_bases_is_stored_losslessly(magnetic, tmp_path, change) -> None:
    changed = change(compress(magnetic, vrmse=1e-2))
    kept, lacking = find_payloads(changed)
    assert not kept
    assert "a" in lacking
    with pytest.warns(XphysWarning, match="compressed together"):
        to_zarr(changed, tmp_path / "s.zarr")
    read = xr.open_zarr(tmp_path / "s.zarr").load()
    assert _vrmse(magnetic.d, read.d) <= 1e-2
    assert type(read.d.encoding["serializer"]).__name__ != "FrameCodec"


def test_other_variables_come_along(magnetic: xr.Dataset, tmp_path) -> None:
    ds = magnetic.assign(count=("time", np.arange(STEPS)), label=("time", list("abcdef")))
    ds = ds.assign(g=ds.a.where(ds.a > 0), h=(("time", "y"), np.ones((STEPS, N))))
    c = compress(ds, vrmse=1e-2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", XphysWarning)
        to_zarr(c, tmp_path / "s.zarr")
    read = xr.open_zarr(tmp_path / "s.zarr").load()
    np.testing.assert_array_equal(np.isnan(read.g), np.isnan(ds.g))
    assert _vrmse(ds.a, read.a) <= 1e-2


def test_apart_where_asked(magnetic: xr.Dataset) -> None:
    c = compress(magnetic, vrmse=1e-2, effort="fast")
    assert not find_payload(c.a.data).spec.needs
