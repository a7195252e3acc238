"""Derived fields and invariants against what other codes wrote."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import scipy.io
import xarray as xr

import xphys
from xphys.fields import derive, invariants


def double(ds: xr.Dataset) -> xr.Dataset:
    return ds.astype(np.float64)


def relative(error, reference) -> float:
    return float(np.abs(error).max() / np.abs(reference).max())


def drift(values: xr.DataArray) -> float:
    return float((values.max() - values.min()) / np.abs(values).max())


def test_vorticity_of_the_flow_of_a_stored_vorticity(simulation_data):
    ds = xphys.open(simulation_data / "py2d" / "py2d_turbulence_2d.nc").isel(time=[0, -1])
    flow = derive(double(ds), "velocity", "streamfunction")
    back = derive(flow, "vorticity", "divergence")
    assert relative(back.vorticity - ds.vorticity, ds.vorticity) < 1e-8  # float32 mean and Nyquist
    assert float(np.abs(back.divergence_velocity).max()) < 1e-11
    single = derive(derive(ds, "velocity"), "vorticity").vorticity
    assert relative(single - ds.vorticity, ds.vorticity) < 2e-6


def test_vorticity_of_the_producers_own_files(simulation_data):
    for number in (1, 26):
        stored = scipy.io.loadmat(simulation_data / "py2d" / f"py2d_snapshot_{number}.mat")
        omega = stored["Omega"].T  # axis 0 of the file is x
        points = np.arange(256) * 2 * np.pi / 256
        about = {"period": 2 * np.pi, "boundary": "periodic"}
        ds = xr.Dataset({"vorticity": (("y", "x"), omega)})
        ds = ds.assign_coords(y=("y", points, about), x=("x", points, about))
        flow = derive(ds, "velocity")
        back = derive(flow, "vorticity").vorticity  # dV/dx - dU/dy
        assert relative(back - omega, omega) < 1e-12


def rayleigh_benard(folder) -> tuple[xr.Dataset, np.ndarray]:
    """Velocities of the solver's own file, and its vorticity."""
    name = sorted((folder / "dedalus" / "snapshots").glob("*_s1.h5"))[0]
    with h5py.File(name) as file:
        scales = {key.split("_hash")[0]: np.asarray(v) for key, v in file["scales"].items()}
        tasks = {key: np.asarray(v) for key, v in file["tasks"].items()}
    x, z = scales["x"], scales["z"]
    flow = tasks["velocity"].transpose(0, 1, 3, 2)  # (t, component, z, x)
    ds = xr.Dataset(
        {
            f"velocity_{c}": (
                ("time", "z", "x"),
                flow[:, i],
                {"vector": "velocity", "component": c},
            )
            for i, c in enumerate("xz")
        },
        {
            "z": ("z", z, {"spacing": "chebyshev", "boundary": "wall"}),
            "x": ("x", x, {"period": 4.0, "boundary": "periodic"}),
        },
    )
    return ds, tasks["vorticity"].transpose(0, 2, 1)  # dw/dx - du/dz


def test_vorticity_of_rayleigh_benard_is_the_solvers_own(simulation_data):
    ds, stored = rayleigh_benard(simulation_data)
    result = derive(ds, "vorticity", "divergence", "vorticity_y")
    assert "Chebyshev" in result.vorticity.attrs["method"]
    assert relative(result.vorticity - stored, stored) < 1e-9
    np.testing.assert_array_equal(result.vorticity_y, -result.vorticity)  # right-handed
    coarse = derive(ds, "vorticity", method={"z": "finite"}, order=2).vorticity
    fine = derive(ds, "vorticity", method={"z": "finite"}, order=6).vorticity
    assert relative(fine - stored, stored) < relative(coarse - stored, stored) < 0.1
    size = np.sqrt((derive(ds, "gradient_velocity_z").gradient_velocity_z_z ** 2).mean())
    rms = np.sqrt((result.divergence_velocity**2).mean())
    assert float(rms / size) < 2e-3  # the tau method leaves some


def test_current_density_of_the_shearing_box_is_half_of_minus_the_stored_one(simulation_data):
    ds = xphys.open(simulation_data / "athenak" / "mri_64").isel(time=slice(0, None, 8)).load()
    result = derive(ds, "current_density_y", method="finite")
    # The producer leaves out the 1/2 of its central difference and stores minus the y component.
    assert relative(2 * result.current_density_y + ds.jz, ds.jz) < 3e-7
    tangled = xphys.open(simulation_data / "athenak" / "orszag_tang_smr").load()
    inside = derive(tangled, "current_density_z", method="finite").current_density_z
    finest = (tangled.level == tangled.level.max()).values
    core = finest.copy()  # cells of the finest level whose neighbours are of it too
    for axis in (0, 1):
        core &= np.roll(finest, 1, axis) & np.roll(finest, -1, axis)
    gap = np.abs(2 * inside - tangled.jz).where(xr.DataArray(core, dims=("y", "x")))
    assert float(gap.max() / np.abs(tangled.jz).max()) < 3e-7


def test_magnetic_field_is_free_of_divergence_at_the_level_of_its_own_stencil(simulation_data):
    ds = double(xphys.open(simulation_data / "athenak" / "mri_64").isel(time=[0, 16, 39]).load())
    slope = derive(ds, "gradient_magnetic_field", "divergence_magnetic_field", method="finite")

    def across(field, dim):  # faces are averaged to centres: (1, 2, 1)/4 of the other axis
        return (field.roll({dim: 1}) + 2 * field + field.roll({dim: -1})) / 4

    own = across(slope.gradient_magnetic_field_xx, "z") + across(
        slope.gradient_magnetic_field_zz, "x"
    )
    size = float(np.abs(slope.gradient_magnetic_field_xx).max())
    assert float(np.abs(own).max()) < 1e-6 * size
    assert float(np.abs(slope.divergence_magnetic_field).max()) > 1e-2 * size  # central: not 0


def test_invariants_of_the_shearing_box_are_those_of_its_history(simulation_data):
    ds = xphys.open(simulation_data / "athenak" / "mri_64")
    result = invariants(ds, scalars=["magnetic_field_x", "magnetic_field_z"]).compute()
    assert drift(result.mass) < 1e-8
    for c in "xz":
        assert float(np.abs(result[f"mean_magnetic_field_{c}"]).max()) < 1e-8
    history = np.loadtxt(next((simulation_data / "athenak" / "mri_64").glob("*.hst")))
    rows = np.abs(history[:, [0]] - ds.time.values).argmin(axis=0)
    near = np.abs(history[rows, 0] - ds.time.values) < 1e-3
    assert near.sum() > 3
    kinetic, magnetic = history[rows, 6:9].sum(axis=1), history[rows, 9:12].sum(axis=1)
    np.testing.assert_allclose(result.mass[near], history[rows, 2][near], rtol=1e-6)
    np.testing.assert_allclose(result.kinetic_energy[near], kinetic[near], rtol=2e-2)
    # The history has the field on faces, the dumps its average at centres.
    np.testing.assert_allclose(result.magnetic_energy[near], magnetic[near], rtol=4e-2)
    assert (result.magnetic_energy[near] <= magnetic[near]).all()


def test_ideal_mhd_conserves_mass_momentum_and_energy(simulation_data):
    for run in ("orszag_tang_smr", "linear_wave_3d_smr"):
        result = invariants(xphys.open(simulation_data / "athenak" / run)).compute()
        assert drift(result.mass) < 1e-8, run
        assert drift(result.total_energy) < 1e-8, run
        scale = np.sqrt(result.mass * result.kinetic_energy)
        for c in "xyz":
            change = result[f"momentum_{c}"] - result[f"momentum_{c}"][0]
            assert float(np.abs(change / scale).max()) < 1e-8, run
    assert "kinetic_energy, magnetic_energy, internal_energy" in result.total_energy.comment


def test_decaying_flow_loses_energy_at_the_rate_of_its_enstrophy(simulation_data):
    ds = xphys.open(simulation_data / "exponax" / "decaying_navier_stokes_3d.nc")
    result = invariants(ds).compute()
    energy = result.kinetic_energy
    assert (np.diff(energy) < 0).all()
    np.testing.assert_allclose(energy[0] / result.volume, 0.5, rtol=1e-6)
    scale = np.sqrt(2 * result.volume * energy)
    for c in "xyz":
        assert float(np.abs(result[f"momentum_{c}"] / scale).max()) < 1e-8
    # dE/dt = -2 nu Z for a flow free of divergence; the trapezoidal rule is off by a per cent
    loss = 2 * ds.attrs["nu"] * result.enstrophy
    middle = 0.25 * (loss.values[1:] + loss.values[:-1]) / 2
    np.testing.assert_allclose(-np.diff(energy), middle, rtol=2e-2)
    assert float(result.max_abs_divergence_velocity.max()) < 1e-4


def test_vorticity_runs_have_energy_and_enstrophy(simulation_data):
    ds = xphys.open(simulation_data / "py2d" / "py2d_turbulence_2d.nc")
    result = invariants(ds, scalars=True).compute()
    np.testing.assert_allclose(
        result.enstrophy, result.mean_square_vorticity / 2 * result.volume, rtol=1e-12
    )
    assert float(np.abs(result.mean_vorticity).max()) < 1e-8
    assert float(result.kinetic_energy.min()) > 0
    psi = derive(double(ds), "streamfunction").streamfunction
    other = (psi * ds.vorticity).sum(["y", "x"]) / 2 * (2 * np.pi / 256) ** 2
    np.testing.assert_allclose(result.kinetic_energy, other, rtol=1e-6)


def test_waves_fronts_and_reactions_keep_what_their_equations_say(simulation_data):
    folder = simulation_data / "exponax"
    wave = xphys.open(folder / "acoustic_wave_2d.nc")
    wave = wave.merge(derive(wave, "gradient_h"))
    names = ["v", "gradient_h_x", "gradient_h_y"]
    moments = invariants(wave, scalars=names).compute()
    energy = sum(moments[f"mean_square_{n}"] for n in names) / 2
    assert drift(energy) < 1e-4  # 6e-9 with the slope of the Nyquist modes, which derive zeroes
    front = invariants(xphys.open(folder / "kuramoto_sivashinsky_1d.nc"), scalars=True).compute()
    assert float(np.abs(front.mean_phi).max()) < 1e-7 * float(front.mean_square_phi.max()) ** 0.5
    source = xphys.open(folder / "gray_scott_2d.nc")
    source["rate"] = source.A.drop_attrs(deep=False) * source.B.drop_attrs(deep=False) ** 2
    means = invariants(source, scalars=["A", "B", "rate"]).compute()
    feed, kill = source.attrs["f"], source.attrs["k"]
    change = means.mean_rate - (feed + kill) * means.mean_B
    total = 50 * (change.values[1:] + change.values[:-1]) / 2
    np.testing.assert_allclose(np.diff(means.mean_B), total, atol=2e-3)


def test_streamfunction_of_rayleigh_benard_gives_the_flow_back(simulation_data):
    ds, _ = rayleigh_benard(simulation_data)
    ds = ds.isel(time=[1, -1])
    slopes = derive(derive(ds, "streamfunction"), "gradient_streamfunction")
    for velocity, slope in (
        (ds.velocity_x, slopes.gradient_streamfunction_z),
        (ds.velocity_z, -slopes.gradient_streamfunction_x),
    ):
        error = np.sqrt(((slope - velocity) ** 2).mean(("z", "x")) / (velocity**2).mean(("z", "x")))
        assert float(error[0]) < 1e-8  # smooth
        assert float(error[1]) < 5e-5  # turbulent: as free of divergence as the solver's flow is


def test_convection_fills_its_box(simulation_data):
    ds = xphys.open(simulation_data / "dedalus" / "rayleigh_benard_2d.nc")
    result = invariants(ds, scalars=True).compute()
    assert float(result.volume) == pytest.approx(4.0, rel=1e-12)
    assert result.attrs["volume_weights"] == "z: Fejer quadrature, x: period"
    # no flow through the walls of an incompressible fluid
    scale = np.sqrt(8 * result.kinetic_energy)
    assert float(np.abs(result.momentum_z / scale).max()) < 1e-7
    assert float(np.abs(result.mean_buoyancy - 0.5).max()) < 0.01
