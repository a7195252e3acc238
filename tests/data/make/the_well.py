"""Small files in the layout of The Well, written with h5py and NumPy alone.

    python tests/data/make/the_well.py [REAL_FILE]

Values of made fields are their own places (0, 1, 2, ... in the order of the file), so that every
transposition shows. Names, dims, boundary conditions and flags follow the public specification
and the published sets: tensors as in active_matter, masks and static fields as in
acoustic_scattering_maze, axes as in post_neutron_star_merger and planetswe, splits as everywhere.
REAL_FILE is rayleigh_benard_Rayleigh_2e5_Prandtl_1.0.hdf5 (three runs of Dedalus 3.0.5); two
steps of its first trajectory are cut out, with all attributes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import h5py
import numpy as np

HERE = Path(__file__).parent.parent / "the_well"
TEXT = h5py.string_dtype()


def counted(*shape):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


class Well:
    """One file, group by group."""

    def __init__(self, path, name, axes, n, *, grid="cartesian", parameters=()):
        (HERE / path).parent.mkdir(parents=True, exist_ok=True)
        self.file = h5py.File(HERE / path, "w", libver="latest")  # a third of the size
        self.axes, self.n = axes, n
        root = self.file.attrs
        root["dataset_name"], root["grid_type"] = name, grid
        root["n_spatial_dims"], root["n_trajectories"] = len(axes), n
        self.strings(self.file, "simulation_parameters", [key for key, _ in parameters])
        self.file.create_group("dimensions")
        self.strings(self.file["dimensions"], "spatial_dims", axes)
        for group in ("boundary_conditions", "scalars", "t0_fields", "t1_fields", "t2_fields"):
            self.file.create_group(group)
        for group in ("scalars", "t0_fields", "t1_fields", "t2_fields"):
            self.strings(self.file[group], "field_names", [])
        for key, value in parameters:
            root[key] = np.float64(value)
            self.scalar(key, np.float32(value))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    @staticmethod
    def strings(held, key, names):
        held.attrs.create(key, list(names), (len(names),), TEXT)

    def flags(self, dataset, sample, time, dims=None):
        dataset.attrs["sample_varying"], dataset.attrs["time_varying"] = sample, time
        if dims is not None:
            dataset.attrs["dim_varying"] = np.array(dims)

    def dimension(self, name, values, sample=False, time=False):
        stored = self.file["dimensions"].create_dataset(name, data=np.asarray(values, np.float32))
        self.flags(stored, sample, name == "time" or time)

    def _listed(self, group, name):
        names = [*self.file[group].attrs["field_names"], name]
        self.strings(self.file[group], "field_names", names)

    def scalar(self, name, values, sample=False, time=False):
        stored = self.file["scalars"].create_dataset(name, data=np.asarray(values, np.float32))
        self.flags(stored, sample, time)
        self._listed("scalars", name)

    def field(self, order, name, values, sample=True, time=True, dims=None, **attrs):
        group = f"t{order}_fields"
        stored = self.file[group].create_dataset(
            name, data=np.asarray(values, np.float32), compression="gzip", compression_opts=9
        )
        self.flags(stored, sample, time, [True] * len(self.axes) if dims is None else dims)
        for key, value in attrs.items():
            stored.attrs[key] = value
        self._listed(group, name)

    def boundary(self, name, kind, dims, mask, *, fields=(), values=None, sample=False):
        held = self.file["boundary_conditions"].create_group(name)
        held.attrs["bc_type"] = kind
        self.strings(held, "associated_dims", dims)
        self.strings(held, "associated_fields", fields)
        self.flags(held, sample, False)
        held.create_dataset("mask", data=np.asarray(mask, bool))
        if values is not None:
            held.create_dataset("values", data=np.asarray(values, np.float32))

    def ends(self, name, kind, dim, size, **options):
        mask = np.zeros(size, bool)
        mask[[0, -1]] = True
        self.boundary(name, kind, [dim], mask, **options)


def tensors():
    """2-D, periodic, t2, scalars that vary along trajectory, time, both or neither."""
    n, t, nx, ny = 2, 3, 6, 4
    with Well("tensors.hdf5", "active_matter", ["x", "y"], n, parameters=[("L", 10.0)]) as well:
        well.dimension("time", 0.25 * np.arange(t))
        well.dimension("x", (np.arange(nx) + 0.5) * 10 / nx)
        well.dimension("y", np.arange(ny) * 10 / ny)
        well.scalar("alpha", [-1.0, -3.0], sample=True)
        well.scalar("dose", [0.5, 1.5, 2.5], time=True)
        well.scalar("forcing", counted(n, t), sample=True, time=True)
        well.scalar("zeta", [17.0])  # a constant as an array of one
        well.field(0, "concentration", counted(n, t, nx, ny))
        well.field(1, "velocity", 1000 + counted(n, t, nx, ny, 2))
        well.field(2, "D", 2000 + counted(n, t, nx, ny, 2, 2), symmetric=True, antisymmetric=False)
        well.field(2, "E", 3000 + counted(t, nx, ny, 4), sample=False)  # components in one axis
        well.ends("x_periodic", "PERIODIC", "x", nx, values=[0, 0])
        well.ends("y_periodic", "PERIODIC", "y", ny)


def maze():
    """Static fields, times of each trajectory, masks inside the box, values on single fields."""
    n, t, nx, ny = 2, 3, 5, 4
    with Well("maze.hdf5", "acoustic_scattering_maze", ["x", "y"], n) as well:
        well.dimension("time", [[0, 1, 2], [0, 1.5, 3]], sample=True)
        well.dimension("x", np.linspace(-1, 1, nx))
        well.dimension("y", np.array([0.0, 0.1, 0.4, 1.0]))
        well.field(0, "pressure", counted(n, t, nx, ny))
        well.field(0, "density", 100 + counted(n, nx, ny), time=False)
        well.field(0, "speed_of_sound", 200 + counted(nx, ny), sample=False, time=False)
        well.field(0, "depth", 300 + counted(ny), False, False, dims=[False, True])
        well.field(0, "slope", 400 + counted(n, nx, 1), time=False, dims=[True, False])
        well.field(1, "gravity", [[[0, -1]]], sample=False, time=False, dims=[False, False])
        walls = np.arange(n * nx * ny).reshape(n, nx, ny) % 7 == 0
        well.boundary("xy_wall", "WALL", ["x", "y"], walls, sample=True)
        well.ends("x_open", "OPEN", "x", nx)
        well.boundary("y_wall", "WALL", ["y"], [True, False, False, False])
        well.boundary("y_open", "OPEN", ["y"], [False, False, False, True])
        fields = ["pressure"]
        well.ends("x_pressure", "WALL", "x", nx, fields=fields, values=[1.5, -2.5])


def spherical():
    """Axes of a sphere around a merger: the logarithm of the radius, and two angles."""
    n, t, shape = 1, 2, (5, 4, 6)
    axes = ["log_r", "theta", "phi"]
    with Well("spherical.hdf5", "post_neutron_star_merger", axes, n, grid="spherical") as well:
        well.dimension("time", [0.0, 0.5])
        well.dimension("log_r", np.log(np.geomspace(1, 100, 5)))
        well.dimension("theta", (np.arange(4) + 0.5) * np.pi / 4)
        well.dimension("phi", np.arange(6) * 2 * np.pi / 6)
        well.field(0, "density", counted(n, t, *shape))
        well.field(1, "velocity", 1000 + counted(n, t, *shape, 3))
        for axis, size, kind in zip(axes, shape, ("OPEN", "OPEN", "PERIODIC"), strict=True):
            well.ends(f"{axis}_{kind.lower()}", kind, axis, size)


def sphere():
    """Colatitude that falls, longitude; names of boundary conditions of no meaning."""
    n, t, shape = 1, 2, (4, 8)
    with Well("sphere.h5", "planetswe", ["theta", "phi"], n, grid="equiangular") as well:
        well.dimension("time", [0.0, 1.0])
        well.dimension("theta", np.linspace(np.pi - 0.3, 0.3, 4))
        well.dimension("phi", np.arange(8) * 2 * np.pi / 8)
        del well.file["dimensions/time"].attrs["time_varying"]  # as in older files
        well.field(0, "height", counted(n, t, *shape))
        well.field(1, "velocity", 100 + counted(n, t, *shape, 2))
        well.ends("x_periodic", "PERIODIC", "phi", 8)
        well.ends("y_open", "OPEN", "theta", 4)


def moving_grid():
    """Positions of each time, and positions of each trajectory."""
    n, t, nx, ny = 2, 3, 5, 4
    with Well("moving_grid.hdf5", "shock_tube", ["x", "y"], n) as well:
        well.dimension("time", np.arange(t))
        well.dimension("x", np.arange(nx) * (1 + np.arange(t))[:, None], time=True)
        well.dimension("y", np.arange(ny) / (1 + np.arange(n))[:, None], sample=True)
        well.field(0, "density", counted(n, t, nx, ny))
        well.ends("x_open", "OPEN", "x", nx)
        well.ends("y_wall", "WALL", "y", ny)


def box():
    """3-D, tensor, walls above and below, static vector, masks over all axes."""
    n, t, nx, ny, nz = 1, 2, 4, 3, 2
    with Well("box_3d.hdf5", "MHD_64", ["x", "y", "z"], n, parameters=[("Ma", 0.7)]) as well:
        well.dimension("time", [0.01, 0.02])
        for axis, size in zip("xyz", (nx, ny, nz), strict=True):
            well.dimension(axis, (np.arange(size) + 0.5) / size)
        well.field(0, "density", counted(n, t, nx, ny, nz))
        well.field(1, "magnetic_field", 100 + counted(n, t, nx, ny, nz, 3))
        well.field(1, "mean_flow", 500 + counted(nz, 3), False, False, dims=[False, False, True])
        well.field(2, "stress", 1000 + counted(n, t, nx, ny, nz, 3, 3))
        faces = np.zeros((nx, ny, nz), bool)
        faces[[0, -1]] = True
        faces[:, [0, -1]] = True
        well.boundary("xy_open", "OPEN", ["x", "y", "z"], faces)
        well.ends("z_wall", "WALL", "z", nz)


def several_files():
    """Three files of two splits with parameters, times and a static field of their own."""
    runs = [("train", "1e-1", 0.1, 2), ("train", "1e-2", 0.01, 1), ("valid", "1e-3", 0.001, 1)]
    for split, label, viscosity, n in runs:
        t, nx, ny, start = 3, 4, 3, 1000 * viscosity
        parameters = [("viscosity", viscosity), ("length", 2.0)]
        path = f"several/data/{split}/shear_flow_nu_{label}.hdf5"
        with Well(path, "shear_flow", ["x", "y"], n, parameters=parameters) as well:
            well.dimension("time", viscosity * np.arange(t))
            well.dimension("x", np.arange(nx) / 2)
            well.dimension("y", np.arange(ny) / 3)
            well.scalar("seed", 10 * viscosity + np.arange(n), sample=True)
            well.field(0, "tracer", start + counted(n, t, nx, ny))
            well.field(0, "bottom", start + counted(nx, ny), sample=False, time=False)
            well.field(1, "velocity", start + counted(n, t, nx, ny, 2))
            well.ends("x_periodic", "PERIODIC", "x", nx)
            well.ends("y_periodic", "PERIODIC", "y", ny)


def cut(source):
    """Two steps of one trajectory of a real file; whatever is not a field is copied whole."""
    steps = slice(10, 12)
    target = HERE / "rayleigh_benard_cut.hdf5"
    with h5py.File(source) as real, h5py.File(target, "w", libver="latest") as file:
        for key, value in real.attrs.items():
            file.attrs[key] = value
        file.attrs["n_trajectories"] = 1
        for name in real:
            real.copy(name, file) if not name.endswith("_fields") else file.create_group(name)
        stored = file["dimensions/time"]
        attrs = dict(stored.attrs)
        times = stored[steps]
        del file["dimensions/time"]
        file["dimensions"].create_dataset("time", data=times).attrs.update(attrs)
        for group in (name for name in real if name.endswith("_fields")):
            file[group].attrs.update(real[group].attrs)
            for name, field in real[group].items():
                made = file[group].create_dataset(
                    name,
                    data=field[:1, steps],
                    chunks=field.chunks,
                    compression="gzip",
                    compression_opts=9,
                    shuffle=True,
                )
                made.attrs.update(field.attrs)


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    for make in (tensors, maze, spherical, sphere, moving_grid, box, several_files):
        make()
    if len(sys.argv) > 1:
        cut(sys.argv[1])
