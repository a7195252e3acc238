"""What a notebook shows for `.phys`."""

from __future__ import annotations

from html.parser import HTMLParser

import dask
import dask.array
import numpy as np
import pytest
import xarray as xr

from xphys.accessors import bytes_text, summarize


class Balance(HTMLParser):
    """Fails on a tag that is closed out of order or runs something."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def refuse(*args: object, **kwargs: object) -> None:
    raise AssertionError("computed for a view")


@pytest.fixture
def ds() -> xr.Dataset:
    attrs = {"period": 1.0, "boundary": "periodic", "units": "m"}
    x = xr.Variable("x", (np.arange(8) + 0.5) / 8, attrs)
    ds = xr.Dataset(coords={"x": x})
    tag = {"vector": "velocity", "component": "x", "units": "m/s"}
    ds["velocity_x"] = (("trajectory", "x"), np.zeros((2, 8), np.float32), tag)
    return ds.chunk(trajectory=1).assign_coords(Re=("trajectory", [100.0, 400.0]), nu=0.25)


def test_view_holds_the_facts_and_computes_nothing(ds: xr.Dataset) -> None:
    lazy = ds.assign_coords(mass=((), dask.array.ones(())))
    with dask.config.set(scheduler=refuse):
        html, text = lazy.phys._repr_html_(), repr(lazy.phys)
    for view in (html, text):
        for fact in ("periodic", "0.125", "velocity_x", "100 … 400", "0.25", "1 × 8", "m/s"):
            assert fact in view
        assert "not loaded" in view
        assert ".compress()" in view
        assert "64 B" in view
        assert "findings" in view
    parser = Balance()
    parser.feed(html)
    assert parser.open == []
    assert not parser.seen & {"script", "link", "img", "iframe"}


def test_view_escapes(ds: xr.Dataset) -> None:
    evil = ds.rename(velocity_x="<script>alert(1)</script>")
    evil["x"].attrs["units"] = "<b>&"
    html = evil.phys._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "<b>" not in html
    assert "&lt;b&gt;&amp;" in html


def test_view_of_array_and_tree(ds: xr.Dataset) -> None:
    assert "velocity_x" in ds.velocity_x.phys._repr_html_()
    assert "1 variables" in repr(ds.velocity_x.rename(None).phys)
    tree = xr.DataTree.from_dict({"/level_0": ds, "/empty": xr.Dataset()})
    html = tree.phys._repr_html_()
    assert "level_0" in html
    assert "empty" not in html
    assert "Steps" in repr(xr.DataTree().phys)


def test_view_of_odd_data() -> None:
    bent = xr.Dataset({"u": (("x", "n"), np.zeros((3, 2)))}, coords={"x": [0.0, 2.0, 1.0]})
    bent = bent.assign_coords(label="a", flag=("trajectory", ["p", "q"]))
    found = summarize(bent)
    assert found["dims"]["x"] == {"size": 3}
    assert found["parameters"]["label"]["value"] == "a"
    assert found["parameters"]["flag"]["value"] is None
    assert found["findings"]["error"] >= 1
    assert "u" in repr(bent.phys)
    assert "0 variables" in repr(xr.Dataset().phys)


def test_stored_size_is_shown_for_a_store(ds: xr.Dataset, tmp_path) -> None:
    assert summarize(ds)["stored_bytes"] is None
    assert summarize(ds.phys.compress(vrmse=0.1))["stored_bytes"] is None
    ds.phys.to_zarr(tmp_path / "a.zarr")
    opened = xr.open_zarr(tmp_path / "a.zarr")
    found = summarize(opened)
    files = [p for p in (tmp_path / "a.zarr" / "velocity_x" / "c").rglob("*") if p.is_file()]
    chunks = sum(p.stat().st_size for p in files)
    assert found["stored_bytes"] == found["variables"]["velocity_x"]["stored_bytes"]
    assert chunks <= found["stored_bytes"] <= chunks + 4096  # zarr counts the metadata too
    assert "stored" in repr(opened.phys)


def test_bytes_have_units() -> None:
    assert [bytes_text(n) for n in (None, 0, 999, 1500, 2_500_000_000)] == [
        "-",
        "0 B",
        "999 B",
        "1.5 kB",
        "2.5 GB",
    ]
