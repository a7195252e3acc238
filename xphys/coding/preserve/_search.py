"""Working out corrections of a vector: how much of a divergence is taken off, and how often."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from xphys.coding.preserve._apply import fields_of, restored
from xphys.coding.preserve._joint import (
    ROWS,
    WHOLE,
    Group,
    Numbers,
    Plan,
    Setup,
    finished,
    group_of,
    lessened,
    measured,
    restore_together,
)
from xphys.coding.preserve._operators import PERIODIC, divergence
from xphys.coding.preserve._packed import scales_of, snapped

__all__ = ["correct_together"]

_PROMISED = 1e-12
# Numbers are stored with more digits than for one variable: several sums are harder to hit.
_FINER = 2.0
_PASSES = (10, 18, 26, 36, 37, 50, 51, 70, 71, 100, 101, 140, 141, 142)
_MOST_EXACT = 0.25  # share of fields; with more of them nothing is gained
_ROOM = 0.97  # share of its level that a divergence is brought to
_MOST_SHARE = 200  # beyond that all of a divergence is taken off
_SAME, _ROUNDING = 1e-9, 2.0**-50


def correct_together(
    x: list[np.ndarray],
    raw: list[np.ndarray],
    density: tuple[np.ndarray, np.ndarray] | None,
    setup: Setup,
) -> tuple[bytes, list[np.ndarray]] | None:
    """Work out a correction.

    Parameters
    ----------
    x, raw : list of ndarray of floats
        Original and decoded components, all of one shape and dtype.
    density : tuple of ndarray or None
        Original and decoded density, if momenta are those of a density.
    setup : Setup
        What is to be kept.

    Returns
    -------
    tuple of bytes and list of ndarray, or None
        For `restore_together`, and what comes out; None if too many fields cannot be corrected.
    """
    if not all(np.isfinite(v).all() for v in (*x, *raw)):
        return None
    exponent = math.frexp(max(float(np.abs(v).max(initial=0)) for v in x))[1]
    before, after = (None, None) if density is None else density
    with np.errstate(all="ignore"):
        stencil = _stencil(setup, exponent, x)
        wanted = group_of(setup, stencil, exponent, x, before)
        found = group_of(setup, stencil, exponent, raw, after)
        if before is not None and after is not None and wanted.mass is not None:
            # momenta of the decoded density, in the units that a reader has
            scale = float(np.abs(before).max()) / max(float(np.abs(after).max()), 1e-300)
            wanted = replace(wanted, mass=wanted.mass * scale)
        plan, out = _search(wanted, found)
        if plan is None:
            return None
        freed = lessened(found, plan.share)
        near = measured(freed, freed.parts)[0]
        sums, sizes = measured(wanted, wanted.parts)
        scales = _finer(sums, sizes, wanted.parts[0][0].size)
        data = plan.pack(scales, near, [fields_of(v, setup.axes) for v in x])
    shape = x[0].shape
    made = restore_together(data, raw, after)
    same = all(
        np.array_equal(m, restored(o, shape, setup.axes)) for m, o in zip(made, out, strict=True)
    )
    return (data, made) if same else None


def _stencil(setup: Setup, exponent: int, x: list[np.ndarray]) -> str:
    """The one by which the originals diverge least."""
    if not setup.free:
        return ""
    group = group_of(replace(setup, kept=()), "", exponent, x, None)
    best: tuple[float, str] | None = None
    known = (
        "c" if PERIODIC not in setup.kinds else "fcs" if set(setup.kinds) == {PERIODIC} else "sc"
    )
    sample = np.unique(np.linspace(0, len(group.parts[0]) - 1, 16).astype(int))
    for stencil in known:
        operator = divergence(group.parts[0].shape[1:], setup.kinds, setup.lengths, stencil)
        square = sum(float((operator.of([p[i] for p in group.parts]) ** 2).mean()) for i in sample)
        if best is None or square < best[0]:
            best = square, stencil
    assert best is not None
    return best[1]


def _levels(group: Group, parts: list[np.ndarray]) -> np.ndarray:
    """Root mean square and largest divergence of each field."""
    operator = group.operator
    if operator is None:
        return np.zeros((2, len(parts[0])))
    out = np.empty((2, len(parts[0])))
    for field in range(out.shape[1]):
        found = operator.of([p[field] for p in parts])
        out[:, field] = math.sqrt(float((found * found).mean())), float(np.abs(found).max())
    return out


def _shares(wanted: np.ndarray, found: np.ndarray) -> np.ndarray:
    """How much of the divergence of each field has to go."""
    left = np.where(found > 0, wanted / np.where(found > 0, found, 1.0), 1.0).min(axis=0)
    share = np.ceil(WHOLE * (1 - _ROOM * left)).clip(0, WHOLE)
    return np.where(left >= 1, 0, np.where(share > _MOST_SHARE, WHOLE, share)).astype(np.uint8)


def _missed(
    wanted: Group, mass: np.ndarray | None, parts: list[np.ndarray], levels: np.ndarray
) -> np.ndarray:
    """True for each field that misses what was asked; mass is that of the decoded density."""
    wrong = ~np.all([np.isfinite(p).all(axis=tuple(range(1, p.ndim))) for p in parts], axis=0)
    true, sizes = measured(wanted, wanted.parts)
    made = measured(replace(wanted, mass=mass), parts)[0]
    if true.energies is not None and true.totals is not None and made.totals is not None:
        # of the values themselves, not of their distances from the mean
        points = tuple(range(1, parts[0].ndim))
        true.energies = sizes.energies
        made.energies = np.stack([(p * p).sum(axis=points) for p in parts])
    for name in ROWS:
        a, b = getattr(true, name), getattr(made, name)
        if a is not None:
            wrong |= (np.abs(b - a) > _PROMISED * getattr(sizes, name)).any(axis=0)
    if wanted.operator is not None:
        # what rounding of the derivative itself may add
        size = np.max([np.abs(p).max(axis=tuple(range(1, p.ndim))) for p in wanted.parts], axis=0)
        slack = _ROUNDING * wanted.operator.reach * size
        wrong |= (_levels(wanted, parts) > levels * (1 + _SAME) + slack).any(axis=0)
    return np.asarray(wrong)


def _only(group: Group, fields: np.ndarray) -> Group:
    mass = None if group.mass is None else group.mass[fields]
    return replace(group, parts=[p[fields] for p in group.parts], mass=mass)


def _finer(numbers: Numbers, scales: Numbers, count: int) -> Numbers:
    """What errors of stored numbers are relative to."""
    rows = {name: getattr(scales, name) for name in ROWS}
    scales = Numbers(**{n: None if r is None else r / _FINER for n, r in rows.items()})
    if numbers.totals is None or numbers.energies is None:
        return scales
    assert scales.totals is not None
    assert scales.energies is not None
    triples = zip(numbers.totals, scales.totals, scales.energies, strict=True)
    totals, energies = zip(*(scales_of(*row, count) for row in triples), strict=True)
    return replace(scales, totals=np.stack(totals), energies=np.stack(energies))


def _search(wanted: Group, found: Group) -> tuple[Plan | None, list[np.ndarray]]:
    """Shares and passes with which every field comes out; what does not is stored exactly."""
    count, dtype = len(wanted.parts[0]), wanted.dtype
    numbers, scales = measured(wanted, wanted.parts)
    scales = _finer(numbers, scales, wanted.parts[0][0].size)
    for name in ROWS:
        rows = getattr(numbers, name)
        if rows is not None:
            pairs = zip(rows, getattr(scales, name), strict=True)
            setattr(numbers, name, np.stack([snapped(r, s) for r, s in pairs]))
    levels = _levels(wanted, wanted.parts)
    share = _shares(levels, _levels(found, found.parts))
    quick = (share < WHOLE) | (dtype == np.float64) | (not wanted.setup.free)
    exact = ~np.any([p.any(axis=tuple(range(1, p.ndim))) for p in wanted.parts], axis=0)
    passes = np.zeros(count, np.uint8)
    plan = Plan(wanted.setup, wanted.stencil, wanted.exponent, share, passes, numbers, exact)
    out = [np.zeros(p.shape, dtype) for p in found.parts]
    freed, open_ = lessened(found, share), np.flatnonzero(~exact)
    for turn, more in enumerate(_PASSES if wanted.setup.free else _PASSES[:1]):
        hasty = open_[quick[open_]]
        if turn and hasty.size:
            share[hasty] = np.minimum(share[hasty].astype(int) + 2 * 2**turn, WHOLE)
            freed = lessened(found, share)
        passes[open_] = np.where(quick[open_], 0, more)
        finished(freed, plan, open_, out)
        here = [np.ldexp(o[open_].astype(np.float64), -wanted.exponent) for o in out]
        mass = None if found.mass is None else found.mass[open_]
        open_ = open_[_missed(_only(wanted, open_), mass, here, levels[:, open_])]
        if not open_.size:
            break
    # an exact velocity times a decoded density is no exact momentum
    if open_.size > max(_MOST_EXACT * count, 1) or (open_.size and wanted.mass is not None):
        return None, out
    exact[open_] = True
    for o, part in zip(out, wanted.parts, strict=True):
        o[exact] = np.ldexp(part[exact], wanted.exponent).astype(dtype)
    return plan, out
