"""Isotropic power spectra."""

from typing import TYPE_CHECKING

from xphys._lazy import attach

if TYPE_CHECKING:
    from xphys.spectra._api import spectra as spectra

__all__ = ["spectra"]

__getattr__, __dir__ = attach(__name__, {"spectra": "._api"})
