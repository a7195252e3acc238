"""The optional families from their own formulas: one plain field of shape (y, x) at a time."""

from __future__ import annotations

import itertools
import math

import numpy as np
import scipy.stats

FIELD: dict = {}
SERIES: dict = {}
FIRST: dict = {}


def mask_of(u):
    return u > np.median(u) + 0.5 * u.std(ddof=1)


def components(mask):
    """Sizes by flood fill around the periodic plane."""
    left, sizes = {tuple(p) for p in np.argwhere(mask)}, []
    while left:
        waiting, size = [left.pop()], 0
        while waiting:
            y, x = waiting.pop()
            size += 1
            for dy, dx in itertools.product((-1, 0, 1), repeat=2):
                near = (y + dy) % mask.shape[0], (x + dx) % mask.shape[1]
                if near in left:
                    left.remove(near)
                    waiting.append(near)
        sizes.append(size)
    return sorted(sizes)


def power(u):
    """p and frequency times the side of all modes but the mean, unit box."""
    p = np.abs(np.fft.fft2(u - u.mean(), norm="ortho")) ** 2
    k = [np.fft.fftfreq(n, 1 / n) for n in u.shape]
    f = np.hypot(*np.meshgrid(*k, indexing="ij"))
    return p.ravel()[1:], f.ravel()[1:]


def sparse(u):
    p = np.sort(power(u)[0])[::-1]
    return (1 + np.argmax(np.cumsum(p) >= (0.85 - 1e-9) * p.sum())) / p.size


def bins(u, count):
    return np.histogram(u, count)[0] / u.size


FIELD |= {
    "spectral_sparsity_85": sparse,
    **{f"percentile_{q}": lambda u, q=q: np.percentile(u, q) for q in (5, 25, 50, 75, 95)},
    "histogram_entropy": lambda u: scipy.stats.entropy(bins(u, 16)),
    "histogram_peak_fraction": lambda u: bins(u, 16).max(),
    "histogram_effective_bins": lambda u: (bins(u, 16) > 0.01).sum(),
}


def lines(u):
    rows = sorted({int(i) for i in np.linspace(0, len(u), 8, endpoint=False)})
    return [u[row] for row in rows]


def matches(line, length, count, reach):
    found = 0
    for i, j in itertools.permutations(range(count), 2):
        found += max(abs(line[i + k] - line[j + k]) for k in range(length)) <= reach
    return found


def sample(u, scale=1):
    reach, twos, threes = 0.2 * u.std(ddof=1), 0, 0
    for line in lines(u):
        n = len(line) // scale
        coarse = [np.mean(line[i * scale : (i + 1) * scale]) for i in range(n)]
        twos += matches(coarse, 2, n - 2, reach)
        threes += matches(coarse, 3, n - 2, reach)
    return -math.log(threes / twos) if threes else math.nan


def approximate(u):
    reach, found = 0.2 * u.std(ddof=1), []
    for line in lines(u):
        phi = []
        for m in (2, 3):
            n = len(line) - m + 1
            shares = [
                sum(max(abs(line[i + k] - line[j + k]) for k in range(m)) <= reach
                    for j in range(n)) / n
                for i in range(n)
            ]  # fmt: skip
            phi.append(np.mean(np.log(shares)))
        found.append(phi[0] - phi[1])
    return np.mean(found)


def values(u):
    s = np.linalg.eigvalsh((u - u.mean()) @ (u - u.mean()).T)[::-1]
    return s / s.sum()


FIELD |= {
    "sample_entropy": sample,
    "approximate_entropy": approximate,
    "svd_entropy": lambda u: scipy.stats.entropy(np.clip(values(u), 0, 1)) / math.log(len(u)),
    "participation_ratio": lambda u: 1 / (values(u) ** 2).sum() / len(u),
    "pca_compression_ratio": lambda u: (
        (1 + np.argmax(np.cumsum(values(u)) >= 0.9 - 1e-12)) / len(u)
    ),
    **{f"multiscale_entropy_scale_{n}": lambda u, n=n: sample(u, n) for n in (2, 4, 8)},
}


def shifted(u, y, x):
    return np.roll(u, (-y, -x), (0, 1))


def edges(u):
    gx = sum(w * (shifted(u, k, 1) - shifted(u, k, -1)) / 8 for k, w in ((-1, 1), (0, 2), (1, 1)))
    gy = sum(w * (shifted(u, 1, k) - shifted(u, -1, k)) / 8 for k, w in ((-1, 1), (0, 2), (1, 1)))
    return np.hypot(gx, gy)


def levels(u):
    grey = np.minimum(((u - u.min()) / np.ptp(u) * 8).astype(int), 7)
    pairs = list(zip(grey.ravel(), shifted(grey, 0, 1).ravel(), strict=True))
    return np.array(pairs).T.astype(float)


def energy(u):
    counts = np.unique(levels(u), axis=1, return_counts=True)[1]
    return math.sqrt(((counts / u.size) ** 2).sum())


FIELD |= {
    "num_connected_components": lambda u: len(components(mask_of(u))),
    "largest_component_size": lambda u: max(components(mask_of(u))) / u.size,
    "component_size_mean": lambda u: np.mean(components(mask_of(u))) / u.size,
    "component_size_std": lambda u: np.std(components(mask_of(u))) / u.size,
    "edge_density": lambda u: (edges(u) > edges(u).mean() + edges(u).std(ddof=1)).mean(),
    "edge_magnitude_mean": lambda u: edges(u).mean(),
    "edge_magnitude_std": lambda u: edges(u).std(ddof=1),
    "glcm_contrast": lambda u: (np.diff(levels(u), axis=0) ** 2).mean(),
    "glcm_homogeneity": lambda u: (1 / (1 + np.diff(levels(u), axis=0) ** 2)).mean(),
    "glcm_energy": energy,
    "glcm_correlation": lambda u: np.corrcoef(levels(u))[0, 1],
}


def sides(mask):
    return sum(int(mask[y, x] != shifted(mask, *s)[y, x])
               for s in ((0, 1), (1, 0)) for y, x in np.ndindex(mask.shape))  # fmt: skip


def places(mask):
    return np.argwhere(mask).astype(float)


def eccentricity(mask):
    low, high = np.linalg.eigvalsh(np.cov(places(mask).T, ddof=0))
    return math.sqrt(1 - low / high)


def hull(mask):
    """Area by the chain of Andrew around all corners of cells."""
    corners = {(y + i, x + j) for y, x in places(mask) for i in (0, 1) for j in (0, 1)}
    ordered = sorted(corners)

    def half(points):
        chain: list = []
        for p in points:
            while (
                len(chain) > 1
                and (
                    (chain[-1][0] - chain[-2][0]) * (p[1] - chain[-2][1])
                    - (chain[-1][1] - chain[-2][1]) * (p[0] - chain[-2][0])
                )
                <= 0
            ):
                chain.pop()
            chain.append(p)
        return chain[:-1]

    ring = half(ordered) + half(ordered[::-1])
    return abs(sum(a[0] * b[1] - b[0] * a[1]
                   for a, b in zip(ring, ring[1:] + ring[:1], strict=True))) / 2  # fmt: skip


def eta(mask, p, q):
    y, x = (places(mask) - places(mask).mean(0)).T
    return (x**p * y**q).sum() / mask.sum() ** 2


def opened(u, size):
    reach = range(-(size // 2), size // 2 + 1)
    low = np.min([shifted(u, y, x) for y in reach for x in reach], axis=0)
    return np.max([shifted(low, y, x) for y in reach for x in reach], axis=0)


def grains(u):
    left = [u.sum()] + [opened(u, size).sum() for size in (3, 5, 7, 9)]
    weight = np.maximum(-np.diff(left), 0)
    sizes = np.array([3, 5, 7, 9])
    mean = np.average(sizes, weights=weight)
    return mean, math.sqrt(np.average((sizes - mean) ** 2, weights=weight))


FIELD |= {
    "area_fraction": lambda u: mask_of(u).mean(),
    "perimeter": lambda u: sides(mask_of(u)) / sum(u.shape),
    "circularity": lambda u: 4 * math.pi * mask_of(u).sum() / sides(mask_of(u)) ** 2,
    "eccentricity": lambda u: eccentricity(mask_of(u)),
    "solidity": lambda u: mask_of(u).sum() / hull(mask_of(u)),
    "extent": lambda u: mask_of(u).sum() / np.prod(np.ptp(places(mask_of(u)), axis=0) + 1),
    "centroid_x": lambda u: (places(mask_of(u))[:, 1].mean() + 0.5) / u.shape[1],
    "centroid_y": lambda u: (places(mask_of(u))[:, 0].mean() + 0.5) / u.shape[0],
    "hu_moment_1": lambda u: eta(mask_of(u), 2, 0) + eta(mask_of(u), 0, 2),
    "hu_moment_2": lambda u: (
        (eta(mask_of(u), 2, 0) - eta(mask_of(u), 0, 2)) ** 2 + 4 * eta(mask_of(u), 1, 1) ** 2
    ),
    "mean_granule_size": lambda u: grains(u)[0],
    "granule_size_std": lambda u: grains(u)[1],
}


def haar(u, level):
    for _ in range(level):
        u = np.array([[u[y : y + 2, x : x + 2].sum() / 2 for x in range(0, u.shape[1], 2)]
                      for y in range(0, u.shape[0], 2)])  # fmt: skip
    signs = ([[1, 1], [-1, -1]], [[1, -1], [1, -1]], [[1, -1], [-1, 1]])
    corners = itertools.product(signs, range(0, u.shape[0], 2), range(0, u.shape[1], 2))
    return np.array([(u[y : y + 2, x : x + 2] * s).sum() / 2 for s, y, x in corners])


def pyramid(u, level):
    w = np.exp(-0.5 * np.arange(-2, 3) ** 2)
    w /= w.sum()
    for _ in range(level + 1):
        smooth = sum(w[i] * w[j] * shifted(u, i - 2, j - 2) for i in range(5) for j in range(5))
        below = smooth.reshape(len(u) // 2, 2, -1, 2).mean((1, 3))
        raised = np.empty_like(u)
        for y, x in np.ndindex(u.shape):
            a, b = (y // 2, x // 2), ((1, -1)[y % 2 == 0], (1, -1)[x % 2 == 0])
            raised[y, x] = (
                9 * below[a] + 3 * shifted(below, b[0], 0)[a]
                + 3 * shifted(below, 0, b[1])[a] + shifted(below, *b)[a]
            ) / 16  # fmt: skip
        rest, u = u - raised, below
    return rest


for _l in range(4):
    FIELD |= {
        f"wavelet_energy_level_{_l}": lambda u, n=_l: (haar(u, n) ** 2).mean(),
        f"wavelet_mean_level_{_l}": lambda u, n=_l: np.abs(haar(u, n)).mean(),
        f"wavelet_std_level_{_l}": lambda u, n=_l: haar(u, n).std(),
        f"pyramid_energy_level_{_l}": lambda u, n=_l: (pyramid(u, n) ** 2).mean(),
        f"pyramid_contrast_level_{_l}": lambda u, n=_l: pyramid(u, n).std() / u.std(ddof=1),
    }


def recurrent(s):
    points = [s[i : i + 3] for i in range(len(s) - 2)]
    d = np.array([[np.linalg.norm(a - b) for b in points] for a in points])
    near = d <= 0.1 * d.max()
    return near & ~np.eye(len(near), dtype=bool)


def runs(flags):
    return [len(list(group)) for flag, group in itertools.groupby(flags) if flag]


def diagonals(near):
    return [r for k in range(1, len(near)) for r in runs(np.diagonal(near, k).tolist()) if r > 1]


def laminar(near):
    return sum(r for column in near.T for r in runs(column.tolist()) if r > 1) / near.sum()


def dimension(s):
    points = [s[i : i + 5] for i in range(len(s) - 4)]
    d = np.array([np.linalg.norm(a - b) for a, b in itertools.combinations(points, 2)])
    low, high = np.quantile(d, (0.01, 0.99))
    radii = low * (high / low) ** np.linspace(0, 1, 10)
    shares = [(d <= r * (1 + 1e-12)).mean() for r in radii]
    return scipy.stats.linregress(np.log(radii), np.log(shares)).slope


def order(s):
    kinds = [tuple(np.argsort(s[i : i + 3], kind="stable")) for i in range(len(s) - 2)]
    counts = [kinds.count(kind) for kind in set(kinds)]
    return scipy.stats.entropy(counts) / math.log(6)


def lengths(near):
    found = diagonals(near)
    return scipy.stats.entropy([found.count(n) for n in set(found)]) if found else math.nan


SERIES |= {
    "recurrence_rate": lambda s: recurrent(s).sum() / (len(s) - 2) / (len(s) - 3),
    "determinism": lambda s: 2 * sum(diagonals(recurrent(s))) / recurrent(s).sum(),
    "laminarity": lambda s: laminar(recurrent(s)),
    "entropy_diag_length": lambda s: lengths(recurrent(s)),
    "correlation_dimension": dimension,
    "permutation_entropy": order,
    "log_step_size": lambda s: np.log(np.abs(np.diff(s))).mean(),
}


def moran(u):
    z = u - u.mean()
    return (z * (shifted(z, 0, 1) + shifted(z, 1, 0))).mean() / 2 / (z**2).mean()


def off_centre(u):
    y, x = np.indices(u.shape) + 0.5
    w = np.abs(u) / np.abs(u).sum()
    apart = (w * y).sum() / u.shape[0] - 0.5, (w * x).sum() / u.shape[1] - 0.5
    return math.hypot(*apart) / (math.sqrt(2) / 2)


def exponent(u):
    p, f = power(u)
    kept = p > 1e-10 * p.mean()
    return -scipy.stats.linregress(np.log(f[kept]), np.log(p[kept])).slope


def patches(u):
    own = [u[y : y + 8, x : x + 8].var(ddof=1) for y in range(0, u.shape[0] - 7, 4)
           for x in range(0, u.shape[1] - 7, 4)]  # fmt: skip
    return np.var(own, ddof=1) / u.var(ddof=1) ** 2


def phrases(u):
    text = "".join("01"[int(v)] for v in (u > np.median(u)).ravel())
    seen, start, count = set(), 0, 0
    for end in range(1, len(text) + 1):
        if text[start:end] not in seen:
            seen.add(text[start:end])
            start, count = end, count + 1
    return (count + (start < len(text))) * math.log2(len(text)) / len(text)


def outward(u):
    n = len(u)
    gx, gy = (n * (shifted(u, *s) - shifted(u, *(-k for k in s))) / 2 for s in ((0, 1), (1, 0)))
    y, x = np.indices(u.shape) - (n - 1) / 2
    r = np.hypot(x, y)
    return ((gx * x + gy * y) / r).mean()


def symmetry(u):
    found = [abs(np.corrcoef(u.ravel(), np.rot90(u, k).ravel())[0, 1]) for k in (1, 2, 3)]
    return np.mean(found)


FIRST |= {
    "spatial_cluster_count": lambda u: math.log1p(len(components(mask_of(u)))),
    "spatial_largest_cluster_frac": lambda u: max(components(mask_of(u))) / mask_of(u).sum(),
    "spatial_autocorr": moran,
    "spatial_centroid_dist": off_centre,
    "spectral_dominant_freq": lambda u: power(u)[1][np.argmax(power(u)[0])],
    "spectral_centroid": lambda u: np.average(power(u)[1], weights=power(u)[0]),
    "spectral_power_law_exp": exponent,
    "info_entropy": lambda u: scipy.stats.entropy(bins(u, 32)) / math.log(32),
    "info_local_entropy_var": patches,
    "info_lz_complexity": phrases,
    "info_predictability": lambda u: abs(np.corrcoef(u.ravel(), shifted(u, 0, 1).ravel())[0, 1]),
    "morph_density": lambda u: mask_of(u).mean(),
    "morph_radial_gradient": outward,
    "morph_symmetry": symmetry,
}
