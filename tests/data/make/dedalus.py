"""Cut the two small sets in tests/data/dedalus from real output of a Dedalus handler.

    python tests/data/make/dedalus.py FOLDER_WITH_snapshots_s1.h5 tests/data/dedalus/snapshots

Source: Dedalus 3.0.5, 2-D Rayleigh-Benard convection, Ra = 2e6, Pr = 1, box 4 x 1, 256 x 64 points
(Fourier x Chebyshev), RK222, seed 42. Kept are the last two writes of set 1 and the first two of
set 2, the tasks buoyancy and velocity, every 32nd point in x, all points in z; values, times,
attributes, labels and dimension scales as stored. Only h5py and numpy are used.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import h5py
import numpy as np

TASKS = ("buoyancy", "velocity")
STRIDE = 32
WRITES = {1: slice(11, 13), 2: slice(0, 2)}


def cut(source: h5py.File, target: h5py.File, writes: slice) -> None:
    """Copy some writes of some tasks, and the scales that they use."""
    target.attrs.update(source.attrs)
    target.attrs["writes"] = writes.stop - writes.start
    scales, tasks = target.create_group("scales"), target.create_group("tasks")
    moments = [s.name for s in source["tasks"][TASKS[0]].dims[0].values()]
    for path in [*moments, "/scales/constant"]:
        values = source[path][()] if path.endswith("constant") else source[path][writes]
        whole = path.endswith("constant")
        scale = scales.create_dataset(
            path.rsplit("/", 1)[1], data=values, maxshape=values.shape if whole else (13,),
            chunks=None if whole else (13,),
        )  # fmt: skip
        scale.make_scale(path.rsplit("/", 1)[1])
    for name in TASKS:
        old = source["tasks"][name]
        steps = [slice(None)] * old.ndim
        steps[-2] = slice(None, None, STRIDE)
        values = old[(writes, *steps[1:])]
        ones = (1,) * (old.ndim - 2)
        new = tasks.create_dataset(
            name, data=values, maxshape=(13, *values.shape[1:]), chunks=(*ones, 8, 32)
        )
        for key in ("constant", "grid_space", "scales"):
            new.attrs[key] = old.attrs[key]
        new.dims[0].label = "t"
        for path in moments:
            new.dims[0].attach_scale(target[path])
        for axis in (old.ndim - 2, old.ndim - 1):
            label = old.dims[axis].label
            positions = np.ascontiguousarray(old.dims[axis][0][steps[axis]])
            path = f"{label}_hash_{hashlib.sha1(positions).hexdigest()}"
            if path not in scales:
                scales.create_dataset(path, data=positions).make_scale(label)
            new.dims[axis].label = label
            new.dims[axis].attach_scale(scales[path])


def main(source: Path, target: Path) -> None:
    """Write both sets."""
    target.mkdir(parents=True, exist_ok=True)
    for number, writes in WRITES.items():
        name = f"snapshots_s{number}.h5"
        with (
            h5py.File(source / name, "r") as old,
            h5py.File(target / name, "w", track_order=False) as new,
        ):
            cut(old, new, writes)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
