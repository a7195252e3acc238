"""Figures of Datasets, for any backend: no window is opened, no global state is touched."""

from typing import TYPE_CHECKING

from xphys._lazy import attach

if TYPE_CHECKING:
    from xphys.plotting._compare import compare_figure as compare_figure
    from xphys.plotting._spectra import spectra_figure as spectra_figure

__all__ = ["compare_figure", "spectra_figure"]

__getattr__, __dir__ = attach(
    __name__, {"compare_figure": "._compare", "spectra_figure": "._spectra"}
)
