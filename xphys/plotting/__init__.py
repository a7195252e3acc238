"""Figures of Datasets, for any backend: no window is opened, no global state is touched."""

from typing import TYPE_CHECKING

from xphys._lazy import attach

if TYPE_CHECKING:
    from xphys.plotting._analysis import analysis_figures as analysis_figures
    from xphys.plotting._analysis import gap_figure as gap_figure
    from xphys.plotting._analysis import pdf_figure as pdf_figure
    from xphys.plotting._charts import rate_distortion_figure as rate_distortion_figure
    from xphys.plotting._charts import report_figures as report_figures
    from xphys.plotting._compare import compare_figure as compare_figure
    from xphys.plotting._spectra import spectra_figure as spectra_figure

__all__ = [
    "analysis_figures",
    "compare_figure",
    "gap_figure",
    "pdf_figure",
    "rate_distortion_figure",
    "report_figures",
    "spectra_figure",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "analysis_figures": "._analysis",
        "compare_figure": "._compare",
        "gap_figure": "._analysis",
        "pdf_figure": "._analysis",
        "rate_distortion_figure": "._charts",
        "report_figures": "._charts",
        "spectra_figure": "._spectra",
    },
)
