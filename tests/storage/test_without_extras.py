"""The core works where no optional package is installed, and says which one is missing."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
for name in "aiohttp s3fs gcsfs adlfs botocore obstore icechunk virtualizarr".split():
    sys.modules[name] = None
import numpy as np, xarray as xr, xphys
from xphys.errors import MissingDependencyError
folder = sys.argv[1]
ds = xr.Dataset({"u": ("x", np.arange(4.0))}, {"x": np.arange(4.0)})
for place in (folder + "/a.zarr", "memory://without/a.zarr"):
    ds.phys.to_zarr(place)
    assert xphys.open(place).u.load().equals(ds.u)
    assert set(xphys.verify(place).state.values.tolist()) == {"ok"}
for url, extra in (
    ("https://127.0.0.1:1/a.zarr", "cloud"),
    ("s3://bucket/a.zarr", "cloud"),
    ("icechunk://" + folder + "/repository", "icechunk"),
):
    try:
        xphys.open(url)
    except MissingDependencyError as error:
        assert f"xphys[{extra}]" in str(error), error
    else:
        raise AssertionError(url)
"""


def test_core_without_extras(tmp_path):
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
