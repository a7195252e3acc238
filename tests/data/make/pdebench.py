"""Files in the layouts of PDEBench, with h5py and NumPy alone.

    python tests/data/make/pdebench.py tests/data/pdebench [BURGERS_1D]

``burgers_1d.hdf5`` is cut from BURGERS_1D, a file with the output of exponax in the 1-D layout:
its first samples and every second step. The others hold made numbers, as no small real file
exists; their layouts are those of PDEBench's generators (``gen_diff_react.py``,
``gen_radial_dam_break.py``, ``gen_diff_sorp.py``, ``gen_ns_incomp.py``, ``Data_Merge.py``). Each
value tells its place, ``value(...)`` below, so that a test can compute what it must find.
"""

from __future__ import annotations

import sys
from pathlib import Path

import h5py
import numpy as np

CONFIG = """\
work_dir: /somewhere
name: {name}
sim:
{sim}
  seed: {seed}
plot:
  t_idx: 1.0
"""


def value(channel: int, *index: np.ndarray) -> np.ndarray:
    """1000000 channel + 100000 sample + 1000 step + 10 x + y + z / 10, as float32."""
    weights = (100000, 1000, 10, 1, 0.1)
    return sum(
        (w * i for w, i in zip(weights, index, strict=False)), np.float64(1000000 * channel)
    ).astype(np.float32)


def burgers_1d(source: str, target: Path) -> None:
    with h5py.File(source, "r") as old, h5py.File(target, "w") as new:
        tensor = old["tensor"][:2, ::10, ::4]
        new.create_dataset("tensor", data=tensor, compression="gzip", shuffle=True)
        times = old["t-coordinate"][::10]
        new["t-coordinate"] = np.append(times, times[-1] + np.float32(0.1))[: tensor.shape[1] + 1]
        new["x-coordinate"] = old["x-coordinate"][::4]
        new.attrs.update(old.attrs)


def cells(count: int, lower: float, upper: float) -> np.ndarray:
    step = (upper - lower) / count
    return np.asarray(lower + (np.arange(count) + 0.5) * step, np.float32)


def cfd_3d(target: Path) -> None:
    shape = (2, 3, 4, 5, 6)
    index = np.indices(shape)
    with h5py.File(target, "w") as new:
        for channel, name in enumerate(("density", "pressure", "Vx", "Vy", "Vz")):
            new[name] = value(channel, *index)
        for name, count in zip("xyz", shape[2:], strict=True):
            new[f"{name}-coordinate"] = cells(count, 0, 1)
        new["t-coordinate"] = np.asarray([0, 0.05, 0.15, 0.2], np.float32)
        new.attrs.update(eta=1e-8, zeta=1e-8, M=1.0)


def diffusion_reaction_2d(target: Path) -> None:
    """(time, y, x, channel): the generator reshapes to (time, Ny, Nx)."""
    with h5py.File(target, "w") as new:
        for seed in range(2):
            step, y, x = np.indices((3, 8, 8))
            data = np.stack([value(c, np.full_like(x, seed), step, x, y) for c in (0, 1)], -1)
            new.create_dataset(f"{seed:04d}/data", data=data, compression="lzf")
            for name, values in (("x", cells(8, -1, 1)), ("y", cells(8, -1, 1))):
                new[f"{seed:04d}/grid/{name}"] = values
            new[f"{seed:04d}/grid/t"] = np.linspace(0, 5, 3, dtype=np.float32)
            sim = "  Du: 0.001\n  Dv: 0.005\n  k: 0.005\n  t: 5\n  xdim: 8\n  ydim: 8"
            config = CONFIG.format(name="2d_diff-react", sim=sim, seed=seed)
            new[f"{seed:04d}"].attrs["config"] = config


def shallow_water_2d(target: Path) -> None:
    """(time, x, y, 1): PyClaw's arrays are indexed [x, y]."""
    with h5py.File(target, "w") as new:
        for seed, radius in ((0, 0.31), (7, 0.62)):
            step, x, y = np.indices((3, 6, 4))
            data = value(0, np.full_like(x, seed), step, x, y)[..., None]
            new[f"{seed:04d}/data"] = data
            new[f"{seed:04d}/grid/x"] = cells(6, -2.5, 2.5)
            new[f"{seed:04d}/grid/y"] = cells(4, -2.5, 2.5)
            new[f"{seed:04d}/grid/t"] = np.linspace(0, 1, 3, dtype=np.float32)
            sim = f"  T_end: 1.0\n  gravity: 1.0\n  dam_radius: {radius}"
            config = CONFIG.format(name="2d_rdb", sim=sim, seed=seed)
            new[f"{seed:04d}"].attrs["config"] = config


def diffusion_sorption_1d(target: Path) -> None:
    with h5py.File(target, "w") as new:
        for seed in range(2):
            step, x = np.indices((5, 16))
            new[f"{seed:04d}/data"] = value(0, np.full_like(x, seed), step, x)[..., None]
            new[f"{seed:04d}/grid/x"] = cells(16, 0, 1)
            new[f"{seed:04d}/grid/t"] = np.linspace(0, 500, 5, dtype=np.float32)


def darcy_2d(target: Path) -> None:
    with h5py.File(target, "w") as new:
        sample, x, y = np.indices((3, 8, 8))
        new["nu"] = value(1, sample, np.zeros_like(x), x, y)
        new["tensor"] = value(0, sample, np.zeros_like(x), x, y)[:, None]
        new["x-coordinate"], new["y-coordinate"] = cells(8, 0, 1), cells(8, 0, 1)
        new.attrs["beta"] = 0.1


def incompressible_2d(target: Path) -> None:
    shape = (2, 3, 6, 4)
    index = np.indices(shape)
    still = [index[i][:, 0] for i in (0, 2, 3)]
    still.insert(1, np.zeros_like(still[0]))
    with h5py.File(target, "w") as new:
        for name, channels in (("velocity", (0, 1)), ("particles", (2,))):
            data = np.stack([value(c, *index) for c in channels], -1)
            chunks = (1, 1, *data.shape[2:])
            new.create_dataset(name, data=data, chunks=chunks, compression="lzf", shuffle=True)
        new["force"] = np.stack([value(c, *still) for c in (3, 4)], -1)
        new["t"] = np.tile(np.asarray([0, 0.005, 0.01], np.float32), (2, 1))
        new.attrs["config"] = "sim_name: ns_sim_2d\ndomain_size:\n- 1\n- 1\nNU: 0.01\nseed: 1\n"
        new.attrs["latestIndex"] = 2


def main(folder: str, burgers: str = "") -> None:
    made = (
        cfd_3d, darcy_2d, diffusion_reaction_2d, diffusion_sorption_1d, incompressible_2d,
        shallow_water_2d,
    )  # fmt: skip
    for make in made:
        make(Path(folder) / f"{make.__name__}.hdf5")
    if burgers:
        burgers_1d(burgers, Path(folder) / "burgers_1d.hdf5")


if __name__ == "__main__":
    main(*sys.argv[1:])
