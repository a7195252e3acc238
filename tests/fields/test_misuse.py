"""The table of misuse, and the policies for what is allowed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from xphys.fields import derive, invariants

_spec = importlib.util.spec_from_file_location("fields_misuse", Path(__file__).parent / "misuse.py")
assert _spec is not None
assert _spec.loader is not None
_table = sys.modules["fields_misuse"] = importlib.util.module_from_spec(_spec)  # for dataclasses
_spec.loader.exec_module(_table)
MISUSES, box, mhd = _table.MISUSES, _table.box, _table.mhd


@pytest.mark.parametrize("case", MISUSES, ids=lambda case: case.name)
def test_misuse_is_refused_in_one_line(case):
    broken = case.breaks(case.made())
    with pytest.raises(case.error, match=case.words) as caught:
        case.call(broken)
    text = str(caught.value)
    assert "\n" not in text
    assert 20 < len(text) < 700


def test_the_table_is_long_and_its_names_are_unique():
    assert len(MISUSES) >= 60
    assert len({case.name for case in MISUSES}) == len(MISUSES)


def test_sound_data_pass():
    for ds in (box(), mhd()):
        assert np.isfinite(derive(ds, "vorticity").vorticity_z).all()
        assert float(invariants(ds).mass) == pytest.approx(2.0)


def test_a_sliced_periodic_axis_is_open():
    ds = box(n=32)
    part = derive(ds.isel(x=slice(4, 20)), "gradient_velocity_x")
    whole = derive(ds, "gradient_velocity_x", method="finite")
    assert part.gradient_velocity_x_x.attrs["method"].endswith("x: finite differences of order 2")
    inner = {"x": slice(1, -1)}
    np.testing.assert_allclose(
        part.gradient_velocity_x_x.isel(inner),
        whole.gradient_velocity_x_x.isel(x=slice(5, 19)),
        atol=1e-12,
    )


def test_stretched_and_sheared_axes_with_a_period_are_open():
    ds = box()
    stretched = ds.assign_coords(x=("x", ds.x.values**1.1, ds.x.attrs))
    sheared = ds.assign_coords(x=("x", ds.x.values, {**ds.x.attrs, "boundary": "shear_periodic"}))
    for broken in (stretched, sheared):
        method = derive(broken, "vorticity_z").vorticity_z.attrs["method"]
        assert method == "y: spectral, x: finite differences of order 2"


def test_one_cell_has_a_width_if_bounds_give_it():
    ds = box().isel(x=[0]).assign_coords(x_bounds=(("x", "nv"), [[0.0, 0.125]]))
    ds = ds.drop_vars([f"velocity_{c}" for c in "xyz"])  # their slopes along x are not known
    assert float(invariants(ds).mass) == pytest.approx(0.25)


def test_integers_are_computed_in_double():
    ds = box()
    ds["density"] = ds.density.astype(np.uint8)
    result = derive(ds, "gradient_density", "kinetic_energy")
    assert result.gradient_density_x.dtype == np.float64
    assert not result.gradient_density_x.any()


def test_masked_and_infinite_values_spread_and_are_never_skipped():
    ds = box()
    ds["density"] = ds.density.where(ds.x > 0.1)
    result = invariants(ds)
    assert np.isnan(result.mass)
    assert np.isnan(result.kinetic_energy)
    assert np.isfinite(result.enstrophy)
    ds["velocity_x"] = ds.velocity_x.copy(data=np.where(ds.velocity_x > 0.99, np.inf, 0.0))
    assert not np.isfinite(invariants(ds).enstrophy)


def test_a_quotient_by_zero_is_infinite_without_a_warning():
    ds = mhd()
    for c in "xyz":
        ds[f"magnetic_field_{c}"] = 0 * ds[f"magnetic_field_{c}"]
    assert np.isinf(derive(ds, "plasma_beta", sound_speed=1.0).plasma_beta).all()


def test_missing_units_are_dimensionless_only_among_dimensionless_ones():
    ds = box()
    del ds.velocity_x.attrs["units"]
    assert derive(ds, "vorticity").vorticity_z.attrs["units"] == "1"
    ds.density.attrs["units"] = "kg m-3"
    assert "units" not in derive(ds, "vorticity").vorticity_z.attrs


def test_a_component_of_a_slice_that_needs_no_slope_across_it():
    cube = box("zyx", 6)
    flat = derive(cube.isel(z=2), "vorticity_z").vorticity_z
    np.testing.assert_allclose(flat, derive(cube, "vorticity_z").vorticity_z.isel(z=2), atol=1e-13)
    xr.testing.assert_equal(
        derive(cube.isel(z=2, drop=True), "vorticity_z").vorticity_z, flat.drop_vars("z")
    )
