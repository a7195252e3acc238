"""Spectra by wavenumber, structure functions and correlations by separation."""

from typing import TYPE_CHECKING

from xphys._lazy import attach

if TYPE_CHECKING:
    from xphys.spectra._api import spectra as spectra
    from xphys.spectra._separations import autocorrelation as autocorrelation
    from xphys.spectra._separations import correlation_lengths as correlation_lengths
    from xphys.spectra._separations import structure_functions as structure_functions

__all__ = ["autocorrelation", "correlation_lengths", "spectra", "structure_functions"]

__getattr__, __dir__ = attach(
    __name__,
    {
        "autocorrelation": "._separations",
        "correlation_lengths": "._separations",
        "spectra": "._api",
        "structure_functions": "._separations",
    },
)
