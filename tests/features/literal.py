"""Each feature from its own formula, one plain periodic field at a time: slow and independent.

Nothing is shared between features, and nothing is taken from the package.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import scipy.ndimage
import scipy.stats

Field = np.ndarray
STEP: dict[str, Callable] = {}
JOINT: dict[str, Callable] = {}
TRAJECTORY: dict[str, Callable] = {}
PAIRS: dict[str, Callable] = {}


def gradient(u: Field, steps: tuple[float, float]) -> tuple[Field, Field]:
    """Along x and y."""
    dy, dx = steps
    gx = (np.roll(u, -1, 1) - np.roll(u, 1, 1)) / (2 * dx)
    gy = (np.roll(u, -1, 0) - np.roll(u, 1, 0)) / (2 * dy)
    return gx, gy


def slope_of(u, d):
    gx, gy = gradient(u, d)
    return np.hypot(gx, gy)


def laplacian(u, d):
    dy, dx = d
    return (np.roll(u, 1, 0) - 2 * u + np.roll(u, -1, 0)) / dy**2 + (
        np.roll(u, 1, 1) - 2 * u + np.roll(u, -1, 1)
    ) / dx**2


def ratio(tensor) -> float:
    low, high = np.linalg.eigvalsh(tensor)
    return (high - low) / (high + low)


def structure(u, d):
    gx, gy = gradient(u, d)
    return [[(gx * gx).mean(), (gx * gy).mean()], [(gx * gy).mean(), (gy * gy).mean()]]


def score(u):
    return (u - u.mean()) / u.std(ddof=1)


STEP |= {
    "spatial_mean": lambda u, d: sum(u.ravel().tolist()) / u.size,
    "spatial_variance": lambda u, d: np.var(u, ddof=1),
    "spatial_std": lambda u, d: np.std(u, ddof=1),
    "spatial_skewness": lambda u, d: (score(u) ** 3).mean(),
    "spatial_kurtosis": lambda u, d: (score(u) ** 4).mean() - 3,
    "spatial_min": lambda u, d: min(u.ravel().tolist()),
    "spatial_max": lambda u, d: max(u.ravel().tolist()),
    "spatial_range": lambda u, d: np.ptp(u),
    "spatial_iqr": lambda u, d: scipy.stats.iqr(u),
    "spatial_mad": lambda u, d: scipy.stats.median_abs_deviation(u.ravel()),
    "gradient_magnitude_mean": lambda u, d: slope_of(u, d).mean(),
    "gradient_magnitude_std": lambda u, d: slope_of(u, d).std(ddof=1),
    "gradient_magnitude_max": lambda u, d: slope_of(u, d).max(),
    "gradient_x_mean": lambda u, d: np.abs(gradient(u, d)[0]).mean(),
    "gradient_y_mean": lambda u, d: np.abs(gradient(u, d)[1]).mean(),
    "gradient_anisotropy": lambda u, d: ratio(structure(u, d)),
    "laplacian_mean": lambda u, d: np.abs(laplacian(u, d)).mean(),
    "laplacian_std": lambda u, d: laplacian(u, d).std(ddof=1),
    "laplacian_energy": lambda u, d: (laplacian(u, d) ** 2).mean(),
}


def plane(u, d):
    """Power, frequencies and q of all modes of the full plane but the mean."""
    dy, dx = d
    p = np.abs(np.fft.fft2(u - u.mean(), norm="ortho")) ** 2
    fy, fx = np.meshgrid(
        np.fft.fftfreq(u.shape[0], dy), np.fft.fftfreq(u.shape[1], dx), indexing="ij"
    )
    p, fx, fy = (a.ravel()[1:] for a in (p, fx, fy))
    q = np.hypot(fx, fy) * min(u.shape[0] * dy, u.shape[1] * dx)
    return p, fx, fy, q


def band(u, d, number):
    p, _, _, q = plane(u, d)
    edges = np.linspace(np.sqrt(q.min() / 2), np.sqrt(q.max()), 6) ** 2
    edges[:-1] *= 1 - 1e-9
    edges[-1] = np.inf
    return p[(q >= edges[number]) & (q < edges[number + 1])]


for _n, (_name, _f) in itertools.product(
    range(5), [("mean", np.mean), ("max", np.max), ("std", lambda p: np.std(p, ddof=1))]
):
    STEP[f"fft_power_scale_{_n}_{_name}"] = lambda u, d, n=_n, f=_f: f(band(u, d, n))


def dominant(u, d):
    p, fx, fy, q = plane(u, d)
    best = np.flatnonzero(p >= p.max() * (1 - 1e-9))
    at = min(best, key=lambda i: (round(q[i], 6), abs(fx[i]), abs(fy[i])))
    return abs(fx[at]), abs(fy[at]), p.max()


def centroid(u, d):
    p, fx, fy, _ = plane(u, d)
    return (p * abs(fx)).sum() / p.sum(), (p * abs(fy)).sum() / p.sum()


def bandwidth(u, d):
    p, fx, fy, _ = plane(u, d)
    cx, cy = centroid(u, d)
    return np.sqrt((p * ((abs(fx) - cx) ** 2 + (abs(fy) - cy) ** 2)).sum() / p.sum())


def limits(u, d):
    q = plane(u, d)[3]
    nyquist = 0.5 / max(d) * min(u.shape[0] * d[0], u.shape[1] * d[1])
    low = max(nyquist / 8, q.min())
    return low * (1 + 1e-9), max(nyquist / 4, 2 * q.min()) * (1 + 1e-9)


def shares(u, d):
    p, _, _, q = plane(u, d)
    low, middle = limits(u, d)
    parts = q <= low, (q > low) & (q <= middle), q > middle
    return [p[part].sum() / p.sum() for part in parts]


def flatness(u, d):
    p = plane(u, d)[0]
    return np.exp(np.log(p / p.mean() + 1e-10).mean())


def rolloff(u, d):
    p, fx, fy, _ = plane(u, d)
    f = np.hypot(fx, fy)
    for radius in np.unique(np.round(f, 9)):
        if p[f <= radius + 1e-8].sum() >= (0.85 - 1e-9) * p.sum():
            return radius
    raise AssertionError


def direction(u, d):
    p, fx, fy, _ = plane(u, d)
    turned = np.exp(2j * np.arctan2(fy, fx))
    no_sign = np.isclose(abs(fx), 0.5 / d[1]) | np.isclose(abs(fy), 0.5 / d[0])
    return abs((p * np.where(no_sign, turned.real, turned)).sum()) / p.sum()


STEP |= {
    "dominant_freq_x": lambda u, d: dominant(u, d)[0],
    "dominant_freq_y": lambda u, d: dominant(u, d)[1],
    "dominant_freq_magnitude": lambda u, d: dominant(u, d)[2],
    "spectral_centroid_x": lambda u, d: centroid(u, d)[0],
    "spectral_centroid_y": lambda u, d: centroid(u, d)[1],
    "spectral_bandwidth": bandwidth,
    "low_freq_ratio": lambda u, d: shares(u, d)[0],
    "mid_freq_ratio": lambda u, d: shares(u, d)[1],
    "high_freq_ratio": lambda u, d: shares(u, d)[2],
    "spectral_flatness": flatness,
    "spectral_rolloff": rolloff,
    "spectral_anisotropy": direction,
}


def values(frame):
    return np.linalg.eigvalsh(np.corrcoef(frame.reshape(len(frame), -1)))[::-1]


def correlations(frame):
    matrix = np.corrcoef(frame.reshape(len(frame), -1))
    return [matrix[i, j] for i, j in itertools.combinations(range(len(frame)), 2)]


JOINT |= {
    "cross_channel_eigen_top_1": lambda f: values(f)[0],
    "cross_channel_eigen_top_2": lambda f: values(f)[1],
    "cross_channel_eigen_top_3": lambda f: values(f)[2],
    "cross_channel_eigen_trace": lambda f: sum(u.var(ddof=1) for u in f),
    "cross_channel_condition_number": lambda f: values(f)[0] / values(f)[-1],
    "cross_channel_participation_ratio": lambda f: values(f).sum() ** 2 / (values(f) ** 2).sum(),
    "cross_channel_corr_mean": lambda f: np.mean(correlations(f)),
    "cross_channel_corr_max": lambda f: max(correlations(f)),
    "cross_channel_corr_min": lambda f: min(correlations(f)),
    "cross_channel_corr_std": lambda f: np.std(correlations(f), ddof=1),
}


def information(a: Field, b: Field) -> float:
    """Point by point, as it was first written."""
    bins = 16
    counts = np.zeros((bins, bins))
    lows, spans = (a.min(), b.min()), (np.ptp(a), np.ptp(b))
    for x, y in zip(a.ravel().tolist(), b.ravel().tolist(), strict=True):
        i = min(int((x - lows[0]) * (bins / spans[0])), bins - 1)
        j = min(int((y - lows[1]) * (bins / spans[1])), bins - 1)
        counts[i, j] += 1
    share = counts / counts.sum()
    px, py = share.sum(1), share.sum(0)
    total = 0.0
    for i, j in itertools.product(range(bins), repeat=2):
        if share[i, j]:
            total += share[i, j] * math.log(share[i, j] / (px[i] * py[j]))
    return total


def informations(f):
    return [information(a, b) for a, b in itertools.combinations(f, 2)]


JOINT |= {
    "cross_channel_mi_mean": lambda f: np.mean(informations(f)),
    "cross_channel_mi_max": lambda f: max(informations(f)),
}

# --- trajectories of one channel: u (time, y, x), steps d, times t -------------------------------


def mean_of(u):
    return np.array([frame.mean() for frame in u])


def energy_of(u, d):
    return np.array([(frame**2).sum() * d[0] * d[1] for frame in u])


def fit(t, y):
    return scipy.stats.linregress(t, y)


def frequency(u, d, t):
    e = energy_of(u, d)
    e = e - e.mean()
    count = len(e)
    power = [
        abs(sum(e[j] * np.exp(-2j * np.pi * k * j / count) for j in range(count))) ** 2
        for k in range(1, count // 2 + 1)
    ]
    return (1 + int(np.argmax(power))) / count / (t[1] - t[0])


def memory(u, d, t):
    s = mean_of(u) - mean_of(u).mean()
    for lag in range(min(20, len(s))):
        if sum(s[i] * s[i + lag] for i in range(len(s) - lag)) / sum(s**2) < 1 / np.e:
            return lag * (t[1] - t[0])
    return min(20, len(s)) * (t[1] - t[0])


def own_distance(u, d, t):
    steps = [np.sqrt(((b - a) ** 2).mean()) for a, b in itertools.pairwise(u)]
    return fit(t[:-1], np.log(steps)).slope


def smoothness(u, d, t):
    s = mean_of(u)
    travel, bends = np.abs(np.diff(s)).sum(), np.abs(np.diff(s, 2)).sum()
    return travel / (travel + bends)


def switches(u, d, t):
    signs = [np.sign(b - a) for a, b in itertools.pairwise(mean_of(u)) if b != a]
    return sum(a != b for a, b in itertools.pairwise(signs))


def detrended(u, d, t):
    s = mean_of(u)
    found = fit(t, s)
    return (s - found.intercept - found.slope * t).var(ddof=1)


TRAJECTORY |= {
    "energy_growth_rate": lambda u, d, t: fit(t, np.log(energy_of(u, d))).slope,
    "energy_growth_accel": lambda u, d, t: np.abs(np.diff(energy_of(u, d), 2)).mean(),
    "variance_growth_rate": lambda u, d, t: fit(t, np.log([f.var(ddof=1) for f in u])).slope,
    "temporal_freq_dominant": frequency,
    "oscillation_amplitude": lambda u, d, t: np.ptp(energy_of(u, d)),
    "oscillation_period": lambda u, d, t: 1 / frequency(u, d, t),
    "autocorr_decay_time": memory,
    "lyapunov_approx": own_distance,
    "trajectory_smoothness": smoothness,
    "regime_switches": switches,
    "final_to_initial_ratio": lambda u, d, t: abs(u[-1].mean()) / abs(u[0].mean()),
    "trend_strength": lambda u, d, t: fit(t, mean_of(u)).rvalue ** 2,
    "detrended_variance": detrended,
}


def autoregression(s, order):
    table = np.array(
        [[1.0, *(s[i - lag] for lag in range(1, order + 1))] for i in range(order, len(s))]
    )
    coefficients = np.linalg.lstsq(table, s[order:], rcond=None)[0]
    return np.abs(s[order:] - table @ coefficients).mean()


for _order in (1, 2):
    TRAJECTORY[f"causality_pred_error_ratio_lag{_order}"] = lambda u, d, t, p=_order: (
        autoregression(mean_of(u), p) / autoregression(mean_of(u)[::-1], p)
    )
    TRAJECTORY[f"causality_pred_error_diff_lag{_order}"] = lambda u, d, t, p=_order: (
        autoregression(mean_of(u), p) - autoregression(mean_of(u)[::-1], p)
    )


def flows(u, d):
    found = []
    for now, then in itertools.pairwise(u):
        found.append([np.corrcoef(g.ravel(), then.ravel())[0, 1] for g in gradient(now, d)])
    return np.array(found)


def flow_anisotropy(u, d, t):
    x, y = np.abs(flows(u, d)).T
    return ((x - y) / (x + y)).mean()


TRAJECTORY |= {
    "causality_time_irreversibility": lambda u, d, t: 2 * (np.diff(mean_of(u)) ** 3).mean(),
    "causality_time_asymmetry_index": lambda u, d, t: (
        (np.diff(mean_of(u)) ** 3).mean() / (np.diff(mean_of(u)) ** 2).mean() ** 1.5
    ),
    "causality_spatial_flow_magnitude": lambda u, d, t: np.hypot(*flows(u, d).T).mean(),
    "causality_spatial_flow_anisotropy": flow_anisotropy,
}


def lagged(u, lag):
    """u (time, channel, y, x)."""
    s = u.mean((-2, -1)).T

    def corr(a, b):
        return scipy.stats.pearsonr(a, b).statistic

    return [
        corr(s[i][:-lag], s[j][lag:]) - corr(s[i][lag:], s[j][:-lag])
        for i, j in itertools.combinations(range(len(s)), 2)
    ]


for _lag in (1, 2, 3):
    PAIRS[f"causality_lag_corr_asymmetry_mean_lag{_lag}"] = lambda u, n=_lag: np.mean(lagged(u, n))
    PAIRS[f"causality_lag_corr_asymmetry_max_lag{_lag}"] = lambda u, n=_lag: max(
        np.abs(lagged(u, n))
    )


def entropy(v):
    counts, _ = np.histogram(v, 32)
    return scipy.stats.entropy(counts)


def signs_of(changes, rounding):
    return np.where(np.abs(changes) <= rounding, 0.0, np.sign(changes))


_NORMS = {
    "L1": lambda v, d: np.abs(v).sum() * d[0] * d[1],
    "L2": lambda v, d: np.sqrt((v**2).sum() * d[0] * d[1]),
    "Linf": lambda v, d: np.abs(v).max(),
    "entropy": lambda v, d: entropy(v),
    "tv": lambda v, d: slope_of(v, d).sum() * d[0] * d[1],
}
_SCALES = {
    "raw": lambda u: u,
    "lowpass": lambda u: scipy.ndimage.gaussian_filter(u, 2.0, mode="wrap", truncate=2.0),
    "highpass": lambda u: u - scipy.ndimage.gaussian_filter(u, 2.0, mode="wrap", truncate=2.0),
}
_METRICS = {
    "mean_drift": lambda i: np.diff(i).mean(),
    "drift_variance": lambda i: np.diff(i).var(ddof=1),
    "final_initial_ratio": lambda i: i[-1] / i[0],
    "monotonicity": lambda i: signs_of(np.diff(i), 1e-13 * np.abs(i).max()).mean(),
}
for (_n1, _norm), (_m1, _metric), (_s1, _scale) in itertools.product(
    _NORMS.items(), _METRICS.items(), _SCALES.items()
):
    TRAJECTORY[f"{_n1}_{_m1}_{_s1}"] = lambda u, d, t, norm=_norm, metric=_metric, scale=_scale: (
        metric(np.array([norm(scale(frame), d) for frame in u]))
    )


def step(name: str, frame: Field, d: tuple[float, float]) -> float:
    """A feature of one step: mean over channels of frame (channel, y, x)."""
    if name in JOINT:
        return float(JOINT[name](frame))
    return float(np.mean([STEP[name](u, d) for u in frame]))


def trajectory(name: str, u: Field, d: tuple[float, float], t: np.ndarray) -> float:
    """A feature of a trajectory (time, channel, y, x)."""
    if name in PAIRS:
        return float(PAIRS[name](u))
    return float(np.mean([TRAJECTORY[name](u[:, c], d, t) for c in range(u.shape[1])]))
