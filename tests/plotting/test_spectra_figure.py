"""The figure of spectra."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from xphys.errors import SchemaError, UnknownNameError
from xphys.plotting import spectra_figure
from xphys.spectra import spectra


def sample() -> xr.Dataset:
    rng = np.random.default_rng(0)
    coords = {d: (d, np.arange(16) / 16, {"units": "m", "period": 1.0}) for d in "yx"}
    fields = {
        name: (("time", "y", "x"), rng.normal(size=(3, 16, 16)), {"units": units})
        for name, units in (("density", "kg"), ("mass", "kg"), ("speed", "m/s"))
    }
    return xr.Dataset(fields, coords).chunk()


def test_a_panel_for_each_unit_with_labels(tmp_path):
    figure = spectra_figure(spectra(sample()), slope=-5 / 3)
    assert len(figure.axes) == 2
    first, second = figure.axes
    assert first.get_xlabel() == "wavenumber k (1/m)"
    assert first.get_ylabel() == "E(k) (kg^2 m)"
    assert second.get_ylabel() == "speed ((m/s)^2 m)"
    assert (first.get_xscale(), first.get_yscale()) == ("log", "log")
    labels = [text.get_text() for text in first.get_legend().get_texts()]
    assert labels == ["density", "mass", "k^-1.67"]
    k, drawn = first.lines[0].get_data()
    expected = spectra(sample()).density.mean("time")
    np.testing.assert_allclose(k, expected.wavenumber)
    np.testing.assert_allclose(drawn, expected)
    figure.savefig(tmp_path / "a.png")


def test_a_plane_is_a_picture(tmp_path):
    figure = spectra_figure(spectra(sample(), "mass", kind="2d"))
    panel, bar = figure.axes
    assert panel.get_xlabel() == "wavenumber x (1/m)"
    assert panel.get_ylabel() == "wavenumber y (1/m)"
    assert bar.get_ylabel() == "log10 |mass| (kg^2 m^2)"
    figure.savefig(tmp_path / "a.png")


def test_negative_values_are_dashed_and_nothing_is_no_error(tmp_path):
    k = xr.Variable("wavenumber", np.arange(1.0, 5.0))
    line = xr.DataArray([1.0, -1.0, 2.0, np.nan], coords={"wavenumber": k}, name="transfer")
    figure = spectra_figure(line)
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["transfer", "-transfer"]
    figure.savefig(tmp_path / "a.png")
    spectra_figure(line * 0.0).savefig(tmp_path / "b.png")


def test_what_is_no_spectrum_is_refused():
    with pytest.raises(UnknownNameError, match="nothing"):
        spectra_figure(spectra(sample()), variables="nothing")
    with pytest.raises(SchemaError, match="wavenumber"):
        spectra_figure(sample())
