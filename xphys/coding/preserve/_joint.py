"""Corrections of the components of a vector that hold for all of them together.

Decoded components are projected onto vectors without divergence, stretched so that their sums
and energies come out, rounded with little divergence, and moved by units in the last place until
the sums are exact. Whoever decodes does all of that; stored are the sums, how much of the
divergence is taken off each field, and how often rounding is improved upon.

Bytes: u8 flags (1 sums, 2 energies, 4 momenta, 8 divergence, 16 exact fields) | exponent + 4096
(v) | axes of a field, a bit each (v) | for a divergence: a kind for each axis, its stencil, f8
lengths, u8 share and u8 passes of each field, deflated | for momenta: cells of each axis (a kind;
"w" and f8 widths) | sums, energies, momenta of each component | a bit for each exact field and
their values, deflated.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, replace

import numpy as np

from xphys._streams import Reader, deflate, join_planes, split_planes, varint
from xphys.coding.preserve._apply import fields_of, restored
from xphys.coding.preserve._moves import Goal, bring
from xphys.coding.preserve._operators import (
    EXTREMA,
    ROOTS,
    Divergence,
    divergence,
    node_weights,
)
from xphys.coding.preserve._packed import read_numbers, write_numbers
from xphys.coding.preserve._quiet import quieten
from xphys.coding.preserve._sums import rounded
from xphys.errors import CorruptDataError

__all__ = [
    "ROWS",
    "WHOLE",
    "Group",
    "Numbers",
    "Plan",
    "Setup",
    "finished",
    "group_of",
    "lessened",
    "measured",
    "restore_together",
]

_SUMS, _ENERGY, _MOMENTUM, _DIVERGENCE, _EXACT = 1, 2, 4, 8, 16
_AIM = 5e-13  # of a sum; what is promised is 1e-12
WHOLE = 255  # the share that takes off everything
_MOST_CONSTANT = 1e-9  # relative spread up to which weights count as one number
_FLOAT = struct.Struct("<d")
_NEWTON = 20
_STEERED = 1e-3  # share of a change that is left by a projection, below which it is none
ROWS = ("totals", "energies", "momenta")


@dataclass(frozen=True)
class Setup:
    """What is to be kept of which vector.

    Attributes
    ----------
    axes : tuple of int
        Of a field.
    kinds : str
        Kind of each of these axes (see `Divergence`); for its divergence a vector has one
        component along each.
    lengths : tuple of float
        As `Divergence` takes them.
    free : bool
        Whether the divergence of a field must not exceed that of the original.
    kept : tuple of str
        Of "mean", "energy" (which includes the mean), "momentum".
    cells : tuple of (str, tuple of float)
        For momenta: "=" for an axis of equal cells, "c" or "e" for weights of Chebyshev nodes,
        "w" with widths.
    """

    axes: tuple[int, ...]
    kinds: str = ""
    lengths: tuple[float, ...] = ()
    free: bool = False
    kept: tuple[str, ...] = ()
    cells: tuple[tuple[str, tuple[float, ...]], ...] = ()

    @property
    def flags(self) -> int:
        """As stored."""
        sums = _SUMS * ("mean" in self.kept or "energy" in self.kept)
        rest = _ENERGY * ("energy" in self.kept) | _MOMENTUM * ("momentum" in self.kept)
        return sums | rest | _DIVERGENCE * self.free


@dataclass
class Numbers:
    """What has to come out, one row for each component."""

    totals: np.ndarray | None = None
    energies: np.ndarray | None = None
    momenta: np.ndarray | None = None


@dataclass(frozen=True)
class Group:
    """A vector at all positions: components as (field, points...) in units of 2**exponent."""

    setup: Setup
    stencil: str
    exponent: int
    dtype: np.dtype
    parts: list[np.ndarray]
    mass: np.ndarray | None  # density times cell, of each field

    @property
    def operator(self) -> Divergence | None:
        shape = self.parts[0].shape[1:]
        if not self.setup.free:
            return None
        return divergence(shape, self.setup.kinds, self.setup.lengths, self.stencil)


def _masses(setup: Setup, density: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray | None:
    """Density times cell, over the largest; None where momenta do not count."""
    if "momentum" not in setup.kept:
        return None
    field = tuple(shape[a] for a in setup.axes)
    cell = np.ones((1,) * (1 + len(field)))
    for i, (n, (kind, widths)) in enumerate(zip(field, setup.cells, strict=True)):
        if kind == "=":
            continue
        along = node_weights(n, kind) if kind in (ROOTS, EXTREMA) else np.array(widths)
        if along.size != n:
            raise CorruptDataError(f"expected widths of {n} cells, found {along.size}")
        cell = cell * (along / along.max()).reshape((-1,) + (1,) * (len(field) - 1 - i))
    if density is None:
        count = math.prod(shape) // max(math.prod(field), 1)
        return np.broadcast_to(cell, (count, *field))
    wide = fields_of(density, setup.axes).astype(np.float64)
    scale = float(np.abs(wide).max())
    return np.asarray(wide / (scale if scale > 0 else 1.0) * cell)


def measured(group: Group, parts: list[np.ndarray]) -> tuple[Numbers, Numbers]:
    """Sums of each component and field, and what their errors are relative to."""
    points = tuple(range(1, parts[0].ndim))
    found, scales, kept = Numbers(), Numbers(), group.setup.kept
    if group.setup.flags & _SUMS:
        found.totals = np.stack([p.sum(axis=points) for p in parts])
        scales.totals = np.stack([np.abs(p).sum(axis=points) for p in parts])
        if "energy" in kept:
            count = math.prod(parts[0].shape[1:])
            shape = (-1,) + (1,) * len(points)
            means = [(t / count).reshape(shape) for t in found.totals]
            pairs = zip(parts, means, strict=True)
            found.energies = np.stack([((p - m) ** 2).sum(axis=points) for p, m in pairs])
            scales.energies = np.stack([(p * p).sum(axis=points) for p in parts])
    if group.mass is not None:
        found.momenta = np.stack([(p * group.mass).sum(axis=points) for p in parts])
        scales.momenta = np.stack([np.abs(p * group.mass).sum(axis=points) for p in parts])
    return found, scales


def lessened(group: Group, share: np.ndarray) -> Group:
    """The same with a share of the divergence of each field taken off."""
    operator = group.operator
    if operator is None or not share.any():
        return group
    parts = [p.copy() for p in group.parts]
    for field in np.flatnonzero(share):
        rest = operator.rest([p[field] for p in group.parts])
        for part, r in zip(parts, rest, strict=True):
            part[field] -= share[field] / WHOLE * r
    return replace(group, parts=parts)


def _directions(
    group: Group, base: list[np.ndarray], share: np.ndarray, field: int
) -> tuple[list[list[np.ndarray]], list[int]]:
    """Vectors that may be added: each component by itself, or the mass along it, projected; and
    the components of which these change the momentum.

    A velocity across a layer, for one, has the same flux everywhere: there is nothing to change.
    """
    kept, operator = group.setup.kept, group.operator
    shapes = list(base) if "energy" in kept else []
    mass = None if group.mass is None else group.mass[field]
    if (
        mass is not None
        and group.setup.flags & _SUMS
        and np.ptp(mass) > _MOST_CONSTANT * mass.max()
    ):
        size = np.sqrt(np.mean([np.square(b).mean() for b in base])) / mass.std()
        shapes += [size * (mass - mass.mean())] * len(base)
    out: list[list[np.ndarray]] = []
    steered: list[int] = []
    first = len(base) if "energy" in kept else 0
    for i, shape in enumerate(shapes):
        alone = [np.zeros_like(shape) for _ in base]
        alone[i % len(base)] = shape
        if operator is not None and len(base) > 1 and share[field]:
            factor = share[field] / WHOLE
            pairs = zip(alone, operator.rest(alone), strict=True)
            alone = [a - factor * r for a, r in pairs]
        if i >= first:
            reached = float((alone[i % len(base)] * shape).sum())
            if reached <= _STEERED * float((shape * shape).sum()):
                continue
            steered.append(i % len(base))
        out.append([a - a.mean() for a in alone])
    return out, steered


def _aimed(group: Group, numbers: Numbers, share: np.ndarray, field: int) -> list[np.ndarray]:
    """One field whose sums are as given before it is rounded."""
    parts = [p[field] for p in group.parts]
    means = np.array([p.mean() for p in parts])
    base = [p - m for p, m in zip(parts, means, strict=True)]
    mass = None if group.mass is None else group.mass[field]
    if numbers.totals is not None:
        means = numbers.totals[:, field] / base[0].size
    elif numbers.momenta is not None and mass is not None and mass.sum() > 0:
        away = np.array([(b * mass).sum() for b in base])
        means = (numbers.momenta[:, field] - away) / mass.sum()
    others, steered = _directions(group, base, share, field)
    if others:
        momenta = None
        if steered and numbers.momenta is not None and mass is not None:
            momenta = {j: float(numbers.momenta[j, field] - means[j] * mass.sum()) for j in steered}
        energies = None if numbers.energies is None else numbers.energies[:, field]
        weights = _solved(base, others, energies, momenta, mass)
        for j in range(len(base)):
            terms = zip(weights, others, strict=True)
            base[j] = base[j] + sum(w * other[j] for w, other in terms)
    return [b + m for b, m in zip(base, means, strict=True)]


def _solved(
    base: list[np.ndarray],
    others: list[list[np.ndarray]],
    energies: np.ndarray | None,
    momenta: dict[int, float] | None,
    mass: np.ndarray | None,
) -> np.ndarray:
    """Weights of the others with which energies and momenta are as given, by Newton's method."""
    count = len(base)
    rows = [
        np.stack([base[j].reshape(-1), *(o[j].reshape(-1) for o in others)]) for j in range(count)
    ]
    squares, wanted = [], []
    if energies is not None:
        squares, wanted = [r @ r.T for r in rows], list(energies)
    linear: list[np.ndarray] = []
    if momenta is not None and mass is not None:
        linear = [rows[j] @ mass.reshape(-1) for j in momenta]
        wanted += list(momenta.values())
    x = np.zeros(1 + len(others))
    x[0] = 1.0
    sizes = np.array(
        [max(g[0, 0], 1e-300) for g in squares]
        + [max(float(np.abs(v).max()), 1e-300) for v in linear]
    )
    for _ in range(_NEWTON):
        found = [x @ g @ x for g in squares] + [v @ x for v in linear]
        lacking = (np.array(wanted) - np.array(found)) / sizes
        slope = (
            np.stack([2 * (g @ x)[1:] for g in squares] + [v[1:] for v in linear]) / sizes[:, None]
        )
        step = np.linalg.lstsq(slope, lacking, rcond=1e-10)[0]
        step *= min(1.0, 0.5 / max(float(np.abs(step).max(initial=0)), 1e-300))
        x[1:] += step
        if np.abs(step).max(initial=0) < 1e-15:
            break
    return x[1:]


def _settled(
    group: Group, numbers: Numbers, share: np.ndarray, passes: int, field: int
) -> list[np.ndarray]:
    """One field as a reader gets it, in units of 2**exponent."""
    dtype, exponent = group.dtype, group.exponent
    parts = [rounded(p, dtype, exponent) for p in _aimed(group, numbers, share, field)]
    operator = group.operator
    if operator is not None and passes and dtype != np.float64:
        parts = quieten(parts, operator, dtype, exponent, passes)
    for j, part in enumerate(parts):
        goals = _goals(group, numbers, part, j, field)
        if goals:
            flat = np.ascontiguousarray(part).reshape(-1)
            bring(flat, dtype, exponent, goals)
            parts[j] = flat.reshape(part.shape)
    return parts


def _goals(group: Group, numbers: Numbers, part: np.ndarray, j: int, field: int) -> list[Goal]:
    goals = []
    if numbers.totals is not None:
        total = float(numbers.totals[j, field])
        size, power = float(np.abs(part).sum()), float((part * part).sum())
        if numbers.energies is not None and total:
            # an error of the sum is one of the sum of squares, times twice the mean
            size = min(size, power * part.size / (4 * abs(total)))
        goals.append(Goal(total, max(_AIM * size, 1e-300)))
        if numbers.energies is not None:
            size = max(_AIM * power, 1e-300)
            goals.append(Goal(float(numbers.energies[j, field]), size, None, total / part.size))
    if numbers.momenta is not None and group.mass is not None:
        mass = group.mass[field]
        size = max(_AIM * float(np.abs(part * mass).sum()), 1e-300)
        goals.append(Goal(float(numbers.momenta[j, field]), size, mass.reshape(-1)))
    return goals


@dataclass(frozen=True)
class Plan:
    """All that is stored of a group."""

    setup: Setup
    stencil: str
    exponent: int
    share: np.ndarray
    passes: np.ndarray
    numbers: Numbers
    exact: np.ndarray  # of fields

    def pack(self, scales: Numbers, near: Numbers, originals: list[np.ndarray]) -> bytes:
        """As bytes."""
        setup = self.setup
        flags = setup.flags | _EXACT * bool(self.exact.any())
        out = [bytes([flags]), varint(self.exponent + 4096)]
        out.append(varint(sum(1 << a for a in setup.axes)))
        if setup.free:
            out.append(setup.kinds.encode() + self.stencil.encode())
            out += [_FLOAT.pack(n) for n in setup.lengths]
            rows = deflate(np.concatenate([self.share, self.passes]).astype(np.uint8))
            out.append(varint(len(rows)) + rows)
        if "momentum" in setup.kept:
            for kind, widths in setup.cells:
                out.append(kind.encode() + b"".join(map(_FLOAT.pack, widths)))
        for name in ROWS:
            values = getattr(self.numbers, name)
            if values is not None:
                rows_of = zip(values, getattr(scales, name), getattr(near, name), strict=True)
                out += [write_numbers(v, s, n, steady=False) for v, s, n in rows_of]
        if self.exact.any():
            marks = deflate(np.packbits(self.exact))
            out.append(varint(len(marks)) + marks)
            for original in originals:
                data = deflate(split_planes(original[self.exact]))
                out.append(varint(len(data)) + data)
        return b"".join(out)


def group_of(
    setup: Setup, stencil: str, exponent: int, raw: list[np.ndarray], density: np.ndarray | None
) -> Group:
    parts = [np.ldexp(fields_of(r, setup.axes).astype(np.float64), -exponent) for r in raw]
    return Group(
        setup, stencil, exponent, raw[0].dtype, parts, _masses(setup, density, raw[0].shape)
    )


def finished(group: Group, plan: Plan, fields: np.ndarray, out: list[np.ndarray]) -> None:
    """Put some fields into out, as a reader gets them."""
    for field in fields:
        if plan.exact[field]:
            continue
        passes = int(plan.passes[field])
        made = _settled(group, plan.numbers, plan.share, passes, int(field))
        for j, part in enumerate(made):
            out[j][field] = np.ldexp(part, plan.exponent).astype(group.dtype)


def restore_together(
    data: bytes, raw: list[np.ndarray], density: np.ndarray | None
) -> list[np.ndarray]:
    """Apply a correction.

    Parameters
    ----------
    data : bytes
        From `correct_together`.
    raw : list of ndarray
        Decoded components, all of one shape and dtype.
    density : ndarray or None
        Decoded, if momenta are those of a density.

    Returns
    -------
    list of ndarray
        Components as they are to be read.

    Raises
    ------
    CorruptDataError
        If the bytes are no correction of such a vector.
    """
    shape, dtype = raw[0].shape, raw[0].dtype
    if dtype.kind != "f" or any(r.shape != shape or r.dtype != dtype for r in raw):
        raise CorruptDataError("expected components of one shape and dtype, found others")
    with np.errstate(all="ignore"):
        reader = Reader(data)
        plan, group, exact = _read(reader, raw, density)
        out = [np.empty((plan.exact.size, *group.parts[0].shape[1:]), dtype) for _ in raw]
        for o, values in zip(out, exact, strict=True):
            o[plan.exact] = values
        finished(group, plan, np.arange(plan.exact.size), out)
    return [np.ascontiguousarray(restored(o, shape, plan.setup.axes)) for o in out]


def _read(
    reader: Reader, raw: list[np.ndarray], density: np.ndarray | None
) -> tuple[Plan, Group, list[np.ndarray]]:
    shape, dtype = raw[0].shape, raw[0].dtype
    flags, exponent, bits = reader.take(1)[0], reader.varint() - 4096, reader.varint()
    axes = tuple(i for i in range(len(shape)) if bits >> i & 1)
    if flags >= 32 or not axes or bits >> len(shape) or not -2200 <= exponent <= 2200:
        raise CorruptDataError(f"expected a correction of {len(shape)} axes, found {flags}, {bits}")
    names = (("mean", _SUMS), ("energy", _ENERGY), ("momentum", _MOMENTUM))
    kept = tuple(name for name, flag in names if flags & flag)
    count = math.prod(shape) // max(math.prod(shape[a] for a in axes), 1)
    free = bool(flags & _DIVERGENCE)
    setup, stencil = Setup(axes, free=free, kept=kept), ""
    share = passes = np.zeros(count, np.uint8)
    if free:
        if len(axes) != len(raw):
            raise CorruptDataError(f"expected {len(axes)} components, found {len(raw)}")
        kinds = reader.take(len(axes)).decode("latin-1")
        stencil = reader.take(1).decode("latin-1")
        lengths = tuple(_FLOAT.unpack(reader.take(8))[0] for _ in axes)
        if not all(1e-300 < n < 1e300 for n in lengths):
            raise CorruptDataError("expected lengths of a box, found others")
        setup = replace(setup, kinds=kinds, lengths=lengths)
        share, passes = np.frombuffer(reader.section(2 * count), np.uint8).reshape(2, count)
    if flags & _MOMENTUM:
        setup = replace(setup, cells=_read_cells(reader, [shape[a] for a in axes]))
    group = lessened(group_of(setup, stencil, exponent, raw, density), share)
    numbers, exact = measured(group, group.parts)[0], np.zeros(count, bool)
    for name in ROWS:
        near = getattr(numbers, name)
        if near is not None:
            setattr(numbers, name, np.stack([read_numbers(reader, row) for row in near]))
    field = group.parts[0].shape[1:]
    originals = [np.empty((0, *field), dtype) for _ in raw]
    if flags & _EXACT:
        marks = np.frombuffer(reader.section(-(-count // 8)), np.uint8)
        exact = np.unpackbits(marks, count=count).astype(bool)
        size = int(exact.sum()) * math.prod(field) * dtype.itemsize
        originals = [join_planes(reader.section(size), dtype).reshape(-1, *field) for _ in raw]
    reader.end()
    return Plan(setup, stencil, exponent, share, passes, numbers, exact), group, originals


def _read_cells(reader: Reader, sizes: list[int]) -> tuple[tuple[str, tuple[float, ...]], ...]:
    out: list[tuple[str, tuple[float, ...]]] = []
    for n in sizes:
        kind, widths = reader.take(1).decode("latin-1"), np.empty(0)
        if kind == "w":
            widths = np.frombuffer(reader.take(8 * n), "<f8")
        if kind not in ("=", ROOTS, EXTREMA, "w") or not (np.isfinite(widths) & (widths > 0)).all():
            raise CorruptDataError("expected widths of cells, found others")
        out.append((kind, tuple(map(float, widths))))
    return tuple(out)
