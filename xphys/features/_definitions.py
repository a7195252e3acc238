"""The 153 features: each name with its formula and how that differs from Spinlock's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xphys.features._kernels.drift import METRICS
from xphys.features._kernels.series import NORMS, SCALES
from xphys.features._registry import Feature

__all__ = ["STANDARD", "Entry", "numbered"]

_CONSTANT = "the field is constant in space"
_ABSENT = "the field has no axis {}"
_EPS = "no ε"
_DC = "the mean mode is left out"


@dataclass(frozen=True)
class Entry:
    """A definition before it has a number."""

    name: str
    definition: str
    change: str = ""
    undefined: str = ""
    extra: tuple[tuple[str, Any], ...] = ()


def entry(name: str, definition: str, change: str = "", undefined: str = "", **extra: Any) -> Entry:
    """Make an `Entry`; further keywords are those of `Feature`."""
    return Entry(name, definition, change, undefined, tuple(extra.items()))


SPATIAL = (
    entry("spatial_mean", "m = ⟨u⟩, the mean over the points"),
    entry("spatial_variance", "s² = Σ(u − m)²/(n − 1)"),
    entry("spatial_std", "s, the root of that"),
    entry("spatial_skewness", "⟨((u − m)/s)³⟩", f"{_EPS}; NaN instead of 0", _CONSTANT),
    entry("spatial_kurtosis", "⟨((u − m)/s)⁴⟩ − 3", f"{_EPS}; NaN instead of −3", _CONSTANT),
    entry("spatial_min", "min u"),
    entry("spatial_max", "max u"),
    entry("spatial_range", "max u − min u"),
    entry("spatial_iqr", "upper minus lower quartile, linear interpolation"),
    entry("spatial_mad", "median |u − median u|", "both medians between the two middle values"),
    entry("gradient_magnitude_mean", "⟨|∇u|⟩, central differences over the real distances"),
    entry("gradient_magnitude_std", "standard deviation (n − 1) of |∇u|"),
    entry("gradient_magnitude_max", "max |∇u|"),
    entry("gradient_x_mean", "⟨|∂u/∂x|⟩", "amount: the signed mean is 0 on a periodic axis",
          axes=("x",)),
    entry("gradient_y_mean", "⟨|∂u/∂y|⟩", "amount: the signed mean is 0 on a periodic axis",
          axes=("y",)),
    entry("gradient_anisotropy",
          "(λ₁ − λ₂)/(λ₁ + λ₂) with the largest and smallest eigenvalue of ⟨∇u ∇uᵀ⟩",
          "structure tensor, from 0 to 1, instead of ⟨|∂x u|⟩/⟨|∂y u|⟩", _CONSTANT,
          dimensions=2),
    entry("laplacian_mean", "⟨|∇²u|⟩, three points along each axis",
          "amount: the signed mean is 0 on periodic axes"),
    entry("laplacian_std", "standard deviation (n − 1) of ∇²u"),
    entry("laplacian_energy", "⟨(∇²u)²⟩"),
)  # fmt: skip

_FULL = "full plane of modes"
_BAND = "modes with q (frequency × shortest side) in band {} of five, edges (linspace(√(q₁/2), √q_max, 6))²"  # noqa: E501


def _bands() -> tuple[Entry, ...]:
    statistics = {
        "mean": ("mean", ""),
        "max": ("largest value", ""),
        "std": ("standard deviation (n − 1)", "; inside the band only"),
    }
    return tuple(
        entry(
            f"fft_power_scale_{band}_{name}",
            f"{text} of p = |F|² (orthonormal transform of u − m) over the "
            + _BAND.format(band + 1),
            f"{_FULL}; last band closed{more}",
            "no mode (for std, fewer than three of the full plane) lies in the band",
            uniform=True,
        )
        for band in range(5)
        for name, (text, more) in statistics.items()
    )


SPECTRAL = tuple(
    one if ("uniform", True) in one.extra else
    Entry(one.name, one.definition, one.change, _CONSTANT, (*one.extra, ("uniform", True)))
    for one in (
        *_bands(),
        entry("dominant_freq_x", "|f_x| of the largest p, cycles per length; of equal ones "
              "(1e-9) the lowest frequency", f"{_DC}; folded; per length instead of pixel",
              axes=("x",)),
        entry("dominant_freq_y", "|f_y| of the largest p", f"{_DC}; folded; per length",
              axes=("y",)),
        entry("dominant_freq_magnitude", "largest p", _DC),
        entry("spectral_centroid_x", "c_x = Σp|f_x|/Σp", f"{_DC}; per length", axes=("x",)),
        entry("spectral_centroid_y", "c_y = Σp|f_y|/Σp",
              f"{_DC}; amount, because Σp f_y is 0; per length", axes=("y",)),
        entry("spectral_bandwidth", "√(Σp Σ_a(|f_a| − c_a)²/Σp)", f"{_DC}; amounts; {_EPS}"),
        entry("low_freq_ratio", "share of Σp with q ≤ max(q_N/8, q₁), q_N the Nyquist frequency",
              f"{_DC}; q instead of cycles per pixel, which made it 1 always"),
        entry("mid_freq_ratio", "share of Σp above that and up to max(q_N/4, 2q₁)",
              f"{_DC}; was 0 always"),
        entry("high_freq_ratio", "share of Σp above that", f"{_DC}; was 0 always"),
        entry("spectral_flatness", "exp⟨ln(p/⟨p⟩ + 1e-10)⟩ over all modes",
              f"{_DC}; floor relative to the mean, so that it does not depend on units"),
        entry("spectral_rolloff", "frequency, cycles per length, below which 85 % of Σp lie",
              "a frequency; the old measure is spectral_sparsity_85"),
        entry("spectral_anisotropy",
              "|Σp e^{2iθ}|/Σp, θ the direction of the mode; in 3-D (λ₁ − λ₃)/(λ₁ + λ₃) of Σp k̂k̂ᵀ",
              "was the ratio of a number to itself; Nyquist modes have no sign", dimensions=2),
    )
)  # fmt: skip

_DEAD = "a channel is constant in space, or not finite"
CROSS_CHANNEL = (
    *(
        entry(f"cross_channel_eigen_top_{n}",
              f"eigenvalue {n} of the correlation matrix R of the channels, from the largest",
              "diagonal exactly 1", _DEAD, channels=max(2, n))
        for n in (1, 2, 3)
    ),
    entry("cross_channel_eigen_trace", "Σ s_c², trace of the covariance matrix",
          "of the covariance: that of R is the number of channels", "a channel is not finite",
          channels=2),
    entry("cross_channel_condition_number", "λ₁/λ_C of R", _EPS,
          f"{_DEAD}; channels depend on each other linearly (1e-12)", channels=2),
    entry("cross_channel_participation_ratio", "(Σλ)²/Σλ²", _EPS, _DEAD, channels=2),
    entry("cross_channel_corr_mean", "mean of R_ij over i < j", "diagonal exactly 1", _DEAD,
          channels=2),
    entry("cross_channel_corr_max", "largest R_ij", "diagonal exactly 1", _DEAD, channels=2),
    entry("cross_channel_corr_min", "smallest R_ij", "diagonal exactly 1", _DEAD, channels=2),
    entry("cross_channel_corr_std", "standard deviation (n − 1) of R_ij over i < j",
          "diagonal exactly 1", _DEAD, channels=3),
)  # fmt: skip

_STILL = "the spatial mean does not change"
TEMPORAL = (
    entry("energy_growth_rate", "least-squares slope of ln E over time, E = ∫u² dV",
          f"{_EPS}; real times; E by cells", "E is zero at all times but one", steps=2),
    entry("energy_growth_accel", "mean |E(t+1) − 2E(t) + E(t−1)|", "E by cells", steps=3),
    entry("variance_growth_rate", "least-squares slope of ln s² over time",
          f"{_EPS}; real times", "the variance is zero at all times but one", steps=2),
    entry("temporal_freq_dominant", "frequency of the largest |rFFT(E − ⟨E⟩)|², cycles per time",
          "real times", "E does not change", steps=3, uniform_time=True),
    entry("oscillation_amplitude", "max E − min E", "E by cells", steps=2),
    entry("oscillation_period", "1/temporal_freq_dominant", f"{_EPS}; real times",
          "E does not change", steps=3, uniform_time=True),
    entry("autocorr_decay_time",
          "first lag at which the autocorrelation of m(t) is below 1/e, at most 20 steps",
          "real times; at most the length of the series", _STILL, steps=2, uniform_time=True),
    entry("lyapunov_approx", "least-squares slope of ln ‖u(t+1) − u(t)‖ over time: growth of the "
          "distance between the trajectory and itself one step later",
          "an exponent; mean ln |Δm| is log_step_size", "all steps but one are zero", steps=3),
    entry("trajectory_smoothness", "Σ|Δm|/(Σ|Δm| + Σ|Δ²m|), 1 for a straight line",
          "grows with smoothness and has no units; was Σ|Δ²m|", _STILL, steps=3),
    entry("regime_switches", "changes of direction of m(t)", "a rest is no change", steps=3),
    entry("final_to_initial_ratio", "|m(T−1)|/|m(0)|", _EPS, "m(0) is zero", steps=2),
    entry("trend_strength", "R² of a linear fit of m(t), from 0 to 1", "real times", _STILL,
          steps=3),
    entry("detrended_variance", "variance (n − 1) of what that fit leaves", "real times", steps=3),
)  # fmt: skip


def _causality() -> tuple[Entry, ...]:
    found = []
    for lag in (1, 2, 3):
        text = f"a_ij = corr(m_i(t), m_j(t+{lag})) − corr(m_i(t+{lag}), m_j(t))"
        still = "fewer than two channels have a mean that changes"
        more = {"steps": lag + 3, "channels": 2}
        found.append(
            entry(f"causality_lag_corr_asymmetry_mean_lag{lag}", f"mean of {text} over i < j",
                  "i < j: over all pairs it is 0 always", still, **more)
        )  # fmt: skip
        found.append(
            entry(f"causality_lag_corr_asymmetry_max_lag{lag}", f"max |a_ij|, {text}",
                  "Pearson's correlation", still, **more)
        )  # fmt: skip
    for order in (1, 2):
        text = (
            f"e₊ and e₋: mean |error| of an autoregression of order {order} with a constant, "
            "fitted to m(t) and to its reverse"
        )
        was = "of a fit: the errors of persistence are equal always"
        steps = 2 * order + 3
        found.append(
            entry(f"causality_pred_error_ratio_lag{order}", f"e₊/e₋; {text}", was,
                  "the fit to the reverse is exact", steps=steps)
        )  # fmt: skip
        found.append(
            entry(f"causality_pred_error_diff_lag{order}", f"e₊ − e₋; {text}", was, steps=steps)
        )
    return (
        *found,
        entry("causality_time_irreversibility", "2⟨d³⟩, d = m(t+1) − m(t)", steps=3),
        entry("causality_time_asymmetry_index", "⟨d³⟩/⟨d²⟩^{3/2}", "without units", _STILL,
              steps=3),
        entry("causality_spatial_flow_magnitude",
              "mean over time of √(Σ_a r_a²), r_a = corr(∂u/∂a (t), u(t+1)) over space", _EPS,
              "the field is constant along all axes", steps=2),
        entry("causality_spatial_flow_anisotropy",
              "mean over time of (|r_x| − |r_y|)/(|r_x| + |r_y|)",
              "from −1 to 1 instead of |r_x|/(|r_y| + ε)",
              "the field is constant along x or y", steps=2, axes=("x", "y")),
    )  # fmt: skip


def _drift() -> tuple[Entry, ...]:
    norms = {
        "L1": "∫|v| dV",
        "L2": "√∫v² dV",
        "Linf": "max |v|",
        "entropy": "entropy in nats of a histogram of v, 32 bins from min v to max v",
        "tv": "∫|∇v| dV",
    }
    scales = {
        "raw": "v = u",
        "lowpass": "v = u blurred by a Gaussian of 2 cells (9 points)",
        "highpass": "v = u less its blurred field",
    }
    metrics = {
        "mean_drift": ("mean of ΔI", "", 2),
        "drift_variance": ("variance (n − 1) of ΔI", "", 3),
        "final_initial_ratio": ("I(T−1)/I(0)", "I(0) is zero", 2),
        "monotonicity": ("mean sign of ΔI, from −1 to 1", "", 2),
    }
    by_cells = {"L1": "by cells", "L2": f"by cells; {_EPS}", "tv": f"by cells; {_EPS}"}
    found = []
    for norm in NORMS:
        for metric in METRICS:
            for scale in SCALES:
                text, undefined, steps = metrics[metric]
                change = [by_cells.get(norm, "0 ln 0 = 0" if norm == "entropy" else "")]
                change.append("" if scale == "raw" else "the blur wraps around or reflects")
                change.append(_EPS if metric == "final_initial_ratio" else "")
                found.append(
                    entry(
                        f"{norm}_{metric}_{scale}",
                        f"{text}; I = {norms[norm]}, {scales[scale]}",
                        "; ".join(dict.fromkeys(part for part in change if part)),
                        undefined,
                        steps=steps,
                    )
                )
    return tuple(found)


_RANDOM = "largest of 8 draws; both evaluations get the same random numbers"
_ZERO = "the image of the field is zero or not finite"
SENSITIVITY = (
    *(
        entry(f"lipschitz_eps_{amount}",
              f"max ‖O(x + δ) − O(x)‖/‖δ‖, δ = {amount}·white noise, x the first state", _RANDOM,
              "the field is not finite")
        for amount in ("1e-04", "1e-03", "1e-02")
    ),
    *(
        entry(f"gain_scale_{scale}", f"‖O({scale} x)‖/‖O(x)‖", f"{_EPS}; same random numbers",
              _ZERO)
        for scale in ("0.50", "0.75", "1.25", "1.50")
    ),
    entry("linearity_r2", "R² of a straight line through (a, gain), a = 0.5, 0.75, 1, 1.25, 1.5",
          "same random numbers", f"{_ZERO}, or all gains are equal"),
    entry("saturation_degree", "1.5 − gain(1.5)", "same random numbers", _ZERO),
    entry("compression_ratio", "gain(0.5)/gain(1.5)", f"{_EPS}; same random numbers",
          f"{_ZERO}, or gain(1.5) is zero"),
)  # fmt: skip


def numbered(
    families: dict[str, tuple[str, tuple[Entry, ...]]],
    first: int,
    indices: dict[str, int],
    *,
    standard: bool,
) -> list[Feature]:
    """Give numbers to entries, family by family.

    Parameters
    ----------
    families : dict
        Family -> level and entries; an entry may have a level of its own.
    first : int
        Number of the first.
    indices : dict
        Family -> place of its first entry in the register; those that are missing have
        ``number - 1``.
    standard : bool
        Whether they belong to the 153.

    Returns
    -------
    list of Feature
        In the order given.
    """
    found: list[Feature] = []
    for family, (level, entries) in families.items():
        for place, one in enumerate(entries):
            number = first + len(found)
            index = indices[family] + place if family in indices else number - 1
            more = {"level": level, **dict(one.extra)}
            found.append(
                Feature(
                    name=one.name,
                    number=number,
                    index=index,
                    family=family,
                    definition=one.definition,
                    change=one.change,
                    undefined=one.undefined,
                    standard=standard,
                    **more,
                )
            )
    return found


STANDARD = numbered(
    {
        "spatial": ("step", SPATIAL),
        "spectral": ("step", SPECTRAL),
        "cross_channel": ("step", CROSS_CHANNEL),
        "temporal": ("trajectory", TEMPORAL),
        "causality": ("trajectory", _causality()),
        "invariant_drift": ("trajectory", _drift()),
        "operator_sensitivity": ("trajectory", SENSITIVITY),
    },
    1,
    {
        "spatial": 0,
        "spectral": 19,
        "temporal": 46,
        "operator_sensitivity": 59,
        "cross_channel": 69,
        "causality": 79,
        "invariant_drift": 93,
    },
    standard=True,
)
