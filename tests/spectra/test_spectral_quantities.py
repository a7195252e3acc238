"""Vectors, cross-spectra, helicities, transfer, modal means, 1-D and 2-D: exact fields."""

from __future__ import annotations

import math

import dask
import numpy as np
import pytest
import xarray as xr

from xphys.errors import SchemaError
from xphys.schema import provenance
from xphys.spectra import spectra


def refuse(*args, **kwargs):
    raise AssertionError("the graph was computed")


def grid(**sizes) -> dict[str, xr.Variable]:
    return {
        d: xr.Variable(d, 2 * np.pi * np.arange(n) / n, {"period": 2 * np.pi, "units": "m"})
        for d, n in sizes.items()
    }


def vector(name: str, units: str, axes: dict, parts: dict) -> xr.Dataset:
    dims = tuple(d for d in ("time", "z", "y", "x") if d in axes)
    shape = tuple(axes[d].size for d in dims)
    variables = {
        f"{name}_{c}": (
            dims,
            np.broadcast_to(value, shape).copy(),
            {"vector": name, "component": c, "units": units},
        )
        for c, value in parts.items()
    }
    return xr.Dataset(variables, axes)


def abc(wavenumber=2, n=12, units="m/s", name="velocity", sign=1) -> xr.Dataset:
    """A Beltrami flow: its curl is ``sign * wavenumber`` times itself."""
    axes = grid(z=n, y=n, x=n)
    z, y, x = np.meshgrid(*(sign * wavenumber * axes[d].values for d in "zyx"), indexing="ij")
    a, b, c = 1.0, 0.7, 0.4
    parts = {
        "x": a * np.sin(z) + c * np.cos(y),
        "y": b * np.sin(x) + a * np.cos(z),
        "z": c * np.sin(y) + b * np.cos(x),
    }
    return vector(name, units, axes, parts)


def solenoidal(n=12, seed=0, dims="zyx") -> xr.Dataset:
    """Random velocity without divergence, no Nyquist modes."""
    rng = np.random.default_rng(seed)
    axes = grid(**dict.fromkeys(dims, n))
    k = np.meshgrid(*[np.fft.fftfreq(n, 1 / n)] * len(dims), indexing="ij")
    k = dict(zip(dims, k, strict=True))
    square = sum(c**2 for c in k.values())
    u = {c: np.fft.fftn(rng.normal(size=(n,) * len(dims))) for c in dims}
    along = sum(k[c] * u[c] for c in dims) / np.where(square == 0, 1, square)
    keep = (square > 0) & np.all([np.abs(c) < n / 2 for c in k.values()], axis=0)
    parts = {c: np.fft.ifftn((u[c] - k[c] * along) * keep).real * 10 for c in dims}
    return vector("velocity", "m/s", axes, parts)


def integral(spectrum: xr.DataArray) -> xr.DataArray:
    return (spectrum * spectrum.wavenumber[0]).sum("wavenumber")


def shell_only(result: xr.DataArray, shell: int, value: float) -> None:
    expected = np.zeros(result.sizes["wavenumber"])
    expected[shell - 1] = value
    np.testing.assert_allclose(result, expected, atol=1e-12)


# --- vectors --------------------------------------------------------------------------------


def test_energy_is_half_the_sum_of_the_components():
    ds = solenoidal()
    ds["density"] = ds.velocity_x * 0 + 1.0 + ds.velocity_y
    ds["density"].attrs = {"units": "kg/m3"}
    each = spectra(ds)
    result = spectra(ds, quantity="energy")
    assert set(result.data_vars) == {"velocity", "density"}
    parts = sum(each[f"velocity_{c}"] for c in "xyz")
    np.testing.assert_allclose(result.velocity, 0.5 * parts, rtol=1e-13)
    np.testing.assert_allclose(result.density, 0.5 * each.density, rtol=1e-13)
    np.testing.assert_allclose(spectra(ds, "velocity").velocity, parts, rtol=1e-13)
    energy = 0.5 * sum((ds[f"velocity_{c}"] ** 2).mean() for c in "xyz")
    np.testing.assert_allclose(integral(result.velocity), energy, rtol=1e-12)
    assert result.velocity.attrs["units"] == "(m/s)^2 m"
    assert spectra(ds, quantity="kinetic_energy").kinetic_energy.attrs["units"] == "(m/s)^2 m"
    assert provenance(result)[-1]["parameters"]["quantity"] == "energy"


def test_conventions():
    ds = solenoidal()
    density = spectra(ds, "velocity_x").velocity_x
    total = spectra(ds, "velocity_x", convention="sum").velocity_x
    np.testing.assert_allclose(total, density * density.wavenumber[0], rtol=1e-14)
    assert total.attrs["units"] == "(m/s)^2"
    mean = spectra(ds, "velocity_x", convention="mean").velocity_x
    k = np.meshgrid(*[np.fft.fftfreq(12, 1 / 12)] * 3, indexing="ij")
    shell = np.floor(np.sqrt(sum(c**2 for c in k)) + 0.5)
    modes = np.abs(np.fft.fftn(ds.velocity_x.values) / 12**3) ** 2
    expected = [modes[shell == n].mean() for n in range(1, mean.size + 1)]
    np.testing.assert_allclose(mean, expected, rtol=1e-12, atol=1e-20)


def test_enstrophy_and_energy_of_velocity_and_vorticity_agree_in_a_plane():
    ds = solenoidal(16, dims="yx")
    k = np.fft.fftfreq(16, 1 / 16)
    u, v = (np.fft.fft2(ds[f"velocity_{c}"].values) for c in "xy")
    omega = np.fft.ifft2(1j * k * v - 1j * k[:, None] * u).real
    ds["vorticity"] = ("y", "x"), omega, {"units": "1/s"}
    by_velocity = spectra(ds, quantity="enstrophy").enstrophy
    by_vorticity = spectra(ds, "vorticity", quantity="enstrophy").enstrophy
    np.testing.assert_allclose(by_velocity, by_vorticity, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(integral(by_velocity), 0.5 * (omega**2).mean(), rtol=1e-12)
    energy = spectra(ds, quantity="kinetic_energy").kinetic_energy
    stream = spectra(ds, "vorticity", quantity="kinetic_energy").kinetic_energy
    np.testing.assert_allclose(stream, energy, rtol=1e-11, atol=1e-14)
    assert by_velocity.attrs["units"] == "(m/s)^2 / m"
    assert stream.attrs["units"] == "(1/s)^2 m^3"
    field = spectra(ds.vorticity, quantity="enstrophy")
    np.testing.assert_allclose(field, by_vorticity, rtol=1e-13)


# --- helicities and cross-spectra -----------------------------------------------------------


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("falling", [(), ("x",), ("z", "y", "x")])
def test_a_beltrami_flow_has_the_largest_helicity(sign, falling):
    ds = abc(2, sign=sign).isel({d: slice(None, None, -1) for d in falling})
    square = 1.0 + 0.49 + 0.16
    helicity = spectra(ds, quantity="kinetic_helicity").kinetic_helicity
    shell_only(helicity, 2, sign * 2 * square)
    shell_only(spectra(ds, quantity="energy").velocity, 2, 0.5 * square)
    shell_only(spectra(ds, quantity="enstrophy").enstrophy, 2, 0.5 * 4 * square)
    assert helicity.attrs["units"] == "(m/s)^2"
    assert spectra(ds, quantity="kinetic_helicity", convention="sum").kinetic_helicity.attrs[
        "units"
    ] == "(m/s)^2 / m"  # fmt: skip


def test_helicities_of_the_magnetic_field():
    ds = xr.merge([abc(3), abc(3, units="T", name="magnetic_field") * 2], combine_attrs="override")
    ds = ds.assign({n: ds[n].assign_attrs(vector=n[:-2], component=n[-1]) for n in ds.data_vars})
    square = 1.65
    shell_only(spectra(ds, quantity="current_helicity").current_helicity, 3, 3 * 4 * square)
    shell_only(spectra(ds, quantity="magnetic_helicity").magnetic_helicity, 3, 4 * square / 3)
    shell_only(spectra(ds, quantity="cross_helicity").cross_helicity, 3, 2 * square)
    cross = spectra(ds, cross=("velocity", "magnetic_field"))
    assert list(cross.data_vars) == ["velocity_magnetic_field_cospectrum"]
    shell_only(cross.velocity_magnetic_field_cospectrum, 3, 2 * square)


def test_cospectrum_adds_up_to_the_covariance():
    ds = solenoidal().isel(z=0, drop=True)
    a, b = ds.velocity_x, ds.velocity_y
    result = spectra(ds, cross=[("velocity_x", "velocity_y"), ("velocity_x", "velocity_x")])
    covariance = ((a - a.mean()) * (b - b.mean())).mean()
    np.testing.assert_allclose(
        integral(result.velocity_x_velocity_y_cospectrum), covariance, rtol=1e-11
    )
    np.testing.assert_allclose(
        result.velocity_x_velocity_x_cospectrum, spectra(a), rtol=1e-12, atol=1e-18
    )
    alone = spectra(a, cross=b)
    assert alone.name == "velocity_x_velocity_y_cospectrum"
    np.testing.assert_array_equal(alone, result[alone.name])
    # the polarisation identity
    both = (spectra(a + b) - spectra(a - b)) / 4
    np.testing.assert_allclose(alone, both, rtol=1e-10, atol=1e-14)


def test_quadrature_tells_the_lag():
    axes = grid(y=4, x=16)
    x = axes["x"].values
    fields = {"a": np.cos(3 * x), "b": np.cos(3 * x - 0.4)}
    ds = xr.Dataset({n: (("y", "x"), np.tile(v, (4, 1))) for n, v in fields.items()}, axes)
    result = spectra(ds, dims="x", kind="1d", cross=("a", "b"))
    shell_only(result.a_b_cospectrum, 3, 0.5 * math.cos(0.4))
    shell_only(result.a_b_quadrature, 3, 0.5 * math.sin(0.4))  # c_a c_b* = exp(+0.4 i) / 4
    wide = spectra(ds, kind="2d", cross=("a", "b"))
    plus = wide.a_b_quadrature.sel(wavenumber_x=3, wavenumber_y=0)
    np.testing.assert_allclose(plus, 0.25 * math.sin(0.4))
    np.testing.assert_allclose(wide.a_b_quadrature.sum(), 0.0, atol=1e-15)


# --- transfer -------------------------------------------------------------------------------


@pytest.mark.parametrize("dims", ["zyx", "yx"])
@pytest.mark.parametrize("dealias", [True, False])
def test_transfer_adds_up_to_nothing(dims, dealias):
    ds = solenoidal(dims=dims)
    result = spectra(ds, quantity="transfer", dealias=dealias)
    size = float(np.abs(result.transfer).max())
    assert size > 0
    assert abs(float(result.transfer.sum())) < 1e-12 * size
    assert abs(float(result.flux[-1])) < 1e-12 * size
    np.testing.assert_allclose(result.flux, -result.transfer.cumsum("wavenumber"), atol=1e-12)
    assert result.transfer.attrs["units"] == "(m/s)^3"
    assert result.flux.attrs["units"] == "(m/s)^3 / m"


def test_transfer_of_taylor_and_green():
    """u . grad u of the vortex of 1937 by hand: modes (2,0,2) and (0,2,2) of the first step."""
    n = 16
    axes = grid(z=n, y=n, x=n)
    z, y, x = np.meshgrid(*(axes[d].values for d in "zyx"), indexing="ij")
    parts = {
        "x": np.sin(x) * np.cos(y) * np.cos(z),
        "y": -np.cos(x) * np.sin(y) * np.cos(z),
        "z": 0 * x,
    }
    ds = vector("velocity", "m/s", axes, parts)
    # all its energy is at |k| = sqrt(3) and what advection makes of it has other wavevectors
    first = spectra(ds, quantity="transfer")
    np.testing.assert_allclose(first.transfer, 0.0, atol=1e-15)
    shell_only(spectra(ds, quantity="energy").velocity, 2, 0.125)
    # one small step of the Euler equation, then the gain of its new modes
    step = 1e-3
    ux = parts["x"] - step * np.sin(2 * x) * (np.cos(2 * z)) / 8
    uy = parts["y"] - step * np.sin(2 * y) * (np.cos(2 * z)) / 8
    uz = step * (np.cos(2 * x) + np.cos(2 * y)) * np.sin(2 * z) / 8
    later = vector("velocity", "m/s", axes, {"x": ux, "y": uy, "z": uz})
    result = spectra(later, quantity="transfer", convention="sum").transfer
    energy = spectra(later, quantity="energy", convention="sum").velocity
    # energy of the new modes grows as step^2 e, so their gain is 2 e step
    np.testing.assert_allclose(result[2], 2 * energy[2] / step, rtol=1e-4)
    np.testing.assert_allclose(result[1], -result[2], rtol=1e-4)


def test_transfer_equals_the_derivative_of_the_energy_in_a_plane():
    ds = solenoidal(16, 3, "yx")
    k = np.fft.fftfreq(16, 1 / 16)
    kx, ky = k[None, :], k[:, None]
    u, v = (np.fft.fft2(ds[f"velocity_{c}"].values) for c in "xy")
    # few modes, so that the products are exact on this grid
    keep = (np.abs(kx) <= 5) & (np.abs(ky) <= 5)
    u, v = u * keep, v * keep
    real = [np.fft.ifft2(f).real for f in (u, v)]
    slopes = [[np.fft.ifft2(1j * a * f).real for a in (kx, ky)] for f in (u, v)]
    gain = [np.fft.fft2(real[0] * s[0] + real[1] * s[1]) for s in slopes]
    small = ds.copy(data={f"velocity_{c}": r for c, r in zip("xy", real, strict=True)})
    density = -(np.conj(u) * gain[0] + np.conj(v) * gain[1]).real / 16**4
    shell = np.floor(np.sqrt(kx**2 + ky**2) + 0.5).astype(int)
    expected = np.bincount(shell.ravel(), density.ravel())[1:]
    result = spectra(small, quantity="transfer").transfer
    np.testing.assert_allclose(result, expected, atol=1e-12 * np.abs(expected).max())
    omega = np.fft.ifft2(1j * kx * v - 1j * ky * u).real
    small["vorticity"] = ("y", "x"), omega, {"units": "1/s"}
    by_vorticity = spectra(small, "vorticity", quantity="transfer").transfer
    np.testing.assert_allclose(by_vorticity, expected, atol=1e-11 * np.abs(expected).max())


# --- modal mean, 1-D, 2-D -------------------------------------------------------------------


def literal(omega: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The diagnostics of learned turbulence, written as they are defined."""
    ny, nx = omega.shape
    ky, kx = (2 * np.pi * np.fft.fftfreq(n, d=1) for n in (ny, nx))
    ky, kx = np.meshgrid(ky, kx, indexing="ij")
    magnitude = np.sqrt(kx**2 + ky**2)
    modes = np.fft.fft2(omega)
    psi = np.where(magnitude > 0, modes / np.where(magnitude > 0, magnitude, 1) ** 2, 0)
    energy = 0.5 * (np.abs(ky * psi) ** 2 + np.abs(kx * psi) ** 2)
    enstrophy = 0.5 * np.abs(modes) ** 2
    edges = np.linspace(0, magnitude.max(), min(ny // 2, nx // 2))
    means = []
    for i in range(edges.size - 1):
        inside = (magnitude > edges[i]) & (magnitude <= edges[i + 1] * (1 + 1e-15))
        if i == 0:
            inside |= magnitude == 0
        means.append((energy[inside].mean(), enstrophy[inside].mean()))
    return (edges[:-1] + edges[1:]) / 2, *np.array(means).T


@pytest.mark.parametrize("shape", [(32, 32), (24, 40), (27, 33)])
def test_modal_mean_is_the_literal_formula(shape):
    rng = np.random.default_rng(4)
    axes = grid(y=shape[0], x=shape[1])
    omega = rng.normal(size=shape) + 0.3
    ds = xr.Dataset({"vorticity": (("y", "x"), omega, {"units": "1/s"})}, axes)
    centres, energy, enstrophy = literal(omega)
    tke = spectra(ds, quantity="kinetic_energy", kind="modal_mean").kinetic_energy
    ens = spectra(ds, quantity="enstrophy", kind="modal_mean").enstrophy
    np.testing.assert_allclose(tke.wavenumber, centres, rtol=1e-11)
    np.testing.assert_allclose(tke, energy, rtol=1e-11)
    np.testing.assert_allclose(ens, enstrophy, rtol=1e-11)
    assert ens.attrs["units"] == "(1/s)^2"
    assert ens.wavenumber.attrs["units"] == "1"
    chunked = spectra(ds.chunk(y=5, x=7), quantity="enstrophy", kind="modal_mean", memory=8192)
    np.testing.assert_allclose(chunked.enstrophy, enstrophy, rtol=1e-11)


def test_one_axis_averages_over_the_others():
    ds = solenoidal(n=10)
    result = spectra(ds, "velocity_x", dims="y", kind="1d").velocity_x
    lines = spectra(ds, "velocity_x", dims="y").velocity_x
    np.testing.assert_allclose(result, lines.mean(("z", "x")), rtol=1e-13)
    np.testing.assert_allclose(integral(result), ds.velocity_x.var("y").mean(), rtol=1e-12)
    assert result.dims == ("wavenumber",)
    assert "1d" in result.attrs["long_name"]


@pytest.mark.parametrize("sizes", [(8, 8), (7, 8), (8, 7), (5, 9)])
def test_two_axes_give_the_plane(sizes):
    axes = grid(y=sizes[0], x=sizes[1])
    field = np.random.default_rng(0).normal(size=(3, *sizes))
    ds = xr.Dataset({"f": (("time", "y", "x"), field, {"units": "K"})}, axes)
    result = spectra(ds, kind="2d").f
    assert result.dims == ("time", "wavenumber_y", "wavenumber_x")
    expected = np.abs(np.fft.fftshift(np.fft.fft2(field), axes=(1, 2)) / np.prod(sizes)) ** 2
    expected[:, sizes[0] // 2, sizes[1] // 2] = 0
    np.testing.assert_allclose(result, expected, atol=1e-14)
    np.testing.assert_allclose(result.sum(result.dims[1:]), field.var((1, 2)), rtol=1e-12)
    assert float(result.wavenumber_x[sizes[1] // 2]) == 0.0
    assert result.attrs["units"] == "K^2 m^2"
    falling = spectra(ds.isel(x=slice(None, None, -1)), kind="2d").f
    np.testing.assert_allclose(falling, result, atol=1e-14)


# --- windows and trends ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "window", ["hann", "hamming", "blackman", "tukey", ("tukey", 0.2), "boxcar", {"x": "hann"}]
)
def test_windows_keep_the_variance_of_noise(window):
    x = xr.Variable("x", np.arange(200) * 0.1, {"units": "m"})
    noise = np.random.default_rng(5).normal(size=(500, 200)) + 100
    field = xr.DataArray(noise, {"x": x}, ("time", "x"))
    result = spectra(field, window=window)
    np.testing.assert_allclose(integral(result).mean(), 1.0, rtol=0.03)


def test_linear_detrending_takes_a_plane_out_of_open_axes_only():
    axes = grid(y=12, x=20)
    axes["x"] = xr.Variable("x", np.linspace(0, 3, 20), {"units": "m"})
    wave = np.sin(axes["y"].values)[:, None] * np.ones(20)
    field = xr.DataArray(wave + 50 * axes["x"].values + 7, axes, ("y", "x"))
    bent = spectra(field, window={"x": "boxcar"}, convention="sum")
    flat = spectra(field, window={"x": "boxcar"}, detrend="linear", convention="sum")
    np.testing.assert_allclose(flat.sum(), wave.var(), rtol=1e-10)
    assert float(bent.sum()) > 100
    with pytest.raises(SchemaError, match="open axes"):
        spectra(field, dims="y", detrend="linear")


# --- chunks, laziness, what is not finite ---------------------------------------------------


@pytest.mark.parametrize(
    "quantity",
    ["energy", "enstrophy", "kinetic_helicity", "kinetic_energy", "transfer"],
)
def test_quantities_are_lazy_and_the_same_in_any_chunks(quantity):
    ds = solenoidal(9)
    expected = spectra(ds, quantity=quantity)
    with dask.config.set(scheduler=refuse):
        result = spectra(ds.chunk(z=4, y=9, x=5), quantity=quantity)
    assert all(v.chunks is not None for v in result.data_vars.values())
    xr.testing.assert_allclose(result.compute(), expected, rtol=1e-12, atol=1e-13)
    assert {n: v.attrs for n, v in result.items()} == {n: v.attrs for n, v in expected.items()}


def test_values_that_are_not_finite_can_be_an_error():
    ds = solenoidal(8, dims="yx").chunk(x=4)
    ds["velocity_x"] = ds.velocity_x.where(ds.x < 5)
    lazy = spectra(ds, quantity="energy", nan="raise")
    with pytest.raises(SchemaError, match="'velocity_x' holds values that are not finite"):
        lazy.compute()
    for quantity in ("energy", "enstrophy", "transfer", "kinetic_energy"):
        result = spectra(ds, quantity=quantity).compute()
        assert all(v.isnull().all() for v in result.data_vars.values())
    assert spectra(ds, kind="2d").velocity_x.isnull().all()


# --- real data ------------------------------------------------------------------------------


def test_enstrophy_of_real_turbulence_is_k_squared_times_its_energy(simulation_data):
    name = simulation_data / "py2d" / "py2d_turbulence_2d.nc"
    with xr.open_dataset(name, engine="netcdf4", chunks={}) as ds:
        for d in "yx":
            ds[d].attrs.update(period=2 * np.pi, units="1")
        ds = ds.isel(time=slice(0, 8))
        enstrophy = spectra(ds, "vorticity", quantity="enstrophy").enstrophy
        energy = spectra(ds, "vorticity", quantity="kinetic_energy").kinetic_energy
        variance = ds.vorticity.astype("f8").var(("y", "x"))
        np.testing.assert_allclose(2 * integral(enstrophy), variance, rtol=1e-6)
        ratio = np.sqrt(enstrophy / energy)
        # all modes of shell n have n - 1/2 <= |k| < n + 1/2
        n = enstrophy.wavenumber
        assert bool((abs(ratio - n) <= 0.5).all())
        # forced at |k| = 4: the energy is at large scales, the spectrum falls steeply beyond
        mean = energy.mean("time").compute()
        assert int(mean.argmax("wavenumber")) < 8
        assert float(mean[60] / mean[10]) < 1e-3
