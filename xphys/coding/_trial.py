"""One basis tried on the blocks of a chunk: coefficients, step, integers, bytes."""

from __future__ import annotations

import math
from copy import copy
from dataclasses import dataclass, replace

import numpy as np

from xphys.coding import entropy
from xphys.coding._stream import Block, coarse, plain_step
from xphys.coding.bases import Kind, Plan, fit, orthonormal
from xphys.coding.quantise import centroids, error, find_step, quantise, squares, squares_and_peak

__all__ = ["Trial", "mixing_pays", "write"]

# Magnitudes are rounded down unless they pass this share of a step: zeros are cheap.
_DEAD_ZONE = 0.38
_REFINED_FROM = 0.42  # rounding before rate-distortion decisions
_LAGRANGIAN = 0.1
# Modes: rounding and leaving out take these shares of the error allowed.
_ROUNDING, _NEGLIGIBLE = 0.01, 0.03
_LEAST_ROOM = 0.3  # share of the error allowed that is left for quantising
# Streams up to this size are coded with the coder that makes them smallest. Longer ones with
# "mixing" only where they are this many times smaller than the data (its decoder takes a time for
# each coded byte, which is then small beside that of the transform) and where it makes a sample
# smaller by the first of these factors, or wherever it does so by the second.
TINY = 2**12
_THIN = 300
# The shorter ones likewise, unless the data are small too.
_SHORT_AND_THIN, _FEW = 600, 2**18
_MIXING_GAIN, _MIXING_GAIN_OF_LONG = 0.9, 0.8
_SAMPLE, _SAMPLED = 2**17, 2**13  # coefficients, and how many of them are not zero


@dataclass
class _Part:
    """Coefficients of one block, in planes, and what bits cost there once that is known."""

    block: Block
    c: np.ndarray
    prices: tuple[int, np.ndarray] | None = None


class Trial:
    """Coefficients of the blocks of one chunk in one basis.

    Parameters
    ----------
    blocks : list of ndarray
        float32 or float64, C order, the mean taken off.
    kinds : tuple of Kind
        Transform of each axis.
    target : float
        Squared error allowed over all blocks.
    mean : tuple of int
        What was taken off, as a multiple and an exponent.

    Attributes
    ----------
    lost : float
        Squared error that no step can repair.
    """

    def __init__(
        self,
        blocks: list[np.ndarray],
        kinds: tuple[Kind, ...],
        target: float,
        mean: tuple[int, int] = (0, 0),
    ) -> None:
        self.kinds = kinds
        self.target = target
        self.lost = 0.0
        self.size = sum(b.size for b in blocks)
        plan = Plan(kinds)
        self.parts = []
        for x in blocks:
            c = plan.forward(x.copy())
            block = Block(kinds, x.shape, x.dtype, mean)
            if Kind.MODES in kinds:
                c, modes = self._reduce(c, kinds.index(Kind.MODES), target * x.size / self.size)
                block = replace(block, modes=modes)
            self.parts.append(_Part(block, block.planes.to_planes(c)))

    def _reduce(self, c: np.ndarray, axis: int, target: float) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients of fitted modes, and the rounded modes."""
        n = c.shape[axis]
        step = math.sqrt(12 * _ROUNDING * target / n**2)
        moved = np.moveaxis(c, axis, 0)
        flat = np.ascontiguousarray(moved).reshape(n, -1)
        modes = fit(flat, plain_step(coarse(step)), _NEGLIGIBLE * target / n)
        if not len(modes):
            modes = np.zeros((1, n), np.int32)
            modes[0, 0] = 1
        rows = orthonormal(modes).astype(c.dtype)
        reduced = rows @ flat
        self.lost += squares(flat - rows.T @ reduced)
        reduced = reduced.reshape(len(rows), *moved.shape[1:])
        return np.ascontiguousarray(np.moveaxis(reduced, 0, axis)), modes

    def divided(self, axis: int, extent: int) -> Trial | None:
        """The same with blocks of so many steps; None if that takes other coefficients."""
        (part,) = self.parts
        steps = part.block.shape[axis]
        if extent >= steps:
            return self
        planes, shape = part.block.planes, part.block.shape
        if self.kinds[axis] is not Kind.NONE or planes.order[0] != axis:
            return None
        moved = part.c.reshape([shape[i] for i in planes.order])
        out = copy(self)
        out.parts = []
        for start in range(0, steps, extent):
            c = moved[start : start + extent]
            cut = tuple(len(c) if i == axis else n for i, n in enumerate(shape))
            block = replace(part.block, shape=cut)
            out.parts.append(_Part(block, c.reshape(block.planes.layout.shape)))
        return out

    @property
    def room(self) -> float:
        """Squared error that quantising may make."""
        return self.target - self.lost

    @property
    def fits(self) -> bool:
        """False if fitted modes leave hardly any room."""
        return self.room > _LEAST_ROOM * self.target

    def find(self, exact: bool = True) -> float:
        """Step at which plain quantising makes the error allowed, or about so."""
        sizes = [squares_and_peak(p.c) for p in self.parts]
        total, largest = sum(s for s, _ in sizes), max(peak for _, peak in sizes)
        if total <= self.room:
            return 4 * max(largest, 1e-30)  # nothing needs to be coded
        step = math.sqrt(12 * self.room / self.size)
        stride = self.size // _SAMPLE | 1
        if stride > 1:
            few = np.concatenate([p.c.reshape(-1)[::stride] for p in self.parts])
            room = self.room * few.size / self.size
            if squares(few) > room:
                step = find_step(lambda at: error(few, at, _DEAD_ZONE), room, step, 0.01)
            if not exact:
                step *= (self.room / max(self._plain(step), 1e-300)) ** 0.7
        if exact or stride == 1:
            step = find_step(self._plain, self.room, step)
        return max(step, largest / 2**29, 1e-300)

    def _plain(self, step: float) -> float:
        return sum(error(p.c, step, _DEAD_ZONE) for p in self.parts)

    def bits(self, step: float) -> float:
        """Estimated size of all blocks."""
        total = 0.0
        for part in self.parts:
            q = quantise(part.c, step, _DEAD_ZONE)
            total += entropy.estimate(q, part.block.planes.layout) + 80
            if part.block.modes is not None:
                total += _mode_bits(part.block.modes)
        return total

    def integers(self, step: float, refined: bool) -> list[np.ndarray]:
        """Quantised coefficients of each block."""
        if not refined:
            return [quantise(p.c, step, _DEAD_ZONE) for p in self.parts]
        out = []
        for part in self.parts:
            q = quantise(part.c, step, _REFINED_FROM)
            scaled = (part.c * part.c.dtype.type(1 / step)).astype(np.float32, copy=False)
            layout = part.block.planes.layout
            part.prices = part.prices or entropy.prices(q, layout)
            out.append(entropy.refine(scaled, q, layout, _LAGRANGIAN, part.prices))
        return out

    def settle(self, refined: bool) -> tuple[float, list[np.ndarray]]:
        """Final step, as it is stored, and the integers."""
        step = self.find()
        if refined:
            made: dict[float, list[np.ndarray]] = {}

            def spent(at: float) -> float:
                stored = plain_step(coarse(at))
                made.clear()
                made[stored] = self.integers(stored, True)
                return self.error(stored, made[stored])

            step = find_step(spent, self.room, 0.97 * step, tolerance=0.006)
            step = plain_step(coarse(step))
            return step, made.get(step) or self.integers(step, True)
        step = plain_step(coarse(step))
        return step, self.integers(step, False)

    def error(self, step: float, q: list[np.ndarray]) -> float:
        """Squared error of quantising."""
        pairs = zip(self.parts, q, strict=True)
        return sum(centroids(p.c, one, step)[1] for p, one in pairs)

    def blocks(self, step: float, q: list[np.ndarray]) -> list[Block]:
        """What each block needs beside its integers."""
        return [
            replace(p.block, step=coarse(step), shifts=centroids(p.c, one, step)[0])
            for p, one in zip(self.parts, q, strict=True)
        ]


def _mode_bits(modes: np.ndarray) -> float:
    """Rough size of rounded modes."""
    return float(np.sum(2 * np.log2(1 + np.abs(modes.astype(np.float64))))) + 8 * len(modes)


def write(block: Block, q: np.ndarray, effort: str) -> bytes:
    """Stream of integers in planes, by the coder that suits its size and the effort."""
    if effort == "max":
        return block.write(q, "mixing")
    static = block.write(q, "static")
    size = math.prod(block.shape) * block.dtype.itemsize
    thin = size <= _FEW or len(static) * _SHORT_AND_THIN <= size
    if effort == "fast" or len(static) > TINY or not thin:
        return static
    return min(static, block.write(q, "mixing"), key=len)


def mixing_pays(block: Block, q: np.ndarray, size: int) -> bool:
    """Whether a longer stream of so many bytes should rather be coded by "mixing".

    Compares both coders on some planes around the middle of all that is not zero.
    """
    if size <= TINY:
        return False
    thin = size * _THIN <= math.prod(block.shape) * block.dtype.itemsize
    layout = block.planes.layout
    weight = np.cumsum(np.count_nonzero(q, axis=(1, 2)))
    first = int(np.searchsorted(weight, weight[-1] * 0.4))
    last = int(np.searchsorted(weight, weight[first] + _SAMPLED))
    last = min(last, first + max(3, _SAMPLE // max(q[0].size, 1)), len(q) - 1)
    part = np.ascontiguousarray(q[first : last + 1])
    if part.size > 4 * _SAMPLE or not part.any():
        return False
    few = replace(layout, shape=part.shape, plane_class=layout.plane_class[first : last + 1])
    static = len(entropy.encode(part, few, coder="static"))
    return (
        len(entropy.encode(part, few, coder="mixing"))
        < (_MIXING_GAIN if thin else _MIXING_GAIN_OF_LONG) * static
    )
