"""Each row of the table of misuse: one clear line, or the policy; never a wrong number."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from xphys.spectra import spectra

_SPEC = importlib.util.spec_from_file_location("misuse", Path(__file__).parent / "misuse.py")
table = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(table)


def test_the_table_is_long_and_every_row_is_named_once():
    names = [row[0] for row in table.MISUSE]
    assert len(names) == len(set(names))
    assert len(names) >= 100


@pytest.mark.parametrize("row", table.MISUSE, ids=lambda row: row[0])
def test_misuse(row):
    _, change, arguments, outcome = row
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ds = change(table.good())
        if isinstance(outcome, tuple):
            kind, word = outcome
            with pytest.raises(kind) as caught:
                spectra(ds, **arguments).compute()
            message = str(caught.value)
            assert word in message
            assert "\n" not in message
            assert len(message) < 400
        else:
            check(outcome, ds, arguments)


def check(policy: str, ds: xr.Dataset, arguments: dict) -> None:
    result = spectra(ds, **arguments).compute()
    expected = spectra(table.good(), **arguments)
    if policy == "nan":
        assert result.density.isnull().all()
    elif policy == "no units":
        assert "units" not in result.density.attrs
        np.testing.assert_allclose(result.density, expected.density, rtol=1e-12)
    elif policy == "same":
        np.testing.assert_allclose(
            result.density.transpose("time", ...), expected.density, rtol=1e-12
        )
    elif policy == "ints":
        total = (result.density * result.wavenumber[0]).sum("wavenumber")
        np.testing.assert_allclose(total, ds.density.astype("f8").var(("y", "x")), rtol=1e-12)
    elif policy == "empty":
        assert result.density.shape == (0, expected.sizes["wavenumber"])
    else:
        assert policy == "broadcast"
        whole = ds.assign(
            velocity_x=ds.velocity_x.broadcast_like(ds.velocity_y).transpose("time", "y", "x")
        )
        xr.testing.assert_allclose(result, spectra(whole, **arguments))
