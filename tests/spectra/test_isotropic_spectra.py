"""Isotropic spectra: Parseval, single modes, chunks, labels, refusals."""

from __future__ import annotations

import math
import threading
import time
import warnings

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xphys.errors import SchemaError, UnknownNameError
from xphys.schema import provenance
from xphys.spectra import spectra
from xphys.spectra._box import Box
from xphys.spectra._kernels import Request, isotropic
from xphys.spectra._treatment import Treatment

BOXES = [
    ({"x": 16}, {"x": 1.0}),
    ({"x": 17}, {"x": 3.0}),
    ({"x": 2}, {"x": 1.0}),
    ({"y": 12, "x": 9}, {"y": 1.0, "x": 1.0}),
    ({"y": 13, "x": 8}, {"y": 4.0, "x": 1.0}),
    ({"y": 6, "x": 31}, {"y": 0.7, "x": 2 * math.pi}),
    ({"z": 8, "y": 8, "x": 8}, {"z": 1.0, "y": 1.0, "x": 1.0}),
    ({"z": 5, "y": 6, "x": 7}, {"z": 2.0, "y": 1.0, "x": 3.1}),
]


def refuse(*args, **kwargs):
    raise AssertionError("the graph was computed")


def box(sizes, lengths, dtype=np.float64, times=3, offset=5.0) -> xr.DataArray:
    rng = np.random.default_rng(sum(sizes.values()))
    data = (rng.normal(size=(times, *sizes.values())) + offset).astype(dtype)
    coords = {
        d: (d, (np.arange(n) + 0.5) * lengths[d] / n, {"period": lengths[d], "units": "m"})
        for d, n in sizes.items()
    }
    return xr.DataArray(
        data,
        {"time": ("time", np.arange(times) * 0.5, {"units": "s"}), "Re": 100.0, **coords},
        ("time", *sizes),
        name="density",
        attrs={"units": "kg/m3", "long_name": "mass density"},
    )


def variance(field: xr.DataArray) -> np.ndarray:
    return field.astype(np.float64).var([d for d in field.dims if d != "time"]).values


def integral(spectrum: xr.DataArray) -> xr.DataArray:
    return (spectrum * spectrum.wavenumber[0]).sum("wavenumber")


@pytest.mark.parametrize(("sizes", "lengths"), BOXES)
@pytest.mark.parametrize(("dtype", "tolerance"), [("f8", 1e-12), ("f4", 1e-6), (">f4", 1e-6)])
def test_parseval(sizes, lengths, dtype, tolerance):
    field = box(sizes, lengths, dtype)
    result = spectra(field)
    assert result.dtype == np.float64
    np.testing.assert_allclose(integral(result), variance(field), rtol=tolerance)


def test_parseval_survives_a_large_offset():
    field = box({"y": 16, "x": 16}, {"y": 1.0, "x": 1.0}, offset=1e6)
    np.testing.assert_allclose(integral(spectra(field)), variance(field), rtol=1e-9)
    single = field.astype(np.float32)
    np.testing.assert_allclose(integral(spectra(single)), variance(single), rtol=1e-5)


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    stretch=st.lists(st.floats(0.1, 10), min_size=3, max_size=3),
)
def test_parseval_for_any_box(sizes, stretch):
    lengths = tuple(stretch[: len(sizes)])
    field = np.random.default_rng(1).normal(size=(2, *sizes))
    density = isotropic(field, lengths=lengths)
    expected = field.reshape(2, -1).var(axis=1)
    np.testing.assert_allclose(
        density.sum(axis=1) * 2 * np.pi / max(lengths), expected, rtol=1e-12, atol=1e-15
    )


@pytest.mark.parametrize("mode", [(0, 1), (1, 0), (3, 4), (6, 0), (0, 6), (6, 6), (1, 2), (5, 1)])
def test_single_modes_fall_in_their_shell_with_their_variance(mode):
    n, length = 12, 3.0
    x = np.arange(n) * length / n
    phase = 2 * np.pi / length * (mode[0] * x[:, None] + mode[1] * x)
    axes = {d: (d, x, {"period": length, "units": "1"}) for d in "yx"}
    field = xr.DataArray(np.cos(phase), axes, ("y", "x"))
    result = spectra(field)
    shell = math.floor(math.hypot(*mode) + 0.5)
    step = 2 * np.pi / length
    expected = np.zeros(result.size)
    expected[shell - 1] = np.cos(phase).var() / step
    np.testing.assert_allclose(result, expected, atol=1e-14)
    np.testing.assert_allclose(
        result.wavenumber, step * np.arange(1, math.floor(72**0.5 + 0.5) + 1)
    )


def test_in_a_long_box_the_longest_period_sets_the_shells():
    field = box({"y": 8, "x": 32}, {"y": 1.0, "x": 4.0})
    y = xr.DataArray(field.y)
    wave = (field * 0 + np.sin(2 * np.pi * y)).isel(time=0)
    result = spectra(wave)
    np.testing.assert_allclose(result.wavenumber[0], 2 * np.pi / 4)
    assert int(np.argmax(result.data)) == 3
    np.testing.assert_allclose(result[3] * result.wavenumber[0], 0.5)


def test_half_way_modes_go_up():
    # periods 3 : 2 put the first mode along y at |k|/dk = 1.5
    x, y = (np.arange(8) * length / 8 for length in (3.0, 2.0))
    wave = np.broadcast_to(np.sin(np.pi * y)[:, None], (8, 8))
    field = xr.DataArray(wave, {"y": ("y", y, {"period": 2.0}), "x": ("x", x, {"period": 3.0})})
    assert int(np.argmax(spectra(field).data)) == 1


def test_complete_is_false_beyond_the_smallest_nyquist():
    field = box({"y": 8, "x": 16}, {"y": 1.0, "x": 1.0})
    result = spectra(field)
    np.testing.assert_array_equal(result.complete, result.wavenumber <= 4.001 * 2 * np.pi)
    assert result.sizes["wavenumber"] == math.floor(math.hypot(4, 8) + 0.5)
    odd = spectra(box({"x": 5}, {"x": 1.0}))
    assert odd.complete.all()
    assert odd.sizes["wavenumber"] == 2


def test_labels_units_and_provenance():
    field = box({"y": 8, "x": 8}, {"y": 1.0, "x": 1.0})
    result = spectra(field.to_dataset().assign_attrs(title="run"))
    assert result.density.dims == ("time", "wavenumber")
    assert result.density.attrs["units"] == "(kg/m3)^2 m"
    assert result.density.attrs["long_name"] == "power spectrum of mass density"
    assert result.wavenumber.attrs["units"] == "1/m"
    xr.testing.assert_identical(result.time, field.drop_vars(["y", "x"]).time)
    assert float(result.Re) == 100.0
    assert provenance(result)[-1]["parameters"] == {"variables": ["density"], "dims": ["y", "x"]}
    assert spectra(field).name == "density"


def test_dimensionless_units_stay_one():
    field = box({"x": 8}, {"x": 1.0}).assign_attrs(units="1")
    field.x.attrs["units"] = "1"
    result = spectra(field)
    assert (result.attrs["units"], result.wavenumber.attrs["units"]) == ("1", "1")
    assert "units" not in spectra(field.drop_attrs(deep=False)).attrs


@pytest.mark.parametrize(
    "chunks", [{"time": 1}, {"time": 2, "x": 5}, {"z": 3, "y": 2, "x": 1}, {"time": -1}]
)
@pytest.mark.parametrize("dtype", ["f8", "f4"])
def test_any_chunks_give_the_same_bits_lazily(chunks, dtype):
    field = box({"z": 7, "y": 6, "x": 10}, {"z": 1.0, "y": 1.0, "x": 2.0}, dtype, times=5)
    expected = spectra(field)
    with dask.config.set(scheduler=refuse):
        result = spectra(field.chunk(chunks))
    assert result.chunks is not None
    xr.testing.assert_identical(result.compute(), expected)
    kernel = isotropic(field.values, lengths=(1.0, 1.0, 2.0))
    np.testing.assert_array_equal(expected, kernel)


@pytest.mark.parametrize("dtype", ["f8", "f4", ">f4", "i2"])
def test_large_frames_keep_their_bits_in_any_chunks(dtype):
    field = box({"y": 260, "x": 255}, {"y": 1.0, "x": 1.0}, dtype, times=3)
    expected = spectra(field)
    xr.testing.assert_identical(spectra(field.chunk(time=2, y=100, x=70)).compute(), expected)
    np.testing.assert_array_equal(spectra(field.isel(time=[2]))[0], expected[2])
    np.testing.assert_allclose(integral(expected), variance(field), rtol=1e-6)


def test_many_small_fields_equal_each_alone():
    field = box({"x": 100}, {"x": 1.0}, times=1500)
    result = spectra(field)
    for i in (0, 654, 655, 656, 1499):
        np.testing.assert_array_equal(result[i], spectra(field.isel(time=[i]))[0])


def test_dims_choose_the_axes_and_keep_the_others():
    field = box({"y": 6, "x": 8}, {"y": 1.0, "x": 2.0})
    result = spectra(field, dims="x")
    assert result.dims == ("time", "y", "wavenumber")
    np.testing.assert_allclose(integral(result), field.var("x"), rtol=1e-12)
    transposed = spectra(field.transpose("x", "time", "y"))
    np.testing.assert_allclose(transposed, spectra(field), rtol=1e-12)
    flat = spectra(field.isel(y=[0]))
    assert flat.dims == ("time", "y", "wavenumber")


def test_datasets_choose_real_variables_with_all_axes():
    field = box({"y": 6, "x": 8}, {"y": 1.0, "x": 2.0})
    ds = field.to_dataset().assign(
        count=field.round().astype(np.int16), line=field.isel(y=0, drop=True), phase=field * 1j
    )
    assert set(spectra(ds).data_vars) == {"density", "count"}
    assert set(spectra(ds, "line").data_vars) == {"line"}
    np.testing.assert_allclose(integral(spectra(ds)["count"]), variance(ds["count"]), rtol=1e-12)
    with pytest.raises(SchemaError, match="'line'"):
        spectra(ds, ["density", "line"])
    with pytest.raises(SchemaError, match="complex"):
        spectra(ds, ["phase"])
    with pytest.raises(UnknownNameError, match="nothing"):
        spectra(ds, ["nothing"])
    with pytest.raises(SchemaError, match="variables="):
        spectra(field, "density")
    with pytest.raises(SchemaError, match="complex"):
        spectra(field * 1j)


def test_open_and_nonuniform_axes_are_refused_with_a_mend():
    field = box({"y": 6, "x": 8}, {"y": 1.0, "x": 2.0})
    with pytest.raises(SchemaError, match='window="hann"'):
        spectra(field.isel(x=slice(0, 6)))
    stretched = field.assign_coords(y=field.y**2)
    with pytest.raises(SchemaError, match="interpolate"):
        spectra(stretched)
    with pytest.raises(SchemaError, match="interpolate"):
        spectra(stretched, window="hann")
    with pytest.raises(UnknownNameError, match="hann"):
        spectra(field, window="nothing")
    mixed = field.copy()
    mixed["y"] = mixed.y.assign_attrs(units="km")
    with pytest.raises(SchemaError, match="different units"):
        spectra(mixed)


def test_hann_window_divides_its_power_out():
    n, length = 256, 2.0
    x = xr.Variable("x", (np.arange(n) + 0.5) * length / n, {"units": "1"})
    wave = xr.DataArray(3.0 + np.sin(2 * np.pi * 40.5 * x / length), {"x": x}, name="wave")
    result = spectra(wave, window="hann")
    np.testing.assert_allclose(integral(result), 0.5, rtol=1e-3)
    near = (result.wavenumber - 2 * np.pi * 40.5 / length).__abs__() < 3 * 2 * np.pi / length
    assert float(integral(result.where(near, 0.0))) > 0.49
    noise = xr.DataArray(np.random.default_rng(3).normal(size=(400, n)), {"x": x}, ("time", "x"))
    np.testing.assert_allclose(integral(spectra(noise, window="hann")).mean(), 1.0, rtol=0.02)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_value_that_is_not_finite_spoils_its_own_field_only(bad):
    field = box({"y": 6, "x": 8}, {"y": 1.0, "x": 2.0})
    expected = spectra(field)
    field[1, 2, 3] = bad
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = spectra(field.chunk(time=1)).compute()
    assert result[1].isnull().all()
    np.testing.assert_array_equal(result[[0, 2]], expected[[0, 2]])


def test_real_turbulence(simulation_data):
    name = simulation_data / "exponax" / "decaying_navier_stokes_3d.nc"
    with xr.open_dataset(name, engine="netcdf4", chunks={}) as ds:
        for d in "zyx":
            ds[d].attrs.update(period=2 * np.pi, units="1")
        result = spectra(ds).compute()
        for v in "uvw":
            np.testing.assert_allclose(
                (result[v] * 1.0).sum("wavenumber"), variance(ds[v]), rtol=1e-6
            )
    np.testing.assert_allclose(result.wavenumber, np.arange(1, 29), rtol=1e-12)
    # dealiased at two thirds of the Nyquist wavenumber or truncated there: corners are empty
    assert float(result.u[-1][~result.complete].sum() / result.u[-1].sum()) < 1e-6


@pytest.mark.parametrize("shape", [(256, 512), (96, 80, 96)])
def test_an_offset_and_stripes_cost_large_frames_no_digits(shape):
    rng = np.random.default_rng(3)
    stripes = 3.0 * (np.arange(shape[-2]) % 8 == 0)[:, None]
    data = (1e4 + stripes + rng.normal(size=(1, *shape))).astype(np.float32)
    exact = isotropic(data.astype(np.float64), lengths=(1.0,) * len(shape))
    np.testing.assert_allclose(isotropic(data, lengths=(1.0,) * len(shape)), exact, rtol=2e-5)


@pytest.mark.parametrize("sizes", [{"y": 64, "x": 64}, {"y": 512, "x": 260}])
def test_threads_share_the_frames_and_give_the_same_bits(monkeypatch, sizes):
    from xphys.spectra import _kernels

    seen = set()
    add_modes = _kernels.add_modes

    def noted(*args):
        seen.add(threading.get_ident())
        time.sleep(1e-3)  # so that one thread does not take all before the others start
        add_modes(*args)

    monkeypatch.setattr(_kernels, "add_modes", noted)
    lengths = dict.fromkeys(sizes, 1.0)
    field = box(sizes, lengths, np.float32, times=2**21 // math.prod(sizes.values()))
    space = Box(tuple(sizes.values()), tuple(lengths.values()))
    request = Request(space, Treatment((None,) * 2, (False,) * 2))
    alone = _kernels.shell_sums(field.values, request=request)
    assert seen == {threading.get_ident()}
    together = _kernels.shell_sums(field.values, request=request, threads=3)
    assert len(seen) > 2
    assert together.tobytes() == alone.tobytes()
