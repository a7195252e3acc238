"""What any reader without knowledge of the writer sees: run as a script by ``xphys demo``.

Usage: python _plain_reader.py STORE REFERENCE prints the VRMSE of every variable as JSON.
"""

import json
import sys

import numpy as np
import xarray as xr


def main(store: str, reference: str) -> None:
    """Load both stores with plain xarray and print the error of each variable."""
    test, truth = xr.open_zarr(store), xr.open_zarr(reference)
    errors = {}
    for name in truth.data_vars:
        decoded = np.asarray(test[name].values, dtype=np.float64)
        original = np.asarray(truth[name].values, dtype=np.float64)
        deviation = np.sqrt(np.mean((original - original.mean()) ** 2))
        error = np.sqrt(np.mean((decoded - original) ** 2))
        errors[str(name)] = float(error / deviation) if error else 0.0
    sys.stdout.write(json.dumps(errors))


if __name__ == "__main__":
    main(*sys.argv[1:])
