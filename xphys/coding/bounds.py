"""Error bounds: what a user asks for, and what it means for one chunk."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np

from xphys.errors import BoundError

__all__ = ["KINDS", "RELATIVE_MARGIN", "ULP_MARGIN", "Allowance", "Bounds", "Limits"]

KINDS = ("vrmse", "rel_l2", "max_abs", "max_rel", "psnr", "pointwise_rel")

# A bound is kept with this relative margin and with this many units in the last place of the
# decoded value, so that it still holds where another machine rounds the inverse transform
# differently.
RELATIVE_MARGIN = 1e-6
ULP_MARGIN = 4.0


@dataclass(frozen=True)
class Limits:
    """Bounds of one chunk in the units of the array that a method is given.

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


@dataclass(frozen=True)
class Allowance:
    """What bounds allow relative to a reference.

    Attributes
    ----------
    mean_square : ndarray of float64
        Largest mean squared error in units of ``4**exponent``, one for each group.
    absolute : ndarray of float64
        Largest error of a single point in the units of the variable, one for each group.
    relative : float
        Largest error of a single point as a share of its magnitude.
    exponent : int
        Of the unit of ``mean_square``.
    """

    mean_square: np.ndarray
    absolute: np.ndarray
    relative: float
    exponent: int


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

    @property
    def relative(self) -> bool:
        """True if norms or ranges of the values decide what is allowed."""
        given = (self.vrmse, self.rel_l2, self.max_rel, self.psnr)
        return any(bound is not None for bound in given)

    def to_dict(self) -> dict[str, float]:
        """The bounds that are set, as JSON values."""
        pairs = ((f.name, getattr(self, f.name)) for f in fields(self))
        return {name: value for name, value in pairs if value is not None}

    def allowance(self, state: np.ndarray, exponent: int) -> Allowance:
        """What the bounds allow, given what they are relative to.

        Parameters
        ----------
        state : structured ndarray
            As `reference.reference` returns it, one element for each group.
        exponent : int
            Unit of the squares in the result: magnitudes there are at most about one.

        Returns
        -------
        Allowance
            With arrays of the shape of ``state``.
        """
        shift = state["exponent"] - exponent
        mean_square = np.full(state.shape, np.inf)
        absolute = np.full(state.shape, np.inf)
        variance = state["squares"] / np.maximum(state["count"], 1)
        # of a group without a single point the range is minus infinity
        spread = np.where(state["count"] > 0, state["high"] - state["low"], 0.0)
        # an overflow means a bound beyond anything that a value could miss; a power that
        # underflows leaves zero: exact
        with np.errstate(over="ignore", under="ignore"):
            norms = {
                "vrmse": (self.vrmse, variance),
                "rel_l2": (self.rel_l2, variance + state["mean"] ** 2),
                "psnr": (None if self.psnr is None else 10.0 ** (-self.psnr / 20), spread**2),
            }
            for bound, power in norms.values():
                if bound is not None:
                    allowed = np.ldexp(bound**2 * power, 2 * shift)
                    mean_square = np.minimum(mean_square, allowed)
            if self.max_abs is not None:
                absolute = np.minimum(absolute, self.max_abs)
            if self.max_rel is not None:
                allowed = np.ldexp(self.max_rel * spread, state["exponent"])
                absolute = np.minimum(absolute, allowed)
        relative = math.inf if self.pointwise_rel is None else self.pointwise_rel
        return Allowance(mean_square, absolute, relative, exponent)
