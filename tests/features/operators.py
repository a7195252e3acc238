"""64 literal operators in many ways different, and their trajectories."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr

COUNT, STEPS, CHANNELS, SIZE = 64, 18, 3, 16


def near(u):
    return sum(np.roll(u, s, a) for s in (-1, 1) for a in (-2, -1)) / 4


def operator(number: int) -> Callable[[np.ndarray, np.random.Generator], np.ndarray]:
    """A map of fields (channel, y, x): mixing, transport, smoothing, reaction, noise."""
    rng = np.random.default_rng(1000 + number)
    mix = np.eye(CHANNELS) + rng.normal(0, rng.choice([0.1, 0.5]), (CHANNELS, CHANNELS))
    mix *= rng.choice([0.8, 1.0, 1.1]) / np.abs(np.linalg.eigvals(mix)).max()
    shift = tuple(rng.integers(-2, 3, 2).tolist())
    smooth, noise = rng.uniform(0, 0.9), 10 ** rng.uniform(-3, -0.5)
    bias = rng.normal(0, 0.3, (CHANNELS, 1, 1))
    kind = number % 4

    def apply(u, rng):
        v = np.einsum("ij,jyx->iyx", mix, u)
        v = (1 - smooth) * v + smooth * near(np.roll(v, shift, (-2, -1)))
        if kind == 0:
            v = np.tanh(v + bias)
        elif kind == 1:
            v = v + 0.1 * bias * np.sin(3 * v)
        elif kind == 2:
            v = 2 * np.sin(v + bias)
        else:
            v = v / (1 + np.abs(v).mean()) + bias
        return v + noise * (rng.normal(size=v.shape) + rng.normal(0, 0.2, (CHANNELS, 1, 1)))

    return apply


def initial(rng: np.random.Generator) -> np.ndarray:
    k = np.hypot(*np.meshgrid(np.fft.fftfreq(SIZE), np.fft.fftfreq(SIZE), indexing="ij"))
    modes = np.fft.fft2(rng.normal(size=(CHANNELS, SIZE, SIZE))) / (0.05 + k) ** rng.uniform(0, 2)
    u = np.fft.ifft2(modes).real
    return u / u.std() * rng.uniform(0.2, 2) + rng.normal(0, 0.5, (CHANNELS, 1, 1))


def dataset(count: int = COUNT, realizations: int = 2) -> xr.Dataset:
    """Trajectories of the first operators on a plane of two lengths."""
    shape = (count, realizations, STEPS, CHANNELS, SIZE, SIZE)
    values = np.empty(shape)
    for n, m in np.ndindex(count, realizations):
        state = initial(np.random.default_rng((n, 1)))
        rng = np.random.default_rng((n, 2, m))
        apply = operator(n)
        for t in range(STEPS):
            values[n, m, t] = state
            state = apply(state, rng)
    coords = {"time": ("time", np.arange(STEPS) * 0.5, {"units": "s"})}
    for dim, length in (("y", 1.25), ("x", 1.0)):
        attrs = {"units": "m", "boundary": "periodic", "period": length}
        coords[dim] = (dim, (np.arange(SIZE) + 0.5) * length / SIZE, attrs)
    dims = ("operator", "realization", "time", "y", "x")
    names = ("velocity_x", "velocity_y", "density")
    fields = {name: (dims, values[:, :, :, c]) for c, name in enumerate(names)}
    return xr.Dataset(fields, coords).assign_coords(strength=("operator", np.arange(count) / count))
