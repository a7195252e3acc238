"""Error bounds: what a user asks for, and what it means for one chunk."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np

from xphys.errors import BoundError

__all__ = ["KINDS", "Bounds", "Limits"]

KINDS = ("vrmse", "rel_l2", "max_abs", "max_rel", "psnr", "pointwise_rel")

# A bound is kept with this relative margin and with this many units in the last place of the
# decoded value, so that it still holds where another machine rounds the inverse transform
# differently.
RELATIVE_MARGIN = 1e-6
ULP_MARGIN = 4.0


@dataclass(frozen=True)
class Limits:
    """Bounds of one chunk in the units of the array they are checked on.

    Attributes
    ----------
    squared : float
        Largest sum of squared errors over the chunk; infinity when not bounded.
    absolute : float
        Largest error of a single point; infinity when not bounded.
    relative : float
        Largest error of a single point as a share of its magnitude; infinity when not bounded.
    """

    squared: float
    absolute: float
    relative: float

    @property
    def pointwise(self) -> bool:
        """True if single points are bounded."""
        return math.isfinite(self.absolute) or math.isfinite(self.relative)

    def tolerance(self, x: np.ndarray) -> np.ndarray | float:
        """Largest error allowed at each point of x, margin included; same units as x."""
        keep = 1.0 - RELATIVE_MARGIN
        if not math.isfinite(self.relative):
            return self.absolute * keep
        return np.asarray(np.minimum(self.absolute, self.relative * np.abs(x)) * keep)


@dataclass(frozen=True)
class Bounds:
    r"""Error bounds, all of which hold.

    With original :math:`x`, decoded :math:`\hat x`, :math:`N` points and range
    :math:`R = \max x - \min x`:

    Parameters
    ----------
    vrmse : float, optional
        :math:`\|\hat x - x\|_2 / \|x - \bar x\|_2`.
    rel_l2 : float, optional
        :math:`\|\hat x - x\|_2 / \|x\|_2`.
    max_abs : float, optional
        :math:`\max |\hat x - x|`, in the units of the variable.
    max_rel : float, optional
        :math:`\max |\hat x - x| / R`.
    psnr : float, optional
        Lower bound in dB of :math:`20 \log_{10}(R \sqrt{N} / \|\hat x - x\|_2)`.
    pointwise_rel : float, optional
        :math:`\max |\hat x - x| / |x|`, zero where :math:`x = 0`.

    Raises
    ------
    BoundError
        If a bound is not a finite number, or negative (``psnr`` may have any sign), or if none
        is given.

    Notes
    -----
    Points that are stored exactly (NaN, infinities, huge fill values) take no part in the norms
    and the range, which makes every bound stricter, never laxer.

    Examples
    --------
    >>> Bounds(vrmse=0.01).to_dict()
    {'vrmse': 0.01}
    """

    vrmse: float | None = None
    rel_l2: float | None = None
    max_abs: float | None = None
    max_rel: float | None = None
    psnr: float | None = None
    pointwise_rel: float | None = None

    def __post_init__(self) -> None:
        given = self.to_dict()
        if not given:
            raise BoundError(f"expected at least one bound of {', '.join(KINDS)}, got none")
        for name, value in given.items():
            if isinstance(value, bool) or not isinstance(value, int | float | np.number):
                raise BoundError(f"bound {name} must be a number, got {type(value).__name__}")
            if not math.isfinite(value) or (value < 0 and name != "psnr"):
                raise BoundError(f"bound {name} must be finite and not negative, got {value!r}")
            object.__setattr__(self, name, float(value))

    def to_dict(self) -> dict[str, float]:
        """The bounds that are set, as JSON values."""
        pairs = ((f.name, getattr(self, f.name)) for f in fields(self))
        return {name: value for name, value in pairs if value is not None}

    def limits(self, x: np.ndarray, exponent: int = 0) -> Limits:
        """Turn the bounds into limits for one array.

        Parameters
        ----------
        x : ndarray of float64, shape (n,)
            The points that may change, divided by ``2**exponent`` so that squares neither
            overflow nor all vanish.
        exponent : int, default 0
            Of that division.

        Returns
        -------
        Limits
            In the units of x.
        """
        squared = absolute = relative = math.inf
        spread = float(x.max() - x.min()) if x.size else 0.0
        if self.vrmse is not None:
            deviation = x - x.mean() if x.size else x
            squared = min(squared, self.vrmse**2 * float(np.dot(deviation, deviation)))
        if self.rel_l2 is not None:
            squared = min(squared, self.rel_l2**2 * float(np.dot(x, x)))
        if self.psnr is not None:
            # a range so small and a demand so high that the power underflows leaves zero: exact
            squared = min(squared, x.size * (spread * 10.0 ** (-self.psnr / 20)) ** 2)
        if self.max_abs is not None:
            # an overflow means a bound beyond anything that x could miss
            with np.errstate(over="ignore", under="ignore"):
                absolute = min(absolute, float(np.ldexp(self.max_abs, -exponent)))
        if self.max_rel is not None:
            absolute = min(absolute, self.max_rel * spread)
        if self.pointwise_rel is not None:
            relative = self.pointwise_rel
        return Limits(squared, absolute, relative)
