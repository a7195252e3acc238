"""``xphys spectra``."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner, Result

from xphys.cli import app
from xphys.spectra import spectra


@pytest.fixture
def ds() -> xr.Dataset:
    rng = np.random.default_rng(1)
    coords = {"time": xr.Variable("time", np.arange(3.0), {"units": "s", "long_name": "time"})}
    for dim, size in (("x", 16), ("y", 12)):
        attrs = {"period": 1.0, "boundary": "periodic", "spacing": "uniform", "units": "m"}
        coords[dim] = xr.Variable(dim, (np.arange(size) + 0.5) / size, attrs)
    fields = {
        f"velocity_{c}": (
            ("time", "y", "x"),
            rng.normal(size=(3, 12, 16)),
            {"units": "m/s", "vector": "velocity", "component": c},
        )
        for c in "xy"
    }
    return xr.Dataset(fields, coords)


@pytest.fixture
def source(ds: xr.Dataset, tmp_path) -> str:
    path = str(tmp_path / "source.zarr")
    ds.phys.to_zarr(path)
    return path


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["spectra", *arguments])
    assert result.exit_code == code, result.output
    return result


def test_numbers_for_machines(ds, source):
    found = json.loads(run(source, "--json", "--quantity", "energy").stdout)
    (row,) = found["variables"]
    energy = 0.5 * (ds.velocity_x.var(("y", "x")) + ds.velocity_y.var(("y", "x"))).mean()
    np.testing.assert_allclose(row["total"], energy, rtol=1e-12)
    assert (row["variable"], row["units"]) == ("velocity", "(m/s)^2 m")
    expected = spectra(ds, quantity="energy")
    np.testing.assert_allclose(found["spectra"]["velocity"], expected.velocity.mean("time"))
    np.testing.assert_allclose(found["wavenumber"], expected.wavenumber)
    assert found["complete"] == expected.complete.values.tolist()


def test_a_table_for_people(source):
    text = run(source, "--variables", "velocity_x,velocity_y", "--mean").stdout
    assert "velocity_x" in text
    assert "velocity_y" in text
    assert "peak at k" in text


@pytest.mark.parametrize("ending", ["nc", "zarr", "png"])
def test_files(ds, source, tmp_path, ending):
    path = tmp_path / f"out.{ending}"
    arguments = ("--dims", "x", "--kind", "1d", "--window", "hann", "--output", str(path))
    run(source, *arguments)
    if ending == "png":
        assert path.read_bytes().startswith(b"\x89PNG")
        return
    engine = {"nc": "netcdf4", "zarr": "zarr"}[ending]
    with xr.open_dataset(path, engine=engine) as back:
        expected = spectra(ds, dims="x", kind="1d", window="hann")
        xr.testing.assert_allclose(back.velocity_x.drop_vars("complete"),
                                   expected.velocity_x.drop_vars("complete"))  # fmt: skip
        np.testing.assert_array_equal(back.complete, expected.complete)
        assert back.velocity_x.attrs["units"] == "(m/s)^2 m"


def test_only_periodic_axes_without_a_window(ds, tmp_path):
    open_z = ds.assign_coords(y=ds.y.drop_attrs().assign_attrs(units="m", boundary="wall"))
    path = str(tmp_path / "walls.zarr")
    open_z.phys.to_zarr(path)
    found = json.loads(run(path, "--json").stdout)
    assert len(found["wavenumber"]) == 8


def test_mistakes_are_one_line(source, tmp_path):
    for arguments in (
        ("--kind", "3d"),
        ("--quantity", "heat"),
        ("--variables", "rho"),
        ("--dims", "q"),
        ("--output", str(tmp_path / "a.docx")),
    ):
        result = run(source, *arguments, code=2)
        assert result.stderr.startswith("xphys: ")
        assert result.stderr.count("\n") == 1
