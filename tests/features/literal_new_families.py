"""Physics, events in time, harmonics, dissipation: formulas one field or series at a time."""

from __future__ import annotations

import itertools
import math

import numpy as np
import xarray as xr


class Plane:
    """A field on (y, x) with its steps; open axes have no neighbours beyond the ends."""

    def __init__(self, u: np.ndarray, steps: tuple[float, float], periodic: tuple[bool, bool]):
        self.u, self.steps, self.periodic = u, steps, periodic
        self.sides = [n * d for n, d in zip(u.shape, steps, strict=True)]
        self.cell = math.prod(steps)

    def pairs(self, way: tuple[int, int]) -> list[tuple[float, float]]:
        """Values of u - m at all points and at those a displacement further."""
        z, found = self.u - self.u.mean(), []
        for at in np.ndindex(*z.shape):
            there = [a + w for a, w in zip(at, way, strict=True)]
            there = [p % n if wrap else p
                     for p, n, wrap in zip(there, z.shape, self.periodic, strict=True)]  # fmt: skip
            if all(0 <= p < n for p, n in zip(there, z.shape, strict=True)):
                found.append((z[at], z[tuple(there)]))
        return found

    def rho(self, way: tuple[int, int]) -> float:
        return np.mean([a * b for a, b in self.pairs(way)]) / self.u.var()

    def ways(self) -> list[tuple[int, int]]:
        """All displacements up to half of each axis; the half of a periodic one is there once."""
        ranges = [range(-((n - 1) // 2) if wrap else -(n // 2), n // 2 + 1)
                  for n, wrap in zip(self.u.shape, self.periodic, strict=True)]  # fmt: skip
        return [way for way in itertools.product(*ranges) if any(way)]

    def profile(self) -> tuple[np.ndarray, np.ndarray]:
        shells: dict[int, list] = {}
        for way in self.ways():
            r = math.hypot(*(w * d for w, d in zip(way, self.steps, strict=True)))
            if r <= min(self.sides) / 2 * (1 + 1e-9):
                shell = math.floor(r / max(self.steps) + 0.5 + 1e-9)
                shells.setdefault(shell, []).append((r, self.rho(way)))
        means = [np.mean(shells[number], axis=0) for number in sorted(shells)]
        return np.transpose(means)

    def modes(self) -> tuple[np.ndarray, np.ndarray]:
        """p and f of all modes but the mean, from sums over the points."""
        z = self.u - self.u.mean()
        windows = [
            np.ones(n) if wrap else 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(n) + 0.5) / n)
            for n, wrap in zip(z.shape, self.periodic, strict=True)
        ]
        taper = np.outer(*windows)
        z = z * taper / np.sqrt((taper**2).mean())
        waves = [np.exp(-2j * np.pi * np.outer(np.arange(n), np.arange(n)) / n) for n in z.shape]
        p = np.abs(waves[0] @ z @ waves[1].T) ** 2 / z.size
        f = np.hypot(*np.meshgrid(
            *[np.fft.fftfreq(n, d) for n, d in zip(z.shape, self.steps, strict=True)],
            indexing="ij",
        ))  # fmt: skip
        return p.ravel()[1:], f.ravel()[1:]

    def nyquist(self) -> float:
        return min(0.5 / d for d in self.steps)

    def strongest(self) -> float:
        p, f = self.modes()
        return f[p >= p.max() * (1 - 1e-9)].min()

    def gradient(self) -> np.ndarray:
        parts = []
        for axis, (step, wrap) in enumerate(zip(self.steps, self.periodic, strict=True)):
            if wrap:
                found = (np.roll(self.u, -1, axis) - np.roll(self.u, 1, axis)) / 2 / step
            else:
                found = np.gradient(self.u, step, axis=axis, edge_order=2)
            parts.append(found)
        return np.hypot(*parts)


def correlation_length(plane):
    r, c = plane.profile()
    kept = []
    for pair in list(zip(r, c, strict=True))[: max(3, len(r) // 4)]:
        if pair[1] < 0.1:
            break
        kept.append(pair)
    if len(kept) < 2:
        return math.nan
    x, y = np.transpose(kept)
    slope = np.polyfit(x, np.log(y), 1)[0]
    return -1 / slope if slope < 0 else math.nan


def coherence_length(plane):
    before = (0.0, 1.0)
    for r, c in zip(*plane.profile(), strict=True):
        if c < 1 / math.e:
            return before[0] + (before[1] - 1 / math.e) / (before[1] - c) * (r - before[0])
        before = (r, c)
    return math.nan


def along(plane, axis):
    found = []
    for lag in range(1, plane.u.shape[axis] // 2 + 1):
        if lag * plane.steps[axis] <= min(plane.sides) / 2 * (1 + 1e-9):
            found.append(abs(plane.rho((lag, 0) if axis == 0 else (0, lag))))
    return np.mean(found)


def shells(plane):
    """k and S, from the origin on."""
    p, f = plane.modes()
    number = np.floor(f * max(plane.sides) + 0.5 + 1e-9)
    k, s = [0.0], [0.0]
    for one in sorted(set(number)):
        k.append(2 * np.pi * f[number == one].mean())
        s.append(p[number == one].mean() * plane.cell)
    return np.array(k), np.array(s)


def width(plane):
    k, s = shells(plane)
    top, half = int(np.argmax(s)), s.max() / 2
    ends = []
    for direction in (-1, 1):
        at = top
        while 0 <= at < len(s) and s[at] >= half:
            at += direction
        if at == len(s):
            return math.nan
        inner = at - direction
        ends.append(k[at] + (half - s[at]) / (s[inner] - s[at]) * (k[inner] - k[at]))
    return ends[1] - ends[0]


def clusters(plane):
    u, (wrap_y, wrap_x) = plane.u, plane.periodic
    height, length = u.shape

    def mean(y, x):
        return np.mean([u[(y + i) % height, (x + j) % length]
                        for i in (-1, 0, 1) for j in (-1, 0, 1)])  # fmt: skip

    rows = range(height) if wrap_y else range(1, height - 1)
    columns = range(length) if wrap_x else range(1, length - 4)
    found = [(mean(y, x), mean(y, x + 3)) for y in rows for x in columns]
    return np.corrcoef(np.transpose(found))[0, 1]


def singular(plane):
    z = plane.u - plane.u.mean()
    gram = z @ z.T if z.shape[0] <= z.shape[1] else z.T @ z
    return np.sort(np.linalg.eigvalsh(gram))[::-1]


def flatness(plane):
    g = plane.gradient()
    return (((g - g.mean()) / g.std(ddof=1)) ** 4).mean() - 3


def harmonic(plane, multiple):
    p, f = plane.modes()
    base = plane.strongest()
    if multiple > 1 and multiple * base > plane.nyquist() * (1 + 1e-9):
        return math.nan
    return p[np.abs(f - multiple * base) <= 0.1 * multiple * base * (1 + 1e-8)].sum()


FIELD = {
    "correlation_length": correlation_length,
    "correlation_peak": lambda a: a.profile()[1].max(),
    "structure_factor_peak_k": lambda a: shells(a)[0][np.argmax(shells(a)[1])],
    "structure_factor_peak_value": lambda a: shells(a)[1].max(),
    "structure_factor_width": width,
    "structure_factor_integral": lambda a: sum(
        (s + t) / 2 * (l - k)
        for (k, l), (s, t) in zip(*map(itertools.pairwise, shells(a)), strict=True)
    ),
    "density_fluctuation": lambda a: a.u.var(ddof=1) / a.u.mean() ** 2,
    "compressibility_proxy": lambda a: a.u.var(ddof=1) / abs(a.u.mean()),
    "clustering_coefficient": clusters,
    "coherence_length": coherence_length,
    "correlation_anisotropy": lambda a: (along(a, 1) - along(a, 0)) / (along(a, 1) + along(a, 0)),
    "structure_factor_peak": lambda a: 1 / a.strongest(),
    "effective_rank": lambda a: singular(a).sum() / singular(a)[0],
    "explained_variance_90": lambda a: (
        1 + int(np.argmax(np.cumsum(singular(a)) >= 0.9 * singular(a).sum()))
    ),
    "gradient_saturation_ratio": lambda a: (a.gradient() < 0.05 * a.gradient().max()).mean(),
    "gradient_flatness": flatness,
    "harmonic_ratio_2f": lambda a: harmonic(a, 2) / harmonic(a, 1),
    "harmonic_ratio_3f": lambda a: harmonic(a, 3) / harmonic(a, 1),
    "total_harmonic_distortion": lambda a: math.sqrt(
        (harmonic(a, 2) + harmonic(a, 3)) / harmonic(a, 1)
    ),
    "fundamental_purity": lambda a: harmonic(a, 1) / a.modes()[0].sum(),
    "energy_trajectory": lambda a: math.sqrt((a.u**2).sum() * a.cell),
    "variance_trajectory": lambda a: a.u.var(ddof=1),
    "smoothness_trajectory": lambda a: a.u.std(ddof=1) / math.sqrt((a.gradient() ** 2).mean()),
}


def conditional(frame):
    """All I(a; b | c) from counts in plain loops."""
    levels = [np.minimum(((u - u.min()) / np.ptp(u) * 8).astype(int), 7).ravel() for u in frame]
    found = []
    for c in range(len(frame)):
        others = [i for i in range(len(frame)) if i != c]
        for a, b in itertools.combinations(others, 2):
            triples = list(zip(levels[a], levels[b], levels[c], strict=True))
            total = 0.0
            for x, y, z in set(triples):
                both = triples.count((x, y, z))
                xz = sum(t[0] == x and t[2] == z for t in triples)
                yz = sum(t[1] == y and t[2] == z for t in triples)
                given = sum(t[2] == z for t in triples)
                total += both / len(triples) * math.log(both * given / xz / yz)
            found.append(total)
    return found


def channels_alike(frame):
    return np.mean([abs(np.corrcoef(a.ravel(), b.ravel())[0, 1])
                    for a, b in itertools.combinations(frame, 2)])  # fmt: skip


JOINT = {
    "cross_channel_cmi_mean": lambda frame: np.mean(conditional(frame)),
    "cross_channel_cmi_max": lambda frame: max(conditional(frame)),
    "channel_correlation_trajectory": channels_alike,
}


def runs(s):
    far = [abs(v - s.mean()) > 2 * s.std(ddof=1) for v in s]
    return [len(list(group)) for flag, group in itertools.groupby(far) if flag]


def crossings(s):
    signs = [v > s.mean() for v in s]
    return sum(a != b for a, b in itertools.pairwise(signs))


def reached(s, times, factor):
    for value, time in zip(s, times, strict=True):
        ratio = abs(value) / abs(s[0])
        if ratio <= factor if factor < 1 else ratio >= factor:
            return time - times[0]
    return math.nan


def rolling(s, share, name):
    size = max(2, int(share / 100 * len(s) + 1e-9))
    windows = [s[i : i + size] for i in range(len(s) - size + 1)]
    own = {"mean": np.mean, "std": lambda w: np.std(w, ddof=1), "max": np.max, "min": np.min}
    values = [own[name.removesuffix("_variability")](w) for w in windows]
    return np.std(values, ddof=1) if name.endswith("variability") else np.mean(values)


def partial(s, lag):
    """Last weight of the equations of Yule and Walker, solved as they stand."""
    z = s - s.mean()
    r = [(z[: len(z) - k] * z[k:]).sum() / (z**2).sum() for k in range(lag + 1)]
    matrix = [[r[abs(i - j)] for j in range(lag)] for i in range(lag)]
    return np.linalg.solve(matrix, r[1:])[-1]


SERIES = {
    "num_spikes": lambda s, t: len(runs(s)),
    "num_bursts": lambda s, t: sum(run >= 3 for run in runs(s)),
    "num_zero_crossings": lambda s, t: crossings(s),
    "time_to_0.5x": lambda s, t: reached(s, t, 0.5),
    "time_to_2.0x": lambda s, t: reached(s, t, 2.0),
    **{f"rolling_w{w}_{n}": lambda s, t, w=w, n=n: rolling(s, w, n)
       for w in (5, 10, 20)
       for n in ("mean", "std", "max", "min", "mean_variability", "std_variability")},
    **{f"pacf_lag_{k}": lambda s, t, k=k: partial(s, k) for k in range(1, 11)},
}  # fmt: skip


def energies(plane):
    p, f = plane.modes()
    low = f <= max(plane.nyquist() / 4, f.min()) * (1 + 1e-9)
    return [p[low].sum(), p[f >= 0.75 * plane.nyquist() * (1 - 1e-9)].sum(), p.sum()]


def decay(planes, times):
    low, high, every = np.transpose([energies(plane) for plane in planes])
    rates = [-np.polyfit(times, np.log(e), 1)[0] for e in (low, high)]
    return {
        "dissipation_rate_lowfreq": rates[0],
        "dissipation_rate_highfreq": rates[1],
        "dissipation_selectivity": rates[1] / rates[0],
        "energy_cascade_direction": np.sign(np.polyfit(times, low / every, 1)[0]),
    }


GRIDS = {
    "periodic": ((12, 16), (1.0, 1.0), (True, True)),
    "sides": ((11, 14), (0.5, 0.8), (True, True)),
    "open x": ((12, 13), (0.25, 0.1), (True, False)),
    "open": ((9, 12), (1.0, 1.0), (False, False)),
}


def line(dim: str, n: int, step: float, periodic: bool) -> xr.Variable:
    about = {"boundary": "periodic", "period": n * step} if periodic else {}
    return xr.Variable(dim, (np.arange(n) + 0.5) * step, about)


def made(kind: str, channels: str = "abc", times: int = 25) -> tuple[xr.Dataset, list[list]]:
    """Smooth fields that change with time, and the planes of each channel and time."""
    shape, steps, periodic = GRIDS[kind]
    rng = np.random.default_rng(len(kind))
    f = np.hypot(*np.meshgrid(*[np.fft.fftfreq(n) for n in shape], indexing="ij"))
    noise = np.fft.fft2(rng.normal(size=(len(channels), times, *shape))) / (0.1 + f) ** 1.5
    u = np.fft.ifft2(noise).real * np.exp(-0.05 * np.arange(times))[:, None, None]
    u += rng.normal(0.5, 1, size=(len(channels), times, 1, 1)).cumsum(1)
    coords = {"time": np.arange(times) * 0.5}
    coords |= {d: line(d, *about) for d, *about in zip("yx", shape, steps, periodic, strict=True)}
    fields = {c: (("time", "y", "x"), u[i]) for i, c in enumerate(channels)}
    planes = [[Plane(frame, steps, periodic) for frame in one] for one in u]
    return xr.Dataset(fields, coords), planes
