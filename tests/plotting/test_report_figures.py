"""Figures of a comparison's report."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from xphys.errors import SchemaError
from xphys.metrics import charts, compare
from xphys.plotting import rate_distortion_figure, report_figures


def flow(dims=("time", "y", "x"), variables=1) -> xr.Dataset:
    rng = np.random.default_rng(len(dims))
    coords = {d: (d, np.arange(8) / 8, {"period": 1.0, "units": "m"}) for d in dims if d != "time"}
    if "time" in dims:
        coords["time"] = ("time", np.arange(3) * 0.5, {"units": "s"})
    shape = [3 if d == "time" else 8 for d in dims]
    fields = {
        f"p{i}": (dims, 2 + rng.normal(size=shape), {"units": "Pa"}) for i in range(variables)
    }
    return xr.Dataset(fields, coords)


def near(ds: xr.Dataset) -> xr.Dataset:
    rng = np.random.default_rng(9)
    return ds.map(lambda v: v + 0.01 * rng.normal(size=v.shape), keep_attrs=True)


@pytest.mark.parametrize("dims", [("time", "y", "x"), ("time", "z", "y", "x"), ("time", "x")])
def test_figures_draw_what_the_charts_hold(dims, tmp_path):
    old = flow(dims)
    result = compare(near(old), old, report=True)
    figures = report_figures(result)
    assert list(figures) == ["spectra", "over_time"]
    for name, figure in figures.items():
        wanted = [c for c in charts(result) if c.group == name]
        panels = [p for p in figure.axes if p.get_title()]
        assert [p.get_title() for p in panels] == [c.title for c in wanted]
        for panel, chart in zip(panels, wanted, strict=True):
            assert (panel.get_xlabel(), panel.get_ylabel()) == (chart.across, chart.up)
            assert panel.get_yscale() == "log"
            assert [line.get_label() for line in panel.lines] == [c.label for c in chart.curves]
            for line, curve in zip(panel.lines, chart.curves, strict=True):
                np.testing.assert_array_equal(line.get_ydata(), curve.y)
        figure.savefig(tmp_path / f"{name}.png", dpi=40)
        assert (tmp_path / f"{name}.png").stat().st_size > 1000


def test_without_time_integrals_are_points(tmp_path):
    old = flow(("y", "x"))
    figure = report_figures(compare(near(old), old, report=True))["over_time"]
    (panel,) = figure.axes
    assert [t.get_text() for t in panel.get_xticklabels()] == ["mean square p0"]
    figure.savefig(tmp_path / "points.png", dpi=40)


def test_many_curves_have_their_legend_beside():
    old = flow(variables=8)
    figure = report_figures(compare(near(old), old))["over_time"]
    legend = figure.axes[0].get_legend()
    assert len(legend.get_texts()) == 8
    looks = {(line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines}
    assert len(looks) == 8


def curve(bits=(0.1, 1.0, 8.0)) -> xr.Dataset:
    values = np.array(bits)[:, None] * [1.0, 2.0]
    return xr.Dataset(
        {
            "bits_per_value": (("target", "variable"), values),
            "ratio": (("target", "variable"), 32 / values),
        },
        {"target": [1e-1, 1e-2, 1e-3], "variable": ["p0", "p1"]},
    )


def test_rate_distortion_marks_what_is_stored(tmp_path):
    old = flow(variables=2)
    result = compare(near(old), old, stored={"p1": 192})
    figure = rate_distortion_figure(curve(), result)
    (panel,) = [p for p in figure.axes if p.get_title()]
    assert panel.get_xscale() == panel.get_yscale() == "log"
    np.testing.assert_array_equal(panel.lines[1].get_xdata(), [0.2, 2, 16])
    np.testing.assert_array_equal(panel.lines[1].get_ydata(), [1e-1, 1e-2, 1e-3])
    assert panel.lines[2].get_xdata() == 8.0
    assert panel.lines[2].get_ydata() == float(result.vrmse[1])
    assert panel.lines[2].get_color() == panel.lines[1].get_color()
    (top,) = panel.child_axes
    assert top.get_xlabel() == "ratio"
    figure.savefig(tmp_path / "curve.png", dpi=40)
    places = top.get_xaxis_transform().transform([(32.0, 0), (16.0, 0)])[:, 0]
    below = panel.get_xaxis_transform().transform([(1.0, 0), (2.0, 0)])[:, 0]
    np.testing.assert_allclose(places, below)
    assert len(rate_distortion_figure(curve().chunk()).axes[0].lines) == 2
    joined = compare(near(old), old, rate_distortion=curve())
    assert "rate_distortion" in report_figures(joined)


def test_refusals():
    old = flow()
    with pytest.raises(SchemaError, match="lazy"):
        report_figures(compare(old.chunk(), old.chunk()))
    with pytest.raises(SchemaError, match="rate_distortion"):
        rate_distortion_figure(old)
    assert report_figures(compare(old, old)) == {}
