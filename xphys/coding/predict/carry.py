r"""A scalar that a known flow carries and diffusion spreads, in a layer between two walls.

:math:`\partial_t s + u\,\partial_x s + w\,\partial_z s = \kappa \nabla^2 s` with given values at
the walls, from one field through all later ones: what a flow makes of a scalar forgets where it
began, so errors do not grow. Semi-Lagrangian steps with polynomials of degree five, velocities
cubic in time between the fields that are known, diffusion across the layer by implicit steps.
Lengths are in units of half the distance of the walls.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from scipy import fft, optimize

from xphys.coding.predict.walls import Layer

__all__ = ["Carrier", "Setting", "carry", "fit_setting", "wall_values"]

_IMPLICIT = 8  # steps of diffusion in one of the flow
_CELLS = 3.0  # that the fastest point may cross in one step
_FEWEST_STEPS, _MOST_STEPS = 4, 10
_PAIRS = 3  # of fields, to find the diffusivity by
_POWERS = (-5.0, -4.0, -3.0, -2.0)
_BETTER = 0.5  # share of what the field before leaves


@dataclass(frozen=True)
class Setting:
    """What a scalar is like.

    Attributes
    ----------
    diffusivity : float
        In units of half distances squared per time.
    low, high : float
        Its values at the lower and the upper wall.
    steps : int
        Of the flow from one field to the next.
    """

    diffusivity: float
    low: float
    high: float
    steps: int


@njit(cache=True, nogil=True)
def _six(t, out):  # type: ignore[no-untyped-def]
    """Lagrange weights at t (0 to 1) between the third and the fourth of six points."""
    a, b, c, d, e, f = t + 2.0, t + 1.0, t, t - 1.0, t - 2.0, t - 3.0
    out[0] = b * c * d * e * f * (-1.0 / 120.0)
    out[1] = a * c * d * e * f * (1.0 / 24.0)
    out[2] = a * b * d * e * f * (-1.0 / 12.0)
    out[3] = a * b * c * e * f * (1.0 / 12.0)
    out[4] = a * b * c * d * f * (-1.0 / 24.0)
    out[5] = a * b * c * d * e * (1.0 / 120.0)


@njit(cache=True, nogil=True)
def _four(t, out):  # type: ignore[no-untyped-def]
    """The same between the second and the third of four points."""
    a, b, c, d = t + 1.0, t, t - 1.0, t - 2.0
    out[0] = b * c * d * (-1.0 / 6.0)
    out[1] = a * c * d * 0.5
    out[2] = a * b * d * -0.5
    out[3] = a * b * c * (1.0 / 6.0)


@njit(cache=True, nogil=True)
def _mirrored(k, n):  # type: ignore[no-untyped-def]
    """Index within 0 and n - 1: a field is even in the angle at the walls."""
    if k < 0:
        k = -1 - k
    if k >= n:
        k = 2 * n - 1 - k
    return min(max(k, 0), n - 1)  # not a number is somewhere, too


@njit(cache=True, nogil=True)
def _row(z, n):  # type: ignore[no-untyped-def]
    """Fractional index of a height between -1 and 1."""
    return math.acos(min(max(-z, -1.0), 1.0)) / math.pi * n - 0.5


@njit(cache=True, nogil=True)
def _move(s, u, w, heights, cell, h, out):  # type: ignore[no-untyped-def]
    """One step back along the flow (midpoint rule): fields periodic along, mirrored across."""
    n, m = s.shape
    first, second = np.empty(6), np.empty(6)
    for i in range(n):
        for j in range(m):
            row, column = _row(heights[i] - 0.5 * h * w[i, j], n), j - 0.5 * h * u[i, j] / cell
            top, left = math.floor(row), math.floor(column)
            _four(row - top, first)
            _four(column - left, second)
            along = across = 0.0
            for a in range(4):
                k = _mirrored(int(top) + a - 1, n)
                for b in range(4):
                    weight, q = first[a] * second[b], (int(left) + b - 1) % m
                    along += weight * u[k, q]
                    across += weight * w[k, q]
            row, column = _row(heights[i] - h * across, n), j - h * along / cell
            top, left = math.floor(row), math.floor(column)
            _six(row - top, first)
            _six(column - left, second)
            total = 0.0
            for a in range(6):
                k, part = _mirrored(int(top) + a - 2, n), 0.0
                for b in range(6):
                    part += second[b] * s[k, (int(left) + b - 2) % m]
                total += first[a] * part
            out[i, j] = total


@njit(cache=True, nogil=True)
def _spread(matrix, s, out):  # type: ignore[no-untyped-def]
    n, m = s.shape
    for i in range(n):
        for j in range(m):
            out[i, j] = 0.0
        for k in range(n):
            factor = matrix[i, k]
            for j in range(m):
                out[i, j] += factor * s[k, j]


class Carrier:
    """Carries fields through one flow.

    Parameters
    ----------
    layer : Layer
        Of the chunk.
    u, w : ndarray
        Velocities along and across, fields in front: (fields, nodes, points).
    times : ndarray
        Of the fields.
    """

    def __init__(self, layer: Layer, u: np.ndarray, w: np.ndarray, times: np.ndarray) -> None:
        n = layer.nodes
        self.layer, self.times = layer, times
        self.u, self.w = u.astype(np.float64), w.astype(np.float64)
        angle = math.pi * (np.arange(n) + 0.5) / n
        self.heights = -np.cos(angle)
        self.cell = 2.0 * layer.aspect / layer.points
        order = np.arange(n)
        self.values = np.cos(order * angle[:, None])[::-1].copy()
        self.coefficients = np.linalg.inv(self.values)
        self.profile = (self.heights + 1) / 2

    def advance(self, s: np.ndarray, n: int, setting: Setting) -> np.ndarray:
        """The field at time n from the one at time n - 1."""
        duration = float(self.times[n] - self.times[n - 1])
        h = duration / setting.steps
        base = setting.low + (setting.high - setting.low) * self.profile[:, None]
        matrix = self._diffusion(setting.diffusivity * h)
        moved, spread = np.empty_like(s), np.empty_like(s)
        for step in range(setting.steps):
            share = (step + 0.5) / setting.steps
            u, w = self._between(self.u, n, share), self._between(self.w, n, share)
            _move(s, u, w, self.heights, self.cell, h, moved)
            _spread(matrix, moved - base, spread)
            s = spread + base
        damped = np.exp(-setting.diffusivity * duration * self.layer.k**2)
        return np.asarray(fft.irfft(fft.rfft(s, axis=1) * damped, n=s.shape[1], axis=1))

    def _diffusion(self, strength: float) -> np.ndarray:
        n = self.layer.nodes
        matrix = np.eye(n) - strength / _IMPLICIT * (self.layer.slope @ self.layer.slope)
        matrix[-2:] = np.stack([self.layer.top, self.layer.bottom])
        kept = self.coefficients.copy()
        kept[-2:] = 0
        once = self.values @ np.linalg.solve(matrix, kept)
        return np.ascontiguousarray(np.linalg.matrix_power(once, _IMPLICIT))

    def _between(self, fields: np.ndarray, n: int, share: float) -> np.ndarray:
        """Velocities at a share of the way from n - 1 to n, by up to four fields."""
        chosen = [i for i in (n - 2, n - 1, n, n + 1) if 0 <= i < len(fields)]
        at = self.times[n - 1] + share * (self.times[n] - self.times[n - 1])
        out = np.zeros(fields.shape[1:])
        for i in chosen:
            weight = 1.0
            for j in chosen:
                if j != i:
                    weight *= (at - self.times[j]) / (self.times[i] - self.times[j])
            out += weight * fields[i]
        return out


def carry(carrier: Carrier, first: np.ndarray, setting: Setting) -> np.ndarray:
    """All fields from the first one: (fields, nodes, points)."""
    out = np.empty_like(carrier.u)
    out[0] = first
    for n in range(1, len(out)):
        out[n] = carrier.advance(out[n - 1], n, setting)
    return out


def _steps(carrier: Carrier) -> int:
    """Steps from one field to the next so that no point crosses many cells in one."""
    nodes = np.abs(np.gradient(carrier.heights))[:, None]
    speed = max(
        float(np.abs(carrier.u).max()) / carrier.cell, float((np.abs(carrier.w) / nodes).max())
    )
    wanted = float(np.diff(carrier.times).max()) * speed / _CELLS
    return min(max(math.ceil(wanted), _FEWEST_STEPS), _MOST_STEPS)


def wall_values(layer: Layer, fields: np.ndarray) -> tuple[float, float] | None:
    """Values at the lower and the upper wall; None where they are not the same everywhere."""
    coefficients = layer.spectrum(layer.forward(fields))
    ends = [fft.irfft(np.einsum("n,rnk->rk", e, coefficients)) for e in (layer.bottom, layer.top)]
    spread = float(fields.std())
    if not spread or max(float(e.std()) for e in ends) > 0.05 * spread:
        return None
    return float(ends[0].mean()), float(ends[1].mean())


def fit_setting(carrier: Carrier, fields: np.ndarray) -> Setting | None:
    """Diffusivity that fits single steps from known fields best.

    Parameters
    ----------
    carrier : Carrier
        With the flow.
    fields : ndarray
        The scalar: (fields, nodes, points).

    Returns
    -------
    Setting or None
        None where the flow does not carry it: no better than the field before.
    """
    ends = wall_values(carrier.layer, fields)
    if ends is None:
        return None
    ends = (float(f"{ends[0]:.6g}"), float(f"{ends[1]:.6g}"))
    chosen = np.unique(np.linspace(1, len(fields) - 1, _PAIRS + 2).astype(int)[1:-1])

    def error(power: float) -> float:
        setting = Setting(10.0**power, *ends, _FEWEST_STEPS)
        rests = (carrier.advance(fields[n - 1], n, setting) - fields[n] for n in chosen)
        return float(sum((rest * rest).sum() for rest in rests))

    coarse = [(error(power), power) for power in _POWERS]
    around = min(coarse)[1]
    found = optimize.minimize_scalar(
        error, bounds=(around - 0.5, around + 0.5), method="bounded", options={"maxiter": 8}
    )
    before = sum(((fields[n] - fields[n - 1]) ** 2).sum() for n in chosen)
    if not found.fun < _BETTER * before:
        return None
    return Setting(float(f"{10.0**found.x:.3g}"), *ends, _steps(carrier))
