"""The comparison figure."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from xphys.errors import SchemaError, UnknownNameError
from xphys.metrics import compare
from xphys.plotting import compare_figure


def sample(dims=("time", "y", "x"), n=12, offset=0.0, periodic=True) -> xr.Dataset:
    rng = np.random.default_rng(len(dims))
    shape = [3 if d == "time" else n for d in dims]
    coords = {
        d: (d, np.arange(n) / n, {"units": "m"} | ({"period": 1.0} if periodic else {}))
        for d in dims
        if d != "time"
    }
    if "time" in dims:
        coords["time"] = ("time", np.arange(3) * 0.5, {"units": "s"})
    fields = {"density": (dims, rng.normal(size=shape) + offset, {"units": "kg"})}
    return xr.Dataset(fields, coords)


def drawn(figure: Figure) -> dict[str, object]:
    return {panel.get_title(): panel for panel in figure.axes if panel.get_title()}


@pytest.mark.parametrize(
    "dims", [("time", "y", "x"), ("time", "z", "y", "x"), ("y", "x"), ("time", "x"), ("x",)]
)
@pytest.mark.parametrize("chunked", [False, True])
def test_four_labelled_panels_for_any_number_of_dims(dims, chunked, tmp_path):
    old = sample(dims)
    new = old * 1.01
    figure = compare_figure(new.chunk() if chunked else new, old.chunk() if chunked else old)
    panels = drawn(figure)
    assert list(panels) == ["original", "decoded", "difference", "power spectrum"]
    for title, panel in panels.items():
        assert panel.get_xlabel() == ("wavenumber (1/m)" if title == "power spectrum" else "x (m)")
    vertical = panels["original"].get_ylabel()
    assert vertical == {("time", "x"): "time (s)", ("x",): "density (kg)"}.get(dims, "y (m)")
    assert panels["power spectrum"].get_xscale() == "log"
    figure.savefig(tmp_path / "figure.png", dpi=40)
    assert (tmp_path / "figure.png").stat().st_size > 1000


def test_panels_show_the_right_values():
    old = sample(("time", "z", "y", "x"))
    new = old + 0.001
    panels = drawn(compare_figure(new, old, time=0.6, error_scale=50))
    middle = old.density.isel(time=1, z=6)
    (image,) = panels["original"].collections
    (other,) = panels["decoded"].collections
    (error,) = panels["error × 50"].collections
    np.testing.assert_allclose(image.get_array().reshape(12, 12), middle)
    np.testing.assert_allclose(other.get_array().reshape(12, 12), middle + 0.001)
    np.testing.assert_allclose(error.get_array(), 0.05, rtol=1e-6)
    assert image.get_clim() == other.get_clim()
    assert image.get_cmap().name == error.get_cmap().name == "RdBu_r"
    low, high = image.get_clim()
    assert -low == high == np.abs(middle).max()


def test_a_field_of_one_sign_is_drawn_in_viridis():
    old = sample(offset=10.0)
    panels = drawn(compare_figure(old, old))
    assert panels["original"].collections[0].get_cmap().name == "viridis"


def test_the_title_takes_numbers_from_the_comparison():
    old = sample()
    new = old * 1.01
    figure = compare_figure(new, old)
    rms, std = np.sqrt(float((old.density**2).mean())), float(old.density.std())
    assert f"vrmse {0.01 * rms / std:.2e}" in figure.get_suptitle()
    assert "time 1 s" in figure.get_suptitle()
    result = compare(new, old, stored={"density": 1000})
    assert "ratio 3.5" in compare_figure(new, old, comparison=result).get_suptitle()
    members = xr.concat([old, old * 2], "trajectory")
    assert "vrmse" in compare_figure(members, members, variable="density").get_suptitle()


def test_open_axes_get_a_windowed_spectrum_and_stretched_ones_none(tmp_path):
    old = sample(periodic=False)
    assert len(drawn(compare_figure(old, old))["power spectrum"].lines) == 2
    lines = drawn(compare_figure(old * 1.01, old))["power spectrum"].lines
    assert [line.get_label() for line in lines] == ["original", "decoded", "error"]
    np.testing.assert_allclose(lines[2].get_ydata(), 1e-4 * lines[0].get_ydata(), rtol=1e-9)
    stretched = old.assign_coords(x=old.x**2, y=old.y**2)
    figure = compare_figure(stretched, stretched)
    assert "no spectrum" in drawn(figure)["power spectrum"].texts[0].get_text()
    flat = old * 0 + 3
    compare_figure(flat, flat).savefig(tmp_path / "flat.png", dpi=40)


def test_holes_are_drawn_as_holes(tmp_path):
    old = sample()
    old.density[:, 2:4, 2:4] = np.nan
    figure = compare_figure(old, old)
    figure.savefig(tmp_path / "holes.png", dpi=40)
    assert np.ma.count_masked(drawn(figure)["original"].collections[0].get_array()) == 4


def test_refusals():
    old = sample()
    with pytest.raises(UnknownNameError, match="density"):
        compare_figure(old, old, variable="pressure")
    with pytest.raises(SchemaError, match="sizes"):
        compare_figure(old.isel(x=slice(0, 6)), old)
    with pytest.raises(SchemaError, match="two Datasets"):
        compare_figure(old.density, old)
    history = xr.DataArray([1.0, 2.0], dims="time", name="energy")
    with pytest.raises(SchemaError, match="expected z, y or x"):
        compare_figure(history, history)


def test_pyplot_stays_out():
    code = (
        "import sys; from xphys.plotting import compare_figure; "
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
