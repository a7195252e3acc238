"""Identities that hold to rounding: one variable is another one scaled, or the curl of two."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from xphys.coding.predict.fit import space_of
from xphys.coding.predict.grid import Grid
from xphys.coding.predict.modes import Modes, derivative, divergence_stencil
from xphys.coding.predict.plan import MODES, Step, Term

__all__ = ["EXACT", "find_copies", "find_curls", "likely_curls"]

#: Root mean square of the rest over that of the variable, below which an identity holds.
EXACT = 1e-6
_LIKELY = 1e-4  # the same, for a first look at sums that lose digits
_MOST_VARIABLES = 16
_CURLS = ("c", "s")
_DIVERGENCES = ("f", "c", "s")


def find_copies(fields: Mapping[str, np.ndarray], found: dict[str, Step]) -> None:
    """Add variables that are another one times a number, the later one told from the earlier."""
    names = list(fields)
    flat = np.stack([fields[name].reshape(-1) for name in names])
    products = flat @ flat.T
    for i, name in enumerate(names):
        for j, other in enumerate(names[:i]):
            dot, square, size = products[i, j], products[j, j], products[i, i]
            if other in found or size * square - dot * dot > _LIKELY**2 * size * square:
                continue
            rest = np.linalg.norm(flat[i] - dot / square * flat[j])
            if rest <= EXACT * np.sqrt(size):
                found[name] = Step(name, MODES, (Term((other,), "="),))
                break


def find_curls(fields: Mapping[str, np.ndarray], grid: Grid, found: dict[str, Step]) -> None:
    """Add pairs of components that a third variable is the discrete curl of."""
    axes, lengths = space_of(grid)
    names = [name for name in fields if name not in found][:_MOST_VARIABLES]
    if len(axes) != 2 or len(names) < 3:
        return
    modes = Modes(fields[names[0]].shape, axes, lengths)
    spectra = {n: modes.forward(modes.rows(fields[n])) for n in names}
    for spectrum in spectra.values():
        spectrum[:, modes.squared == 0] = 0
    for stencil in _CURLS:
        d = [derivative(modes, axis, stencil) for axis in (0, 1)]
        first = {n: d[1] * s for n, s in spectra.items()}
        second = {n: d[0] * s for n, s in spectra.items()}
        for curl, one, other in likely_curls(modes.twice, spectra, first, second):
            taken = {*found, *(base for step in found.values() for base in step.bases)}
            if one in taken or other in taken or curl in found:
                continue
            divergence = _best_divergence(modes, spectra[one], spectra[other])
            end = stencil + divergence
            found[one] = Step(one, MODES, (Term((curl,), f"j0{end}"),))
            found[other] = Step(other, MODES, (Term((curl,), f"j1{end}"),))


def likely_curls(
    weights: np.ndarray,
    wholes: Mapping[str, np.ndarray],
    first: Mapping[str, np.ndarray],
    second: Mapping[str, np.ndarray],
) -> list[tuple[str, str, str]]:
    """Triples (j, a, b) with j = c (first[a] - second[b]) to rounding."""
    root, names = np.sqrt(weights), list(wholes)
    whole, left, right = (
        np.stack([(root * spectra[n]).reshape(-1) for n in names])
        for spectra in (wholes, first, second)
    )
    size, up, down = (np.linalg.norm(a, axis=1) ** 2 for a in (whole, left, right))
    to_left, to_right = _products(whole, left), _products(whole, right)
    # |a - b|^2 and x (a - b) for all x, a, b: what unrelated fields fail without more work
    square = up[:, None] + down[None, :] - 2 * _products(left, right)
    drop = to_left[:, :, None] - to_right[:, None, :]
    rest = size[:, None, None] - drop**2 / np.where(square > 0, square, np.inf)
    likely = (rest <= _LIKELY**2 * size[:, None, None]) & (size > 0)[:, None, None]
    out = []
    for x, a, b in np.argwhere(likely):
        if len({x, a, b}) == 3:
            left_over = whole[x] - drop[x, a, b] / square[a, b] * (left[a] - right[b])
            if np.linalg.norm(left_over) ** 2 <= EXACT**2 * size[x]:
                out.append((names[x], names[a], names[b]))
    return out


def _products(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray((a.conj() @ b.T).real)


def _best_divergence(modes: Modes, zero: np.ndarray, one: np.ndarray) -> str:
    """Stencil by which a vector of components 0 and 1 has least divergence."""
    shares = []
    for stencil in _DIVERGENCES:
        w = divergence_stencil(modes, stencil)
        size = np.sqrt(np.abs(w[0]) ** 2 + np.abs(w[1]) ** 2)
        size = np.where(size > 0, size, 1.0)
        rest = (w[0] * zero + w[1] * one) / size
        shares.append(float((modes.twice * np.abs(rest) ** 2).sum()))
    return _DIVERGENCES[int(np.argmin(shares))]
