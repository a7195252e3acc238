"""Derived fields against hand formulas, in boxes of one to three dims."""

from __future__ import annotations

from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr

from xphys.fields import derive
from xphys.fields._table import FIELDS
from xphys.schema import provenance, vectors

DOCUMENT = Path(__file__).parents[2] / "docs" / "fields.md"


def refuse(*args, **kwargs):
    raise AssertionError("the graph was computed")


def box(**sizes: int) -> xr.Dataset:
    coords = {}
    for d, n in sizes.items():
        attrs = {"period": 2 * np.pi, "boundary": "periodic", "units": "m"}
        coords[d] = xr.Variable(d, np.arange(n) * 2 * np.pi / n, attrs)
    return xr.Dataset(coords=coords)


def add(ds: xr.Dataset, vector: str, units: str, **parts: xr.DataArray) -> xr.Dataset:
    order = [d for d in ("time", "z", "y", "x") if d in ds.dims]
    for c, part in parts.items():
        full = (part + 0 * sum(ds[d] for d in order)).transpose(*order)
        tags = {"vector": vector, "component": c, "units": units}
        ds[f"{vector}_{c}"] = full.drop_attrs(deep=False).assign_attrs(tags)
    return ds


def beltrami(**sizes: int) -> xr.Dataset:
    """ABC flow, curl u = u, and the same magnetic field with density 4 and pressure 3."""
    ds = box(**sizes)
    x, y, z = (ds[d] if d in ds.coords else 0.0 for d in "xyz")
    parts = {
        "x": np.sin(z) + np.cos(y) + 0 * x,
        "y": np.sin(x) + np.cos(z) + 0 * y,
        "z": np.sin(y) + np.cos(x) + 0 * z,
    }
    ds = add(ds, "velocity", "m/s", **parts)
    ds = add(ds, "magnetic_field", "kg0.5", **{c: 2 * p for c, p in parts.items()})
    for c in "xyz":
        del ds[f"magnetic_field_{c}"].attrs["units"]
    constant = xr.full_like(ds.velocity_x, 1.0).drop_attrs(deep=False)
    ds["density"] = (4 * constant).assign_attrs(units="kg m-3")
    ds["pressure"] = (3 * constant).assign_attrs(units="Pa")
    return ds


@pytest.fixture(scope="module")
def abc() -> xr.Dataset:
    return beltrami(z=8, y=9, x=10)


def close(result: xr.DataArray, expected: xr.DataArray, tolerance: float = 1e-12) -> None:
    np.testing.assert_allclose(result, expected.transpose(*result.dims), atol=tolerance)


def test_curl_and_its_inverse_of_a_beltrami_flow(abc):
    result = derive(abc, "vorticity", "current_density", "vector_potential", "curl_velocity")
    for c in "xyz":
        close(result[f"vorticity_{c}"], abc[f"velocity_{c}"])
        close(result[f"curl_velocity_{c}"], abc[f"velocity_{c}"])
        close(result[f"current_density_{c}"], abc[f"magnetic_field_{c}"])
        close(result[f"vector_potential_{c}"], abc[f"magnetic_field_{c}"])
    assert vectors(result)["vorticity"] == {c: f"vorticity_{c}" for c in "xyz"}
    assert result.vorticity_x.attrs["units"] == "s-1"
    xr.testing.assert_equal(derive(abc, "vorticity_y").vorticity_y, result.vorticity_y)


def test_energies_helicities_and_elsasser_fields(abc):
    square = sum(abc[f"velocity_{c}"] ** 2 for c in "xyz")
    names = ("kinetic_energy", "magnetic_energy", "enstrophy", "kinetic_helicity")
    result = derive(abc, *names, "magnetic_helicity", "cross_helicity", "elsasser")
    close(result.kinetic_energy, 2 * square)
    close(result.magnetic_energy, 2 * square)
    close(result.enstrophy, square / 2)
    close(result.kinetic_helicity, square)
    close(result.magnetic_helicity, 4 * square)
    close(result.cross_helicity, 2 * square)
    for c in "xyz":
        close(result[f"elsasser_plus_{c}"], 2 * abc[f"velocity_{c}"])
        close(result[f"elsasser_minus_{c}"], 0 * abc[f"velocity_{c}"])
    assert result.kinetic_energy.attrs["units"] == "kg m-1 s-2"
    assert result.enstrophy.attrs["units"] == "s-2"
    assert "units" not in result.magnetic_energy.attrs
    bare = derive(abc.drop_vars("density"), "kinetic_energy").kinetic_energy
    close(bare, square / 2)
    assert "density taken as 1" in bare.attrs["comment"]


def test_strain_and_q_follow_their_definitions(abc):
    result = derive(abc, "gradient_velocity", "strain_rate", "q_criterion")
    g = {a + b: result[f"gradient_velocity_{a}{b}"] for a in "xyz" for b in "xyz"}
    close(g["zx"], np.cos(abc.z) + 0 * g["zx"])  # d_z u_x
    close(g["xz"], -np.sin(abc.x) + 0 * g["xz"])
    strain = {a + b: (g[a + b] + g[b + a]) / 2 for a in "xyz" for b in "xyz"}
    for name in ("xx", "xy", "xz", "yy", "yz", "zz"):
        close(result[f"strain_rate_{name}"], strain[name])
    rotation = sum((g[n] - g[n[::-1]]) ** 2 / 4 for n in g)
    close(result.q_criterion, (rotation - sum(s**2 for s in strain.values())) / 2)
    assert result.strain_rate_xy.attrs["component"] == "xy"


@pytest.mark.parametrize(("dims", "normal"), [("xy", "z"), ("xz", "y"), ("yz", "x")])
def test_planes_are_right_handed_and_their_scalar_is_stated(dims, normal):
    a, b = dims
    ds = box(**{d: 12 for d in sorted(dims, reverse=True)})
    psi = np.sin(ds[a]) * np.cos(2 * ds[b])
    flow = {a: -2 * np.sin(ds[a]) * np.sin(2 * ds[b]), b: -np.cos(ds[a]) * np.cos(2 * ds[b])}
    ds = add(ds, "velocity", "m/s", **flow)
    result = derive(ds, "vorticity", "streamfunction", f"vorticity_{normal}", "enstrophy")
    sign = -1 if normal == "y" else 1
    close(result.streamfunction, psi)
    close(result.vorticity, 5 * psi)  # d_a u_b - d_b u_a = -lap psi
    close(result[f"vorticity_{normal}"], sign * 5 * psi)
    close(result.enstrophy, 12.5 * psi**2)
    assert ("minus the y" in result.vorticity.attrs.get("comment", "")) == (normal == "y")
    assert f"dv_{b}/d{a} - dv_{a}/d{b}" in result.vorticity.attrs["long_name"]
    assert result.streamfunction.attrs["units"] == "m2 s-1"
    # and back: the flow of that vorticity, whichever of the two is stored
    scalar = result[["vorticity"]]
    vector = result[[f"vorticity_{normal}"]]
    for stored in (scalar, vector):
        back = derive(stored, "velocity", "streamfunction", "enstrophy")
        for c in dims:
            close(back[f"velocity_{c}"], ds[f"velocity_{c}"])
        close(back.streamfunction, psi)
        close(back.enstrophy, 12.5 * psi**2)
        assert back[f"velocity_{a}"].attrs["units"] == "m s-1"


def test_a_third_component_across_a_plane_and_along_a_line():
    ds = box(z=10, x=12)
    field = {"x": np.cos(ds.z) + 0 * ds.x, "z": np.sin(ds.x) + 0 * ds.z, "y": np.sin(ds.x + ds.z)}
    ds = add(ds, "magnetic_field", "1", **field)
    result = derive(ds, "current_density", "vector_potential")
    close(result.current_density_y, -np.sin(ds.z) - np.cos(ds.x))
    close(result.current_density_x, -np.cos(ds.x + ds.z))
    close(result.current_density_z, np.cos(ds.x + ds.z))
    potential = result.assign(
        {n: v.assign_attrs(vector="a") for n, v in result.items() if n.startswith("vector")}
    )
    again = derive(potential, "curl_a")
    for c in "xyz":
        close(again[f"curl_a_{c}"], ds[f"magnetic_field_{c}"])
    line = box(x=12)
    line = add(line, "velocity", "1", x=0 * line.x, y=np.sin(line.x), z=np.cos(line.x))
    result = derive(line, "vorticity", "kinetic_helicity")
    close(result.vorticity_x, 0 * line.x)
    close(result.vorticity_y, np.sin(line.x))
    close(result.vorticity_z, np.cos(line.x))
    close(result.kinetic_helicity, 1 + 0 * line.x)


def test_equations_of_state(abc):
    ideal = abc.assign_coords(gamma=5 / 3)
    names = ("temperature", "sound_speed", "mach", "plasma_beta", "alfven_speed", "mach_alfven")
    result = derive(ideal, "internal_energy")
    close(result.internal_energy, 4.5 + 0 * abc.density)
    plain = ideal.copy()
    for name in plain.data_vars:
        plain[name].attrs.pop("units", None)
    result = derive(plain, *names)
    speed = np.sqrt(sum(abc[f"velocity_{c}"] ** 2 for c in "xyz"))
    close(result.temperature, 0.75 + 0 * speed)
    close(result.sound_speed, np.sqrt(1.25) + 0 * speed)
    close(result.mach, speed / np.sqrt(1.25))
    close(result.alfven_speed, speed)
    close(result.plasma_beta, 6 / (4 * speed**2), 1e-9)
    np.testing.assert_allclose(result.mach_alfven, 1.0)
    energy = plain.drop_vars("pressure").assign(internal_energy=1.125 * plain.density)
    close(derive(energy, "pressure").pressure, 3 + 0 * speed)
    close(derive(energy.drop_vars("gamma"), "pressure", gamma=2.0).pressure, 4.5 + 0 * speed)
    cold = plain.drop_vars(["pressure", "gamma"]).assign_coords(sound_speed=0.5)
    result = derive(cold, "pressure", "temperature", "sound_speed", "mach")
    close(result.pressure, 1 + 0 * speed)
    close(result.temperature, 0.25 + 0 * speed)
    close(result.mach, 2 * speed)
    assert float(result.sound_speed) == 0.5
    close(derive(cold, "mach", sound_speed=1.0).mach, speed)


def test_parameters_of_each_trajectory_are_used():
    ds = box(x=6).assign_coords(gamma=("trajectory", [1.5, 2.0]))
    ds["internal_energy"] = (("trajectory", "x"), np.ones((2, 6)))
    result = derive(ds, "pressure").pressure
    np.testing.assert_allclose(result, [[0.5] * 6, [1.0] * 6])
    assert "gamma" in result.coords


def test_every_name_is_lazy_keeps_coordinates_and_is_equal_for_any_chunks(abc):
    ds = beltrami(z=6, x=8).expand_dims(time=[0.5, 1.0]).assign_coords(gamma=1.4, Re=10.0)
    ds = ds.transpose("time", "z", "x").astype(np.float32)
    subjects = {"gradient": "gradient_pressure", "curl": "curl_velocity"}
    names = [subjects.get(n, n) for n in FIELDS if n != "velocity"]
    for name in ds.variables:
        ds[name].attrs.pop("units", None)
    expected = derive(ds, *names)
    with dask.config.set(scheduler=refuse):
        result = derive(ds.chunk(z=4, x=5), *names)
    for name, values in result.items():
        assert values.chunks is not None, name
        assert values.dims == ("time", "z", "x"), name
        assert values.dtype == np.float32, name
        assert values.attrs["long_name"], name
        assert values.attrs["units"] == "1", name
    assert float(result.Re) == 10.0
    assert provenance(result)[-1]["parameters"]["names"] == names
    xr.testing.assert_allclose(result.compute(scheduler="synchronous"), expected, atol=1e-6)
    assert {n: v.attrs for n, v in result.items()} == {n: v.attrs for n, v in expected.items()}


def test_units_are_power_products(abc):
    result = derive(abc, "kinetic_energy", "gradient_pressure", "mach", gamma=2.0)
    assert result.gradient_pressure_x.attrs["units"] == "Pa m-1"
    assert result.mach.attrs["units"] == "1"


def test_every_name_is_documented():
    text = DOCUMENT.read_text(encoding="utf-8")
    missing = [name for name in FIELDS if f"`{name}" not in text]
    assert not missing
