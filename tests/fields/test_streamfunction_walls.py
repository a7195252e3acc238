"""Streamfunctions between walls against exact ones, and that they give the flow back."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import xarray as xr

from xphys.errors import SchemaError
from xphys.fields import derive
from xphys.fields._walls import chebyshev_walls, difference_walls

N = 33


def refuse(*args, **kwargs):
    raise AssertionError("the graph was computed")


def points(kind: str, n: int, length: float = 1.0) -> np.ndarray:
    """Positions between walls at 0 and ``length``."""
    index = np.arange(n)
    return (
        length
        * {
            "roots": (1 - np.cos(np.pi * (2 * index + 1) / (2 * n))) / 2,
            "extrema": (1 - np.cos(np.pi * index / (n - 1))) / 2,
            "centres": (index + 0.5) / n,
            "nodes": index / (n - 1),
        }[kind]
    )


def wall(d: str, kind: str, n: int, length: float = 1.0) -> xr.Variable:
    attrs = {"boundary": "wall", "units": "m"}
    if kind in ("roots", "extrema"):
        attrs["spacing"] = "chebyshev"
    return xr.Variable(d, points(kind, n, length), attrs)


def flow(psi_of, dims: str, coords: dict) -> tuple[xr.Dataset, xr.DataArray]:
    """Velocity of a streamfunction, with its exact slopes from complex steps."""
    ds = xr.Dataset(coords=coords)
    places = {d: ds[d] for d in dims}
    a, b = sorted(dims)
    slope = {}
    for d in dims:
        moved = {**places, d: places[d] + 1e-30j}
        slope[d] = (psi_of(**moved).imag / 1e-30).transpose(*dims)
    tags = {"vector": "velocity", "units": "m s-1"}
    ds[f"velocity_{a}"] = slope[b].assign_attrs(tags, component=a)
    ds[f"velocity_{b}"] = (-slope[a]).assign_attrs(tags, component=b)
    return ds, psi_of(**places).transpose(*dims)


def channel(kind: str, n: int = N, through: float = 0.7) -> tuple[xr.Dataset, xr.DataArray]:
    """Periodic in x, walls in z, with a flow along them."""

    def psi(x, z):
        wave = np.sin(np.pi * z) ** 2 * np.sin(2 * np.pi * x + 0.3)
        return wave + through * (3 * z**2 - 2 * z**3)

    x = xr.Variable("x", np.arange(16) / 16, {"period": 1.0, "units": "m"})
    return flow(psi, "zx", {"z": wall("z", kind, n), "x": x})


@pytest.mark.parametrize("kind", ["roots", "extrema"])
@pytest.mark.parametrize("falls", [False, True])
def test_chebyshev_walls_are_exact(kind, falls):
    ds, exact = channel(kind)
    if falls:
        ds, exact = ds.isel(z=slice(None, None, -1)), exact.isel(z=slice(None, None, -1))
        exact = exact - 0.7  # 0 on the first wall
    psi = derive(ds, "streamfunction").streamfunction
    np.testing.assert_allclose(psi, exact, atol=1e-10)
    assert psi.attrs["units"] == "m2 s-1"
    assert "Chebyshev collocation between walls" in psi.attrs["method"]
    assert "no flow through the walls" in psi.attrs["comment"]
    back = derive(xr.Dataset({"psi": psi}), "gradient_psi")
    np.testing.assert_allclose(back.gradient_psi_z, ds.velocity_x, atol=1e-8)
    np.testing.assert_allclose(back.gradient_psi_x, -ds.velocity_z, atol=1e-8)


@pytest.mark.parametrize("kind", ["centres", "nodes"])
def test_uniform_points_are_of_order_two(kind):
    errors = []
    for n in (24, 48, 96):
        ds, exact = channel(kind, n)
        if kind == "nodes":  # cells that end at the walls
            edges = np.concatenate([[0], (ds.z.values[1:] + ds.z.values[:-1]) / 2, [1]])
            bounds = np.stack([edges[:-1], edges[1:]], axis=1)
            ds = ds.assign_coords(z_bounds=(("z", "edge"), bounds))
        psi = derive(ds, "streamfunction").streamfunction
        errors.append(float(np.abs(psi - exact).max()))
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert orders[-1] == pytest.approx(2.0, abs=0.3)
    assert errors[-1] < 2e-3


def test_walls_along_the_first_axis():
    def psi(y, x):
        return np.sin(np.pi * x) ** 2 * np.cos(2 * np.pi * y) + 0.4 * (3 * x**2 - 2 * x**3)

    y = xr.Variable("y", np.arange(12) / 12, {"period": 1.0, "units": "m"})
    ds, exact = flow(psi, "yx", {"y": y, "x": wall("x", "roots", N)})
    np.testing.assert_allclose(derive(ds, "streamfunction").streamfunction, exact, atol=1e-10)


def test_a_closed_box():
    def psi(y, x):
        return np.sin(np.pi * x) ** 2 * y**2 * (2 - y) ** 2

    coords = {"y": wall("y", "extrema", 25, 2.0), "x": wall("x", "roots", N)}
    ds, exact = flow(psi, "yx", coords)
    np.testing.assert_allclose(derive(ds, "streamfunction").streamfunction, exact, atol=1e-10)


def test_a_stored_vorticity_gives_the_flow_without_a_net_one():
    ds, exact = channel("roots", through=0.0)
    stored = derive(ds, "vorticity")
    psi = derive(stored, "streamfunction").streamfunction
    np.testing.assert_allclose(psi, exact, atol=1e-10)
    assert "no net flow" in psi.attrs["comment"]


@pytest.mark.parametrize("chunks", [{"z": 7, "x": 5}, {"time": 1, "z": 11}, {"x": 4}])
@pytest.mark.parametrize("kind", ["roots", "centres"])
def test_any_chunks_give_the_same_bits_lazily(kind, chunks):
    ds, _ = channel(kind)
    times = xr.DataArray([1.0, 2.0, -3.0], dims="time", coords={"time": [0.0, 1.0, 2.0]})
    for c in "xz":
        tags = ds[f"velocity_{c}"].attrs
        ds[f"velocity_{c}"] = (times * ds[f"velocity_{c}"]).assign_attrs(tags)
    with dask.config.set(scheduler=refuse):
        lazy = derive(ds.chunk(chunks), "streamfunction")
    assert lazy.streamfunction.chunksizes == ds.velocity_x.chunk(chunks).chunksizes
    with dask.config.set(scheduler="sync"):
        xr.testing.assert_identical(lazy.compute(), derive(ds, "streamfunction"))


def test_bases_are_those_of_the_second_derivative():
    x = points("roots", 40, 3.0)
    basis = chebyshev_walls("z", x, "roots", 0.0, 3.0)
    np.testing.assert_allclose(basis.wavenumbers[:8], np.arange(1, 9) * np.pi / 3, rtol=1e-10)
    np.testing.assert_allclose(basis.backward @ basis.forward, np.eye(40), atol=1e-11)
    uneven = np.sort(np.random.default_rng(0).uniform(0.05, 0.95, 12))
    basis = difference_walls("z", uneven, 0.0, 1.0)
    np.testing.assert_allclose(basis.backward @ basis.forward, np.eye(12), atol=1e-12)
    second = -basis.backward @ (basis.wavenumbers[:, None] ** 2 * basis.forward)
    np.testing.assert_allclose(second @ (uneven * (1 - uneven)), -2.0, rtol=1e-9)


def test_other_ends_and_potentials_are_refused():
    ds, _ = channel("roots")
    with pytest.raises(SchemaError, match=r"'boundary'\] = 'wall'"):
        derive(ds.assign_coords(z=ds.z.assign_attrs(boundary="open")), "streamfunction")
    with pytest.raises(SchemaError, match="4 or more"):
        derive(ds.isel(z=[0, 1, 2]), "streamfunction", method={"z": "finite"})
    tags = {"vector": "magnetic_field"}
    field = ds.rename(velocity_x="b_x", velocity_z="b_z")
    for c in "xz":
        field[f"b_{c}"].attrs.update(tags)
    with pytest.raises(SchemaError, match="periodic axis"):
        derive(field, "vector_potential")
