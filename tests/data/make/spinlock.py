"""Cut four operators out of a file that Spinlock wrote.

    python tests/data/make/spinlock.py operators_100_features_v1.h5 tests/data/spinlock/cut_v1.h5

Origin: Spinlock at commit 79db08d (MIT according to its README), 100 operators, 2 realizations,
grids 16 and 24, seed 5, features by its own extractor. Rows 48 to 51 are kept: two of each grid.
Nothing of xphys is used.
"""

from __future__ import annotations

import sys

import h5py
import numpy as np

ROWS = slice(48, 52)


def main(source: str, target: str) -> None:
    with h5py.File(source, "r") as old, h5py.File(target, "w", track_order=False) as new:
        groups: list[str] = []
        arrays: list[str] = []

        def note(name: str, held: object) -> None:
            (arrays if isinstance(held, h5py.Dataset) else groups).append(name)

        old.visititems(note)
        for name in sorted(groups):
            group = new.create_group(name)
            for key, value in old[name].attrs.items():
                group.attrs[key] = value
        for name in sorted(arrays):
            values, stored = old[name][ROWS], old[name]
            options = {}
            if stored.chunks and stored.dtype.kind == "f":
                options = {"chunks": (2, *stored.chunks[1:]), "compression": "gzip"}
            elif stored.chunks:
                options = {"chunks": (2,)}
            new.create_dataset(name, data=values, dtype=stored.dtype, track_times=False, **options)
        new["metadata"].attrs["num_parameter_sets"] = np.int64(4)


if __name__ == "__main__":
    main(*sys.argv[1:])
