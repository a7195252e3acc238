"""Further optional families: physics, events in time, extras of a field, of modes and bands."""

from __future__ import annotations

from xphys.features._definitions import entry
from xphys.features._kernels.events import LAGS, WINDOWS

__all__ = ["FURTHER"]

_CONSTANT = "the field is constant in space"
_MEAN = "the spatial mean does not change"
_DC = "the mean mode is left out"
_SHELL = "in shells as wide as the largest step, up to half of the shortest side"

PHYSICS = (
    entry("correlation_length", "−1/slope of ln C(r), first quarter of the shells (at least 3) "
          "while C ≥ 0.1; C(r) mean of ρ(d), |d| = r, the correlation of u − m at points d apart "
          f"(around periodic axes only), {_SHELL}",
          "a length, not a share of the box; u − m; not clipped",
          f"{_CONSTANT}, C does not fall there, or fewer than two shells have 0.1", uniform=True),
    entry("correlation_peak", "largest C(r), r > 0", "u − m; over its variance", _CONSTANT,
          uniform=True),
    entry("structure_factor_peak_k", "k = 2πf of the largest S(k) (of equal ones the lowest), "
          "S = p dV, mean over shells as wide as the lowest frequency of the box",
          f"{_DC}; radians per length, not a share; every shell", _CONSTANT, uniform=True),
    entry("structure_factor_peak_value", "largest S(k)",
          f"{_DC}; by cells, so that grids compare", _CONSTANT, uniform=True),
    entry("structure_factor_width", "full width at half of that, in k, linear between shells, "
          "S(0) = 0", "of the peak itself; in k, not a share",
          f"{_CONSTANT}, or S does not fall to half beyond the peak", uniform=True),
    entry("structure_factor_integral", "∫S dk by trapezoids from S(0) = 0",
          f"{_DC}; an integral, not a mean", _CONSTANT, uniform=True),
    entry("density_fluctuation", "s²/m²", "no ε; not clipped", "m is zero"),
    entry("compressibility_proxy", "s²/|m|", "no ε; not clipped", "m is zero"),
    entry("clustering_coefficient", "correlation of the means over 3 cells along each axis with "
          "those 3 cells further along x", "windows that do not overlap: those that do are alike "
          "in noise too; around periodic axes",
          f"{_CONSTANT}, there are fewer than 6 points along x or 3 along another axis",
          axes=("x",)),
    entry("coherence_length", "first r with C(r) < 1/e, linear between shells",
          "a length; mean over directions; u − m", f"{_CONSTANT}, or C does not fall to 1/e",
          uniform=True),
    entry("correlation_anisotropy", "(a_x − a_y)/(a_x + a_y), a the mean |ρ| along an axis up to "
          "half of the shortest side", "from −1 to 1, longer along x if positive, instead of "
          "a_x/(a_y + ε); u − m",
          f"{_CONSTANT}, or an axis has no point so near", uniform=True, axes=("x", "y")),
    entry("structure_factor_peak", "wavelength 1/f of the largest p (of equal ones the longest)",
          f"{_DC}; a length; no ε", _CONSTANT, uniform=True),
)  # fmt: skip

_FAR = "|m(t) − ⟨m⟩| > 2 deviations (n − 1)"
_ROLLING = {
    "mean": ("mean", 2),
    "std": ("standard deviation (n − 1)", 2),
    "max": ("largest value", 2),
    "min": ("smallest value", 2),
    "mean_variability": ("mean", 3),
    "std_variability": ("standard deviation", 3),
}
TEMPORAL_EXTENSIONS = (
    entry("num_spikes", f"runs of steps with {_FAR}", "both signs; runs at the ends too", steps=2),
    entry("num_bursts", "those of 3 steps and more", "both signs; runs at the ends too", steps=2),
    entry("num_zero_crossings", "changes of sign of m(t) − ⟨m⟩", "a zero is no change", steps=2),
    *(
        entry(f"time_to_{factor}x", f"time since the start at which |m| is first {text} |m(0)|",
              "amounts; real times; NaN instead of 1 if never", f"m(0) is zero, or |m| is never "
              f"{text} |m(0)|", steps=2)
        for factor, text in (("0.5", "at most half of"), ("2.0", "at least twice"))
    ),
    *(
        entry(f"rolling_w{share}_{name}",
              (f"standard deviation (n − 1) of the {text}s of" if "variability" in name else
               f"mean of the {text} of") + f" m(t) in all windows of {share} % of the steps "
              "(at least 2)", "not clipped", steps=steps)
        for share in WINDOWS
        for name, (text, steps) in _ROLLING.items()
    ),
    *(
        entry(f"pacf_lag_{lag}", f"partial autocorrelation of m(t) at lag {lag}: last weight of "
              f"the autoregression of order {lag} by Levinson and Durbin", "the recursion itself; "
              "not clipped" if lag > 1 else "no ε", _MEAN, steps=lag + 1, uniform_time=True)
        for lag in range(1, LAGS + 1)
    ),
)  # fmt: skip

SPATIAL_EXTENSIONS = (
    entry("effective_rank", "Σσ²/σ₁², σ the singular values of u − m", "u − m; no ε", _CONSTANT,
          plane=True),
    entry("explained_variance_90", "number of components that hold 90 % of Σσ²", "u − m",
          _CONSTANT, plane=True),
    entry("gradient_saturation_ratio", "share of the points with |∇u| < 0.05 max |∇u|",
          "real distances", f"{_CONSTANT}, or has no gradient"),
    entry("gradient_flatness", "⟨((|∇u| − ⟨|∇u|⟩)/σ)⁴⟩ − 3, σ the deviation (n − 1) of |∇u|",
          "real distances; no ε", f"{_CONSTANT}, or its gradient is of one length"),
)  # fmt: skip

_ANNULUS = "P_j the power with |f − j f₁| ≤ 0.1 j f₁, f₁ the frequency of the largest p"
HARMONICS = tuple(
    entry(name, text, change, f"{_CONSTANT}{more}", uniform=True)
    for name, text, change, more in (
        ("harmonic_ratio_2f", f"P₂/P₁; {_ANNULUS}", "sums of both, not a mean over a maximum",
         ", or 2 f₁ is beyond the Nyquist frequency"),
        ("harmonic_ratio_3f", "P₃/P₁", "sums of both, not a mean over a maximum",
         ", or 3 f₁ is beyond the Nyquist frequency"),
        ("total_harmonic_distortion", "√((P₂ + P₃)/P₁)", "of amplitudes: P are powers",
         ", or 3 f₁ is beyond the Nyquist frequency"),
        ("fundamental_purity", "P₁/Σp", f"{_DC}; the whole peak", ""),
    )
)  # fmt: skip

CONDITIONAL_INFORMATION = tuple(
    entry(f"cross_channel_cmi_{name}", f"{text} over i < j and k of the mutual information of "
          "channels i and j given k in nats, 8 equal bins from min to max each", "8 bins: the "
          "cells of 16 are more than most fields have points",
          "a channel is constant in space, or not finite", channels=3)
    for name, text in (("mean", "mean"), ("max", "largest"))
)  # fmt: skip

_LOW = "f ≤ max(f_N/4, f₁), f_N the Nyquist and f₁ the lowest frequency"
DISSIPATION = tuple(
    entry(name, text, change, undefined, steps=2, uniform=True)
    for name, text, change, undefined in (
        ("dissipation_rate_lowfreq", "−slope of ln E_low over time (least squares), E_low = Σp dV "
         f"of {_LOW}", f"{_DC}; no ε; real times; all steps", "E_low is zero at all times but one"),
        ("dissipation_rate_highfreq", "−slope of ln E_high over time, f ≥ 3 f_N/4",
         "no ε; real times; all steps", "E_high is zero at all times but one"),
        ("dissipation_selectivity", "rate of high over rate of low frequencies", "no ε",
         "a rate is not there, or that of low frequencies is zero"),
        ("energy_cascade_direction", "sign of the slope of E_low/E over time: 1 to large scales, "
         "−1 to small ones", "of the share: E_low itself falls in every field that decays",
         "the field is constant in space at all times but one"),
    )
)  # fmt: skip

SEQUENCES = (
    entry("energy_trajectory", "√∫u² dV", "by cells; mean over channels"),
    entry("variance_trajectory", "s², as spatial_variance"),
    entry(
        "smoothness_trajectory",
        "s/√⟨|∇u|²⟩, a length (Taylor's)",
        "grows with smoothness; was the variance over all channels",
        f"{_CONSTANT}, or has no gradient",
    ),
    entry(
        "channel_correlation_trajectory",
        "mean |R_ij| over i < j",
        "of correlations, without units; was a sum of covariances",
        "a channel is constant in space, or not finite",
        channels=2,
    ),
)

FURTHER = {
    "physics": ("step", PHYSICS),
    "temporal_extensions": ("trajectory", TEMPORAL_EXTENSIONS),
    "spatial_extensions": ("step", SPATIAL_EXTENSIONS),
    "harmonics": ("step", HARMONICS),
    "conditional_information": ("step", CONDITIONAL_INFORMATION),
    "dissipation": ("trajectory", DISSIPATION),
    "sequences": ("step", SEQUENCES),
}
