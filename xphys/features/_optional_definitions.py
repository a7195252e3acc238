"""Features beyond the 153: named families that are made only when they are asked for."""

from __future__ import annotations

from xphys.features._definitions import entry
from xphys.features._further_definitions import FURTHER

__all__ = ["ARCHITECTURE", "OPTIONAL"]

_CONSTANT = "the field is constant in space"
_MASK = "mask u > median + s/2"
_MEAN = "the spatial mean does not change"

MUTUAL_INFORMATION = tuple(
    entry(f"cross_channel_mi_{name}", f"{text} over i < j of the mutual information of two "
          "channels in nats, 16 equal bins from min to max each", "all bins alike: the last one "
          "held the maximum only", "a channel is constant in space, or not finite", channels=2)
    for name, text in (("mean", "mean"), ("max", "largest"))
)  # fmt: skip

EXTENSIONS = (
    entry("spectral_sparsity_85", "share of the modes, strongest first, that hold 85 % of Σp",
          "full plane of modes, mean mode left out (was spectral_rolloff)", _CONSTANT,
          uniform=True),
    *(
        entry(f"percentile_{share}", f"{share} % quantile of u, linear interpolation")
        for share in (5, 25, 50, 75, 95)
    ),
    entry("histogram_entropy", "entropy in nats of u in 16 bins from min to max", "",
          _CONSTANT),
    entry("histogram_peak_fraction", "largest share of a bin", "", _CONSTANT),
    entry("histogram_effective_bins", "number of bins with more than 1 %", "", _CONSTANT),
    *(
        entry(f"causality_lag_corr_asymmetry_mean_abs_lag{lag}",
              "mean over i < j of |corr(m_i(t), m_j(t+τ)) − corr(m_i(t+τ), m_j(t))|, "
              f"τ = {lag}", "", "fewer than two channels have a mean that changes",
              steps=lag + 3, channels=2, level="trajectory")
        for lag in (1, 2, 3)
    ),
    entry("log_step_size", "mean ln |m(t+1) − m(t)| over the steps that are not zero",
          "was lyapunov_approx", _MEAN, steps=2, level="trajectory"),
)  # fmt: skip

_LINES = "up to 8 lines along x, 512 points of each, r = 0.2 s"
DISTRIBUTIONAL = (
    entry("sample_entropy", f"−ln(A/B), pairs of 3 and of 2 points within r; {_LINES}",
          "the real one", "no pairs of 3 points within r", axes=("x",)),
    entry("approximate_entropy", f"Φ₂ − Φ₃, mean over lines; {_LINES}", "the real one",
          _CONSTANT, axes=("x",)),
    entry("svd_entropy", "entropy of σ²/Σσ² of u − m, over ln min(H, W)", "", _CONSTANT,
          plane=True),
    entry("participation_ratio", "(Σσ²)²/Σσ⁴/min(H, W)", "", _CONSTANT, plane=True),
    entry("pca_compression_ratio", "share of the components that hold 90 % of Σσ²", "",
          _CONSTANT, plane=True),
    *(
        entry(f"multiscale_entropy_scale_{scale}",
              f"sample_entropy after means over {scale} points", "the real one",
              "no pairs of 3 points within r", axes=("x",))
        for scale in (2, 4, 8)
    ),
)  # fmt: skip

_COMPONENT = f"connected components (diagonals too, around periodic axes) of the {_MASK}"
STRUCTURAL = (
    entry("num_connected_components", f"number of {_COMPONENT}", "", _CONSTANT),
    entry("largest_component_size", "share of the points in the largest", "", _CONSTANT),
    entry("component_size_mean", "mean share of a component", "", "no point is in the mask"),
    entry("component_size_std", "standard deviation (n) of these", "", "no point is in the mask"),
    entry("edge_density", "share of the points with a Sobel magnitude above mean + deviation",
          "", _CONSTANT),
    entry("edge_magnitude_mean", "mean Sobel magnitude, per cell"),
    entry("edge_magnitude_std", "standard deviation (n − 1) of it"),
    *(
        entry(f"glcm_{name}", f"{text} of pairs of neighbours along x, 8 levels", "", _CONSTANT,
              axes=("x",))
        for name, text in (
            ("contrast", "ΣP(i − j)²"),
            ("homogeneity", "ΣP/(1 + (i − j)²)"),
            ("energy", "√ΣP²"),
            ("correlation", "correlation of i and j"),
        )
    ),
)  # fmt: skip

_EMPTY = "no point is in the mask"
MORPHOLOGICAL = tuple(
    entry(name, text, change, undefined, plane=True)
    for name, text, change, undefined in (
        ("area_fraction", f"share A of the points in the {_MASK}", "", _CONSTANT),
        ("perimeter", "sides P of its cells towards other cells, over H + W", "", _EMPTY),
        ("circularity", "4πA/P² in cells", "", _EMPTY),
        ("eccentricity", "√(1 − λ₂/λ₁) of the covariance of its positions", "",
         "all points of the mask are one"),
        ("solidity", "A over the area of its convex hull", "the real one", _EMPTY),
        ("extent", "A over the area of its bounding box", "the real one", _EMPTY),
        ("centroid_x", "mean position along x, 0 to 1", "", _EMPTY),
        ("centroid_y", "mean position along y, 0 to 1", "", _EMPTY),
        ("hu_moment_1", "η₂₀ + η₀₂", "no logarithm", _EMPTY),
        ("hu_moment_2", "(η₂₀ − η₀₂)² + 4η₁₁²", "no logarithm", _EMPTY),
        ("mean_granule_size", "mean of 3, 5, 7, 9 weighted by what an opening of that size takes",
         "", "openings take nothing"),
        ("granule_size_std", "standard deviation of the same", "", "openings take nothing"),
    )
)  # fmt: skip

_SMALL = "too few points for this level"
MULTISCALE = (
    *(
        entry(f"wavelet_{name}_level_{level}", f"{text} of the three detail bands of level {level} "
              "of the orthonormal Haar transform", "", _SMALL, plane=True)
        for name, text in (("energy", "mean square"), ("mean", "mean amount"),
                           ("std", "standard deviation"))
        for level in range(4)
    ),
    *(
        entry(f"pyramid_{name}_level_{level}", f"{text} of level {level} of the Laplacian pyramid "
              "(Gaussian of 1 cell, 5 points; means over 2 × 2; bilinear)",
              "around periodic axes", undefined, plane=True)
        for name, text, undefined in (
            ("energy", "mean square", _SMALL),
            ("contrast", "standard deviation over s", f"{_SMALL}, or {_CONSTANT}"),
        )
        for level in range(4)
    ),
)  # fmt: skip

_RECURRENT = "m(t) in 3 dimensions, delay 1; recurrent within 0.1 of the largest distance"
NONLINEAR = (
    entry("recurrence_rate", f"share of recurrent pairs, {_RECURRENT}", "every step", _MEAN,
          steps=6),
    entry("determinism", "share of these in diagonal lines of 2 and more", "every step",
          f"{_MEAN}, or no pair is recurrent", steps=6),
    entry("laminarity", "share of these in vertical lines of 2 and more", "every step",
          f"{_MEAN}, or no pair is recurrent", steps=6),
    entry("entropy_diag_length", "entropy in nats of the lengths of diagonal lines", "every step",
          f"{_MEAN}, or there is no line", steps=6),
    entry("correlation_dimension", "slope of ln C(r) over ln r, m(t) in 5 dimensions, 10 radii "
          "between the 1 % and 99 % quantile of the distances", "", _MEAN, steps=8),
    entry("permutation_entropy", "entropy of the order of 3 steps, over ln 6", "", _MEAN, steps=4),
)  # fmt: skip

INITIAL = (
    entry("spatial_cluster_count", f"ln(1 + number of {_COMPONENT}), first state", "components",
          _CONSTANT),
    entry("spatial_largest_cluster_frac", "share of the mask in its largest component",
          "components", _EMPTY),
    entry("spatial_autocorr", "Moran's I of neighbours along the axes", "", _CONSTANT),
    entry("spatial_centroid_dist", "distance of the centroid of |u| from the centre, over half "
          "the diagonal of the unit box", "", "the field is zero"),
    entry("spectral_dominant_freq", "frequency of the largest p, cycles per length", "a frequency",
          _CONSTANT, uniform=True),
    entry("spectral_centroid", "Σp f/Σp", "a frequency", _CONSTANT, uniform=True),
    entry("spectral_power_law_exp", "−slope of ln p over ln f", "not clipped", _CONSTANT,
          uniform=True),
    entry("info_entropy", "entropy of u in 32 bins from min to max, over ln 32", "", _CONSTANT),
    entry("info_local_entropy_var", "variance of the variances of windows of 8 points, stride 4, "
          "over s⁴", "without units", f"{_CONSTANT}, or an axis has fewer than 12 points"),
    entry("info_lz_complexity", "c log₂(n)/n, c phrases of Lempel-Ziv 1978 in u > median",
          "the real one", _CONSTANT),
    entry("info_predictability", "|correlation of neighbours along x|", "", _CONSTANT,
          axes=("x",)),
    entry("morph_density", f"share of the {_MASK}", "", _CONSTANT),
    entry("morph_radial_gradient", "⟨∇u·r/|r|⟩, r from the centre of the box", "the real one"),
    entry("morph_symmetry", "mean |correlation| with the field turned by 90, 180, 270 degrees "
          "(180 only if H ≠ W)", "", _CONSTANT, plane=True),
)  # fmt: skip

#: Name -> (coordinate, what is made of it, category or None).
ARCHITECTURE: dict[str, tuple[str, str, str | None]] = {
    "arch_num_layers": ("num_layers", "number", None),
    "arch_base_channels": ("base_channels", "number", None),
    "arch_kernel_size": ("kernel_size", "number", None),
    **{
        f"arch_activation_{kind}": ("activation", "kind", kind)
        for kind in ("relu", "gelu", "silu", "tanh", "none")
    },
    "arch_dropout_rate": ("dropout_rate", "number", None),
    "arch_total_params_log10": ("total_parameters", "log10", None),
    "stoch_noise_scale_log": ("noise_scale", "log10", None),
    **{
        f"stoch_schedule_{kind}": ("noise_schedule", "kind", kind)
        for kind in ("constant", "annealing", "periodic")
    },
    "stoch_spatial_corr": ("spatial_correlation", "number", None),
    **{
        f"stoch_noise_{kind}": ("noise_type", "kind", kind)
        for kind in ("gaussian", "laplace", "dropout", "multiplicative")
    },
    **{
        f"op_normalization_{kind}": ("normalization", "kind", kind)
        for kind in ("none", "instance", "batch", "group", "layer")
    },
    "op_grid_size": ("grid_size", "number", None),
    **{
        f"evol_policy_{kind}": ("update_policy", "kind", kind)
        for kind in ("autoregressive", "residual", "convex")
    },
    "evol_dt_log": ("dt", "log10", None),
    "evol_alpha": ("alpha", "number", None),
}
_MADE = {"number": "{0}", "log10": "log₁₀ {0}", "kind": "1 if {0} is {1!r}, else 0"}

OPTIONAL = {
    "mutual_information": ("step", MUTUAL_INFORMATION),
    "extensions": ("step", EXTENSIONS),
    "distributional": ("step", DISTRIBUTIONAL),
    "structural": ("step", STRUCTURAL),
    "morphological": ("step", MORPHOLOGICAL),
    "multiscale": ("step", MULTISCALE),
    "nonlinear": ("trajectory", NONLINEAR),
    "initial": ("trajectory", INITIAL),
    "architecture": (
        "trajectory",
        tuple(
            entry(name, f"coordinate {_MADE[made].format(coordinate, kind)}", "",
                  f"there is no coordinate {coordinate!r}")
            for name, (coordinate, made, kind) in ARCHITECTURE.items()
        ),
    ),
    **FURTHER,
}  # fmt: skip
