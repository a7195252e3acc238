"""What `compare` adds for a report: numbers against their functions, laziness, pictures."""

from __future__ import annotations

import base64
import re
import struct
import zlib
from xml.etree import ElementTree

import dask
import numpy as np
import pytest
import xarray as xr

from xphys.errors import SchemaError, UnknownNameError
from xphys.fields import invariants
from xphys.metrics import Comparison, charts, compare
from xphys.spectra import spectra

ADDED = {"spectrum", "error_spectrum", "section", "integral", "integral_drift"}


def refuse(*args, **kwargs):
    raise AssertionError("the graph was computed")


def flow(dims=("time", "z", "y", "x"), n=6, members=0) -> xr.Dataset:
    rng = np.random.default_rng(3)
    shape = [4 if d == "time" else n for d in dims]
    coords = {d: (d, np.arange(n) / n, {"period": 1.0, "units": "m"}) for d in dims if d != "time"}
    if "time" in dims:
        coords["time"] = ("time", np.arange(4) * 0.5, {"units": "s"})
    ds = xr.Dataset(coords=coords)
    ds["density"] = (dims, 1 + 0.1 * rng.random(shape), {"units": "kg/m^3"})
    for c in (d for d in dims if d != "time"):
        attrs = {"vector": "velocity", "component": c, "units": "m/s"}
        ds[f"velocity_{c}"] = (dims, rng.normal(size=shape), attrs)
    if members:
        ds = xr.concat([ds * (1 + 0.1 * i) for i in range(members)], "trajectory")
        for name, field in ds.data_vars.items():
            field.attrs = flow(dims, n)[name].attrs
    return ds


def near(ds: xr.Dataset) -> xr.Dataset:
    rng = np.random.default_rng(4)
    return ds.map(lambda v: v + 0.01 * rng.normal(size=v.shape), keep_attrs=True)


def test_spectra_of_both_and_of_the_error():
    old = flow(("time", "y", "x"))
    new = near(old)
    result = compare(new, old, report=True)
    assert isinstance(result, Comparison)
    assert set(result.data_vars) >= ADDED
    error = (new - old).assign_coords(old.coords)
    for i, name in enumerate(old.data_vars):
        for origin, ds in (("reference", old), ("test", new)):
            found = result.spectrum.sel(variable=name, origin=origin)
            np.testing.assert_allclose(found, spectra(ds[name]).mean("time"), rtol=1e-12)
        found = result.error_spectrum.sel(variable=name)
        np.testing.assert_allclose(found, spectra(error[name]).mean("time"), rtol=1e-9)
        variance = float((found * 2 * np.pi).sum())
        assert variance == pytest.approx(float(error[name].var(["y", "x"]).mean()), rel=1e-9)
        assert str(result.spectrum_units[i].values) == spectra(old[name]).attrs["units"]


def test_integrals_and_their_change():
    old = flow()
    new = near(old)
    result = compare(new, old, report=True)
    names = [str(n) for n in result.invariant.values]
    assert {"mass", "momentum_x", "kinetic_energy", "enstrophy", "kinetic_helicity"} <= set(names)
    assert "mean_square_density" in names
    assert not {"volume", "mean_density", "max_abs_divergence_velocity"} & set(names)
    r, t = invariants(old), invariants(new)
    energy = result.integral.sel(invariant="kinetic_energy")
    np.testing.assert_allclose(energy.sel(origin="reference"), r.kinetic_energy)
    np.testing.assert_allclose(energy.sel(origin="test"), t.kinetic_energy)
    change = abs(t.kinetic_energy - r.kinetic_energy) / r.kinetic_energy.max()
    np.testing.assert_allclose(result.integral_drift.sel(invariant="kinetic_energy"), change)
    assert str(energy.integral_units.values) == r.kinetic_energy.attrs["units"]
    # a momentum that may vanish is compared with sqrt(2 M E)
    most = np.sqrt(2 * r.mass.max() * r.kinetic_energy.max())
    assert most > abs(r.momentum_x).max()
    np.testing.assert_allclose(
        result.integral_drift.sel(invariant="momentum_x"), abs(t.momentum_x - r.momentum_x) / most
    )


def test_members_give_the_largest_change():
    old = flow(("time", "y", "x"), members=3)
    new = near(old)
    result = compare(new, old, report=True)
    r, t = invariants(old).mass, invariants(new).mass
    np.testing.assert_allclose(
        result.integral_drift.sel(invariant="mass"), (abs(t - r) / r.max()).max("trajectory")
    )
    np.testing.assert_allclose(
        result.integral.sel(invariant="mass", origin="test"), t.mean("trajectory")
    )
    assert result.section.shape == (2, 6, 6)


def test_the_section_is_one_time_in_the_middle():
    old = flow()
    new = near(old)
    result = compare(new, old, report="velocity_z")
    assert result.section.dims == ("origin", "section_y", "section_x")
    for origin, ds in (("reference", old), ("test", new)):
        expected = ds.velocity_z.isel(time=-1, z=3)
        np.testing.assert_array_equal(result.section.sel(origin=origin), expected)
    assert float(result.section_time) == 1.5
    assert float(result.section_z) == 0.5
    assert str(result.section_variable.values) == "velocity_z"
    assert str(result.section_units.values) == "m/s"
    assert result.section_x.attrs["units"] == "m"
    with pytest.raises(UnknownNameError, match="pressure"):
        compare(new, old, report="pressure")


def test_sections_of_lines_and_of_large_fields():
    waves = flow(("time", "x"))
    assert compare(near(waves), waves, report=True).section.dims[1:] == (
        "section_time", "section_x"
    )  # fmt: skip
    line = waves.isel(time=0, drop=True)
    assert compare(near(line), line, report=True).section.dims[1:] == ("section_x",)
    wide = xr.Dataset({"p": (("y", "x"), np.random.default_rng(0).normal(size=(4, 1030)))})
    section = compare(wide + 1, wide, report=True).section
    assert section.shape == (2, 4, 344)
    np.testing.assert_array_equal(section.sel(origin="reference"), wide.p[:, ::3])


@pytest.mark.parametrize("chunks", [{"time": 1}, {"time": 2, "y": 3, "x": 4}])
def test_lazy_and_the_same_for_any_chunks(chunks):
    old = flow(("time", "y", "x"), n=8)
    new = near(old)
    expected = compare(new, old, report=True)
    with dask.config.set(scheduler=refuse):
        lazy = compare(new.chunk(chunks), old.chunk(time=2), report=True)
        assert "lazy" in lazy._repr_html_()
        with pytest.raises(SchemaError, match="compute"):
            charts(lazy)
    for name in ADDED:
        assert lazy[name].chunks is not None, name
    xr.testing.assert_allclose(lazy.compute(), expected, rtol=1e-9)


def test_what_the_data_do_not_have_is_left_out():
    history = xr.Dataset({"energy": ("time", [1.0, 2.0, 4.0])})
    result = compare(history * 1.1, history, report=True)
    assert not ADDED & set(result.data_vars)
    bare = xr.Dataset({"p": (("y", "x"), np.arange(12.0).reshape(3, 4))})
    result = compare(bare + 0.1, bare, report=True)
    assert "section" in result
    assert "spectrum" not in result
    with pytest.raises(SchemaError, match="over all dims"):
        compare(bare, bare, dims="x", report=True)


def curve(names=("density", "velocity_y", "velocity_x")) -> xr.Dataset:
    bits = np.array([0.1, 1.0, 4.0])[:, None] * np.ones(len(names))
    return xr.Dataset(
        {
            "bits_per_value": (("target", "variable"), bits),
            "ratio": (("target", "variable"), 64 / bits),
        },
        {"target": [1e-1, 1e-2, 1e-3], "variable": list(names)},
    )


def test_a_curve_joins_the_comparison():
    old = flow(("time", "y", "x"))
    new = near(old)
    result = compare(new, old, stored={"density": 4 * 36}, rate_distortion=curve())
    np.testing.assert_array_equal(result.estimated_bits.sel(variable="density"), [0.1, 1, 4])
    assert result.estimated_ratio.dims == ("target", "variable")
    (chart,) = [c for c in charts(result) if c.group == "rate_distortion"]
    assert [c.label for c in chart.curves] == [*map(str, result.variable.values), "stored"]
    stored = chart.curves[-1]
    assert stored.style == "points"
    assert stored.x == 8.0
    assert stored.y == float(result.vrmse.sel(variable="density"))
    assert chart.inverse == ("ratio", 64.0)
    with pytest.raises(SchemaError, match="rate_distortion"):
        compare(new, old, rate_distortion=old)


def test_charts_hold_the_numbers_and_the_labels():
    old = flow(("time", "y", "x"))
    result = compare(near(old), old, report=True)
    found = charts(result)
    assert [c.group for c in found] == ["spectra"] * 4 + ["over_time"] * 3
    first = found[0]
    assert (first.across, first.title) == ("wavenumber (1/m)", "density")
    assert first.up == f"E(density) ({result.spectrum_units.values[0]})"
    assert [c.label for c in first.curves] == ["original", "decoded", "error"]
    np.testing.assert_array_equal(first.curves[2].y, result.error_spectrum[0])
    assert first.shaded is not None
    assert found[-1].across == "time (s)"
    assert "momentum x" in [c.label for c in found[-1].curves]
    still = old.isel(time=0, drop=True)
    last = charts(compare(near(still), still, report=True))[-1]
    assert "kinetic energy" in last.ticks
    assert last.curves[0].style == "points"
    assert charts(compare(old, old)) == []
    with pytest.raises(SchemaError, match="over all dims"):
        charts(compare(old, old, dims=("y", "x")))


def test_equal_curves_are_one():
    old = flow(("time", "y", "x"))[["velocity_x", "velocity_y"]]
    labels = [c.label for c in charts(compare(near(old), old, report=True))[-1].curves]
    assert "kinetic energy, total energy" in labels


def pixels(uri: str) -> np.ndarray:
    data = base64.b64decode(uri.partition(",")[2])
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", data[16:24])
    (size,) = struct.unpack(">I", data[33:37])
    rows = np.frombuffer(zlib.decompress(data[41 : 41 + size]), np.uint8)
    return rows.reshape(height, 1 + 4 * width)[:, 1:].reshape(height, width, 4)


def test_the_view_shows_section_and_charts():
    old = flow(("time", "y", "x"))
    old = old.rename(density="<p & q>")
    old["<p & q>"].attrs["units"] = "<K>"
    old["<p & q>"][-1, 0, 0] = 5
    new = near(old)
    new["<p & q>"][-1, 5, 5] = 9
    html = compare(new, old, report=True)._repr_html_()
    assert "<p &" not in html
    assert "<K>" not in html
    shown = [s for s in re.findall(r"<svg .*?</svg>", html, flags=re.S) if 'role="img"' in s]
    roots = [ElementTree.fromstring(s) for s in shown]
    assert len(roots) == 8
    images = [pixels(e.get("href")) for e in roots[0].findall("image")]
    assert [i.shape for i in images] == [(6, 6, 4)] * 3
    # the first row is at the bottom; the largest value is the yellow end of the colours
    np.testing.assert_array_equal(images[0][5, 0], [0xFD, 0xE7, 0x25, 255])
    np.testing.assert_array_equal(images[2][0, 5], [0x67, 0x00, 0x1F, 255])
    for root in roots[1:]:
        lines = [*root.findall("polyline"), *root.findall("circle")]
        assert lines
        for line in root.findall("polyline"):
            points = np.array([p.split(",") for p in line.get("points").split()], dtype=float)
            assert ((points >= 0) & (points <= (420, 300))).all()


def test_holes_and_datetimes_are_drawn():
    old = flow(("time", "y", "x"))
    old["time"] = np.array(["2000-01-01", "2000-01-02", "2000-01-03", "2000-01-05"], "M8[ns]")
    old.density[:, 2, 2] = np.nan
    html = compare(near(old), old, report=True)._repr_html_()
    shown = [s for s in re.findall(r"<svg .*?</svg>", html, flags=re.S) if 'role="img"' in s]
    image = pixels(ElementTree.fromstring(shown[0]).find("image").get("href"))
    assert image[3, 2, 3] == 0
    assert (image[..., 3] == 0).sum() == 1
    assert "change of integrals" in html


def test_real_flow_keeps_what_a_shift_keeps(simulation_data):
    with xr.open_dataset(
        simulation_data / "py2d" / "py2d_turbulence_2d.nc", engine="netcdf4"
    ) as ds:
        old = ds.isel(time=slice(0, 3)).load()
    for d in "yx":
        old[d].attrs["period"] = 2 * np.pi
    result = compare(old.roll(x=7), old, report=True)
    # the same flow elsewhere: spectra and integrals stay, points do not
    assert float(result.vrmse[0]) > 0.1
    assert float(result.spectrum_error.max()) < 1e-3
    assert (result.integral_drift.sel(invariant="enstrophy") < 1e-5).all()
    np.testing.assert_allclose(
        result.spectrum.sel(origin="test", wavenumber=slice(1, 100)),
        result.spectrum.sel(origin="reference", wavenumber=slice(1, 100)),
        rtol=1e-3,
    )
